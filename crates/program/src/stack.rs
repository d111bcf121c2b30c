//! The initial stack: arguments, environment and auxiliary vector (psABI; Linux, fs/binfmt_elf.c).

use crate::ProgramError;
use crate::elf::Loaded;
use std::ffi::CString;
use trine_base::elf::PROGRAM_HEADER;
use trine_engine::direct;
use trine_linux::abi::Machine;
use trine_linux::space::{END, Mapping, PAGE, Space};

/// The smallest initial size in bytes: arguments and environment, and the frames of a small program. It grows
/// when it is touched, up to the limit.
const BEGINNING: u64 = 128 << 10;
/// The most bytes of arguments, environment and everything else that is written to it at the start.
const MOST_WRITTEN: u64 = 14 << 20;

/// The initial stack.
pub struct Stack {
    /// The stack pointer, which is the address of `argc`.
    pub pointer: u64,
    /// The auxiliary vector, as `/proc/self/auxv` has it.
    pub auxv: Vec<u8>,
}

/// The limit of the stack's size, if the host has one.
fn limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes a structure of ours.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut limit) } == 0;
    if known { limit.rlim_cur } else { u64::MAX }
}

/// Writes downwards from an address.
struct Writer(u64);

impl Writer {
    fn push(&mut self, bytes: &[u8]) -> Result<u64, ProgramError> {
        self.0 -= bytes.len() as u64;
        direct::write(self.0, bytes)
            .ok_or(ProgramError::Other("arguments and environment do not fit the stack".into()))?;
        Ok(self.0)
    }
}

/// Maps the stack and fills it.
pub fn build(
    machine: &Machine,
    space: &Space,
    loaded: &Loaded,
    vdso: u64,
    name: &CString,
    args: &[CString],
    env: &[CString],
) -> Result<Stack, ProgramError> {
    let words = machine.words();
    space.leave_room(limit());
    let strings = args.iter().chain(env).chain([name]);
    let written: u64 = strings.map(|s| (s.as_bytes_with_nul().len() + words.address) as u64).sum();
    if written > MOST_WRITTEN {
        return Err(ProgramError::Other("arguments and environment do not fit the stack".into()));
    }
    let size = (written + BEGINNING).next_multiple_of(PAGE);
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as u32;
    // The host lets it grow, like its own stacks, up to the limit at that time.
    let grows = libc::MAP_GROWSDOWN | libc::MAP_NORESERVE;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE | grows) as u32;
    let at = END - PAGE - size;
    space.map(&Mapping { at, size, protection, flags, fd: -1, offset: 0 }).map_err(|e| {
        ProgramError::Other(format!(
            "the host refused memory for the stack: {}",
            std::io::Error::from_raw_os_error(e.0)
        ))
    })?;
    space.name(at, "[stack]");
    let mut w = Writer(at + size);
    let name = w.push(name.as_bytes_with_nul())?;
    let mut strings = |list: &[CString]| -> Result<Vec<u64>, ProgramError> {
        list.iter().rev().map(|s| w.push(s.as_bytes_with_nul())).collect::<Result<Vec<_>, _>>()
    };
    let mut env = strings(env)?;
    let mut args = strings(args)?;
    env.reverse();
    args.reverse();
    let mut random = [0u8; 16];
    trine_base::random::fill(&mut random);
    let random = w.push(&random)?;
    // SAFETY: these only return numbers.
    let ids = unsafe { [libc::getuid(), libc::geteuid(), libc::getgid(), libc::getegid()] };
    let [uid, euid, gid, egid] = ids.map(u64::from);
    // Linux has no such entry if it has no platform name.
    let platform = machine.platform.map(|name| w.push(&[name.as_bytes(), &[0]].concat())).transpose()?;
    const AT_RANDOM: u64 = 25;
    const AT_SYSINFO_EHDR: u64 = 33;
    let auxv = [
        (AT_SYSINFO_EHDR, vdso),
        (libc::AT_HWCAP, machine.hwcap),
        (libc::AT_PAGESZ, PAGE),
        (libc::AT_CLKTCK, 100),
        (libc::AT_PHDR, loaded.headers),
        (libc::AT_PHENT, PROGRAM_HEADER as u64),
        (libc::AT_PHNUM, loaded.count),
        (libc::AT_BASE, loaded.interpreter),
        (libc::AT_FLAGS, 0),
        (libc::AT_ENTRY, loaded.entry),
        (libc::AT_UID, uid),
        (libc::AT_EUID, euid),
        (libc::AT_GID, gid),
        (libc::AT_EGID, egid),
        // The host's kernel knows whether this process gained privileges by its executable: a set-user-ID
        // file (binfmt's flag C), or one started by such a program.
        // SAFETY: only returns a number.
        (libc::AT_SECURE, unsafe { libc::getauxval(libc::AT_SECURE) }),
        (AT_RANDOM, random),
        (libc::AT_EXECFN, name),
    ];
    let platform = platform.map(|at| (libc::AT_PLATFORM, at));
    let auxv = auxv.into_iter().chain(platform).chain([(libc::AT_NULL, 0)]);
    let mut values = vec![args.len() as u64];
    values.extend(args.iter().chain([&0]).chain(&env).chain([&0]));
    let vectors = words.addresses(&values).len();
    values.extend(auxv.flat_map(|(key, value)| [key, value]));
    let bytes = words.addresses(&values);
    w.0 = (w.0 - bytes.len() as u64) & !15;
    w.0 += bytes.len() as u64;
    let pointer = w.push(&bytes)?;
    Ok(Stack { pointer, auxv: bytes[vectors..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_linux::abi::riscv64;
    use trine_linux::call::string;

    #[test]
    fn what_main_finds() {
        let machine = Machine { platform: Some("cpu"), hwcap: 0x77, ..riscv64::machine() };
        let loaded = Loaded { start: 1, entry: 2, headers: 3, count: 4, interpreter: 5, end: 6 };
        let text = |s: &str| CString::new(s).expect("no 0 in it");
        let (args, env) = ([text("a"), text("b")], [text("X=1")]);
        let stack = build(&machine, &Space::default(), &loaded, 7, &text("/p"), &args, &env).expect("built");
        let word = |at: usize| machine.address(stack.pointer + 8 * at as u64).expect("mapped");
        assert_eq!((stack.pointer % 16, word(0), word(3), word(5)), (0, 2, 0, 0));
        assert_eq!(
            [1, 2, 4].map(|at| string(word(at)).expect("mapped")),
            [text("a"), text("b"), text("X=1")]
        );
        let auxv: Vec<(u64, u64)> = stack
            .auxv
            .chunks(16)
            .map(|e| (machine.words().get(&e[..8]), machine.words().get(&e[8..])))
            .collect();
        let find = |key| auxv.iter().find(|entry| entry.0 == key).map(|entry| entry.1);
        assert_eq!([libc::AT_HWCAP, libc::AT_ENTRY, libc::AT_BASE].map(find), [Some(0x77), Some(2), Some(5)]);
        assert_eq!(find(libc::AT_PLATFORM).map(string), Some(Ok(text("cpu"))));
        assert_eq!((auxv.last(), word(6)), (Some(&(0, 0)), auxv[0].0));
    }
}
