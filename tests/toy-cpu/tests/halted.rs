//! A CPU that waits for an interrupt executes nothing until it takes one, whatever else wakes its vCPU.

use trine_base::{Exit, Mailbox, vcpu_state};
use trine_engine::Tier;
use trine_toy_cpu::asm::assemble;
use trine_toy_cpu::machine::{Memory, Toy};
use trine_toy_cpu::state::{HALT, STEP, cause};

const TIERS: [Tier; 2] = [Tier::Interp, Tier::Baseline];
const IDLE: Exit = Exit::Idle { deadline: None };

/// Waits 20 times, so that the wait is compiled, and counts in r4 how often it went on.
const PROGRAM: &str = "ldiw r1, 0x200
    mts vec, r1
    ldi r2, 1
    mts ie, r2
    loop:
    wait
    addi r4, 1
    bra @loop";

/// Counts in r7 how often it was called, and goes on where the interrupt was taken.
const HANDLER: &str = "mfs r5, cause\naddi r7, 1\nrti";

fn halted(tier: Tier) -> Toy {
    let mut toy = Toy::new(Memory::Paged, tier, PROGRAM);
    toy.write(0x200, &assemble(0x200, HANDLER).unwrap());
    assert_eq!(toy.vcpu.run(1000), IDLE);
    for round in 1..=20 {
        interrupt(&mut toy);
        assert_eq!((toy.get("r4"), toy.get("r7"), toy.get("r5")), (round, round, cause::INTERRUPT));
    }
    assert!(tier == Tier::Interp || toy.vcpu.stats().is_some_and(|s| s.entered > 0), "nothing was compiled");
    toy
}

/// Has the CPU take one interrupt; it waits again afterwards.
fn interrupt(toy: &mut Toy) {
    toy.mailbox.set_line(0, true);
    // The handler's first instruction: the interrupt was taken.
    assert_eq!(toy.vcpu.run(1), Exit::Budget);
    toy.mailbox.set_line(0, false);
    assert_eq!(toy.vcpu.run(1000), IDLE);
}

/// What a vCPU that must still be halted does.
fn stays_halted(toy: &mut Toy, why: &str) {
    let before = (toy.vcpu.count(), toy.vcpu.pc(), toy.get("r4"));
    for _ in 0..3 {
        assert_eq!(toy.vcpu.run(1000), IDLE, "{why}");
    }
    assert_eq!((toy.vcpu.count(), toy.vcpu.pc(), toy.get("r4")), before, "{why}");
}

#[test]
fn what_is_not_an_interrupt_does_not_end_the_wait() {
    for tier in TIERS {
        let mut toy = halted(tier);
        toy.mailbox.kick();
        stays_halted(&mut toy, "a kick");
        toy.mailbox.request(Mailbox::CODE_WRITTEN);
        stays_halted(&mut toy, "code was written");
        toy.mailbox.request(Mailbox::PAUSE);
        assert_eq!(toy.vcpu.run(1000), Exit::Paused);
        stays_halted(&mut toy, "a pause");
        toy.mailbox.set_line(1, true);
        stays_halted(&mut toy, "a line that is not connected");
        assert_eq!(toy.vcpu.run(0), IDLE, "no budget");
        interrupt(&mut toy);
        assert_eq!((toy.get("r4"), toy.get("r7")), (21, 21), "{tier:?}");
    }
}

#[test]
fn an_interrupt_that_is_not_enabled_does_not_end_the_wait() {
    for tier in TIERS {
        let mut toy = Toy::new(Memory::Paged, tier, "ldi r2, 0\nmts ie, r2\nwait\naddi r4, 1\nwait");
        toy.mailbox.set_line(0, true);
        assert_eq!(toy.vcpu.run(1000), IDLE);
        stays_halted(&mut toy, "interrupts are off");
        assert_eq!(toy.get("r4"), 0, "{tier:?}");
    }
}

#[test]
fn a_halted_cpu_is_halted_after_loading() {
    for tier in TIERS {
        let old = halted(tier);
        let state = vcpu_state::save(&*old.vcpu);
        let mut new = Toy::new(Memory::Paged, tier, PROGRAM);
        new.write(0x200, &assemble(0x200, HANDLER).unwrap());
        vcpu_state::load(&mut *new.vcpu, &state).unwrap();
        stays_halted(&mut new, "loaded");
        interrupt(&mut new);
        assert_eq!((new.get("r4"), new.get("r7")), (21, 21), "{tier:?}");
        new.vcpu.reset();
        assert_eq!(new.vcpu.get(HALT), 0, "{tier:?}: a reset CPU runs");
    }
}

#[test]
fn a_single_step_does_not_end_the_wait() {
    for tier in TIERS {
        let mut toy = halted(tier);
        // No instruction leaves such a state, but a saved one may have it.
        toy.vcpu.set(STEP, 1);
        stays_halted(&mut toy, "a single step");
        toy.mailbox.set_line(0, true);
        assert_eq!(toy.vcpu.run(1), Exit::Budget);
        toy.mailbox.set_line(0, false);
        assert_eq!(toy.get("cause"), cause::INTERRUPT);
        assert_eq!(toy.vcpu.run(3), Exit::Budget);
        assert_eq!(
            (toy.get("r4"), toy.get("cause")),
            (21, cause::STEP),
            "{tier:?}: it steps behind the wait"
        );
    }
}
