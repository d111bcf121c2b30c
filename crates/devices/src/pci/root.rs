//! The root of the bus: which function is where, and the wires from it to the board.

use super::config::Mapping;
use super::{HostBridge, bar_offset};
use std::sync::{Arc, PoisonError, RwLock};
use trine_base::{Actions, Bus, Device, DeviceId, Router, SharedLine, Space, Width, WindowError};

/// The number of devices on the bus.
pub const SLOTS: u8 = 32;
/// Bytes of the configuration space of one function in the ECAM (log2), and of one device, which has up to 8.
const FUNCTION_BITS: u32 = 12;
const DEVICE_BITS: u32 = 15;

/// A BAR that answers.
struct Mapped {
    slot: u8,
    mapping: Mapping,
}

#[derive(Default)]
struct Table {
    functions: [Option<DeviceId>; SLOTS as usize],
    /// Sorted by slot: where two overlap, the first one answers.
    mapped: Vec<Mapped>,
}

/// How the board wires the bus.
#[derive(Clone, Copy, Debug)]
pub struct Wiring {
    /// The first of four inputs of the interrupt controller. Pin `p` (0 for INTA#) of device `d` drives input
    /// `(d + p) mod 4` of them.
    pub irq: u32,
    /// Whether the board has a target for messages (MSI-X): [`Bus::set_message_target`].
    pub messages: bool,
}

/// The root of the bus. Its table belongs to nobody's saved state: each function enters its windows when its own state
/// is loaded.
pub struct Root {
    wiring: Wiring,
    lines: [Arc<SharedLine>; 4],
    table: RwLock<Table>,
}

impl Root {
    /// Puts the bus on a board: wires its interrupts, and adds the host bridge in slot 0.
    pub fn new(bus: &mut Bus, wiring: Wiring) -> Arc<Root> {
        let root = Arc::new(Root { wiring, lines: Default::default(), table: RwLock::default() });
        for (line, shared) in (wiring.irq..).zip(&root.lines) {
            bus.share_line(line, shared.clone());
        }
        root.add(bus, 0, |_| Box::new(HostBridge::new()));
        root
    }

    /// Puts the configuration spaces of all functions at `size` bytes from `base` on: 1 MiB for each bus number that
    /// software may look at. Only bus 0 has functions.
    pub fn add_ecam(self: &Arc<Root>, bus: &mut Bus, base: u64, size: u64) -> Result<(), WindowError> {
        bus.add_router(Space::Memory, base, size, "pci-ecam", Arc::new(Ecam(self.clone())))
    }

    /// Passes accesses at `size` addresses from `base` on to BARs at the same addresses on the bus.
    pub fn add_window(self: &Arc<Root>, bus: &mut Bus, base: u64, size: u64) -> Result<(), WindowError> {
        bus.add_router(Space::Memory, base, size, "pci-window", Arc::new(Window { root: self.clone(), base }))
    }

    /// Puts what I/O ports are on the bus at `size` memory addresses from `base` on. There are none, as no function here
    /// has I/O BARs.
    pub fn add_ports(self: &Arc<Root>, bus: &mut Bus, base: u64, size: u64) -> Result<(), WindowError> {
        bus.add_router(Space::Memory, base, size, "pci-ports", Arc::new(NoPorts))
    }

    /// Adds the function of the device in a slot, below [`SLOTS`].
    pub fn add(
        self: &Arc<Root>,
        bus: &mut Bus,
        slot: u8,
        make: impl FnOnce(Seat) -> Box<dyn Device>,
    ) -> DeviceId {
        let id = bus.add_inner(make(Seat { root: self.clone(), slot }));
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = table.functions.get_mut(slot as usize) {
            *function = Some(id);
        }
        id
    }

    fn function(&self, slot: u64) -> Option<DeviceId> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        *table.functions.get(usize::try_from(slot).ok()?)?
    }

    /// The function whose BAR has the whole access, and the offset in its device.
    fn at(&self, address: u64, width: Width) -> Option<(DeviceId, u64)> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let inside = |m: &&Mapped| {
            let offset = address.wrapping_sub(m.mapping.base);
            offset < m.mapping.size && width.bytes() <= m.mapping.size - offset
        };
        let Mapped { slot, mapping } = table.mapped.iter().find(inside)?;
        let function = table.functions[*slot as usize]?;
        Some((function, bar_offset(mapping.bar) + (address - mapping.base)))
    }
}

/// A function's place on the bus.
#[derive(Clone)]
pub struct Seat {
    root: Arc<Root>,
    slot: u8,
}

impl Seat {
    /// A place on a bus that no board has, for tests of a function alone: its interrupts are inputs 32 to 35.
    pub fn alone(slot: u8, messages: bool) -> Seat {
        let (lines, table) = Default::default();
        let wiring = Wiring { irq: 32, messages };
        Seat { root: Arc::new(Root { wiring, lines, table }), slot: slot % SLOTS }
    }

    /// Whether the function may offer MSI-X.
    pub fn has_messages(&self) -> bool {
        self.root.wiring.messages
    }

    /// Says where the function's BARs answer now, instead of where they did.
    pub fn map(&self, mappings: &[Mapping]) {
        let mut table = self.root.table.write().unwrap_or_else(PoisonError::into_inner);
        table.mapped.retain(|m| m.slot != self.slot);
        table.mapped.extend(mappings.iter().map(|&mapping| Mapped { slot: self.slot, mapping }));
        table.mapped.sort_by_key(|m| m.slot);
    }

    /// Notes the level of the function's interrupt pin (INTA#) without an event, when its state is loaded.
    pub fn set_level(&self, level: bool) {
        self.root.lines[self.slot as usize % 4].set(self.slot.into(), level);
    }

    /// Drives the function's interrupt pin (INTA#).
    pub fn interrupt(&self, level: bool, out: &mut Actions) {
        self.set_level(level);
        out.irq(self.root.wiring.irq + self.slot as u32 % 4, level);
    }
}

/// Configuration space at memory addresses.
struct Ecam(Arc<Root>);

impl Router for Ecam {
    fn route(&self, offset: u64, width: Width) -> Option<(DeviceId, u64)> {
        let register = offset & ((1 << FUNCTION_BITS) - 1);
        let first_function = offset >> FUNCTION_BITS & 7 == 0;
        let whole = register + width.bytes() <= 1 << FUNCTION_BITS;
        let function = self.0.function(offset >> DEVICE_BITS)?;
        (first_function && whole).then_some((function, register))
    }
}

/// A part of the CPU's address space that is also one of the bus.
struct Window {
    root: Arc<Root>,
    base: u64,
}

impl Router for Window {
    fn route(&self, offset: u64, width: Width) -> Option<(DeviceId, u64)> {
        self.root.at(self.base + offset, width)
    }
}

struct NoPorts;

impl Router for NoPorts {
    fn route(&self, _offset: u64, _width: Width) -> Option<(DeviceId, u64)> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::{BarKind, ConfigSpace, Identity, Place};
    use trine_base::{Action, CountClock, StateError};

    const ECAM: u64 = 0x3000_0000;
    const LOW: u64 = 0x4000_0000;

    /// A function with one BAR of 4 KiB that shows which slot it is in, and that drives its pin.
    struct Card {
        seat: Seat,
        config: ConfigSpace,
    }

    impl Card {
        fn boxed(seat: Seat) -> Box<dyn Device> {
            let (device, revision, class, subsystem) = (0x99, 0, 0, (0, 0));
            let identity = Identity { vendor: 1, device, revision, class, subsystem, interrupt: true };
            let mut config = ConfigSpace::new(identity);
            config.add_bar(0, 0x1000, BarKind::Memory32);
            Box::new(Card { seat, config })
        }
    }

    impl Device for Card {
        fn name(&self) -> &str {
            "card"
        }
        fn read(&mut self, offset: u64, width: Width, _: u64, _: &mut Actions) -> u64 {
            match Place::of(offset) {
                Place::Config(offset) => self.config.read(offset, width),
                Place::Bar(bar, offset) => (self.seat.slot as u64) << 32 | (bar as u64) << 16 | offset,
            }
        }
        fn write(&mut self, offset: u64, width: Width, value: u64, _: u64, out: &mut Actions) {
            match Place::of(offset) {
                Place::Config(offset) => {
                    self.config.write(offset, width, value);
                    self.seat.map(&self.config.mappings());
                }
                Place::Bar(..) => self.seat.interrupt(value != 0, out),
            }
        }
        fn reset(&mut self, _: &mut Actions) {}
        fn save(&self) -> Vec<u8> {
            Vec::new()
        }
        fn load(&mut self, _: &[u8]) -> Result<(), StateError> {
            Ok(())
        }
    }

    fn board() -> Bus {
        let mut bus = Bus::new(Arc::new(CountClock::new(1, 0)), Vec::new());
        let root = Root::new(&mut bus, Wiring { irq: 32, messages: false });
        for slot in [2, 31] {
            root.add(&mut bus, slot, Card::boxed);
        }
        root.add_ecam(&mut bus, ECAM, 256 << 20).unwrap();
        root.add_window(&mut bus, LOW, 0x1000_0000).unwrap();
        root.add_window(&mut bus, 1 << 36, 1 << 30).unwrap();
        root.add_ports(&mut bus, 0x300_0000, 0x1_0000).unwrap();
        bus
    }

    fn config(slot: u64, register: u64) -> u64 {
        ECAM + (slot << 15) + register
    }

    #[test]
    fn functions_are_found_by_their_place() {
        let bus = board();
        for (address, expected) in [
            (config(0, 0), 0x0008_1b36),
            (config(2, 0), 0x0099_0001),
            (config(31, 0), 0x0099_0001),
            (config(1, 0), 0xffff_ffff),
            (config(2, 0) + 0x1000, 0xffff_ffff),
            (ECAM + (1 << 20), 0xffff_ffff),
            (ECAM + (256 << 20) - 4, 0xffff_ffff),
            (config(2, 0xffe), 0xffff_ffff),
            (LOW, 0xffff_ffff),
            (0x300_0000, 0xffff_ffff),
        ] {
            assert_eq!(bus.read(address, Width::B4), Some(expected), "{address:#x}");
        }
        bus.write(config(1, 4), Width::B4, 7).unwrap();
    }

    #[test]
    fn bars_move_as_the_guest_wants() {
        let bus = board();
        let place = |slot, at: u64| {
            bus.write(config(slot, 0x10), Width::B4, at).unwrap();
            bus.write(config(slot, 4), Width::B2, 2).unwrap();
        };
        place(2, LOW + 0x5000);
        place(31, LOW + 0x6000);
        assert_eq!(bus.read(LOW + 0x5008, Width::B8), Some(2 << 32 | 8));
        assert_eq!(bus.read(LOW + 0x6ffc, Width::B4), Some(0xffc));
        assert_eq!(bus.read(LOW + 0x5ffc, Width::B8), Some(!0), "no BAR has all of it");
        place(31, LOW + 0x5000);
        assert_eq!(bus.read(LOW + 0x5000, Width::B8), Some(2 << 32), "the first one answers");
        bus.write(config(2, 4), Width::B2, 0).unwrap();
        assert_eq!(bus.read(LOW + 0x5000, Width::B8), Some(31 << 32));
        assert_eq!(bus.read(LOW + 0x6000, Width::B1), Some(0xff));
        place(31, 0xffff_f000);
        assert_eq!(bus.read(LOW + 0x5000, Width::B8), Some(!0), "it left the bridge's windows");
    }

    #[test]
    fn pins_are_spread_over_four_lines() {
        for (slot, line) in [(0, 32), (2, 34), (3, 35), (4, 32), (31, 35)] {
            let (seat, mut out) = (Seat::alone(slot, false), Actions::new());
            seat.interrupt(true, &mut out);
            assert_eq!(out.drain().collect::<Vec<_>>(), [Action::Irq { line, level: true }], "{slot}");
            assert!(seat.root.lines[slot as usize % 4].level());
        }
    }
}
