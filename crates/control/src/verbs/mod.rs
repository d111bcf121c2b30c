//! The implementation of the commands; `crates/trine` parses their options.
//!
//! * [`create`]: `run`, `start`. [`attach`]: `attach`, `exec`. [`change`]: `stop`, `kill`, `pause`, `resume`, `wait`, `rm`.
//! * [`show`]: `ps`, `inspect`. [`logs`]. [`stats`]: `stats`, `top`. [`events`].

pub mod attach;
pub mod change;
pub mod create;
pub mod events;
pub mod format;
pub mod logs;
pub mod show;
pub mod stats;
