//! Names: each request that finds or changes them.

use super::client::{Client, Scratch, longs, text, words};
use crate::Access;
use crate::wire::{op, open};
use rustix::io::Errno;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

#[test]
fn directories_are_made_read_and_removed() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    let (node, made) = client.mkdir(1, "d", 0o750).unwrap();
    assert_eq!(made.mode, 0o040750, "the host's umask does not count");
    assert_eq!(client.mkdir(1, "d", 0o750).unwrap_err(), Errno::EXIST);
    let names: Vec<String> = (0..300).map(|i| format!("file {i} {}", "x".repeat(i % 100))).collect();
    names.iter().for_each(|name| fs::write(dir.shared().join("d").join(name), "").unwrap());
    let mut wanted: Vec<String> = names.iter().cloned().chain([".".into(), "..".into()]).collect();
    wanted.sort();
    for size in [400, 4096, 1 << 20] {
        let plain = client.list(node, false, size).unwrap();
        assert!(plain.iter().map(|entry| &entry.0).eq(&wanted), "{size}");
        let plus = client.list(node, true, size).unwrap();
        assert!(plus.iter().map(|entry| &entry.0).eq(&wanted), "{size}");
        for (name, child) in plus {
            match name.starts_with('.') {
                true => assert_eq!(child, 0),
                false => assert_eq!(client.look_up(node, &name).unwrap().0, child),
            }
        }
    }
    assert_eq!(client.list(node, false, 24).unwrap_err(), Errno::INVAL, "no room for one entry");
    assert_eq!(client.ask(op::RMDIR, 1, &text("d")), Err(Errno::NOTEMPTY));
    fs::remove_dir_all(dir.shared().join("d")).unwrap();
    fs::create_dir(dir.shared().join("d")).unwrap();
    assert_eq!(client.ask(op::UNLINK, 1, &text("d")), Err(Errno::ISDIR));
    client.ask(op::RMDIR, 1, &text("d")).unwrap();
    assert!(!dir.shared().join("d").exists());
}

#[test]
fn files_are_made_linked_and_removed() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    let made = |mode: u32, name: &str| {
        let body = [words(&[mode, 0x501, 0, 0]), text(name)].concat();
        client.ask(op::MKNOD, 1, &body).map(|reply| Client::entry(&reply))
    };
    let (file, _) = made(0o100640, "f").unwrap();
    assert!(
        made(0o010600, "p").is_ok() && fs::metadata(dir.shared().join("p")).unwrap().file_type().is_fifo()
    );
    for kind in [0o020000, 0o060000, 0o140000, 0o120000, 0o040000] {
        assert_eq!(made(kind | 0o666, "x").unwrap_err(), Errno::PERM, "no device, no socket");
    }
    let link = |of: u64, name: &str| client.ask(op::LINK, 1, &[longs(&[of]), text(name)].concat());
    let (same, found) = Client::entry(&link(file, "g").unwrap());
    assert_eq!((same, found.links), (file, 2));
    client.ask(op::UNLINK, 1, &text("f")).unwrap();
    assert_eq!(client.attributes(file).unwrap().links, 1);
    // A link to a symbolic link is one to the link, wherever that leads.
    let (symbolic, _) = client.symlink(1, "s", "/etc/passwd").unwrap();
    assert_eq!(Client::entry(&link(symbolic, "t").unwrap()).0, symbolic);
    let [s, t] = ["s", "t"].map(|name| fs::symlink_metadata(dir.shared().join(name)).unwrap().ino());
    assert_eq!(s, t);
    assert_eq!(client.ask(op::READLINK, symbolic, &[]), Ok(b"/etc/passwd".to_vec()));
    assert_eq!(client.ask(op::READLINK, file, &[]), Err(Errno::INVAL));
    assert_eq!(link(1, "root"), Err(Errno::PERM));
    assert_eq!(client.symlink(1, "e", "").unwrap_err(), Errno::NOENT);
    assert_eq!(client.symlink(1, "e", &"x".repeat(4096)).unwrap_err(), Errno::NAMETOOLONG);
}

#[test]
fn renames_keep_files_what_they_are() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    let (from, _) = client.mkdir(1, "from", 0o755).unwrap();
    let (to, _) = client.mkdir(1, "to", 0o755).unwrap();
    let (node, _, handle) = client.create(from, "a", open::READ_WRITE, 0o644).unwrap();
    client.write(handle, 0, b"first").unwrap();
    client.rename((from, "a"), (to, "b"), 0).unwrap();
    assert_eq!(client.look_up(to, "b").unwrap().0, node);
    assert_eq!(client.look_up(from, "a").unwrap_err(), Errno::NOENT);
    client.write(handle, 5, b" and second").unwrap();
    assert_eq!(fs::read(dir.shared().join("to/b")).unwrap(), b"first and second", "it is still open");
    let (other, ..) = client.create(from, "c", open::READ_WRITE, 0o644).unwrap();
    assert_eq!(client.rename((from, "c"), (to, "b"), 1).unwrap_err(), Errno::EXIST, "NOREPLACE");
    if client.rename((from, "c"), (to, "b"), 2) != Err(Errno::INVAL) {
        assert_eq!(client.look_up(from, "c").unwrap().0, node, "EXCHANGE");
        assert_eq!(client.look_up(to, "b").unwrap().0, other);
    }
    assert_eq!(client.rename((from, "c"), (to, "b"), 4).unwrap_err(), Errno::INVAL, "WHITEOUT");
    let body = [longs(&[1]), text("c"), text("plain")].concat();
    client.ask(op::RENAME, from, &body).unwrap();
    assert!(dir.shared().join("plain").exists());
    // A directory that moves takes along what is known in it.
    let (deep, ..) = client.create(to, "deep", open::READ_WRITE, 0o644).unwrap();
    client.rename((1, "to"), (from, "moved"), 0).unwrap();
    assert_eq!(client.attributes(deep).unwrap().links, 1);
    assert_eq!(client.walk("from/moved/deep").unwrap(), deep);
    assert_eq!(client.rename((1, "from"), (to, "x"), 0).unwrap_err(), Errno::INVAL, "into itself");
}

#[test]
fn a_folder_that_is_read_only_really_is() {
    let dir = Scratch::new();
    fs::create_dir(dir.shared().join("d")).unwrap();
    fs::write(dir.shared().join("a"), "text").unwrap();
    symlink("a", dir.shared().join("l")).unwrap();
    let client = Client::of(&dir, Access::ReadOnly);
    let [a, d] = ["a", "d"].map(|name| client.walk(name).unwrap());
    let handle = client.open(a, open::READ_ONLY).unwrap();
    assert_eq!(client.read(handle, 1, 9), Ok(b"ext".to_vec()));
    assert_eq!(client.list(1, true, 4096).unwrap().len(), 5);
    for flags in [open::WRITE_ONLY, open::READ_WRITE, open::READ_ONLY | open::TRUNCATE] {
        assert_eq!(client.open(a, flags), Err(Errno::ROFS));
    }
    assert_eq!(client.create(1, "n", open::READ_WRITE, 0o644).unwrap_err(), Errno::ROFS);
    assert_eq!(client.create(1, "a", open::READ_ONLY, 0o644).unwrap_err(), Errno::ROFS);
    assert_eq!(client.mkdir(1, "n", 0o755).unwrap_err(), Errno::ROFS);
    assert_eq!(client.symlink(1, "n", "a").unwrap_err(), Errno::ROFS);
    assert_eq!(client.rename((1, "a"), (d, "a"), 0).unwrap_err(), Errno::ROFS);
    assert_eq!(client.set(a, 1, 0, 0o777, (0, 0)).unwrap_err(), Errno::ROFS);
    assert_eq!(client.write(handle, 0, b"x"), Err(Errno::ROFS));
    let node = [words(&[0o100644, 0, 0, 0]), text("n")].concat();
    let xattr = [&words(&[1, 0])[..], &text("user.a"), b"x"].concat();
    for (opcode, body) in [
        (op::MKNOD, node),
        (op::LINK, [longs(&[a]), text("n")].concat()),
        (op::UNLINK, text("a")),
        (op::RMDIR, text("d")),
        (op::SETXATTR, xattr),
        (op::REMOVEXATTR, text("user.a")),
        (op::ACCESS, words(&[2, 0])),
        (op::FALLOCATE, [longs(&[handle, 0, 100]), words(&[0, 0])].concat()),
        (op::COPY_FILE_RANGE, longs(&[handle, 0, a, handle, 0, 9, 0])),
    ] {
        assert_eq!(client.ask(opcode, 1, &body), Err(Errno::ROFS), "{opcode}");
    }
    assert_eq!(fs::read(dir.shared().join("a")).unwrap(), b"text");
}
