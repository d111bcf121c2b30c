//! Paths inside a container's root. An image's links are not trusted: every path is resolved with the root as
//! its limit, and the result is an open descriptor, so that later changes of links have no effect.

use crate::error::{Context, Error, Result};
use crate::sys;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// The most symbolic links in a path (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;

/// What to create if a path does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Make {
    /// A directory, and its parents.
    Directory,
    /// An empty file, and its parent directories.
    File,
}

/// The root of a container.
pub struct Root {
    fd: OwnedFd,
}

impl Root {
    /// Uses an open directory as the root.
    pub fn new(fd: OwnedFd) -> Root {
        Root { fd }
    }

    /// Its descriptor.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Opens a path, without access to its contents; `None` where it does not exist.
    ///
    /// # Errors
    /// Links form a cycle, or a component is not a directory.
    pub fn find(&self, path: &Path) -> Result<Option<OwnedFd>> {
        self.open(path, libc::O_PATH)
    }

    /// Opens a path; `None` where it does not exist.
    ///
    /// # Errors
    /// As [`Self::find`]; or it cannot be opened with these flags.
    pub fn open(&self, path: &Path, flags: i32) -> Result<Option<OwnedFd>> {
        let name = sys::text(path).with(|| format!("path {path:?}"))?;
        let name = if name.is_empty() { c".".into() } else { name };
        match sys::open_in_root(self.fd.as_raw_fd(), &name, flags) {
            Ok(fd) => Ok(Some(fd)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with(|| format!("cannot open {} in the container's root", path.display())),
        }
    }

    /// Opens a path, which is created if it does not exist; the targets of dangling links are created.
    ///
    /// # Errors
    /// As [`Self::find`]; or it cannot be created.
    pub fn make(&self, path: &Path, what: Make) -> Result<OwnedFd> {
        if let Some(fd) = self.find(path)? {
            return Ok(fd);
        }
        self.walk(path, what).with(|| format!("cannot make {} in the container's root", path.display()))
    }

    /// A directory in the root itself, which is created if it does not exist; it must not be a link.
    ///
    /// # Errors
    /// Something else exists, or it cannot be created.
    pub fn own_directory(&self, name: &Path) -> Result<OwnedFd> {
        let what = || format!("cannot make {} in the container's root", name.display());
        let text = sys::text(name.strip_prefix("/").unwrap_or(name)).with(what)?;
        let fd = enter(self.fd.as_raw_fd(), &text, Make::Directory).with(what)?;
        match sys::stat(&fd).with(what)?.st_mode & libc::S_IFMT {
            libc::S_IFDIR => Ok(fd),
            _ => Err(Error::refused(format!(
                "{} must be a directory in the container's root, not a link",
                name.display()
            ))),
        }
    }

    /// The parent directory of a path, which is created if it does not exist, and the path's last component.
    ///
    /// # Errors
    /// As [`Self::make`]; or the path has no last component.
    pub fn parent(&self, path: &Path) -> Result<(OwnedFd, CString)> {
        let name = path.file_name().and_then(|n| CString::new(n.as_bytes()).ok());
        let name = name
            .ok_or_else(|| Error::refused(format!("{}: this is not the path of a file", path.display())))?;
        Ok((self.make(path.parent().unwrap_or(Path::new("/")), Make::Directory)?, name))
    }

    fn walk(&self, path: &Path, what: Make) -> io::Result<OwnedFd> {
        let mut todo = steps(path);
        let mut links = 0;
        // The directories on the way: `..` goes back, but never above the root.
        let mut way: Vec<OwnedFd> = Vec::new();
        while let Some(step) = todo.pop() {
            let here = way.last().unwrap_or(&self.fd).as_raw_fd();
            let name = match step {
                Step::Root => {
                    way.clear();
                    continue;
                }
                Step::Up => {
                    way.pop();
                    continue;
                }
                Step::Name(name) => name,
            };
            let last = todo.iter().all(|s| !matches!(s, Step::Name(_)));
            let fd = enter(here, &name, if last { what } else { Make::Directory })?;
            if sys::stat(&fd)?.st_mode & libc::S_IFMT != libc::S_IFLNK {
                way.push(fd);
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            let target = PathBuf::from(std::ffi::OsString::from_vec(sys::read_link(fd.as_raw_fd(), c"")?));
            todo.extend(steps(&target));
        }
        match way.pop() {
            Some(fd) => Ok(fd),
            None => self.fd.try_clone(),
        }
    }
}

/// Opens a name in a directory without following links; creates it if it does not exist.
fn enter(here: RawFd, name: &CString, what: Make) -> io::Result<OwnedFd> {
    const LOOK: i32 = libc::O_PATH | libc::O_NOFOLLOW;
    match sys::open_at(here, name, LOOK, 0) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    match what {
        Make::Directory => sys::make_dir(here, name, 0o755)?,
        Make::File => {
            drop(sys::open_at(here, name, libc::O_CREAT | libc::O_NOFOLLOW | libc::O_WRONLY, 0o644)?)
        }
    }
    sys::open_at(here, name, LOOK, 0)
}

enum Step {
    Root,
    Up,
    Name(CString),
}

/// The components of a path, the first one last.
fn steps(path: &Path) -> Vec<Step> {
    let name = |n: &OsStr| Some(Step::Name(CString::new(n.as_bytes()).ok()?));
    let step = |c: Component| match c {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(n) => name(n),
        Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(step).collect()
}

/// A normalized path inside the root: absolute, without `.` and `..`, which never leads above the root.
pub fn clean(path: &Path) -> PathBuf {
    let mut all = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => all.push(name),
            Component::ParentDir => drop(all.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let dir = std::env::temp_dir().join(format!("trine-paths-{name}-{}", std::process::id()));
            drop(fs::remove_dir_all(&dir));
            fs::create_dir_all(dir.join("root")).unwrap();
            Directory(dir)
        }

        fn root(&self) -> Root {
            Root::new(sys::open(self.0.join("root"), libc::O_PATH | libc::O_DIRECTORY).unwrap())
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn where_is(fd: &OwnedFd) -> PathBuf {
        fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()
    }

    #[test]
    fn links_stay_inside() {
        let dir = Directory::new("inside");
        let root = dir.0.join("root");
        symlink("/etc", root.join("absolute")).unwrap();
        symlink("../../../../..", root.join("up")).unwrap();
        symlink("../../../outside/made", root.join("dangling")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        fs::create_dir(dir.0.join("outside")).unwrap();
        let r = dir.root();
        for (path, made) in [
            ("/absolute/passwd", "etc/passwd"),
            ("/up/tmp/x", "tmp/x"),
            ("/dangling", "outside/made"),
            ("../../a/../b/./c", "b/c"),
        ] {
            let fd = r.make(Path::new(path), Make::File).unwrap();
            assert_eq!(where_is(&fd), root.join(made), "{path}");
            assert!(root.join(made).is_file());
        }
        assert_eq!(fs::read_dir(dir.0.join("outside")).unwrap().count(), 0);
        assert!(r.make(Path::new("/circle/x"), Make::File).is_err());
        assert!(r.find(Path::new("/nothing")).unwrap().is_none());
    }

    #[test]
    fn own_directories_are_no_links() {
        let dir = Directory::new("own");
        let r = dir.root();
        std::os::unix::fs::symlink("/elsewhere", dir.0.join("root/proc")).unwrap();
        assert!(r.own_directory(Path::new("/proc")).unwrap_err().to_string().contains("not a link"));
        r.own_directory(Path::new("/sys")).unwrap();
        assert!(dir.0.join("root/sys").is_dir());
    }

    #[test]
    fn links_of_procfs_are_not_followed() {
        let proc = Root::new(sys::open("/proc", libc::O_PATH | libc::O_DIRECTORY).unwrap());
        for path in ["self/exe", "self/root/etc", "self/cwd"] {
            assert!(proc.find(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn paths_are_cleaned() {
        for (path, want) in [("", "/"), ("a/b", "/a/b"), ("/../x/./y/..", "/x"), ("//a//", "/a")] {
            assert_eq!(clean(Path::new(path)), Path::new(want));
        }
    }
}
