//! The network of containers: the host kernel's own, divided. Members of a *group* share a private network (a bridge,
//! an IPv4 /24, an IPv6 /64), find each other by name, and see no other group; *ports* of the host lead to ports of a
//! guest.
//!
//! All calls block and are made by the process that watches over a guest; nothing here runs as a service. What is made
//! is recorded before it is made, so that [`Network::repair`] finds it after any process was killed at any moment.
//!
//! Privileged, the bridge is in the network namespace of the caller. An ordinary user's bridge is in a namespace that a
//! small process, the *holder*, keeps, and a *cable* connects each guest with it.

mod addresses;
mod cable;
mod error;
pub mod files;
mod holder;
mod inside;
mod names;
mod netlink;
mod network;
pub mod ports;
mod records;
mod rules;
mod sys;
mod uplink;
mod worker;

pub use error::Error;
pub use names::is_host;
pub use network::{Addresses, Join, Joined, Mode, Network};
pub use ports::{Open, PortMap, Ports, Protocol};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
