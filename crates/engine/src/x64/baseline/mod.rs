//! The baseline compiler: blocks from IR to code in one pass, guest registers in host registers inside a block.

mod answers;
pub mod emit;
mod evict;
mod exits;
mod loops;
pub mod pinned;
pub mod regs;
