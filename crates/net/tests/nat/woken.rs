//! How fast bytes pass: a guest as a Linux driver with all offloads would be, without a stack's own cost.
//!
//! `cargo test -p trine-net --release --test nat -- --ignored --nocapture speed`

use crate::host::{network, serve};
use crate::raw::{GATEWAY, checksum};
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use trine_base::bus::{Bus, DeviceId};
use trine_base::net::Segments;
use trine_base::{Actions, CountClock, Device, NetBackend, Offloads, Partial, StateError, Waker, Width};
use trine_net::UserNetwork;

/// Bytes for each measurement.
const MANY: usize = 2 << 30;
const MSS: u16 = 1460;
/// What our guest lets wait for it, and what it sends at once.
const WINDOW: usize = 512 << 10;
const LONG_SEGMENT: usize = 44 * MSS as usize;

/// A guest with one connection, which it drives itself.
struct Driver {
    net: UserNetwork,
    port: u16,
    seq: u32,
    ack: u32,
    /// The end of the window that the network gave.
    edge: u32,
    frame: Vec<u8>,
}

impl Driver {
    fn connect(mut net: UserNetwork, port: u16) -> Driver {
        net.set_gives(Offloads { checksum: true, tcp4: true, tcp6: true });
        let mut driver = Driver { net, port, seq: 1, ack: 0, edge: 0, frame: Vec::new() };
        driver.send(2, b"");
        driver.seq = 2;
        while driver.take().is_none() {}
        driver.send(0x10, b"");
        driver
    }

    fn send(&mut self, flags: u8, payload: &[u8]) {
        let options: &[u8] = if flags & 2 != 0 { &[2, 4, 5, 0xb4, 1, 3, 3, 4] } else { &[] };
        let length = (40 + options.len() + payload.len()) as u16;
        let mut ip = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2];
        ip[2..4].copy_from_slice(&length.to_be_bytes());
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        self.frame.clear();
        self.frame.extend_from_slice(&GATEWAY);
        self.frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0]);
        self.frame.extend_from_slice(&ip);
        self.frame.extend_from_slice(&40_000u16.to_be_bytes());
        self.frame.extend_from_slice(&self.port.to_be_bytes());
        self.frame.extend_from_slice(&self.seq.to_be_bytes());
        self.frame.extend_from_slice(&self.ack.to_be_bytes());
        let window = (WINDOW >> 4) as u16;
        self.frame.extend_from_slice(&[0x50 + ((options.len() as u8) << 2), flags]);
        self.frame.extend_from_slice(&window.to_be_bytes());
        self.frame.extend_from_slice(&[0; 4]);
        self.frame.extend_from_slice(options);
        self.frame.extend_from_slice(payload);
        let segments = (payload.len() > usize::from(MSS)).then_some((Segments::Tcp4, MSS));
        self.net.send(&self.frame, Partial { checksum: Some((34, 16)), segments, verified: false });
    }

    /// Takes a frame, and returns how many bytes it had.
    fn take(&mut self) -> Option<usize> {
        self.net.receive(&mut self.frame)?;
        if self.frame[12..14] != [8, 0] {
            return None;
        }
        let tcp = &self.frame[34..];
        let word = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        let (header, flags) = (usize::from(tcp[12] >> 4) * 4, tcp[13]);
        let length = tcp.len() - header;
        let syn = u32::from(flags & 2 != 0);
        self.ack = word(4).wrapping_add(length as u32 + syn + u32::from(flags & 1));
        let window = u32::from(u16::from_be_bytes([tcp[14], tcp[15]]));
        self.edge = word(8).wrapping_add(if syn == 1 { window } else { window << 4 });
        Some(length)
    }
}

/// A device that tells the test's thread when it is woken.
struct Bell(std::sync::mpsc::Sender<()>);

impl Device for Bell {
    fn name(&self) -> &str {
        "bell"
    }
    fn read(&mut self, _: u64, _: Width, _: u64, _: &mut Actions) -> u64 {
        0
    }
    fn write(&mut self, _: u64, _: Width, _: u64, _: u64, _: &mut Actions) {}
    fn timer(&mut self, _: u64, _: &mut Actions) {
        let _ = self.0.send(());
    }
    fn reset(&mut self, _: &mut Actions) {}
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn load(&mut self, _: &[u8]) -> Result<(), StateError> {
        Ok(())
    }
}

/// A waker, and where its calls arrive.
fn bell() -> (std::sync::Arc<Bus>, DeviceId, Receiver<()>) {
    let (tell, told) = channel();
    let mut bus = Bus::new(std::sync::Arc::new(CountClock::new(1, 0)), Vec::new());
    let id = bus.add(0, 0x1000, Box::new(Bell(tell))).unwrap();
    (std::sync::Arc::new(bus), id, told)
}

fn report(what: &str, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{what}: {:.2} Gbit/s", MANY as f64 * 8.0 / seconds / 1e9);
}

#[test]
#[ignore = "a measurement"]
fn speed_to_the_guest() {
    let (port, server) = serve("127.0.0.1:0", |mut stream| {
        let block = vec![7; 256 << 10];
        (0..MANY / block.len()).for_each(|_| stream.write_all(&block).unwrap());
    });
    let mut guest = Driver::connect(network(|_| ()), port);
    let (start, mut done) = (Instant::now(), 0);
    while done < MANY {
        let mut some = 0;
        while some < WINDOW / 2
            && let Some(count) = guest.take()
        {
            some += count;
        }
        done += some;
        if some > 0 {
            guest.send(0x10, b"");
        } else {
            std::thread::yield_now();
        }
    }
    report("host to guest", start);
    server.join().unwrap();
}

#[test]
#[ignore = "a measurement"]
fn speed_to_the_host() {
    let (port, server) = serve("127.0.0.1:0", |mut stream| {
        let mut block = vec![0; 256 << 10];
        let mut all = 0;
        while let Ok(count @ 1..) = stream.read(&mut block) {
            all += count;
        }
        all
    });
    let mut guest = Driver::connect(network(|_| ()), port);
    let payload = vec![7; LONG_SEGMENT];
    let (start, mut done) = (Instant::now(), 0);
    while done < MANY {
        while guest.take().is_some() {}
        if (guest.edge.wrapping_sub(guest.seq) as i32) < LONG_SEGMENT as i32 {
            std::thread::yield_now();
            continue;
        }
        guest.send(0x18, &payload);
        guest.seq = guest.seq.wrapping_add(LONG_SEGMENT as u32);
        done += LONG_SEGMENT;
    }
    guest.send(0x11, b"");
    assert!(server.join().unwrap() >= MANY);
    report("guest to host", start);
}

#[test]
fn the_device_is_woken_once_for_frames_it_waits_for() {
    let (port, server) = serve("127.0.0.1:0", |mut stream| stream.write_all(b"hello").unwrap());
    let (bus, id, told) = bell();
    let mut net = network(|_| ());
    let waker = Waker::new();
    net.set_waker(waker.clone());
    waker.connect(&bus, id);
    let mut guest = Driver { net, port, seq: 1, ack: 0, edge: 0, frame: Vec::new() };
    guest.send(2, b"");
    guest.seq = 2;
    let woken = || {
        let start = Instant::now();
        while told.try_recv().is_err() {
            bus.run_timers();
            assert!(start.elapsed() < Duration::from_secs(30), "not woken");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    woken();
    while guest.take().is_none() {
        woken();
    }
    guest.send(0x10, b"");
    let mut length = 0;
    while length < 5 {
        match guest.take() {
            Some(count) => length += count,
            None => woken(),
        }
    }
    server.join().unwrap();
}
