//! Tests of page walks (priv 12.3 to 12.5), physical memory protection (priv 3.7), and what depends on them
//! in both engines.

use trine_base::{Fence, Vcpu, Width};
use trine_conformance::bare::{BASE, Bare, assemble, both};
use trine_engine::Tier;
use trine_ir::{Access, Isa};
use trine_isa_riscv::Rv64;
use trine_isa_riscv::state::{self, level, mstatus};

const V: u64 = 1;
const R: u64 = 2;
const W: u64 = 4;
const X: u64 = 8;
const U: u64 = 16;
const G: u64 = 32;
const A: u64 = 64;
const D: u64 = 128;

/// Tables at these addresses: root, middle, last.
const ROOT: u64 = BASE + 0x10_0000;
const MIDDLE: u64 = BASE + 0x10_1000;
const LAST: u64 = BASE + 0x10_2000;
/// The page that is mapped.
const FRAME: u64 = BASE + 0x20_0000;
/// Its virtual address: entries 1, 2, 3 of the tables.
const VIRTUAL: u64 = 1 << 30 | 2 << 21 | 3 << 12;

fn entry(physical: u64, flags: u64) -> u64 {
    physical >> 12 << 10 | flags
}

/// A hart in S mode with three levels of tables and one leaf at `at_level` (0 is a page of 4 KiB).
fn mapped(at_level: u32, leaf: u64, mode: u64) -> Bare {
    let mut bare = Bare::new(Tier::Interp, "addi zero, zero, 0");
    let tables = [(ROOT + 8, MIDDLE), (MIDDLE + 16, LAST), (LAST + 24, 0)];
    let depth = 2 - at_level as usize;
    for (at, next) in &tables[..depth] {
        bare.poke(*at, entry(*next, V));
    }
    bare.poke(tables[depth].0, leaf);
    bare.vcpu.set(state::SATP, mode << 60 | ROOT >> 12);
    bare.vcpu.set(state::PMPCFG0, 0x1f);
    bare.vcpu.set(state::PMPADDR, (1 << 54) - 1);
    bare.vcpu.set(state::PRIV, level::S);
    bare
}

/// Physical page or cause.
fn walk(bare: &Bare, address: u64, access: Access) -> Result<u64, u64> {
    let core = bare.vcpu.core();
    let mode = core.mode.get();
    let regime = if access == EXECUTE { Rv64::fetch_regime(mode) } else { Rv64::data_regime(mode) };
    Rv64::walk(core, regime, address, access).map(|m| m.page).map_err(|t| {
        assert_eq!(t.value, address);
        t.cause
    })
}

const READ: Access = Access::Read;
const WRITE: Access = Access::Write;
const EXECUTE: Access = Access::Execute;

/// Flags, level, status, access, page or cause.
type Permission = (u64, u64, u64, Access, Result<u64, u64>);

#[test]
fn permissions_of_a_page() {
    use level::{S, U as USER};
    let sum = mstatus::SUM;
    let mxr = mstatus::MXR;
    let good = Ok(FRAME);
    #[rustfmt::skip]
    let lines: &[Permission] = &[
        // flags, level, status, access, result
        (V | R | A,             S,    0,   READ,    good),
        (V | R | A,             S,    0,   WRITE,   Err(15)),
        (V | R | A,             S,    0,   EXECUTE, Err(12)),
        (V | R | W | A | D,     S,    0,   WRITE,   good),
        (V | X | A,             S,    0,   EXECUTE, good),
        (V | X | A,             S,    0,   READ,    Err(13)),
        (V | X | A,             S,    mxr, READ,    good),
        (R | A,                 S,    0,   READ,    Err(13)),
        (V | W | A | D,         S,    0,   WRITE,   Err(15)),
        (V | W | X | A | D,     S,    0,   EXECUTE, Err(12)),
        (V | R | U | A,         S,    0,   READ,    Err(13)),
        (V | R | U | A,         S,    sum, READ,    good),
        (V | R | X | U | A,     S,    sum, EXECUTE, Err(12)),
        (V | R | X | U | A,     USER, 0,   EXECUTE, good),
        (V | R | A,             USER, 0,   READ,    Err(13)),
        (V | R | W | U | A | D, USER, 0,   WRITE,   good),
        (V | R,                 S,    0,   READ,    Err(13)),
        (V | R | W | A,         S,    0,   WRITE,   Err(15)),
        (V | R | W | A,         S,    0,   READ,    good),
        (V | R | A | G,         S,    0,   READ,    good),
        (V | R | A | 1 << 54,   S,    0,   READ,    Err(13)),
        (V | R | A | 1 << 63,   S,    0,   READ,    Err(13)),
    ];
    for (n, &(flags, at, status, access, want)) in lines.iter().enumerate() {
        let mut bare = mapped(0, entry(FRAME, flags), 8);
        bare.vcpu.set(state::PRIV, at);
        let old = bare.vcpu.get(state::MSTATUS);
        bare.vcpu.set(state::MSTATUS, old | status);
        assert_eq!(walk(&bare, VIRTUAL + 0x123, access), want, "line {n}");
    }
}

#[test]
fn large_pages_and_their_alignment() {
    for (at_level, offset) in [(1, 0x3000), (2, 2 << 21 | 0x3000)] {
        // RAM starts at 2 GiB: aligned for every size.
        let bare = mapped(at_level, entry(BASE, V | R | A), 8);
        assert_eq!(walk(&bare, VIRTUAL, READ), Ok(BASE + offset));
        let bare = mapped(at_level, entry(BASE + 0x1000, V | R | A), 8);
        assert_eq!(walk(&bare, VIRTUAL, READ), Err(13), "a misaligned large page");
    }
}

#[test]
fn pointers_have_no_flags_of_leaves() {
    for flags in [A, D, U] {
        let bare = mapped(0, entry(FRAME, V | R | A), 8);
        bare.poke(MIDDLE + 16, entry(LAST, V | flags));
        assert_eq!(walk(&bare, VIRTUAL, READ), Err(13));
    }
    let bare = mapped(0, entry(FRAME, V), 8);
    assert_eq!(walk(&bare, VIRTUAL, READ), Err(13), "a pointer at the last level");
}

#[test]
fn addresses_must_be_canonical() {
    let bare = mapped(0, entry(FRAME, V | R | A), 8);
    assert_eq!(walk(&bare, VIRTUAL | 1 << 39, READ), Err(13));
    assert_eq!(walk(&bare, VIRTUAL | 1 << 38, READ), Err(13));
    // Entry 511 of the root: the top of the address space.
    bare.poke(ROOT + 511 * 8, entry(BASE, V | R | A));
    assert_eq!(walk(&bare, 0xffff_ffff_c000_0000, READ), Ok(BASE));
    assert_eq!(walk(&bare, 0x0000_007f_c000_0000, READ), Err(13));
}

#[test]
fn sv48_has_a_level_more() {
    let mut bare = mapped(0, entry(FRAME, V | R | A), 8);
    let top = BASE + 0x10_3000;
    bare.poke(top + 8 * 5, entry(ROOT, V));
    bare.vcpu.set(state::SATP, 9 << 60 | top >> 12);
    assert_eq!(walk(&bare, 5 << 39 | VIRTUAL, READ), Ok(FRAME));
    assert_eq!(walk(&bare, VIRTUAL, READ), Err(13));
}

#[test]
fn hardware_sets_accessed_and_dirty_where_it_may() {
    let mut bare = mapped(0, entry(FRAME, V | R | W), 8);
    bare.vcpu.set(state::MENVCFG, 1 << 61);
    assert_eq!(walk(&bare, VIRTUAL, READ), Ok(FRAME));
    assert_eq!(bare.ram.load(LAST + 24, trine_base::Width::B8), Some(entry(FRAME, V | R | W | A)));
    assert_eq!(walk(&bare, VIRTUAL, WRITE), Ok(FRAME));
    assert_eq!(bare.ram.load(LAST + 24, trine_base::Width::B8), Some(entry(FRAME, V | R | W | A | D)));
}

#[test]
fn tables_outside_of_memory_are_access_faults() {
    let bare = mapped(0, entry(FRAME, V | R | A), 8);
    bare.poke(ROOT + 8, entry(0x1000, V));
    assert_eq!(walk(&bare, VIRTUAL, READ), Err(5));
    assert_eq!(walk(&bare, VIRTUAL, EXECUTE), Err(1));
}

#[test]
fn protection_entries_match_in_order() {
    let napot = |base: u64, size: u64| (base >> 2) | ((size >> 3) - 1);
    let mut bare = mapped(0, entry(FRAME, V | R | W | A | D), 8);
    // Entry 0: the frame's page, read only; entry 1: everything.
    bare.vcpu.set(state::PMPADDR, napot(FRAME, 0x1000));
    bare.vcpu.set(state::PMPADDR + 1, (1 << 54) - 1);
    bare.vcpu.set(state::PMPCFG0, 0x1f << 8 | 0x19);
    assert_eq!(walk(&bare, VIRTUAL, READ), Ok(FRAME));
    assert_eq!(walk(&bare, VIRTUAL, WRITE), Err(7));
    // M mode passes unless the entry is locked.
    bare.vcpu.set(state::PRIV, level::M);
    assert_eq!(walk(&bare, FRAME, WRITE), Ok(FRAME));
    bare.vcpu.set(state::PMPCFG0, 0x1f << 8 | 0x99);
    assert_eq!(walk(&bare, FRAME, WRITE), Err(7));
    // Top of range: entry 0 ends where the frame starts, entry 1 covers it without rights.
    bare.vcpu.set(state::PRIV, level::S);
    bare.vcpu.set(state::PMPADDR, FRAME >> 2);
    bare.vcpu.set(state::PMPADDR + 1, (FRAME + 0x1000) >> 2);
    bare.vcpu.set(state::PMPCFG0, 0x08 << 8 | 0x0f);
    assert_eq!(walk(&bare, VIRTUAL, READ), Err(5));
    // Nothing matches: S has no rights, M has all.
    bare.vcpu.set(state::PMPCFG0, 0);
    assert_eq!(walk(&bare, VIRTUAL, READ), Err(5));
}

#[test]
fn mprv_makes_machine_mode_see_with_other_eyes() {
    let mut bare = mapped(0, entry(FRAME, V | R | A), 8);
    bare.vcpu.set(state::PRIV, level::M);
    assert_eq!(walk(&bare, FRAME, READ), Ok(FRAME));
    let old = bare.vcpu.get(state::MSTATUS);
    bare.vcpu.set(state::MSTATUS, old | mstatus::MPRV | 1 << 11);
    assert_eq!(walk(&bare, VIRTUAL, READ), Ok(FRAME));
    assert_eq!(walk(&bare, FRAME, READ), Err(13));
    assert_eq!(walk(&bare, FRAME, EXECUTE), Ok(FRAME), "fetches are not affected");
}

/// Sv39 with the program's first gigabyte mapped to itself and one page of data at [`VIRTUAL`].
fn paged(bare: &mut Bare) {
    bare.poke(ROOT + 8, entry(MIDDLE, V));
    bare.poke(MIDDLE + 16, entry(LAST, V));
    bare.poke(LAST + 24, entry(FRAME, V | R | W | A | D));
    bare.poke(ROOT + 16, entry(BASE, V | R | W | X | A | D));
    bare.poke(FRAME + 0xff8, 0x1122_3344_5566_7788);
    bare.vcpu.set(state::SATP, 8 << 60 | ROOT >> 12);
    bare.vcpu.set(state::PMPCFG0, 0x1f);
    bare.vcpu.set(state::PMPADDR, (1 << 54) - 1);
    bare.vcpu.set(state::MEDELEG, 0xb3ff);
    bare.vcpu.set(state::STVEC, BASE + 0x400);
    bare.vcpu.set(state::PRIV, level::S);
    // The handler: stays where it is.
    bare.ram.write(BASE + 0x400, &0x0000_006fu32.to_le_bytes());
    bare.vcpu.set(state::X + 10, VIRTUAL + 0xff8);
}

#[test]
fn an_access_that_crosses_into_a_missing_page_changes_nothing() {
    let bare = both(20, "ld a1, 0(a0)\naddi a2, zero, 1\nsd a2, 4(a0)\naddi a2, zero, 2", paged);
    assert_eq!(bare.get("a1"), 0x1122_3344_5566_7788);
    assert_eq!((bare.get("scause"), bare.get("stval"), bare.get("sepc")), (15, VIRTUAL + 0x1000, BASE + 8));
    assert_eq!(bare.get("a2"), 1);
    assert_eq!(bare.ram.load(FRAME + 0xff8, trine_base::Width::B8), Some(0x1122_3344_5566_7788));
}

#[test]
fn registers_stay_in_registers_over_a_helper() {
    // `cbo.zero` reads no register that the loop keeps in a host register; its last iteration reaches an
    // unmapped page.
    let bare = both(
        200,
        "fmv.d.x fa0, a2
         loop:
         addi a1, a1, 3
         fadd.d fa0, fa0, fa0, dyn
         cbo.zero (a0)
         addi a0, a0, 64
         fadd.d fa0, fa0, fa0, dyn
         addi a1, a1, 4
         bne a0, zero, @loop",
        |bare| {
            paged(bare);
            bare.vcpu.set(state::MENVCFG, 0xf0);
            bare.vcpu.set(state::MSTATUS, bare.vcpu.get(state::MSTATUS) | mstatus::FS);
            bare.vcpu.set(state::X + 10, VIRTUAL + 0xf00);
            bare.vcpu.set(state::X + 12, 1.0f64.to_bits());
        },
    );
    assert_eq!((bare.get("scause"), bare.get("stval")), (15, VIRTUAL + 0x1000));
    assert_eq!((bare.get("a1"), bare.get("a0")), (4 * 7 + 3, VIRTUAL + 0x1000));
    assert_eq!(f64::from_bits(bare.get("fa0")), 512.0);
    assert_eq!(bare.ram.load(FRAME + 0xff8, trine_base::Width::B8), Some(0));
}

#[test]
fn stale_translations_go_with_sfence_vma() {
    // Reads, unmaps the page through its entry, fences, reads again.
    let bare = both(
        60,
        "ld a1, 0(a0)
         sd zero, 0(a3)
         sfence.vma a0, zero
         ld a2, 0(a0)",
        |bare| {
            paged(bare);
            bare.vcpu.set(state::X + 13, LAST + 24);
        },
    );
    assert_eq!((bare.get("scause"), bare.get("stval"), bare.get("a2")), (13, VIRTUAL + 0xff8, 0));
}

#[test]
fn an_instruction_may_lie_in_two_pages() {
    // `addi a1, a1, 1` with two bytes in one page and two in the next, in a loop.
    let bare = both(200, "jal zero, 4092", |bare| {
        let mut at = BASE + 0xffc;
        for line in ["c.addi a2, 1", "addi a1, a1, 1", "c.addi a3, -1"] {
            let (word, bytes) = trine_isa_riscv::asm::assemble(line, false).unwrap();
            bare.ram.write(at, &word.to_le_bytes()[..bytes as usize]);
            at += bytes as u64;
        }
        let (word, _) = trine_isa_riscv::asm::assemble("bne a3, zero, -8", false).unwrap();
        bare.ram.write(at, &word.to_le_bytes());
        bare.ram.write(at + 4, &0x0000_006fu32.to_le_bytes());
        bare.vcpu.set(state::X + 13, 20);
    });
    assert_eq!((bare.get("a1"), bare.get("a2")), (20, 20));
}

#[test]
fn only_an_instruction_that_needs_the_next_page_faults_there() {
    let end = VIRTUAL + 0x1000;
    // The bytes behind `c.addi a2, 1` at the end of the last mapped page; cause, value, PC.
    for (bytes, want) in [
        // `c.addi a2, 1`: the next fetch faults, and not this one.
        (0x0605_u16, (12, end, end)),
        // The first half of `addi a1, a1, 1`.
        (0x8593, (12, end, end - 2)),
        // Not an instruction, whatever bytes follow.
        (0x0000, (2, 0, end - 2)),
    ] {
        let bare = both(200, "jalr zero, 0(a4)", |bare| {
            paged(bare);
            bare.poke(LAST + 24, entry(FRAME, V | R | X | A));
            bare.ram.write(FRAME + 0xffc, &[0x05, 0x06]);
            bare.ram.write(FRAME + 0xffe, &bytes.to_le_bytes());
            bare.vcpu.set(state::X + 14, end - 4);
        });
        assert_eq!((bare.get("scause"), bare.get("stval"), bare.get("sepc")), want, "{bytes:#06x}");
        assert_eq!(bare.get("a2"), 1 + (bytes == 0x0605) as u64, "{bytes:#06x}");
    }
}

/// Registers and tables of a program in S mode that changes the entry `leaf` (at `a3`) to `new` (`a4`),
/// fences `a5`, and reads `a0` before and after. Virtual address 2 GiB is RAM, where the program runs.
fn remap(leaf_at: u64, old: u64, new: u64, look_at: u64, fence_at: u64) -> impl Fn(&mut Bare) {
    move |bare| {
        bare.poke(ROOT + 8, entry(MIDDLE, V));
        bare.poke(ROOT + 16, entry(BASE, V | R | W | X | A | D));
        bare.poke(leaf_at, old);
        bare.poke(BASE + 0x20_5000, 0x1111);
        bare.poke(BASE + 0x40_5000, 0x2222);
        bare.vcpu.set(state::SATP, 8 << 60 | ROOT >> 12);
        bare.vcpu.set(state::PMPCFG0, 0x1f);
        bare.vcpu.set(state::PMPADDR, (1 << 54) - 1);
        bare.vcpu.set(state::PRIV, level::S);
        let registers = [(10, look_at), (13, leaf_at), (14, new), (15, fence_at)];
        registers.into_iter().for_each(|(x, value)| bare.vcpu.set(state::X + x, value));
    }
}

/// A program that reads three times before the change, so that every translation cache has the address.
const LOOK_AGAIN: &str =
    "ld a1, 0(a0)\nld a1, 0(a0)\nld a1, 0(a0)\nsd a4, 0(a3)\nsfence.vma a5, zero\nld a2, 0(a0)";
const DATA: u64 = V | R | W | A | D;

#[test]
fn one_fence_forgets_all_of_a_large_page() {
    let two_mib = 1 << 30 | 2 << 21;
    // A page of 2 MiB moves; the fence names its first, its last, and the very page.
    for fence_at in [two_mib, two_mib + 0x1f_f000, two_mib + 0x5000] {
        let (old, new) = (entry(BASE + 0x20_0000, DATA), entry(BASE + 0x40_0000, DATA));
        let bare = both(60, LOOK_AGAIN, remap(MIDDLE + 16, old, new, two_mib + 0x5000, fence_at));
        assert_eq!((bare.get("a1"), bare.get("a2")), (0x1111, 0x2222), "fence of {fence_at:#x}");
    }
    // A page of 1 GiB becomes a table, in which the address lies elsewhere.
    let look = 3 << 30 | 0x20_5000;
    let bare = both(60, LOOK_AGAIN, |bare| {
        let table = entry(LAST, V);
        bare.poke(LAST + 8, entry(BASE + 0x40_0000, DATA));
        remap(ROOT + 24, entry(BASE, DATA), table, look, (3 << 30) + 0x3fff_f000)(bare);
    });
    assert_eq!((bare.get("a1"), bare.get("a2")), (0x1111, 0x2222));
}

#[test]
fn an_access_crosses_into_a_page_that_its_base_register_reached_before() {
    // Two pages side by side that are apart in memory; `a0` is in the second one and at the end of the first one in turn.
    let (first, end) = (VIRTUAL, VIRTUAL + 0xffd);
    let program =
        "ld a1, 0(a0)\nsd a4, 0(a0)\nxor a0, a0, a2\naddi a3, a3, -1\nbne a3, zero, -16\njal zero, 0";
    for rounds in [40, 41] {
        let bare = both(rounds * 5, program, |bare| {
            remap(LAST + 24, entry(BASE + 0x20_5000, DATA), 0, first + 0x1000, 0)(bare);
            bare.poke(MIDDLE + 16, entry(LAST, V));
            bare.poke(LAST + 32, entry(BASE + 0x40_5000, DATA));
            bare.poke(BASE + 0x20_5ff8, 0x1111_1111_1111_1111);
            bare.poke(BASE + 0x40_5000, 0x2222_2222_2222_2222);
            bare.poke(BASE + 0x40_4ff8, 0x3333_3333_3333_3333);
            bare.vcpu.set(state::X + 12, (first + 0x1000) ^ end);
            bare.vcpu.set(state::X + 13, rounds);
            bare.vcpu.set(state::X + 14, 0x8877_6655_4433_2211);
        });
        let at = |at| bare.ram.load(at, Width::B8).unwrap();
        // The last round but one and the last one, in which the access crosses where their number is even.
        assert_eq!(at(BASE + 0x20_5ff8), 0x3322_1111_1111_1111, "{rounds}");
        assert_eq!(at(BASE + 0x40_4ff8), 0x3333_3333_3333_3333, "behind the wrong page: {rounds}");
        let second = if rounds == 40 { 0x8877_6688_7766_5544 } else { 0x8877_6655_4433_2211 };
        assert_eq!(at(BASE + 0x40_5000), second, "{rounds}");
    }
}

#[test]
fn a_fence_from_outside_forgets_what_it_names() {
    let look = VIRTUAL + 0x5000;
    let (leaf, old, new) = (LAST + 64, entry(BASE + 0x20_5000, DATA), entry(BASE + 0x40_5000, DATA));
    let pages = |start, size| Fence::Pages { start, size };
    for (fence, forgets) in [
        (Fence::All, true),
        (Fence::Translations, true),
        (pages(look, 1), true),
        (pages(look - 0x1fff, 0x2000), true),
        (pages(look - 0x1000, 0x3000), true),
        (pages(0, 1 << 20), true),
        (Fence::Code, false),
        (pages(look + 0x1000, 0x4000), false),
        (pages(look - 0x2000, 0x2000), false),
    ] {
        for tier in [Tier::Interp, Tier::Baseline] {
            let mut bare = Bare::new(tier, "ld a1, 0(a0)\nld a1, 0(a0)\nld a2, 0(a0)");
            remap(leaf, old, new, look, 0)(&mut bare);
            bare.poke(MIDDLE + 16, entry(LAST, V));
            bare.vcpu.run(2);
            bare.poke(leaf, new);
            bare.vcpu.fence(fence);
            bare.vcpu.run(1);
            let want = if forgets { 0x2222 } else { 0x1111 };
            assert_eq!((bare.get("a1"), bare.get("a2")), (0x1111, want), "{fence:?} {tier:?}");
        }
    }
}

#[test]
fn one_fence_forgets_the_code_of_a_large_page() {
    // A function in a page of 2 MiB is called, its page is remapped, any address in it is fenced, and the
    // other function runs.
    let at = 1 << 30 | 2 << 21;
    let program = "jalr ra, 0(a0)\nadd a1, zero, a6\nsd a4, 0(a3)\nsfence.vma a5, zero\njalr ra, 0(a0)";
    let code = V | R | X | A | D;
    let (old, new) = (entry(BASE + 0x20_0000, code), entry(BASE + 0x40_0000, code));
    let bare = both(60, program, |bare| {
        remap(MIDDLE + 16, old, new, at + 0x5000, at)(bare);
        // In place of the data at that address.
        for (frame, what) in [(0x20_0000, "addi a6, zero, 1"), (0x40_0000, "addi a6, zero, 2")] {
            bare.ram.write(BASE + frame + 0x5000, &assemble(&format!("{what}\njalr zero, 0(ra)")));
        }
    });
    assert_eq!((bare.get("a1"), bare.get("a6")), (1, 2));
}

/// Virtual address of a loop that calls a function in another page.
const LOOP_AT: u64 = 1 << 30 | 2 << 21;

/// A loop of 40 calls of a function that writes `csr` and returns, with `body` behind the call; then the old
/// value of `csr` is restored. Two calls write the value that it has already, the next two write another one
/// (register 18 holds the first value, 19 the bits that differ), so that what is cached for a call in one
/// mode meets a return in another. `bodies` are in the frames to which the loop's page is mapped in each
/// address space.
fn calls_that_change(csr: &str, bodies: &[(u64, &str)], setup: impl Fn(&mut Bare)) -> Bare {
    both(2000, "jalr zero, 0(a7)\ndone:\njal zero, @done", |bare| {
        remap(MIDDLE + 16, entry(BASE + 0x20_0000, V | R | W | X | A | D), 0, 0, 0)(bare);
        bare.ram.write(BASE + 0x800, &assemble(&format!("csrrw zero, {csr}, a3\njalr zero, 0(ra)")));
        for (frame, body) in bodies {
            let again = format!(
                "again:\nsrli t1, a5, 1\nandi t1, t1, 1\nsub t1, zero, t1\nand t1, t1, s3\nxor a3, s2, t1\n\
                 jalr ra, 0(a0)\n{body}\ncsrrw zero, {csr}, s2\naddi a5, a5, -1\nbne a5, zero, @again\n\
                 jalr zero, 0(a6)"
            );
            bare.ram.write(BASE + frame, &assemble(&again));
        }
        let registers = [(10, BASE + 0x800), (15, 40), (16, BASE + 4), (17, LOOP_AT)];
        registers.into_iter().for_each(|(x, value)| bare.vcpu.set(state::X + x, value));
        setup(bare);
    })
}

#[test]
fn a_return_to_another_address_space_finds_its_code() {
    let bodies = [(0x20_0000, "addi a1, a1, 1"), (0x40_0000, "addi a1, a1, 100")];
    let bare = calls_that_change("satp", &bodies, |bare| {
        let (root, middle) = (BASE + 0x11_0000, BASE + 0x11_1000);
        bare.poke(root + 8, entry(middle, V));
        bare.poke(root + 16, entry(BASE, V | R | W | X | A | D));
        bare.poke(middle + 16, entry(BASE + 0x40_0000, V | R | W | X | A | D));
        bare.vcpu.set(state::X + 18, 8 << 60 | ROOT >> 12);
        bare.vcpu.set(state::X + 19, 1 << 44 | (root ^ ROOT) >> 12);
    });
    assert_eq!((bare.get("a5"), bare.get("a1")), (0, 20 + 20 * 100));
}

#[test]
fn a_return_to_another_mode_finds_its_code() {
    // Where SUM is clear, the load from a page of the user's faults.
    let bare = calls_that_change("sstatus", &[(0x20_0000, "ld a2, 0(a4)")], |bare| {
        bare.poke(ROOT + 24, entry(BASE, V | R | W | U | A | D));
        let handler = "addi a1, a1, 1\ncsrrs t0, sepc, zero\naddi t0, t0, 4\ncsrrw zero, sepc, t0\nsret";
        bare.ram.write(BASE + 0xc00, &assemble(handler));
        bare.vcpu.set(state::STVEC, BASE + 0xc00);
        bare.vcpu.set(state::MEDELEG, 0xb3ff);
        bare.vcpu.set(state::X + 14, 3 << 30 | 0x20_5000);
        bare.vcpu.set(state::MSTATUS, mstatus::SUM);
        bare.vcpu.set(state::X + 18, mstatus::SUM);
        bare.vcpu.set(state::X + 19, mstatus::SUM);
    });
    assert_eq!((bare.get("a5"), bare.get("a1")), (0, 20));
}
