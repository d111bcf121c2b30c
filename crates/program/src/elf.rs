//! Linux ELF executables: where their segments are loaded (System V ABI, chapters 4 and 5).

use crate::{ProgramError, guests};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use trine_base::elf::{self, Cpu, Header};
use trine_linux::space::{END, Mapping, PAGE, Space};

/// The most program headers that are read; Linux has a similar limit (64 KiB).
const MOST_HEADERS: u16 = 1024;
/// The largest address range of an executable in bytes, which leaves room for interpreter, heap and stack.
const LARGEST: u64 = END / 4;
/// The room for the stack below the highest address, in bytes.
const STACKS: u64 = 2 << 30;

/// A program in memory.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// The address at which execution starts: the interpreter's entry point, if there is one.
    pub start: u64,
    /// The executable's own entry point.
    pub entry: u64,
    /// Address of its program headers.
    pub headers: u64,
    /// Number of program headers.
    pub count: u64,
    /// The address at which the interpreter was loaded; 0 if there is none.
    pub interpreter: u64,
    /// The first address behind the executable, where the heap may begin.
    pub end: u64,
}

/// A `PT_LOAD` segment.
#[derive(Clone, Copy, Debug)]
struct Segment {
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    size: u64,
}

/// The checked headers of an executable: all segments lie in the file and among a program's addresses.
#[derive(Debug)]
pub struct Headers {
    cpu: Cpu,
    entry: u64,
    headers: u64,
    count: u64,
    relocatable: bool,
    segments: Vec<Segment>,
    interpreter: Option<PathBuf>,
    /// Whether there is a note, or thread-local storage.
    marked: bool,
}

/// A part of an executable to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// First address, at the start of a page.
    pub at: u64,
    /// Size in bytes.
    pub size: u64,
    /// `PROT_*`.
    pub protection: u32,
    /// File offset, a multiple of the page size; `None` for zeros.
    pub offset: Option<u64>,
    /// Number of bytes behind the part, up to the end of its last page, that must be zero.
    pub clear: u64,
}

/// An executable.
pub(crate) struct Image {
    path: PathBuf,
    file: File,
    headers: Headers,
}

/// Whether a file is a Linux executable for a supported CPU, and not a kernel or a bare-metal program: it is
/// relocatable, has an interpreter, or lies below the RAM of machines. (A bare-metal file's first segment may
/// begin a page below RAM, because linkers put the file's header there.)
pub fn is_program(path: &Path) -> bool {
    const RAM: u64 = 0x8000_0000;
    let below = |s: &Segment| s.address.saturating_add(s.size) <= RAM;
    let program = |h: &Headers| h.relocatable || h.interpreter.is_some() || h.segments.iter().all(below);
    Image::read(path).is_ok_and(|i| program(&i.headers))
}

/// Whether an executable has what only executables for an operating system have: an interpreter, relocations,
/// a note (such as the C library's about the kernel), or thread-local storage.
pub fn is_marked_for_linux(path: &Path) -> bool {
    let Ok(image) = Image::read(path) else { return false };
    let h = &image.headers;
    h.relocatable || h.interpreter.is_some() || h.marked
}

/// The damage of a file that begins like an executable for a supported CPU; `None` for other files and for
/// good ones.
pub fn damage(path: &Path) -> Option<ProgramError> {
    let mut head = [0; 64];
    let whole = path.is_file() && File::open(path).is_ok_and(|f| f.read_exact_at(&mut head, 0).is_ok());
    if whole && guests::is_guest(&head) { Image::read(path).err() } else { None }
}

/// The damage of a file, as a sentence without its name.
type Damage = Cow<'static, str>;

/// A function that reads bytes at an offset of the file; `None` if they cannot be read.
type ReadAt<'a> = &'a dyn Fn(u64, usize) -> Option<Vec<u8>>;

impl Headers {
    /// Parses and checks the headers of a file of `length` bytes.
    ///
    /// # Errors
    /// The damage of the file, as a sentence without its name.
    pub fn parse(length: u64, read: ReadAt) -> Result<Headers, Damage> {
        let part = |at: u64, size: u64| -> Result<Vec<u8>, Damage> {
            let inside = at.checked_add(size).is_some_and(|end| end <= length);
            let bytes = if inside { read(at, size as usize) } else { None };
            bytes.filter(|b| b.len() as u64 == size).ok_or("the ELF file is cut off or damaged".into())
        };
        let head = part(0, length.min(elf::HEADER as u64))?;
        if !head.starts_with(b"\x7fELF") {
            return Err("this is not an ELF executable".into());
        }
        let header = Header::parse(&head).filter(|header| guests::find(header.cpu).is_some());
        let Some(Header { cpu, kind, entry, table, size, count }) = header else {
            let names = guests::names();
            return Err(format!("this executable is for another CPU: programs for {names} can be run").into());
        };
        if !matches!(kind, elf::kind::EXECUTABLE | elf::kind::SHARED) {
            return Err("this ELF file is not an executable (neither ET_EXEC nor ET_DYN)".into());
        }
        if usize::from(size) != elf::PROGRAM_HEADER || count == 0 || count > MOST_HEADERS {
            return Err("the ELF file's program headers are damaged".into());
        }
        let mut found = Headers {
            cpu,
            entry,
            headers: 0,
            count: count.into(),
            relocatable: kind == elf::kind::SHARED,
            segments: Vec::new(),
            interpreter: None,
            marked: false,
        };
        let all = part(table, (elf::PROGRAM_HEADER * usize::from(count)) as u64)?;
        let entries = all.chunks_exact(elf::PROGRAM_HEADER);
        for h in entries.filter_map(|h| elf::Segment::parse(cpu.words, h)) {
            let elf::Segment { flags, offset, address, file_size, size, .. } = h;
            let segment = Segment { flags, offset, address, file_size, size };
            match h.kind {
                elf::segment::LOAD if segment.size != 0 => {
                    segment.check(length)?;
                    if (segment.offset..segment.offset + segment.file_size).contains(&table) {
                        found.headers = segment.address + (table - segment.offset);
                    }
                    found.segments.push(segment);
                }
                elf::segment::INTERPRETER => {
                    let name = part(segment.offset, segment.file_size.min(4096))?;
                    let name = name.split(|&b| b == 0).next().unwrap_or_default();
                    if name.is_empty() {
                        return Err("the name of its interpreter is empty: the ELF file is damaged".into());
                    }
                    found.interpreter = Some(PathBuf::from(OsStr::from_bytes(name)));
                }
                elf::segment::NOTE | elf::segment::TLS => found.marked = true,
                _ => {}
            }
        }
        found.check_span()?;
        Ok(found)
    }

    fn check_span(&self) -> Result<(), &'static str> {
        if self.segments.is_empty() || !self.segments.is_sorted_by_key(|s| s.address) {
            return Err("the ELF file has no segments to load, or not in the order of their addresses");
        }
        let (first, end) = self.span();
        if end - first > LARGEST {
            return Err("its segments take more than 64 GiB of addresses: the ELF file is damaged");
        }
        if !self.relocatable && end > END - STACKS {
            return Err("a segment lies in the addresses of the stack");
        }
        Ok(())
    }

    /// First page and end of all segments, as addresses in the file.
    pub fn span(&self) -> (u64, u64) {
        let first = self.segments.first().map_or(0, |s| s.address & !(PAGE - 1));
        let end = self.segments.iter().map(|s| s.address + s.size).max().unwrap_or(0);
        (first, end.next_multiple_of(PAGE))
    }

    /// The CPU that it is for.
    pub fn cpu(&self) -> Cpu {
        self.cpu
    }

    /// Whether it can be loaded at any address.
    pub fn relocatable(&self) -> bool {
        self.relocatable
    }

    /// The parts to be mapped, in this order (a later part takes precedence in a shared page). `bias` is
    /// added to the file's addresses and must bring [`Headers::span`] among a program's addresses.
    pub fn parts(&self, bias: u64) -> Vec<Part> {
        self.segments.iter().flat_map(|s| s.parts(bias)).collect()
    }
}

impl Segment {
    fn check(&self, length: u64) -> Result<(), &'static str> {
        let in_file = self.offset.checked_add(self.file_size).is_some_and(|end| end <= length);
        if self.file_size > self.size || !in_file {
            return Err("a segment lies outside the file: the ELF file is cut off or damaged");
        }
        if self.address >= END || self.size > END - self.address {
            return Err("a segment lies outside a program's addresses (below 256 GiB)");
        }
        if self.address % PAGE != self.offset % PAGE {
            return Err("a segment's address and file offset do not fit pages");
        }
        Ok(())
    }

    /// The part from the file, and the part that is zero.
    fn parts(&self, bias: u64) -> impl Iterator<Item = Part> {
        let bit = |flag: u32, protection: i32| if self.flags & flag != 0 { protection as u32 } else { 0 };
        let protection = bit(4, libc::PROT_READ) | bit(2, libc::PROT_WRITE) | bit(1, libc::PROT_EXEC);
        let address = bias.wrapping_add(self.address);
        let start = address & !(PAGE - 1);
        let file_end = address + self.file_size;
        let end = (address + self.size).next_multiple_of(PAGE);
        let zero_from = if self.file_size == 0 { start } else { file_end.next_multiple_of(PAGE) };
        // If nothing follows it, the rest of the last page keeps what the file contains there.
        let clear = if self.size > self.file_size { zero_from - file_end.min(zero_from) } else { 0 };
        let offset = Some(self.offset & !(PAGE - 1));
        let file = Part { at: start, size: file_end - start, protection, offset, clear };
        let zeros = Part { at: zero_from, size: end - zero_from, protection, offset: None, clear: 0 };
        let file = Some(file).filter(|_| self.file_size != 0);
        file.into_iter().chain(Some(zeros).filter(|z| z.size != 0))
    }
}

impl Image {
    /// Opens the executable at `path`, or uses the one that is open already.
    pub(crate) fn open(path: &Path, opened: Option<&OwnedFd>) -> Result<Image, ProgramError> {
        match opened {
            None => Image::read(path),
            Some(fd) => {
                let file = fd.try_clone().map_err(|error| ProgramError::Read { path: path.into(), error })?;
                Image::of(path, file.into())
            }
        }
    }

    /// The CPU that it is for.
    pub(crate) fn cpu(&self) -> Cpu {
        self.headers.cpu
    }

    fn read(path: &Path) -> Result<Image, ProgramError> {
        let bad = |what: &str| ProgramError::Image { path: path.into(), what: what.into() };
        let read = |error| ProgramError::Read { path: path.into(), error };
        // Other files are not opened: that could wait, or have an effect.
        if !std::fs::metadata(path).map_err(read)?.is_file() {
            return Err(bad("this is not a regular file"));
        }
        Image::of(path, File::open(path).map_err(read)?)
    }

    /// The executable in an open file; `path` is its name for errors.
    fn of(path: &Path, file: File) -> Result<Image, ProgramError> {
        let bad = |what: &str| ProgramError::Image { path: path.into(), what: what.into() };
        let read = |error| ProgramError::Read { path: path.into(), error };
        let length = file.metadata().map_err(read)?.len();
        let read_at = |at, size| {
            let mut bytes = vec![0; size];
            file.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
        };
        let headers = Headers::parse(length, &read_at).map_err(|what| bad(&what))?;
        Ok(Image { path: path.into(), file, headers })
    }

    /// Maps the segments; returns the bias that is to be added to the file's addresses.
    fn load(&self, space: &Space, wanted: u64) -> Result<u64, ProgramError> {
        let (first, end) = self.headers.span();
        let fail = |at, error| ProgramError::Map { path: self.path.clone(), at, error };
        // Reserves the range of all segments at once, so that they stay together.
        let anonymous = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as u32;
        let (at, fixed) = match self.headers.relocatable {
            true => (wanted, 0),
            false => (first, libc::MAP_FIXED_NOREPLACE as u32),
        };
        let whole =
            Mapping { at, size: end - first, protection: 0, flags: anonymous | fixed, fd: -1, offset: 0 };
        let base = space.map(&whole).map_err(|e| fail(at, e))?;
        let bias = base.wrapping_sub(first);
        let mut mapped = base;
        for part in self.headers.parts(bias) {
            if part.at > mapped {
                space.unmap(mapped, part.at - mapped).map_err(|e| fail(mapped, e))?;
            }
            self.map_part(space, &part).map_err(|e| fail(part.at, e))?;
            mapped = mapped.max((part.at + part.size).next_multiple_of(PAGE));
        }
        Ok(bias)
    }

    fn map_part(&self, space: &Space, part: &Part) -> Result<(), trine_linux::Errno> {
        let private = (libc::MAP_PRIVATE | libc::MAP_FIXED) as u32;
        let (flags, fd, offset) = match part.offset {
            Some(offset) => (private, self.file.as_raw_fd(), offset),
            None => (private | libc::MAP_ANONYMOUS as u32, -1, 0),
        };
        let &Part { at, size, protection, .. } = part;
        space.map(&Mapping { at, size, protection, flags, fd, offset })?;
        if part.clear == 0 {
            return Ok(());
        }
        let end = at + size;
        let page = end & !(PAGE - 1);
        let writable = protection & libc::PROT_WRITE as u32 != 0;
        if !writable {
            space.protect(page, PAGE, (libc::PROT_READ | libc::PROT_WRITE) as u32)?;
        }
        let _ = trine_engine::direct::write(end, &vec![0; part.clear as usize]);
        match writable {
            true => Ok(()),
            false => space.protect(page, PAGE, protection),
        }
    }
}

/// The base address of position-independent executables: two thirds of the address space, as on riscv64 Linux
/// (`ELF_ET_DYN_BASE`).
const PIE_BASE: u64 = (END / 3 * 2) & !(PAGE - 1);

/// Loads an executable and its interpreter, whose path `find` translates to the host's.
pub(crate) fn load(
    space: &Space,
    image: &Image,
    find: impl Fn(&Path) -> PathBuf,
) -> Result<Loaded, ProgramError> {
    let cpu = image.cpu().name();
    let interpreter = match &image.headers.interpreter {
        Some(name) => {
            let host = find(name);
            let read = Image::read(&host).map_err(|e| match e {
                ProgramError::Read { error, .. } => ProgramError::Image {
                    path: image.path.clone(),
                    what: format!(
                        "it needs the interpreter {}, which cannot be opened ({error}): use --sysroot with a {cpu} root",
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
    let entry = bias.wrapping_add(image.headers.entry);
    let end = bias.wrapping_add(image.headers.span().1);
    let headers = if image.headers.headers == 0 { 0 } else { bias.wrapping_add(image.headers.headers) };
    let mut loaded = Loaded { start: entry, entry, headers, count: image.headers.count, interpreter: 0, end };
    if let Some(interpreter) = interpreter {
        let bias = interpreter.load(space, 0)?;
        loaded.start = bias.wrapping_add(interpreter.headers.entry);
        loaded.interpreter = bias.wrapping_add(interpreter.headers.span().0);
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_linux::space::START;

    /// A file with these program headers: type, flags, offset, address, file size, memory size.
    fn file(kind: u16, entry: u64, list: &[[u64; 6]], length: usize) -> Vec<u8> {
        let segment = |&[kind, flags, offset, address, file_size, size]: &[u64; 6]| {
            let (kind, flags, physical, align) = (kind as u32, flags as u32, address, PAGE);
            elf::Segment { kind, flags, offset, address, physical, file_size, size, align }
        };
        let segments: Vec<_> = list.iter().map(segment).collect();
        let mut bytes = elf::headers(Cpu::RISCV64, kind, entry, &segments);
        bytes.resize(length.max(bytes.len()), 0);
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Headers, Damage> {
        let read = |at: u64, size| bytes.get(at as usize..at as usize + size).map(<[u8]>::to_vec);
        Headers::parse(bytes.len() as u64, &read)
    }

    const CODE: [u64; 6] = [1, 5, 0, 0x10000, 0x1800, 0x1800];
    const DATA: [u64; 6] = [1, 6, 0x1800, 0x12800, 0x400, 0x3000];

    #[test]
    fn parts_of_a_usual_executable() {
        let found = parse(&file(2, 0x10100, &[CODE, DATA], 0x2000)).unwrap();
        assert_eq!((found.span(), found.headers, found.entry), ((0x10000, 0x16000), 0x10040, 0x10100));
        let (r_x, rw) = (5, 3);
        let part = |at, size, protection, offset, clear| Part { at, size, protection, offset, clear };
        assert_eq!(
            found.parts(0x100_0000),
            [
                part(0x101_0000, 0x1800, r_x, Some(0), 0),
                part(0x101_2000, 0xc00, rw, Some(0x1000), 0x400),
                part(0x101_3000, 0x3000, rw, None, 0),
            ]
        );
    }

    #[test]
    fn cut_off_anywhere_it_is_refused() {
        let whole = file(2, 0x10100, &[CODE, DATA], 0x2000);
        for length in 0..0x1c00 {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
        assert!(parse(&whole[..0x1c00]).is_ok());
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        const MAX: u64 = u64::MAX;
        for (what, changed) in [
            ("outside the file", [1, 5, 0, 0x10000, 0x4000, 0x4000]),
            ("outside the file", [1, 5, 0, 0x10000, 0x1800, 0x100]),
            ("outside the file", [1, 5, MAX - 0xfff, 0x10000, 0x1000, 0x2000]),
            ("outside the file", [1, 5, 0x1000, 0x10000, MAX, MAX]),
            ("below 256 GiB", [1, 5, 0, 0x10000, 0x100, MAX]),
            ("below 256 GiB", [1, 5, 0, MAX & !0xfff, 0x100, 0x100]),
            ("below 256 GiB", [1, 5, 0, END, 0x100, 0x100]),
            ("64 GiB", [1, 5, 0, 0x10000, 0x100, LARGEST + 1]),
            ("fit pages", [1, 5, 0, 0x10001, 0x100, 0x100]),
            ("addresses of the stack", [1, 5, 0, END - PAGE, 0x100, 0x100]),
            ("no segments", [1, 5, 0, 0x10000, 0, 0]),
            ("no segments", [2, 5, 0, 0x10000, 0x100, 0x100]),
            ("interpreter is empty", [3, 4, 0x1f00, 0, 0x10, 0x10]),
            ("cut off", [3, 4, MAX, 0, 0x10, 0x10]),
        ] {
            let why = parse(&file(2, 0, &[changed], 0x2000)).unwrap_err();
            assert!(why.contains(what), "{changed:x?}: {why}");
        }
        assert!(parse(&file(2, 0, &[DATA, CODE], 0x2000)).unwrap_err().contains("order"));
        assert!(parse(&file(1, 0, &[CODE], 0x2000)).unwrap_err().contains("not an executable"));
        assert!(parse(&file(2, 0, &[], 0x2000)).unwrap_err().contains("headers are damaged"));
    }

    #[test]
    fn low_addresses_are_the_hosts_to_refuse() {
        let low = parse(&file(2, 0x1000, &[[1, 5, 0, 0x1000, 0x100, 0x100]], 0x2000));
        assert_eq!(low.unwrap().span(), (0x1000, 0x2000));
    }

    #[test]
    fn overlapping_segments_stay_inside_of_all() {
        let found =
            parse(&file(3, 0, &[[1, 7, 0, 0, 0x100, 0x9000], [1, 6, 0x10, 0x10, 0x20, 0x40], CODE], 0x2000));
        let found = found.unwrap();
        let (first, end) = found.span();
        for part in found.parts(START) {
            let (from, to) = (first + START, end + START);
            assert!(
                part.at >= from && part.at + part.size + part.clear <= to && part.at % PAGE == 0,
                "{part:x?}"
            );
        }
    }
}
