//! The command line of `trine oci`: that of runc 1.2, which containerd, Podman and Docker write.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  trine oci spec; trine oci run web                a container from the bundle in this directory
  trine oci create --bundle /bundle web; trine oci start web
  trine oci exec -t web sh
  podman --runtime /usr/local/bin/trine-oci …      a link with this name is `trine oci`

Exit codes: 1 for every failure; `run` and `exec` end with their process's, 128+n for signal n.";

/// An OCI runtime (Runtime Specification 1.2): what containerd, Podman and Docker start containers by.
#[derive(Parser)]
#[command(name = "oci", after_help = EXAMPLES, disable_version_flag = true, arg_required_else_help = true)]
pub struct Oci {
    /// Directory of what runs [default: oci in trine's runtime directory]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// File that errors are written to, too
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// How they are written there
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Write more
    #[arg(long)]
    pub debug: bool,
    /// Control groups' paths are systemd's: slice:prefix:name
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Whether the caller is no root (found out without)
    #[arg(long, value_name = "auto|true|false", default_value = "auto", hide = true)]
    pub rootless: String,
    /// Not used: containers are not checkpointed
    #[arg(long, hide = true)]
    pub criu: Option<String>,
    /// Print the version
    #[arg(long, short)]
    pub version: bool,
    /// What to do
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// How a log is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// key=value
    Text,
    /// A JSON object a line
    Json,
}

/// The verbs.
#[derive(Subcommand)]
pub enum Verb {
    /// Make a container whose program waits to be started
    Create(Create),
    /// Start the program of a container that was made
    Start(Id),
    /// Make a container, run its program and take it away
    Run(Run),
    /// Print a container's state
    State(Id),
    /// Send a signal to a container's first process
    Kill(Kill),
    /// Take a container away
    Delete(Delete),
    /// Print the containers
    List(List),
    /// Run another process in a container
    Exec(Exec),
    /// Print a container's processes
    Ps(Ps),
    /// Freeze a container's processes
    Pause(Id),
    /// Let a container's processes go on
    Resume(Id),
    /// Change a container's limits
    Update(Update),
    /// Print what a container uses, and when its memory runs out
    Events(Events),
    /// Print what this runtime can do (JSON)
    Features,
    /// Write a configuration to begin with
    Spec(Spec),
}

/// `exec`.
#[derive(Args)]
pub struct Exec {
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "PATH")]
    pub console_socket: Option<PathBuf>,
    /// Directory that the program begins in
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Variable of its environment (again for more)
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Give it a terminal
    #[arg(long, short)]
    pub tty: bool,
    /// Who it is
    #[arg(long, short, value_name = "UID[:GID]")]
    pub user: Option<String>,
    /// More groups that it is in (again for more)
    #[arg(long, short = 'g', value_name = "GID")]
    pub additional_gids: Vec<u32>,
    /// File with all of this (JSON of the configuration's 'process')
    #[arg(long, short, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Let it run in the background
    #[arg(long, short)]
    pub detach: bool,
    /// File that the process's number is written to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Its label (SELinux)
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// Its profile (AppArmor)
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// It gains no privileges by executing others
    #[arg(long)]
    pub no_new_privs: bool,
    /// Capability that it gets, too (again for more)
    #[arg(long, short, value_name = "CAP_NAME")]
    pub cap: Vec<String>,
    /// Descriptors from 3 on that it gets
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Control group below the container's that it is in; with controllers, where each has a tree of its own (again for more)
    #[arg(long, value_name = "[CONTROLLER,…:]PATH")]
    pub cgroup: Vec<String>,
    /// Also in a paused container, where it waits
    #[arg(long)]
    pub ignore_paused: bool,
    /// The container's name
    pub id: String,
    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub line: Vec<String>,
}

/// `ps`.
#[derive(Args)]
pub struct Ps {
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// The container's name
    pub id: String,
    /// Options of ps(1) [default: -ef]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub options: Vec<String>,
}

/// `update`: limits as they are named in a configuration, or one by one.
#[derive(Args)]
pub struct Update {
    /// File with all of them (JSON of the configuration's 'linux.resources'; - is standard input)
    #[arg(long, short, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Weight among others at disks, 10 to 1000
    #[arg(long, value_name = "N")]
    pub blkio_weight: Option<u16>,
    /// Length of a CPU period (µs)
    #[arg(long, value_name = "N")]
    pub cpu_period: Option<u64>,
    /// CPU time in a period (µs)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cpu_quota: Option<i64>,
    /// CPU time saved up for later periods (µs)
    #[arg(long, value_name = "N")]
    pub cpu_burst: Option<u64>,
    /// Weight among others at CPUs
    #[arg(long, value_name = "N")]
    pub cpu_share: Option<u64>,
    /// Length of a period for real-time processes (µs)
    #[arg(long, value_name = "N")]
    pub cpu_rt_period: Option<u64>,
    /// Real-time CPU time in a period (µs)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// 1: only where nobody else wants the CPU
    #[arg(long, value_name = "N")]
    pub cpu_idle: Option<i64>,
    /// CPUs
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Memory (bytes, or with k, M, G; -1 is any)
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// Memory that is aimed at where it is scarce
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_reservation: Option<String>,
    /// Memory and swap space
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_swap: Option<String>,
    /// Not used: this memory is counted with the rest
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub kernel_memory: Option<String>,
    /// Not used: this memory is counted with the rest
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub kernel_memory_tcp: Option<String>,
    /// Processes and threads
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    /// Not supported
    #[arg(long, hide = true)]
    pub l3_cache_schema: Option<String>,
    /// Not supported
    #[arg(long, hide = true)]
    pub mem_bw_schema: Option<String>,
    /// The container's name
    pub id: String,
}

/// `events`.
#[derive(Args)]
pub struct Events {
    /// Time between two lines, such as 5s or 500ms
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub interval: String,
    /// Print one line and end
    #[arg(long)]
    pub stats: bool,
    /// The container's name
    pub id: String,
}

/// `spec`.
#[derive(Args)]
pub struct Spec {
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// For a user other than root
    #[arg(long)]
    pub rootless: bool,
}

/// A container.
#[derive(Args)]
pub struct Id {
    /// Its name
    pub id: String,
}

/// How a container is made.
#[derive(Args)]
pub struct Create {
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "PATH")]
    pub console_socket: Option<PathBuf>,
    /// File that the process's number is written to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Move to the root without pivot_root, for hosts that run from a RAM disk
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Descriptors from 3 on that the program gets
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// The container's name
    pub id: String,
}

/// `run`.
#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    pub create: Create,
    /// Let it run in the background
    #[arg(long, short)]
    pub detach: bool,
    /// Do not take it away when its program has ended
    #[arg(long)]
    pub keep: bool,
    /// Do not become the parent of processes that lose theirs
    #[arg(long)]
    pub no_subreaper: bool,
}

/// `kill`.
#[derive(Args)]
pub struct Kill {
    /// All of the container's processes
    #[arg(long, short)]
    pub all: bool,
    /// Its name
    pub id: String,
    /// Name or number of the signal
    #[arg(default_value = "SIGTERM")]
    pub signal: String,
}

/// `delete`.
#[derive(Args)]
pub struct Delete {
    /// End it first; that it is not there is no error
    #[arg(long, short)]
    pub force: bool,
    /// Its name
    pub id: String,
}

/// How a list is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// `list`.
#[derive(Args)]
pub struct List {
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Only names
    #[arg(long, short)]
    pub quiet: bool,
}

/// The arguments of `trine oci`, where this is one: from its name on. A link named `trine-oci` is one, too.
pub fn line() -> Option<Vec<OsString>> {
    let mut all = std::env::args_os();
    let name = PathBuf::from(all.next()?);
    if name.file_name().is_some_and(|n| n == "trine-oci") {
        return Some(std::iter::once("oci".into()).chain(all).collect());
    }
    (all.next()? == "oci").then(|| std::iter::once("oci".into()).chain(all).collect())
}
