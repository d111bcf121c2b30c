//! Open files.

use super::client::{Client, Scratch, longs, words};
use crate::Access;
use crate::wire::{op, open};
use rustix::io::Errno;
use std::fs;

#[test]
fn what_one_side_writes_the_other_reads() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    let (node, made, handle) = client.create(1, "a", open::READ_WRITE, 0o604).unwrap();
    assert_eq!(made.mode, 0o100604);
    let large: Vec<u8> = (0..1 << 20).map(|i: u32| ((i * 7) >> 3) as u8).collect();
    assert_eq!(client.write(handle, 3, &large), Ok(1 << 20));
    let host = fs::read(dir.shared().join("a")).unwrap();
    assert_eq!((&host[..3], &host[3..]), (&[0; 3][..], &large[..]));
    assert!(client.read(handle, 3, 1 << 20).unwrap() == large);
    assert_eq!(client.read(handle, 3, u32::MAX).unwrap().len(), 1 << 20, "no more than a request has");
    fs::write(dir.shared().join("a"), "new").unwrap();
    assert_eq!(client.read(handle, 0, 100), Ok(b"new".to_vec()));
    assert_eq!(client.attributes(node).unwrap().size, 3);
    assert_eq!(client.read(handle, u64::MAX, 1), Err(Errno::INVAL));
    assert!(client.write(handle, u64::MAX, b"x").is_err());
    // A request with flush and the two kinds of fsync.
    client.ask(op::FLUSH, node, &longs(&[handle, 0, 0])).unwrap();
    client.ask(op::FSYNC, node, &[longs(&[handle]), words(&[0, 0])].concat()).unwrap();
    client.ask(op::FSYNC, node, &[longs(&[handle]), words(&[1, 0])].concat()).unwrap();
    let directory = client.open_directory(1).unwrap();
    let body = [longs(&[directory]), words(&[0, 0])].concat();
    client.ask(op::FSYNCDIR, 1, &body).unwrap();
    assert_eq!(client.ask(op::FSYNC, 1, &body), Err(Errno::BADF), "that is a directory");
    client.ask(op::RELEASE, node, &longs(&[handle, 0, 0])).unwrap();
    assert_eq!(client.ask(op::RELEASE, node, &longs(&[handle, 0, 0])), Err(Errno::BADF));
    assert_eq!(client.read(handle, 0, 1), Err(Errno::BADF));
}

#[test]
fn a_file_is_opened_as_asked() {
    let dir = Scratch::new();
    fs::write(dir.shared().join("a"), "12345").unwrap();
    let client = Client::of(&dir, Access::Write);
    let a = client.walk("a").unwrap();
    let append = client.open(a, open::WRITE_ONLY | open::APPEND).unwrap();
    client.write(append, 0, b"6").unwrap();
    assert_eq!(fs::read(dir.shared().join("a")).unwrap(), b"123456");
    assert_eq!(client.read(append, 0, 1), Err(Errno::BADF));
    let reads = client.open(a, open::READ_ONLY).unwrap();
    assert_eq!(client.write(reads, 0, b"x"), Err(Errno::BADF));
    client.open(a, open::READ_WRITE | open::TRUNCATE).unwrap();
    assert_eq!(fs::read(dir.shared().join("a")).unwrap(), b"");
    assert_eq!(client.open(a, 3), Err(Errno::INVAL));
    assert_eq!(client.create(1, "a", open::READ_WRITE | open::EXCLUSIVE, 0o644).unwrap_err(), Errno::EXIST);
    let (same, _, handle) = client.create(1, "a", open::READ_WRITE, 0o644).unwrap();
    assert_eq!(same, a);
    assert_eq!(client.write(handle, 0, b"x"), Ok(1));
    assert_eq!(client.open(1, open::READ_ONLY), Err(Errno::ISDIR));
    assert_eq!(client.open_directory(a), Err(Errno::NOTDIR));
}

#[test]
fn an_open_file_stays_when_its_name_goes() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    let (node, _, handle) = client.create(1, "a", open::READ_WRITE, 0o644).unwrap();
    client.write(handle, 0, b"still here").unwrap();
    client.ask(op::UNLINK, 1, b"a\0").unwrap();
    assert_eq!(client.read(handle, 0, 100), Ok(b"still here".to_vec()));
    let body = [words(&[1, 0]), longs(&[handle])].concat();
    let reply = client.ask(op::GETATTR, node, &body).unwrap();
    assert_eq!(super::client::attr(&reply[16..]).links, 0);
}

#[test]
fn space_holes_and_copies() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    let (node, _, handle) = client.create(1, "a", open::READ_WRITE, 0o644).unwrap();
    let allocate = |offset: u64, len: u64, mode: u32| {
        client.ask(op::FALLOCATE, node, &[longs(&[handle, offset, len]), words(&[mode, 0])].concat())
    };
    assert_eq!(allocate(0, 0, 0), Err(Errno::INVAL));
    assert_eq!(allocate(0, 100, 0x40), Err(Errno::OPNOTSUPP));
    if allocate(0, 1 << 20, 0) == Err(Errno::OPNOTSUPP) {
        return;
    }
    assert_eq!(client.attributes(node).unwrap().size, 1 << 20);
    client.write(handle, 512 << 10, b"data").unwrap();
    allocate(0, 256 << 10, 3).unwrap();
    let seek = |offset: u64, whence: u32| {
        let reply = client.ask(op::LSEEK, node, &[longs(&[handle, offset]), words(&[whence, 0])].concat())?;
        Ok(u64::from_le_bytes(reply[..8].try_into().unwrap()))
    };
    assert_eq!(seek(0, 4), Ok(0), "a hole");
    assert!(seek(0, 3).unwrap() >= 256 << 10);
    assert_eq!(seek(0, 0), Err(Errno::INVAL));
    assert_eq!(seek(2 << 20, 3), Err(Errno::NXIO));
    let (_, _, to) = client.create(1, "b", open::READ_WRITE, 0o644).unwrap();
    let copy =
        |flags| client.ask(op::COPY_FILE_RANGE, node, &longs(&[handle, 512 << 10, 1, to, 2, 4, flags]));
    assert_eq!(copy(0), Ok(words(&[4, 0])));
    assert_eq!(copy(1), Err(Errno::INVAL));
    assert_eq!(fs::read(dir.shared().join("b")).unwrap(), b"\0\0data");
}

#[test]
fn a_guest_has_a_limit_of_open_files() {
    let dir = Scratch::new();
    let client = Client::of(&dir, Access::Write);
    let client = Client {
        server: crate::Server { handles: crate::handles::Handles::new(3), ..client.server },
        ..client
    };
    let opened: Vec<u64> = (0..3).map(|_| client.open_directory(1).unwrap()).collect();
    assert_eq!(client.open_directory(1), Err(Errno::NFILE));
    assert_eq!(client.create(1, "a", open::READ_WRITE, 0o644).unwrap_err(), Errno::NFILE);
    assert!(!dir.shared().join("a").exists(), "nothing is made that cannot be opened");
    client.ask(op::RELEASEDIR, 1, &longs(&[opened[0], 0, 0])).unwrap();
    assert!(client.open_directory(1).is_ok());
}
