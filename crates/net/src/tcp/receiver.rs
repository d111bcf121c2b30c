//! The direction from the guest to the host.

use super::buffer::Buffer;
use super::early::Early;

/// The window that the guest gets: what may wait because the host's socket is full.
const WINDOW: u32 = 512 << 10;
/// The shift of our windows: they go up to 1 MiB.
pub(super) const SCALE: u8 = 4;

/// Bytes and the end of the stream on their way to the host, by sequence number.
#[derive(Default)]
pub(super) struct Receiver {
    /// Bytes that the host's socket did not take yet.
    pub buffer: Buffer,
    /// Segments behind one that is missing.
    pub early: Early,
    /// The next number that is expected.
    pub next: u32,
    /// The end of the window that was given to the guest: it never moves back.
    edge: u32,
    /// The shift of the windows: 0 if the guest does not scale.
    scale: u8,
    /// The guest sends no more.
    pub ended: bool,
    /// Something is to be acknowledged.
    pub due: bool,
}

impl Receiver {
    /// Takes the number and the options of the guest's SYN.
    pub fn open(&mut self, seq: u32, scales: bool) {
        self.next = seq.wrapping_add(1);
        self.edge = self.next;
        self.scale = if scales { SCALE } else { 0 };
    }

    /// The shift for our SYN.
    pub fn offered(&self) -> Option<u8> {
        (self.scale > 0).then_some(self.scale)
    }

    /// How many bytes the guest may send: all that it was told.
    pub fn allowed(&self) -> usize {
        self.edge.wrapping_sub(self.next) as usize
    }

    fn room(&self) -> u32 {
        let most = if self.scale > 0 { WINDOW } else { 0xffff };
        most.saturating_sub(self.buffer.len() as u32).max(self.allowed() as u32)
    }

    /// The window for the next segment; the guest is told it now.
    pub fn window(&mut self, is_syn: bool) -> u16 {
        // The window in a SYN is not scaled (RFC 7323, 2.2).
        let scale = if is_syn { 0 } else { self.scale };
        let window = self.room().div_ceil(1 << scale).min(0xffff);
        self.edge = self.next.wrapping_add(window << scale);
        window as u16
    }

    /// Whether the window has grown so much that the guest should know, which may be waiting for that.
    pub fn has_opened(&self) -> bool {
        let (told, now) = (self.allowed() as u32, self.room());
        told < WINDOW / 4 && now - told >= if self.scale > 0 { WINDOW / 4 } else { 0x7fff }
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Pool;
    use super::*;

    #[test]
    fn a_window_never_moves_back_and_opens_late() {
        let mut pool = Pool::new(4 << 20);
        let mut receiver = Receiver::default();
        receiver.open(u32::MAX - 10, true);
        assert_eq!(receiver.window(true), 0xffff);
        assert_eq!(u32::from(receiver.window(false)) << SCALE, WINDOW);
        let all = vec![0; WINDOW as usize];
        assert_eq!(receiver.buffer.push(&all, &mut pool), all.len());
        assert_eq!(receiver.allowed(), all.len(), "what was told stays");
        receiver.next = receiver.next.wrapping_add(WINDOW);
        assert_eq!(receiver.window(false), 0);
        receiver.buffer.consume(1000, &mut pool);
        assert!(!receiver.has_opened());
        receiver.buffer.consume(WINDOW as usize / 2, &mut pool);
        assert!(receiver.has_opened());
        receiver.buffer.clear(&mut pool);
    }
}
