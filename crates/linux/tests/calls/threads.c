// Threads: clone, futexes of all kinds, thread-local storage, ends of threads.
#include "calls.h"
#include <linux/futex.h>
#include <linux/sched.h>

static int futex(int *at, int op, int value, const void *t, int *at2, int value3) {
    return syscall(SYS_futex, at, op, value, t, at2, value3);
}

static __thread int local = 7;
static int word, word2;
static void *add(void *n) {
    for (int i = 0; i < 1000; i++) __atomic_add_fetch(&word, 1, __ATOMIC_SEQ_CST);
    local += (long)n;
    return (void *)(long)local;
}

static void start_and_join(void) {
    pthread_t t[8];
    long sum = 0;
    for (long i = 0; i < 8; i++) pthread_create(&t[i], NULL, add, (void *)i);
    for (int i = 0; i < 8; i++) {
        void *r;
        pthread_join(t[i], &r);
        sum += (long)r;
    }
    SHOW("clone threads", "%d %ld %d", word, sum, local);
    CALL("clone thread without memory", SYS_clone, CLONE_THREAD | CLONE_SIGHAND, 0L, NULL, NULL, NULL);
    CALL("clone handlers without memory", SYS_clone, CLONE_SIGHAND | SIGCHLD, 0L, NULL, NULL, NULL);
    struct clone_args a = {0};
    CALL("clone3 small", SYS_clone3, &a, 8L);
    CALL("clone3 big", SYS_clone3, &a, 5000L);
    CALL("clone3 bad pointer", SYS_clone3, BAD, sizeof a);
    a.exit_signal = 0x1000;
    CALL("clone3 signal", SYS_clone3, &a, sizeof a);
    a.exit_signal = 0, a.flags = 1ull << 50;
    CALL("clone3 unknown flag", SYS_clone3, &a, sizeof a);
    a.flags = 0, a.stack_size = 4096;
    CALL("clone3 size without stack", SYS_clone3, &a, sizeof a);
    a.stack_size = 0, a.flags = CLONE_THREAD;
    CALL("clone3 thread without memory", SYS_clone3, &a, sizeof a);
    int child = 0;
    struct clone_args b = {.flags = CLONE_PARENT_SETTID, .parent_tid = (long)&child, .exit_signal = SIGCHLD};
    fflush(stdout);
    long pid = syscall(SYS_clone3, &b, sizeof b);
    if (pid == 0) _exit(9);
    int status;
    waitpid(pid, &status, 0);
    SHOW("clone3 child", "%d %d", child == pid, WEXITSTATUS(status));
    int fd = -1;
    struct clone_args p = {.flags = CLONE_PIDFD, .pidfd = (long)&fd, .exit_signal = SIGCHLD};
    pid = syscall(SYS_clone3, &p, sizeof p);
    if (pid == 0) _exit(3);
    siginfo_t info;
    waitid(P_PIDFD, fd, &info, WEXITED);
    SHOW("clone3 pidfd", "%d %d", info.si_pid == pid, info.si_status);
}

static void *wake_later(void *at) {
    msleep(30);
    __atomic_store_n((int *)at, 1, __ATOMIC_SEQ_CST);
    futex(at, FUTEX_WAKE, 1, NULL, NULL, 0);
    return NULL;
}
static void *wait_here(void *at) {
    return (void *)(long)(futex(at, FUTEX_WAIT, 0, NULL, NULL, 0) == 0);
}
static void *wait_bits(void *at) {
    return (void *)(long)(futex(at, FUTEX_WAIT_BITSET, 0, NULL, NULL, 2) == 0);
}

static void plain(void) {
    struct timespec t = {0, 10000000}, wrong = {0, -1}, now;
    word = 0;
    CALL("futex value", SYS_futex, &word, FUTEX_WAIT, 5, NULL, NULL, 0);
    CALL("futex time out", SYS_futex, &word, FUTEX_WAIT, 0, &t, NULL, 0);
    CALL("futex bad time", SYS_futex, &word, FUTEX_WAIT, 0, &wrong, NULL, 0);
    CALL("futex bad pointer", SYS_futex, BAD, FUTEX_WAIT, 0, &t, NULL, 0);
    CALL("futex unaligned", SYS_futex, (char *)&word + 1, FUTEX_WAIT, 0, &t, NULL, 0);
    CALL("futex operation", SYS_futex, &word, 99, 0, &t, NULL, 0);
    CALL("futex wake nobody", SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
    clock_gettime(CLOCK_MONOTONIC, &now);
    CALL("futex time in the past", SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &now, NULL, -1);
    clock_gettime(CLOCK_REALTIME, &now);
    CALL("futex real time in the past", SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &now, NULL, -1);
    CALL("futex no bits", SYS_futex, &word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0);
    pthread_t a, b;
    pthread_create(&a, NULL, wake_later, &word);
    CALL("futex woken", SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
    pthread_join(a, NULL);
    word = 0;
    void *r, *s;
    pthread_create(&a, NULL, wait_bits, &word);
    msleep(60);
    SHOW("futex wake other bits", "%d", futex(&word, FUTEX_WAKE_BITSET, 9, NULL, NULL, 1));
    SHOW("futex wake bits", "%d", futex(&word, FUTEX_WAKE_BITSET, 9, NULL, NULL, 2));
    pthread_join(a, &r);
    pthread_create(&a, NULL, wait_here, &word), pthread_create(&b, NULL, wait_here, &word);
    msleep(80);
    CALL("futex requeue value", SYS_futex, &word, FUTEX_CMP_REQUEUE, 1, 9L, &word2, 5);
    SHOW("futex requeue", "%d", futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)9L, &word2, 0));
    SHOW("futex wake requeued", "%d", futex(&word2, FUTEX_WAKE, 9, NULL, NULL, 0));
    pthread_join(a, &r), pthread_join(b, &s);
    SHOW("futex waited", "%ld %ld", (long)r, (long)s);
    pthread_create(&a, NULL, wait_here, &word);
    msleep(60);
    word2 = 5;
    SHOW("futex wake with operation", "%d %d", futex(&word, FUTEX_WAKE_OP, 1, (void *)1L, &word2, FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 5)), word2);
    pthread_join(a, &r);
    struct futex_waitv v[2] = {{0, (long)&word, 2, 0}, {0, (long)&word2, 2, 0}};
    word = word2 = 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    CALL("futex_waitv time in the past", SYS_futex_waitv, v, 2u, 0, &now, CLOCK_MONOTONIC);
    v[1].val = 8;
    CALL("futex_waitv value", SYS_futex_waitv, v, 2u, 0, NULL, CLOCK_MONOTONIC);
    CALL("futex_waitv none", SYS_futex_waitv, v, 0u, 0, NULL, CLOCK_MONOTONIC);
    CALL("futex_waitv no list", SYS_futex_waitv, NULL, 1u, 0, &now, CLOCK_MONOTONIC);
    CALL("futex_waitv bad pointer", SYS_futex_waitv, BAD, 2u, 0, NULL, CLOCK_MONOTONIC);
    CALL("futex_wake", 454, &word, 0xffffffffL, 1, 2);
    CALL("futex_wake flags", 454, &word, 0xffffffffL, 1, 0x100);
    CALL("futex_wait value", 455, &word, 7L, 0xffffffffL, 2, NULL, CLOCK_MONOTONIC);
    v[0].val = 0;
    CALL("futex_requeue", 456, v, 0, 1, 1);
    CALL("futex_requeue bad pointer", 456, BAD, 0, 1, 1);
}

static int *inherited;
static void *owner(void *at) {
    futex(at, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    msleep(80);
    return (void *)(long)futex(at, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
}
static void inheritance(void) {
    int pi = 0;
    CALL("futex lock with inheritance", SYS_futex, &pi, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    SHOW("futex owner", "%d", pi == gettid());
    CALL("futex deadlock", SYS_futex, &pi, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    CALL("futex unlock with inheritance", SYS_futex, &pi, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
    CALL("futex unlock what is not held", SYS_futex, &pi, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
    pthread_t t;
    void *r;
    pthread_create(&t, NULL, owner, &pi);
    msleep(40);
    CALL("futex try lock of another's", SYS_futex, &pi, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0);
    CALL("futex wait for another's", SYS_futex, &pi, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    pthread_join(t, &r);
    SHOW("futex handed over", "%ld %d", (long)r, (pi & FUTEX_TID_MASK) == gettid());
    pthread_mutexattr_t at;
    pthread_mutexattr_init(&at), pthread_mutexattr_setprotocol(&at, PTHREAD_PRIO_INHERIT);
    pthread_mutex_t m;
    CHECK("futex mutex", pthread_mutex_init(&m, &at));
    CHECK("futex mutex locked", pthread_mutex_lock(&m));
    CHECK("futex mutex unlocked", pthread_mutex_unlock(&m));
}

static pthread_mutex_t robust;
static void *dies(void *p) { (void)p; pthread_mutex_lock(&robust); return NULL; }
static void robustness(void) {
    pthread_mutexattr_t at;
    pthread_mutexattr_init(&at), pthread_mutexattr_setrobust(&at, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &at);
    pthread_t t;
    pthread_create(&t, NULL, dies, NULL), pthread_join(t, NULL);
    SHOW("set_robust_list owner died", "%s", strerrorname_np(pthread_mutex_lock(&robust)));
    SHOW("set_robust_list consistent", "%d", pthread_mutex_consistent(&robust));
    pthread_mutex_unlock(&robust);
    SHOW("set_robust_list again", "%d", pthread_mutex_lock(&robust));
    void *head;
    size_t size = 0;
    CALL("get_robust_list", SYS_get_robust_list, 0, &head, &size);
    SHOW("get_robust_list size", "%ld %d", (long)size, head != NULL);
    CALL("get_robust_list process", SYS_get_robust_list, 0x7ffffff0, &head, &size);
    CALL("get_robust_list bad pointer", SYS_get_robust_list, 0, BAD, &size);
    CALL("set_robust_list", SYS_set_robust_list, head, 24L);
    CALL("set_robust_list size", SYS_set_robust_list, head, 5L);
}

static void owner_process_dies(void) {
    pthread_mutexattr_t at;
    pthread_mutexattr_init(&at), pthread_mutexattr_setrobust(&at, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&at, PTHREAD_PROCESS_SHARED);
    pthread_mutex_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutex_init(shared, &at);
    fflush(stdout);
    if (fork() == 0) {
        pthread_mutex_lock(shared);
        kill(getpid(), SIGKILL);
    }
    wait(NULL);
    SHOW("set_robust_list process died", "%s", strerrorname_np(pthread_mutex_lock(shared)));
}

static void *group(void *p) { (void)p; _exit(11); }
static void ends_group(void) { pthread_t t; pthread_create(&t, NULL, group, NULL); msleep(5000); }
static void *last(void *p) { (void)p; msleep(50); syscall(SYS_exit, 5); return NULL; }
static void main_first(void) { pthread_t t; pthread_create(&t, NULL, last, NULL); syscall(SYS_exit, 4); }
static void *printer(void *p) { (void)p; msleep(50); puts("exit others go on: 1"); exit(6); }
static void main_gone(void) { pthread_t t; pthread_create(&t, NULL, printer, NULL); pthread_exit(NULL); }
static void *segv(void *p) { (void)p; *(volatile int *)16 = 1; return NULL; }
static void dies_whole(void) { pthread_t t; pthread_create(&t, NULL, segv, NULL); msleep(5000); }

static volatile int got;
static void note(int s) { (void)s; got = gettid(); }
static void *sleeper(void *tid) {
    *(volatile int *)tid = gettid();
    struct timespec t = {5, 0};
    return (void *)(long)nanosleep(&t, NULL);
}
static void directed(void) {
    signal(SIGUSR1, note);
    volatile int tid = 0;
    pthread_t t;
    void *r;
    pthread_create(&t, NULL, sleeper, (void *)&tid);
    while (!tid) msleep(1);
    msleep(30);
    CALL("tgkill a thread", SYS_tgkill, getpid(), tid, SIGUSR1);
    pthread_join(t, &r);
    SHOW("tgkill interrupted it", "%ld %d", (long)r, got == tid);
    for (int i = 0; i < 500 && syscall(SYS_tgkill, getpid(), tid, 0) == 0; i++) msleep(2);
    CALL("tgkill gone", SYS_tgkill, getpid(), tid, SIGUSR1);
    SHOW("set_tid_address", "%d", (int)syscall(SYS_set_tid_address, &word) == gettid());
    SHOW("gettid", "%d", gettid() == getpid());
}

static int churned;
static void *nothing(void *p) { __atomic_add_fetch(&churned, 1, __ATOMIC_SEQ_CST); return p; }
static void churn(void) {
    for (int i = 0; i < 100; i++) {
        pthread_t t[3];
        for (int k = 0; k < 3; k++) pthread_create(&t[k], NULL, nothing, NULL);
        for (int k = 0; k < 3; k++) pthread_join(t[k], NULL);
    }
    SHOW("clone 300 threads", "%d", churned);
}

void run(void) {
    start_and_join();
    plain();
    inheritance();
    robustness();
    directed();
    churn();
    ended("exit_group of a thread", ends_group);
    ended("exit of the first thread", main_first);
    ended("exit of the first thread others go on", main_gone);
    ended("exit_group by a thread's SIGSEGV", dies_whole);
    CALL("rseq", SYS_rseq, NULL, 0, 0, 0);
    alarm(3);
    owner_process_dies();
}
