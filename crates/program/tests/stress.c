/* `cargo xtask test stress`: threads that lock, wait, signal each other, map, unmap and protect memory, fault, write
   code and run it, and start children, all at once. Every thread checks its own results. Argument: seconds.
   Prints "ok" and how often each did its work, or what went wrong. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static atomic_int stop;
static atomic_ulong done[8];
static const char *names[] = {"locks", "waits", "signals", "maps", "faults", "code", "children", "sleeps"};

static void fail(const char *what, long got) {
    printf("failed: %s (%ld, errno %d)\n", what, got, errno);
    fflush(stdout);
    _exit(1);
}

static void check(int good, const char *what, long got) {
    if (!good) fail(what, got);
}

/* Two counters under one lock stay equal. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long a, b;
static void *locks(void *arg) {
    (void)arg;
    while (!stop) {
        pthread_mutex_lock(&lock);
        check(a == b, "counters under a lock differ", (long)(a - b));
        a++;
        if (a % 64 == 0) sched_yield();
        b++;
        pthread_mutex_unlock(&lock);
        done[0]++;
    }
    return 0;
}

/* A ball goes to and fro between two threads. */
static pthread_mutex_t ball_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ball_moved = PTHREAD_COND_INITIALIZER;
static int ball;
static void *waits(void *arg) {
    int me = (int)(intptr_t)arg;
    pthread_mutex_lock(&ball_lock);
    while (!stop) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_sec += 1;
        while (ball != me && !stop) {
            int e = pthread_cond_timedwait(&ball_moved, &ball_lock, &t);
            check(e == 0 || e == ETIMEDOUT, "pthread_cond_timedwait", e);
            if (e == ETIMEDOUT) break;
        }
        if (ball == me) {
            ball = !me;
            done[1]++;
            pthread_cond_broadcast(&ball_moved);
        }
    }
    pthread_mutex_unlock(&ball_lock);
    return 0;
}

/* Signals interrupt a computation whose result must not change. */
static atomic_ulong arrived;
static void on_signal(int n, siginfo_t *info, void *context) {
    (void)context;
    check(info->si_signo == n, "si_signo", info->si_signo);
    arrived++;
}
static uint64_t hash(uint64_t x, int rounds) {
    double d = 1.0;
    for (int i = 0; i < rounds; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        d = d * 1.0000001 + (double)(x & 15);
    }
    return x ^ (uint64_t)d;
}
static pthread_t computing;
static void *computes(void *arg) {
    (void)arg;
    uint64_t want = hash(42, 20000);
    while (!stop) {
        uint64_t got = hash(42, 20000);
        check(got == want, "a computation that signals interrupt", (long)got);
        done[2]++;
    }
    return 0;
}
static void *signals(void *arg) {
    (void)arg;
    while (!stop) {
        pthread_kill(computing, SIGUSR1);
        usleep(200);
    }
    return 0;
}

/* Memory that is mapped, grown, moved, protected and unmapped holds what was written. */
static void *maps(void *arg) {
    unsigned seed = (unsigned)(intptr_t)arg;
    while (!stop) {
        size_t pages = 1 + rand_r(&seed) % 40, size = pages * 4096;
        unsigned char *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        check(p != MAP_FAILED, "mmap", (long)size);
        for (size_t i = 0; i < size; i += 512) p[i] = (unsigned char)(i / 512 + seed);
        unsigned char first = p[0];
        p = mremap(p, size, 2 * size, MREMAP_MAYMOVE);
        check(p != MAP_FAILED, "mremap", (long)size);
        check(mprotect(p, size, PROT_READ) == 0, "mprotect", 0);
        for (size_t i = 0; i < size; i += 512)
            check(p[i] == (unsigned char)(first + i / 512), "memory changed", (long)i);
        check(p[size] == 0, "new memory is not zero", p[size]);
        check(munmap(p, 2 * size) == 0, "munmap", 0);
        done[3]++;
    }
    return 0;
}

/* Faults tell their address, and the handler goes on elsewhere. */
static _Thread_local sigjmp_buf back;
static _Thread_local void *volatile fault_at;
static void on_fault(int n, siginfo_t *info, void *context) {
    (void)n;
    (void)context;
    fault_at = info->si_addr;
    siglongjmp(back, 1);
}
static void *faults(void *arg) {
    (void)arg;
    volatile char *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(p != MAP_FAILED, "mmap", 0);
    check(mprotect((void *)(p + 4096), 4096, PROT_NONE) == 0, "mprotect", 0);
    for (unsigned long i = 0; !stop; i++) {
        volatile char *at = p + 4096 + i % 4096;
        if (sigsetjmp(back, 1) == 0) {
            if (i & 1)
                *at = 1;
            else
                (void)*at;
            fail("no fault", (long)i);
        }
        check(fault_at == (void *)at, "si_addr", (long)fault_at);
        done[4]++;
    }
    return 0;
}

/* Code that is written again and again does what was written last. Few values, so that one often comes back. */
static void *code(void *arg) {
    (void)arg;
    uint32_t *p = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(p != MAP_FAILED, "mmap", 0);
    unsigned seed = (unsigned)(intptr_t)arg;
    while (!stop) {
        unsigned n = rand_r(&seed) & 7, at = rand_r(&seed) % 500 * 2;
        p[at] = n << 20 | 0x513; /* li a0, n */
        p[at + 1] = 0x8067;      /* ret */
        if (n & 1)
            __builtin___clear_cache((char *)(p + at), (char *)(p + at + 2));
        else
            __asm__ volatile("fence.i" ::: "memory");
        for (int i = 0; i < 20; i++) {
            long got = ((long (*)(void))(p + at))();
            check(got == (long)n, "old code ran", got);
        }
        done[5]++;
    }
    return 0;
}

/* Children by fork, some of which become another program. */
static void *children(void *arg) {
    const char *self = arg;
    for (int i = 0; !stop; i++) {
        pid_t pid = fork();
        check(pid >= 0, "fork", pid);
        if (pid == 0) {
            if (i % 4 == 0) execl(self, self, "child", (char *)0);
            _exit(hash(7, 100) == hash(7, 100) ? 7 : 8);
        }
        int status = 0;
        while (waitpid(pid, &status, 0) < 0) check(errno == EINTR, "waitpid", pid);
        check(WIFEXITED(status) && WEXITSTATUS(status) == 7, "a child's end", status);
        done[6]++;
    }
    return 0;
}

/* Sleeps that an interval timer interrupts. */
static void *sleeps(void *arg) {
    (void)arg;
    while (!stop) {
        /* The kernel may sleep a little longer (timer slack), and so more may be left. */
        struct timespec t = {0, 3000000}, left = {0, 0};
        int e = nanosleep(&t, &left);
        check(e == 0 || errno == EINTR, "nanosleep", e);
        check(left.tv_sec == 0 && left.tv_nsec <= 4000000, "what is left of a sleep", left.tv_nsec);
        done[7]++;
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "child") == 0) return 7;
    int seconds = argc > 1 ? atoi(argv[1]) : 10;
    struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGUSR1, &act, 0);
    act.sa_flags = SA_SIGINFO;
    sigaction(SIGALRM, &act, 0);
    act.sa_sigaction = on_fault;
    sigaction(SIGSEGV, &act, 0);
    struct itimerval timer = {{0, 5000}, {0, 5000}};
    setitimer(ITIMER_REAL, &timer, 0);
    pthread_t t[16];
    int n = 0;
    void *(*const work[])(void *) = {locks, locks, waits, waits, maps, maps, faults, code, code, children, sleeps};
    pthread_create(&computing, 0, computes, 0);
    for (size_t i = 0; i < sizeof work / sizeof *work; i++)
        pthread_create(&t[n++], 0, work[i], work[i] == children ? (void *)argv[0] : (void *)(intptr_t)(i & 1));
    pthread_create(&t[n++], 0, signals, 0);
    for (time_t end = time(0) + seconds; time(0) < end;) usleep(50000);
    stop = 1;
    for (int i = 0; i < n; i++) pthread_join(t[i], 0);
    pthread_join(computing, 0);
    timer.it_value.tv_usec = timer.it_interval.tv_usec = 0;
    setitimer(ITIMER_REAL, &timer, 0);
    for (int i = 0; i < 8; i++) check(done[i] > 0, names[i], 0);
    check(arrived > 0, "no signal arrived", 0);
    printf("ok: %lu signals", (unsigned long)arrived);
    for (int i = 0; i < 8; i++) printf(", %lu %s", (unsigned long)done[i], names[i]);
    printf("\n");
    return 0;
}
