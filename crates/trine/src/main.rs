//! The command; one file per verb.
//!
//! It has a `main` of its own in place of Rust's runtime, which would open the standard descriptors that a
//! program was started without, ignore `SIGPIPE` for it, and handle signals that are the program's.
#![cfg_attr(not(test), no_main)]

mod args;
mod binfmt;
mod ending;
mod front;
mod guest;
mod images;
mod inspect;
mod line;
mod machine_gdb;
mod monitor;
mod oci;
mod output;
mod program;
mod run;
mod terminal;
mod update;

use args::{Cli, Run, Verb};
use clap::{CommandFactory, Parser};
use trine_base::text::plain;
use trine_control::kinds::command::{EXEC_VERB, GUEST_VERB};

/// Exit codes; the manual page and `docs/` list them.
pub mod code {
    /// The guest powered off, or the command succeeded.
    pub const OK: u8 = 0;
    /// Something on the host failed: a download, a write.
    pub const HOST: u8 = 1;
    /// The request is not possible: a wrong option, a file of the wrong kind.
    pub const REFUSED: u8 = 2;
    /// The guest reported a failure, or its kernel panicked.
    pub const GUEST: u8 = 3;
    /// The engine cannot go on.
    pub const ENGINE: u8 = 4;
    /// The user ended the machine.
    pub const QUIT: u8 = 5;
    /// A bug in Trine; the code of a panic in Rust programs.
    pub const PANIC: u8 = 101;
}

/// The function that the C library calls.
// SAFETY: the crate has no other symbol of this name (`no_main`), and this one has the signature of C's `main`.
#[cfg_attr(not(test), unsafe(export_name = "main"))]
#[cfg_attr(test, allow(dead_code))]
extern "C" fn start(_: std::ffi::c_int, _: *const *const std::ffi::c_char) -> std::ffi::c_int {
    // Unwinding restores the terminal; it must not leave Rust.
    let code = std::panic::catch_unwind(run_all).unwrap_or(code::PANIC);
    std::process::exit(code.into())
}

fn run_all() -> u8 {
    // Handled first, so that a container's start does not take longer because of the other verbs.
    if let Some(line) = inside() {
        return trine_container::init::run(&line) as u8;
    }
    if let Some(line) = oci::args::line() {
        return oci::run(line);
    }
    let result = match binfmt::started() {
        Some(line) => program::by_kernel(line),
        None => {
            let line::Line { words: line, container } = line::read(std::env::args_os().collect());
            let words = line.get(2..).unwrap_or_default();
            match line.get(1).and_then(|verb| verb.to_str()) {
                Some("run") => run::run(Run::read(words, container), words),
                Some(GUEST_VERB) => run::of_record(Run::read(words, false), true),
                Some(EXEC_VERB) => program::beside(Run::read(words, false)),
                _ => run_verb(Cli::parse_from(&line).verb),
            }
        }
    };
    result.unwrap_or_else(|Refusal { code, message }| {
        eprintln!("trine: {message}");
        code
    })
}

/// The arguments of the process inside a container, if this is one.
fn inside() -> Option<Vec<String>> {
    let mut all = std::env::args_os().skip(1);
    let is_it = all.next().is_some_and(|verb| verb == trine_container::launch::VERB);
    is_it.then(|| all.filter_map(|a| a.into_string().ok()).collect())
}

/// What Rust's runtime does for other commands: opens missing standard descriptors, and ignores `SIGPIPE` in
/// favour of errors.
pub fn be_a_command() {
    // SAFETY: opens a device in place of descriptors that are closed; sets a signal's action before there are threads.
    unsafe {
        let mut fd = 0;
        while (0..3).contains(&fd) {
            fd = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        }
        libc::close(fd);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

fn run_verb(verb: Verb) -> Result<u8, Refusal> {
    if !matches!(verb, Verb::Run(_) | Verb::Program(_)) {
        be_a_command();
    }
    match verb {
        // Parsed separately; it is listed here for the help only.
        Verb::Run(args) => run::of_record(args, false),
        Verb::Monitor { id } => Ok(trine_control::monitor::launch::main(&id)),
        Verb::Ps(args) => guest::ps(args),
        Verb::Attach(args) => guest::attach(args),
        Verb::Exec(args) => guest::exec(args),
        Verb::Ssh(args) => guest::ssh::ssh(args),
        Verb::Cp(args) => guest::cp::cp(&args),
        Verb::VsockConnect { guest, port } => guest::vsock::connect(&guest, port),
        Verb::Logs(args) => guest::logs(args),
        Verb::Pause(args) => guest::pause(&args.guests),
        Verb::Snapshot(args) => guest::restore::snapshot(&args),
        Verb::Resume(args) => guest::resume(&args.guests),
        Verb::Start(args) => guest::start(args),
        Verb::Stop(args) => guest::stop(args),
        Verb::Restart(args) => guest::restart(args),
        Verb::Kill(args) => guest::kill(args),
        Verb::Rm(args) => guest::rm(args),
        Verb::Wait(args) => guest::wait(&args.guests),
        Verb::Stats(args) => guest::stats(args),
        Verb::Top(args) => guest::top(args),
        Verb::Events(args) => guest::events(args),
        Verb::Program(args) => program::again(args),
        Verb::Update(args) => update::update(args),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "trine", &mut std::io::stdout());
            Ok(code::OK)
        }
        Verb::Binfmt { verb } => binfmt::binfmt(verb),
        Verb::Image(verb) => verb.run(),
        Verb::Inspect(args) => inspect::inspect(args),
        Verb::Man => man(),
        Verb::Oci(oci) => Ok(oci::run_parsed(*oci)),
    }
}

/// Why the command fails. Text from outside may be part of it, and is made safe for the terminal.
#[derive(Debug)]
pub struct Refusal {
    /// Exit code.
    pub code: u8,
    /// One sentence.
    pub message: String,
}

impl Refusal {
    /// Creates a refusal of a request that is not possible.
    pub fn refused(error: impl std::fmt::Display) -> Refusal {
        Refusal { code: code::REFUSED, message: plain(&error.to_string()) }
    }

    /// Creates an error of the host.
    pub fn host(error: impl std::fmt::Display) -> Refusal {
        Refusal { code: code::HOST, message: plain(&error.to_string()) }
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
