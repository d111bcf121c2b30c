//! Tests of the functions of a hart for the CPU's own Rust code: memory access with a privilege, events, an
//! interrupt controller.

use std::sync::Arc;
use trine_base::{Actions, Bus, CountClock, Device, Mailbox, StateError, Vcpu, Width};
use trine_conformance::bare::{BASE, Bare};
use trine_engine::core::Core;
use trine_engine::{Tier, Time};
use trine_ir::{Access, Hart, Leave};
use trine_isa_riscv::state::mode::{REGIME_M, REGIME_S, REGIME_U};
use trine_isa_riscv::state::{self, level};
use trine_isa_riscv::{Config, Rv64, Start};
use trine_memory::Ram;

const ROOT: u64 = BASE + 0x10_0000;
const FRAME: u64 = BASE + 0x20_0000;
/// Sv39: the second gigabyte has one user page of 4 KiB and one supervisor page; the rest is not mapped.
const USER: u64 = 1 << 30;
const KERNEL: u64 = USER + 0x1000;
const NOTHING: u64 = USER + 0x2000;

fn hart() -> Bare {
    let mut bare = Bare::new(Tier::Interp, "addi zero, zero, 0");
    let entry = |at: u64, to: u64, flags: u64| bare.poke(at, to >> 12 << 10 | flags);
    // Pointers have V; leaves V, R, W, A and D, and U for the first page.
    entry(ROOT + 8, ROOT + 0x1000, 1);
    entry(ROOT + 0x1000, ROOT + 0x2000, 1);
    entry(ROOT + 0x2000, FRAME, 0xd7);
    entry(ROOT + 0x2008, FRAME + 0x1000, 0xc7);
    bare.vcpu.set(state::SATP, 8 << 60 | ROOT >> 12);
    bare.vcpu.set(state::PMPCFG0, 0x1f);
    bare.vcpu.set(state::PMPADDR, (1 << 54) - 1);
    bare.vcpu.set(state::PRIV, level::S);
    bare
}

/// The cause and the value of the exception that was raised.
fn trap(bare: &Bare) -> (u64, u64) {
    let trap = bare.vcpu.core().trap.get();
    (trap.cause, trap.value)
}

#[test]
fn memory_is_as_the_privilege_sees_it() {
    let bare = hart();
    let hart: &dyn Hart = bare.vcpu.core();
    assert_eq!(hart.store(REGIME_S, Width::B8, KERNEL + 8, 7), Ok(()));
    assert_eq!(hart.load(REGIME_S, Width::B8, KERNEL + 8), Ok(7));
    assert_eq!(hart.load(REGIME_M, Width::B8, FRAME + 0x1008), Ok(7), "the machine sees physical addresses");
    assert_eq!(hart.load(REGIME_U, Width::B8, KERNEL + 8), Err(Leave::Trap));
    assert_eq!(trap(&bare), (13, KERNEL + 8));
    assert_eq!(hart.load(REGIME_U, Width::B4, USER), Ok(0));
    assert_eq!(hart.store(REGIME_S, Width::B1, USER, 1), Err(Leave::Trap), "SUM is off");
    assert_eq!(trap(&bare), (15, USER));
}

#[test]
fn a_probe_raises_what_the_access_would_and_does_nothing() {
    let bare = hart();
    let hart: &dyn Hart = bare.vcpu.core();
    assert_eq!(hart.probe(REGIME_S, Access::Write, KERNEL, 0x1000), Ok(()));
    assert_eq!(hart.probe(REGIME_S, Access::Write, KERNEL + 0xff8, 9), Err(Leave::Trap));
    assert_eq!(trap(&bare), (15, NOTHING));
    assert_eq!(hart.probe(REGIME_U, Access::Read, USER + 0xfff, 2), Err(Leave::Trap));
    assert_eq!(trap(&bare), (13, KERNEL));
    assert_eq!(hart.probe(REGIME_S, Access::Execute, KERNEL, 0), Err(Leave::Trap), "of no bytes is of one");
    assert_eq!(trap(&bare), (12, KERNEL));
    assert_eq!(hart.phys_load(FRAME + 0x1ff8, Width::B8), Some(0));
}

#[test]
fn physical_stores_reach_memory_and_nothing_else() {
    let bare = hart();
    let hart: &dyn Hart = bare.vcpu.core();
    assert_eq!(hart.phys_store(FRAME, Width::B4, 0x1_2345_6789), Some(()));
    assert_eq!(hart.load(REGIME_U, Width::B8, USER), Ok(0x2345_6789));
    assert_eq!(hart.phys_store(0x1000, Width::B4, 1), None);
}

#[test]
fn an_edge_is_seen_until_it_is_taken() {
    let bare = hart();
    let hart: &dyn Hart = bare.vcpu.core();
    bare.vcpu.mailbox().post_edge(3);
    assert_eq!((hart.edges(), hart.lines()), (8, 0));
    assert_eq!([3, 3].map(|n| hart.take_edge(n)), [true, false]);
    assert_eq!(hart.edges(), 0);
}

/// A device that remembers the offset and the value that were written last.
struct Latch(u64);
impl Device for Latch {
    fn name(&self) -> &str {
        "latch"
    }
    fn read(&mut self, offset: u64, _: Width, _: u64, _: &mut Actions) -> u64 {
        self.0 | offset
    }
    fn write(&mut self, offset: u64, _: Width, value: u64, _: u64, _: &mut Actions) {
        self.0 = value << 8 | offset << 4;
    }
    fn acknowledge(&mut self, _: &mut Actions) -> Option<u32> {
        Some(self.0 as u32)
    }
    fn reset(&mut self, _: &mut Actions) {}
    fn save(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }
    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        self.0 = u64::from_le_bytes(
            state
                .try_into()
                .map_err(|_| StateError::Damaged { what: "latch", why: "it has 8 bytes".into() })?,
        );
        Ok(())
    }
}

/// vCPUs in M mode with a page of memory and the devices that `add` puts on their bus.
fn cores<const N: usize>(add: impl FnOnce(&mut Bus)) -> [Box<Core<Rv64>>; N] {
    let clock = Arc::new(CountClock::new(1, 0));
    let mailboxes: [Arc<Mailbox>; N] = std::array::from_fn(|_| Arc::default());
    let mut bus = Bus::new(clock.clone(), mailboxes.to_vec());
    add(&mut bus);
    let (bus, ram) = (Arc::new(bus), Arc::new(Ram::new(BASE, 0x1000).unwrap()));
    mailboxes.map(|mailbox| {
        let config = Config { hart: 0, start: Start::Machine };
        Core::new(config, ram.clone(), bus.clone(), Time::Count(clock.clone()), mailbox, Arc::default())
    })
}

/// The registers of a local interrupt controller are at the same address for each vCPU; each reaches its own,
/// and is told by it which interrupt to take.
#[test]
fn each_vcpu_reaches_its_own_interrupt_controller() {
    const AT: u64 = 0xfee0_0000;
    let cores: [_; 2] = cores(|bus| {
        for (vcpu, pending) in [0x31, 0x40].into_iter().enumerate() {
            let id = bus.add_local(vcpu, AT, 0x1000, Box::new(Latch(pending))).unwrap();
            bus.set_local_controller(vcpu, id);
        }
    });
    let harts = cores.each_ref().map(|core| -> &dyn Hart { &**core });
    assert_eq!(harts.map(|hart| hart.acknowledge()), [Some(0x31), Some(0x40)]);
    for (hart, value) in harts.into_iter().zip([5, 6]) {
        assert_eq!(hart.store(REGIME_M, Width::B4, AT, value), Ok(()));
    }
    assert_eq!(harts.map(|hart| hart.load(REGIME_M, Width::B4, AT)), [Ok(0x500), Ok(0x600)]);
    assert_eq!(harts.map(|hart| hart.load(REGIME_M, Width::B4, AT + 0x1000)), [Err(Leave::Trap); 2]);
    assert_eq!(hart().vcpu.core().acknowledge(), None, "no controller is of that kind");
}

#[test]
fn ports_without_a_device_read_as_ones() {
    let [core] = cores(|bus| {
        bus.add_ports(0x3f8, 8, Box::new(Latch(0))).unwrap();
    });
    core.port_out(0x3f9, Width::B2, 0x1_2345);
    assert_eq!(core.port_in(0x3fa, Width::B4), 0x23_4512, "cut to the width");
    core.port_out(0x80, Width::B1, 5);
    assert_eq!([Width::B1, Width::B2, Width::B4].map(|w| core.port_in(0x80, w)), [0xff, 0xffff, 0xffff_ffff]);
}
