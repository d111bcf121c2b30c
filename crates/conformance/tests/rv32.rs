//! Tests of RV32's view of registers that are wider than 32 bits: halves, and bits at other positions.

use trine_base::Vcpu;
use trine_conformance::bare::{BASE, Bare, assemble_for, both_on};
use trine_isa_riscv::Rv32;
use trine_isa_riscv::state::{MENVCFG, MTVEC, PMPADDR, PMPCFG0, PMPCFG2, PRIV, SATP, STIMECMP, level};

fn both(program: &str) -> Bare<Rv32> {
    both_on(200, &format!("{program}\njal zero, 0"), |bare| {
        // The handler stays where it is.
        bare.ram.write(BASE + 0x400, &0x6fu32.to_le_bytes());
        bare.vcpu.set(MTVEC, BASE + 0x400);
    })
}

/// Whether the last instruction of the program trapped as illegal.
fn is_illegal(program: &str) -> bool {
    both(program).get("mcause") == 2
}

#[test]
fn every_counter_has_a_high_half() {
    let names = ["mcycle", "minstret"].map(|n| (n.to_string(), format!("{n}h")));
    for (low, high) in names {
        let bare = both(&format!(
            "addi a0, zero, 7\ncsrrw zero, {high}, a0\naddi a1, zero, -1\ncsrrw zero, {low}, a1\n\
             csrrs a2, {low}, zero\ncsrrs a3, {high}, zero\ncsrrs a4, {low}, zero"
        ));
        // The low half was all ones at the instruction after the write, and overflows.
        assert_eq!((bare.get("a2"), bare.get("a3")), (0xffff_ffff, 8), "{low}");
        assert_eq!(bare.get("a4"), 1, "{low}");
    }
    for number in [0xc80, 0xc81, 0xc82, 0xc83, 0xc9f, 0xb80, 0xb82, 0xb83, 0xb9f] {
        assert!(!is_illegal(&format!("csrrs a0, {number}, zero")), "{number:#x}");
    }
    assert!(is_illegal("csrrs a0, 0xb81, zero"), "there is no mtimeh");
    assert!(is_illegal("csrrw zero, 0xc80, a0"), "user counters cannot be written");
}

#[test]
fn a_write_of_one_half_keeps_the_other() {
    let bare =
        both("lui a0, -2147483648\ncsrrw zero, menvcfgh, a0\naddi a1, zero, 0xf0\ncsrrw zero, menvcfg, a1");
    assert_eq!(bare.vcpu.get(MENVCFG), 1 << 63 | 0xf0);
    let bare =
        both("addi a0, zero, 5\ncsrrw zero, stimecmph, a0\naddi a1, zero, 9\ncsrrw zero, stimecmp, a1");
    assert_eq!(bare.vcpu.get(STIMECMP), 5 << 32 | 9);
}

#[test]
fn protection_has_four_entries_a_register() {
    let set = |n: u32, k: u32| format!("addi a0, zero, {k}\ncsrrw zero, {}, a0\n", 0x3a0 + n);
    let bare = both(&(set(0, 0x18) + &set(1, 0x19) + &set(2, 0x1b) + &set(3, 0x1f)));
    assert_eq!((bare.vcpu.get(PMPCFG0), bare.vcpu.get(PMPCFG2)), (0x19 << 32 | 0x18, 0x1f << 32 | 0x1b));
}

#[test]
fn status_and_cause_mark_their_highest_bit() {
    let bare =
        both("lui a0, 24576\ncsrrs zero, mstatus, a0\ncsrrs a1, mstatus, zero\ncsrrs a2, mstatush, zero");
    assert_eq!((bare.get("a1") >> 31, bare.get("a2")), (1, 0), "FS dirty shows in bit 31");
    // A software interrupt of the supervisor, taken in M.
    let bare = both(
        "addi a0, zero, 2\ncsrrw zero, mie, a0\ncsrrw zero, mip, a0\ncsrrsi zero, mstatus, 8\naddi zero, zero, 0",
    );
    assert_eq!(bare.get("mcause"), 1 << 31 | 1);
}

/// Sv32 (priv 12.3): RAM where it is, and the last page of the address space, which holds `last`.
fn with_a_last_page(bare: &mut Bare<Rv32>, last: &[u8]) {
    const ROOT: u64 = BASE + 0x10_0000;
    const TABLE: u64 = BASE + 0x10_1000;
    const FRAME: u64 = BASE + 0x20_0000;
    // V, R, W, X, A and D.
    const LEAF: u64 = 0xcf;
    let entry = |at: u64, to: u64, flags: u64| {
        bare.ram.write(at, &((to >> 12 << 10 | flags) as u32).to_le_bytes());
    };
    entry(ROOT + 4 * (BASE >> 22), BASE, LEAF);
    entry(ROOT + 4 * 1023, TABLE, 1);
    entry(TABLE + 4 * 1023, FRAME, LEAF);
    bare.ram.write(FRAME + 0x1000 - last.len() as u64, last);
    bare.vcpu.set(PMPADDR, (1 << 54) - 1);
    bare.vcpu.set(PMPCFG0, 0x1f);
    bare.vcpu.set(SATP, 1 << 31 | ROOT >> 12);
    bare.vcpu.set(MTVEC, BASE + 0x400);
    bare.ram.write(BASE + 0x400, &0x6fu32.to_le_bytes());
    bare.vcpu.set(PRIV, level::S);
}

#[test]
fn control_wraps_at_the_end_of_the_address_space() {
    // Each ends at the last address: it continues in page 0, or jumps there.
    for (last, program) in [
        ("c.addi a2, 1", "jalr zero, -2(zero)"),
        ("addi a2, a2, 1", "jalr zero, -4(zero)"),
        ("c.addi a2, 1\nbeq zero, zero, 4", "jalr zero, -6(zero)"),
        ("c.addi a2, 1\njal a4, 4", "jalr zero, -6(zero)"),
    ] {
        let bare = both_on::<Rv32>(50, program, |bare| with_a_last_page(bare, &assemble_for::<Rv32>(last)));
        let trap = ["mcause", "mepc", "mtval", "a2", "a4"].map(|name| bare.get(name));
        assert_eq!(trap, [12, 0, 0, 1, 0], "{last}");
    }
}
