//! Guests, peers and compilers from Debian's packages, unpacked under `target/`, not installed.

use crate::Checked;
use std::path::{Path, PathBuf};
use std::process::Command;
use trine_image::archive::{self, Entry};
use trine_image::debian::{Apt, Lock};
use trine_image::linux::Guest;

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

fn say(text: &str, _done: u64, _of: u64) {
    use std::sync::Mutex;
    static LAST: Mutex<String> = Mutex::new(String::new());
    let mut last = LAST.lock().unwrap_or_else(|e| e.into_inner());
    if *last != text {
        eprintln!("{text}");
        *last = text.into();
    }
}

/// A set of packages, unpacked with all dependencies.
pub fn unpacked(name: &str, suite: &str, packages: &[&str], closure: bool) -> Result<PathBuf, String> {
    let dest = root().join("target/tools").join(name);
    if dest.join("complete").exists() {
        return Ok(dest);
    }
    eprintln!("fetching {name} ({suite})");
    let go = || {
        let apt = Apt::new(&root().join("target/tools"), suite, name)?;
        apt.update(&mut say)?;
        let list = if closure {
            apt.closure(packages)?
        } else {
            packages
                .iter()
                .map(|p| Ok(format!("{p}={}", apt.candidate(p)?.version)))
                .collect::<Result<_, _>>()?
        };
        drop(std::fs::remove_dir_all(&dest));
        apt.unpack_all(&list, &dest)
    };
    go().map_err(|e: trine_image::ImageError| format!("{name}: {e}"))?;
    std::fs::write(dest.join("complete"), "").map_err(|e| e.to_string())?;
    Ok(dest)
}

/// Debian's suites to try, the preferred one first: not every one verifies at all times.
const SUITES: &[&str] = &["trixie", "sid"];

/// Packages with the real programs that tests compare and benchmarks measure.
pub const PROGRAMS: &[&str] = &[
    "bc",
    "coreutils",
    "dash",
    "gcc",
    "gzip",
    "lua5.4",
    "openssl",
    "perl-base",
    "python3",
    "sqlite3",
    "xz-utils",
    "zstd",
];

/// A directory with packages of an architecture and all dependencies.
pub fn debian_root(architecture: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let cache = root().join("target/tools");
    let made = trine_image::debian::root::root(&cache, SUITES, architecture, packages, &mut say);
    made.map(|root| root.dir).map_err(|e| e.to_string())
}

/// QEMU's user-mode emulators.
pub fn qemu_user(cpu: &str) -> Result<PathBuf, String> {
    Ok(unpacked("qemu-user", "trixie", &["qemu-user"], false)?.join("usr/bin").join(format!("qemu-{cpu}")))
}

/// QEMU's machine emulator for RISC-V: the program and the arguments before all others.
pub fn qemu_system() -> Result<(PathBuf, Vec<String>), String> {
    let dir = unpacked("qemu-system", "trixie", &["qemu-system-riscv"], true)?;
    let lib = dir.join("usr/lib/x86_64-linux-gnu");
    let loader = dir.join("usr/lib64/ld-linux-x86-64.so.2");
    let path = format!("{}:{}", lib.display(), lib.join("pulseaudio").display());
    let program = dir.join("usr/bin/qemu-system-riscv64").display().to_string();
    let data = dir.join("usr/share/qemu").display().to_string();
    Ok((loader, vec!["--library-path".into(), path, program, "-L".into(), data]))
}

/// The cross compiler for riscv64 and what its programs link with.
pub fn cross_gcc() -> Result<PathBuf, String> {
    unpacked("cross-gcc", "bookworm", &["gcc-12-riscv64-linux-gnu", "libc6-dev-riscv64-cross"], true)
}

/// A program beside the cross compiler, such as `objcopy`, which finds its libraries where they were unpacked.
pub fn cross_tool(dir: &Path, name: &str) -> Command {
    let usr = dir.join("usr");
    let mut c = Command::new(usr.join("bin").join(format!("riscv64-linux-gnu-{name}")));
    let path = format!("{}:{}", usr.join("bin").display(), std::env::var("PATH").unwrap_or_default());
    c.env("LD_LIBRARY_PATH", usr.join("lib/x86_64-linux-gnu")).env("PATH", path);
    c
}

/// The cross compiler as a command: it finds its own libraries and its sysroot where they were
/// unpacked.
pub fn gcc(dir: &Path) -> Command {
    let usr = dir.join("usr");
    let mut c = cross_tool(dir, "gcc-12");
    let sysroot = usr.join("riscv64-linux-gnu");
    c.arg("-B").arg(usr.join("riscv64-linux-gnu/bin")).arg("-B").arg(sysroot.join("lib"));
    c.arg("-isystem").arg(sysroot.join("include")).arg("-L").arg(sysroot.join("lib"));
    c
}

/// A static BusyBox for the host's own CPU: all programs for tests of containers.
pub fn busybox() -> Result<PathBuf, String> {
    Ok(unpacked("busybox", "bookworm", &["busybox-static"], false)?.join("bin/busybox"))
}

/// The initramfs of that guest with one more file, an executable.
pub fn initrd_with(name: &str, program: &[u8]) -> Result<Vec<u8>, String> {
    let extra = archive::write(&[Entry::file(name, 0o755, program)]).map_err(|e| e.to_string())?;
    let mut all = std::fs::read(guest()?.initrd).map_err(|e| e.to_string())?;
    // The kernel unpacks archives one after the other; each starts at a multiple of 4.
    all.resize(all.len().next_multiple_of(4), 0);
    all.extend(extra);
    Ok(all)
}

/// The guest that `trine run linux` boots.
pub fn guest() -> Result<Guest, String> {
    let path = root().join("guests.lock");
    let lock = Lock::load(&path).map_err(|e| e.to_string())?;
    trine_image::linux::prepare(&root().join("target/tools"), &lock, &mut say).map_err(|e| e.to_string())
}

/// Builds and gives the release binary; with `TRINE` in the environment, that one instead, so that benchmarks can measure an
/// older build.
pub fn trine() -> Result<PathBuf, String> {
    if let Some(other) = std::env::var_os("TRINE") {
        return Ok(other.into());
    }
    cargo(&["build", "--release", "--quiet"])?;
    Ok(root().join("target/release/trine"))
}

/// Whether programs are installed; if one is not, prints that the tests that need it are skipped.
pub fn has(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = || std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let here = |name: &str| dirs().any(|dir| dir.join(name).is_file());
    let missing: Vec<&str> = programs.iter().copied().filter(|p| !here(p)).collect();
    if !missing.is_empty() {
        println!("  skipped: {} not here", missing.join(", "));
    }
    missing.is_empty()
}

/// Cargo in the project's root, as a user's shell starts it. `cargo run` and `cargo test` describe the package that they run
/// in the environment. Build scripts that look at this (that of `ring` does) would run again whenever another package starts a
/// build, and all that depends on them would be compiled again.
pub fn cargo_command() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    let of_package =
        |name: &str| ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|start| name.starts_with(start));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package)) {
        command.env_remove(name);
    }
    command
}

/// Runs cargo in the project's root.
///
/// # Errors
/// Fails if it fails.
pub fn cargo(args: &[&str]) -> Checked {
    let status = cargo_command().args(args).status();
    match status {
        Ok(s) if s.success() => Ok(()),
        Ok(s) => Err(format!("cargo {}: {s}", args.join(" "))),
        Err(e) => Err(format!("cargo {}: {e}", args.join(" "))),
    }
}

/// Builds and runs the executable of a package of this workspace.
///
/// # Errors
/// Fails if it fails.
pub fn run_package(package: &str, args: &[impl AsRef<str>]) -> Checked {
    let first = ["run", "--quiet", "--package", package, "--"];
    cargo(&first.into_iter().chain(args.iter().map(AsRef::as_ref)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_does_not_know_which_package_started_it() {
        let command = cargo_command();
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"] {
            assert!(command.get_envs().any(|(removed, value)| removed == name && value.is_none()), "{name}");
        }
        assert!(command.get_envs().all(|(name, _)| name != "CARGO_HOME" && name != "CARGO_TARGET_DIR"));
    }
}
