//! The socket device of a machine: the machine's side of it, and `trine vsock-connect`. With a record its sockets are in the
//! guest's runtime directory, where `trine ssh` and others find them; without one in a private directory, for this process.

use super::target::Target;
use crate::args::RunArgs;
use crate::{Refusal, code};
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use trine_base::vsock::{self, HostEnd};
use trine_control::client::find_up;
use trine_control::machine_link::{self, VSOCK};
use trine_control::record::{KindName, Record};
use trine_control::store::Store;
use trine_machine::VsockDevice;
use trine_net::vsock::VsockHost;

/// The guest's context ID. Every machine has the same one: nobody else sees it.
pub const CID: u32 = 3;
/// The port at which Debian's machines are asked to shut down.
const SHUT_DOWN: u32 = trine_image::debian::disk::SHUT_DOWN_PORT;
/// How long the guest may take to accept that request.
const HEARING: Duration = Duration::from_secs(3);
/// The longest answer of the machine's to a request, in bytes.
const LONGEST_ANSWER: usize = 32;

/// A form of the path of a file in an open directory that is short enough for a socket (108 bytes, unix(7)), however long
/// the directory's own path is.
fn short(dir: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

/// The sockets of a machine's guest, which stay when the guest resets its machine.
pub struct Sockets {
    /// `None` for a device that nobody of the host reaches.
    at: Option<(UnixListener, File)>,
    /// The directory that they are in, where it is this process's own.
    #[allow(dead_code, reason = "held, and removed with the sockets")]
    private: Option<PrivateDirectory>,
}

/// A directory for the sockets of a machine without a record, removed when this is dropped.
struct PrivateDirectory(PathBuf);

/// What its name begins with; the rest is the number of the process.
const PRIVATE: &str = "machine-";

impl PrivateDirectory {
    /// Creates that of this process in `parent`, and removes those of processes that have died.
    fn create(parent: &Path) -> std::io::Result<PrivateDirectory> {
        for entry in parent.read_dir()?.filter_map(Result::ok) {
            let name = entry.file_name();
            let process = name.to_str().and_then(|name| name.strip_prefix(PRIVATE)?.parse::<u32>().ok());
            // Nothing else has this process's number: what has it is left of an earlier one.
            let is_left = |process| process == std::process::id() || !is_there(process);
            if process.is_some_and(is_left) {
                // Another process may remove it at the same time.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let path = parent.join(format!("{PRIVATE}{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(PrivateDirectory(path))
    }
}

/// Whether there is a process with this number.
fn is_there(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // What stays is removed by the next machine.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What has the host's end of a device, for as long as its machine runs.
#[allow(dead_code, reason = "held, and dropped with the machine")]
pub enum HostSide {
    /// A thread that connects it with processes of the host.
    Served(VsockHost),
    /// Nobody: connections stay unanswered.
    Nobody(HostEnd),
}

impl Sockets {
    /// Opens the sockets of a machine, if it is one that has them: with a monitor, and a guest that may have a driver; without
    /// one, a whole Debian in the host's time, which listens there for the request to shut down.
    pub fn open(args: &RunArgs, target: &Target, monitored: bool) -> Result<Option<Sockets>, Refusal> {
        let counted = args.lockstep || args.count_time.is_some();
        match target {
            Target::Debian(_) if !monitored && !counted => Ok(Sockets::private()),
            _ if !monitored || !target.is_debians() => Ok(None),
            _ => Sockets::of_record(),
        }
    }

    /// The sockets in the runtime directory of the guest; `None` where it has none.
    fn of_record() -> Result<Option<Sockets>, Refusal> {
        let Some(dir) = machine_link::directory() else { return Ok(None) };
        Sockets::listen(&dir)
            .map(Some)
            .map_err(|e| Refusal::host(format!("cannot listen on {}: {e}", dir.join(VSOCK).display())))
    }

    /// Sockets that only this process knows of. Where the host has no place for them the machine runs without.
    fn private() -> Option<Sockets> {
        let made = trine_base::xdg::runtime().and_then(|parent| PrivateDirectory::create(&parent));
        let made = made.and_then(|dir| Ok(Sockets::listen(&dir.0)?.keeps(dir)));
        made.inspect_err(|e| eprintln!("trine: the guest will not hear the request to shut down: {e}")).ok()
    }

    fn keeps(self, dir: PrivateDirectory) -> Sockets {
        Sockets { private: Some(dir), ..self }
    }

    fn listen(dir: &Path) -> std::io::Result<Sockets> {
        let dir = File::open(dir)?;
        let path = short(&dir, VSOCK);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            // An earlier machine of the same guest has left it.
            _ => {}
        }
        Ok(Sockets { at: Some((UnixListener::bind(path)?, dir)), private: None })
    }

    /// The sockets of a restored machine with a device, which its guest knows.
    pub fn restored(monitored: bool) -> Result<Sockets, Refusal> {
        let sockets = if monitored { Sockets::of_record()? } else { Sockets::private() };
        Ok(sockets.unwrap_or(Sockets { at: None, private: None }))
    }

    /// What asks the guest to shut down, and returns whether it has heard that.
    ///
    /// # Errors
    /// The host has no descriptor for it.
    pub fn shut_down(&self) -> Result<impl Fn() -> bool + Send + Sync + 'static, Refusal> {
        let dir = self.at.as_ref().map(|(_, dir)| dir.try_clone()).transpose().map_err(Refusal::host)?;
        Ok(move || {
            let asked = |dir: &File| {
                let mut socket = UnixStream::connect(short(dir, VSOCK))?;
                socket.set_read_timeout(Some(HEARING))?;
                ask(&mut socket, SHUT_DOWN)
            };
            dir.as_ref().is_some_and(|dir| asked(dir).unwrap_or(false))
        })
    }

    /// Makes a device, and the thread that connects it with processes of the host.
    pub fn serve(&self) -> Result<(VsockDevice, HostSide), Refusal> {
        let (end, host) = vsock::streams();
        let device = VsockDevice { cid: CID, end };
        let Some((listener, dir)) = &self.at else { return Ok((device, HostSide::Nobody(host))) };
        let listener = listener.try_clone().map_err(Refusal::host)?;
        let host = VsockHost::new(listener, short(dir, VSOCK), host)
            .map_err(|e| Refusal::host(format!("cannot serve the machine's socket device: {e}")))?;
        Ok((device, HostSide::Served(host)))
    }
}

/// Finds a running machine with a socket device: its record, and its runtime directory.
///
/// # Errors
/// There is no such guest, it does not run, it is not a machine, or has no such device.
pub fn find(store: &Store, which: &str) -> Result<(Record, PathBuf), Refusal> {
    let (record, dir) = find_up(store, which)?;
    let name = &record.name;
    if record.kind != KindName::Machine {
        let kind = record.kind;
        return Err(Refusal::refused(format!(
            "'{name}' is a {kind}, not a machine: use `trine exec {name}`"
        )));
    }
    if !dir.join(VSOCK).exists() {
        return Err(Refusal::refused(format!(
            "the machine '{name}' has no socket device: only machines that run `linux` have one; use `trine attach {name}`"
        )));
    }
    Ok((record, dir))
}

/// `trine vsock-connect`: connects standard input and output with a port of a guest.
pub fn connect(which: &str, port: u32) -> Result<u8, Refusal> {
    let (record, dir) = find(&Store::open()?, which)?;
    let name = &record.name;
    let host = |e| Refusal::host(format!("the socket device of '{name}': {e}"));
    let dir = File::open(dir).map_err(host)?;
    let mut socket = UnixStream::connect(short(&dir, VSOCK)).map_err(host)?;
    if !ask(&mut socket, port).map_err(host)? {
        return Err(Refusal::host(format!(
            "nothing in the machine '{name}' listens on port {port} of its socket device (AF_VSOCK), or its kernel has not \
             loaded the driver yet"
        )));
    }
    join(socket).map_err(host)?;
    Ok(code::OK)
}

/// Asks for a connection with a port; returns whether the guest accepts.
fn ask(socket: &mut UnixStream, port: u32) -> std::io::Result<bool> {
    socket.write_all(format!("CONNECT {port}\n").as_bytes())?;
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while answer.last() != Some(&b'\n') && answer.len() < LONGEST_ANSWER {
        match socket.read(&mut byte) {
            // What follows the line is the guest's, so it is read byte by byte.
            Ok(1..) => answer.push(byte[0]),
            Ok(0) => return Ok(false),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(false),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(answer.starts_with(b"OK ") && answer.ends_with(b"\n"))
}

/// Moves bytes both ways until the guest has sent everything.
fn join(socket: UnixStream) -> std::io::Result<()> {
    let mut to_guest = socket.try_clone()?;
    // Ends with the process: it may wait for input for ever.
    std::thread::spawn(move || {
        let copied = std::io::copy(&mut std::io::stdin().lock(), &mut to_guest);
        // Fails only where the guest has gone, and the other direction ends, too.
        let _ = to_guest.shutdown(if copied.is_ok() { Shutdown::Write } else { Shutdown::Both });
    });
    let (mut socket, mut out, mut piece) = (socket, std::io::stdout().lock(), vec![0; 64 << 10]);
    loop {
        let count = match socket.read(&mut piece) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(()),
            read => read?,
        };
        if count == 0 {
            return Ok(());
        }
        match out.write_all(&piece[..count]).and_then(|()| out.flush()) {
            // Nobody reads any more.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_says_whether_the_guest_accepts() {
        let cases: [(&[u8], bool); 5] = [
            (b"OK 1073741825\nSSH-2.0", true),
            (b"", false),
            (b"OK 1", false),
            (b"no\n", false),
            (&[b'x'; 100], false),
        ];
        for (answer, expected) in cases {
            let (mut one, mut other) = UnixStream::pair().unwrap();
            other.write_all(answer).unwrap();
            other.shutdown(Shutdown::Write).unwrap();
            assert_eq!(ask(&mut one, 22).unwrap(), expected, "{answer:?}");
            let mut rest = Vec::new();
            if expected {
                one.read_to_end(&mut rest).unwrap();
                assert_eq!(rest, b"SSH-2.0");
            }
            let mut asked = [0; 11];
            other.read_exact(&mut asked).unwrap();
            assert_eq!(&asked, b"CONNECT 22\n");
        }
    }

    #[test]
    fn a_private_directory_is_removed_with_those_of_the_dead() {
        let parent = std::env::temp_dir().join(format!("trine-private-{}", std::process::id()));
        let dead = parent.join(format!("{PRIVATE}{}", u32::MAX));
        let others = [parent.join("machine-"), parent.join(format!("{PRIVATE}1"))];
        others.iter().chain([&dead]).for_each(|dir| std::fs::create_dir_all(dir).unwrap());
        std::fs::write(dead.join(VSOCK), "").unwrap();
        let dir = PrivateDirectory::create(&parent).unwrap();
        let path = dir.0.clone();
        assert!(path.is_dir() && !dead.exists() && others.iter().all(|dir| dir.is_dir()));
        let sockets = Sockets::listen(&path).unwrap().keeps(dir);
        assert!(path.join(VSOCK).exists());
        drop(sockets);
        assert!(!path.exists());
        std::fs::remove_dir_all(&parent).unwrap();
    }

    #[test]
    fn an_earlier_machines_socket_is_replaced_and_the_host_reaches_the_next_one() {
        let dir = std::env::temp_dir().join(format!("trine-sockets-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        drop(Sockets::listen(&dir).unwrap());
        let sockets = Sockets::listen(&dir).unwrap();
        for _ in 0..2 {
            let (device, host) = sockets.serve().unwrap_or_else(|e| panic!("{}", e.message));
            let mut socket = UnixStream::connect(dir.join(VSOCK)).unwrap();
            let asks = std::thread::spawn(move || ask(&mut socket, 22).unwrap());
            let id = loop {
                match device.end.news() {
                    Some((id, view)) if view.ports.guest == 22 => break id,
                    _ => std::thread::yield_now(),
                }
            };
            device.end.accept(id);
            assert!(asks.join().unwrap());
            drop(host);
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
