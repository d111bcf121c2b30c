// Signals that faults raise, sent while they are blocked: they pend like all others.
#include "calls.h"
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>

static const int FAULTS[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
static volatile int count, last, code, value;
static void note(int s, siginfo_t *i, void *c) {
    (void)c;
    count++, last = s, code = i->si_code, value = i->si_value.sival_int;
}
static void block(int how, int s) {
    sigset_t m;
    sigemptyset(&m), sigaddset(&m, s);
    pthread_sigmask(how, &m, NULL);
}
static uint64_t bit(int s) { return 1ul << (s - 1); }
static uint64_t pending(void) {
    uint64_t m = 0;
    syscall(SYS_rt_sigpending, &m, 8L);
    return m;
}
static int wait_for(uint64_t set, siginfo_t *i, long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    memset(i, 0, sizeof *i);
    errno = 0;
    return syscall(SYS_rt_sigtimedwait, &set, i, &t, 8L);
}
static void queue(int s, int n) { sigqueue(getpid(), s, (union sigval){.sival_int = n}); }

static void one(int s) {
    siginfo_t i;
    block(SIG_BLOCK, s);
    kill(getpid(), s);
    SHOW("rt_sigpending of a fault's", "%d: %#lx %#lx", s, (long)pending(), (long)pending());
    queue(s, 5);
    int got = wait_for(bit(s), &i, 0);
    SHOW("rt_sigtimedwait of a fault's", "%d: %d %d %d", s, got, i.si_code, i.si_pid == getpid());
    got = wait_for(bit(s), &i, 0);
    SHOW("rt_sigtimedwait of a fault's only once", "%d: %d %#lx", s, got, (long)pending());
    queue(s, 6);
    got = wait_for(~0ul, &i, 0);
    SHOW("rt_sigtimedwait of a queued fault's", "%d: %d %d %d", s, got, i.si_code, i.si_value.sival_int);
    syscall(SYS_tgkill, getpid(), gettid(), s);
    got = wait_for(bit(SIGUSR2), &i, 1);
    SHOW("rt_sigtimedwait of others", "%d: %d %#lx", s, got, (long)pending());
    count = 0;
    block(SIG_UNBLOCK, s);
    SHOW("rt_sigprocmask lets a fault's in", "%d: %d %d %d %#lx", s, count, last, code, (long)pending());
    block(SIG_BLOCK, s);
    queue(s, 7);
    uint64_t none = 0;
    count = 0;
    int r = syscall(SYS_rt_sigsuspend, &none, 8L);
    SHOW("rt_sigsuspend lets a fault's in", "%d: %d %d %d %d", s, r, errno, count, value);
    int p[2];
    pipe(p);
    struct pollfd f = {p[0], POLLIN, 0};
    struct timespec t = {5, 0};
    queue(s, 8), count = 0;
    r = syscall(SYS_ppoll, &f, 1L, &t, &none, 8L);
    SHOW("ppoll lets a fault's in", "%d: %d %d %d %d", s, r, errno, count, value);
    queue(s, 9), count = 0;
    write(p[1], "x", 1);
    r = syscall(SYS_ppoll, &f, 1L, &t, &none, 8L);
    SHOW("ppoll ready", "%d: %d %d %#lx", s, r, count, (long)pending());
    fd_set set;
    FD_ZERO(&set);
    uint64_t *mask[2] = {&none, (void *)8};
    errno = 0;
    r = syscall(SYS_pselect6, 0, NULL, NULL, NULL, &t, mask);
    SHOW("pselect6 lets a fault's in", "%d: %d %d %d %d", s, r, errno, count, value);
    int e = epoll_create1(0);
    queue(s, 10), count = 0, errno = 0;
    struct epoll_event ev;
    r = syscall(SYS_epoll_pwait, e, &ev, 1, 5000, &none, 8L);
    SHOW("epoll_pwait lets a fault's in", "%d: %d %d %d %d", s, r, errno, count, value);
    close(e), close(p[0]), close(p[1]);
    block(SIG_UNBLOCK, s);
}

static void both(void) {
    siginfo_t i;
    block(SIG_BLOCK, SIGSEGV), block(SIG_BLOCK, SIGBUS);
    queue(SIGSEGV, 1), queue(SIGBUS, 2);
    SHOW("rt_sigpending of both", "%#lx", (long)pending());
    int sum = 0;
    for (int k = 0; k < 2; k++) sum += wait_for(bit(SIGSEGV) | bit(SIGBUS), &i, 0) * 100, sum += i.si_value.sival_int;
    SHOW("rt_sigtimedwait of both", "%d %#lx", sum, (long)pending());
    queue(SIGSEGV, 3), queue(SIGBUS, 4);
    count = 0;
    uint64_t none = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8L);
    SHOW("rt_sigprocmask lets both in", "%d", count);
}

// A call that waits is not ended by a signal that is blocked.
static void waits(int s) {
    siginfo_t i;
    block(SIG_BLOCK, s);
    fflush(stdout);
    pid_t child = fork(), parent = getppid();
    if (child == 0) {
        msleep(60);
        kill(parent, s);
        _exit(0);
    }
    struct timespec t = {0, 150000000};
    int got = syscall(SYS_nanosleep, &t, NULL);
    SHOW("nanosleep with a blocked fault's", "%d: %d %#lx", s, got, (long)pending());
    waitpid(child, NULL, 0);
    got = wait_for(bit(s), &i, 5000);
    SHOW("rt_sigtimedwait after it slept", "%d: %d %d", s, got, i.si_pid == child);
    child = fork();
    if (child == 0) {
        msleep(60);
        kill(getppid(), s);
        _exit(0);
    }
    got = wait_for(bit(s), &i, 5000);
    SHOW("rt_sigtimedwait sleeps", "%d: %d %d", s, got, i.si_pid == child);
    waitpid(child, NULL, 0);
    block(SIG_UNBLOCK, s);
}

static void *waiter(void *s) {
    siginfo_t i;
    return (void *)(long)wait_for(bit((long)s), &i, 5000);
}
static void threads(int s) {
    block(SIG_BLOCK, s);
    pthread_t t;
    void *r;
    pthread_create(&t, NULL, waiter, (void *)(long)s);
    msleep(60);
    kill(getpid(), s);
    for (volatile int n = 0; n < 1000000; n++) {}
    pthread_join(t, &r);
    SHOW("rt_sigtimedwait of a thread", "%d: %ld", s, (long)r);
    kill(getpid(), s);
    for (volatile int n = 0; n < 1000000; n++) {}
    pthread_create(&t, NULL, waiter, (void *)(long)s);
    pthread_join(t, &r);
    SHOW("rt_sigtimedwait of a thread that comes later", "%d: %ld", s, (long)r);
    syscall(SYS_tgkill, getpid(), gettid(), s);
    siginfo_t i;
    pthread_create(&t, NULL, waiter, (void *)(long)SIGUSR2);
    msleep(10);
    SHOW("rt_sigpending of a thread's own", "%d: %#lx", s, (long)pending());
    pthread_kill(t, SIGUSR2);
    pthread_join(t, &r);
    wait_for(bit(s), &i, 0);
    block(SIG_UNBLOCK, s);
}

static void described(int s) {
    block(SIG_BLOCK, s);
    uint64_t set = bit(s);
    struct signalfd_siginfo info;
    int f = syscall(SYS_signalfd4, -1, &set, 8L, SFD_NONBLOCK);
    int none = read(f, &info, sizeof info);
    SHOW("read signalfd of a fault's empty", "%d: %d %d", s, none, errno);
    queue(s, 11);
    struct pollfd p = {f, POLLIN, 0};
    SHOW("ppoll signalfd of a fault's", "%d: %d", s, poll(&p, 1, 0));
    int e = epoll_create1(0);
    struct epoll_event ev = {EPOLLIN}, got;
    epoll_ctl(e, EPOLL_CTL_ADD, f, &ev);
    SHOW("epoll_pwait signalfd of a fault's", "%d: %d", s, epoll_wait(e, &got, 1, 0));
    memset(&info, 0, sizeof info);
    int r = read(f, &info, sizeof info);
    SHOW("read signalfd of a fault's", "%d: %d %u %d %d", s, r, info.ssi_signo, info.ssi_code, info.ssi_int);
    r = poll(&p, 1, 0);
    SHOW("ppoll signalfd read", "%d: %d %#lx", s, r, (long)pending());
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        msleep(60);
        kill(getppid(), s);
        _exit(0);
    }
    SHOW("ppoll signalfd sleeps", "%d: %d", s, poll(&p, 1, 5000));
    fcntl(f, F_SETFL, 0);
    r = read(f, &info, sizeof info);
    SHOW("read signalfd from a child", "%d: %d %d", s, r, (int)info.ssi_pid == child);
    waitpid(child, NULL, 0);
    close(f), close(e);
    block(SIG_UNBLOCK, s);
}

static int inherits(void) {
    fflush(stdout);
    block(SIG_BLOCK, SIGSEGV);
    kill(getpid(), SIGSEGV);
    pid_t child = fork();
    if (child == 0) _exit(pending() != 0);
    int status;
    waitpid(child, &status, 0);
    siginfo_t i;
    wait_for(bit(SIGSEGV), &i, 0);
    block(SIG_UNBLOCK, SIGSEGV);
    return status;
}

static int quiet(void) {
    siginfo_t i;
    return wait_for(bit(SIGSEGV), &i, 0);
}
// A fault is not what pends: it ends a program that blocks it.
static void faults(void) {
    block(SIG_BLOCK, SIGSEGV);
    kill(getpid(), SIGSEGV);
    if (quiet() != SIGSEGV) return;
    *(volatile int *)16 = 1;
}

// The test executes itself: what is blocked and pends there.
static void executed(void) {
    sigset_t m;
    siginfo_t i;
    pthread_sigmask(SIG_BLOCK, NULL, &m);
    int blocked = sigismember(&m, SIGSEGV) * 10 + sigismember(&m, SIGBUS);
    uint64_t then = pending();
    int got = wait_for(then, &i, 0);
    SHOW("execve keeps what pends", "%d %#lx %d %d", blocked, (long)then, got, i.si_value.sival_int);
    // Faults are still faults.
    SHOW("read bad pointer", "%d", (int)syscall(SYS_pipe2, 8L, 0));
    fflush(stdout);
}
static void executes(void) {
    char *args[] = {"/proc/self/exe", NULL}, *env[] = {"EXECUTED=1", NULL}, *bad[] = {NULL};
    block(SIG_BLOCK, SIGSEGV);
    queue(SIGSEGV, 21);
    execve("/", args, bad);
    SHOW("execve failed", "%#lx", (long)pending());
    execve("/proc/self/exe", args, env);
}

void run(void) {
    if (getenv("EXECUTED")) return executed();
    alarm(15);
    for (int k = 0; k < 5; k++) {
        struct sigaction a = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
        sigaction(FAULTS[k], &a, NULL);
    }
    block(SIG_BLOCK, SIGUSR2);
    for (int k = 0; k < 5; k++) {
        one(FAULTS[k]);
        waits(FAULTS[k]);
        threads(FAULTS[k]);
        described(FAULTS[k]);
    }
    both();
    ended("execve end", executes);
    SHOW("rt_sigpending is not inherited", "%d", inherits());
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    ended("rt_sigpending does not keep faults back", faults);
}
