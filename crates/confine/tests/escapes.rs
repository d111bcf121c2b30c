//! Tries to get out of a machine's confinement. Each line of the table is one attempt, made twice in a process of its own:
//! without the confinement, where it must work if any user may do it, and with it, where it must fail. The second table is
//! what a machine goes on with.
//!
//! This is a program of its own (`harness = false`), since a confined process cannot run the tests that follow.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use trine_confine::{Capabilities, Confinement, Listens, SharedFolder, refused};

/// What the machine has.
#[derive(Clone, Copy, PartialEq)]
enum Has {
    /// Nothing but its disks and its console.
    Nothing,
    /// A network.
    Network,
    /// A folder that it may change.
    Folder,
    /// A folder that it may only read.
    ReadOnly,
    /// Unix sockets of its runtime directory.
    Sockets,
    /// A TCP port for gdb.
    Gdb,
}
use Has::{Folder, Gdb, Network, Nothing, ReadOnly, Sockets};

/// What happens to whoever tries.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    /// The call fails, by a filter.
    Fails,
    /// The kernel ends the process.
    Killed,
    /// The call fails where the host's Landlock has this version.
    Landlock(i32),
}
use Ends::{Fails, Killed, Landlock};

/// Whether the attempt works without a confinement.
#[derive(Clone, Copy, PartialEq)]
enum Free {
    /// Anybody may do this.
    Works,
    /// Only root may, or the host may have switched it off.
    Perhaps,
}
use Free::{Perhaps, Works};

type Attempt = fn(&Stage) -> io::Result<()>;

/// Name, what the machine has, how it ends, whether it works otherwise, and the attempt.
const ESCAPES: &[(&str, Has, Ends, Free, Attempt)] = &[
    ("execute a program", Nothing, Killed, Works, |_| execute("/bin/true")),
    ("execute a program of the shared folder", Folder, Killed, Works, |_| execute("/bin/true")),
    ("fork", Nothing, Killed, Works, |_| call(libc::SYS_fork, [0; 6]).map(exit_child)),
    ("a process by clone", Nothing, Fails, Works, |_| clone(libc::SIGCHLD)),
    ("clone with a user namespace", Nothing, Fails, Perhaps, |_| clone(libc::SIGCHLD | libc::CLONE_NEWUSER)),
    ("unshare a user namespace", Folder, Fails, Perhaps, |_| unshare(libc::CLONE_NEWUSER)),
    ("unshare a network namespace", Folder, Fails, Perhaps, |_| unshare(libc::CLONE_NEWNET)),
    ("setns", Nothing, Killed, Perhaps, |_| call(libc::SYS_setns, [0; 6]).map(drop)),
    ("trace by ptrace", Nothing, Killed, Works, |_| call(libc::SYS_ptrace, [0; 6]).map(drop)),
    ("read another process's memory", Nothing, Killed, Perhaps, read_memory),
    ("signal another process", Nothing, Fails, Works, |s| number(libc::SYS_kill, &[s.victim(), 0])),
    ("signal another process's thread", Nothing, Fails, Works, |s| {
        number(libc::SYS_tgkill, &[s.victim(), s.victim(), 0])
    }),
    ("a descriptor of a process", Nothing, Fails, Works, |s| number(libc::SYS_pidfd_open, &[s.victim(), 0])),
    ("CPUs of another process", Nothing, Fails, Works, |s| set_cpus(s.victim())),
    ("priority of another process", Nothing, Fails, Works, |s| {
        number(libc::SYS_setpriority, &[libc::PRIO_PROCESS.into(), s.victim(), 19])
    }),
    ("limits of another process", Nothing, Fails, Works, |s| {
        let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        number(libc::SYS_prlimit64, &[s.victim(), libc::RLIMIT_CORE.into(), (&raw const limit) as i64, 0])
    }),
    ("own limits", Nothing, Fails, Works, |_| {
        let limit = libc::rlimit { rlim_cur: 16, rlim_max: 16 };
        number(libc::SYS_setrlimit, &[libc::RLIMIT_NOFILE.into(), (&raw const limit) as i64])
    }),
    ("a signal of a socket's to another process", Nothing, Fails, Works, |s| {
        number(libc::SYS_fcntl, &[s.socket.as_raw_fd().into(), libc::F_SETOWN.into(), s.victim()])
    }),
    ("write /etc/passwd", Nothing, Fails, Perhaps, |_| open_to_write("/etc/passwd").map(drop)),
    ("write a file of the user's", Nothing, Fails, Works, |s| open_to_write(s.outside("file")).map(drop)),
    ("make a file", Nothing, Fails, Works, |s| File::create(s.outside("new")).map(drop)),
    ("read a file of the user's", Nothing, Landlock(1), Works, |s| File::open(s.outside("file")).map(drop)),
    ("list a directory of the user's", Nothing, Landlock(1), Works, |s| fs::read_dir(&s.dir).map(drop)),
    ("read /proc/self/environ", Nothing, Landlock(1), Works, |_| File::open("/proc/self/environ").map(drop)),
    ("remove a file", Nothing, Fails, Works, |s| fs::remove_file(s.outside("file"))),
    ("make a directory", Nothing, Fails, Works, |s| fs::create_dir(s.outside("new"))),
    ("rename a file", Nothing, Fails, Works, |s| fs::rename(s.outside("file"), s.outside("new"))),
    ("change a file's mode", Nothing, Fails, Works, |s| {
        fs::set_permissions(s.outside("file"), std::os::unix::fs::PermissionsExt::from_mode(0o666))
    }),
    ("make a symbolic link", Nothing, Fails, Works, |s| std::os::unix::fs::symlink("a", s.outside("new"))),
    ("change a folder that is read-only", ReadOnly, Fails, Works, |s| {
        File::create(s.inside("new")).map(drop)
    }),
    ("write outside of the folder", Folder, Landlock(1), Works, |s| {
        open_to_write(s.outside("file")).map(drop)
    }),
    ("make a file outside of the folder", Folder, Landlock(1), Works, |s| {
        File::create(s.outside("new")).map(drop)
    }),
    ("read outside of the folder", Folder, Landlock(1), Works, |s| File::open(s.outside("file")).map(drop)),
    ("follow a link out of the folder", Folder, Landlock(1), Works, |s| {
        File::open(s.inside("link")).map(drop)
    }),
    ("cut a file outside of the folder", Folder, Landlock(3), Works, |s| {
        let path = std::ffi::CString::new(s.outside("file").into_os_string().into_encoded_bytes())?;
        number(libc::SYS_truncate, &[path.as_ptr() as i64, 0])
    }),
    ("rename a file out of the folder", Folder, Landlock(1), Works, |s| {
        fs::rename(s.inside("file"), s.outside("new"))
    }),
    ("a hard link from outside into the folder", Folder, Landlock(1), Works, |s| {
        fs::hard_link(s.outside("file"), s.inside("new"))
    }),
    ("make a device in the folder", Folder, Landlock(1), Perhaps, |s| {
        let path = std::ffi::CString::new(s.inside("new").into_os_string().into_encoded_bytes())?;
        let (mode, device) = (libc::S_IFCHR | 0o666, libc::makedev(1, 3));
        number(libc::SYS_mknodat, &[libc::AT_FDCWD.into(), path.as_ptr() as i64, mode.into(), device as i64])
    }),
    ("write one's own memory by /proc", Folder, Landlock(1), Works, |_| {
        open_to_write("/proc/self/mem").map(drop)
    }),
    ("give a file to another user", Folder, Fails, Perhaps, |s| {
        std::os::unix::fs::chown(s.inside("file"), Some(12345), None)
    }),
    ("memory to write and execute", Nothing, Fails, Works, |_| {
        map(4096, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC).map(drop)
    }),
    ("written memory made executable", Nothing, Fails, Works, |_| {
        protect(map(4096, libc::PROT_READ | libc::PROT_WRITE)?, 4096, libc::PROT_READ | libc::PROT_EXEC)
    }),
    ("code memory to write and execute", Nothing, Fails, Works, |_| {
        let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        protect(map(CODE, libc::PROT_READ | libc::PROT_WRITE)?, CODE, all)
    }),
    ("reading that implies executing", Nothing, Fails, Works, |_| {
        number(libc::SYS_personality, &[0x040_0000])
    }),
    ("connect by TCP", Nothing, Fails, Works, |s| s.connect_new()),
    ("connect a socket that is open", Nothing, Fails, Works, |s| s.connect_old()),
    ("connect by TCP with a port for gdb", Gdb, Landlock(4), Works, |s| s.connect_new()),
    ("listen at another port than gdb's", Gdb, Landlock(4), Works, |_| {
        TcpListener::bind("127.0.0.1:0").map(drop)
    }),
    ("listen by TCP", Network, Landlock(4), Works, |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    ("send by UDP", Nothing, Fails, Works, |_| UdpSocket::bind("127.0.0.1:0").map(drop)),
    ("send by UDP with a port for gdb", Gdb, Fails, Works, |_| UdpSocket::bind("127.0.0.1:0").map(drop)),
    ("a Unix socket", Network, Fails, Works, |s| UnixStream::connect(s.outside("socket")).map(drop)),
    ("another directory's Unix socket", Sockets, Landlock(9), Works, |s| {
        UnixStream::connect(s.outside("socket")).map(drop)
    }),
    ("an abstract socket of another process's", Sockets, Landlock(6), Works, |s| {
        UnixStream::connect_addr(&abstract_name(s.victim())).map(drop)
    }),
    ("a raw socket", Network, Fails, Perhaps, |_| socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_TCP)),
    ("a packet socket", Network, Fails, Perhaps, |_| socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
    ("the kernel's events", Network, Fails, Works, |_| {
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT)
    }),
    ("the kernel's log of denials", Network, Fails, Perhaps, |_| {
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT)
    }),
    ("the host's addresses without a network", Nothing, Fails, Works, |_| {
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)
    }),
    ("SCTP", Network, Fails, Perhaps, |_| socket(libc::AF_INET, libc::SOCK_STREAM, 132)),
    ("the kernel's ciphers", Network, Fails, Perhaps, |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
    ("sockets of virtual machines", Network, Fails, Perhaps, |_| {
        socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)
    }),
    ("io_uring", Nothing, Fails, Perhaps, |_| {
        let parameters = [0u64; 16];
        number(libc::SYS_io_uring_setup, &[1, parameters.as_ptr() as i64])
    }),
    ("bpf", Nothing, Killed, Perhaps, |_| {
        let map = [1u32, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        number(libc::SYS_bpf, &[0, map.as_ptr() as i64, 48])
    }),
    ("userfaultfd", Nothing, Killed, Perhaps, |_| number(libc::SYS_userfaultfd, &[1])),
    ("perf events", Nothing, Killed, Perhaps, |_| {
        // A software event; the structure has 128 bytes.
        let mut event = [0u32; 32];
        event[..2].copy_from_slice(&[1, 128]);
        number(libc::SYS_perf_event_open, &[event.as_ptr() as i64, 0, -1, -1, 0])
    }),
    ("keys of the session", Nothing, Killed, Perhaps, |_| number(libc::SYS_keyctl, &[0, -3, 1])),
    ("mount", Nothing, Killed, Perhaps, |_| number(libc::SYS_mount, &[0, 0, 0, 0, 0])),
    ("another root", Folder, Killed, Perhaps, |_| number(libc::SYS_chroot, &[c"/".as_ptr() as i64])),
    ("files by handle", Folder, Killed, Perhaps, |_| number(libc::SYS_open_by_handle_at, &[-1, 0, 0])),
    ("a module of the kernel", Nothing, Killed, Perhaps, |_| number(libc::SYS_init_module, &[0, 0, 0])),
    ("another kernel", Nothing, Killed, Perhaps, |_| number(libc::SYS_kexec_load, &[0, 0, 0, -1])),
    ("watch files", Nothing, Fails, Works, |_| number(libc::SYS_inotify_init1, &[0])),
    ("shared memory of System V", Nothing, Fails, Works, |_| number(libc::SYS_shmget, &[0, 4096, 0o600])),
    ("let itself be traced", Nothing, Fails, Works, |_| {
        number(libc::SYS_prctl, &[libc::PR_SET_DUMPABLE.into(), 1])
    }),
    ("type into the terminal", Nothing, Fails, Perhaps, |_| {
        number(libc::SYS_ioctl, &[0, libc::TIOCSTI as i64, c"x".as_ptr() as i64])
    }),
    ("another user", Folder, Fails, Works, |_| number(libc::SYS_setresuid, &[-1, -1, -1])),
];

/// What a machine goes on with.
const STAYS: &[(&str, Has, Attempt)] = &[
    ("threads", Nothing, |_| {
        std::thread::spawn(|| ()).join().map_err(|_| io::Error::other("the thread panicked"))
    }),
    ("code memory", Nothing, |_| {
        let write = map(CODE, libc::PROT_READ | libc::PROT_WRITE)?;
        // SAFETY: maps a mapping of this function's a second time.
        let execute = unsafe { libc::mremap(write, 0, CODE, libc::MREMAP_MAYMOVE) };
        protect(execute, CODE, libc::PROT_READ | libc::PROT_EXEC)
    }),
    ("the kernel's file", Nothing, |s| File::open(s.outside("kernel")).map(drop)),
    ("descriptors that are open", Nothing, |s| {
        (&s.disk).write_all(b"block")?;
        s.disk.set_len(1 << 20)?;
        s.disk.sync_data()
    }),
    ("a signal to oneself", Nothing, |_| {
        // SAFETY: both calls only return a number.
        let (process, thread) = unsafe { (libc::getpid(), libc::gettid()) };
        number(libc::SYS_tgkill, &[process.into(), thread.into(), libc::SIGCONT.into()])
    }),
    ("a folder", Folder, |s| {
        fs::write(s.inside("new"), "text")?;
        fs::create_dir(s.inside("directory"))?;
        fs::rename(s.inside("new"), s.inside("directory/renamed"))?;
        let again = File::open(s.inside("directory/renamed"))?;
        OpenOptions::new()
            .append(true)
            .open(format!("/proc/self/fd/{}", again.as_raw_fd()))?
            .write_all(b"more")?;
        assert_eq!(fs::read_to_string(s.inside("directory/renamed"))?, "textmore");
        assert_eq!(fs::read_dir(s.inside("directory"))?.count(), 1);
        fs::set_permissions(s.inside("file"), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        fs::remove_dir_all(s.inside("directory"))?;
        std::thread::spawn(|| unshare(libc::CLONE_FS)).join().map_err(|_| io::Error::other("panicked"))?
    }),
    ("a folder that is read-only", ReadOnly, |s| File::open(s.inside("file")).map(drop)),
    ("the network", Network, |s| {
        s.connect_new()?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.send_to(b"x", socket.local_addr()?)?;
        socket_of_addresses()
    }),
    ("the runtime directory's sockets", Sockets, |s| UnixStream::connect(s.inside("socket")).map(drop)),
    ("gdb's port", Gdb, |s| TcpListener::bind(("127.0.0.1", s.gdb)).map(drop)),
    ("the list of refused calls", Nothing, |_| {
        let _ = number(libc::SYS_inotify_init1, &[0]);
        assert_eq!(refused(), ["inotify_init1"]);
        Ok(())
    }),
    ("threads that were there before", Nothing, |s| s.ask_earlier()),
];

/// The size of code memory here.
const CODE: usize = (1 << 20) + 4096;

/// What is there before the confinement.
struct Stage {
    dir: PathBuf,
    disk: File,
    socket: OwnedFd,
    listener: TcpListener,
    _unix: [UnixListener; 2],
    gdb: u16,
    victim: Child,
    ask: std::sync::mpsc::Sender<PathBuf>,
    answer: std::sync::mpsc::Receiver<io::Result<()>>,
}

impl Stage {
    fn set_up(dir: &Path) -> io::Result<Stage> {
        let folder = dir.join("folder");
        fs::create_dir_all(&folder)?;
        for file in ["file", "kernel", "folder/file"] {
            fs::write(dir.join(file), "text")?;
        }
        std::os::unix::fs::symlink(dir.join("file"), folder.join("link"))?;
        let disk = OpenOptions::new().read(true).write(true).create_new(true).open(dir.join("disk"))?;
        // SAFETY: a new descriptor, or an error that is looked at.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
        assert!(socket >= 0);
        let mut victim = Command::new(std::env::current_exe()?)
            .arg("--victim")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        victim.stdout.as_mut().expect("piped").read_exact(&mut [0])?;
        let (ask, asked) = std::sync::mpsc::channel::<PathBuf>();
        let (answers, answer) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            asked.iter().for_each(|path| drop(answers.send(File::open(path).map(drop))))
        });
        Ok(Stage {
            dir: dir.into(),
            disk,
            // SAFETY: the descriptor is new and nobody else's.
            socket: unsafe { OwnedFd::from_raw_fd(socket) },
            listener: TcpListener::bind("127.0.0.1:0")?,
            _unix: [UnixListener::bind(dir.join("socket"))?, UnixListener::bind(folder.join("socket"))?],
            gdb: TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
            victim,
            ask,
            answer,
        })
    }

    /// A file outside of the folder that the machine has.
    fn outside(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn inside(&self, name: &str) -> PathBuf {
        self.dir.join("folder").join(name)
    }

    fn victim(&self) -> i64 {
        self.victim.id().into()
    }

    fn connect_new(&self) -> io::Result<()> {
        std::net::TcpStream::connect(self.listener.local_addr()?).map(drop)
    }

    fn connect_old(&self) -> io::Result<()> {
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: self.listener.local_addr()?.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
            sin_zero: [0; 8],
        };
        number(libc::SYS_connect, &[self.socket.as_raw_fd().into(), (&raw const address) as i64, 16])
    }

    /// A thread that is older than the confinement opens a file of the machine's, and none else.
    fn ask_earlier(&self) -> io::Result<()> {
        let open = |name: &str| {
            self.ask.send(self.outside(name)).expect("the thread lives");
            self.answer.recv().expect("it answers")
        };
        open("kernel")?;
        match open("file") {
            Ok(()) if landlock_before() => Err(io::Error::other("an earlier thread is not confined")),
            _ => Ok(()),
        }
    }

    fn confinement(&self, has: Has) -> Confinement {
        let mut machine = Confinement {
            readable: vec![self.outside("kernel")],
            code_memory: Some(CODE),
            capabilities: Capabilities::NONE,
            ..Confinement::default()
        };
        match has {
            Nothing => {}
            Network => machine.network = true,
            Folder | ReadOnly => {
                let folder = File::open(self.inside("")).expect("it was made").into();
                machine.shares.push(SharedFolder { folder, writable: has == Folder });
            }
            Sockets => machine.sockets = Some(self.inside("")),
            Gdb => machine.gdb = Some(Listens::Tcp(([127, 0, 0, 1], self.gdb).into())),
        }
        machine
    }
}

/// The version of the host's Landlock; 0 for none.
fn landlock() -> i32 {
    // SAFETY: asks for the version, and changes nothing.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) };
    version.max(0) as i32
}

fn call(number: i64, arguments: [i64; 6]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the callers pass numbers, and addresses of what lives during the call.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// A call whose result does not matter.
fn number(number: i64, arguments: &[i64]) -> io::Result<()> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    call(number, all).map(drop)
}

/// A child that was made ends at once.
fn exit_child(pid: i64) {
    if pid == 0 {
        // SAFETY: ends the child, which has nothing to clean up.
        unsafe { libc::_exit(0) }
    }
}

fn clone(flags: i32) -> io::Result<()> {
    call(libc::SYS_clone, [flags.into(), 0, 0, 0, 0, 0]).map(exit_child)
}

fn unshare(flags: i32) -> io::Result<()> {
    number(libc::SYS_unshare, &[flags.into()])
}

fn execute(path: &str) -> io::Result<()> {
    use std::os::unix::process::CommandExt;
    Err(Command::new(path).exec())
}

fn open_to_write(path: impl AsRef<Path>) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

fn set_cpus(process: i64) -> io::Result<()> {
    let mut cpus = [0u64; 16];
    call(libc::SYS_sched_getaffinity, [0, 128, cpus.as_mut_ptr() as i64, 0, 0, 0])?;
    number(libc::SYS_sched_setaffinity, &[process, 128, cpus.as_ptr() as i64])
}

fn read_memory(stage: &Stage) -> io::Result<()> {
    let (mut byte, from) = ([0u8], b"x");
    let own = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let other = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: 1 };
    let (own, other) = ((&raw const own) as i64, (&raw const other) as i64);
    number(libc::SYS_process_vm_readv, &[stage.victim(), own, 1, other, 1, 0])
}

fn map(size: usize, protection: i32) -> io::Result<*mut libc::c_void> {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at) }
}

fn protect(at: *mut libc::c_void, size: usize, protection: i32) -> io::Result<()> {
    number(libc::SYS_mprotect, &[at as i64, size as i64, protection.into()])
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<()> {
    number(libc::SYS_socket, &[family.into(), kind.into(), protocol.into()])
}

/// As the C library asks for the host's own addresses.
fn socket_of_addresses() -> io::Result<()> {
    let mut list = std::ptr::null_mut();
    // SAFETY: the call stores a list at the pointer, or fails; the list is freed once.
    match unsafe { libc::getifaddrs(&raw mut list) } {
        0 => {
            // SAFETY: the list of above.
            unsafe { libc::freeifaddrs(list) };
            Ok(())
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// The name of the victim's socket.
fn abstract_name(process: i64) -> SocketAddr {
    SocketAddr::from_abstract_name(format!("trine-escapes-{process}")).expect("a short name")
}

/// Exit codes of an attempt.
const WORKED: i32 = 0;
const FAILED: i32 = 10;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--victim"] => victim(),
        ["--try", index, confined, dir] => {
            let (has, attempt) = match index.split_at(1) {
                ("e", n) => {
                    let line = &ESCAPES[n.parse::<usize>().expect("an index")];
                    (line.1, line.4)
                }
                (_, n) => {
                    let line = &STAYS[n.parse::<usize>().expect("an index")];
                    (line.1, line.2)
                }
            };
            attempt_once(has, attempt, confined == "confined", Path::new(dir))
        }
        _ => all(),
    }
}

/// Another process of the same user, which waits until its parent has gone.
fn victim() -> ExitCode {
    let _listener = UnixListener::bind_addr(&abstract_name(std::process::id().into())).expect("a new name");
    io::stdout().write_all(b"x").and_then(|()| io::stdout().flush()).expect("the parent reads");
    let _ = io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

fn attempt_once(has: Has, attempt: Attempt, confined: bool, dir: &Path) -> ExitCode {
    let stage = Stage::set_up(dir).expect("a stage");
    if confined {
        let done = stage.confinement(has).apply().expect("a confinement");
        assert!(done.calls, "this host has no seccomp filters");
        assert_eq!(done.files, landlock_before(), "Landlock");
    }
    match attempt(&stage) {
        Ok(()) => ExitCode::from(WORKED as u8),
        Err(e) => {
            println!("{e}");
            ExitCode::from(FAILED as u8)
        }
    }
}

/// Whether the host has Landlock, as the parent found out.
fn landlock_before() -> bool {
    std::env::var("LANDLOCK").is_ok_and(|version| version != "0")
}

/// Runs one attempt in a process of its own, and returns how it ended and what it said.
fn attempt(index: &str, confined: bool, version: i32) -> (ExitStatus, String) {
    let dir = std::env::temp_dir().join(format!("trine-escapes-{}", std::process::id()));
    drop(fs::remove_dir_all(&dir));
    let how = if confined { "confined" } else { "free" };
    let done = Command::new(std::env::current_exe().expect("this program"))
        .args(["--try", index, how])
        .arg(&dir)
        .env("LANDLOCK", version.to_string())
        .stdin(Stdio::null())
        .output()
        .expect("this program runs");
    drop(fs::remove_dir_all(&dir));
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    (done.status, said.trim().to_string())
}

fn all() -> ExitCode {
    let version = landlock();
    let mut wrong = 0;
    let mut line = |name: &str, is_right: bool, ended: ExitStatus, said: &str| {
        println!("{} {name}: {ended} {said}", if is_right { "ok  " } else { "FAIL" });
        wrong += u32::from(!is_right);
    };
    for (n, &(name, _, ends, free, _)) in ESCAPES.iter().enumerate() {
        let (ended, said) = attempt(&format!("e{n}"), false, version);
        if free == Works {
            line(&format!("{name}, free"), ended.code() == Some(WORKED), ended, &said);
        }
        if matches!(ends, Landlock(least) if least > version) {
            println!("--   {name}: not with this host's Landlock");
            continue;
        }
        let (ended, said) = attempt(&format!("e{n}"), true, version);
        let is_right = match ends {
            Killed => ended.signal() == Some(libc::SIGSYS),
            Fails | Landlock(_) => ended.code() == Some(FAILED),
        };
        line(name, is_right, ended, &said);
    }
    for (n, &(name, _, _)) in STAYS.iter().enumerate() {
        for confined in [false, true] {
            // Without the confinement nothing is refused.
            if !confined && name.starts_with("the list") {
                continue;
            }
            let (ended, said) = attempt(&format!("s{n}"), confined, if confined { version } else { 0 });
            line(name, ended.code() == Some(WORKED), ended, &said);
        }
    }
    println!("{} escapes, {} that stay, {wrong} wrong", ESCAPES.len(), STAYS.len());
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
