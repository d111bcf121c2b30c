//! Programs: Linux executables of another CPU, each on a virtual CPU of its own, their system calls served by the
//! host's kernel.
//!
//! * [`elf`]: the executable and its interpreter. [`stack`]: what `main` finds. [`vdso`]: what the kernel adds.
//! * [`process`]: what threads share. [`thread`]: one thread, and the loop that runs it.
//! * [`signal`]: signals, from the host to the program's handlers. [`pending`]: those that wait where the host cannot
//!   keep them. [`clone`]: threads and children.
//! * [`guests`]: the CPUs.
//! * [`exec`]: other programs in this one's place. [`debug`]: gdb. [`confine`]: limits and refusals.
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
pub use process::{Options, run};
pub use trine_gdb::Address;
