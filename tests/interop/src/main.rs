//! Tests with software of others: QEMU, gdb, perf, registries, container engines, firmware. `cargo xtask test
//! PART` runs them.

mod calls;
mod coredump;
mod debian;
mod debugger;
mod edk2;
mod engines;
mod firmware;
mod images;
mod machine_debugger;
mod perfmap;
mod torture;

use std::process::ExitCode;
use trine_test_support::parts;

parts! { Interop:
    "firmware" => firmware::firmware,
    "gdb" => debugger::run,
    "perf-map" => perfmap::run,
    "calls" => calls::run,
    "images" => images::run,
    "containerd" => engines::containerd,
    "podman" => engines::podman,
    "docker" => engines::docker::run,
    "torture-O0" => || torture::run("-O0"),
    "torture-O2" => || torture::run("-O2"),
    "debian" => debian::run,
}

fn main() -> ExitCode {
    match images::unpacking() {
        Some(code) => code,
        None => parts::main(PARTS),
    }
}
