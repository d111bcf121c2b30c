//! The command line of `trine oci`: that of runc 1.2, which containerd, Podman and Docker use.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  trine oci spec; trine oci run web                a container from the bundle in this directory
  trine oci create --bundle /bundle web; trine oci start web
  trine oci exec -t web sh
  podman --runtime /usr/local/bin/trine-oci …      a link with this name is `trine oci`

Exit codes: 1 for every failure; `run` and `exec` end with their process's, 128+n for signal n.";

/// An OCI runtime (Runtime Specification 1.2), with which containerd, Podman and Docker run containers.
#[derive(Parser)]
#[command(name = "oci", after_help = EXAMPLES, disable_version_flag = true, arg_required_else_help = true)]
pub struct Oci {
    /// Directory for runtime state [default: oci in trine's runtime directory]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// File to which errors are written as well
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Format of that file
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Write more
    #[arg(long)]
    pub debug: bool,
    /// Control group paths are systemd's: slice:prefix:name
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Whether the caller is not root (detected automatically)
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
    /// Create a container whose program waits to be started
    Create(Create),
    /// Start the program of a created container
    Start(Id),
    /// Create a container, run its program and delete it
    Run(Run),
    /// Print a container's state
    State(Id),
    /// Send a signal to a container's first process
    Kill(Kill),
    /// Delete a container
    Delete(Delete),
    /// List containers
    List(List),
    /// Run another process in a container
    Exec(Exec),
    /// Print a container's processes
    Ps(Ps),
    /// Freeze a container's processes
    Pause(Id),
    /// Resume a container's processes
    Resume(Id),
    /// Change a container's resource limits
    Update(Update),
    /// Print a container's resource usage, and when its memory runs out
    Events(Events),
    /// Print the features of this runtime (JSON)
    Features,
    /// Write a configuration to start from
    Spec(Spec),
}

/// `exec`.
#[derive(Args)]
pub struct Exec {
    /// Socket to which the terminal is sent
    #[arg(long, value_name = "PATH")]
    pub console_socket: Option<PathBuf>,
    /// Working directory of the program
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Environment variable (may be repeated)
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Give it a terminal
    #[arg(long, short)]
    pub tty: bool,
    /// User
    #[arg(long, short, value_name = "UID[:GID]")]
    pub user: Option<String>,
    /// Supplementary group (may be repeated)
    #[arg(long, short = 'g', value_name = "GID")]
    pub additional_gids: Vec<u32>,
    /// File with all of this (JSON of the configuration's 'process')
    #[arg(long, short, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Let it run in the background
    #[arg(long, short)]
    pub detach: bool,
    /// File to which the process ID is written
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// Gain no privileges by executing other programs
    #[arg(long)]
    pub no_new_privs: bool,
    /// Additional capability (may be repeated)
    #[arg(long, short, value_name = "CAP_NAME")]
    pub cap: Vec<String>,
    /// Number of descriptors, from 3 on, that the process inherits
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Control group below the container's; with controllers, if each has a tree of its own (may be repeated)
    #[arg(long, value_name = "[CONTROLLER,…:]PATH")]
    pub cgroup: Vec<String>,
    /// Also in a paused container, in which the process waits
    #[arg(long)]
    pub ignore_paused: bool,
    /// Name of the container
    pub id: String,
    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub line: Vec<String>,
}

/// `ps`.
#[derive(Args)]
pub struct Ps {
    /// Output format
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Name of the container
    pub id: String,
    /// Options of ps(1) [default: -ef]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub options: Vec<String>,
}

/// `update`: resource limits, either as in a configuration or one by one.
#[derive(Args)]
pub struct Update {
    /// File with all limits (JSON of the configuration's 'linux.resources'; - is standard input)
    #[arg(long, short, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Weight against others when disks are busy, 10 to 1000
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
    /// Weight against others when CPUs are busy
    #[arg(long, value_name = "N")]
    pub cpu_share: Option<u64>,
    /// Length of a period for real-time processes (µs)
    #[arg(long, value_name = "N")]
    pub cpu_rt_period: Option<u64>,
    /// Real-time CPU time in a period (µs)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// 1: run only when nobody else needs the CPU
    #[arg(long, value_name = "N")]
    pub cpu_idle: Option<i64>,
    /// CPUs that may be used
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Memory limit (bytes, or with k, M, G; -1: no limit)
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// Memory that is aimed at when memory is scarce
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_reservation: Option<String>,
    /// Limit of memory and swap together
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_swap: Option<String>,
    /// Ignored: this memory is counted with the rest
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub kernel_memory: Option<String>,
    /// Ignored: this memory is counted with the rest
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub kernel_memory_tcp: Option<String>,
    /// Limit of processes and threads
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    /// Not supported
    #[arg(long, hide = true)]
    pub l3_cache_schema: Option<String>,
    /// Not supported
    #[arg(long, hide = true)]
    pub mem_bw_schema: Option<String>,
    /// Name of the container
    pub id: String,
}

/// `events`.
#[derive(Args)]
pub struct Events {
    /// Time between two lines, such as 5s or 500ms
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub interval: String,
    /// Print once and exit
    #[arg(long)]
    pub stats: bool,
    /// Name of the container
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

/// The name of a container.
#[derive(Args)]
pub struct Id {
    /// Name of the container
    pub id: String,
}

/// Options for creating a container.
#[derive(Args)]
pub struct Create {
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Socket to which the terminal is sent
    #[arg(long, value_name = "PATH")]
    pub console_socket: Option<PathBuf>,
    /// File to which the process ID is written
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Change the root without pivot_root, for hosts that run from a RAM disk
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Number of descriptors, from 3 on, that the program inherits
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Name of the container
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
    /// Do not delete it when its program has ended
    #[arg(long)]
    pub keep: bool,
    /// Do not become a child subreaper
    #[arg(long)]
    pub no_subreaper: bool,
}

/// `kill`.
#[derive(Args)]
pub struct Kill {
    /// Send it to all of the container's processes
    #[arg(long, short)]
    pub all: bool,
    /// Name of the container
    pub id: String,
    /// Name or number of the signal
    #[arg(default_value = "SIGTERM")]
    pub signal: String,
}

/// `delete`.
#[derive(Args)]
pub struct Delete {
    /// Kill it first; it is not an error if it does not exist
    #[arg(long, short)]
    pub force: bool,
    /// Name of the container
    pub id: String,
}

/// The format of a list.
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
    /// Output format
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Print only names
    #[arg(long, short)]
    pub quiet: bool,
}

/// The arguments of `trine oci`, from its name on, if this is one. A link named `trine-oci` is one, too.
pub fn line() -> Option<Vec<OsString>> {
    let mut all = std::env::args_os();
    let name = PathBuf::from(all.next()?);
    if name.file_name().is_some_and(|n| n == "trine-oci") {
        return Some(std::iter::once("oci".into()).chain(all).collect());
    }
    (all.next()? == "oci").then(|| std::iter::once("oci".into()).chain(all).collect())
}
