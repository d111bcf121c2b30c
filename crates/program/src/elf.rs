//! ELF executables for riscv64 Linux: where their parts go (System V ABI, chapters 4 and 5; RISC-V psABI).

use crate::ProgramError;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use trine_linux::space::{END, Mapping, PAGE, Space};

/// `e_machine` of RISC-V.
pub const EM_RISCV: u16 = 243;
/// Most program headers that are looked at; Linux has such a limit, too (64 KiB of them).
const MOST_HEADERS: u16 = 1024;

/// What is known of a program once it is in memory.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// Where control goes first: the interpreter's entry, if there is one.
    pub start: u64,
    /// The executable's own entry.
    pub entry: u64,
    /// Address of its program headers.
    pub headers: u64,
    /// Their number.
    pub count: u64,
    /// Where the interpreter was loaded; 0 where there is none.
    pub interpreter: u64,
    /// First address behind the executable, where the heap may begin.
    pub end: u64,
}

/// One `PT_LOAD`.
#[derive(Clone, Copy, Debug)]
struct Segment {
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    size: u64,
}

/// A parsed executable.
struct Image {
    path: PathBuf,
    file: File,
    entry: u64,
    headers: u64,
    count: u64,
    relocatable: bool,
    segments: Vec<Segment>,
    interpreter: Option<PathBuf>,
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    b.get(at..at + 2).map_or(0, |s| u16::from_le_bytes([s[0], s[1]]))
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u16_at(b, at) as u32 | (u16_at(b, at + 2) as u32) << 16
}

fn u64_at(b: &[u8], at: usize) -> u64 {
    u32_at(b, at) as u64 | (u32_at(b, at + 4) as u64) << 32
}

/// Whether a file begins as an ELF executable for riscv64 Linux.
pub fn is_riscv(head: &[u8]) -> bool {
    head.len() >= 20 && head.starts_with(b"\x7fELF\x02\x01") && u16_at(head, 18) == EM_RISCV
}

/// Whether a file is an executable of riscv64 Linux, and not a kernel or a bare-metal program: it is relocatable or
/// has an interpreter, or begins below where machines have their RAM.
pub fn is_program(path: &Path) -> bool {
    const RAM: u64 = 0x8000_0000;
    let image = Image::read(path);
    image
        .is_ok_and(|i| i.relocatable || i.interpreter.is_some() || i.segments.iter().all(|s| s.address < RAM))
}

impl Image {
    fn read(path: &Path) -> Result<Image, ProgramError> {
        let bad = |what: &str| ProgramError::Image { path: path.into(), what: what.into() };
        let read = |error| ProgramError::Read { path: path.into(), error };
        let file = File::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        let part = |at: u64, size: u64| -> Result<Vec<u8>, ProgramError> {
            let inside = at.checked_add(size).is_some_and(|end| end <= length);
            let mut bytes = vec![0; if inside { size as usize } else { 0 }];
            if !inside || file.read_exact_at(&mut bytes, at).is_err() {
                return Err(bad("the ELF file is cut off or damaged"));
            }
            Ok(bytes)
        };
        let head = part(0, 64.min(length))?;
        if !head.starts_with(b"\x7fELF") {
            return Err(bad("this is no ELF executable"));
        }
        if head.len() < 64 || !is_riscv(&head) {
            return Err(bad("this executable is for another CPU; programs run for riscv64"));
        }
        let (kind, size, count) = (u16_at(&head, 16), u16_at(&head, 54), u16_at(&head, 56));
        if !matches!(kind, 2 | 3) {
            return Err(bad("this ELF file is no executable (neither ET_EXEC nor ET_DYN)"));
        }
        if size != 56 || count == 0 || count > MOST_HEADERS {
            return Err(bad("the ELF file's program headers are damaged"));
        }
        let table = u64_at(&head, 32);
        let table_bytes = part(table, 56 * count as u64)?;
        let (mut segments, mut interpreter, mut headers) = (Vec::new(), None, 0);
        for h in table_bytes.chunks_exact(56) {
            let segment = Segment {
                flags: u32_at(h, 4),
                offset: u64_at(h, 8),
                address: u64_at(h, 16),
                file_size: u64_at(h, 32),
                size: u64_at(h, 40),
            };
            match u32_at(h, 0) {
                1 if segment.size != 0 => {
                    if segment.file_size > segment.size
                        || segment.offset.checked_add(segment.file_size).is_none_or(|end| end > length)
                    {
                        return Err(bad(
                            "a segment lies outside of the file: the ELF file is cut off or damaged",
                        ));
                    }
                    if segment.address >= END || segment.size > END - segment.address {
                        return Err(bad("a segment lies outside of a program's addresses (below 256 GiB)"));
                    }
                    if segment.address % PAGE != segment.offset % PAGE {
                        return Err(bad("a segment's address and place in the file do not fit pages"));
                    }
                    if (segment.offset..segment.offset + segment.file_size).contains(&table) {
                        headers = segment.address + (table - segment.offset);
                    }
                    segments.push(segment);
                }
                3 => {
                    let name = part(segment.offset, segment.file_size.min(4096))?;
                    let name = name.split(|&b| b == 0).next().unwrap_or_default();
                    interpreter = Some(PathBuf::from(String::from_utf8_lossy(name).into_owned()));
                }
                _ => {}
            }
        }
        if segments.is_empty() || !segments.is_sorted_by_key(|s| s.address) {
            return Err(bad("the ELF file has no segments to load, or not in the order of their addresses"));
        }
        let (entry, count, relocatable) = (u64_at(&head, 24), count as u64, kind == 3);
        Ok(Image { path: path.into(), file, entry, headers, count, relocatable, segments, interpreter })
    }

    /// First page and end of all segments.
    fn span(&self) -> (u64, u64) {
        let first = self.segments.first().map_or(0, |s| s.address & !(PAGE - 1));
        let end = self.segments.iter().map(|s| s.address + s.size).max().unwrap_or(0);
        (first, end.next_multiple_of(PAGE))
    }

    /// Maps the segments; gives what is to be added to the file's addresses.
    fn load(&self, space: &Space, wanted: u64) -> Result<u64, ProgramError> {
        let (first, end) = self.span();
        let fail = |at, error| ProgramError::Map { path: self.path.clone(), at, error };
        // Takes the place of all segments at once, so that they stay together.
        let anonymous = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as u32;
        let (at, fixed) = match self.relocatable {
            true => (wanted, 0),
            false => (first, libc::MAP_FIXED_NOREPLACE as u32),
        };
        let whole =
            Mapping { at, size: end - first, protection: 0, flags: anonymous | fixed, fd: -1, offset: 0 };
        let base = space.map(&whole).map_err(|e| fail(at, e))?;
        let bias = base.wrapping_sub(first);
        let mut mapped = base;
        for s in &self.segments {
            let start = bias.wrapping_add(s.address & !(PAGE - 1));
            if start > mapped {
                space.unmap(mapped, start - mapped).map_err(|e| fail(mapped, e))?;
            }
            self.map_segment(space, s, bias).map_err(|e| fail(start, e))?;
            mapped = bias.wrapping_add(s.address + s.size).next_multiple_of(PAGE);
        }
        Ok(bias)
    }

    fn map_segment(&self, space: &Space, s: &Segment, bias: u64) -> Result<(), trine_linux::Errno> {
        let bit = |flag: u32, protection: i32| if s.flags & flag != 0 { protection as u32 } else { 0 };
        let protection = bit(4, libc::PROT_READ) | bit(2, libc::PROT_WRITE) | bit(1, libc::PROT_EXEC);
        let address = bias.wrapping_add(s.address);
        let start = address & !(PAGE - 1);
        let file_end = address + s.file_size;
        let end = (address + s.size).next_multiple_of(PAGE);
        let private = (libc::MAP_PRIVATE | libc::MAP_FIXED) as u32;
        let mut zero_from = start;
        if s.file_size != 0 {
            let (size, offset) = (file_end - start, s.offset & !(PAGE - 1));
            space.map(&Mapping {
                at: start,
                size,
                protection,
                flags: private,
                fd: self.file.as_raw_fd(),
                offset,
            })?;
            zero_from = file_end.next_multiple_of(PAGE);
            // The rest of the last page of the file is zero, where anything lies behind it.
            if s.size > s.file_size && zero_from > file_end {
                let writable = protection & libc::PROT_WRITE as u32 != 0;
                let page = file_end & !(PAGE - 1);
                if !writable {
                    space.protect(page, PAGE, (libc::PROT_READ | libc::PROT_WRITE) as u32)?;
                }
                let zeros = vec![0; (zero_from - file_end) as usize];
                let _ = trine_engine::direct::write(file_end, &zeros);
                if !writable {
                    space.protect(page, PAGE, protection)?;
                }
            }
        }
        if end > zero_from {
            let flags = private | libc::MAP_ANONYMOUS as u32;
            let (at, size) = (zero_from, end - zero_from);
            space.map(&Mapping { at, size, protection, flags, fd: -1, offset: 0 })?;
        }
        Ok(())
    }
}

/// Where position-independent executables go: two thirds up, as on riscv64 Linux (`ELF_ET_DYN_BASE`).
const PIE_BASE: u64 = (END / 3 * 2) & !(PAGE - 1);

/// Loads the executable at `path` and its interpreter, which `find` looks up on the host.
pub fn load(space: &Space, path: &Path, find: impl Fn(&Path) -> PathBuf) -> Result<Loaded, ProgramError> {
    let image = Image::read(path)?;
    let interpreter = match &image.interpreter {
        Some(name) => {
            let host = find(name);
            let read = Image::read(&host).map_err(|e| match e {
                ProgramError::Read { error, .. } => ProgramError::Image {
                    path: path.into(),
                    what: format!(
                        "it needs the interpreter {}, which is not there ({error}): give a riscv64 root with --sysroot",
                        name.display()
                    ),
                },
                e => e,
            })?;
            Some(read)
        }
        None => None,
    };
    let bias = image.load(space, PIE_BASE)?;
    let entry = bias.wrapping_add(image.entry);
    let end = bias.wrapping_add(image.span().1);
    let headers = if image.headers == 0 { 0 } else { bias.wrapping_add(image.headers) };
    let mut loaded = Loaded { start: entry, entry, headers, count: image.count, interpreter: 0, end };
    if let Some(interpreter) = interpreter {
        let bias = interpreter.load(space, 0)?;
        loaded.start = bias.wrapping_add(interpreter.entry);
        loaded.interpreter = bias.wrapping_add(interpreter.span().0);
    }
    Ok(loaded)
}
