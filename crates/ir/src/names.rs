//! The names of the operations in the IR's text form, shared by printer and parser.

use crate::op::{Bin, Carry, Cmp, Extra, Flow, Fmt, Fp, IntTy, Rmw, Round, Rounding, Sign, Signed, Un};
use crate::vector::{Lane, VBin, VShift, Vop};
use crate::vector_fp::{Lanes, VFp};
use crate::vector_mix::VMix;
use std::fmt::Debug;

/// An operation with a name.
pub(crate) trait Named: Copy {
    /// Calls `f` with every operation.
    fn each(f: &mut dyn FnMut(Self));
    /// The name in the text form.
    fn name(self) -> String;

    /// The operation that has this name.
    fn from_name(name: &str) -> Option<Self> {
        let mut found = None;
        Self::each(&mut |op| {
            if op.name() == name {
                found = Some(op);
            }
        });
        found
    }
}

fn lower(x: impl Debug) -> String {
    format!("{x:?}").to_lowercase()
}

/// Defines names by variants; the match makes the compiler report a missing variant.
macro_rules! variants {
    ($($ty:ident: $($variant:ident)*;)*) => {$(
        impl Named for $ty {
            fn each(f: &mut dyn FnMut(Self)) {
                const _: fn($ty) = |op| match op { $($ty::$variant => {})* };
                [$($ty::$variant),*].into_iter().for_each(f);
            }
            fn name(self) -> String {
                lower(self)
            }
        }
    )*};
}

variants! {
    Bin: Add Sub Mul MulhS MulhU MulhSU DivS DivU RemS RemU And Or Xor Shl Shr Sar Rol Ror Andn;
    Cmp: Eq Ne LtS LtU GeS GeU;
    Un: Clz Ctz Popcount Bswap;
    Carry: Add Sub;
    Extra: Carry Overflow Remainder;
    VBin: Add Sub AddS AddU SubS SubU Mul MulhS MulhU MinS MinU MaxS MaxU Avg Eq GtS And Or Xor Andn Low High;
    VShift: Shl Shr Sar;
    VMix: MulAdd16 MulAdd8 SumAbs MulEvenU MulEvenS MulRound PackS16 PackU16 PackS32 PackU32
        AddPairs16 AddPairs32 AddPairsS16 SubPairs16 SubPairs32 SubPairsS16 Sign8 Sign16 Sign32;
    Signed: No Yes;
    Rmw: Swap Add And Or Xor MinS MaxS MinU MaxU;
    Flow: Plain Call Return;
    Round: Rne Rtz Rdn Rup Rmm;
    Fmt: S D;
    IntTy: I32 U32 I64 U64;
    Sign: Copy Negate Xor;
}

impl Named for Rounding {
    fn each(f: &mut dyn FnMut(Self)) {
        f(Rounding::Dynamic);
        Round::each(&mut |round| f(Rounding::Static(round)));
    }
    fn name(self) -> String {
        match self {
            Rounding::Dynamic => "dynamic".into(),
            Rounding::Static(round) => round.name(),
        }
    }
}

impl Named for Lane {
    fn each(f: &mut dyn FnMut(Self)) {
        [Lane::L8, Lane::L16, Lane::L32, Lane::L64].into_iter().for_each(f);
    }
    fn name(self) -> String {
        self.bits().to_string()
    }
}

impl Named for Vop {
    fn each(f: &mut dyn FnMut(Self)) {
        let mut yields = |op: Vop| {
            if op.exists() {
                f(op);
            }
        };
        [Vop::Permute, Vop::Blend].into_iter().for_each(&mut yields);
        Lane::each(&mut |lane| {
            VBin::each(&mut |op| yields(Vop::Bin(op, lane)));
            yields(Vop::Abs(lane));
            VShift::each(&mut |op| (0..64).for_each(|by| yields(Vop::Shift(op, lane, by))));
        });
        (0..=16).for_each(|n| yields(Vop::Align(n)));
        (0..=255).for_each(|order| yields(Vop::Shuffle(order)));
        VMix::each(&mut |op| yields(Vop::Mix(op)));
        yields(Vop::Smallest);
        Lane::each(&mut |lane| {
            VShift::each(&mut |op| {
                yields(Vop::ShiftBy(op, lane));
                yields(Vop::ShiftEach(op, lane));
            });
            Lane::each(&mut |to| Signed::each(&mut |signed| yields(Vop::Extend(signed, lane, to))));
            (0..=255).for_each(|order| yields(Vop::ShuffleTwo(lane, order)));
        });
        for order in 0..=255 {
            [false, true].into_iter().for_each(|high| yields(Vop::ShuffleHalf(high, order)));
            yields(Vop::MultipleSums(order));
        }
    }

    /// `v`, the operation, and after dots its lanes' bits and its constant: `vadd.32`, `vshl.16.3`.
    fn name(self) -> String {
        match self {
            Vop::Bin(op, lane) => format!("v{}.{}", op.name(), lane.name()),
            Vop::Abs(lane) => format!("vabs.{}", lane.name()),
            Vop::Shift(op, lane, by) => format!("v{}.{}.{by}", op.name(), lane.name()),
            Vop::Shuffle(order) => format!("vshuffle.{order}"),
            Vop::Permute => "vpermute".into(),
            Vop::Align(n) => format!("valign.{n}"),
            Vop::Blend => "vblend".into(),
            Vop::Mix(op) => format!("v{}", op.name()),
            Vop::ShiftBy(op, lane) => format!("v{}by.{}", op.name(), lane.name()),
            Vop::ShiftEach(op, lane) => format!("v{}each.{}", op.name(), lane.name()),
            Vop::Extend(Signed::No, from, to) => format!("vzext.{}.{}", from.name(), to.name()),
            Vop::Extend(Signed::Yes, from, to) => format!("vsext.{}.{}", from.name(), to.name()),
            Vop::ShuffleHalf(false, order) => format!("vshufflelow.{order}"),
            Vop::ShuffleHalf(true, order) => format!("vshufflehigh.{order}"),
            Vop::ShuffleTwo(lane, order) => format!("vshuffletwo.{}.{order}", lane.name()),
            Vop::Smallest => "vsmallest".into(),
            Vop::MultipleSums(choice) => format!("vsums.{choice}"),
        }
    }
}

impl Named for VFp {
    fn each(f: &mut dyn FnMut(Self)) {
        Fp::each(&mut |op| {
            let both = [Lanes::All, Lanes::First].map(|lanes| VFp { op, lanes });
            both.into_iter().filter(|op| op.exists()).for_each(&mut *f);
        });
    }

    /// `v`, the name of the operation of numbers, and `.first` where only the lowest lane has it: `vfadd.d.first`.
    fn name(self) -> String {
        let lanes = if self.lanes == Lanes::First { ".first" } else { "" };
        format!("v{}{lanes}", self.op.name())
    }
}

impl Named for Fp {
    fn each(f: &mut dyn FnMut(Self)) {
        [Fp::Low, Fp::WithLow].into_iter().for_each(&mut *f);
        Fmt::each(&mut |fmt| {
            let plain =
                [Fp::Add, Fp::Sub, Fp::Mul, Fp::Div, Fp::Sqrt, Fp::Min, Fp::Max, Fp::Eq, Fp::Lt, Fp::Le];
            plain.into_iter().for_each(|op| f(op(fmt)));
            [Fp::LtQuiet, Fp::LeQuiet, Fp::Unordered].into_iter().for_each(|op| f(op(fmt)));
            [Fp::Convert, Fp::ToBits, Fp::FromBits].into_iter().for_each(|op| f(op(fmt)));
            for (neg_product, neg_addend) in [(false, false), (false, true), (true, false), (true, true)] {
                f(Fp::Fma { fmt, neg_product, neg_addend });
            }
            Sign::each(&mut |sign| f(Fp::Sgnj(fmt, sign)));
            IntTy::each(&mut |ty| {
                f(Fp::ToInt(fmt, ty));
                f(Fp::FromInt(ty, fmt));
            });
        });
    }

    /// `f`, the operation, and after dots what it works on: `fadd.d`, `ftoint.d.i32`, `ffma.s.product.-addend`.
    fn name(self) -> String {
        if let Fp::Fma { fmt, neg_product, neg_addend } = self {
            let sign = |negative| if negative { "-" } else { "" };
            return format!("ffma.{}.{}product.{}addend", fmt.name(), sign(neg_product), sign(neg_addend));
        }
        format!("f{}", lower(self)).replace('(', ".").replace(", ", ".").replace(')', "")
    }
}
