//! Attributes, owners, extended attributes.

use super::client::{Client, Scratch, longs, text, words};
use crate::wire::{op, open};
use crate::{Access, Folder};
use rustix::io::Errno;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const MODE: u32 = 1;
const UID: u32 = 2;
const GID: u32 = 4;
const SIZE: u32 = 8;
const TIMES: u32 = 16 | 32;
const KEEP: (u32, u32) = (u32::MAX, u32::MAX);

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn attributes_are_the_hosts() {
    let dir = Scratch::new();
    fs::write(dir.shared().join("a"), "12345").unwrap();
    fs::set_permissions(dir.shared().join("a"), fs::Permissions::from_mode(0o640)).unwrap();
    let client = Client::of(&dir, Access::Write);
    let (node, found) = client.look_up(1, "a").unwrap();
    let host = fs::metadata(dir.shared().join("a")).unwrap();
    let seen = client.attributes(node).unwrap();
    assert_eq!((seen.inode, seen.size, seen.mode, seen.links), (host.ino(), 5, 0o100640, 1));
    assert_eq!(seen.mtime, (host.mtime() as u64, host.mtime_nsec() as u32));
    assert_eq!((found.inode, found.mtime), (seen.inode, seen.mtime));
    assert_eq!(client.attributes(1).unwrap().inode, fs::metadata(dir.shared()).unwrap().ino());
    assert_eq!(client.attributes(99).unwrap_err(), Errno::STALE);
    assert_eq!(client.look_up(1, "none").unwrap_err(), Errno::NOENT);
    assert_eq!(client.look_up(node, "a").unwrap_err(), Errno::NOTDIR);
}

#[test]
fn attributes_are_set() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    let (node, _, handle) = client.create(1, "a", open::READ_WRITE, 0o600).unwrap();
    client.write(handle, 0, b"123456789").unwrap();
    assert_eq!(client.set(node, SIZE, 4, 0, KEEP).unwrap().size, 4);
    assert_eq!(fs::read(dir.shared().join("a")).unwrap(), b"1234");
    assert_eq!(client.set(node, SIZE, u64::MAX, 0, KEEP).unwrap_err(), Errno::FBIG);
    let set = client.set(node, TIMES, 0, 0, KEEP).unwrap();
    assert_eq!((set.atime, set.mtime), ((1000, 11), (2000, 22)));
    let now = client.set(node, 128, 0, 0, KEEP).unwrap();
    assert!(now.atime.0 > 1_000_000 && now.mtime == (2000, 22));
    assert_eq!(client.set(node, MODE, 0, 0o100751, KEEP).unwrap().mode, 0o100751);
    let (link, _) = client.symlink(1, "l", "a").unwrap();
    assert_eq!(client.set(link, TIMES, 0, 0, KEEP).unwrap().mtime, (2000, 22), "the link's own");
    assert_eq!(client.set(link, MODE, 0, 0o777, KEEP).unwrap_err(), Errno::OPNOTSUPP);
    assert_eq!(client.set(1, SIZE, 0, 0, KEEP).unwrap_err(), Errno::ISDIR);
    assert_eq!(client.set(link, SIZE, 0, 0, KEEP).unwrap_err(), Errno::LOOP);
}

#[test]
fn no_file_becomes_set_user_id() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    let (node, made, _) = client.create(1, "a", open::READ_WRITE, 0o6777).unwrap();
    assert_eq!(made.mode, 0o100777);
    for bits in [0o4755, 0o2755, 0o6755] {
        assert_eq!(client.set(node, MODE, 0, bits, KEEP).unwrap_err(), Errno::PERM);
    }
    let (directory, made) = client.mkdir(1, "d", 0o7777).unwrap();
    assert_eq!(made.mode, 0o041777);
    assert_eq!(client.set(directory, MODE, 0, 0o4755, KEEP).unwrap_err(), Errno::PERM);
    assert_eq!(client.set(directory, MODE, 0, 0o2755, KEEP).unwrap().mode, 0o042755);
    let body = [words(&[0o106755, 0, 0, 0]), text("n")].concat();
    assert_eq!(Client::entry(&client.ask(op::MKNOD, 1, &body).unwrap()).1.mode, 0o100755);
    // One of the host's stops being one when the guest writes to it or truncates it, and may keep it otherwise.
    let own = dir.shared().join("own");
    for truncate in [false, true] {
        fs::write(&own, "x").unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o4755)).unwrap();
        let (node, _) = client.look_up(1, "own").unwrap();
        assert_eq!(client.set(node, MODE, 0, 0o4700, KEEP).unwrap().mode, 0o104700);
        match truncate {
            true => drop(client.set(node, SIZE, 0, 0, KEEP).unwrap()),
            false => {
                let handle = client.open(node, open::WRITE_ONLY).unwrap();
                client.write(handle, 0, b"evil").unwrap();
            }
        }
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o7000, 0);
    }
}

#[test]
fn what_root_shares_belongs_to_the_guests_users() {
    if !is_root() {
        return;
    }
    let dir = Scratch::new();
    let mut client = Client::of(&dir, Access::Write);
    (client.uid, client.gid) = (1234, 567);
    let (directory, made) = client.mkdir(1, "d", 0o755).unwrap();
    assert_eq!((made.uid, made.gid), (1234, 567));
    let made = [
        client.create(directory, "f", open::READ_WRITE, 0o644).unwrap().1,
        client.symlink(directory, "l", "f").unwrap().1,
        Client::entry(
            &client.ask(op::MKNOD, directory, &[words(&[0o010600, 0, 0, 0]), text("p")].concat()).unwrap(),
        )
        .1,
    ];
    made.iter().for_each(|made| assert_eq!((made.uid, made.gid), (1234, 567)));
    let host = fs::symlink_metadata(dir.shared().join("d/f")).unwrap();
    assert_eq!((host.uid(), host.gid()), (1234, 567));
    // The group of a set-group-ID directory wins.
    client.set(directory, MODE | GID, 0, 0o2755, (u32::MAX, 99)).unwrap();
    let (node, made, _) = client.create(directory, "g", open::READ_WRITE, 0o644).unwrap();
    assert_eq!((made.uid, made.gid), (1234, 99));
    let set = client.set(node, UID | GID, 0, 0, (1, 2)).unwrap();
    assert_eq!((set.uid, set.gid), (1, 2));
    // The thread is root again, but not with all that root may.
    let made = {
        (client.uid, client.gid) = (0, 0);
        client.mkdir(1, "of-root", 0o755).unwrap().1
    };
    assert_eq!((made.uid, made.gid), (0, 0));
    let kept = rustix::thread::capabilities(None).unwrap();
    let lost = rustix::thread::CapabilitySet::FSETID | rustix::thread::CapabilitySet::MKNOD;
    assert!((kept.permitted & lost).is_empty() && kept.effective == kept.permitted);
}

#[test]
fn an_ordinary_user_is_the_guests_root() {
    let dir = Scratch::new();
    let own = fs::metadata(dir.shared()).unwrap();
    let folder = Folder::open(&dir.shared(), Access::Write).unwrap().of_user(own.uid(), own.gid());
    let mut client = Client::new(folder);
    (client.uid, client.gid) = (1000, 1000);
    let (node, made, _) = client.create(1, "a", open::READ_WRITE, 0o644).unwrap();
    assert_eq!((made.uid, made.gid), (0, 0), "whoever made it in the guest");
    assert_eq!(fs::metadata(dir.shared().join("a")).unwrap().uid(), own.uid());
    assert!(client.set(node, UID | GID, 0, 0, (0, 0)).is_ok());
    assert_eq!(client.set(node, UID, 0, 0, (1000, 0)).unwrap_err(), Errno::PERM);
    let other = Folder::open(&dir.shared(), Access::Write).unwrap().of_user(own.uid() + 1, own.gid() + 1);
    let seen = Client::new(other).attributes(1).unwrap();
    assert_eq!((seen.uid, seen.gid), (65534, 65534));
}

#[test]
fn extended_attributes_of_users_only() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    let (node, ..) = client.create(1, "a", open::READ_WRITE, 0o644).unwrap();
    let set = |name: &str, value: &[u8]| {
        client.ask(op::SETXATTR, node, &[&words(&[value.len() as u32, 0])[..], &text(name), value].concat())
    };
    let get =
        |name: &str, size: u32| client.ask(op::GETXATTR, node, &[words(&[size, 0]), text(name)].concat());
    for name in ["security.capability", "trusted.x", "system.posix_acl_access", "user", "x"] {
        assert_eq!(set(name, b"v"), Err(Errno::OPNOTSUPP), "{name}");
        assert_eq!(get(name, 100), Err(Errno::OPNOTSUPP), "{name}");
        let removed = client.ask(op::REMOVEXATTR, node, &text(name));
        assert_eq!(removed, Err(Errno::OPNOTSUPP), "{name}");
    }
    assert_eq!(set("user.", b"v"), Err(Errno::INVAL));
    assert_eq!(set(&format!("user.{}", "x".repeat(300)), b"v"), Err(Errno::RANGE));
    // Not every file system has them.
    if set("user.color", b"blue") == Err(Errno::OPNOTSUPP) {
        return;
    }
    assert_eq!(get("user.color", 100), Ok(b"blue".to_vec()));
    assert_eq!(get("user.color", 0), Ok(words(&[4, 0])));
    assert_eq!(get("user.color", 3), Err(Errno::RANGE));
    assert_eq!(get("user.none", 100), Err(Errno::NODATA));
    let list = |size: u32| client.ask(op::LISTXATTR, node, &words(&[size, 0]));
    assert_eq!(list(0), Ok(words(&[11, 0])));
    assert_eq!(list(100), Ok(text("user.color")));
    client.ask(op::REMOVEXATTR, node, &text("user.color")).unwrap();
    assert_eq!(list(100), Ok(Vec::new()));
    let (link, _) = client.symlink(1, "l", "a").unwrap();
    let body = [&words(&[1, 0])[..], &text("user.a"), b"x"].concat();
    assert_eq!(client.ask(op::SETXATTR, link, &body), Err(Errno::OPNOTSUPP));
}

#[test]
fn access_and_file_system() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    client.ask(op::ACCESS, 1, &words(&[7, 0])).unwrap();
    let reply = client.ask(op::STATFS, 1, &[]).unwrap();
    assert_eq!(reply.len(), 80);
    assert_ne!(reply[..8], longs(&[0])[..]);
    assert_eq!(reply[44..48], words(&[255])[..]);
}
