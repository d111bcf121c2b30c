// Pipes, and waiting for descriptors: poll, select, epoll, eventfd, timerfd, signalfd, inotify, fanotify.
#include "calls.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static struct timespec none = {0, 0}, soon = {0, 20000000}, wrong = {0, 2000000000};
static volatile int hits;
static void hit(int s) { (void)s, hits++; }

static void pipes(void) {
    int p[2];
    char buf[16];
    CALL("pipe2", SYS_pipe2, p, O_NONBLOCK | O_CLOEXEC);
    CALL("pipe2 flags", SYS_pipe2, p, O_APPEND);
    CALL("pipe2 bad pointer", SYS_pipe2, BAD, 0);
    CALL("read empty pipe", SYS_read, p[0], buf, 1L);
    CALL("write read end", SYS_write, p[0], buf, 1L);
    CALL("read write end", SYS_read, p[1], buf, 1L);
    CALL("lseek pipe", SYS_lseek, p[0], 0L, SEEK_SET);
    CALL("fcntl F_GETPIPE_SZ", SYS_fcntl, p[0], F_GETPIPE_SZ, 0L);
    CALL("fcntl F_SETPIPE_SZ", SYS_fcntl, p[0], F_SETPIPE_SZ, 5000L);
    signal(SIGPIPE, SIG_IGN);
    close(p[0]);
    CALL("write broken pipe", SYS_write, p[1], "x", 1L);
    close(p[1]);
}

static void polls(void) {
    int p[2];
    pipe(p);
    struct pollfd f[2] = {{p[0], POLLIN, 99}, {NOFD, POLLIN, 0}};
    CALL("ppoll nothing", SYS_ppoll, f, 1L, &none, NULL, 8L);
    CALL("ppoll time out", SYS_ppoll, f, 1L, &soon, NULL, 8L);
    CALL("ppoll closed descriptor", SYS_ppoll, f, 2L, &soon, NULL, 8L);
    SHOW("ppoll closed descriptor events", "%d %#x", f[0].revents, f[1].revents);
    write(p[1], "x", 1);
    CALL("ppoll ready", SYS_ppoll, f, 1L, NULL, NULL, 8L);
    SHOW("ppoll ready events", "%#x", f[0].revents);
    CALL("ppoll bad pointer", SYS_ppoll, BAD, 1L, &none, NULL, 8L);
    CALL("ppoll bad time", SYS_ppoll, f, 1L, &wrong, NULL, 8L);
    sigset_t s;
    sigemptyset(&s);
    CALL("ppoll mask size", SYS_ppoll, f, 1L, &none, &s, 4L);
    char buf[4];
    read(p[0], buf, 4);
    signal(SIGUSR1, hit);
    sigset_t block;
    sigemptyset(&block), sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, NULL);
    kill(getpid(), SIGUSR1);
    SHOW("ppoll blocked signal", "%d", hits);
    CALL("ppoll with a mask", SYS_ppoll, f, 1L, NULL, &s, 8L);
    SHOW("ppoll signal came", "%d", hits);
    kill(getpid(), SIGUSR1);
    fd_set r;
    FD_ZERO(&r); FD_SET(p[0], &r);
    struct { sigset_t *s; size_t n; } m = {&s, 8};
    CALL("pselect6 with a mask", SYS_pselect6, p[0] + 1, &r, NULL, NULL, NULL, &m);
    SHOW("pselect6 signal came", "%d", hits);
    sigprocmask(SIG_UNBLOCK, &block, NULL);
    FD_ZERO(&r); FD_SET(p[0], &r);
    struct timespec t = soon;
    CALL("pselect6 time out", SYS_pselect6, p[0] + 1, &r, NULL, NULL, &t, NULL);
    SHOW("pselect6 time out sets", "%d %ld", FD_ISSET(p[0], &r) != 0, (long)(t.tv_sec + t.tv_nsec));
    write(p[1], "x", 1);
    FD_ZERO(&r); FD_SET(p[0], &r);
    fd_set w;
    FD_ZERO(&w); FD_SET(p[1], &w);
    CALL("pselect6 ready", SYS_pselect6, p[1] + 1, &r, &w, NULL, NULL, NULL);
    SHOW("pselect6 ready sets", "%d %d", FD_ISSET(p[0], &r) != 0, FD_ISSET(p[1], &w) != 0);
    FD_ZERO(&r); FD_SET(900, &r);
    CALL("pselect6 closed descriptor", SYS_pselect6, 901, &r, NULL, NULL, &none, NULL);
    CALL("pselect6 negative", SYS_pselect6, -1, NULL, NULL, NULL, &none, NULL);
    CALL("pselect6 bad pointer", SYS_pselect6, 10, BAD, NULL, NULL, &none, NULL);
}

static void epolls(void) {
    int p[2], q[2];
    pipe(p), pipe(q);
    int e = syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
    SHOW("epoll_create1", "%d", e > 0);
    CALL("epoll_create1 flags", SYS_epoll_create1, 1);
    struct epoll_event v = {EPOLLIN, {.u64 = 0x1122334455667788}}, out[4];
    CALL("epoll_ctl add", SYS_epoll_ctl, e, EPOLL_CTL_ADD, p[0], &v);
    CALL("epoll_ctl exists", SYS_epoll_ctl, e, EPOLL_CTL_ADD, p[0], &v);
    CALL("epoll_ctl itself", SYS_epoll_ctl, e, EPOLL_CTL_ADD, e, &v);
    CALL("epoll_ctl missing", SYS_epoll_ctl, e, EPOLL_CTL_MOD, q[0], &v);
    CALL("epoll_ctl bad descriptor", SYS_epoll_ctl, e, EPOLL_CTL_ADD, NOFD, &v);
    CALL("epoll_ctl no epoll", SYS_epoll_ctl, p[0], EPOLL_CTL_ADD, q[0], &v);
    CALL("epoll_ctl bad pointer", SYS_epoll_ctl, e, EPOLL_CTL_ADD, q[0], BAD);
    CALL("epoll_ctl file", SYS_epoll_ctl, e, EPOLL_CTL_ADD, open("plain", O_CREAT | O_RDWR, 0600), &v);
    v.data.u64 = 42, v.events = EPOLLIN | EPOLLONESHOT;
    CALL("epoll_ctl add another", SYS_epoll_ctl, e, EPOLL_CTL_ADD, q[0], &v);
    CALL("epoll_pwait nothing", SYS_epoll_pwait, e, out, 4, 0, NULL, 8L);
    CALL("epoll_pwait time out", SYS_epoll_pwait, e, out, 4, 10, NULL, 8L);
    write(p[1], "x", 1), write(q[1], "y", 1);
    CALL("epoll_pwait two", SYS_epoll_pwait, e, out, 4, -1, NULL, 8L);
    SHOW("epoll_pwait events", "%#x %#llx %#x %lld", out[0].events, (long long)out[0].data.u64, out[1].events,
         (long long)out[1].data.u64);
    CALL("epoll_pwait one shot", SYS_epoll_pwait, e, out, 4, 0, NULL, 8L);
    CALL("epoll_pwait none wanted", SYS_epoll_pwait, e, out, 0, 0, NULL, 8L);
    CALL("epoll_pwait too many", SYS_epoll_pwait, e, out, 0x7fffffff, 0, NULL, 8L);
    CALL("epoll_pwait bad pointer", SYS_epoll_pwait, e, BAD, 4, 0, NULL, 8L);
    CALL("epoll_pwait no epoll", SYS_epoll_pwait, p[0], out, 4, 0, NULL, 8L);
    CALL("epoll_pwait2", SYS_epoll_pwait2, e, out, 4, &soon, NULL, 8L);
    CALL("epoll_pwait2 bad time", SYS_epoll_pwait2, e, out, 4, &wrong, NULL, 8L);
    CALL("epoll_ctl delete", SYS_epoll_ctl, e, EPOLL_CTL_DEL, p[0], NULL);
    CALL("epoll_ctl delete again", SYS_epoll_ctl, e, EPOLL_CTL_DEL, p[0], NULL);
}

static void descriptors_that_tell(void) {
    uint64_t n = 5;
    int e = syscall(SYS_eventfd2, 3, EFD_NONBLOCK);
    SHOW("eventfd2", "%d", e > 0);
    CALL("eventfd2 flags", SYS_eventfd2, 3, 1 << 20);
    CALL("write eventfd", SYS_write, e, &n, 8L);
    CALL("read eventfd", SYS_read, e, &n, 8L);
    SHOW("read eventfd count", "%ld", (long)n);
    CALL("read eventfd empty", SYS_read, e, &n, 8L);
    CALL("read eventfd short", SYS_read, e, &n, 4L);
    int t = syscall(SYS_timerfd_create, CLOCK_MONOTONIC, 0);
    SHOW("timerfd_create", "%d", t > 0);
    CALL("timerfd_create clock", SYS_timerfd_create, 99, 0);
    CALL("timerfd_create flags", SYS_timerfd_create, CLOCK_MONOTONIC, 1);
    struct itimerspec i = {{0, 5000000}, {0, 1000000}}, was;
    CALL("timerfd_settime", SYS_timerfd_settime, t, 0, &i, &was);
    SHOW("timerfd_settime before", "%ld %ld", (long)was.it_value.tv_nsec, (long)was.it_interval.tv_nsec);
    CALL("read timerfd", SYS_read, t, &n, 8L);
    SHOW("read timerfd ran", "%d", n >= 1);
    CALL("timerfd_gettime", SYS_timerfd_gettime, t, &was);
    SHOW("timerfd_gettime interval", "%ld", (long)was.it_interval.tv_nsec);
    CALL("timerfd_gettime bad pointer", SYS_timerfd_gettime, t, BAD);
    CALL("timerfd_gettime no timer", SYS_timerfd_gettime, e, &was);
    CALL("timerfd_settime bad pointer", SYS_timerfd_settime, t, 0, BAD, NULL);
    i.it_value.tv_nsec = 2000000000;
    CALL("timerfd_settime bad time", SYS_timerfd_settime, t, 0, &i, NULL);
    sigset_t s;
    sigemptyset(&s), sigaddset(&s, SIGUSR2);
    sigprocmask(SIG_BLOCK, &s, NULL);
    int f = syscall(SYS_signalfd4, -1, &s, 8L, SFD_NONBLOCK);
    SHOW("signalfd4", "%d", f > 0);
    CALL("signalfd4 size", SYS_signalfd4, -1, &s, 4L, 0);
    CALL("signalfd4 flags", SYS_signalfd4, -1, &s, 8L, 1);
    CALL("signalfd4 bad pointer", SYS_signalfd4, -1, BAD, 8L, 0);
    CALL("signalfd4 no signalfd", SYS_signalfd4, e, &s, 8L, 0);
    struct signalfd_siginfo info;
    CALL("read signalfd empty", SYS_read, f, &info, sizeof info);
    sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 77});
    CALL("read signalfd", SYS_read, f, &info, sizeof info);
    SHOW("read signalfd what", "%u %d %d %d", info.ssi_signo, info.ssi_code, info.ssi_int, (int)info.ssi_pid == getpid());
}

static void watches(void) {
    char buf[512];
    int i = syscall(SYS_inotify_init1, IN_NONBLOCK);
    SHOW("inotify_init1", "%d", i > 0);
    CALL("inotify_init1 flags", SYS_inotify_init1, 1);
    CALL("inotify_add_watch", SYS_inotify_add_watch, i, ".", IN_CREATE | IN_DELETE);
    CALL("inotify_add_watch missing", SYS_inotify_add_watch, i, "missing", IN_CREATE);
    CALL("inotify_add_watch bad pointer", SYS_inotify_add_watch, i, BAD, IN_CREATE);
    CALL("inotify_add_watch no events", SYS_inotify_add_watch, i, ".", 0);
    CALL("inotify_add_watch no inotify", SYS_inotify_add_watch, 0, ".", IN_CREATE);
    put_file("watched", "");
    unlink("watched");
    long n = syscall(SYS_read, i, buf, sizeof buf);
    for (long at = 0; at < n;) {
        struct inotify_event *e = (void *)(buf + at);
        SHOW("read inotify", "%#x %s %d", e->mask, e->name, e->wd);
        at += sizeof *e + e->len;
        break;
    }
    SHOW("read inotify bytes", "%ld", n);
    CALL("inotify_rm_watch", SYS_inotify_rm_watch, i, 1);
    CALL("inotify_rm_watch again", SYS_inotify_rm_watch, i, 1);
    WORKS("fanotify_init", syscall(SYS_fanotify_init, 0, O_RDONLY));
    CALL("fanotify_init flags", SYS_fanotify_init, 0x40000000, 0);
    CALL("fanotify_mark bad descriptor", SYS_fanotify_mark, NOFD, 1, 1L, AT_FDCWD, ".");
}

void run(void) {
    pipes();
    polls();
    epolls();
    descriptors_that_tell();
    watches();
}
