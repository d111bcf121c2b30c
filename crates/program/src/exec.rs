//! `execve`: an executable of the guest's CPU stays under Trine, an executable of the host runs natively.

use crate::thread::Thread;
use crate::{guests, signal};
use std::ffi::{CString, OsStr};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use trine_engine::Tier;
use trine_linux::abi::{GuestAbi, Machine};
use trine_linux::call::{string, string_within};
use trine_linux::{Errno, own, proc};

/// Name of the hidden verb that runs a program in place of another.
pub const VERB: &str = "__program";

/// The most bytes of one argument or environment string (`MAX_ARG_STRLEN`).
const MOST_OF_ONE: usize = 32 * 4096;
/// The most bytes of all arguments, or of the environment, each with its pointer (three quarters of
/// `_STK_LIM`).
const MOST_OF_ALL: usize = 6 << 20;
/// The most scripts that interpret each other (`BINPRM_MAX_RECURSION`).
const MOST_SCRIPTS: usize = 5;
/// The most bytes of a script's first line (`BINPRM_BUF_SIZE`).
const LINE: usize = 256;

/// The executable after scripts have been resolved.
struct Target {
    path: CString,
    args: Vec<CString>,
    guest: bool,
    /// The executable's descriptor, if it has no path.
    opened: Option<i32>,
}

/// Whether executing a file grants privileges: set-user-ID, set-group-ID, or file capabilities.
fn gives_rights(path: &CString) -> bool {
    let mode = std::fs::metadata(OsStr::from_bytes(path.as_bytes())).map_or(0, |m| m.mode());
    // SAFETY: reads strings of ours, and only asks for a size.
    let capabilities = unsafe {
        libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) > 0
    };
    capabilities || mode & (libc::S_ISUID | libc::S_ISGID) != 0
}

/// The first bytes of a regular file that is open for reading.
fn head_of(fd: i32) -> Option<Vec<u8>> {
    let mut bytes = vec![0; LINE];
    // SAFETY: writes bytes of ours.
    let got = unsafe { libc::pread(fd, bytes.as_mut_ptr().cast(), LINE, 0) };
    bytes.truncate(usize::try_from(got).ok()?);
    Some(bytes)
}

/// Reads the strings whose addresses are at `at`, up to a null pointer.
fn strings(machine: &Machine, mut at: u64) -> Result<Vec<CString>, Errno> {
    let too_much = Errno(libc::E2BIG);
    let (mut list, mut bytes) = (Vec::new(), 0);
    while at != 0 {
        let text = match machine.address(at)? {
            0 => break,
            text => string_within(text, MOST_OF_ONE, too_much)?,
        };
        bytes += text.as_bytes_with_nul().len() + size_of::<u64>();
        if bytes > MOST_OF_ALL {
            return Err(too_much);
        }
        list.push(text);
        at = at.wrapping_add(machine.words().address as u64);
    }
    Ok(list)
}

/// The first bytes of a file that may be executed.
fn head(path: &CString) -> Result<Vec<u8>, Errno> {
    // SAFETY: reads a string of ours.
    if unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) } != 0 {
        return Err(Errno::last());
    }
    let path = Path::new(OsStr::from_bytes(path.as_bytes()));
    if path.is_dir() {
        return Err(Errno(libc::EACCES));
    }
    // A file may be executable without being readable; then the host decides.
    let Ok(file) = std::fs::File::open(path) else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    drop(file.take(LINE as u64).read_to_end(&mut bytes));
    Ok(bytes)
}

/// No program gets an empty argument list (Linux 5.18): it would take its environment for arguments.
fn at_least_one(mut args: Vec<CString>) -> Vec<CString> {
    if args.is_empty() {
        args.push(CString::default());
    }
    args
}

/// The interpreter and its argument in a script's first line.
fn script(head: &[u8]) -> Option<(CString, Option<CString>)> {
    let line = head.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?;
    let line = line.trim_ascii();
    let end = line.iter().position(|b| b" \t".contains(b)).unwrap_or(line.len());
    let argument = line[end..].trim_ascii();
    let interpreter = CString::new(&line[..end]).ok().filter(|i| !i.is_empty())?;
    Some((interpreter, CString::new(argument).ok().filter(|a| !a.is_empty())))
}

/// An array of strings in the format of `execve`.
struct Pointers(Vec<*const libc::c_char>);

impl Pointers {
    fn to(list: &[CString]) -> Pointers {
        Pointers(list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect())
    }

    fn at(&self) -> *const *const libc::c_char {
        self.0.as_ptr()
    }
}

impl<A: GuestAbi> Thread<A> {
    /// `execve(path, argv, envp)`.
    pub fn execve(&mut self, [path, args, env, ..]: [u64; 6]) -> Result<u64, Errno> {
        let machine = self.process.guest.machine;
        let path = self.program_at(libc::AT_FDCWD, string(path)?);
        self.exec(path, strings(machine, args)?, strings(machine, env)?)
    }

    /// The host's path of the file to be executed; the `exe` of a process under Trine is its program.
    fn program_at(&self, dir: i32, path: CString) -> CString {
        let names = &self.process.guest.names;
        proc::executable(names, dir, &path, true, true).unwrap_or_else(|| names.host_path(path))
    }

    /// `execveat(dirfd, path, argv, envp, flags)`.
    pub fn execveat(&mut self, [dir, path, args, env, flags, _]: [u64; 6]) -> Result<u64, Errno> {
        let (dir, flags) = (dir as i32, flags as i32);
        if flags & !(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW) != 0 {
            return Err(Errno(libc::EINVAL));
        }
        let (path, machine) = (string(path)?, self.process.guest.machine);
        if path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
            return self.exec_file(dir, strings(machine, args)?, strings(machine, env)?);
        }
        let path = self.path_at(dir, path)?;
        let link = || Path::new(OsStr::from_bytes(path.as_bytes())).is_symlink();
        if flags & libc::AT_SYMLINK_NOFOLLOW != 0 && link() {
            return Err(Errno(libc::ELOOP));
        }
        self.exec(path, strings(machine, args)?, strings(machine, env)?)
    }

    /// The path that a directory descriptor and a relative path refer to.
    fn path_at(&self, dir: i32, path: CString) -> Result<CString, Errno> {
        match path.as_bytes().first() {
            Some(b'/') => return Ok(self.program_at(dir, path)),
            None => return Err(Errno(libc::ENOENT)),
            _ if dir == libc::AT_FDCWD => return Ok(self.program_at(dir, path)),
            _ => {}
        }
        // SAFETY: only asks for a descriptor's flags.
        if unsafe { libc::fcntl(dir, libc::F_GETFD) } < 0 {
            return Err(Errno::last());
        }
        if let Some(path) = proc::executable(&self.process.guest.names, dir, &path, true, true) {
            return Ok(path);
        }
        let text = [format!("/proc/self/fd/{dir}/").as_bytes(), path.as_bytes()].concat();
        CString::new(text).map_err(|_| Errno(libc::EINVAL))
    }

    /// `fexecve`: executes an open file, by its path if it has one, because the descriptor may be
    /// close-on-exec.
    fn exec_file(&mut self, fd: i32, args: Vec<CString>, env: Vec<CString>) -> Result<u64, Errno> {
        let link = |fd| format!("/proc/self/fd/{fd}");
        // SAFETY: only asks for a descriptor's flags.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return Err(Errno::last());
        }
        // Without `/proc`, the path is not known.
        let name = std::fs::read_link(link(fd)).unwrap_or_default();
        let same = |name: &Path| {
            let (a, b) = (std::fs::metadata(name).ok()?, std::fs::metadata(link(fd)).ok()?);
            Some((a.dev(), a.ino()) == (b.dev(), b.ino()))
        };
        if same(&name) == Some(true) {
            let name = CString::new(name.into_os_string().into_vec()).map_err(|_| Errno(libc::EINVAL))?;
            return self.exec(name, args, env);
        }
        // SAFETY: makes a copy of a descriptor of the program, which the new program closes.
        let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD, own::LOWEST) };
        if copy < 0 {
            return Err(Errno::last());
        }
        let result = match head_of(copy).filter(|head| guests::is_guest(head)) {
            Some(_) => {
                let path = CString::new(format!("/dev/fd/{fd}")).map_err(|_| Errno(libc::EINVAL))?;
                let args = at_least_one(args);
                self.exec_target(Target { path, args, guest: true, opened: Some(copy) }, &env)
            }
            None => {
                let path = CString::new(link(copy)).map_err(|_| Errno(libc::EINVAL))?;
                self.exec(path, args, env)
            }
        };
        // SAFETY: made above.
        unsafe { libc::close(copy) };
        result
    }

    /// Follows scripts to the executable that interprets them.
    fn target(&self, path: CString, args: Vec<CString>) -> Result<Target, Errno> {
        let (mut path, mut args) = (path, args);
        for _ in 0..MOST_SCRIPTS {
            let head = head(&path)?;
            let Some((interpreter, argument)) = script(&head) else {
                return Ok(Target { guest: guests::is_guest(&head), path, args, opened: None });
            };
            let rest = args.into_iter().skip(1);
            args = [interpreter.clone()].into_iter().chain(argument).chain([path]).chain(rest).collect();
            path = self.program_at(libc::AT_FDCWD, interpreter);
        }
        Err(Errno(libc::ELOOP))
    }

    fn exec(&mut self, path: CString, args: Vec<CString>, env: Vec<CString>) -> Result<u64, Errno> {
        // The program's own executable, without a path: its descriptor is close-on-exec.
        let kept = self.process.guest.names.kept.and_then(|kept| kept.descriptor());
        if let Some(fd) = kept.filter(|fd| path.as_bytes() == format!("/proc/self/fd/{fd}").as_bytes()) {
            return self.exec_file(fd, args, env);
        }
        let target = self.target(path, at_least_one(args))?;
        self.exec_target(target, &env)
    }

    fn exec_target(&mut self, target: Target, env: &[CString]) -> Result<u64, Errno> {
        let env = Pointers::to(env);
        signal::engine_signals(Some(&self.process.actions()));
        self.at_rest.store(true, Ordering::SeqCst);
        let blocked = self.mask & signal::ours();
        let failed = self.lending(blocked, &mut || self.host_exec(&target, &env));
        self.at_rest.store(false, Ordering::SeqCst);
        signal::engine_signals(None);
        failed
    }

    /// Makes the host's call. Returns if it failed, or because a signal came that must be delivered first:
    /// while it waits, all other signals are blocked, and would stay blocked.
    fn host_exec(&self, target: &Target, env: &Pointers) -> Result<u64, Errno> {
        let stop = &self.inbox.signal;
        // Only the host's kernel grants the privileges, and only to what it starts for the file itself.
        if self.process.options.by_kernel && target.opened.is_none() && gives_rights(&target.path) {
            match self.host_starts(target, env) {
                Err(Errno(libc::ENOEXEC)) => {}
                failed => return failed,
            }
        }
        if let Some(own) = target.guest.then(own::descriptor).flatten() {
            let args = self.under_trine(target)?;
            let (fd, flags) = (own.as_raw_fd() as u64, libc::AT_EMPTY_PATH as u64);
            let list = Pointers::to(&args);
            let args = [fd, c"".as_ptr() as u64, list.at() as u64, env.at() as u64, flags, 0];
            // SAFETY: strings and arrays of ours; on success nothing of this process is left.
            let failed = unsafe { trine_linux::host::interruptible(libc::SYS_execveat, args, stop) };
            if failed == Err(trine_linux::errno::RESTART) {
                return failed;
            }
        }
        // If our executable cannot be reached, the host's kernel may know the handler (`trine binfmt`).
        self.host_starts(target, env)
    }

    /// Lets the host's kernel start the file itself.
    fn host_starts(&self, target: &Target, env: &Pointers) -> Result<u64, Errno> {
        let stop = &self.inbox.signal;
        let list = Pointers::to(&target.args);
        let (path, list, env) = (target.path.as_ptr() as u64, list.at() as u64, env.at() as u64);
        let (call, args) = match target.opened {
            None => (libc::SYS_execve, [path, list, env, 0, 0, 0]),
            Some(fd) => {
                let empty = c"".as_ptr() as u64;
                (libc::SYS_execveat, [fd as u64, empty, list, env, libc::AT_EMPTY_PATH as u64, 0])
            }
        };
        // SAFETY: strings and arrays of ours; on success nothing of this process is left.
        unsafe { trine_linux::host::interruptible(call, args, stop) }
    }

    /// The arguments that make Trine run a program in the same way as this one.
    fn under_trine(&self, target: &Target) -> Result<Vec<CString>, Errno> {
        let options = &self.process.options;
        let text = |s: &str| CString::new(s).unwrap_or_default();
        let mut args = vec![text("trine"), text(VERB)];
        if let Some(root) = &options.sysroot {
            let root = std::path::absolute(root).unwrap_or(root.clone());
            args.push(text("--sysroot"));
            args.push(CString::new(root.as_os_str().as_bytes()).map_err(|_| Errno(libc::EINVAL))?);
        }
        if options.tier == Tier::Interp {
            args.extend(["--engine", "interp"].map(text));
        }
        if options.strace {
            args.push(text("--strace"));
        }
        if options.stats {
            args.push(text("--stats"));
        }
        if options.perf_map.is_some() {
            args.push(text("--perf-map"));
        }
        if let Some(debug) = self.process.debug.as_ref().filter(|d| d.is_active()) {
            args.extend(["--gdb", &debug.address().to_string()].map(text));
        }
        if options.by_kernel {
            args.push(text("--by-kernel"));
        }
        if let Some(fd) = target.opened {
            args.extend(["--opened", &fd.to_string()].map(text));
        }
        args.push(text("--"));
        args.push(target.path.clone());
        args.extend(target.args.iter().cloned());
        Ok(args)
    }
}
