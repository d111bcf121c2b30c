//! What the program is told of its machine.

use crate::call::{Context, get, put};
use crate::errno::Errno;
use crate::space::{END, programs};
use trine_isa_riscv::extensions::{self, Told};

/// `uname(buf)`: the host's, but for the CPU.
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

/// `AT_HWCAP`: the extensions of a single letter (arch/riscv/include/uapi/asm/hwcap.h).
pub const HWCAP: u64 = extensions::letters();

/// One question of `riscv_hwprobe` (Documentation/arch/riscv/hwprobe.rst).
#[derive(Clone, Copy)]
#[repr(C)]
struct Pair {
    key: i64,
    value: u64,
}

/// What `riscv_hwprobe` says for a key.
fn probe(key: i64) -> Option<u64> {
    Some(match key {
        // Vendor, architecture and implementation: none.
        0..=2 => 0,
        // Base: I, M, A.
        3 => 1,
        4 => extensions::EXTENSIONS.iter().fold(0, |bits, e| bits | e.probe),
        // Misaligned accesses are fast.
        5 => 3,
        6 => extensions::CBOZ_BLOCK.into(),
        _ => return None,
    })
}

/// `riscv_hwprobe(pairs, count, cpu count, cpus, flags)`.
pub fn hwprobe(_: &Context, [pairs, count, size, cpus, flags, _]: [u64; 6]) -> Result<u64, Errno> {
    // Most bytes of a set of CPUs.
    const SET: u64 = 128;
    if flags != 0 {
        return Err(Errno(libc::EINVAL));
    }
    if size != 0 || cpus != 0 {
        let set = (0..size.min(SET)).try_fold(0, |all, i| Ok(all | get::<u8>(cpus.wrapping_add(i))?))?;
        if set == 0 {
            return Err(Errno(libc::EINVAL));
        }
    }
    for i in 0..count {
        let at = pairs.wrapping_add(16 * i);
        let key = get::<Pair>(at)?.key;
        let answer = match probe(key) {
            Some(value) => Pair { key, value },
            None => Pair { key: -1, value: 0 },
        };
        put(at, &answer)?;
    }
    Ok(0)
}

/// The `/proc/cpuinfo` of such a machine with `cpus` CPUs.
pub fn cpuinfo(cpus: usize) -> String {
    let isa = extensions::isa_string(Told::Programs);
    let one = |n| {
        format!(
            "processor\t: {n}\nhart\t\t: {n}\nisa\t\t: {isa}\n\
             mmu\t\t: sv39\nmvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\n\n"
        )
    };
    (0..cpus).map(one).collect()
}

/// `prctl`: what is about the process itself; what is about the host's CPU or would reach the monitor is
/// refused.
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

/// `prctl(PR_GET_AUXV, buffer, size, 0, 0)`: what `/proc/self/auxv` holds; its size.
fn auxv(c: &Context, [_, to, size, a, b, _]: [u64; 6]) -> Result<u64, Errno> {
    let auxv = &c.guest.names.auxv;
    if a != 0 || b != 0 {
        return Err(Errno(libc::EINVAL));
    }
    let part = &auxv[..auxv.len().min(usize::try_from(size).unwrap_or(usize::MAX))];
    trine_engine::direct::write(to, part).ok_or(Errno(libc::EFAULT))?;
    Ok(auxv.len() as u64)
}

/// `riscv_flush_icache(start, end, flags)`.
pub fn flush_icache(c: &Context, [start, end, flags, ..]: [u64; 6]) -> Result<u64, Errno> {
    if flags & !1 != 0 {
        return Err(Errno(libc::EINVAL));
    }
    c.guest.space.code_changed(start, end);
    Ok(0)
}

/// `personality(persona)`: not `READ_IMPLIES_EXEC`, which would make the host's mappings executable.
pub fn personality(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    const QUERY: u32 = 0xffff_ffff;
    let persona = args[0] as u32;
    if persona != QUERY && persona & libc::READ_IMPLIES_EXEC as u32 != 0 {
        return Err(Errno(libc::EINVAL));
    }
    c.host(libc::SYS_personality, args)
}
