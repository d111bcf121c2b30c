//! The vDSO: a shared object that the kernel maps into every program (vdso(7)). Ours has the functions that
//! Linux has on the program's CPU, each of which just makes its system call; if signal handlers return
//! through it, that code is one of them.
//!
//! It is generated here: a file of one page, with a dynamic section, a symbol table with the version that C
//! libraries look for, and a hash table (System V ABI, chapters 4 and 5).

use trine_base::Words;
use trine_base::elf::{self, PROGRAM_HEADER, Segment};
use trine_linux::abi::Machine;
use trine_linux::space::PAGE;

/// The object's name.
const NAME: &str = "linux-vdso.so.1";

const DYNAMIC_ENTRIES: usize = 9;
const SYMBOL: usize = 24;

/// The object, and the position of the code that returns from signal handlers.
pub struct Vdso {
    /// Its contents: one page.
    pub bytes: Vec<u8>,
    /// Offset of the code that returns from signal handlers, if it is in the vDSO.
    pub sigreturn: Option<u64>,
}

/// A file under construction.
struct Bytes {
    bytes: Vec<u8>,
    words: Words,
}

impl Bytes {
    fn put(&mut self, size: usize, values: &[u64]) {
        values.iter().for_each(|&value| self.words.put(&mut self.bytes, size, value));
    }

    fn u16(&mut self, values: &[u16]) {
        values.iter().for_each(|&value| self.put(2, &[value.into()]));
    }

    fn u32(&mut self, values: &[u32]) {
        values.iter().for_each(|&value| self.put(4, &[value.into()]));
    }

    /// Pads to a multiple of 8; returns the new length.
    fn align(&mut self) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.bytes.len() as u64
    }
}

/// Zero-terminated strings, beginning with an empty one.
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        let at = self.0.len() as u32;
        self.0.extend(text.bytes().chain([0]));
        at
    }
}

/// The hash function of the System V ABI.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0u32, |h, c| {
        let h = (h << 4).wrapping_add(c.into());
        let high = h & 0xf000_0000;
        (h ^ (high >> 24)) & !high
    })
}

/// Name of the call that returns from a signal handler; it does not return.
const SIGRETURN: &str = "rt_sigreturn";

/// The headers of an object of `size` bytes, with its code and its dynamic section at these offsets.
fn head(machine: &Machine, code: u64, size: u64, dynamic: u64) -> Vec<u8> {
    const READ_EXECUTE: u32 = 5;
    const READ: u32 = 4;
    let whole = Segment::loaded(READ_EXECUTE, 0, 0, size, PAGE);
    let of_dynamic = Segment {
        kind: elf::segment::DYNAMIC,
        ..Segment::loaded(READ, dynamic, dynamic, 16 * DYNAMIC_ENTRIES as u64, 8)
    };
    elf::headers(machine.elf, elf::kind::SHARED, code, &[whole, of_dynamic])
}

/// Builds the object.
pub fn build(machine: &Machine) -> Vdso {
    let (vdso, words) = (&machine.vdso, machine.words());
    let mut strings = Strings(vec![0]);
    let (version, name) = (strings.add(vdso.version), strings.add(NAME));
    let names: Vec<u32> = vdso.functions.iter().map(|(name, _)| strings.add(name)).collect();
    let mut b = Bytes { bytes: vec![0; elf::HEADER + 2 * PROGRAM_HEADER], words };
    let dynamic = b.align();
    b.bytes.resize(b.bytes.len() + 16 * DYNAMIC_ENTRIES, 0);
    let code_at = b.align();
    let mut places = Vec::new();
    for (_, call) in vdso.functions {
        let number = machine.calls.number(call).unwrap_or(u64::from(u32::MAX)) as u32;
        let code = (vdso.stub)(number, *call != SIGRETURN);
        places.push((b.bytes.len() as u64, code.len() as u64));
        b.bytes.extend(code);
    }
    let strings_at = b.align();
    b.bytes.extend(&strings.0);
    let symbols = b.align();
    b.bytes.resize(b.bytes.len() + SYMBOL, 0);
    for (name, (at, size)) in names.iter().zip(&places) {
        const GLOBAL_FUNCTION: u8 = 1 << 4 | 2;
        b.u32(&[*name]);
        b.bytes.extend([GLOBAL_FUNCTION, 0]);
        b.u16(&[1]);
        b.put(8, &[*at, *size]);
    }
    // One chain is enough for few symbols. Bucket 0 starts with symbol 1, and so on to the last.
    let hashes = b.align();
    let count = places.len() as u32;
    b.u32(&[1, count + 1, 1, 0]);
    b.u32(&(2..=count).chain([0]).collect::<Vec<_>>());
    let versions = b.align();
    b.u16(&[0]);
    (0..count).for_each(|_| b.u16(&[2]));
    // Version 1 is the object itself, version 2 is that of the symbols (`Elf64_Verdef`, `Elf64_Verdaux`).
    let definitions = b.align();
    for (flags, index, text, of, next) in [(1, 1, name, NAME, 28), (0, 2, version, vdso.version, 0)] {
        b.u16(&[1, flags, index, 1]);
        b.u32(&[hash(of), 20, next, text, 0]);
    }
    let end = b.bytes.len() as u64;
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
    let head = head(machine, code_at, end, dynamic);
    b.bytes[..head.len()].copy_from_slice(&head);
    let table = words.addresses(&entries);
    b.bytes[dynamic as usize..dynamic as usize + table.len()].copy_from_slice(&table);
    b.bytes.resize(PAGE as usize, 0);
    let sigreturn = vdso.functions.iter().zip(&places).find(|((_, call), _)| *call == SIGRETURN);
    Vdso { bytes: b.bytes, sigreturn: sigreturn.map(|(_, &(at, _))| at) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_linux::abi::riscv64::MACHINE;

    #[test]
    fn a_page_with_what_libraries_look_for() {
        let vdso = build(&MACHINE);
        assert_eq!(vdso.bytes.len() as u64, PAGE);
        assert_eq!(elf::Header::parse(&vdso.bytes).map(|h| (h.cpu, h.count)), Some((MACHINE.elf, 2)));
        // `li a7, 139; ecall`, by which debuggers recognize a signal frame.
        let at = vdso.sigreturn.expect("there is one") as usize;
        assert_eq!(vdso.bytes[at..at + 8], [0x93, 0x08, 0xb0, 0x08, 0x73, 0, 0, 0]);
        // The hash of this version that C libraries have as a constant.
        assert_eq!(hash(MACHINE.vdso.version), 182_943_605);
    }
}
