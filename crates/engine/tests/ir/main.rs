//! Blocks of IR through interpreter and compiler.

mod files;
mod harness;
mod random;
