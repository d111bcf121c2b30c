//! The system calls of the generic ABI (include/uapi/asm-generic/unistd.h, Linux 6.12), which riscv64 uses: a
//! row a call, with its number, name, arguments and how it is served.

use crate::call::Context;
use crate::errno::Errno;
use crate::{files, info, space, structs};

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
    /// Permission bits.
    Mode,
    /// A signal's number.
    Signal,
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
    /// As [`How::Same`], and the first two arguments are a range of addresses that must all be a program's.
    Range(i64),
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
    /// What is to be said about it; empty where nothing is.
    pub note: &'static str,
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
        How::Range($number)
    };
    (range $host:ident) => {
        How::Range(libc::$host)
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

macro_rules! calls {
    ($($number:literal $name:ident($($arg:ident),*) => $how:ident($($with:tt)*) $($note:literal)?;)*) => {
        /// All calls, in the order of their numbers.
        pub const CALLS: &[Call] = &[$(Call {
            number: $number,
            name: stringify!($name),
            args: &[$(Arg::$arg),*],
            how: how!($how $($with)*),
            note: concat!($($note)?),
        }),*];
    };
}

/// The row of a call.
pub fn find(number: u64) -> Option<&'static Call> {
    let at = CALLS.binary_search_by_key(&number, |c| c.number).ok()?;
    Some(&CALLS[at])
}

calls! {
    0 io_setup(Int, Ptr) => refused(ENOSYS) "its ring would lie outside the program's addresses";
    1 io_destroy(Ptr) => refused(ENOSYS) "its ring would lie outside the program's addresses";
    2 io_submit(Ptr, Long, Ptr) => refused(ENOSYS) "its ring would lie outside the program's addresses";
    3 io_cancel(Ptr, Ptr, Ptr) => refused(ENOSYS) "its ring would lie outside the program's addresses";
    4 io_getevents(Ptr, Long, Long, Ptr, Ptr) => refused(ENOSYS) "its ring would lie outside the program's addresses";
    5 setxattr(Path, Text, Ptr, Size, Hex) => same(SYS_setxattr);
    6 lsetxattr(Path, Text, Ptr, Size, Hex) => same(SYS_lsetxattr);
    7 fsetxattr(Fd, Text, Ptr, Size, Hex) => same(SYS_fsetxattr);
    8 getxattr(Path, Text, Ptr, Size) => same(SYS_getxattr);
    9 lgetxattr(Path, Text, Ptr, Size) => same(SYS_lgetxattr);
    10 fgetxattr(Fd, Text, Ptr, Size) => same(SYS_fgetxattr);
    11 listxattr(Path, Ptr, Size) => same(SYS_listxattr);
    12 llistxattr(Path, Ptr, Size) => same(SYS_llistxattr);
    13 flistxattr(Fd, Ptr, Size) => same(SYS_flistxattr);
    14 removexattr(Path, Text) => same(SYS_removexattr);
    15 lremovexattr(Path, Text) => same(SYS_lremovexattr);
    16 fremovexattr(Fd, Text) => same(SYS_fremovexattr);
    17 getcwd(Ptr, Size) => same(SYS_getcwd);
    19 eventfd2(Int, Hex) => same(SYS_eventfd2);
    20 epoll_create1(Hex) => same(SYS_epoll_create1);
    21 epoll_ctl(Fd, Int, Fd, Ptr) => own(structs::epoll_ctl);
    22 epoll_pwait(Fd, Ptr, Int, Int, Ptr, Size) => own(structs::epoll_pwait);
    23 dup(Fd) => same(SYS_dup);
    24 dup3(Fd, Fd, Hex) => same(SYS_dup3);
    25 fcntl(Fd, Int, Hex) => same(SYS_fcntl);
    26 inotify_init1(Hex) => same(SYS_inotify_init1);
    27 inotify_add_watch(Fd, Path, Hex) => same(SYS_inotify_add_watch);
    28 inotify_rm_watch(Fd, Int) => same(SYS_inotify_rm_watch);
    29 ioctl(Fd, Hex, Hex) => same(SYS_ioctl);
    30 ioprio_set(Int, Int, Int) => same(SYS_ioprio_set);
    31 ioprio_get(Int, Int) => same(SYS_ioprio_get);
    32 flock(Fd, Int) => same(SYS_flock);
    33 mknodat(At, Path, Mode, Hex) => same(SYS_mknodat);
    34 mkdirat(At, Path, Mode) => same(SYS_mkdirat);
    35 unlinkat(At, Path, Hex) => same(SYS_unlinkat);
    36 symlinkat(Text, At, Path) => same(SYS_symlinkat);
    37 linkat(At, Path, At, Path, Hex) => same(SYS_linkat);
    39 umount2(Path, Hex) => same(SYS_umount2);
    40 mount(Text, Path, Text, Hex, Ptr) => same(SYS_mount);
    41 pivot_root(Path, Path) => own(files::pivot_root);
    43 statfs(Path, Ptr) => same(SYS_statfs);
    44 fstatfs(Fd, Ptr) => same(SYS_fstatfs);
    45 truncate(Path, Long) => same(SYS_truncate);
    46 ftruncate(Fd, Long) => same(SYS_ftruncate);
    47 fallocate(Fd, Hex, Long, Long) => same(SYS_fallocate);
    48 faccessat(At, Path, Mode) => same(SYS_faccessat);
    49 chdir(Path) => same(SYS_chdir);
    50 fchdir(Fd) => same(SYS_fchdir);
    51 chroot(Path) => own(files::chroot);
    52 fchmod(Fd, Mode) => same(SYS_fchmod);
    53 fchmodat(At, Path, Mode) => same(SYS_fchmodat);
    54 fchownat(At, Path, Int, Int, Hex) => same(SYS_fchownat);
    55 fchown(Fd, Int, Int) => same(SYS_fchown);
    56 openat(At, Path, Hex, Mode) => own(files::openat);
    57 close(Fd) => same(SYS_close);
    58 vhangup() => same(SYS_vhangup);
    59 pipe2(Ptr, Hex) => same(SYS_pipe2);
    60 quotactl(Hex, Path, Int, Ptr) => same(SYS_quotactl);
    61 getdents64(Fd, Ptr, Size) => same(SYS_getdents64);
    62 lseek(Fd, Long, Int) => same(SYS_lseek);
    63 read(Fd, Ptr, Size) => same(SYS_read);
    64 write(Fd, Ptr, Size) => same(SYS_write);
    65 readv(Fd, Ptr, Size) => same(SYS_readv);
    66 writev(Fd, Ptr, Size) => same(SYS_writev);
    67 pread64(Fd, Ptr, Size, Long) => same(SYS_pread64);
    68 pwrite64(Fd, Ptr, Size, Long) => same(SYS_pwrite64);
    69 preadv(Fd, Ptr, Size, Long, Long) => same(SYS_preadv);
    70 pwritev(Fd, Ptr, Size, Long, Long) => same(SYS_pwritev);
    71 sendfile(Fd, Fd, Ptr, Size) => same(SYS_sendfile);
    72 pselect6(Int, Ptr, Ptr, Ptr, Ptr, Ptr) => same(SYS_pselect6);
    73 ppoll(Ptr, Size, Ptr, Ptr, Size) => same(SYS_ppoll);
    74 signalfd4(Fd, Ptr, Size, Hex) => same(SYS_signalfd4);
    75 vmsplice(Fd, Ptr, Size, Hex) => same(SYS_vmsplice);
    76 splice(Fd, Ptr, Fd, Ptr, Size, Hex) => same(SYS_splice);
    77 tee(Fd, Fd, Size, Hex) => same(SYS_tee);
    78 readlinkat(At, Path, Ptr, Size) => own(files::readlinkat);
    79 newfstatat(At, Path, Ptr, Hex) => own(structs::newfstatat);
    80 fstat(Fd, Ptr) => own(structs::fstat);
    81 sync() => same(SYS_sync);
    82 fsync(Fd) => same(SYS_fsync);
    83 fdatasync(Fd) => same(SYS_fdatasync);
    84 sync_file_range(Fd, Long, Long, Hex) => same(SYS_sync_file_range);
    85 timerfd_create(Int, Hex) => same(SYS_timerfd_create);
    86 timerfd_settime(Fd, Hex, Ptr, Ptr) => same(SYS_timerfd_settime);
    87 timerfd_gettime(Fd, Ptr) => same(SYS_timerfd_gettime);
    88 utimensat(At, Path, Ptr, Hex) => same(SYS_utimensat);
    89 acct(Path) => same(SYS_acct);
    90 capget(Ptr, Ptr) => same(SYS_capget);
    91 capset(Ptr, Ptr) => same(SYS_capset);
    92 personality(Hex) => own(info::personality);
    93 exit(Int) => thread(Exit);
    94 exit_group(Int) => thread(ExitGroup);
    95 waitid(Int, Int, Ptr, Hex, Ptr) => same(SYS_waitid);
    96 set_tid_address(Ptr) => thread(SetTidAddress);
    97 unshare(Hex) => same(SYS_unshare);
    98 futex(Ptr, Hex, Int, Hex, Ptr, Int) => same(SYS_futex);
    99 set_robust_list(Ptr, Size) => same(SYS_set_robust_list);
    100 get_robust_list(Int, Ptr, Ptr) => same(SYS_get_robust_list);
    101 nanosleep(Ptr, Ptr) => same(SYS_nanosleep);
    102 getitimer(Int, Ptr) => same(SYS_getitimer);
    103 setitimer(Int, Ptr, Ptr) => same(SYS_setitimer);
    104 kexec_load(Hex, Size, Ptr, Hex) => refused(ENOSYS);
    105 init_module(Ptr, Size, Text) => refused(ENOSYS);
    106 delete_module(Text, Hex) => refused(ENOSYS);
    107 timer_create(Int, Ptr, Ptr) => same(SYS_timer_create);
    108 timer_gettime(Int, Ptr) => same(SYS_timer_gettime);
    109 timer_getoverrun(Int) => same(SYS_timer_getoverrun);
    110 timer_settime(Int, Hex, Ptr, Ptr) => same(SYS_timer_settime);
    111 timer_delete(Int) => same(SYS_timer_delete);
    112 clock_settime(Int, Ptr) => same(SYS_clock_settime);
    113 clock_gettime(Int, Ptr) => same(SYS_clock_gettime);
    114 clock_getres(Int, Ptr) => same(SYS_clock_getres);
    115 clock_nanosleep(Int, Hex, Ptr, Ptr) => same(SYS_clock_nanosleep);
    116 syslog(Int, Ptr, Size) => same(SYS_syslog);
    117 ptrace(Int, Int, Ptr, Ptr) => refused(ENOSYS) "the registers would be the monitor's";
    118 sched_setparam(Int, Ptr) => same(SYS_sched_setparam);
    119 sched_setscheduler(Int, Int, Ptr) => same(SYS_sched_setscheduler);
    120 sched_getscheduler(Int) => same(SYS_sched_getscheduler);
    121 sched_getparam(Int, Ptr) => same(SYS_sched_getparam);
    122 sched_setaffinity(Int, Size, Ptr) => same(SYS_sched_setaffinity);
    123 sched_getaffinity(Int, Size, Ptr) => same(SYS_sched_getaffinity);
    124 sched_yield() => same(SYS_sched_yield);
    125 sched_get_priority_max(Int) => same(SYS_sched_get_priority_max);
    126 sched_get_priority_min(Int) => same(SYS_sched_get_priority_min);
    127 sched_rr_get_interval(Int, Ptr) => same(SYS_sched_rr_get_interval);
    128 restart_syscall() => refused(EINTR) "nothing that was interrupted is kept by the kernel";
    129 kill(Int, Signal) => same(SYS_kill);
    130 tkill(Int, Signal) => same(SYS_tkill);
    131 tgkill(Int, Int, Signal) => same(SYS_tgkill);
    132 sigaltstack(Ptr, Ptr) => thread(Sigaltstack);
    133 rt_sigsuspend(Ptr, Size) => thread(Sigsuspend);
    134 rt_sigaction(Signal, Ptr, Ptr, Size) => thread(Sigaction);
    135 rt_sigprocmask(Int, Ptr, Ptr, Size) => thread(Sigprocmask);
    136 rt_sigpending(Ptr, Size) => same(SYS_rt_sigpending);
    137 rt_sigtimedwait(Ptr, Ptr, Ptr, Size) => same(SYS_rt_sigtimedwait);
    138 rt_sigqueueinfo(Int, Signal, Ptr) => same(SYS_rt_sigqueueinfo);
    139 rt_sigreturn() => thread(Sigreturn);
    140 setpriority(Int, Int, Int) => same(SYS_setpriority);
    141 getpriority(Int, Int) => same(SYS_getpriority);
    142 reboot(Hex, Hex, Hex, Ptr) => refused(EPERM);
    143 setregid(Int, Int) => same(SYS_setregid);
    144 setgid(Int) => same(SYS_setgid);
    145 setreuid(Int, Int) => same(SYS_setreuid);
    146 setuid(Int) => same(SYS_setuid);
    147 setresuid(Int, Int, Int) => same(SYS_setresuid);
    148 getresuid(Ptr, Ptr, Ptr) => same(SYS_getresuid);
    149 setresgid(Int, Int, Int) => same(SYS_setresgid);
    150 getresgid(Ptr, Ptr, Ptr) => same(SYS_getresgid);
    151 setfsuid(Int) => same(SYS_setfsuid);
    152 setfsgid(Int) => same(SYS_setfsgid);
    153 times(Ptr) => same(SYS_times);
    154 setpgid(Int, Int) => same(SYS_setpgid);
    155 getpgid(Int) => same(SYS_getpgid);
    156 getsid(Int) => same(SYS_getsid);
    157 setsid() => same(SYS_setsid);
    158 getgroups(Int, Ptr) => same(SYS_getgroups);
    159 setgroups(Int, Ptr) => same(SYS_setgroups);
    160 uname(Ptr) => own(info::uname);
    161 sethostname(Text, Size) => same(SYS_sethostname);
    162 setdomainname(Text, Size) => same(SYS_setdomainname);
    163 getrlimit(Int, Ptr) => same(SYS_getrlimit);
    164 setrlimit(Int, Ptr) => same(SYS_setrlimit) "limits hold for the monitor, too";
    165 getrusage(Int, Ptr) => same(SYS_getrusage);
    166 umask(Mode) => same(SYS_umask);
    167 prctl(Int, Hex, Hex, Hex, Hex) => own(info::prctl) "only what is about the process itself";
    168 getcpu(Ptr, Ptr, Ptr) => same(SYS_getcpu);
    169 gettimeofday(Ptr, Ptr) => same(SYS_gettimeofday);
    170 settimeofday(Ptr, Ptr) => same(SYS_settimeofday);
    171 adjtimex(Ptr) => same(SYS_adjtimex);
    172 getpid() => same(SYS_getpid);
    173 getppid() => same(SYS_getppid);
    174 getuid() => same(SYS_getuid);
    175 geteuid() => same(SYS_geteuid);
    176 getgid() => same(SYS_getgid);
    177 getegid() => same(SYS_getegid);
    178 gettid() => same(SYS_gettid);
    179 sysinfo(Ptr) => same(SYS_sysinfo);
    180 mq_open(Text, Hex, Mode, Ptr) => same(SYS_mq_open);
    181 mq_unlink(Text) => same(SYS_mq_unlink);
    182 mq_timedsend(Int, Ptr, Size, Int, Ptr) => same(SYS_mq_timedsend);
    183 mq_timedreceive(Int, Ptr, Size, Ptr, Ptr) => same(SYS_mq_timedreceive);
    184 mq_notify(Int, Ptr) => same(SYS_mq_notify);
    185 mq_getsetattr(Int, Ptr, Ptr) => same(SYS_mq_getsetattr);
    186 msgget(Int, Hex) => same(SYS_msgget);
    187 msgctl(Int, Hex, Ptr) => same(SYS_msgctl);
    188 msgrcv(Int, Ptr, Size, Long, Hex) => same(SYS_msgrcv);
    189 msgsnd(Int, Ptr, Size, Hex) => same(SYS_msgsnd);
    190 semget(Int, Int, Hex) => same(SYS_semget);
    191 semctl(Int, Int, Hex, Ptr) => own(structs::semctl);
    192 semtimedop(Int, Ptr, Size, Ptr) => same(SYS_semtimedop);
    193 semop(Int, Ptr, Size) => same(SYS_semop);
    194 shmget(Int, Size, Hex) => same(SYS_shmget);
    195 shmctl(Int, Hex, Ptr) => same(SYS_shmctl);
    196 shmat(Int, Ptr, Hex) => own(space::shmat);
    197 shmdt(Ptr) => own(space::shmdt);
    198 socket(Int, Int, Int) => same(SYS_socket);
    199 socketpair(Int, Int, Int, Ptr) => same(SYS_socketpair);
    200 bind(Fd, Ptr, Size) => same(SYS_bind);
    201 listen(Fd, Int) => same(SYS_listen);
    202 accept(Fd, Ptr, Ptr) => same(SYS_accept);
    203 connect(Fd, Ptr, Size) => same(SYS_connect);
    204 getsockname(Fd, Ptr, Ptr) => same(SYS_getsockname);
    205 getpeername(Fd, Ptr, Ptr) => same(SYS_getpeername);
    206 sendto(Fd, Ptr, Size, Hex, Ptr, Size) => same(SYS_sendto);
    207 recvfrom(Fd, Ptr, Size, Hex, Ptr, Ptr) => same(SYS_recvfrom);
    208 setsockopt(Fd, Int, Int, Ptr, Size) => same(SYS_setsockopt);
    209 getsockopt(Fd, Int, Int, Ptr, Ptr) => same(SYS_getsockopt);
    210 shutdown(Fd, Int) => same(SYS_shutdown);
    211 sendmsg(Fd, Ptr, Hex) => same(SYS_sendmsg);
    212 recvmsg(Fd, Ptr, Hex) => same(SYS_recvmsg);
    213 readahead(Fd, Long, Size) => same(SYS_readahead);
    214 brk(Ptr) => own(space::brk);
    215 munmap(Ptr, Size) => own(space::munmap);
    216 mremap(Ptr, Size, Size, Hex, Ptr) => own(space::mremap);
    217 add_key(Text, Text, Ptr, Size, Int) => same(SYS_add_key);
    218 request_key(Text, Text, Text, Int) => same(SYS_request_key);
    219 keyctl(Int, Hex, Hex, Hex, Hex) => same(SYS_keyctl);
    220 clone(Hex, Ptr, Ptr, Ptr, Ptr) => thread(Clone);
    221 execve(Path, Ptr, Ptr) => thread(Execve);
    222 mmap(Ptr, Size, Hex, Hex, Fd, Long) => own(space::mmap);
    223 fadvise64(Fd, Long, Long, Int) => same(SYS_fadvise64);
    224 swapon(Path, Hex) => refused(EPERM);
    225 swapoff(Path) => refused(EPERM);
    226 mprotect(Ptr, Size, Hex) => own(space::mprotect);
    227 msync(Ptr, Size, Hex) => range(SYS_msync);
    228 mlock(Ptr, Size) => range(SYS_mlock);
    229 munlock(Ptr, Size) => range(SYS_munlock);
    230 mlockall(Hex) => same(SYS_mlockall) "locks the monitor's memory, too";
    231 munlockall() => same(SYS_munlockall);
    232 mincore(Ptr, Size, Ptr) => range(SYS_mincore);
    233 madvise(Ptr, Size, Int) => range(SYS_madvise);
    234 remap_file_pages(Ptr, Size, Hex, Size, Hex) => refused(ENOSYS);
    235 mbind(Ptr, Size, Int, Ptr, Size, Hex) => range(SYS_mbind);
    236 get_mempolicy(Ptr, Ptr, Size, Ptr, Hex) => same(SYS_get_mempolicy);
    237 set_mempolicy(Int, Ptr, Size) => same(SYS_set_mempolicy);
    238 migrate_pages(Int, Size, Ptr, Ptr) => same(SYS_migrate_pages);
    239 move_pages(Int, Size, Ptr, Ptr, Ptr, Hex) => same(SYS_move_pages);
    240 rt_tgsigqueueinfo(Int, Int, Signal, Ptr) => same(SYS_rt_tgsigqueueinfo);
    241 perf_event_open(Ptr, Int, Int, Fd, Hex) => refused(ENOSYS) "it would count the monitor's instructions";
    242 accept4(Fd, Ptr, Ptr, Hex) => same(SYS_accept4);
    243 recvmmsg(Fd, Ptr, Size, Hex, Ptr) => same(SYS_recvmmsg);
    258 riscv_hwprobe(Ptr, Size, Size, Ptr, Hex) => own(info::hwprobe) "says the same of every CPU";
    259 riscv_flush_icache(Ptr, Ptr, Hex) => own(info::flush_icache);
    260 wait4(Int, Ptr, Hex, Ptr) => same(SYS_wait4);
    261 prlimit64(Int, Int, Ptr, Ptr) => same(SYS_prlimit64) "limits hold for the monitor, too";
    262 fanotify_init(Hex, Hex) => same(SYS_fanotify_init);
    263 fanotify_mark(Fd, Hex, Hex, At, Path) => same(SYS_fanotify_mark);
    264 name_to_handle_at(At, Path, Ptr, Ptr, Hex) => same(SYS_name_to_handle_at);
    265 open_by_handle_at(Fd, Ptr, Hex) => same(SYS_open_by_handle_at);
    266 clock_adjtime(Int, Ptr) => same(SYS_clock_adjtime);
    267 syncfs(Fd) => same(SYS_syncfs);
    268 setns(Fd, Hex) => same(SYS_setns);
    269 sendmmsg(Fd, Ptr, Size, Hex) => same(SYS_sendmmsg);
    270 process_vm_readv(Int, Ptr, Size, Ptr, Size, Hex) => same(SYS_process_vm_readv);
    271 process_vm_writev(Int, Ptr, Size, Ptr, Size, Hex) => same(SYS_process_vm_writev);
    272 kcmp(Int, Int, Int, Hex, Hex) => same(SYS_kcmp);
    273 finit_module(Fd, Text, Hex) => refused(ENOSYS);
    274 sched_setattr(Int, Ptr, Hex) => same(SYS_sched_setattr);
    275 sched_getattr(Int, Ptr, Size, Hex) => same(SYS_sched_getattr);
    276 renameat2(At, Path, At, Path, Hex) => same(SYS_renameat2);
    277 seccomp(Int, Hex, Ptr) => refused(ENOSYS) "filters would see the monitor's calls";
    278 getrandom(Ptr, Size, Hex) => same(SYS_getrandom);
    279 memfd_create(Text, Hex) => same(SYS_memfd_create);
    280 bpf(Int, Ptr, Size) => refused(ENOSYS);
    281 execveat(At, Path, Ptr, Ptr, Hex) => thread(Execveat);
    282 userfaultfd(Hex) => refused(ENOSYS) "faults would be the monitor's, too";
    283 membarrier(Int, Hex, Int) => same(SYS_membarrier);
    284 mlock2(Ptr, Size, Hex) => range(SYS_mlock2);
    285 copy_file_range(Fd, Ptr, Fd, Ptr, Size, Hex) => same(SYS_copy_file_range);
    286 preadv2(Fd, Ptr, Size, Long, Long, Hex) => same(SYS_preadv2);
    287 pwritev2(Fd, Ptr, Size, Long, Long, Hex) => same(SYS_pwritev2);
    288 pkey_mprotect(Ptr, Size, Hex, Int) => refused(ENOSYS);
    289 pkey_alloc(Hex, Hex) => refused(ENOSYS);
    290 pkey_free(Int) => refused(ENOSYS);
    291 statx(At, Path, Hex, Hex, Ptr) => same(SYS_statx);
    292 io_pgetevents(Ptr, Long, Long, Ptr, Ptr, Ptr) => refused(ENOSYS);
    293 rseq(Ptr, Size, Hex, Hex) => refused(ENOSYS);
    424 pidfd_send_signal(Fd, Signal, Ptr, Hex) => same(SYS_pidfd_send_signal);
    425 io_uring_setup(Size, Ptr) => refused(ENOSYS);
    426 io_uring_enter(Fd, Size, Size, Hex, Ptr, Size) => refused(ENOSYS);
    427 io_uring_register(Fd, Int, Ptr, Size) => refused(ENOSYS);
    428 open_tree(At, Path, Hex) => same(SYS_open_tree);
    429 move_mount(At, Path, At, Path, Hex) => same(SYS_move_mount);
    430 fsopen(Text, Hex) => same(SYS_fsopen);
    431 fsconfig(Fd, Int, Text, Ptr, Int) => same(SYS_fsconfig);
    432 fsmount(Fd, Hex, Hex) => same(SYS_fsmount);
    433 fspick(At, Path, Hex) => same(SYS_fspick);
    434 pidfd_open(Int, Hex) => same(SYS_pidfd_open);
    435 clone3(Ptr, Size) => thread(Clone3);
    436 close_range(Fd, Fd, Hex) => same(SYS_close_range);
    437 openat2(At, Path, Ptr, Size) => same(SYS_openat2);
    438 pidfd_getfd(Fd, Fd, Hex) => same(SYS_pidfd_getfd);
    439 faccessat2(At, Path, Mode, Hex) => same(SYS_faccessat2);
    440 process_madvise(Fd, Ptr, Size, Int, Hex) => own(space::process_madvise);
    441 epoll_pwait2(Fd, Ptr, Int, Ptr, Ptr, Size) => own(structs::epoll_pwait2);
    442 mount_setattr(At, Path, Hex, Ptr, Size) => same(SYS_mount_setattr);
    443 quotactl_fd(Fd, Hex, Int, Ptr) => same(SYS_quotactl_fd);
    444 landlock_create_ruleset(Ptr, Size, Hex) => same(SYS_landlock_create_ruleset);
    445 landlock_add_rule(Fd, Int, Ptr, Hex) => same(SYS_landlock_add_rule);
    446 landlock_restrict_self(Fd, Hex) => same(SYS_landlock_restrict_self);
    447 memfd_secret(Hex) => same(SYS_memfd_secret);
    448 process_mrelease(Fd, Hex) => same(SYS_process_mrelease);
    449 futex_waitv(Ptr, Size, Hex, Ptr, Int) => same(SYS_futex_waitv);
    450 set_mempolicy_home_node(Ptr, Size, Size, Hex) => range(SYS_set_mempolicy_home_node);
    451 cachestat(Fd, Ptr, Ptr, Hex) => same(451);
    452 fchmodat2(At, Path, Mode, Hex) => same(452);
    453 map_shadow_stack(Ptr, Size, Hex) => refused(ENOSYS) "no such CPU";
    454 futex_wake(Ptr, Hex, Int, Hex) => same(454);
    455 futex_wait(Ptr, Long, Hex, Hex, Ptr, Int) => same(455);
    456 futex_requeue(Ptr, Hex, Int, Int) => same(456);
    457 statmount(Ptr, Ptr, Size, Hex) => same(457);
    458 listmount(Ptr, Ptr, Size, Hex) => same(458);
    459 lsm_get_self_attr(Int, Ptr, Ptr, Hex) => same(459);
    460 lsm_set_self_attr(Int, Ptr, Size, Hex) => same(460);
    461 lsm_list_modules(Ptr, Ptr, Hex) => same(461);
    462 mseal(Ptr, Size, Hex) => range(462);
}
