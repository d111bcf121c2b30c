//! The system calls of the generic ABI (include/uapi/asm-generic/unistd.h, Linux 6.12), which riscv64 uses: a
//! row a call, with its number, name, arguments, how it is served, the check that shows it, and where it falls short. `--strace`
//! and docs/system-calls.md come from here.

use crate::call::Context;
use crate::errno::Errno;
use crate::{files, info, ioctl, space, structs, vectors};

/// What an argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arg {
    /// A file descriptor.
    Fd,
    /// A directory's descriptor or `AT_FDCWD`.
    At,
    /// A path; the program's view of files applies to it.
    Path,
    /// Another string.
    Text,
    /// A number of 32 bits.
    Int,
    /// A number of 64 bits.
    Long,
    /// Flags.
    Hex,
    /// A size in bytes, or a count.
    Size,
    /// An address.
    Ptr,
    /// An address or a number, as another argument says.
    Either,
    /// Permission bits.
    Mode,
    /// A signal's number.
    Signal,
    /// `O_*`.
    Open,
    /// `PROT_*`.
    Prot,
    /// `MAP_*`.
    Map,
    /// A request of `ioctl`.
    Request,
}

/// Calls about the thread that makes them, which the caller of [`Context::call`] serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ThreadCall {
    Clone,
    Clone3,
    Execve,
    Execveat,
    Exit,
    ExitGroup,
    SetTidAddress,
    Sigaction,
    Sigprocmask,
    Sigreturn,
    Sigsuspend,
    Sigaltstack,
}

/// How a call is served.
#[derive(Clone, Copy)]
pub enum How {
    /// The host's call of this number takes the same arguments.
    Same(i64),
    /// As [`How::Same`], and the first two arguments are a range of addresses that must all be a program's. Where the
    /// function says so of the arguments, what was translated from there is dropped.
    Range(i64, fn(&[u64; 6]) -> bool),
    /// By this function.
    Own(fn(&Context, [u64; 6]) -> Result<u64, Errno>),
    /// By the thread.
    Thread(ThreadCall),
    /// Not at all: it fails with this error.
    Refused(i32),
}

/// A row.
pub struct Call {
    /// Number.
    pub number: u64,
    /// Name.
    pub name: &'static str,
    /// Arguments.
    pub args: &'static [Arg],
    /// How it is served.
    pub how: How,
    /// The check that shows it: file of `tests/calls`, and the check's name.
    pub test: &'static str,
    /// How far it goes.
    pub state: State,
    /// What is to be said about it; empty where nothing is.
    pub note: &'static str,
}

/// How far a row goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// As Linux has it; its checks were compared with `qemu-riscv64`'s results.
    Complete,
    /// Some of it is missing or not shown by a test: the note says what.
    Partial,
    /// It fails, always: the note says why.
    Refused,
}

macro_rules! how {
    // From 424 on all CPUs have the same numbers.
    (same $number:literal) => {
        How::Same($number)
    };
    (same $host:ident) => {
        How::Same(libc::$host)
    };
    (range $number:literal) => {
        How::Range($number, stays)
    };
    (range $host:ident) => {
        How::Range(libc::$host, stays)
    };
    (range $host:ident drops $when:path) => {
        How::Range(libc::$host, $when)
    };
    (own $run:path) => {
        How::Own($run)
    };
    (thread $what:ident) => {
        How::Thread(ThreadCall::$what)
    };
    (refused $errno:ident) => {
        How::Refused(libc::$errno)
    };
}

/// The range holds what it held.
fn stays(_: &[u64; 6]) -> bool {
    false
}

macro_rules! state {
    (refused $($partial:literal)?) => {
        State::Refused
    };
    ($how:ident $partial:literal) => {
        State::Partial
    };
    ($how:ident) => {
        State::Complete
    };
}

macro_rules! calls {
    ($($number:literal $name:ident($($arg:ident),*) => $how:ident($($with:tt)*)
        tested $test:literal $(partial $partial:literal)? $(note $note:literal)?;)*) => {
        /// All calls, in the order of their numbers.
        pub const CALLS: &[Call] = &[$(Call {
            number: $number,
            name: stringify!($name),
            args: &[$(Arg::$arg),*],
            how: how!($how $($with)*),
            test: $test,
            state: state!($how $($partial)?),
            note: concat!($($partial)? $($note)?),
        }),*];
    };
}

/// The row of a call.
pub fn find(number: u64) -> Option<&'static Call> {
    let at = CALLS.binary_search_by_key(&number, |c| c.number).ok()?;
    Some(&CALLS[at])
}

calls! {
    0 io_setup(Int, Ptr) => refused(ENOSYS) tested "refused/io_setup" note "its ring would lie outside the program's addresses";
    1 io_destroy(Ptr) => refused(ENOSYS) tested "refused/io_destroy" note "its ring would lie outside the program's addresses";
    2 io_submit(Ptr, Long, Ptr) => refused(ENOSYS) tested "refused/io_submit" note "its ring would lie outside the program's addresses";
    3 io_cancel(Ptr, Ptr, Ptr) => refused(ENOSYS) tested "refused/io_cancel" note "its ring would lie outside the program's addresses";
    4 io_getevents(Ptr, Long, Long, Ptr, Ptr) => refused(ENOSYS) tested "refused/io_getevents" note "its ring would lie outside the program's addresses";
    5 setxattr(Path, Text, Ptr, Size, Hex) => same(SYS_setxattr) tested "names/setxattr";
    6 lsetxattr(Path, Text, Ptr, Size, Hex) => same(SYS_lsetxattr) tested "names/lsetxattr";
    7 fsetxattr(Fd, Text, Ptr, Size, Hex) => same(SYS_fsetxattr) tested "names/fsetxattr";
    8 getxattr(Path, Text, Ptr, Size) => same(SYS_getxattr) tested "names/getxattr";
    9 lgetxattr(Path, Text, Ptr, Size) => same(SYS_lgetxattr) tested "names/lgetxattr";
    10 fgetxattr(Fd, Text, Ptr, Size) => same(SYS_fgetxattr) tested "names/fgetxattr";
    11 listxattr(Path, Ptr, Size) => same(SYS_listxattr) tested "names/listxattr";
    12 llistxattr(Path, Ptr, Size) => same(SYS_llistxattr) tested "names/llistxattr";
    13 flistxattr(Fd, Ptr, Size) => same(SYS_flistxattr) tested "names/flistxattr";
    14 removexattr(Path, Text) => same(SYS_removexattr) tested "names/removexattr";
    15 lremovexattr(Path, Text) => same(SYS_lremovexattr) tested "names/lremovexattr";
    16 fremovexattr(Fd, Text) => same(SYS_fremovexattr) tested "names/fremovexattr";
    17 getcwd(Ptr, Size) => same(SYS_getcwd) tested "names/getcwd";
    19 eventfd2(Int, Hex) => same(SYS_eventfd2) tested "polling/eventfd2";
    20 epoll_create1(Hex) => same(SYS_epoll_create1) tested "polling/epoll_create1";
    21 epoll_ctl(Fd, Int, Fd, Ptr) => own(structs::epoll_ctl) tested "polling/epoll_ctl add";
    22 epoll_pwait(Fd, Ptr, Int, Int, Ptr, Size) => own(structs::epoll_pwait) tested "polling/epoll_pwait nothing";
    23 dup(Fd) => same(SYS_dup) tested "files/dup";
    24 dup3(Fd, Fd, Open) => same(SYS_dup3) tested "files/dup3";
    25 fcntl(Fd, Int, Either) => same(SYS_fcntl) tested "files/fcntl F_GETFL";
    26 inotify_init1(Hex) => same(SYS_inotify_init1) tested "polling/inotify_init1";
    27 inotify_add_watch(Fd, Path, Hex) => same(SYS_inotify_add_watch) tested "polling/inotify_add_watch";
    28 inotify_rm_watch(Fd, Int) => same(SYS_inotify_rm_watch) tested "polling/inotify_rm_watch";
    29 ioctl(Fd, Request, Either) => own(ioctl::ioctl) tested "terminals/ioctl terminal" note "the host's structures are the same; requests that are not in the table go to the host as well, and nobody looks at addresses inside their structures";
    30 ioprio_set(Int, Int, Int) => same(SYS_ioprio_set) tested "ids/ioprio_set";
    31 ioprio_get(Int, Int) => same(SYS_ioprio_get) tested "ids/ioprio_get";
    32 flock(Fd, Int) => same(SYS_flock) tested "files/flock";
    33 mknodat(At, Path, Mode, Hex) => same(SYS_mknodat) tested "names/mknodat fifo";
    34 mkdirat(At, Path, Mode) => same(SYS_mkdirat) tested "names/mkdirat";
    35 unlinkat(At, Path, Hex) => same(SYS_unlinkat) tested "names/unlinkat";
    36 symlinkat(Text, At, Path) => same(SYS_symlinkat) tested "names/symlinkat";
    37 linkat(At, Path, At, Path, Hex) => same(SYS_linkat) tested "names/linkat";
    39 umount2(Path, Hex) => same(SYS_umount2) tested "mounts/umount2 expired";
    40 mount(Text, Path, Text, Hex, Ptr) => same(SYS_mount) tested "mounts/mount tmpfs";
    41 pivot_root(Path, Path) => own(files::pivot_root) tested "mounts/pivot_root";
    43 statfs(Path, Ptr) => same(SYS_statfs) tested "files/statfs";
    44 fstatfs(Fd, Ptr) => same(SYS_fstatfs) tested "files/fstatfs";
    45 truncate(Path, Long) => same(SYS_truncate) tested "files/truncate";
    46 ftruncate(Fd, Long) => same(SYS_ftruncate) tested "files/ftruncate";
    47 fallocate(Fd, Hex, Long, Long) => same(SYS_fallocate) tested "files/fallocate";
    48 faccessat(At, Path, Mode) => same(SYS_faccessat) tested "names/faccessat";
    49 chdir(Path) => same(SYS_chdir) tested "names/chdir";
    50 fchdir(Fd) => same(SYS_fchdir) tested "names/fchdir";
    51 chroot(Path) => own(files::chroot) tested "mounts/chroot";
    52 fchmod(Fd, Mode) => same(SYS_fchmod) tested "names/fchmod";
    53 fchmodat(At, Path, Mode) => same(SYS_fchmodat) tested "names/fchmodat";
    54 fchownat(At, Path, Int, Int, Hex) => same(SYS_fchownat) tested "names/fchownat";
    55 fchown(Fd, Int, Int) => same(SYS_fchown) tested "names/fchown";
    56 openat(At, Path, Open, Mode) => own(files::openat) tested "files/openat creates" partial "files of /proc that are the program's own are found by absolute paths only";
    57 close(Fd) => same(SYS_close) tested "files/close";
    58 vhangup() => same(SYS_vhangup) tested "processes/vhangup";
    59 pipe2(Ptr, Open) => same(SYS_pipe2) tested "polling/pipe2";
    60 quotactl(Hex, Path, Int, Ptr) => same(SYS_quotactl) tested "files/quotactl command" partial "only its errors are tested";
    61 getdents64(Fd, Ptr, Size) => same(SYS_getdents64) tested "names/getdents64";
    62 lseek(Fd, Long, Int) => same(SYS_lseek) tested "files/lseek set";
    63 read(Fd, Ptr, Size) => same(SYS_read) tested "polling/read eventfd";
    64 write(Fd, Ptr, Size) => same(SYS_write) tested "files/write";
    65 readv(Fd, Ptr, Size) => own(vectors::readv) tested "files/readv";
    66 writev(Fd, Ptr, Size) => own(vectors::writev) tested "files/writev";
    67 pread64(Fd, Ptr, Size, Long) => same(SYS_pread64) tested "files/pread64";
    68 pwrite64(Fd, Ptr, Size, Long) => same(SYS_pwrite64) tested "files/pwrite64";
    69 preadv(Fd, Ptr, Size, Long, Long) => own(vectors::preadv) tested "files/preadv";
    70 pwritev(Fd, Ptr, Size, Long, Long) => own(vectors::pwritev) tested "files/pwritev";
    71 sendfile(Fd, Fd, Ptr, Size) => same(SYS_sendfile) tested "files/sendfile";
    72 pselect6(Int, Ptr, Ptr, Ptr, Ptr, Ptr) => same(SYS_pselect6) tested "polling/pselect6 signal came";
    73 ppoll(Ptr, Size, Ptr, Ptr, Size) => same(SYS_ppoll) tested "polling/ppoll nothing";
    74 signalfd4(Fd, Ptr, Size, Hex) => same(SYS_signalfd4) tested "polling/signalfd4";
    75 vmsplice(Fd, Ptr, Size, Hex) => own(vectors::vmsplice) tested "files/vmsplice";
    76 splice(Fd, Ptr, Fd, Ptr, Size, Hex) => same(SYS_splice) tested "files/splice file to pipe";
    77 tee(Fd, Fd, Size, Hex) => same(SYS_tee) tested "files/tee";
    78 readlinkat(At, Path, Ptr, Size) => own(files::readlinkat) tested "proc/readlinkat of the program";
    79 newfstatat(At, Path, Ptr, Hex) => own(structs::newfstatat) tested "names/newfstatat";
    80 fstat(Fd, Ptr) => own(structs::fstat) tested "names/fstat";
    81 sync() => same(SYS_sync) tested "files/sync";
    82 fsync(Fd) => same(SYS_fsync) tested "files/fsync";
    83 fdatasync(Fd) => same(SYS_fdatasync) tested "files/fdatasync";
    84 sync_file_range(Fd, Long, Long, Hex) => same(SYS_sync_file_range) tested "files/sync_file_range";
    85 timerfd_create(Int, Hex) => same(SYS_timerfd_create) tested "polling/timerfd_create";
    86 timerfd_settime(Fd, Hex, Ptr, Ptr) => same(SYS_timerfd_settime) tested "polling/timerfd_settime";
    87 timerfd_gettime(Fd, Ptr) => same(SYS_timerfd_gettime) tested "polling/timerfd_gettime";
    88 utimensat(At, Path, Ptr, Hex) => same(SYS_utimensat) tested "names/utimensat";
    89 acct(Path) => same(SYS_acct) tested "ids/acct not allowed" partial "only its errors are tested";
    90 capget(Ptr, Ptr) => same(SYS_capget) tested "ids/capget";
    91 capset(Ptr, Ptr) => same(SYS_capset) tested "ids/capset same";
    92 personality(Hex) => own(info::personality) tested "ids/personality" partial "READ_IMPLIES_EXEC is refused (EINVAL)";
    93 exit(Int) => thread(Exit) tested "threads/exit of the first thread";
    94 exit_group(Int) => thread(ExitGroup) tested "signals/exit_group by SIGSEGV";
    95 waitid(Int, Int, Ptr, Hex, Ptr) => same(SYS_waitid) tested "processes/waitid continued";
    96 set_tid_address(Ptr) => thread(SetTidAddress) tested "threads/set_tid_address";
    97 unshare(Hex) => same(SYS_unshare) tested "processes/unshare files";
    98 futex(Ptr, Hex, Int, Either, Ptr, Int) => same(SYS_futex) tested "threads/futex wake nobody";
    99 set_robust_list(Ptr, Size) => same(SYS_set_robust_list) tested "threads/set_robust_list consistent";
    100 get_robust_list(Int, Ptr, Ptr) => same(SYS_get_robust_list) tested "threads/get_robust_list";
    101 nanosleep(Ptr, Ptr) => same(SYS_nanosleep) tested "time/nanosleep";
    102 getitimer(Int, Ptr) => same(SYS_getitimer) tested "time/getitimer";
    103 setitimer(Int, Ptr, Ptr) => same(SYS_setitimer) tested "time/setitimer";
    104 kexec_load(Hex, Size, Ptr, Hex) => refused(ENOSYS) tested "refused/kexec_load" note "the host's";
    105 init_module(Ptr, Size, Text) => refused(ENOSYS) tested "refused/init_module" note "modules are the host's";
    106 delete_module(Text, Hex) => refused(ENOSYS) tested "refused/delete_module" note "modules are the host's";
    107 timer_create(Int, Ptr, Ptr) => same(SYS_timer_create) tested "time/timer_create";
    108 timer_gettime(Int, Ptr) => same(SYS_timer_gettime) tested "time/timer_gettime";
    109 timer_getoverrun(Int) => same(SYS_timer_getoverrun) tested "time/timer_getoverrun";
    110 timer_settime(Int, Hex, Ptr, Ptr) => same(SYS_timer_settime) tested "time/timer_settime";
    111 timer_delete(Int) => same(SYS_timer_delete) tested "time/timer_delete";
    112 clock_settime(Int, Ptr) => same(SYS_clock_settime) tested "time/clock_settime clock" partial "only its errors are tested";
    113 clock_gettime(Int, Ptr) => same(SYS_clock_gettime) tested "time/clock_gettime";
    114 clock_getres(Int, Ptr) => same(SYS_clock_getres) tested "time/clock_getres";
    115 clock_nanosleep(Int, Hex, Ptr, Ptr) => same(SYS_clock_nanosleep) tested "time/clock_nanosleep";
    116 syslog(Int, Ptr, Size) => same(SYS_syslog) tested "ids/syslog size";
    117 ptrace(Int, Int, Ptr, Ptr) => refused(ENOSYS) tested "refused/ptrace" note "the registers would be the monitor's";
    118 sched_setparam(Int, Ptr) => same(SYS_sched_setparam) tested "ids/sched_setparam";
    119 sched_setscheduler(Int, Int, Ptr) => same(SYS_sched_setscheduler) tested "ids/sched_setscheduler";
    120 sched_getscheduler(Int) => same(SYS_sched_getscheduler) tested "ids/sched_getscheduler";
    121 sched_getparam(Int, Ptr) => same(SYS_sched_getparam) tested "ids/sched_getparam";
    122 sched_setaffinity(Int, Size, Ptr) => same(SYS_sched_setaffinity) tested "ids/sched_setaffinity";
    123 sched_getaffinity(Int, Size, Ptr) => same(SYS_sched_getaffinity) tested "ids/sched_getaffinity";
    124 sched_yield() => same(SYS_sched_yield) tested "ids/sched_yield";
    125 sched_get_priority_max(Int) => same(SYS_sched_get_priority_max) tested "ids/sched_get_priority_max";
    126 sched_get_priority_min(Int) => same(SYS_sched_get_priority_min) tested "ids/sched_get_priority_min";
    127 sched_rr_get_interval(Int, Ptr) => same(SYS_sched_rr_get_interval) tested "ids/sched_rr_get_interval";
    128 restart_syscall() => refused(EINTR) tested "processes/restart_syscall" note "nothing that was interrupted is kept by the kernel";
    129 kill(Int, Signal) => same(SYS_kill) tested "signals/kill";
    130 tkill(Int, Signal) => same(SYS_tkill) tested "signals/tkill";
    131 tgkill(Int, Int, Signal) => same(SYS_tgkill) tested "signals/tgkill";
    132 sigaltstack(Ptr, Ptr) => thread(Sigaltstack) tested "signals/sigaltstack";
    133 rt_sigsuspend(Ptr, Size) => thread(Sigsuspend) tested "signals/rt_sigsuspend came";
    134 rt_sigaction(Signal, Ptr, Ptr, Size) => thread(Sigaction) tested "signals/rt_sigaction";
    135 rt_sigprocmask(Int, Ptr, Ptr, Size) => thread(Sigprocmask) tested "signals/rt_sigprocmask block";
    136 rt_sigpending(Ptr, Size) => same(SYS_rt_sigpending) tested "signals/rt_sigpending";
    137 rt_sigtimedwait(Ptr, Ptr, Ptr, Size) => same(SYS_rt_sigtimedwait) tested "signals/rt_sigtimedwait three came";
    138 rt_sigqueueinfo(Int, Signal, Ptr) => same(SYS_rt_sigqueueinfo) tested "signals/rt_sigqueueinfo";
    139 rt_sigreturn() => thread(Sigreturn) tested "signals/rt_sigreturn to a loop";
    140 setpriority(Int, Int, Int) => same(SYS_setpriority) tested "ids/setpriority";
    141 getpriority(Int, Int) => same(SYS_getpriority) tested "ids/getpriority";
    142 reboot(Hex, Hex, Hex, Ptr) => refused(EPERM) tested "refused/reboot" note "the host's";
    143 setregid(Int, Int) => same(SYS_setregid) tested "ids/setregid nothing";
    144 setgid(Int) => same(SYS_setgid) tested "ids/setgid same";
    145 setreuid(Int, Int) => same(SYS_setreuid) tested "ids/setreuid nothing";
    146 setuid(Int) => same(SYS_setuid) tested "ids/setuid same";
    147 setresuid(Int, Int, Int) => same(SYS_setresuid) tested "ids/setresuid nothing";
    148 getresuid(Ptr, Ptr, Ptr) => same(SYS_getresuid) tested "ids/getresuid";
    149 setresgid(Int, Int, Int) => same(SYS_setresgid) tested "ids/setresgid nothing";
    150 getresgid(Ptr, Ptr, Ptr) => same(SYS_getresgid) tested "ids/getresgid";
    151 setfsuid(Int) => same(SYS_setfsuid) tested "ids/setfsuid";
    152 setfsgid(Int) => same(SYS_setfsgid) tested "ids/setfsgid";
    153 times(Ptr) => same(SYS_times) tested "time/times" note "with the monitor's share";
    154 setpgid(Int, Int) => same(SYS_setpgid) tested "processes/setpgid";
    155 getpgid(Int) => same(SYS_getpgid) tested "processes/getpgid";
    156 getsid(Int) => same(SYS_getsid) tested "processes/getsid";
    157 setsid() => same(SYS_setsid) tested "processes/setsid";
    158 getgroups(Int, Ptr) => same(SYS_getgroups) tested "ids/getgroups";
    159 setgroups(Int, Ptr) => same(SYS_setgroups) tested "ids/setgroups";
    160 uname(Ptr) => own(info::uname) tested "ids/uname" note "the host's, with the program's CPU";
    161 sethostname(Text, Size) => same(SYS_sethostname) tested "ids/sethostname too long" partial "only its errors are tested";
    162 setdomainname(Text, Size) => same(SYS_setdomainname) tested "ids/setdomainname negative" partial "only its errors are tested";
    163 getrlimit(Int, Ptr) => same(SYS_getrlimit) tested "ids/getrlimit";
    164 setrlimit(Int, Ptr) => same(SYS_setrlimit) tested "ids/setrlimit" partial "limits hold for the monitor, too";
    165 getrusage(Int, Ptr) => same(SYS_getrusage) tested "ids/getrusage" note "with the monitor's share";
    166 umask(Mode) => same(SYS_umask) tested "files/umask";
    167 prctl(Int, Either, Either, Either, Either) => own(info::prctl) tested "processes/prctl set name" partial "what is about the host's CPU, filters and the memory map is refused (EINVAL)";
    168 getcpu(Ptr, Ptr, Ptr) => same(SYS_getcpu) tested "ids/getcpu";
    169 gettimeofday(Ptr, Ptr) => same(SYS_gettimeofday) tested "time/gettimeofday";
    170 settimeofday(Ptr, Ptr) => same(SYS_settimeofday) tested "time/settimeofday bad time" partial "only its errors are tested";
    171 adjtimex(Ptr) => same(SYS_adjtimex) tested "time/adjtimex";
    172 getpid() => same(SYS_getpid) tested "processes/getpid";
    173 getppid() => same(SYS_getppid) tested "processes/getppid";
    174 getuid() => same(SYS_getuid) tested "ids/getuid";
    175 geteuid() => same(SYS_geteuid) tested "ids/geteuid";
    176 getgid() => same(SYS_getgid) tested "ids/getgid";
    177 getegid() => same(SYS_getegid) tested "ids/getegid";
    178 gettid() => same(SYS_gettid) tested "threads/gettid";
    179 sysinfo(Ptr) => same(SYS_sysinfo) tested "ids/sysinfo";
    180 mq_open(Text, Hex, Mode, Ptr) => same(SYS_mq_open) tested "ipc/mq_open";
    181 mq_unlink(Text) => same(SYS_mq_unlink) tested "ipc/mq_unlink";
    182 mq_timedsend(Int, Ptr, Size, Int, Ptr) => same(SYS_mq_timedsend) tested "ipc/mq_timedsend";
    183 mq_timedreceive(Int, Ptr, Size, Ptr, Ptr) => same(SYS_mq_timedreceive) tested "ipc/mq_timedreceive";
    184 mq_notify(Int, Ptr) => same(SYS_mq_notify) tested "ipc/mq_notify";
    185 mq_getsetattr(Int, Ptr, Ptr) => same(SYS_mq_getsetattr) tested "ipc/mq_getsetattr";
    186 msgget(Int, Hex) => same(SYS_msgget) tested "ipc/msgget";
    187 msgctl(Int, Hex, Ptr) => same(SYS_msgctl) tested "ipc/msgctl IPC_STAT";
    188 msgrcv(Int, Ptr, Size, Long, Hex) => same(SYS_msgrcv) tested "ipc/msgrcv type";
    189 msgsnd(Int, Ptr, Size, Hex) => same(SYS_msgsnd) tested "ipc/msgsnd";
    190 semget(Int, Int, Hex) => same(SYS_semget) tested "ipc/semget";
    191 semctl(Int, Int, Hex, Either) => own(structs::semctl) tested "ipc/semctl SETVAL";
    192 semtimedop(Int, Ptr, Size, Ptr) => same(SYS_semtimedop) tested "ipc/semtimedop";
    193 semop(Int, Ptr, Size) => same(SYS_semop) tested "ipc/semop";
    194 shmget(Int, Size, Hex) => same(SYS_shmget) tested "ipc/shmget";
    195 shmctl(Int, Hex, Ptr) => same(SYS_shmctl) tested "ipc/shmctl IPC_STAT";
    196 shmat(Int, Ptr, Hex) => own(space::shmat) tested "ipc/shmat";
    197 shmdt(Ptr) => own(space::shmdt) tested "ipc/shmdt";
    198 socket(Int, Int, Int) => same(SYS_socket) tested "sockets/socket";
    199 socketpair(Int, Int, Int, Ptr) => same(SYS_socketpair) tested "sockets/socketpair";
    200 bind(Fd, Ptr, Size) => same(SYS_bind) tested "sockets/bind";
    201 listen(Fd, Int) => same(SYS_listen) tested "sockets/listen";
    202 accept(Fd, Ptr, Ptr) => same(SYS_accept) tested "sockets/accept";
    203 connect(Fd, Ptr, Size) => same(SYS_connect) tested "sockets/connect";
    204 getsockname(Fd, Ptr, Ptr) => same(SYS_getsockname) tested "sockets/getsockname";
    205 getpeername(Fd, Ptr, Ptr) => same(SYS_getpeername) tested "sockets/getpeername";
    206 sendto(Fd, Ptr, Size, Hex, Ptr, Size) => same(SYS_sendto) tested "sockets/sendto";
    207 recvfrom(Fd, Ptr, Size, Hex, Ptr, Ptr) => same(SYS_recvfrom) tested "sockets/recvfrom peek";
    208 setsockopt(Fd, Int, Int, Ptr, Size) => same(SYS_setsockopt) tested "sockets/setsockopt";
    209 getsockopt(Fd, Int, Int, Ptr, Ptr) => own(vectors::getsockopt) tested "sockets/getsockopt SO_RCVTIMEO" partial "not TCP_ZEROCOPY_RECEIVE (ENOPROTOOPT)";
    210 shutdown(Fd, Int) => same(SYS_shutdown) tested "sockets/shutdown";
    211 sendmsg(Fd, Ptr, Hex) => own(vectors::sendmsg) tested "sockets/sendmsg rights";
    212 recvmsg(Fd, Ptr, Hex) => own(vectors::recvmsg) tested "sockets/recvmsg";
    213 readahead(Fd, Long, Size) => same(SYS_readahead) tested "files/readahead";
    214 brk(Ptr) => own(space::brk) tested "memory/brk grows";
    215 munmap(Ptr, Size) => own(space::munmap) tested "memory/munmap";
    216 mremap(Ptr, Size, Size, Hex, Ptr) => own(space::mremap) tested "memory/mremap shrinks";
    217 add_key(Text, Text, Ptr, Size, Int) => same(SYS_add_key) tested "refused/add_key type" partial "only its errors are tested";
    218 request_key(Text, Text, Text, Int) => same(SYS_request_key) tested "refused/request_key type" partial "only its errors are tested";
    219 keyctl(Int, Either, Either, Either, Either) => same(SYS_keyctl) tested "refused/keyctl operation" partial "only its errors are tested";
    220 clone(Hex, Ptr, Ptr, Ptr, Ptr) => thread(Clone) tested "threads/clone threads" note "a child that shares memory and runs beside its parent has a thread of the monitor that waits for it";
    221 execve(Path, Ptr, Ptr) => thread(Execve) tested "processes/execve auxiliary vector";
    222 mmap(Ptr, Size, Prot, Map, Fd, Long) => own(space::mmap) tested "memory/mmap";
    223 fadvise64(Fd, Long, Long, Int) => same(SYS_fadvise64) tested "files/fadvise64";
    224 swapon(Path, Hex) => refused(EPERM) tested "files/swapon missing" note "the host's";
    225 swapoff(Path) => refused(EPERM) tested "files/swapoff missing" note "the host's";
    226 mprotect(Ptr, Size, Prot) => own(space::mprotect) tested "memory/mprotect";
    227 msync(Ptr, Size, Hex) => range(SYS_msync) tested "memory/msync";
    228 mlock(Ptr, Size) => range(SYS_mlock) tested "memory/mlock";
    229 munlock(Ptr, Size) => range(SYS_munlock) tested "memory/munlock";
    230 mlockall(Hex) => same(SYS_mlockall) tested "memory/mlockall flags" partial "locks the monitor's memory, too; only its errors are tested";
    231 munlockall() => same(SYS_munlockall) tested "memory/munlockall";
    232 mincore(Ptr, Size, Ptr) => range(SYS_mincore) tested "memory/mincore";
    233 madvise(Ptr, Size, Int) => range(SYS_madvise drops space::madvise_drops) tested "memory/madvise";
    234 remap_file_pages(Ptr, Size, Hex, Size, Hex) => refused(ENOSYS) tested "memory/remap_file_pages bits" note "deprecated";
    235 mbind(Ptr, Size, Int, Ptr, Size, Hex) => range(SYS_mbind) tested "memory/mbind mode" partial "only its errors are tested";
    236 get_mempolicy(Ptr, Ptr, Size, Ptr, Hex) => same(SYS_get_mempolicy) tested "memory/get_mempolicy";
    237 set_mempolicy(Int, Ptr, Size) => same(SYS_set_mempolicy) tested "memory/set_mempolicy";
    238 migrate_pages(Int, Size, Ptr, Ptr) => same(SYS_migrate_pages) tested "memory/migrate_pages process" partial "only its errors are tested";
    239 move_pages(Int, Size, Ptr, Ptr, Ptr, Hex) => same(SYS_move_pages) tested "memory/move_pages flags" partial "only its errors are tested";
    240 rt_tgsigqueueinfo(Int, Int, Signal, Ptr) => same(SYS_rt_tgsigqueueinfo) tested "signals/rt_tgsigqueueinfo";
    241 perf_event_open(Ptr, Int, Int, Fd, Hex) => refused(ENOSYS) tested "refused/perf_event_open" note "it would count the monitor's instructions";
    242 accept4(Fd, Ptr, Ptr, Hex) => same(SYS_accept4) tested "sockets/accept4";
    243 recvmmsg(Fd, Ptr, Size, Hex, Ptr) => own(vectors::recvmmsg) tested "sockets/recvmmsg";
    258 riscv_hwprobe(Ptr, Size, Size, Ptr, Hex) => own(info::hwprobe) tested "ids/riscv_hwprobe" partial "says the same of every CPU; not which CPUs have something (flags)";
    259 riscv_flush_icache(Ptr, Ptr, Hex) => own(info::flush_icache) tested "memory/riscv_flush_icache";
    260 wait4(Int, Ptr, Hex, Ptr) => same(SYS_wait4) tested "processes/wait4";
    261 prlimit64(Int, Int, Ptr, Ptr) => same(SYS_prlimit64) tested "ids/prlimit64" partial "limits hold for the monitor, too";
    262 fanotify_init(Hex, Hex) => same(SYS_fanotify_init) tested "polling/fanotify_init";
    263 fanotify_mark(Fd, Hex, Hex, At, Path) => same(SYS_fanotify_mark) tested "polling/fanotify_mark bad descriptor" partial "only its errors are tested";
    264 name_to_handle_at(At, Path, Ptr, Ptr, Hex) => same(SYS_name_to_handle_at) tested "names/name_to_handle_at size given";
    265 open_by_handle_at(Fd, Ptr, Hex) => same(SYS_open_by_handle_at) tested "names/open_by_handle_at";
    266 clock_adjtime(Int, Ptr) => same(SYS_clock_adjtime) tested "time/clock_adjtime";
    267 syncfs(Fd) => same(SYS_syncfs) tested "files/syncfs";
    268 setns(Fd, Hex) => same(SYS_setns) tested "processes/setns bad descriptor" partial "only its errors are tested";
    269 sendmmsg(Fd, Ptr, Size, Hex) => own(vectors::sendmmsg) tested "sockets/sendmmsg";
    270 process_vm_readv(Int, Ptr, Size, Ptr, Size, Hex) => own(vectors::process_vm_readv) tested "memory/process_vm_readv";
    271 process_vm_writev(Int, Ptr, Size, Ptr, Size, Hex) => own(vectors::process_vm_writev) tested "memory/process_vm_writev";
    272 kcmp(Int, Int, Int, Either, Either) => same(SYS_kcmp) tested "processes/kcmp";
    273 finit_module(Fd, Text, Hex) => refused(ENOSYS) tested "refused/finit_module" note "modules are the host's";
    274 sched_setattr(Int, Ptr, Hex) => same(SYS_sched_setattr) tested "ids/sched_setattr";
    275 sched_getattr(Int, Ptr, Size, Hex) => same(SYS_sched_getattr) tested "ids/sched_getattr";
    276 renameat2(At, Path, At, Path, Hex) => same(SYS_renameat2) tested "names/renameat2";
    277 seccomp(Int, Hex, Ptr) => refused(ENOSYS) tested "refused/seccomp filter" note "filters would see the monitor's calls";
    278 getrandom(Ptr, Size, Hex) => same(SYS_getrandom) tested "ids/getrandom";
    279 memfd_create(Text, Hex) => same(SYS_memfd_create) tested "files/memfd_create";
    280 bpf(Int, Ptr, Size) => refused(ENOSYS) tested "refused/bpf" note "it would see the monitor";
    281 execveat(At, Path, Ptr, Ptr, Hex) => thread(Execveat) tested "processes/execveat descriptor end";
    282 userfaultfd(Hex) => refused(ENOSYS) tested "refused/userfaultfd" note "faults would be the monitor's, too";
    283 membarrier(Int, Hex, Int) => own(space::membarrier) tested "memory/membarrier global";
    284 mlock2(Ptr, Size, Hex) => range(SYS_mlock2) tested "memory/mlock2";
    285 copy_file_range(Fd, Ptr, Fd, Ptr, Size, Hex) => same(SYS_copy_file_range) tested "files/copy_file_range";
    286 preadv2(Fd, Ptr, Size, Long, Long, Hex) => own(vectors::preadv2) tested "files/preadv2";
    287 pwritev2(Fd, Ptr, Size, Long, Long, Hex) => own(vectors::pwritev2) tested "files/pwritev2 append";
    288 pkey_mprotect(Ptr, Size, Hex, Int) => refused(ENOSYS) tested "memory/pkey_mprotect key" note "no such CPU";
    289 pkey_alloc(Hex, Hex) => refused(ENOSYS) tested "memory/pkey_alloc flags" note "no such CPU";
    290 pkey_free(Int) => refused(ENOSYS) tested "memory/pkey_free unknown" note "no such CPU";
    291 statx(At, Path, Hex, Hex, Ptr) => own(files::statx) tested "names/statx";
    292 io_pgetevents(Ptr, Long, Long, Ptr, Ptr, Ptr) => refused(ENOSYS) tested "refused/io_pgetevents" note "as io_getevents";
    293 rseq(Ptr, Size, Hex, Hex) => refused(ENOSYS) tested "refused/rseq" note "the kernel would change the registers of the monitor";
    424 pidfd_send_signal(Fd, Signal, Ptr, Hex) => same(SYS_pidfd_send_signal) tested "signals/pidfd_send_signal";
    425 io_uring_setup(Size, Ptr) => refused(ENOSYS) tested "refused/io_uring_setup" note "its rings would lie outside the program's addresses";
    426 io_uring_enter(Fd, Size, Size, Hex, Ptr, Size) => refused(ENOSYS) tested "refused/io_uring_enter" note "no ring";
    427 io_uring_register(Fd, Int, Ptr, Size) => refused(ENOSYS) tested "refused/io_uring_register" note "no ring";
    428 open_tree(At, Path, Hex) => same(SYS_open_tree) tested "mounts/open_tree";
    429 move_mount(At, Path, At, Path, Hex) => same(SYS_move_mount) tested "mounts/move_mount";
    430 fsopen(Text, Hex) => same(SYS_fsopen) tested "mounts/fsopen";
    431 fsconfig(Fd, Int, Text, Ptr, Int) => same(SYS_fsconfig) tested "mounts/fsconfig create";
    432 fsmount(Fd, Hex, Hex) => same(SYS_fsmount) tested "mounts/fsmount";
    433 fspick(At, Path, Hex) => same(SYS_fspick) tested "mounts/fspick";
    434 pidfd_open(Int, Hex) => same(SYS_pidfd_open) tested "processes/pidfd_open";
    435 clone3(Ptr, Size) => thread(Clone3) tested "threads/clone3 child" partial "set_tid and cgroup are refused (EINVAL)";
    436 close_range(Fd, Fd, Hex) => same(SYS_close_range) tested "files/close_range";
    437 openat2(At, Path, Ptr, Size) => same(SYS_openat2) tested "files/openat2 opens" partial "files of /proc are the host's";
    438 pidfd_getfd(Fd, Fd, Hex) => same(SYS_pidfd_getfd) tested "processes/pidfd_getfd";
    439 faccessat2(At, Path, Mode, Hex) => same(SYS_faccessat2) tested "names/faccessat2";
    440 process_madvise(Fd, Ptr, Size, Int, Hex) => own(space::process_madvise) tested "memory/process_madvise bad descriptor" partial "only its errors are tested";
    441 epoll_pwait2(Fd, Ptr, Int, Ptr, Ptr, Size) => own(structs::epoll_pwait2) tested "polling/epoll_pwait2";
    442 mount_setattr(At, Path, Hex, Ptr, Size) => same(SYS_mount_setattr) tested "mounts/mount_setattr recursive";
    443 quotactl_fd(Fd, Hex, Int, Ptr) => same(SYS_quotactl_fd) tested "files/quotactl_fd bad descriptor" partial "only its errors are tested";
    444 landlock_create_ruleset(Ptr, Size, Hex) => same(SYS_landlock_create_ruleset) tested "refused/landlock_create_ruleset" partial "only its errors are tested";
    445 landlock_add_rule(Fd, Int, Ptr, Hex) => same(SYS_landlock_add_rule) tested "refused/landlock_add_rule" partial "only its errors are tested";
    446 landlock_restrict_self(Fd, Hex) => same(SYS_landlock_restrict_self) tested "refused/landlock_restrict_self" partial "only its errors are tested";
    447 memfd_secret(Hex) => same(SYS_memfd_secret) tested "files/memfd_secret flags" partial "only its errors are tested";
    448 process_mrelease(Fd, Hex) => same(SYS_process_mrelease) tested "memory/process_mrelease bad descriptor" partial "only its errors are tested";
    449 futex_waitv(Ptr, Size, Hex, Ptr, Int) => own(vectors::futex_waitv) tested "threads/futex_waitv time in the past";
    450 set_mempolicy_home_node(Ptr, Size, Size, Hex) => range(SYS_set_mempolicy_home_node) tested "memory/set_mempolicy_home_node flags" partial "only its errors are tested";
    451 cachestat(Fd, Ptr, Ptr, Hex) => same(451) tested "files/cachestat";
    452 fchmodat2(At, Path, Mode, Hex) => same(452) tested "names/fchmodat2";
    453 map_shadow_stack(Ptr, Size, Hex) => refused(ENOSYS) tested "refused/map_shadow_stack" note "no such CPU";
    454 futex_wake(Ptr, Hex, Int, Hex) => same(454) tested "threads/futex_wake";
    455 futex_wait(Ptr, Long, Hex, Hex, Ptr, Int) => same(455) tested "threads/futex_wait value";
    456 futex_requeue(Ptr, Hex, Int, Int) => own(vectors::futex_requeue) tested "threads/futex_requeue";
    457 statmount(Ptr, Ptr, Size, Hex) => same(457) tested "mounts/statmount";
    458 listmount(Ptr, Ptr, Size, Hex) => same(458) tested "mounts/listmount";
    459 lsm_get_self_attr(Int, Ptr, Ptr, Hex) => same(459) tested "refused/lsm_get_self_attr" partial "only its errors are tested";
    460 lsm_set_self_attr(Int, Ptr, Size, Hex) => same(460) tested "refused/lsm_set_self_attr" partial "only its errors are tested";
    461 lsm_list_modules(Ptr, Ptr, Hex) => same(461) tested "refused/lsm_list_modules" partial "only its errors are tested";
    462 mseal(Ptr, Size, Hex) => range(462) tested "memory/mseal";
}
