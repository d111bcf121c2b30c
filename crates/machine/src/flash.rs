//! A machine's flash memory.

use std::fmt;
use std::sync::Arc;
use trine_base::{BlockBackend, BlockError};
use trine_devices::flash::Changes;
use trine_memory::Contents;

/// Bytes of a file that are copied at a time.
const PIECE: u64 = 1 << 20;

/// A bank of flash of a machine to be made. Its copies share the contents, so that these stay when the guest resets its machine.
#[derive(Clone)]
pub struct FlashBank {
    /// Its bytes.
    pub contents: Arc<Contents>,
    /// What becomes of the guest's changes.
    pub changes: Changes,
}

/// What becomes of a guest's changes of a bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashAccess {
    /// They stay until the machine ends.
    Private,
    /// They go to the file.
    Write,
    /// They are refused.
    ReadOnly,
}

/// Why a file cannot be what a bank of flash holds.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// It does not fit.
    #[error("the file has {file} bytes, but this bank of flash has {bank} ({} MiB): it is for another board", .bank >> 20)]
    TooLarge {
        /// Bytes of the file.
        file: u64,
        /// Bytes of the bank.
        bank: u64,
    },
    /// The file is smaller, and changes are to be written to it.
    #[error(
        "the file has {file} bytes, and must have {bank} to be written to, as the bank of flash has: extend it with `truncate -s {bank}`"
    )]
    TooSmall {
        /// Bytes of the file.
        file: u64,
        /// Bytes of the bank.
        bank: u64,
    },
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] BlockError),
}

impl FlashBank {
    /// A bank of `size` bytes, all of them zero: QEMU's without a file are, too.
    pub fn blank(size: u64, read_only: bool) -> FlashBank {
        let changes = if read_only { Changes::Refused } else { Changes::Kept };
        FlashBank { contents: Arc::new(Contents::zeros(size)), changes }
    }

    /// A bank of `size` bytes with those of a file, and zeros behind them.
    ///
    /// # Errors
    /// The file cannot be read, is larger, or is smaller and to be written to.
    pub fn of_file(
        file: Arc<dyn BlockBackend>,
        size: u64,
        access: FlashAccess,
    ) -> Result<FlashBank, FlashError> {
        let (len, bank) = (file.size(), size);
        if len > size {
            return Err(FlashError::TooLarge { file: len, bank });
        }
        if access == FlashAccess::Write && len < size {
            return Err(FlashError::TooSmall { file: len, bank });
        }
        let FlashBank { contents, .. } = FlashBank::blank(size, false);
        let mut piece = vec![0; PIECE as usize];
        for at in (0..len).step_by(PIECE as usize) {
            let piece = &mut piece[..(len - at).min(PIECE) as usize];
            file.read_at(at, piece)?;
            // It fits: the lengths were compared.
            contents.write(at, piece);
        }
        let changes = match access {
            FlashAccess::Private => Changes::Kept,
            FlashAccess::Write => Changes::Saved(file),
            FlashAccess::ReadOnly => Changes::Refused,
        };
        Ok(FlashBank { contents, changes })
    }

    /// Whether the guest's changes are refused.
    pub fn read_only(&self) -> bool {
        matches!(self.changes, Changes::Refused)
    }
}

impl fmt::Debug for FlashBank {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "FlashBank({} bytes)", self.contents.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_file_is_followed_by_zeros_and_must_fit() {
        let file = |len: usize| -> Arc<dyn BlockBackend> { Arc::new(Mutex::new(vec![7u8; len])) };
        let bank = |len, access| FlashBank::of_file(file(len), 3 << 20, access);
        let small = bank((2 << 20) + 512, FlashAccess::Private).unwrap();
        let mut bytes = vec![0; 3 << 20];
        small.contents.read(0, &mut bytes).unwrap();
        let (own, behind) = bytes.split_at((2 << 20) + 512);
        assert!(own.iter().all(|b| *b == 7) && behind.iter().all(|b| *b == 0));
        assert!(!small.read_only() && bank(512, FlashAccess::ReadOnly).unwrap().read_only());
        assert!(matches!(bank(3 << 20, FlashAccess::Write).unwrap().changes, Changes::Saved(_)));
        let error = |len, access| bank(len, access).unwrap_err().to_string();
        let large = error((3 << 20) + 512, FlashAccess::Private);
        assert!(large.contains("has 3146240 bytes, but this bank of flash has 3145728 (3 MiB)"), "{large}");
        assert!(error(512, FlashAccess::Write).contains("must have 3145728 to be written to"));
        // A copy is the same flash.
        small.clone().contents.write(0, &[1]).unwrap();
        small.contents.read(0, &mut bytes[..1]).unwrap();
        assert_eq!(bytes[0], 1);
    }
}
