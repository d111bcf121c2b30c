//! Segments from the guest that came before their turn, because one before them was lost.

use super::buffer::Pool;
use super::sender::is_before;

/// Segments of one connection that are kept.
const MOST: usize = 64;

/// A segment: its number, its bytes, whether FIN follows.
struct Piece {
    seq: u32,
    bytes: Vec<u8>,
    fin: bool,
}

/// Segments that wait for one before them. They must be cleared into their pool before they are dropped.
#[derive(Default)]
pub(super) struct Early(Vec<Piece>);

impl Early {
    /// Keeps a segment, if there is room for it. If not, the guest will send it again.
    pub fn keep(&mut self, seq: u32, bytes: &[u8], fin: bool, pool: &mut Pool) {
        let known = self.0.iter().any(|p| p.seq == seq && p.bytes.len() >= bytes.len());
        if !known && self.0.len() < MOST && pool.hold(bytes.len()) {
            self.0.push(Piece { seq, bytes: bytes.to_vec(), fin });
        }
    }

    /// Removes a segment that has bytes at `next`, the number that is expected now, or only older ones.
    pub fn take(&mut self, next: u32, pool: &mut Pool) -> Option<(u32, Vec<u8>, bool)> {
        let at = self.0.iter().position(|p| !is_before(next, p.seq))?;
        let piece = self.0.swap_remove(at);
        pool.release(piece.bytes.len());
        Some((piece.seq, piece.bytes, piece.fin))
    }

    /// Removes all.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.0.drain(..).for_each(|p| pool.release(p.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_come_out_when_it_is_their_turn() {
        let mut pool = Pool::new(1 << 20);
        let mut early = Early::default();
        early.keep(u32::MAX - 1, b"abc", false, &mut pool);
        early.keep(u32::MAX - 1, b"abc", false, &mut pool);
        early.keep(10, b"xyz", true, &mut pool);
        assert_eq!(early.take(u32::MAX - 2, &mut pool), None);
        assert_eq!(early.take(u32::MAX, &mut pool), Some((u32::MAX - 1, b"abc".to_vec(), false)));
        assert_eq!(early.take(9, &mut pool), None);
        assert_eq!(early.take(10, &mut pool), Some((10, b"xyz".to_vec(), true)));
        for n in 0..1000 {
            early.keep(n * 65_536, &[0; 65_000], false, &mut pool);
        }
        assert_eq!(early.0.len(), 4, "a quarter of the pool");
        early.clear(&mut pool);
        assert!(pool.hold(1 << 18));
    }
}
