//! The first stack: arguments, environment and auxiliary vector (psABI; Linux, fs/binfmt_elf.c).

use crate::ProgramError;
use crate::elf::Loaded;
use std::ffi::CString;
use trine_engine::direct;
use trine_linux::info;
use trine_linux::space::{END, Mapping, PAGE, Space};

/// Least bytes of stack at the start: arguments and environment, and the frames of a small program. More is there when
/// it is touched, up to the limit.
const BEGINNING: u64 = 128 << 10;
/// Most bytes of arguments, environment and all else that is written to the stack at the start.
const MOST_WRITTEN: u64 = 14 << 20;

/// The stack pointer, and the auxiliary vector as bytes.
pub struct Stack {
    /// Where `argc` lies.
    pub pointer: u64,
    /// What `/proc/self/auxv` holds.
    pub auxv: Vec<u8>,
}

/// How far the stack may grow, where the host says so.
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
    space: &Space,
    loaded: &Loaded,
    vdso: u64,
    name: &CString,
    args: &[CString],
    env: &[CString],
) -> Result<Stack, ProgramError> {
    space.leave_room(limit());
    let strings = args.iter().chain(env).chain([name]);
    let written: u64 = strings.map(|s| (s.as_bytes_with_nul().len() + size_of::<u64>()) as u64).sum();
    if written > MOST_WRITTEN {
        return Err(ProgramError::Other("arguments and environment do not fit the stack".into()));
    }
    let size = (written + BEGINNING).next_multiple_of(PAGE);
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as u32;
    // The host lets it grow, up to the limit that it has when it does, as its own stacks.
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
    // SAFETY: fills an array of ours.
    unsafe { libc::getrandom(random.as_mut_ptr().cast(), random.len(), 0) };
    let random = w.push(&random)?;
    // SAFETY: these only return numbers.
    let [uid, euid, gid, egid] =
        unsafe { [libc::getuid(), libc::geteuid(), libc::getgid(), libc::getegid()] }.map(u64::from);
    const AT_RANDOM: u64 = 25;
    const AT_SYSINFO_EHDR: u64 = 33;
    let auxv = [
        (AT_SYSINFO_EHDR, vdso),
        (libc::AT_HWCAP, info::HWCAP),
        (libc::AT_PAGESZ, PAGE),
        (libc::AT_CLKTCK, 100),
        (libc::AT_PHDR, loaded.headers),
        (libc::AT_PHENT, 56),
        (libc::AT_PHNUM, loaded.count),
        (libc::AT_BASE, loaded.interpreter),
        (libc::AT_FLAGS, 0),
        (libc::AT_ENTRY, loaded.entry),
        (libc::AT_UID, uid),
        (libc::AT_EUID, euid),
        (libc::AT_GID, gid),
        (libc::AT_EGID, egid),
        // The host's kernel knows whether this process got rights by its executable: a set-user-ID file (binfmt's flag
        // C), or one started by such a program.
        // SAFETY: only returns a number.
        (libc::AT_SECURE, unsafe { libc::getauxval(libc::AT_SECURE) }),
        (AT_RANDOM, random),
        (libc::AT_EXECFN, name),
        (libc::AT_NULL, 0),
    ];
    let mut words = vec![args.len() as u64];
    words.extend(args.iter().chain([&0]).chain(&env).chain([&0]));
    let vectors = words.len();
    words.extend(auxv.iter().flat_map(|&(key, value)| [key, value]));
    w.0 = (w.0 - 8 * words.len() as u64) & !15;
    w.0 += 8 * words.len() as u64;
    let bytes: Vec<u8> = words.iter().flat_map(|x| x.to_le_bytes()).collect();
    let pointer = w.push(&bytes)?;
    Ok(Stack { pointer, auxv: bytes[8 * vectors..].to_vec() })
}
