//! The system calls of a machine, in groups. What is in no group is refused.

use crate::filter::SYS_FCHMODAT2;
use libc::*;

/// What a monitor never asks for, besides [`crate::filter::SYSTEM`]: whoever does has taken it over, and the kernel ends it at once.
pub(super) const FATAL: &[i64] = &[SYS_execve, SYS_execveat, SYS_fork, SYS_vfork, SYS_chroot];

/// Calls that do not exist for a machine: a filter cannot see their arguments. The C library makes the older one.
pub(super) const ABSENT: &[i64] = &[SYS_clone3];

/// Memory, threads, waiting, time, and descriptors that are open. Calls of these with checked arguments are in `rules`.
pub(super) const CORE: &[i64] = &[
    // Descriptors. What a path leads to is Landlock's.
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_preadv2,
    SYS_pwritev2,
    SYS_close,
    SYS_close_range,
    SYS_dup,
    SYS_dup2,
    SYS_dup3,
    SYS_pipe,
    SYS_pipe2,
    SYS_lseek,
    SYS_fstat,
    SYS_stat,
    SYS_lstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_fstatfs,
    SYS_access,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlink,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_getcwd,
    SYS_sendfile,
    // Disks and memory files.
    SYS_fsync,
    SYS_fdatasync,
    SYS_sync_file_range,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_fadvise64,
    SYS_flock,
    SYS_copy_file_range,
    SYS_memfd_create,
    // Waiting.
    SYS_poll,
    SYS_ppoll,
    SYS_select,
    SYS_pselect6,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_wait,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_futex,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_restart_syscall,
    SYS_sched_yield,
    // Time and identity, which are only read.
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_time,
    SYS_times,
    SYS_getrusage,
    SYS_getpid,
    SYS_getppid,
    SYS_gettid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getrlimit,
    SYS_getrandom,
    SYS_uname,
    SYS_sysinfo,
    SYS_getcpu,
    SYS_sched_getaffinity,
    // Signals of this process.
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigpending,
    SYS_rt_sigsuspend,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    // Memory; `mmap` and `mprotect` are checked.
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_mincore,
    SYS_msync,
    SYS_membarrier,
    // Threads; `clone` is checked.
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_set_tid_address,
    SYS_rseq,
    SYS_exit,
    SYS_exit_group,
    // Sockets that are open: the monitor's, and standard input and output.
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_recvmmsg,
    SYS_sendmsg,
    SYS_sendmmsg,
    SYS_shutdown,
    SYS_getsockname,
    SYS_getpeername,
    SYS_getsockopt,
];

/// Sockets that are made: by the network, by the socket device, for gdb. `socket` itself is checked.
pub(super) const SOCKETS: &[i64] =
    &[SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_setsockopt];

/// What serves a shared folder, besides what all machines have: what a name is resolved by, and the thread's own umask,
/// capabilities and file-system user.
pub(super) const SHARES: &[i64] = &[
    SYS_openat2,
    SYS_umask,
    SYS_capget,
    SYS_capset,
    SYS_setfsuid,
    SYS_setfsgid,
    SYS_statfs,
    SYS_getxattr,
    SYS_lgetxattr,
    SYS_fgetxattr,
    SYS_listxattr,
    SYS_llistxattr,
    SYS_flistxattr,
];

/// What changes files below a folder that is shared for writing, or that the machine writes itself.
pub(super) const CHANGES: &[i64] = &[
    SYS_mkdir,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_rmdir,
    SYS_unlink,
    SYS_unlinkat,
    SYS_rename,
    SYS_renameat,
    SYS_renameat2,
    SYS_link,
    SYS_linkat,
    SYS_symlink,
    SYS_symlinkat,
    SYS_truncate,
    SYS_chmod,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_FCHMODAT2,
    SYS_chown,
    SYS_fchown,
    SYS_lchown,
    SYS_fchownat,
    SYS_utimensat,
    SYS_setxattr,
    SYS_lsetxattr,
    SYS_fsetxattr,
    SYS_removexattr,
    SYS_lremovexattr,
    SYS_fremovexattr,
];

/// What a Unix socket for gdb needs: its file's mode, its name, and its end.
pub(super) const GDB_SOCKET: &[i64] = &[SYS_chmod, SYS_fchmodat, SYS_link, SYS_linkat, SYS_unlink];

/// Commands of `fcntl`: not the ones that name another process (`F_SETOWN`), wait for others or make others wait
/// (`F_SETLEASE`), or watch directories (`F_NOTIFY`).
pub(super) const FCNTL: &[i32] = &[
    F_DUPFD,
    F_DUPFD_CLOEXEC,
    F_GETFD,
    F_SETFD,
    F_GETFL,
    F_SETFL,
    F_GETLK,
    F_SETLK,
    F_SETLKW,
    F_OFD_GETLK,
    F_OFD_SETLK,
    F_OFD_SETLKW,
    F_GETPIPE_SZ,
    F_ADD_SEALS,
    F_GET_SEALS,
];

/// Requests of `ioctl` (asm-generic/ioctls.h, uapi/linux/fs.h, uapi/linux/sockios.h): a terminal's settings and size, not
/// characters put into its input (`TIOCSTI`); a disk's discarding and size; an interface's number.
pub(super) const IOCTL: &[Ioctl] = &[
    TCGETS,
    TCSETS,
    TCSETSW,
    TCSETSF,
    TCGETS2,
    TCSETS2,
    TCSETSW2,
    TCSETSF2,
    TIOCGWINSZ,
    FIONBIO,
    FIONREAD,
    FIOCLEX,
    0x1277,      // BLKDISCARD
    0x127f,      // BLKZEROOUT
    0x1268,      // BLKSSZGET
    0x8008_1272, // BLKGETSIZE64
    0x8933,      // SIOCGIFINDEX
    0x4004_54d0, // TUNSETOFFLOAD: the port of a private network
];

/// Commands of `prctl`: names of threads and of memory.
pub(super) const PRCTL: &[i32] = &[PR_SET_NAME, PR_GET_NAME, PR_SET_VMA];
