/* Litmus tests for a machine of several harts: each names an outcome that RVWMO forbids (unpriv 17 and appendix A), runs for a
 * million rounds and counts it. Rounds of a batch have memory of their own, so that harts only wait for each other between
 * batches. At last counters that every kind of atomic operation must keep exact, and how fairly harts share one.
 *
 * The variable `rounds` gives the number of rounds. Prints a line for each test, and "litmus: ok" at the end. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HARTS = 4, BATCH = 1000 };

/* A location alone in its cache line. */
struct line {
    _Atomic uint64_t v;
    char rest[56];
};

static struct line x[BATCH], y[BATCH];
static uint64_t seen[HARTS][2][BATCH];
static long rounds = 1000000;
static int failed;

#define FENCE(p, s) __asm__ volatile("fence " #p "," #s ::: "memory")
static uint64_t get(struct line *l) { return atomic_load_explicit(&l->v, memory_order_relaxed); }
static void set(struct line *l, uint64_t v) { atomic_store_explicit(&l->v, v, memory_order_relaxed); }

static uint64_t swap_aqrl(struct line *l, uint64_t v) {
    uint64_t old;
    __asm__ volatile("amoswap.d.aqrl %0, %2, (%1)" : "=r"(old) : "r"(&l->v), "r"(v) : "memory");
    return old;
}

static uint64_t load_aq(struct line *l) {
    uint64_t v;
    __asm__ volatile("lr.d.aq %0, (%1)" : "=r"(v) : "r"(&l->v) : "memory");
    return v;
}

static void store_rl(struct line *l, uint64_t v) {
    uint64_t old;
    __asm__ volatile("amoswap.d.rl %0, %2, (%1)" : "=r"(old) : "r"(&l->v), "r"(v) : "memory");
}

static int add_sc(struct line *l) {
    uint64_t v, failed;
    __asm__ volatile("lr.d %0, (%2)\n\taddi %0, %0, 1\n\tsc.d %1, %0, (%2)"
                     : "=&r"(v), "=&r"(failed) : "r"(&l->v) : "memory");
    return !failed;
}

/* Message passing. */
static void mp(int hart, int i) {
    if (hart == 0) set(&x[i], 1), ({ FENCE(w, w); }), set(&y[i], 1);
    if (hart == 1) seen[1][0][i] = get(&y[i]), ({ FENCE(r, r); }), seen[1][1][i] = get(&x[i]);
}
static int mp_bad(int i) { return seen[1][0][i] && !seen[1][1][i]; }

/* Message passing by release and acquire. */
static void mp_rl_aq(int hart, int i) {
    if (hart == 0) set(&x[i], 1), store_rl(&y[i], 1);
    if (hart == 1) seen[1][0][i] = load_aq(&y[i]), seen[1][1][i] = get(&x[i]);
}

/* Message passing with an address that depends on the message. */
static void mp_addr(int hart, int i) {
    if (hart == 0) set(&x[i], 1), ({ FENCE(w, w); }), set(&y[i], 1);
    if (hart == 1) {
        uint64_t got = get(&y[i]), zero = got;
        __asm__ volatile("xor %0, %0, %0" : "+r"(zero));
        seen[1][0][i] = got;
        seen[1][1][i] = get(&x[i] + zero);
    }
}

/* Store buffering. */
static void sb(int hart, int i) {
    if (hart == 0) set(&x[i], 1), ({ FENCE(rw, rw); }), seen[0][0][i] = get(&y[i]);
    if (hart == 1) set(&y[i], 1), ({ FENCE(rw, rw); }), seen[1][0][i] = get(&x[i]);
}
static int sb_bad(int i) { return !seen[0][0][i] && !seen[1][0][i]; }

/* Store buffering by atomic operations with acquire and release. */
static void sb_amo(int hart, int i) {
    if (hart == 0) swap_aqrl(&x[i], 1), seen[0][0][i] = load_aq(&y[i]);
    if (hart == 1) swap_aqrl(&y[i], 1), seen[1][0][i] = load_aq(&x[i]);
}

/* Load buffering. */
static void lb(int hart, int i) {
    if (hart == 0) seen[0][0][i] = get(&x[i]), ({ FENCE(rw, rw); }), set(&y[i], 1);
    if (hart == 1) seen[1][0][i] = get(&y[i]), ({ FENCE(rw, rw); }), set(&x[i], 1);
}
static int lb_bad(int i) { return seen[0][0][i] && seen[1][0][i]; }

/* Independent reads of independent writes. */
static void iriw(int hart, int i) {
    if (hart == 0) set(&x[i], 1);
    if (hart == 1) set(&y[i], 1);
    if (hart == 2) seen[2][0][i] = get(&x[i]), ({ FENCE(rw, rw); }), seen[2][1][i] = get(&y[i]);
    if (hart == 3) seen[3][0][i] = get(&y[i]), ({ FENCE(rw, rw); }), seen[3][1][i] = get(&x[i]);
}
static int iriw_bad(int i) { return seen[2][0][i] && !seen[2][1][i] && seen[3][0][i] && !seen[3][1][i]; }

/* A write seen by one hart before it writes is seen by who sees that (write-to-read causality). */
static void wrc(int hart, int i) {
    if (hart == 0) set(&x[i], 1);
    if (hart == 1) {
        uint64_t got = get(&x[i]);
        FENCE(rw, rw);
        set(&y[i], got);
    }
    if (hart == 2) seen[2][0][i] = get(&y[i]), ({ FENCE(r, r); }), seen[2][1][i] = get(&x[i]);
}
static int wrc_bad(int i) { return seen[2][0][i] && !seen[2][1][i]; }

/* Two writes each, in opposite order. */
static void two_writes(int hart, int i) {
    if (hart == 0) set(&x[i], 1), ({ FENCE(w, w); }), set(&y[i], 2);
    if (hart == 1) set(&y[i], 1), ({ FENCE(w, w); }), set(&x[i], 2);
}
static int two_writes_bad(int i) { return get(&x[i]) == 1 && get(&y[i]) == 1; }

/* One location's values are seen in one order. */
static void corr(int hart, int i) {
    if (hart == 0) set(&x[i], 1);
    if (hart == 1) seen[1][0][i] = get(&x[i]), seen[1][1][i] = get(&x[i]);
}
static int corr_bad(int i) { return seen[1][0][i] && !seen[1][1][i]; }

static const struct test {
    const char *name;
    void (*run)(int hart, int i);
    int (*bad)(int i);
} tests[] = {
    {"MP+fences", mp, mp_bad},       {"MP+rl+aq", mp_rl_aq, mp_bad}, {"MP+fence+addr", mp_addr, mp_bad},
    {"SB+fences", sb, sb_bad},       {"SB+amos", sb_amo, sb_bad},    {"LB+fences", lb, lb_bad},
    {"IRIW+fences", iriw, iriw_bad}, {"WRC+fences", wrc, wrc_bad},   {"2+2W+fences", two_writes, two_writes_bad},
    {"CoRR", corr, corr_bad},
};

static pthread_barrier_t start, end;
static const struct test *now;
static struct line counters[4], lock;
static _Atomic int stop;
static uint64_t shares[HARTS];

static void acquire(void) {
    uint64_t free;
    do {
        free = 0;
        while (get(&lock)) __asm__ volatile(".4byte 0x0100000f"); /* pause */
    } while (!atomic_compare_exchange_weak_explicit(&lock.v, &free, 1, memory_order_acquire, memory_order_relaxed));
}

/* Counters kept by each kind of atomic operation. */
static void count(long n) {
    for (long i = 0; i < n; i++) {
        atomic_fetch_add(&counters[0].v, 1);
        while (!add_sc(&counters[1])) {}
        acquire();
        set(&counters[2], get(&counters[2]) + 1);
        atomic_store_explicit(&lock.v, 0, memory_order_release);
        uint64_t old = get(&counters[3]);
        while (!atomic_compare_exchange_strong(&counters[3].v, &old, old + 1)) {}
    }
}

static void *hart(void *number) {
    int me = (int)(intptr_t)number;
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(me, &only);
    if (sched_setaffinity(0, sizeof only, &only)) perror("sched_setaffinity"), exit(1);
    for (;;) {
        pthread_barrier_wait(&start);
        if (!now) break;
        for (int i = 0; i < BATCH; i++) now->run(me, i);
        pthread_barrier_wait(&end);
    }
    pthread_barrier_wait(&start);
    count(rounds / HARTS);
    pthread_barrier_wait(&end);
    pthread_barrier_wait(&start);
    while (!atomic_load(&stop)) shares[me] += add_sc(&counters[0]);
    pthread_barrier_wait(&end);
    return 0;
}

static void check(const struct test *test) {
    long bad = 0;
    now = test;
    for (long done = 0; done < rounds; done += BATCH) {
        memset(x, 0, sizeof x), memset(y, 0, sizeof y), memset(seen, 0, sizeof seen);
        pthread_barrier_wait(&start);
        pthread_barrier_wait(&end);
        for (int i = 0; i < BATCH; i++) bad += test->bad(i);
    }
    printf("%s: %ld forbidden\n", test->name, bad);
    failed |= bad != 0;
}

int main(void) {
    if (getenv("rounds")) rounds = atol(getenv("rounds"));
    setvbuf(stdout, 0, _IOLBF, 0);
    pthread_barrier_init(&start, 0, HARTS + 1);
    pthread_barrier_init(&end, 0, HARTS + 1);
    pthread_t harts[HARTS];
    for (intptr_t i = 0; i < HARTS; i++)
        if (pthread_create(&harts[i], 0, hart, (void *)i)) return perror("pthread_create"), 1;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) check(&tests[i]);
    now = 0;
    pthread_barrier_wait(&start);
    pthread_barrier_wait(&start);
    pthread_barrier_wait(&end);
    static const char *const kinds[] = {"amoadd", "lr/sc", "lock", "compare-and-swap"};
    for (int i = 0; i < 4; i++) {
        long wrong = (long)get(&counters[i]) - rounds / HARTS * HARTS;
        printf("counter by %s: %ld too many\n", kinds[i], wrong);
        failed |= wrong != 0;
    }
    pthread_barrier_wait(&start);
    struct timespec second = {.tv_sec = 3};
    nanosleep(&second, 0);
    atomic_store(&stop, 1);
    pthread_barrier_wait(&end);
    uint64_t all = 0, least = UINT64_MAX;
    for (int i = 0; i < HARTS; i++) all += shares[i], least = shares[i] < least ? shares[i] : least;
    printf("shares of lr/sc: least %llu of %llu\n", (unsigned long long)least, (unsigned long long)all);
    failed |= least < all / 100;
    for (int i = 0; i < HARTS; i++) pthread_join(harts[i], 0);
    puts(failed ? "litmus: FAILED" : "litmus: ok");
    return failed;
}
