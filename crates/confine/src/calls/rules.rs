//! Which calls a machine makes, with the arguments that are checked.

use super::table;
use crate::filter::{Condition, Rules, always, when};
use crate::{Confinement, Listens};
use libc::*;
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};

/// A condition on the low 32 bits of an argument, which are all that the kernel looks at there.
fn low(argument: u8, operator: SeccompCmpOp, value: i32) -> Condition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value as u32 as u64)
}

/// A condition on a whole argument.
fn whole(argument: u8, operator: SeccompCmpOp, value: u64) -> Condition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)
}

/// The condition that an argument has none of these bits.
fn without(argument: u8, bits: i32) -> Condition {
    low(argument, SeccompCmpOp::MaskedEq(bits as u32 as u64), 0)
}

/// The condition that an argument is this number.
fn is(argument: u8, number: i32) -> Condition {
    low(argument, SeccompCmpOp::Eq, number)
}

/// Everything that is allowed.
pub(super) fn allowed(machine: &Confinement) -> Result<Rules, String> {
    let mut rules = Rules::new();
    always(&mut rules, table::CORE);
    // The filter before this one has the answer, which a refusal here would take precedence over.
    always(&mut rules, table::ABSENT);
    descriptors(&mut rules)?;
    memory(&mut rules, machine.code_memory)?;
    process(&mut rules)?;
    files(&mut rules, machine)?;
    sockets(&mut rules, machine)?;
    Ok(rules)
}

fn descriptors(rules: &mut Rules) -> Result<(), String> {
    for &command in table::FCNTL {
        when(rules, SYS_fcntl, [is(1, command)])?;
    }
    for &request in table::IOCTL {
        when(rules, SYS_ioctl, [is(1, request as u32 as i32)])?;
    }
    Ok(())
}

/// No memory that can be written and executed. What was written becomes executable nowhere but in a mapping that is as
/// large as code memory.
fn memory(rules: &mut Rules, code: Option<usize>) -> Result<(), String> {
    use SeccompCmpOp::Eq;
    for call in [SYS_mmap, SYS_mprotect] {
        when(rules, call, [without(2, PROT_EXEC)])?;
    }
    if let Some(size) = code {
        let size = whole(1, Eq, size as u64);
        when(rules, SYS_mprotect, [size, whole(2, Eq, (PROT_READ | PROT_EXEC) as u64)])?;
    }
    Ok(())
}

/// Threads of this process, and nothing of other ones.
fn process(rules: &mut Rules) -> Result<(), String> {
    use SeccompCmpOp::{Eq, MaskedEq};
    const NAMESPACES: i32 = CLONE_NEWNS
        | CLONE_NEWCGROUP
        | CLONE_NEWUTS
        | CLONE_NEWIPC
        | CLONE_NEWUSER
        | CLONE_NEWPID
        | CLONE_NEWNET;
    let thread = CLONE_THREAD | CLONE_VM;
    let kind = (thread | NAMESPACES | CLONE_PTRACE) as u32 as u64;
    when(rules, SYS_clone, [low(0, MaskedEq(kind), thread)])?;
    // `abort` sends itself a signal.
    when(rules, SYS_tgkill, [is(0, std::process::id() as i32)])?;
    when(rules, SYS_prlimit64, [is(0, 0), whole(2, Eq, 0)])?;
    for &command in table::PRCTL {
        when(rules, SYS_prctl, [is(0, command)])?;
    }
    Ok(())
}

/// Files by name, which Landlock limits to some places. Where none may be written, not even that is asked for.
fn files(rules: &mut Rules, machine: &Confinement) -> Result<(), String> {
    if machine.writes() {
        always(rules, &[SYS_open, SYS_openat]);
        always(rules, table::CHANGES);
    } else {
        let changes = O_ACCMODE | O_CREAT | O_TRUNC;
        when(rules, SYS_open, [without(1, changes)])?;
        when(rules, SYS_openat, [without(2, changes)])?;
    }
    if !machine.shares.is_empty() {
        always(rules, table::SHARES);
        // A umask of the thread's own, no namespace.
        when(rules, SYS_unshare, [whole(0, SeccompCmpOp::Eq, CLONE_FS as u64)])?;
    }
    if let Some(Listens::Unix(_)) = machine.gdb {
        always(rules, table::GDB_SOCKET);
    }
    Ok(())
}

fn sockets(rules: &mut Rules, machine: &Confinement) -> Result<(), String> {
    when(rules, SYS_socketpair, [is(0, AF_UNIX), kind(SOCK_STREAM)])?;
    let tcp = matches!(machine.gdb, Some(Listens::Tcp(_)));
    let unix = machine.sockets.is_some() || matches!(machine.gdb, Some(Listens::Unix(_)));
    if machine.network || tcp || unix {
        always(rules, table::SOCKETS);
    }
    if machine.network || tcp {
        internet(rules, SOCK_STREAM, &[0, IPPROTO_TCP])?;
    }
    if unix {
        when(rules, SYS_socket, [is(0, AF_UNIX), kind(SOCK_STREAM), is(2, 0)])?;
    }
    if let Some(Listens::Unix(_)) = machine.gdb {
        // It asks whether anybody listens at a socket that is there already.
        when(rules, SYS_socket, [is(0, AF_UNIX), kind(SOCK_DGRAM), is(2, 0)])?;
    }
    if machine.network {
        internet(rules, SOCK_DGRAM, &[0, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6])?;
        // The C library asks for the host's own addresses. Changing them needs a capability.
        when(rules, SYS_socket, [is(0, AF_NETLINK), kind(SOCK_RAW), is(2, NETLINK_ROUTE)])?;
        always(rules, &[SYS_sendto]);
    } else {
        // What is connected needs no name.
        when(rules, SYS_sendto, [whole(4, SeccompCmpOp::Eq, 0)])?;
    }
    Ok(())
}

/// The condition that a socket is of this kind, whatever its flags.
fn kind(kind: i32) -> Condition {
    low(1, SeccompCmpOp::MaskedEq(!(SOCK_CLOEXEC | SOCK_NONBLOCK) as u32 as u64), kind)
}

/// Sockets of both families.
fn internet(rules: &mut Rules, of: i32, protocols: &[i32]) -> Result<(), String> {
    for family in [AF_INET, AF_INET6] {
        for &protocol in protocols {
            when(rules, SYS_socket, [is(0, family), kind(of), is(2, protocol)])?;
        }
    }
    Ok(())
}
