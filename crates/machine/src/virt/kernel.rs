//! Loading kernels and firmware into the memory of a RISC-V board. Every value in a file is checked before it
//! is used.

use super::htif::Htif;
use crate::MachineError;
use crate::load::{self, ELF, Loaded, does_not_fit, read, u16_at, u32_at, u64_at};
use std::path::Path;
use trine_base::elf::Cpu;
use trine_memory::Ram;

/// The size in bytes of the buffer in which a RISC-V Linux kernel keeps its command line, including the
/// terminating 0 (`COMMAND_LINE_SIZE`, arch/riscv/include/uapi/asm/setup.h); it truncates longer ones.
const COMMAND_LINE_SIZE: usize = 1024;

/// Refuses a command line that the kernel would truncate.
pub fn check_command_line(line: &str) -> Result<(), MachineError> {
    match line.len() < COMMAND_LINE_SIZE {
        true => Ok(()),
        false => Err(MachineError::Config(format!(
            "the kernel's command line has {} bytes, but the kernel keeps at most {}: shorten --append",
            line.len(),
            COMMAND_LINE_SIZE - 1
        ))),
    }
}

/// RISC-V in ELF files.
pub const CPU: Cpu = Cpu::RISCV64;
/// Alignment of a RISC-V kernel on RV64 (Documentation/arch/riscv/boot.rst): 2 MiB.
const KERNEL_ALIGN: u64 = 2 << 20;

/// Describes a file that is not for this machine, and what to do with it; `None` where its format is unknown.
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
    Some(format!("this is {what}; the machine needs a riscv64 kernel (Image or ELF)"))
}

/// Loads a kernel: an `Image` (also in its PE form) or an ELF file.
pub fn kernel(ram: &Ram, path: &Path) -> Result<Loaded, MachineError> {
    kernel_bytes(ram, &read(path)?, path)
}

/// Loads the next stage of a firmware: a kernel, or a raw file at the address of kernels.
pub fn payload(ram: &Ram, path: &Path) -> Result<Loaded, MachineError> {
    let bytes = read(path)?;
    match is_image(&bytes) || bytes.starts_with(ELF) {
        true => kernel_bytes(ram, &bytes, path),
        false => raw(ram, &bytes, path, ram.base() + KERNEL_ALIGN),
    }
}

/// Loads a firmware: an ELF file, or a raw file at the start of memory. Returns its host-target interface, too,
/// if it has one.
pub fn firmware(ram: &Ram, path: &Path) -> Result<(Loaded, Option<Htif>), MachineError> {
    let bytes = read(path)?;
    match bytes.starts_with(ELF) {
        true => elf_bytes(ram, &bytes, path),
        false => Ok((raw(ram, &bytes, path, ram.base())?, None)),
    }
}

/// Loads an ELF file at its physical addresses, or, where it runs at any address, at the start of memory. Returns
/// its host-target interface, too, if it has one.
pub fn elf(ram: &Ram, path: &Path) -> Result<(Loaded, Option<Htif>), MachineError> {
    elf_bytes(ram, &read(path)?, path)
}

fn elf_bytes(ram: &Ram, bytes: &[u8], path: &Path) -> Result<(Loaded, Option<Htif>), MachineError> {
    let loaded = load::elf(ram, bytes, path, CPU)?;
    Ok((loaded, Htif::of(bytes, &loaded)))
}

/// Loads a file without headers.
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
    Ok(Loaded { start, entry: start, end: start + bytes.len() as u64, shift: 0 })
}

/// Whether a file is an `Image` (Documentation/arch/riscv/boot-image-header.rst).
fn is_image(bytes: &[u8]) -> bool {
    bytes.get(0x38..0x3c) == Some(b"RSC\x05")
}

/// Loads a kernel that was read from `path`.
pub fn kernel_bytes(ram: &Ram, bytes: &[u8], path: &Path) -> Result<Loaded, MachineError> {
    let bad = |what: String| MachineError::Image { path: path.into(), what };
    if bytes.starts_with(ELF) {
        return load::elf(ram, bytes, path, CPU);
    }
    if !is_image(bytes) {
        let what = stranger(bytes)
            .unwrap_or_else(|| "this is not a riscv64 kernel: neither an Image nor an ELF file".into());
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
            "the kernel is cut off: its header says {file_size} bytes, but the file has {}",
            bytes.len()
        )));
    }
    let at = ram.base() + offset;
    let need = size.max(bytes.len() as u64);
    if !ram.contains(at, need) {
        return Err(does_not_fit(ram, "the kernel", offset + need));
    }
    ram.write(at, bytes).ok_or_else(|| does_not_fit(ram, "the kernel", need))?;
    Ok(Loaded { start: at, entry: at, end: at + need, shift: 0 })
}

/// The size of the file according to the sections of its PE header.
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const RAM: u64 = 0x8000_0000;

    /// An `Image` of 64 bytes, 2 MiB into RAM, that begins with these instructions, at most two.
    pub fn image(code: &[u32]) -> Vec<u8> {
        let mut image: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        image.resize(64, 0);
        image[8..16].copy_from_slice(&(2u64 << 20).to_le_bytes());
        image[16..24].copy_from_slice(&64u64.to_le_bytes());
        image[0x38..0x3c].copy_from_slice(b"RSC\x05");
        image
    }

    #[test]
    fn raw_files_are_firmware_and_what_it_starts() {
        let dir = std::env::temp_dir().join(format!("trine-load-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, ram) = (dir.join("x.bin"), Ram::new(RAM, 4 << 20).unwrap());
        std::fs::write(&path, b"raw code").unwrap();
        let (loaded, htif) = firmware(&ram, &path).unwrap();
        assert!(htif.is_none());
        assert_eq!((loaded.start, loaded.entry, loaded.end), (RAM, RAM, RAM + 8));
        let loaded = payload(&ram, &path).unwrap();
        let mut bytes = [0; 8];
        ram.read(RAM + (2 << 20), &mut bytes).unwrap();
        assert_eq!((loaded.entry, &bytes), (RAM + (2 << 20), b"raw code"));
        assert!(kernel(&ram, &path).is_err(), "on the board's own firmware, a kernel says what it is");
        for (bytes, why) in [(&b""[..], "is empty"), (b"\x1f\x8bxxxxx", "gunzip")] {
            std::fs::write(&path, bytes).unwrap();
            let error = firmware(&ram, &path).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
