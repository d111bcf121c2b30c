//! The command line: verbs and their options.

use crate::guest::args as guest;
use crate::guest::args::examples;
use crate::guest::disk::DiskArg;
use crate::guest::flash::FlashArg;
use crate::guest::options::{self, Given};
use crate::guest::share::ShareArg;
use crate::guest::trace::TraceArg;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use trine_base::elf::Cpu;
use trine_base::size::Unit;
use trine_engine::Tier;
use trine_program::Address;
use trine_program::confine::{Deny, Limits};

const EXAMPLES: &str = "Examples:
  trine run linux                                  Debian's riscv64 kernel and a shell
  trine run --kernel Image --initrd rootfs.cpio --append 'console=ttyS0'
  trine run --disk data.img,snapshot linux         with a disk whose changes are forgotten
  trine run --share . linux                        with a folder of this host at /mnt/NAME
  trine run ./prog-riscv64 --its --arguments       a Linux program of another CPU
  trine run --sysroot /riscv64-root /bin/ls -l     a dynamic one, with its libraries
  trine run --sysroot debian --packages python3,git python3 script.py
  trine run alpine cat /etc/os-release             a container of an image
  trine run -d --name web -v ./site:/srv nginx     one in the background
  trine run --as machine debian bash               an image with a kernel of its own (riscv64)
  trine run --firmware none test.elf               an ELF file in machine mode
  trine run --firmware fw_dynamic.bin linux        on a firmware of your own: OpenSBI, U-Boot
  trine run --flash CODE.fd --disk disk.raw        EDK2, which boots the disk by its EFI boot loader
  trine run -d --name box linux                    in the background: see trine attach, logs, stop
  echo 'uname -a; poweroff' | trine run linux      works in pipes, too

Keys while a machine runs: Ctrl-A x ends it, Ctrl-A h lists the others.

Options come before what is run; what follows a program, an image or a bundle is passed to it. A machine
(`linux`, a kernel) takes no arguments: options may follow it, too.

Exit codes: 0 the guest powered off; 1 the host failed; 2 the request is not possible; 3 the guest
failed or its kernel panicked; 4 the engine failed; 5 the user ended it; 128+n signal n. Programs,
containers and images as machines: the command's. Containers that do not start: 127 the command
does not exist, 126 it cannot be executed, 125 another reason.";

/// One monitor for machines, programs and containers.
#[derive(Parser)]
#[command(name = "trine", version, after_help = EXAMPLES)]
pub struct Cli {
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The command line with `trine run` only: a program starts faster when no other verb's options are built.
#[derive(Parser)]
#[command(name = "trine run", bin_name = "trine run", version, about = "Run a machine, a program or a container", after_help = EXAMPLES)]
pub struct Run {
    /// The options of `trine run`.
    #[command(flatten)]
    pub args: RunArgs,
}

impl Run {
    /// Parses the words that follow the verb. Ends the process where they are wrong; for a container with the
    /// exit code of other engines.
    pub fn read(words: &[OsString], container: bool) -> Box<RunArgs> {
        Run::parse_words(words).unwrap_or_else(|error| {
            // Printing the help is not an error.
            if !container || !error.use_stderr() {
                error.exit();
            }
            drop(error.print());
            std::process::exit(trine_control::error::OWN.into())
        })
    }

    /// Parses the words that follow the verb, and records which options are among them.
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
    /// Connect this terminal with a guest
    #[command(after_help = examples::ATTACH)]
    Attach(guest::AttachArgs),
    /// Execute a command in a container, beside a program, or in a machine by its SSH server
    #[command(after_help = examples::EXEC)]
    Exec(guest::ExecArgs),
    /// Log in to a machine by its SSH server, over its socket device
    #[command(after_help = examples::SSH)]
    Ssh(guest::SshArgs),
    /// Copy files from a machine or to it, by its SSH server
    #[command(after_help = examples::CP)]
    Cp(guest::CpArgs),
    /// Connect standard input and output with a port of a machine's socket device.
    #[command(name = "vsock-connect", hide = true)]
    VsockConnect {
        /// Name, id or beginning of an id
        guest: String,
        /// Port of the guest
        port: u32,
    },
    /// Print what a guest wrote
    #[command(after_help = examples::LOGS)]
    Logs(guest::LogsArgs),
    /// Pause guests: they use no CPU until they are resumed
    Pause(guest::Guests),
    /// Save a machine that runs in a file, from which `trine run --restore` goes on
    #[command(after_help = examples::SNAPSHOT)]
    Snapshot(guest::SnapshotArgs),
    /// Let paused guests go on
    #[command(visible_alias = "unpause")]
    Resume(guest::Guests),
    /// Start guests that do not run
    Start(guest::StartArgs),
    /// Ask guests to end, and kill those that do not
    #[command(after_help = examples::STOP)]
    Stop(guest::StopArgs),
    /// Stop guests and start them again
    Restart(guest::StopArgs),
    /// Send guests a signal
    Kill(guest::KillArgs),
    /// Remove guests that do not run
    Rm(guest::RmArgs),
    /// Wait until guests have ended, and print their exit codes
    Wait(guest::Guests),
    /// Print everything that is known of guests and images, as JSON
    #[command(after_help = examples::INSPECT)]
    Inspect(crate::inspect::InspectArgs),
    /// Show the resources that guests use
    #[command(after_help = examples::STATS)]
    Stats(guest::StatsArgs),
    /// Show the processes of a guest
    Top(guest::TopArgs),
    /// Show events of guests as they happen
    #[command(after_help = examples::EVENTS)]
    Events(guest::EventsArgs),
    #[command(flatten)]
    Image(crate::images::ImageVerb),
    /// Pin the kernel and userland that the mirror has now in guests.lock
    Update(UpdateArgs),
    /// Let the kernel run executables of other CPUs under Trine (as root)
    Binfmt {
        /// What to do
        #[command(subcommand)]
        verb: BinfmtVerb,
    },
    /// The monitor of a guest.
    #[command(name = "__monitor", hide = true)]
    Monitor {
        /// The guest's id
        id: String,
    },
    /// A program in place of another one (`execve`).
    #[command(name = "__program", hide = true)]
    Program(ProgramArgs),
    /// Run containers from OCI bundles, with the command line of runc.
    Oci(Box<crate::oci::args::Oci>),
    /// Print shell completions.
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
        /// Register it at every boot, too, by a file in /etc/binfmt.d
        #[arg(long)]
        persist: bool,
        /// Root directory with the programs' libraries, as with `trine run`: a directory, or `debian` to
        /// fetch one. Without this option the previous setting stays
        #[arg(long, value_name = "DIR|debian[:SUITE]")]
        sysroot: Option<PathBuf>,
        /// With --sysroot debian: further packages, with everything they depend on
        #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = package, requires = "sysroot")]
        packages: Vec<String>,
    },
    /// Remove the registration
    Remove,
    /// Show what is registered
    Status,
}

/// How guest instructions are executed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// Interpret all code.
    Interp,
    /// Interpret cold code and compile the rest.
    Baseline,
}

impl EngineArg {
    /// The tier of the engine.
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

impl Arch {
    /// The CPU, as executables name it.
    pub fn cpu(self) -> Cpu {
        match self {
            Arch::Riscv64 => Cpu::RISCV64,
        }
    }
}

/// What an image becomes in place of a container.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AsArg {
    /// A machine: Debian's riscv64 kernel, with the image's files as its root.
    Machine,
}

/// The firmware of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirmwareArg {
    /// Trine itself is the firmware (SBI 2.0).
    Sbi,
    /// No firmware: the ELF file starts in machine mode.
    None,
    /// The guest's own firmware, which starts in machine mode.
    File(PathBuf),
}

/// Options of `trine run`.
#[derive(Args)]
pub struct RunArgs {
    /// What to run: `linux`, `debian`, a kernel, a riscv64 Linux program, an image, or a bundle
    #[arg(required_unless_present_any = ["kernel", "firmware", "flash", "restore"], conflicts_with = "kernel")]
    pub thing: Option<String>,
    /// Arguments of the program or the container: every word that follows THING, options too
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
    /// Root directory with the program's libraries: absolute paths, and commands without a path, are looked
    /// up there first. `debian` or `debian:SUITE` fetches one
    #[arg(long, value_name = "DIR|debian[:SUITE]")]
    pub sysroot: Option<PathBuf>,
    /// With --sysroot debian: further packages, with everything they depend on
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = package, requires = "sysroot")]
    pub packages: Vec<String>,
    /// Set a variable of the program's environment; NAME without a value removes it
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub env: Vec<OsString>,
    /// Working directory of the program
    #[arg(long, short = 'w', visible_alias = "workdir", value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Print the program's system calls to standard error
    #[arg(long)]
    pub strace: bool,
    /// Wait for gdb at this address before a program's or machine's first instruction: a port (on this host, if no IP address is
    /// given) or a Unix socket; default: `:1234`
    #[arg(long, value_name = "[IP:]PORT|unix:PATH", num_args = 0..=1, require_equals = true, default_missing_value = ":1234")]
    pub gdb: Option<Address>,
    /// Limit what the program and everything it starts may use: `memory=SIZE` in total, `cpu=TIME` of CPU
    /// time in total (`30s`, `5m`, `1h`), `cpu=N` CPUs, `pids=N` processes and threads, `files=N` open files
    /// per process. Without a control group, `memory` and `cpu=TIME` apply to each process separately, and
    /// Trine says so
    #[arg(long, value_name = "WHAT=N,…")]
    pub limit: Vec<Limits>,
    /// Forbid things to the program and everything it starts: `net` sockets other than pairs, `write` changes
    /// to files except through descriptors that are open already, `read` files outside its root and its
    /// directory, `exec` other executables, `fork` other processes, `all` all of these
    #[arg(long, value_name = "net|write|read|exec|fork|all,…")]
    pub deny: Vec<Deny>,
    /// Kernel to boot: an Image or ELF file
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Go on from a snapshot (`trine snapshot`): memory, CPUs and disks are as they were; changes of its disks are forgotten
    /// at the end
    #[arg(long, value_name = "FILE")]
    pub restore: Option<PathBuf>,
    /// Initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Kernel command line (for `linux`: added to the default one)
    #[arg(long, value_name = "TEXT")]
    pub append: Option<String>,
    /// Attach a disk (at most 7): a raw or qcow2 image, or a block device; `,ro` opens it read-only, `,snapshot`
    /// discards changes at the end, `,format=` says how it is stored in place of what its first bytes say, `,id=` is
    /// the serial number that the guest sees
    #[arg(long, value_name = "FILE[,ro|,snapshot][,format=raw|qcow2][,id=NAME]")]
    pub disk: Vec<DiskArg>,
    /// Give a machine flash memory and start what it holds, such as EDK2: `--flash CODE.fd --flash VARS.fd`, the first bank and
    /// the second. What the guest writes there is forgotten at the end; `,rw` writes it to the file, `,ro` refuses it
    #[arg(long, value_name = "FILE[,ro|,rw]")]
    pub flash: Vec<FlashArg>,
    /// Share a folder of this host with a machine (at most 8): `linux`, `debian` and images as machines have it at GUEST (default:
    /// /mnt/NAME), other software by its tag, `mount -t virtiofs share0 PLACE`; `,ro` refuses changes
    #[arg(long, value_name = "HOST[:GUEST][,ro]")]
    pub share: Vec<ShareArg>,
    /// Memory of a machine, such as 512M or 2G (default: 512M, `debian` 1G, with `--as machine` as much as the
    /// image needs); a container's limit
    #[arg(long, short, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
    /// `debian`: forget at the end what was written to its disk; starts at once, from a snapshot
    #[arg(long)]
    pub ephemeral: bool,
    /// `debian --ephemeral`: boot, in place of going on from a snapshot at the prompt
    #[arg(long)]
    pub cold: bool,
    /// `debian`: make its disk anew, from packages; the machine's previous disk is kept beside the new one
    #[arg(long, conflicts_with = "ephemeral")]
    pub fresh: bool,
    /// CPUs of a machine, 1 to 16, each on a thread of its own (default: as many as the host has, at most 4; one
    /// with counted time)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub cpus: Option<u32>,
    /// Turn the image into this kind of guest in place of a container
    #[arg(long = "as", value_enum, value_name = "KIND")]
    pub kind: Option<AsArg>,
    /// Guest CPU
    #[arg(long, value_enum, default_value = "riscv64")]
    pub arch: Arch,
    /// How guest instructions are executed
    #[arg(long, value_enum, default_value = "baseline")]
    pub engine: EngineArg,
    /// Firmware of the machine: `sbi` is Trine itself (default), `none` starts an ELF file in machine mode, a
    /// file is the guest's own firmware such as OpenSBI's fw_dynamic or U-Boot (ELF or raw), which starts the
    /// kernel
    #[arg(long, value_name = "sbi|none|FILE", value_parser = firmware)]
    pub firmware: Option<FirmwareArg>,
    /// Run interpreter and compiler side by side and compare them after every block (slow)
    #[arg(long)]
    pub lockstep: bool,
    /// Count time in instructions, each of which takes so many nanoseconds: runs repeat exactly
    #[arg(long, value_name = "NANOSECONDS")]
    pub count_time: Option<u64>,
    /// Record generated code for `perf` in /tmp/perf-PID.map
    #[arg(long)]
    pub perf_map: bool,
    /// Write what a machine executes to a file: `exec` instructions (by the interpreter, slow), `exceptions` and interrupts,
    /// `mmio` accesses to devices (default: all three); `pc=` only instructions and exceptions at these addresses
    #[arg(long, value_name = "FILE[,exec][,exceptions][,mmio][,pc=FIRST-LAST]")]
    pub trace: Option<TraceArg>,
    /// Print statistics of the engine at the end
    #[arg(long)]
    pub stats: bool,
    /// Options for a guest that has a record.
    #[command(flatten)]
    pub guest: guest::GuestArgs,
    /// Options for a container.
    #[command(flatten)]
    pub container: crate::guest::container::ContainerArgs,
    /// The options that are on the command line.
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
    /// Whether the host's kernel started the first of these programs.
    #[arg(long)]
    pub by_kernel: bool,
    /// The executable's descriptor, if it has no path.
    #[arg(long)]
    pub opened: Option<i32>,
    /// The executable's path, then its arguments beginning with argument 0.
    #[arg(last = true, required = true)]
    pub line: Vec<OsString>,
}

/// Options of `trine update`.
#[derive(Args)]
pub struct UpdateArgs {
    /// The file with the pins
    #[arg(long, value_name = "FILE", default_value = "guests.lock")]
    pub lock: PathBuf,
}

/// Parses a firmware: every word other than `sbi` and `none` is a file.
fn firmware(word: &str) -> Result<FirmwareArg, String> {
    match word {
        "" => Err("use sbi, none or a file".into()),
        "sbi" => Ok(FirmwareArg::Sbi),
        "none" => Ok(FirmwareArg::None),
        file => Ok(FirmwareArg::File(file.into())),
    }
}

/// Parses a memory size, in MiB if it has no unit.
fn size(text: &str) -> Result<u64, String> {
    trine_base::size::parse_in(text, Unit::MiB)
}

/// Parses a package name (Debian Policy, 5.6.1).
fn package(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    match text.starts_with(fits) && text.chars().all(|c| fits(c) || "+-.".contains(c)) {
        true => Ok(text.into()),
        false => Err(format!("'{text}' is not the name of a Debian package")),
    }
}
