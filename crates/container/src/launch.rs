//! Creating the first process of a container: creates and joins namespaces, then executes Trine again.
//!
//! The caller may have threads, so until that `exec` the new process makes only system calls on prepared
//! data: no allocation, no locks. The second execution has another purpose: the executable that the
//! container's processes see as `/proc/PID/exe` is in a detached read-only clone of its mount. No process
//! inside can get a writable handle of the host's file (CVE-2019-5736), or of a user's file if the user is
//! not root.

use crate::channel::{Channel, Kind};
use crate::error::{Context, Error, Result};
use crate::idmap::Maps;
use crate::sys::{self, Attributes};
use serde::{Deserialize, Serialize};
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use trine_base::passed_fds;
use trine_cgroup::EntryDescriptors;

/// Name of the hidden verb that the new process executes. It is followed by the numbers of two descriptors:
/// its channel, and its own executable.
pub const VERB: &str = "__init";

/// What an intermediate process that executes Trine before it joins anything inherits: descriptor numbers.
#[derive(Serialize, Deserialize)]
struct Handed {
    joins: Vec<(RawFd, i32)>,
    new: i32,
    time_offsets: String,
    group: Option<RawFd>,
    entry_descriptors: Option<(Vec<RawFd>, Option<RawFd>)>,
    stdio: [Option<RawFd>; 3],
    preserve: u32,
}

/// The options for creating the process.
#[derive(Default)]
pub struct Launch {
    /// Namespaces to join, the user namespace first: the descriptor and flags of `setns(2)`.
    pub joins: Vec<(OwnedFd, i32)>,
    /// Namespaces to create: `CLONE_NEW*`, without the cgroup namespace.
    pub new: i32,
    /// ID mappings of a new user namespace.
    pub maps: Option<Maps>,
    /// Text for `/proc/self/timens_offsets`, if a time namespace is created.
    pub time_offsets: String,
    /// A cgroup v2 directory in which the process is created.
    pub group: Option<OwnedFd>,
    /// The control groups that the process enters.
    pub entry_descriptors: Option<EntryDescriptors>,
    /// Its standard input, output and error; `None` means the caller's own.
    pub stdio: [Option<OwnedFd>; 3],
    /// Number of descriptors, from 3 on, that the container's program inherits from the caller.
    pub preserve: u32,
}

/// A process that waits for its plan.
pub struct Launched {
    /// Its executable; must be kept open while it works.
    pub executable: Option<OwnedFd>,
    /// Its process ID.
    pub pid: i32,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// The channel to it.
    pub channel: Channel,
}

/// Steps that may fail before the `exec`.
const STEPS: &[(u8, &str)] = &[
    (b'j', "cannot join a namespace"),
    (b'u', "cannot make a user namespace"),
    (b't', "cannot make a time namespace with the offsets asked for"),
    (b'c', "cannot make a process in new namespaces"),
    (b'g', "the runtime ended while the container was being made"),
    (b'i', "cannot become root inside the user namespace"),
    (b'd', "cannot enter the control groups"),
    (b'x', "cannot execute trine inside the container"),
];

/// The error in a frame of type [`Kind::Early`].
pub fn failure(bytes: &[u8]) -> Error {
    let what = STEPS.iter().find(|s| bytes.first() == Some(&s.0)).map_or("cannot make the process", |s| s.1);
    let number = bytes.get(1..5).and_then(|b| b.try_into().ok()).map_or(libc::EIO, i32::from_le_bytes);
    Error::System { what: what.into(), error: io::Error::from_raw_os_error(number) }
}

/// How the new process finds Trine's executable.
struct Executable {
    /// A read-only clone of its mount, if the caller may create one.
    copy: Option<OwnedFd>,
    /// Its path: the new process clones the mount once it has a mount namespace of its own.
    path: CString,
    identity: (u64, u64),
}

impl Executable {
    fn find() -> Result<Executable> {
        if let Ok(copy) = read_only(libc::AT_FDCWD, c"/proc/self/exe") {
            return Ok(Executable { copy: Some(copy), path: CString::default(), identity: (0, 0) });
        }
        let what = "cannot reach trine's own executable by /proc/self/exe";
        let own = sys::open("/proc/self/exe", libc::O_PATH).context(what)?;
        let stat = sys::stat(&own).context(what)?;
        let path = std::env::current_exe().and_then(sys::text).context(what)?;
        Ok(Executable { copy: None, path, identity: (stat.st_dev, stat.st_ino) })
    }

    /// Clones the mount by path, in the new process's own mount namespace; makes system calls only.
    fn by_path(&self) -> Option<OwnedFd> {
        let fd = read_only(libc::AT_FDCWD, &self.path).ok()?;
        let stat = sys::stat(&fd).ok()?;
        ((stat.st_dev, stat.st_ino) == self.identity).then_some(fd)
    }
}

/// A read-only clone of the mount at a path.
fn read_only(dir: RawFd, path: &CStr) -> io::Result<OwnedFd> {
    let copy = sys::clone_tree(dir, path, false)?;
    let attributes = Attributes { set: libc::MOUNT_ATTR_RDONLY, ..Attributes::default() };
    sys::set_attributes(&copy, false, attributes, None)?;
    Ok(copy)
}

/// A sealed copy in memory, if the mount cannot be cloned.
fn in_memory() -> Result<OwnedFd> {
    let what = "cannot copy trine's executable into memory";
    let mut own = std::fs::File::open("/proc/self/exe").context(what)?;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: reads a literal; makes a descriptor.
    let fd = sys::check(unsafe { libc::memfd_create(c"trine".as_ptr(), flags) }.into()).context(what)?;
    // SAFETY: just made; nobody else owns it.
    let mut copy = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
    io::copy(&mut own, &mut copy).context(what)?;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: changes a descriptor of ours.
    sys::check(unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_ADD_SEALS, seals) }.into()).context(what)?;
    Ok(copy.into())
}

impl Launch {
    /// Whether an intermediate process joins and creates namespaces, because they take effect only for its
    /// children (PID, time) or determine what else may be created (user).
    fn in_between(&self) -> bool {
        let joins = self.joins.iter().fold(0, |all, j| all | j.1);
        joins & (libc::CLONE_NEWPID | libc::CLONE_NEWUSER) != 0
            || (joins != 0 && self.new & libc::CLONE_NEWUSER != 0)
            || self.new & libc::CLONE_NEWTIME != 0
    }

    /// Whether an intermediate process executes Trine's copy before it joins, and with which arguments:
    /// processes in a PID namespace can see a process that enters it from its first moment on, and what it
    /// executes.
    fn again(&self, executable: &Executable) -> Result<Option<(CString, Vec<RawFd>)>> {
        if executable.copy.is_none() || !self.joins.iter().any(|j| j.1 & libc::CLONE_NEWPID != 0) {
            return Ok(None);
        }
        let number = |fd: &Option<OwnedFd>| fd.as_ref().map(AsRawFd::as_raw_fd);
        let [a, b, c] = &self.stdio;
        let handed = Handed {
            joins: self.joins.iter().map(|j| (j.0.as_raw_fd(), j.1)).collect(),
            new: self.new,
            time_offsets: self.time_offsets.clone(),
            group: number(&self.group),
            entry_descriptors: self.entry_descriptors.as_ref().map(EntryDescriptors::descriptors),
            stdio: [number(a), number(b), number(c)],
            preserve: self.preserve,
        };
        let entry_descriptors = handed.entry_descriptors.iter().flat_map(|d| d.0.iter().copied().chain(d.1));
        let others = handed.stdio.into_iter().flatten().chain(handed.group);
        let keep = handed.joins.iter().map(|j| j.0).chain(entry_descriptors).chain(others).collect();
        let text = serde_json::to_string(&handed).map_err(Error::refused)?;
        Ok(Some((CString::new(text).map_err(Error::refused)?, keep)))
    }

    /// Creates the process.
    ///
    /// # Errors
    /// Namespaces cannot be joined or created, or IDs cannot be mapped. There is no process then.
    pub fn go(&self) -> Result<Launched> {
        let executable = Executable::find()?;
        let (ours, theirs) = Channel::pair()?;
        // Above all descriptors that the container's program inherits.
        let lowest = 3 + self.preserve as RawFd;
        // SAFETY: makes a copy of a descriptor of ours.
        let socket = unsafe { libc::fcntl(theirs.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) };
        let socket = sys::check(socket.into()).context("cannot make a descriptor")? as RawFd;
        // SAFETY: just made; nobody else owns it.
        let theirs = (theirs, unsafe { OwnedFd::from_raw_fd(socket) });
        let verb = CString::new(VERB).unwrap_or_default();
        let again = self.again(&executable)?;
        let child = Child {
            again: again.as_ref(),
            launch: self,
            executable: &executable,
            socket,
            other: ours.as_raw_fd(),
            lowest,
            verb: &verb,
        };
        let between = self.in_between();
        let flags = if between { 0 } else { self.new };
        let pid = match clone(flags, libc::SIGCHLD, self.group.as_ref().filter(|_| !between)) {
            Ok(0) => child.run(between),
            Ok(pid) => pid,
            Err(error) => return Err(early(b'c', &error)),
        };
        drop(theirs);
        let done = self.accompany(pid, ours, between, executable.copy);
        if done.is_err() {
            // It has not been waited for, so this is still its process ID.
            // SAFETY: ends a child of ours.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            drop(sys::wait(pid));
        }
        done
    }

    /// Does what the new process cannot do itself.
    fn accompany(
        &self,
        pid: i32,
        mut channel: Channel,
        between: bool,
        copy: Option<OwnedFd>,
    ) -> Result<Launched> {
        if self.new & libc::CLONE_NEWUSER != 0 {
            channel.expect(Kind::Map)?;
            self.maps.as_ref().map_or(Ok(()), |maps| maps.write(pid))?;
            channel.send(Kind::Go, &[], &[])?;
        }
        let mut last = pid;
        let mut asked = None;
        if between {
            // Messages of the process that continues may arrive before the intermediate process reports it.
            let mut frame = channel.expect_any(&[Kind::Child, Kind::Executable])?;
            if frame.kind == Kind::Executable {
                asked = Some(frame);
                frame = channel.expect(Kind::Child)?;
            }
            last = frame.bytes.try_into().map_or(-1, i32::from_le_bytes);
            drop(sys::wait(pid));
        }
        if copy.is_none() && asked.map_or_else(|| channel.expect(Kind::Executable), Ok)?.bytes.is_empty() {
            channel.send(Kind::Go, &[], &[in_memory()?.as_raw_fd()])?;
        }
        let pidfd = sys::pidfd(last).context("the process inside has ended")?;
        Ok(Launched { pid: last, pidfd, channel, executable: copy })
    }
}

fn early(step: u8, error: &io::Error) -> Error {
    failure(&[&[step][..], &error.raw_os_error().unwrap_or(libc::EIO).to_le_bytes()].concat())
}

/// Calls `clone3(2)` like `fork(2)`, with these namespaces.
pub(crate) fn clone(flags: i32, exit_signal: i32, group: Option<&OwnedFd>) -> io::Result<i32> {
    // SAFETY: a structure of integers.
    let mut args: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    args.flags = flags as u32 as u64;
    args.exit_signal = exit_signal as u64;
    if let Some(group) = group {
        /// From linux/sched.h; it does not fit the C library's type.
        const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = group.as_raw_fd() as u64;
    }
    // SAFETY: the child has a copy of this memory and goes on on a copy of this stack.
    sys::check(unsafe { libc::syscall(libc::SYS_clone3, &args, size_of_val(&args)) }).map(|pid| pid as i32)
}

/// The intermediate process, which has executed Trine, joins from here: its channel, its executable, the
/// other arguments of [`VERB`]. Returns only if those are not valid.
pub(crate) fn join(channel: &OwnedFd, trine: OwnedFd, rest: &str) -> Option<std::convert::Infallible> {
    let handed: Handed = serde_json::from_str(rest).ok()?;
    let own = |fd: Option<RawFd>| fd.map(|fd| sys::adopt(fd).ok());
    let all = |list: Vec<RawFd>| list.into_iter().map(|fd| sys::adopt(fd).ok()).collect::<Option<Vec<_>>>();
    let entry_descriptors = match handed.entry_descriptors {
        Some((first, second)) => {
            Some(EntryDescriptors::handed_down(all(first)?, own(second).map_or(Some(None), |d| d.map(Some))?))
        }
        None => None,
    };
    let joins = handed.joins.into_iter().map(|(fd, flags)| Some((sys::adopt(fd).ok()?, flags)));
    let [a, b, c] = handed.stdio.map(|fd| own(fd).flatten());
    let launch = Launch {
        joins: joins.collect::<Option<_>>()?,
        new: handed.new,
        time_offsets: handed.time_offsets,
        group: own(handed.group).flatten(),
        entry_descriptors,
        stdio: [a, b, c],
        preserve: handed.preserve,
        ..Launch::default()
    };
    let executable = Executable { copy: Some(trine), path: CString::default(), identity: (0, 0) };
    let (socket, lowest) = (channel.as_raw_fd(), 3 + launch.preserve as RawFd);
    let verb = CString::new(VERB).ok()?;
    Child { again: None, launch: &launch, executable: &executable, socket, other: -1, lowest, verb: &verb }
        .run(true)
}

/// The new process until its `exec`: it makes system calls only.
struct Child<'a> {
    /// The arguments for executing Trine first of all, and the descriptors named in them.
    again: Option<&'a (CString, Vec<RawFd>)>,
    launch: &'a Launch,
    executable: &'a Executable,
    socket: RawFd,
    /// The runtime's end of the channel: while it is open here, its closing is not noticed.
    other: RawFd,
    /// The first descriptor that is not for the container's program.
    lowest: RawFd,
    verb: &'a CStr,
}

/// A step's letter, and the kernel's error number.
type Step<T> = std::result::Result<T, (u8, i32)>;

/// Converts the result of a call to that of a step.
fn step(letter: u8, result: impl Into<libc::c_long>) -> Step<libc::c_long> {
    sys::check(result.into()).map_err(|e| (letter, e.raw_os_error().unwrap_or(libc::EIO)))
}

impl Child<'_> {
    fn run(&self, between: bool) -> ! {
        // SAFETY: closes a descriptor of this process's own copy, which nothing else here uses.
        unsafe { libc::close(self.other) };
        let Err((letter, number)) = match self.again {
            Some((text, keep)) => self.execute(Some((text, keep))),
            None => self.steps(between),
        };
        let [a, b, c, d] = number.to_le_bytes();
        self.send(Kind::Early, &[letter, a, b, c, d]);
        // SAFETY: ends this process.
        unsafe { libc::_exit(1) }
    }

    fn steps(&self, between: bool) -> Step<std::convert::Infallible> {
        let new = self.launch.new;
        // Before it is visible in a PID namespace, so that no process in there sees it outside the limits.
        // Its child starts in the same groups.
        let early = between && self.launch.joins.iter().any(|j| j.1 & libc::CLONE_NEWPID != 0);
        if early {
            self.enter_groups()?;
        }
        for (fd, flags) in &self.launch.joins {
            // SAFETY: changes this process's namespaces.
            step(b'j', unsafe { libc::setns(fd.as_raw_fd(), *flags) })?;
            if flags & libc::CLONE_NEWUSER != 0 {
                self.become_root()?;
            }
        }
        if between {
            if new & libc::CLONE_NEWUSER != 0 {
                // SAFETY: changes this process's namespaces.
                step(b'u', unsafe { libc::unshare(libc::CLONE_NEWUSER) })?;
                self.mapped()?;
            }
            if new & libc::CLONE_NEWTIME != 0 {
                self.time()?;
            }
            // From here on, processes in a joined namespace could inspect this one.
            // SAFETY: changes this process.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
            self.replace(new & !(libc::CLONE_NEWUSER | libc::CLONE_NEWTIME))?;
        } else if new & libc::CLONE_NEWUSER != 0 {
            self.mapped()?;
        }
        if !early {
            self.enter_groups()?;
        }
        self.execute(None)
    }

    fn enter_groups(&self) -> Step<()> {
        let Some(entry_descriptors) = &self.launch.entry_descriptors else { return Ok(()) };
        let entered = entry_descriptors.enter(self.launch.group.is_some());
        entered.map_err(|e| (b'd', e.raw_os_error().unwrap_or(libc::EIO)))
    }

    /// Waits until the IDs of the new user namespace are mapped.
    fn mapped(&self) -> Step<()> {
        self.send(Kind::Map, &[]);
        self.receive()?;
        self.become_root()
    }

    /// Becomes root of the user namespace; without one, keeps the capabilities across `exec` in another way.
    fn become_root(&self) -> Step<()> {
        // SAFETY: changes this process's ids.
        let root = unsafe {
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>());
            step(b'i', libc::syscall(libc::SYS_setresgid, 0, 0, 0))
                .and(step(b'i', libc::syscall(libc::SYS_setresuid, 0, 0, 0)))
        };
        match root {
            Err((_, libc::EINVAL)) => keep_capabilities(),
            other => other.map(drop),
        }
    }

    fn time(&self) -> Step<()> {
        // SAFETY: changes this process's namespaces; writes a string of ours into a file.
        unsafe {
            step(b't', libc::unshare(libc::CLONE_NEWTIME))?;
            if self.launch.time_offsets.is_empty() {
                return Ok(());
            }
            let path = c"/proc/self/timens_offsets".as_ptr();
            let fd = step(b't', libc::open(path, libc::O_WRONLY | libc::O_CLOEXEC))?;
            let lines = self.launch.time_offsets.as_bytes();
            step(b't', libc::write(fd as RawFd, lines.as_ptr().cast(), lines.len()) as libc::c_long).map(drop)
        }
    }

    /// Creates the process that continues, a sibling of this one, which exits.
    fn replace(&self, new: i32) -> Step<()> {
        let cloned = clone(new | libc::CLONE_PARENT, 0, self.launch.group.as_ref());
        let pid = cloned.map_err(|e| (b'c', e.raw_os_error().unwrap_or(libc::EIO)))?;
        if pid > 0 {
            self.send(Kind::Child, &pid.to_le_bytes());
            // SAFETY: ends this process.
            unsafe { libc::_exit(0) }
        }
        Ok(())
    }

    /// Executes Trine: either to build the container, or to get here again with inherited descriptors.
    fn execute(&self, again: Option<(&CString, &[RawFd])>) -> Step<std::convert::Infallible> {
        let found = match &self.executable.copy {
            Some(fd) => fd.as_raw_fd(),
            None => self.look()?,
        };
        // SAFETY: system calls on descriptors of ours and on strings that live as long as this process. What the runtime
        // was started with, and its caller left open, does not go on.
        unsafe {
            libc::syscall(libc::SYS_close_range, self.lowest, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
            for fd in again.iter().flat_map(|a| a.1).chain([&self.socket]) {
                step(b'x', libc::fcntl(*fd, libc::F_SETFD, 0))?;
            }
            // Passes an open file without its mount: closing the last reference to a detached mount takes
            // milliseconds, which the runtime can spend meanwhile.
            let (path, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH | libc::O_CLOEXEC);
            let own = step(b'x', libc::syscall(libc::SYS_open_tree, found, path, flags))? as RawFd;
            let own = step(b'x', libc::fcntl(own, libc::F_DUPFD, self.lowest))? as RawFd;
            for (number, fd) in (0..).zip(&self.launch.stdio) {
                if let Some(fd) = fd.as_ref().filter(|_| again.is_none()) {
                    step(b'x', libc::dup2(fd.as_raw_fd(), number))?;
                }
            }
            let none = [std::ptr::null::<libc::c_char>()];
            let numbers = [decimal(self.socket), decimal(own)];
            let [channel, own] = [numbers[0].as_ptr().cast(), numbers[1].as_ptr().cast()];
            let rest = again.map_or(std::ptr::null(), |a| a.0.as_ptr());
            let arguments = [c"trine".as_ptr(), self.verb.as_ptr(), channel, own, rest, std::ptr::null()];
            let (path, arguments, flags) = (c"".as_ptr(), arguments.as_ptr(), libc::AT_EMPTY_PATH);
            step(b'x', libc::syscall(libc::SYS_execveat, found, path, arguments, none.as_ptr(), flags))?;
        }
        Err((b'x', libc::ENOEXEC))
    }

    /// Opens Trine's executable in the new mount namespace.
    fn look(&self) -> Step<RawFd> {
        if let Some(fd) = self.executable.by_path() {
            self.send(Kind::Executable, &[1]);
            return Ok(fd.into_raw_fd());
        }
        self.send(Kind::Executable, &[]);
        self.receive()
    }

    fn send(&self, kind: Kind, payload: &[u8]) {
        let mut frame = [0; 16];
        frame[0] = kind as u8;
        frame[1] = payload.len() as u8;
        frame[5..5 + payload.len()].copy_from_slice(payload);
        // SAFETY: sends bytes of ours. Where nobody listens any more, the next step fails.
        unsafe { libc::send(self.socket, frame.as_ptr().cast(), 5 + payload.len(), libc::MSG_NOSIGNAL) };
    }

    /// Receives the frame [`Kind::Go`]; returns the descriptor in it, or -1.
    fn receive(&self) -> Step<RawFd> {
        let mut bytes = [0; 5];
        match passed_fds::receive_one(&self.socket, &mut bytes, libc::MSG_WAITALL) {
            Ok((5, fd)) => Ok(fd.map_or(-1, OwnedFd::into_raw_fd)),
            _ => Err((b'g', libc::ECONNRESET)),
        }
    }
}

/// Formats a descriptor number as text with a terminating zero, without allocating.
fn decimal(fd: RawFd) -> [u8; 12] {
    let (mut text, mut left, mut digits) = ([0; 12], fd.unsigned_abs(), 1);
    while fd.unsigned_abs() / 10u32.pow(digits) > 0 && digits < 9 {
        digits += 1;
    }
    for place in text[..digits as usize].iter_mut().rev() {
        *place = b'0' + (left % 10) as u8;
        left /= 10;
    }
    text
}

/// Makes all capabilities of this process ambient, so that they survive an `exec` by a user who is not root.
fn keep_capabilities() -> Step<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`, and the process itself.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    // Effective, permitted, inheritable: low halves, then high halves.
    let mut sets = [0u32; 6];
    // SAFETY: reads and writes arrays of ours, of the sizes that this version has.
    unsafe {
        step(b'i', libc::syscall(libc::SYS_capget, HEADER.as_ptr(), sets.as_mut_ptr()))?;
        (sets[2], sets[5]) = (sets[1], sets[4]);
        step(b'i', libc::syscall(libc::SYS_capset, HEADER.as_ptr(), sets.as_ptr()))?;
        for capability in 0..64u64 {
            let half = sets[if capability < 32 { 1 } else { 4 }];
            if half >> (capability % 32) & 1 != 0 {
                let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
                step(b'i', libc::prctl(libc::PR_CAP_AMBIENT, raise, capability, 0, 0))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_without_allocation() {
        for n in [0, 7, 10, 99, 1023, 1_048_576] {
            let text = decimal(n);
            assert_eq!(CStr::from_bytes_until_nul(&text).unwrap().to_str().unwrap(), n.to_string());
        }
    }

    #[test]
    fn steps_have_sentences() {
        let text = early(b'j', &io::Error::from_raw_os_error(libc::EPERM)).to_string();
        assert!(text.starts_with("cannot join a namespace: Operation not permitted"), "{text}");
        failure(&[]);
    }
}
