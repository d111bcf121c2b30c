//! The monitor of a machine confines itself before the guest's first instruction: whoever takes it over from inside the
//! guest gets what the machine was given, and nothing else of the user's.
//!
//! * [`files`]: Landlock, which limits what is opened from now on, by path; TCP ports; abstract sockets and signals.
//! * [`calls`]: seccomp, an allow list of system calls with checked arguments.
//! * [`filter`]: what filters are made of, for programs, too.
//! * [`privilege`]: the capabilities of root, and new ones by executables.
//! * [`threads`]: the kernel restricts one thread and those that it starts; here all threads restrict themselves.
//!
//! What is open already stays open: disks, standard input and output, the monitor's socket, published ports. Nothing of
//! this can be undone.

mod calls;
mod files;
pub mod filter;
mod privilege;
mod threads;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

pub use calls::refused;
pub use privilege::{Capabilities, needs_read_search};

/// A folder of the host that the guest has.
#[derive(Debug)]
pub struct SharedFolder {
    /// The folder, as a descriptor of any kind (`O_PATH` is enough).
    pub folder: OwnedFd,
    /// Whether the guest may change what is in it.
    pub writable: bool,
}

/// Where the machine listens for gdb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listens {
    /// At a TCP port; 0 is any.
    Tcp(SocketAddr),
    /// At a Unix socket, which is made and removed.
    Unix(PathBuf),
}

/// What a machine needs of the host after its start. By default nothing but what is open already.
#[derive(Debug, Default)]
pub struct Confinement {
    /// Files, or directories with all that is below them, that are read: the kernel, which a reset reads again.
    /// A path that does not exist is not an error.
    pub readable: Vec<PathBuf>,
    /// Files, or directories, that are also written, and in which files are made and removed.
    pub writable: Vec<PathBuf>,
    /// Folders of the guest's.
    pub shares: Vec<SharedFolder>,
    /// Whether the machine has a network: it connects by TCP, UDP and ICMP, and asks for the host's own addresses.
    pub network: bool,
    /// Where it listens for gdb.
    pub gdb: Option<Listens>,
    /// The directory with the Unix sockets that it connects to.
    pub sockets: Option<PathBuf>,
    /// Bytes of code memory, the one mapping that may become executable; `None` where no code is generated.
    pub code_memory: Option<usize>,
    /// What is kept of root's capabilities.
    pub capabilities: Capabilities,
}

/// Why a machine cannot be confined. It must not run then.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// This process is confined already.
    #[error("this process is confined already")]
    Twice,
    /// The list of threads cannot be read.
    #[error("cannot confine the machine: its threads are not known (/proc/self/task): {0}")]
    Threads(std::io::Error),
    /// A thread has not restricted itself.
    #[error("cannot confine the machine: thread {0} does not answer")]
    Silent(i32),
    /// The kernel refuses a restriction.
    #[error("cannot confine the machine: {what}: {error}")]
    Refused {
        /// The restriction.
        what: &'static str,
        /// The kernel's reason.
        error: std::io::Error,
    },
    /// The rules are wrong, which is an error of Trine's.
    #[error("cannot confine the machine: {0}")]
    Rules(String),
}

/// How a machine is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confined {
    /// Whether the kernel limits files (Landlock, Linux 5.13).
    pub files: bool,
    /// Whether the kernel limits system calls (seccomp filters).
    pub calls: bool,
}

impl Confined {
    /// One line for people.
    pub fn describe(&self) -> String {
        let have = match (self.files, self.calls) {
            (true, true) => "files by Landlock, system calls by seccomp",
            (true, false) => "files by Landlock; this host has no seccomp filters",
            (false, true) => "system calls by seccomp; this host has no Landlock, so files are not limited",
            (false, false) => "none: this host has neither Landlock nor seccomp filters",
        };
        match refused().as_slice() {
            [] => format!("confinement: {have}"),
            calls => format!("confinement: {have}; refused calls: {}", calls.join(", ")),
        }
    }
}

impl Confinement {
    /// Whether files may be opened for writing.
    fn writes(&self) -> bool {
        !self.writable.is_empty() || self.shares.iter().any(|share| share.writable)
    }

    /// Confines this process with all of its threads, for good. A host without Landlock or seccomp is used as far as it
    /// goes, which the result says.
    ///
    /// # Errors
    /// The kernel refuses what it has. The machine must not be run then.
    pub fn apply(&self) -> Result<Confined, ConfineError> {
        no_core_files();
        let rules = files::rules(self).map_err(|e| ConfineError::Rules(e.to_string()))?;
        calls::catch_refusals()?;
        threads::restrict_all(rules.as_ref(), self.capabilities)?;
        Ok(Confined { files: rules.is_some(), calls: calls::restrict(self)? })
    }
}

/// A core file would have the guest's memory, and the kernel writes it whatever Landlock says.
fn no_core_files() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads one structure that lives here.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
}
