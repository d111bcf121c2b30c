//! Development tasks: `cargo xtask TASK`.

mod floors;
mod tasks;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use trine_test_support::{parts, tools};

/// Development tasks.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check that crates import downwards only.
    CheckFloors,
    /// Run the tests; with --all, the slow parts, too, or one of them by name.
    Test {
        /// Run the slow parts as well.
        #[arg(long)]
        all: bool,
        /// Run only these parts (see --list).
        parts: Vec<String>,
        /// List the parts.
        #[arg(long)]
        list: bool,
    },
    /// Measure against QEMU (see bench --help).
    #[command(disable_help_flag = true)]
    Bench {
        /// What to measure, and options.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write the pages of docs/ that are generated from tables.
    Docs,
    /// Fetch the guests that tests boot.
    Guests,
}

fn main() -> ExitCode {
    parts::heed_the_terminal();
    let result = match Cli::parse().task {
        Task::CheckFloors => floors::check(),
        Task::Test { list: true, .. } => {
            tasks::list();
            Ok(())
        }
        Task::Test { all, parts, .. } => tasks::test(all, &parts),
        Task::Bench { arguments } => tools::run_package("trine-tests-performance", &arguments),
        Task::Docs => tasks::docs(),
        Task::Guests => tools::guest().map(|g| println!("{}\n{}", g.kernel.display(), g.initrd.display())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
