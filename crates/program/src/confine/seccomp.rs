//! seccomp: system calls of the host that are refused. The filters apply to calls of the monitor and of
//! native children alike, and stay in force whatever is executed.

use super::Deny;
use libc::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, apply_filter, sock_filter,
};
use trine_confine::filter::{Condition, Rules, SYS_FCHMODAT2, SYSTEM, always, build, when};

/// Newer than the C library's list (arch/x86/entry/syscalls/syscall_64.tbl).
const SYS_SETXATTRAT: i64 = 463;
const SYS_GETXATTRAT: i64 = 464;
const SYS_LISTXATTRAT: i64 = 465;
const SYS_REMOVEXATTRAT: i64 = 466;
const SYS_FILE_SETATTR: i64 = 469;

/// Calls that every confined program is refused besides [`SYSTEM`]: those of a user who is logged in.
const NEVER: &[i64] =
    &[SYS_process_mrelease, SYS_vhangup, SYS_syslog, SYS_sethostname, SYS_setdomainname, SYS_lookup_dcookie];

/// Calls whose first argument is a process or thread ID, where 0 is the caller. A filter cannot know other
/// IDs of the program itself; with the ID of a process outside, such a call could kill it (`RLIMIT_CPU`) or
/// stop it (a scheduling policy that never gets a CPU).
const BY_NUMBER: &[i64] = &[
    SYS_sched_setparam,
    SYS_sched_setscheduler,
    SYS_sched_setaffinity,
    SYS_sched_setattr,
    SYS_migrate_pages,
    SYS_move_pages,
];

/// `IOPRIO_WHO_PROCESS` (include/uapi/linux/ioprio.h).
const IOPRIO_WHO_PROCESS: u64 = 1;

/// Calls that return ENOSYS: a filter cannot see their arguments (flags of `clone3`), or cannot see calls
/// made through them (`io_uring`).
const ABSENT: &[i64] = &[SYS_clone3, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register];

/// Flags of `clone` and `unshare` that create namespaces.
const NAMESPACES: &[i32] = &[
    CLONE_NEWNS,
    CLONE_NEWCGROUP,
    CLONE_NEWUTS,
    CLONE_NEWIPC,
    CLONE_NEWUSER,
    CLONE_NEWPID,
    CLONE_NEWNET,
    0x80, // CLONE_NEWTIME, of `unshare` only: in `clone` it is part of the exit signal, which is never so large.
];

/// `ioctl`s that insert characters into a terminal's input, to be read by the next reader
/// (asm-generic/ioctls.h; tty_ioctl(4)).
const TERMINAL: &[u64] = &[0x5412, 0x541c];

/// Calls by which a socket reaches others; for pairs see `net`.
const SOCKETS: &[i64] = &[SYS_socket, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4];

/// Objects that are not files and outlive the process: existing ones could be read, changed and removed by
/// their IDs.
const OBJECTS: &[i64] = &[
    SYS_mq_open,
    SYS_mq_unlink,
    SYS_msgget,
    SYS_msgctl,
    SYS_msgrcv,
    SYS_msgsnd,
    SYS_semget,
    SYS_semctl,
    SYS_semop,
    SYS_semtimedop,
    SYS_shmget,
    SYS_shmctl,
    SYS_shmat,
];

/// Contents of files and directories that Landlock does not guard: extended attributes, and notifications
/// about changes.
const CONTENTS: &[i64] = &[
    SYS_getxattr,
    SYS_lgetxattr,
    SYS_fgetxattr,
    SYS_GETXATTRAT,
    SYS_listxattr,
    SYS_llistxattr,
    SYS_flistxattr,
    SYS_LISTXATTRAT,
    SYS_inotify_add_watch,
    SYS_fanotify_init,
    SYS_fanotify_mark,
];

/// Changes of files that Landlock does not know.
const CHANGES: &[i64] = &[
    SYS_chmod,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_FCHMODAT2,
    SYS_chown,
    SYS_lchown,
    SYS_fchown,
    SYS_fchownat,
    SYS_utime,
    SYS_utimes,
    SYS_futimesat,
    SYS_utimensat,
    SYS_setxattr,
    SYS_lsetxattr,
    SYS_fsetxattr,
    SYS_SETXATTRAT,
    SYS_removexattr,
    SYS_lremovexattr,
    SYS_fremovexattr,
    SYS_REMOVEXATTRAT,
    SYS_FILE_SETATTR,
];

/// `ioctl`s that change files or a whole file system through read-only descriptors, by type (bits 8 to 15),
/// with the requests of the type that only read: all other requests of the type are refused, including future
/// ones.
const FILE_IOCTLS: &[(u8, &[u64])] = &[
    // Attributes, encryption, verity, ext4's own (include/uapi/linux/fs.h, fscrypt.h, fsverity.h); FS_IOC_GETFLAGS, its
    // 32-bit form, FS_IOC_FIEMAP.
    (b'f', &[0x8008_6601, 0x8004_6601, 0xc020_660b]),
    // Versions (FS_IOC_GETVERSION and its 32-bit form).
    (b'v', &[0x8008_7601, 0x8004_7601]),
    // FIFREEZE, FITHAW, FITRIM, extended attributes, XFS's own; FS_IOC_FSGETXATTR.
    (b'X', &[0x801c_581f]),
    // Btrfs's own, and what others have from there: clones, labels; FS_IOC_GETFSLABEL.
    (0x94, &[0x8100_9431]),
    // FAT's; both that read directories, the attributes and the volume's number.
    (b'r', &[0x8230_7201, 0x8230_7202, 0x8004_7210, 0x8004_7213]),
    // NILFS2, OCFS2, CIFS, F2FS.
    (b'n', &[]),
    (b'o', &[]),
    (0xcf, &[]),
    (0xf5, &[]),
];

/// `fcntl`'s `F_SETLEASE`: a process outside that opens the file would wait for the program.
const SETLEASE: u64 = 1024;
/// `ioctl`'s `TUNSETIFF`: opens a network interface that the user may use.
const TUNSETIFF: u64 = 0x4004_54ca;
/// Socket options of SCTP that connect and bind (include/uapi/linux/sctp.h).
const SCTP: u64 = 132;

/// A condition on the low 32 bits of an argument.
fn low(argument: u8, operator: SeccompCmpOp, value: u64) -> Condition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// The condition that an argument is an address other than null.
fn pointer(argument: u8) -> Condition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)
}

/// The condition that an argument has these bits.
fn bits(argument: u8, bits: i32) -> Condition {
    let bits = bits as u32 as u64;
    low(argument, SeccompCmpOp::MaskedEq(bits), bits)
}

/// The calls that are refused with `EPERM`.
fn refused(deny: Deny, sockets: Sockets) -> Result<Rules, String> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let mut rules = Rules::new();
    for &flag in NAMESPACES {
        when(&mut rules, SYS_unshare, [bits(0, flag)])?;
        when(&mut rules, SYS_clone, [bits(0, flag)])?;
    }
    for &request in TERMINAL {
        when(&mut rules, SYS_ioctl, [low(1, Eq, request)])?;
    }
    others(&mut rules)?;
    if deny.fork {
        when(&mut rules, SYS_clone, [low(0, MaskedEq(CLONE_THREAD as u64), 0)])?;
        always(&mut rules, &[SYS_fork, SYS_vfork]);
    }
    if deny.net {
        net(&mut rules, sockets)?;
    }
    if deny.read {
        always(&mut rules, CONTENTS);
    }
    if deny.read || deny.write {
        always(&mut rules, OBJECTS);
    }
    if deny.write {
        always(&mut rules, CHANGES);
        when(&mut rules, SYS_fcntl, [low(1, Eq, SETLEASE)])?;
        for &(kind, reading) in FILE_IOCTLS {
            let other = reading.iter().map(|&request| low(1, Ne, request));
            let kind = [low(1, MaskedEq(0xff00), (kind as u64) << 8)];
            when(&mut rules, SYS_ioctl, kind.into_iter().chain(other))?;
        }
    }
    if deny.exec {
        always(&mut rules, &[SYS_execve, SYS_execveat]);
    }
    always(&mut rules, SYSTEM);
    always(&mut rules, NEVER);
    Ok(rules)
}

/// Limits and priorities: only those of the caller, not of another process, a group or a user.
fn others(rules: &mut Rules) -> Result<(), String> {
    use SeccompCmpOp::Ne;
    for &call in BY_NUMBER {
        when(rules, call, [low(0, Ne, 0)])?;
    }
    // Queries are allowed.
    when(rules, SYS_prlimit64, [low(0, Ne, 0), pointer(2)])?;
    for (call, process) in [(SYS_setpriority, PRIO_PROCESS as u64), (SYS_ioprio_set, IOPRIO_WHO_PROCESS)] {
        when(rules, call, [low(0, Ne, process)])?;
        when(rules, call, [low(1, Ne, 0)])?;
    }
    Ok(())
}

/// No sockets except pairs in one process, of types that cannot send to a name as a datagram socket could.
/// Sockets inherited from outside send only to where they are connected.
fn net(rules: &mut Rules, sockets: Sockets) -> Result<(), String> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    always(rules, SOCKETS);
    when(rules, SYS_socketpair, [low(0, Ne, AF_UNIX as u64)])?;
    for kind in [SOCK_DGRAM, SOCK_RAW] {
        when(rules, SYS_socketpair, [low(1, MaskedEq(0xf), kind as u64)])?;
    }
    when(rules, SYS_sendto, [pointer(4)])?;
    // Connects and sends in one call.
    for (call, flags) in [(SYS_sendto, 3), (SYS_sendmsg, 2), (SYS_sendmmsg, 3)] {
        when(rules, call, [bits(flags, MSG_FASTOPEN)])?;
    }
    if sockets == Sockets::SendToNames {
        // The name is in a structure, which a filter cannot see.
        always(rules, &[SYS_sendmsg, SYS_sendmmsg]);
    }
    for call in [SYS_setsockopt, SYS_getsockopt] {
        when(rules, call, [low(1, Eq, SCTP)])?;
    }
    when(rules, SYS_ioctl, [low(1, Eq, TUNSETIFF)])
}

/// The sockets that the program has inherited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sockets {
    /// None, or only such that send to where they are connected.
    Connected,
    /// At least one that sends to any given name.
    SendToNames,
}

impl Sockets {
    /// The sockets of this process.
    fn of_this_process() -> Sockets {
        let list: Vec<_> = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten().collect();
        let numbers = list.iter().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        match numbers.into_iter().any(sends_to_names) {
            true => Sockets::SendToNames,
            // Without the list of descriptors, there may be any.
            false if list.is_empty() => Sockets::SendToNames,
            false => Sockets::Connected,
        }
    }
}

/// Whether a descriptor is a socket that sends to a name given with the message.
fn sends_to_names(fd: i32) -> bool {
    let ask = |name| {
        let (mut value, mut size) = (0i32, size_of::<i32>() as socklen_t);
        // SAFETY: writes a number of ours.
        let result = unsafe { getsockopt(fd, SOL_SOCKET, name, (&raw mut value).cast(), &mut size) };
        (result == 0).then_some(value)
    };
    let (Some(domain), Some(kind)) = (ask(SO_DOMAIN), ask(SO_TYPE)) else { return false };
    match domain {
        AF_UNIX => kind == SOCK_DGRAM,
        // TCP does that only with a flag, which the filter can see.
        AF_INET | AF_INET6 => !matches!(ask(SO_PROTOCOL), Some(IPPROTO_TCP | IPPROTO_MPTCP)),
        _ => true,
    }
}

/// Builds a filter that answers these calls with an error; calls of 32-bit programs kill the process.
fn filter(rules: Rules, errno: i32) -> Result<BpfProgram, String> {
    let (others, these) = (SeccompAction::Allow, SeccompAction::Errno(errno as u32));
    build(rules, others, these)
}

/// A filter for x32 numbers (from 0x4000_0000 on), which are other numbers of the same calls: they return
/// ENOSYS.
fn no_x32() -> BpfProgram {
    const LOAD: u16 = (BPF_LD | BPF_W | BPF_ABS) as u16;
    const NOT_BELOW: u16 = (BPF_JMP | BPF_JGE | BPF_K) as u16;
    const RETURN: u16 = (BPF_RET | BPF_K) as u16;
    let op = |code, jf, k| sock_filter { code, jt: 0, jf, k };
    vec![
        op(LOAD, 0, 0),
        op(NOT_BELOW, 1, 0x4000_0000),
        op(RETURN, 0, SECCOMP_RET_ERRNO | ENOSYS as u32),
        op(RETURN, 0, SECCOMP_RET_ALLOW),
    ]
}

/// All filters; they are installed one after the other.
fn filters(deny: Deny, sockets: Sockets) -> Result<[BpfProgram; 3], String> {
    let absent = ABSENT.iter().map(|&call| (call, Vec::new())).collect();
    Ok([no_x32(), filter(absent, ENOSYS)?, filter(refused(deny, sockets)?, EPERM)?])
}

/// Restricts this thread and everything it starts.
pub(super) fn restrict(deny: Deny) -> Result<(), String> {
    let sockets = if deny.net { Sockets::of_this_process() } else { Sockets::Connected };
    for program in filters(deny, sockets)? {
        apply_filter(&program).map_err(|e| format!("--limit and --deny need seccomp filters: {e}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
