//! Ways out of the folder, none of which leads there.

use super::client::{Client, Scratch, longs, text, words};
use crate::Access;
use crate::nodes::kind;
use crate::wire::{op, open};
use rustix::io::Errno;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

/// A file beside the folder that nobody may reach.
fn with_secret() -> Scratch {
    let dir = Scratch::new();
    fs::create_dir(dir.join("outside")).unwrap();
    fs::write(dir.join("outside/secret"), "secret").unwrap();
    dir
}

#[test]
fn names_that_are_more_than_names() {
    let dir = with_secret();
    let client = Client::of(&dir, Access::Write);
    let names = ["", ".", "..", "/", "a/b", "../outside", "/etc/passwd", "./x", "x/"];
    for name in names {
        let made = |head: Vec<u8>| [head, text(name)].concat();
        let twice = [longs(&[1]), words(&[0, 0]), text(name), text("x")].concat();
        let other = [longs(&[1]), words(&[0, 0]), text("x"), text(name)].concat();
        for (opcode, body) in [
            (op::LOOKUP, made(Vec::new())),
            (op::MKDIR, made(words(&[0o755, 0]))),
            (op::MKNOD, made(words(&[0o100644, 0, 0, 0]))),
            (op::CREATE, made(words(&[2, 0o644, 0, 0]))),
            (op::SYMLINK, [text(name), text("x")].concat()),
            (op::LINK, made(longs(&[1]))),
            (op::UNLINK, made(Vec::new())),
            (op::RMDIR, made(Vec::new())),
            (op::RENAME2, twice),
            (op::RENAME2, other),
        ] {
            assert_eq!(client.ask(opcode, 1, &body), Err(Errno::INVAL), "{opcode} {name:?}");
        }
    }
    assert_eq!(client.ask(op::LOOKUP, 1, b"no end"), Err(Errno::INVAL));
    assert_eq!(client.look_up(1, &"x".repeat(256)).unwrap_err(), Errno::NAMETOOLONG);
}

#[test]
fn links_are_text() {
    let dir = with_secret();
    symlink(dir.join("outside"), dir.shared().join("out")).unwrap();
    symlink("../outside/secret", dir.shared().join("file")).unwrap();
    symlink("/proc/self/root", dir.shared().join("magic")).unwrap();
    let client = Client::of(&dir, Access::Write);
    for name in ["out", "file", "magic"] {
        let (node, attr) = client.look_up(1, name).unwrap();
        assert_eq!(attr.mode & 0o170000, kind::SYMLINK);
        assert_eq!(client.look_up(node, "secret").unwrap_err(), Errno::NOTDIR);
        assert_eq!(client.open(node, open::READ_ONLY), Err(Errno::LOOP));
        assert_eq!(client.open_directory(node), Err(Errno::NOTDIR));
        assert_eq!(client.mkdir(node, "x", 0o755).unwrap_err(), Errno::NOTDIR);
        assert_eq!(client.create(1, name, open::READ_WRITE, 0o644).unwrap_err(), Errno::LOOP);
        let xattr = [words(&[100, 0]), text("user.a")].concat();
        assert_eq!(client.ask(op::GETXATTR, node, &xattr), Err(Errno::OPNOTSUPP));
    }
    assert_eq!(fs::read_dir(dir.join("outside")).unwrap().count(), 1);
}

#[test]
fn what_is_not_a_file_is_not_opened() {
    let dir = with_secret();
    let client = Client::of(&dir, Access::Write);
    // A FIFO without a writer would hold the thread for ever.
    let fifo = [words(&[0o010666, 0, 0, 0]), text("p")].concat();
    let (node, _) = Client::entry(&client.ask(op::MKNOD, 1, &fifo).unwrap());
    assert_eq!(client.open(node, open::READ_ONLY), Err(Errno::NXIO));
    assert_eq!(client.create(1, "p", open::WRITE_ONLY, 0o644).unwrap_err(), Errno::NXIO);
    let listener = std::os::unix::net::UnixListener::bind(dir.shared().join("s")).unwrap();
    let (node, _) = client.look_up(1, "s").unwrap();
    assert_eq!(client.open(node, open::READ_ONLY), Err(Errno::NXIO));
    drop(listener);
    if rustix::process::geteuid().is_root() {
        let devices = crate::Folder::open(std::path::Path::new("/dev"), Access::Write).unwrap();
        let client = Client::new(devices);
        let (node, _) = client.look_up(1, "null").unwrap();
        assert_eq!(client.open(node, open::READ_WRITE), Err(Errno::NXIO));
    }
}

#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    let dir = with_secret();
    fs::create_dir_all(dir.shared().join("d/outside")).unwrap();
    let few = std::sync::Arc::new(crate::Folder::open(&dir.shared(), Access::Write).unwrap());
    let nodes = crate::nodes::Nodes::new(few, 1);
    let d = nodes.look_up(1, b"d").unwrap().0;
    let inner = nodes.look_up(d, b"outside").unwrap().0;
    // Neither is open any more; then the host puts a link there that leads to a directory of the same name.
    nodes.look_up(1, b"d").unwrap();
    fs::rename(dir.shared().join("d"), dir.join("moved")).unwrap();
    symlink("..", dir.shared().join("d")).unwrap();
    drop(nodes.get(1));
    assert!(nodes.look_up(inner, b"secret").is_err());
    assert_eq!(nodes.look_up(1, b"d").map(|found| found.0 == d), Ok(false));
}

#[test]
fn swapping_a_directory_and_a_link_all_the_time_leads_nowhere() {
    let dir = with_secret();
    fs::create_dir(dir.shared().join("d")).unwrap();
    fs::write(dir.shared().join("d/secret"), "public").unwrap();
    symlink("../outside", dir.shared().join("l")).unwrap();
    let client = Client::of(&dir, Access::Write);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let host = fs::File::open(dir.shared()).unwrap();
            while !over.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(&host, "d", &host, "l", rustix::fs::RenameFlags::EXCHANGE);
            }
        });
        let mut found = 0;
        for round in 0..3000 {
            let name = if round % 2 == 0 { "d" } else { "l" };
            let Ok(handle) =
                client.walk(&format!("{name}/secret")).and_then(|n| client.open(n, open::READ_WRITE))
            else {
                continue;
            };
            assert_eq!(client.read(handle, 0, 100), Ok(b"public".to_vec()));
            client.ask(op::RELEASE, 1, &longs(&[handle, 0, 0])).unwrap();
            found += 1;
        }
        over.store(true, Ordering::Relaxed);
        assert!(found > 0);
    });
    assert_eq!(fs::read(dir.join("outside/secret")).unwrap(), b"secret");
}

#[test]
fn threads_may_ask_at_once() {
    let dir = with_secret();
    let client = Client::of(&dir, Access::Write);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let client = &client;
            scope.spawn(move || {
                for round in 0..200 {
                    let name = format!("{thread}-{}", round % 7);
                    let (node, _, handle) = client.create(1, &name, open::READ_WRITE, 0o644).unwrap();
                    client.write(handle, 0, name.as_bytes()).unwrap();
                    let _ = client.rename((1, &name), (1, &format!("x{}", round % 3)), 0);
                    drop(client.list(1, true, 4096));
                    assert_eq!(client.read(handle, 0, 100).unwrap(), name.as_bytes());
                    client.ask(op::RELEASE, node, &longs(&[handle, 0, 0])).unwrap();
                }
            });
        }
    });
}
