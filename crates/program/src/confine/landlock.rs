//! Landlock: restricts which files may be changed, read and executed, and makes processes outside
//! unreachable. A Landlock domain also keeps its processes from tracing others and from changing mounts.

use super::{Confinement, privilege};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Files that may be written under `--deny write`, because writing has no effect.
const SINKS: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/full"];
/// Files that may be read under `--deny read`, besides the program's: sources of zeros and of randomness, and
/// the files that a native dynamic loader needs.
const SOURCES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/etc/ld.so.cache"];

/// Rights to read and to execute.
fn reading() -> BitFlags<AccessFs> {
    AccessFs::from_read(ABI::V1)
}

/// Rights to change files, including truncation.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::from_write(ABI::V3)
}

/// Restricts this thread and everything it starts. Nothing in `guarded` may be written.
pub(super) fn restrict(confinement: &Confinement, guarded: &[PathBuf]) -> Result<(), String> {
    let done = domain(confinement, guarded).map_err(|e| {
        format!("--limit and --deny need Landlock, in Linux from 6.2 on and enabled (lsm=landlock,…): {e}")
    })?;
    match done {
        RulesetStatus::NotEnforced => {
            Err("--limit and --deny need Landlock, which this host's kernel lacks".into())
        }
        _ => Ok(()),
    }
}

fn domain(confinement: &Confinement, guarded: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let deny = confinement.deny;
    let mut rules =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(writing())?;
    if deny.read {
        rules = rules.handle_access(reading())?;
    }
    // Rights that newer kernels have in addition.
    rules = rules.set_compatibility(CompatLevel::BestEffort);
    if deny.net {
        rules = rules.handle_access(AccessNet::from_all(ABI::V4))?.handle_access(AccessFs::ResolveUnix)?;
    }
    if deny.write {
        rules = rules.handle_access(AccessFs::IoctlDev)?;
    }
    rules = rules.scope(Scope::from_all(ABI::V6))?;
    let mut rules = rules.create()?;
    rules = match deny.write {
        true => rules.add_rules(path_beneath_rules(SINKS, writing()))?,
        false => {
            let guarded: Vec<PathBuf> = guarded.iter().cloned().chain(kernel_mounts()).collect();
            let rules = grant_except(rules, Path::new("/"), &guarded)?;
            rules.add_rules(path_beneath_rules(own_settings(), writing()))?
        }
    };
    if deny.read {
        let own = own_files();
        let paths = confinement.readable.iter().chain(&own).map(PathBuf::as_path);
        rules = rules.add_rules(path_beneath_rules(paths.chain(SOURCES.map(Path::new)), reading()))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Types of file systems whose files control the kernel and processes outside: a write there kills, stops or
/// reprioritizes other processes, moves them between control groups, or names a program that the kernel
/// executes with all privileges (`core_pattern`, `uevent_helper`). The superuser, who owns these files, needs
/// no capability for that.
const KERNEL: [&str; 14] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "configfs",
    "bpf",
    "efivarfs",
    "pstore",
    "binfmt_misc",
];

/// The places where such file systems are mounted.
fn kernel_mounts() -> Vec<PathBuf> {
    let always = ["/proc", "/sys"].map(PathBuf::from);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    always.into_iter().chain(mounts.lines().filter_map(kernel_mount)).collect()
}

/// The mount point in a line of `mountinfo` (proc_pid_mountinfo(5)), if its type is one of [`KERNEL`].
fn kernel_mount(line: &str) -> Option<PathBuf> {
    let (place, kind) = line.split_once(" - ")?;
    KERNEL.contains(&kind.split(' ').next()?).then(|| unescaped(place.split(' ').nth(4).unwrap_or_default()))
}

/// Decodes a path in which blanks and similar characters are written as `\` and three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, behind @ ..] = rest {
        let digits = behind.get(..3).filter(|_| *first == b'\\').and_then(|d| std::str::from_utf8(d).ok());
        let code = digits.and_then(|d| u8::from_str_radix(d, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &behind[3..] } else { behind };
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Files below `/proc` by which a process changes its own settings. Those of its threads are only for an
/// ordinary user: the superuser would also reach network settings there.
fn own_settings() -> Vec<PathBuf> {
    let threads = if privilege::is_root() { None } else { Some("task") };
    let names = ["comm", "coredump_filter", "oom_score_adj", "mem"].into_iter().chain(threads);
    names.map(|name| Path::new("/proc").join(std::process::id().to_string()).join(name)).collect()
}

/// Allows writing below `dir`, but not below any of `except`.
fn grant_except(
    rules: RulesetCreated,
    dir: &Path,
    except: &[PathBuf],
) -> Result<RulesetCreated, RulesetError> {
    if except.iter().any(|e| e == dir) || dir.is_symlink() {
        return Ok(rules);
    }
    if !except.iter().any(|e| e.starts_with(dir)) {
        let Ok(fd) = PathFd::new(dir) else { return Ok(rules) };
        let rights = if dir.is_dir() { writing() } else { writing() & AccessFs::from_file(ABI::V3) };
        return rules.add_rule(PathBeneath::new(fd, rights));
    }
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.into_iter().try_fold(rules, |rules, entry| grant_except(rules, &entry.path(), except))
}

/// The monitor's own executable and libraries, which a child under it needs again.
fn own_files() -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut files: Vec<PathBuf> =
        maps.lines().filter_map(|l| l.find('/').map(|at| PathBuf::from(&l[at..]))).collect();
    files.dedup();
    files.retain(|f| f.is_file());
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_the_kernel() {
        let line = "25 1 0:21 / /a\\040b/proc rw,nosuid shared:5 master:1 - proc proc rw";
        assert_eq!(kernel_mount(line), Some("/a b/proc".into()));
        assert_eq!(kernel_mount("30 1 8:1 / /home rw - ext4 /dev/sda1 rw"), None);
        assert_eq!(kernel_mount("30 1 0:30 / /x\\9 rw - sysfs - rw"), Some("/x\\9".into()));
        assert_eq!(kernel_mount(""), None);
        assert!(kernel_mounts().contains(&"/proc".into()));
    }
}
