//! Which queue pair the frames of a flow go to: the one by which the guest last sent one of that flow (virtio 1.2,
//! 5.1.6.5.6), so that both directions are served by the same vCPU.

/// Number of entries; flows with the same hash share one.
const ENTRIES: usize = 256;

/// The pairs of flows. It is not saved: flows find their pairs again.
pub struct Flows {
    pairs: u16,
    by_hash: [u8; ENTRIES],
}

impl Flows {
    /// All flows over `pairs` pairs, at least 1, in turn.
    pub fn new(pairs: u16) -> Flows {
        let pairs = pairs.max(1);
        Flows { pairs, by_hash: std::array::from_fn(|i| (i % pairs as usize) as u8) }
    }

    /// The guest has sent a frame by a pair.
    pub fn sent(&mut self, frame: &[u8], pair: u16) {
        if self.pairs > 1 && pair < self.pairs {
            self.by_hash[hash(frame)] = pair as u8;
        }
    }

    /// The pair for a frame to the guest.
    pub fn pair(&self, frame: &[u8]) -> u16 {
        if self.pairs == 1 { 0 } else { self.by_hash[hash(frame)].into() }
    }
}

/// A hash of addresses and ports that is the same for both directions; that of frames which are not IP is 0.
fn hash(frame: &[u8]) -> usize {
    let bytes = |at: usize, len: usize| frame.get(at..at + len).unwrap_or_default();
    let ([addresses, protocol], header, whole) = match bytes(12, 2) {
        [0x08, 0x00] => {
            let header = 4 * (bytes(14, 1).first().unwrap_or(&0) & 15) as usize;
            let fragment = !matches!(bytes(20, 2), [a, 0] if a & 0x3f == 0);
            ([bytes(26, 8), bytes(23, 1)], header, !fragment)
        }
        [0x86, 0xdd] => ([bytes(22, 32), bytes(20, 1)], 40, true),
        _ => return 0,
    };
    let ports = if whole && matches!(protocol, [6 | 17]) { bytes(14 + header, 4) } else { &[] };
    let half = |both: &[u8]| -> u64 {
        let (from, to) = both.split_at(both.len() / 2);
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |n, &b| n.rotate_left(8) ^ b as u64);
        number(from).wrapping_add(number(to))
    };
    // Fibonacci hashing: the upper bits of the product depend on all bits of the sum.
    let mixed = half(addresses).wrapping_add(half(ports).rotate_left(24)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as usize % ENTRIES
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP segment over IPv4 or IPv6 from one host and port to another.
    fn frame(v6: bool, from: (u8, u16), to: (u8, u16)) -> Vec<u8> {
        let mut frame = vec![0; 12];
        if v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
            [from.0, to.0].iter().for_each(|&host| frame.extend([[0; 15].as_slice(), &[host]].concat()));
        } else {
            frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
            [from.0, to.0].iter().for_each(|&host| frame.extend([10, 0, 0, host]));
        }
        [from.1, to.1].iter().for_each(|port| frame.extend(port.to_be_bytes()));
        frame
    }

    #[test]
    fn both_directions_of_a_flow_have_one_pair() {
        for v6 in [false, true] {
            let mut flows = Flows::new(8);
            let mut seen = std::collections::BTreeSet::new();
            for port in 1000..1100 {
                let (us, them) = ((15, port), (2, 443));
                flows.sent(&frame(v6, us, them), port % 8);
                assert_eq!(flows.pair(&frame(v6, them, us)), port % 8);
                seen.insert(hash(&frame(v6, us, them)));
            }
            assert!(seen.len() > 50, "different flows have different hashes: {}", seen.len());
        }
    }

    #[test]
    fn any_bytes_have_a_pair() {
        let flows = Flows::new(3);
        let long = frame(false, (1, 1), (2, 2));
        for len in 0..long.len() {
            assert!(flows.pair(&long[..len]) < 3);
        }
        assert_eq!((flows.pair(&[0xff; 60]), Flows::new(0).pair(&long)), (0, 0));
        let mut one = Flows::new(2);
        one.sent(&long, 9);
        assert!(one.pair(&long) < 2);
    }
}
