//! Options of the verbs for guests, and those that `run` has for them.

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

In a program's guest: another command with the same root, directory and confinement (its limits count by themselves).";
    /// Of `logs`.
    pub const LOGS: &str = "Examples:
  trine logs web
  trine logs -f --tail 20 web       the last 20 lines, and what comes
  trine logs --since 10m --timestamps web";
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

/// The size of a log.
fn bytes(text: &str) -> Result<u64, String> {
    let n = trine_base::size::parse(text)?;
    if n >= 4096 { Ok(n) } else { Err(format!("'{text}' is no size of a log: at least 4K")) }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() { Err(format!("'{text}' is no KEY=VALUE")) } else { Ok((key.into(), value.into())) }
}

/// Options of `run` for guests. With any of them the guest has a record, which `ps` shows.
#[derive(Args)]
pub struct GuestArgs {
    /// A name for it; else it gets one
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Run it in the background and print its id
    #[arg(long, short)]
    pub detach: bool,
    /// Remove its record and its log when it ends
    #[arg(long)]
    pub rm: bool,
    /// Keep its standard input open, also while nobody is attached
    #[arg(long, short)]
    pub interactive: bool,
    /// Give it a terminal of its own
    #[arg(long, short)]
    pub tty: bool,
    /// When it is started again after it ended: no, on-failure[:TIMES], always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<Restart>,
    /// A shell command in the guest whose exit code 0 means health
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// No checks, whatever the image says
    #[arg(long, conflicts_with = "health_cmd")]
    pub no_healthcheck: bool,
    /// Time between two checks (30s, or what the image says)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub health_interval: Option<Duration>,
    /// Time after which a check has failed (30s, or what the image says)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub health_timeout: Option<Duration>,
    /// Failures in a row that make it unhealthy (3, or what the image says)
    #[arg(long, value_name = "N")]
    pub health_retries: Option<u32>,
    /// Time after the start in which failures do not count (0s, or what the image says)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub health_start_period: Option<Duration>,
    /// Signal that asks it to end
    #[arg(long, value_name = "SIGNAL", value_parser = signal)]
    pub stop_signal: Option<i32>,
    /// Seconds between that and SIGKILL
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<u64>,
    /// Most bytes of its log
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub log_size: Option<u64>,
    /// A label
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// Keys that detach, as in ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", value_parser = Keys::parse)]
    pub detach_keys: Option<Keys>,
    /// With --detach: print id and name as JSON
    #[arg(long, requires = "detach")]
    pub json: bool,
}

impl GuestArgs {
    /// Whether the guest has a record.
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

    /// How its health is looked at where nothing else is said.
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

    /// Most bytes of its log.
    pub fn log_bytes(&self) -> u64 {
        self.log_size.unwrap_or(log::USUAL)
    }
}

/// Options of `trine ps`.
#[derive(Args)]
pub struct PsArgs {
    /// Those that do not run, too
    #[arg(long, short)]
    pub all: bool,
    /// Only ids
    #[arg(long, short)]
    pub quiet: bool,
    /// The newest N, whatever they do
    #[arg(long, short = 'n', value_name = "N")]
    pub last: Option<usize>,
    /// Cut nothing
    #[arg(long)]
    pub no_trunc: bool,
    /// As a JSON list
    #[arg(long)]
    pub json: bool,
    /// A line for each by a template such as '{{.Name}}', or `json`
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Only those that fit: status, name, id, kind, label, health, exited, ancestor, restart
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub filter: Vec<Filter>,
}

/// Guests.
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
    /// All that do not run and whose restart policy is `always`, or `unless-stopped` where nobody has stopped them: for
    /// the host's own start
    #[arg(long, conflicts_with = "guests")]
    pub all: bool,
    /// Stay attached to its output
    #[arg(long, short)]
    pub attach: bool,
    /// And give it input
    #[arg(long, short)]
    pub interactive: bool,
}

/// Options of `trine attach`.
#[derive(Args)]
pub struct AttachArgs {
    /// Name, id or beginning of an id
    pub guest: String,
    /// Give it no input
    #[arg(long)]
    pub no_stdin: bool,
    /// Keys that detach, as in ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", value_parser = Keys::parse)]
    pub detach_keys: Option<Keys>,
    /// Whether signals of this command go to the guest
    #[arg(long, value_name = "true|false", default_value_t = true, action = clap::ArgAction::Set)]
    pub sig_proxy: bool,
}

/// Options of `trine exec`.
#[derive(Args)]
pub struct ExecArgs {
    /// Do not wait for it
    #[arg(long, short)]
    pub detach: bool,
    /// Give it input
    #[arg(long, short)]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(long, short)]
    pub tty: bool,
    /// A variable
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<OsString>,
    /// Directory
    #[arg(long, short, visible_alias = "cwd", value_name = "DIR")]
    pub workdir: Option<OsString>,
    /// User (containers)
    #[arg(long, short, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// All capabilities (containers)
    #[arg(long)]
    pub privileged: bool,
    /// Keys that detach, as in ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", value_parser = Keys::parse)]
    pub detach_keys: Option<Keys>,
    /// Name, id or beginning of an id
    pub guest: String,
    /// The command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
}

/// Options of `trine logs`.
#[derive(Args)]
pub struct LogsArgs {
    /// Name, id or beginning of an id
    pub guest: String,
    /// Go on until the guest has ended
    #[arg(long, short)]
    pub follow: bool,
    /// Only the last N lines
    #[arg(long, short = 'n', value_name = "N|all", value_parser = tail)]
    pub tail: Option<Tail>,
    /// Only from then on: RFC 3339, seconds since 1970, or a length of time ago
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    pub since: Option<Time>,
    /// Only until then
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    pub until: Option<Time>,
    /// With the time of each line
    #[arg(long, short)]
    pub timestamps: bool,
}

/// How many lines; `None`: all.
#[derive(Clone, Copy)]
pub struct Tail(pub Option<usize>);

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail(None)),
        n => n.parse().map(|n| Tail(Some(n))).map_err(|_| format!("'{n}' is no number of lines, nor all")),
    }
}

/// Options of `trine stop` and `restart`.
#[derive(Args)]
pub struct StopArgs {
    /// Names, ids or beginnings of ids
    #[arg(required = true, value_name = "GUEST")]
    pub guests: Vec<String>,
    /// Seconds until SIGKILL (10 where `run` said nothing else)
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
    /// The signal
    #[arg(long, short, value_name = "SIGNAL", default_value = "KILL", value_parser = signal)]
    pub signal: i32,
}

/// Options of `trine rm`.
#[derive(Args)]
pub struct RmArgs {
    /// Names, ids or beginnings of ids
    #[arg(required = true, value_name = "GUEST")]
    pub guests: Vec<String>,
    /// End what runs; what is not there is no error
    #[arg(long, short)]
    pub force: bool,
}

/// Options of `trine stats`.
#[derive(Args)]
pub struct StatsArgs {
    /// Names, ids or beginnings of ids; all that run where none is given
    #[arg(value_name = "GUEST")]
    pub guests: Vec<String>,
    /// Once, and not until Ctrl-C
    #[arg(long)]
    pub no_stream: bool,
    /// As JSON, a list a line
    #[arg(long)]
    pub json: bool,
}

/// Options of `trine top`.
#[derive(Args)]
pub struct TopArgs {
    /// Name, id or beginning of an id
    pub guest: String,
    /// As a JSON list
    #[arg(long)]
    pub json: bool,
}

/// Options of `trine events`.
#[derive(Args)]
pub struct EventsArgs {
    /// From then on: RFC 3339, seconds since 1970, or a length of time ago
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    pub since: Option<Time>,
    /// Until then, in place of until Ctrl-C
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    pub until: Option<Time>,
    /// Only those that fit: action, guest, kind
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub filter: Vec<events::Filter>,
    /// As JSON, an object a line
    #[arg(long)]
    pub json: bool,
}
