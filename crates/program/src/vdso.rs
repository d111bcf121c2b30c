//! The vDSO: a shared object that the kernel maps into every program (vdso(7); Linux, arch/riscv/kernel/vdso). Ours has
//! the functions of riscv64 Linux, each of which makes its system call, and the code that ends signal handlers.
//!
//! It is made here: a file of one page, with a dynamic section, a symbol table with the version that C libraries ask
//! for, and a hash table (System V ABI, chapters 4 and 5).

use trine_linux::space::PAGE;

/// Functions: name, number of the system call, whether it returns.
const FUNCTIONS: &[(&str, u32, bool)] = &[
    ("__vdso_rt_sigreturn", 139, false),
    ("__vdso_gettimeofday", 169, true),
    ("__vdso_clock_gettime", 113, true),
    ("__vdso_clock_getres", 114, true),
    ("__vdso_getcpu", 168, true),
    ("__vdso_flush_icache", 259, true),
    ("__vdso_riscv_hwprobe", 258, true),
];

/// Version of all symbols, and the object's name.
const VERSION: &str = "LINUX_4.15";
const NAME: &str = "linux-vdso.so.1";

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const DYNAMIC_ENTRIES: usize = 9;
const SYMBOL: usize = 24;

/// The object, and where in it the code that ends signal handlers is.
pub struct Vdso {
    /// One page.
    pub bytes: Vec<u8>,
    /// Offset of `rt_sigreturn`.
    pub sigreturn: u64,
}

/// A file that is being put together.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(&mut self, values: &[u16]) {
        values.iter().for_each(|v| self.0.extend(v.to_le_bytes()));
    }

    fn u32(&mut self, values: &[u32]) {
        values.iter().for_each(|v| self.0.extend(v.to_le_bytes()));
    }

    fn u64(&mut self, values: &[u64]) {
        values.iter().for_each(|v| self.0.extend(v.to_le_bytes()));
    }

    /// Goes on at the next multiple of 8; gives where that is.
    fn align(&mut self) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self.0.len() as u64
    }
}

/// Strings, each ended by 0, with an empty one in front.
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        let at = self.0.len() as u32;
        self.0.extend(text.bytes().chain([0]));
        at
    }
}

/// The hash of the System V ABI.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0u32, |h, c| {
        let h = (h << 4).wrapping_add(c.into());
        let high = h & 0xf000_0000;
        (h ^ (high >> 24)) & !high
    })
}

/// `li a7, number; ecall`, and `ret` where the call returns.
fn code(number: u32, returns: bool) -> Vec<u32> {
    let mut code = vec![number << 20 | 0x893, 0x73];
    code.extend(returns.then_some(0x8067));
    code
}

/// Puts the object together.
pub fn build() -> Vdso {
    let mut strings = Strings(vec![0]);
    let (version, name) = (strings.add(VERSION), strings.add(NAME));
    let names: Vec<u32> = FUNCTIONS.iter().map(|(name, ..)| strings.add(name)).collect();
    let mut b = Bytes(vec![0; HEADER + 2 * PROGRAM_HEADER]);
    let dynamic = b.align();
    b.0.resize(b.0.len() + 16 * DYNAMIC_ENTRIES, 0);
    let code_at = b.align();
    let mut places = Vec::new();
    for &(_, number, returns) in FUNCTIONS {
        let words = code(number, returns);
        places.push((b.0.len() as u64, 4 * words.len() as u64));
        b.u32(&words);
    }
    let strings_at = b.align();
    b.0.extend(&strings.0);
    let symbols = b.align();
    b.0.resize(b.0.len() + SYMBOL, 0);
    for (name, (at, size)) in names.iter().zip(&places) {
        const GLOBAL_FUNCTION: u8 = 1 << 4 | 2;
        b.u32(&[*name]);
        b.0.extend([GLOBAL_FUNCTION, 0]);
        b.u16(&[1]);
        b.u64(&[*at, *size]);
    }
    // One chain: few symbols. Bucket 0 starts with symbol 1, and so on to the last.
    let hashes = b.align();
    let count = FUNCTIONS.len() as u32;
    b.u32(&[1, count + 1, 1, 0]);
    b.u32(&(2..=count).chain([0]).collect::<Vec<_>>());
    let versions = b.align();
    b.u16(&[0]);
    (0..count).for_each(|_| b.u16(&[2]));
    // Version 1 is the object itself, 2 is that of the symbols (`Elf64_Verdef`, `Elf64_Verdaux`).
    let definitions = b.align();
    for (flags, index, text, of, next) in [(1, 1, name, NAME, 28), (0, 2, version, VERSION, 0)] {
        b.u16(&[1, flags, index, 1]);
        b.u32(&[hash(of), 20, next, text, 0]);
    }
    let end = b.0.len() as u64;
    let entries: [u64; 2 * DYNAMIC_ENTRIES] = [
        (4, hashes),
        (5, strings_at),
        (6, symbols),
        (10, strings.0.len() as u64),
        (14, name.into()),
        (0x6fff_fff0, versions),
        (0x6fff_fffc, definitions),
        (0x6fff_fffd, 2),
        (0, 0),
    ]
    .map(|(tag, value)| [tag, value])
    .as_flattened()
    .try_into()
    .unwrap_or_default();
    let mut head = Bytes::default();
    head.0.extend(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    head.u16(&[3, crate::elf::EM_RISCV]);
    head.u32(&[1]);
    head.u64(&[code_at, HEADER as u64, 0]);
    head.u32(&[0]);
    head.u16(&[HEADER as u16, PROGRAM_HEADER as u16, 2, 0, 0, 0]);
    const READ_EXECUTE: u32 = 5;
    const READ: u32 = 4;
    for (kind, flags, at, size, align) in
        [(1, READ_EXECUTE, 0, end, PAGE), (2, READ, dynamic, 16 * DYNAMIC_ENTRIES as u64, 8)]
    {
        head.u32(&[kind, flags]);
        head.u64(&[at, at, at, size, size, align]);
    }
    b.0[..head.0.len()].copy_from_slice(&head.0);
    let mut table = Bytes::default();
    table.u64(&entries);
    b.0[dynamic as usize..dynamic as usize + table.0.len()].copy_from_slice(&table.0);
    b.0.resize(PAGE as usize, 0);
    Vdso { bytes: b.0, sigreturn: code_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_with_what_libraries_look_for() {
        let vdso = build();
        assert_eq!(vdso.bytes.len() as u64, PAGE);
        assert!(crate::elf::is_riscv(&vdso.bytes));
        // `li a7, 139; ecall`, by which debuggers know a signal's frame.
        let at = vdso.sigreturn as usize;
        assert_eq!(vdso.bytes[at..at + 8], [0x93, 0x08, 0xb0, 0x08, 0x73, 0, 0, 0]);
        // The hash that the C library has as a constant for this version.
        assert_eq!(hash(VERSION), 182_943_605);
    }
}
