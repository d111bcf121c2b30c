//! The record of a guest, which is a JSON file.

use crate::time::Time;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;
use trine_base::process_stat::ProcessIdentity;
use trine_hostnet::{Mode, Open, PortMap};

/// A word of a command line, a path or a variable; it may have any bytes. In JSON it is a string if it is
/// UTF-8, and otherwise a list of bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word(pub OsString);

impl<T: Into<OsString>> From<T> for Word {
    fn from(text: T) -> Word {
        Word(text.into())
    }
}

impl AsRef<OsStr> for Word {
    fn as_ref(&self) -> &OsStr {
        &self.0
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => s.serialize_str(text),
            None => self.0.as_bytes().serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Word, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(match Either::deserialize(d)? {
            Either::Text(text) => Word(text.into()),
            Either::Bytes(bytes) => Word(OsString::from_vec(bytes)),
        })
    }
}

/// The three kinds of guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KindName {
    /// A whole computer.
    Machine,
    /// An executable of another CPU.
    Program,
    /// A division of the host's kernel.
    Container,
}

impl std::fmt::Display for KindName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            KindName::Machine => "machine",
            KindName::Program => "program",
            KindName::Container => "container",
        })
    }
}

/// The state of a guest's lifecycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was never started.
    #[default]
    Created,
    /// It runs.
    Running,
    /// It exists and does not execute.
    Paused,
    /// It has ended, and its restart policy will start it again in a moment.
    Restarting,
    /// It has ended by itself or was ended.
    Stopped,
    /// Its monitor was killed, and the guest with it: its exit status is unknown.
    Dead,
}

impl Status {
    /// Whether it has processes.
    pub fn is_up(self) -> bool {
        matches!(self, Status::Running | Status::Paused | Status::Restarting)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Stopped => "stopped",
            Status::Dead => "dead",
        }
    }
}

/// When a guest that has ended is restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// When its exit code is not 0; at most so many times in a row (0: no limit).
    OnFailure(u32),
    /// Always, unless the user stopped it.
    Always,
    /// As `Always`; but `start --all` after a reboot of the host leaves out guests that were stopped before.
    UnlessStopped,
}

impl std::str::FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> Result<Restart, String> {
        match text.split_once(':') {
            None if text == "no" => Ok(Restart::No),
            None if text == "always" => Ok(Restart::Always),
            None if text == "unless-stopped" => Ok(Restart::UnlessStopped),
            None if text == "on-failure" => Ok(Restart::OnFailure(0)),
            Some(("on-failure", n)) => {
                n.parse().map(Restart::OnFailure).map_err(|_| format!("'{n}' is not a number of restarts"))
            }
            _ => Err(format!(
                "'{text}' is not a restart policy: use no, on-failure[:TIMES], always or unless-stopped"
            )),
        }
    }
}

impl std::fmt::Display for Restart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Restart::No => f.write_str("no"),
            Restart::OnFailure(0) => f.write_str("on-failure"),
            Restart::OnFailure(n) => write!(f, "on-failure:{n}"),
            Restart::Always => f.write_str("always"),
            Restart::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

impl Serialize for Restart {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Restart {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Restart, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How a guest's health is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The command that is executed in the guest; exit code 0 means healthy.
    pub command: Vec<Word>,
    /// Time between the end of one check and the start of the next.
    pub interval: Duration,
    /// Time after which a check has failed.
    pub timeout: Duration,
    /// Number of consecutive failures that make it unhealthy.
    pub retries: u32,
    /// Time after the start during which failures do not count.
    pub start_period: Duration,
}

/// The results of health checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// Number of failures since the last success.
    pub failing_streak: u32,
    /// The last check's exit code.
    pub last_exit_code: Option<i32>,
    /// The beginning of the last check's output.
    pub last_output: String,
}

impl Health {
    /// The state before the first check.
    pub fn starting() -> Health {
        Health {
            status: "starting".into(),
            failing_streak: 0,
            last_exit_code: None,
            last_output: String::new(),
        }
    }
}

/// What a guest is started from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The command line of a `trine run`, for machines and programs.
    Command(Line),
    /// An OCI bundle, for containers.
    Bundle(Bundle),
}

/// The words of a command line that follow `trine run`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// All words.
    pub words: Vec<Word>,
    /// How many of them are options: they come before the thing that runs.
    pub options: usize,
}

/// A container's bundle and the name of its image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Directory with `config.json`.
    pub path: PathBuf,
    /// Name of the image that it was made from, if it was.
    pub image: Option<String>,
    /// Whether the bundle is removed together with the guest, because it was made for it.
    pub owned: bool,
}

/// The options with which a guest was created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestOptions {
    /// Whether it has a terminal of its own.
    pub tty: bool,
    /// Whether its standard input stays open while nobody is attached.
    pub stdin: bool,
    /// Whether its standard input is closed when the first attached client leaves.
    pub stdin_once: bool,
    /// Whether its record is removed when it ends.
    pub remove: bool,
    /// When it is restarted.
    pub restart: Restart,
    /// How its health is checked.
    pub health: Option<HealthCheck>,
    /// The signal that asks it to end; `None` means SIGTERM.
    pub stop_signal: Option<i32>,
    /// Seconds between the stop signal and SIGKILL.
    pub stop_seconds: Option<u64>,
    /// The size limit of its log in bytes.
    pub log_bytes: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its network: a container's, or a machine's private one.
    pub network: Network,
}

/// The network options of a container, or of a machine in a private network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Which network it joins.
    pub mode: Mode,
    /// Further names by which the other members of the network find it.
    pub aliases: Vec<String>,
    /// Further lines of its `/etc/hosts`: name and address.
    pub hosts: Vec<(String, IpAddr)>,
    /// Its name servers; empty means the host's.
    pub dns: Vec<IpAddr>,
    /// The domains that its resolver searches; empty means the host's.
    pub search: Vec<String>,
    /// The ports of the host that are forwarded to it.
    pub publish: Vec<PortMap>,
}

/// The state of a running guest's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Joined {
    /// Its IPv4 address in the network.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address in the network.
    pub v6: Option<Ipv6Addr>,
    /// The gateway of its default route.
    pub gateway: Option<Ipv4Addr>,
    /// The published ports that are open.
    pub ports: Vec<Open>,
    /// Remarks for the user.
    pub notes: Vec<String>,
}

impl Joined {
    /// Its published ports, written as `127.0.0.1:8080->80/tcp`.
    pub fn ports(&self) -> Vec<String> {
        self.ports.iter().map(Open::to_string).collect()
    }
}

/// The current state of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestState {
    /// The state of its lifecycle.
    pub status: Status,
    /// Process ID of its first process.
    pub pid: Option<i32>,
    /// Its exit code; 128 + n for signal n.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether the kernel killed it because its memory was used up.
    pub out_of_memory: bool,
    /// Why it did not start, or is dead.
    pub error: Option<String>,
    /// When it was started last.
    pub started: Option<Time>,
    /// When it ended last.
    pub finished: Option<Time>,
    /// How often its restart policy has restarted it.
    pub restarts: u32,
    /// Whether the user stopped it.
    pub stopped_by_user: bool,
    /// The results of its health checks.
    pub health: Option<Health>,
    /// The state of that network, while it runs.
    pub network: Joined,
}

/// Information that a guest's monitor leaves for the command that cleans up after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traces {
    /// The monitor's process.
    pub monitor: Option<ProcessIdentity>,
    /// The guest's first process, which is a session leader.
    pub guest: Option<ProcessIdentity>,
    /// Whether processes of the guest may exist: set from before its start until all of it has ended.
    pub open: bool,
    /// The boot of the host during which this was written.
    pub boot: String,
    /// The guest's runtime directory, with its socket.
    pub directory: Option<PathBuf>,
    /// Its control group, where it has one.
    pub cgroup: Option<String>,
}

/// Everything that is known of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the record's format.
    pub version: u32,
    /// 32 hexadecimal digits.
    pub id: String,
    /// Its name, which no other guest has.
    pub name: String,
    /// Its kind.
    pub kind: KindName,
    /// What runs: the thing as the user named it.
    pub what: String,
    /// The arguments of that thing.
    pub args: Vec<Word>,
    /// What it is started from.
    pub source: Source,
    /// The directory in which it was created.
    pub cwd: Word,
    /// The environment in which it was created, each variable as `NAME=VALUE`.
    pub env: Vec<Word>,
    /// When it was created.
    pub created: Time,
    /// The options with which it was created.
    pub options: GuestOptions,
    /// Its current state.
    pub state: GuestState,
    /// Information about its monitor, for cleaning up.
    pub traces: Traces,
}

/// The format of this version.
pub const VERSION: u32 = 1;

impl Record {
    /// The command as people write it.
    pub fn command(&self) -> String {
        let words = [self.what.clone()].into_iter().chain(self.args.iter().map(Word::to_string));
        let quoted =
            words.map(|w| if w.contains(char::is_whitespace) || w.is_empty() { format!("'{w}'") } else { w });
        quoted.collect::<Vec<_>>().join(" ")
    }

    /// The beginning of the id, which is nearly always unique.
    pub fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// The status in words: `up 3 minutes (healthy)`.
    pub fn describe(&self) -> String {
        let s = &self.state;
        let since = |t: Option<Time>| crate::time::words(t.unwrap_or(self.created).ago());
        let code = s.exit_code.unwrap_or(0);
        match s.status {
            Status::Created if s.error.is_some() => "created (did not start)".into(),
            Status::Created => "created".into(),
            Status::Running | Status::Paused => {
                let health = s.health.as_ref().map_or(String::new(), |h| format!(" ({})", h.status));
                let paused = if s.status == Status::Paused { " (paused)" } else { "" };
                format!("up {}{health}{paused}", since(s.started))
            }
            Status::Restarting => format!("restarting ({code}) {} ago", since(s.finished)),
            Status::Stopped => format!("exited ({code}) {} ago", since(s.finished)),
            Status::Dead => format!("dead {} ago", since(s.finished)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record for tests.
    pub fn sample(name: &str) -> Record {
        Record {
            version: VERSION,
            id: crate::names::id(),
            name: name.into(),
            kind: KindName::Program,
            what: "./prog".into(),
            args: vec!["a b".into(), Word(OsString::from_vec(vec![0xff, b'x']))],
            source: Source::Command(Line { words: vec!["./prog".into()], options: 0 }),
            cwd: "/".into(),
            env: vec!["A=1".into()],
            created: Time::now(),
            options: GuestOptions::default(),
            state: GuestState::default(),
            traces: Traces::default(),
        }
    }

    #[test]
    fn a_record_comes_back_from_json_with_any_bytes() {
        let record = sample("n");
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.contains("[255,120]"), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        assert!(record.command().starts_with("./prog 'a b' "), "{}", record.command());
    }

    #[test]
    fn restart_policies() {
        for text in ["no", "on-failure", "on-failure:3", "always", "unless-stopped"] {
            assert_eq!(text.parse::<Restart>().unwrap().to_string(), text);
        }
        for bad in ["", "never", "always:3", "on-failure:x"] {
            assert!(bad.parse::<Restart>().is_err(), "{bad}");
        }
    }
}
