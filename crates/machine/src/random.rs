//! Where the randomness of a machine's guest comes from.

use trine_devices::virtio::rng::Source;

/// The host's randomness, or, for repeatable runs, a generator that starts with `seed`.
pub fn source(seed: Option<u64>) -> Source {
    match seed {
        Some(seed) => Box::new(seeded(seed)),
        None => Box::new(of_the_host),
    }
}

fn of_the_host(buf: &mut [u8]) {
    let mut done = 0;
    while done < buf.len() {
        // SAFETY: the pointer and length describe the rest of `buf`.
        let n = unsafe { libc::getrandom(buf[done..].as_mut_ptr().cast(), buf.len() - done, 0) };
        done += usize::try_from(n).unwrap_or(0);
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn seeded(seed: u64) -> impl FnMut(&mut [u8]) + Send + 'static {
    let mut state = seed;
    move |buf: &mut [u8]| {
        for chunk in buf.chunks_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (z ^ z >> 31).to_le_bytes();
            chunk.iter_mut().zip(bytes).for_each(|(to, b)| *to = b);
        }
    }
}
