//! x86 instructions against the host's own CPU: a few, as the part `x86` has more.

#![cfg(target_arch = "x86_64")]

use trine_conformance::x86::native::Native;
use trine_conformance::x86::{differences, generate};

#[test]
fn random_instructions_do_what_the_hosts_cpu_does() {
    let found = differences(&mut Native::new(), &generate::cases(1, 5_000));
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}
