//! x86 instructions against the host's own CPU.

#![cfg(target_arch = "x86_64")]

use trine_conformance::x86::native::Native;
use trine_conformance::x86::{differences, generate};

#[test]
fn random_instructions_do_what_the_hosts_cpu_does() {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (seed, count) = (number("SEED", 1), number("CASES", 20_000));
    let mut native = Native::new();
    let found = differences(&mut native, &generate::cases(seed, count as usize));
    let shown: Vec<&str> = found.iter().take(20).map(String::as_str).collect();
    assert!(found.is_empty(), "{} of {count}:\n{}", found.len(), shown.join("\n"));
}
