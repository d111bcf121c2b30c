//! A file system's tree in memory: what packages contain, with owners and modes as numbers, so that nobody needs to be
//! root to put it on a disk.

use std::collections::BTreeMap;
use std::io::{Error, Read, Result};
use tar::EntryType;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file with these contents.
    File(Vec<u8>),
    /// A symbolic link to this target.
    Symlink(String),
    /// Another name of the file with this path.
    Hard(String),
}

/// One name of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permissions, with the bits for set-user-ID, set-group-ID and sticky.
    pub mode: u16,
    /// Numbers of its owner and its group.
    pub owner: (u32, u32),
    /// Seconds since 1970 of its last change.
    pub changed: i64,
}

/// The most bytes of all files: what a disk of a few gigabytes holds, and a host's memory, too.
const MOST: u64 = 3 << 30;

/// The tree. Paths have no leading slash; the root itself has no node.
#[derive(Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
    bytes: u64,
}

impl Tree {
    /// All nodes; a directory comes before what is in it.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The node of a path, whose leading directories may be links.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&self.real(path)?)
    }

    /// A path without links in its leading directories, as packages go through `/bin` to `/usr/bin`. `None` for one
    /// that leaves the tree, or goes round in circles.
    fn real(&self, path: &str) -> Option<String> {
        let mut links = 0;
        let mut left: Vec<String> = Vec::new();
        let push = |left: &mut Vec<String>, path: &str| left.extend(path.rsplit('/').map(String::from));
        push(&mut left, path);
        let mut real: Vec<String> = Vec::new();
        while let Some(name) = left.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    real.pop()?;
                    continue;
                }
                _ => real.push(name),
            }
            if left.iter().all(|name| name.is_empty() || name == ".") {
                break;
            }
            if let Some(Node { kind: Kind::Symlink(target), .. }) = self.nodes.get(&real.join("/")) {
                links += 1;
                if links > 40 {
                    return None;
                }
                real.pop();
                if target.starts_with('/') {
                    real.clear();
                }
                push(&mut left, target);
            }
        }
        Some(real.join("/"))
    }

    /// Adds a node, in place of one with the same path: but a directory leaves a link to another one as it is.
    ///
    /// # Errors
    /// The path leaves the tree, or the tree becomes too large.
    pub fn put(&mut self, path: &str, node: Node) -> Result<()> {
        let real = self.real(path).ok_or_else(|| Error::other(format!("'{path}' leads out of the disk")))?;
        if real.is_empty() {
            return Ok(());
        }
        let before = self.nodes.get(&real).map(|n| &n.kind);
        if node.kind == Kind::Directory && matches!(before, Some(Kind::Symlink(_))) {
            return Ok(());
        }
        if let Kind::File(data) = &node.kind {
            self.bytes += data.len() as u64;
            if self.bytes > MOST {
                return Err(Error::other(format!("the files have more than {} MiB", MOST >> 20)));
            }
        }
        self.add_directories(&real, node.changed);
        self.nodes.insert(real, node);
        Ok(())
    }

    /// Adds the directories that lead to a path, where they are missing.
    fn add_directories(&mut self, path: &str, changed: i64) {
        for (at, _) in path.match_indices('/') {
            let directory = || Node { kind: Kind::Directory, mode: 0o755, owner: (0, 0), changed };
            self.nodes.entry(path[..at].to_string()).or_insert_with(directory);
        }
    }

    /// Adds a file of root's.
    ///
    /// # Errors
    /// Those of [`Tree::put`].
    pub fn file(&mut self, path: &str, mode: u16, data: Vec<u8>, changed: i64) -> Result<()> {
        self.put(path, Node { kind: Kind::File(data), mode, owner: (0, 0), changed })
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// Those of [`Tree::put`].
    pub fn symlink(&mut self, path: &str, target: &str, changed: i64) -> Result<()> {
        self.put(path, Node { kind: Kind::Symlink(target.into()), mode: 0o777, owner: (0, 0), changed })
    }

    /// Adds an entry of an archive; returns its path in the archive, without a leading `./`.
    ///
    /// # Errors
    /// The entry is damaged, or of a kind that no package contains; those of [`Tree::put`].
    pub fn entry<R: Read>(&mut self, entry: &mut tar::Entry<R>) -> Result<String> {
        let text = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).map_err(|_| Error::other("a name is not UTF-8"))?;
            Ok::<_, Error>(text.trim_start_matches("./").trim_end_matches('/').to_string())
        };
        let path = text(&entry.path_bytes())?;
        let path = if path == "." { String::new() } else { path };
        let header = entry.header();
        let number = |n: Result<u64>| n.and_then(|n| u32::try_from(n).map_err(Error::other));
        let owner = (number(header.uid())?, number(header.gid())?);
        let (mode, changed) = ((header.mode()? & 0o7777) as u16, header.mtime()? as i64);
        let link = |entry: &tar::Entry<R>| {
            let target =
                entry.link_name_bytes().ok_or_else(|| Error::other(format!("'{path}' has no target")))?;
            Ok::<_, Error>(std::str::from_utf8(&target).map_err(Error::other)?.to_string())
        };
        let kind = match header.entry_type() {
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(link(entry)?),
            EntryType::Link => Kind::Hard(link(entry)?.trim_start_matches("./").to_string()),
            kind if kind.is_file() => {
                let mut data = Vec::new();
                entry.take(MOST).read_to_end(&mut data)?;
                Kind::File(data)
            }
            kind => return Err(Error::other(format!("'{path}' is a {kind:?}"))),
        };
        self.put(&path, Node { kind, mode, owner, changed })?;
        Ok(path)
    }

    /// The path of the file that a hard link names.
    pub fn target(&self, link: &str) -> Option<String> {
        let real = self.real(link)?;
        matches!(self.nodes.get(&real)?.kind, Kind::File(_)).then_some(real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.symlink("bin", "usr/bin", 1).unwrap();
        tree.symlink("lib", "/usr/lib", 1).unwrap();
        tree.symlink("a", "b", 1).unwrap();
        tree.symlink("b", "a", 1).unwrap();
        tree.symlink("out", "../..", 1).unwrap();
        tree
    }

    #[test]
    fn paths_go_through_links_of_the_tree() {
        let mut tree = tree();
        tree.file("bin/sh", 0o755, b"x".to_vec(), 2).unwrap();
        tree.file("./lib//x/./y", 0o644, b"y".to_vec(), 2).unwrap();
        let paths: Vec<_> = tree.nodes().map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            [
                "a",
                "b",
                "bin",
                "lib",
                "out",
                "usr",
                "usr/bin",
                "usr/bin/sh",
                "usr/lib",
                "usr/lib/x",
                "usr/lib/x/y"
            ]
        );
        assert_eq!(tree.get("/bin/sh").unwrap().mode, 0o755);
        assert_eq!(tree.target("lib/x/y").as_deref(), Some("usr/lib/x/y"));
        for bad in ["a/x", "out/x", "../x", "usr/../../x"] {
            assert!(tree.file(bad, 0o644, Vec::new(), 2).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_directory_leaves_a_link_as_it_is() {
        let mut tree = tree();
        tree.put("bin", Node { kind: Kind::Directory, mode: 0o755, owner: (0, 0), changed: 1 }).unwrap();
        assert_eq!(tree.get("bin").unwrap().kind, Kind::Symlink("usr/bin".into()));
        tree.symlink("a", "c", 1).unwrap();
        assert_eq!(tree.get("a").unwrap().kind, Kind::Symlink("c".into()), "other links are replaced");
    }

    #[test]
    fn entries_keep_owners_and_modes() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |path: &str, kind: EntryType, link: Option<&str>, data: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o2755);
            header.set_uid(0);
            header.set_gid(42);
            header.set_mtime(7);
            header.set_size(data.len() as u64);
            match link {
                Some(target) => archive.append_link(&mut header, path, target).unwrap(),
                None => archive.append_data(&mut header, path, data).unwrap(),
            }
        };
        add("./usr/", EntryType::Directory, None, b"");
        add("./usr/chage", EntryType::Regular, None, b"elf");
        add("./usr/other", EntryType::Link, Some("./usr/chage"), b"");
        add("./fifo", EntryType::Fifo, None, b"");
        let bytes = archive.into_inner().unwrap();
        let mut tree = Tree::default();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut results = archive.entries().unwrap().map(|e| tree.entry(&mut e.unwrap()));
        assert_eq!(results.next().unwrap().unwrap(), "usr");
        assert_eq!(results.next().unwrap().unwrap(), "usr/chage");
        assert_eq!(results.next().unwrap().unwrap(), "usr/other");
        assert!(results.next().unwrap().is_err(), "no package contains a fifo");
        drop(results);
        let node = tree.get("usr/chage").unwrap();
        assert_eq!((node.mode, node.owner, node.changed), (0o2755, (0, 42), 7));
        assert_eq!(tree.get("usr/other").unwrap().kind, Kind::Hard("usr/chage".into()));
    }
}
