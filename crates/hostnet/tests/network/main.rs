//! Tests of networks and ports, in network namespaces of their own: each test's thread leaves the host's
//! network first.

mod machine;
mod place;
mod ports;
mod root;
mod rootless;
