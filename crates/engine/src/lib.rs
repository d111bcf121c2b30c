//! The engines, which run guest code.
//!
//! * [`run`]: the dispatcher ([`run::Engine`] is a [`trine_base::Vcpu`]); `find`, `step`: its other parts.
//! * [`core`]: the state of a vCPU; [`tlb`], [`jumps`]: its caches; `stamps`: which of their
//!   entries are valid; [`access`]: what all accesses have in common.
//! * [`translations`]: decoded blocks ([`block`]) and their code, shared by vCPUs; `table`, `page_index`: where blocks are
//!   found; `links`: direct jumps between their codes; [`written`]: notes of changed code; [`epochs`]: when what was dropped
//!   is freed; `handshake`: how a page becomes code; `rest`: when a machine that rests gives them up.
//! * [`interp`]: the interpreter; [`fp`]: floating point in software; `helper`: calls of the CPU's own
//!   Rust functions.
//! * `debug`: breakpoints, watchpoints and steps of machines.
//! * `wide`: accesses of 16 bytes; `unaligned`: atomic ones at unaligned addresses.
//! * [`memory`]: how guest memory is reached, a type parameter: [`paged`], behind an MMU and the TLB, or [`direct`], programs,
//!   whose memory is the host's own.
//! * [`host`]: what compiles for the host and runs the result, under names that belong to no host; all but it is the same on
//!   every host. [`x64`] is what stands behind it. [`code`], `grow`: the memory for code and its tables. [`perf`]: names for it.

// Unit tests share a harness with the tests in `tests/ir`, which name this crate.
#[cfg(test)]
extern crate self as trine_engine;

pub mod access;
mod arena;
pub mod block;
pub mod code;
pub mod code_copies;
pub mod core;
mod debug;
pub mod direct;
pub mod epochs;
mod find;
pub mod fp;
mod grow;
mod handshake;
mod helper;
pub mod host;
pub mod interp;
pub mod jumps;
mod links;
pub mod memory;
mod page_index;
pub mod paged;
pub mod perf;
mod rest;
pub mod run;
mod stamps;
mod step;
mod sync;
mod table;
pub mod tlb;
mod trace;
pub mod translations;
mod unaligned;
mod wide;
pub mod written;
pub mod x64;

pub use crate::core::Time;
pub use direct::Direct;
pub use paged::Paged;
pub use perf::PerfMap;
pub use run::Engine;
pub use translations::{Tier, Translations};
pub use trine_base::Stats;
