//! What differs between the CPUs that programs are for. Each CPU has a file here; everything else is the same for all.

pub mod generic;
mod numbering;
pub mod riscv64;

pub use numbering::Numbering;

/// A program's CPU as system calls and files of `/proc` show it. A value, and no type parameter, so that the table of
/// calls is one for all CPUs.
pub struct Machine {
    /// What `uname` calls it.
    pub name: &'static str,
    /// Its numbers of system calls.
    pub calls: &'static Numbering,
}
