//! Programs: Linux executables of another CPU, each on virtual CPUs of its own, whose system calls are served
//! by the host's kernel.
//!
//! * [`elf`]: the executable and its interpreter. [`stack`]: the initial stack. [`vdso`]: the kernel's shared
//!   object.
//! * [`process`]: what threads share. [`thread`]: one thread, and the loop that runs it.
//! * [`signal`]: signals, from the host to the program's handlers. [`pending`]: signals that the host cannot
//!   keep pending. [`clone`]: threads and children.
//! * [`guests`]: the supported CPUs.
//! * [`exec`]: executing other programs. [`debug`]: gdb. [`confine`]: limits and restrictions.
//! * [`core`]: core dumps. [`symbols`]: names of code for `perf`.

pub mod clone;
pub mod confine;
pub mod core;
pub mod debug;
pub mod elf;
pub mod error;
pub mod exec;
mod fork;
pub mod guests;
pub mod pending;
pub mod process;
mod share;
mod shown;
pub mod signal;
pub mod stack;
pub mod symbols;
pub mod thread;
pub mod vdso;
mod vfork;

pub use error::ProgramError;
pub use process::{ProgramOptions, run};
pub use trine_gdb::Address;
