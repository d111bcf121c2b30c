//! The source of a machine's randomness. Like time it is outside input, so a repeatable run brings its own
//! source.

use crate::StateError;
use crate::state::{self, Versioned};

/// A source of random bytes.
pub trait Random: Send {
    /// Fills the whole slice.
    fn fill(&mut self, bytes: &mut [u8]);

    /// Saves the state of the source.
    fn save(&self) -> Vec<u8>;

    /// Continues from the saved state of a source of the same kind.
    fn load(&mut self, state: &[u8]) -> Result<(), StateError>;
}

#[derive(serde::Serialize, serde::Deserialize, PartialEq, Eq, Debug)]
enum Source {
    Host,
    Seeded(u64),
}

crate::versions!(Saved of "the source of randomness" { V1(Source) });

/// Fills the whole slice with the host's random bytes.
pub fn fill(bytes: &mut [u8]) {
    let mut done = 0;
    while done < bytes.len() {
        // SAFETY: the pointer and length describe the rest of `bytes`.
        let n = unsafe { libc::getrandom(bytes[done..].as_mut_ptr().cast(), bytes.len() - done, 0) };
        done += usize::try_from(n).unwrap_or(0);
    }
}

/// The host's randomness.
pub struct HostRandom;

impl Random for HostRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        fill(bytes);
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(Source::Host))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        match state::load(state)? {
            Saved::V1(Source::Host) => Ok(()),
            Saved::V1(Source::Seeded(_)) => {
                Err(Saved::mismatch("it has a seed, but this machine uses the host's randomness"))
            }
        }
    }
}

/// A generator for repeatable runs (SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
pub struct SeededRandom {
    state: u64,
}

impl SeededRandom {
    /// Creates a generator; the same seed gives the same bytes.
    pub fn new(seed: u64) -> SeededRandom {
        SeededRandom { state: seed }
    }
}

impl Random for SeededRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            let word = (z ^ z >> 31).to_le_bytes();
            chunk.iter_mut().zip(word).for_each(|(to, b)| *to = b);
        }
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(Source::Seeded(self.state)))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        match state::load(state)? {
            Saved::V1(Source::Seeded(state)) => self.state = state,
            Saved::V1(Source::Host) => {
                return Err(Saved::mismatch("it is the host's randomness, but this machine has a seed"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(source: &mut dyn Random) -> [u8; 20] {
        let mut bytes = [0; 20];
        source.fill(&mut bytes);
        bytes
    }

    #[test]
    fn a_seed_repeats_and_a_saved_source_goes_on() {
        let (mut a, mut b) = (SeededRandom::new(5), SeededRandom::new(5));
        assert_eq!(bytes(&mut a), bytes(&mut b));
        let mut c = SeededRandom::new(6);
        c.load(&a.save()).unwrap();
        let next = bytes(&mut a);
        assert_eq!((bytes(&mut c), bytes(&mut b)), (next, next));
        assert_ne!(bytes(&mut SeededRandom::new(6)), next);
    }

    #[test]
    fn the_host_has_bytes_and_no_state() {
        let mut host = HostRandom;
        assert_ne!(bytes(&mut host), bytes(&mut host));
        assert_eq!(host.load(&HostRandom.save()), Ok(()));
        let mut seeded = SeededRandom::new(1);
        assert!(matches!(host.load(&seeded.save()), Err(StateError::Mismatch { .. })));
        assert!(matches!(seeded.load(&host.save()), Err(StateError::Mismatch { .. })));
    }
}
