// Time: clocks, sleeping, timers.
#include "calls.h"
#include <sys/times.h>
#include <sys/timex.h>

static struct timespec wrong = {0, 2000000000}, negative = {-1, 0}, zero;

static void clocks(void) {
    struct timespec a = {0}, b = {0};
    static const int ids[] = {0, 1, 2, 3, 4, 5, 6, 7, 11};
    int ok = 0;
    for (int i = 0; i < 9; i++) ok += syscall(SYS_clock_gettime, ids[i], &a) == 0 && a.tv_nsec < 1000000000;
    SHOW("clock_gettime", "%d", ok);
    CALL("clock_gettime clock", SYS_clock_gettime, 99, &a);
    CALL("clock_gettime bad pointer", SYS_clock_gettime, 0, BAD);
    syscall(SYS_clock_gettime, 1, &a), syscall(SYS_clock_gettime, 1, &b);
    SHOW("clock_gettime goes on", "%d", b.tv_sec > a.tv_sec || b.tv_nsec >= a.tv_nsec);
    clockid_t mine;
    SHOW("clock_gettime of a process", "%d", clock_getcpuclockid(getpid(), &mine) == 0 && syscall(SYS_clock_gettime, mine, &a) == 0);
    CALL("clock_getres", SYS_clock_getres, 1, &a);
    SHOW("clock_getres is", "%ld %ld", (long)a.tv_sec, a.tv_nsec);
    CALL("clock_getres nowhere", SYS_clock_getres, 1, NULL);
    CALL("clock_getres clock", SYS_clock_getres, 99, &a);
    CALL("clock_getres bad pointer", SYS_clock_getres, 1, BAD);
    CALL("clock_settime clock", SYS_clock_settime, 1, &a);
    CALL("clock_settime bad pointer", SYS_clock_settime, 0, BAD);
    CALL("clock_settime bad time", SYS_clock_settime, 0, &wrong);
    struct timeval v, w = {0, 2000000};
    struct timezone z;
    CALL("gettimeofday", SYS_gettimeofday, &v, &z);
    SHOW("gettimeofday is", "%d", v.tv_sec > 1600000000 && labs(v.tv_sec - time(NULL)) < 3);
    CALL("gettimeofday bad pointer", SYS_gettimeofday, BAD, NULL);
    CALL("settimeofday bad time", SYS_settimeofday, &w, NULL);
    CALL("settimeofday bad pointer", SYS_settimeofday, BAD, NULL);
    struct tms t;
    SHOW("times", "%d", (int)(syscall(SYS_times, &t) != -1));
    CALL("times bad pointer", SYS_times, BAD);
    struct timex x = {0};
    WORKS("adjtimex", syscall(SYS_adjtimex, &x));
    SHOW("adjtimex tick", "%ld", x.tick);
    CALL("adjtimex bad pointer", SYS_adjtimex, BAD);
    memset(&x, 0, sizeof x);
    WORKS("clock_adjtime", syscall(SYS_clock_adjtime, 0, &x));
    CALL("clock_adjtime clock", SYS_clock_adjtime, 99, &x);
}

static void sleeping(void) {
    struct timespec t = {0, 1000000}, left = {7, 7}, before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    CALL("nanosleep", SYS_nanosleep, &t, &left);
    clock_gettime(CLOCK_MONOTONIC, &after);
    SHOW("nanosleep slept", "%d %ld", (after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec >= 1000000, (long)left.tv_sec);
    CALL("nanosleep bad time", SYS_nanosleep, &wrong, NULL);
    CALL("nanosleep negative", SYS_nanosleep, &negative, NULL);
    CALL("nanosleep bad pointer", SYS_nanosleep, BAD, NULL);
    CALL("clock_nanosleep", SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL);
    CALL("clock_nanosleep until", SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &before, NULL);
    CALL("clock_nanosleep clock", SYS_clock_nanosleep, 99, 0, &t, NULL);
    CALL("clock_nanosleep own time", SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL);
    CALL("clock_nanosleep bad time", SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &wrong, NULL);
    CALL("clock_nanosleep bad pointer", SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, BAD, NULL);
}

static volatile int fired, code, value;
static void fire(int s, siginfo_t *i, void *c) { (void)s, (void)c; fired++, code = i->si_code, value = i->si_value.sival_int; }

static void timers(void) {
    struct sigaction a = {.sa_sigaction = fire, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &a, NULL);
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 55};
    int id = -1, thread = -1;
    CALL("timer_create", SYS_timer_create, CLOCK_MONOTONIC, &e, &id);
    CALL("timer_create clock", SYS_timer_create, 99, &e, &id);
    CALL("timer_create bad pointer", SYS_timer_create, CLOCK_MONOTONIC, BAD, &id);
    CALL("timer_create bad place", SYS_timer_create, CLOCK_MONOTONIC, &e, BAD);
    struct itimerspec i = {{0, 0}, {0, 5000000}}, was;
    CALL("timer_settime", SYS_timer_settime, id, 0, &i, &was);
    while (!fired) msleep(2);
    SHOW("timer_settime fired", "%d %d %d", fired, code, value);
    CALL("timer_gettime", SYS_timer_gettime, id, &was);
    SHOW("timer_gettime is", "%ld %ld", (long)was.it_value.tv_nsec, (long)was.it_interval.tv_nsec);
    CALL("timer_gettime timer", SYS_timer_gettime, 777, &was);
    CALL("timer_gettime bad pointer", SYS_timer_gettime, id, BAD);
    CALL("timer_getoverrun", SYS_timer_getoverrun, id);
    CALL("timer_getoverrun timer", SYS_timer_getoverrun, 777);
    i.it_value.tv_nsec = -5;
    CALL("timer_settime bad time", SYS_timer_settime, id, 0, &i, NULL);
    CALL("timer_settime timer", SYS_timer_settime, 777, 0, &i, NULL);
    CALL("timer_delete", SYS_timer_delete, id);
    CALL("timer_delete again", SYS_timer_delete, id);
    e.sigev_notify = SIGEV_THREAD_ID;
    ((int *)&e)[4] = gettid();
    CALL("timer_create of a thread", SYS_timer_create, CLOCK_MONOTONIC, &e, &thread);
    i.it_value.tv_nsec = 1000000;
    fired = 0;
    CALL("timer_settime of a thread", SYS_timer_settime, thread, 0, &i, NULL);
    while (!fired) msleep(2);
    SHOW("timer_settime of a thread fired", "%d %d", fired, value);
    e.sigev_notify = SIGEV_NONE;
    CALL("timer_create of nothing", SYS_timer_create, CLOCK_REALTIME, &e, &id);
}

static void intervals(void) {
    struct sigaction a = {.sa_sigaction = fire, .sa_flags = SA_SIGINFO};
    sigaction(SIGALRM, &a, NULL), sigaction(SIGVTALRM, &a, NULL), sigaction(SIGPROF, &a, NULL);
    struct itimerval i = {{0, 0}, {0, 5000}}, was, w = {{0, 0}, {0, 3000000}};
    syscall(SYS_setitimer, ITIMER_REAL, &(struct itimerval){0}, NULL);
    fired = 0;
    CALL("setitimer", SYS_setitimer, ITIMER_REAL, &i, &was);
    while (!fired) msleep(2);
    SHOW("setitimer fired", "%d %d", fired, code);
    CALL("getitimer", SYS_getitimer, ITIMER_REAL, &was);
    SHOW("getitimer is", "%ld %ld", (long)was.it_value.tv_sec, (long)was.it_value.tv_usec);
    CALL("getitimer kind", SYS_getitimer, 9, &was);
    CALL("getitimer bad pointer", SYS_getitimer, ITIMER_REAL, BAD);
    CALL("setitimer kind", SYS_setitimer, 9, &i, NULL);
    CALL("setitimer bad time", SYS_setitimer, ITIMER_REAL, &w, NULL);
    CALL("setitimer bad pointer", SYS_setitimer, ITIMER_REAL, BAD, NULL);
    fired = 0;
    CALL("setitimer own time", SYS_setitimer, ITIMER_VIRTUAL, &i, NULL);
    while (!fired) {}
    fired = 0;
    CALL("setitimer profile", SYS_setitimer, ITIMER_PROF, &i, NULL);
    while (!fired) {}
    SHOW("setitimer profile fired", "%d", fired);
    signal(SIGALRM, SIG_DFL), alarm(50);
}

void run(void) {
    clocks();
    sleeping();
    timers();
    intervals();
}
