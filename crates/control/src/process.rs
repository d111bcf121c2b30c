//! Processes of the host: identity, descent and resource usage (proc(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use trine_base::process_stat::{ProcessIdentity, ProcessStat};

/// The contents of `/proc/PID/stat`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stat {
    /// Its process ID.
    pub pid: i32,
    /// The name of its executable (`comm`).
    pub name: String,
    /// `R`, `S`, `D`, `T`, `Z` and others.
    pub state: char,
    /// Its parent's process ID.
    pub parent: i32,
    /// Its session ID.
    pub session: i32,
    /// CPU time used, including that of children it waited for, in clock ticks.
    pub ticks: u64,
    /// CPU time used by itself, in clock ticks.
    pub own_ticks: u64,
    /// Number of threads.
    pub threads: u64,
    /// When it started, in clock ticks since the host booted.
    pub start: u64,
    /// Resident memory in pages.
    pub pages: u64,
}

impl Stat {
    fn from(stat: &ProcessStat) -> Option<Stat> {
        let number = |field| stat.number::<u64>(field);
        let own_ticks = number(14)? + number(15)?;
        Some(Stat {
            pid: stat.pid()?,
            name: stat.name().to_string(),
            state: stat.state()?,
            parent: stat.number(4)?,
            session: stat.number(6)?,
            ticks: own_ticks + number(16)? + number(17)?,
            own_ticks,
            threads: number(20)?,
            start: stat.start()?,
            pages: number(24)?,
        })
    }

    /// Reads that of process `pid`; `None` where it does not exist.
    pub fn of(pid: i32) -> Option<Stat> {
        Stat::from(&ProcessStat::of(pid)?)
    }

    /// Whether it is a zombie: it has ended, and its parent has not waited for it yet.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Sends a signal to a process; returns false where it cannot be sent.
pub fn send(pid: i32, signal: i32) -> bool {
    // Zero and negative numbers would mean process groups.
    // SAFETY: sends a signal.
    pid > 0 && unsafe { libc::kill(pid, signal) } == 0
}

/// Kills a process.
pub fn kill(pid: i32) {
    send(pid, libc::SIGKILL);
}

/// Kills a recorded process, unless it has ended and its ID may refer to another process.
pub fn kill_if_alive(process: Option<ProcessIdentity>) {
    if let Some(process) = process.filter(|process| process.is_alive()) {
        kill(process.pid);
    }
}

/// A mark that a process's descendants inherit, even if they create sessions or execute other programs: the
/// soft limit on file locks, which Linux keeps but has not enforced since 2.4.25 (setrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    /// The mark of the guest with this id.
    pub fn of(id: &str) -> Mark {
        Mark(u64::from_str_radix(id.get(..15).unwrap_or_default(), 16).unwrap_or(0) | 1 << 59)
    }

    /// Marks this process.
    pub fn put(self) {
        // SAFETY: a structure of ours; allowed between fork and exec.
        unsafe {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            if libc::getrlimit(libc::RLIMIT_LOCKS, &mut limit) == 0 && limit.rlim_max >= self.0 {
                limit.rlim_cur = self.0;
                libc::setrlimit(libc::RLIMIT_LOCKS, &limit);
            }
        }
    }

    fn is_on(self, pid: i32) -> bool {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let line = limits.lines().find_map(|l| l.strip_prefix("Max file locks"));
        line.and_then(|l| l.split_ascii_whitespace().next()?.parse().ok()) == Some(self.0)
    }

    /// All processes that have it.
    pub fn bearers(self) -> Vec<i32> {
        all().iter().filter(|s| !s.is_zombie() && self.is_on(s.pid)).map(|s| s.pid).collect()
    }
}

/// The ID of the host's current boot.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_string()
}

/// All processes that can be seen.
pub fn all() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| Stat::of(e.file_name().to_str()?.parse().ok()?)).collect()
}

/// The descendants of a process among these, without itself and without zombies, parents first.
pub fn descendants_among(all: &[Stat], root: i32) -> Vec<Stat> {
    let mut children: BTreeMap<i32, Vec<&Stat>> = BTreeMap::new();
    all.iter().for_each(|s| children.entry(s.parent).or_default().push(s));
    let (mut found, mut next, mut seen) = (Vec::new(), vec![root], BTreeSet::new());
    while let Some(pid) = next.pop() {
        for child in children.get(&pid).into_iter().flatten().filter(|c| seen.insert(c.pid)) {
            next.push(child.pid);
            if !child.is_zombie() {
                found.push((*child).clone());
            }
        }
    }
    found
}

/// The descendants of a process now.
pub fn descendants(root: i32) -> Vec<Stat> {
    descendants_among(&all(), root)
}

/// Calls `act` for all processes that `list` gives, until it gives no new ones: they may fork meanwhile.
/// Stops after some rounds in any case.
pub fn until_no_new(list: impl Fn() -> Vec<i32>, mut act: impl FnMut(i32)) {
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let new: Vec<i32> = list().into_iter().filter(|p| seen.insert(*p)).collect();
        if new.is_empty() {
            return;
        }
        new.into_iter().for_each(&mut act);
    }
}

/// Clock ticks per second.
pub fn ticks_a_second() -> u64 {
    // SAFETY: only returns a number.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1)
}

/// Bytes in a page of memory.
pub fn page_size() -> u64 {
    // SAFETY: only returns a number.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_process() {
        let text = "7 (a) S (b) R 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 5 0 999 1000 77 18446744073709551615 1";
        let stat = ProcessStat::parse(text.into()).and_then(|stat| Stat::from(&stat)).unwrap();
        assert_eq!((stat.pid, stat.name.as_str(), stat.state, stat.parent), (7, "a) S (b", 'R', 3));
        assert_eq!((stat.own_ticks, stat.ticks, stat.threads, stat.start, stat.pages), (30, 100, 5, 999, 77));
        let short = ProcessStat::parse("7 (a) R 3".into()).unwrap();
        assert!(Stat::from(&short).is_none());
    }

    #[test]
    fn a_mark_is_inherited_over_sessions_and_programs() {
        use std::os::unix::process::CommandExt;
        let mark = Mark::of(&crate::names::id());
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "setsid sleep 30 & exec sleep 30"]);
        // SAFETY: one system call between fork and exec.
        unsafe {
            shell.pre_exec(move || {
                mark.put();
                Ok(())
            })
        };
        let mut shell = shell.spawn().unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while mark.bearers().len() < 2 && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(mark.bearers().len() >= 2);
        until_no_new(|| mark.bearers(), kill);
        shell.wait().unwrap();
        // The kernel may take a moment to end a killed process.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !mark.bearers().is_empty() && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(mark.bearers().is_empty());
    }

    #[test]
    fn this_process_descends_from_its_parent() {
        let own = std::process::id() as i32;
        let parent = Stat::of(own).unwrap().parent;
        assert!(descendants(parent).iter().any(|s| s.pid == own));
    }

    #[test]
    fn descendants_are_found_without_zombies_and_in_loops() {
        let stat = |pid, parent, state| Stat { pid, parent, state, ..Stat::default() };
        let all = [stat(2, 1, 'S'), stat(3, 2, 'Z'), stat(4, 3, 'R'), stat(5, 9, 'R'), stat(1, 4, 'S')];
        let mut found: Vec<i32> = descendants_among(&all, 1).iter().map(|s| s.pid).collect();
        found.sort();
        assert_eq!(found, [1, 2, 4]);
    }
}
