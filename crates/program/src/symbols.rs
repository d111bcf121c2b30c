//! Names of a program's code for `perf`, from the symbols of the mapped files.

use object::{Object, ObjectSegment, ObjectSymbol, SymbolKind};
use std::collections::HashMap;
use std::sync::Arc;
use trine_linux::space::Space;

/// The largest file whose symbols are read, in bytes.
const MOST_BYTES: u64 = 1 << 30;

/// A function.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Function {
    address: u64,
    /// 0 if it is not known: the function then ends at the next one.
    size: u64,
    name: String,
}

/// The symbols of a file.
#[derive(Default)]
struct Table {
    /// File offset, size, address.
    segments: Vec<(u64, u64, u64)>,
    functions: Vec<Function>,
}

impl Table {
    fn of(bytes: &[u8]) -> Option<Table> {
        let file = object::File::parse(bytes).ok()?;
        let segment = |s: object::Segment| {
            let (offset, size) = s.file_range();
            (offset, size, s.address())
        };
        let all = file.symbols().chain(file.dynamic_symbols());
        let is_code = |s: &object::Symbol| s.kind() == SymbolKind::Text && s.is_definition();
        let function = |s: object::Symbol| {
            Some(Function { address: s.address(), size: s.size(), name: s.name().ok()?.into() })
        };
        let mut functions: Vec<Function> = all.filter(is_code).filter_map(function).collect();
        functions.sort();
        functions.dedup_by_key(|f| f.address);
        Some(Table { segments: file.segments().map(segment).collect(), functions })
    }

    /// The function at a file offset, and the distance from its start.
    fn find(&self, offset: u64) -> Option<(&str, u64)> {
        let (start, _, at) =
            self.segments.iter().find(|(start, size, _)| offset.wrapping_sub(*start) < *size)?;
        let address = at.wrapping_add(offset - start);
        let f = &self.functions[..self.functions.partition_point(|f| f.address <= address)].last()?;
        let distance = address - f.address;
        (f.size == 0 || distance < f.size).then_some((&f.name, distance))
    }
}

/// The symbols of all files that contain code.
pub struct Symbols {
    space: Arc<Space>,
    files: HashMap<String, Table>,
}

impl Symbols {
    /// Creates the symbols of the program in `space`.
    pub fn new(space: Arc<Space>) -> Symbols {
        Symbols { space, files: HashMap::new() }
    }

    fn read(path: &str) -> Table {
        let small = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= MOST_BYTES);
        let bytes = small.then(|| std::fs::read(path).ok()).flatten();
        bytes.and_then(|b| Table::of(&b)).unwrap_or_default()
    }

    /// The name of the code at `pc`.
    pub fn name(&mut self, pc: u64) -> String {
        let Some(view) = self.space.view_at(pc) else { return format!("[{pc:#x}]") };
        let Some(path) = view.file else { return format!("[{pc:#x}]") };
        let file = path.rsplit('/').next().unwrap_or_default().to_string();
        let table = self.files.entry(path).or_insert_with_key(|path| Symbols::read(path));
        match table.find((pc - view.start).wrapping_add(view.offset)) {
            Some((name, 0)) => format!("{name} [{pc:#x} {file}]"),
            Some((name, distance)) => format!("{name}+{distance:#x} [{pc:#x} {file}]"),
            None => format!("[{pc:#x} {file}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_files_are_functions() {
        let function = |address, size, name: &str| Function { address, size, name: name.into() };
        let functions = vec![function(0x10010, 8, "a"), function(0x10020, 0, "b"), function(0x11000, 4, "c")];
        let table = Table { segments: vec![(0, 0x100, 0x10000), (0x200, 0x1000, 0x11000)], functions };
        for (offset, wanted) in [
            (0xf, None),
            (0x10, Some(("a", 0))),
            (0x17, Some(("a", 7))),
            (0x18, None),
            (0x30, Some(("b", 0x10))),
            (0x100, None),
            (0x203, Some(("c", 3))),
            (0x204, None),
            (u64::MAX, None),
        ] {
            assert_eq!(table.find(offset), wanted, "{offset:#x}");
        }
    }

    #[test]
    fn no_executable_has_no_symbols() {
        assert!(Table::of(b"\x7fELF and so on").is_none());
        let own = std::fs::read("/proc/self/exe").expect("readable");
        let table = Table::of(&own).expect("an executable");
        assert!(table.functions.len() > 100 && !table.segments.is_empty());
    }
}
