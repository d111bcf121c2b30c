//! Frames made by hand, for what no stack sends.

use crate::guest::{LONG, MAC};
use std::time::{Duration, Instant};
use trine_base::{NetBackend, Partial};
use trine_net::UserNetwork;

pub const GATEWAY: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];

/// The guest's end of the cable, without a stack.
pub struct Cable(pub UserNetwork);

impl Cable {
    pub fn new(net: UserNetwork) -> Cable {
        Cable(net)
    }

    /// Makes the guest's Ethernet address known.
    pub fn announce(&mut self) {
        self.send(&arp(1, [10, 0, 2, 15], [10, 0, 2, 2]));
        let answer = self.next("an answer");
        assert_eq!((answer[..6].to_vec(), answer[21]), (MAC.0.to_vec(), 2));
    }

    pub fn send(&mut self, frame: &[u8]) {
        self.0.send(frame, Partial::default());
    }

    /// The next frame, which has to come.
    pub fn next(&mut self, what: &str) -> Vec<u8> {
        let start = Instant::now();
        loop {
            let mut frame = Vec::new();
            if self.0.receive(&mut frame).is_some() {
                return frame;
            }
            assert!(start.elapsed() < LONG, "{what} does not come");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Waits until the network has seen so many frames, and returns those for the guest.
    pub fn after(&mut self, seen: u64) -> Vec<Vec<u8>> {
        let start = Instant::now();
        while self.0.handle().stats().frames_from_guest < seen {
            assert!(start.elapsed() < LONG, "{:?}", self.0.handle().stats());
            std::thread::sleep(Duration::from_micros(200));
        }
        let mut frames = Vec::new();
        let mut frame = Vec::new();
        while self.0.receive(&mut frame).is_some() {
            frames.push(frame.clone());
        }
        frames
    }
}

/// The Internet checksum.
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
    let sum = words.fold(0, |sum, word| (sum + word) % 0xffff);
    !(sum as u16)
}

pub fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&GATEWAY[..], &MAC.0, &kind.to_be_bytes(), payload].concat()
}

pub fn arp(operation: u8, from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    ethernet(0x806, &[&[0, 1, 8, 0, 6, 4, 0, operation], &MAC.0[..], &from, &[0; 6], &to].concat())
}

/// An IPv4 packet in a frame, possibly as a fragment: its offset, whether more follow.
pub fn ipv4(
    from: [u8; 4],
    to: [u8; 4],
    protocol: u8,
    fragment: Option<(usize, bool)>,
    payload: &[u8],
) -> Vec<u8> {
    let word = fragment.map_or(0, |(at, more)| (at / 8) as u16 | if more { 0x2000 } else { 0 });
    let length = (20 + payload.len()) as u16;
    let mut ip = [
        &[0x45, 0][..],
        &length.to_be_bytes(),
        &[0, 9],
        &word.to_be_bytes(),
        &[64, protocol, 0, 0],
        &from,
        &to,
    ]
    .concat();
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ethernet(0x800, &[&ip[..], payload].concat())
}

fn pseudo(from: [u8; 4], to: [u8; 4], protocol: u8, length: usize) -> Vec<u8> {
    [&from[..], &to, &[0, protocol], &(length as u16).to_be_bytes()].concat()
}

pub fn udp(from: [u8; 4], to: [u8; 4], source: u16, target: u16, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len();
    let mut udp =
        [&source.to_be_bytes()[..], &target.to_be_bytes(), &(length as u16).to_be_bytes(), &[0, 0], payload]
            .concat();
    let sum = checksum(&[pseudo(from, to, 17, length), udp.clone()].concat());
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    udp
}

/// A TCP segment: numbers, flags, payload.
pub fn tcp(
    from: [u8; 4],
    to: [u8; 4],
    ports: (u16, u16),
    numbers: (u32, u32),
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut tcp = [
        &ports.0.to_be_bytes()[..],
        &ports.1.to_be_bytes(),
        &numbers.0.to_be_bytes(),
        &numbers.1.to_be_bytes(),
        &[0x50, flags, 0xff, 0xff, 0, 0, 0, 0],
        payload,
    ]
    .concat();
    let sum = checksum(&[pseudo(from, to, 6, tcp.len()), tcp.clone()].concat());
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    tcp
}
