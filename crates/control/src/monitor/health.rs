//! Health checks: a command that is executed in the guest from time to time.

use super::session::Session;
use super::{Monitor, Phase};
use crate::process;
use crate::record::{HealthCheck, Status};
use crate::wire::{Ended, Exec};
use std::time::{Duration, Instant};

/// The most bytes of a check's output that are kept.
const KEPT: usize = 4096;
/// Exit code of a check that took too long, as with `timeout`.
const LATE: i32 = 124;

/// Keeps the beginning of the output.
pub fn capture(kept: &mut Vec<u8>, bytes: &[u8]) {
    kept.extend_from_slice(&bytes[..bytes.len().min(KEPT - kept.len().min(KEPT))]);
}

/// The schedule of checks.
#[derive(Debug)]
pub struct Checker {
    check: Option<HealthCheck>,
    next: Option<Instant>,
    /// The running check's process, and when its time is over.
    running: Option<(i32, Instant)>,
    late: bool,
    started: Instant,
}

impl Checker {
    /// Creates the schedule of a check, if there is one.
    pub fn new(check: Option<HealthCheck>) -> Checker {
        Checker { check, next: None, running: None, late: false, started: Instant::now() }
    }

    /// The guest has started.
    pub fn start(&mut self) {
        self.started = Instant::now();
        self.running = None;
        self.next = self.check.as_ref().map(|c| self.started + c.interval);
    }

    /// The guest has ended.
    pub fn stop(&mut self) {
        (self.next, self.running) = (None, None);
    }

    /// When the next action is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.running.map(|(_, late)| late).or(self.next)
    }

    fn again(&mut self) {
        self.running = None;
        self.next = self.check.as_ref().map(|c| Instant::now() + c.interval.max(Duration::from_millis(1)));
    }
}

impl Monitor {
    /// Starts a check that is due, or ends one that takes too long.
    pub(super) fn check_health(&mut self) {
        let now = Instant::now();
        if let Some((pid, late)) = self.health.running
            && late <= now
        {
            self.health.late = true;
            // Its end is handled like that of any other command.
            self.health.running = Some((pid, now + Duration::from_secs(1)));
            process::send(pid, libc::SIGKILL);
        }
        if self.health.running.is_some() || self.health.next.is_none_or(|at| at > now) {
            return;
        }
        let Some(check) = self.health.check.clone() else { return };
        if self.phase != Phase::Up || self.record.state.status == Status::Paused {
            return self.health.again();
        }
        let exec = Exec { command: check.command, ..Exec::default() };
        match self.start_beside(&exec) {
            Ok(key) => {
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.captured = Some(Vec::new());
                    self.health.running = Some((session.pid, now + check.timeout));
                    self.health.late = false;
                }
            }
            Err(e) => self.judge(127, &e.to_string()),
        }
    }

    /// A check has ended.
    pub(super) fn health_ended(&mut self, session: Session, ended: &Ended) {
        if self.health.running.is_none_or(|(pid, _)| pid != session.pid) {
            return;
        }
        let said = session.captured.unwrap_or_default();
        let code = if self.health.late { LATE } else { ended.code };
        self.judge(code, &String::from_utf8_lossy(&said));
    }

    fn judge(&mut self, code: i32, said: &str) {
        self.health.again();
        let Some(check) = &self.health.check else { return };
        let Some(health) = &mut self.record.state.health else { return };
        let before = health.status.clone();
        health.last_exit_code = Some(code);
        health.last_output = said.to_string();
        let young = self.health.started.elapsed() < check.start_period;
        if code == 0 {
            (health.status, health.failing_streak) = ("healthy".into(), 0);
        } else if !(young && before == "starting") {
            health.failing_streak += 1;
            if health.failing_streak >= check.retries.max(1) {
                health.status = "unhealthy".into();
            }
        }
        let now = health.status.clone();
        self.save();
        if now != before {
            self.tell(self.event("health_status").with("status", now));
        }
    }
}
