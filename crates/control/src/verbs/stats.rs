//! `stats` and `top`: the resource usage of guests, and their processes.

use super::change::find;
use super::format::{bytes, table};
use crate::error::ControlError;
use crate::kinds::container;
use crate::monitor::repair::look;
use crate::process::{self, Stat, descendants_among};
use crate::record::{KindName, Record};
use crate::store::Store;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// The resource usage of a guest.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Option<KindName>,
    /// CPU time since the previous sample, in percent of one CPU.
    pub cpu_percent: f64,
    /// Total CPU time in seconds.
    pub cpu_seconds: f64,
    /// Memory in bytes; memory that processes share counts once.
    pub memory_bytes: u64,
    /// Its memory limit in bytes; the size of the host's memory where it has none.
    pub memory_limit: u64,
    /// Number of processes and threads.
    pub pids: u64,
    /// Bytes read from storage by its running processes.
    pub read_bytes: u64,
    /// Bytes written to storage by its running processes.
    pub written_bytes: u64,
    /// Bytes received over its own network.
    pub received_bytes: Option<u64>,
    /// Bytes sent over its own network.
    pub sent_bytes: Option<u64>,
}

/// The number that follows a word in a file of /proc.
fn number(path: &str, word: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(word))?;
    line.trim_start_matches(':').split_ascii_whitespace().next()?.parse().ok()
}

/// Bytes received and sent in a process's network namespace, if it is not ours; loopback does not count.
fn network(pid: i32) -> Option<(u64, u64)> {
    let space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    if space(&pid.to_string())? == space("self")? {
        return None;
    }
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let (mut received, mut sent) = (0, 0);
    for line in text.lines().filter_map(|l| l.split_once(':')).filter(|(name, _)| name.trim() != "lo") {
        let fields: Vec<u64> = line.1.split_ascii_whitespace().filter_map(|f| f.parse().ok()).collect();
        received += fields.first().copied().unwrap_or(0);
        sent += fields.get(8).copied().unwrap_or(0);
    }
    Some((received, sent))
}

fn host_memory() -> u64 {
    number("/proc/meminfo", "MemTotal").unwrap_or(0) * 1024
}

/// The current usage of a guest, without the CPU percentage.
fn usage(record: &Record, all: &[Stat]) -> Usage {
    let mut usage = Usage {
        id: record.id.clone(),
        name: record.name.clone(),
        kind: Some(record.kind),
        memory_limit: host_memory(),
        ..Usage::default()
    };
    let Some(monitor) = record.traces.monitor else { return usage };
    let members = descendants_among(all, monitor.pid);
    // The usage of processes that have ended and that the monitor waited for.
    let reaped = all.iter().find(|s| s.pid == monitor.pid).map_or(0, |m| m.ticks - m.own_ticks);
    let ticks = reaped + members.iter().map(|s| s.ticks).sum::<u64>();
    usage.cpu_seconds = ticks as f64 / process::ticks_a_second() as f64;
    for member in &members {
        let pid = member.pid;
        let part = number(&format!("/proc/{pid}/smaps_rollup"), "Pss").map(|k| k * 1024);
        usage.memory_bytes += part.unwrap_or(member.pages * process::page_size());
        usage.pids += member.threads;
        usage.read_bytes += number(&format!("/proc/{pid}/io"), "read_bytes").unwrap_or(0);
        usage.written_bytes += number(&format!("/proc/{pid}/io"), "write_bytes").unwrap_or(0);
    }
    in_groups(record, &mut usage);
    if let Some((received, sent)) = record.state.pid.and_then(network) {
        (usage.received_bytes, usage.sent_bytes) = (Some(received), Some(sent));
    }
    usage
}

/// Adds what a container's control groups know: usage of ended processes, and limits.
fn in_groups(record: &Record, usage: &mut Usage) {
    if record.kind != KindName::Container {
        return;
    }
    let Some(stats) = container::runtime().ok().and_then(|r| r.load(&record.id).ok()?.stats().ok()) else {
        return;
    };
    if let Some(cpu) = stats.cpu {
        usage.cpu_seconds = cpu.total as f64 / 1e9;
    }
    if let Some(memory) = stats.memory {
        // Reclaimable file pages do not count, as with other engines.
        let idle = ["total_inactive_file", "inactive_file"].iter().find_map(|name| memory.all.get(*name));
        usage.memory_bytes = memory.usage.saturating_sub(idle.copied().unwrap_or(0));
        usage.memory_limit = usage.memory_limit.min(memory.limit);
    }
    usage.pids = stats.pids.map_or(usage.pids, |(now, _)| now);
    if !stats.io.is_empty() {
        usage.read_bytes = stats.io.iter().map(|d| d.read_bytes).sum();
        usage.written_bytes = stats.io.iter().map(|d| d.write_bytes).sum();
    }
}

/// Samples the usage of guests repeatedly.
pub struct Watcher {
    which: Vec<String>,
    before: BTreeMap<String, (Instant, f64)>,
}

impl Watcher {
    /// Creates a sampler for these guests, or for all that run where none is named.
    pub fn new(which: Vec<String>) -> Watcher {
        Watcher { which, before: BTreeMap::new() }
    }

    /// Samples the usage; CPU percentages are those since the previous sample.
    ///
    /// # Errors
    /// Fails where a named guest does not exist.
    pub fn look(&mut self, store: &Store) -> Result<Vec<Usage>, ControlError> {
        let records: Vec<Record> = match self.which.is_empty() {
            true => {
                let up = |r: &Record| r.state.status.is_up();
                let (found, _) = store.list();
                found
                    .into_iter()
                    .filter(|(_, r)| up(r))
                    .filter_map(|(p, _)| look(store, &p).ok())
                    .filter(up)
                    .collect()
            }
            false => self.which.iter().map(|w| find(store, w).map(|(_, r)| r)).collect::<Result<_, _>>()?,
        };
        let (all, now) = (process::all(), Instant::now());
        let mut list = Vec::new();
        for record in &records {
            let mut usage = usage(record, &all);
            if let Some((then, seconds)) = self.before.insert(record.id.clone(), (now, usage.cpu_seconds)) {
                let time = now.duration_since(then).as_secs_f64().max(1e-3);
                usage.cpu_percent = ((usage.cpu_seconds - seconds).max(0.0) / time * 1e4).round() / 100.0;
            }
            list.push(usage);
        }
        Ok(list)
    }
}

/// The time between two samples.
pub const EVERY: Duration = Duration::from_secs(1);

/// Formats usage as a table.
pub fn usage_table(list: &[Usage]) -> String {
    let row = |u: &Usage| {
        let share =
            if u.memory_limit > 0 { u.memory_bytes as f64 * 100.0 / u.memory_limit as f64 } else { 0.0 };
        let network = match (u.received_bytes, u.sent_bytes) {
            (Some(received), Some(sent)) => format!("{} / {}", bytes(received), bytes(sent)),
            _ => "host's".into(),
        };
        vec![
            u.id.get(..12).unwrap_or_default().to_string(),
            u.name.clone(),
            format!("{:.2}%", u.cpu_percent),
            format!("{} / {}", bytes(u.memory_bytes), bytes(u.memory_limit)),
            format!("{share:.2}%"),
            network,
            format!("{} / {}", bytes(u.read_bytes), bytes(u.written_bytes)),
            u.pids.to_string(),
        ]
    };
    let rows: Vec<_> = list.iter().map(row).collect();
    table(
        &["ID", "NAME", "CPU %", "MEMORY / LIMIT", "MEMORY %", "NET IN / OUT", "READ / WRITTEN", "PIDS"],
        &rows,
    )
}

/// A process of a guest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Member {
    /// Its process ID on the host.
    pub pid: i32,
    /// Its parent's process ID.
    pub parent: i32,
    /// The name of its user.
    pub user: String,
    /// Its state, as ps(1) shows it.
    pub state: char,
    /// Its CPU time in seconds.
    pub cpu_seconds: f64,
    /// Its resident memory in bytes.
    pub memory_bytes: u64,
    /// Its command line.
    pub command: String,
}

/// A user's name by its ID. The C library's own lookup may load shared code, which a static executable cannot
/// do.
fn user(pid: i32) -> String {
    let Some(uid) = number(&format!("/proc/{pid}/status"), "Uid") else { return "?".into() };
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|l| {
        let mut fields = l.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_string())
    });
    named.unwrap_or_else(|| uid.to_string())
}

fn command(stat: &Stat) -> String {
    let line = fs::read(format!("/proc/{}/cmdline", stat.pid)).unwrap_or_default();
    let words: Vec<_> = line.split(|&b| b == 0).map(String::from_utf8_lossy).collect();
    let text = words.join(" ").trim_end().to_string();
    if text.is_empty() { format!("[{}]", stat.name) } else { text }
}

/// `trine top`: lists the processes of a guest.
///
/// # Errors
/// Fails where it does not run.
pub fn members(store: &Store, which: &str) -> Result<Vec<Member>, ControlError> {
    let (_, record) = find(store, which)?;
    if !record.state.status.is_up() {
        return crate::client::does_not_run(&record);
    }
    let ticks = process::ticks_a_second() as f64;
    let member = |s: &Stat| Member {
        pid: s.pid,
        parent: s.parent,
        user: user(s.pid),
        state: s.state,
        cpu_seconds: s.own_ticks as f64 / ticks,
        memory_bytes: s.pages * process::page_size(),
        command: command(s),
    };
    let monitor = record.traces.monitor.map_or(0, |m| m.pid);
    Ok(process::descendants(monitor).iter().map(member).collect())
}

/// Formats processes as a table.
pub fn members_table(list: &[Member]) -> String {
    let row = |m: &Member| {
        let (minutes, seconds) = (m.cpu_seconds as u64 / 60, m.cpu_seconds % 60.0);
        let time = format!("{minutes}:{seconds:05.2}");
        vec![
            m.pid.to_string(),
            m.parent.to_string(),
            m.user.clone(),
            m.state.to_string(),
            time,
            bytes(m.memory_bytes),
            m.command.clone(),
        ]
    };
    let rows: Vec<_> = list.iter().map(row).collect();
    table(&["PID", "PPID", "USER", "STATE", "TIME", "MEMORY", "COMMAND"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;
    use trine_base::process_stat::ProcessIdentity;

    #[test]
    fn what_descends_from_a_monitor_is_counted() {
        let own = std::process::id() as i32;
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let mut record = sample("u");
        record.traces.monitor = ProcessIdentity::of(own);
        let used = usage(&record, &process::all());
        assert!(used.pids >= 1 && used.memory_bytes > 0 && used.received_bytes.is_none(), "{used:?}");
        assert!(used.memory_limit > used.memory_bytes);
        child.kill().unwrap();
        child.wait().unwrap();
        let text = usage_table(&[used]);
        assert!(text.lines().nth(1).unwrap().contains("host's"), "{text}");
    }
}
