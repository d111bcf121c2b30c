//! Containers: the host's kernel, divided (OCI Runtime Specification 1.2).
//!
//! [`Runtime::create`] makes a process in new namespaces ([`launch`]), which executes Trine again ([`init`]), puts the
//! container together and waits; [`Container`] is what other commands do with it then.

pub mod channel;
pub mod container;
pub mod create;
pub mod error;
pub mod exec;
pub mod hooks;
pub mod idmap;
pub mod image;
pub mod init;
pub mod launch;
pub mod namespaces;
pub mod plan;
pub mod process;
pub mod rootfs;
pub mod seccomp;
pub mod spec;
pub mod state;
pub mod sys;

pub use container::Container;
pub use create::{Created, Options, Runtime};
pub use error::{Error, Result};
pub use exec::{Executed, Execution};
pub use spec::Bundle;
pub use state::{Record, State, Status};
pub use trine_cgroup::Below;
