//! The disk behind a block device.

use std::io;

/// Why a request to a disk failed.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The request reaches past the end of the disk.
    #[error("access of {len} bytes at {offset} is outside the disk of {size} bytes")]
    OutOfRange {
        /// Byte offset of the request.
        offset: u64,
        /// Length of the request in bytes.
        len: u64,
        /// Size of the disk in bytes.
        size: u64,
    },
    /// The disk was opened read-only.
    #[error("the disk is read-only")]
    ReadOnly,
    /// The host's file system reported an error.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A disk: a sequence of bytes. A transfer is complete or an error; there are no short transfers.
pub trait BlockBackend: Send {
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Whether [`BlockBackend::write_at`] is refused.
    fn read_only(&self) -> bool;
    /// Fills `buf` from byte `offset`.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError>;
    /// Stores `buf` at byte `offset`.
    fn write_at(&mut self, offset: u64, buf: &[u8]) -> Result<(), BlockError>;
    /// Makes what was written durable.
    fn flush(&mut self) -> Result<(), BlockError>;
}
