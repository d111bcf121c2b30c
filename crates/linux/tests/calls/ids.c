// Users, groups, capabilities, limits, scheduling, and what is told of the machine.
#include "calls.h"
#include <linux/capability.h>
#include <linux/sched.h>
#include <sys/personality.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

struct sched_attr {
    uint32_t size, sched_policy;
    uint64_t sched_flags;
    int32_t sched_nice;
    uint32_t sched_priority;
    uint64_t sched_runtime, sched_deadline, sched_period;
    uint32_t sched_util_min, sched_util_max;
};

static void users(void) {
    unsigned r, e, s;
    SHOW("getuid", "%d", (int)syscall(SYS_getuid) == getuid());
    SHOW("geteuid", "%d", (int)syscall(SYS_geteuid) == getuid());
    SHOW("getgid", "%d", (int)syscall(SYS_getgid) == getgid());
    SHOW("getegid", "%d", (int)syscall(SYS_getegid) == getgid());
    CALL("getresuid", SYS_getresuid, &r, &e, &s);
    SHOW("getresuid is", "%d", r == getuid() && e == r && s == r);
    CALL("getresuid bad pointer", SYS_getresuid, &r, BAD, &s);
    CALL("getresgid", SYS_getresgid, &r, &e, &s);
    CALL("getresgid bad pointer", SYS_getresgid, BAD, &e, &s);
    CALL("setuid same", SYS_setuid, getuid());
    CALL("setgid same", SYS_setgid, getgid());
    CALL("setreuid nothing", SYS_setreuid, -1, -1);
    CALL("setregid nothing", SYS_setregid, -1, -1);
    CALL("setresuid nothing", SYS_setresuid, -1, -1, -1);
    CALL("setresgid nothing", SYS_setresgid, -1, -1, -1);
    CALL("setuid invalid", SYS_setuid, -1);
    CALL("setgid invalid", SYS_setgid, -1);
    SHOW("setfsuid", "%d", (int)syscall(SYS_setfsuid, -1) == getuid());
    SHOW("setfsgid", "%d", (int)syscall(SYS_setfsgid, -1) == getgid());
    gid_t list[256];
    int n = syscall(SYS_getgroups, 0, NULL);
    SHOW("getgroups", "%d", n >= 0 && syscall(SYS_getgroups, 256, list) == n);
    CALL("getgroups negative", SYS_getgroups, -1, list);
    CALL("setgroups too many", SYS_setgroups, 70000, list);
    CALL("setgroups bad pointer", SYS_setgroups, 5, BAD);
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {0};
    CALL("capget", SYS_capget, &h, d);
    CALL("capset same", SYS_capset, &h, d);
    h.version = 1;
    CALL("capget version", SYS_capget, &h, d);
    SHOW("capget version wanted", "%#x", h.version);
    CALL("capget bad pointer", SYS_capget, BAD, d);
    CALL("capset bad pointer", SYS_capset, BAD, d);
    h.pid = 0x7ffffff0;
    CALL("capget process", SYS_capget, &h, d);
}

static void drops(void) {
    // As someone else, where the tests run as root.
    if (getuid()) return;
    CALL("setgroups", SYS_setgroups, 1, (gid_t[]){1234});
    CALL("setresgid", SYS_setresgid, 1000, 1001, 1002);
    CALL("setresuid", SYS_setresuid, 1000, 1001, 1002);
    unsigned r, e, s;
    syscall(SYS_getresuid, &r, &e, &s);
    SHOW("getresuid changed", "%u %u %u", r, e, s);
    syscall(SYS_getresgid, &r, &e, &s);
    SHOW("getresgid changed", "%u %u %u", r, e, s);
    CALL("setuid not allowed", SYS_setuid, 0);
    CALL("setreuid", SYS_setreuid, 1001, 1002);
    CALL("setregid", SYS_setregid, 1001, 1002);
    CALL("setgroups not allowed", SYS_setgroups, 0, NULL);
    CALL("chroot not allowed", SYS_chroot, ".");
    CALL("mount not allowed", SYS_mount, "none", ".", "tmpfs", 0L, NULL);
    CALL("umount2 not allowed", SYS_umount2, ".", 0);
    CALL("sethostname not allowed", SYS_sethostname, "x", 1L);
    CALL("setdomainname not allowed", SYS_setdomainname, "x", 1L);
    CALL("settimeofday not allowed", SYS_settimeofday, &(struct timeval){1, 1}, NULL);
    CALL("clock_settime not allowed", SYS_clock_settime, 0, &(struct timespec){1, 1});
    CALL("kill not allowed", SYS_kill, 1, SIGTERM);
    CALL("setpriority not allowed", SYS_setpriority, PRIO_PROCESS, 0, -5);
    CALL("acct not allowed", SYS_acct, "x");
    CALL("open_by_handle_at not allowed", SYS_open_by_handle_at, AT_FDCWD, BAD, O_RDONLY);
    CALL("vhangup not allowed", SYS_vhangup);
    CALL("pivot_root not allowed", SYS_pivot_root, ".", ".");
    CALL("ioprio_set not allowed", SYS_ioprio_set, 1, 0, 1 << 13);
}

static void limits(void) {
    struct rlimit l, m = {100, 50};
    CALL("getrlimit", SYS_getrlimit, RLIMIT_NOFILE, &l);
    CALL("getrlimit kind", SYS_getrlimit, 99, &l);
    CALL("getrlimit bad pointer", SYS_getrlimit, RLIMIT_NOFILE, BAD);
    CALL("setrlimit order", SYS_setrlimit, RLIMIT_NOFILE, &m);
    l.rlim_cur = 200;
    CALL("setrlimit", SYS_setrlimit, RLIMIT_NOFILE, &l);
    CALL("prlimit64", SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &m);
    SHOW("prlimit64 is", "%ld", (long)m.rlim_cur);
    CALL("dup3 above the limit", SYS_dup3, 1, 250, 0);
    CALL("prlimit64 process", SYS_prlimit64, 0x7ffffff0, RLIMIT_NOFILE, NULL, &m);
    CALL("prlimit64 bad pointer", SYS_prlimit64, 0, RLIMIT_NOFILE, BAD, NULL);
    struct rlimit f = {100, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    syscall(SYS_setrlimit, RLIMIT_FSIZE, &f);
    CALL("pwrite64 above the limit", SYS_pwrite64, open("big", O_CREAT | O_RDWR, 0600), "x", 1L, 5000L);
    f.rlim_cur = RLIM_INFINITY;
    syscall(SYS_setrlimit, RLIMIT_FSIZE, &f);
    struct rusage u;
    memset(&u, 0x55, sizeof u);
    CALL("getrusage", SYS_getrusage, RUSAGE_SELF, &u);
    SHOW("getrusage is", "%d %d", u.ru_maxrss > 100, u.ru_utime.tv_usec < 1000000);
    CALL("getrusage kind", SYS_getrusage, 99, &u);
    CALL("getrusage bad pointer", SYS_getrusage, RUSAGE_SELF, BAD);
}

static void scheduling(void) {
    cpu_set_t c;
    struct sched_param p = {0};
    struct timespec t;
    SHOW("sched_getaffinity", "%d %d", (int)syscall(SYS_sched_getaffinity, 0, sizeof c, &c) > 0, CPU_COUNT(&c) > 0);
    CALL("sched_getaffinity size", SYS_sched_getaffinity, 0, 3L, &c);
    CALL("sched_getaffinity process", SYS_sched_getaffinity, 0x7ffffff0, sizeof c, &c);
    CALL("sched_setaffinity", SYS_sched_setaffinity, 0, sizeof c, &c);
    CPU_ZERO(&c);
    CALL("sched_setaffinity none", SYS_sched_setaffinity, 0, sizeof c, &c);
    CALL("sched_setaffinity bad pointer", SYS_sched_setaffinity, 0, sizeof c, BAD);
    CALL("sched_yield", SYS_sched_yield);
    CALL("sched_getscheduler", SYS_sched_getscheduler, 0);
    CALL("sched_getscheduler process", SYS_sched_getscheduler, 0x7ffffff0);
    CALL("sched_setscheduler", SYS_sched_setscheduler, 0, SCHED_BATCH, &p);
    CALL("sched_getscheduler changed", SYS_sched_getscheduler, 0);
    CALL("sched_setscheduler policy", SYS_sched_setscheduler, 0, 99, &p);
    CALL("sched_getparam", SYS_sched_getparam, 0, &p);
    CALL("sched_getparam bad pointer", SYS_sched_getparam, 0, NULL);
    CALL("sched_setparam", SYS_sched_setparam, 0, &p);
    p.sched_priority = 50;
    CALL("sched_setparam priority", SYS_sched_setparam, 0, &p);
    CALL("sched_get_priority_max", SYS_sched_get_priority_max, SCHED_FIFO);
    CALL("sched_get_priority_min", SYS_sched_get_priority_min, SCHED_FIFO);
    CALL("sched_get_priority_max policy", SYS_sched_get_priority_max, 99);
    CALL("sched_get_priority_min policy", SYS_sched_get_priority_min, 99);
    CALL("sched_rr_get_interval", SYS_sched_rr_get_interval, 0, &t);
    CALL("sched_rr_get_interval process", SYS_sched_rr_get_interval, 0x7ffffff0, &t);
    struct sched_attr a;
    memset(&a, 0, sizeof a);
    CALL("sched_getattr", SYS_sched_getattr, 0, &a, sizeof a, 0);
    SHOW("sched_getattr is", "%u %d", a.sched_policy, a.sched_nice);
    CALL("sched_getattr size", SYS_sched_getattr, 0, &a, 3, 0);
    a.size = sizeof a, a.sched_policy = SCHED_OTHER, a.sched_nice = 1;
    CALL("sched_setattr", SYS_sched_setattr, 0, &a, 0);
    CALL("sched_setattr flags", SYS_sched_setattr, 0, &a, 9);
    CALL("sched_setattr bad pointer", SYS_sched_setattr, 0, BAD, 0);
    CALL("getpriority", SYS_getpriority, PRIO_PROCESS, 0);
    CALL("setpriority", SYS_setpriority, PRIO_PROCESS, 0, 5);
    CALL("getpriority changed", SYS_getpriority, PRIO_PROCESS, 0);
    CALL("getpriority kind", SYS_getpriority, 99, 0);
    CALL("setpriority kind", SYS_setpriority, 99, 0, 0);
    CALL("ioprio_set", SYS_ioprio_set, 1, 0, 2 << 13 | 3);
    CALL("ioprio_get", SYS_ioprio_get, 1, 0);
    CALL("ioprio_get kind", SYS_ioprio_get, 99, 0);
    CALL("ioprio_set class", SYS_ioprio_set, 1, 0, 7 << 13);
    unsigned cpu = 999, node = 999;
    CALL("getcpu", SYS_getcpu, &cpu, &node, NULL);
    SHOW("getcpu is", "%d %d", cpu < 999, node < 999);
    CALL("getcpu bad pointer", SYS_getcpu, BAD, NULL, NULL);
}

static void machine(void) {
    struct utsname u;
    CALL("uname", SYS_uname, &u);
#ifdef __riscv
    SHOW("uname is", "%s %s", u.sysname, u.machine);
#endif
    CALL("uname bad pointer", SYS_uname, BAD);
    CALL("sethostname too long", SYS_sethostname, "x", 100L);
    CALL("setdomainname negative", SYS_setdomainname, "x", -1L);
    struct sysinfo s;
    memset(&s, 0x55, sizeof s);
    CALL("sysinfo", SYS_sysinfo, &s);
    SHOW("sysinfo is", "%d %d %u", s.uptime > 0, s.totalram > 1000, s.mem_unit);
    CALL("sysinfo bad pointer", SYS_sysinfo, BAD);
    char buf[8] = {0};
    CALL("getrandom", SYS_getrandom, buf, 8L, 0);
    SHOW("getrandom is", "%d", *(long *)buf != 0);
    CALL("getrandom flags", SYS_getrandom, buf, 8L, 0x80);
    CALL("getrandom bad pointer", SYS_getrandom, BAD, 8L, 0);
    CALL("personality", SYS_personality, 0xffffffffu);
    CALL("personality addresses", SYS_personality, 0x0040000);
    CALL("personality changed", SYS_personality, 0xffffffffu);
    CALL("syslog type", SYS_syslog, 99, NULL, 0);
    WORKS("syslog size", syscall(SYS_syslog, 10, NULL, 0));
#ifdef __riscv
    struct { long key; unsigned long value; } p[4] = {{3}, {4}, {99}, {5}};
    CALL("riscv_hwprobe", 258, p, 4L, 0L, NULL, 0);
    SHOW("riscv_hwprobe is", "%ld %ld %ld %d", p[0].key, (long)p[0].value, p[2].key, (p[1].value & 3) == 3);
    CALL("riscv_hwprobe flags", 258, p, 4L, 0L, NULL, 8);
    CALL("riscv_hwprobe bad pointer", 258, BAD, 4L, 0L, NULL, 0);
    CALL("riscv_hwprobe no processors", 258, p, 4L, 8L, NULL, 0);
    unsigned long set = 1, none = 0;
    CALL("riscv_hwprobe processors", 258, p, 4L, 8L, &set, 0);
    CALL("riscv_hwprobe empty set", 258, p, 4L, 8L, &none, 0);
#endif
}

void run(void) {
    users();
    limits();
    scheduling();
    machine();
    drops();
}
