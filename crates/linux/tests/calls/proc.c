// What the files below /proc tell the program of itself and its machine.
#include "calls.h"
#include <elf.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

static char text[1 << 20];
static long slurp(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return -1;
    long n = 0, got;
    while ((got = read(fd, text + n, sizeof text - 1 - n)) > 0) n += got;
    text[n] = 0;
    close(fd);
    return n;
}

static void own_files(void) {
    char link[PATH_MAX] = {0}, real[PATH_MAX];
    readlink("/proc/self/exe", link, sizeof link - 1);
    SHOW("readlinkat of the program", "%s", strrchr(link, '/'));
    char other[64];
    snprintf(other, sizeof other, "/proc/%d/exe", getpid());
    memset(real, 0, sizeof real);
    readlink(other, real, sizeof real - 1);
    SHOW("readlinkat of the program by number", "%d", !strcmp(link, real));
    char few[4] = {0};
    CALL("readlinkat of the program cut", SYS_readlinkat, AT_FDCWD, "/proc/self/exe", few, 3);
    CALL("readlinkat of the program no room", SYS_readlinkat, AT_FDCWD, "/proc/self/exe", few, 0);
    CALL("readlinkat of the program bad pointer", SYS_readlinkat, AT_FDCWD, "/proc/self/exe", BAD, 9);
    int fd = open("/proc/self/exe", O_RDONLY);
    Elf64_Ehdr h;
    read(fd, &h, sizeof h);
    struct stat a, b;
    stat(link, &a), fstat(fd, &b);
    SHOW("openat of the program", "%d %d", !memcmp(h.e_ident, ELFMAG, 4), a.st_ino == b.st_ino);
    stat("/proc/self/exe", &b);
    SHOW("newfstatat of the program", "%d", a.st_ino == b.st_ino && a.st_size == b.st_size);
    lstat("/proc/self/exe", &b);
    SHOW("newfstatat of the program's link", "%d", S_ISLNK(b.st_mode));
    CALL("faccessat of the program", SYS_faccessat, AT_FDCWD, "/proc/self/exe", X_OK);
#ifdef __riscv
    SHOW("openat program's machine", "%d", h.e_machine == EM_RISCV);
#endif
    long n = slurp("/proc/self/cmdline");
    SHOW("openat /proc/self/cmdline", "%d %d", n == (long)strlen(text) + 1, strcmp(strrchr(text, '/'), strrchr(link, '/')) == 0);
    n = slurp("/proc/self/auxv");
    unsigned long *v = (void *)text, page = 0, random = 0;
    for (long i = 0; i < n / 16; i++) {
        if (v[2 * i] == AT_PAGESZ) page = v[2 * i + 1];
        if (v[2 * i] == AT_RANDOM) random = v[2 * i + 1];
    }
    SHOW("openat /proc/self/auxv", "%ld %ld %d", n % 16, (long)page, random == getauxval(AT_RANDOM));
    long size = syscall(SYS_prctl, 0x41555856, text + 5000, 4096L, 0L, 0L);
    SHOW("prctl auxiliary vector", "%d %d", size >= n, !memcmp(text, text + 5000, n));
    prctl(PR_SET_NAME, "renamed");
    n = slurp("/proc/self/comm");
    SHOW("openat /proc/self/comm", "%s", strtok(text, "\n"));
    put_file("kept", "by name");
    int kept = open("kept", O_RDONLY);
    snprintf(other, sizeof other, "/proc/self/fd/%d", kept);
    memset(link, 0, sizeof link);
    readlink(other, link, sizeof link - 1);
    SHOW("readlinkat of a descriptor", "%s", strrchr(link, '/'));
    slurp(other);
    SHOW("openat of a descriptor", "%s", text);
    close(fd), close(kept);
    DIR *d = opendir("/proc/self/fd");
    int count = 0;
    for (struct dirent *e; (e = readdir(d));) count += e->d_name[0] != '.' && atoi(e->d_name) != dirfd(d);
    SHOW("getdents64 of /proc/self/fd", "%d", count);
    closedir(d);
    CALL("openat of the next descriptor", SYS_openat, AT_FDCWD, "kept", O_RDONLY);
}

static void maps(void) {
    char *a = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(a + 4096, 4096, PROT_READ);
    put_file("mapped", "text");
    int fd = open("mapped", O_RDONLY);
    ftruncate(open("mapped", O_RDWR), 20000);
    char *f = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 8192);
    struct stat st;
    fstat(fd, &st);
    slurp("/proc/self/maps");
    int stack = 0, heap = 0, code = 0, middle = 0, file = 0, sorted = 1;
    unsigned long last = 0, here = (unsigned long)&stack;
    sbrk(4096);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long from, to, offset, inode = 0;
        char perms[8], device[16], name[PATH_MAX] = "";
        if (sscanf(line, "%lx-%lx %7s %lx %15s %lu %4095[^\n]", &from, &to, perms, &offset, device, &inode, name) < 6) sorted = -1;
        if (from < last) sorted = 0;
        last = to;
        stack += here >= from && here < to && strstr(name, "[stack]") != NULL;
        code += (unsigned long)maps >= from && (unsigned long)maps < to && !strcmp(perms, "r-xp") && strstr(name, "proc");
        middle += (unsigned long)a + 4096 >= from && (unsigned long)a + 4096 < to && !strcmp(perms, "r--p");
        if ((unsigned long)f == from)
            file = !strcmp(perms, "r--s") && offset == 8192 && inode == st.st_ino && strstr(name, "/mapped") != NULL;
    }
    SHOW("openat /proc/self/maps", "%d %d %d %d %d", sorted, stack, code, middle, file);
    pthread_attr_t attr;
    void *low;
    size_t size = 0;
    SHOW("openat /proc/self/maps for the stack", "%d %d", pthread_getattr_np(pthread_self(), &attr),
         pthread_attr_getstack(&attr, &low, &size) == 0 && (char *)low < (char *)&attr && (char *)&attr < (char *)low + size);
}

static void machine(void) {
    slurp("/proc/cpuinfo");
#ifdef __riscv
    SHOW("openat /proc/cpuinfo", "%d %d", strstr(text, "isa\t\t: rv64ima") != NULL, strstr(text, "processor\t: 0") != NULL);
#endif
    SHOW("openat /proc/cpuinfo is no other's", "%d", strstr(text, "GenuineIntel") == NULL && strstr(text, "AuthenticAMD") == NULL);
    SHOW("openat /proc/meminfo", "%d", slurp("/proc/meminfo") > 100);
    SHOW("openat /proc/self/status", "%d", slurp("/proc/self/status") > 100 && strstr(text, "Name:\trenamed"));
    SHOW("openat /proc/self/stat", "%d", slurp("/proc/self/stat") > 50 && atoi(text) == getpid());
    SHOW("openat missing below /proc", "%ld", slurp("/proc/self/nothing"));
}

static ino_t own_inode;
static char own[PATH_MAX];

// Whether what a path names is this program, by its link and as it opens.
static int is_own(int dir, const char *path) {
    char link[PATH_MAX] = {0};
    struct stat at, st;
    int fd = openat(dir, path, O_RDONLY), named = openat(dir, path, O_PATH);
    int same = readlinkat(dir, path, link, sizeof link - 1) > 0 && !strcmp(link, own);
    same &= fd >= 0 && !fstat(fd, &st) && st.st_ino == own_inode;
    same &= named >= 0 && !fstat(named, &st) && st.st_ino == own_inode;
    same &= !fstatat(dir, path, &at, 0) && at.st_ino == own_inode;
    close(fd), close(named);
    return same;
}

struct how {
    uint64_t flags, mode, resolve;
};

// The same file by every way that leads to it.
static void forms(void) {
    struct stat st;
    char path[PATH_MAX];
    int here = open(".", O_RDONLY), dir = open("/proc/self", O_RDONLY), tasks = open("/proc/thread-self", O_PATH);
    SHOW("readlinkat slashes and dots", "%d", is_own(AT_FDCWD, "//proc//self/./exe"));
    SHOW("readlinkat back and forth", "%d", is_own(AT_FDCWD, "/proc/self/../self/task/../exe"));
    SHOW("readlinkat through the root", "%d", is_own(AT_FDCWD, "/proc/self/root/proc/self/exe"));
    snprintf(path, sizeof path, "/proc/self/task/%d/exe", gettid());
    SHOW("readlinkat of a task", "%d", is_own(AT_FDCWD, path));
    SHOW("readlinkat of the thread", "%d", is_own(AT_FDCWD, "/proc/thread-self/exe"));
    SHOW("readlinkat from a descriptor", "%d %d", is_own(dir, "exe"), is_own(tasks, "exe"));
    int at_link = open("/proc/self/exe", O_PATH | O_NOFOLLOW);
    memset(path, 0, sizeof path);
    readlinkat(at_link, "", path, sizeof path - 1);
    SHOW("readlinkat of the open link", "%d %d", !fstat(at_link, &st) && S_ISLNK(st.st_mode), !strcmp(path, own));
    symlink("/proc/self/exe", "to-exe"), symlink("to-exe", "to-link");
    int fd = open("to-link", O_RDONLY);
    SHOW("openat of links to it", "%d %d", !fstat(fd, &st) && st.st_ino == own_inode,
         !stat("to-exe", &st) && st.st_ino == own_inode);
    SHOW("newfstatat of a link to it", "%d", !lstat("to-exe", &st) && S_ISLNK(st.st_mode));
    chdir("/proc/self");
    SHOW("readlinkat from the working directory", "%d", is_own(AT_FDCWD, "exe"));
    CALL("faccessat from the working directory", SYS_faccessat, AT_FDCWD, "exe", X_OK);
    int maps = open("maps", O_RDONLY);
    long n = read(maps, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = 0;
    SHOW("openat maps from the working directory", "%d", strstr(text, own) != NULL && strstr(text, "/trine\n") == NULL);
    fchdir(here);
    // QEMU removes the program.
    link(own, "spare");
    CALL("unlinkat of the program's link", SYS_unlinkat, AT_FDCWD, "/proc/self/exe", 0);
    SHOW("unlinkat leaves the program", "%d", !stat(own, &st) && st.st_ino == own_inode);
    link("spare", own);
    for (int i = 0; i < 4; i++) {
        struct how how = {i == 3 ? O_PATH | O_NOFOLLOW : O_RDONLY, 0, (int[]){0, 2, 4, 2}[i]};
        fd = syscall(SYS_openat2, AT_FDCWD, "/proc/self/exe", &how, sizeof how);
        printf("openat2 of the program %d: %s\n", i, fd < 0 ? strerrorname_np(errno) : "open");
    }
    close(here), close(dir), close(tasks), close(at_link), close(maps);
}

// Another program is what its files say, too.
static void child(void) {
    char path[64], line[PATH_MAX];
    int ends[2];
    pipe(ends);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[1]);
        read(ends[0], path, 1);
        _exit(0);
    }
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    SHOW("readlinkat of a child", "%d", is_own(AT_FDCWD, path));
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    SHOW("openat cmdline of a child", "%d", slurp(path) == (long)strlen(text) + 1 && strstr(text, "proc") != NULL);
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    slurp(path);
    SHOW("openat maps of a child", "%d %d", strstr(text, own) != NULL, strstr(text, "/trine\n") != NULL);
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    SHOW("openat environ of a child", "%d", slurp(path) > 0 && strchr(text, '=') != NULL);
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDONLY);
    int value = 0;
    pread(fd, &value, sizeof value, (off_t)&own_inode);
    SHOW("openat mem of a child", "%d", value == (int)own_inode);
    WORKS("openat mem of a child for writing", open(path, O_RDWR));
    WORKS("openat mem for writing", open("/proc/self/mem", O_WRONLY));
    close(ends[1]), close(fd);
    waitpid(pid, NULL, 0);
}

// A title that a program gives itself is what others see.
static void title(void) {
    char *first = program_invocation_name;
    memset(first, 'x', strlen(first));
    slurp("/proc/self/cmdline");
    SHOW("openat changed /proc/self/cmdline", "%d", text[0] == 'x');
}

// A program whose file has no name any more: this one again.
static void without_name(void) {
    char link[PATH_MAX] = {0};
    const char *kind = getenv("NAMELESS");
    readlink("/proc/self/exe", link, sizeof link - 1);
    printf("readlinkat %s: %d %d\n", kind, !strcmp(strrchr(link, ' ') ?: "", " (deleted)"), strstr(link, kind) != NULL);
    Elf64_Ehdr h = {0};
    int fd = open("/proc/self/exe", O_RDONLY);
    read(fd, &h, sizeof h);
    printf("openat %s: %d\n", kind, !memcmp(h.e_ident, ELFMAG, 4));
    struct stat a, b;
    printf("newfstatat %s: %d\n", kind, !stat("/proc/self/exe", &a) && !fstat(fd, &b) && a.st_ino == b.st_ino && a.st_nlink == 0);
    closefrom(3);
    fd = open("/proc/self/exe", O_RDONLY);
    memset(&h, 0, sizeof h), read(fd, &h, sizeof h);
    printf("openat %s after close_range: %d %d\n", kind, !memcmp(h.e_ident, ELFMAG, 4), fd);
    char *args[] = {"again", 0}, again[64], *env[] = {again, 0};
    snprintf(again, sizeof again, "AGAIN=%s", kind);
    fflush(stdout);
    CALL("execve without a name", SYS_execve, "/proc/self/exe", args, env);
    exit(0);
}
static void copy_to(int to) {
    int from = open(own, O_RDONLY);
    for (long n; (n = read(from, text, sizeof text)) > 0;) write(to, text, n);
    close(from);
}
static void exec_deleted(void) {
    char *args[] = {"deleted", 0}, *env[] = {"NAMELESS=copy", 0};
    int to = open("copy", O_CREAT | O_WRONLY, 0755);
    copy_to(to), close(to);
    int fd = open("copy", O_PATH | O_CLOEXEC);
    unlink("copy");
    syscall(SYS_execveat, fd, "", args, env, AT_EMPTY_PATH);
    _exit(99);
}
static void exec_memory(void) {
    char *args[] = {"memory", 0}, *env[] = {"NAMELESS=memfd:copy", 0};
    int fd = memfd_create("copy", MFD_CLOEXEC);
    copy_to(fd);
    syscall(SYS_execveat, fd, "", args, env, AT_EMPTY_PATH);
    _exit(99);
}

void run(void) {
    if (getenv("AGAIN")) {
        printf("execve again %s: %s\n", getenv("AGAIN"), program_invocation_name);
        return;
    }
    if (getenv("NAMELESS")) without_name();
    struct stat st;
    readlink("/proc/self/exe", own, sizeof own - 1), stat(own, &st), own_inode = st.st_ino;
    own_files();
    forms();
    child();
    ended("execveat deleted end", exec_deleted);
    ended("execveat in memory end", exec_memory);
    maps();
    machine();
    title();
}
