//! A few instructions through both engines: the smallest whole path.

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

/// Runs in both engines; all registers agree; gives the first.
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
