//! `cargo xtask test network`: private networks and ports of containers, in network namespaces of the tests' own.

use trine_test_support::tools;

/// All of it: as root groups in the host's namespace (which is the test's own), and ordinary users' groups.
pub fn run() -> Result<(), String> {
    tools::cargo(&["test", "-p", "trine-hostnet", "--quiet"])
}
