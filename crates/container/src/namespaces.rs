//! The namespaces that a configuration creates and joins (namespaces(7)).

use crate::error::{Context, Error, Result};
use crate::sys;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};
use std::os::fd::{AsRawFd, OwnedFd};

/// The namespaces of a container.
#[derive(Default)]
pub struct Namespaces {
    /// The namespaces to create (`CLONE_NEW*`).
    pub new: i32,
    /// The namespaces to join, a user namespace first.
    pub joins: Vec<(OwnedFd, i32)>,
}

/// The flag of a namespace type for `clone3(2)` and `setns(2)`.
pub fn flag(kind: LinuxNamespaceType) -> i32 {
    match kind {
        LinuxNamespaceType::Mount => libc::CLONE_NEWNS,
        LinuxNamespaceType::Cgroup => libc::CLONE_NEWCGROUP,
        LinuxNamespaceType::Uts => libc::CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => libc::CLONE_NEWIPC,
        LinuxNamespaceType::User => libc::CLONE_NEWUSER,
        LinuxNamespaceType::Pid => libc::CLONE_NEWPID,
        LinuxNamespaceType::Network => libc::CLONE_NEWNET,
        LinuxNamespaceType::Time => libc::CLONE_NEWTIME,
    }
}

/// All namespaces that are not the host's, created or joined.
///
/// # Errors
/// A type occurs twice.
pub fn all(list: &[LinuxNamespace]) -> Result<i32> {
    list.iter().try_fold(0, |all, n| {
        let flag = flag(n.typ());
        if all & flag != 0 {
            return Err(Error::refused(format!("linux.namespaces has two of type {}", n.typ())));
        }
        Ok(all | flag)
    })
}

/// The path of a namespace to join.
pub fn path(list: &[LinuxNamespace], kind: LinuxNamespaceType) -> Option<&std::path::Path> {
    let path = list.iter().find(|n| n.typ() == kind)?.path().as_deref()?;
    (!path.as_os_str().is_empty()).then_some(path)
}

impl Namespaces {
    /// Opens the namespaces to join.
    ///
    /// # Errors
    /// A path is not a namespace, or one of another type.
    pub fn open(list: &[LinuxNamespace]) -> Result<Namespaces> {
        let mut found = Namespaces { new: all(list)?, joins: Vec::new() };
        for namespace in list {
            let Some(path) = path(list, namespace.typ()) else { continue };
            let flag = flag(namespace.typ());
            let what = || format!("cannot join the namespace {}", path.display());
            let fd = sys::open(path, libc::O_RDONLY).with(what)?;
            /// `NS_GET_NSTYPE` (linux/nsfs.h).
            const TYPE: libc::c_ulong = 0xb703;
            // SAFETY: only gives a number.
            let kind = unsafe { libc::ioctl(fd.as_raw_fd(), TYPE as _) };
            if kind != flag {
                return Err(Error::refused(format!("{}: it is not of type {}", what(), namespace.typ())));
            }
            found.new &= !flag;
            found.joins.push((fd, flag));
        }
        // Joining other namespaces needs the privileges of the user namespace, and a mount namespace may take
        // them away.
        found.joins.sort_by_key(|j| match j.1 {
            libc::CLONE_NEWUSER => 0,
            libc::CLONE_NEWNS => 2,
            _ => 1,
        });
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxNamespaceBuilder;

    fn row(kind: LinuxNamespaceType, path: &str) -> LinuxNamespace {
        LinuxNamespaceBuilder::default().typ(kind).path(path).build().unwrap()
    }

    #[test]
    fn those_with_a_path_are_joined() {
        let list = [
            row(LinuxNamespaceType::Mount, ""),
            row(LinuxNamespaceType::Uts, "/proc/self/ns/uts"),
            row(LinuxNamespaceType::User, "/proc/self/ns/user"),
        ];
        let found = Namespaces::open(&list).unwrap();
        assert_eq!(found.new, libc::CLONE_NEWNS);
        assert_eq!(
            found.joins.iter().map(|j| j.1).collect::<Vec<_>>(),
            [libc::CLONE_NEWUSER, libc::CLONE_NEWUTS]
        );
    }

    #[test]
    fn what_is_no_such_namespace_is_refused() {
        for path in ["/dev/null", "/nothing", "/proc/self/ns/net"] {
            assert!(Namespaces::open(&[row(LinuxNamespaceType::Uts, path)]).is_err(), "{path}");
        }
        let twice = [row(LinuxNamespaceType::Pid, ""), row(LinuxNamespaceType::Pid, "")];
        assert!(all(&twice).is_err());
    }
}
