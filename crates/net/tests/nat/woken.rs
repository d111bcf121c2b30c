//! The device that takes the guest's frames is woken when there are some.

use crate::host::{network, serve};
use crate::raw::{ipv4, tcp};
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use trine_base::bus::Bus;
use trine_base::{Actions, CountClock, Device, NetBackend, Partial, StateError, Waker, Width};
use trine_net::UserNetwork;

/// A device that tells the test's thread when it is woken.
struct Bell(Sender<()>);

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

/// Sends a segment without a payload to a port of the host.
fn send(net: &mut UserNetwork, port: u16, numbers: (u32, u32), flags: u8) {
    let (guest, host) = ([10, 0, 2, 15], [10, 0, 2, 2]);
    let segment = tcp(guest, host, (40_000, port), numbers, flags, &[]);
    net.send(&ipv4(guest, host, 6, None, &segment), Partial::default());
}

/// The next segment for the guest. Where there is none, it waits to be woken.
fn next(net: &mut UserNetwork, woken: impl Fn()) -> Vec<u8> {
    loop {
        let mut frame = Vec::new();
        match net.receive(&mut frame) {
            Some(_) if frame[12..14] == [8, 0] => return frame[34..].to_vec(),
            Some(_) => {}
            None => woken(),
        }
    }
}

#[test]
fn the_device_is_woken_once_for_frames_it_waits_for() {
    let (port, server) = serve("127.0.0.1:0", |mut stream| stream.write_all(b"hello").unwrap());
    let (tell, told) = channel();
    let mut bus = Bus::new(Arc::new(CountClock::new(1, 0)), Vec::new());
    let id = bus.add(0, 0x1000, Box::new(Bell(tell))).unwrap();
    let bus = Arc::new(bus);
    let mut net = network(|_| ());
    let waker = Waker::new();
    net.set_waker(waker.clone());
    waker.connect(&bus, id);
    let woken = || {
        let start = Instant::now();
        while told.try_recv().is_err() {
            bus.run_timers();
            assert!(start.elapsed() < Duration::from_secs(30), "not woken");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    send(&mut net, port, (1, 0), 2);
    woken();
    let answer = next(&mut net, woken);
    let theirs = u32::from_be_bytes(*answer[4..].first_chunk().unwrap());
    send(&mut net, port, (2, theirs.wrapping_add(1)), 0x10);
    let mut said = Vec::new();
    while said.len() < 5 {
        let segment = next(&mut net, woken);
        said.extend_from_slice(&segment[usize::from(segment[12] >> 4) * 4..]);
    }
    assert_eq!(said, b"hello");
    server.join().unwrap();
}
