//! The control group hierarchies that are mounted on a host.

use crate::file;
use std::path::{Path, PathBuf};

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The mount point.
    pub at: PathBuf,
    /// The group at the mount point: `/`, except where a container sees only its own group.
    pub root: PathBuf,
    /// Its v1 controllers, or `name=…` for a named hierarchy without controllers; `None` for cgroup v2.
    pub controllers: Option<Vec<String>>,
}

impl Tree {
    /// Whether it has this v1 controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().flatten().any(|own| own == controller)
    }
}

/// The hierarchies of a host, and the groups of this process.
#[derive(Clone, Debug, Default)]
pub struct Host {
    trees: Vec<Tree>,
    /// The contents of `/proc/self/cgroup`; read when first needed.
    own: Option<String>,
}

impl Host {
    /// Reads the hierarchies of this host.
    pub fn read() -> Host {
        let mountinfo = file::read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
        Host { trees: trees(&mountinfo), own: None }
    }

    /// A host described by texts in the format of `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub fn of(mountinfo: &str, own: &str) -> Host {
        Host { trees: trees(mountinfo), own: Some(own.to_owned()) }
    }

    /// All hierarchies, each listed once.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The directory of this process's group for a v1 controller; `None` means cgroup v2.
    pub fn own(&mut self, controller: Option<&str>) -> Option<PathBuf> {
        let read = || file::read(Path::new("/proc/self/cgroup")).unwrap_or_default();
        own_directory(&self.trees, self.own.get_or_insert_with(read), controller)
    }
}

/// Decodes a path of mountinfo, in which blanks and backslashes are octal escapes (proc_pid_mountinfo(5)).
fn unescaped(text: &str) -> PathBuf {
    if !text.contains('\\') {
        return text.into();
    }
    let parts = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    parts.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain)).into()
}

/// Mount options of cgroup v1 that are not controllers (cgroups(7)).
const OPTIONS: [&str; 8] =
    ["rw", "ro", "xattr", "noprefix", "clone_children", "none", "cpuset_v2_mode", "favordynmods"];

/// The hierarchies in a text in the format of `/proc/self/mountinfo`; of several mounts of one hierarchy, the
/// first that shows all of it.
fn trees(mountinfo: &str) -> Vec<Tree> {
    let tree = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, at) = (unescaped(left.next()?), unescaped(left.next()?));
        let mut right = right.split(' ');
        let is_controller = |word: &&str| !OPTIONS.contains(word) && !word.starts_with("release_agent=");
        let controllers = match right.next()? {
            "cgroup2" => None,
            "cgroup" => Some(right.nth(1)?.split(',').filter(is_controller).map(str::to_owned).collect()),
            _ => return None,
        };
        Some(Tree { at, root, controllers })
    };
    let mut trees: Vec<Tree> = Vec::new();
    for tree in mountinfo.lines().filter_map(tree) {
        match trees.iter_mut().find(|known| known.controllers == tree.controllers) {
            None => trees.push(tree),
            Some(known) if known.root != Path::new("/") && tree.root == Path::new("/") => *known = tree,
            Some(_) => {}
        }
    }
    trees
}

/// The directory of the group for a v1 controller (`None`: cgroup v2), from a text in the format of
/// `/proc/self/cgroup`.
fn own_directory(trees: &[Tree], own: &str, controller: Option<&str>) -> Option<PathBuf> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, Path::new(parts.next()?));
        let fits = match controller {
            None => names.is_empty(),
            Some(c) => names.split(',').any(|n| n == c),
        };
        let tree = trees.iter().find(|t| match controller {
            None => t.controllers.is_none(),
            Some(c) => t.has(c),
        });
        let tree = tree.filter(|_| fits)?;
        Some(tree.at.join(path.strip_prefix(&tree.root).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
24 1 0:22 / /proc rw,relatime - proc proc rw
30 25 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,xattr,cpu,cpuacct
33 25 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
32 25 0:28 /box /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
34 25 0:26 /part /a\\040box/memory rw - cgroup cgroup rw,memory
";
    const OWN: &str = "4:memory:/api/one\n3:cpu,cpuacct:/\n0::/box/two:three\n";

    #[test]
    fn where_groups_are() {
        let mut host = Host::of(MOUNTS, OWN);
        assert_eq!(host.trees().len(), 4);
        assert_eq!(host.trees()[2].controllers.as_deref(), Some(&["name=systemd".to_owned()][..]));
        let mut dir = |c| host.own(c).map(|p| p.display().to_string());
        assert_eq!(dir(Some("memory")).as_deref(), Some("/sys/fs/cgroup/memory/api/one"));
        assert_eq!(dir(Some("cpuacct")).as_deref(), Some("/sys/fs/cgroup/cpu,cpuacct/"));
        assert_eq!(dir(None).as_deref(), Some("/sys/fs/cgroup/unified/two:three"));
        assert_eq!(dir(Some("pids")), None);
    }

    #[test]
    fn a_whole_tree_is_better_than_a_part() {
        let lines: Vec<&str> = MOUNTS.lines().collect();
        let turned = Host::of(&format!("{}\n{}\n", lines[5], lines[1]), "");
        assert_eq!(turned.trees()[0].at, Path::new("/sys/fs/cgroup/memory"));
        let part = Host::of(lines[5], "");
        assert_eq!(part.trees()[0].at, Path::new("/a box/memory"));
    }
}
