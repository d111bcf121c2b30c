//! Beginning and end of a session, its limits, and its saved state.

use super::client::{Client, Scratch, longs, text, words};
use crate::wire::{feature, op, open};
use crate::{Access, Folder, Server, ShareError};
use rustix::io::Errno;
use std::fs;
use std::sync::Arc;

#[test]
fn a_session_begins_with_a_version_and_features() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    let reply = client.begin();
    assert_eq!(reply.len(), 64);
    let word = |at: usize| u32::from_le_bytes(reply[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(4), word(8), word(12)), (7, 38, 1 << 17, feature::ALL));
    assert_eq!((word(20), word(24), word(28) & 0xffff), (1 << 20, 1, 256));
    const WRITEBACK_CACHE: u32 = 1 << 16;
    const LOCKS: u32 = 1 << 1 | 1 << 10;
    assert_eq!(word(12) & (WRITEBACK_CACHE | LOCKS), 0);
    let init = |major, minor| client.ask(op::INIT, 0, &words(&[major, minor, 0, 0]));
    assert_eq!(init(7, 12), Err(Errno::PROTO));
    assert_eq!(init(6, 50), Err(Errno::PROTO));
    assert_eq!(init(8, 0).unwrap()[..8], words(&[7, 38]), "a newer guest asks again");
}

#[test]
fn nothing_is_served_before_and_nothing_is_left_after() {
    let dir = Scratch::new();
    fs::write(dir.shared().join("a"), "x").unwrap();
    let folder = Folder::open(&dir.shared(), Access::Write).unwrap();
    let client = Client { server: Server::new(Arc::new(folder), 1), uid: 0, gid: 0 };
    assert_eq!(client.look_up(1, "a").unwrap_err(), Errno::IO);
    client.begin();
    let (node, _) = client.look_up(1, "a").unwrap();
    let handle = client.open(node, open::READ_ONLY).unwrap();
    client.ask(op::DESTROY, 0, &[]).unwrap();
    client.begin();
    assert_eq!(client.attributes(node).unwrap_err(), Errno::STALE);
    assert_eq!(client.read(handle, 0, 9), Err(Errno::BADF));
    assert_ne!(client.look_up(1, "a").unwrap().0, node, "numbers are not used again");
}

#[test]
fn what_is_forgotten_is_not_kept() {
    let dir = Scratch::new();
    fs::create_dir_all(dir.shared().join("a/b")).unwrap();
    let client = Client::of(&dir, Access::Write);
    let a = client.walk("a").unwrap();
    let b = client.walk("a/b").unwrap();
    assert_eq!(client.server.nodes.len(), 2);
    let send = |opcode, node, body: &[u8]| {
        let head = [words(&[40 + body.len() as u32, opcode]), longs(&[1, node]), words(&[0; 4])].concat();
        let mut reply = vec![1];
        client.server.handle(&[&head, body].concat(), 100, &mut reply);
        assert!(reply.is_empty(), "it has no reply");
    };
    send(op::FORGET, a, &longs(&[u64::MAX]));
    assert_eq!(client.server.nodes.len(), 2, "it is on the way to what is known");
    assert!(client.attributes(b).is_ok());
    // The count lies about how many follow.
    send(op::BATCH_FORGET, 0, &[words(&[u32::MAX, 0]), longs(&[b, 1, 99, 1])].concat());
    assert_eq!(client.server.nodes.len(), 0);
    assert_eq!(client.attributes(b).unwrap_err(), Errno::STALE);
    send(op::INTERRUPT, 0, &longs(&[1]));
}

#[test]
fn requests_that_nobody_should_make() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    assert_eq!(client.ask(12345, 1, &[0; 200]), Err(Errno::NOSYS));
    const GETLK: u32 = 31;
    assert_eq!(client.ask(GETLK, 1, &[0; 200]), Err(Errno::NOSYS), "locks are the guest's own");
    for opcode in 0..60 {
        for len in [0, 1, 7, 8, 16, 39, 64] {
            let mut reply = Vec::new();
            let head = [words(&[40 + len as u32, opcode]), longs(&[1, 1]), words(&[0; 4])].concat();
            client.server.handle(&[&head[..], &vec![0xff; len]].concat(), 4096, &mut reply);
            client.server.handle(&[&head[..], &vec![0xff; len]].concat(), 15, &mut reply);
            assert!(reply.is_empty(), "no room for a header");
            client.server.handle(&head[..len.min(39)], 4096, &mut reply);
            assert!(reply.is_empty(), "no whole header");
        }
        client.begin();
    }
    assert_eq!(fs::read_dir(dir.shared()).unwrap().count(), 0);
    let (node, _, handle) = client.create(1, "a", open::READ_WRITE, 0o644).unwrap();
    client.write(handle, 0, b"123456").unwrap();
    // No room for the reply: nothing is done.
    let mkdir = [words(&[0o755, 0]), text("d")].concat();
    assert_eq!(client.ask_with_room(op::MKDIR, 1, &mkdir, 100), Err(Errno::INVAL));
    assert!(!dir.shared().join("d").exists());
    let read = [longs(&[handle, 0]), words(&[100, 0, 0, 0, 0, 0])].concat();
    assert_eq!(client.ask_with_room(op::READ, node, &read, 20), Ok(b"1234".to_vec()));
    // The request says that it has more data than it has.
    let write = [longs(&[handle, 0]), words(&[100, 0, 0, 0, 0, 0])].concat();
    assert_eq!(client.ask(op::WRITE, node, &[&write[..], b"ab"].concat()), Err(Errno::INVAL));
}

#[test]
fn what_cannot_be_shared_is_refused() {
    let dir = Scratch::new();
    let open = |name: &str| Folder::open(&dir.join(name), Access::Write).err().unwrap();
    fs::write(dir.join("file"), "").unwrap();
    assert!(matches!(open("file"), ShareError::NotDirectory { .. }));
    let error = open("nothing").to_string();
    assert!(error.starts_with("cannot share /") && error.contains("No such file"), "{error}");
}

#[test]
fn files_are_found_again_after_they_were_closed_for_want_of_descriptors() {
    let dir = Scratch::new();
    let mut nodes = Vec::new();
    let folder = Arc::new(Folder::open(&dir.shared(), Access::Write).unwrap());
    let few = crate::nodes::Nodes::new(folder, 4);
    for i in 0..40 {
        fs::create_dir_all(dir.shared().join(format!("{}/{i}", i % 5))).unwrap();
        let parent = few.look_up(1, format!("{}", i % 5).as_bytes()).unwrap().0;
        nodes.push(few.look_up(parent, format!("{i}").as_bytes()).unwrap());
    }
    for (node, stat) in &nodes {
        let again = crate::folder::stat(few.get(*node).unwrap().fd).unwrap();
        assert_eq!(again.stx_ino, stat.stx_ino);
    }
    // Another file has the name of one that is closed.
    fs::rename(dir.shared().join("0/0"), dir.shared().join("0/other")).unwrap();
    fs::create_dir(dir.shared().join("0/0")).unwrap();
    assert_eq!(few.get(nodes[0].0).err(), Some(Errno::STALE));
    assert_eq!(few.look_up(few.look_up(1, b"0").unwrap().0, b"other").unwrap().0, nodes[0].0);
    assert!(few.get(nodes[0].0).is_ok(), "it is known again by its new name");
}

#[test]
fn a_saved_session_goes_on() {
    let dir = Scratch::new();
    fs::create_dir(dir.shared().join("d")).unwrap();
    fs::write(dir.shared().join("d/kept"), "kept").unwrap();
    fs::write(dir.shared().join("gone"), "gone").unwrap();
    let old = Client::of(&dir, Access::Write);
    let [kept, gone] = ["d/kept", "gone"].map(|path| old.walk(path).unwrap());
    let handles = [kept, gone].map(|node| old.open(node, open::READ_WRITE).unwrap());
    let state = old.server.save();
    fs::remove_file(dir.shared().join("gone")).unwrap();
    let folder = || Folder::open(&dir.shared(), Access::Write).unwrap();
    let new = Client { server: Server::new(Arc::new(folder()), 1), uid: 0, gid: 0 };
    new.server.load(&state).unwrap();
    assert_eq!(new.server.save(), state);
    assert_eq!(new.read(handles[0], 0, 9), Ok(b"kept".to_vec()));
    assert_eq!(new.attributes(kept).unwrap().size, 4);
    assert_eq!(new.read(handles[1], 0, 9), Err(Errno::BADF));
    assert_eq!(new.attributes(gone).unwrap_err(), Errno::STALE);
    assert_eq!(new.look_up(1, "d").unwrap().0, old.look_up(1, "d").unwrap().0);
    let fixed = Server::new(Arc::new(Folder::open(&dir.shared(), Access::ReadOnly).unwrap()), 1);
    let error = fixed.load(&state).unwrap_err().to_string();
    let text = "the saved state of the shared folder does not fit this machine: the folder was writable, but this one is read-only";
    assert_eq!(error, text);
}

/// A state with everything in it, as the first version was written. It names files that do not exist, so it is the
/// same everywhere.
const GOLDEN: &[u8] = include_bytes!("session.v1");

#[test]
fn the_first_version_of_the_saved_state_is_loaded() {
    let dir = Scratch::new();
    let server = Server::new(Arc::new(Folder::open(&dir.shared(), Access::Write).unwrap()), 1);
    server.load(GOLDEN).unwrap();
    assert_eq!(server.save(), GOLDEN);
    let client = Client { server, uid: 0, gid: 0 };
    assert_eq!(client.attributes(2).unwrap_err(), Errno::STALE);
    assert_eq!(client.read(1, 0, 1), Err(Errno::BADF));
}

#[test]
fn states_that_nobody_saved_are_refused_or_do_no_harm() {
    let dir = Scratch::new();
    let folder = Arc::new(Folder::open(&dir.shared(), Access::Write).unwrap());
    for end in 0..GOLDEN.len() {
        assert!(Server::new(folder.clone(), 1).load(&GOLDEN[..end]).is_err());
    }
    for at in 0..GOLDEN.len() {
        for byte in [0, 1, 2, 0x2e, 0x2f, 0x7f, 0x80, 0xff] {
            let mut state = GOLDEN.to_vec();
            state[at] = byte;
            let server = Server::new(folder.clone(), 1);
            if server.load(&state).is_ok() {
                let client = Client { server, uid: 0, gid: 0 };
                (1..8).for_each(|n| drop((client.attributes(n), client.read(n, 0, 1), client.open(n, 0))));
            }
        }
    }
}
