//! The profile of containers without a profile of their own: it allows the calls that Docker's default
//! profile allows (moby/profiles, seccomp/default.json, 2026), and refuses all others with `EPERM`.

use libc::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS,
    ENOSYS, EPERM,
};
use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use std::collections::HashSet;

/// Always allowed. Not in this list, and so refused: keys (`add_key`, `keyctl`, `request_key`: keyrings
/// belong to users, not containers), `userfaultfd` and `io_uring_*` (many attacks on the kernel used them,
/// and filters cannot see the latter's operations), `kexec_*`, `swapon`, `swapoff`, `pivot_root`,
/// `move_pages` and `migrate_pages`, `nfsservctl`, `uselib`, `ustat`, `sysfs`, `_sysctl`, `vm86*`.
const ALWAYS: &[&str] = &[
    // Files and directories.
    "_llseek access cachestat chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 \
     faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat \
     fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat \
     getcwd getdents getdents64 ioctl lchown lchown32 link linkat lseek lstat lstat64 memfd_create memfd_secret mkdir \
     mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev \
     pwritev2 read readahead readlink readlinkat readv rename renameat renameat2 rmdir sendfile sendfile64 splice stat \
     stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink \
     unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev",
    // Extended attributes; what is mounted.
    "fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listmount listxattr listxattrat \
     llistxattr lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat statmount",
    // Waiting for files, and notifications about them.
    "_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old \
     eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy \
     io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit pipe pipe2 poll ppoll ppoll_time64 pselect6 \
     pselect6_time64 select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime \
     timerfd_settime64",
    // Sockets (for `socket` itself see `FAMILIES`). 32-bit programs also make these calls by `socketcall`,
    // which is allowed for each of them except `socket`: its family would be in memory, where a filter cannot
    // see it, so that every family would be allowed. 32-bit C libraries that create sockets in no other way
    // need a custom filter.
    "accept accept4 bind connect getpeername getsockname getsockopt ipc listen recv recvfrom recvmmsg recvmmsg_time64 \
     recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketpair",
    // Memory.
    "brk get_thread_area madvise map_shadow_stack membarrier mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap \
     mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages \
     set_thread_area",
    // Processes, threads, identity (for `clone` see `NAMESPACES`). `ptrace` and similar calls only reach
    // processes of the container, and since Linux 4.8 cannot bypass a filter.
    "capget capset execve execveat exit exit_group fork get_robust_list getcpu getegid getegid32 geteuid geteuid32 \
     getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 \
     getresuid getresuid32 getrlimit getrusage getsid gettid getuid getuid32 ioprio_get ioprio_set kill \
     landlock_add_rule landlock_create_ruleset landlock_restrict_self pidfd_open pidfd_send_signal prctl prlimit64 \
     process_vm_readv process_vm_writev ptrace rseq sched_get_priority_max sched_get_priority_min sched_getaffinity \
     sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 \
     sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp set_robust_list \
     set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority \
     setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setuid \
     setuid32 tgkill tkill ugetrlimit uretprobe vfork wait4 waitid waitpid",
    // Signals.
    "pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend \
     rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn",
    // Queues, semaphores, shared memory: each IPC namespace has its own.
    "futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake mq_getsetattr mq_notify mq_open \
     mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd \
     semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget",
    // Time (setting it still needs the capability), the host's name and load.
    "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 \
     clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer sysinfo time timer_create \
     timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 times uname",
    // Calls that only one CPU has.
    "arch_prctl arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush modify_ldt riscv_flush_icache riscv_hwprobe \
     set_tls sync_file_range2",
];

/// Allowed with a capability that the kernel checks anyway: the filter only makes the code behind it
/// unreachable.
const WITH: &[(Capability, &str)] = &[
    (Capability::DacReadSearch, "open_by_handle_at"),
    (
        Capability::SysAdmin,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    (Capability::SysBoot, "reboot"),
    (Capability::SysChroot, "chroot"),
    (Capability::SysModule, "delete_module finit_module init_module"),
    (Capability::SysPacct, "acct"),
    (Capability::SysPtrace, "kcmp pidfd_getfd process_madvise"),
    (Capability::SysRawio, "ioperm iopl"),
    (Capability::SysTime, "clock_settime clock_settime64 settimeofday stime"),
    (Capability::SysTtyConfig, "vhangup"),
    (Capability::SysNice, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (Capability::Syslog, "syslog"),
    (Capability::Bpf, "bpf"),
    (Capability::Perfmon, "perf_event_open"),
];

/// Socket families: all below this one (`AF_DECnet`, which was removed) …
const FAMILIES_BELOW: u64 = 12;
/// … and these (include/linux/socket.h). Not `AF_ALG` (38), the kernel's ciphers, nor `AF_VSOCK` (40), by
/// which a machine reaches its host past all networks, nor families that the kernel has removed.
const FAMILIES: &[u64] =
    &[13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45];

/// `personality`: Linux (0), 32-bit (8), each also with `UNAME26` (0x20000); and a query (0xffffffff). Not
/// those that disable address randomization or map page 0.
const PERSONALITIES: &[u64] = &[0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// No new namespaces without `CAP_SYS_ADMIN`: in a new user namespace a process has all capabilities, and
/// with them reaches much of the kernel's code.
const NAMESPACES: i32 =
    CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;

/// The profile of a container whose processes can have these capabilities (its bounding set).
pub fn default_profile(capabilities: &HashSet<Capability>) -> LinuxSeccomp {
    use LinuxSeccompAction::{ScmpActAllow as Allow, ScmpActErrno as Errno};
    let mut calls: Vec<LinuxSyscall> = vec![entry(&ALWAYS.join(" "), Allow, None)];
    let argument = |name, operator, value| entry(name, Allow, Some(first(operator, value)));
    calls.push(argument("socket", Operator::ScmpCmpLt, FAMILIES_BELOW));
    calls.extend(FAMILIES.iter().map(|family| argument("socket", Operator::ScmpCmpEq, *family)));
    calls.extend(PERSONALITIES.iter().map(|which| argument("personality", Operator::ScmpCmpEq, *which)));
    let with = WITH.iter().filter(|(capability, _)| capabilities.contains(capability));
    calls.extend(with.map(|(_, names)| entry(names, Allow, None)));
    if !capabilities.contains(&Capability::SysAdmin) {
        calls.push(argument("clone", Operator::ScmpCmpMaskedEq, NAMESPACES as u32 as u64));
        // Its flags are in memory. C libraries fall back to `clone` if it looks unimplemented.
        let mut clone3 = entry("clone3", Errno, None);
        clone3.set_errno_ret(Some(ENOSYS as u32));
        calls.push(clone3);
    }
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(Errno);
    profile.set_default_errno_ret(Some(EPERM as u32));
    profile.set_architectures(Some(architectures()));
    profile.set_syscalls(Some(calls));
    profile
}

/// The host's own ABI, and its 32-bit ABIs.
fn architectures() -> Vec<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        _ => vec![Arch::ScmpArchNative],
    }
}

fn entry(names: &str, action: LinuxSeccompAction, argument: Option<LinuxSeccompArg>) -> LinuxSyscall {
    let mut entry = LinuxSyscall::default();
    entry.set_names(names.split_ascii_whitespace().map(str::to_owned).collect());
    entry.set_action(action);
    entry.set_args(argument.map(|argument| vec![argument]));
    entry
}

fn first(operator: Operator, value: u64) -> LinuxSeccompArg {
    let argument = LinuxSeccompArgBuilder::default().index(0usize).value(value).op(operator).build();
    argument.expect("every field has a value")
}
