// Processes: fork, exec, wait, groups, sessions, prctl.
#include "calls.h"
#include <elf.h>
#include <linux/kcmp.h>
#include <linux/wait.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

static char *self;

// The monitor of a program whose files must stay small writes more than that by itself.
static void small_files(void) {
    struct rlimit small = {4096, 4096};
    setrlimit(RLIMIT_FSIZE, &small);
    pid_t child = fork();
    if (child == 0) _exit(3);
    int status = 0;
    waitpid(child, &status, 0);
    SHOW("clone with small files", "%d", WEXITSTATUS(status));
}
static void forks(void) {
    ended("setrlimit of files", small_files);
    int status = 0, value = 1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        value = 2;
        _exit(value + (getppid() > 0));
    }
    struct rusage u;
    memset(&u, 0x55, sizeof u);
    SHOW("wait4", "%d", syscall(SYS_wait4, child, &status, 0, &u) == child);
    SHOW("wait4 status", "%#x %d %d", status, value, u.ru_utime.tv_sec < 5);
    CALL("wait4 nobody", SYS_wait4, -1, NULL, 0, NULL);
    CALL("wait4 options", SYS_wait4, -1, NULL, 0x1000, NULL);
    child = fork();
    if (child == 0) {
        msleep(3000);
        _exit(0);
    }
    CALL("wait4 nothing yet", SYS_wait4, child, NULL, WNOHANG, NULL);
    CALL("wait4 bad pointer of nothing", SYS_wait4, child, BAD, WNOHANG, NULL);
    kill(child, SIGSTOP);
    SHOW("wait4 stopped", "%d", syscall(SYS_wait4, child, &status, WUNTRACED, NULL) == child);
    SHOW("wait4 stopped status", "%#x", status);
    kill(child, SIGCONT);
    siginfo_t i = {0};
    CALL("waitid continued", SYS_waitid, P_PID, child, &i, WCONTINUED, NULL);
    SHOW("waitid continued told", "%d %d %d", i.si_signo, i.si_code, i.si_status);
    kill(child, SIGKILL);
    CALL("waitid no reap", SYS_waitid, P_PID, child, &i, WEXITED | WNOWAIT, NULL);
    SHOW("waitid no reap told", "%d %d %d %d", i.si_signo, i.si_code, i.si_status, i.si_pid == child);
    CALL("waitid", SYS_waitid, P_ALL, 0, &i, WEXITED, NULL);
    CALL("waitid nobody", SYS_waitid, P_ALL, 0, &i, WEXITED, NULL);
    CALL("waitid no options", SYS_waitid, P_ALL, 0, &i, 0, NULL);
    CALL("waitid kind", SYS_waitid, 99, 0, &i, WEXITED, NULL);
    child = vfork();
    if (child == 0) {
        value = 77;
        _exit(12);
    }
    waitpid(child, &status, 0);
    SHOW("clone vfork", "%d %d", value, WEXITSTATUS(status));
    child = syscall(SYS_clone, SIGCHLD, 0L, NULL, NULL, NULL);
    if (child == 0) _exit(13);
    waitpid(child, &status, 0);
    SHOW("clone fork", "%d", WEXITSTATUS(status));
    child = syscall(SYS_clone, 0, 0L, NULL, NULL, NULL);
    if (child == 0) _exit(14);
    CALL("wait4 child without signal", SYS_wait4, child, &status, 0, NULL);
    WORKS("wait4 child without signal found", syscall(SYS_wait4, child, &status, __WCLONE, NULL));
    SHOW("wait4 child without signal status", "%d", WEXITSTATUS(status));
    signal(SIGCHLD, SIG_IGN);
    child = fork();
    if (child == 0) _exit(1);
    CALL("wait4 ignored children", SYS_wait4, child, &status, 0, NULL);
    signal(SIGCHLD, SIG_DFL);
    int fd = syscall(SYS_pidfd_open, getpid(), 0);
    SHOW("pidfd_open", "%d", fd > 0);
    CALL("pidfd_open process", SYS_pidfd_open, 0x7ffffff0, 0);
    CALL("pidfd_open flags", SYS_pidfd_open, getpid(), 1);
    SHOW("pidfd_getfd", "%d", syscall(SYS_pidfd_getfd, fd, 1, 0) > 0);
    CALL("pidfd_getfd bad descriptor", SYS_pidfd_getfd, fd, NOFD, 0);
    CALL("kcmp", SYS_kcmp, getpid(), getpid(), KCMP_VM, 0L, 0L);
    CALL("kcmp kind", SYS_kcmp, getpid(), getpid(), 99, 0L, 0L);
    CALL("unshare flags", SYS_unshare, 0x1);
    CALL("unshare files", SYS_unshare, CLONE_FILES);
    CALL("setns bad descriptor", SYS_setns, NOFD, 0);
    CALL("setns file", SYS_setns, 0, 0);
    CALL("restart_syscall", SYS_restart_syscall);
}

static void exec_self(const char *how) {
    char *args[] = {"name", (char *)how, "two words", "", NULL}, *env[] = {"A=1", "B=x y", NULL};
    execve(self, args, env);
    _exit(99);
}
static void exec_args(void) { exec_self("args"); }
static void exec_link(void) { self = "/proc/self/exe"; exec_self("args"); }
static void exec_at(void) {
    char *args[] = {"at", "fd", NULL}, *env[] = {NULL};
    syscall(SYS_execveat, open(self, O_RDONLY | O_PATH), "", args, env, AT_EMPTY_PATH);
    _exit(98);
}
static void exec_no_arguments(void) {
    char *args[] = {NULL}, *env[] = {"NONE=1", NULL};
    execve(self, args, env);
    _exit(95);
}
static void exec_no_list(void) {
    char *env[] = {"NONE=1", NULL};
    execve(self, NULL, env);
    _exit(94);
}
static void exec_deep(void) {
    struct rlimit l;
    getrlimit(RLIMIT_STACK, &l);
    l.rlim_cur = 300L << 20;
    setrlimit(RLIMIT_STACK, &l);
    exec_self("deep");
}
// Uses `size` bytes of the stack.
static int deep(long size) {
    volatile char frame[1 << 16];
    frame[0] = size;
    return size > (long)sizeof frame ? deep(size - sizeof frame) + (frame[0] != (char)size) : 0;
}
static void exec_script(void) {
    char text[PATH_MAX + 20];
    snprintf(text, sizeof text, "#!%s  script arg \n", self);
    put_file("script", text);
    chmod("script", 0755);
    char *args[] = {"ignored", "last", NULL}, *env[] = {NULL};
    execve("./script", args, env);
    _exit(97);
}
static void exec_native(void) {
    execl("/bin/sh", "sh", "-c", "echo execve native: $((6*7)); exit 21", NULL);
    _exit(96);
}
static void exec_state(void) {
    signal(SIGUSR1, SIG_IGN), signal(SIGUSR2, (void (*)(int))exec_args);
    signal(SIGSEGV, SIG_IGN), signal(SIGPIPE, SIG_IGN);
    sigset_t s;
    sigemptyset(&s), sigaddset(&s, SIGHUP), sigprocmask(SIG_SETMASK, &s, NULL);
    dup2(1, 50), dup2(1, 51), fcntl(51, F_SETFD, 1);
    umask(031);
    exec_self("state");
}
static void exec_thread_dies(void *p) { msleep(10000); }
static void exec_threads(void) {
    pthread_t t;
    pthread_create(&t, NULL, (void *)exec_thread_dies, NULL);
    msleep(10);
    exec_self("args");
}
static void *exec_other(void *p) { exec_self("pid"); return p; }
static void exec_by_thread(void) {
    pthread_t t;
    char text[20];
    snprintf(text, sizeof text, "%d", getpid());
    put_file("pid", text);
    pthread_create(&t, NULL, exec_other, NULL);
    msleep(5000);
}
static void exec_vfork(void) {
    pid_t child = vfork();
    if (child == 0) exec_self("args");
    int status;
    waitpid(child, &status, 0);
    _exit(WEXITSTATUS(status) + 1);
}

static void execs(void) {
    char *none[] = {NULL}, *args[] = {"a", NULL};
    CALL("execve missing", SYS_execve, "missing", args, none);
    CALL("execve directory", SYS_execve, ".", args, none);
    put_file("plain", "\x7f" "nonsense");
    CALL("execve not executable", SYS_execve, "plain", args, none);
    chmod("plain", 0755);
    CALL("execve no program", SYS_execve, "plain", args, none);
    put_file("nothing", "#!/missing/interpreter\n"), chmod("nothing", 0755);
    CALL("execve missing interpreter", SYS_execve, "./nothing", args, none);
    put_file("loop", "#!./loop\n"), chmod("loop", 0755);
    CALL("execve interpreter of itself", SYS_execve, "./loop", args, none);
    CALL("execve bad pointer", SYS_execve, BAD, args, none);
    CALL("execve bad arguments", SYS_execve, self, BAD, none);
    char *bad[] = {"a", (char *)8, NULL};
    CALL("execve bad argument", SYS_execve, self, bad, none);
    CALL("execveat missing", SYS_execveat, AT_FDCWD, "missing", args, none, 0);
    CALL("execveat empty path", SYS_execveat, AT_FDCWD, "", args, none, 0);
    CALL("execveat bad descriptor", SYS_execveat, NOFD, "x", args, none, 0);
    CALL("execveat flags", SYS_execveat, AT_FDCWD, "plain", args, none, 0x8000);
    symlink(self, "link");
    CALL("execveat no follow", SYS_execveat, AT_FDCWD, "link", args, none, AT_SYMLINK_NOFOLLOW);
    ended("execve end", exec_args);
    ended("execve own link end", exec_link);
    ended("execveat descriptor end", exec_at);
    ended("execve script end", exec_script);
    ended("execve no arguments end", exec_no_arguments);
    ended("execve no list end", exec_no_list);
    ended("execve large stack end", exec_deep);
    ended("execve native end", exec_native);
    ended("execve state end", exec_state);
    ended("execve other threads end", exec_threads);
    ended("execve by a thread end", exec_by_thread);
    ended("execve after vfork end", exec_vfork);
}

static void groups(void) {
    CALL("setpgid", SYS_setpgid, 0, 0);
    SHOW("getpgid", "%d %d", getpgid(0) == getpid(), (int)syscall(SYS_getpgid, 0) == getpid());
    CALL("getpgid process", SYS_getpgid, 0x7ffffff0);
    CALL("setpgid process", SYS_setpgid, 0x7ffffff0, 0);
    CALL("setpgid negative", SYS_setpgid, 0, -1);
    CALL("setsid leader", SYS_setsid);
    CALL("getsid process", SYS_getsid, 0x7ffffff0);
    fflush(stdout);
    if (fork() == 0) {
        SHOW("setsid", "%d", syscall(SYS_setsid) == getpid());
        SHOW("getsid", "%d %d", getsid(0) == getpid(), getpgid(0) == getpid());
        _exit(0);
    }
    wait(NULL);
    SHOW("getpid", "%d", getpid() > 1);
    SHOW("getppid", "%d", getppid() > 0);
    CALL("vhangup", SYS_vhangup);
}

static void controls(void) {
    char name[16] = {0};
    int n = 99;
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CALL("prctl set name", SYS_prctl, PR_SET_NAME, "a name that is too long");
    CALL("prctl get name", SYS_prctl, PR_GET_NAME, name);
    SHOW("prctl name", "%s", name);
    CALL("prctl name bad pointer", SYS_prctl, PR_SET_NAME, BAD);
    CALL("prctl death signal", SYS_prctl, PR_SET_PDEATHSIG, SIGTERM);
    CALL("prctl death signal number", SYS_prctl, PR_SET_PDEATHSIG, 99);
    CALL("prctl get death signal", SYS_prctl, PR_GET_PDEATHSIG, &n);
    SHOW("prctl death signal is", "%d", n);
    CALL("prctl dumpable", SYS_prctl, PR_GET_DUMPABLE);
    CALL("prctl set dumpable", SYS_prctl, PR_SET_DUMPABLE, 0);
    CALL("prctl set dumpable value", SYS_prctl, PR_SET_DUMPABLE, 9);
    CALL("prctl keep capabilities", SYS_prctl, PR_GET_KEEPCAPS);
    CALL("prctl no new privileges", SYS_prctl, PR_GET_NO_NEW_PRIVS, 0L, 0L, 0L, 0L);
    CALL("prctl no new privileges arguments", SYS_prctl, PR_GET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L);
    CALL("prctl slack", SYS_prctl, PR_SET_TIMERSLACK, 12345L);
    CALL("prctl slack is", SYS_prctl, PR_GET_TIMERSLACK);
    CALL("prctl subreaper", SYS_prctl, PR_SET_CHILD_SUBREAPER, 1L);
    n = 0;
    CALL("prctl subreaper get", SYS_prctl, PR_GET_CHILD_SUBREAPER, &n);
    SHOW("prctl subreaper is", "%d", n);
    CALL("prctl bounding set", SYS_prctl, PR_CAPBSET_READ, 0L);
    CALL("prctl timing", SYS_prctl, PR_GET_TIMING);
    CALL("prctl unknown", SYS_prctl, 9999, 0L, 0L, 0L, 0L);
    CALL("prctl unaligned accesses", SYS_prctl, PR_GET_UNALIGN, &n);
    CALL("prctl time stamp counter", SYS_prctl, PR_GET_TSC, &n);
    CALL("prctl machine check", SYS_prctl, PR_MCE_KILL_GET, 0L, 0L, 0L, 0L);
    CALL("prctl name of memory", SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, page, 4096L, "x");
    CALL("prctl seccomp", SYS_prctl, PR_GET_SECCOMP, 0L, 0L, 0L, 0L);
}

// What an executed program finds.
static int executed(int argc, char **argv, char **envp) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(argv[1], "args")) {
        printf("execve arguments: %d", argc);
        for (int i = 0; i < argc; i++) printf(" [%s]", argv[i]);
        for (char **e = envp; *e; e++) printf(" {%s}", *e);
        puts("");
        return 31;
    }
    if (!strcmp(argv[1], "script")) {
        // The kernel takes all that follows as one argument, its blanks stripped.
        return 32;
    }
    if (!strcmp(argv[1], "script arg")) {
        printf("execve script arguments: %d", argc);
        for (int i = 2; i < argc; i++) printf(" [%s]", argv[i]);
        puts("");
        return 33;
    }
    if (!strcmp(argv[1], "fd")) {
        printf("execveat arguments: %d %s\n", argc, argv[0]);
        return 34;
    }
    if (!strcmp(argv[1], "state")) {
        struct sigaction a, b, c, d;
        sigaction(SIGUSR1, NULL, &a), sigaction(SIGUSR2, NULL, &b), sigaction(SIGSEGV, NULL, &c), sigaction(SIGPIPE, NULL, &d);
        sigset_t s;
        sigprocmask(SIG_SETMASK, NULL, &s);
        SHOW("execve keeps ignored signals", "%d %d %d %d", a.sa_handler == SIG_IGN, b.sa_handler == SIG_DFL,
             c.sa_handler == SIG_IGN, d.sa_handler == SIG_IGN);
        SHOW("execve keeps the mask", "%d %d", sigismember(&s, SIGHUP), sigismember(&s, SIGUSR1));
        SHOW("execve descriptors", "%d %d %o", fcntl(50, F_GETFD), fcntl(51, F_GETFD), umask(0));
        return 35;
    }
    if (!strcmp(argv[1], "pid")) {
        char text[20] = {0};
        read(open("pid", O_RDONLY), text, 19);
        SHOW("execve by a thread keeps the number", "%d %d", atoi(text) == getpid(), gettid() == getpid());
        return 36;
    }
    if (!strcmp(argv[1], "deep")) {
        SHOW("execve large stack", "%d", deep(280L << 20));
        return 37;
    }
    return 1;
}

__attribute__((constructor)) static void early(int argc, char **argv, char **envp) {
    if (argc > 1) exit(executed(argc, argv, envp));
    if (getenv("NONE")) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        SHOW("execve no arguments", "%d [%s]", argc, argc ? argv[0] : "");
        exit(38);
    }
    self = realpath("/proc/self/exe", NULL);
}

static void start(void) {
    SHOW("execve auxiliary vector", "%lu %lu %d %d %lu %s", getauxval(AT_PAGESZ), getauxval(AT_CLKTCK),
         getauxval(AT_RANDOM) != 0, getauxval(AT_UID) == getuid(), getauxval(AT_SECURE),
         strrchr((char *)getauxval(AT_EXECFN), '/'));
    SHOW("execve headers", "%lu %d", getauxval(AT_PHENT), getauxval(AT_PHNUM) > 3);
#ifdef __riscv
    SHOW("execve hardware", "%#lx", getauxval(AT_HWCAP));
#endif
}

void run(void) {
    start();
    forks();
    execs();
    groups();
    controls();
}
