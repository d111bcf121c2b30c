//! A folder of the host, served to a guest by the FUSE protocol (Linux, include/uapi/linux/fuse.h, version 7.38).
//!
//! The guest is not trusted: whatever it asks for, nothing outside the folder is opened, changed or named. Each step is one name
//! below a descriptor, opened by `openat2` with `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS` and `RESOLVE_NO_MAGICLINKS`; a symbolic link is
//! data, which the guest's own kernel follows. Only regular files and directories are ever opened.
//!
//! * [`Folder`]: what is shared, and how; [`Server`]: one guest's session with it, which any number of threads serve.
//! * `wire`: layouts of requests and replies; `nodes`: the files that the guest knows; `handles`: those that it has open; `ops`: the
//!   requests; `thread`: what the serving threads give up; `saved`: the saved state.

mod folder;
mod handles;
mod nodes;
mod ops;
mod saved;
mod server;
mod thread;
mod wire;

pub use folder::{Access, Folder, ShareError, raise_limit_of_files};
pub use server::Server;
pub use wire::{MOST_REQUEST, SHORTEST_REPLY};

#[cfg(test)]
mod tests;
