//! Landlock: which files may be opened from now on, which TCP ports used, which abstract sockets and processes reached
//! (Linux, Documentation/userspace-api/landlock.rst). Each kernel enforces what it knows.

use crate::{Confinement, Listens};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use std::os::fd::OwnedFd;
use std::path::Path;

/// What may be done with a file that is only read. Nothing is ever executed.
fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// What may be done below a directory that may be changed: all but making device nodes, and executing.
fn changing() -> BitFlags<AccessFs> {
    reading()
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::RemoveDir
        | AccessFs::RemoveFile
        | AccessFs::MakeDir
        | AccessFs::MakeReg
        | AccessFs::MakeSock
        | AccessFs::MakeFifo
        | AccessFs::MakeSym
        | AccessFs::Refer
}

/// The rules for a machine; `None` where the kernel has no Landlock.
pub(crate) fn rules(machine: &Confinement) -> Result<Option<OwnedFd>, RulesetError> {
    let mut handled = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessFs::ResolveUnix)?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(ABI::V6))?;
    if !machine.network {
        handled = handled.handle_access(AccessNet::ConnectTcp)?;
    }
    let mut rules = handled.create()?;
    for path in &machine.readable {
        rules = allow(rules, path, reading())?;
    }
    for path in &machine.writable {
        rules = allow(rules, path, changing())?;
    }
    for share in &machine.shares {
        let rights = if share.writable { changing() } else { reading() };
        rules = rules.add_rule(PathBeneath::new(&share.folder, rights))?;
    }
    if let Some(directory) = &machine.sockets {
        rules = allow(rules, directory, AccessFs::ResolveUnix.into())?;
    }
    rules = match &machine.gdb {
        Some(Listens::Tcp(address)) => rules.add_rule(NetPort::new(address.port(), AccessNet::BindTcp))?,
        Some(Listens::Unix(path)) => {
            allow(rules, parent(path), AccessFs::MakeSock | AccessFs::RemoveFile | AccessFs::ResolveUnix)?
        }
        None => rules,
    };
    Ok(rules.into())
}

/// Allows access to a path and what is below it. What does not exist is left out: nobody can use it.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(fd) = PathFd::new(path) else { return Ok(rules) };
    let rights = if path.is_dir() { rights } else { rights & of_files() };
    rules.add_rule(PathBeneath::new(fd, rights))
}

/// The rights that a rule of a file can have; the others are of directories.
fn of_files() -> BitFlags<AccessFs> {
    AccessFs::from_file(ABI::V5) | AccessFs::ResolveUnix
}

/// The directory of a file to be made.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_executed_and_no_device_is_made() {
        let never = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
        assert!((changing() & never).is_empty());
        assert!(changing().contains(reading()));
        assert!((reading() & AccessFs::from_write(ABI::V5)).is_empty());
    }

    #[test]
    fn a_file_to_be_made_has_a_directory() {
        for (path, directory) in [("a", "."), ("./a", "."), ("/a", "/"), ("b/a", "b")] {
            assert_eq!(parent(Path::new(path)), Path::new(directory), "{path}");
        }
    }
}
