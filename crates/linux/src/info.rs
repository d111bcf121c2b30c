//! Information about the machine for the program.

use crate::call::{Context, put};
use crate::errno::Errno;
use crate::space::{END, programs};

/// `uname(buf)`: the host's values, except the CPU.
pub fn uname(c: &Context, [buf, ..]: [u64; 6]) -> Result<u64, Errno> {
    // SAFETY: a structure of bytes.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    c.host(libc::SYS_uname, [&raw mut name as u64, 0, 0, 0, 0, 0])?;
    name.machine = [0; 65];
    name.machine
        .iter_mut()
        .zip(c.guest.machine.name.bytes())
        .for_each(|(to, from)| *to = from as libc::c_char);
    put(buf, &name)?;
    Ok(0)
}

/// `prctl`: operations on the process itself are performed; those that concern the host's CPU or would affect
/// the monitor are refused.
pub fn prctl(c: &Context, mut args: [u64; 6]) -> Result<u64, Errno> {
    const PR_GET_AUXV: i32 = 0x4155_5856;
    const PR_SET_MEMORY_MERGE: i32 = 67;
    const PR_GET_MEMORY_MERGE: i32 = 68;
    const ALLOWED: &[i32] = &[
        libc::PR_SET_PDEATHSIG,
        libc::PR_GET_PDEATHSIG,
        libc::PR_GET_DUMPABLE,
        libc::PR_SET_DUMPABLE,
        libc::PR_GET_KEEPCAPS,
        libc::PR_SET_KEEPCAPS,
        libc::PR_SET_NAME,
        libc::PR_GET_NAME,
        libc::PR_CAPBSET_READ,
        libc::PR_CAPBSET_DROP,
        libc::PR_GET_SECUREBITS,
        libc::PR_SET_SECUREBITS,
        libc::PR_SET_TIMERSLACK,
        libc::PR_GET_TIMERSLACK,
        libc::PR_SET_CHILD_SUBREAPER,
        libc::PR_GET_CHILD_SUBREAPER,
        libc::PR_SET_NO_NEW_PRIVS,
        libc::PR_GET_NO_NEW_PRIVS,
        libc::PR_SET_THP_DISABLE,
        libc::PR_GET_THP_DISABLE,
        libc::PR_CAP_AMBIENT,
        libc::PR_GET_TIMING,
        libc::PR_SET_TIMING,
        libc::PR_TASK_PERF_EVENTS_DISABLE,
        libc::PR_TASK_PERF_EVENTS_ENABLE,
        libc::PR_MCE_KILL,
        libc::PR_MCE_KILL_GET,
        PR_SET_MEMORY_MERGE,
        PR_GET_MEMORY_MERGE,
    ];
    // Their second argument is an address.
    const POINTERS: &[i32] =
        &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_GET_PDEATHSIG, libc::PR_GET_CHILD_SUBREAPER];
    match args[0] as i32 {
        PR_GET_AUXV => return auxv(c, args),
        libc::PR_SET_VMA if args[4] >= END => return Err(Errno(libc::EFAULT)),
        libc::PR_SET_VMA => return c.guest.space.host_ranged(libc::SYS_prctl, args, args[2], args[3]),
        _ => {}
    }
    if POINTERS.contains(&(args[0] as i32)) {
        args[1] = programs(args[1]);
    }
    match ALLOWED.contains(&(args[0] as i32)) {
        true => c.host(libc::SYS_prctl, args),
        false => Err(Errno(libc::EINVAL)),
    }
}

/// `prctl(PR_GET_AUXV, buffer, size, 0, 0)`: copies the contents of `/proc/self/auxv`; returns their size.
fn auxv(c: &Context, [_, to, size, a, b, _]: [u64; 6]) -> Result<u64, Errno> {
    let auxv = &c.guest.names.auxv;
    if a != 0 || b != 0 {
        return Err(Errno(libc::EINVAL));
    }
    let part = &auxv[..auxv.len().min(usize::try_from(size).unwrap_or(usize::MAX))];
    trine_engine::direct::write(to, part).ok_or(Errno(libc::EFAULT))?;
    Ok(auxv.len() as u64)
}

/// `personality(persona)`: refuses `READ_IMPLIES_EXEC`, which would make the host's mappings executable.
pub fn personality(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    const QUERY: u32 = 0xffff_ffff;
    let persona = args[0] as u32;
    if persona != QUERY && persona & libc::READ_IMPLIES_EXEC as u32 != 0 {
        return Err(Errno(libc::EINVAL));
    }
    c.host(libc::SYS_personality, args)
}
