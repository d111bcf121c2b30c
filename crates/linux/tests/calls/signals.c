// Signals: handlers and what they are told, masks, stacks, interrupted calls, contexts.
#include "calls.h"
#include <setjmp.h>
#include <sys/prctl.h>
#include <ucontext.h>

static volatile int count, inner, order;
static volatile long seen[8];
static void plain(int s) { count += s; }
static void rich(int s, siginfo_t *i, void *c) {
    (void)c;
    count++;
    seen[0] = s, seen[1] = i->si_code, seen[2] = i->si_pid == getpid(), seen[3] = i->si_uid == getuid();
    seen[4] = i->si_value.sival_int;
}

static void set(int s, void *f, int flags, int blocked) {
    struct sigaction a = {.sa_sigaction = f, .sa_flags = flags};
    sigemptyset(&a.sa_mask);
    if (blocked) sigaddset(&a.sa_mask, blocked);
    sigaction(s, &a, NULL);
}

struct kernel_action { void *handler; unsigned long flags;
#ifndef __riscv
    void *restorer;
#endif
    unsigned long mask; };

static void actions(void) {
    struct kernel_action a = {SIG_IGN, 0xffffffff00000000ul | SA_RESTART, .mask = ~0ul}, b;
    CALL("rt_sigaction", SYS_rt_sigaction, SIGUSR1, &a, NULL, 8L);
    CALL("rt_sigaction old", SYS_rt_sigaction, SIGUSR1, NULL, &b, 8L);
    SHOW("rt_sigaction old is", "%d %#lx %#lx", b.handler == SIG_IGN, b.flags, b.mask);
    CALL("rt_sigaction number", SYS_rt_sigaction, 65, NULL, &b, 8L);
    CALL("rt_sigaction zero", SYS_rt_sigaction, 0, NULL, &b, 8L);
    CALL("rt_sigaction SIGKILL", SYS_rt_sigaction, SIGKILL, &a, NULL, 8L);
    CALL("rt_sigaction SIGKILL old", SYS_rt_sigaction, SIGKILL, NULL, &b, 8L);
    CALL("rt_sigaction size", SYS_rt_sigaction, SIGUSR1, NULL, &b, 16L);
    CALL("rt_sigaction bad pointer", SYS_rt_sigaction, SIGUSR1, BAD, NULL, 8L);
    CALL("rt_sigaction bad old pointer", SYS_rt_sigaction, SIGUSR1, NULL, BAD, 8L);
    set(SIGUSR1, rich, SA_SIGINFO, 0);
    count = 0;
    CALL("kill", SYS_kill, getpid(), SIGUSR1);
    SHOW("kill told", "%d: %ld %ld %ld %ld", count, seen[0], seen[1], seen[2], seen[3]);
    CALL("tgkill", SYS_tgkill, getpid(), gettid(), SIGUSR1);
    SHOW("tgkill told", "%d: %ld %ld %ld %ld", count, seen[0], seen[1], seen[2], seen[3]);
    CALL("tkill", SYS_tkill, gettid(), SIGUSR1);
    SHOW("tkill told", "%d: %ld", count, seen[1]);
    CALL("kill nothing", SYS_kill, getpid(), 0);
    CALL("kill number", SYS_kill, getpid(), 65);
    CALL("kill process", SYS_kill, 0x7ffffff0, SIGUSR1);
    CALL("tgkill process", SYS_tgkill, 1, gettid(), SIGUSR1);
    CALL("tgkill negative", SYS_tgkill, -1, gettid(), SIGUSR1);
    CALL("tkill negative", SYS_tkill, -1, SIGUSR1);
    siginfo_t i = {.si_code = SI_QUEUE};
    i.si_pid = getpid(), i.si_uid = getuid(), i.si_value.sival_int = 1234;
    CALL("rt_sigqueueinfo", SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &i);
    SHOW("rt_sigqueueinfo told", "%d: %ld %ld", count, seen[1], seen[4]);
    CALL("rt_sigqueueinfo bad pointer", SYS_rt_sigqueueinfo, getpid(), SIGUSR1, BAD);
    CALL("rt_sigqueueinfo number", SYS_rt_sigqueueinfo, getpid(), 99, &i);
    i.si_value.sival_int = 77;
    CALL("rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR1, &i);
    SHOW("rt_tgsigqueueinfo told", "%d: %ld", count, seen[4]);
    CALL("rt_tgsigqueueinfo process", SYS_rt_tgsigqueueinfo, 0x7ffffff0, 0x7ffffff0, SIGUSR1, &i);
    int fd = syscall(SYS_pidfd_open, getpid(), 0);
    CALL("pidfd_send_signal", SYS_pidfd_send_signal, fd, SIGUSR1, NULL, 0);
    SHOW("pidfd_send_signal told", "%d: %ld", count, seen[1]);
    CALL("pidfd_send_signal bad descriptor", SYS_pidfd_send_signal, NOFD, SIGUSR1, NULL, 0);
    set(SIGUSR1, plain, SA_RESETHAND, 0);
    raise(SIGUSR1);
    syscall(SYS_rt_sigaction, SIGUSR1, NULL, &b, 8L);
    SHOW("rt_sigaction reset", "%d", b.handler == SIG_DFL);
}

static void masks(void) {
    uint64_t m = 1ul << (SIGUSR1 - 1) | 1ul << (SIGKILL - 1), old, pending;
    set(SIGUSR1, rich, SA_SIGINFO, 0);
    count = 0;
    CALL("rt_sigprocmask block", SYS_rt_sigprocmask, SIG_BLOCK, &m, &old, 8L);
    CALL("rt_sigprocmask read", SYS_rt_sigprocmask, SIG_BLOCK, NULL, &old, 8L);
    SHOW("rt_sigprocmask is", "%#lx", (long)old);
    CALL("rt_sigprocmask how", SYS_rt_sigprocmask, 9, &m, NULL, 8L);
    CALL("rt_sigprocmask size", SYS_rt_sigprocmask, SIG_BLOCK, &m, NULL, 4L);
    CALL("rt_sigprocmask bad pointer", SYS_rt_sigprocmask, SIG_BLOCK, BAD, NULL, 8L);
    kill(getpid(), SIGUSR1), kill(getpid(), SIGUSR1);
    CALL("rt_sigpending", SYS_rt_sigpending, &pending, 8L);
    SHOW("rt_sigpending what", "%#lx", (long)pending);
    CALL("rt_sigpending bad pointer", SYS_rt_sigpending, BAD, 8L);
    CALL("rt_sigpending size", SYS_rt_sigpending, &pending, 80L);
    SHOW("rt_sigprocmask none came", "%d", count);
    uint64_t none = 0;
    CALL("rt_sigsuspend", SYS_rt_sigsuspend, &none, 8L);
    SHOW("rt_sigsuspend came", "%d", count);
    CALL("rt_sigsuspend size", SYS_rt_sigsuspend, &none, 4L);
    CALL("rt_sigsuspend bad pointer", SYS_rt_sigsuspend, BAD, 8L);
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &old, 8L);
    SHOW("rt_sigsuspend mask after", "%#lx", (long)old);
    set(SIGRTMIN, rich, SA_SIGINFO, 0);
    for (int i = 0; i < 3; i++) sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
    m = 1ul << (SIGRTMIN - 1);
    siginfo_t info;
    struct timespec t = {0, 1000000}, wrong = {0, -1};
    uint64_t both = m | 1ul << (SIGUSR1 - 1);
    CALL("rt_sigtimedwait nothing", SYS_rt_sigtimedwait, &(uint64_t){1ul << (SIGUSR1 - 1)}, &info, &t, 8L);
    SHOW("rt_sigtimedwait three came", "%d", count);
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &m, NULL, 8L);
    for (int i = 0; i < 3; i++) sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 10 + i});
    SHOW("rt_sigtimedwait", "%d", (int)syscall(SYS_rt_sigtimedwait, &both, &info, &t, 8L) == SIGRTMIN);
    SHOW("rt_sigtimedwait told", "%d %d %d", info.si_code, info.si_value.sival_int, info.si_pid == getpid());
    CALL("rt_sigtimedwait bad time", SYS_rt_sigtimedwait, &m, &info, &wrong, 8L);
    CALL("rt_sigtimedwait bad pointer", SYS_rt_sigtimedwait, BAD, &info, &t, 8L);
    CALL("rt_sigtimedwait size", SYS_rt_sigtimedwait, &m, &info, &t, 4L);
    count = 0;
    m = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &m, NULL, 8L);
    SHOW("rt_sigprocmask queued came in order", "%d %ld", count, seen[4]);
}

static void in_order(int s) {
    order = order * 10 + s % 10;
    if (s == SIGUSR1) {
        raise(SIGUSR2);
        order = order * 10 + 9;
    }
}
static void deeper(int s) {
    (void)s;
    if (++inner < 4) raise(SIGUSR1);
    order = order * 10 + inner;
}

static void nesting(void) {
    set(SIGUSR1, in_order, 0, 0), set(SIGUSR2, in_order, 0, 0);
    order = 0, raise(SIGUSR1);
    SHOW("rt_sigaction nested", "%d", order);
    set(SIGUSR1, in_order, 0, SIGUSR2);
    order = 0, raise(SIGUSR1);
    SHOW("rt_sigaction nested blocked by the mask", "%d", order);
    set(SIGUSR1, deeper, SA_NODEFER, 0);
    order = 0, raise(SIGUSR1);
    SHOW("rt_sigaction nested in itself", "%d", order);
    set(SIGUSR1, deeper, 0, 0);
    order = 0, inner = 2, raise(SIGUSR1);
    SHOW("rt_sigaction deferred in itself", "%d", order);
}

static char stack[65536] __attribute__((aligned(16)));
static void on_stack(int s) {
    (void)s;
    char here;
    stack_t now;
    sigaltstack(NULL, &now);
    seen[0] = &here >= stack && &here < stack + sizeof stack, seen[1] = now.ss_flags;
    seen[2] = syscall(SYS_sigaltstack, &(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL) == -1 ? errno : 0;
}
static void on_stack_quietly(int s) {
    (void)s;
    char here;
    stack_t now;
    sigaltstack(NULL, &now);
    seen[0] = &here >= stack && &here < stack + sizeof stack, seen[1] = now.ss_flags;
}
static sigjmp_buf back;
static void overflowed(int s) { (void)s; siglongjmp(back, 1); }
static int grow(volatile char *p) {
    volatile char more[4096];
    more[0] = *p;
    return grow(more) + more[0];
}

static void stacks(void) {
    stack_t s = {.ss_sp = stack, .ss_size = sizeof stack}, old;
    CALL("sigaltstack", SYS_sigaltstack, &s, &old);
    SHOW("sigaltstack before", "%d", old.ss_flags);
    set(SIGUSR1, on_stack, SA_ONSTACK, 0);
    raise(SIGUSR1);
    SHOW("sigaltstack in the handler", "%ld %ld %s", seen[0], seen[1], strerrorname_np(seen[2]));
    set(SIGUSR1, on_stack_quietly, 0, 0);
    raise(SIGUSR1);
    SHOW("sigaltstack not asked for", "%ld %ld", seen[0], seen[1]);
    s.ss_flags = 1 << 31;
    CALL("sigaltstack disarm", SYS_sigaltstack, &s, NULL);
    set(SIGUSR1, on_stack_quietly, SA_ONSTACK, 0);
    raise(SIGUSR1);
    SHOW("sigaltstack disarmed in the handler", "%ld %ld", seen[0], seen[1]);
    sigaltstack(NULL, &old);
    SHOW("sigaltstack armed again", "%#x", old.ss_flags);
    s.ss_flags = 0, s.ss_size = 100;
    CALL("sigaltstack small", SYS_sigaltstack, &s, NULL);
    s.ss_size = sizeof stack, s.ss_flags = 77;
    CALL("sigaltstack flags", SYS_sigaltstack, &s, NULL);
    s.ss_flags = 3;
    CALL("sigaltstack both flags", SYS_sigaltstack, &s, NULL);
    CALL("sigaltstack bad pointer", SYS_sigaltstack, BAD, NULL);
    s.ss_flags = 0;
    sigaltstack(&s, NULL);
    set(SIGSEGV, overflowed, SA_ONSTACK, 0);
    int caught = sigsetjmp(back, 1);
    if (!caught) {
        struct rlimit l = {1 << 20, 8 << 20};
        (void)l;
        grow((char *)&caught);
    }
    SHOW("sigaltstack stack overflow", "%d", caught);
    s.ss_flags = SS_DISABLE;
    CALL("sigaltstack disable", SYS_sigaltstack, &s, NULL);
    sigaltstack(NULL, &old);
    SHOW("sigaltstack disabled", "%d", old.ss_flags);
    set(SIGSEGV, SIG_DFL, 0, 0);
}

static void *later(void *signal_after) {
    msleep(60);
    kill(getpid(), (long)signal_after);
    return NULL;
}
// Runs a call that a signal interrupts after 60 ms; `then` is done after 120 ms.
static long interrupted(int flags, long (*call)(void *), void *with) {
    set(SIGUSR1, plain, flags, 0);
    pid_t parent = getpid();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        msleep(60);
        kill(parent, SIGUSR1);
        msleep(60);
        if (with) write(((int *)with)[1], "z", 1);
        _exit(0);
    }
    errno = 0;
    count = 0;
    long r = call(with);
    int e = errno;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    errno = e;
    return r;
}
static long reads(void *p) { char c; return syscall(SYS_read, *(int *)p, &c, 1L); }
static long sleeps(void *p) { (void)p; struct timespec t = {0, 200000000}; return syscall(SYS_nanosleep, &t, NULL); }
static long polls(void *p) { struct pollfd f = {*(int *)p, POLLIN, 0}; return syscall(SYS_ppoll, &f, 1L, NULL, NULL, 8L); }
static int word;
static long futexes(void *p) { (void)p; struct timespec t = {0, 200000000}; return syscall(SYS_futex, &word, 0, 0, &t, NULL, 0); }
static long pauses(void *p) { (void)p; uint64_t m = 0; return syscall(SYS_rt_sigsuspend, &m, 8L); }
static long waits(void *p) { (void)p; return syscall(SYS_wait4, -1, NULL, __WNOTHREAD, NULL) > 0 ? 1 : -1; }
static long locks(void *p) { return syscall(SYS_flock, ((int *)p)[2], 2); }

static void interruptions(void) {
    int p[3];
    pipe(p);
    CHECK("read interrupted", interrupted(0, reads, p));
    CHECK("read restarted", interrupted(SA_RESTART, reads, p));
    CHECK("nanosleep interrupted", interrupted(0, sleeps, NULL));
    CHECK("nanosleep not restarted", interrupted(SA_RESTART, sleeps, NULL));
    CHECK("ppoll not restarted", interrupted(SA_RESTART, polls, p));
    CHECK("futex interrupted", interrupted(0, futexes, NULL));
    CHECK("futex with a time not restarted", interrupted(SA_RESTART, futexes, NULL));
    CHECK("rt_sigsuspend not restarted", interrupted(SA_RESTART, pauses, NULL));
    CHECK("wait4 interrupted", interrupted(0, waits, NULL));
    CHECK("wait4 restarted", interrupted(SA_RESTART, waits, NULL));
    char c;
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    while (read(p[0], &c, 1) > 0) {}
    fcntl(p[0], F_SETFL, 0);
    int held = open("lock", O_CREAT | O_RDWR, 0600);
    flock(held, 2);
    p[2] = open("lock", O_RDWR);
    CHECK("flock interrupted", interrupted(0, locks, p));
}

static volatile int stop;
static void halt(int s) { (void)s, stop = 1; }
static void computing(void) {
    set(SIGALRM, halt, 0, 0);
    struct itimerval t = {{0, 0}, {0, 20000}};
    stop = 0;
    setitimer(ITIMER_REAL, &t, NULL);
    unsigned long n = 0;
    while (!stop) n++;
    SHOW("rt_sigreturn to a loop", "%d", n > 0);
    set(SIGALRM, plain, 0, 0);
    count = 0;
    t = (struct itimerval){{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &t, NULL);
    double d = 0;
    unsigned long h = 1;
    for (long i = 1; i < 3000000; i++) d += 1.0 / i, h = h * 6364136223846793005ul + (h >> 33) + i;
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    SHOW("rt_sigreturn keeps registers", "%.12f %lx", d, h);
    alarm(50);
    set(SIGALRM, SIG_DFL, 0, 0);
}

#ifdef __riscv
#define PC(u) (u)->uc_mcontext.__gregs[0]
#define RESULT(u) (u)->uc_mcontext.__gregs[10]
#define SKIP 4
#else
#define PC(u) (u)->uc_mcontext.gregs[REG_RIP]
#define RESULT(u) (u)->uc_mcontext.gregs[REG_RAX]
#define SKIP 2
#endif
static void skip(int s, siginfo_t *i, void *c) {
    ucontext_t *u = c;
    seen[0] = s, seen[1] = i->si_code, seen[2] = (long)i->si_addr == (long)PC(u);
    PC(u) += SKIP;
    RESULT(u) = 4711;
    sigaddset(&u->uc_sigmask, SIGUSR2);
}
static void contexts(void) {
    set(SIGILL, skip, SA_SIGINFO, 0);
    long r;
#ifdef __riscv
    register long a0 asm("a0") = 1;
    asm volatile(".word 0" : "+r"(a0));
    r = a0;
#else
    asm volatile("ud2" : "=a"(r) : "a"(1));
#endif
    SHOW("rt_sigreturn changed context", "%ld %ld %ld %ld", r, seen[0], seen[1], seen[2]);
    sigset_t m;
    sigprocmask(SIG_BLOCK, NULL, &m);
    SHOW("rt_sigreturn changed mask", "%d", sigismember(&m, SIGUSR2));
#ifdef __riscv
    set(SIGTRAP, skip, SA_SIGINFO, 0);
    asm volatile(".option push\n.option norvc\nebreak\n.option pop" ::: "a0");
    SHOW("rt_sigreturn from a breakpoint", "%ld %ld %ld", seen[0], seen[1], seen[2]);
#endif
}

static void segv(void) { *(volatile int *)16 = 1; }
static void ill(void) {
#ifdef __riscv
    asm volatile(".word 0");
#else
    asm volatile("ud2");
#endif
}
static void ignored(void) { signal(SIGSEGV, SIG_IGN); segv(); }
static void blocked(void) {
    sigset_t s;
    sigfillset(&s), sigprocmask(SIG_SETMASK, &s, NULL);
    set(SIGSEGV, plain, 0, 0);
    segv();
}
static void ends(void) { kill(getpid(), SIGTERM); msleep(1000); }
static void sent(void) { kill(getpid(), SIGSEGV); msleep(1000); }
static void sent_ignored(void) { signal(SIGSEGV, SIG_IGN); kill(getpid(), SIGSEGV); }
static void sent_blocked(void) {
    sigset_t s;
    sigemptyset(&s), sigaddset(&s, SIGSEGV), sigprocmask(SIG_SETMASK, &s, NULL);
    kill(getpid(), SIGSEGV);
    _exit(5);
}
static void sent_handled(void) {
    set(SIGSEGV, rich, SA_SIGINFO, 0);
    count = 0, kill(getpid(), SIGSEGV);
    SHOW("kill SIGSEGV handled", "%d %ld", count, seen[1]);
}
static void aborts(void) { abort(); }
static void no_stack(void) {
    set(SIGUSR1, plain, 0, 0);
#ifdef __riscv
    asm volatile("li sp, 64\n mv a0, %0\n li a1, 10\n li a7, 129\n ecall" ::"r"((long)getpid()) : "a0", "a1", "a7");
#else
    asm volatile("mov $64, %%rsp\n mov $62, %%eax\n mov $10, %%esi\n syscall" ::"D"((long)getpid()) : "rax", "rsi", "rcx", "r11");
#endif
}
static void bus(void) {
    int fd = open("empty", O_CREAT | O_RDWR, 0600);
    *(volatile char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) = 1;
}

void run(void) {
    prctl(PR_SET_DUMPABLE, 0);
    setrlimit(RLIMIT_STACK, &(struct rlimit){1 << 20, RLIM_INFINITY});
    actions();
    masks();
    nesting();
    stacks();
    interruptions();
    computing();
    contexts();
    ended("exit_group by SIGSEGV", segv);
    ended("exit_group by SIGILL", ill);
    ended("exit_group by SIGBUS", bus);
    ended("exit_group by an ignored SIGSEGV", ignored);
    ended("exit_group by a blocked SIGSEGV", blocked);
    ended("exit_group by SIGTERM", ends);
    ended("exit_group by abort", aborts);
    ended("exit_group by a handler without stack", no_stack);
    ended("kill SIGSEGV", sent);
    ended("kill SIGSEGV ignored", sent_ignored);
    ended("kill SIGSEGV blocked", sent_blocked);
    ended("kill SIGSEGV handled end", sent_handled);
}
