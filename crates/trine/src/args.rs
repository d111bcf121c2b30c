//! What the command understands.

use crate::guest::args as guest;
use crate::guest::args::examples;
use crate::guest::options::{self, Given};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use trine_base::size::Unit;
use trine_engine::Tier;
use trine_program::Address;
use trine_program::confine::{Deny, Limits};

const EXAMPLES: &str = "Examples:
  trine run linux                                  Debian's riscv64 kernel and a shell
  trine run --kernel Image --initrd rootfs.cpio --append 'console=ttyS0'
  trine run --disk data.img,snapshot linux         with a disk whose changes are forgotten
  trine run ./prog-riscv64 --its --arguments       a Linux program of another CPU
  trine run --sysroot /riscv64-root /bin/ls -l     a dynamic one, with its libraries
  trine run --sysroot debian --packages python3,git python3 script.py
  trine run alpine cat /etc/os-release             a container of an image
  trine run -d --name web -v ./site:/srv nginx     one in the background
  trine run --as machine debian bash               an image with a kernel of its own (riscv64)
  trine run --firmware none test.elf               an ELF file in machine mode
  trine run --firmware fw_dynamic.bin linux        on a firmware of your own: OpenSBI, U-Boot
  trine run -d --name box linux                    in the background: see trine attach, logs, stop
  echo 'uname -a; poweroff' | trine run linux      works in pipes, too

Keys while a machine runs: Ctrl-A x ends it, Ctrl-A h lists the others.

Options stand before what is run; what stands behind a program, an image or a bundle is its own.
A machine (`linux`, a kernel) has no arguments: options may stand behind it, too.

Exit codes: 0 the guest powered off; 1 the host failed; 2 the request cannot be; 3 the guest
failed or its kernel panicked; 4 the engine gave up; 5 the user ended it; 128+n signal n. Of
programs, containers and images as machines: the command's. Of containers that do not start: 127
there is no such command, 126 it cannot be executed, 125 another reason.";

/// One monitor for machines, programs and containers.
#[derive(Parser)]
#[command(name = "trine", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Only `trine run`: a program starts faster when no other verb's options are made.
#[derive(Parser)]
#[command(name = "trine run", bin_name = "trine run", version, about = "Run a machine, a program or a container", after_help = EXAMPLES)]
pub struct Run {
    /// Its options.
    #[command(flatten)]
    pub args: RunArgs,
}

impl Run {
    /// Reads the words behind the verb; ends the process where they are wrong, as other engines do where they are about a
    /// container.
    pub fn read(words: &[OsString], container: bool) -> Box<RunArgs> {
        Run::parse_words(words).unwrap_or_else(|error| {
            // The help is no error.
            if !container || !error.use_stderr() {
                error.exit();
            }
            drop(error.print());
            std::process::exit(trine_control::error::OWN.into())
        })
    }

    /// Reads the words behind the verb, and which options are among them.
    pub fn parse_words(words: &[OsString]) -> Result<Box<RunArgs>, clap::Error> {
        let mut command = options::grouped(Run::command());
        let name = OsString::from("trine run");
        let mut matches = command.try_get_matches_from_mut([&name].into_iter().chain(words))?;
        let given = Given::of(&command, &matches);
        let run = Run::from_arg_matches_mut(&mut matches)?;
        Ok(Box::new(RunArgs { given, ..run.args }))
    }
}

/// The verbs.
#[derive(Subcommand)]
pub enum Verb {
    /// Run a machine, a program or a container.
    #[command(after_help = EXAMPLES)]
    Run(Box<RunArgs>),
    /// List guests.
    #[command(after_help = examples::PS, visible_alias = "list")]
    Ps(guest::PsArgs),
    /// Join this terminal with a guest's.
    #[command(after_help = examples::ATTACH)]
    Attach(guest::AttachArgs),
    /// Execute a command in a container or beside a program.
    #[command(after_help = examples::EXEC)]
    Exec(guest::ExecArgs),
    /// Print what a guest wrote.
    #[command(after_help = examples::LOGS)]
    Logs(guest::LogsArgs),
    /// Let guests use no CPU until they are resumed.
    Pause(guest::Guests),
    /// Let paused guests go on.
    #[command(visible_alias = "unpause")]
    Resume(guest::Guests),
    /// Start guests again that do not run.
    Start(guest::StartArgs),
    /// Ask guests to end, and end them.
    #[command(after_help = examples::STOP)]
    Stop(guest::StopArgs),
    /// Stop guests and start them again.
    Restart(guest::StopArgs),
    /// Send guests a signal.
    Kill(guest::KillArgs),
    /// Remove guests that do not run.
    Rm(guest::RmArgs),
    /// Wait until guests have ended, and print their exit codes.
    Wait(guest::Guests),
    /// Print all there is to say of guests and images.
    #[command(after_help = examples::INSPECT)]
    Inspect(crate::inspect::InspectArgs),
    /// Show what guests use.
    #[command(after_help = examples::STATS)]
    Stats(guest::StatsArgs),
    /// Show the processes of a guest.
    Top(guest::TopArgs),
    /// Show what happens to guests.
    #[command(after_help = examples::EVENTS)]
    Events(guest::EventsArgs),
    #[command(flatten)]
    Image(crate::images::ImageVerb),
    /// Pin the guests that the mirror has now in guests.lock.
    Update(UpdateArgs),
    /// Let the kernel run other CPUs' executables under Trine by itself (as root).
    Binfmt {
        /// What to do
        #[command(subcommand)]
        verb: BinfmtVerb,
    },
    /// A guest's monitor.
    #[command(name = "__monitor", hide = true)]
    Monitor {
        /// The guest's id
        id: String,
    },
    /// A program in place of another one (`execve`).
    #[command(name = "__program", hide = true)]
    Program(ProgramArgs),
    /// Run containers from OCI bundles, called as runc is.
    Oci(Box<crate::oci::args::Oci>),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual pages (roff).
    Man,
}

/// What `trine binfmt` does.
#[derive(Clone, Subcommand)]
pub enum BinfmtVerb {
    /// Register this executable with the kernel
    Install {
        /// Also at every boot, by a file in /etc/binfmt.d
        #[arg(long)]
        persist: bool,
        /// Root of the programs' libraries, as with `trine run`: a directory, or `debian` to fetch one. Without this
        /// option what was set stays
        #[arg(long, value_name = "DIR|debian[:SUITE]")]
        sysroot: Option<PathBuf>,
        /// With --sysroot debian: packages beside the usual ones, with all they need
        #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = package, requires = "sysroot")]
        packages: Vec<String>,
    },
    /// Undo that
    Remove,
    /// Show what is registered
    Status,
}

/// Engines.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// Only the interpreter.
    Interp,
    /// Interpreter for cold code, compiled code for the rest.
    Baseline,
}

impl EngineArg {
    /// The engine's tier.
    pub fn tier(self) -> Tier {
        match self {
            EngineArg::Interp => Tier::Interp,
            EngineArg::Baseline => Tier::Baseline,
        }
    }
}

/// Guest CPUs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arch {
    /// RISC-V, 64 bits.
    Riscv64,
}

/// What an image can become.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AsArg {
    /// A machine: Debian's riscv64 kernel, with the image's files as its root.
    Machine,
}

/// What lies below the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirmwareArg {
    /// The board itself (SBI 2.0).
    Sbi,
    /// Nothing: the ELF file starts in machine mode.
    None,
    /// A firmware of the guest's own, which starts in machine mode.
    File(PathBuf),
}

/// Options of `trine run`.
#[derive(Args)]
pub struct RunArgs {
    /// `linux`, a kernel, a riscv64 Linux program, an image, or a bundle
    #[arg(required_unless_present_any = ["kernel", "firmware"], conflicts_with = "kernel")]
    pub thing: Option<String>,
    /// Arguments of the program or the container: what stands behind it is its own, options, too
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
    /// Root of the program's libraries: absolute paths, and commands without a path, are looked for there first. `debian`
    /// or `debian:SUITE` fetches one
    #[arg(long, value_name = "DIR|debian[:SUITE]")]
    pub sysroot: Option<PathBuf>,
    /// With --sysroot debian: packages beside the usual ones, with all they need
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = package, requires = "sysroot")]
    pub packages: Vec<String>,
    /// Set a variable of the program's environment, or with only a name remove it
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub env: Vec<OsString>,
    /// Directory in which the program starts
    #[arg(long, short = 'w', visible_alias = "workdir", value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Show the program's system calls on standard error
    #[arg(long)]
    pub strace: bool,
    /// Wait for gdb here before the first instruction: a port (of this machine, where no address is named) or a Unix socket;
    /// `:1234` where none is given
    #[arg(long, value_name = "[IP:]PORT|unix:PATH", num_args = 0..=1, require_equals = true, default_missing_value = ":1234")]
    pub gdb: Option<Address>,
    /// What the program and all that it starts may use: `memory=SIZE` together, `cpu=TIME` of CPU time together
    /// (`30s`, `5m`, `1h`), `cpu=N` CPUs' worth, `pids=N` processes and threads, `files=N` open files of each process.
    /// Without a control group `memory` and `cpu=TIME` hold for each process by itself, and Trine says so
    #[arg(long, value_name = "WHAT=N,…")]
    pub limit: Vec<Limits>,
    /// What the program and all that it starts may not do: `net` no sockets but pairs, `write` no changes to files but
    /// through what is open, `read` no files outside its root and its directory, `exec` no other executables, `fork`
    /// no other processes, `all` none of these
    #[arg(long, value_name = "net|write|read|exec|fork|all,…")]
    pub deny: Vec<Deny>,
    /// Kernel to boot: an Image or ELF file
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Kernel command line (for `linux`: added to the usual one)
    #[arg(long, value_name = "TEXT")]
    pub append: Option<String>,
    /// A raw disk; `,ro` opens it read-only, `,snapshot` forgets changes at the end
    #[arg(long, value_name = "FILE[,ro|,snapshot]")]
    pub disk: Vec<String>,
    /// A machine's memory, such as 512M (what it has where nothing is said) or 2G, with `--as machine` by the image; a
    /// container's limit
    #[arg(long, short, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
    /// What an image becomes in place of a container
    #[arg(long = "as", value_enum, value_name = "KIND")]
    pub kind: Option<AsArg>,
    /// Guest CPU
    #[arg(long, value_enum, default_value = "riscv64")]
    pub arch: Arch,
    /// Engine
    #[arg(long, value_enum, default_value = "baseline")]
    pub engine: EngineArg,
    /// What lies below the guest: `sbi` the board itself (where nothing is said), `none` nothing, so that an ELF file
    /// starts in machine mode, or a firmware such as OpenSBI's fw_dynamic or U-Boot, ELF or raw, which starts the kernel
    #[arg(long, value_name = "sbi|none|FILE", value_parser = firmware)]
    pub firmware: Option<FirmwareArg>,
    /// Run interpreter and compiler side by side and compare every block (slow)
    #[arg(long)]
    pub lockstep: bool,
    /// Guest time is the number of instructions, so many nanoseconds each: runs repeat exactly
    #[arg(long, value_name = "NANOSECONDS")]
    pub count_time: Option<u64>,
    /// Name generated code for `perf` in /tmp/perf-PID.map
    #[arg(long)]
    pub perf_map: bool,
    /// At the end, print what the engine did
    #[arg(long)]
    pub stats: bool,
    /// As a guest that the other verbs know.
    #[command(flatten)]
    pub guest: guest::GuestArgs,
    /// As a container.
    #[command(flatten)]
    pub container: crate::guest::container::ContainerArgs,
    /// Which of all these stand on the command line.
    #[arg(skip)]
    pub given: Given,
}

/// Arguments of the hidden verb that `execve` uses.
#[derive(Args)]
pub struct ProgramArgs {
    /// As in `trine run`.
    #[arg(long)]
    pub sysroot: Option<PathBuf>,
    /// As in `trine run`.
    #[arg(long, value_enum, default_value = "baseline")]
    pub engine: EngineArg,
    /// As in `trine run`.
    #[arg(long)]
    pub strace: bool,
    /// As in `trine run`.
    #[arg(long)]
    pub stats: bool,
    /// As in `trine run`.
    #[arg(long)]
    pub perf_map: bool,
    /// As in `trine run`.
    #[arg(long)]
    pub gdb: Option<Address>,
    /// The host's kernel started the first of these programs.
    #[arg(long)]
    pub by_kernel: bool,
    /// The executable's descriptor, where it has no name.
    #[arg(long)]
    pub opened: Option<i32>,
    /// The executable, then its arguments with its name in front.
    #[arg(last = true, required = true)]
    pub line: Vec<OsString>,
}

/// Options of `trine update`.
#[derive(Args)]
pub struct UpdateArgs {
    /// The file
    #[arg(long, value_name = "FILE", default_value = "guests.lock")]
    pub lock: PathBuf,
}

/// A firmware: any word that is not one of two is a file's name.
fn firmware(word: &str) -> Result<FirmwareArg, String> {
    match word {
        "" => Err("it needs a word".into()),
        "sbi" => Ok(FirmwareArg::Sbi),
        "none" => Ok(FirmwareArg::None),
        file => Ok(FirmwareArg::File(file.into())),
    }
}

/// A size of memory: MiB where there is no unit.
fn size(text: &str) -> Result<u64, String> {
    trine_base::size::parse_in(text, Unit::MiB)
}

/// A package's name (Debian Policy, 5.6.1).
fn package(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    match text.starts_with(fits) && text.chars().all(|c| fits(c) || "+-.".contains(c)) {
        true => Ok(text.into()),
        false => Err(format!("'{text}' is not the name of a package of Debian")),
    }
}
