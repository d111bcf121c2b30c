//! The socket device of a machine: the machine's side of it, and `trine vsock-connect`.

use super::target::Target;
use crate::args::RunArgs;
use crate::{Refusal, code};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use trine_base::vsock;
use trine_control::client::find_up;
use trine_control::machine_link::{self, VSOCK};
use trine_control::record::{KindName, Record};
use trine_control::store::Store;
use trine_machine::VsockDevice;
use trine_net::vsock::{Dialer, VsockHost};

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

/// A directory with sockets.
struct At {
    path: PathBuf,
    dir: File,
    listener: UnixListener,
}

/// The sockets of a machine's guest, which stay when the guest resets its machine.
pub struct Sockets {
    /// `None` where no other process reaches the guest.
    at: Option<At>,
    caller: Caller,
}

/// This process as a client of the guest's.
#[derive(Clone, Default)]
pub struct Caller(Arc<Mutex<Option<Dialer>>>);

impl Caller {
    /// A connection with a port of the guest; `None` where nobody accepts it in `patience`.
    pub fn connect(&self, port: u32, patience: Duration) -> Option<UnixStream> {
        let dialer = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let mut socket = dialer.connect().ok()?;
        socket.set_read_timeout(Some(patience)).ok()?;
        ask(&mut socket, port).ok()?.then_some(socket)
    }

    /// Asks the guest to shut down; returns whether it has heard that.
    pub fn shut_down(&self) -> bool {
        self.connect(SHUT_DOWN, HEARING).is_some()
    }
}

impl Sockets {
    /// Opens the sockets of a machine that has them: with a guest that may have a driver, and with somebody who connects: the
    /// processes that find its record, or this one, which asks Debian to shut down.
    pub fn open(args: &RunArgs, target: &Target, monitored: bool) -> Result<Option<Sockets>, Refusal> {
        let counted = args.lockstep || args.count_time.is_some();
        let dir = machine_link::directory().filter(|_| monitored && target.is_debians());
        let own = matches!(target, Target::Debian(_)) && !counted;
        (dir.is_some() || own).then(|| Sockets::at(dir)).transpose()
    }

    /// The sockets of a restored machine with a device.
    pub fn restored(monitored: bool) -> Result<Sockets, Refusal> {
        Sockets::at(machine_link::directory().filter(|_| monitored))
    }

    /// In this directory, if there is one.
    pub fn at(dir: Option<PathBuf>) -> Result<Sockets, Refusal> {
        let listen = |dir: PathBuf| {
            At::listen(&dir)
                .map_err(|e| Refusal::host(format!("cannot listen on {}: {e}", dir.join(VSOCK).display())))
        };
        Ok(Sockets { at: dir.map(listen).transpose()?, caller: Caller::default() })
    }

    /// The directory with the sockets that the device connects to.
    pub fn directory(&self) -> Option<&Path> {
        self.at.as_ref().map(|at| at.path.as_path())
    }

    /// This process as a client of the guest's, whichever machine it has at the time.
    pub fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// Makes a device, and the thread that connects it, which ends when the result is dropped.
    ///
    /// # Errors
    /// The host has no thread or descriptor for it.
    pub fn serve(&self) -> Result<(VsockDevice, VsockHost), Refusal> {
        let (end, host) = vsock::streams();
        let at = |At { listener, dir, .. }: &At| Ok((listener.try_clone()?, short(dir, VSOCK)));
        let at = self.at.as_ref().map(at).transpose().map_err(|e: std::io::Error| Refusal::host(e))?;
        let host = VsockHost::new(at, host)
            .map_err(|e| Refusal::host(format!("cannot serve the machine's socket device: {e}")))?;
        *self.caller.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(host.dialer());
        Ok((VsockDevice { cid: CID, end }, host))
    }
}

impl At {
    fn listen(path: &Path) -> std::io::Result<At> {
        let dir = File::open(path)?;
        let socket = short(&dir, VSOCK);
        match std::fs::remove_file(&socket) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            // An earlier machine of the same guest has left it.
            _ => {}
        }
        Ok(At { path: path.into(), dir, listener: UnixListener::bind(socket)? })
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
    fn an_earlier_machines_socket_is_replaced_and_the_host_reaches_the_next_one() {
        let dir = std::env::temp_dir().join(format!("trine-sockets-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        drop(Sockets::at(Some(dir.clone())).unwrap_or_else(|e| panic!("{}", e.message)));
        let sockets = Sockets::at(Some(dir.clone())).unwrap_or_else(|e| panic!("{}", e.message));
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
