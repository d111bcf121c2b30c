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

void run(void) {
    own_files();
    maps();
    machine();
}
