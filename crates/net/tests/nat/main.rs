//! A guest (smoltcp's own stack, or frames made by hand) behind a user-mode network, with servers on this host's loopback.

mod forwards;
mod guest;
mod host;
mod isolation;
mod raw;
mod services;
mod tcp;
mod udp;
mod woken;
