//! A shared folder and its driver.

use super::*;
use crate::virtio::tests::{BASE, DATA, Driver};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use trine_share::{Access, Folder};

const ASKED: u64 = DATA;
const REPLY: u64 = DATA + 0x8000;
const ROOM: u32 = 0x4000;
/// The queue for what must not wait, and the first one for requests.
const FIRST: usize = 0;
const REQUESTS: usize = 1;
/// Kinds of requests.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const MKDIR: u32 = 9;
const INIT: u32 = 26;

/// A folder, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("trine-fs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    fn server(&self) -> Server {
        Server::new(Arc::new(Folder::open(&self.0, Access::Write).unwrap()), 1)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn message(kind: u32, node: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    [40 + body.len() as u32, kind].iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    [5, node].iter().for_each(|v: &u64| bytes.extend(v.to_le_bytes()));
    bytes.extend([0; 16]);
    bytes.extend(body);
    bytes
}

fn ask(d: &mut Driver, kind: u32, node: u64, body: &[u8]) {
    let bytes = message(kind, node, body);
    d.ram.write(ASKED, &bytes).unwrap();
    // The header and the rest are buffers of their own, as Linux has them.
    let rest = (ASKED + 40, bytes.len() as u32 - 40);
    d.request(REQUESTS, &[(ASKED, 40), rest], &[(REPLY, 16), (REPLY + 16, ROOM)]);
}

/// Whether the last reply has no error, and its bytes.
fn reply(d: &Driver) -> (i32, u32) {
    let bytes = d.bytes(REPLY, 16);
    assert_eq!(bytes[8..16], 5u64.to_le_bytes());
    let error = i32::from_le_bytes(bytes[4..8].try_into().unwrap());
    (error, u32::from_le_bytes(bytes[..4].try_into().unwrap()))
}

fn begin(d: &mut Driver) {
    let body: Vec<u8> = [7u32, 38, 0, 0].iter().flat_map(|v| v.to_le_bytes()).collect();
    ask(d, INIT, 0, &body);
}

fn mkdir(d: &mut Driver, name: &str) {
    let body = [&0o755u32.to_le_bytes()[..], &[0; 4], name.as_bytes(), &[0]].concat();
    ask(d, MKDIR, 1, &body);
}

#[test]
fn the_driver_sees_the_tag_and_the_queues() {
    let dir = Dir::new("tag");
    let mut d = Driver::new(Fs::new("share0", dir.server()).with_queues(3));
    assert_eq!((d.read(8), d.read(0x100), d.read(0x104)), (26, 0x7261_6873, 0x3065));
    assert_eq!((d.read(0x120), d.read(0x124), d.read(0x128)), (0, 3, 0));
    let long = "ä".repeat(20);
    assert_eq!(Fs::new(&long, dir.server()).tag, "ä".repeat(18));
}

#[test]
fn requests_are_served() {
    let dir = Dir::new("served");
    let mut d = Driver::new(Fs::new("share0", dir.server()));
    begin(&mut d);
    assert_eq!((reply(&d), d.last_used(REQUESTS)), ((0, 80), (0, 80)));
    mkdir(&mut d, "made");
    assert_eq!((reply(&d), d.used(REQUESTS)), ((0, 144), 2));
    assert!(dir.0.join("made").is_dir());
    let node = d.bytes(REPLY + 16, 8);
    ask(&mut d, LOOKUP, 1, b"none\0");
    assert_eq!((reply(&d), d.last_used(REQUESTS)), ((-2, 16), (0, 16)));
    // A message without a reply, on the other queue.
    let forget = message(FORGET, u64::from_le_bytes(node.try_into().unwrap()), &1u64.to_le_bytes());
    d.ram.write(ASKED, &forget).unwrap();
    d.request(FIRST, &[(ASKED, 48)], &[]);
    assert_eq!(d.last_used(FIRST), (0, 0));
}

#[test]
fn threads_serve_and_wake_the_device() {
    let dir = Dir::new("threads");
    let ram = Driver::ram();
    let workers = Arc::new(Workers::new("test", 2));
    let device = Fs::new("share0", dir.server()).with_workers(workers, ram.clone());
    let mut d = Driver::with_ram(ram, device, 0);
    let wait = |d: &mut Driver, used: u16| {
        let end = Instant::now() + Duration::from_secs(20);
        while d.used(REQUESTS) != used && Instant::now() < end {
            d.wake();
        }
        assert_eq!(d.used(REQUESTS), used);
    };
    begin(&mut d);
    wait(&mut d, 1);
    for n in 0..20u16 {
        mkdir(&mut d, &format!("d{n}"));
        wait(&mut d, n + 2);
        assert_eq!(reply(&d), (0, 144));
    }
    // A pause: what has begun is finished, what has not is done afterwards; nothing is done twice, which would be an error.
    mkdir(&mut d, "paused");
    d.quiesce();
    wait(&mut d, 22);
    assert_eq!(reply(&d), (0, 144));
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 21);
    mkdir(&mut d, "reset");
    d.write(0x70, 0);
    assert_eq!(d.read(0x70), 0);
}

#[test]
fn a_state_belongs_to_a_tag() {
    let dir = Dir::new("state");
    let state = Fs::new("share0", dir.server()).save();
    let error = Fs::new("share1", dir.server()).load(&state).unwrap_err().to_string();
    let text = "the saved state of the file system device does not fit this machine: its name is 'share0', but here it is 'share1'";
    assert_eq!(error, text);
}

#[test]
fn anything_a_guest_may_do() {
    let dir = Dir::new("anything");
    let mut d = Driver::new(Fs::new("share0", dir.server()));
    for queue in 0..2 {
        for kind in 0..60u32 {
            for len in [0u32, 15, 16, 39, 40, 41, 4096] {
                d.ram.write(ASKED, &message(kind, 1, &[0xff; 100])).unwrap();
                d.ram.write(ASKED, &len.to_le_bytes()).unwrap();
                d.request(queue, &[(ASKED, len)], &[(REPLY, len)]);
                d.request(queue, &[], &[(REPLY, len)]);
                assert!(!d.needs_reset());
            }
        }
    }
    d.request(REQUESTS, &[(BASE, 8 << 20)], &[(REPLY, 16)]);
    for offset in (0..0x200).step_by(4) {
        d.write(offset, 0xffff_ffff);
        d.read(offset);
    }
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 0);
}
