//! The requests that clients make of the monitor.

use super::client::Role;
use super::session::Session;
use super::{Monitor, Phase};
use crate::error::{ControlError, refused};
use crate::process;
use crate::record::{Status, Word};
use crate::wire::{Ended, Exec, Frame, Request};
use std::time::{Duration, Instant};

/// Time between two looks at a snapshot that is being made.
const LOOK: Duration = Duration::from_millis(50);

impl Monitor {
    /// Handles a frame that a client has sent.
    pub(super) fn frame(&mut self, n: usize, frame: Frame) {
        match (frame, self.clients[n].role) {
            // Sent before the client heard that the guest has ended.
            (_, Role::Done) => {}
            (Frame::Request(request), Role::New) => self.request(n, request),
            (Frame::Input(bytes), Role::Attached { session, stdin: true, .. }) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.push(&bytes);
                }
            }
            (Frame::EndOfInput, Role::Attached { session, stdin: true, owner }) => {
                let ends = session != self.main || (owner && self.record.options.stdin_once);
                if let Some(session) = self.sessions.get_mut(&session).filter(|_| ends) {
                    session.end_of_input();
                }
            }
            (Frame::Resize(size), Role::Attached { session, .. }) => {
                if let Some(target) = self.sessions.get(&session) {
                    target.resize(size);
                }
                if session == self.main {
                    self.kind.resized(size);
                }
                self.size = Some(size);
            }
            (Frame::Signal(signal), Role::Attached { session, .. }) if session == self.main => {
                self.signal(signal);
            }
            (Frame::Signal(signal), Role::Attached { session, .. }) => {
                if let Some(session) = self.sessions.get(&session).filter(|s| s.ended.is_none()) {
                    process::send(session.pid, signal);
                }
            }
            // A client that follows the protocol sends nothing else.
            _ => self.clients[n].gone = true,
        }
    }

    fn request(&mut self, n: usize, request: Request) {
        let done = match request {
            Request::Start => self.start_once().map(|()| Role::Done),
            Request::Attach { stdin, owner, start, size } => self.attach(n, start, size, stdin, owner),
            Request::Exec(exec) => self.exec(&exec),
            Request::Signal(signal) => self.send_signal(signal).map(|()| Role::Done),
            Request::Stop { signal, seconds } => {
                self.record.state.stopped_by_user = true;
                self.save();
                self.clients[n].role = Role::Stops;
                self.stop(signal, seconds);
                match self.phase {
                    Phase::Over(_) => Ok(Role::Done),
                    // The answer is sent when the guest has ended.
                    _ => return,
                }
            }
            Request::Pause => self.pause().map(|()| Role::Done),
            Request::Snapshot { file, replace } => match self.snapshot(&file, replace) {
                Ok(()) => {
                    // The answer is sent when it is complete.
                    self.clients[n].role = Role::Saves;
                    return;
                }
                Err(e) => Err(e),
            },
            Request::Resume => self.resume_by_user().map(|()| Role::Done),
            Request::Wait => {
                self.clients[n].role = Role::Waits;
                if let Phase::Over(_) = self.phase {
                    let state = &self.record.state;
                    let ended = Ended {
                        code: state.exit_code.unwrap_or(0),
                        signal: state.signal,
                        error: state.error.clone(),
                    };
                    self.clients[n].role = Role::Done;
                    self.clients[n].send(&Frame::Ended(ended));
                }
                return;
            }
        };
        let client = &mut self.clients[n];
        match done {
            Ok(role) => {
                // A guest that ended at once has dismissed the client already.
                if client.role != Role::Done {
                    client.role = role;
                    client.send(&Frame::Reply(Ok(())));
                }
            }
            Err(e) => {
                client.role = Role::Done;
                client.send(&match e {
                    ControlError::Command { code, why } => Frame::NoCommand(code, why),
                    other => Frame::Reply(Err(other.to_string())),
                });
            }
        }
    }

    fn start_once(&mut self) -> Result<(), ControlError> {
        match self.phase {
            Phase::New(_) => self.start(),
            _ => refused(format!("'{}' is already running", self.record.name)),
        }
    }

    fn attach(
        &mut self,
        n: usize,
        start: bool,
        size: Option<(u16, u16)>,
        stdin: bool,
        owner: bool,
    ) -> Result<Role, ControlError> {
        self.size = size.or(self.size);
        if start {
            self.start_once()?;
        } else if !matches!(self.phase, Phase::Up | Phase::Backoff(_)) {
            return self.does_not_run();
        }
        if let (Some(session), Some(size)) = (self.sessions.get(&self.main), size) {
            session.resize(size);
            self.kind.resized(size);
        }
        self.clients[n].role = Role::New;
        self.tell(self.event("attach"));
        Ok(Role::Attached { session: self.main, stdin, owner })
    }

    fn does_not_run<T>(&self) -> Result<T, ControlError> {
        let name = &self.record.name;
        refused(format!("'{name}' does not run ({}): `trine start {name}`", self.record.state.status.name()))
    }

    fn must_run(&self) -> Result<(), ControlError> {
        match (self.phase, self.record.state.status) {
            (Phase::Up, Status::Paused) => {
                let name = &self.record.name;
                refused(format!("'{name}' is paused: `trine resume {name}` first"))
            }
            (Phase::Up, _) => Ok(()),
            _ => self.does_not_run(),
        }
    }

    fn exec(&mut self, exec: &Exec) -> Result<Role, ControlError> {
        self.must_run()?;
        let session = self.start_beside(exec)?;
        self.tell(self.event("exec_start"));
        Ok(if exec.detach { Role::Done } else { Role::Attached { session, stdin: exec.stdin, owner: true } })
    }

    /// Starts a command besides the guest's first process; returns its session's key.
    ///
    /// # Errors
    /// Fails where that is not possible.
    pub(super) fn start_beside(&mut self, exec: &Exec) -> Result<u64, ControlError> {
        let (mut session, stdio) =
            Session::new(exec.tty, self.kind.makes_terminals(), exec.stdin, exec.size)?;
        session.started(self.kind.exec(&self.record, exec, stdio)?)?;
        self.next += 1;
        self.sessions.insert(self.next, session);
        Ok(self.next)
    }

    fn send_signal(&mut self, signal: i32) -> Result<(), ControlError> {
        if !self.signal(signal) {
            return self.does_not_run();
        }
        if signal == libc::SIGKILL {
            // A process that has ended already cannot be resumed.
            let _ = self.resume();
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(), ControlError> {
        if self.record.state.status == Status::Paused {
            return Ok(());
        }
        self.must_run()?;
        self.kind.pause(&self.record)?;
        self.record.state.status = Status::Paused;
        self.save();
        self.tell(self.event("pause"));
        Ok(())
    }

    fn snapshot(&mut self, file: &Word, replace: bool) -> Result<(), ControlError> {
        if self.phase != Phase::Up {
            return self.does_not_run();
        }
        if self.clients.iter().any(|client| client.role == Role::Saves) {
            return refused(format!("'{}' is being saved already: try again", self.record.name));
        }
        self.kind.snapshot(&self.record, file, replace)?;
        self.look_at_snapshot = Some(Instant::now() + LOOK);
        Ok(())
    }

    /// Looks whether the guest has been saved, and tells the client that waits for it.
    pub(super) fn check_snapshot(&mut self) {
        if self.look_at_snapshot.is_none_or(|at| at > Instant::now()) {
            return;
        }
        let result = match self.kind.saved() {
            Ok(false) => {
                self.look_at_snapshot = Some(Instant::now() + LOOK);
                return;
            }
            Ok(true) => {
                self.tell(self.event("snapshot"));
                Ok(())
            }
            Err(e) => Err(e.to_string()),
        };
        self.look_at_snapshot = None;
        self.dismiss(|role| role == Role::Saves, &Frame::Reply(result));
    }

    fn resume_by_user(&mut self) -> Result<(), ControlError> {
        match self.phase {
            Phase::Up => self.resume(),
            _ => self.does_not_run(),
        }
    }
}
