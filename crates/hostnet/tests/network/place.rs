//! Network namespaces for tests, and commands inside them.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use trine_hostnet::{Addresses, Join, Joined, Mode, Network};

/// Whether this is root, which may create namespaces; prints a message if not.
pub fn root() -> bool {
    // SAFETY: takes nothing.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// A guest that joins under this name, which is also its identifier.
pub fn plain<'a>(mode: &'a Mode, name: &'a str, netns: Option<BorrowedFd<'a>>) -> Join<'a> {
    Join { mode, guest: name, name, aliases: &[], hosts: &[], dns: &[], search: &[], netns, files: None }
}

fn netns() -> OwnedFd {
    File::open("/proc/thread-self/ns/net").unwrap().into()
}

/// Calls `run` in a new thread in a new network namespace.
fn apart<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        // SAFETY: takes no pointers; changes this thread only.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
        run()
    });
    thread.join().unwrap()
}

/// The host of a test: a thread in a network namespace of its own, with its loopback interface up.
pub fn host(run: impl FnOnce() + Send + 'static) {
    if root() {
        apart(|| {
            command("ip", &["link", "set", "lo", "up"]);
            run();
        });
    }
}

/// Runs a program; returns its standard output.
pub fn command(program: &str, args: &[&str]) -> String {
    let out = std::process::Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// A directory that is removed when this is dropped.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("trine-hostnet-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    pub fn network(&self) -> Network {
        Network::at(&self.0)
    }

    /// Checks that nothing is recorded, and that no link of ours is left in this network namespace.
    pub fn assert_empty(&self) {
        self.assert_no_records();
        let links = command("ip", &["-o", "link"]);
        assert!(!links.contains("tr-") && !links.contains("tv-"), "{links}");
        if has("nft") {
            let rules = command("nft", &["list", "tables"]);
            assert!(!rules.contains("tr-"), "{rules}");
        }
        let rules = command("ip", &["rule"]);
        assert!(!rules.contains("tr-"), "{rules}");
    }

    /// Checks that nothing is recorded.
    pub fn assert_no_records(&self) {
        let left: Vec<_> = std::fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub fn has(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|d| std::path::Path::new(d).join(program).is_file())
}

/// A guest, represented by its network namespace.
pub struct Guest(pub OwnedFd);

impl Guest {
    pub fn new() -> Guest {
        Guest(apart(netns))
    }

    /// Calls `run` in a thread in the guest's network.
    pub fn run<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> T {
        self.spawn(run).join().unwrap()
    }

    /// Starts such a thread.
    pub fn spawn<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let fd = self.0.try_clone().unwrap();
        std::thread::spawn(move || {
            // SAFETY: takes no pointers; changes this thread only.
            assert_eq!(unsafe { libc::setns(fd.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
            run()
        })
    }

    /// Joins under this name, which is also its identifier.
    pub fn join(&self, network: &Network, group: &str, name: &str) -> trine_hostnet::Result<Joined> {
        self.join_mode(network, &Mode::Group(group.into()), name)
    }

    pub fn join_mode(&self, network: &Network, mode: &Mode, name: &str) -> trine_hostnet::Result<Joined> {
        let netns = Some(self.0.as_fd());
        network.join(&plain(mode, name, netns))
    }
}

/// Whether an address can be reached: a connection is refused or accepted, or there is no route.
#[derive(Debug, PartialEq)]
pub enum Reach {
    Taken,
    Refused,
    Nowhere,
}

pub fn reach(address: IpAddr, port: u16) -> Reach {
    let time = std::time::Duration::from_millis(1500);
    match std::net::TcpStream::connect_timeout(&SocketAddr::new(address, port), time) {
        Ok(_) => Reach::Taken,
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => Reach::Refused,
        Err(_) => Reach::Nowhere,
    }
}

pub fn v4(joined: &Addresses) -> Ipv4Addr {
    joined.v4.unwrap()
}
