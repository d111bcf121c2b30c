//! A few instructions through both engines: the shortest complete path.

use std::sync::Arc;
use trine_base::{Bus, CountClock, Exit, Mailbox, Vcpu};
use trine_engine::{Engine, Tier, Time};
use trine_isa_riscv::{Config, Rv64, Start, asm};
use trine_memory::Ram;

const BASE: u64 = 0x8000_0000;

fn engine(tier: Tier, program: &[&str]) -> Engine<Rv64> {
    let ram = Arc::new(Ram::new(BASE, 1 << 20).unwrap());
    let mut at = BASE;
    for line in program {
        let (word, bytes) = asm::assemble(line, false).unwrap();
        ram.write(at, &word.to_le_bytes()[..bytes as usize]).unwrap();
        at += bytes as u64;
    }
    let mailbox = Arc::new(Mailbox::new());
    let clock = Arc::new(CountClock::new(10, 0));
    let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
    let config = Config { hart: 0, start: Start::Machine };
    let (mut engine, why) = Engine::new(config, ram, bus, Time::Count(clock), mailbox, tier);
    assert_eq!(why, None);
    engine.set_pc(BASE);
    engine
}

/// Runs in both engines; all registers must agree; returns the first.
fn both(budget: u64, program: &[&str]) -> Engine<Rv64> {
    let mut engines = [Tier::Interp, Tier::Baseline].map(|tier| engine(tier, program));
    for e in &mut engines {
        assert_eq!(e.run(budget), Exit::Budget);
    }
    let [a, b] = engines;
    for r in a.registers() {
        assert_eq!(a.get(r.slot), b.get(r.slot), "{}", r.name);
    }
    assert_eq!((a.pc(), a.count()), (b.pc(), b.count()));
    assert!(b.stats().entered > 0, "nothing ran in generated code");
    b
}

#[test]
fn a_loop_counts_down() {
    let e = both(
        10_000,
        &[
            "addi a0, zero, 1000",
            "auipc a2, 4096",
            "addi a2, a2, 2032",
            "addi a0, a0, -1",
            "add a1, a1, a0",
            "sd a1, 8(a2)",
            "ld a3, 8(a2)",
            "bne a0, zero, -16",
            "jal zero, 0",
        ],
    );
    assert_eq!(e.get(10), 0);
    assert_eq!(e.get(13), 1000 * 999 / 2);
}

#[test]
fn floating_point_and_atomics_and_calls() {
    let e = both(
        20_000,
        &[
            "lui t0, 8192",
            "csrrs zero, mstatus, t0",
            "addi a0, zero, 1000",
            "auipc a2, 4096",
            "andi a2, a2, -16",
            "jal ra, 12",
            "bne a0, zero, -4",
            "jal zero, 0",
            "addi a0, a0, -1",
            "fcvt.d.l fa0, a0, dyn",
            "fadd.d fa1, fa1, fa0, dyn",
            "fsqrt.d fa2, fa1, rtz",
            "fmadd.s fa3, fa0, fa1, fa2, dyn",
            "amoadd.d a3, a0, (a2)",
            "addi a4, zero, 7",
            "rem a5, a0, a4",
            "csrrs a6, fflags, zero",
            "jalr zero, 0(ra)",
        ],
    );
    assert_eq!(e.get(10), 0);
    assert_eq!(f64::from_bits(e.get(32 + 11)), 1000.0 * 999.0 / 2.0);
}

#[test]
fn a_fault_in_the_middle_of_a_block_is_precise() {
    let e = both(
        4000,
        &[
            "auipc t0, 0",
            "addi t0, t0, 44",
            "csrrw zero, mtvec, t0",
            "addi a0, zero, 0",
            "addi a0, a0, 1",
            "add a1, a0, a0",
            "lw a2, 0(a1)",
            "addi a3, a3, 1",
            "jal zero, -16",
            "addi zero, zero, 0",
            "addi zero, zero, 0",
            "csrrs a4, mepc, zero",
            "addi a4, a4, 4",
            "csrrw zero, mepc, a4",
            "csrrs a5, mtval, zero",
            "mret",
        ],
    );
    assert_eq!(e.get(15) / 2, e.get(10), "mtval is the address that the faulting load made");
    assert!(e.get(13) > 100, "the handler comes back");
}

/// Runs in both engines, a few instructions at a time; all registers must agree each time. Returns the
/// compiled one.
fn in_step(times: u64, budget: u64, program: &[&str]) -> Engine<Rv64> {
    let [mut a, mut b] = [Tier::Interp, Tier::Baseline].map(|tier| engine(tier, program));
    for n in 0..times {
        for e in [&mut a, &mut b] {
            assert_eq!(e.run(budget), Exit::Budget);
        }
        for r in a.registers() {
            assert_eq!(a.get(r.slot), b.get(r.slot), "{} after {n} times {budget} instructions", r.name);
        }
        assert_eq!((a.pc(), a.count()), (b.pc(), b.count()));
    }
    assert!(b.stats().entered > 0, "nothing ran in generated code");
    b
}

/// Different values in all pinned registers and one more.
const VALUES: [&str; 8] = [
    "addi sp, zero, 100",
    "addi a0, zero, 1",
    "addi a1, zero, 2",
    "addi a2, zero, 3",
    "addi a3, zero, 4",
    "addi a4, zero, 5",
    "addi a5, zero, 6",
    "addi t0, zero, 7",
];

#[test]
fn registers_change_places_from_block_to_block() {
    // Three circles, one of them with a register that is not pinned, and two blocks.
    let rest = [
        "addi t1, a0, 0",
        "addi a0, a1, 0",
        "addi a1, a2, 0",
        "addi a2, t1, 0",
        "addi t1, a3, 0",
        "addi a3, a4, 0",
        "addi a4, t1, 0",
        "jal zero, 4",
        "addi t1, a5, 0",
        "addi a5, t0, 0",
        "addi t0, sp, 0",
        "addi sp, t1, 0",
        "jal zero, -48",
    ];
    in_step(100, 501, &[&VALUES[..], &rest].concat());
}

#[test]
fn registers_change_places_in_a_loop() {
    let rest = [
        "addi t1, a0, 0",
        "addi a0, a1, 0",
        "addi a1, t1, 0",
        "add t2, t2, a0",
        "xor t3, t3, t2",
        "addi t1, a5, 0",
        "addi a5, t3, 0",
        "addi t3, t1, 0",
        "bne zero, ra, -32",
        "bne a2, a3, -36",
    ];
    in_step(100, 501, &[&VALUES[..], &rest].concat());
}

#[test]
fn a_loop_that_runs_short_of_registers_borrows_those_that_it_does_not_use() {
    let rest = [
        "addi t0, t0, 1",
        "add t1, t1, t0",
        "xor t2, t2, t1",
        "add s0, s0, t2",
        "xor s1, s1, s0",
        "add s2, s2, s1",
        "xor s3, s3, s2",
        "add s4, s4, s3",
        "xor s5, s5, s4",
        "add t0, t0, s5",
        "addi a5, t0, 3",
        "add a0, a0, a5",
        "blt t0, s11, 8",
        "bne sp, zero, -52",
        "addi a1, a1, 1",
        "bne sp, zero, -60",
    ];
    let e = in_step(100, 503, &[&VALUES[..], &rest].concat());
    assert_eq!((e.get(2), e.get(12), e.get(13)), (100, 3, 4), "what the loop does not touch");
}

#[test]
fn a_fault_finds_registers_wherever_they_are() {
    let handler = ["auipc t2, 0", "addi t2, t2, 76", "csrrw zero, mtvec, t2"];
    let rest = [
        // At the first load two registers changed places, one is a constant, two were computed, and one of these is both the
        // address and what is loaded.
        "csrrs a3, mtval, zero",
        "addi t1, a0, 0",
        "addi a0, a1, 0",
        "addi a1, t1, 0",
        "addi a4, zero, 77",
        "add a5, a5, t1",
        "addi a2, a2, 1",
        "lw a2, 0(a2)",
        "addi a5, a5, 1",
        "lw sp, 0(a5)",
        "addi a0, a0, 5",
        "jal zero, -44",
        "addi zero, zero, 0",
        "addi zero, zero, 0",
        "addi zero, zero, 0",
        "addi zero, zero, 0",
        // The handler: goes on behind the load.
        "csrrs t3, mepc, zero",
        "addi t3, t3, 4",
        "csrrw zero, mepc, t3",
        "xor t4, t4, a0",
        "add t5, t5, a5",
        "mret",
    ];
    let e = in_step(200, 37, &[&VALUES[..], &handler, &rest].concat());
    assert!(e.get(15) > 1000, "the loads fault and the handler comes back");
}

#[test]
fn a_call_and_its_return_keep_registers() {
    let rest = [
        "jal ra, 24",
        "add a0, a0, a1",
        "csrrs t1, mscratch, zero",
        "add a1, a1, a2",
        "jal zero, -16",
        "addi zero, zero, 0",
        "addi a2, a2, 1",
        "addi t1, a4, 0",
        "addi a4, a5, 0",
        "addi a5, t1, 0",
        "jalr zero, 0(ra)",
    ];
    in_step(100, 501, &[&VALUES[..], &rest].concat());
}
