//! Where the programs have what: code, log, page tables and frames in RAM, and the windows of virtual memory through which
//! the frames are seen.

/// Start of RAM and of the code.
pub const CODE: u64 = 0x8000_0000;
/// Bytes of RAM: two pages of 1 GiB each have frames in it.
pub const SIZE: u64 = 1088 << 20;
/// Where traps and results are kept.
pub const LOG: u64 = CODE + 0x10_0000;
/// Bytes of the log at most.
pub const LOG_SIZE: u64 = 0xf_0000;
/// Behind the log: its end is left here, and then that the program has ended.
pub const END: u64 = LOG + LOG_SIZE;
/// Page tables.
pub const TABLES: u64 = CODE + 0x20_0000;
/// Bytes of page tables.
pub const TABLES_SIZE: u64 = 0xe000;
/// Where U mode sees the code.
pub const USER_CODE: u64 = 1 << 30;
/// The eight frames of 2 MiB: four in each 1 GiB.
pub const FRAMES: [u64; 8] = {
    let mut all = [0; 8];
    let mut i = 0;
    while i < 8 {
        all[i] = CODE + ((i as u64 / 4) << 30) + 0x40_0000 + ((i as u64 % 4) << 21);
        i += 1;
    }
    all
};
/// The pages of each frame that have content: some at its start, of which the first four are reached by windows of 4 KiB,
/// too, where a window of 2 MiB takes their place; one in the middle, the last.
pub const PAGES: [u64; 7] = [0, 1, 2, 3, 5, 300, 511];
/// Where a page has a function that says which page it is.
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

/// An entry that leads to a physical address.
pub const fn entry(physical: u64, flags: u64) -> u64 {
    physical >> 12 << 10 | flags
}

/// An address space: one of two roots, by Sv39, or by Sv48 whose first 512 GiB are the same.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Which root.
    pub root: u64,
    /// Whether by Sv48.
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

    /// Its number: small, with the highest bit, all bits.
    pub fn asid(self) -> u64 {
        [1, 0x8000, 2, 0xffff][(self.root + 2 * u64::from(self.sv48)) as usize]
    }

    /// What `satp` says.
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

/// Tables that only windows need: what is forbidden of them hurts no handler.
pub fn window_tables() -> impl Iterator<Item = u64> {
    (6..14).map(table)
}

/// The entries that no step changes: the code, log and handlers under their physical addresses for S mode, the code for U
/// mode, and the way to the windows.
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

/// An entry that steps change, and what is seen through it.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Where the entry lies.
    pub at: u64,
    /// The first address that it maps.
    pub address: u64,
    /// Of 4 KiB, 2 MiB, 1 GiB, 512 GiB.
    pub level: u32,
    /// The same in all address spaces.
    pub global: bool,
    /// The table that it leads to where it is not a leaf.
    pub pointer: Option<u64>,
    /// Which root it is of; of none where it is global.
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
