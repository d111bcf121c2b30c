//! Each rule rejects blocks that break it, and only those.

use super::*;
use crate::inst::Label;
use crate::memop::Hints;
use crate::op::{Bin, Carry, Cmp, Extra, Flow, Rmw, Round, Rounding, Signed};
use crate::vector::{Lane, VBin, Vop};
use crate::vector_fp::{Lanes, VFp};
use trine_base::Width;

const RNE: Rounding = Rounding::Static(Round::Rne);

/// A block of one guest instruction: its beginning is %0, then come these.
fn block(labels: u32, insts: &[Inst]) -> Block {
    let all = [Inst::Begin(0, 4)].iter().chain(insts).copied().collect();
    Block { insts: all, guest: 1, labels }
}

/// An exit whose target is %`n`, which is made just before it.
fn end(n: u32) -> [Inst; 2] {
    [Inst::Pc(4), Inst::Jump(Flow::Plain, Val(n))]
}

/// The error for a block of these instructions and a valid end.
fn why(labels: u32, insts: &[Inst]) -> String {
    let all = [insts, &end(insts.len() as u32 + 1)].concat();
    verify(&block(labels, &all)).expect_err("a rule was broken")
}

fn fine(labels: u32, insts: &[Inst]) {
    let all = [insts, &end(insts.len() as u32 + 1)].concat();
    assert_eq!(verify(&block(labels, &all)), Ok(()));
}

fn arm(c: u32, to: u32, exits: bool) -> Inst {
    Inst::IfNot { c: Val(c), to: Label(to), exits }
}

#[test]
fn operands_are_made_before_and_have_a_value() {
    fine(0, &[Inst::Get(1), Inst::Set(2, Val(1))]);
    assert!(why(0, &[Inst::Set(2, Val(1)), Inst::Get(1)]).contains("%1 is used before it is made"));
    assert!(why(0, &[Inst::Set(2, Val(2)), Inst::Get(1)]).contains("%2 is used before it is made"));
    assert!(why(0, &[Inst::Set(2, Val(9999))]).contains("%9999 is used before it is made"));
    assert!(why(0, &[Inst::Set(2, Val(0))]).contains("%0 has no value"));
    let through = [Inst::Get(1), Inst::Set(2, Val(1)), Inst::Set(3, Val(2))];
    assert!(why(0, &through).contains("%2 has no value"));
}

#[test]
fn classes_are_kept_apart() {
    fine(0, &[Inst::GetF(1), Inst::SetF(2, Val(1))]);
    assert!(why(0, &[Inst::GetF(1), Inst::Set(2, Val(1))]).contains("%1 is not Int"));
    assert!(why(0, &[Inst::Get(1), Inst::SetF(2, Val(1))]).contains("%1 is not Float"));
    let add = |a, b| Inst::Fp(Fp::Add(Fmt::D), RNE, [Val(a), Val(b), Val(b)]);
    fine(0, &[Inst::GetF(1), add(1, 1), Inst::SetF(1, Val(2))]);
    assert!(why(0, &[Inst::GetF(1), Inst::Get(1), add(1, 2)]).contains("%2 is not Float"));
    let from = |v| Inst::Fp(Fp::FromInt(IntTy::I64, Fmt::D), RNE, [Val(v); 3]);
    fine(0, &[Inst::Get(1), from(1), Inst::SetF(1, Val(2))]);
    assert!(why(0, &[Inst::GetF(1), from(1)]).contains("%1 is not Int"));
    let to = Inst::Fp(Fp::ToInt(Fmt::D, IntTy::I64), RNE, [Val(1); 3]);
    assert!(why(0, &[Inst::GetF(1), to, Inst::SetF(1, Val(2))]).contains("%2 is not Float"));
    assert!(why(0, &[Inst::GetF(1), Inst::Load(Width::B8.into(), Val(1))]).contains("%1 is not Int"));
    let jump = block(0, &[Inst::GetF(1), Inst::Jump(Flow::Plain, Val(1))]);
    assert!(verify(&jump).unwrap_err().contains("%1 is not Int"));
}

#[test]
fn widths_are_those_that_there_are() {
    for n in [0, 2, 7, 24, 63, 65, 255] {
        let none = format!("{n} bits is not a width");
        for inst in [
            Inst::Bin(Bin::Add, n, Val(1), Val(1)),
            Inst::Cmp(Cmp::Eq, n, Val(1), Val(1)),
            Inst::Un(Un::Clz, n, Val(1)),
            Inst::Select(n, Val(1), Val(1), Val(1)),
            Inst::Zext(n, 8, Val(1)),
            Inst::Zext(64, n, Val(1)),
            Inst::Sext(n, 64, Val(1)),
            Inst::Sext(8, n, Val(1)),
        ] {
            assert!(why(0, &[Inst::Const(1), inst]).contains(&none), "{inst:?}");
        }
    }
    assert!(why(0, &[Inst::Const(1), Inst::Un(Un::Bswap, 8, Val(1))]).contains("no byte order"));
    fine(0, &[Inst::Const(1), Inst::Un(Un::Bswap, 16, Val(1))]);
}

#[test]
fn operands_are_not_wider_than_the_operation() {
    let narrow = [Inst::Get(1), Inst::Zext(64, 32, Val(1))];
    fine(0, &[&narrow[..], &[Inst::Bin(Bin::Add, 32, Val(2), Val(2))]].concat());
    let wide = "%1 has 64 bits, ";
    for inst in [
        Inst::Bin(Bin::DivU, 32, Val(2), Val(1)),
        Inst::Bin(Bin::MulhS, 32, Val(1), Val(2)),
        Inst::Bin(Bin::Add, 16, Val(1), Val(2)),
        Inst::Cmp(Cmp::LtU, 16, Val(1), Val(2)),
        Inst::Un(Un::Ctz, 32, Val(1)),
        Inst::Zext(32, 8, Val(1)),
        Inst::Rmw(Rmw::Add, Width::B4.into(), Val(1), Val(1)),
        Inst::Exchange(Width::B4.into(), Val(1), Val(1), Val(2)),
        Inst::Exchange(Width::B4.into(), Val(1), Val(2), Val(1)),
        Inst::Fp(Fp::FromInt(IntTy::U32, Fmt::D), RNE, [Val(1); 3]),
        Inst::Fp(Fp::FromBits(Fmt::S), RNE, [Val(1); 3]),
    ] {
        assert!(why(0, &[&narrow[..], &[inst]].concat()).contains(wide), "{inst:?}");
    }
    // These read the low half.
    fine(0, &[&narrow[..], &[Inst::Bin(Bin::Add, 32, Val(1), Val(2))]].concat());
    fine(0, &[&narrow[..], &[Inst::Cmp(Cmp::LtS, 32, Val(1), Val(2))]].concat());
    fine(0, &[&narrow[..], &[Inst::Store(Width::B4.into(), Val(1), Val(1))]].concat());
    let condition = [Inst::Get(1), Inst::Cmp(Cmp::Eq, 64, Val(1), Val(1))];
    let select = |c, n, a, b| [&condition[..], &[Inst::Select(n, Val(c), Val(a), Val(b))]].concat();
    fine(0, &select(2, 64, 1, 2));
    assert!(why(0, &select(1, 64, 1, 1)).contains("64 bits, only 1 are accepted"));
    assert!(why(0, &select(2, 32, 1, 2)).contains("64 bits, only 32 are accepted"));
    assert!(why(0, &select(2, 32, 2, 1)).contains("64 bits, only 32 are accepted"));
    let numbers = [Inst::Get(1), Inst::Cmp(Cmp::Eq, 64, Val(1), Val(1)), Inst::GetF(40)];
    let select = |c, a, b| [&numbers[..], &[Inst::SelectF(Val(c), Val(a), Val(b))]].concat();
    fine(0, &select(2, 3, 3));
    assert!(why(0, &select(1, 3, 3)).contains("64 bits, only 1 are accepted"));
    assert!(why(0, &select(2, 3, 1)).contains("%1 is not Float"));
    assert!(why(0, &select(3, 3, 3)).contains("%3 is not Int"));
    assert!(
        why(1, &[Inst::Get(1), arm(1, 0, false), Inst::Label(Label(0))])
            .contains("64 bits, only 1 are accepted")
    );
    fine(0, &[Inst::Const(0xffff_ffff), Inst::Bin(Bin::Add, 32, Val(1), Val(1))]);
    let constant = [Inst::Const(0x1_0000_0000), Inst::Bin(Bin::RemU, 32, Val(1), Val(1))];
    assert!(why(0, &constant).contains("%1 has 33 bits, only 32 are accepted"));
}

#[test]
fn arms_nest_and_end() {
    let c = Inst::Const(1);
    let end_of = |n| Inst::Label(Label(n));
    fine(2, &[c, arm(1, 0, false), arm(1, 1, false), end_of(1), end_of(0)]);
    fine(2, &[c, arm(1, 0, false), end_of(0), arm(1, 1, false), end_of(1)]);
    let crossed = [c, arm(1, 0, false), arm(1, 1, false), end_of(0), end_of(1)];
    assert!(why(2, &crossed).contains("label 0 does not end the innermost arm"));
    assert!(why(1, &[c, end_of(0)]).contains("label 0 does not end the innermost arm"));
    assert_eq!(why(1, &[c, arm(1, 0, false)]), "an arm does not end");
    assert!(why(1, &[c, arm(1, 1, false), end_of(1)]).contains("the block has only 1 labels"));
    let twice = [c, arm(1, 0, false), end_of(0), arm(1, 0, false), end_of(0)];
    assert!(why(1, &twice).contains("label 0 ends another arm, too"));
    let inside = [c, arm(1, 0, false), arm(1, 0, false), end_of(0), end_of(0)];
    assert!(why(1, &inside).contains("label 0 ends another arm, too"));
}

#[test]
fn values_of_an_arm_stay_in_it() {
    let c = Inst::Const(1);
    let set = |v| Inst::Set(1, Val(v));
    fine(1, &[c, arm(1, 0, false), Inst::Get(2), set(3), Inst::Label(Label(0)), set(1)]);
    let leaks = [c, arm(1, 0, false), Inst::Get(2), Inst::Label(Label(0)), set(3)];
    assert!(why(1, &leaks).contains("%3 was made in an arm that has ended"));
    let nested = [
        c,
        arm(1, 0, false),
        arm(1, 1, false),
        Inst::Get(2),
        Inst::Label(Label(1)),
        set(4),
        Inst::Label(Label(0)),
    ];
    assert!(why(2, &nested).contains("%4 was made in an arm that has ended"));
}

#[test]
fn arms_say_whether_they_exit() {
    let (c, to) = (Inst::Const(1), Inst::Label(Label(0)));
    let (jump, raise) = (Inst::Jump(Flow::Plain, Val(1)), Inst::Raise(2, 0, Val(1)));
    for exit in [jump, raise] {
        fine(1, &[c, arm(1, 0, true), exit, to]);
        assert!(why(1, &[c, arm(1, 0, false), exit, to]).contains("exits and is not marked so"));
    }
    assert!(why(1, &[c, arm(1, 0, true), Inst::Fence, to]).contains("is marked to exit and does not"));
    assert!(why(1, &[c, arm(1, 0, true), to]).contains("is marked to exit and does not"));
}

#[test]
fn nothing_stands_behind_an_exit() {
    let (c, jump) = (Inst::Const(1), Inst::Jump(Flow::Plain, Val(1)));
    assert!(why(0, &[c, jump]).contains("follows an exit"));
    let in_arm = [c, arm(1, 0, true), jump, Inst::Fence, Inst::Label(Label(0))];
    assert!(why(1, &in_arm).contains("follows an exit"));
    assert!(why(0, &[c, Inst::Raise(2, 0, Val(1)), Inst::Begin(4, 4)]).contains("follows an exit"));
}

#[test]
fn guest_instructions_are_counted_and_not_in_arms() {
    let c = Inst::Const(1);
    let inside = [c, arm(1, 0, false), Inst::Begin(4, 4), Inst::Label(Label(0))];
    assert!(why(1, &inside).contains("begins inside an arm"));
    assert_eq!(why(0, &[Inst::Begin(4, 4)]), "2 guest instructions begin, but the block counts 1");
    let none = Block { guest: 0, ..block(0, &end(1)) };
    assert_eq!(verify(&none).unwrap_err(), "1 guest instructions begin, but the block counts 0");
}

#[test]
fn a_block_ends_in_an_exit() {
    let unended = "the block does not end in an exit";
    assert_eq!(verify(&block(0, &[])).unwrap_err(), unended);
    assert_eq!(verify(&Block::default()).unwrap_err(), unended);
    assert_eq!(verify(&block(0, &[Inst::Pc(4)])).unwrap_err(), unended);
    // An exit of an arm is not the block's.
    let arm = block(1, &[Inst::Const(1), arm(1, 0, true), Inst::Raise(2, 0, Val(1)), Inst::Label(Label(0))]);
    assert_eq!(verify(&arm).unwrap_err(), unended);
    assert_eq!(verify(&block(0, &[Inst::Const(0), Inst::Raise(2, 0, Val(1))])), Ok(()));
}

#[test]
fn what_an_operation_gives_besides_stands_behind_it() {
    let sum = Inst::Carry(Carry::Add, 64, [Val(1), Val(1), Val(2)]);
    let (one, carry, overflow) =
        (Inst::Const(1), Inst::Extra(Extra::Carry, Val(3)), Inst::Extra(Extra::Overflow, Val(3)));
    fine(0, &[Inst::Get(1), one, sum, carry, overflow]);
    fine(0, &[Inst::Get(1), one, sum, overflow]);
    assert!(why(0, &[Inst::Get(1), one, sum, one, carry]).contains("it does not follow %3"));
    let of_another = Inst::Extra(Extra::Carry, Val(1));
    assert!(why(0, &[Inst::Get(1), of_another]).contains("%1 has no Carry"));
    assert!(
        why(0, &[Inst::Get(1), one, sum, Inst::Extra(Extra::Remainder, Val(3))]).contains("no Remainder")
    );
    let wide = Inst::DivWide(Signed::No, [Val(1); 3]);
    fine(0, &[Inst::Get(1), wide, Inst::Extra(Extra::Remainder, Val(2))]);
    assert!(why(0, &[Inst::Get(1), wide, Inst::Extra(Extra::Carry, Val(2))]).contains("%2 has no Carry"));
    let carry_in = Inst::Carry(Carry::Add, 64, [Val(1); 3]);
    assert!(why(0, &[Inst::Get(1), carry_in]).contains("%1 has 64 bits, only 1 are accepted"));
    let narrow = Inst::Carry(Carry::Sub, 8, [Val(1), Val(2), Val(2)]);
    assert!(why(0, &[Inst::Get(1), one, narrow]).contains("%1 has 64 bits, only 8 are accepted"));
}

#[test]
fn a_field_lies_inside_its_value() {
    fine(0, &[Inst::Get(1), Inst::Insert(56, 8, Val(1), Val(1))]);
    for (at, len) in [(57, 8), (0, 0), (64, 1), (0, 65)] {
        assert!(why(0, &[Inst::Get(1), Inst::Insert(at, len, Val(1), Val(1))]).contains("exceeds 64 bits"));
    }
}

#[test]
fn vectors_are_a_class_with_lanes_and_slots_of_their_own() {
    let add = Vop::Bin(VBin::Add, Lane::L8);
    fine(0, &[Inst::GetV(32), Inst::Vec(add, [Val(1); 3]), Inst::SetV(34, Val(2))]);
    assert!(why(0, &[Inst::Get(1), Inst::Vec(add, [Val(1); 3])]).contains("%1 is not Vec"));
    assert!(why(0, &[Inst::GetV(32), Inst::Set(1, Val(1))]).contains("%1 is not Int"));
    let insert = |v, x| Inst::VInsert(Lane::L16, 7, Val(v), Val(x));
    fine(0, &[Inst::GetV(32), Inst::Get(1), insert(1, 2)]);
    assert!(why(0, &[Inst::GetV(32), Inst::Get(1), insert(2, 1)]).contains("%1 is not Int"));
    let store = |a, v| Inst::StoreV(Hints::NONE, Val(a), Val(v));
    fine(0, &[Inst::GetV(32), Inst::Get(1), store(2, 1)]);
    assert!(why(0, &[Inst::GetV(32), Inst::Get(1), store(1, 2)]).contains("%2 is not Vec"));
    assert!(
        why(0, &[Inst::GetV(32), Inst::VExtract(Lane::L16, 8, Val(1))]).contains("lane 8 does not exist")
    );
    let none = Vop::Bin(VBin::Mul, Lane::L8);
    assert!(why(0, &[Inst::GetV(32), Inst::Vec(none, [Val(1); 3])]).contains("does not exist"));
    let in_lanes = |op, lanes, of| [of, Inst::VFp(VFp { op, lanes }, RNE, [Val(1); 2])];
    fine(0, &in_lanes(Fp::Add(Fmt::S), Lanes::First, Inst::GetV(32)));
    assert!(why(0, &in_lanes(Fp::Add(Fmt::S), Lanes::All, Inst::Get(1))).contains("%1 is not Vec"));
    for (op, lanes) in [(Fp::Low, Lanes::All), (Fp::FromInt(IntTy::I32, Fmt::D), Lanes::First)] {
        assert!(why(0, &in_lanes(op, lanes, Inst::GetV(32))).contains("does not exist"));
    }
    for half in [Inst::Get(32), Inst::Get(33), Inst::GetF(33), Inst::GetV(31), Inst::GetV(33)] {
        assert!(why(0, &[Inst::GetV(32), half]).contains("half of another vector"), "{half:?}");
    }
    fine(0, &[Inst::GetV(32), Inst::Get(31), Inst::Get(34), Inst::GetV(36)]);
}
