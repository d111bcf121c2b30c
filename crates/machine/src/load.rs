//! Kernels and ELF files into guest memory. Everything in them is checked before it is believed.

use crate::MachineError;
use std::path::Path;
use trine_memory::Ram;

/// Bytes that a RISC-V Linux kernel keeps of its command line, the terminating 0 included
/// (`COMMAND_LINE_SIZE`, arch/riscv/include/uapi/asm/setup.h); it cuts off what is longer.
const COMMAND_LINE_SIZE: usize = 1024;

/// Refuses a command line that the kernel would cut off.
pub fn check_command_line(line: &str) -> Result<(), MachineError> {
    match line.len() < COMMAND_LINE_SIZE {
        true => Ok(()),
        false => Err(MachineError::Config(format!(
            "the kernel's command line has {} bytes and the kernel keeps {}: shorten --append",
            line.len(),
            COMMAND_LINE_SIZE - 1
        ))),
    }
}

/// How an ELF file begins.
const ELF: &[u8] = b"\x7fELF";
/// ELF type of what runs at any address.
const ET_DYN: u16 = 3;
/// ELF machine number of RISC-V.
const EM_RISCV: u16 = 243;
/// Alignment of a RISC-V kernel on RV64 (Documentation/arch/riscv/boot.rst): 2 MiB.
const KERNEL_ALIGN: u64 = 2 << 20;

/// What was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// First physical address of it.
    pub start: u64,
    /// Physical address of the first instruction.
    pub entry: u64,
    /// First physical address behind it.
    pub end: u64,
    /// Address of the symbol `tohost`, if the file names one.
    pub tohost: Option<u64>,
    /// Address of the symbol `fromhost`, if the file names one.
    pub fromhost: Option<u64>,
}

/// Reads a file whole.
pub fn read(path: &Path) -> Result<Vec<u8>, MachineError> {
    std::fs::read(path).map_err(|error| MachineError::Read { path: path.into(), error })
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    number(bytes, at).map(u16::from_le_bytes)
}
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    number(bytes, at).map(u32::from_le_bytes)
}
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at).map(u64::from_le_bytes)
}

/// What a file that is not for this machine seems to be, and what to do.
fn stranger(bytes: &[u8]) -> Option<String> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..offset + magic.len()) == Some(magic);
    let what = if at(0x38, b"ARM\x64") {
        "a kernel for arm64"
    } else if at(0x202, b"HdrS") {
        "a kernel for x86"
    } else if at(4, b"zimg") {
        "an EFI zboot kernel (compressed): unpack it first"
    } else if starts(b"\x1f\x8b") {
        "compressed with gzip: unpack it first, with gunzip"
    } else if starts(b"\xfd7zXZ\0") {
        "compressed with xz: unpack it first, with unxz"
    } else if starts(&[0x28, 0xb5, 0x2f, 0xfd]) {
        "compressed with zstd: unpack it first, with unzstd"
    } else if starts(b"!<arch>\n") {
        "a Debian package or static library: unpack it first"
    } else {
        return None;
    };
    Some(format!("this is {what}; the machine wants a riscv64 kernel (Image or ELF)"))
}

/// Loads a kernel: an `Image` (also in its PE form) or an ELF file.
pub fn kernel(ram: &Ram, path: &Path) -> Result<Loaded, MachineError> {
    kernel_bytes(ram, &read(path)?, path)
}

/// Loads what a firmware starts: a kernel, or a raw file where kernels are.
pub fn payload(ram: &Ram, path: &Path) -> Result<Loaded, MachineError> {
    let bytes = read(path)?;
    match is_image(&bytes) || bytes.starts_with(ELF) {
        true => kernel_bytes(ram, &bytes, path),
        false => raw(ram, &bytes, path, ram.base() + KERNEL_ALIGN),
    }
}

/// Loads a firmware: an ELF file, or a raw one to the start of memory.
pub fn firmware(ram: &Ram, path: &Path) -> Result<Loaded, MachineError> {
    let bytes = read(path)?;
    match bytes.starts_with(ELF) {
        true => elf_bytes(ram, &bytes, path),
        false => raw(ram, &bytes, path, ram.base()),
    }
}

/// Loads a file that says nothing of itself.
fn raw(ram: &Ram, bytes: &[u8], path: &Path, start: u64) -> Result<Loaded, MachineError> {
    let bad = |what: String| MachineError::Image { path: path.into(), what };
    if bytes.is_empty() {
        return Err(bad("the file is empty".into()));
    }
    if let Some(what) = stranger(bytes) {
        return Err(bad(what));
    }
    let need = start - ram.base() + bytes.len() as u64;
    ram.write(start, bytes).ok_or_else(|| does_not_fit(ram, &path.display().to_string(), need))?;
    Ok(Loaded { start, entry: start, end: start + bytes.len() as u64, tohost: None, fromhost: None })
}

/// Whether this is an `Image` (Documentation/arch/riscv/boot-image-header.rst).
fn is_image(bytes: &[u8]) -> bool {
    bytes.get(0x38..0x3c) == Some(b"RSC\x05")
}

/// Loads a kernel that was read from `path`.
pub fn kernel_bytes(ram: &Ram, bytes: &[u8], path: &Path) -> Result<Loaded, MachineError> {
    let bad = |what: String| MachineError::Image { path: path.into(), what };
    if bytes.starts_with(ELF) {
        return elf_bytes(ram, bytes, path);
    }
    if !is_image(bytes) {
        let what = stranger(bytes)
            .unwrap_or_else(|| "this is no riscv64 kernel: neither an Image nor an ELF file".into());
        return Err(bad(what));
    }
    let short = || bad("the kernel's header is cut off: the file is damaged".into());
    let offset = u64_at(bytes, 8).ok_or_else(short)?;
    let size = u64_at(bytes, 16).ok_or_else(short)?;
    if offset % KERNEL_ALIGN != 0 || offset > 1 << 30 || size > 1 << 32 {
        return Err(bad(format!(
            "its header asks for offset {offset:#x} and size {size:#x}: the file is damaged"
        )));
    }
    if let Some(file_size) = pe_size(bytes)
        && file_size > bytes.len() as u64
    {
        return Err(bad(format!(
            "the kernel is cut off: its header speaks of {file_size} bytes, the file has {}",
            bytes.len()
        )));
    }
    let at = ram.base() + offset;
    let need = size.max(bytes.len() as u64);
    if !ram.contains(at, need) {
        return Err(does_not_fit(ram, "the kernel", offset + need));
    }
    ram.write(at, bytes).ok_or_else(|| does_not_fit(ram, "the kernel", need))?;
    Ok(Loaded { start: at, entry: at, end: at + need, tohost: None, fromhost: None })
}

/// Size of the file as the sections of its PE header say.
fn pe_size(bytes: &[u8]) -> Option<u64> {
    if !bytes.starts_with(b"MZ") {
        return None;
    }
    let pe = u32_at(bytes, 0x3c)? as usize;
    if bytes.get(pe..pe.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let sections = u16_at(bytes, pe + 6)? as usize;
    let table = pe + 24 + u16_at(bytes, pe + 20)? as usize;
    (0..sections).try_fold(0, |most, i| {
        let at = table + 40 * i;
        let end = u32_at(bytes, at + 16)? as u64 + u32_at(bytes, at + 20)? as u64;
        Some(end.max(most))
    })
}

/// The error for what does not fit.
pub fn does_not_fit(ram: &Ram, what: &str, need: u64) -> MachineError {
    MachineError::DoesNotFit { what: what.into(), need: need.div_ceil(1 << 20), have: ram.size() >> 20 }
}

/// Loads a statically linked ELF file for RISC-V at its physical addresses.
pub fn elf(ram: &Ram, path: &Path) -> Result<Loaded, MachineError> {
    elf_bytes(ram, &read(path)?, path)
}

/// A segment of an ELF file, as its header says.
#[derive(Clone, Copy)]
struct Segment {
    offset: u64,
    virt: u64,
    phys: u64,
    file_size: u64,
    size: u64,
}

/// Loads an ELF file that was read from `path`. One that runs at any address and is linked below the memory goes to the
/// memory's start; it relocates itself.
pub fn elf_bytes(ram: &Ram, bytes: &[u8], path: &Path) -> Result<Loaded, MachineError> {
    let bad = |what: &str| MachineError::Image { path: path.into(), what: what.into() };
    if !bytes.starts_with(ELF) {
        return Err(bad("this is no ELF file (a raw one goes with --firmware FILE)"));
    }
    let cut = || bad("the ELF file is cut off or damaged");
    let (class, order) = (*bytes.get(4).ok_or_else(cut)?, *bytes.get(5).ok_or_else(cut)?);
    if class != 2 || order != 1 || u16_at(bytes, 18) != Some(EM_RISCV) {
        return Err(bad("this ELF file is for another CPU; the machine wants riscv64"));
    }
    let entry = u64_at(bytes, 24).ok_or_else(cut)?;
    let segments = segments(bytes).ok_or_else(cut)?;
    let lowest = segments.iter().map(|s| s.phys).min();
    let lowest = lowest.ok_or_else(|| bad("the ELF file has no segment to load"))?;
    let anywhere = u16_at(bytes, 16) == Some(ET_DYN) && lowest < ram.base();
    // Whole pages: what is linked at an odd place stays at one.
    let shift = if anywhere { ram.base() - (lowest & !(HEADER_PAGE - 1)) } else { 0 };
    let (mut start, mut end) = (u64::MAX, ram.base());
    for segment in &segments {
        let (first, last) = segment.load(ram, bytes, shift).map_err(|what| bad(&what))?;
        (start, end) = (start.min(first), end.max(last));
    }
    let physical = segments.iter().find_map(|s| s.physical(entry)).unwrap_or(entry).wrapping_add(shift);
    if !ram.contains(physical, 2) {
        return Err(bad("its entry point lies outside of guest memory"));
    }
    let symbol = |name| symbol(bytes, name).map(|at| at.wrapping_add(shift));
    Ok(Loaded { start, entry: physical, end, tohost: symbol("tohost"), fromhost: symbol("fromhost") })
}

/// The segments to load; `None` where the file is cut off.
fn segments(bytes: &[u8]) -> Option<Vec<Segment>> {
    let table = u64_at(bytes, 32)? as usize;
    let (size, count) = (u16_at(bytes, 54)? as usize, u16_at(bytes, 56)? as usize);
    let mut found = Vec::new();
    for i in 0..count {
        let header = bytes.get(table.checked_add(i * size)?..).filter(|h| h.len() >= 56)?;
        let field = |at: usize| u64_at(header, at);
        let segment = Segment {
            offset: field(8)?,
            virt: field(16)?,
            phys: field(24)?,
            file_size: field(32)?,
            size: field(40)?,
        };
        if u32_at(header, 0)? == 1 && segment.size > 0 {
            found.push(segment);
        }
    }
    Some(found)
}

/// Most bytes before the memory that a file's header may take.
const HEADER_PAGE: u64 = 4096;

impl Segment {
    /// The physical address of a virtual one in this segment.
    fn physical(&self, address: u64) -> Option<u64> {
        let offset = address.checked_sub(self.virt).filter(|offset| *offset < self.size)?;
        self.phys.checked_add(offset)
    }

    /// Loads it, moved up by `shift`; gives its first address and the one behind it.
    fn load(&self, ram: &Ram, bytes: &[u8], shift: u64) -> Result<(u64, u64), String> {
        let Segment { offset, file_size, size, .. } = *self;
        let address = self.phys.wrapping_add(shift);
        let data = usize::try_from(offset)
            .ok()
            .and_then(|o| bytes.get(o..o.checked_add(usize::try_from(file_size).ok()?)?))
            .ok_or("a segment lies outside of the file: the ELF file is cut off or damaged")?;
        // Linkers put the file's own header into the page before the code; nothing needs it there.
        let header = ram.base().checked_sub(address).filter(|n| offset == 0 && (1..=HEADER_PAGE).contains(n));
        let skip = header.filter(|n| *n <= file_size).unwrap_or(0);
        let (address, size, file_size) = (address + skip, size - skip.min(size), file_size - skip);
        let data = &data[skip as usize..];
        if file_size > size || !ram.contains(address, size) {
            return Err(format!(
                "a segment of {size} bytes at {address:#x} lies outside of guest memory ({:#x} to {:#x})",
                ram.base(),
                ram.base() + ram.size()
            ));
        }
        ram.write(address, data).ok_or("a segment does not fit")?;
        Ok((address, address + size))
    }
}

/// Value of a symbol in the ELF file's symbol table.
fn symbol(bytes: &[u8], name: &str) -> Option<u64> {
    let table = u64_at(bytes, 40)? as usize;
    let (size, count) = (u16_at(bytes, 58)? as usize, u16_at(bytes, 60)? as usize);
    let section = |i: usize| bytes.get(table.checked_add(i.checked_mul(size)?)?..);
    let symbols = (0..count).find_map(|i| section(i).filter(|s| u32_at(s, 4) == Some(2)))?;
    let strings = section(u32_at(symbols, 40)? as usize)?;
    let names = bytes.get(u64_at(strings, 24)? as usize..)?;
    let (first, length) = (u64_at(symbols, 24)? as usize, u64_at(symbols, 32)? as usize);
    // A table that says it is longer than the file ends with it.
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

    const RAM: u64 = 0x8000_0000;

    fn ram() -> Ram {
        Ram::new(RAM, 4 << 20).unwrap()
    }

    /// An ELF file of one segment of 8 bytes.
    fn file(kind: u16, address: u64, entry: u64) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        [kind, EM_RISCV].iter().for_each(|n| file.extend(n.to_le_bytes()));
        file.extend(1u32.to_le_bytes());
        [entry, 64, 0].iter().for_each(|n| file.extend(n.to_le_bytes()));
        file.extend(0u32.to_le_bytes());
        [64u16, 56, 1, 0, 0, 0].iter().for_each(|n| file.extend(n.to_le_bytes()));
        [1u32, 5].iter().for_each(|n| file.extend(n.to_le_bytes()));
        [120, address, address, 8, 16, 4096].iter().for_each(|n: &u64| file.extend(n.to_le_bytes()));
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
        let loaded = elf_bytes(&ram, &file(ET_DYN, 0, 4), Path::new("fw.elf")).unwrap();
        assert_eq!((loaded.start, loaded.entry, loaded.end), (RAM, RAM + 4, RAM + 16));
        assert_eq!(&at(&ram, RAM), b"firmware");
        // What is linked to where memory is stays there; what is not relocatable cannot be moved.
        let loaded = elf_bytes(&ram, &file(ET_DYN, RAM + 0x1000, RAM + 0x1000), Path::new("x")).unwrap();
        assert_eq!((loaded.start, loaded.entry), (RAM + 0x1000, RAM + 0x1000));
        let error = elf_bytes(&ram, &file(2, 0x1_0000, 0x1_0000), Path::new("x")).unwrap_err().to_string();
        assert!(error.contains("at 0x10000 lies outside of guest memory"), "{error}");
    }

    #[test]
    fn raw_files_are_firmware_and_what_it_starts() {
        let dir = std::env::temp_dir().join(format!("trine-load-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, ram) = (dir.join("x.bin"), ram());
        std::fs::write(&path, b"raw code").unwrap();
        let loaded = firmware(&ram, &path).unwrap();
        assert_eq!((loaded.start, loaded.entry, loaded.end), (RAM, RAM, RAM + 8));
        let loaded = payload(&ram, &path).unwrap();
        assert_eq!((loaded.entry, &at(&ram, RAM + (2 << 20))), (RAM + (2 << 20), b"raw code"));
        assert!(kernel(&ram, &path).is_err(), "on the board's own firmware, a kernel says what it is");
        for (bytes, why) in [(&b""[..], "is empty"), (b"\x1f\x8bxxxxx", "gunzip")] {
            std::fs::write(&path, bytes).unwrap();
            let error = firmware(&ram, &path).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
