//! A user namespace for working on files of a container's users (user_namespaces(7), newuidmap(1)).
//!
//! An ordinary user unpacks an image's files in a child process in a new user namespace. There, user 0 is the
//! user, and users from 1 on are the range that `/etc/subuid` and `/etc/subgid` grant. A container with the
//! same mapping then sees the owners that the image says.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Command;

/// A range of IDs: `count` IDs from `inside` on are mapped to those from `outside` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First id in the namespace.
    pub inside: u32,
    /// First ID outside.
    pub outside: u32,
    /// Number of IDs.
    pub count: u32,
}

/// The mapping of a user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Users.
    pub uids: Vec<Range>,
    /// Groups.
    pub gids: Vec<Range>,
}

/// The identity with which this process works on files of containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// As root, with every id.
    Root,
    /// In a user namespace with many IDs.
    Mapped(Mapping),
    /// In a user namespace with the user's own ID only, or in none: all files belong to the user.
    Alone(Mapping),
}

impl Mapping {
    /// The user's mapping: 0 is the user, IDs from 1 on are the ranges of `/etc/subuid` and `/etc/subgid`.
    pub fn of_user() -> Mapping {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let name = user_name(uid);
        let map = |path: &str, own: u32| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let mut ranges = vec![Range { inside: 0, outside: own, count: 1 }];
            ranges.extend(ranges_of(&text, name.as_deref(), uid));
            ranges
        };
        Mapping { uids: map("/etc/subuid", uid), gids: map("/etc/subgid", gid) }
    }

    /// Whether it has more IDs than the user's own.
    pub fn is_wide(&self) -> bool {
        self.uids.len() > 1 && self.gids.len() > 1
    }

    fn alone(&self) -> Mapping {
        Mapping { uids: self.uids[..1].to_vec(), gids: self.gids[..1].to_vec() }
    }
}

impl Identity {
    /// The identity of this process.
    pub fn of_process() -> Identity {
        if rustix::process::geteuid().is_root() {
            return Identity::Root;
        }
        let mapping = Mapping::of_user();
        match mapping.is_wide() && on_path("newuidmap") && on_path("newgidmap") {
            true => Identity::Mapped(mapping),
            false => Identity::Alone(mapping.alone()),
        }
    }

    /// Whether files get the owners that an image says.
    pub fn owners(&self) -> bool {
        !matches!(self, Identity::Alone(_))
    }

    /// Runs `work` with this identity: directly as root, otherwise in a child process in a new namespace.
    ///
    /// The child is a fork of this process with one thread: `work` must not need a lock that another thread
    /// may hold.
    ///
    /// # Errors
    /// The error of `work`, or the namespace cannot be created.
    pub fn run<T: Serialize + DeserializeOwned>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self {
            Identity::Root => work(),
            Identity::Mapped(mapping) => within(mapping, true, work),
            Identity::Alone(mapping) => within(mapping, false, work),
        }
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// The name of a user in `/etc/passwd`.
fn user_name(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let fields = text.lines().map(|l| l.split(':').collect::<Vec<_>>());
    let mut of = fields.filter(|f| f.get(2).and_then(|u| u.parse().ok()) == Some(uid));
    of.next().map(|f| f[0].to_string())
}

/// A user's ranges in a file in the format of subuid(5), mapped consecutively from ID 1 on.
fn ranges_of(text: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let mut inside = 1u32;
    let mut ranges = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [user, first, count] = fields[..] else { continue };
        let own = Some(user) == name || user.parse() == Ok(uid);
        let (Ok(outside), Ok(count)) = (first.trim().parse::<u32>(), count.trim().parse::<u32>()) else {
            continue;
        };
        let Some(next) = inside.checked_add(count).filter(|_| own && count > 0) else { continue };
        if outside.checked_add(count).is_some() {
            ranges.push(Range { inside, outside, count });
            inside = next;
        }
    }
    ranges
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the kernel writes two descriptors into the array.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(Error::Host(format!("cannot create a pipe: {}", std::io::Error::last_os_error())));
    }
    // SAFETY: both were just opened and belong to nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// A child's answer at its end.
#[derive(Serialize, serde::Deserialize)]
enum Answer<T> {
    Done(T),
    Refused(String),
    Failed(String),
}

fn within<T: Serialize + DeserializeOwned>(
    mapping: &Mapping,
    wide: bool,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let (ready_read, ready_write) = pipe()?;
    let (go_read, go_write) = pipe()?;
    let (answer_read, answer_write) = pipe()?;
    // SAFETY: the child goes on with a copy of everything; the C library keeps its allocator usable in it. What it does
    // from there on needs no other thread (see `Identity::run`).
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(Error::Host(format!(
            "cannot create a child process: {}",
            std::io::Error::last_os_error()
        )));
    }
    if child == 0 {
        drop((ready_read, go_write, answer_read));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            follow(ready_write.into(), go_read.into(), answer_write.into(), wide, work);
        }));
        // SAFETY: ends the child without the destructors and exit handlers of its copy of the parent.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    drop((ready_write, go_read, answer_write));
    let result = lead(child, wide, mapping, ready_read.into(), go_write.into(), answer_read.into());
    // SAFETY: waits for the child made above, which nobody else waits for; its pipes are closed, so it ends.
    unsafe {
        let mut status = 0;
        while libc::waitpid(child, &mut status, 0) < 0 && *libc::__errno_location() == libc::EINTR {}
    }
    result
}

/// The parent's part: maps the child's IDs, and receives its answer.
fn lead<T: DeserializeOwned>(
    child: libc::pid_t,
    wide: bool,
    mapping: &Mapping,
    mut ready: File,
    mut go: File,
    mut answer: File,
) -> Result<T> {
    let entered = ready.read(&mut [0]).unwrap_or(0) == 1;
    if wide && entered {
        give_ids("newuidmap", child, &mapping.uids)?;
        give_ids("newgidmap", child, &mapping.gids)?;
    }
    // If the child has ended, its answer (or the lack of one) says why.
    drop(go.write_all(b"g"));
    drop(go);
    let mut bytes = Vec::new();
    answer
        .read_to_end(&mut bytes)
        .map_err(|e| Error::Host(format!("cannot read the answer of a child process: {e}")))?;
    match serde_json::from_slice(&bytes) {
        Ok(Answer::Done(value)) => Ok(value),
        Ok(Answer::Refused(text)) => Err(Error::Refused(text)),
        Ok(Answer::Failed(text)) => Err(Error::Host(text)),
        Err(_) => Err(Error::Host("a child process that worked on files ended early".into())),
    }
}

/// Runs newuidmap or newgidmap, which may map the ranges of `/etc/subuid` and `/etc/subgid`.
fn give_ids(program: &str, child: libc::pid_t, ranges: &[Range]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(child.to_string());
    for r in ranges {
        command.args([r.inside.to_string(), r.outside.to_string(), r.count.to_string()]);
    }
    let out = command.output().map_err(|e| Error::Host(format!("cannot run {program}: {e}")))?;
    match out.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&out.stderr).trim().to_string();
            Err(Error::Host(format!("{said}: /etc/subuid and /etc/subgid must grant these ids to the user")))
        }
    }
}

/// The child's part.
fn follow<T: Serialize>(
    mut ready: File,
    mut go: File,
    mut answer: File,
    wide: bool,
    work: impl FnOnce() -> Result<T>,
) {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: makes a namespace for this process, which has one thread.
    let entered = unsafe { libc::unshare(libc::CLONE_NEWUSER) } == 0;
    let why = std::io::Error::last_os_error();
    if entered {
        drop(ready.write_all(b"r"));
    }
    drop(ready);
    if go.read(&mut [0]).unwrap_or(0) != 1 {
        return;
    }
    let result = if wide && !entered {
        Err(Error::Host(format!("this host does not allow user namespaces to ordinary users ({why})")))
    } else {
        let root = if entered { become_root(wide, uid, gid) } else { Ok(()) };
        root.and_then(|()| work())
    };
    let said = match result {
        Ok(value) => Answer::Done(value),
        Err(e) if e.is_refusal() => Answer::Refused(e.to_string()),
        Err(e) => Answer::Failed(e.to_string()),
    };
    if let Ok(bytes) = serde_json::to_vec(&said) {
        drop(answer.write_all(&bytes));
    }
}

/// Becomes user 0 of the namespace.
fn become_root(wide: bool, uid: u32, gid: u32) -> Result<()> {
    if !wide {
        let put = |file: &str, text: String| {
            let path = format!("/proc/self/{file}");
            std::fs::write(&path, text).map_err(Error::file("cannot write", path.as_ref()))
        };
        put("setgroups", "deny".into())?;
        put("uid_map", format!("0 {uid} 1"))?;
        put("gid_map", format!("0 {gid} 1"))?;
    }
    // SAFETY: changes this process's ids; an empty list of groups needs no memory.
    let done = unsafe {
        (!wide || libc::setgroups(0, std::ptr::null()) == 0)
            && libc::setresgid(0, 0, 0) == 0
            && libc::setresuid(0, 0, 0) == 0
    };
    match done {
        true => Ok(()),
        false => Err(Error::Host(format!("cannot become user 0: {}", std::io::Error::last_os_error()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_user_follow_each_other() {
        let text = "root:1:2\nann:100000:65536\n# note\n1000:300000:10\nann:x:5\nann:4294967295:5\nann:7:0\n";
        let ranges = ranges_of(text, Some("ann"), 1000);
        let want = [(1, 100_000, 65536), (65537, 300_000, 10)];
        let want = want.map(|(inside, outside, count)| Range { inside, outside, count });
        assert_eq!(ranges, want);
        assert_eq!(ranges_of(text, Some("bob"), 1001), []);
    }

    #[test]
    fn work_in_a_namespace_answers() {
        let mapping = Mapping::of_user().alone();
        let uid = Identity::Alone(mapping.clone()).run(|| Ok(rustix::process::geteuid().as_raw()));
        assert_eq!(uid.unwrap(), 0);
        let refused: Result<()> = within(&mapping, false, || Err(Error::Refused("no".into())));
        assert!(matches!(refused, Err(Error::Refused(why)) if why == "no"));
        let dead: Result<()> = within(&mapping, false, || {
            // SAFETY: ends the child.
            unsafe { libc::_exit(3) }
        });
        assert!(dead.unwrap_err().to_string().contains("ended early"));
    }
}
