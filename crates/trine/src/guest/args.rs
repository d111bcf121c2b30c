//! Options of the verbs for guests, and the options of `run` for guests with a record.

use clap::Args;
use std::ffi::OsString;
use std::time::Duration;
use trine_control::client::terminal::Keys;
use trine_control::record::{HealthCheck, Restart};
use trine_control::time::{Time, duration};
use trine_control::verbs::events;
use trine_control::verbs::show::Filter;
use trine_control::{log, signals};

/// Examples of the verbs, under `--help`.
pub mod examples {
    /// Of `ps`.
    pub const PS: &str = "Examples:
  trine ps                          what runs
  trine ps -a                       what does not, too
  trine ps -aq --filter status=stopped | xargs -r trine rm
  trine ps --format '{{.Name}} {{.Status}}'";
    /// Of `attach`.
    pub const ATTACH: &str = "Examples:
  trine attach web                  Ctrl-P Ctrl-Q leaves a program or container, Ctrl-A d a machine
  trine attach --no-stdin web       only look
  echo 'poweroff' | trine attach box

The exit code is the guest's, 0 after the keys.";
    /// Of `exec`.
    pub const EXEC: &str = "Examples:
  trine exec web ps                 in a container or beside a program
  trine exec -it web sh
  trine exec -d --env A=1 web ./job

In a program's guest: another command with the same root, directory and confinement (its limits count by themselves).
In a machine: by its SSH server, as `trine ssh` does.";
    /// Of `ssh`.
    pub const SSH: &str = "Examples:
  trine ssh box                     as root
  trine ssh user@box -L 8080:localhost:80
  trine ssh box systemctl status
  trine ssh --key                   prints the key that the guest must accept

The guest's SSH server must listen on port 22 of its socket device (AF_VSOCK), as Debian's does since version 13, and
have that key in ~/.ssh/authorized_keys, or get it at each boot, as `debian` does. What follows the guest is passed to `ssh`.";
    /// Of `cp`.
    pub const CP: &str = "Examples:
  trine cp box:/var/log/syslog .
  trine cp -r site user@box:/srv

As with `trine ssh`, by the guest's SSH server.";
    /// Of `logs`.
    pub const LOGS: &str = "Examples:
  trine logs web
  trine logs -f --tail 20 web       the last 20 lines, and what comes
  trine logs --since 10m --timestamps web";
    /// Of `snapshot`.
    pub const SNAPSHOT: &str = "Examples:
  trine snapshot box box.snap       the machine stands still meanwhile, then goes on
  trine run --restore box.snap      another machine that goes on from there
  trine run --restore box.snap -d --name copy -p 8080:80

Disks that the guest can write to are copied to FILE.disk0 and so on.";
    /// Of `stop`.
    pub const STOP: &str = "Examples:
  trine stop web                    SIGTERM, after 10 seconds SIGKILL
  trine stop -t 60 box              a machine is asked to power off
  trine stop $(trine ps -q)";
    /// Of `stats`.
    pub const STATS: &str = "Examples:
  trine stats                       all that runs, until Ctrl-C
  trine stats --no-stream --json web";
    /// Of `events`.
    pub const EVENTS: &str = "Examples:
  trine events                      what happens from now on
  trine events --since 1h --until 0s --filter action=die --json";
    /// Of `inspect`.
    pub const INSPECT: &str = "Examples:
  trine inspect web
  trine inspect --format '{{.State.Status}} {{.State.ExitCode}}' web";
}

fn signal(text: &str) -> Result<i32, String> {
    signals::parse(text)
}

/// Parses the size limit of a log.
fn bytes(text: &str) -> Result<u64, String> {
    let n = trine_base::size::parse(text)?;
    if n >= 4096 { Ok(n) } else { Err(format!("'{text}' is not a log size: use at least 4K")) }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() { Err(format!("'{text}' is not KEY=VALUE")) } else { Ok((key.into(), value.into())) }
}

/// Options of `run` for guests. A guest with any of them has a record, which `ps` shows.
#[derive(Args)]
pub struct GuestArgs {
    /// Name of the guest; default: a generated one
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Run it in the background and print its id
    #[arg(long, short)]
    pub detach: bool,
    /// Remove its record and its log when it ends
    #[arg(long)]
    pub rm: bool,
    /// Keep its standard input open, even while nobody is attached
    #[arg(long, short)]
    pub interactive: bool,
    /// Give it a terminal of its own
    #[arg(long, short)]
    pub tty: bool,
    /// When to restart it after it has ended: no, on-failure[:TIMES], always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<Restart>,
    /// Shell command in the guest whose exit code 0 means that it is healthy
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// Make no health checks, whatever the image says
    #[arg(long, conflicts_with = "health_cmd")]
    pub no_healthcheck: bool,
    /// Time between two checks (default: 30s, or what the image says)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub health_interval: Option<Duration>,
    /// Time after which a check has failed (default: 30s, or what the image says)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub health_timeout: Option<Duration>,
    /// Consecutive failures that make it unhealthy (default: 3, or what the image says)
    #[arg(long, value_name = "N")]
    pub health_retries: Option<u32>,
    /// Time after the start during which failures do not count (default: 0s, or what the image says)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub health_start_period: Option<Duration>,
    /// Signal that asks it to end (default: TERM, or what the image says)
    #[arg(long, value_name = "SIGNAL", value_parser = signal)]
    pub stop_signal: Option<i32>,
    /// Seconds to wait after the stop signal before SIGKILL (default: 10)
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<u64>,
    /// Size limit of its log (default: 16M)
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub log_size: Option<u64>,
    /// Set a label
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// Keys that detach, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", value_parser = Keys::parse)]
    pub detach_keys: Option<Keys>,
    /// With --detach: print id and name as JSON
    #[arg(long, requires = "detach")]
    pub json: bool,
}

impl GuestArgs {
    /// Whether the guest gets a record.
    pub fn is_wanted(&self) -> bool {
        self.name.is_some()
            || self.detach
            || self.rm
            || self.interactive
            || self.tty
            || self.restart.is_some()
            || self.health_cmd.is_some()
            || self.stop_signal.is_some()
            || self.stop_timeout.is_some()
            || self.log_size.is_some()
            || !self.label.is_empty()
            || self.detach_keys.is_some()
    }

    /// How its health is checked, with the defaults for missing options.
    pub fn health_times(&self) -> HealthCheck {
        let half = Duration::from_secs(30);
        HealthCheck {
            command: Vec::new(),
            interval: self.health_interval.unwrap_or(half),
            timeout: self.health_timeout.unwrap_or(half),
            retries: self.health_retries.unwrap_or(3),
            start_period: self.health_start_period.unwrap_or_default(),
        }
    }

    /// The size limit of its log in bytes.
    pub fn log_bytes(&self) -> u64 {
        self.log_size.unwrap_or(log::USUAL)
    }
}

/// Options of `trine ps`.
#[derive(Args)]
pub struct PsArgs {
    /// Include guests that do not run
    #[arg(long, short)]
    pub all: bool,
    /// Print only ids
    #[arg(long, short)]
    pub quiet: bool,
    /// Show only the newest N, running or not
    #[arg(long, short = 'n', value_name = "N")]
    pub last: Option<usize>,
    /// Do not shorten anything
    #[arg(long)]
    pub no_trunc: bool,
    /// Print a JSON list
    #[arg(long)]
    pub json: bool,
    /// Print a line for each by a template such as '{{.Name}}', or `json`
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Show only guests that match: status, name, id, kind, label, health, exited, ancestor, restart
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub filter: Vec<Filter>,
}

/// Options of `trine snapshot`.
#[derive(Args)]
pub struct SnapshotArgs {
    /// Name, id or beginning of an id of a machine
    pub guest: String,
    /// The file, and the beginning of the names of its disks' copies
    pub file: std::path::PathBuf,
    /// Replace files that exist
    #[arg(long, short)]
    pub force: bool,
}

/// A list of guests.
#[derive(Args)]
pub struct Guests {
    /// Names, ids or beginnings of ids
    #[arg(required = true, value_name = "GUEST")]
    pub guests: Vec<String>,
}

/// Options of `trine start`.
#[derive(Args)]
pub struct StartArgs {
    /// Names, ids or beginnings of ids
    #[arg(required_unless_present = "all", value_name = "GUEST")]
    pub guests: Vec<String>,
    /// All that do not run and whose restart policy is `always`, or `unless-stopped` if nobody stopped them:
    /// for use at boot
    #[arg(long, conflicts_with = "guests")]
    pub all: bool,
    /// Stay attached to its output
    #[arg(long, short)]
    pub attach: bool,
    /// Send it input, too
    #[arg(long, short)]
    pub interactive: bool,
}

/// Options of `trine attach`.
#[derive(Args)]
pub struct AttachArgs {
    /// Name, id or beginning of an id
    pub guest: String,
    /// Send it no input
    #[arg(long)]
    pub no_stdin: bool,
    /// Keys that detach, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", value_parser = Keys::parse)]
    pub detach_keys: Option<Keys>,
    /// Whether to forward signals of this command to the guest
    #[arg(long, value_name = "true|false", default_value_t = true, action = clap::ArgAction::Set)]
    pub sig_proxy: bool,
}

/// Options of `trine exec`.
#[derive(Args)]
pub struct ExecArgs {
    /// Do not wait for the command
    #[arg(long, short)]
    pub detach: bool,
    /// Send it input
    #[arg(long, short)]
    pub interactive: bool,
    /// Give it a terminal of its own
    #[arg(long, short)]
    pub tty: bool,
    /// Set an environment variable
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<OsString>,
    /// Working directory
    #[arg(long, short, visible_alias = "cwd", value_name = "DIR")]
    pub workdir: Option<OsString>,
    /// User, and group if given (containers and machines)
    #[arg(long, short, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// With all capabilities (containers)
    #[arg(long)]
    pub privileged: bool,
    /// Keys that detach, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", value_parser = Keys::parse)]
    pub detach_keys: Option<Keys>,
    /// Name, id or beginning of an id
    pub guest: String,
    /// Command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
}

/// Options of `trine ssh`.
#[derive(Args)]
pub struct SshArgs {
    /// Print the public key that guests must accept, and do nothing else
    #[arg(long, conflicts_with = "guest")]
    pub key: bool,
    /// Name, id or beginning of an id; with a user of the guest if that is not root
    #[arg(required_unless_present = "key", value_name = "[USER@]GUEST")]
    pub guest: Option<String>,
    /// Further options of `ssh`, then a command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// Options of `trine cp`.
#[derive(Args)]
pub struct CpArgs {
    /// Copy directories with all that is in them
    #[arg(long, short)]
    pub recursive: bool,
    /// Keep times and modes of files
    #[arg(long, short)]
    pub preserve: bool,
    /// What is copied
    #[arg(value_name = "PATH|[USER@]GUEST:PATH")]
    pub from: OsString,
    /// Where it is copied to
    #[arg(value_name = "PATH|[USER@]GUEST:PATH")]
    pub to: OsString,
}

/// Options of `trine logs`.
#[derive(Args)]
pub struct LogsArgs {
    /// Name, id or beginning of an id
    pub guest: String,
    /// Follow the log until the guest has ended
    #[arg(long, short)]
    pub follow: bool,
    /// Show only the last N lines
    #[arg(long, short = 'n', value_name = "N|all", value_parser = tail)]
    pub tail: Option<Tail>,
    /// Show only output since this time: RFC 3339, seconds since 1970, or a duration before now
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    pub since: Option<Time>,
    /// Show only output until this time
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    pub until: Option<Time>,
    /// Print the time of each line
    #[arg(long, short)]
    pub timestamps: bool,
}

/// A number of lines; `None` means all.
#[derive(Clone, Copy)]
pub struct Tail(pub Option<usize>);

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail(None)),
        n => n
            .parse()
            .map(|n| Tail(Some(n)))
            .map_err(|_| format!("'{n}' is neither a number of lines nor 'all'")),
    }
}

/// Options of `trine stop` and `restart`.
#[derive(Args)]
pub struct StopArgs {
    /// Names, ids or beginnings of ids
    #[arg(required = true, value_name = "GUEST")]
    pub guests: Vec<String>,
    /// Seconds to wait before SIGKILL (default: 10, or what `run` said)
    #[arg(long, short, value_name = "SECONDS")]
    pub time: Option<u64>,
    /// Signal that asks it to end
    #[arg(long, short, value_name = "SIGNAL", value_parser = signal)]
    pub signal: Option<i32>,
}

/// Options of `trine kill`.
#[derive(Args)]
pub struct KillArgs {
    /// Names, ids or beginnings of ids
    #[arg(required = true, value_name = "GUEST")]
    pub guests: Vec<String>,
    /// Signal to send
    #[arg(long, short, value_name = "SIGNAL", default_value = "KILL", value_parser = signal)]
    pub signal: i32,
}

/// Options of `trine rm`.
#[derive(Args)]
pub struct RmArgs {
    /// Names, ids or beginnings of ids
    #[arg(required = true, value_name = "GUEST")]
    pub guests: Vec<String>,
    /// End running guests first; it is not an error if a guest does not exist
    #[arg(long, short)]
    pub force: bool,
}

/// Options of `trine stats`.
#[derive(Args)]
pub struct StatsArgs {
    /// Names, ids or beginnings of ids; default: all that run
    #[arg(value_name = "GUEST")]
    pub guests: Vec<String>,
    /// Print once instead of until Ctrl-C
    #[arg(long)]
    pub no_stream: bool,
    /// Print JSON: one list per line
    #[arg(long)]
    pub json: bool,
}

/// Options of `trine top`.
#[derive(Args)]
pub struct TopArgs {
    /// Name, id or beginning of an id
    pub guest: String,
    /// Print a JSON list
    #[arg(long)]
    pub json: bool,
}

/// Options of `trine events`.
#[derive(Args)]
pub struct EventsArgs {
    /// Show events since this time: RFC 3339, seconds since 1970, or a duration before now
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    pub since: Option<Time>,
    /// Show events until this time instead of until Ctrl-C
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    pub until: Option<Time>,
    /// Show only events that match: action, guest, kind
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub filter: Vec<events::Filter>,
    /// Print JSON: one object per line
    #[arg(long)]
    pub json: bool,
}
