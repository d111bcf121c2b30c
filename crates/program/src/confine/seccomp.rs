//! seccomp: system calls of the host that are refused. The filters see the calls of the monitor and of native children
//! alike, and stay whatever is executed.

use super::Deny;
use libc::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, sock_filter,
};
use std::collections::BTreeMap;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Newer than the C library's list (arch/x86/entry/syscalls/syscall_64.tbl).
const SYS_FCHMODAT2: i64 = 452;
const SYS_SETXATTRAT: i64 = 463;
const SYS_REMOVEXATTRAT: i64 = 466;
const SYS_OPEN_TREE_ATTR: i64 = 467;
const SYS_FILE_SETATTR: i64 = 469;

/// Refused to every confined program: other processes' memory and descriptors, doors around this filter, mounts and
/// namespaces, the kernel itself.
const NEVER: &[i64] = &[
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_userfaultfd,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_move_mount,
    SYS_open_tree,
    SYS_OPEN_TREE_ATTR,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_setns,
    SYS_open_by_handle_at,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_iopl,
    SYS_ioperm,
    SYS_vhangup,
];

/// Answered as by a kernel that does not have them: arguments that a filter cannot see (flags of `clone3`), and calls
/// that no filter sees (`io_uring`).
const ABSENT: &[i64] = &[SYS_clone3, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register];

/// Namespaces in the flags of `clone` and `unshare`.
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

/// `ioctl`s that put characters into a terminal's input, for who reads there next (asm-generic/ioctls.h; tty_ioctl(4)).
const TERMINAL: &[u64] = &[0x5412, 0x541c];

/// No socket that reaches anybody: see `net` for pairs.
const SOCKETS: &[i64] = &[SYS_socket, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4];

/// Changes of files that Landlock does not know, and objects that outlive the process without being files.
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
    SYS_mq_open,
    SYS_mq_unlink,
    SYS_msgget,
    SYS_semget,
    SYS_shmget,
];

/// `ioctl`s that change files through descriptors for reading: flags, their 32-bit form, extended flags, version,
/// verity, encryption (include/uapi/linux/fs.h, fsverity.h, fscrypt.h).
const FILE_IOCTLS: &[u64] =
    &[0x4008_6602, 0x4004_6602, 0x401c_5820, 0x4008_7602, 0x4004_7602, 0x4080_6685, 0x800c_6613];

/// A condition on the low 32 bits of an argument.
fn low(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, String> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value);
    condition.and_then(|c| SeccompRule::new(vec![c])).map_err(|e| e.to_string())
}

/// The whole call is refused.
fn always(rules: &mut Rules, calls: &[i64]) {
    rules.extend(calls.iter().map(|&call| (call, Vec::new())));
}

/// The call is refused where `rule` holds, or another one.
fn when(rules: &mut Rules, call: i64, rule: SeccompRule) {
    let list = rules.entry(call).or_default();
    list.push(rule);
}

/// What is refused with `EPERM`.
fn refused(deny: Deny) -> Result<Rules, String> {
    let mut rules = Rules::new();
    for &flag in NAMESPACES {
        let flag = flag as u32 as u64;
        when(&mut rules, SYS_unshare, low(0, SeccompCmpOp::MaskedEq(flag), flag)?);
        when(&mut rules, SYS_clone, low(0, SeccompCmpOp::MaskedEq(flag), flag)?);
    }
    let ioctls = TERMINAL.iter().chain(FILE_IOCTLS.iter().filter(|_| deny.write));
    for &request in ioctls {
        when(&mut rules, SYS_ioctl, low(1, SeccompCmpOp::Eq, request)?);
    }
    if deny.fork {
        when(&mut rules, SYS_clone, low(0, SeccompCmpOp::MaskedEq(CLONE_THREAD as u64), 0)?);
        always(&mut rules, &[SYS_fork, SYS_vfork]);
    }
    if deny.net {
        net(&mut rules)?;
    }
    if deny.write {
        always(&mut rules, CHANGES);
    }
    if deny.exec {
        always(&mut rules, &[SYS_execve, SYS_execveat]);
    }
    always(&mut rules, NEVER);
    Ok(rules)
}

/// No sockets, but pairs of one process, of kinds that cannot send to a name: a datagram socket could.
fn net(rules: &mut Rules) -> Result<(), String> {
    always(rules, SOCKETS);
    when(rules, SYS_socketpair, low(0, SeccompCmpOp::Ne, AF_UNIX as u64)?);
    for kind in [SOCK_DGRAM, SOCK_RAW] {
        when(rules, SYS_socketpair, low(1, SeccompCmpOp::MaskedEq(0xf), kind as u64)?);
    }
    Ok(())
}

/// A filter that answers these calls with an error; calls of 32-bit programs end the process that makes them.
fn filter(rules: Rules, errno: i32) -> Result<BpfProgram, String> {
    let (others, these) = (SeccompAction::Allow, SeccompAction::Errno(errno as u32));
    let filter = SeccompFilter::new(rules, others, these, TargetArch::x86_64).map_err(|e| e.to_string())?;
    filter.try_into().map_err(|e: seccompiler::BackendError| e.to_string())
}

/// Calls by the numbers of x32 (from 0x4000_0000 on), which mean the same calls again: there are none.
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

/// Restricts this thread and all that it will start.
pub(super) fn restrict(deny: Deny) -> Result<(), String> {
    let absent = ABSENT.iter().map(|&call| (call, Vec::new())).collect();
    for program in [no_x32(), filter(absent, ENOSYS)?, filter(refused(deny)?, EPERM)?] {
        apply_filter(&program).map_err(|e| format!("--limit and --deny need seccomp filters: {e}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_becomes_a_filter() {
        let all: Deny = "all".parse().unwrap();
        let (some, every) = (refused(Deny::default()).unwrap(), refused(all).unwrap());
        assert!(some[&SYS_ptrace].is_empty() && !some.contains_key(&SYS_socket));
        assert!(every[&SYS_socket].is_empty() && !every[&SYS_socketpair].is_empty());
        assert_eq!(every[&SYS_clone].len(), some[&SYS_clone].len() + 1);
        // BPF_MAXINSNS.
        assert!((100..4096).contains(&filter(every, EPERM).unwrap().len()));
    }
}
