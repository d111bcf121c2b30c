//! Freezing and killing all processes of a group.

use crate::{Error, Manager, Result, file};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long processes may take to freeze, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Manager {
    /// Freezes all processes in the group and below; returns when all of them are frozen.
    ///
    /// # Errors
    /// No group can freeze, or a process does not freeze (because it waits for a device); then all are thawed
    /// again.
    pub fn freeze(&self) -> Result<()> {
        let frozen = match (self.second(), self.first("freezer")) {
            (Some(second), _) if second.dir.join("cgroup.freeze").exists() => freeze_second(&second.dir),
            (_, Some(first)) => freeze_first(first),
            _ => self.place("freezer", "pause").map(drop),
        };
        frozen.inspect_err(|_| drop(self.thaw()))
    }

    /// Thaws all processes.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn thaw(&self) -> Result<()> {
        match self.second().map(|h| file::write(&h.dir.join("cgroup.freeze"), "0")) {
            // Kernels before 5.2 do not have this file.
            Some(Err(error)) if error.number() != Some(libc::ENOENT) => return Err(error),
            _ => {}
        }
        match self.first("freezer") {
            Some(first) => file::write(&first.join("freezer.state"), "THAWED"),
            None => Ok(()),
        }
    }

    /// Whether all processes are frozen.
    pub fn is_frozen(&self) -> bool {
        let second = self.second().is_some_and(|h| is_frozen(&h.dir));
        second || self.first("freezer").is_some_and(|dir| state(dir).is_ok_and(|s| s == "FROZEN"))
    }

    /// Kills all processes in the group and below, frozen or not, however fast they fork; returns when none
    /// is left.
    ///
    /// # Errors
    /// There is no group, or a process does not end (because it waits for a device).
    pub fn kill(&self) -> Result<()> {
        if self.second().is_some_and(|h| file::write(&h.dir.join("cgroup.kill"), "1").is_ok()) {
            // Processes frozen by cgroup v1 die when they are thawed.
            if self.first("freezer").is_some() {
                self.thaw()?;
            }
            return self.wait_empty(false);
        }
        // Processes of a frozen group do not fork.
        let frozen = self.freeze().is_ok();
        let all = self.processes();
        all.iter().flatten().for_each(|pid| end(*pid));
        if frozen {
            self.thaw()?;
        }
        all.and_then(|_| self.wait_empty(true))
    }

    /// Waits until no process is left; with `again`, kills those that came meanwhile.
    fn wait_empty(&self, again: bool) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(200);
        loop {
            let left = self.processes()?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                let path = self.made().next().map(|h| h.dir.clone()).unwrap_or_default();
                return Err(Error::Busy { path, seconds: PATIENCE.as_secs() });
            }
            left.into_iter().filter(|_| again).for_each(end);
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

/// Sends SIGKILL. A process ID that the group has just listed belongs to the group, or to no process.
pub(crate) fn end(pid: i32) {
    // SAFETY: sends a signal to a process of the group.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn is_frozen(dir: &Path) -> bool {
    file::read(&dir.join("cgroup.events")).is_ok_and(|text| file::value(&text, "frozen") == Some(1))
}

fn freeze_second(dir: &Path) -> Result<()> {
    file::write(&dir.join("cgroup.freeze"), "1")?;
    let events = dir.join("cgroup.events");
    let fd = file::open(&events, libc::O_RDONLY).map_err(|e| Error::file(&events, "read", "", e))?;
    let until = Instant::now() + PATIENCE;
    while !is_frozen(dir) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Busy { path: dir.to_owned(), seconds: PATIENCE.as_secs() });
        }
        let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLPRI, revents: 0 };
        // Processes may have ended between reading and waiting: so each wait is short.
        let wait = left.min(Duration::from_millis(10)).as_millis() as i32;
        // SAFETY: writes a structure of ours.
        unsafe { libc::poll(&mut poll, 1, wait) };
    }
    Ok(())
}

fn state(dir: &Path) -> Result<String> {
    file::read(&dir.join("freezer.state")).map(|text| text.trim().to_owned())
}

/// cgroup v1 tries to freeze once for each write: processes forked meanwhile need another.
fn freeze_first(dir: &Path) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(50);
    loop {
        file::write(&dir.join("freezer.state"), "FROZEN")?;
        if state(dir)? == "FROZEN" {
            return Ok(());
        }
        if Instant::now() > until {
            let error = io::Error::from_raw_os_error(libc::ETIMEDOUT);
            return Err(Error::file(&dir.join("freezer.state"), "written", "FROZEN", error));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}
