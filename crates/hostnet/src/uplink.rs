//! The uplink of an ordinary user's group: a program that forwards packets to the outside through sockets of
//! the host (`slirp4netns` or `pasta`). It runs beside the holder, and ends with it.

use crate::error::Doing;
use crate::holder::Lifeline;
use crate::inside::{close_but, detached, errno};
use crate::netlink::Netlink;
use crate::{Result, rules, sys};
use std::ffi::CString;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};
use trine_base::process_stat::ProcessIdentity;

/// The name of the program's link in the holder's namespace.
const LINK: &str = "tap0";
/// The address of its name server, from a range for benchmarks (RFC 2544) that nobody uses.
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 3);
/// The MTU in bytes: packets need not fit into packets of the host.
pub(crate) const MTU: u32 = 65_520;
/// How long the program may take to start.
const START: Duration = Duration::from_secs(5);

/// The command line for the holder with this process ID.
fn command(holder: i32) -> Option<Vec<CString>> {
    let (user, net) = (format!("/proc/{holder}/ns/user"), format!("/proc/{holder}/ns/net"));
    let (program, options) = if let Some(program) = rules::program("slirp4netns") {
        let options = format!(
            "--configure --mtu={MTU} --cidr=198.18.255.0/24 --disable-host-loopback --enable-seccomp \
             --netns-type=path --userns-path={user} {net} {LINK}"
        );
        (program, options)
    } else {
        let options = format!(
            "--config-net --foreground --no-map-gw --ipv4-only -t none -u none -T none -U none --mtu {MTU} \
             --address 198.18.255.100 --netmask 24 --gateway 198.18.255.2 --dns-forward {RESOLVER} --ns-ifname {LINK} --userns {user} --netns {net}"
        );
        (rules::program("pasta")?, options)
    };
    let program = CString::new(program.as_os_str().as_bytes()).ok()?;
    let options =
        options.split_whitespace().map(CString::new).collect::<std::result::Result<Vec<_>, _>>().ok()?;
    Some(std::iter::once(program).chain(options).collect())
}

/// Starts an uplink and waits until its link exists. Returns its processes, or says why there is no access to
/// the outside.
pub(crate) fn open(
    holder: ProcessIdentity,
    line: &Lifeline,
    netlink: &mut Netlink,
    log: &Path,
) -> Result<std::result::Result<Vec<ProcessIdentity>, String>> {
    let Some(command) = command(holder.pid) else {
        return Ok(Err("neither slirp4netns nor pasta (package passt) is installed".into()));
    };
    let name = command[0].to_string_lossy().into_owned();
    let what = || format!("cannot start {name}");
    let mut pointers: Vec<*const libc::c_char> = command.iter().map(|c| c.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let file = File::options().create(true).append(true).open(log).file(log)?;
    let null = File::open("/dev/null").doing(what)?;
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors, which nobody else has.
    let (alive, end) = unsafe {
        sys::check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK)).doing(what)?;
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    let fds = Descriptors {
        line: line.as_raw_fd(),
        log: file.as_raw_fd(),
        null: null.as_raw_fd(),
        end: end.as_raw_fd(),
    };
    let watcher = detached(|| watch(&pointers, &fds)).doing(what)?;
    drop(end);
    let until = Instant::now() + START;
    let mut program = [0u8; 4];
    while Instant::now() < until {
        // SAFETY: writes at most four bytes into four bytes.
        let count = unsafe { libc::read(alive.as_raw_fd(), program.as_mut_ptr().cast(), 4) };
        if count == 0 {
            break;
        }
        if netlink.index(LINK)?.is_some() && netlink.has_default_route()? {
            let pids = [watcher, i32::from_ne_bytes(program)];
            return Ok(Ok(pids.into_iter().filter_map(ProcessIdentity::of).collect()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    [watcher, i32::from_ne_bytes(program)]
        .into_iter()
        .filter_map(ProcessIdentity::of)
        .for_each(crate::holder::end);
    let said = std::fs::read(log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let short = name.rsplit('/').next().unwrap_or("");
    // The first line that it writes says why it fails.
    let mut lines = said.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("WARNING"));
    Ok(Err(format!("{short}: {}", lines.next().unwrap_or("it failed to start").escape_debug())))
}

struct Descriptors {
    line: i32,
    log: i32,
    null: i32,
    end: i32,
}

/// Starts the program, and ends it when the lifeline closes. Makes system calls only.
fn watch(command: &[*const libc::c_char], fds: &Descriptors) -> i32 {
    // SAFETY: changes only this process and its child, which have one thread; the command was made before, and ends
    // with a null pointer; its first string is a path.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"trine-uplink".as_ptr());
        libc::chdir(c"/".as_ptr());
        libc::dup2(fds.null, 0);
        libc::dup2(fds.log, 1);
        libc::dup2(fds.log, 2);
        let mut keep = [0, 1, 2, fds.line, fds.end];
        keep.sort_unstable();
        close_but(&keep);
        let program = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as i32;
        if program == 0 {
            close_but(&[0, 1, 2]);
            // Signals that this process ignores (as Rust ignores SIGPIPE) must not be ignored there.
            for signal in 1..32 {
                libc::signal(signal, libc::SIG_DFL);
            }
            let none = 0u64;
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, 0, 8);
            libc::execv(command[0], command.as_ptr());
            libc::_exit(127);
        }
        let fd = libc::syscall(libc::SYS_pidfd_open, program, 0) as i32;
        if program < 0 || fd < 0 {
            return errno();
        }
        libc::write(fds.end, (&raw const program).cast(), 4);
        let mut poll = [
            libc::pollfd { fd: fds.line, events: 0, revents: 0 },
            libc::pollfd { fd, events: libc::POLLIN, revents: 0 },
        ];
        while libc::poll(poll.as_mut_ptr(), 2, -1) < 0 && errno() == libc::EINTR {}
        libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, std::ptr::null::<u8>(), 0);
        libc::waitpid(program, std::ptr::null_mut(), 0);
        0
    }
}
