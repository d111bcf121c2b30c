//! Any packets, descriptors and rings of a guest, and anything that processes of the host may do: the socket device neither
//! panics nor sends what the guest has no room for, and what waits is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use trine_base::vsock::{BUFFER, HostEnd, MOST, StreamId, streams};
use trine_base::{Actions, Device, Width};
use trine_devices::virtio::Mmio;
use trine_devices::virtio::vsock::Vsock;
use trine_memory::Ram;

const BASE: u64 = 0x8000_0000;
const CID: u64 = 3;
const HEADER: u32 = 44;
/// Descriptors of each queue.
const QUEUE: u16 = 8;
/// Bytes of each buffer of the receive queue.
const ROOM: u64 = 0x200;
const RECEIVE: u64 = 0;
const TRANSMIT: u64 = 1;

/// Where the rings and buffers of a queue are.
fn rings(queue: u64) -> [u64; 4] {
    [0, 0x200, 0x400, 0x800].map(|offset| BASE + 0x4000 * queue + offset)
}

struct Rig {
    device: Mmio,
    ram: Arc<Ram>,
    host: HostEnd,
    known: Vec<StreamId>,
    /// Bytes that were received and not said to be taken.
    held: HashMap<StreamId, u32>,
    offered: [u16; 3],
    seen: u16,
    /// Whether the guest has changed its rings otherwise than a driver does: then what is in them is not looked at.
    wild: bool,
}

impl Rig {
    fn write(&mut self, at: u64, value: u64) {
        self.device.write(at, Width::B4, value, 0, &mut Actions::new());
    }

    fn start(&mut self) {
        [(0x70, 0), (0x70, 3), (0x24, 1), (0x20, 1), (0x70, 11)]
            .iter()
            .for_each(|&(at, v)| self.write(at, v));
        for queue in 0..3 {
            let [table, available, used, _] = rings(queue);
            let steps = [
                (0x30, queue),
                (0x38, u64::from(QUEUE)),
                (0x80, table),
                (0x90, available),
                (0xa0, used),
                (0x44, 1),
            ];
            steps.iter().for_each(|&(at, v)| self.write(at, v));
            [available, used].iter().for_each(|&at| _ = self.ram.write(at, &[0; 4]));
        }
        self.write(0x70, 15);
        (self.offered, self.seen, self.wild) = ([0; 3], 0, false);
    }

    fn offer(&mut self, queue: u64, index: u16, address: u64, len: u32, writable: bool) {
        let [table, available, ..] = rings(queue);
        let at = table + 16 * u64::from(index);
        let _ = self.ram.store(at, Width::B8, address);
        let _ = self.ram.store(at + 8, Width::B8, u64::from(len) | u64::from(writable) << 33);
        let next = &mut self.offered[queue as usize];
        let _ = self.ram.store(available + 4 + 2 * u64::from(*next % QUEUE), Width::B2, index.into());
        *next = next.wrapping_add(1);
        let _ = self.ram.store(available + 2, Width::B2, (*next).into());
        self.write(0x50, queue);
    }

    /// Gives the device another buffer for packets, unless it has all.
    fn buffer(&mut self) {
        self.check();
        if self.offered[0].wrapping_sub(self.seen) < QUEUE {
            let index = self.offered[0] % QUEUE;
            self.offer(RECEIVE, index, rings(RECEIVE)[3] + ROOM * u64::from(index), ROOM as u32, true);
        }
    }

    /// Looks at the packets that the guest has got.
    fn check(&mut self) {
        let [.., used, data] = rings(RECEIVE);
        let now = self.ram.load(used + 2, Width::B2).unwrap() as u16;
        while self.seen != now {
            let entry = used + 4 + 8 * u64::from(self.seen % QUEUE);
            let [index, len] = [entry, entry + 4].map(|at| self.ram.load(at, Width::B4).unwrap());
            self.seen = self.seen.wrapping_add(1);
            if self.wild {
                continue;
            }
            let word = |at| self.ram.load(data + ROOM * index + at, Width::B4).unwrap();
            assert!(len >= u64::from(HEADER) && len == u64::from(HEADER) + word(24), "{len}");
            assert_eq!((word(8), word(12)), (CID, 0));
        }
    }

    /// Sends a packet, most of whose fields are as they should be.
    fn packet(&mut self, b: &[u8; 8]) {
        let mut packet = [0; HEADER as usize + 64];
        packet[0] = if b[1] & 0xc0 == 0xc0 { b[6] } else { CID as u8 };
        packet[8] = if b[1] & 0x38 == 0x38 { b[6] } else { 2 };
        packet[16] = b[2] & 3;
        // Ports of the host that the guest asks for, and those that connections from the host have.
        let host = if b[2] & 0x80 == 0 { u32::from(b[3] & 3) } else { (1 << 30) + u32::from(b[3] & 7) };
        packet[20..24].copy_from_slice(&host.to_le_bytes());
        let len =
            if b[1] & 7 == 7 { u32::from_le_bytes([b[4], b[5], b[6], b[7]]) } else { u32::from(b[4] & 63) };
        packet[24..28].copy_from_slice(&len.to_le_bytes());
        (packet[28], packet[30], packet[32]) = (1 + (b[2] >> 2 & 31) / 31, b[1] % 9, b[5] & 3);
        packet[36..40].copy_from_slice(&(u32::from(b[6]) << 4).to_le_bytes());
        packet[40..44].copy_from_slice(&u32::from(b[7]).to_le_bytes());
        let at = rings(TRANSMIT)[3];
        let _ = self.ram.write(at, &packet);
        self.offer(TRANSMIT, 0, at, HEADER + len.min(64), false);
    }

    /// What the host's thread may do.
    fn host(&mut self, b: &[u8; 8]) {
        while let Some((id, view)) = self.host.news() {
            assert!(view.waiting <= BUFFER);
            if !self.known.contains(&id) && self.known.len() < MOST {
                self.known.push(id);
            }
        }
        let Some(&id) = self.known.get(usize::from(b[2]) % self.known.len().max(1)) else {
            let _ = self.host.connect(b[3].into());
            return;
        };
        match b[1] % 8 {
            0 => drop(self.host.connect(u32::from(b[3] & 3))),
            1 => self.host.accept(id),
            2 => {
                let room = self.host.room(id);
                let sent = self.host.send(id, &vec![b[3]; usize::from(b[4]) * 16]);
                assert!(!sent || self.host.room(id) <= room);
            }
            3 => {
                let mut bytes = VecDeque::new();
                self.host.receive(id, &mut bytes);
                let held = self.held.entry(id).or_default();
                *held += bytes.len() as u32;
                assert!(*held <= BUFFER);
                let taken = (*held).min(u32::from(b[3]) * 8);
                *held -= taken;
                self.host.taken(id, taken);
            }
            4 => self.host.end(id),
            5 => {
                self.host.stop(id);
                self.held.remove(&id);
            }
            6 => {
                self.host.close(id);
                self.held.remove(&id);
                self.known.retain(|known| *known != id);
            }
            _ => drop(self.host.connect(b[3].into())),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let ram = Arc::new(Ram::new(BASE, 1 << 16).unwrap());
    let (guest, host) = streams();
    let device = Mmio::new(1, ram.clone(), Box::new(Vsock::new(CID as u32, guest)));
    let (known, held) = Default::default();
    let mut rig = Rig { device, ram, host, known, held, offered: [0; 3], seen: 0, wild: false };
    rig.start();
    for op in data.chunks(8) {
        let mut b = [0; 8];
        b[..op.len()].copy_from_slice(op);
        match b[0] % 10 {
            0..3 => rig.packet(&b),
            3 | 4 => rig.buffer(),
            5..8 => rig.host(&b),
            8 if b[1] & 1 == 0 => rig.device.timer(0, &mut Actions::new()),
            8 if b[1] == 0xff => rig.start(),
            8 => {
                let state = rig.device.save();
                rig.device.load(&state).unwrap();
            }
            _ => {
                // Anything, anywhere in memory.
                rig.wild = true;
                let at = u64::from(u16::from_le_bytes([b[1], b[2]]) & 0xffc0) | u64::from(b[3] & 0x3f);
                let _ = rig.ram.write(BASE + at, &b[4..8]);
                rig.write(0x50, u64::from(b[3] & 3));
            }
        }
    }
    rig.device.timer(0, &mut Actions::new());
    rig.check();
});
