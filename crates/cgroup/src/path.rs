//! Which group is meant: `linux.cgroupsPath` of the runtime specification.

use crate::{Error, Result};
use std::path::{Component, Path, PathBuf};

/// The path of a group below the roots of all trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPath {
    /// Without a leading slash and `..`; not empty.
    below: PathBuf,
    /// Whether the root is the tree's; else where this process may make groups.
    absolute: bool,
}

impl GroupPath {
    /// The group for a container. `asked` is its `cgroupsPath`: absolute from the trees' roots, relative from where this
    /// process may make groups (root: the trees' roots as well), or systemd's `slice:prefix:name`, which is taken as the
    /// path of the unit it would be, `slice/prefix-name.scope`; systemd itself is not asked. Without one it is
    /// `trine/ID`.
    ///
    /// # Errors
    /// A path with `..` or no name.
    pub fn new(asked: Option<&Path>, id: &str) -> Result<GroupPath> {
        let Some(asked) = asked.filter(|path| !path.as_os_str().is_empty()) else {
            return GroupPath::plain(&Path::new("trine").join(id));
        };
        match asked
            .to_str()
            .filter(|text| !text.starts_with('/'))
            .map(|text| text.split(':').collect::<Vec<_>>())
        {
            Some(parts) if parts.len() == 3 => {
                let path = GroupPath::plain(&unit(parts[0], parts[1], parts[2])?)?;
                Ok(GroupPath { absolute: true, ..path })
            }
            _ => GroupPath::plain(asked),
        }
    }

    fn plain(path: &Path) -> Result<GroupPath> {
        let mut below = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => below.push(name),
                Component::RootDir | Component::CurDir => {}
                _ => {
                    return Err(Error::Refused(format!(
                        "linux.cgroupsPath {}: \"..\" leads outside",
                        path.display()
                    )));
                }
            }
        }
        if below.as_os_str().is_empty() {
            return Err(Error::Refused(format!(
                "linux.cgroupsPath {}: the root is no group",
                path.display()
            )));
        }
        Ok(GroupPath { below, absolute: path.is_absolute() })
    }

    /// Below the root.
    pub(crate) fn below(&self) -> &Path {
        &self.below
    }

    /// Whether from the trees' roots in any case.
    pub(crate) fn is_absolute(&self) -> bool {
        self.absolute
    }
}

/// Where systemd would put a unit: a dash in a slice's name is a step down (systemd.slice(5)).
fn unit(slice: &str, prefix: &str, name: &str) -> Result<PathBuf> {
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let wrong = || Error::Refused(format!("linux.cgroupsPath: {slice} is not the name of a slice"));
    let stem = slice
        .strip_suffix(".slice")
        .filter(|stem| !stem.is_empty() && !stem.contains('/'))
        .ok_or_else(wrong)?;
    let mut path = PathBuf::new();
    if stem != "-" {
        let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
        let mut last = None;
        for end in ends {
            if end == 0 || last == Some(end) || stem[..end].ends_with('-') {
                return Err(wrong());
            }
            path.push(format!("{}.slice", &stem[..end]));
            last = Some(end);
        }
    }
    match (prefix, name) {
        (_, "") => return Err(wrong()),
        (_, name) if name.ends_with(".slice") => path.push(name),
        ("", name) => path.push(format!("{name}.scope")),
        (prefix, name) => path.push(format!("{prefix}-{name}.scope")),
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(asked: &str) -> String {
        GroupPath::new(Some(Path::new(asked)), "one")
            .map_or_else(|e| e.to_string(), |p| p.below.display().to_string())
    }

    #[test]
    fn paths_of_the_specification() {
        assert_eq!(below(""), "trine/one");
        assert_eq!(below("/a//b/./c/"), "a/b/c");
        assert_eq!(below("a/b"), "a/b");
        assert!(below("/a/../b").contains("leads outside"));
        assert!(below("/").contains("no group"));
        let absolute = |asked: &str| GroupPath::new(Some(Path::new(asked)), "one").unwrap().absolute;
        assert!(absolute("/a") && !absolute("a") && absolute("a.slice:b:c"));
    }

    #[test]
    fn names_of_systemd() {
        assert_eq!(below("system.slice:docker:1a"), "system.slice/docker-1a.scope");
        assert_eq!(below("a-b-c.slice:x:y"), "a.slice/a-b.slice/a-b-c.slice/x-y.scope");
        assert_eq!(below("-.slice::y"), "y.scope");
        assert_eq!(below(":p:y"), "system.slice/p-y.scope");
        assert_eq!(below("machine.slice:p:y.slice"), "machine.slice/y.slice");
        for wrong in ["a:b:c", "a--b.slice:x:y", "-a.slice:x:y", "a.slice:x:", ".slice:x:y", "a-.slice:x:y"] {
            assert!(below(wrong).contains("not the name of a slice"), "{wrong}: {}", below(wrong));
        }
        assert!(below("a.slice:../..:../b").contains("leads outside"));
    }
}
