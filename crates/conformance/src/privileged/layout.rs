//! The memory layout of the programs: code, log, page tables and frames in RAM, and the windows of virtual
//! memory through which the frames are accessed.

/// Start of RAM and of the code.
pub const CODE: u64 = 0x8000_0000;
/// Bytes of RAM: two pages of 1 GiB each have frames in it.
pub const SIZE: u64 = 1088 << 20;
/// The log of traps and results.
pub const LOG: u64 = CODE + 0x10_0000;
/// The largest size of the log in bytes.
pub const LOG_SIZE: u64 = 0xf_0000;
/// Behind the log: the end of the log is stored here, followed by a word that says that the program has
/// ended.
pub const END: u64 = LOG + LOG_SIZE;
/// Page tables.
pub const TABLES: u64 = CODE + 0x20_0000;
/// Bytes of page tables.
pub const TABLES_SIZE: u64 = 0xe000;
/// Where U mode sees the code.
pub const USER_CODE: u64 = 1 << 30;
/// The eight frames of 2 MiB: four in each GiB.
pub const FRAMES: [u64; 8] = {
    let mut all = [0; 8];
    let mut i = 0;
    while i < 8 {
        all[i] = CODE + ((i as u64 / 4) << 30) + 0x40_0000 + ((i as u64 % 4) << 21);
        i += 1;
    }
    all
};
/// The pages of each frame that have contents: some at its start, of which the first four can also be
/// accessed through windows of 4 KiB if a window of 2 MiB replaces them; one in the middle, and the last one.
pub const PAGES: [u64; 7] = [0, 1, 2, 3, 5, 300, 511];
/// The offset in a page of a function that returns the number of the page.
pub const FUNCTION: u64 = 0xff0;

/// Bits of a page-table entry.
pub mod bit {
    #![allow(missing_docs)]
    pub const V: u64 = 1;
    pub const R: u64 = 2;
    pub const W: u64 = 4;
    pub const X: u64 = 8;
    pub const U: u64 = 16;
    pub const G: u64 = 32;
    pub const A: u64 = 64;
    pub const D: u64 = 128;
}

/// An entry for a physical address.
pub const fn entry(physical: u64, flags: u64) -> u64 {
    physical >> 12 << 10 | flags
}

/// An address space: one of two root tables, for Sv39, or for Sv48 with the same first 512 GiB.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Which root.
    pub root: u64,
    /// Whether it uses Sv48.
    pub sv48: bool,
}

impl Space {
    /// All.
    pub const ALL: [Space; 4] = [
        Space { root: 0, sv48: false },
        Space { root: 1, sv48: false },
        Space { root: 0, sv48: true },
        Space { root: 1, sv48: true },
    ];

    /// Its ASID: a small number, one with the highest bit, one with all bits.
    pub fn asid(self) -> u64 {
        [1, 0x8000, 2, 0xffff][(self.root + 2 * u64::from(self.sv48)) as usize]
    }

    /// The value of `satp`.
    pub fn satp(self) -> u64 {
        let (mode, table) = if self.sv48 { (9, root48(self.root)) } else { (8, root39(self.root)) };
        mode << 60 | self.asid() << 44 | table >> 12
    }
}

fn table(n: u64) -> u64 {
    TABLES + n * 0x1000
}

fn root39(root: u64) -> u64 {
    table(root)
}

fn root48(root: u64) -> u64 {
    table(2 + root)
}

/// Of 2 MiB pages, from 4 GiB on.
fn middle(root: u64) -> u64 {
    table(6 + root)
}

/// Of 4 KiB pages: those of the middle table's entries 2 and 3.
fn last(root: u64, entry: u64) -> u64 {
    table(6 + 2 * entry - 2 + root)
}

const SAME: u64 = 4;
const SAME_USER: u64 = 5;
const GLOBAL_MIDDLE: u64 = 12;
const GLOBAL_LAST: u64 = 13;

/// The tables that only windows use: protecting them does not affect the handlers.
pub fn window_tables() -> impl Iterator<Item = u64> {
    (6..14).map(table)
}

/// The entries that no step changes: code, log and handlers at their physical addresses for S mode, the code
/// for U mode, and the path to the windows.
pub fn fixed() -> Vec<(u64, u64)> {
    use bit::*;
    let mut all = vec![
        (table(SAME), entry(CODE, V | R | W | X | A | D | G)),
        (table(SAME_USER), entry(CODE, V | R | X | U | A | D | G)),
        (table(GLOBAL_MIDDLE) + 8, entry(table(GLOBAL_LAST), V)),
    ];
    for root in 0..2 {
        let at = |n: u64| root39(root) + 8 * n;
        all.push((root48(root), entry(root39(root), V)));
        all.push((at(CODE >> 30), entry(table(SAME), V)));
        all.push((at(USER_CODE >> 30), entry(table(SAME_USER), V)));
        all.push((at(4), entry(middle(root), V)));
        all.push((at(7), entry(table(GLOBAL_MIDDLE), V)));
        all.push((middle(root) + 16, entry(last(root, 2), V)));
    }
    all
}

/// An entry that steps change, and the addresses that it maps.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The address of the entry.
    pub at: u64,
    /// The first address that it maps.
    pub address: u64,
    /// The level of the entry: 4 KiB, 2 MiB, 1 GiB, 512 GiB.
    pub level: u32,
    /// Whether it is the same in all address spaces.
    pub global: bool,
    /// The table to which it points if it is not a leaf.
    pub pointer: Option<u64>,
    /// The root table that it belongs to; ignored if it is global.
    pub root: u64,
}

impl Window {
    /// All of them.
    pub fn all() -> Vec<Window> {
        let mut all = Vec::new();
        for root in 0..2 {
            let mut add = |at, address, level, pointer| {
                all.push(Window { at, address, level, global: false, pointer, root });
            };
            let base = 4 << 30;
            add(middle(root), base, 1, None);
            add(middle(root) + 8, base | 1 << 21, 1, None);
            add(middle(root) + 24, base | 3 << 21, 1, Some(last(root, 3)));
            for (entry, pages) in [(2, 8), (3, 4)] {
                for page in 0..pages {
                    add(last(root, entry) + 8 * page, base | entry << 21 | page << 12, 0, None);
                }
            }
            for n in [5, 6] {
                add(root39(root) + 8 * n, n << 30, 2, None);
            }
            for n in [1, 2] {
                add(root48(root) + 8 * n, n << 39, 3, None);
            }
        }
        let mut add = |at, address, level| {
            all.push(Window { at, address, level, global: true, pointer: None, root: 0 });
        };
        add(table(GLOBAL_MIDDLE), 7 << 30, 1);
        for page in 0..4 {
            add(table(GLOBAL_LAST) + 8 * page, 7 << 30 | 1 << 21 | page << 12, 0);
        }
        all
    }
}
