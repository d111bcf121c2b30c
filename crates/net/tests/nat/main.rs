//! A guest (smoltcp's own stack) behind a user-mode network, with servers on this host's loopback.

mod guest;
mod host;
mod tcp;
