//! `cargo xtask bench`: Trine, QEMU (crun and runc for containers) and the host itself in turn, with the same
//! work, in the same run.

mod containers;
mod loads;
mod machine;
mod measured;
mod programs;

use clap::{Parser, ValueEnum};
use std::process::ExitCode;

/// Measure against QEMU.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Cli {
    /// What to measure.
    #[arg(value_enum)]
    what: What,
    /// Runs of each.
    #[arg(long, default_value_t = 5)]
    runs: usize,
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
}

fn main() -> ExitCode {
    let Cli { what, runs, json } = Cli::parse();
    let result = match what {
        What::Boot => machine::boot(runs, json),
        What::Cpu => machine::cpu(runs, json),
        What::Programs => programs::run(runs, json),
        What::Containers => containers::run(runs, json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}
