//! Instructions that are executed alone: single steps, and stores to code that the next instruction must see.

use trine_base::{Exit, Width};
use trine_engine::Tier;
use trine_ir::{Access, Hart, Leave};
use trine_toy_cpu::asm::assemble;
use trine_toy_cpu::machine::{Memory, START, Toy};
use trine_toy_cpu::state::{ESTATUS, cause, mode::REGIME_SYSTEM};

const TIERS: [Tier; 2] = [Tier::Interp, Tier::Baseline];

#[test]
fn a_store_to_the_next_instruction_is_seen() {
    // The instruction at `patch` is written just before it, as `addi r5, 2` and `addi r5, 1` in turn.
    let program = "ldiw r1, 0x100
        mts db, r1
        ldiw r2, =patch
        ldiw r3, 0x3d02
        ldi r1, 3
        ldiw r4, 200
        ldi r5, 0
        loop:
        addi r0, 1
        stw (r2), r3
        patch:
        nop
        xor r3, r1
        addi r4, -1
        bne @loop
        wait";
    for tier in TIERS {
        let mut toy = Toy::new(Memory::Paged, tier, program);
        assert_eq!(toy.vcpu.run(100_000), Exit::Idle { deadline: None });
        assert_eq!((toy.get("r5"), toy.get("r0")), (100 * 2 + 100, 200), "{tier:?}");
        assert_eq!(toy.vcpu.count(), 7 + 200 * 6 + 1, "{tier:?}: each is done and counted once");
    }
}

#[test]
fn nothing_changes_code_unless_it_is_alone() {
    let mut toy = Toy::new(Memory::Paged, Tier::Interp, "wait");
    assert_eq!(toy.vcpu.run(10), Exit::Idle { deadline: None });
    let hart = toy.vcpu.hart();
    let code = START.0 + START.1;
    let before = toy.read(code - 4, 12);
    let alone = Err(Leave::Alone);
    assert_eq!(hart.store(REGIME_SYSTEM, Width::B8, code, 1), alone);
    assert_eq!(Hart::probe(hart, REGIME_SYSTEM, Access::Write, code & !0xfff, 1), alone);
    assert_eq!(hart.zero(code & !63, 64), alone);
    assert_eq!(toy.vcpu.add_atomically(REGIME_SYSTEM, code & !3, 1), Err(Leave::Alone));
    assert_eq!(toy.vcpu.exchange(REGIME_SYSTEM, code & !3, 0, 1), Err(Leave::Alone));
    // One that begins in the page before, which contains no code.
    assert_eq!(hart.store(REGIME_SYSTEM, Width::B8, (code & !0xfff) - 4, 1), alone);
    assert_eq!(toy.read(code - 4, 12), before);
    assert_eq!(Hart::probe(hart, REGIME_SYSTEM, Access::Read, code, 4), Ok(()));
}

/// Steps through `go`, whose last instruction is `trap 0`, with a handler that counts in r7 (and changes condition codes).
fn steps(tier: Tier, status: u64, line: bool) -> Toy {
    let program = format!(
        "ldiw r1, 0x200
         mts vec, r1
         ldiw r1, 256
         mts ecb, r1
         ldiw r1, =go
         mts epc, r1
         ldi r1, {status}
         mts estatus, r1
         rti
         go:
         ldi r4, 3
         bra @on
         ldi r4, 100
         on:
         addi r4, -1
         addi r4, -1
         addi r4, -1
         nop
         trap 0"
    );
    let mut toy = Toy::new(Memory::Paged, tier, &program);
    let handler = "addi r7, 1
        mfs r5, cause
        ldi r0, 9
        cmp r5, r0
        bne @end
        rti
        end:
        bra @end";
    toy.write(0x200, &assemble(0x200, handler).unwrap());
    toy.mailbox.set_line(0, line);
    assert_eq!(toy.vcpu.run(300), Exit::Budget);
    toy
}

#[test]
fn every_instruction_of_a_single_step_traps_behind_it() {
    for tier in TIERS {
        // `ldi`, `bra`, three times `addi`, `nop`; then the trap of the program itself.
        let toy = steps(tier, 4, false);
        assert_eq!((toy.get("r7"), toy.get("r5"), toy.get("r4")), (6 + 1, cause::TRAP, 0), "{tier:?}");
        assert_eq!(toy.vcpu.get(ESTATUS), 4, "{tier:?}: it was stepping to the end");
    }
}

#[test]
fn an_interrupt_waits_for_the_step() {
    for tier in TIERS {
        // Without the step the handler sees the interrupt at once, with it each instruction before.
        assert_eq!(steps(tier, 2, true).get("r5"), cause::INTERRUPT);
        let toy = steps(tier, 6, true);
        assert_eq!((toy.get("r7"), toy.get("r5"), toy.get("r4")), (6 + 1, cause::TRAP, 0), "{tier:?}");
    }
}
