//! `cargo xtask bench`: Trine, QEMU (crun and runc for containers) and the host itself in turn, with the same
//! work, in the same run.

mod containers;
mod loads;
mod machine;
mod measured;
mod programs;
mod whole;

use clap::{Parser, ValueEnum};
use std::process::ExitCode;

/// Measure against QEMU.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Cli {
    /// What to measure.
    #[arg(value_enum)]
    what: What,
    /// Runs of each (default: 5, of `machine` 3, with --quick 1).
    #[arg(long)]
    runs: Option<usize>,
    /// `machine`: measure for a shorter time.
    #[arg(long)]
    quick: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Start to the first output of the userland.
    Boot,
    /// Integer and floating-point loads inside the machine.
    Cpu,
    /// The same loads as programs, and real programs.
    Programs,
    /// Containers of a bundle, beside crun and runc.
    Containers,
    /// A whole Debian: boot, idling, memory, network, disk, compiling.
    Machine,
}

fn main() -> ExitCode {
    let Cli { what, runs, quick, json } = Cli::parse();
    let usual = match (what, quick) {
        (What::Machine, true) => 1,
        (What::Machine, false) => 3,
        _ => 5,
    };
    let runs = runs.unwrap_or(usual);
    let result = match what {
        What::Boot => machine::boot(runs, json),
        What::Cpu => machine::cpu(runs, json),
        What::Programs => programs::run(runs, json),
        What::Containers => containers::run(runs, json),
        What::Machine => whole::run(runs, quick, json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}
