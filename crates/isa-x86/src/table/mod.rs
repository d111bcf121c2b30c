//! Every instruction, by tables.

mod base;
mod mmx;
mod packed;
mod sse;

use crate::cpu::Feature;
use crate::insn::X86;
use crate::operands::Operands;
use crate::row::RowInfo;
use std::sync::LazyLock;
use trine_ir::Res;

/// The tables in the order in which their rows are numbered.
const TABLES: &[&[RowInfo]] = &[base::ROWS, mmx::ROWS, packed::ROWS, sse::ROWS];

/// A row among those of its opcode.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Number of the row.
    pub row: u16,
    /// [`RowInfo::mask`].
    pub mask: u16,
    /// [`RowInfo::value`].
    pub value: u16,
    /// [`RowInfo::feature`].
    pub feature: Feature,
    /// [`RowInfo::modrm`].
    pub modrm: bool,
}

/// Maps of opcodes, without and with VEX.
const MAPS: usize = 8;

/// The rows by opcode.
struct Index {
    /// For each opcode of each map, where its rows begin in `entries`; those of the next one begin where they end.
    starts: Vec<u16>,
    entries: Vec<Entry>,
}

/// Position of an opcode in [`Index::starts`].
fn position(vex: bool, map: u8, opcode: u8) -> usize {
    ((vex as usize) << 2 | (map & 3) as usize) << 8 | opcode as usize
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut by_opcode = vec![Vec::new(); MAPS << 8];
    for (row, info) in rows().enumerate() {
        let (mask, value, feature, modrm) = (info.mask, info.value, info.feature, info.modrm);
        let entry = Entry { row: row as u16, mask, value, feature, modrm };
        let first = position(info.vex, info.map, info.opcode);
        by_opcode[first..][..info.span as usize].iter_mut().for_each(|list| list.push(entry));
    }
    let mut index = Index { starts: vec![0], entries: Vec::new() };
    for mut list in by_opcode {
        // What demands more goes first: a prefix, a form of ModRM.
        list.sort_by_key(|e| std::cmp::Reverse(e.mask.count_ones()));
        index.entries.extend(list);
        index.starts.push(index.entries.len() as u16);
    }
    index
});

/// The rows of an opcode, those that demand most first.
pub fn candidates(vex: bool, map: u8, opcode: u8) -> &'static [Entry] {
    let index = &*INDEX;
    let at = position(vex, map, opcode);
    &index.entries[index.starts[at] as usize..index.starts[at + 1] as usize]
}

/// All rows, in the order of their numbers.
pub fn rows() -> impl Iterator<Item = &'static RowInfo> {
    TABLES.iter().copied().flatten()
}

/// The table of a row, and the row's number there.
fn place(row: u16) -> (usize, usize) {
    let mut n = row as usize;
    for (table, rows) in TABLES.iter().enumerate() {
        if n < rows.len() {
            return (table, n);
        }
        n -= rows.len();
    }
    panic!("there is no row {row}")
}

/// A row by its number.
///
/// # Panics
/// If there is no such row.
pub fn info(row: u16) -> &'static RowInfo {
    let (table, n) = place(row);
    &TABLES[table][n]
}

/// The body of a row for operands of `1 << log` bytes.
pub fn body<S: X86>(row: u16, log: u8) -> fn(S, &Operands) -> Res<S> {
    let (table, n) = place(row);
    let (body, log) = (TABLES[table][n].body as usize, log as usize);
    match table {
        0 => base::body::<S>(body, log),
        1 => mmx::body::<S>(body, log),
        2 => packed::body::<S>(body, log),
        _ => sse::body::<S>(body, log),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Kind, Size};

    /// Two rows may have an encoding in common only if one demands more than the other.
    #[test]
    fn encodings_do_not_overlap() {
        for list in INDEX.starts.windows(2).map(|w| &INDEX.entries[w[0] as usize..w[1] as usize]) {
            for (n, a) in list.iter().enumerate() {
                for b in &list[n + 1..] {
                    let common = a.mask & b.mask;
                    let apart = (a.value ^ b.value) & common != 0;
                    let nested = common == a.mask || common == b.mask;
                    let (x, y) = (info(a.row), info(b.row));
                    assert!(
                        apart || nested && a.mask != b.mask,
                        "{} / {}: {x:?} {y:?}",
                        x.encoding,
                        y.encoding
                    );
                    assert_eq!(a.modrm, b.modrm, "{} {}", x.encoding, y.encoding);
                }
            }
        }
    }

    #[test]
    fn operands_have_an_encoding() {
        for row in rows() {
            let by_modrm = row.operands.iter().any(|o| {
                use Kind::*;
                matches!(o.kind, C | D | E | G | M | N | P | Q | R | S | U | V | W | StackRm)
            });
            assert!(!by_modrm || row.modrm, "{}: {}", row.encoding, row.syntax);
            assert!(row.operands.len() <= 4);
            let by_opcode = row.operands.iter().any(|o| o.kind == Kind::Z);
            assert_eq!(by_opcode, row.span == 8, "{}", row.encoding);
            assert_eq!(row.span == 16, row.syntax.contains("cc"), "{}", row.encoding);
            assert!(row.size != Size::None || row.operands.iter().all(|o| o.size != Size::V));
        }
    }
}
