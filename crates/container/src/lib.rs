//! Containers, made with the host kernel's own means (OCI Runtime Specification 1.2).
//!
//! [`Runtime::create`] creates a process in new namespaces ([`launch`]), which executes Trine again
//! ([`init`]), builds the container and waits; [`Container`] has the operations of other commands.

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
pub use create::{CreateOptions, Created, Runtime};
pub use error::{Error, Result};
pub use exec::{Executed, Execution};
pub use spec::Bundle;
pub use state::{ContainerState, Record, Status};
pub use trine_cgroup::Below;
