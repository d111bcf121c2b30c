//! Copying between guest memory and Rust's. Others write guest memory meanwhile, so neither references to it nor the copying
//! of the standard library will do.

/// From so many bytes on, [`bytes`] is faster than word by word.
pub const MANY: usize = 128;

/// Copies bytes by the host's string instruction, in no order that another thread may rely on.
///
/// # Safety
/// `from` may be read and `to` written for `len` bytes. If `from` is not guest memory, nobody writes it; if `to` is not,
/// nobody else uses it.
#[cfg(target_arch = "x86_64")]
pub unsafe fn bytes(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: by the caller; the direction flag is clear between instructions of Rust.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
}

/// The same on other hosts.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "x86_64"))]
pub unsafe fn bytes(to: *mut u8, from: *const u8, len: usize) {
    use std::sync::atomic::{AtomicU8, Ordering};
    for at in 0..len {
        // SAFETY: inside both, by the caller.
        unsafe {
            let byte = AtomicU8::from_ptr(from.add(at).cast_mut()).load(Ordering::Relaxed);
            AtomicU8::from_ptr(to.add(at)).store(byte, Ordering::Relaxed);
        }
    }
}
