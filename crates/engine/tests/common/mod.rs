//! Memory of programs for tests.

use std::sync::atomic::{AtomicU64, Ordering};
use trine_engine::direct;

/// New pages in the range of programs, all zeros; they stay until the test's process ends.
pub fn pages(count: u64) -> u64 {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // Programs are in the lower 256 GiB; if the place is taken the kernel chooses the next free one.
    static NEXT: AtomicU64 = AtomicU64::new(0x20_0000_0000);
    let hint = NEXT.fetch_add(0x100_0000, Ordering::SeqCst) as *mut libc::c_void;
    // SAFETY: a new mapping at an address where nothing is.
    let at = unsafe { libc::mmap(hint, count as usize * 4096, protection, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: the kernel places a test's executable and what it maps without a wish far above these addresses.
    unsafe { direct::claim_addresses() };
    at as u64
}

/// Writes instructions.
pub fn put(at: u64, code: &[u32]) {
    let bytes: Vec<u8> = code.iter().flat_map(|w| w.to_le_bytes()).collect();
    direct::write(at, &bytes).expect("written");
}
