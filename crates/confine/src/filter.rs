//! What filters of system calls are made of (seccomp(2)), for machines here and for programs (crate `trine_program`).

use libc::*;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// What a filter says of calls: alternatives of conditions; none means always.
pub type Rules = BTreeMap<i64, Vec<SeccompRule>>;
/// A condition on an argument.
pub type Condition = Result<SeccompCondition, BackendError>;

/// Newer than the C library's list (arch/x86/entry/syscalls/syscall_64.tbl).
pub const SYS_FCHMODAT2: i64 = 452;
const SYS_OPEN_TREE_ATTR: i64 = 467;

/// Calls that reach beyond a guest of whatever kind: other processes' memory and descriptors, ways around a filter, mounts and
/// namespaces, keys, the kernel itself and its clock.
pub const SYSTEM: &[i64] = &[
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
    SYS_settimeofday,
    SYS_clock_settime,
];

/// Adds calls whatever their arguments.
pub fn always(rules: &mut Rules, calls: &[i64]) {
    rules.extend(calls.iter().map(|&call| (call, Vec::new())));
}

/// Adds a call where all conditions hold; several rules of a call are alternatives.
///
/// # Errors
/// A condition is none.
pub fn when(
    rules: &mut Rules,
    call: i64,
    conditions: impl IntoIterator<Item = Condition>,
) -> Result<(), String> {
    let all: Result<_, _> = conditions.into_iter().collect();
    let rule = all.and_then(SeccompRule::new).map_err(|e| e.to_string())?;
    rules.entry(call).or_default().push(rule);
    Ok(())
}

/// The program of a filter that does `these` with the calls of the rules, and `others` with the others. Calls of 32-bit
/// programs end the process.
///
/// # Errors
/// The filter is too long, or both actions are the same.
pub fn build(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram, String> {
    let filter = SeccompFilter::new(rules, others, these, TargetArch::x86_64).map_err(|e| e.to_string())?;
    filter.try_into().map_err(|e: BackendError| e.to_string())
}
