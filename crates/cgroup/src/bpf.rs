//! Device access in cgroup v2: a BPF program that the kernel runs at each access
//! (`BPF_PROG_TYPE_CGROUP_DEVICE`), assembled here instruction by instruction
//! (Documentation/bpf/standardization/instruction-set.rst).

use crate::devices::{Kind, Policy};
use crate::{Error, Result, file};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// Commands, types and flags of bpf(2) (include/uapi/linux/bpf.h).
const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const PROG_GET_FD_BY_ID: i32 = 13;
const PROG_QUERY: i32 = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// The largest number of programs on a group (`BPF_CGROUP_MAX_PROGS`).
const MOST: usize = 64;

/// Opcodes: class, operation, and whether the operand is a register.
const LOAD_WORD: u8 = 0x61;
const MOVE_NUMBER: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const AND32: u8 = 0x54;
const RIGHT32: u8 = 0x74;
const UNLESS_EQUAL: u8 = 0x55;
const UNLESS_EQUAL32: u8 = 0x56;
const IF_EQUAL: u8 = 0x15;
const EXIT: u8 = 0x95;

/// One instruction (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    code: u8,
    /// Destination register in the low half, source register in the high half.
    registers: u8,
    offset: i16,
    number: i32,
}

fn op(code: u8, target: u8, source: u8, offset: i16, number: u32) -> Instruction {
    Instruction { code, registers: target | source << 4, offset, number: number as i32 }
}

/// The program of a policy. Registers: 2 device type, 3 access, 4 and 5 major and minor number, 1 scratch.
pub(crate) fn program(policy: &Policy) -> Vec<Instruction> {
    let mut program = vec![
        op(LOAD_WORD, 2, 1, 0, 0),
        op(MOVE_REGISTER, 3, 2, 0, 0),
        op(AND32, 2, 0, 0, 0xffff),
        op(RIGHT32, 3, 0, 0, 16),
        op(LOAD_WORD, 4, 1, 4, 0),
        op(LOAD_WORD, 5, 1, 8, 0),
    ];
    for (&(kind, major, minor), &access) in &policy.exceptions {
        let mut tests = vec![(UNLESS_EQUAL, 2, if kind == Kind::Block { 1 } else { 2 })];
        tests.extend(major.map(|n| (UNLESS_EQUAL32, 4, n)));
        tests.extend(minor.map(|n| (UNLESS_EQUAL32, 5, n)));
        // An exception that allows must cover the whole access; one that refuses matches any part of it.
        let (mask, test) = if policy.allow { (access, IF_EQUAL) } else { (!access, UNLESS_EQUAL) };
        let access = [op(MOVE_REGISTER, 1, 3, 0, 0), op(AND32, 1, 0, 0, u32::from(mask & 7))];
        // The device tests are followed by the access (2), its test, and the answer (2).
        let mut left = tests.len() as i16 + 5;
        for (code, register, number) in tests {
            left -= 1;
            program.push(op(code, register, 0, left, number));
        }
        program.extend(access);
        program.extend([
            op(test, 1, 0, 2, 0),
            op(MOVE_NUMBER, 0, 0, 0, u32::from(!policy.allow)),
            op(EXIT, 0, 0, 0, 0),
        ]);
    }
    program.extend([op(MOVE_NUMBER, 0, 0, 0, u32::from(policy.allow)), op(EXIT, 0, 0, 0, 0)]);
    program
}

/// The argument of `PROG_LOAD`, up to the fields that are needed.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
}

/// The argument of `PROG_ATTACH` and `PROG_DETACH`.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replace: u32,
    pad: u32,
}

/// The argument of `PROG_QUERY`.
#[repr(C)]
#[derive(Default)]
struct Query {
    target: u32,
    kind: u32,
    flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    pad: u32,
}

fn bpf<T>(command: i32, attributes: &mut T) -> io::Result<i32> {
    let pointer = std::ptr::from_mut(attributes);
    // SAFETY: each structure above is what its command takes, and what it points to is alive.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us (close-on-exec, as all of bpf(2)).
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    // The program calls no function of the kernel, so it can have any licence.
    let license = c"MIT";
    let mut name = [0; 16];
    name[..13].copy_from_slice(b"trine_devices");
    let mut load = Load {
        kind: TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        name,
        ..Load::default()
    };
    bpf(PROG_LOAD, &mut load).map(owned)
}

/// Opens the programs that are attached to a group.
fn attached(group: &OwnedFd) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0u32; MOST];
    let mut query = Query {
        target: group.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        ids: ids.as_mut_ptr() as u64,
        count: MOST as u32,
        ..Query::default()
    };
    bpf(PROG_QUERY, &mut query)?;
    let open = |id: &u32| bpf(PROG_GET_FD_BY_ID, &mut [*id, 0, 0]).map(owned);
    ids.iter().take(query.count as usize).map(open).collect()
}

/// Attaches the policy to a group, then detaches the programs that were there, so that a policy holds at all
/// times.
pub(crate) fn restrict(dir: &Path, policy: &Policy) -> Result<()> {
    let group =
        file::open(dir, libc::O_RDONLY | libc::O_DIRECTORY).map_err(|e| Error::file(dir, "opened", "", e))?;
    let failed = |what| move |error| Error::System { what, error };
    let program =
        load(&program(policy)).map_err(failed("the kernel refuses the program for device access"))?;
    let before = attached(&group).map_err(failed("cannot list the programs for device access"))?;
    let target = group.as_raw_fd() as u32;
    let attach = |program: &OwnedFd, flags| Attach {
        target,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags,
        ..Attach::default()
    };
    let put = bpf(PROG_ATTACH, &mut attach(&program, ALLOW_MULTI));
    put.map_err(failed("cannot attach the program for device access"))?;
    for old in &before {
        let taken = bpf(PROG_DETACH, &mut attach(old, 0));
        taken.map_err(failed("cannot detach the old program for device access"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{MKNOD, READ, Rule, WRITE};

    /// Runs a program as the kernel would.
    fn run(program: &[Instruction], kind: u32, access: u8, major: u32, minor: u32) -> bool {
        let context = [u32::from(access) << 16 | kind, major, minor];
        let mut registers = [0u64; 11];
        let mut at = 0usize;
        loop {
            let op = program[at];
            let (target, source) = (usize::from(op.registers & 15), usize::from(op.registers >> 4));
            let number = op.number as u32;
            at += 1;
            let yes = match op.code {
                LOAD_WORD => {
                    registers[target] = u64::from(context[op.offset as usize / 4]);
                    continue;
                }
                MOVE_NUMBER => {
                    registers[target] = u64::from(number);
                    continue;
                }
                MOVE_REGISTER => {
                    registers[target] = registers[source];
                    continue;
                }
                AND32 => {
                    registers[target] = u64::from(registers[target] as u32 & number);
                    continue;
                }
                RIGHT32 => {
                    registers[target] = u64::from(registers[target] as u32 >> number);
                    continue;
                }
                UNLESS_EQUAL => registers[target] != i64::from(op.number) as u64,
                UNLESS_EQUAL32 => registers[target] as u32 != number,
                IF_EQUAL => registers[target] == i64::from(op.number) as u64,
                EXIT => return registers[0] != 0,
                other => panic!("instruction {other:#x}"),
            };
            at += if yes { op.offset as usize } else { 0 };
        }
    }

    /// What a policy allows, computed in another way.
    fn allows(policy: &Policy, kind: Kind, access: u8, major: u32, minor: u32) -> bool {
        let device = |which: &crate::devices::Which| {
            which.0 == kind && which.1.is_none_or(|n| n == major) && which.2.is_none_or(|n| n == minor)
        };
        let mut hits = policy.exceptions.iter().filter(|(which, _)| device(which));
        match policy.allow {
            true => !hits.any(|(_, bits)| bits & access != 0),
            false => hits.any(|(_, bits)| access & !bits == 0),
        }
    }

    #[test]
    fn programs_decide_as_policies_say() {
        let numbers = [None, Some(0), Some(1), Some(3), Some(0xfff0_0001)];
        let mut seed = 88172645463325252u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 20) as usize % below
        };
        for _ in 0..300 {
            let rules: Vec<Rule> = (0..random(8))
                .map(|_| {
                    let kind = if random(2) == 0 { Kind::Block } else { Kind::Char };
                    let which = (random(6) > 0).then(|| (kind, numbers[random(5)], numbers[random(5)]));
                    Rule { allow: random(2) == 0, which, access: 1 + random(7) as u8 }
                })
                .collect();
            let policy = Policy::of(&rules);
            let program = program(&policy);
            for kind in [Kind::Block, Kind::Char] {
                for access in 1..8 {
                    for (major, minor) in [(0, 0), (1, 3), (3, 1), (2, 2), (0xfff0_0001, 1), (1, 0xfff0_0001)]
                    {
                        let got = run(&program, kind as u32, access, major, minor);
                        assert_eq!(
                            got,
                            allows(&policy, kind, access, major, minor),
                            "{rules:?} {kind:?} {access}"
                        );
                    }
                }
            }
        }
        assert_eq!((MKNOD, READ, WRITE), (1, 2, 4));
    }
}
