//! Tests of the console device.

use super::*;
use crate::virtio::queue::MAX_SIZE;
use crate::virtio::tests::{BASE, DATA, Driver, INDIRECT, SIZE, WRITE};
use std::sync::Mutex;
use trine_base::Device;

struct Test {
    driver: Driver,
    input: Arc<ConsoleInput>,
    sent: Arc<Mutex<Vec<u8>>>,
}

fn test() -> Test {
    let (input, sent) = (Arc::new(ConsoleInput::new()), Arc::new(Mutex::new(Vec::new())));
    let theirs = sent.clone();
    let out: Output = Box::new(move |bytes| theirs.lock().unwrap().extend_from_slice(bytes));
    Test { driver: Driver::new(Console::new(out, input.clone())), input, sent }
}

#[test]
fn sends_what_the_driver_gives() {
    let mut t = test();
    t.driver.ram.write(DATA, b"hello, world").unwrap();
    t.driver.request(1, &[(DATA, 5), (DATA + 5, 7)], &[]);
    assert_eq!(*t.sent.lock().unwrap(), b"hello, world");
    assert_eq!(t.driver.last_used(1), (0, 0));
}

#[test]
fn gives_what_was_typed() {
    let mut t = test();
    t.driver.request(0, &[], &[(DATA, 3)]);
    assert_eq!(t.driver.used(0), 0, "nothing was typed yet");
    t.input.push(b"typed");
    t.driver.timer = Some(0);
    t.driver.turn();
    assert_eq!((t.driver.bytes(DATA, 4), t.driver.last_used(0)), (b"typ\0".to_vec(), (0, 3)));
    t.driver.request(0, &[], &[(DATA, 30)]);
    assert_eq!((t.driver.bytes(DATA, 3), t.driver.last_used(0)), (b"edp".to_vec(), (0, 2)));
}

#[test]
fn buffers_without_room_end_the_turn() {
    let mut t = test();
    t.input.push(b"x");
    t.driver.request(0, &[(DATA, 3)], &[]);
    assert_eq!((t.driver.used(0), t.input.len()), (1, 1), "the input waits for a buffer");
}

#[test]
fn a_chain_longer_than_memory_goes_out_in_turns() {
    // One indirect table of many descriptors, each of nearly all memory.
    let mut t = test();
    let sent = Arc::new(Mutex::new(0));
    let theirs = sent.clone();
    let out: Output = Box::new(move |bytes| {
        let mut sent = theirs.lock().unwrap();
        *sent += bytes.len();
        assert!(*sent < 64 << 20, "without end");
    });
    t.driver = Driver::new(Console::new(out, t.input));
    let [table, ..] = Driver::rings(1);
    t.driver.describe(table, 0, (DATA, MAX_SIZE as u32 * 16), INDIRECT, 0);
    for i in 0..MAX_SIZE {
        let next = if i + 1 < MAX_SIZE { 1 } else { 0 };
        t.driver.describe(DATA, i, (BASE, SIZE as u32), next, i + 1);
    }
    t.driver.offer(1, 0, 1);
    t.driver.notify(1);
    let first = *sent.lock().unwrap();
    assert!((1 << 20..16 << 20).contains(&first), "{first}");
    assert!(t.driver.turn());
    assert_eq!((*sent.lock().unwrap(), t.driver.used(1)), (2 * first, 0));
    // The driver stops the queue and begins anew.
    t.driver.write(0x30, 1);
    t.driver.write(0x44, 0);
    assert!(t.driver.turn() && !t.driver.turn(), "nothing is left of it");
    assert_eq!(*sent.lock().unwrap(), 2 * first);
}

#[test]
fn writable_buffers_are_not_sent() {
    let mut t = test();
    t.driver.describe(Driver::rings(1)[0], 0, (DATA, 8), WRITE, 0);
    t.driver.offer(1, 0, 1);
    t.driver.notify(1);
    assert_eq!((t.sent.lock().unwrap().len(), t.driver.used(1)), (0, 1));
}

/// `VIRTIO_CONSOLE_…` of the messages.
const READY: (u16, u16) = (0, 1);
const PORT_READY: (u16, u16) = (3, 1);
const OPEN: (u16, u16) = (6, 1);
const CLOSE: (u16, u16) = (6, 0);

/// A driver of a device with a console and a port for the terminal's size, which knows of several ports.
struct Ports {
    driver: Driver,
    size: Arc<TerminalSize>,
    input: Arc<ConsoleInput>,
}

/// A device with a console and a port for the terminal's size.
fn device(size: &Arc<TerminalSize>, input: &Arc<ConsoleInput>) -> Console {
    let console = Port::console(Box::new(|_| {}), input.clone());
    let ports = vec![console, Port::named("size", SizePort::new(size.clone()))];
    Console::with_ports(ports, size.clone())
}

fn ports() -> Ports {
    let (size, input) = (Arc::<TerminalSize>::default(), Arc::new(ConsoleInput::new()));
    let driver = Driver::with_features(device(&size, &input), F_SIZE | F_MULTIPORT);
    Ports { driver, size, input }
}

impl Ports {
    /// Sends a message.
    fn send(&mut self, port: u32, (event, value): (u16, u16)) {
        let bytes = [&port.to_le_bytes()[..], &event.to_le_bytes(), &value.to_le_bytes()].concat();
        self.driver.ram.write(DATA, &bytes).unwrap();
        self.driver.request(CONTROL_OUT, &[(DATA, 8)], &[]);
        self.driver.turn();
    }

    /// Receives what there is in a queue; `None` where there is nothing.
    fn take(&mut self, queue: usize) -> Option<Vec<u8>> {
        let before = self.driver.used(queue);
        self.driver.request(queue, &[], &[(DATA + 64, 64)]);
        if self.driver.used(queue) == before {
            // Takes the buffer back, as nothing filled it.
            self.driver.start_rings_anew(queue);
            self.driver.write(0x30, queue as u64);
            self.driver.write(0x44, 0);
            self.driver.set_up(queue as u64);
            return None;
        }
        Some(self.driver.bytes(DATA + 64, self.driver.last_used(queue).1 as usize))
    }

    /// The messages that wait: port, event and what follows the value.
    fn messages(&mut self) -> Vec<(u8, u8, Vec<u8>)> {
        let mut messages = Vec::new();
        while let Some(message) = self.take(CONTROL_IN) {
            assert_eq!((message[1..4].to_vec(), message[5..8].to_vec()), (vec![0; 3], vec![0, 1, 0]));
            messages.push((message[0], message[4], message[8..].to_vec()));
        }
        messages
    }
}

#[test]
fn a_driver_learns_of_all_ports() {
    let mut t = ports();
    assert_eq!((t.driver.read(0x104), t.messages()), (2, vec![]));
    t.send(0, READY);
    assert_eq!(t.messages(), [(0, 1, vec![]), (1, 1, vec![])]);
    t.size.set((24, 80));
    t.driver.wake();
    t.send(0, PORT_READY);
    assert_eq!(t.messages(), [(0, 4, vec![]), (0, 6, vec![]), (0, 5, vec![80, 0, 24, 0])]);
    t.send(1, PORT_READY);
    assert_eq!(t.messages(), [(1, 7, b"size".to_vec()), (1, 6, vec![])]);
    // Ports and events that there are not.
    t.send(9, PORT_READY);
    t.send(u32::MAX, OPEN);
    t.send(1, (77, 1));
    assert_eq!(t.messages(), []);
    t.input.push(b"typed");
    assert_eq!(t.take(0), Some(b"typed".to_vec()), "the console is port 0");
}

#[test]
fn a_console_is_told_when_its_size_changes() {
    let mut t = ports();
    t.send(0, READY);
    t.send(0, PORT_READY);
    t.messages();
    t.size.set((50, 132));
    t.driver.line.clear();
    t.driver.wake();
    assert_eq!((t.driver.read(0x100), t.driver.read(0x60) & 2), (50 << 16 | 132, 2));
    assert_eq!(t.messages(), [(0, 5, vec![132, 0, 50, 0])]);
    t.driver.write(0x64, 3);
    t.driver.wake();
    assert_eq!((t.driver.read(0x60), t.messages()), (0, vec![]), "nothing has changed");
    t.size.set((0, 7));
    assert_eq!(t.size.get(), None);
}

#[test]
fn a_port_tells_the_size_to_who_opens_it() {
    let mut t = ports();
    t.size.set((24, 80));
    t.driver.wake();
    assert_eq!(t.take(4), None, "nobody has opened it");
    t.send(1, OPEN);
    assert_eq!((t.take(4), t.take(4)), (Some(b"24 80\n".to_vec()), None));
    // Only the last of several changes counts.
    t.size.set((25, 80));
    t.size.set((30, 100));
    assert_eq!((t.take(4), t.take(4)), (Some(b"30 100\n".to_vec()), None));
    t.driver.ram.write(DATA, b"what it says").unwrap();
    t.driver.request(5, &[(DATA, 12)], &[]);
    assert_eq!(t.driver.used(5), 1);
    t.send(1, CLOSE);
    t.size.set((31, 100));
    assert_eq!(t.take(4), None);
    t.send(1, OPEN);
    assert_eq!(t.take(4), Some(b"31 100\n".to_vec()));
    // In pieces, if the guest has no more room.
    t.size.set((1, 2));
    t.driver.request(4, &[], &[(DATA, 3)]);
    assert_eq!(t.driver.bytes(DATA, 3), b"1 2");
    assert_eq!(t.take(4), Some(b"\n".to_vec()));
}

#[test]
fn a_driver_that_knows_of_one_port_has_that() {
    let (size, input) = (Arc::<TerminalSize>::default(), Arc::new(ConsoleInput::new()));
    let mut t = Ports { driver: Driver::new(device(&size, &input)), size, input };
    t.input.push(b"x");
    assert_eq!(t.take(0), Some(b"x".to_vec()));
    for queue in 2..6 {
        t.driver.request(queue, &[(DATA, 8)], &[(DATA, 8)]);
        assert_eq!(t.driver.used(queue), 0);
    }
    assert!(!t.driver.turn(), "and the device does not wait for it");
    assert!(!t.driver.needs_reset());
}

#[test]
fn messages_that_nobody_reads_fill_nothing() {
    let mut t = ports();
    for _ in 0..1000 {
        t.send(0, READY);
        t.send(1, PORT_READY);
    }
    assert_eq!(t.messages().len(), 4);
}

#[test]
fn a_saved_device_goes_on() {
    let mut t = ports();
    t.size.set((24, 80));
    t.input.push(b"typed");
    [(0, READY), (1, PORT_READY), (1, OPEN)].into_iter().for_each(|(port, what)| t.send(port, what));
    t.take(4).unwrap();
    let state = t.driver.mmio.save();
    let (size, input) = (Arc::<TerminalSize>::default(), Arc::new(ConsoleInput::new()));
    size.set((40, 90));
    let driver = Driver::with_ram(t.driver.ram.clone(), device(&size, &input), F_SIZE | F_MULTIPORT);
    let mut new = Ports { driver, size, input };
    new.driver.mmio.load(&state).unwrap();
    assert_eq!(new.driver.mmio.save(), state);
    assert_eq!(new.input.len(), 5);
    let mut other = Console::with_ports(vec![], Arc::default());
    let why = other.load(&device(&new.size, &new.input).save()).unwrap_err().to_string();
    assert!(why.contains("it had 2 ports, but this one has 0"), "{why}");
    // The new terminal has another size, which whoever has the port open is told.
    new.driver.wake();
    let mut port = SizePort::new(new.size.clone());
    port.opened(true);
    assert!(port.has_input() && port.input(9) == b"40 90\n" && !port.has_input());
}
