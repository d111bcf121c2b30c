//! System state: CSRs, traps, address translation, physical memory protection.

pub mod cache;
pub mod csr;
pub mod hint;
pub mod mmu;
pub mod pmp;
pub mod trap;
