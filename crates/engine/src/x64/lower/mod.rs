//! Lowering: from IR instructions to the host's.

mod atomic;
mod carry;
pub mod facts;
mod float;
mod integer;
mod memory;
mod quiet;
mod vector;
