//! The address at which gdb connects: a TCP port of this host, or a Unix socket.

use std::fmt;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{self, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// An address at which gdb connects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Default for Address {
    /// Port 1234 of the loopback interface.
    fn default() -> Self {
        Address::Tcp((Ipv4Addr::LOCALHOST, 1234).into())
    }
}

impl FromStr for Address {
    type Err = String;

    /// Parses `PORT`, `:PORT`, `IP:PORT`, `localhost:PORT`, `unix:PATH`, or a path that contains a slash.
    /// Without an IP address it means the loopback interface.
    fn from_str(text: &str) -> std::result::Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:").or(text.contains('/').then_some(text)) {
            return match path {
                "" => Err("'unix:' must be followed by a path".into()),
                path => Ok(Address::Unix(path.into())),
            };
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let bad = || format!("'{text}' is not an address: use PORT, IP:PORT or unix:PATH");
        let port: u16 = port.parse().map_err(|_| bad())?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host == "localhost" {
            return Ok(Address::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        // Other names are not supported: resolving them needs libraries that a statically linked Trine does
        // not have.
        let ip: IpAddr = host.parse().map_err(|_| format!("'{host}' is not an IP address"))?;
        Ok(Address::Tcp((ip, port).into()))
    }
}

impl fmt::Display for Address {
    /// Formats the address as gdb's `target remote` and [`Address::from_str`] accept it.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Address::Tcp(a) if a.ip() == Ipv4Addr::LOCALHOST => write!(f, ":{}", a.port()),
            Address::Tcp(a) => write!(f, "{a}"),
            Address::Unix(path) if path.as_os_str().as_encoded_bytes().contains(&b'/') => {
                write!(f, "{}", path.display())
            }
            Address::Unix(path) => write!(f, "./{}", path.display()),
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listening socket for gdb. It is closed when gdb has connected, or when this is dropped.
pub struct GdbListener {
    listener: Listener,
    address: Address,
}

/// A connection with gdb.
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// Moves a descriptor to a high number, because programs expect their own from 3 on; keeps the old number if
/// that fails. It is closed at `execve`.
pub fn aside(fd: OwnedFd) -> OwnedFd {
    const HIGH: i32 = 960;
    // SAFETY: makes a descriptor; the result is checked.
    let new = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, HIGH) };
    if new < 0 {
        return fd;
    }
    // SAFETY: just made, and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(new) }
}

/// Removes a socket on which nobody listens any more. A process that does listen must not notice the check:
/// connecting with another socket type fails with a different error.
fn clear(path: &Path) {
    let is_socket = path.symlink_metadata().is_ok_and(|m| m.file_type().is_socket());
    let refused = |s: UnixDatagram| s.connect(path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
    if is_socket && UnixDatagram::unbound().is_ok_and(refused) {
        drop(std::fs::remove_file(path));
    }
}

/// Listens at a path, which is there only when it listens and is this user's alone: who waits for the path can connect, and
/// nobody else can before that.
fn listen(path: &Path) -> Result<UnixListener> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    // Refuses what clients could not name.
    net::SocketAddr::from_pathname(path)?;
    // The other name in the same directory must be short, too. A confined process may name the directory, not read it.
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY);
    let dir = options.open(path.parent().unwrap_or(Path::new("/")))?;
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let name = format!("/proc/self/fd/{}/.trine-gdb-{}-{number}", dir.as_raw_fd(), std::process::id());
    let listener = UnixListener::bind(&name)?;
    let placed = std::fs::set_permissions(&name, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::hard_link(&name, path));
    drop(std::fs::remove_file(&name));
    match placed {
        Ok(()) => Ok(listener),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(ErrorKind::AddrInUse.into()),
        Err(e) => Err(e),
    }
}

impl GdbListener {
    /// Listens at `address`; only this user may connect to a Unix socket.
    pub fn open(address: &Address) -> Result<GdbListener> {
        let (listener, address) = match address {
            Address::Tcp(a) => {
                let listener = TcpListener::bind(a)?;
                let bound = listener.local_addr()?;
                (Listener::Tcp(TcpListener::from(aside(listener.into()))), Address::Tcp(bound))
            }
            Address::Unix(path) => {
                let path = std::path::absolute(path)?;
                clear(&path);
                let listener = listen(&path)?;
                (Listener::Unix(UnixListener::from(aside(listener.into()))), Address::Unix(path))
            }
        };
        Ok(GdbListener { listener, address })
    }

    /// Its address: with the actual port if port 0 was requested, and an absolute path.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits until gdb connects.
    pub fn wait(self) -> Result<Stream> {
        let stream = loop {
            let next = match &self.listener {
                Listener::Tcp(l) => l.accept().map(|(s, _)| Stream::Tcp(TcpStream::from(aside(s.into())))),
                Listener::Unix(l) => l.accept().map(|(s, _)| Stream::Unix(UnixStream::from(aside(s.into())))),
            };
            match next {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                next => break next?,
            }
        };
        if let Stream::Tcp(s) = &stream {
            // Packets are small and are answered one by one.
            s.set_nodelay(true)?;
        }
        Ok(stream)
    }
}

impl Drop for GdbListener {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address {
            drop(std::fs::remove_file(path));
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> i32 {
        match self {
            Stream::Tcp(s) => s.as_raw_fd(),
            Stream::Unix(s) => s.as_raw_fd(),
        }
    }
}

impl std::io::Read for &Stream {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        match self {
            Stream::Tcp(s) => (&*s).read(to),
            Stream::Unix(s) => (&*s).read(to),
        }
    }
}

impl std::io::Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        // A gdb that is gone is an error here, not the program's SIGPIPE.
        let flags = libc::MSG_NOSIGNAL;
        // SAFETY: reads a slice of ours.
        let n = unsafe { libc::send(self.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
        if n < 0 { Err(Error::last_os_error()) } else { Ok(n as usize) }
    }
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn tcp(ip: [u8; 4], port: u16) -> std::result::Result<Address, String> {
        Ok(Address::Tcp((ip, port).into()))
    }

    #[test]
    fn addresses_are_ports_hosts_and_paths() {
        assert_eq!("1234".parse(), tcp([127, 0, 0, 1], 1234));
        assert_eq!(":99".parse(), tcp([127, 0, 0, 1], 99));
        assert_eq!("localhost:7".parse(), tcp([127, 0, 0, 1], 7));
        assert_eq!("0.0.0.0:7".parse(), tcp([0, 0, 0, 0], 7));
        assert_eq!("[::1]:7".parse(), Ok(Address::Tcp(([0, 0, 0, 0, 0, 0, 0, 1u16], 7).into())));
        assert_eq!("unix:gdb".parse(), Ok(Address::Unix("gdb".into())));
        assert_eq!("./gdb".parse(), Ok(Address::Unix("./gdb".into())));
        for bad in ["", "unix:", ":", "prog", "1:2:x", "host:1", "65536", ":-1"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_is_what_is_taken() {
        for text in [":1234", "0.0.0.0:7", "[::1]:7", "/tmp/x"] {
            assert_eq!(text.parse::<Address>().map(|a| a.to_string()), Ok(text.into()));
        }
        assert_eq!(Address::Unix("gdb".into()).to_string(), "./gdb");
    }

    #[test]
    fn a_unix_door_is_private_and_leaves_nothing() {
        let path = std::env::temp_dir().join(format!("trine-listener-{}", std::process::id()));
        let listener = GdbListener::open(&Address::Unix(path.clone())).expect("a listener");
        assert_eq!(path.metadata().expect("a socket").permissions().mode() & 0o777, 0o600);
        let taken =
            GdbListener::open(&Address::Unix(path.clone())).map(drop).expect_err("the place is taken");
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let there = path.clone();
        let client = std::thread::spawn(move || {
            let mut client = UnixStream::connect(there).expect("connected");
            client.write_all(b"?").expect("sent");
        });
        let mut byte = [0];
        (&mut &listener.wait().expect("somebody came")).read_exact(&mut byte).expect("read");
        client.join().expect("joined");
        assert_eq!(byte, *b"?");
        assert!(!path.exists());
        // A socket whose owner was killed.
        drop(UnixListener::bind(&path).expect("bound"));
        drop(GdbListener::open(&Address::Unix(path.clone())).expect("a listener in its place"));
        assert!(!path.exists());
        // A file that is not a socket is kept.
        std::fs::write(&path, "text").expect("written");
        assert!(GdbListener::open(&Address::Unix(path.clone())).is_err());
        assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), Some("text"));
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_path_is_there_when_somebody_listens() {
        let dir = std::env::temp_dir().join(format!("trine-doors-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("a directory");
        let path = dir.join("gdb");
        let seen = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..200 {
                    let door = GdbListener::open(&Address::Unix(path.clone())).expect("a listener");
                    seen.wait();
                    drop(door);
                    seen.wait();
                }
            });
            for _ in 0..200 {
                while !path.exists() {
                    std::hint::spin_loop();
                }
                let connected = UnixStream::connect(&path);
                seen.wait();
                seen.wait();
                connected.expect("connected");
            }
        });
        assert_eq!(std::fs::read_dir(&dir).expect("the directory").count(), 0);
        let long = dir.join("x".repeat(108));
        assert!(GdbListener::open(&Address::Unix(long)).is_err());
        std::fs::remove_dir(&dir).expect("removed");
    }

    #[test]
    fn port_0_is_some_port() {
        let listener = GdbListener::open(&":0".parse().expect("an address")).expect("a listener");
        assert!(matches!(listener.address(), Address::Tcp(a) if a.port() != 0 && a.ip().is_loopback()));
    }
}
