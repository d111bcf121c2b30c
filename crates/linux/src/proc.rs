//! Files of `/proc` about processes under Trine: the host's contents are the monitor's, those here are the
//! program's.
//!
//! Which file a path refers to is decided by the file, never by the path's text: a directory descriptor, the
//! working directory, `//proc//self/./exe`, `/proc/self/task/N/exe` and a symbolic link can all lead to the
//! same file. The host's kernel opens it first, and then it is examined: it may be a file of procfs, or
//! Trine's own executable.

use crate::call::Context;
use crate::errno::Errno;
use crate::files::Names;
use crate::own::LOWEST;
use crate::space::END;
use crate::table::Call;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The identity of a file: device and inode number.
type Identity = (u64, u64);

/// The most symbolic links in a path (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;
/// Number of descriptors from [`LOWEST`] on among which that of a program's executable is looked for.
const PLACES: RawFd = 32;

/// A program's open executable: `/proc/self/exe` refers to the file that was started, whatever happens to its
/// name.
#[derive(Clone, Copy, Debug)]
pub struct Executable {
    fd: RawFd,
    file: Identity,
}

impl Executable {
    /// Keeps the file at `path` open, with a descriptor number that programs do not expect to be free; `None`
    /// if that is not possible.
    pub fn keep(path: &Path) -> Option<Executable> {
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        let low = place(libc::AT_FDCWD, &path, 0)?;
        // SAFETY: makes a copy of a descriptor of ours.
        let fd = unsafe { libc::fcntl(low.as_raw_fd(), libc::F_DUPFD_CLOEXEC, LOWEST) };
        let file = identity(low.as_raw_fd()).map(|s| s.file)?;
        (fd >= 0).then_some(Executable { fd, file })
    }

    /// Whether this path still refers to it.
    pub fn is_at(&self, path: &Path) -> bool {
        path.metadata().is_ok_and(|m| (m.dev(), m.ino()) == self.file)
    }

    /// The descriptor, unless the program has closed it or opened another file with that number.
    pub fn descriptor(&self) -> Option<RawFd> {
        (identity(self.fd)?.file == self.file).then_some(self.fd)
    }

    /// Whether this is its descriptor.
    pub fn is_kept(&self, fd: u64) -> bool {
        fd as RawFd == self.fd && self.descriptor().is_some()
    }

    /// Its number.
    pub fn number(&self) -> RawFd {
        self.fd
    }
}

/// The relevant results of `fstat`.
struct About {
    file: Identity,
    mode: u32,
    size: i64,
}

fn identity(fd: RawFd) -> Option<About> {
    // SAFETY: a structure of integers, which `fstat` fills.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: writes a structure of ours.
    let known = unsafe { libc::fstat(fd, &mut stat) } == 0;
    known.then_some(About { file: (stat.st_dev, stat.st_ino), mode: stat.st_mode, size: stat.st_size })
}

/// Trine's own executable. If procfs is not mounted yet, this is tried again later.
fn monitor() -> Option<Identity> {
    static MONITOR: OnceLock<Identity> = OnceLock::new();
    if let Some(known) = MONITOR.get() {
        return Some(*known);
    }
    let file = identity(place(libc::AT_FDCWD, c"/proc/self/exe", 0)?.as_raw_fd())?.file;
    Some(*MONITOR.get_or_init(|| file))
}

/// Whether this file is Trine's own executable.
pub fn is_monitor(device: u64, inode: u64) -> bool {
    monitor() == Some((device, inode))
}

/// Opens a path with `O_PATH`.
fn place(dir: RawFd, path: &CStr, flags: i32) -> Option<OwnedFd> {
    // SAFETY: reads a string of ours.
    let fd = unsafe { libc::openat(dir, path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC | flags) };
    // SAFETY: just opened; nobody else owns it.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn is_proc(fd: RawFd) -> bool {
    // SAFETY: a structure of integers, which `fstatfs` fills.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: writes a structure of ours.
    unsafe { libc::fstatfs(fd, &mut stat) == 0 && stat.f_type == libc::PROC_SUPER_MAGIC }
}

/// The path of an open file, according to the host's kernel.
fn path_of(fd: RawFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()
}

/// A process, identified by a directory of procfs.
#[derive(Debug, PartialEq)]
struct Of {
    /// `/proc/N`, wherever procfs is mounted.
    base: PathBuf,
    own: bool,
}

impl Of {
    /// The process of a directory `…/N` or `…/N/task/M`, whose path contains no links.
    fn directory(path: &Path) -> Option<Of> {
        let number = |p: &Path| p.file_name()?.to_str()?.parse::<u32>().ok();
        let last = number(path)?;
        let above = path.parent()?;
        let (base, process) = match above.file_name().is_some_and(|n| n == "task") {
            true => (above.parent()?, above.parent().and_then(number)?),
            false => (path, last),
        };
        // Another procfs mount may belong to another PID namespace.
        let here = base.parent() == Some(Path::new("/proc"));
        // SAFETY: sends nothing, only asks whether this is one of our threads.
        let ours = || unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), process, 0) == 0 };
        Some(Of { base: base.into(), own: here && (process == std::process::id() || ours()) })
    }

    /// The path of the program of a process under Trine; `None` if it is not under Trine, or that cannot be
    /// determined.
    fn executable(&self, names: &Names) -> Option<PathBuf> {
        if self.own {
            return Some(names.executable());
        }
        let base = self.base.display();
        let target = CString::new(format!("{base}/exe")).ok()?;
        let exe = identity(place(libc::AT_FDCWD, &target, 0)?.as_raw_fd())?;
        if !is_monitor(exe.file.0, exe.file.1) {
            return None;
        }
        let maps = std::fs::read_to_string(format!("{base}/maps")).ok()?;
        (LOWEST..LOWEST + PLACES).find_map(|number| {
            let info = std::fs::read_to_string(format!("{base}/fdinfo/{number}")).ok()?;
            let flags = info.lines().find_map(|l| l.strip_prefix("flags:"))?.trim();
            let names_only = i32::from_str_radix(flags, 8).ok()? & libc::O_PATH != 0;
            let link = format!("{base}/fd/{number}");
            let about = identity(place(libc::AT_FDCWD, &CString::new(link.as_str()).ok()?, 0)?.as_raw_fd())?;
            // It is mapped as a program, not as the monitor.
            let mapped = |l: &str| starts_below_end(l) && inode_of(l) == Some(about.file.1);
            (names_only && maps.lines().any(mapped)).then(|| link.into())
        })
    }
}

/// Whether a line of `maps`, or the first line of an entry of `smaps`, is about a program's addresses.
fn starts_below_end(line: &str) -> bool {
    let start = line.split_once('-').and_then(|(start, _)| u64::from_str_radix(start, 16).ok());
    start.is_some_and(|at| at < END)
}

/// The inode number in a line of `maps`.
fn inode_of(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().nth(4)?.parse().ok()
}

/// The part of `maps` or `smaps` that is about a program's addresses.
fn below_end(text: &str) -> String {
    let mut inside = false;
    let is_first = |line: &str| {
        line.split_once(' ').is_some_and(|(range, _)| {
            range
                .split_once('-')
                .is_some_and(|(a, b)| [a, b].iter().all(|n| u64::from_str_radix(n, 16).is_ok()))
        })
    };
    let keep = |line: &&str| {
        if is_first(line) {
            inside = starts_below_end(line);
        }
        inside
    };
    text.split_inclusive('\n').filter(keep).collect()
}

/// The process whose `exe` a path refers to, with links followed as the kernel follows them.
fn exe_of(dir: RawFd, path: &CStr, follow: bool) -> Option<Of> {
    let mut dir = (dir, None::<OwnedFd>);
    let mut path = PathBuf::from(OsStr::from_bytes(path.to_bytes()));
    for _ in 0..MOST_LINKS {
        // A trailing slash, `.` and `..` mean directories.
        let bytes = path.as_os_str().as_bytes();
        let at = bytes.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
        let last = CString::new(&bytes[at..]).ok().filter(|l| !l.is_empty())?;
        let parent = if at == 0 { c".".to_owned() } else { CString::new(&bytes[..at]).ok()? };
        let parent = place(dir.0, &parent, libc::O_DIRECTORY)?;
        if last.as_c_str() == c"exe" && is_proc(parent.as_raw_fd()) {
            return Of::directory(&path_of(parent.as_raw_fd())?);
        }
        if !follow {
            return None;
        }
        let link = place(parent.as_raw_fd(), &last, libc::O_NOFOLLOW)?;
        // Magic links of procfs do not lead where their text says.
        if identity(link.as_raw_fd())?.mode & libc::S_IFMT != libc::S_IFLNK || is_proc(link.as_raw_fd()) {
            return None;
        }
        path = target_of(link.as_raw_fd())?;
        dir = (parent.as_raw_fd(), Some(parent));
    }
    None
}

/// The target of a symbolic link.
fn target_of(link: RawFd) -> Option<PathBuf> {
    let mut text = vec![0u8; 4096];
    // SAFETY: fills an array of ours.
    let size = unsafe { libc::readlinkat(link, c"".as_ptr(), text.as_mut_ptr().cast(), text.len()) };
    text.truncate(usize::try_from(size).ok()?);
    Some(PathBuf::from(std::ffi::OsString::from_vec(text)))
}

/// Whether a path may refer to a process's `exe`, judged by its text alone: a fast check before more work is
/// done.
fn ends_in_exe(path: &CStr) -> bool {
    path.to_bytes().strip_suffix(b"exe").is_some_and(|rest| matches!(rest.last(), None | Some(b'/')))
}

/// The path of the program's executable if a path refers to the `exe` of a process under Trine. `hidden`: the
/// path need not end in `exe`, because a symbolic link may lead there.
pub fn executable(names: &Names, dir: RawFd, path: &CStr, follow: bool, hidden: bool) -> Option<CString> {
    // If it is not followed, the path refers to the link itself.
    if !follow || !hidden && !ends_in_exe(path) {
        return None;
    }
    CString::new(exe_of(dir, path, follow)?.executable(names)?.into_os_string().into_vec()).ok()
}

/// Whether a call of the table follows a link in the last component of its path.
pub fn follows(call: &Call, args: &[u64; 6]) -> bool {
    let flag = |at: usize, bit: i32| args[at] & bit as u64 != 0;
    match call.name {
        "unlinkat" | "mkdirat" | "mknodat" | "symlinkat" | "renameat2" | "lsetxattr" | "lgetxattr"
        | "llistxattr" | "lremovexattr" => false,
        "linkat" | "name_to_handle_at" => flag(4, libc::AT_SYMLINK_FOLLOW),
        "fchownat" => !flag(4, libc::AT_SYMLINK_NOFOLLOW),
        "utimensat" | "faccessat2" | "fchmodat2" => !flag(3, libc::AT_SYMLINK_NOFOLLOW),
        _ => true,
    }
}

/// The target of the link `exe` of a process under Trine, with ` (deleted)` appended if the file has no name
/// any more.
pub fn link(names: &Names, dir: RawFd, path: &CStr) -> Option<Vec<u8>> {
    let of = match path.is_empty() {
        false if !ends_in_exe(path) => return None,
        false => exe_of(dir, path, false)?,
        // The descriptor is that of the link itself.
        true => {
            let about = identity(dir)?;
            let link = about.mode & libc::S_IFMT == libc::S_IFLNK && is_proc(dir);
            let path = link.then(|| path_of(dir)).flatten()?;
            Of::directory(path.parent().filter(|_| path.file_name().is_some_and(|n| n == "exe"))?)?
        }
    };
    if of.own {
        return Some(names.link());
    }
    let link = of.executable(names)?;
    Some(std::fs::read_link(link).ok()?.into_os_string().into_vec())
}

/// The contents of an open file of procfs, if they are about the program or its machine.
fn contents(c: &Context, path: &Path) -> Option<Vec<u8>> {
    if path == Path::new("/proc/cpuinfo") {
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
        return Some((c.guest.machine.cpuinfo)(cpus).into_bytes());
    }
    let of = Of::directory(path.parent()?)?;
    let names = &c.guest.names;
    match (path.file_name()?.to_str()?, of.own) {
        ("maps", true) => Some(c.guest.space.maps().into_bytes()),
        ("auxv", true) => Some(names.auxv.clone()),
        ("cmdline", true) if !names.shown => {
            Some(names.args.iter().flat_map(|a| a.as_bytes_with_nul()).copied().collect())
        }
        // For a process that is not under Trine, nothing is removed.
        (name @ ("maps" | "smaps"), own) if own || of.executable(names).is_some() => {
            Some(below_end(&std::fs::read_to_string(of.base.join(name)).ok()?).into_bytes())
        }
        _ => None,
    }
}

/// As [`opened`], for a file that the host's kernel refused to open: `--deny read` makes `/proc` inaccessible
/// to the monitor, too, but information about the program itself comes from the monitor.
pub fn refused(c: &Context, dir: RawFd, path: &CStr, flags: u64) -> Option<Result<u64, Errno>> {
    const TOLD: [&[u8]; 4] = [b"maps", b"auxv", b"cmdline", b"cpuinfo"];
    let reads = flags & libc::O_ACCMODE as u64 == libc::O_RDONLY as u64;
    if !reads || !TOLD.iter().any(|name| path.to_bytes().ends_with(name)) {
        return None;
    }
    let file = place(dir, path, 0).filter(|f| is_proc(f.as_raw_fd()))?;
    contents(c, &path_of(file.as_raw_fd())?).map(|contents| memory_file(&contents, flags))
}

/// Creates a file in memory with these contents; its position is at the start.
fn memory_file(contents: &[u8], flags: u64) -> Result<u64, Errno> {
    let close = if flags & libc::O_CLOEXEC as u64 != 0 { libc::MFD_CLOEXEC } else { 0 };
    // SAFETY: a literal name; the result is checked.
    let fd = unsafe { libc::memfd_create(c"proc".as_ptr(), close) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: writes a slice of ours.
    let written = unsafe { libc::pwrite(fd.as_raw_fd(), contents.as_ptr().cast(), contents.len(), 0) };
    if written != contents.len() as isize {
        return Err(Errno(libc::EIO));
    }
    Ok(fd.into_raw_fd() as u64)
}

/// The result of opening a file, for the program: the file itself, or a file with the program's contents.
/// `path` is the path in the call.
pub fn opened(c: &Context, fd: u64, dir: RawFd, path: &CStr, flags: u64) -> Result<u64, Errno> {
    let Some(about) = identity(fd as RawFd) else { return Ok(fd) };
    let follow = flags & libc::O_NOFOLLOW as u64 == 0;
    if is_monitor(about.file.0, about.file.1) {
        return match executable(&c.guest.names, dir, path, follow, true) {
            None => Ok(fd),
            Some(path) => {
                close(fd);
                let at = libc::AT_FDCWD as u64;
                c.host(libc::SYS_openat, [at, path.as_ptr() as u64, flags, 0, 0, 0])
            }
        };
    }
    // The relevant files of procfs have size 0 and are on a device with major number 0.
    let regular = about.mode & libc::S_IFMT == libc::S_IFREG && flags & libc::O_PATH as u64 == 0;
    if about.size != 0 || !regular || libc::major(about.file.0) != 0 || !is_proc(fd as RawFd) {
        return Ok(fd);
    }
    let Some(path) = path_of(fd as RawFd) else { return Ok(fd) };
    if flags & libc::O_ACCMODE as u64 != libc::O_RDONLY as u64 {
        return match is_memory_of_guest(c, &path) {
            // It bypasses page protections, and reaches the monitor above the program's addresses.
            true => {
                close(fd);
                Err(Errno(libc::EACCES))
            }
            false => Ok(fd),
        };
    }
    match contents(c, &path) {
        None => Ok(fd),
        Some(contents) => {
            close(fd);
            memory_file(&contents, flags)
        }
    }
}

fn is_memory_of_guest(c: &Context, path: &Path) -> bool {
    let of = path.parent().filter(|_| path.file_name().is_some_and(|n| n == "mem")).and_then(Of::directory);
    of.is_some_and(|of| of.own || of.executable(&c.guest.names).is_some())
}

fn close(fd: u64) {
    // SAFETY: a descriptor that was made just now, of which the program does not know.
    unsafe { libc::close(fd as RawFd) };
}

/// Whether an open directory is that of the process's own descriptors (`fd` or `fdinfo`).
pub fn is_own_descriptors(fd: RawFd) -> bool {
    if !is_proc(fd) {
        return false;
    }
    let Some(path) = path_of(fd) else { return false };
    let named = path.file_name().is_some_and(|n| n == "fd" || n == "fdinfo");
    named && path.parent().and_then(Of::directory).is_some_and(|of| of.own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_processes() {
        let me = std::process::id();
        let of = |path: String| Of::directory(Path::new(&path)).map(|of| (of.base, of.own));
        assert_eq!(of(format!("/proc/{me}")), Some((format!("/proc/{me}").into(), true)));
        assert_eq!(of(format!("/proc/{me}/task/{me}")), Some((format!("/proc/{me}").into(), true)));
        assert_eq!(of("/proc/1".into()), Some(("/proc/1".into(), false)));
        assert_eq!(of(format!("/other/proc/{me}")), Some((format!("/other/proc/{me}").into(), false)));
        assert_eq!(of("/proc/sys".into()), None);
        assert_eq!(of("/".into()), None);
    }

    #[test]
    fn a_path_is_what_it_leads_to() {
        let me = std::process::id();
        let exe =
            |path: &str| exe_of(libc::AT_FDCWD, &CString::new(path).unwrap(), true).is_some_and(|of| of.own);
        for path in [
            "/proc/self/exe",
            "//proc//self/./exe",
            "/proc/../proc/thread-self/exe",
            "/proc/self/root/proc/self/exe",
            &format!("/proc/{me}/task/{me}/exe"),
        ] {
            assert!(exe(path), "{path}");
        }
        for path in ["/proc/1/exe", "/proc/self/exe/", "/proc/exe", "exe", "", "/proc/self/fd/0", "/etc"] {
            assert!(!exe(path), "{path}");
        }
        let dir = place(libc::AT_FDCWD, c"/proc/self", libc::O_DIRECTORY).unwrap();
        assert!(exe_of(dir.as_raw_fd(), c"exe", false).is_some_and(|of| of.own));
        let link = std::env::temp_dir().join(format!("trine-proc-{me}"));
        std::os::unix::fs::symlink("/proc/self/exe", &link).unwrap();
        let text = CString::new(link.as_os_str().as_bytes()).unwrap();
        let [followed, itself] = [true, false].map(|follow| exe_of(libc::AT_FDCWD, &text, follow).is_some());
        std::fs::remove_file(link).unwrap();
        assert!(followed && !itself);
    }

    #[test]
    fn only_a_programs_addresses_are_left() {
        let text = "00010000-00020000 r-xp 0 08:01 7 /x\nSize: 64 kB\n7f0000000000-7f0000001000 r-xp 0 08:01 8 /trine\nSize: 4 kB\n";
        assert_eq!(below_end(text), "00010000-00020000 r-xp 0 08:01 7 /x\nSize: 64 kB\n");
        assert_eq!(inode_of(text), Some(7));
    }

    #[test]
    fn only_paths_that_end_so_may_be_an_executable() {
        for (path, may) in
            [(c"/proc/self/exe", true), (c"exe", true), (c"/a.exe", false), (c"exe/", false), (c"", false)]
        {
            assert_eq!(ends_in_exe(path), may, "{path:?}");
        }
    }
}
