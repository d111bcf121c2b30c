//! The path of a container's group: `linux.cgroupsPath` of the runtime specification.

use crate::{Error, Result};
use std::path::{Component, Path, PathBuf};

/// The path of a group below the roots of all hierarchies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPath {
    /// Has no leading slash and no `..`, and is not empty.
    below: PathBuf,
    /// Whether it starts at the hierarchies' roots; otherwise where this process may create groups.
    absolute: bool,
}

impl GroupPath {
    /// The path of a container's group. `asked` is its `cgroupsPath`: an absolute path starts at the
    /// hierarchies' roots, a relative one where this process may create groups (for root at the roots as
    /// well). Systemd's `slice:prefix:name` becomes the path of the unit, `slice/prefix-name.scope`; systemd
    /// itself is not involved. Without `asked` it is `trine/ID`.
    ///
    /// # Errors
    /// The path contains `..` or has no name.
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
                        "linux.cgroupsPath {}: \"..\" is not allowed",
                        path.display()
                    )));
                }
            }
        }
        if below.as_os_str().is_empty() {
            return Err(Error::Refused(format!(
                "linux.cgroupsPath {}: the root control group cannot be used",
                path.display()
            )));
        }
        Ok(GroupPath { below, absolute: path.is_absolute() })
    }

    /// The path below the root.
    pub(crate) fn below(&self) -> &Path {
        &self.below
    }

    /// Whether it starts at the hierarchies' roots for every user.
    pub(crate) fn is_absolute(&self) -> bool {
        self.absolute
    }
}

/// The path of a systemd unit: each dash in a slice's name is a level (systemd.slice(5)).
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
        assert!(below("/a/../b").contains("\"..\" is not allowed"));
        assert!(below("/").contains("root control group"));
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
        assert!(below("a.slice:../..:../b").contains("\"..\" is not allowed"));
    }
}
