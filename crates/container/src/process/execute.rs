//! Finding and executing the container's program. A program for another CPU is executed by Trine, as by
//! `trine run`.

use crate::error::{Context, Error, Result};
use crate::rootfs::paths::Root;
use crate::sys;
use oci_spec::runtime::Process;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use trine_base::elf::Cpu;

/// The search path without a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most scripts that interpret each other (`BINPRM_MAX_RECURSION`).
const MOST_SCRIPTS: usize = 5;
/// The first bytes of a file, from which its format is recognized (`BINPRM_BUF_SIZE`).
const HEAD: u64 = 256;

/// A program that was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// Its path inside the container.
    path: PathBuf,
    args: Vec<String>,
    /// Whether it is for a CPU that Trine translates.
    foreign: bool,
}

fn environment<'a>(process: &'a Process, name: &str) -> Option<&'a str> {
    let all = process.env().iter().flatten();
    all.filter_map(|e| e.split_once('=')).filter(|e| e.0 == name).map(|e| e.1).next_back()
}

/// Checks that a file exists and may be executed.
fn executable(root: &Root, path: &Path) -> Result<()> {
    let name = path.display();
    // Podman and Docker look for these words (for their exit codes 126 and 127).
    let Some(fd) = root.find(path)? else {
        return Err(Error::NotFound(format!("exec: \"{name}\": stat {name}: no such file or directory")));
    };
    let mode = sys::stat(&fd).with(|| format!("exec: {name}"))?.st_mode;
    if mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Error::NotExecutable(format!("exec: \"{name}\": is a directory: permission denied")));
    }
    if mode & 0o111 == 0 {
        return Err(Error::NotExecutable(format!("exec: \"{name}\": permission denied")));
    }
    Ok(())
}

impl Program {
    /// Finds a process's program in the container's root, as a shell does.
    ///
    /// # Errors
    /// The program does not exist, or must not be executed.
    pub fn find(root: &Root, process: &Process) -> Result<Program> {
        let args = process.args().clone().unwrap_or_default();
        let Some(name) = args.first().filter(|n| !n.is_empty()) else {
            return Err(Error::NotFound("exec: \"\": executable file not found in $PATH".into()));
        };
        let path = if name.contains('/') {
            let path = process.cwd().join(name);
            match executable(root, &path) {
                // Only the user may see whether it exists: the kernel will report it.
                Err(Error::System { error, .. }) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
                checked => checked?,
            }
            path
        } else {
            let list = environment(process, "PATH").unwrap_or(DEFAULT_PATH);
            let mut places = list.split(':').map(|dir| process.cwd().join(dir).join(name));
            let found = places.find(|path| executable(root, path).is_ok());
            let missing = || Error::NotFound(format!("exec: \"{name}\": executable file not found in $PATH"));
            found.ok_or_else(missing)?
        };
        let program = Program { path, args, foreign: false };
        Ok(program.interpreted(root))
    }

    /// Puts Trine in front of a program for another CPU, which the host's kernel would not recognize.
    fn interpreted(self, root: &Root) -> Program {
        let (mut path, mut args) = (self.path.clone(), self.args.clone());
        for _ in 0..MOST_SCRIPTS {
            let head = head(root, &path);
            if foreign(&head) {
                return Program { path, args, foreign: true };
            }
            let Some((interpreter, argument)) = script(&head) else { break };
            let name = path.to_string_lossy().into_owned();
            let rest = args.drain(1..).collect::<Vec<_>>();
            args = [interpreter.clone()].into_iter().chain(argument).chain([name]).chain(rest).collect();
            path = self.path.join(interpreter);
        }
        self
    }

    /// Executes it in place of this process; returns only if that fails. `trine` is Trine's own executable.
    pub fn execute(&self, process: &Process, trine: &OwnedFd, home: Option<CString>) -> Error {
        let run = || {
            let text = |s: &str| CString::new(s).map_err(|_| std::io::Error::from_raw_os_error(libc::EINVAL));
            // The first of two counts, and an empty one counts as missing.
            let env = process.env().iter().flatten().filter(|line| home.is_none() || *line != "HOME=");
            let mut env = env.map(|s| text(s)).collect::<std::io::Result<Vec<_>>>()?;
            env.extend(home);
            let mut args = self.args.iter().map(|s| text(s)).collect::<std::io::Result<Vec<_>>>()?;
            let path = sys::text(&self.path)?;
            if self.foreign {
                let own = [text("trine")?, text("__program")?, text("--")?, path.clone()];
                args = own.into_iter().chain(args).collect();
            }
            let (env, args) = (pointers(&env), pointers(&args));
            let (fd, path, flags) = match self.foreign {
                true => (trine.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH),
                false => (libc::AT_FDCWD, path.as_ptr(), 0),
            };
            let result = match self.foreign {
                // SAFETY: strings and arrays of ours; on success nothing of this process is left.
                true => unsafe {
                    libc::syscall(libc::SYS_execveat, fd, path, args.as_ptr(), env.as_ptr(), flags)
                },
                // Not `execveat`, which a seccomp filter need not allow.
                // SAFETY: as above.
                false => unsafe { libc::execve(path, args.as_ptr(), env.as_ptr()) }.into(),
            };
            sys::check(result).map(drop)
        };
        let error = run().err().unwrap_or_else(std::io::Error::last_os_error);
        // The kernel's sentence begins with a capital letter, Go's does not: Podman's and Docker's patterns
        // accept both.
        let why = format!("exec {}: {error}", self.path.display());
        // The interpreter may be the missing file.
        match error.raw_os_error() {
            Some(libc::ENOENT) => Error::NotFound(why),
            _ => Error::NotExecutable(why),
        }
    }
}

fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

fn head(root: &Root, path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(Some(fd)) = root.open(path, libc::O_RDONLY | libc::O_NONBLOCK) {
        drop(File::from(fd).take(HEAD).read_to_end(&mut bytes));
    }
    bytes
}

/// Whether the first bytes of a file are those of a program that Trine translates and this host's CPU does
/// not run.
fn foreign(head: &[u8]) -> bool {
    cfg!(not(target_arch = "riscv64")) && Cpu::of(head) == Some(Cpu::RISCV64)
}

/// The interpreter and its argument in a script's first line.
fn script(head: &[u8]) -> Option<(String, Option<String>)> {
    let line = head.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim();
    let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let argument = argument.trim();
    (!interpreter.is_empty()).then(|| (interpreter.into(), (!argument.is_empty()).then(|| argument.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::ProcessBuilder;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use trine_base::elf;

    /// Creates a root with files: path, mode, content.
    fn root(name: &str, files: &[(&str, u32, &[u8])]) -> (PathBuf, Root) {
        let dir = std::env::temp_dir().join(format!("trine-execute-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&dir));
        for (path, mode, content) in files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        let fd = sys::open(&dir, libc::O_PATH).unwrap();
        (dir, Root::new(fd))
    }

    fn process(args: &[&str]) -> Process {
        let args = args.iter().map(|a| a.to_string()).collect::<Vec<_>>();
        let env = vec!["PATH=/none:/bin".to_string()];
        ProcessBuilder::default().args(args).env(env).cwd("/").build().unwrap()
    }

    fn riscv() -> Vec<u8> {
        elf::headers(Cpu::RISCV64, elf::kind::EXECUTABLE, 0, &[])
    }

    #[test]
    fn programs_are_found_as_by_a_shell() {
        let files: [(&str, u32, &[u8]); 3] =
            [("bin/a", 0o755, b"x"), ("bin/b", 0o644, b"x"), ("d/c", 0o755, b"x")];
        let (dir, root) = root("find", &files);
        assert_eq!(Program::find(&root, &process(&["a", "1"])).unwrap().path, Path::new("/bin/a"));
        assert_eq!(Program::find(&root, &process(&["d/c"])).unwrap().path, Path::new("/d/c"));
        for (name, word, code) in [
            ("b", "executable file not found in $PATH", 127),
            ("/bin/b", "permission denied", 126),
            ("/bin", "permission denied", 126),
            ("/x", "no such file or directory", 127),
            ("", "executable file not found in $PATH", 127),
        ] {
            let error = Program::find(&root, &process(&[name])).unwrap_err();
            assert!(error.to_string().contains(word), "{name}: {error}");
            assert_eq!(error.exit_code(), Some(code), "{name}");
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn other_cpus_programs_are_known_also_behind_scripts() {
        let elf = riscv();
        let files: [(&str, u32, &[u8]); 4] = [
            ("bin/sh", 0o755, &elf),
            ("bin/s", 0o755, b"#! /bin/sh -e\nexit\n"),
            ("bin/t", 0o755, b"#!/bin/s\n"),
            ("bin/u", 0o755, b"#!/bin/u\n"),
        ];
        let (dir, root) = root("foreign", &files);
        let found = Program::find(&root, &process(&["s", "x"])).unwrap();
        assert!(found.foreign && found.path == Path::new("/bin/sh"));
        assert_eq!(found.args, ["/bin/sh", "-e", "/bin/s", "x"]);
        let found = Program::find(&root, &process(&["t"])).unwrap();
        assert_eq!(found.args, ["/bin/sh", "-e", "/bin/s", "/bin/t"]);
        assert!(!Program::find(&root, &process(&["u"])).unwrap().foreign);
        fs::remove_dir_all(dir).unwrap();
    }
}
