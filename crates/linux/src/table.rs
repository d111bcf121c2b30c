//! The system calls of Linux 6.12, one row each: name, arguments, how it is served, what it reaches outside,
//! the check that tests it, and its limitations. The CPU defines the number of a call ([`crate::abi`]), and has a
//! list of the calls that only it has ([`crate::abi::Numbering::own`]).
//! `--strace` and docs/system-calls.md are generated from this table, and confinement is checked against it.

use crate::call::Context;
use crate::errno::Errno;
use crate::{files, info, ioctl, process_limits, space, structs, vectors};

/// The type of an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arg {
    /// A file descriptor.
    Fd,
    /// A directory descriptor or `AT_FDCWD`.
    At,
    /// A path, which is translated by the program's view of files.
    Path,
    /// Another string.
    Text,
    /// A 32-bit number.
    Int,
    /// A 64-bit number.
    Long,
    /// Flags.
    Hex,
    /// A size in bytes, or a count.
    Size,
    /// An address.
    Ptr,
    /// An address or a number, depending on another argument.
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

/// Calls about the calling thread, which the caller of [`Context::call`] serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ThreadCall {
    Clone,
    Clone3,
    Fork,
    Vfork,
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
    /// A call of one CPU's own that needs the thread's registers: [`crate::abi::GuestAbi::own_call`].
    Own,
}

/// How a call is served.
#[derive(Clone, Copy)]
pub enum How {
    /// By the host's call with this number, which takes the same arguments.
    Same(i64),
    /// As [`How::Same`]; the first two arguments are a range of addresses that must belong to the program.
    /// Translations of code in the range are dropped if the function returns true.
    Range(i64, fn(&[u64; 6]) -> bool),
    /// By this function.
    Own(fn(&Context, [u64; 6]) -> Result<u64, Errno>),
    /// By the thread.
    Thread(ThreadCall),
    /// Not at all: it fails with this error.
    Refused(i32),
}

/// What a call reaches outside the calling process. Confinement (`--limit`, `--deny`) is checked against it:
/// each value says what prevents the access, whether the monitor or a native child makes the call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reach {
    /// Only the process itself: its memory, threads, privileges, clocks, and its own children.
    Own,
    /// The object of a descriptor that is open already.
    Open,
    /// Information about the outside, or the kernel does now what it would do anyway.
    Tells,
    /// Files by name, in ways that Landlock controls.
    Files,
    /// Contents of files and directories in ways that Landlock does not control: refused by `--deny read`.
    Contents,
    /// Changes of files in ways that Landlock does not control: refused by `--deny write`.
    Changes,
    /// System V objects and POSIX queues: refused by `--deny read` and by `--deny write`.
    Objects,
    /// The network, and other processes through sockets: refused by `--deny net`.
    Network,
    /// Signals to other processes: Landlock keeps them inside (Linux 6.12).
    Signals,
    /// Limits and priorities of processes given by ID: only the caller's own, given as 0.
    Processes,
    /// Memory and descriptors of other processes, as for a debugger: Landlock keeps it inside.
    Traced,
    /// New processes: refused by `--deny fork`.
    Children,
    /// Executables: refused by `--deny exec`.
    Executables,
    /// The whole machine, its mounts and namespaces: refused to every confined program.
    Kernel,
    /// The whole machine, with a capability that confined programs give up.
    Privileged,
    /// Things that a filter cannot see: the call looks unimplemented.
    Hidden,
}

impl Reach {
    /// All values, with the sentences for docs/system-calls.md.
    pub const ALL: &[(Reach, &str)] = &[
        (Reach::Own, "nothing but the process: its memory, threads, rights, clocks, and its own children"),
        (Reach::Open, "what a descriptor that is open already stands for"),
        (Reach::Tells, "it only tells of what is outside, or hastens what the kernel would do anyway"),
        (Reach::Files, "files by their names; Landlock refuses (`--deny read`, `--deny write`)"),
        (
            Reach::Contents,
            "contents of files and directories past Landlock; a filter refuses it with `--deny read`",
        ),
        (Reach::Changes, "changes of files past Landlock; a filter refuses them with `--deny write`"),
        (
            Reach::Objects,
            "System V objects and POSIX queues; a filter refuses them with `--deny read` and with `--deny write`",
        ),
        (
            Reach::Network,
            "the network, and other processes by sockets; a filter refuses it with `--deny net`",
        ),
        (Reach::Signals, "signals to other processes; Landlock keeps them inside (Linux 6.12 or newer)"),
        (
            Reach::Processes,
            "limits and priorities of processes; a filter lets the caller name itself only, as 0, under any confinement",
        ),
        (
            Reach::Traced,
            "memory and descriptors of other processes, as a debugger; Landlock keeps it inside under any confinement",
        ),
        (Reach::Children, "new processes; a filter refuses them with `--deny fork`"),
        (Reach::Executables, "other executables; a filter refuses them with `--deny exec`"),
        (
            Reach::Kernel,
            "the whole machine, its mounts and namespaces; a filter refuses it under any confinement",
        ),
        (Reach::Privileged, "the whole machine, for who has a capability; confined programs give it up"),
        (Reach::Hidden, "what no filter sees; under any confinement there is no such call"),
    ];
}

/// A row of the table.
pub struct Call {
    /// Name.
    pub name: &'static str,
    /// Arguments.
    pub args: &'static [Arg],
    /// How it is served.
    pub how: How,
    /// What it reaches outside the calling process.
    pub reach: &'static [Reach],
    /// The check that tests it: a file of `tests/calls` and the name of the check.
    pub test: &'static str,
    /// How complete it is.
    pub state: State,
    /// A remark; may be empty.
    pub note: &'static str,
}

/// How complete a call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Like Linux; the results of its checks were compared with those of `qemu-riscv64`.
    Complete,
    /// Something is missing or not tested: the note says what.
    Partial,
    /// It always fails: the note says why.
    Refused,
}

macro_rules! how {
    // From 424 on, all CPUs have the same numbers.
    (same $number:literal) => {
        $crate::table::How::Same($number)
    };
    (same $host:ident) => {
        $crate::table::How::Same(libc::$host)
    };
    (range $number:literal) => {
        $crate::table::How::Range($number, $crate::table::stays)
    };
    (range $host:ident) => {
        $crate::table::How::Range(libc::$host, $crate::table::stays)
    };
    (range $host:ident drops $when:path) => {
        $crate::table::How::Range(libc::$host, $when)
    };
    (own $run:path) => {
        $crate::table::How::Own($run)
    };
    (thread $what:ident) => {
        $crate::table::How::Thread($crate::table::ThreadCall::$what)
    };
    (refused $errno:ident) => {
        $crate::table::How::Refused(libc::$errno)
    };
}

/// A call that does not change the contents of the range.
pub(crate) fn stays(_: &[u64; 6]) -> bool {
    false
}

macro_rules! state {
    (refused $($partial:literal)?) => {
        $crate::table::State::Refused
    };
    ($how:ident $partial:literal) => {
        $crate::table::State::Partial
    };
    ($how:ident) => {
        $crate::table::State::Complete
    };
}

/// A list of rows. Each CPU's own calls are such a list in its file.
macro_rules! calls {
    ($(#[$doc:meta])* pub const $list:ident: $($name:ident($($arg:ident),*) => $how:ident($($with:tt)*)
        reaches $($reach:ident)|+ tested $test:literal $(partial $partial:literal)? $(note $note:literal)?;)*) => {
        $(#[$doc])*
        pub const $list: &[$crate::table::Call] = &[$($crate::table::Call {
            name: stringify!($name),
            args: &[$($crate::table::Arg::$arg),*],
            how: $crate::table::how!($how $($with)*),
            reach: &[$($crate::table::Reach::$reach),+],
            test: $test,
            state: $crate::table::state!($how $($partial)?),
            note: concat!($($partial)? $($note)?),
        }),*];
    };
}

pub(crate) use {calls, how, state};

/// The row of the call with this name, if several CPUs can have it.
pub fn named(name: &str) -> Option<&'static Call> {
    CALLS.iter().find(|call| call.name == name)
}

calls! {
    /// The calls that several CPUs can have, in the order of the generic ABI's numbers.
    pub const CALLS:
    io_setup(Int, Ptr) => refused(ENOSYS) reaches Own tested "refused/io_setup" note "its ring would lie outside the program's addresses";
    io_destroy(Ptr) => refused(ENOSYS) reaches Own tested "refused/io_destroy" note "its ring would lie outside the program's addresses";
    io_submit(Ptr, Long, Ptr) => refused(ENOSYS) reaches Open tested "refused/io_submit" note "its ring would lie outside the program's addresses";
    io_cancel(Ptr, Ptr, Ptr) => refused(ENOSYS) reaches Own tested "refused/io_cancel" note "its ring would lie outside the program's addresses";
    io_getevents(Ptr, Long, Long, Ptr, Ptr) => refused(ENOSYS) reaches Own tested "refused/io_getevents" note "its ring would lie outside the program's addresses";
    setxattr(Path, Text, Ptr, Size, Hex) => same(SYS_setxattr) reaches Changes tested "names/setxattr";
    lsetxattr(Path, Text, Ptr, Size, Hex) => same(SYS_lsetxattr) reaches Changes tested "names/lsetxattr";
    fsetxattr(Fd, Text, Ptr, Size, Hex) => same(SYS_fsetxattr) reaches Changes tested "names/fsetxattr";
    getxattr(Path, Text, Ptr, Size) => same(SYS_getxattr) reaches Contents tested "names/getxattr";
    lgetxattr(Path, Text, Ptr, Size) => same(SYS_lgetxattr) reaches Contents tested "names/lgetxattr";
    fgetxattr(Fd, Text, Ptr, Size) => same(SYS_fgetxattr) reaches Contents tested "names/fgetxattr";
    listxattr(Path, Ptr, Size) => same(SYS_listxattr) reaches Contents tested "names/listxattr";
    llistxattr(Path, Ptr, Size) => same(SYS_llistxattr) reaches Contents tested "names/llistxattr";
    flistxattr(Fd, Ptr, Size) => same(SYS_flistxattr) reaches Contents tested "names/flistxattr";
    removexattr(Path, Text) => same(SYS_removexattr) reaches Changes tested "names/removexattr";
    lremovexattr(Path, Text) => same(SYS_lremovexattr) reaches Changes tested "names/lremovexattr";
    fremovexattr(Fd, Text) => same(SYS_fremovexattr) reaches Changes tested "names/fremovexattr";
    getcwd(Ptr, Size) => same(SYS_getcwd) reaches Own tested "names/getcwd";
    eventfd2(Int, Hex) => same(SYS_eventfd2) reaches Own tested "polling/eventfd2";
    epoll_create1(Hex) => same(SYS_epoll_create1) reaches Own tested "polling/epoll_create1";
    epoll_ctl(Fd, Int, Fd, Ptr) => own(structs::epoll_ctl) reaches Own tested "polling/epoll_ctl add";
    epoll_pwait(Fd, Ptr, Int, Int, Ptr, Size) => own(structs::epoll_pwait) reaches Own tested "polling/epoll_pwait nothing";
    dup(Fd) => same(SYS_dup) reaches Open tested "files/dup";
    dup3(Fd, Fd, Open) => same(SYS_dup3) reaches Open tested "files/dup3";
    fcntl(Fd, Int, Either) => same(SYS_fcntl) reaches Open|Changes|Signals tested "files/fcntl F_GETFL";
    inotify_init1(Hex) => same(SYS_inotify_init1) reaches Own tested "polling/inotify_init1";
    inotify_add_watch(Fd, Path, Hex) => same(SYS_inotify_add_watch) reaches Contents tested "polling/inotify_add_watch";
    inotify_rm_watch(Fd, Int) => same(SYS_inotify_rm_watch) reaches Own tested "polling/inotify_rm_watch";
    ioctl(Fd, Request, Either) => own(ioctl::ioctl) reaches Open|Changes|Network tested "terminals/ioctl terminal" note "the host's structures are the same; requests that are not in the table go to the host as well, and nobody looks at addresses inside their structures";
    ioprio_set(Int, Int, Int) => own(process_limits::ioprio_set) reaches Processes tested "ids/ioprio_set";
    ioprio_get(Int, Int) => same(SYS_ioprio_get) reaches Tells tested "ids/ioprio_get";
    flock(Fd, Int) => same(SYS_flock) reaches Open tested "files/flock";
    mknodat(At, Path, Mode, Hex) => same(SYS_mknodat) reaches Files tested "names/mknodat fifo";
    mkdirat(At, Path, Mode) => same(SYS_mkdirat) reaches Files tested "names/mkdirat";
    unlinkat(At, Path, Hex) => same(SYS_unlinkat) reaches Files tested "names/unlinkat";
    symlinkat(Text, At, Path) => same(SYS_symlinkat) reaches Files tested "names/symlinkat";
    linkat(At, Path, At, Path, Hex) => same(SYS_linkat) reaches Files tested "names/linkat";
    umount2(Path, Hex) => same(SYS_umount2) reaches Kernel tested "mounts/umount2 expired";
    mount(Text, Path, Text, Hex, Ptr) => same(SYS_mount) reaches Kernel tested "mounts/mount tmpfs";
    pivot_root(Path, Path) => own(files::pivot_root) reaches Kernel tested "mounts/pivot_root";
    statfs(Path, Ptr) => same(SYS_statfs) reaches Tells tested "files/statfs";
    fstatfs(Fd, Ptr) => same(SYS_fstatfs) reaches Tells tested "files/fstatfs";
    truncate(Path, Long) => same(SYS_truncate) reaches Files tested "files/truncate";
    ftruncate(Fd, Long) => same(SYS_ftruncate) reaches Open tested "files/ftruncate";
    fallocate(Fd, Hex, Long, Long) => same(SYS_fallocate) reaches Open tested "files/fallocate";
    faccessat(At, Path, Mode) => same(SYS_faccessat) reaches Tells tested "names/faccessat";
    chdir(Path) => same(SYS_chdir) reaches Own tested "names/chdir";
    fchdir(Fd) => same(SYS_fchdir) reaches Open tested "names/fchdir";
    chroot(Path) => own(files::chroot) reaches Own tested "mounts/chroot";
    fchmod(Fd, Mode) => same(SYS_fchmod) reaches Changes tested "names/fchmod";
    fchmodat(At, Path, Mode) => same(SYS_fchmodat) reaches Changes tested "names/fchmodat";
    fchownat(At, Path, Int, Int, Hex) => same(SYS_fchownat) reaches Changes tested "names/fchownat";
    fchown(Fd, Int, Int) => same(SYS_fchown) reaches Changes tested "names/fchown";
    openat(At, Path, Open, Mode) => own(files::openat) reaches Files tested "files/openat creates" partial "of other programs, maps and smaps of /proc have the host\'s protections, and auxv is the monitor\'s; mem is not opened for writing (EACCES)";
    close(Fd) => own(files::close) reaches Own tested "files/close";
    vhangup() => same(SYS_vhangup) reaches Kernel tested "processes/vhangup";
    pipe2(Ptr, Open) => same(SYS_pipe2) reaches Own tested "polling/pipe2";
    quotactl(Hex, Path, Int, Ptr) => same(SYS_quotactl) reaches Kernel tested "files/quotactl command" partial "only its errors are tested";
    getdents64(Fd, Ptr, Size) => own(files::getdents64) reaches Open tested "names/getdents64";
    lseek(Fd, Long, Int) => same(SYS_lseek) reaches Open tested "files/lseek set";
    read(Fd, Ptr, Size) => same(SYS_read) reaches Open tested "polling/read eventfd";
    write(Fd, Ptr, Size) => same(SYS_write) reaches Open tested "files/write";
    readv(Fd, Ptr, Size) => own(vectors::readv) reaches Open tested "files/readv";
    writev(Fd, Ptr, Size) => own(vectors::writev) reaches Open tested "files/writev";
    pread64(Fd, Ptr, Size, Long) => same(SYS_pread64) reaches Open tested "files/pread64";
    pwrite64(Fd, Ptr, Size, Long) => same(SYS_pwrite64) reaches Open tested "files/pwrite64";
    preadv(Fd, Ptr, Size, Long, Long) => own(vectors::preadv) reaches Open tested "files/preadv";
    pwritev(Fd, Ptr, Size, Long, Long) => own(vectors::pwritev) reaches Open tested "files/pwritev";
    sendfile(Fd, Fd, Ptr, Size) => same(SYS_sendfile) reaches Open tested "files/sendfile";
    pselect6(Int, Ptr, Ptr, Ptr, Ptr, Ptr) => same(SYS_pselect6) reaches Own tested "polling/pselect6 signal came";
    ppoll(Ptr, Size, Ptr, Ptr, Size) => same(SYS_ppoll) reaches Own tested "polling/ppoll nothing";
    signalfd4(Fd, Ptr, Size, Hex) => same(SYS_signalfd4) reaches Own tested "polling/signalfd4";
    vmsplice(Fd, Ptr, Size, Hex) => own(vectors::vmsplice) reaches Open tested "files/vmsplice";
    splice(Fd, Ptr, Fd, Ptr, Size, Hex) => same(SYS_splice) reaches Open tested "files/splice file to pipe";
    tee(Fd, Fd, Size, Hex) => same(SYS_tee) reaches Open tested "files/tee";
    readlinkat(At, Path, Ptr, Size) => own(files::readlinkat) reaches Tells tested "proc/readlinkat of the program";
    newfstatat(At, Path, Ptr, Hex) => own(structs::newfstatat) reaches Tells tested "names/newfstatat";
    fstat(Fd, Ptr) => own(structs::fstat) reaches Tells tested "names/fstat";
    sync() => same(SYS_sync) reaches Tells tested "files/sync";
    fsync(Fd) => same(SYS_fsync) reaches Tells tested "files/fsync";
    fdatasync(Fd) => same(SYS_fdatasync) reaches Tells tested "files/fdatasync";
    sync_file_range(Fd, Long, Long, Hex) => same(SYS_sync_file_range) reaches Tells tested "files/sync_file_range";
    timerfd_create(Int, Hex) => same(SYS_timerfd_create) reaches Own tested "polling/timerfd_create";
    timerfd_settime(Fd, Hex, Ptr, Ptr) => same(SYS_timerfd_settime) reaches Own tested "polling/timerfd_settime";
    timerfd_gettime(Fd, Ptr) => same(SYS_timerfd_gettime) reaches Own tested "polling/timerfd_gettime";
    utimensat(At, Path, Ptr, Hex) => same(SYS_utimensat) reaches Changes tested "names/utimensat";
    acct(Path) => same(SYS_acct) reaches Kernel tested "ids/acct not allowed" partial "only its errors are tested";
    capget(Ptr, Ptr) => same(SYS_capget) reaches Tells tested "ids/capget";
    capset(Ptr, Ptr) => same(SYS_capset) reaches Own tested "ids/capset same";
    personality(Hex) => own(info::personality) reaches Own tested "ids/personality" partial "READ_IMPLIES_EXEC is refused (EINVAL)";
    exit(Int) => thread(Exit) reaches Own tested "threads/exit of the first thread";
    exit_group(Int) => thread(ExitGroup) reaches Own tested "signals/exit_group by SIGSEGV";
    waitid(Int, Int, Ptr, Hex, Ptr) => same(SYS_waitid) reaches Own tested "processes/waitid continued";
    set_tid_address(Ptr) => thread(SetTidAddress) reaches Own tested "threads/set_tid_address";
    unshare(Hex) => same(SYS_unshare) reaches Kernel tested "processes/unshare files";
    futex(Ptr, Hex, Int, Either, Ptr, Int) => same(SYS_futex) reaches Own tested "threads/futex wake nobody";
    set_robust_list(Ptr, Size) => same(SYS_set_robust_list) reaches Own tested "threads/set_robust_list consistent";
    get_robust_list(Int, Ptr, Ptr) => same(SYS_get_robust_list) reaches Traced tested "threads/get_robust_list";
    nanosleep(Ptr, Ptr) => same(SYS_nanosleep) reaches Own tested "time/nanosleep";
    getitimer(Int, Ptr) => same(SYS_getitimer) reaches Own tested "time/getitimer";
    setitimer(Int, Ptr, Ptr) => same(SYS_setitimer) reaches Own tested "time/setitimer";
    kexec_load(Hex, Size, Ptr, Hex) => refused(ENOSYS) reaches Kernel tested "refused/kexec_load" note "the host's";
    init_module(Ptr, Size, Text) => refused(ENOSYS) reaches Kernel tested "refused/init_module" note "modules are the host's";
    delete_module(Text, Hex) => refused(ENOSYS) reaches Kernel tested "refused/delete_module" note "modules are the host's";
    timer_create(Int, Ptr, Ptr) => same(SYS_timer_create) reaches Own tested "time/timer_create";
    timer_gettime(Int, Ptr) => same(SYS_timer_gettime) reaches Own tested "time/timer_gettime";
    timer_getoverrun(Int) => same(SYS_timer_getoverrun) reaches Own tested "time/timer_getoverrun";
    timer_settime(Int, Hex, Ptr, Ptr) => same(SYS_timer_settime) reaches Own tested "time/timer_settime";
    timer_delete(Int) => same(SYS_timer_delete) reaches Own tested "time/timer_delete";
    clock_settime(Int, Ptr) => same(SYS_clock_settime) reaches Kernel tested "time/clock_settime clock" partial "only its errors are tested";
    clock_gettime(Int, Ptr) => same(SYS_clock_gettime) reaches Tells tested "time/clock_gettime";
    clock_getres(Int, Ptr) => same(SYS_clock_getres) reaches Tells tested "time/clock_getres";
    clock_nanosleep(Int, Hex, Ptr, Ptr) => same(SYS_clock_nanosleep) reaches Own tested "time/clock_nanosleep";
    syslog(Int, Ptr, Size) => same(SYS_syslog) reaches Kernel tested "ids/syslog size";
    ptrace(Int, Int, Ptr, Ptr) => refused(ENOSYS) reaches Traced tested "refused/ptrace" note "the registers would be the monitor's";
    sched_setparam(Int, Ptr) => own(process_limits::sched_setparam) reaches Processes tested "ids/sched_setparam";
    sched_setscheduler(Int, Int, Ptr) => own(process_limits::sched_setscheduler) reaches Processes tested "ids/sched_setscheduler";
    sched_getscheduler(Int) => same(SYS_sched_getscheduler) reaches Tells tested "ids/sched_getscheduler";
    sched_getparam(Int, Ptr) => same(SYS_sched_getparam) reaches Tells tested "ids/sched_getparam";
    sched_setaffinity(Int, Size, Ptr) => own(process_limits::sched_setaffinity) reaches Processes tested "ids/sched_setaffinity";
    sched_getaffinity(Int, Size, Ptr) => same(SYS_sched_getaffinity) reaches Tells tested "ids/sched_getaffinity";
    sched_yield() => same(SYS_sched_yield) reaches Own tested "ids/sched_yield";
    sched_get_priority_max(Int) => same(SYS_sched_get_priority_max) reaches Own tested "ids/sched_get_priority_max";
    sched_get_priority_min(Int) => same(SYS_sched_get_priority_min) reaches Own tested "ids/sched_get_priority_min";
    sched_rr_get_interval(Int, Ptr) => same(SYS_sched_rr_get_interval) reaches Tells tested "ids/sched_rr_get_interval";
    restart_syscall() => refused(EINTR) reaches Own tested "processes/restart_syscall" note "nothing that was interrupted is kept by the kernel";
    kill(Int, Signal) => same(SYS_kill) reaches Signals tested "signals/kill";
    tkill(Int, Signal) => same(SYS_tkill) reaches Signals tested "signals/tkill";
    tgkill(Int, Int, Signal) => same(SYS_tgkill) reaches Signals tested "signals/tgkill";
    sigaltstack(Ptr, Ptr) => thread(Sigaltstack) reaches Own tested "signals/sigaltstack";
    rt_sigsuspend(Ptr, Size) => thread(Sigsuspend) reaches Own tested "signals/rt_sigsuspend came";
    rt_sigaction(Signal, Ptr, Ptr, Size) => thread(Sigaction) reaches Own tested "signals/rt_sigaction";
    rt_sigprocmask(Int, Ptr, Ptr, Size) => thread(Sigprocmask) reaches Own tested "signals/rt_sigprocmask block";
    rt_sigpending(Ptr, Size) => same(SYS_rt_sigpending) reaches Own tested "signals/rt_sigpending";
    rt_sigtimedwait(Ptr, Ptr, Ptr, Size) => same(SYS_rt_sigtimedwait) reaches Own tested "signals/rt_sigtimedwait three came";
    rt_sigqueueinfo(Int, Signal, Ptr) => same(SYS_rt_sigqueueinfo) reaches Signals tested "signals/rt_sigqueueinfo";
    rt_sigreturn() => thread(Sigreturn) reaches Own tested "signals/rt_sigreturn to a loop";
    setpriority(Int, Int, Int) => own(process_limits::setpriority) reaches Processes tested "ids/setpriority";
    getpriority(Int, Int) => same(SYS_getpriority) reaches Tells tested "ids/getpriority";
    reboot(Hex, Hex, Hex, Ptr) => refused(EPERM) reaches Kernel tested "refused/reboot" note "the host's";
    setregid(Int, Int) => same(SYS_setregid) reaches Own tested "ids/setregid nothing";
    setgid(Int) => same(SYS_setgid) reaches Own tested "ids/setgid same";
    setreuid(Int, Int) => same(SYS_setreuid) reaches Own tested "ids/setreuid nothing";
    setuid(Int) => same(SYS_setuid) reaches Own tested "ids/setuid same";
    setresuid(Int, Int, Int) => same(SYS_setresuid) reaches Own tested "ids/setresuid nothing";
    getresuid(Ptr, Ptr, Ptr) => same(SYS_getresuid) reaches Own tested "ids/getresuid";
    setresgid(Int, Int, Int) => same(SYS_setresgid) reaches Own tested "ids/setresgid nothing";
    getresgid(Ptr, Ptr, Ptr) => same(SYS_getresgid) reaches Own tested "ids/getresgid";
    setfsuid(Int) => same(SYS_setfsuid) reaches Own tested "ids/setfsuid";
    setfsgid(Int) => same(SYS_setfsgid) reaches Own tested "ids/setfsgid";
    times(Ptr) => same(SYS_times) reaches Own tested "time/times" note "with the monitor's share";
    setpgid(Int, Int) => same(SYS_setpgid) reaches Own tested "processes/setpgid";
    getpgid(Int) => same(SYS_getpgid) reaches Tells tested "processes/getpgid";
    getsid(Int) => same(SYS_getsid) reaches Tells tested "processes/getsid";
    setsid() => same(SYS_setsid) reaches Own tested "processes/setsid";
    getgroups(Int, Ptr) => same(SYS_getgroups) reaches Own tested "ids/getgroups";
    setgroups(Int, Ptr) => same(SYS_setgroups) reaches Own tested "ids/setgroups";
    uname(Ptr) => own(info::uname) reaches Tells tested "ids/uname" note "the host's, with the program's CPU";
    sethostname(Text, Size) => same(SYS_sethostname) reaches Kernel tested "ids/sethostname too long" partial "only its errors are tested";
    setdomainname(Text, Size) => same(SYS_setdomainname) reaches Kernel tested "ids/setdomainname negative" partial "only its errors are tested";
    getrlimit(Int, Ptr) => same(SYS_getrlimit) reaches Own tested "ids/getrlimit";
    setrlimit(Int, Ptr) => same(SYS_setrlimit) reaches Own tested "ids/setrlimit" partial "limits hold for the monitor, too";
    getrusage(Int, Ptr) => same(SYS_getrusage) reaches Own tested "ids/getrusage" note "with the monitor's share";
    umask(Mode) => same(SYS_umask) reaches Own tested "files/umask";
    prctl(Int, Either, Either, Either, Either) => own(info::prctl) reaches Own tested "processes/prctl set name" partial "what is about the host's CPU, filters and the memory map is refused (EINVAL)";
    getcpu(Ptr, Ptr, Ptr) => same(SYS_getcpu) reaches Tells tested "ids/getcpu";
    gettimeofday(Ptr, Ptr) => same(SYS_gettimeofday) reaches Tells tested "time/gettimeofday";
    settimeofday(Ptr, Ptr) => same(SYS_settimeofday) reaches Kernel tested "time/settimeofday bad time" partial "only its errors are tested";
    adjtimex(Ptr) => same(SYS_adjtimex) reaches Privileged tested "time/adjtimex";
    getpid() => same(SYS_getpid) reaches Own tested "processes/getpid";
    getppid() => same(SYS_getppid) reaches Tells tested "processes/getppid";
    getuid() => same(SYS_getuid) reaches Own tested "ids/getuid";
    geteuid() => same(SYS_geteuid) reaches Own tested "ids/geteuid";
    getgid() => same(SYS_getgid) reaches Own tested "ids/getgid";
    getegid() => same(SYS_getegid) reaches Own tested "ids/getegid";
    gettid() => same(SYS_gettid) reaches Own tested "threads/gettid";
    sysinfo(Ptr) => same(SYS_sysinfo) reaches Tells tested "ids/sysinfo";
    mq_open(Text, Hex, Mode, Ptr) => same(SYS_mq_open) reaches Objects tested "ipc/mq_open";
    mq_unlink(Text) => same(SYS_mq_unlink) reaches Objects tested "ipc/mq_unlink";
    mq_timedsend(Int, Ptr, Size, Int, Ptr) => same(SYS_mq_timedsend) reaches Open tested "ipc/mq_timedsend";
    mq_timedreceive(Int, Ptr, Size, Ptr, Ptr) => same(SYS_mq_timedreceive) reaches Open tested "ipc/mq_timedreceive";
    mq_notify(Int, Ptr) => same(SYS_mq_notify) reaches Open tested "ipc/mq_notify";
    mq_getsetattr(Int, Ptr, Ptr) => same(SYS_mq_getsetattr) reaches Open tested "ipc/mq_getsetattr";
    msgget(Int, Hex) => same(SYS_msgget) reaches Objects tested "ipc/msgget";
    msgctl(Int, Hex, Ptr) => same(SYS_msgctl) reaches Objects tested "ipc/msgctl IPC_STAT";
    msgrcv(Int, Ptr, Size, Long, Hex) => same(SYS_msgrcv) reaches Objects tested "ipc/msgrcv type";
    msgsnd(Int, Ptr, Size, Hex) => same(SYS_msgsnd) reaches Objects tested "ipc/msgsnd";
    semget(Int, Int, Hex) => same(SYS_semget) reaches Objects tested "ipc/semget";
    semctl(Int, Int, Hex, Either) => own(structs::semctl) reaches Objects tested "ipc/semctl SETVAL";
    semtimedop(Int, Ptr, Size, Ptr) => same(SYS_semtimedop) reaches Objects tested "ipc/semtimedop";
    semop(Int, Ptr, Size) => same(SYS_semop) reaches Objects tested "ipc/semop";
    shmget(Int, Size, Hex) => same(SYS_shmget) reaches Objects tested "ipc/shmget";
    shmctl(Int, Hex, Ptr) => same(SYS_shmctl) reaches Objects tested "ipc/shmctl IPC_STAT";
    shmat(Int, Ptr, Hex) => own(space::shmat) reaches Objects tested "ipc/shmat";
    shmdt(Ptr) => own(space::shmdt) reaches Own tested "ipc/shmdt";
    socket(Int, Int, Int) => same(SYS_socket) reaches Network tested "sockets/socket";
    socketpair(Int, Int, Int, Ptr) => same(SYS_socketpair) reaches Network tested "sockets/socketpair";
    bind(Fd, Ptr, Size) => same(SYS_bind) reaches Network tested "sockets/bind";
    listen(Fd, Int) => same(SYS_listen) reaches Network tested "sockets/listen";
    accept(Fd, Ptr, Ptr) => same(SYS_accept) reaches Network tested "sockets/accept";
    connect(Fd, Ptr, Size) => same(SYS_connect) reaches Network tested "sockets/connect";
    getsockname(Fd, Ptr, Ptr) => same(SYS_getsockname) reaches Open tested "sockets/getsockname";
    getpeername(Fd, Ptr, Ptr) => same(SYS_getpeername) reaches Open tested "sockets/getpeername";
    sendto(Fd, Ptr, Size, Hex, Ptr, Size) => same(SYS_sendto) reaches Open|Network tested "sockets/sendto";
    recvfrom(Fd, Ptr, Size, Hex, Ptr, Ptr) => same(SYS_recvfrom) reaches Open tested "sockets/recvfrom peek";
    setsockopt(Fd, Int, Int, Ptr, Size) => same(SYS_setsockopt) reaches Open|Network tested "sockets/setsockopt";
    getsockopt(Fd, Int, Int, Ptr, Ptr) => own(vectors::getsockopt) reaches Open|Network tested "sockets/getsockopt SO_RCVTIMEO" partial "not TCP_ZEROCOPY_RECEIVE (ENOPROTOOPT)";
    shutdown(Fd, Int) => same(SYS_shutdown) reaches Open tested "sockets/shutdown";
    sendmsg(Fd, Ptr, Hex) => own(vectors::sendmsg) reaches Open|Network tested "sockets/sendmsg rights";
    recvmsg(Fd, Ptr, Hex) => own(vectors::recvmsg) reaches Open tested "sockets/recvmsg";
    readahead(Fd, Long, Size) => same(SYS_readahead) reaches Tells tested "files/readahead";
    brk(Ptr) => own(space::brk) reaches Own tested "memory/brk grows";
    munmap(Ptr, Size) => own(space::munmap) reaches Own tested "memory/munmap";
    mremap(Ptr, Size, Size, Hex, Ptr) => own(space::mremap) reaches Own tested "memory/mremap shrinks";
    add_key(Text, Text, Ptr, Size, Int) => same(SYS_add_key) reaches Kernel tested "refused/add_key type" partial "only its errors are tested";
    request_key(Text, Text, Text, Int) => same(SYS_request_key) reaches Kernel tested "refused/request_key type" partial "only its errors are tested";
    keyctl(Int, Either, Either, Either, Either) => same(SYS_keyctl) reaches Kernel tested "refused/keyctl operation" partial "only its errors are tested";
    clone(Hex, Ptr, Ptr, Ptr, Ptr) => thread(Clone) reaches Children|Kernel tested "threads/clone threads" note "a child that shares memory and runs beside its parent has a thread of the monitor that waits for it";
    execve(Path, Ptr, Ptr) => thread(Execve) reaches Executables tested "processes/execve auxiliary vector";
    mmap(Ptr, Size, Prot, Map, Fd, Long) => own(space::mmap) reaches Open tested "memory/mmap";
    fadvise64(Fd, Long, Long, Int) => same(SYS_fadvise64) reaches Tells tested "files/fadvise64";
    swapon(Path, Hex) => refused(EPERM) reaches Kernel tested "files/swapon missing" note "the host's";
    swapoff(Path) => refused(EPERM) reaches Kernel tested "files/swapoff missing" note "the host's";
    mprotect(Ptr, Size, Prot) => own(space::mprotect) reaches Own tested "memory/mprotect";
    msync(Ptr, Size, Hex) => range(SYS_msync) reaches Own tested "memory/msync";
    mlock(Ptr, Size) => range(SYS_mlock) reaches Own tested "memory/mlock";
    munlock(Ptr, Size) => range(SYS_munlock) reaches Own tested "memory/munlock";
    mlockall(Hex) => same(SYS_mlockall) reaches Own tested "memory/mlockall flags" partial "locks the monitor's memory, too; only its errors are tested";
    munlockall() => same(SYS_munlockall) reaches Own tested "memory/munlockall";
    mincore(Ptr, Size, Ptr) => range(SYS_mincore) reaches Own tested "memory/mincore";
    madvise(Ptr, Size, Int) => range(SYS_madvise drops space::madvise_drops) reaches Own tested "memory/madvise";
    remap_file_pages(Ptr, Size, Hex, Size, Hex) => refused(ENOSYS) reaches Own tested "memory/remap_file_pages bits" note "deprecated";
    mbind(Ptr, Size, Int, Ptr, Size, Hex) => range(SYS_mbind) reaches Own tested "memory/mbind mode" partial "only its errors are tested";
    get_mempolicy(Ptr, Ptr, Size, Ptr, Hex) => same(SYS_get_mempolicy) reaches Own tested "memory/get_mempolicy";
    set_mempolicy(Int, Ptr, Size) => same(SYS_set_mempolicy) reaches Own tested "memory/set_mempolicy";
    migrate_pages(Int, Size, Ptr, Ptr) => same(SYS_migrate_pages) reaches Processes tested "memory/migrate_pages process" partial "only its errors are tested";
    move_pages(Int, Size, Ptr, Ptr, Ptr, Hex) => same(SYS_move_pages) reaches Processes tested "memory/move_pages flags" partial "only its errors are tested";
    rt_tgsigqueueinfo(Int, Int, Signal, Ptr) => same(SYS_rt_tgsigqueueinfo) reaches Signals tested "signals/rt_tgsigqueueinfo";
    perf_event_open(Ptr, Int, Int, Fd, Hex) => refused(ENOSYS) reaches Kernel tested "refused/perf_event_open" note "it would count the monitor's instructions";
    accept4(Fd, Ptr, Ptr, Hex) => same(SYS_accept4) reaches Network tested "sockets/accept4";
    recvmmsg(Fd, Ptr, Size, Hex, Ptr) => own(vectors::recvmmsg) reaches Open tested "sockets/recvmmsg";
    wait4(Int, Ptr, Hex, Ptr) => same(SYS_wait4) reaches Own tested "processes/wait4";
    prlimit64(Int, Int, Ptr, Ptr) => own(process_limits::prlimit64) reaches Processes tested "ids/prlimit64" partial "limits hold for the monitor, too";
    fanotify_init(Hex, Hex) => same(SYS_fanotify_init) reaches Contents tested "polling/fanotify_init";
    fanotify_mark(Fd, Hex, Hex, At, Path) => same(SYS_fanotify_mark) reaches Contents tested "polling/fanotify_mark bad descriptor" partial "only its errors are tested";
    name_to_handle_at(At, Path, Ptr, Ptr, Hex) => same(SYS_name_to_handle_at) reaches Tells tested "names/name_to_handle_at size given";
    open_by_handle_at(Fd, Ptr, Hex) => same(SYS_open_by_handle_at) reaches Kernel tested "names/open_by_handle_at";
    clock_adjtime(Int, Ptr) => same(SYS_clock_adjtime) reaches Privileged tested "time/clock_adjtime";
    syncfs(Fd) => same(SYS_syncfs) reaches Tells tested "files/syncfs";
    setns(Fd, Hex) => same(SYS_setns) reaches Kernel tested "processes/setns bad descriptor" partial "only its errors are tested";
    sendmmsg(Fd, Ptr, Size, Hex) => own(vectors::sendmmsg) reaches Open|Network tested "sockets/sendmmsg";
    process_vm_readv(Int, Ptr, Size, Ptr, Size, Hex) => own(vectors::process_vm_readv) reaches Traced tested "memory/process_vm_readv";
    process_vm_writev(Int, Ptr, Size, Ptr, Size, Hex) => own(vectors::process_vm_writev) reaches Traced tested "memory/process_vm_writev";
    kcmp(Int, Int, Int, Either, Either) => same(SYS_kcmp) reaches Traced tested "processes/kcmp";
    finit_module(Fd, Text, Hex) => refused(ENOSYS) reaches Kernel tested "refused/finit_module" note "modules are the host's";
    sched_setattr(Int, Ptr, Hex) => own(process_limits::sched_setattr) reaches Processes tested "ids/sched_setattr";
    sched_getattr(Int, Ptr, Size, Hex) => same(SYS_sched_getattr) reaches Tells tested "ids/sched_getattr";
    renameat2(At, Path, At, Path, Hex) => same(SYS_renameat2) reaches Files tested "names/renameat2";
    seccomp(Int, Hex, Ptr) => refused(ENOSYS) reaches Own tested "refused/seccomp filter" note "filters would see the monitor's calls";
    getrandom(Ptr, Size, Hex) => same(SYS_getrandom) reaches Tells tested "ids/getrandom";
    memfd_create(Text, Hex) => same(SYS_memfd_create) reaches Own tested "files/memfd_create";
    bpf(Int, Ptr, Size) => refused(ENOSYS) reaches Kernel tested "refused/bpf" note "it would see the monitor";
    execveat(At, Path, Ptr, Ptr, Hex) => thread(Execveat) reaches Executables tested "processes/execveat descriptor end";
    userfaultfd(Hex) => refused(ENOSYS) reaches Kernel tested "refused/userfaultfd" note "faults would be the monitor's, too";
    membarrier(Int, Hex, Int) => own(space::membarrier) reaches Own tested "memory/membarrier global";
    mlock2(Ptr, Size, Hex) => range(SYS_mlock2) reaches Own tested "memory/mlock2";
    copy_file_range(Fd, Ptr, Fd, Ptr, Size, Hex) => same(SYS_copy_file_range) reaches Open tested "files/copy_file_range";
    preadv2(Fd, Ptr, Size, Long, Long, Hex) => own(vectors::preadv2) reaches Open tested "files/preadv2";
    pwritev2(Fd, Ptr, Size, Long, Long, Hex) => own(vectors::pwritev2) reaches Open tested "files/pwritev2 append";
    pkey_mprotect(Ptr, Size, Hex, Int) => refused(ENOSYS) reaches Own tested "memory/pkey_mprotect key" note "no such CPU";
    pkey_alloc(Hex, Hex) => refused(ENOSYS) reaches Own tested "memory/pkey_alloc flags" note "no such CPU";
    pkey_free(Int) => refused(ENOSYS) reaches Own tested "memory/pkey_free unknown" note "no such CPU";
    statx(At, Path, Hex, Hex, Ptr) => own(files::statx) reaches Tells tested "names/statx";
    io_pgetevents(Ptr, Long, Long, Ptr, Ptr, Ptr) => refused(ENOSYS) reaches Own tested "refused/io_pgetevents" note "as io_getevents";
    rseq(Ptr, Size, Hex, Hex) => refused(ENOSYS) reaches Own tested "refused/rseq" note "the kernel would change the registers of the monitor";
    pidfd_send_signal(Fd, Signal, Ptr, Hex) => same(SYS_pidfd_send_signal) reaches Signals tested "signals/pidfd_send_signal";
    io_uring_setup(Size, Ptr) => refused(ENOSYS) reaches Hidden tested "refused/io_uring_setup" note "its rings would lie outside the program's addresses";
    io_uring_enter(Fd, Size, Size, Hex, Ptr, Size) => refused(ENOSYS) reaches Hidden tested "refused/io_uring_enter" note "no ring";
    io_uring_register(Fd, Int, Ptr, Size) => refused(ENOSYS) reaches Hidden tested "refused/io_uring_register" note "no ring";
    open_tree(At, Path, Hex) => same(SYS_open_tree) reaches Kernel tested "mounts/open_tree";
    move_mount(At, Path, At, Path, Hex) => same(SYS_move_mount) reaches Kernel tested "mounts/move_mount";
    fsopen(Text, Hex) => same(SYS_fsopen) reaches Kernel tested "mounts/fsopen";
    fsconfig(Fd, Int, Text, Ptr, Int) => same(SYS_fsconfig) reaches Kernel tested "mounts/fsconfig create";
    fsmount(Fd, Hex, Hex) => same(SYS_fsmount) reaches Kernel tested "mounts/fsmount";
    fspick(At, Path, Hex) => same(SYS_fspick) reaches Kernel tested "mounts/fspick";
    pidfd_open(Int, Hex) => same(SYS_pidfd_open) reaches Tells tested "processes/pidfd_open";
    clone3(Ptr, Size) => thread(Clone3) reaches Hidden tested "threads/clone3 child" partial "set_tid and cgroup are refused (EINVAL)";
    close_range(Fd, Fd, Hex) => own(files::close_range) reaches Own tested "files/close_range";
    openat2(At, Path, Ptr, Size) => own(files::openat2) reaches Files tested "files/openat2 opens" partial "as openat";
    pidfd_getfd(Fd, Fd, Hex) => same(SYS_pidfd_getfd) reaches Traced tested "processes/pidfd_getfd";
    faccessat2(At, Path, Mode, Hex) => same(SYS_faccessat2) reaches Tells tested "names/faccessat2";
    process_madvise(Fd, Ptr, Size, Int, Hex) => own(space::process_madvise) reaches Traced tested "memory/process_madvise bad descriptor" partial "only its errors are tested";
    epoll_pwait2(Fd, Ptr, Int, Ptr, Ptr, Size) => own(structs::epoll_pwait2) reaches Own tested "polling/epoll_pwait2";
    mount_setattr(At, Path, Hex, Ptr, Size) => same(SYS_mount_setattr) reaches Kernel tested "mounts/mount_setattr recursive";
    quotactl_fd(Fd, Hex, Int, Ptr) => same(SYS_quotactl_fd) reaches Kernel tested "files/quotactl_fd bad descriptor" partial "only its errors are tested";
    landlock_create_ruleset(Ptr, Size, Hex) => same(SYS_landlock_create_ruleset) reaches Own tested "refused/landlock_create_ruleset" partial "only its errors are tested";
    landlock_add_rule(Fd, Int, Ptr, Hex) => same(SYS_landlock_add_rule) reaches Own tested "refused/landlock_add_rule" partial "only its errors are tested";
    landlock_restrict_self(Fd, Hex) => same(SYS_landlock_restrict_self) reaches Own tested "refused/landlock_restrict_self" partial "only its errors are tested";
    memfd_secret(Hex) => same(SYS_memfd_secret) reaches Own tested "files/memfd_secret flags" partial "only its errors are tested";
    process_mrelease(Fd, Hex) => same(SYS_process_mrelease) reaches Processes tested "memory/process_mrelease bad descriptor" partial "only its errors are tested";
    futex_waitv(Ptr, Size, Hex, Ptr, Int) => own(vectors::futex_waitv) reaches Own tested "threads/futex_waitv time in the past";
    set_mempolicy_home_node(Ptr, Size, Size, Hex) => range(SYS_set_mempolicy_home_node) reaches Own tested "memory/set_mempolicy_home_node flags" partial "only its errors are tested";
    cachestat(Fd, Ptr, Ptr, Hex) => same(451) reaches Tells tested "files/cachestat";
    fchmodat2(At, Path, Mode, Hex) => same(452) reaches Changes tested "names/fchmodat2";
    map_shadow_stack(Ptr, Size, Hex) => refused(ENOSYS) reaches Own tested "refused/map_shadow_stack" note "no such CPU";
    futex_wake(Ptr, Hex, Int, Hex) => same(454) reaches Own tested "threads/futex_wake";
    futex_wait(Ptr, Long, Hex, Hex, Ptr, Int) => same(455) reaches Own tested "threads/futex_wait value";
    futex_requeue(Ptr, Hex, Int, Int) => own(vectors::futex_requeue) reaches Own tested "threads/futex_requeue";
    statmount(Ptr, Ptr, Size, Hex) => same(457) reaches Tells tested "mounts/statmount";
    listmount(Ptr, Ptr, Size, Hex) => same(458) reaches Tells tested "mounts/listmount";
    lsm_get_self_attr(Int, Ptr, Ptr, Hex) => same(459) reaches Own tested "refused/lsm_get_self_attr" partial "only its errors are tested";
    lsm_set_self_attr(Int, Ptr, Size, Hex) => same(460) reaches Own tested "refused/lsm_set_self_attr" partial "only its errors are tested";
    lsm_list_modules(Ptr, Ptr, Hex) => same(461) reaches Tells tested "refused/lsm_list_modules" partial "only its errors are tested";
    mseal(Ptr, Size, Hex) => range(462) reaches Own tested "memory/mseal";
}
