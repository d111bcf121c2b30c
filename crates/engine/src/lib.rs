//! The engines: what runs guest code.
//!
//! * [`run`]: the dispatcher ([`run::Engine`] is a [`trine_base::Vcpu`]).
//! * [`core`]: the state of a vCPU; [`tlb`], [`jumps`]: its caches; `stamps`: which of their
//!   entries are valid; [`access`]: what misses them.
//! * [`block`], [`store`]: decoded blocks and where they are kept; `links`: direct jumps between their codes.
//! * [`interp`]: the interpreter; [`fp`]: floating point in software; `helper`: calls of the CPU's own
//!   Rust functions.
//! * [`direct`]: programs, whose memory is the host's own.
//! * [`host`]: what compiles for the host and runs the result, under names that belong to no host; all but it is the same on
//!   every host. [`x64`] is what stands behind it. [`code`], `grow`: the memory for code and its tables. [`perf`]: names for it.

pub mod access;
mod arena;
pub mod block;
pub mod code;
mod copies;
pub mod core;
pub mod direct;
pub mod fp;
mod grow;
mod helper;
pub mod host;
pub mod interp;
pub mod jumps;
mod links;
pub mod perf;
pub mod run;
mod stamps;
pub mod store;
pub mod tlb;
pub mod x64;

pub use crate::core::Time;
pub use perf::PerfMap;
pub use run::{Engine, Stats, Tier};
