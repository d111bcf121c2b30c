//! Interrupt controllers.

pub mod plic;

pub use plic::Plic;
