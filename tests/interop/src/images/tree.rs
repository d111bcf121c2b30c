//! Trees of files: the contents of the test's images, and comparing them with the results.

use std::collections::BTreeMap;
use std::fs;
use std::io::Result;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use trine_test_support::is_root;

/// The lowest layer: a small system with everything that is hard to keep.
pub fn base(root: &Path, busybox: &Path) -> Result<()> {
    for dir in ["bin", "etc", "tmp", "usr/lib", "var/old/deep", "home/ann", "dev"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::copy(busybox, root.join("bin/busybox"))?;
    for name in ["sh", "ls", "cat", "true", "id"] {
        symlink("busybox", root.join("bin").join(name))?;
    }
    symlink("usr/lib", root.join("lib"))?;
    symlink("/etc/passwd", root.join("absolute"))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n")?;
    fs::hard_link(root.join("etc/passwd"), root.join("etc/second"))?;
    fs::write(root.join("var/old/deep/file"), "old")?;
    fs::write(root.join("usr/lib/lib.so"), "so")?;
    let mode = |path: &str, mode| fs::set_permissions(root.join(path), PermissionsExt::from_mode(mode));
    mode("tmp", 0o1777)?;
    mode("bin/busybox", 0o4755)?;
    mode("home/ann", 0o500)?;
    if is_root() {
        std::os::unix::fs::chown(root.join("home/ann"), Some(1000), Some(1000))?;
    }
    fs::write(root.join("usr/lib/names with blanks and \u{fc}"), "x")
}

/// The middle one: a file that takes a while to arrive, and does not compress.
pub fn large(root: &Path, bytes: usize) -> Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut content = Vec::with_capacity(bytes);
    while content.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    fs::write(root.join("usr/large"), content)
}

/// The topmost one: files are deleted, and one is replaced by another kind.
pub fn deletions(root: &Path) -> Result<()> {
    fs::remove_dir_all(root.join("var/old"))?;
    fs::remove_file(root.join("bin/id"))?;
    fs::write(root.join("var/old"), "a file now")?;
    fs::remove_dir_all(root.join("usr/lib"))?;
    fs::create_dir(root.join("usr/lib"))?;
    fs::write(root.join("usr/lib/new"), "new")
}

/// Every path of a tree with a description.
pub fn list(root: &Path, owners: bool) -> Result<BTreeMap<String, String>> {
    let mut list = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let meta = fs::symlink_metadata(&path)?;
            let what = match () {
                () if meta.is_symlink() => format!("-> {}", fs::read_link(&path)?.display()),
                () if meta.is_dir() => {
                    todo.push(path.clone());
                    String::new()
                }
                () => trine_oci::digest::of(&fs::read(&path)?).to_string(),
            };
            let (mode, time) = (meta.mode(), if meta.is_symlink() { 0 } else { meta.mtime() });
            let owner = if owners { format!("{}:{}", meta.uid(), meta.gid()) } else { String::new() };
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            list.insert(name, format!("{mode:o} {owner} {time} {what}"));
        }
    }
    Ok(list)
}

/// Lists the differences of two trees.
pub fn same(ours: &Path, theirs: &Path, owners: bool) -> std::result::Result<usize, String> {
    let list = |root: &Path| list(root, owners).map_err(|e| format!("{}: {e}", root.display()));
    let (ours, theirs) = (list(ours)?, list(theirs)?);
    let names = ours.keys().chain(theirs.keys());
    let differ = names.filter(|n| ours.get(*n) != theirs.get(*n));
    let lines: Vec<String> =
        differ.map(|n| format!("{n}: ours {:?}, umoci's {:?}", ours.get(n), theirs.get(n))).collect();
    match lines.is_empty() {
        true => Ok(ours.len()),
        false => Err(format!("trees differ:\n{}", lines.join("\n"))),
    }
}
