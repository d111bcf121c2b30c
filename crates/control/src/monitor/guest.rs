//! The guest's lifecycle in its monitor: start, end, restart.

use super::session::Session;
use super::{DRAIN, Monitor, Phase};
use crate::error::{ControlError, OWN};
use crate::kinds::Kind;
use crate::monitor::client::Role;
use crate::record::{Health, Joined, KindName, Record, Restart, Status};
use crate::time::Time;
use crate::wire::{Ended, Frame};
use rustix::process::{WaitOptions, WaitStatus, wait};
use std::time::{Duration, Instant};
use trine_base::process_stat::ProcessIdentity;

/// Pause before the first restart; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A guest that ran for this long is restarted after the first pause again.
const LONG: Duration = Duration::from_secs(10);
/// Default number of seconds that a guest has to stop by itself.
pub const GRACE: u64 = 10;

fn ended(status: WaitStatus) -> Ended {
    match status.terminating_signal() {
        Some(n) => Ended { code: 128 + n, signal: Some(n), error: None },
        None => Ended { code: status.exit_status().unwrap_or(0), signal: None, error: None },
    }
}

impl Monitor {
    /// Starts the guest.
    ///
    /// # Errors
    /// Fails where it cannot start; its record says so, too.
    pub(super) fn start(&mut self) -> Result<(), ControlError> {
        self.record.traces.open = true;
        self.save();
        let options = &self.record.options;
        let made = Session::new(options.tty, self.kind.makes_terminals(), options.stdin, self.size);
        let started = made.and_then(|(mut session, stdio)| {
            session.started(self.kind.start(&mut self.record, stdio)?)?;
            Ok(session)
        });
        let session = match started {
            Ok(started) => started,
            Err(e) => {
                drop(self.kind.end(&self.record));
                self.record.traces.open = false;
                self.record.state.error = Some(e.to_string());
                self.record.state.exit_code = Some(match &e {
                    ControlError::Command { code, .. } => (*code).into(),
                    _ if self.record.kind == KindName::Container => OWN.into(),
                    other if other.is_refusal() => 126,
                    _ => 127,
                });
                self.over(false);
                return Err(e);
            }
        };
        let pid = session.pid;
        self.next += 1;
        self.main = self.next;
        self.sessions.insert(self.main, session);
        for client in &mut self.clients {
            // Clients that were attached before the restart stay attached.
            if let Role::Attached { session, .. } = &mut client.role
                && !self.sessions.contains_key(session)
            {
                *session = self.main;
            }
        }
        let state = &mut self.record.state;
        state.status = Status::Running;
        state.pid = Some(pid);
        state.started = Some(Time::now());
        (state.finished, state.exit_code, state.signal, state.error) = (None, None, None, None);
        state.stopped_by_user = false;
        state.out_of_memory = false;
        state.health = self.record.options.health.as_ref().map(|_| Health::starting());
        self.record.traces.guest = ProcessIdentity::of(pid);
        self.phase = Phase::Up;
        self.health.start();
        self.save();
        self.tell(self.event("start"));
        Ok(())
    }

    /// Reaps children that ended.
    pub(super) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            let found = self.sessions.iter_mut().find(|(_, s)| s.pid == pid && s.ended.is_none());
            let Some((&key, session)) = found else { continue };
            session.ended = Some((ended(status), Instant::now()));
            if key == self.main {
                self.record.state.out_of_memory = self.kind.out_of_memory(&self.record);
                if let Err(e) = self.kind.end(&self.record) {
                    self.record.state.error =
                        Some(format!("it has ended, but not all of it could be removed: {e}"));
                }
            }
        }
    }

    /// Handles signals for the monitor itself: ended children, or a request to end everything.
    pub(super) fn take_signals(&mut self) {
        while let Some(signal) = self.signals.take_next() {
            match signal {
                libc::SIGCHLD => self.reap(),
                libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT => self.stop(None, None),
                _ => {}
            }
        }
    }

    /// Asks the guest to end, and kills it if it does not.
    pub(super) fn stop(&mut self, signal: Option<i32>, seconds: Option<u64>) {
        self.ending = true;
        match self.phase {
            Phase::Up => {
                let options = &self.record.options;
                let signal = signal.or(options.stop_signal).unwrap_or(libc::SIGTERM);
                let seconds = seconds.or(options.stop_seconds).unwrap_or(GRACE);
                let seconds = Duration::from_secs(seconds.min(u64::from(u32::MAX)));
                if signal != libc::SIGKILL {
                    let at = Instant::now() + seconds;
                    self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
                }
                self.reaches_guest(signal, |kind, record| kind.ask_to_end(record, signal));
                // A paused guest would not receive it.
                let _ = self.resume();
            }
            Phase::Backoff(_) => self.over(true),
            Phase::New(_) => self.phase = Phase::Over(Instant::now()),
            Phase::Over(_) => {}
        }
    }

    /// Sends the first process a signal; returns false where there is none.
    pub(super) fn signal(&mut self, signal: i32) -> bool {
        self.reaches_guest(signal, |kind, record| kind.signal(record, signal))
    }

    /// Sends the guest a request in place of a signal; returns false where it cannot be sent.
    fn reaches_guest(&mut self, signal: i32, send: impl FnOnce(&mut dyn Kind, &Record) -> bool) -> bool {
        let up = self.phase == Phase::Up && self.sessions.get(&self.main).is_some_and(|s| s.ended.is_none());
        let sent = up && send(&mut *self.kind, &self.record);
        if sent {
            self.tell(self.event("kill").with("signal", signal));
        }
        sent
    }

    /// Lets a paused guest go on.
    ///
    /// # Errors
    /// Fails where the host cannot.
    pub(super) fn resume(&mut self) -> Result<(), ControlError> {
        if self.record.state.status == Status::Paused {
            self.kind.resume(&self.record)?;
            self.record.state.status = Status::Running;
            self.save();
            self.tell(self.event("unpause"));
        }
        Ok(())
    }

    /// Does what is due.
    pub(super) fn timers(&mut self) {
        let now = Instant::now();
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.signal(libc::SIGKILL);
            let _ = self.resume();
        }
        self.end_sessions();
        if let Phase::Backoff(at) = self.phase
            && at <= now
        {
            self.record.state.restarts += 1;
            self.tell(self.event("restart"));
            let _ = self.start();
        }
        self.check_health();
        self.check_snapshot();
    }

    /// Ends sessions whose process has ended and whose output has been read.
    fn end_sessions(&mut self) {
        let keys: Vec<u64> = self.sessions.keys().copied().collect();
        for key in keys {
            let blocked = self.is_blocked(key);
            let Some(session) = self.sessions.get_mut(&key) else { continue };
            let open = session.is_open();
            let Some((_, at)) = &mut session.ended else { continue };
            if blocked {
                *at = Instant::now();
            }
            if open && at.elapsed() < DRAIN {
                continue;
            }
            let Some(session) = self.sessions.remove(&key) else { continue };
            let ended = session.ended.clone().map(|(e, _)| e).unwrap_or_default();
            match key == self.main {
                true => self.ended(ended),
                false => self.exec_ended(key, session, ended),
            }
        }
    }

    fn exec_ended(&mut self, key: u64, session: Session, ended: Ended) {
        if session.captured.is_some() {
            return self.health_ended(session, &ended);
        }
        self.tell(self.event("exec_die").with("exit_code", ended.code));
        self.dismiss(
            |role| matches!(role, Role::Attached { session, .. } if session == key),
            &Frame::Ended(ended),
        );
    }

    /// Sends a last frame to all clients with such a role.
    pub(super) fn dismiss(&mut self, which: impl Fn(Role) -> bool, frame: &Frame) {
        for client in self.clients.iter_mut().filter(|c| which(c.role)) {
            client.role = Role::Done;
            client.send(frame);
        }
    }

    /// The guest's first process has ended, and all its output has been read.
    fn ended(&mut self, ended: Ended) {
        let state = &mut self.record.state;
        (state.exit_code, state.signal) = (Some(ended.code), ended.signal);
        state.finished = Some(Time::now());
        state.pid = None;
        let ran = state.started.map_or(Duration::ZERO, Time::ago);
        state.network = Joined::default();
        (self.record.traces.guest, self.record.traces.open) = (None, false);
        if self.record.state.out_of_memory {
            self.tell(self.event("oom"));
        }
        self.tell(self.event("die").with("exit_code", ended.code));
        self.health.stop();
        let again = !self.ending
            && match self.record.options.restart {
                Restart::No => false,
                Restart::OnFailure(0) => ended.code != 0,
                Restart::OnFailure(most) => ended.code != 0 && self.record.state.restarts < most,
                Restart::Always | Restart::UnlessStopped => true,
            };
        if !again {
            return self.over(true);
        }
        self.backoff = match ran >= LONG || self.backoff.is_zero() {
            true => FIRST_PAUSE,
            false => (self.backoff * 2).min(LONGEST_PAUSE),
        };
        self.record.state.status = Status::Restarting;
        self.phase = Phase::Backoff(Instant::now() + self.backoff);
        self.save();
    }

    /// The guest has ended for good, or did not start.
    fn over(&mut self, started: bool) {
        let state = &mut self.record.state;
        if started || state.started.is_some() {
            state.status = Status::Stopped;
            state.finished.get_or_insert(Time::now());
        }
        state.health = None;
        state.pid = None;
        let code = state.exit_code.unwrap_or(0);
        let ended = Ended { code, signal: state.signal, error: state.error.clone() };
        self.kill_at = None;
        self.phase = Phase::Over(Instant::now());
        self.save();
        if started && self.record.state.stopped_by_user {
            self.tell(self.event("stop"));
        }
        self.dismiss(|role| role == Role::Stops, &Frame::Reply(Ok(())));
        if started {
            self.dismiss(|role| matches!(role, Role::Attached { .. } | Role::Waits), &Frame::Ended(ended));
        }
    }
}
