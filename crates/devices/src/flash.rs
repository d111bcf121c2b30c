//! A bank of NOR flash, as QEMU's `virt` has two: a pair of chips with 16 data lines each, side by side on a bus of 32, with
//! Intel's command set (number 0001 of JEDEC's JEP137; Intel StrataFlash P30 data sheet, sections "Bus operations" and
//! "Status register"), described by the common flash interface (JEDEC JESD68.01).
//!
//! Both chips get each command at the same time and answer alike, so a command is taken from the low byte of a write, and
//! the answers are repeated in both halves of a word. Programming and erasing take no time: the chips are always ready.
//!
//! The bytes are a read-only memory of the machine's (`trine_memory::Contents`). While the bank is in the mode in which it is
//! an array of bytes, vCPUs read and execute them there; in the others that memory is hidden, and this device answers.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trine_base::state::Versioned;
use trine_base::{Actions, BlockBackend, Device, StateError, Width, state, versions};
use trine_memory::{Contents, PAGE, Ram};

/// Bytes that are erased at once: a block of both chips.
pub const SECTOR: u64 = 256 << 10;

/// The first byte of a command (P30, table "Command codes and definitions").
mod command {
    pub const PROGRAM_OTHER: u8 = 0x10;
    pub const ERASE: u8 = 0x20;
    pub const PROGRAM: u8 = 0x40;
    pub const CLEAR_STATUS: u8 = 0x50;
    pub const LOCK: u8 = 0x60;
    pub const READ_STATUS: u8 = 0x70;
    pub const READ_ID: u8 = 0x90;
    pub const QUERY: u8 = 0x98;
    pub const CONFIRM: u8 = 0xd0;
    pub const PROGRAM_BUFFER: u8 = 0xe8;
    pub const READ_ARRAY: u8 = 0xff;
    /// What may follow [`LOCK`]: lock, unlock ([`CONFIRM`]), lock down, and the settings of synchronous reads.
    pub const AFTER_LOCK: [u8; 4] = [0x01, CONFIRM, 0x2f, 0x03];
}

/// Bits of the status register.
mod status {
    pub const LOCKED: u8 = 1 << 1;
    pub const PROGRAM_ERROR: u8 = 1 << 4;
    pub const ERASE_ERROR: u8 = 1 << 5;
    pub const READY: u8 = 1 << 7;
    /// A command that is not followed by what must follow it.
    pub const SEQUENCE_ERROR: u8 = PROGRAM_ERROR | ERASE_ERROR;
}

/// Manufacturer (Intel) and device of the chips, as QEMU's tell them.
const ID: [u8; 2] = [0x89, 0x18];
/// log2 of the bytes that a chip programs at once from its buffer.
const BUFFER_BITS: u8 = 11;
/// The most words of a chip, and so writes of a guest, in the buffer.
const BUFFER_WORDS: u16 = 1 << (BUFFER_BITS - 1);

/// What becomes of a guest's changes.
#[derive(Clone)]
pub enum Changes {
    /// They are kept in the contents, as long as those live.
    Kept,
    /// They are written to this file, too, which is as large as the bank.
    Saved(Arc<dyn BlockBackend>),
    /// They are refused: all blocks are locked.
    Refused,
}

/// What reads give.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
enum Mode {
    /// The bytes.
    #[default]
    Array,
    /// The status register.
    Status,
    /// The identification and the locks of blocks.
    Id,
    /// The table of the common flash interface.
    Query,
}

/// What the next write means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
enum Step {
    /// It begins a command.
    #[default]
    Command,
    /// It has data to be programmed.
    Program,
    /// It confirms an erasure.
    Erase,
    /// It says what becomes of a block's lock.
    Lock,
    /// It is the number of writes with data for the buffer, less one.
    Count,
    /// It is one of so many with data.
    Data(u16),
    /// It confirms that the buffer is to be programmed.
    Confirm,
}

/// Data that a guest wrote.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Data {
    offset: u32,
    /// Bytes: 1, 2 or 4.
    len: u8,
    value: u32,
}

/// What the chips hold beside the array of bytes.
#[derive(Clone, Serialize, Deserialize)]
struct Registers {
    mode: Mode,
    step: Step,
    status: u8,
    buffer: Vec<Data>,
}

impl Default for Registers {
    fn default() -> Registers {
        Registers { mode: Mode::Array, step: Step::Command, status: status::READY, buffer: Vec::new() }
    }
}

/// The first version of the saved state.
#[derive(Serialize, Deserialize)]
struct V1 {
    registers: Registers,
    /// Bytes of the bank.
    size: u64,
    /// The pages that are not all zero, by their numbers: their bytes, or one byte that all of theirs are equal to.
    pages: Vec<(u32, Vec<u8>)>,
}

versions!(Saved of "the flash memory" { V1(V1) });

/// The bank.
pub struct Flash {
    ram: Arc<Ram>,
    base: u64,
    contents: Arc<Contents>,
    changes: Changes,
    registers: Registers,
}

impl Flash {
    /// Creates a bank with these contents, whose size is a multiple of [`SECTOR`] and at most 4 GiB, and which `ram` has at
    /// the address `base` ([`Ram::with_rom`]).
    pub fn new(ram: Arc<Ram>, base: u64, contents: Arc<Contents>, changes: Changes) -> Flash {
        Flash { ram, base, contents, changes, registers: Registers::default() }
    }

    /// Begins or continues a command: a write of 4 bytes or less.
    fn write_part(&mut self, data: Data) {
        // The chips see the low byte of their 16 lines.
        let byte = data.value as u8;
        match self.registers.step {
            Step::Command => return self.begin(byte),
            Step::Program => self.program(&[data]),
            Step::Erase if byte == command::CONFIRM => self.erase(u64::from(data.offset)),
            Step::Lock if command::AFTER_LOCK.contains(&byte) => {}
            Step::Count if data.value as u16 >= BUFFER_WORDS => self.fail(status::SEQUENCE_ERROR),
            Step::Count => return self.registers.step = Step::Data(data.value as u16 + 1),
            Step::Data(left) => return self.take(data, left),
            Step::Confirm if byte == command::CONFIRM => {
                let buffer = std::mem::take(&mut self.registers.buffer);
                self.program(&buffer);
            }
            Step::Erase | Step::Lock | Step::Confirm => self.fail(status::SEQUENCE_ERROR),
        }
        self.registers.step = Step::Command;
        self.registers.buffer.clear();
    }

    /// The first write of a command.
    fn begin(&mut self, byte: u8) {
        use command::*;
        let (mode, step) = match byte {
            PROGRAM | PROGRAM_OTHER => (Mode::Status, Step::Program),
            ERASE => (Mode::Status, Step::Erase),
            LOCK => (Mode::Status, Step::Lock),
            PROGRAM_BUFFER => (Mode::Status, Step::Count),
            READ_STATUS => (Mode::Status, Step::Command),
            READ_ID => (Mode::Id, Step::Command),
            QUERY => (Mode::Query, Step::Command),
            READ_ARRAY => (Mode::Array, Step::Command),
            CLEAR_STATUS => {
                self.registers.status = status::READY;
                return;
            }
            // Other command sets' resets among them: drivers that look for the right set try those.
            _ => (Mode::Array, Step::Command),
        };
        self.registers.step = step;
        self.enter(mode);
    }

    fn enter(&mut self, mode: Mode) {
        self.registers.mode = mode;
        self.ram.show_rom(self.base, mode == Mode::Array);
    }

    fn fail(&mut self, bits: u8) {
        self.registers.status |= bits;
    }

    /// Puts one of `left` writes into the buffer.
    fn take(&mut self, data: Data, left: u16) {
        self.registers.buffer.push(data);
        self.registers.step = if left > 1 { Step::Data(left - 1) } else { Step::Confirm };
    }

    /// Programs data, which lies in one sector: bits become 0, none becomes 1.
    fn program(&mut self, data: &[Data]) {
        let start = data.iter().map(|d| u64::from(d.offset)).min().unwrap_or(0);
        let end = data.iter().map(|d| u64::from(d.offset) + u64::from(d.len)).max().unwrap_or(0);
        if start / SECTOR != end.saturating_sub(1) / SECTOR {
            return self.fail(status::SEQUENCE_ERROR);
        }
        let mut bytes = vec![0; (end - start) as usize];
        if self.contents.read(start, &mut bytes).is_none() {
            return self.fail(status::PROGRAM_ERROR);
        }
        for d in data {
            let at = (u64::from(d.offset) - start) as usize;
            let new = d.value.to_le_bytes();
            bytes[at..].iter_mut().zip(&new[..usize::from(d.len)]).for_each(|(byte, new)| *byte &= new);
        }
        self.change(start, &bytes, status::PROGRAM_ERROR);
    }

    /// Erases the sector around an offset: all its bits become 1.
    fn erase(&mut self, offset: u64) {
        self.change(offset / SECTOR * SECTOR, &vec![0xff; SECTOR as usize], status::ERASE_ERROR);
    }

    /// Changes bytes; sets `error` in the status register where that cannot be done.
    fn change(&mut self, offset: u64, bytes: &[u8], error: u8) {
        let saved = match &self.changes {
            Changes::Refused => return self.fail(error | status::LOCKED),
            Changes::Kept => true,
            Changes::Saved(file) => self.save_to(&**file, offset, bytes),
        };
        if !saved || self.ram.write_rom(self.base + offset, bytes).is_none() {
            self.fail(error);
        }
    }

    /// Writes bytes to the file. Where the host fails, what the guest reads goes back there, as far as the host lets it: that is
    /// what the guest is to find the next time.
    fn save_to(&self, file: &dyn BlockBackend, offset: u64, bytes: &[u8]) -> bool {
        if file.write_at(offset, bytes).is_ok() {
            return true;
        }
        let mut old = vec![0; bytes.len()];
        if self.contents.read(offset, &mut old).is_some() {
            let _ = file.write_at(offset, &old);
        }
        false
    }

    /// The byte at an offset, in any mode but [`Mode::Array`].
    fn answer(&self, offset: u64) -> u8 {
        // Of the two bytes of a chip, the upper one is always 0.
        if offset & 1 != 0 {
            return 0;
        }
        let index = offset / 4;
        match self.registers.mode {
            Mode::Status => self.registers.status,
            Mode::Id => match (index & 0xff, &self.changes) {
                (0, _) => ID[0],
                (1, _) => ID[1],
                // Whether the block is locked.
                (2, Changes::Refused) => 1,
                _ => 0,
            },
            Mode::Query | Mode::Array => self.query(index),
        }
    }

    /// The table of the common flash interface (JESD68.01, and "Extended query table" of the P30 data sheet), with QEMU's
    /// values.
    fn query(&self, index: u64) -> u8 {
        let sectors = self.contents.size() / SECTOR;
        match index {
            0x10..=0x12 => b"QRY"[index as usize - 0x10],
            // The command set, and where its own table is.
            0x13 => 0x01,
            0x15 => 0x31,
            // 4.5 to 5.5 V.
            0x1b => 0x45,
            0x1c => 0x55,
            // log2 of typical times: µs for a word and a buffer, ms for a block. Then how many times longer they take at most.
            0x1f | 0x20 => 7,
            0x21 => 10,
            0x23..=0x25 => 4,
            // log2 of a chip's size, 8 or 16 lines, log2 of the buffer's size.
            0x27 => (self.contents.size() / 2).ilog2() as u8,
            0x28 => 2,
            0x2a => BUFFER_BITS,
            // One region: the number of blocks less one, and a block's size in units of 256 bytes.
            0x2c => 1,
            0x2d => (sectors - 1) as u8,
            0x2e => ((sectors - 1) >> 8) as u8,
            0x2f => ((SECTOR / 2) >> 8) as u8,
            0x30 => ((SECTOR / 2) >> 16) as u8,
            // Version 1.0 of a table without features.
            0x31..=0x35 => b"PRI10"[index as usize - 0x31],
            0x3f => 1,
            _ => 0,
        }
    }

    /// The saved form of a page; `None` where it is all zero.
    fn saved_page(&self, page: u32) -> Option<(u32, Vec<u8>)> {
        let mut bytes = vec![0; PAGE as usize];
        self.contents.read(u64::from(page) * PAGE, &mut bytes)?;
        let first = bytes[0];
        if bytes.iter().all(|byte| *byte == first) {
            bytes.truncate(1);
        }
        (bytes != [0]).then_some((page, bytes))
    }

    fn pages(&self) -> std::ops::Range<u32> {
        0..(self.contents.size() / PAGE) as u32
    }

    /// What is wrong with a saved state, if it is for a bank of this size.
    fn fault(&self, saved: &V1) -> Option<&'static str> {
        let Registers { step, buffer, .. } = &saved.registers;
        let left = if let Step::Data(left) = step { *left } else { 0 };
        let most = usize::from(BUFFER_WORDS);
        if usize::from(left) + buffer.len() > most || (*step == Step::Data(0)) {
            return Some("more data is to come than the buffer holds");
        }
        if !buffer.is_empty() && !matches!(step, Step::Data(_) | Step::Confirm) {
            return Some("there is data in its buffer that no command takes");
        }
        let fits = |d: &Data| {
            matches!(d.len, 1 | 2 | 4) && u64::from(d.offset) + u64::from(d.len) <= self.contents.size()
        };
        if !buffer.iter().all(fits) {
            return Some("data in its buffer lies outside");
        }
        let pages = &saved.pages;
        if !pages.is_sorted_by(|a, b| a.0 < b.0)
            || pages.last().is_some_and(|last| !self.pages().contains(&last.0))
        {
            return Some("its pages are not in order");
        }
        let whole = |bytes: &Vec<u8>| bytes.len() == 1 || bytes.len() as u64 == PAGE;
        (!pages.iter().all(|(_, bytes)| whole(bytes))).then_some("a page is not complete")
    }

    /// Replaces the contents by those of a saved state that was checked.
    fn load_pages(&self, pages: Vec<(u32, Vec<u8>)>) {
        let mut pages = pages.into_iter().peekable();
        for number in self.pages() {
            let bytes = match pages.next_if(|(saved, _)| *saved == number) {
                Some((_, bytes)) if bytes.len() == 1 => bytes.repeat(PAGE as usize),
                Some((_, bytes)) => bytes,
                None => vec![0; PAGE as usize],
            };
            self.ram.write_rom(self.base + u64::from(number) * PAGE, &bytes);
        }
    }
}

impl Device for Flash {
    fn name(&self) -> &str {
        "flash"
    }

    fn read(&mut self, offset: u64, width: Width, _now: u64, _out: &mut Actions) -> u64 {
        if self.registers.mode == Mode::Array {
            return self.contents.load(offset, width).unwrap_or(0);
        }
        (0..width.bytes()).fold(0, |value, n| value | u64::from(self.answer(offset + n)) << (8 * n))
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, _now: u64, _out: &mut Actions) {
        // The bus has 32 lines: what is wider takes two accesses.
        let len = width.bytes().min(4);
        for at in (0..width.bytes()).step_by(4) {
            let value = (value >> (8 * at)) as u32;
            self.write_part(Data { offset: (offset + at) as u32, len: len as u8, value });
        }
    }

    /// The contents stay.
    fn reset(&mut self, _out: &mut Actions) {
        self.registers = Registers::default();
        self.enter(Mode::Array);
    }

    fn save(&self) -> Vec<u8> {
        let pages = self.pages().filter_map(|page| self.saved_page(page)).collect();
        let (registers, size) = (self.registers.clone(), self.contents.size());
        state::save(&Saved::V1(V1 { registers, size, pages }))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(saved) = state::load(state)?;
        let (there, here) = (saved.size >> 10, self.contents.size() >> 10);
        if saved.size != self.contents.size() {
            return Err(Saved::mismatch(format!("it has {there} KiB, but this machine's has {here} KiB")));
        }
        if let Some(fault) = self.fault(&saved) {
            return Err(Saved::damaged(fault));
        }
        self.load_pages(saved.pages);
        self.registers = saved.registers;
        self.enter(self.registers.mode);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
