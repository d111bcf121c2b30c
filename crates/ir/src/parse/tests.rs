//! Valid and invalid texts.

use super::*;
use crate::isa::{Leave, SlotSet};
use crate::memop::Hints;
use crate::op::{Bin, Carry, Cmp, Extra, Fp, Rmw, Rounding, Un};
use crate::vector_fp::VFp;

static HELPER: Helper = Helper {
    name: "look-up",
    run: |_, _| Err(Leave::Stop),
    reads: SlotSet::All,
    writes: SlotSet::All,
    leaves: true,
    flushes: true,
    fp: true,
};

const HINTS: Hints = Hints { aligned: true, stack: true, supervisor: true };

/// Every instruction in every form, in the order of [`Inst`].
fn all() -> Vec<Inst> {
    let [a, b, c] = [Val(1), Val(2), Val(3)];
    let widths = [Width::B1, Width::B2, Width::B4, Width::B8];
    let mut all = vec![
        Inst::Begin(0x10, 2),
        Inst::Const(u64::MAX),
        Inst::Pc(-4),
        Inst::Pc(i64::MAX),
        Inst::Get(7),
        Inst::GetF(39),
        Inst::Set(8, a),
        Inst::SetF(40, b),
        Inst::Zext(64, 8, a),
        Inst::Sext(8, 64, a),
        Inst::Select(32, a, b, c),
        Inst::SelectF(a, b, c),
        Inst::GetV(32),
        Inst::SetV(34, a),
        Inst::ToVec(a),
        Inst::LoadV(Hints::NONE, a),
        Inst::LoadV(HINTS, a),
        Inst::StoreV(Hints::NONE, a, b),
        Inst::StoreV(HINTS, a, b),
        Inst::DivWide(Signed::No, [a, b, c]),
        Inst::DivWide(Signed::Yes, [a, b, c]),
        Inst::Insert(8, 8, a, b),
        Inst::Fence,
        Inst::Flags,
        Inst::SetFlags(c),
        Inst::Call(&HELPER, [a, b, c]),
        Inst::IfNot { c, to: Label(0), exits: false },
        Inst::Label(Label(0)),
        Inst::IfNot { c, to: Label(1), exits: true },
        Inst::Raise(13, 0, a),
        Inst::Raise(13, 0x18, a),
        Inst::Label(Label(1)),
    ];
    Extra::each(&mut |extra| all.push(Inst::Extra(extra, a)));
    for bits in [1, 8, 16, 32, 64] {
        Carry::each(&mut |op| all.push(Inst::Carry(op, bits, [a, b, c])));
        Bin::each(&mut |op| all.push(Inst::Bin(op, bits, a, b)));
        Cmp::each(&mut |op| all.push(Inst::Cmp(op, bits, a, b)));
        Un::each(&mut |op| all.push(Inst::Un(op, bits, a)));
    }
    for op in
        widths.into_iter().flat_map(|w| [MemOp::from(w), MemOp::from(w).big(), MemOp::from(w).hinted(HINTS)])
    {
        all.push(Inst::Load(op, a));
        all.push(Inst::Store(op, a, b));
        all.push(Inst::Exchange(op, a, b, c));
        Rmw::each(&mut |rmw| all.push(Inst::Rmw(rmw, op, a, b)));
    }
    Fp::each(&mut |op| {
        let args = match Inst::fp_operands(op) {
            1 => [a, a, a],
            2 => [a, b, b],
            _ => [a, b, c],
        };
        Rounding::each(&mut |rounding| all.push(Inst::Fp(op, rounding, args)));
    });
    Vop::each(&mut |op| {
        all.push(Inst::Vec(op, [[a, a, a], [a, b, b], [a, b, c]][op.operands() - 1]));
    });
    VFp::each(&mut |op| {
        let args = if op.operands() == 1 { [a, a] } else { [a, b] };
        Rounding::each(&mut |rounding| all.push(Inst::VFp(op, rounding, args)));
    });
    Lane::each(&mut |lane| {
        all.push(Inst::VMask(lane, a));
        all.push(Inst::VExtract(lane, lane.count() as u8 - 1, a));
        all.push(Inst::VInsert(lane, 0, a, b));
    });
    Flow::each(&mut |flow| all.push(Inst::Jump(flow, a)));
    all
}

#[test]
fn what_is_printed_is_read_as_it_was() {
    let block = Block { insts: all(), guest: 1, labels: 2 };
    let text = block.to_string();
    let again = parse(&text, &[&HELPER]).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(format!("{:?}", again.insts), format!("{:?}", block.insts));
    assert_eq!((again.guest, again.labels), (1, 2));
    assert_eq!(again.to_string(), text);
}

#[test]
fn people_name_values_and_write_comments() {
    let text = "; adds\n@0+4\n\n  %left = get s1 ; the first\n%right=get s2\n%sum = add.64 %left,%right\n set s3, %sum\n";
    let block = parse(text, &[]).expect("it is IR");
    let printed = "@0x0+4\n  %1 = get s1\n  %2 = get s2\n  %3 = add.64 %1, %2\n  set s3, %3\n";
    assert_eq!(block.to_string(), printed);
}

/// The error of a text whose second line is `line`.
fn error(line: &str) -> String {
    let text = format!("@0+4\n{line}\n");
    parse(&text, &[]).expect_err("must be rejected").to_string()
}

#[test]
fn errors_say_where_and_what() {
    assert_eq!(error("  %1 = gets s1"), "2:8: unknown instruction `gets`");
    assert_eq!(error("  set s1, %5"), "2:12: undefined value %5");
    assert_eq!(error("set s1"), "2:7: expected `,`");
    assert_eq!(error("%1 = const 0xfg"), "2:12: `0xfg` is not a number");
    assert_eq!(error("%1 = get s65536"), "2:16: 65536 is too large");
    assert_eq!(error("%1 = const 1 2"), "2:14: expected the end of the line");
    assert_eq!(error("const 1"), "2:1: the value needs a name");
    assert_eq!(error("%1 = fence"), "2:5: this instruction makes no value");
    assert_eq!(error("fence\n%x = const 1\n%x = const 2"), "4:1: this name is already defined");
    assert!(error("%1 = load.24 [%0]").contains("24 is not a width of accesses"));
    assert!(error("%1 = load.32.le [%0]").contains("unknown hint `le`"));
    assert!(error("%1 = sext.8 %0").contains("expected two widths"));
    assert!(error("%1 = call nothing %1, %1, %1").contains("unknown helper `nothing`"));
    assert!(error("%1 = fadd.d up, %1, %1").contains("unknown rounding direction `up`"));
}
