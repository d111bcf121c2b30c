// Children that share their parent's memory and run beside it, and others that plain fork does not make.
#include "calls.h"
#include <linux/futex.h>
#include <linux/sched.h>

static char stacks[2][1 << 16] __attribute__((aligned(16)));
static volatile int stage, seen;
static int parent_tid, child_tid;

// A child with these flags; -1 where there is none.
static pid_t child(int (*f)(void *), void *arg, int flags) {
    stage = seen = 0, child_tid = 1, parent_tid = 0;
    fflush(stdout);
    return clone(f, stacks[0] + sizeof stacks[0], CLONE_VM | SIGCHLD | flags, arg, &parent_tid, NULL, &child_tid);
}
static void reach(int s) {
    for (int i = 0; stage < s && i < 5000; i++) msleep(1);
}
static int ends(pid_t pid) {
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

static int meets(void *p) {
    seen = (long)p;
    stage = 1;
    reach(2);
    return seen == 5 ? 7 : 8;
}
static void beside(void) {
    pid_t pid = child(meets, (void *)4L, CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID);
    WORKS("clone shares memory", pid);
    reach(1);
    SHOW("clone shares memory both see it", "%d %d", seen, parent_tid == pid);
    seen = 5, stage = 2;
    // Only the kernel clears it when a process ends.
    struct timespec t = {5, 0};
    while (pid > 0 && __atomic_load_n(&child_tid, __ATOMIC_SEQ_CST) && syscall(SYS_futex, &child_tid, FUTEX_WAIT, 1, &t, NULL, 0) == 0) {}
    SHOW("clone shares memory cleared", "%d", child_tid);
    SHOW("clone shares memory end", "%#x", ends(pid));
}

static int closes(void *p) {
    (void)p;
    close(stage == 0 ? 91 : -1);
    signal(SIGUSR2, SIG_IGN);
    chdir("/");
    return 0;
}
static void parts(void) {
    char here[PATH_MAX], now[PATH_MAX];
    for (int i = 0; i < 2; i++) {
        int flags = i ? CLONE_FILES | CLONE_SIGHAND | CLONE_FS : 0;
        dup2(1, 91), signal(SIGUSR2, SIG_DFL), getcwd(here, sizeof here);
        int status = ends(child(closes, NULL, flags));
        struct sigaction a;
        sigaction(SIGUSR2, NULL, &a);
        getcwd(now, sizeof now);
        SHOW("clone shares", "%#x %d %d %d", status, fcntl(91, F_GETFD) == -1, a.sa_handler == SIG_IGN, !strcmp(here, now));
        chdir(here);
    }
    signal(SIGUSR2, SIG_DFL);
    CALL("clone shares handlers without memory", SYS_clone, CLONE_SIGHAND | SIGCHLD, 0L, NULL, NULL, NULL);
}

static int executes(void *p) {
    (void)p;
    char *args[] = {"sh", "-c", "exit 23", NULL}, *none[] = {NULL};
    execve("/bin/sh", args, none);
    return 1;
}
static int spins(void *p) {
    (void)p;
    for (stage = 1;;) seen++;
}
static int crashes(void *p) {
    (void)p;
    *(volatile int *)16 = 1;
    return 0;
}
static int forks(void *p) {
    (void)p;
    int status = 0;
    pid_t pid = syscall(SYS_clone, SIGCHLD, 0L, NULL, NULL, NULL);
    if (pid == 0) {
        seen = 99;
        syscall(SYS_exit_group, 5);
    }
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status) + seen;
}
static int again(void *p) {
    (void)p;
    int status = 0;
    pid_t pid = clone(meets, stacks[1] + sizeof stacks[1], CLONE_VM | SIGCHLD, (void *)3L);
    reach(1);
    status = seen;
    seen = 5, stage = 2;
    int end = -1;
    waitpid(pid, &end, 0);
    return status * 10 + WEXITSTATUS(end);
}
static void various(void) {
    SHOW("clone shares and executes", "%#x", ends(child(executes, NULL, 0)));
    SHOW("clone shares and crashes", "%#x", ends(child(crashes, NULL, 0)) & ~0x80);
    pid_t pid = child(spins, NULL, 0);
    if (pid > 0) {
        reach(1);
        kill(pid, SIGKILL);
    }
    SHOW("clone shares and is killed", "%#x", ends(pid));
    SHOW("clone shares and forks", "%#x", ends(child(forks, NULL, 0)));
    SHOW("clone shares and clones", "%#x", ends(child(again, NULL, 0)));
    int good = 0;
    for (int i = 0; i < 60; i++) good += ends(child(closes, NULL, CLONE_FILES)) == 0;
    SHOW("clone shares many times", "%d", good);
    SHOW("clone shares without wait", "%d", (int)waitpid(-1, NULL, __WALL));
}

// A handler runs in the child that the signal was sent to, and not in its parent.
static volatile int handled_by;
static void handle(int s) { (void)s, handled_by = getpid(), stage = 2; }
static int waits(void *p) {
    (void)p;
    stage = 1;
    reach(2);
    return stage == 2 ? 0 : 1;
}
static void signals(void) {
    signal(SIGUSR1, handle);
    handled_by = 0;
    pid_t pid = child(waits, NULL, 0);
    reach(pid > 0 ? 1 : 0);
    if (pid > 0) kill(pid, SIGUSR1);
    int status = ends(pid);
    SHOW("clone shares and is signalled", "%#x %d", status, pid > 0 && handled_by == pid);
    pid = child(waits, NULL, 0), reach(pid > 0 ? 1 : 0), stage = 2;
    siginfo_t i = {0};
    int r = waitid(P_PID, pid, &i, WEXITED);
    SHOW("clone shares waitid", "%d %d %d", r, i.si_code, i.si_status);
}

// The parent ends first.
static int pipes[2];
static int outlives(void *p) {
    pid_t parent = (long)p;
    for (int i = 0; getppid() == parent && i < 5000; i++) msleep(1);
    write(pipes[1], "x", 1);
    return 0;
}
static void orphan(void) { child(outlives, (void *)(long)getpid(), 0); }
static void orphaned(void) {
    pipe(pipes);
    ended("clone shares with a parent that ends", orphan);
    close(pipes[1]);
    char c = 0;
    SHOW("clone shares and outlives", "%d", (int)read(pipes[0], &c, 1));
    close(pipes[0]);
}

// By clone3, with a descriptor.
static void described(void) {
    int fd = -1;
    struct clone_args a = {
        .flags = CLONE_VM | CLONE_PIDFD | CLONE_PARENT_SETTID, .pidfd = (long)&fd, .parent_tid = (long)&parent_tid, .exit_signal = SIGCHLD};
    a.stack = (long)stacks[0], a.stack_size = sizeof stacks[0];
    fflush(stdout);
    stage = 0;
    // The child has a stack without frames: it goes nowhere but into the kernel.
    long pid;
#ifdef __riscv
    register long a0 asm("a0") = (long)&a, a1 asm("a1") = sizeof a, a7 asm("a7") = SYS_clone3;
    asm volatile("ecall\n bnez a0, 1f\n li a0, 33\n li a7, 94\n ecall\n 1:" : "+r"(a0), "+r"(a7) : "r"(a1) : "memory");
    pid = a0;
#else
    asm volatile("syscall\n test %%rax, %%rax\n jnz 1f\n mov $33, %%edi\n mov $231, %%eax\n syscall\n 1:"
                 : "=a"(pid) : "a"(SYS_clone3), "D"(&a), "S"(sizeof a) : "rcx", "r11", "memory");
#endif
    siginfo_t i = {0};
    int r = pid > 0 ? waitid(P_PIDFD, fd, &i, WEXITED) : -1;
    SHOW("clone3 shares memory", "%d %d %d %d", pid > 0, r, i.si_status, parent_tid == pid);
}

// Children with memory of their own, by more than plain fork, while other threads start and end and open files: what
// those have locked must not stay locked in a child.
enum { BUSY = 60 };
static volatile int enough;
static void *nothing(void *p) { return p; }
static void *busy(void *p) {
    while (!enough) {
        pthread_t t;
        if (pthread_create(&t, NULL, nothing, NULL) == 0) pthread_join(t, NULL);
        close(open("/proc/self/maps", O_RDONLY));
    }
    return p;
}
static void among_threads(void) {
    pthread_t t[BUSY];
    for (int i = 0; i < BUSY; i++) pthread_create(&t[i], NULL, busy, NULL);
    int made = 0, good = 0, hung = 0;
    time_t end = time(NULL) + 3;
    for (; made < 100 && !hung && time(NULL) < end; made++) {
        pid_t pid = syscall(SYS_clone, 0x80000000ul /* CLONE_IO */ | SIGCHLD, 0L, NULL, NULL, NULL);
        if (pid == 0) {
            for (int k = 0; k < 5; k++) syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY, 0));
            syscall(SYS_exit_group, 9);
        }
        int status = 0, r = 0;
        for (int k = 0; k < 4000 && !(r = waitpid(pid, &status, WNOHANG)); k++) msleep(1);
        if (r == 0) {
            hung++;
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
        }
        good += WEXITSTATUS(status) == 9;
    }
    enough = 1;
    for (int i = 0; i < BUSY; i++) pthread_join(t[i], NULL);
    SHOW("clone among threads", "%d %d", made > 0 && good == made, hung);
}

void run(void) {
    beside();
    parts();
    various();
    signals();
    orphaned();
    described();
    among_threads();
}
