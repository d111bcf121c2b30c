//! The side tables of all generated code: one set for each part of code memory.

use super::side::{Loc, Row, Side};
use crate::code::{PART, PARTS};
use crate::grow::Grow;
use std::io;
use std::sync::OnceLock;
use trine_ir::Helper;

/// Maximal number of rows of a part, and of accesses that the host may refuse. If one has less than 16 bytes
/// of code on average, the tables are full before the part is, which then counts as full.
const MOST_ROWS: usize = PART / 16;
/// Maximal number of places of values.
const MOST_LOCS: usize = 2 * MOST_ROWS;
/// Maximal number of helpers: limited by the number that the thunk gets.
const MOST_HELPERS: usize = 1 << 16;

/// The tables of one part.
struct Part {
    /// Slow paths, by the number after their calls.
    rows: Grow<Row>,
    /// Accesses that the host may refuse: offset in the part, row; in the order of the offsets.
    accesses: Grow<(u32, u32)>,
    /// Slots whose value is not in memory.
    locs: Grow<(u16, Loc)>,
}

/// The tables of all code. Read by any thread that runs it, even in a signal handler.
pub struct Tables {
    /// Executable address of the first part.
    start: usize,
    /// Bytes of a part.
    part: usize,
    parts: [OnceLock<Part>; PARTS],
    helpers: Grow<&'static Helper>,
}

impl Tables {
    /// Empty tables for code whose first part runs at `start`; each part has `part` bytes.
    ///
    /// # Errors
    /// The host's error, if it has no address space.
    pub fn new(start: usize, part: usize) -> io::Result<Tables> {
        let parts = [const { OnceLock::new() }; PARTS];
        Ok(Tables { start, part, parts, helpers: Grow::new(MOST_HELPERS)? })
    }

    /// Makes room for the tables of a part that is about to be filled.
    ///
    /// # Errors
    /// As of [`Tables::new`].
    pub fn open(&self, part: usize) -> io::Result<()> {
        if self.parts[part].get().is_none() {
            let (rows, accesses) = (Grow::new(MOST_ROWS)?, Grow::new(MOST_ROWS)?);
            let _ = self.parts[part].set(Part { rows, accesses, locs: Grow::new(MOST_LOCS)? });
        }
        Ok(())
    }

    fn part_at(&self, at: usize) -> Option<(usize, &Part)> {
        let part = at.wrapping_sub(self.start) / self.part;
        Some((part, self.parts.get(part)?.get()?))
    }

    /// The number for the next row of a part.
    pub fn next_row(&self, part: usize) -> u32 {
        self.parts[part].get().map_or(0, |p| p.rows.all().len() as u32)
    }

    /// The row with a number, for code at an executable address.
    pub fn row(&self, at: usize, number: u32) -> Option<&Row> {
        self.part_at(at)?.1.rows.all().get(number as usize)
    }

    /// The row of the access at an executable address, as a number for [`Tables::refused`].
    pub fn access_at(&self, at: usize) -> Option<u64> {
        let (n, part) = self.part_at(at)?;
        let offset = (at - self.start - n * self.part) as u32;
        let accesses = part.accesses.all();
        let found = accesses.binary_search_by_key(&offset, |a| a.0).ok()?;
        Some((n as u64) << 32 | accesses[found].1 as u64)
    }

    /// The row that [`Tables::access_at`] found, and an address in its part.
    pub fn refused(&self, number: u64) -> Option<(usize, &Row)> {
        let at = self.start + (number >> 32) as usize * self.part;
        Some((at, self.row(at, number as u32)?))
    }

    /// The places of the values of a row's slots; `at` is in the row's part.
    pub fn locs(&self, at: usize, row: &Row) -> &[(u16, Loc)] {
        let first = row.first as usize;
        let locs = self.part_at(at).and_then(|(_, p)| p.locs.all().get(first..first + row.dirty as usize));
        locs.unwrap_or_default()
    }

    /// The helper with a number.
    pub fn helper(&self, number: usize) -> Option<&'static Helper> {
        self.helpers.all().get(number).copied()
    }

    /// Publishes the tables of a block's code at an executable address in `part`, before anyone can run it.
    /// False if the tables are full.
    ///
    /// # Safety
    /// One thread at a time.
    pub unsafe fn publish(
        &self,
        part: usize,
        side: &mut Side,
        accesses: impl ExactSizeIterator<Item = (usize, u32)>,
    ) -> bool {
        let Some(tables) = self.parts[part].get() else { return false };
        let room = tables.rows.has_room(side.rows.len())
            && tables.locs.has_room(side.locs.len())
            && tables.accesses.has_room(accesses.len());
        let new = side.helpers.get(self.helpers.all().len()..).unwrap_or_default();
        // SAFETY: by the caller.
        if !room || !unsafe { self.helpers.extend(new) } {
            return false;
        }
        let start = self.start + part * self.part;
        let mut accesses: Vec<_> = accesses.map(|(at, row)| ((at - start) as u32, row)).collect();
        accesses.sort_unstable();
        let first = tables.locs.all().len() as u32;
        side.rows.iter_mut().for_each(|row| row.first += first);
        // SAFETY: by the caller; there is room for all of them.
        unsafe {
            tables.rows.extend(&side.rows);
            tables.locs.extend(&side.locs);
            tables.accesses.extend(&accesses);
        }
        true
    }

    /// Forgets the rows of a part.
    ///
    /// # Safety
    /// One thread at a time, and nobody runs code of the part.
    pub unsafe fn clear(&self, part: usize) {
        if let Some(tables) = self.parts[part].get() {
            // SAFETY: by the caller: a thread that runs no code of the part has no reference to its rows.
            unsafe {
                tables.rows.clear();
                tables.locs.clear();
                tables.accesses.clear();
            }
        }
    }

    /// Gives memory for rows that were forgotten back.
    ///
    /// # Safety
    /// As for [`Tables::clear`].
    pub unsafe fn release(&self, part: usize) {
        if let Some(tables) = self.parts[part].get() {
            // SAFETY: by the caller.
            unsafe {
                tables.rows.release();
                tables.locs.release();
                tables.accesses.release();
            }
        }
    }
}
