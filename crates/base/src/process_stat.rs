//! What Linux reports about a process in `/proc/PID/stat` (proc_pid_stat(5)).

use serde::{Deserialize, Serialize};
use std::fs;
use std::ops::Range;

/// The line about one process.
#[derive(Clone, Debug)]
pub struct ProcessStat {
    text: String,
    /// The byte range of the name, between its parentheses.
    name: Range<usize>,
}

impl ProcessStat {
    /// Reads the line of process `pid`; `None` where there is no such process.
    pub fn of(pid: i32) -> Option<ProcessStat> {
        ProcessStat::read(&format!("/proc/{pid}/stat"))
    }

    /// Reads the line of the calling process.
    pub fn own() -> Option<ProcessStat> {
        ProcessStat::read("/proc/self/stat")
    }

    fn read(path: &str) -> Option<ProcessStat> {
        ProcessStat::parse(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned())
    }

    /// Parses a line; `None` where it has no name.
    pub fn parse(text: String) -> Option<ProcessStat> {
        // The name may contain anything, including parentheses and spaces; no other field does.
        let name = text.find('(')? + 1..text.rfind(')')?;
        (name.start <= name.end).then_some(ProcessStat { text, name })
    }

    /// The process ID.
    pub fn pid(&self) -> Option<i32> {
        self.text[..self.name.start - 1].trim().parse().ok()
    }

    /// The name of the executable (`comm`).
    pub fn name(&self) -> &str {
        &self.text[self.name.clone()]
    }

    /// The field with this number in the manual page, 3 or more.
    fn field(&self, number: usize) -> Option<&str> {
        self.text[self.name.end + 1..].split_ascii_whitespace().nth(number.checked_sub(3)?)
    }

    /// The field with this number in the manual page (3 or more), as a number.
    pub fn number<T: std::str::FromStr>(&self, field: usize) -> Option<T> {
        self.field(field)?.parse().ok()
    }

    /// The state: `R`, `S`, `D`, `T`, `Z` and others.
    pub fn state(&self) -> Option<char> {
        self.field(3)?.chars().next()
    }

    /// Whether the process is a zombie: it has ended, and its parent has not waited for it yet.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state(), Some('Z' | 'X'))
    }

    /// The start time, in clock ticks since the host booted. It tells apart two processes that had the same
    /// ID.
    pub fn start(&self) -> Option<u64> {
        self.number(22)
    }
}

/// Identifies a process: its ID alone may refer to another process later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its process ID.
    pub pid: i32,
    /// When it started, in clock ticks since the host booted.
    pub start: u64,
}

impl ProcessIdentity {
    /// The process that has this ID now; `None` where there is no such process or it is a zombie.
    pub fn of(pid: i32) -> Option<ProcessIdentity> {
        let start = ProcessStat::of(pid).filter(|stat| pid > 0 && !stat.is_zombie())?.start()?;
        Some(ProcessIdentity { pid, start })
    }

    /// Whether it is still running; a zombie is not.
    pub fn is_alive(self) -> bool {
        ProcessIdentity::of(self.pid) == Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line = "7 (a) S (b) R 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 5 0 999 1000 77";
        let stat = ProcessStat::parse(line.into()).unwrap();
        assert_eq!((stat.pid(), stat.name(), stat.state()), (Some(7), "a) S (b", Some('R')));
        assert_eq!((stat.start(), stat.number::<i32>(8), stat.number::<u64>(8)), (Some(999), Some(-1), None));
        assert_eq!([2, 24, 25].map(|field| stat.number::<u64>(field)), [None, Some(77), None]);
        assert!(!stat.is_zombie() && ProcessStat::parse("1 (x) Z 1".into()).unwrap().is_zombie());
        assert!(ProcessStat::parse("7 R 3".into()).is_none() && ProcessStat::parse(") (".into()).is_none());
    }

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let me = ProcessIdentity::of(std::process::id() as i32).unwrap();
        assert_eq!(Some(me.start), ProcessStat::own().unwrap().start());
        assert!(me.is_alive() && !ProcessIdentity { start: me.start + 1, ..me }.is_alive());
        assert_eq!([0, -1, i32::MAX].map(ProcessIdentity::of), [None; 3]);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        let before = ProcessIdentity::of(pid);
        while !ProcessStat::of(pid).unwrap().is_zombie() {
            std::thread::yield_now();
        }
        assert_eq!(ProcessIdentity::of(pid), None);
        assert!(before.is_none_or(|child| !child.is_alive()));
        child.wait().unwrap();
        assert!(ProcessStat::of(pid).is_none());
    }
}
