//! The protocol between a monitor and the machine that it started.
//!
//! They have a pair of connected sockets. The monitor sends requests as lines of JSON, and the machine
//! answers each of them, in order, with a line of JSON. A request carries the protocol version; a machine
//! that speaks another version answers that it does not understand.

use crate::error::ControlError;
use crate::record::Word;
use crate::wire::Size;
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use trine_base::passed_fds;

/// The protocol version.
const VERSION: u32 = 2;
/// The environment variable with the number of the machine's descriptor.
pub const VARIABLE: &str = "TRINE_MACHINE_LINK";
/// The environment variable with the runtime directory of the machine's guest.
pub const DIRECTORY: &str = "TRINE_MACHINE_DIRECTORY";
/// The environment variable that describes the machine's port of a private network.
const PORT: &str = "TRINE_MACHINE_PORT";
/// The socket in a machine's runtime directory by which the host reaches the guest's socket device.
pub const VSOCK: &str = "vsock.sock";
/// The longest line in bytes.
const LONGEST: usize = 1 << 16;
/// How long the monitor waits for an answer. The machine answers from a thread that does nothing else.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Ask the guest to power off, and end the machine if it does not; the second time, end it at once.
    PowerOff,
    /// End the machine at once.
    Quit,
    /// Pause: use no CPU time, and stop the guest's clock.
    Pause,
    /// Resume after a pause.
    Resume,
    /// Only report the status.
    Status,
    /// Set the size of the terminal that shows the guest's console.
    TerminalSize(Size),
    /// Begin to save the machine; answered at once. [`Ask::Saved`] tells how it went. The files come beside the request
    /// ([`Link::ask_with`]), in the order of [`trine_machine::snapshot::NewFiles::files`]: a machine makes none itself.
    Snapshot {
        /// The path of the first of them, for messages.
        file: Word,
    },
    /// Report how [`Ask::Snapshot`] went: an error if it failed, otherwise `saving` of the status.
    Saved,
}

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The machine is being built.
    Starting,
    /// The guest runs.
    Running,
    /// The machine will be paused once a device has finished waiting for the host.
    Pausing,
    /// No part of it runs.
    Paused,
}

/// The answer to every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// Whether it was asked to end.
    pub ending: bool,
    /// The size of the terminal that shows its console, if it was set.
    pub terminal_size: Option<Size>,
    /// Whether it is being saved.
    #[serde(default)]
    pub saving: bool,
    /// The places of the disks of which a snapshot has copies, one bit each.
    #[serde(default)]
    pub copied_disks: u32,
}

#[derive(Serialize, Deserialize)]
struct Question {
    version: u32,
    id: u64,
    ask: Ask,
}

/// The fields that every version of a request has.
#[derive(Deserialize)]
struct AnyQuestion {
    version: u32,
    id: u64,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    id: u64,
    answer: Result<Status, String>,
}

/// A socket that is read by lines.
#[derive(Debug)]
struct Lines {
    stream: UnixStream,
    read: Vec<u8>,
    /// Descriptors that came beside the lines since the last one was read; `None` where none are taken.
    passed: Option<Vec<OwnedFd>>,
}

impl Lines {
    /// Lines without descriptors: the kernel closes those that come.
    fn new(stream: UnixStream) -> Lines {
        Lines { stream, read: Vec::new(), passed: None }
    }

    /// Reads a piece, and the descriptors beside it.
    fn receive(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let Some(passed) = &mut self.passed else { return self.stream.read(piece) };
        let (got, fds) = passed_fds::receive(&self.stream, piece)?;
        if passed.len() + fds.len() > passed_fds::MOST {
            return Err(io::Error::other("a line has too many descriptors"));
        }
        passed.extend(fds);
        Ok(got)
    }

    /// Reads the next line; `None` at the end. Where reading fails, the part read so far is kept for the next
    /// call.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.read.iter().position(|&b| b == b'\n') {
                let line = self.read.drain(..=at).take(at).collect();
                return Ok(Some(line));
            }
            if self.read.len() > LONGEST {
                return Err(io::Error::other("a line is too long"));
            }
            let mut piece = [0; 1024];
            match self.receive(&mut piece) {
                Ok(0) => return Ok(None),
                Ok(n) => self.read.extend_from_slice(&piece[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn send(&mut self, message: &impl Serialize, fds: &[RawFd]) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let sent = if fds.is_empty() { 0 } else { passed_fds::send(&self.stream, &line, fds)? };
        self.stream.write_all(&line[sent..])
    }
}

/// The monitor's side of the connection.
#[derive(Debug)]
pub struct Link {
    lines: Lines,
    last: u64,
}

impl Link {
    /// Creates a connection, and the descriptor that its machine will inherit.
    ///
    /// # Errors
    /// Fails where the host has no sockets left.
    pub fn new() -> Result<(Link, OwnedFd), ControlError> {
        let host = |e| ControlError::host("cannot open a socket for the machine", e);
        let (own, theirs) = UnixStream::pair().map_err(host)?;
        own.set_write_timeout(Some(PATIENCE)).map_err(host)?;
        Ok((Link { lines: Lines::new(own), last: 0 }, theirs.into()))
    }

    /// Sends a request and does not wait for the answer.
    ///
    /// # Errors
    /// Fails where the machine has ended or accepts no more requests.
    pub fn tell(&mut self, ask: Ask) -> Result<(), ControlError> {
        self.tell_with(ask, &[])
    }

    fn tell_with(&mut self, ask: Ask, fds: &[RawFd]) -> Result<(), ControlError> {
        self.forget_answers();
        self.last += 1;
        let question = Question { version: VERSION, id: self.last, ask };
        self.lines.send(&question, fds).map_err(|e| ControlError::host("the machine cannot be asked", e))
    }

    /// Reads answers that nobody waited for: a machine whose answers are never read would stop answering.
    fn forget_answers(&mut self) {
        if self.lines.stream.set_nonblocking(true).is_ok() {
            while let Ok(Some(_)) = self.lines.next() {}
            let _ = self.lines.stream.set_nonblocking(false);
        }
    }

    /// Sends a request and returns the answer.
    ///
    /// # Errors
    /// Fails where the machine has ended, does not answer in time, or refuses.
    pub fn ask(&mut self, ask: Ask) -> Result<Status, ControlError> {
        self.ask_with(ask, &[])
    }

    /// The same, with open files beside the request.
    ///
    /// # Errors
    /// Those of [`Link::ask`].
    pub fn ask_with(&mut self, ask: Ask, files: &[&File]) -> Result<Status, ControlError> {
        let fds: Vec<RawFd> = files.iter().map(|file| file.as_raw_fd()).collect();
        self.tell_with(ask, &fds)?;
        let host = |e| ControlError::host("the machine does not answer", e);
        let until = Instant::now() + PATIENCE;
        loop {
            // A timeout of zero would mean no limit.
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.lines.stream.set_read_timeout(Some(left)).map_err(host)?;
            let Some(line) = self.lines.next().map_err(host)? else {
                return Err(ControlError::Failed("the machine has ended".into()));
            };
            let answer: Answer = serde_json::from_slice(&line).map_err(|e| host(e.into()))?;
            // Earlier answers belong to requests that nobody waited for.
            if answer.id == self.last {
                return answer.answer.map_err(ControlError::Failed);
            }
        }
    }
}

/// A machine's port of a private network, which its monitor has joined.
#[derive(Debug)]
pub struct Port {
    /// The port's TAP device.
    pub tap: OwnedFd,
    /// The names of the network's members, in the form of `/etc/hosts`; others change it.
    pub hosts: OwnedFd,
    /// What the guest is told.
    pub about: AboutPort,
}

/// What a machine has to know of its [`Port`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboutPort {
    /// The network's name.
    pub network: String,
    /// The guest's host name.
    pub host_name: String,
    /// The guest's Ethernet address.
    pub ether: [u8; 6],
    /// The guest's address, in a /24.
    pub address: Ipv4Addr,
    /// The gateway's Ethernet address.
    pub gateway_ether: [u8; 6],
    /// The gateway's address.
    pub gateway: Ipv4Addr,
    /// The largest packet in bytes.
    pub mtu: u16,
    /// Whether packets are routed to the outside.
    pub outside: bool,
}

/// A port as the environment has it.
#[derive(Serialize, Deserialize)]
struct Inherited {
    tap: i32,
    hosts: i32,
    about: AboutPort,
}

impl Port {
    /// The environment variable for a child that inherits the port's descriptors.
    ///
    /// # Errors
    /// None that is known: the description has a form in JSON.
    pub fn variable(&self) -> Result<(&'static str, OsString), ControlError> {
        let (tap, hosts) = (self.tap.as_raw_fd(), self.hosts.as_raw_fd());
        let text = serde_json::to_string(&Inherited { tap, hosts, about: self.about.clone() })
            .map_err(|e| ControlError::host("the machine's network", std::io::Error::from(e)))?;
        Ok((PORT, text.into()))
    }

    /// The machine's side, if its monitor has joined a network. To be called once.
    pub fn inherited() -> Option<Port> {
        let Inherited { tap, hosts, about } = serde_json::from_str(&std::env::var(PORT).ok()?).ok()?;
        (tap != hosts).then_some(())?;
        Some(Port { tap: take(tap)?, hosts: take(hosts)?, about })
    }
}

/// The environment variable for a child that inherits this descriptor.
pub fn variable(inherited: &OwnedFd) -> (&'static str, OsString) {
    (VARIABLE, inherited.as_raw_fd().to_string().into())
}

/// The runtime directory of the guest, if a monitor started this process. It is this guest's alone.
pub fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from).filter(|dir| dir.is_absolute())
}

/// To be called between fork and exec: lets the executed program keep the descriptor.
///
/// # Errors
/// Fails where the descriptor is not open.
pub fn let_inherit(descriptor: &OwnedFd) -> io::Result<()> {
    Ok(fcntl_setfd(descriptor, FdFlags::empty())?)
}

/// The machine's side, if a monitor started this process. To be called once, before there are threads.
pub fn inherited() -> Option<UnixStream> {
    take(std::env::var(VARIABLE).ok()?.parse().ok()?).map(UnixStream::from)
}

/// Takes a descriptor that the monitor has left open for this process.
fn take(number: i32) -> Option<OwnedFd> {
    if number <= 2 {
        return None;
    }
    // SAFETY: asks about a number; the result says whether it is an open descriptor.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: the monitor left it open for this process, which takes each number once and has closed none of them.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    // Programs that this process executes must not inherit it.
    fcntl_setfd(&descriptor, FdFlags::CLOEXEC).ok()?;
    Some(descriptor)
}

/// Serves the machine's side until the monitor has gone; `answer` performs the requests, with the descriptors beside them.
///
/// # Errors
/// Fails where the other side violates the protocol, or the host fails.
pub fn serve(
    stream: UnixStream,
    mut answer: impl FnMut(Ask, Vec<OwnedFd>) -> Result<Status, String>,
) -> io::Result<()> {
    let mut lines = Lines { passed: Some(Vec::new()), ..Lines::new(stream) };
    while let Some(line) = lines.next()? {
        let fds = lines.passed.as_mut().map(std::mem::take).unwrap_or_default();
        let AnyQuestion { version, id } = serde_json::from_slice(&line)?;
        let answer = match serde_json::from_slice::<Question>(&line) {
            Ok(question) if version == VERSION => answer(question.ask, fds),
            _ => Err(format!("the machine does not understand that: it speaks version {VERSION}")),
        };
        lines.send(&Answer { id, answer }, &[])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const RUNNING: Status =
        Status { phase: Phase::Running, ending: false, terminal_size: None, saving: false, copied_disks: 5 };

    #[test]
    fn every_question_has_its_answer() {
        let (mut link, theirs) = Link::new().unwrap();
        let (heard, asked) = channel();
        let machine = std::thread::spawn(move || {
            serve(theirs.into(), |ask, fds| {
                heard.send((ask.clone(), fds.len())).unwrap();
                fds.into_iter().for_each(|fd| File::from(fd).write_all(b"saved").unwrap());
                match ask {
                    Ask::Resume => Err("it is not paused".into()),
                    Ask::TerminalSize(size) => Ok(Status { terminal_size: Some(size), ..RUNNING }),
                    _ => Ok(RUNNING),
                }
            })
        });
        assert_eq!(link.ask(Ask::Status).unwrap(), RUNNING);
        // The answer to a request sent by `tell` is not taken for the next one.
        link.tell(Ask::Pause).unwrap();
        let size = Ask::TerminalSize((24, 80));
        assert_eq!(link.ask(size.clone()).unwrap().terminal_size, Some((24, 80)));
        let snapshot = Ask::Snapshot { file: "/tmp/\u{e4}".repeat(700).into() };
        let (mut read, written) = std::io::pipe().unwrap();
        let file = File::from(OwnedFd::from(written));
        assert_eq!(link.ask_with(snapshot.clone(), &[&file, &file]).unwrap(), RUNNING);
        drop(file);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "savedsaved", "and the machine's side has closed them");
        assert_eq!(link.ask(Ask::Resume).unwrap_err().to_string(), "it is not paused");
        let all: Vec<(Ask, usize)> = asked.try_iter().collect();
        let alone = [Ask::Status, Ask::Pause, size, snapshot.clone(), Ask::Resume];
        assert_eq!(all, alone.map(|ask| (ask.clone(), if ask == snapshot { 2 } else { 0 })));
        drop(link);
        machine.join().unwrap().unwrap();
    }

    #[test]
    fn other_versions_are_refused_and_the_link_stays() {
        let (mut link, theirs) = Link::new().unwrap();
        let machine = std::thread::spawn(move || serve(theirs.into(), |_, _| Ok(RUNNING)));
        for line in [r#"{"version":1,"id":0,"ask":"status"}"#, r#"{"version":2,"id":0,"ask":"dance"}"#] {
            link.lines.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
            let answer: Answer = serde_json::from_slice(&link.lines.next().unwrap().unwrap()).unwrap();
            assert!(answer.answer.unwrap_err().contains("speaks version 2"), "{line}");
        }
        assert_eq!(link.ask(Ask::Status).unwrap(), RUNNING);
        link.lines.stream.write_all(b"no JSON\n").unwrap();
        assert!(machine.join().unwrap().is_err());
        assert!(link.ask(Ask::Status).is_err());
    }
}
