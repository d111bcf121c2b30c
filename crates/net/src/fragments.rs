//! Fragments of the guest's packets are put together (RFC 791 section 3.2, RFC 8200 section 4.5).

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Packets of which some fragments are there, at once; further ones replace the oldest. Each has at most 64 KiB.
const PACKETS: usize = 16;
/// Fragments of one packet.
const PIECES: usize = 128;
/// How long a packet waits for its fragments, in nanoseconds.
const PATIENCE: u64 = 15_000_000_000;

/// What fragments of the same packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub source: IpAddr,
    pub target: IpAddr,
    pub protocol: u8,
    pub ident: u32,
}

/// A fragment.
pub(crate) struct Fragment<'a> {
    /// Where it belongs in the packet's payload, in bytes.
    pub offset: usize,
    pub more: bool,
    pub payload: &'a [u8],
}

struct Packet {
    key: Key,
    since: u64,
    pieces: BTreeMap<usize, Vec<u8>>,
    /// The length of the whole, once the last fragment has come.
    length: Option<usize>,
}

/// The packets of which some fragments are there.
#[derive(Default)]
pub(crate) struct Fragments(Vec<Packet>);

impl Fragments {
    /// Takes a fragment, and returns the packet's payload when it is complete.
    pub fn input(&mut self, key: Key, fragment: &Fragment, now: u64) -> Option<Vec<u8>> {
        let end = fragment.offset + fragment.payload.len();
        if fragment.payload.is_empty()
            || end > 0xffff
            || (fragment.more && !fragment.payload.len().is_multiple_of(8))
        {
            return None;
        }
        let at = self.0.iter().position(|p| p.key == key).unwrap_or_else(|| self.begin(key, now));
        let packet = &mut self.0[at];
        if !packet.fits(fragment, end) {
            // Overlapping fragments are an attack on somebody who puts them together in another way (RFC 5722).
            self.0.swap_remove(at);
            return None;
        }
        packet.pieces.insert(fragment.offset, fragment.payload.to_vec());
        if !fragment.more {
            packet.length = Some(end);
        }
        let there: usize = packet.pieces.values().map(Vec::len).sum();
        if packet.length != Some(there) {
            return None;
        }
        Some(self.0.swap_remove(at).pieces.into_values().collect::<Vec<_>>().concat())
    }

    fn begin(&mut self, key: Key, now: u64) -> usize {
        if self.0.len() >= PACKETS
            && let Some(oldest) = (0..self.0.len()).min_by_key(|&n| self.0[n].since)
        {
            self.0.swap_remove(oldest);
        }
        self.0.push(Packet { key, since: now, pieces: BTreeMap::new(), length: None });
        self.0.len() - 1
    }

    /// Whether [`Fragments::expire`] may have something to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets packets whose fragments do not come.
    pub fn expire(&mut self, now: u64) {
        self.0.retain(|p| now.saturating_sub(p.since) < PATIENCE);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Packet {
    fn fits(&self, fragment: &Fragment, end: usize) -> bool {
        let before = self.pieces.range(..end).next_back();
        let overlaps = before.is_some_and(|(&at, piece)| at + piece.len() > fragment.offset);
        let behind_end = self.length.is_some_and(|length| end > length || !fragment.more);
        let last = self.pieces.last_key_value().map_or(0, |(&at, piece)| at + piece.len());
        self.pieces.len() < PIECES && !overlaps && !behind_end && (fragment.more || last <= fragment.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ident: u32) -> Key {
        Key { source: [10, 0, 2, 15].into(), target: [10, 0, 2, 2].into(), protocol: 17, ident }
    }

    #[test]
    fn fragments_in_any_order_are_put_together_and_odd_ones_are_not() {
        let whole: Vec<u8> = (0..50).collect();
        let piece =
            |from: usize, to: usize| Fragment { offset: from, more: to < 50, payload: &whole[from..to] };
        let cases: [(&[(usize, usize)], bool); 6] = [
            (&[(0, 16), (16, 32), (32, 50)], true),
            (&[(32, 50), (0, 16), (16, 32)], true),
            (&[(0, 16), (32, 50)], false),
            (&[(0, 16), (8, 32), (32, 50)], false),
            (&[(16, 32), (0, 48), (48, 50)], false),
            (&[(0, 16), (16, 31), (31, 50)], false),
        ];
        for (n, (pieces, complete)) in cases.into_iter().enumerate() {
            let mut fragments = Fragments::default();
            let take = |&(from, to): &(usize, usize)| fragments.input(key(7), &piece(from, to), 0);
            let found: Vec<Vec<u8>> = pieces.iter().filter_map(take).collect();
            assert_eq!(found.first() == Some(&whole), complete, "case {n}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut fragments = Fragments::default();
        let payload = vec![0; 1480];
        for ident in 0..1000 {
            for n in 0..60 {
                let fragment = Fragment { offset: n * 1480, more: true, payload: &payload };
                assert_eq!(fragments.input(key(ident), &fragment, ident.into()), None);
            }
        }
        assert_eq!(fragments.0.len(), PACKETS);
        assert!(fragments.0.iter().all(|p| p.pieces.len() <= 45));
        fragments.expire(u64::MAX);
        assert!(fragments.is_empty());
    }
}
