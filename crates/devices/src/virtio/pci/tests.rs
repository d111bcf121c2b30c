//! A driver for the PCI transport.

use super::*;
use crate::pci::bar_offset;
use crate::virtio::rng::Rng;
use crate::virtio::tests::{DATA, WRITE, source};
use trine_base::Action;

const BASE: u64 = 0x8000_0000;
const RINGS: [u64; 3] = [BASE, BASE + 0x1000, BASE + 0x2000];
const SIZE: u64 = 8;

/// What a function asked for that another part of the board sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    Pin(bool),
    Message(u64, u32),
}

struct Test {
    pci: Pci,
    ram: Arc<Ram>,
    seen: Vec<Seen>,
    offered: u64,
}

impl Test {
    /// A function whose driver has done nothing yet.
    fn fresh(messages: bool) -> Test {
        let ram = Arc::new(Ram::new(BASE, 16 << 20).unwrap());
        let device = Box::new(Rng::new(source(|bytes| bytes.fill(7))));
        let pci = Pci::new(Seat::alone(2, messages), ram.clone(), device);
        Test { pci, ram, seen: Vec::new(), offered: 0 }
    }

    /// A function whose queue works.
    fn new(messages: bool) -> Test {
        let mut t = Test::fresh(messages);
        t.set(4, Width::B2, 6);
        t.negotiate();
        t
    }

    fn negotiate(&mut self) {
        let [d, a, u] = RINGS;
        let steps = [
            (0x14, Width::B1, 3),
            (0x08, Width::B4, 1),
            (0x0c, Width::B4, 1),
            (0x14, Width::B1, 11),
            (0x16, Width::B2, 0),
            (0x18, Width::B2, SIZE),
            (0x20, Width::B4, d),
            (0x24, Width::B4, d >> 32),
            (0x28, Width::B8, a),
            (0x30, Width::B8, u),
            (0x1c, Width::B2, 1),
            (0x14, Width::B1, 15),
        ];
        steps.iter().for_each(|&(offset, width, value)| self.write(offset, width, value));
    }

    fn note(&mut self, mut out: Actions) {
        for action in out.drain() {
            match action {
                Action::Irq { line: 34, level } => self.seen.push(Seen::Pin(level)),
                Action::Message { address, data } => self.seen.push(Seen::Message(address, data)),
                Action::Timer { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    fn write_at(&mut self, offset: u64, width: Width, value: u64) {
        let mut out = Actions::new();
        self.pci.write(offset, width, value & width.mask(), 0, &mut out);
        self.note(out);
    }

    fn read_at(&mut self, offset: u64, width: Width) -> u64 {
        let mut out = Actions::new();
        let value = self.pci.read(offset, width, 0, &mut out) & width.mask();
        self.note(out);
        value
    }

    /// Reads the configuration space.
    fn get(&mut self, offset: u64, width: Width) -> u64 {
        self.read_at(offset, width)
    }

    fn set(&mut self, offset: u64, width: Width, value: u64) {
        self.write_at(offset, width, value);
    }

    /// Reads virtio's registers.
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        self.read_at(bar_offset(BAR) + offset, width)
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) {
        self.write_at(bar_offset(BAR) + offset, width, value);
    }

    /// Makes a buffer of 4 bytes available.
    fn offer(&mut self) {
        let [table, available, _] = RINGS;
        self.ram.store(table, Width::B8, DATA).unwrap();
        self.ram.store(table + 8, Width::B8, 4 | (WRITE as u64) << 32).unwrap();
        self.offered += 1;
        self.ram.store(available + 2, Width::B2, self.offered).unwrap();
    }

    fn request(&mut self) {
        self.offer();
        self.write(part::NOTIFY, Width::B2, 0);
    }

    fn used(&self) -> u64 {
        self.ram.load(RINGS[2] + 2, Width::B2).unwrap()
    }
}

/// The virtio structures that the capabilities name: kind, BAR, offset, bytes, and where the capability is.
fn structures(t: &mut Test) -> Vec<(u64, u64, u64, u64, u64)> {
    let mut found = Vec::new();
    let mut at = t.get(0x34, Width::B1);
    while at != 0 {
        if t.get(at, Width::B1) == capability::ID as u64 {
            let [kind, bar] = [3, 4].map(|i| t.get(at + i, Width::B1));
            let [offset, len] = [8, 12].map(|i| t.get(at + i, Width::B4));
            found.push((kind, bar, offset, len, at));
        }
        at = t.get(at + 1, Width::B1);
    }
    found
}

#[test]
fn a_driver_finds_the_structures() {
    let mut t = Test::fresh(true);
    assert_eq!(t.get(0, Width::B4), 0x1044_1af4);
    assert_eq!(t.get(8, Width::B4), 0x00ff_0001);
    let found = structures(&mut t);
    let places: Vec<_> = found.iter().map(|s| (s.0, s.1, s.2, s.3)).collect();
    let expected =
        [(1, 4, 0, 0x1000), (3, 4, 0x1000, 0x1000), (4, 4, 0x2000, 0x1000), (2, 4, 0x3000, 0x1000)];
    assert_eq!(places[..4], expected);
    assert_eq!(t.get(found[3].4 + 16, Width::B4), part::NOTIFY_STRIDE);
    assert_eq!(found[4].0, 5);
    // The last capability is MSI-X; where there is no target for messages, it and its BAR are missing.
    assert_eq!(t.get(t.pci.access + 0x14, Width::B1), 0x11);
    t.set(0x14, Width::B4, 0xffff_ffff);
    assert_eq!(t.get(0x14, Width::B4), 0xffff_f000);
    let mut t = Test::fresh(false);
    t.set(0x14, Width::B4, 0xffff_ffff);
    assert_eq!((structures(&mut t).len(), t.get(0x14, Width::B4)), (5, 0));
}

#[test]
fn the_common_configuration_shows_what_was_written() {
    let mut t = Test::new(true);
    for (offset, width, expected) in [
        (0x00, Width::B4, 0),
        (0x04, Width::B4, 0x3000_0000),
        (0x08, Width::B4, 1),
        (0x0c, Width::B4, 1),
        (0x10, Width::B2, 0xffff),
        (0x12, Width::B2, 1),
        (0x14, Width::B1, 15),
        (0x16, Width::B2, 0),
        (0x18, Width::B2, SIZE),
        (0x1a, Width::B2, 0xffff),
        (0x1c, Width::B2, 1),
        (0x1e, Width::B2, 0),
        (0x20, Width::B4, RINGS[0]),
        (0x28, Width::B8, RINGS[1]),
        (0x30, Width::B4, RINGS[2]),
        (0x34, Width::B4, 0),
        (0x3a, Width::B2, 0),
    ] {
        assert_eq!(t.read(offset, width), expected, "{offset:#x}");
    }
    t.write(0x20, Width::B4, 0);
    t.write(0x1c, Width::B2, 0);
    assert_eq!((t.read(0x20, Width::B4), t.read(0x1c, Width::B2)), (RINGS[0], 1), "only a reset helps");
    t.write(0x3a, Width::B2, 1);
    assert_eq!((t.read(0x1c, Width::B2), t.read(0x18, Width::B2)), (0, MAX_SIZE as u64));
    t.write(0x18, Width::B2, MAX_SIZE as u64 + 1);
    t.write(0x1c, Width::B2, 1);
    assert_eq!((t.read(0x1c, Width::B2), t.read(0x18, Width::B2)), (1, MAX_SIZE as u64));
    t.write(0x16, Width::B2, 1);
    assert_eq!((t.read(0x18, Width::B2), t.read(0x1a, Width::B2)), (0, 0xffff), "there is no second queue");
}

#[test]
fn the_pin_is_driven_until_the_status_is_read() {
    let mut t = Test::new(true);
    t.request();
    assert_eq!((t.used(), t.seen()), (1, vec![Seen::Pin(true)]));
    assert_eq!(t.get(6, Width::B1) & 8, 8, "the interrupt status");
    t.set(4, Width::B2, 0x406);
    assert_eq!(t.seen(), [Seen::Pin(false)], "the pin may not be used");
    t.set(4, Width::B2, 6);
    assert_eq!(t.seen(), [Seen::Pin(true)]);
    assert_eq!((t.read(part::ISR, Width::B1), t.seen()), (1, vec![Seen::Pin(false)]));
    assert_eq!((t.read(part::ISR, Width::B1), t.seen()), (0, vec![]));
    assert_eq!(t.get(6, Width::B1) & 8, 0);
}

#[test]
fn messages_have_a_vector_for_each_event() {
    let mut t = Test::new(true);
    let control = t.pci.access + 0x14 + 2;
    t.set(control, Width::B2, 0x8000);
    for vector in 0..2 {
        let table = bar_offset(MSIX_BAR) + 16 * vector;
        [(0, 0x2800_0000), (8, 50 + vector), (12, 0)]
            .iter()
            .for_each(|&(at, v)| t.write_at(table + at, Width::B4, v));
    }
    t.request();
    assert_eq!((t.used(), t.seen()), (1, vec![]), "no vector yet");
    t.write(0x10, Width::B2, 0);
    t.write(0x1a, Width::B2, 1);
    assert_eq!((t.read(0x10, Width::B2), t.read(0x1a, Width::B2)), (0, 1));
    t.request();
    assert_eq!(t.seen(), [Seen::Message(0x2800_0000, 51)]);
    assert_eq!(t.read(part::ISR, Width::B1), 0);
    t.offer();
    t.ram.store(RINGS[0], Width::B8, 0).unwrap();
    t.write(part::NOTIFY, Width::B2, 0);
    assert_eq!(t.seen(), [Seen::Message(0x2800_0000, 50)], "it needs a reset");
    t.write(0x10, Width::B2, 2);
    t.write(0x1a, Width::B2, 2);
    assert_eq!((t.read(0x10, Width::B2), t.read(0x1a, Width::B2)), (0xffff, 0xffff), "there are two vectors");
}

#[test]
fn memory_is_accessed_only_where_the_guest_allows_it() {
    let mut t = Test::fresh(false);
    t.negotiate();
    t.request();
    assert_eq!(t.used(), 0);
    t.set(4, Width::B2, 6);
    assert_eq!((t.used(), t.seen()), (1, vec![Seen::Pin(true)]), "the notification was not lost");
}

#[test]
fn bars_are_reached_through_the_configuration_space() {
    let mut t = Test::new(false);
    let cap = t.pci.access;
    let data = cap + 16;
    let choose = |t: &mut Test, bar, offset, len| {
        t.set(cap + 4, Width::B1, bar);
        t.set(cap + 8, Width::B4, offset);
        t.set(cap + 12, Width::B4, len);
    };
    choose(&mut t, 4, 0x14, 1);
    assert_eq!(t.get(data, Width::B4), 15);
    t.offer();
    choose(&mut t, 4, part::NOTIFY, 2);
    t.set(data, Width::B2, 0);
    assert_eq!((t.used(), t.seen()), (1, vec![Seen::Pin(true)]));
    choose(&mut t, 4, part::ISR, 1);
    assert_eq!((t.get(data, Width::B1), t.seen()), (1, vec![Seen::Pin(false)]));
    for (bar, offset, len) in
        [(4, 0x15, 2), (4, 0x4000, 4), (4, u32::MAX as u64, 1), (4, 0x20, 8), (4, 0, 0), (4, 0, 3)]
    {
        choose(&mut t, bar, offset, len);
        t.set(data, Width::B4, !0);
        assert_eq!(t.get(data, Width::B4), 0, "{bar} {offset:#x} {len}");
    }
}

#[test]
fn a_reset_by_the_driver_keeps_the_configuration_space() {
    let mut t = Test::new(true);
    t.write(0x1a, Width::B2, 1);
    t.request();
    t.write(0x14, Width::B1, 0);
    assert_eq!(t.seen(), [Seen::Pin(true), Seen::Pin(false)]);
    assert_eq!((t.read(0x14, Width::B1), t.read(0x1a, Width::B2), t.get(4, Width::B2)), (0, 0xffff, 6));
    let mut out = Actions::new();
    t.pci.reset(&mut out);
    assert_eq!(t.get(4, Width::B2), 0);
}

#[test]
fn a_loaded_function_answers_where_it_did() {
    let mut old = Test::new(true);
    old.set(0x20, Width::B8, 0x4_0000_0000);
    old.request();
    let mut new = Test::fresh(true);
    new.pci.load(&old.pci.save()).unwrap();
    assert_eq!(new.pci.config.mappings(), old.pci.config.mappings());
    assert_eq!(new.read(part::ISR, Width::B1), 1);
    let mut other = Test::fresh(false);
    assert!(matches!(other.pci.load(&old.pci.save()), Err(StateError::Damaged { .. })));
}

#[test]
fn anything_a_guest_may_do() {
    for messages in [false, true] {
        let mut t = Test::new(messages);
        let places = [0, bar_offset(0), bar_offset(MSIX_BAR), bar_offset(BAR), u64::MAX - 0x1000];
        for offset in places.into_iter().flat_map(|base| (base..base + 0x1000).step_by(3)) {
            for (width, value) in [(Width::B1, !0), (Width::B2, 1), (Width::B4, 0x100), (Width::B8, !0)] {
                t.write_at(offset, width, value);
                t.read_at(offset, width);
            }
        }
        for offset in [part::ISR, part::DEVICE, part::NOTIFY, part::SIZE, 0xffff_fff8] {
            t.write(offset, Width::B8, !0);
            t.read(offset, Width::B8);
        }
    }
}
