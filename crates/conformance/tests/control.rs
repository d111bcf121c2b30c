//! Tests of loops, calls and returns: state that compiled code keeps across blocks.

use trine_base::Vcpu;
use trine_conformance::bare::{BASE, SIZE, both};
use trine_conformance::random::Random;
use trine_isa_riscv::state::{F, FFLAGS, MSTATUS, X, mstatus};

/// A loop of `length` random instructions over the registers `x5` to `x5 + used`, the floating-point
/// registers and some memory.
fn random_loop(random: &mut Random, used: u64, length: u64) -> String {
    let x = |r: &mut Random| format!("x{}", 5 + r.below(used));
    let f = |r: &mut Random| format!("f{}", r.below(used));
    let mut body = String::new();
    for _ in 0..length {
        let (d, a, b) = (x(random), x(random), x(random));
        let (fd, fa, fb) = (f(random), f(random), f(random));
        body += &match random.below(12) {
            0..3 => format!("addi {d}, {a}, 0\n"),
            3 => format!("add {d}, {a}, {b}\n"),
            4 => format!("sub {d}, {a}, {b}\n"),
            5 => format!("srli {d}, {a}, 3\n"),
            6 => format!("sd {a}, 8(sp)\n"),
            7 => format!("ld {d}, 8(sp)\n"),
            8 => format!("fsgnj.d {fd}, {fa}, {fa}\n"),
            9 => format!("fadd.d {fd}, {fa}, {fb}, rne\n"),
            10 => format!("fmul.s {fd}, {fa}, {fb}, rne\n"),
            _ => format!("fmv.x.d {d}, {fa}\n"),
        };
    }
    let early = if random.once_in(2) { "andi x4, x3, 3\nbeq x4, x0, @round\n" } else { "" };
    format!("round:\naddi x3, x3, -1\n{body}blt x3, x0, @stay\n{early}jal x0, @round\nstay:\njal x0, @stay")
}

#[test]
fn random_loops() {
    let mut random = Random::new(3);
    for _ in 0..400 {
        let (used, length, rounds) = (2 + random.below(18), 1 + random.below(14), 3 + random.below(20));
        let program = random_loop(&mut random, used, length);
        let start: Vec<u64> = (0..64).map(|_| random.float()).collect();
        both(1000, &program, |h| {
            h.vcpu.set(MSTATUS, 0x6000);
            (1..64).for_each(|slot| h.vcpu.set(slot, start[slot as usize]));
            h.vcpu.set(X + 2, BASE + SIZE / 2);
            h.vcpu.set(X + 3, rounds);
        });
    }
}

/// A function that calls itself `a0` times.
const RECURSION: &str = "jal ra, @down
         stay:
         jal zero, @stay
         down:
         beq a0, zero, @out
         addi sp, sp, -16
         sd ra, 0(sp)
         addi a0, a0, -1
         jal ra, @down
         addi a1, a1, 3
         ld ra, 0(sp)
         addi sp, sp, 16
         out:
         jalr zero, 0(ra)";

#[test]
fn more_calls_than_are_remembered() {
    let h = both(2_000_000, RECURSION, |h| {
        h.vcpu.set(X + 2, BASE + SIZE);
        h.vcpu.set(X + 10, 5 * 4096);
    });
    assert_eq!(h.get("a1"), 3 * 4096 * 5);
}

#[test]
fn a_return_to_another_place() {
    // The effect of `longjmp`: two calls deep, then back to the caller of the first one.
    let h = both(
        500,
        "addi s2, zero, 9
         again:
         jal ra, @outer
         addi a0, a0, 1
         addi s2, s2, -1
         blt zero, s2, @again
         stay:
         jal zero, @stay
         outer:
         addi s0, ra, 0
         jal ra, @inner
         addi a1, a1, 1
         jalr zero, 0(ra)
         inner:
         addi ra, s0, 0
         jalr zero, 0(ra)",
        |_| {},
    );
    assert_eq!((h.get("a0"), h.get("a1")), (9, 0));
}

#[test]
fn coroutines_switch_with_both_link_registers() {
    let h = both(
        500,
        "addi s2, zero, 20
         auipc t0, 0
         addi t0, t0, 24
         one:
         jalr ra, 0(t0)
         addi a0, a0, 1
         addi s2, s2, -1
         blt zero, s2, @one
         two:
         addi a1, a1, 1
         jalr t0, 0(ra)
         jal zero, @two",
        |_| {},
    );
    assert!(h.get("a0") > 5 && h.get("a1") > 5);
}

#[test]
fn a_call_that_ends_its_page() {
    // The call is the last instruction of a page: it returns to the next page.
    let call = |h: &mut trine_conformance::bare::Bare| {
        let code = trine_conformance::bare::assemble(
            "first:
             jal ra, @over
             addi a0, a0, 1
             addi s2, s2, -1
             blt zero, s2, @back
             stay:
             jal zero, @stay
             over:
             addi a1, a1, 1
             jalr zero, 0(ra)
             back:
             jal zero, @first",
        );
        h.ram.write(BASE + 0xffc, &code);
        h.vcpu.set_pc(BASE + 0xffc);
        h.vcpu.set(X + 18, 9);
    };
    let h = both(500, "wfi", call);
    assert_eq!((h.get("a0"), h.get("a1")), (9, 9));
}

/// Canonical and signaling NaN, and some numbers.
const NUMBERS: [u64; 6] = [
    0x7ff8_0000_0000_0000,
    0x7ff0_0000_0000_0001,
    0x3ff0_0000_0000_0000,
    0x4000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0x7ff0_0000_0000_0000,
];

#[test]
fn quiet_comparisons_leave_the_flags_alone() {
    // The code that compilers make for `isless` and `islessequal`, and similar code that means something
    // else.
    let programs = [
        "csrrs a1, fflags, zero\nflt.d a2, fa0, fa1\ncsrrw zero, fflags, a1",
        "csrrs a1, fflags, zero\nfle.d a2, fa0, fa1\ncsrrw zero, fflags, a1",
        "csrrs a1, fflags, zero\nflt.d a2, fa0, fa1\ncsrrw a3, fflags, a1",
        "csrrs a1, fflags, zero\naddi a1, a1, 0\nflt.d a2, fa0, fa1\ncsrrw zero, fflags, a1",
        "csrrs a1, fflags, zero\nflt.d a1, fa0, fa1\ncsrrw zero, fflags, a1",
        "csrrs a1, fflags, zero\nflt.d a2, fa0, fa1\nfadd.d fa2, fa0, fa1, rne\ncsrrw zero, fflags, a1",
        "csrrs a1, fflags, zero\nfadd.d fa2, fa0, fa1, rne\nflt.d a2, fa0, fa1\ncsrrw zero, fflags, a1",
        "csrrs a1, fflags, zero\nflt.d a2, fa0, fa1\ncsrrs zero, fflags, a1",
        "csrrs a1, fflags, zero\nflt.d a2, fa0, fa1\ncsrrc zero, fflags, a1",
        "csrrs a1, fcsr, zero\nflt.d a2, fa0, fa1\ncsrrw zero, fflags, a1",
        "csrrs a1, frm, zero\nflt.d a2, fa0, fa1\ncsrrsi zero, fflags, 4",
        "csrrwi a1, fflags, 3\nfdiv.d fa2, fa0, fa1, rne\ncsrrci a2, fflags, 2\ncsrrs a3, fcsr, zero",
    ];
    for program in programs {
        for (a, b) in NUMBERS.into_iter().flat_map(|a| NUMBERS.map(|b| (a, b))) {
            for flags in [0, 16, 31] {
                // All registers, and so the flags, agree with the interpreter's.
                let bare = both(60, &format!("{program}\nstay:\njal zero, @stay"), |bare| {
                    bare.vcpu.set(MSTATUS, mstatus::FS | mstatus::SD);
                    bare.vcpu.set(FFLAGS, flags);
                    bare.vcpu.set(F + 10, a);
                    bare.vcpu.set(F + 11, b);
                });
                if program.starts_with(programs[0]) || program.starts_with(programs[1]) {
                    assert_eq!(bare.get("fflags"), flags, "{program} of {a:#x}, {b:#x}");
                }
            }
        }
    }
}

#[test]
fn classes_of_numbers() {
    // For each class, the smallest and largest bits of binary64 and binary32 without the sign.
    let classes: [(u64, u64, [[u64; 2]; 2]); 5] = [
        (1 << 4, 1 << 3, [[0, 0], [0, 0]]),
        (1 << 5, 1 << 2, [[1, 0x000f_ffff_ffff_ffff], [1, 0x007f_ffff]]),
        (1 << 6, 1 << 1, [[0x0010_0000_0000_0000, 0x7fef_ffff_ffff_ffff], [0x0080_0000, 0x7f7f_ffff]]),
        (1 << 7, 1 << 0, [[0x7ff0_0000_0000_0000; 2], [0x7f80_0000; 2]]),
        (1 << 9, 1 << 9, [[0x7ff8_0000_0000_0000, 0x7fff_ffff_ffff_ffff], [0x7fc0_0000, 0x7fff_ffff]]),
    ];
    let class = |double: u64, single: u64| {
        let bare = both(60, "fclass.d a0, fa0\nfclass.s a1, fa1\nstay:\njal zero, @stay", |bare| {
            bare.vcpu.set(MSTATUS, mstatus::FS | mstatus::SD);
            bare.vcpu.set(F + 10, double);
            bare.vcpu.set(F + 11, single | 0xffff_ffff_0000_0000);
        });
        (bare.get("a0"), bare.get("a1"))
    };
    for (positive, negative, [double, single]) in classes {
        for (double, single) in double.into_iter().zip(single) {
            assert_eq!(class(double, single), (positive, positive), "{double:#x}");
            assert_eq!(class(double | 1 << 63, single | 1 << 31), (negative, negative), "-{double:#x}");
        }
    }
    for (double, single) in [(0x7ff0_0000_0000_0001, 0x7f80_0001), (0x7ff7_ffff_ffff_ffff, 0x7fbf_ffff)] {
        assert_eq!(class(double, single), (1 << 8, 1 << 8), "signaling");
    }
}
