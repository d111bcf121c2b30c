//! Landlock: which files may be changed, read and executed, and that processes outside are out of reach. A domain of
//! Landlock also keeps its processes from tracing others and from changing what is mounted.

use super::Confinement;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use std::path::{Path, PathBuf};

/// Files that may be written under `--deny write`: nothing comes of it.
const SINKS: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/full"];
/// Files that may be read under `--deny read`, beside the program's: sources of nothing and of randomness, and what a
/// native loader wants.
const SOURCES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/etc/ld.so.cache"];

/// Rights to read and to execute.
fn reading() -> BitFlags<AccessFs> {
    AccessFs::from_read(ABI::V1)
}

/// Rights to change files, with truncation.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::from_write(ABI::V3)
}

/// Restricts this thread and all that it will start. Nothing in `guarded` may be written.
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
    // What newer kernels have beside.
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
        false => grant_except(rules, Path::new("/"), guarded)?,
    };
    if deny.read {
        let own = own_files();
        let paths = confinement.readable.iter().chain(&own).map(PathBuf::as_path);
        rules = rules.add_rules(path_beneath_rules(paths.chain(SOURCES.map(Path::new)), reading()))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Grants writing below `dir`, but not below any of `except`.
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

/// The monitor's own executable and libraries, which a child that stays under it needs again.
fn own_files() -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut files: Vec<PathBuf> =
        maps.lines().filter_map(|l| l.find('/').map(|at| PathBuf::from(&l[at..]))).collect();
    files.dedup();
    files.retain(|f| f.is_file());
    files
}
