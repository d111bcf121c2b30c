//! What is known of a guest: its record, a JSON file.

use crate::process::Process;
use crate::time::Time;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;
use trine_hostnet::{Mode, Open, PortMap};

/// A word of a command line, a path or a variable: any bytes. In JSON a string where it is UTF-8, else a list of bytes.
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

/// The three kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KindName {
    /// A whole computer.
    Machine,
    /// An executable of another CPU.
    Program,
    /// The host's kernel, divided.
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

/// Where a guest is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started.
    #[default]
    Created,
    /// It runs.
    Running,
    /// It is there and does not run.
    Paused,
    /// It ended and its restart policy will start it again in a moment.
    Restarting,
    /// It ended, or was ended.
    Stopped,
    /// Its monitor was killed, and it with it: how it would have ended nobody knows.
    Dead,
}

impl Status {
    /// Whether there are processes of it.
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

/// When a guest that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// When its exit code is not 0, at most so many times in a row (0: always).
    OnFailure(u32),
    /// Always, but where the user stopped it.
    Always,
    /// As `Always`; a user's `start --all` after the host's restart leaves out what was stopped before.
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
                n.parse().map(Restart::OnFailure).map_err(|_| format!("'{n}' is no number of restarts"))
            }
            _ => Err(format!(
                "'{text}' is no restart policy: use no, on-failure[:TIMES], always or unless-stopped"
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

/// How a guest's health is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is executed in the guest; exit code 0 is health.
    pub command: Vec<Word>,
    /// Between the end of one and the start of the next.
    pub interval: Duration,
    /// What takes longer has failed.
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Failures in this time after the start do not count.
    pub start_period: Duration,
}

/// What checks have found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// Failures since the last success.
    pub failing_streak: u32,
    /// The last check's exit code.
    pub last_exit_code: Option<i32>,
    /// The beginning of what it wrote.
    pub last_output: String,
}

impl Health {
    /// Before the first check.
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
    /// The command line of a `trine run`: machines and programs.
    Command(Line),
    /// An OCI bundle: containers.
    Bundle(Bundle),
}

/// The words of a command line behind `trine run`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// All of them.
    pub words: Vec<Word>,
    /// How many of them stand before the thing that runs: its options.
    pub options: usize,
}

/// A container's bundle and what the image knows beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Directory with `config.json`.
    pub path: PathBuf,
    /// Name of the image it was made of, if one was.
    pub image: Option<String>,
    /// Whether the bundle is removed with the guest: it was made for it alone.
    pub owned: bool,
}

/// What was asked for when the guest was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// It has a terminal of its own.
    pub tty: bool,
    /// Its standard input stays open while nobody is attached.
    pub stdin: bool,
    /// The first one attached closes its standard input when it leaves.
    pub stdin_once: bool,
    /// Its record is removed when it ends.
    pub remove: bool,
    /// When it is started again.
    pub restart: Restart,
    /// How its health is looked at.
    pub health: Option<HealthCheck>,
    /// What asks it to end; SIGTERM where none is named.
    pub stop_signal: Option<i32>,
    /// Seconds between that and SIGKILL.
    pub stop_seconds: Option<u64>,
    /// Its log is kept below so many bytes.
    pub log_bytes: u64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its network: of containers.
    pub network: Network,
}

/// What was asked for of a container's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Which one it is.
    pub mode: Mode,
    /// Names beside its own, by which the group's other members find it.
    pub aliases: Vec<String>,
    /// More lines of its `/etc/hosts`: name and address.
    pub hosts: Vec<(String, IpAddr)>,
    /// Its name servers; none: the host's.
    pub dns: Vec<IpAddr>,
    /// Domains that its resolver searches; none: the host's.
    pub search: Vec<String>,
    /// Ports of the host that lead into it.
    pub publish: Vec<PortMap>,
}

/// What a guest has of its network while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Joined {
    /// IPv4 in its group.
    pub v4: Option<Ipv4Addr>,
    /// IPv6 in its group.
    pub v6: Option<Ipv6Addr>,
    /// Where its default route leads.
    pub gateway: Option<Ipv4Addr>,
    /// Open ports.
    pub ports: Vec<Open>,
    /// What its user should know.
    pub notes: Vec<String>,
}

impl Joined {
    /// Its ports, as `127.0.0.1:8080->80/tcp`.
    pub fn ports(&self) -> Vec<String> {
        self.ports.iter().map(Open::to_string).collect()
    }
}

/// How a guest is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Where it is in its life.
    pub status: Status,
    /// Number of its first process.
    pub pid: Option<i32>,
    /// Exit code, 128 + n for signal n.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether the kernel ended it because its memory was used up.
    pub out_of_memory: bool,
    /// Why it did not start, or is dead.
    pub error: Option<String>,
    /// When it was started last.
    pub started: Option<Time>,
    /// When it ended last.
    pub finished: Option<Time>,
    /// How often its policy has started it again.
    pub restarts: u32,
    /// Whether the user ended it.
    pub stopped_by_user: bool,
    /// What checks have found.
    pub health: Option<Health>,
    /// Its network's part: of containers that run.
    pub network: Joined,
}

/// What a guest's monitor left for whoever comes after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traces {
    /// The monitor.
    pub monitor: Option<Process>,
    /// The guest's first process, the leader of a session of its own.
    pub guest: Option<Process>,
    /// Whether something of the guest may be there: from before its start until all of it has ended.
    pub open: bool,
    /// During which start of the host.
    pub boot: String,
    /// The guest's directory of what runs, with its socket.
    pub directory: Option<PathBuf>,
    /// Its control group, where it has one.
    pub cgroup: Option<String>,
}

/// All that is known of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format of this file.
    pub version: u32,
    /// 32 hexadecimal digits.
    pub id: String,
    /// Its name, which no other guest has.
    pub name: String,
    /// Its kind.
    pub kind: KindName,
    /// What runs: the thing as it was named.
    pub what: String,
    /// The arguments of that thing.
    pub args: Vec<Word>,
    /// What it is started from.
    pub source: Source,
    /// Directory it was made in.
    pub cwd: Word,
    /// Environment it was made in, each as `NAME=VALUE`.
    pub env: Vec<Word>,
    /// When it was made.
    pub created: Time,
    /// What was asked for.
    pub options: Options,
    /// How it is.
    pub state: State,
    /// Traces of its monitor.
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

    /// The beginning of the id, which suffices nearly always.
    pub fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// Status in words: `up 3 minutes (healthy)`.
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
            options: Options::default(),
            state: State::default(),
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
