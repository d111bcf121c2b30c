//! Bytes of a connection that wait, in chunks from a bounded pool.

use std::collections::VecDeque;
use std::io::IoSlice;

/// Bytes in a chunk.
pub(super) const CHUNK: usize = 64 << 10;
/// Less room than this at the end of the last chunk is not worth a system call.
const WORTHWHILE: usize = 8 << 10;
/// Empty chunks that are kept.
const KEPT: usize = 32;

/// The chunks of all connections of a network.
pub(super) struct Pool {
    free: Vec<Box<[u8]>>,
    used: usize,
    most: usize,
    /// Bytes of segments that came before their turn.
    held: usize,
}

impl Pool {
    /// A pool of so many bytes, of which each buffer may have one chunk even if they are used up: otherwise a few
    /// connections that are not read could stop all others.
    pub fn new(bytes: usize) -> Pool {
        Pool { free: Vec::new(), used: 0, most: bytes.div_ceil(CHUNK), held: 0 }
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used * CHUNK
    }

    /// Counts bytes outside of chunks, if there are few enough: a quarter of the pool in addition.
    pub fn hold(&mut self, bytes: usize) -> bool {
        let fits = self.held + bytes <= self.most * CHUNK / 4;
        self.held += if fits { bytes } else { 0 };
        fits
    }

    /// They are gone.
    pub fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
    }

    fn take(&mut self, is_first: bool) -> Option<Chunk> {
        if self.used >= self.most && !is_first {
            return None;
        }
        self.used += 1;
        let bytes = self.free.pop().unwrap_or_else(|| vec![0; CHUNK].into());
        Some(Chunk { bytes, start: 0, end: 0 })
    }

    fn give_back(&mut self, chunk: Chunk) {
        self.used -= 1;
        if self.free.len() < KEPT {
            self.free.push(chunk.bytes);
        }
    }
}

struct Chunk {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Chunk {
    fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

/// A queue of bytes. It must be emptied into its pool before it is dropped.
#[derive(Default)]
pub(super) struct Buffer {
    chunks: VecDeque<Chunk>,
    length: usize,
}

impl Buffer {
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Room for more at the end, at least [`WORTHWHILE`]; nothing if the pool is used up. What is written there is
    /// appended by [`Buffer::commit`].
    pub fn room(&mut self, pool: &mut Pool) -> &mut [u8] {
        if self.chunks.back().is_none_or(|c| CHUNK - c.end < WORTHWHILE) {
            match pool.take(self.chunks.is_empty()) {
                Some(chunk) => self.chunks.push_back(chunk),
                None => return &mut [],
            }
        }
        self.chunks.back_mut().map_or(&mut [], |c| &mut c.bytes[c.end..])
    }

    /// Appends bytes that were written to the room.
    pub fn commit(&mut self, count: usize) {
        if let Some(last) = self.chunks.back_mut() {
            let count = count.min(CHUNK - last.end);
            last.end += count;
            self.length += count;
        }
    }

    /// Appends what there is room for, and returns how much that was.
    pub fn push(&mut self, mut bytes: &[u8], pool: &mut Pool) -> usize {
        let all = bytes.len();
        while !bytes.is_empty() {
            let room = self.room(pool);
            let count = room.len().min(bytes.len());
            if count == 0 {
                break;
            }
            room[..count].copy_from_slice(&bytes[..count]);
            self.commit(count);
            bytes = &bytes[count..];
        }
        all - bytes.len()
    }

    /// Appends `count` bytes from `at` on to `to`: less if there are not so many.
    pub fn copy(&self, mut at: usize, mut count: usize, to: &mut Vec<u8>) {
        for chunk in &self.chunks {
            let data = chunk.data();
            if at >= data.len() {
                at -= data.len();
                continue;
            }
            let part = &data[at..][..count.min(data.len() - at)];
            to.extend_from_slice(part);
            (at, count) = (0, count - part.len());
            if count == 0 {
                return;
            }
        }
    }

    /// The first parts, for a system call.
    pub fn parts(&self) -> ([IoSlice<'_>; 8], usize) {
        let mut parts = [IoSlice::new(&[]); 8];
        let mut count = 0;
        for (part, chunk) in parts.iter_mut().zip(&self.chunks) {
            *part = IoSlice::new(chunk.data());
            count += 1;
        }
        (parts, count)
    }

    /// Removes bytes at the front.
    pub fn consume(&mut self, count: usize, pool: &mut Pool) {
        let mut count = count.min(self.length);
        self.length -= count;
        while let Some(first) = self.chunks.front_mut() {
            let here = count.min(first.end - first.start);
            first.start += here;
            count -= here;
            if first.start < first.end {
                break;
            }
            if let Some(chunk) = self.chunks.pop_front() {
                pool.give_back(chunk);
            }
        }
    }

    /// Removes all.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.length = 0;
        self.chunks.drain(..).for_each(|c| pool.give_back(c));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let mut pool = Pool::new(4 * CHUNK);
        let mut buffer = Buffer::default();
        let bytes: Vec<u8> = (0..3 * CHUNK + 77).map(|n| (n % 251) as u8).collect();
        assert_eq!(buffer.push(&bytes, &mut pool), bytes.len());
        assert_eq!(pool.used(), 4 * CHUNK);
        for (at, count) in [(0, 10), (CHUNK - 1, 2), (CHUNK, CHUNK), (5, 3 * CHUNK), (bytes.len() - 1, 9)] {
            let mut out = Vec::new();
            buffer.copy(at, count, &mut out);
            assert_eq!(out, bytes[at..(at + count).min(bytes.len())]);
        }
        buffer.consume(CHUNK + 5, &mut pool);
        assert_eq!((buffer.len(), pool.used()), (2 * CHUNK + 72, 3 * CHUNK));
        let (parts, count) = buffer.parts();
        assert_eq!(parts[..count].iter().flat_map(|p| p.to_vec()).collect::<Vec<_>>(), bytes[CHUNK + 5..]);
        buffer.consume(usize::MAX, &mut pool);
        assert_eq!((buffer.is_empty(), pool.used()), (true, 0));
    }

    #[test]
    fn a_used_up_pool_leaves_each_buffer_one_chunk() {
        let mut pool = Pool::new(2 * CHUNK);
        let (mut greedy, mut other) = (Buffer::default(), Buffer::default());
        assert_eq!(greedy.push(&vec![1; 3 * CHUNK], &mut pool), 2 * CHUNK);
        assert_eq!(other.push(&vec![2; 3 * CHUNK], &mut pool), CHUNK);
        assert!(other.room(&mut pool).is_empty());
        greedy.clear(&mut pool);
        assert_eq!(other.push(&vec![2; 3 * CHUNK], &mut pool), CHUNK);
        other.clear(&mut pool);
        assert_eq!(pool.used(), 0);
    }
}
