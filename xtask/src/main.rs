//! Development tasks: `cargo xtask TASK`.

mod binfmt;
mod calls;
mod check;
mod containers;
mod coredump;
mod debian;
mod debugger;
mod drivers;
mod escapes;
mod firmware;
mod floors;
mod hostile;
mod images;
mod leaks;
mod network;
mod of_image;
mod perfmap;
mod runtime;
mod stress;
mod tasks;
mod torture;
mod verbs;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

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
        /// Run only this part (see --list).
        part: Option<String>,
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
    /// Write the pages of docs/ that are made from tables.
    Docs,
    /// Fetch the guests that tests boot.
    Guests,
    /// Unpack an image of a store (the images test does so as another user).
    #[command(hide = true)]
    Unpack {
        /// The store's directory.
        store: std::path::PathBuf,
        /// The image.
        image: String,
    },
}

/// Signals of the terminal do what they do by default, also where this is a shell's background job, which ignores them:
/// tests type Ctrl-C into terminals of their own, and send SIGQUIT.
fn heed_the_terminal() {
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: no thread of this process handles either.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn main() -> ExitCode {
    heed_the_terminal();
    let result = match Cli::parse().task {
        Task::CheckFloors => floors::check(),
        Task::Test { list: true, .. } => {
            tasks::list();
            Ok(())
        }
        Task::Test { all, part, .. } => tasks::test(all, part.as_deref()),
        Task::Bench { arguments } => {
            trine_test_support::tools::run_package("trine-tests-performance", &arguments)
        }
        Task::Docs => tasks::docs(),
        Task::Unpack { store, image } => images::unpack(&store, &image),
        Task::Guests => trine_test_support::tools::guest()
            .map(|g| println!("{}\n{}", g.kernel.display(), g.initrd.display())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
