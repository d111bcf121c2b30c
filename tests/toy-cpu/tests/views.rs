//! Registers that are not one slot each, as a debugger sees them.

use trine_base::target::{Feature, Place, Register, Target};
use trine_base::{RegisterInfo, Vcpu};
use trine_engine::Tier;
use trine_gdb::Layout;
use trine_toy_cpu::machine::{Memory, Toy};
use trine_toy_cpu::state::{REGISTERS, SLOTS, VIEWS};

/// The views, and a register that is a slot, for gdb.
fn layout() -> Layout {
    let view = |v: &RegisterInfo| {
        let kind = if v.bits == 128 { "uint128" } else { "int" };
        Register { name: v.name.into(), bits: v.bits, kind, place: Place::View(v.slot) }
    };
    let r0 = Register { name: "r0".into(), bits: 16, kind: "int", place: Place::Slot(0) };
    let registers = VIEWS.iter().map(view).chain([r0]).collect();
    Layout::new(Target { architecture: "t16", features: vec![Feature { name: "t16.all", registers }] })
}

#[test]
fn numbers_of_views_are_above_all_slots() {
    assert!(REGISTERS.iter().all(|r| usize::from(r.slot) < SLOTS));
    assert!(VIEWS.iter().all(|v| usize::from(v.slot) >= SLOTS));
}

#[test]
fn views_are_computed_of_slots_and_written_to_them() {
    let layout = layout();
    assert!(layout.xml().contains("<reg name=\"v1\" bitsize=\"128\" type=\"uint128\"/>"));
    let [ccr, v1, r0] = ["ccr", "v1", "r0"].map(|name| layout.number(name).expect(name));
    assert_eq!([ccr, v1, r0].map(|n| layout.bytes(n)), [Some(1), Some(16), Some(2)]);
    for tier in [Tier::Interp, Tier::Baseline] {
        // The difference 0 has Z, and no borrow.
        let mut toy = Toy::new(Memory::Direct, tier, "ldiw r0, 7\n sub r0, r0\n trap 0");
        toy.vcpu.run(1000);
        let vcpu: &mut dyn Vcpu = &mut *toy.vcpu;
        assert_eq!(layout.values(vcpu)[ccr], 0b0100, "{tier:?}");
        let wide = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
        layout.set(vcpu, ccr, 0b1001);
        layout.set(vcpu, v1, wide);
        let values = layout.values(vcpu);
        assert_eq!((values[ccr], values[v1], values[r0]), (0b1001, wide, 0));
        assert_eq!(["n", "z", "c", "v"].map(|name| toy.get(name)), [1, 0, 1, 0]);
        assert_eq!((toy.get("v1.0"), toy.get("v1.1")), (wide as u64, (wide >> 64) as u64));
        assert_eq!((toy.get("v0.1"), toy.get("v2.0")), (0, 0));
    }
}
