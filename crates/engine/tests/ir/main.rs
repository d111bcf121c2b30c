//! Blocks of IR through interpreter and compiler.

mod blocks;
mod cases;
mod files;
mod harness;
mod random;
