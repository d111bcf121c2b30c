//! Error numbers: the same on the host and in its guests (asm-generic).

/// A Linux error number, such as `libc::ENOENT`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

/// The system call was interrupted before it did anything and is to be made again
/// (the kernel's own number for it, which no program sees).
pub const RESTART: Errno = Errno(512);

impl Errno {
    /// What the host's C library noted last.
    pub fn last() -> Errno {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// The result of a system call as the kernel gives it.
    pub fn check(result: i64) -> Result<u64, Errno> {
        if (-4095..0).contains(&result) { Err(Errno(-result as i32)) } else { Ok(result as u64) }
    }

    /// What a register gets.
    pub fn value(result: Result<u64, Errno>) -> u64 {
        result.unwrap_or_else(|e| (e.0 as i64).wrapping_neg() as u64)
    }
}
