//! The network of containers and machines, made with the host kernel's own means. Members of a *group* share a private
//! network (a bridge, an IPv4 /24, an IPv6 /64), find each other by name, and cannot reach other groups;
//! *ports* of the host are forwarded to ports of a guest.
//!
//! All calls block and are made by the guest's monitor; nothing here runs as a service. Everything is
//! recorded before it is created, so that [`Network::repair`] finds it after any process was killed at any
//! moment.
//!
//! For root, the bridge is in the network namespace of the caller. An ordinary user's bridge is in a
//! namespace that a small process, the *holder*, keeps, and a *cable* connects each guest with it. A machine has no namespace:
//! its *port* is a TAP device on the bridge.

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
mod tap;
mod uplink;
mod worker;

pub use error::Error;
pub use names::is_host;
pub use network::{Addresses, Join, Joined, Mode, Network};
pub use ports::{Open, PortMap, Ports, Protocol};
pub use tap::Port;

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;
