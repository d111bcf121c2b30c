//! Limits, and the means by which this host enforces each of them.

use super::{Deny, keeper, privilege};
use std::str::FromStr;
use trine_base::size;
use trine_cgroup::{CPU, CPU_TIME, Groups, MEMORY, PIDS};

/// Limits of a program and everything it starts; `None` means no limit of ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Seconds of CPU time.
    pub cpu_time: Option<u64>,
    /// Thousandths of one CPU.
    pub cpus: Option<u64>,
    /// Number of processes and threads at a time.
    pub pids: Option<u64>,
    /// Number of open file descriptors of each process.
    pub files: Option<u64>,
}

/// Bytes of memory that a monitor needs for itself (its tables and generated code), in addition to the
/// program's.
const MONITOR: u64 = 32 << 20;

fn number(what: &str, text: &str) -> Result<u64, String> {
    let wrong = || format!("{what}={text}: this is not a whole number above 0");
    text.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)
}

fn memory(text: &str) -> Result<u64, String> {
    let bytes = size::parse_in(text, size::Unit::Required).map_err(|why| format!("memory: {why}"))?;
    if bytes < 1 << 62 { Ok(bytes) } else { Err(format!("memory={text}: no host has so much")) }
}

/// Parses a duration with a unit; the result is in seconds.
fn time(text: &str) -> Option<Result<u64, String>> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    let count = number("cpu", &text[..text.len() - 1]);
    Some(count.and_then(|n| n.checked_mul(seconds).ok_or_else(|| format!("cpu={text}: this is too long"))))
}

fn cpus(text: &str) -> Result<u64, String> {
    let wrong = "a time such as 30s, 5m or 1h, or a number of CPUs such as 1.5 (0.01 to 10000)";
    let count: f64 = text.parse().map_err(|_| format!("cpu={text}: use {wrong}"))?;
    match (0.01..=10_000.0).contains(&count) {
        true => Ok((count * 1000.0).round() as u64),
        false => Err(format!("cpu={text}: use {wrong}")),
    }
}

impl FromStr for Limits {
    type Err = String;

    fn from_str(list: &str) -> Result<Limits, String> {
        let mut limits = Limits::default();
        for part in list.split(',') {
            let Some((what, value)) = part.split_once('=') else {
                return Err(format!(
                    "'{part}' is not a limit: write it as memory=512M, cpu=30s, pids=64 or files=256"
                ));
            };
            match what {
                "memory" => limits.memory = Some(memory(value)?),
                "cpu" => match time(value) {
                    Some(seconds) => limits.cpu_time = Some(seconds?),
                    None => limits.cpus = Some(cpus(value)?),
                },
                "pids" => limits.pids = Some(number(what, value)?),
                "files" => limits.files = Some(number(what, value)?),
                _ => return Err(format!("'{what}' cannot be limited: use memory, cpu, pids or files")),
            }
        }
        Ok(limits)
    }
}

/// How the limits will be enforced.
pub(super) struct Plan {
    limits: Limits,
    /// The control groups created for them.
    pub groups: Groups,
    /// Sentences about limits that are enforced in another way than usual.
    pub notes: Vec<String>,
    /// Whether memory is limited for each process separately.
    memory_each: bool,
    /// Whether processes are counted in a user namespace.
    pids_by_user: bool,
}

impl Limits {
    /// Combines limits; those of `other` take precedence.
    pub fn and(self, other: Limits) -> Limits {
        Limits {
            memory: other.memory.or(self.memory),
            cpu_time: other.cpu_time.or(self.cpu_time),
            cpus: other.cpus.or(self.cpus),
            pids: other.pids.or(self.pids),
            files: other.files.or(self.files),
        }
    }

    fn controllers(&self) -> Vec<&'static str> {
        let wanted = [(self.memory, MEMORY), (self.pids, PIDS), (self.cpus, CPU), (self.cpu_time, CPU_TIME)];
        wanted.into_iter().filter(|(limit, _)| limit.is_some()).map(|(_, name)| name).collect()
    }

    /// Decides how to enforce each limit, and creates the control groups for them.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        let groups = Groups::make(&self.controllers());
        let mut plan =
            Plan { limits: self.clone(), groups, notes: Vec::new(), memory_each: false, pids_by_user: false };
        let memory = self.memory.map(|n| n.saturating_add(MONITOR));
        if let Some(bytes) = memory
            && let Err(why) = plan.groups.set_memory(bytes)
        {
            plan.memory_each = true;
            plan.notes.push(format!(
                "--limit memory applies to each process separately, not to all together ({why})"
            ));
        }
        if self.cpu_time.is_some()
            && let Err(why) = plan.groups.cpu_time()
        {
            plan.notes
                .push(format!("--limit cpu applies to each process separately, not to all together ({why})"));
        }
        if let Some(milli) = self.cpus {
            plan.groups.set_cpus(milli).map_err(|why| {
                let wants = "needs a control group with the cpu controller";
                format!("--limit cpu={} {wants}, but {why}: run in a delegated group (systemd-run --user --scope -p Delegate=yes), or limit CPU time (cpu=30s)", milli as f64 / 1000.0)
            })?;
        }
        if let Some(most) = self.pids
            && let Err(why) = plan.groups.set_pids(most)
        {
            plan.pids_by_user = true;
            if privilege::is_root() {
                return Err(format!(
                    "--limit pids needs a control group, but {why}; without one it works for ordinary users only"
                ));
            }
        }
        Ok(plan)
    }
}

impl Plan {
    /// From here on, the limits apply to this process.
    pub(super) fn enter(self, deny: Deny) -> Result<(), String> {
        let limits = &self.limits;
        if !self.groups.is_empty() {
            keeper::start(&self.groups, limits)?;
            self.groups.enter()?;
        }
        if self.pids_by_user {
            privilege::own_user_namespace()
                .map_err(|e| format!("--limit pids needs a control group or a user namespace: {e}"))?;
        }
        privilege::drop_for_good(deny, self.pids_by_user)?;
        if let (true, Some(most)) = (self.pids_by_user, limits.pids) {
            set(libc::RLIMIT_NPROC, "pids", most, most)?;
        }
        if let Some(seconds) = limits.cpu_time {
            set(libc::RLIMIT_CPU, "cpu", seconds, seconds.saturating_add(1))?;
        }
        if let Some(most) = limits.files {
            set(libc::RLIMIT_NOFILE, "files", most, most)?;
        }
        if let (true, Some(bytes)) = (self.memory_each, limits.memory) {
            let most = bytes.saturating_add(MONITOR);
            set(libc::RLIMIT_DATA, "memory", most, most)?;
        }
        Ok(())
    }
}

/// Prevents core files of processes that die.
pub(super) fn no_core_files() -> Result<(), String> {
    set(libc::RLIMIT_CORE, "core", 0, 0)
}

/// Sets a resource limit of the process.
fn set(what: libc::__rlimit_resource_t, name: &str, soft: u64, hard: u64) -> Result<(), String> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: reads a structure of ours.
    match unsafe { libc::setrlimit(what, &limit) } {
        0 => Ok(()),
        _ => {
            let why = std::io::Error::last_os_error();
            Err(format!("--limit {name}={soft}: the host refuses ({why}); its own limit may be lower"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_text() {
        let l: Limits = "memory=512M,cpu=30s,pids=64,files=256".parse().unwrap();
        assert_eq!((l.memory, l.cpu_time, l.cpus), (Some(512 << 20), Some(30), None));
        assert_eq!((l.pids, l.files), (Some(64), Some(256)));
        let l = l.and("cpu=1.5,memory=1g".parse().unwrap());
        assert_eq!((l.memory, l.cpu_time, l.cpus, l.pids), (Some(1 << 30), Some(30), Some(1500), Some(64)));
        assert_eq!("cpu=2m".parse::<Limits>().unwrap().cpu_time, Some(120));
        assert_eq!("cpu=2".parse::<Limits>().unwrap().cpus, Some(2000));
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in [
            "",
            "memory",
            "memory=",
            "memory=12",
            "memory=0M",
            "memory=-1M",
            "memory=99999999999G",
            "cpu=",
            "cpu=s",
            "cpu=0",
            "cpu=nan",
            "cpu=inf",
            "cpu=-1",
            "cpu=0s",
            "cpu=1é",
            "cpu=99999999999999999999h",
            "cpu=9999999999999999999h",
            "pids=0",
            "pids=x",
            "files=1.5",
            "disk=1G",
            "pids=1,,files=2",
        ] {
            assert!(text.parse::<Limits>().is_err(), "{text}");
        }
    }
}
