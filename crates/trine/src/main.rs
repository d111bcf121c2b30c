//! The command. One file a verb.

mod args;
mod binfmt;
mod output;
mod program;
mod run;
mod terminal;
mod update;

use args::{Cli, Verb};
use clap::{CommandFactory, Parser};
use std::process::ExitCode;

/// Exit codes; the manual page and `docs/` list them.
pub mod code {
    /// The guest powered off, or the command did what it was asked for.
    pub const OK: u8 = 0;
    /// Something on the host failed: a download, a write.
    pub const HOST: u8 = 1;
    /// The request cannot be: a wrong option, a file that is not what it should be.
    pub const REFUSED: u8 = 2;
    /// The guest reported a failure, or its kernel panicked.
    pub const GUEST: u8 = 3;
    /// The engine gave up.
    pub const ENGINE: u8 = 4;
    /// The user ended the machine.
    pub const QUIT: u8 = 5;
}

fn main() -> ExitCode {
    if let Some(line) = binfmt::started() {
        return finish(program::by_kernel(line));
    }
    let cli = Cli::parse_from(program::line(std::env::args_os().collect()));
    let result = match cli.verb {
        Verb::Run(args) => run::run(args),
        Verb::Program(args) => program::again(args),
        Verb::Update(args) => update::update(args),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "trine", &mut std::io::stdout());
            Ok(code::OK)
        }
        Verb::Binfmt { verb } => binfmt::binfmt(verb),
        Verb::Man => man(),
    };
    finish(result)
}

fn finish(result: Result<u8, Refusal>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(Refusal { code, message }) => {
            eprintln!("trine: {message}");
            ExitCode::from(code)
        }
    }
}

/// Why the command ends early.
pub struct Refusal {
    /// Exit code.
    pub code: u8,
    /// One sentence.
    pub message: String,
}

impl Refusal {
    /// Something that cannot be.
    pub fn refused(error: impl std::fmt::Display) -> Refusal {
        Refusal { code: code::REFUSED, message: error.to_string() }
    }

    /// Something that failed on the host.
    pub fn host(error: impl std::fmt::Display) -> Refusal {
        Refusal { code: code::HOST, message: error.to_string() }
    }
}

fn man() -> Result<u8, Refusal> {
    clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()).map_err(Refusal::host)?;
    for verb in Cli::command().get_subcommands().filter(|c| c.get_name() != "help") {
        let page = clap_mangen::Man::new(verb.clone()).title(format!("trine-{}", verb.get_name()));
        page.render(&mut std::io::stdout()).map_err(Refusal::host)?;
    }
    Ok(code::OK)
}
