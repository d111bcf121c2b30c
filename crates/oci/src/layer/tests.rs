//! Layers with everything that a layer may contain, and with what it may not.

use super::*;
use crate::store::tests::Scratch;
use ::tar::{Builder, EntryType, Header};
use std::io::Cursor;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// An archive under construction.
struct Archive(Builder<Vec<u8>>);

impl Archive {
    fn new() -> Archive {
        Archive(Builder::new(Vec::new()))
    }

    fn add(mut self, kind: EntryType, path: &str, link: &str, data: &[u8]) -> Archive {
        let mut h = Header::new_gnu();
        h.set_entry_type(kind);
        h.set_size(data.len() as u64);
        h.set_mode(if kind == EntryType::Directory { 0o751 } else { 0o4644 });
        h.set_uid(7);
        h.set_gid(8);
        h.set_mtime(1_000_000_000);
        // The library refuses paths that lead out, so the field is written directly.
        h.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        h.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        if matches!(kind, EntryType::Char | EntryType::Block) {
            h.set_device_major(1).unwrap();
            h.set_device_minor(3).unwrap();
        }
        h.set_cksum();
        self.0.append(&h, Cursor::new(data)).unwrap();
        self
    }

    fn file(self, path: &str, data: &str) -> Archive {
        self.add(EntryType::Regular, path, "", data.as_bytes())
    }

    fn dir(self, path: &str) -> Archive {
        self.add(EntryType::Directory, path, "", b"")
    }

    fn link(self, path: &str, to: &str) -> Archive {
        self.add(EntryType::Symlink, path, to, b"")
    }

    fn hard(self, path: &str, to: &str) -> Archive {
        self.add(EntryType::Link, path, to, b"")
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

struct Stack {
    scratch: Scratch,
    layers: Vec<PathBuf>,
}

impl Stack {
    fn new() -> Stack {
        Stack { scratch: Scratch::new(), layers: Vec::new() }
    }

    /// Unpacks one more layer over those that are there.
    fn push(&mut self, archive: Archive) -> Unpacked {
        self.try_push(&archive.done(), Limits::default()).unwrap()
    }

    fn try_push(&mut self, bytes: &[u8], limits: Limits) -> Result<Unpacked> {
        let path = self.scratch.dir.join(format!("layer{}", self.layers.len()));
        std::fs::create_dir(&path).unwrap();
        let below: Vec<PathBuf> = self.layers.iter().rev().cloned().collect();
        let owners = rustix::process::geteuid().is_root();
        let mut reader = tar::Reader::new(bytes);
        let done = unpack::unpack(&mut reader, &path, Below(&below), owners, limits);
        let done = done.map_err(|e| Error::damaged("layer", e.to_string()))?;
        self.layers.push(path);
        Ok(done)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.layers.last().unwrap().join(path)
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).unwrap()
    }

    fn refusal(archive: Archive) -> String {
        let mut stack = Stack::new();
        std::fs::write(stack.scratch.dir.join("outside"), "untouched").unwrap();
        let why = stack.try_push(&archive.done(), Limits::default()).unwrap_err().to_string();
        assert_eq!(std::fs::read_to_string(stack.scratch.dir.join("outside")).unwrap(), "untouched");
        why
    }

    fn is_gone(&self, path: &str) -> bool {
        let meta = std::fs::symlink_metadata(self.at(path));
        meta.is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
    }

    fn hides(&self, path: &str) -> bool {
        let mut value = [0; 8];
        ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
            rustix::fs::getxattr(self.at(path), *name, &mut value).is_ok_and(|n| value[..n] == *b"y")
        })
    }
}

#[test]
fn files_directories_and_links_are_as_the_archive_says() {
    let mut stack = Stack::new();
    let done = stack.push(
        Archive::new()
            .dir("./")
            .dir("etc/")
            .file("etc/passwd", "root")
            .hard("etc/second", "etc/passwd")
            .link("bin", "usr/bin")
            .dir("usr/")
            .dir("usr/bin")
            .file("bin/sh", "#!")
            .add(EntryType::Fifo, "pipe", "", b""),
    );
    assert_eq!((done.entries, done.leans), (9, false));
    let meta = std::fs::metadata(stack.at("etc/passwd")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.nlink()), (0o4644, 1_000_000_000, 2));
    let dir = std::fs::metadata(stack.at("etc")).unwrap();
    assert_eq!((dir.mode() & 0o7777, dir.mtime()), (0o751, 1_000_000_000));
    assert_eq!(std::fs::metadata(stack.at("")).unwrap().mode() & 0o7777, 0o751);
    if rustix::process::geteuid().is_root() {
        assert_eq!((meta.uid(), meta.gid(), dir.uid()), (7, 8, 7));
        assert_eq!(std::fs::symlink_metadata(stack.at("bin")).unwrap().uid(), 7);
    }
    assert_eq!(stack.text("usr/bin/sh"), "#!", "a link of the layer is followed inside the layer");
    assert!(std::fs::metadata(stack.at("pipe")).unwrap().file_type().is_fifo());
}

#[test]
fn nothing_leads_out_of_a_layer() {
    assert!(Stack::refusal(Archive::new().file("../outside", "x")).contains("leads out"));
    assert!(Stack::refusal(Archive::new().file("a/../../outside", "x")).contains("leads out"));
    assert!(Stack::refusal(Archive::new().hard("x", "../outside")).contains("leads out"));
    // Absolute paths and links stay inside the layer.
    let mut stack = Stack::new();
    std::fs::write(stack.scratch.dir.join("outside"), "untouched").unwrap();
    let absolute = stack.scratch.dir.join("outside");
    stack.push(
        Archive::new()
            .link("up", "../..")
            .file("up/outside", "inside")
            .link("abs", "/")
            .file("abs/rooted", "inside")
            .link("itself", absolute.to_str().unwrap())
            .file("itself", "replaced")
            .file("/etc/x", "inside"),
    );
    assert_eq!(std::fs::read_to_string(absolute).unwrap(), "untouched");
    assert_eq!(stack.text("outside"), "inside");
    assert_eq!(stack.text("rooted"), "inside");
    assert_eq!(stack.text("itself"), "replaced");
    assert_eq!(stack.text("etc/x"), "inside");
    // A hard link to a symbolic link is a second link, not a link to its target.
    let mut stack = Stack::new();
    std::fs::write(stack.scratch.dir.join("outside"), "untouched").unwrap();
    let out = stack.scratch.dir.join("outside");
    stack.push(Archive::new().link("l", out.to_str().unwrap()).hard("h", "l").file("h", "mine"));
    assert_eq!(std::fs::read_to_string(out).unwrap(), "untouched");
    assert!(
        Stack::refusal(Archive::new().link("a", "b").link("b", "a").file("a/x", ""))
            .contains("symbolic links")
    );
    assert!(Stack::refusal(Archive::new().file("f", "").file("f/x", "")).contains("is not a directory"));
    assert!(Stack::refusal(Archive::new().dir("d").hard("h", "d")).contains("directory d"));
    assert!(Stack::refusal(Archive::new().hard("h", "nowhere")).contains("does not exist"));
}

#[test]
fn whiteouts_leave_no_names_where_nothing_is_below() {
    let mut stack = Stack::new();
    stack.push(
        Archive::new().file("dir/old", "").file("deep/er/old", "").file("kept/old", "").file("file", ""),
    );
    stack.push(
        Archive::new()
            .dir("dir")
            .file("dir/.wh.old", "")
            .file("dir/.wh..wh..opq", "")
            .file("dir/.wh.late", "")
            .dir("dir/sub")
            .file("dir/sub/.wh.x", "")
            .dir("new")
            .file("new/.wh.x", "")
            .dir("kept")
            .file("kept/.wh.old", "")
            .file("deep/.wh..wh..opq", "")
            .file("deep/er/.wh.old", "")
            .dir("file")
            .file("file/.wh.x", ""),
    );
    let names = |path: &str| {
        let mut all: Vec<_> =
            std::fs::read_dir(stack.at(path)).unwrap().map(|e| e.unwrap().file_name()).collect();
        all.retain(|name| !name.as_encoded_bytes().starts_with(b".wh."));
        all.sort();
        all
    };
    for path in ["dir/sub", "new", "deep/er", "file"] {
        assert!(names(path).is_empty(), "{path}: {:?}", names(path));
    }
    assert_eq!(names("dir"), ["sub"]);
    assert!(stack.hides("dir") && stack.hides("deep") && stack.is_gone("kept/old"));
}

#[test]
fn whiteouts_become_what_overlayfs_understands() {
    let mut stack = Stack::new();
    stack.push(
        Archive::new().file("gone", "").dir("dir").file("dir/old", "").dir("again").file("again/old", ""),
    );
    stack.push(
        Archive::new()
            .file(".wh.gone", "")
            .dir("dir")
            .file("dir/.wh..wh..opq", "")
            .file("dir/new", "")
            .file(".wh.again", "")
            .dir("again")
            .file("again/new", "")
            .file(".wh..wh.plnk", "")
            .file("mine", "stays")
            .file(".wh.mine", ""),
    );
    assert!(stack.is_gone("gone"));
    assert!(stack.hides("dir") && stack.hides("again"));
    assert!(stack.at("dir/new").exists() && !stack.at("dir/.wh..wh..opq").exists());
    assert_eq!(stack.text("mine"), "stays", "whiteouts are about the layers below");
    assert!(!stack.at(".wh..wh.plnk").exists());
    // umoci lists the removed contents of a directory that has become a file.
    stack.push(Archive::new().file("dir", "a file now").file("dir/.wh.new", "").file("dir/.wh..wh..opq", ""));
    assert_eq!(stack.text("dir"), "a file now");
    for wrong in [".wh.", ".wh..", ".wh..."] {
        assert!(
            Stack::refusal(Archive::new().file(wrong, "")).contains("whiteout without a name"),
            "{wrong}"
        );
    }
}

#[test]
fn what_a_layer_takes_for_granted_is_as_below() {
    let mut stack = Stack::new();
    stack.push(
        Archive::new()
            .dir("usr")
            .dir("usr/lib")
            .file("usr/lib/old", "old")
            .link("lib", "usr/lib")
            .dir("var")
            .dir("var/gone"),
    );
    stack.push(Archive::new().file("var/.wh.gone", ""));
    let done = stack.push(Archive::new().file("lib/new", "new").file("var/gone/x", "").file("deep/er/x", ""));
    assert!(done.leans);
    // As when it is unpacked over the others: the link stays a link, the directory keeps its permissions.
    assert_eq!(std::fs::read_link(stack.at("lib")).unwrap(), Path::new("usr/lib"));
    assert_eq!(stack.text("usr/lib/new"), "new");
    assert_eq!(std::fs::metadata(stack.at("usr/lib")).unwrap().mode() & 0o7777, 0o751);
    assert_eq!(std::fs::metadata(stack.at("usr/lib")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(std::fs::metadata(stack.at("var/gone")).unwrap().mode() & 0o7777, 0o755, "a new one");
    // A hard link to a file of a lower layer is a copy of it.
    let done = stack.push(Archive::new().hard("usr/lib/second", "usr/lib/old"));
    assert!(done.leans);
    assert_eq!(stack.text("usr/lib/second"), "old");
    assert_eq!(std::fs::metadata(stack.at("usr/lib/second")).unwrap().mode() & 0o7777, 0o4644);
    assert!(stack.try_push(&Archive::new().hard("x", "var/gone/y").done(), Limits::default()).is_err());
}

#[test]
fn later_entries_replace_earlier_ones() {
    let mut stack = Stack::new();
    stack.push(
        Archive::new()
            .dir("d")
            .dir("d/sub")
            .file("d/sub/f", "1")
            .file("d", "a file now")
            .file("f", "1")
            .file("f", "2")
            .link("l", "f")
            .dir("l")
            .file("l/x", "in a directory")
            .file("same", "s")
            .hard("same", "same"),
    );
    assert_eq!(stack.text("d"), "a file now");
    assert_eq!(
        (stack.text("f"), stack.text("l/x"), stack.text("same")),
        ("2".into(), "in a directory".into(), "s".into())
    );
}

#[test]
fn limits_hold() {
    let few = Limits { entries: 2, bytes: 10, ..Limits::default() };
    let mut stack = Stack::new();
    let many = Archive::new().file("a", "").file("b", "").file("c", "").done();
    assert!(stack.try_push(&many, few).unwrap_err().to_string().contains("more than 2 entries"));
    let mut stack = Stack::new();
    let large = Archive::new().file("a", "123456").file("b", "123456").done();
    assert!(
        stack
            .try_push(&large, few)
            .unwrap_err()
            .to_string()
            .contains("b: the layer's files have more than 10")
    );
    let deep = format!("{}x", "d/".repeat(40));
    let mut archive = Archive::new();
    for i in 0..12 {
        archive = archive
            .link(&format!("l{i}"), &if i == 0 { "d".into() } else { format!("l{}/{}", i - 1, &deep[..78]) });
    }
    assert!(Stack::refusal(archive.file("l11/x", "")).contains("deep"));
}

#[test]
fn attributes_that_steer_overlayfs_are_left_out() {
    let pax = |records: &[(&str, &str)]| {
        let mut text = String::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..).map(|d| rest + d).find(|n| n.to_string().len() + rest == *n).unwrap();
            text.push_str(&format!("{length} {key}={value}\n"));
        }
        text
    };
    let text = pax(&[
        ("SCHILY.xattr.user.mine", "yes"),
        ("SCHILY.xattr.trusted.overlay.redirect", "/etc"),
        ("SCHILY.xattr.user.overlay.redirect", "/etc"),
        ("SCHILY.xattr.security.selinux", "x"),
    ]);
    let mut stack = Stack::new();
    stack.push(Archive::new().add(EntryType::XHeader, "pax", "", text.as_bytes()).dir("d"));
    let get = |name: &str| rustix::fs::getxattr(stack.at("d"), name, &mut [0; 16]).is_ok();
    assert!(get("user.mine"));
    assert!(!get("trusted.overlay.redirect") && !get("user.overlay.redirect") && !get("security.selinux"));
}

#[test]
fn devices_are_for_root_and_never_whiteouts() {
    let mut stack = Stack::new();
    let done = stack.push(Archive::new().add(EntryType::Char, "null", "", b""));
    match done.left_out {
        0 => {
            assert_eq!(std::fs::symlink_metadata(stack.at("null")).unwrap().rdev(), rustix::fs::makedev(1, 3))
        }
        n => assert_eq!((n, stack.at("null").exists()), (1, false)),
    }
}

#[test]
fn chains_are_those_of_the_specification() {
    let ids: Vec<Digest> = [b"a", b"b"].iter().map(|b| digest::of(&b[..])).collect();
    let chain = chain_ids(&ids);
    assert_eq!(chain[0], ids[0]);
    assert_eq!(chain[1], digest::of(format!("{} {}", ids[0], ids[1]).as_bytes()));
}

#[test]
fn names_of_directories_take_bounded_memory() {
    // One entry implies forty directories.
    let deep = |n: u32| {
        let mut path = format!("{n}/{}", "a/".repeat(40));
        path.push('x');
        path
    };
    let mut archive = Archive::new();
    for n in 0..50 {
        archive = archive.file(&deep(n), "");
    }
    let limits = Limits { names: 100_000, ..Limits::default() };
    let why = Stack::new().try_push(&archive.done(), limits).unwrap_err().to_string();
    assert!(why.contains("need too much memory"), "{why}");
    // A removed directory releases its memory.
    let mut archive = Archive::new();
    for _ in 0..50 {
        archive = archive.file(&deep(0), "").file("0", "").dir("0");
    }
    Stack::new().try_push(&archive.done(), limits).unwrap();
}
