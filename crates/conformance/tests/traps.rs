//! Tests of traps, delegation, interrupts and CSRs (priv 3.1, 3.3, 12.1), in both engines.

use trine_base::Vcpu;
use trine_conformance::bare::{BASE, both};
use trine_isa_riscv::state::X;

/// A program whose trap handler at the end collects cause, value and PC in s1, s2, s3 and stays.
fn with_handler(body: &str) -> String {
    let body: String = body.lines().map(|l| format!("{l}\n")).collect();
    format!(
        "jal t0, @start
         csrrs s1, mcause, zero
         csrrs s2, mtval, zero
         csrrs s3, mepc, zero
         csrrs s4, mstatus, zero
         stay:
         jal zero, @stay
         start:
         csrrw zero, mtvec, t0
         addi t1, zero, -1
         csrrw zero, 0x3b0, t1
         addi t1, zero, 31
         csrrw zero, 0x3a0, t1
         {body}
         stay2:
         jal zero, @stay2"
    )
}

/// Code that enters U mode (or S, with `mpp` 2048) at the next instruction.
fn drop_to(mpp: u64) -> String {
    format!(
        "lui t1, 8192
         addi t1, t1, -2048
         csrrc zero, mstatus, t1
         lui t1, {}
         addi t1, t1, {}
         csrrs zero, mstatus, t1
         auipc t1, 0
         addi t1, t1, 16
         csrrw zero, mepc, t1
         mret",
        if mpp == 2048 { 4096 } else { 0 },
        if mpp == 2048 { -2048 } else { 0 }
    )
}

#[test]
fn an_ecall_from_each_level_has_its_own_cause() {
    for (enter, cause) in [(String::new(), 11), (drop_to(2048), 9), (drop_to(0), 8)] {
        let bare = both(200, &with_handler(&format!("{enter}\necall")), |_| {});
        assert_eq!((bare.get("s1"), bare.get("s2")), (cause, 0));
        assert_eq!(bare.get("priv"), 3);
        let mpp = bare.get("s4") >> 11 & 3;
        assert_eq!(mpp, cause - 8, "MPP is the level it came from");
    }
}

#[test]
fn what_is_delegated_goes_to_supervisor_mode() {
    let body =
        format!("addi t1, zero, 256\ncsrrw zero, medeleg, t1\ncsrrw zero, stvec, t0\n{}\necall", drop_to(0));
    let bare = both(200, &with_handler(&body), |_| {});
    // The M mode handler's code now runs in S mode, which must not read mcause: that traps to M mode.
    assert_eq!(bare.get("scause"), 8);
    assert_eq!(bare.get("s1"), 2, "S mode may not read mcause");
    assert_eq!(bare.get("s4") >> 11 & 3, 1, "the second trap came from S");
    assert_eq!(bare.get("s4") >> 8 & 1, 0, "SPP says U");
}

#[test]
fn illegal_instructions_say_what_they_are() {
    for (line, value) in [
        ("csrrs a0, 0x7c0, zero", 0x7c00_2573u64),
        ("csrrw zero, mhartid, a0", 0xf145_1073),
        ("csrrw zero, cycle, a0", 0xc005_1073),
    ] {
        let bare = both(100, &with_handler(line), |_| {});
        assert_eq!((bare.get("s1"), bare.get("s2")), (2, value), "{line}");
    }
    let bare = both(100, &with_handler(&format!("{}\ncsrrs a0, mstatus, zero", drop_to(0))), |_| {});
    assert_eq!((bare.get("s1"), bare.get("s2")), (2, 0x3000_2573));
}

#[test]
fn no_triggers_are_found() {
    // The accesses of a debugger that looks for triggers (Sdtrig 5.2).
    let bare = both(
        100,
        &with_handler(
            "addi a0, zero, 5\ncsrrw zero, tselect, a0\ncsrrs a1, tselect, zero\ncsrrs a2, tdata1, zero",
        ),
        |h| {
            h.vcpu.set(X + 12, 7);
        },
    );
    assert_eq!((bare.get("a1"), bare.get("a2"), bare.get("s1")), (0, 0, 0));
}

#[test]
fn supervisor_instructions_obey_mstatus() {
    // TVM, TW, TSR (priv 3.1.6.5).
    for (bit, line) in
        [(20, "sfence.vma zero, zero"), (20, "csrrs a0, satp, zero"), (21, "wfi"), (22, "sret")]
    {
        let set = format!("lui t2, {}\ncsrrs zero, mstatus, t2", 1u64 << bit);
        let bare = both(200, &with_handler(&format!("{set}\n{}\n{line}", drop_to(2048))), |_| {});
        assert_eq!(bare.get("s1"), 2, "{line} with bit {bit}");
    }
}

#[test]
fn floating_point_that_is_off_is_illegal() {
    let bare = both(100, &with_handler("fadd.d fa0, fa1, fa2, dyn"), |_| {});
    assert_eq!((bare.get("s1"), bare.get("s2")), (2, 0x02c5_f553));
    let on = "lui t1, 8192\ncsrrs zero, mstatus, t1\n";
    let bad = format!("{on}csrrwi zero, frm, 5\nfadd.d fa0, fa1, fa2, dyn");
    assert_eq!(both(100, &with_handler(&bad), |_| {}).get("s1"), 2, "a reserved frm");
    let dirty = format!("{on}fmv.d.x fa0, zero\ncsrrs a0, mstatus, zero");
    assert_eq!(both(100, &with_handler(&dirty), |_| {}).get("a0") >> 63, 1, "SD after a write");
}

#[test]
fn software_interrupts_are_taken_where_they_are_enabled() {
    let raise = "csrrwi zero, mie, 2\ncsrrwi zero, mip, 2\n";
    let bare = both(100, &with_handler(&format!("{raise}addi a0, zero, 7")), |_| {});
    assert_eq!((bare.get("s1"), bare.get("a0")), (0, 7), "MIE is off");
    let bare = both(100, &with_handler(&format!("{raise}csrrsi zero, mstatus, 8\naddi a0, zero, 7")), |_| {});
    assert_eq!((bare.get("s1"), bare.get("a0")), (1 << 63 | 1, 0));
    assert_eq!(bare.get("s4") >> 7 & 1, 1, "MPIE keeps MIE");
    assert_eq!(bare.get("s4") >> 3 & 1, 0, "MIE is off in the handler");
}

#[test]
fn counters_count_and_can_be_closed() {
    let bare = both(
        100,
        &with_handler("csrrs a0, minstret, zero\naddi zero, zero, 0\ncsrrs a1, minstret, zero"),
        |_| {},
    );
    assert_eq!(bare.get("a1") - bare.get("a0"), 2);
    let closed = format!("csrrwi zero, mcounteren, 0\n{}\ncsrrs a0, instret, zero", drop_to(2048));
    assert_eq!(both(200, &with_handler(&closed), |_| {}).get("s1"), 2);
    let open = format!("csrrwi zero, mcounteren, 4\n{}\ncsrrs a0, instret, zero\nebreak", drop_to(2048));
    assert_eq!(both(200, &with_handler(&open), |_| {}).get("s1"), 3);
}

#[test]
fn registers_keep_only_legal_values() {
    let bare = both(
        100,
        &with_handler(
            "addi t1, zero, -1
             csrrw zero, stvec, t1
             csrrs a0, stvec, zero
             csrrw zero, sepc, t1
             csrrs a1, sepc, zero
             csrrw zero, medeleg, t1
             csrrs a2, medeleg, zero
             csrrw zero, mideleg, t1
             csrrs a3, mideleg, zero
             csrrw zero, satp, t1
             csrrs a4, satp, zero
             lui t2, 4096
             csrrw zero, mstatus, t2
             csrrs a5, mstatus, zero",
        ),
        |_| {},
    );
    assert_eq!(bare.get("a0"), !2);
    assert_eq!(bare.get("a1"), !1);
    assert_eq!(bare.get("a2") & (1 << 11 | 1 << 14), 0, "calls from M and reserved causes stay");
    assert_eq!(bare.get("a3"), 0x222);
    assert_eq!(bare.get("a4"), 0, "an unknown mode leaves satp alone");
    assert_eq!(bare.get("a5") >> 11 & 3, 0, "level 2 does not exist");
}

#[test]
fn self_modifying_code_is_seen_after_fence_i() {
    // The loop's third instruction adds 1 at first; after ten iterations it is replaced by one that adds 2.
    let bare = both(
        1000,
        "auipc t0, 0
         addi a1, zero, 20
         addi a2, zero, 10
         lui t1, 2424832
         addi t1, t1, 1299
         loop:
         addi a0, a0, 1
         addi a1, a1, -1
         bne a1, a2, @skip
         sw t1, 20(t0)
         fence.i
         skip:
         bne a1, zero, @loop
         stay:
         jal zero, @stay",
        |_| {},
    );
    assert_eq!(bare.get("a0"), 10 + 2 * 10);
}

#[test]
fn a_misaligned_amo_raises_its_own_cause() {
    let bare = both(100, &with_handler("addi a0, t0, 1\namoadd.w a1, a2, (a0)"), |_| {});
    assert_eq!((bare.get("s1"), bare.get("s2")), (6, BASE + 5));
    let bare = both(100, &with_handler("addi a0, t0, 2\nlr.w a1, (a0)"), |_| {});
    assert_eq!((bare.get("s1"), bare.get("s2")), (4, BASE + 6));
}
