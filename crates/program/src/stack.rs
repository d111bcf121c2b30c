//! The first stack: arguments, environment and auxiliary vector (psABI; Linux, fs/binfmt_elf.c).

use crate::ProgramError;
use crate::elf::Loaded;
use std::ffi::CString;
use trine_engine::direct;
use trine_linux::info;
use trine_linux::space::{END, Mapping, PAGE, Space};

/// Bytes of stack where the host sets no limit, and the most.
const MOST: u64 = 64 << 20;
const USUAL: u64 = 8 << 20;

/// The stack pointer, and the auxiliary vector as bytes.
pub struct Stack {
    /// Where `argc` lies.
    pub pointer: u64,
    /// What `/proc/self/auxv` holds.
    pub auxv: Vec<u8>,
}

fn limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes a structure of ours.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut limit) } == 0;
    let bytes = if known && limit.rlim_cur <= MOST { limit.rlim_cur } else { USUAL };
    bytes.max(128 << 10).next_multiple_of(PAGE)
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
    let size = limit();
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as u32;
    let flags =
        (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE | libc::MAP_NORESERVE) as u32;
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
        (libc::AT_SECURE, 0),
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
