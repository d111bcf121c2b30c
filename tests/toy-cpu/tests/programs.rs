//! Programs in both engines and both memory models: all four must end in the same state.

use trine_base::{Exit, Trap};
use trine_engine::Tier;
use trine_toy_cpu::asm::assemble;
use trine_toy_cpu::machine::{DATA, Memory, START, Toy};
use trine_toy_cpu::state::cause;

/// The CPU waits, and no timer will wake it.
const IDLE: Exit = Exit::Idle { deadline: None };

/// Runs a program in all four ways until `trap 0`, which ends only a hosted CPU's run; a bare one's handler
/// waits there. Returns one of them.
fn everywhere(program: &str) -> Toy {
    let mut first: Option<Toy> = None;
    for memory in [Memory::Paged, Memory::Direct] {
        for tier in [Tier::Interp, Tier::Baseline] {
            let mut toy = Toy::new(memory, tier, program);
            let exit = toy.vcpu.run(1_000_000);
            match memory {
                Memory::Direct => assert_eq!(exit, Exit::Firmware(Trap::after(cause::TRAP, 0))),
                Memory::Paged => assert_eq!(toy.get("cause"), cause::TRAP, "{exit:?}"),
            }
            assert!(
                tier == Tier::Interp || toy.vcpu.stats().is_some_and(|s| s.entered > 0),
                "nothing was compiled"
            );
            match &first {
                None => first = Some(toy),
                Some(f) => same(f, &toy, &format!("{memory:?} {tier:?}")),
            }
        }
    }
    first.expect("four runs")
}

/// The registers of two programs and their data must agree, except for differences between bare and hosted.
fn same(a: &Toy, b: &Toy, which: &str) {
    let own = ["cb", "vec", "epc", "ecb", "cause", "bad", "user", "estatus", "hosted", "halt"];
    for ((name, x), (_, y)) in a.registers().into_iter().zip(b.registers()) {
        assert!(x == y || own.contains(&name), "{which}: {name} is {y:#x}, not {x:#x}");
    }
    assert!(a.read(DATA, 4096) == b.read(DATA, 4096), "{which}: data");
}

#[test]
fn sums_of_many_words_carry() {
    // r1 and r2: two numbers of 64 words, the lowest last; r3: how many words are left.
    let toy = everywhere(
        "ldiw r3, 64
         ldiw r1, 126
         ldiw r2, 254
         ldiw r4, -1
         fill:
         stw (r1), r4
         stw (r2), r3
         addi r1, -2
         addi r2, -2
         addi r3, -1
         bne @fill
         ldiw r1, 126
         ldiw r2, 254
         ldiw r3, 64
         ldi r5, 0
         add:
         ldw r0, (r1)
         ldw r4, (r2)
         add r5, r5
         addc r0, r4
         stw (r1), r0
         mfc:
         ldi r5, 0
         bcc @no
         ldiw r5, -32768
         no:
         addi r1, -2
         addi r2, -2
         addi r3, -1
         bne @add
         trap 0",
    );
    // All ones and (1, 2 … 64): the lowest word is 64 - 1, each other one its own number, with a carry out.
    let words: Vec<u16> = toy.read(DATA, 128).chunks(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect();
    let expected: Vec<u16> = (0..64).map(|i| if i == 63 { 63 } else { i + 1 }).collect();
    assert_eq!(words, expected);
    assert_eq!(toy.get("r5"), 0x8000, "carry");
}

#[test]
fn calls_return_and_quotients_are_of_pairs() {
    let toy = everywhere(
        "ldiw r5, 300
         loop:
         call =divide
         addi r5, -1
         bne @loop
         bra @end
         divide:
         ldiw r0, 0x12
         ldiw r1, 0x3456
         ldiw r2, 0x7fff
         div r1, r2
         ret
         end:
         trap 0",
    );
    assert_eq!((toy.get("r1"), toy.get("r0")), (0x12_3456 / 0x7fff, 0x12_3456 % 0x7fff));
}

#[test]
fn the_program_counter_counts_from_the_code_base() {
    // The loop continues at a code base 256 bytes further and comes back: there, program counters are 256
    // less.
    let toy = everywhere(
        "ldiw r5, 200
         ldi r1, 0
         loop:
         ldi r2, 1
         ldiw r3, =there
         addi r3, -128
         addi r3, -128
         jmpf r2:r3
         there:
         ldiw r4, =count
         addi r4, -128
         addi r4, -128
         callr r4
         returned:
         ldi r2, -1
         ldiw r3, =back
         jmpf r2:r3
         count:
         addi r1, 1
         ret
         back:
         ldiw r0, =returned
         sub r0, r6
         addi r5, -1
         bne @loop
         trap 0",
    );
    assert_eq!((toy.get("r1"), toy.get("r0")), (200, 256));
}

/// Sets up user mode with the table of pages at 0x3000, and goes there.
const PAGED: &str = "ldi r0, 48
    mts pt, r0
    ldiw r1, 0x200
    mts vec, r1
    ldiw r1, 256
    mts ecb, r1
    ldi r1, 1
    mts estatus, r1
    ldiw r1, =user
    mts epc, r1
    rti
    user:
    ldiw r5, 100
    again:
    trap 3
    addi r5, -1
    bne @again
    ldiw r1, 0x1000
    ldiw r3, 0x1234
    stw (r1), r3
    ldi r1, 0
    ldw r4, (r1)
    fault:
    stw (r1), r3
    nop";

/// Counts `trap 3` in `r7` and returns; ends at anything else. It runs at code base 0.
const HANDLER: &str = "mfs r0, cause
    ldi r2, 19
    cmp r0, r2
    bne @other
    addi r7, 1
    rti
    other:
    wait";

#[test]
fn user_mode_goes_through_pages_and_traps_come_back() {
    for tier in [Tier::Interp, Tier::Baseline] {
        let mut toy = Toy::new(Memory::Paged, tier, PAGED);
        toy.write(0x200, &assemble(0x200, HANDLER).unwrap());
        // The page of the program maps to itself, and is code; the first page of data is read-only; the
        // second is the same frame, and writable.
        for (page, entry) in [(0x10, 0x10 << 4 | 5), (0x20, 0x20 << 4 | 1), (0x21, 0x20u16 << 4 | 3)] {
            toy.write(0x3000 + 2 * page, &entry.to_be_bytes());
        }
        assert_eq!(toy.vcpu.run(1_000_000), IDLE);
        assert_eq!((toy.get("r7"), toy.get("r5")), (100, 0), "traps that came back behind themselves");
        assert_eq!(toy.get("r4"), 0x1234, "both pages are one frame");
        assert_eq!((toy.get("cause"), toy.get("bad")), (cause::PAGE, DATA));
        let fault = START.1 + assemble(START.1, PAGED).unwrap().len() as u64 - 4;
        assert_eq!((toy.get("epc"), toy.get("user")), (fault, 0), "a fault is reported at its instruction");
    }
}

#[test]
fn atomic_operations_know_the_order_of_bytes() {
    let toy = everywhere(
        "ldiw r5, 300
         ldiw r1, 64
         loop:
         ldi r2, 1
         xadd (r1), r2
         mov r0, r4
         ldiw r3, 0x0102
         cas (r1), r3
         bne @failed
         addi r7, 1
         failed:
         mov r4, r0
         addi r5, -1
         bne @loop
         trap 0",
    );
    // The exchange always expects the word before this round's addition.
    let word = u16::from_be_bytes(toy.read(DATA + 64, 2).try_into().unwrap());
    assert_eq!((word, toy.get("r7"), toy.get("r4")), (300, 0, 300));
}

#[test]
fn an_exchange_stores_where_memory_holds_what_is_expected() {
    let toy = everywhere(
        "ldiw r5, 300
         ldiw r1, 64
         loop:
         ldw r0, (r1)
         mov r3, r0
         addi r3, 3
         cas (r1), r3
         bne @end
         addi r5, -1
         bne @loop
         end:
         trap 0",
    );
    assert_eq!((toy.read(DATA + 64, 2), toy.get("r5")), (900u16.to_be_bytes().to_vec(), 0));
}

#[test]
fn vectors_are_loaded_computed_and_stored() {
    // Eight numbers a round: memory[i] = (memory[i] + i) * 3, as long as that is positive.
    let toy = everywhere(
        "ldiw r5, 200
         ldi r1, 0
         ldi r3, 3
         vdup v1, r3
         ldi r4, 1
         vdup v2, r4
         loop:
         ldv v0, (r1)
         vadd v0, v0, v2
         vmul v0, v0, v1
         stv (r1), v0
         vadd v2, v2, v2
         vext r4, v2, 5
         addi r1, 16
         addi r5, -1
         bne @loop
         ldi r1, 0
         vdup v3, r1
         vgt v3, v0, v3
         vxor v2, v2, v0
         trap 0",
    );
    let expected: Vec<u8> = (0..200u32)
        .flat_map(|round| [1u16.checked_shl(round).unwrap_or(0).wrapping_mul(3).to_be_bytes(); 8].concat())
        .collect();
    assert_eq!(toy.read(DATA, 3200), expected);
}

#[test]
fn a_vector_that_crosses_into_a_page_that_is_not_there_is_not_stored() {
    let program = "ldi r0, 48\nmts pt, r0\nldiw r1, 0x200\nmts vec, r1\nldiw r1, 256\nmts ecb, r1
        ldi r1, 1\nmts estatus, r1\nldiw r1, =user\nmts epc, r1\nldiw r1, 4032\nldi r2, -1\nvdup v0, r2\nrti
        user:
        # The fifth vector crosses the end of the page.
        stv (r1), v0
        addi r1, 15
        bra @user";
    for tier in [Tier::Interp, Tier::Baseline] {
        let mut toy = Toy::new(Memory::Paged, tier, program);
        toy.write(0x200, &assemble(0x200, "wait").unwrap());
        for (page, entry) in [(0x10, 0x10 << 4 | 5), (0x20, 0x20u16 << 4 | 3)] {
            toy.write(0x3000 + 2 * page, &entry.to_be_bytes());
        }
        assert_eq!(toy.vcpu.run(1_000_000), IDLE);
        assert_eq!(
            (toy.get("cause"), toy.get("bad"), toy.get("r1")),
            (cause::PAGE, DATA + 4096, 4092),
            "{tier:?}"
        );
        let written = [vec![0; 4032], vec![0xff; 61], vec![0; 3]].concat();
        assert!(toy.read(DATA, 4096) == written, "{tier:?}: no byte of a store that faults is written");
    }
}

#[test]
fn faults_change_nothing() {
    for tier in [Tier::Interp, Tier::Baseline] {
        // The quotient is undefined the 51st time: by then the code is compiled.
        let program = "ldiw r3, 51
            ldi r0, 0
            ldiw r1, 1000
            loop:
            addi r3, -1
            div r1, r3
            ldi r0, 0
            ldiw r1, 1000
            bra @loop";
        let mut toy = Toy::new(Memory::Direct, tier, program);
        assert_eq!(toy.vcpu.run(100_000), Exit::Firmware(Trap::fault(cause::DIVIDE, 0)));
        assert_eq!((toy.get("r0"), toy.get("r1"), toy.get("r3")), (0, 1000, 0), "{tier:?}");
        assert_eq!(toy.vcpu.count(), 3 + 50 * 5 + 1, "{tier:?}: the faulting one is not counted");
    }
}

#[test]
fn empty_addresses_read_as_ones() {
    for tier in [Tier::Interp, Tier::Baseline] {
        // Data at the end of memory: the second word is beyond it.
        let mut toy = Toy::new(
            Memory::Paged,
            tier,
            "ldiw r1, 0x3ff\nmts db, r1\nldi r1, 0\nldiw r2, 256\nstw (r2), r1\nldw r3, (r2)\nwait",
        );
        assert_eq!(toy.vcpu.run(1000), IDLE);
        assert_eq!(toy.get("r3"), 0xffff);
    }
}

#[test]
fn an_interrupt_wakes_the_cpu_and_is_reported_at_the_next_instruction() {
    for tier in [Tier::Interp, Tier::Baseline] {
        let program =
            "ldiw r1, 0x200\nmts vec, r1\nldi r2, 1\nmts ie, r2\nwait\nnop\nldi r4, 7\nstop:\nbra @stop";
        let mut toy = Toy::new(Memory::Paged, tier, program);
        toy.write(0x200, &assemble(0x200, "mfs r5, cause\nldi r3, 0\nmts estatus, r3\nrti").unwrap());
        assert_eq!(toy.vcpu.run(1000), IDLE);
        assert_eq!((toy.get("r4"), toy.get("r5")), (0, 0));
        toy.mailbox.set_line(0, true);
        assert_eq!(toy.vcpu.run(20), Exit::Budget);
        assert_eq!((toy.get("r4"), toy.get("r5")), (7, cause::INTERRUPT));
    }
}
