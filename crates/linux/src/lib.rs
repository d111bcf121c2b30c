//! Linux as a program of another CPU sees it: one table of system calls, and the implementation of those that
//! the host's kernel cannot serve unchanged.
//!
//! Programs are 64-bit and little-endian, and their addresses are the host's. So a row says `same` if the
//! host's call takes the same arguments and structures; the others convert them, or keep the program's own
//! state.
//!
//! * [`abi`]: what differs between CPUs. [`table`]: the calls. [`call`]: how one is made. [`strace`]: how one is shown. [`ioctl`]: requests to devices.
//!   [`page`]: all of it for readers.
//! * [`space`]: the address space. [`files`]: names of files. [`proc`]: files of `/proc`. [`structs`]: structures
//!   that differ.
//!   [`vectors`]: structures that hold further addresses.
//! * [`process_limits`]: limits and priorities of processes by their numbers.
//! * [`own`]: Trine's own executable. [`host`]: the host's kernel. [`info`]: what the program is told of its machine.

pub mod abi;
pub mod call;
pub mod errno;
pub mod files;
pub mod host;
pub mod info;
pub mod ioctl;
pub mod own;
pub mod page;
pub mod proc;
pub mod process_limits;
pub mod space;
pub mod strace;
pub mod structs;
pub mod table;
pub mod vectors;

pub use call::{Context, Guest};
pub use errno::Errno;
