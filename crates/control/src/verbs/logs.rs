//! `logs`.

use crate::error::ControlError;
use crate::log::{Entry, Follower, Line, Lines, Stream};
use crate::monitor::repair::look;
use crate::store::{Place, Store};
use crate::time::Time;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The options of `logs`.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Whether to follow the log until the guest has ended.
    pub follow: bool,
    /// Shows only the last so many lines.
    pub tail: Option<usize>,
    /// Shows only output from this time on.
    pub since: Option<Time>,
    /// Shows only output until this time.
    pub until: Option<Time>,
    /// Whether to print the time of each line.
    pub timestamps: bool,
}

/// Waits until a directory changes, or one second has passed.
pub struct Watch(Option<OwnedFd>);

impl Watch {
    /// Watches a directory. Where the host has no inotify watches left, every second counts as a change.
    pub fn new(dir: &Path) -> Watch {
        use inotify::{CreateFlags, WatchFlags};
        let go = || {
            let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            inotify::add_watch(
                &fd,
                dir,
                WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF,
            )?;
            Ok::<_, rustix::io::Errno>(fd)
        };
        Watch(go().ok())
    }

    /// Waits for a change.
    pub fn wait(&self) {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match &self.0 {
            Some(fd) => {
                let _ = poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&second));
                let mut many = [0; 4096];
                while rustix::io::read(fd, &mut many[..]).is_ok_and(|n| n > 0) {}
            }
            None => std::thread::sleep(std::time::Duration::from_secs(1)),
        }
    }
}

/// Prints pieces of output or, with times, lines.
struct Printer {
    lines: Option<Lines>,
}

impl Printer {
    fn piece(&mut self, entry: &Entry) -> std::io::Result<()> {
        match &mut self.lines {
            None => write(entry.stream, &entry.bytes),
            Some(lines) => lines.push(entry).iter().try_for_each(stamped),
        }
    }
}

fn write(stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
    match stream {
        Stream::Out => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        Stream::Err => std::io::stderr().write_all(bytes),
    }
}

fn stamped(line: &Line) -> std::io::Result<()> {
    let text = [format!("{} ", line.time).as_bytes(), &line.bytes].concat();
    write(line.stream, &text)
}

/// The last lines, in the order of their beginnings.
fn last(entries: &[Entry], most: usize) -> Vec<Line> {
    let (mut kept, mut lines) = (VecDeque::new(), Lines::default());
    let mut keep = |line| {
        kept.push_back(line);
        if kept.len() > most {
            kept.pop_front();
        }
    };
    for entry in entries {
        lines.push(entry).into_iter().for_each(&mut keep);
    }
    lines.rest().into_iter().for_each(&mut keep);
    kept.into()
}

/// `trine logs`.
///
/// # Errors
/// Fails where there is no such guest, or standard output cannot be written.
pub fn logs(store: &Store, which: &str, wanted: &Wanted) -> Result<(), ControlError> {
    let place = store.find(which)?;
    look(store, &place)?;
    match print(store, &place, wanted) {
        // The reader of a closed pipe has seen enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|e| ControlError::host("cannot write to standard output", e)),
    }
}

fn print(store: &Store, place: &Place, wanted: &Wanted) -> std::io::Result<()> {
    let mut follower = Follower::new(&place.dir.join("log"));
    let in_time =
        |e: &Entry| wanted.since.is_none_or(|t| e.time >= t) && wanted.until.is_none_or(|t| e.time <= t);
    let mut printer = Printer { lines: wanted.timestamps.then(Lines::default) };
    if let Some(most) = wanted.tail {
        let there: Vec<Entry> = std::iter::from_fn(|| follower.entry()).filter(in_time).collect();
        for line in last(&there, most) {
            match wanted.timestamps {
                true => stamped(&line)?,
                false => write(line.stream, &line.bytes)?,
            }
        }
    }
    let watch = wanted.follow.then(|| Watch::new(&place.dir));
    loop {
        let up = watch.is_some() && look(store, place).is_ok_and(|r| r.state.status.is_up());
        while let Some(entry) = follower.entry() {
            if in_time(&entry) {
                printer.piece(&entry)?;
            }
        }
        let late = wanted.until.is_some_and(|t| Time::now() > t);
        match &watch {
            Some(watch) if up && !late => watch.wait(),
            _ => break,
        }
    }
    let rest = printer.lines.as_mut().map(Lines::rest).unwrap_or_default();
    rest.iter().try_for_each(stamped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines() {
        let entry = |text: &str| Entry { time: Time(1), stream: Stream::Out, bytes: text.into() };
        let entries = [entry("a\nb"), entry("b\nc\n"), entry("d")];
        let text = |most| last(&entries, most).iter().flat_map(|l| l.bytes.clone()).collect::<Vec<_>>();
        assert_eq!(text(2), b"c\nd");
        assert_eq!(text(9), b"a\nbb\nc\nd");
        assert_eq!(text(0), b"");
    }
}
