//! A debugger's stops on a CPU with a code base, for which a watchpoint's stop is behind the access.

use std::sync::Arc;
use trine_base::{DebugStop, Exit, Stops, Watchpoint};
use trine_engine::Tier;
use trine_toy_cpu::machine::{DATA, Memory, START, Toy};

/// Stores how often it was here, in 200 rounds.
const PROGRAM: &str = "ldiw r2, 0x100
    ldiw r4, 200
    ldi r5, 0
    ldi r0, 0
    loop:
    addi r0, 1
    stw (r2), r0
    addi r5, 1
    addi r4, -1
    bne @loop
    wait";

const WATCH: Watchpoint = Watchpoint { start: DATA + 0x100, bytes: 1, reads: false, writes: true };

/// Runs to the next watched store, which is done; returns the program counter.
fn next_store(toy: &mut Toy, tier: Tier) -> u64 {
    let rounds = toy.get("r0");
    let stop = DebugStop::Watch { point: WATCH, address: DATA + 0x100 };
    assert_eq!(toy.vcpu.run(100_000), Exit::Debugger(stop), "{tier:?}");
    assert_eq!((toy.get("r0"), toy.get("r5")), (rounds + 1, rounds), "{tier:?}");
    assert_eq!(u64::from(toy.read(DATA + 0x101, 1)[0]), rounds + 1, "{tier:?}: it is done");
    toy.vcpu.pc()
}

#[test]
fn watchpoints_stop_behind_the_access_and_breakpoints_before_the_instruction() {
    for tier in [Tier::Interp, Tier::Baseline] {
        let mut toy = Toy::new(Memory::Paged, tier, PROGRAM);
        assert_eq!(toy.vcpu.run(4 + 5 * 20), Exit::Budget);
        let watch = Stops { watchpoints: vec![WATCH], ..Stops::default() };
        assert!(toy.vcpu.set_stops(&Arc::new(watch.clone())));
        let behind = next_store(&mut toy, tier);
        for _ in 0..10 {
            assert_eq!(next_store(&mut toy, tier), behind);
        }
        // Breakpoints are linear addresses: the program counter and the code base.
        let mut both = watch;
        both.add_breakpoint(START.0 + behind);
        toy.vcpu.set_stops(&Arc::new(both));
        let at_breakpoint = Exit::Debugger(DebugStop::Breakpoint);
        assert_eq!(toy.vcpu.run(100_000), at_breakpoint);
        let rounds = toy.get("r5");
        assert_eq!(toy.vcpu.debug_step(), None);
        assert_eq!(toy.get("r5"), rounds + 1);
        next_store(&mut toy, tier);
        assert_eq!(toy.vcpu.run(100_000), at_breakpoint);
        toy.vcpu.set_stops(&Arc::default());
        assert_eq!(toy.vcpu.run(100_000), Exit::Idle { deadline: None });
        assert_eq!(toy.get("r5"), 200);
    }
}

#[test]
fn a_step_over_a_watched_access_is_a_stop_behind_it() {
    let mut toy = Toy::new(Memory::Paged, Tier::Interp, PROGRAM);
    assert_eq!(toy.vcpu.run(5), Exit::Budget);
    toy.vcpu.set_stops(&Arc::new(Stops { watchpoints: vec![WATCH], ..Stops::default() }));
    let stop = DebugStop::Watch { point: WATCH, address: DATA + 0x100 };
    assert_eq!(toy.vcpu.debug_step(), Some(Exit::Debugger(stop)));
    assert_eq!((toy.vcpu.count(), toy.read(DATA + 0x100, 2)), (6, vec![0, 1]));
    assert_eq!(toy.vcpu.debug_step(), None);
}
