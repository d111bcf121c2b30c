//! Networks and ports, in network namespaces of the tests' own: each test's thread leaves the host's network first.

mod place;
mod ports;
mod root;
mod rootless;
