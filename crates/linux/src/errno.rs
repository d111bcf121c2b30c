//! Error numbers: the same on the host and in its guests (asm-generic).

/// A Linux error number, such as `libc::ENOENT`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

/// The system call was interrupted before it had an effect, and will be restarted (the kernel's internal
/// number for that, which programs never see).
pub const RESTART: Errno = Errno(512);

impl Errno {
    /// The error of the host's last C library call.
    pub fn last() -> Errno {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// Converts the kernel's result of a system call.
    pub fn check(result: i64) -> Result<u64, Errno> {
        if (-4095..0).contains(&result) { Err(Errno(-result as i32)) } else { Ok(result as u64) }
    }

    /// Converts a result to the value of a register.
    pub fn value(result: Result<u64, Errno>) -> u64 {
        result.unwrap_or_else(|e| (e.0 as i64).wrapping_neg() as u64)
    }
}
