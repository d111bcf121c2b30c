//! Containers: the host's kernel, divided (OCI Runtime Specification 1.2).

pub mod image;
pub mod process;
pub mod seccomp;
