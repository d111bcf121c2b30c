//! What is at the host's end of a port of the console device.

use crate::serial::input::Item;
use crate::serial::{ConsoleInput, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use trine_base::Waker;

/// The host's end of a port.
pub trait PortEnd: Send {
    /// The guest has opened the port, or closed it. Called when it is loaded, too.
    fn opened(&mut self, _open: bool) {}
    /// Takes what the guest has sent.
    fn output(&mut self, bytes: &[u8]);
    /// Whether there is something for the guest.
    fn has_input(&self) -> bool;
    /// The next bytes for the guest, at most `room` of them.
    fn input(&mut self, room: usize) -> Vec<u8>;
    /// The input that must not be lost when the machine is saved.
    fn waiting(&self) -> Vec<Item> {
        Vec::new()
    }
    /// Replaces the waiting input by what was saved. The error says in words why that is not possible.
    fn replace(&mut self, items: Vec<Item>) -> Result<(), String> {
        match items.len() {
            0 => Ok(()),
            waiting => Err(format!("{waiting} bytes wait at a port that keeps none")),
        }
    }
}

/// Two streams of bytes.
pub(super) struct Stream {
    pub out: Output,
    pub input: Arc<ConsoleInput>,
}

impl PortEnd for Stream {
    fn output(&mut self, bytes: &[u8]) {
        (self.out)(bytes);
    }

    fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    fn input(&mut self, room: usize) -> Vec<u8> {
        (0..room).map_while(|_| self.input.pop()).collect()
    }

    fn waiting(&self) -> Vec<Item> {
        self.input.items()
    }

    fn replace(&mut self, items: Vec<Item>) -> Result<(), String> {
        self.input.replace(items)
    }
}

/// The size of the terminal that shows a machine's console, as the host sets it.
#[derive(Default)]
pub struct TerminalSize {
    /// Rows in the upper half, columns in the lower one; 0 if the size is unknown.
    size: AtomicU32,
    waker: Waker,
}

impl TerminalSize {
    /// An unknown size; `waker` is that of the device which tells it to the guest.
    pub fn new(waker: Waker) -> TerminalSize {
        TerminalSize { size: AtomicU32::new(0), waker }
    }

    /// The device's waker, for the board to connect.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Sets rows and columns. A terminal without any has no size.
    pub fn set(&self, (rows, columns): (u16, u16)) {
        let size = if rows == 0 || columns == 0 { 0 } else { u32::from(rows) << 16 | u32::from(columns) };
        self.size.store(size, Ordering::SeqCst);
        self.waker.wake();
    }

    /// Rows and columns; `None` where they are unknown.
    pub fn get(&self) -> Option<(u16, u16)> {
        let size = self.size.load(Ordering::SeqCst);
        (size != 0).then_some(((size >> 16) as u16, size as u16))
    }
}

/// A port that tells the terminal's size: a line `ROWS COLUMNS` when the guest opens it, and after each change. What the guest
/// sends has no meaning.
pub struct SizePort {
    size: Arc<TerminalSize>,
    open: bool,
    /// What the guest was told last.
    told: Option<(u16, u16)>,
    /// The part of the line that the guest has not read yet.
    rest: Vec<u8>,
}

impl SizePort {
    /// A port that follows `size`.
    pub fn new(size: Arc<TerminalSize>) -> SizePort {
        SizePort { size, open: false, told: None, rest: Vec::new() }
    }
}

impl PortEnd for SizePort {
    fn opened(&mut self, open: bool) {
        self.open = open;
        self.told = None;
        self.rest.clear();
    }

    fn output(&mut self, _: &[u8]) {}

    fn has_input(&self) -> bool {
        let size = self.size.get();
        self.open && (!self.rest.is_empty() || size.is_some() && size != self.told)
    }

    fn input(&mut self, room: usize) -> Vec<u8> {
        let size = self.size.get().filter(|_| self.open);
        if self.rest.is_empty()
            && size != self.told
            && let Some((rows, columns)) = size
        {
            self.told = size;
            self.rest = format!("{rows} {columns}\n").into_bytes();
        }
        self.rest.drain(..self.rest.len().min(room)).collect()
    }
}
