//! The parts of a program's memory that a core file contains (core(5); `vma_dump_size` in Linux's
//! fs/coredump.c).

use std::fs::File;
use std::os::unix::fs::FileExt;
use trine_engine::direct;
use trine_linux::space::{PAGE, Space, View};

/// The text that the kernel appends to the path of a file without a name, such as memory shared between
/// processes.
const DELETED: &str = " (deleted)";

/// A mapping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its address range and properties.
    pub view: View,
    /// Number of its bytes, from its start, that the core file contains.
    pub kept: u64,
}

/// `/proc/self/coredump_filter`: types of memory.
mod filter {
    pub const PRIVATE: u32 = 1 << 0;
    pub const SHARED: u32 = 1 << 1;
    pub const PRIVATE_FILES: u32 = 1 << 2;
    pub const SHARED_FILES: u32 = 1 << 3;
    pub const ELF_HEADERS: u32 = 1 << 4;
    /// The default of a process.
    pub const USUAL: u32 = PRIVATE | SHARED | ELF_HEADERS;
}

/// The most parts: together with one for the notes, the number must fit `e_phnum` (the host allows fewer
/// mappings by default).
const MOST: usize = 0xfff0;
/// Number of page map entries that are read at a time.
const BATCH: usize = 4096;

/// Whether a page exists, by its entry in `/proc/self/pagemap` (Documentation/admin-guide/mm/pagemap.rst).
fn is_there(entry: u64) -> bool {
    entry >> 62 != 0
}

/// Whether the page belongs to the process, not to the file.
fn is_own(entry: u64) -> bool {
    is_there(entry) && entry >> 61 & 1 == 0
}

/// The program's memory, as read for a core file.
pub struct Memory {
    /// `/proc/self/mem`, which can also read memory that the program may not read.
    memory: Option<File>,
    pagemap: Option<File>,
}

impl Memory {
    /// Opens the memory of this process.
    pub fn open() -> Memory {
        let open = |name: &str| File::open(format!("/proc/self/{name}")).ok();
        Memory { memory: open("mem"), pagemap: open("pagemap") }
    }

    /// Page map entries of up to [`BATCH`] pages from an address on; if they cannot be read, all pages count
    /// as existing.
    fn entries(&self, from: u64, to: u64) -> Vec<u64> {
        let count = ((to - from) / PAGE).min(BATCH as u64) as usize;
        let mut bytes = vec![0; 8 * count];
        let read = self.pagemap.as_ref().map(|f| f.read_exact_at(&mut bytes, from / PAGE * 8));
        if !matches!(read, Some(Ok(()))) {
            return vec![1 << 63; count];
        }
        bytes.chunks_exact(8).map(|c| c.iter().rev().fold(0, |all, &b| all << 8 | b as u64)).collect()
    }

    /// Calls `f` with the addresses of the pages from `from` to `to` whose entries `wanted` accepts, until it
    /// returns false.
    fn each(&self, from: u64, to: u64, wanted: impl Fn(u64) -> bool, f: &mut dyn FnMut(u64) -> bool) -> bool {
        let mut at = from;
        while at < to {
            let entries = self.entries(at, to);
            let mut pages = entries.iter().enumerate().filter(|(_, e)| wanted(**e));
            if !pages.all(|(i, _)| f(at + i as u64 * PAGE)) {
                return false;
            }
            at += entries.len() as u64 * PAGE;
        }
        true
    }

    /// Reads from a page; returns false if there is none.
    pub fn read(&self, at: u64, to: &mut [u8]) -> bool {
        self.memory.as_ref().is_some_and(|m| m.read_exact_at(to, at).is_ok())
            || direct::read(at, to).is_some()
    }

    /// Calls `f` with the addresses of the pages of `part` that may have contents, until it returns false.
    pub fn pages(&self, part: &Part, f: &mut dyn FnMut(u64) -> bool) -> bool {
        let view = &part.view;
        // Private pages that do not exist yet are zero; pages of files and shared memory appear when they are
        // read.
        let all = view.shared || view.file.is_some();
        self.each(view.start, view.start + part.kept, |e| all || is_there(e), f)
    }

    /// Whether a private mapping of a file has pages that the process has written.
    fn was_written(&self, view: &View) -> bool {
        !self.each(view.start, view.end, is_own, &mut |_| false)
    }

    fn kept(&self, view: &View, filter: u32) -> u64 {
        let named = view.file.as_ref().filter(|name| !(view.shared && name.ends_with(DELETED)));
        let kind = match (view.shared, named.is_some()) {
            (true, true) => filter::SHARED_FILES,
            (true, false) => filter::SHARED,
            (false, true) if !self.was_written(view) => filter::PRIVATE_FILES,
            (false, _) => filter::PRIVATE,
        };
        if filter & kind != 0 {
            return view.end - view.start;
        }
        let first = named.is_some() && view.offset == 0 && !view.shared && filter & filter::ELF_HEADERS != 0;
        let mut magic = [0; 4];
        if first && self.read(view.start, &mut magic) && &magic == b"\x7fELF" { PAGE } else { 0 }
    }

    /// All parts of the program's memory.
    pub fn parts(&self, space: &Space) -> Vec<Part> {
        let text = std::fs::read_to_string("/proc/self/coredump_filter").unwrap_or_default();
        let filter = u32::from_str_radix(text.trim(), 16).unwrap_or(filter::USUAL);
        let views = space.views().into_iter().take(MOST);
        views.map(|view| Part { kept: self.kept(&view, filter), view }).collect()
    }
}
