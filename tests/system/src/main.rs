//! Tests of the whole: machines, programs, containers and their lifecycle, through the commands that users
//! call. `cargo xtask test PART` runs them.

mod as_machine;
mod binfmt;
mod boot;
mod check;
mod containers;
mod devices;
mod ends;
mod leaks;
mod link;
mod litmus;
mod runtime;
mod shares;
mod snapshots;
mod soak;
mod stress;
mod verbs;
mod whole_debian;

use std::process::ExitCode;
use trine_test_support::parts;

parts! { System:
    "boot" => boot::boot,
    "boots" => boot::boots,
    "lockstep" => boot::lockstep,
    "litmus" => || litmus::run(100_000),
    "litmus-long" => || litmus::run(1_000_000),
    "ends" => ends::ends,
    "devices" => devices::run,
    "shares" => shares::run,
    "whole-debian" => whole_debian::run,
    "debian-boots" => whole_debian::boots_of_debian,
    "as-machine" => as_machine::run,
    "binfmt" => binfmt::run,
    "runtime" => runtime::run,
    "containers" => containers::run,
    "verbs" => verbs::run,
    "snapshots-short" => || snapshots::run(5),
    "snapshots" => || snapshots::run(200),
    "soak-short" => soak::short,
    "soak-1" => || soak::part(1),
    "soak-2" => || soak::part(2),
    "soak-3" => || soak::part(3),
    "soak-4" => || soak::part(4),
    "leaks" => leaks::run,
    "stress-short" => || stress::run(5),
    "stress" => || stress::run(600),
}

fn main() -> ExitCode {
    parts::main(PARTS)
}
