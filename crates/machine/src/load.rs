//! Loading ELF files into guest memory. Every value in a file is checked before it is used.

use crate::MachineError;
use std::path::Path;
use trine_base::elf::{self, Cpu, Header, Segment};
use trine_memory::Ram;

/// The first bytes of an ELF file.
pub(crate) const ELF: &[u8] = b"\x7fELF";

/// The result of loading a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Its first physical address.
    pub start: u64,
    /// Physical address of the first instruction.
    pub entry: u64,
    /// The first physical address behind it.
    pub end: u64,
    /// Its distance from the addresses in the file, modulo 2⁶⁴; 0 for a file without addresses.
    pub shift: u64,
}

/// Reads a file whole.
pub fn read(path: &Path) -> Result<Vec<u8>, MachineError> {
    std::fs::read(path).map_err(|error| MachineError::Read { path: path.into(), error })
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    number(bytes, at).map(u16::from_le_bytes)
}
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    number(bytes, at).map(u32::from_le_bytes)
}
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at).map(u64::from_le_bytes)
}

/// The error for something that does not fit into memory.
pub fn does_not_fit(ram: &Ram, what: &str, need: u64) -> MachineError {
    MachineError::DoesNotFit { what: what.into(), need: need.div_ceil(1 << 20), have: ram.size() >> 20 }
}

/// Loads a statically linked ELF file for this CPU, which was read from `path`, at its physical addresses. A file
/// that runs at any address and is linked below the start of memory is loaded at the start of memory; it relocates
/// itself.
///
/// # Errors
/// The file is not an ELF file for this CPU, is damaged, or does not fit.
pub fn elf(ram: &Ram, bytes: &[u8], path: &Path, cpu: Cpu) -> Result<Loaded, MachineError> {
    let bad = |what: &str| MachineError::Image { path: path.into(), what: what.into() };
    if !bytes.starts_with(ELF) {
        return Err(bad("this is not an ELF file (pass a raw file with --firmware FILE)"));
    }
    let cut = || bad("the ELF file is cut off or damaged");
    if Cpu::of(bytes).ok_or_else(cut)? != cpu {
        return Err(bad(&format!(
            "this ELF file is for another CPU: the machine needs one for {}",
            cpu.name()
        )));
    }
    let header = Header::parse(bytes).ok_or_else(cut)?;
    let segments = segments(bytes, &header).ok_or_else(cut)?;
    let lowest = segments.iter().map(|s| s.physical).min();
    let lowest = lowest.ok_or_else(|| bad("the ELF file has no segment to load"))?;
    let anywhere = header.kind == elf::kind::SHARED && lowest < ram.base();
    // Shifted by whole pages: a file that is linked at an odd address keeps its offset in the page.
    let shift = if anywhere { ram.base() - (lowest & !(HEADER_PAGE - 1)) } else { 0 };
    let (mut start, mut end) = (u64::MAX, ram.base());
    for segment in &segments {
        let (first, last) = load(ram, bytes, segment, shift).map_err(|what| bad(&what))?;
        (start, end) = (start.min(first), end.max(last));
    }
    let entry = segments.iter().find_map(|s| physical(s, header.entry)).unwrap_or(header.entry);
    let entry = entry.wrapping_add(shift);
    if !ram.contains(entry, 2) {
        return Err(bad("its entry point lies outside guest memory"));
    }
    Ok(Loaded { start, entry, end, shift })
}

/// The segments to load; `None` where the file is cut off.
fn segments(bytes: &[u8], header: &Header) -> Option<Vec<Segment>> {
    let mut found = Vec::new();
    for i in 0..usize::from(header.count) {
        let at = usize::try_from(header.table).ok()?.checked_add(i * usize::from(header.size))?;
        let segment = Segment::parse(header.cpu.words, bytes.get(at..)?)?;
        if segment.kind == elf::segment::LOAD && segment.size > 0 {
            found.push(segment);
        }
    }
    Some(found)
}

/// The most bytes in front of the memory that a file's header may occupy.
const HEADER_PAGE: u64 = 4096;

/// The physical address of a virtual one in this segment.
fn physical(segment: &Segment, address: u64) -> Option<u64> {
    let offset = address.checked_sub(segment.address).filter(|offset| *offset < segment.size)?;
    segment.physical.checked_add(offset)
}

/// Loads a segment, moved up by `shift`; returns its first address and the address behind it.
fn load(ram: &Ram, bytes: &[u8], segment: &Segment, shift: u64) -> Result<(u64, u64), String> {
    let Segment { offset, file_size, size, .. } = *segment;
    let address = segment.physical.wrapping_add(shift);
    let data = usize::try_from(offset)
        .ok()
        .and_then(|o| bytes.get(o..o.checked_add(usize::try_from(file_size).ok()?)?))
        .ok_or("a segment lies outside the file: the ELF file is cut off or damaged")?;
    // Linkers put the file's own header into the page in front of the code; the code does not need it there.
    let header = ram.base().checked_sub(address).filter(|n| offset == 0 && (1..=HEADER_PAGE).contains(n));
    let skip = header.filter(|n| *n <= file_size).unwrap_or(0);
    let (address, size, file_size) = (address + skip, size - skip.min(size), file_size - skip);
    let data = &data[skip as usize..];
    if file_size > size || !ram.contains(address, size) {
        return Err(format!(
            "a segment of {size} bytes at {address:#x} lies outside guest memory ({:#x} to {:#x})",
            ram.base(),
            ram.base() + ram.size()
        ));
    }
    ram.write(address, data).ok_or("a segment does not fit")?;
    Ok((address, address + size))
}

/// The value of a symbol in an ELF file's symbol table, before the file was moved ([`Loaded::shift`]); `None` if
/// there is none, or the file is damaged or not an ELF file.
pub fn symbol(bytes: &[u8], name: &str) -> Option<u64> {
    let table = u64_at(bytes, 40)? as usize;
    let (size, count) = (u16_at(bytes, 58)? as usize, u16_at(bytes, 60)? as usize);
    let section = |i: usize| bytes.get(table.checked_add(i.checked_mul(size)?)?..);
    let symbols = (0..count).find_map(|i| section(i).filter(|s| u32_at(s, 4) == Some(2)))?;
    let strings = section(u32_at(symbols, 40)? as usize)?;
    let names = bytes.get(u64_at(strings, 24)? as usize..)?;
    let (first, length) = (u64_at(symbols, 24)? as usize, u64_at(symbols, 32)? as usize);
    // A table whose header claims more than the file holds ends with the file.
    let table = bytes.get(first..)?;
    table[..table.len().min(length)].chunks_exact(24).find_map(|entry| {
        let text = names.get(u32_at(entry, 0)? as usize..)?;
        let is_it = text.starts_with(name.as_bytes()) && text.get(name.len()) == Some(&0);
        is_it.then(|| u64_at(entry, 8)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_base::elf::kind::SHARED;

    const RAM: u64 = 0x8000_0000;
    const CPU: Cpu = Cpu::RISCV64;

    fn ram() -> Ram {
        Ram::new(RAM, 4 << 20).unwrap()
    }

    /// An ELF file of one segment of 8 bytes.
    fn file(kind: u16, address: u64, entry: u64) -> Vec<u8> {
        let segment = Segment { size: 16, ..Segment::loaded(5, 120, address, 8, 4096) };
        let mut file = elf::headers(CPU, kind, entry, &[segment]);
        file.extend(*b"firmware");
        file
    }

    fn at(ram: &Ram, address: u64) -> [u8; 8] {
        let mut bytes = [0; 8];
        ram.read(address, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn firmware_that_runs_anywhere_goes_to_the_start_of_memory() {
        let ram = ram();
        let loaded = elf(&ram, &file(SHARED, 0, 4), Path::new("fw.elf"), CPU).unwrap();
        assert_eq!((loaded.start, loaded.entry, loaded.end), (RAM, RAM + 4, RAM + 16));
        assert_eq!(&at(&ram, RAM), b"firmware");
        // What is linked to where memory is stays there; what is not relocatable cannot be moved.
        let loaded = elf(&ram, &file(SHARED, RAM + 0x1000, RAM + 0x1000), Path::new("x"), CPU).unwrap();
        assert_eq!((loaded.start, loaded.entry), (RAM + 0x1000, RAM + 0x1000));
        let error = elf(&ram, &file(elf::kind::EXECUTABLE, 0x1_0000, 0x1_0000), Path::new("x"), CPU)
            .unwrap_err()
            .to_string();
        assert!(error.contains("at 0x10000 lies outside guest memory"), "{error}");
    }
}
