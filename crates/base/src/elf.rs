//! ELF headers (System V ABI, chapters 4 and 5): the CPU that a file is for, and its segments.

use crate::words::{ByteOrder, Words};

/// `e_machine` and name of the CPUs that Linux runs on (System V ABI, chapter 4;
/// include/uapi/linux/elf-em.h).
const CPUS: &[(u16, &str)] = &[
    (2, "SPARC"),
    (3, "x86 (32 bits)"),
    (4, "m68k"),
    (8, "MIPS"),
    (15, "PA-RISC"),
    (18, "SPARC"),
    (20, "PowerPC"),
    (21, "64-bit PowerPC"),
    (22, "z/Architecture"),
    (40, "32-bit Arm"),
    (42, "SuperH"),
    (43, "64-bit SPARC"),
    (50, "Itanium"),
    (62, "x86-64"),
    (183, "64-bit Arm"),
    (243, "RISC-V"),
    (247, "BPF"),
    (258, "LoongArch"),
    (0x9026, "Alpha"),
];

/// The CPU that an ELF file is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cpu {
    /// `e_machine`.
    pub machine: u16,
    /// Its byte order and address size.
    pub words: Words,
}

impl Cpu {
    /// The CPU of riscv64 files.
    pub const RISCV64: Cpu = Cpu { machine: 243, words: Words::LITTLE_64 };

    /// Reads the CPU from the first 20 bytes (or more) of a file; `None` where it is not an ELF file or its
    /// header is invalid.
    pub fn of(head: &[u8]) -> Option<Cpu> {
        let [b'\x7f', b'E', b'L', b'F', class, order, ..] = *head else { return None };
        let address = usize::from(class).checked_mul(4).filter(|size| matches!(size, 4 | 8))?;
        let order = match order {
            1 => ByteOrder::Little,
            2 => ByteOrder::Big,
            _ => return None,
        };
        let words = Words { order, address };
        Some(Cpu { machine: words.get(head.get(18..20)?) as u16, words })
    }

    /// The CPU's name, for messages.
    pub fn name(self) -> &'static str {
        match (self.machine, self.words.address) {
            (243, 4) => "32-bit RISC-V",
            (243, _) => "riscv64",
            (machine, _) => CPUS.iter().find(|c| c.0 == machine).map_or("an unknown CPU", |c| c.1),
        }
    }
}

/// File types (`e_type`).
pub mod kind {
    /// An executable at fixed addresses.
    pub const EXECUTABLE: u16 = 2;
    /// A shared object, or an executable that runs at any address.
    pub const SHARED: u16 = 3;
    /// A core dump.
    pub const CORE: u16 = 4;
}

/// Segment types (`p_type`).
pub mod segment {
    /// A segment to be loaded into memory.
    pub const LOAD: u32 = 1;
    /// Information for the dynamic linker.
    pub const DYNAMIC: u32 = 2;
    /// The path of the program interpreter.
    pub const INTERPRETER: u32 = 3;
    /// Notes.
    pub const NOTE: u32 = 4;
    /// The template of thread-local storage.
    pub const TLS: u32 = 7;
}

/// Size in bytes of the header of a file with 64-bit addresses.
pub const HEADER: usize = 64;
/// Size in bytes of a program header in such a file.
pub const PROGRAM_HEADER: usize = 56;

/// The header of a file with 64-bit addresses (`Elf64_Ehdr`), without the fields about sections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The CPU.
    pub cpu: Cpu,
    /// File type: one of [`kind`].
    pub kind: u16,
    /// Address of the first instruction.
    pub entry: u64,
    /// File offset of the program headers.
    pub table: u64,
    /// Size in bytes of a program header.
    pub size: u16,
    /// Number of program headers.
    pub count: u16,
}

impl Header {
    /// Creates the header of a file whose `count` program headers follow it.
    pub fn new(cpu: Cpu, kind: u16, entry: u64, count: u16) -> Header {
        Header { cpu, kind, entry, table: HEADER as u64, size: PROGRAM_HEADER as u16, count }
    }

    /// Reads a header; `None` where it is cut off, or the file does not have 64-bit addresses.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let cpu = Cpu::of(bytes).filter(|cpu| cpu.words.address == 8 && bytes.len() >= HEADER)?;
        let field = |at, size| cpu.words.at(bytes, at, size);
        let [kind, size, count] = [16, 54, 56].map(|at| field(at, 2) as u16);
        Some(Header { cpu, kind, entry: field(24, 8), table: field(32, 8), size, count })
    }

    /// The header's bytes, with no flags and no sections.
    pub fn bytes(&self) -> Vec<u8> {
        let words = self.cpu.words;
        let order = if words.order == ByteOrder::Little { 1 } else { 2 };
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, order, 1];
        bytes.resize(16, 0);
        let mut put = |size, value| words.put(&mut bytes, size, value);
        // Type, machine, version; entry, program headers, section headers; flags; sizes and numbers.
        [self.kind, self.cpu.machine].iter().for_each(|&value| put(2, value.into()));
        put(4, 1);
        [self.entry, self.table, 0].iter().for_each(|&value| put(8, value));
        put(4, 0);
        [HEADER as u16, self.size, self.count, 0, 0, 0].iter().for_each(|&value| put(2, value.into()));
        bytes
    }
}

/// A program header of a file with 64-bit addresses (`Elf64_Phdr`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Segment type: one of [`segment`].
    pub kind: u32,
    /// Permissions (`PF_*`): 4 read, 2 write, 1 execute.
    pub flags: u32,
    /// File offset of the segment's contents.
    pub offset: u64,
    /// Virtual address.
    pub address: u64,
    /// Physical address; used by kernels and firmware, not by programs.
    pub physical: u64,
    /// Size in bytes in the file.
    pub file_size: u64,
    /// Size in bytes in memory.
    pub size: u64,
    /// Alignment: address and file offset are equal modulo this.
    pub align: u64,
}

impl Segment {
    /// A segment that is loaded as it is in the file, at the same physical address.
    pub fn loaded(flags: u32, offset: u64, address: u64, size: u64, align: u64) -> Segment {
        Segment {
            kind: segment::LOAD,
            flags,
            offset,
            address,
            physical: address,
            file_size: size,
            size,
            align,
        }
    }

    /// Reads a program header; `None` where it is cut off.
    pub fn parse(words: Words, bytes: &[u8]) -> Option<Segment> {
        let bytes = bytes.get(..PROGRAM_HEADER)?;
        let [kind, flags] = [0, 4].map(|at| words.at(bytes, at, 4) as u32);
        let [offset, address, physical, file_size, size, align] =
            [8, 16, 24, 32, 40, 48].map(|at| words.at(bytes, at, 8));
        Some(Segment { kind, flags, offset, address, physical, file_size, size, align })
    }

    /// The header's bytes.
    pub fn bytes(&self, words: Words) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PROGRAM_HEADER);
        [self.kind, self.flags].iter().for_each(|&value| words.put(&mut bytes, 4, value.into()));
        [self.offset, self.address, self.physical, self.file_size, self.size, self.align]
            .iter()
            .for_each(|&value| words.put(&mut bytes, 8, value));
        bytes
    }
}

/// The beginning of a file with 64-bit addresses: its header, and the program headers directly behind it.
pub fn headers(cpu: Cpu, kind: u16, entry: u64, segments: &[Segment]) -> Vec<u8> {
    let mut bytes = Header::new(cpu, kind, entry, segments.len() as u16).bytes();
    segments.iter().for_each(|segment| bytes.extend(segment.bytes(cpu.words)));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cpus() {
        let head = |class, order, machine: [u8; 2]| {
            let mut head = *b"\x7fELF\0\0\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0";
            (head[4], head[5]) = (class, order);
            head[18..].copy_from_slice(&machine);
            head
        };
        let cpu = |head: &[u8]| Cpu::of(head).map(Cpu::name);
        assert_eq!(cpu(&head(2, 1, [62, 0])), Some("x86-64"));
        assert_eq!(cpu(&head(2, 2, [0, 22])), Some("z/Architecture"));
        assert_eq!(cpu(&head(1, 1, [243, 0])), Some("32-bit RISC-V"));
        assert_eq!(Cpu::of(&head(2, 1, [243, 0])), Some(Cpu::RISCV64));
        assert_eq!(cpu(&head(2, 1, [0x34, 0x12])), Some("an unknown CPU"));
        for wrong in [head(3, 1, [243, 0]), head(0, 1, [243, 0]), head(2, 3, [243, 0])] {
            assert_eq!(cpu(&wrong), None);
        }
        assert_eq!(cpu(b"\x7fELF\x02\x01"), None);
        assert_eq!(cpu(b"#!/bin/sh and more than 20"), None);
    }

    #[test]
    fn headers_are_read_as_they_are_written() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let words = Words { order, address: 8 };
            let header = Header::new(Cpu { machine: 0x1234, words }, kind::CORE, 0x1_0078, 2);
            let bytes = header.bytes();
            assert_eq!((bytes.len(), Header::parse(&bytes)), (HEADER, Some(header)));
            assert_eq!(Header::parse(&bytes[..HEADER - 1]), None);
            let segment = Segment {
                kind: segment::NOTE,
                flags: 5,
                offset: 0x1000,
                address: 2,
                physical: 3,
                file_size: 4,
                size: 5,
                align: 6,
            };
            let bytes = segment.bytes(words);
            assert_eq!((bytes.len(), Segment::parse(words, &bytes)), (PROGRAM_HEADER, Some(segment)));
            assert_eq!(Segment::parse(words, &bytes[..PROGRAM_HEADER - 1]), None);
            let whole = headers(header.cpu, kind::CORE, 0x1_0078, &[Segment::default(), segment]);
            assert_eq!(Header::parse(&whole), Some(header));
            assert_eq!(Segment::parse(words, &whole[HEADER + PROGRAM_HEADER..]), Some(segment));
        }
        // As the System V ABI has it.
        let bytes = Header::new(Cpu::RISCV64, kind::SHARED, 0x11, 7).bytes();
        assert_eq!(bytes[..20], *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xf3\0");
        assert_eq!((bytes[24], bytes[32], bytes[52], bytes[54], bytes[56]), (0x11, 64, 64, 56, 7));
        let narrow = [&b"\x7fELF\x01\x01\x01"[..], &[0; 57]].concat();
        assert_eq!(Header::parse(&narrow), None);
    }
}
