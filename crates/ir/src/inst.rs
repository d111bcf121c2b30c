//! The intermediate representation: SSA inside a block, guest registers as numbered slots.
//!
//! A block is a straight list. The only control flow inside it is `IfNot … Label`: the arm between
//! them runs where the condition holds. An arm that *exits* ends in [`Inst::Jump`] or
//! [`Inst::Raise`]; one that does not goes on at the label. Values made in an arm are not used
//! after its label.

use crate::isa::Helper;
use crate::memop::{Hints, MemOp};
use crate::op::{Bin, Carry, Cmp, Extra, Flow, Fp, Rmw, Rounding, Signed, Un};
use crate::vector::{Lane, Vop};
use crate::vector_fp::VFp;

/// The value made by the instruction with this index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Val(pub u32);

/// A label: where an arm ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Label(pub u32);

/// One IR instruction. Integers are zero-extended; `bits` is a width of 1, 8, 16, 32 or 64. [`Inst::Bin`]
/// (except high products and divisions) and [`Inst::Cmp`] of 32 bits and [`Inst::Store`] read only the low
/// bits of their operands.
#[derive(Clone, Copy, Debug)]
pub enum Inst {
    /// A constant.
    Const(u64),
    /// Virtual address: start of the block's page plus an offset.
    Pc(i64),
    /// Reads a slot as an integer of 64 bits.
    Get(u16),
    /// Reads a slot as the bits of a binary64.
    GetF(u16),
    /// Writes a slot.
    Set(u16, Val),
    /// Writes a slot from a floating-point value.
    SetF(u16, Val),
    /// Reads a vector: its lower half from this slot, its upper half from the next one. A block that accesses
    /// slots as vectors accesses them in no other way.
    GetV(u16),
    /// Writes a vector.
    SetV(u16, Val),
    /// An operation of vectors; if it has fewer than three operands, the last one is repeated.
    Vec(Vop, [Val; 3]),
    /// Floating point in lanes; an operation of one vector has it twice.
    VFp(VFp, Rounding, [Val; 2]),
    /// An integer in the lower half of a vector, zeros above.
    ToVec(Val),
    /// A lane's number, the vector, and the integer whose low bits the lane becomes.
    VInsert(Lane, u8, Val, Val),
    /// A lane's number and the vector; the lane as an integer.
    VExtract(Lane, u8, Val),
    /// The top bits of all lanes as an integer.
    VMask(Lane, Val),
    /// Load of 16 bytes, the lowest address first; any alignment unless the hints ask for it.
    LoadV(Hints, Val),
    /// Store of 16 bytes: address, value. One access: it happens whole or faults.
    StoreV(Hints, Val, Val),
    /// `op bits a b`.
    Bin(Bin, u8, Val, Val),
    /// `op bits a b`; one bit.
    Cmp(Cmp, u8, Val, Val),
    /// `op bits a`.
    Un(Un, u8, Val),
    /// Zero-extension or truncation: from, to, value.
    Zext(u8, u8, Val),
    /// Sign-extension: from, to, value.
    Sext(u8, u8, Val),
    /// `bits c a b`.
    Select(u8, Val, Val, Val),
    /// `c a b`, of numbers in one format.
    SelectF(Val, Val, Val),
    /// `op bits a b c`, with a carry-in of one bit.
    Carry(Carry, u8, [Val; 3]),
    /// Quotient of high and low half of the dividend by the divisor, 64 bits each. Bodies exclude zero
    /// divisors and quotients that do not fit.
    DivWide(Signed, [Val; 3]),
    /// A further result of the named operation; between the two there may only be others of the same
    /// operation.
    Extra(Extra, Val),
    /// First bit and length of a field, the value that contains it, and the field's new value (its low bits).
    Insert(u8, u8, Val, Val),
    /// Load of any alignment, zero-extended.
    Load(MemOp, Val),
    /// Store of any alignment: address, value.
    Store(MemOp, Val, Val),
    /// Atomic read-modify-write: address, operand; gives the old value.
    Rmw(Rmw, MemOp, Val, Val),
    /// Atomic compare-and-exchange: address, expected, new; gives the old value.
    Exchange(MemOp, Val, Val, Val),
    /// Full memory barrier.
    Fence,
    /// Floating-point operation; if it has fewer than three operands, the last one is repeated.
    Fp(Fp, Rounding, [Val; 3]),
    /// The accrued floating-point flags, as the CPU's slot numbers them ([`crate::FpRules::FLAGS`]).
    Flags,
    /// Sets the accrued floating-point flags.
    SetFlags(Val),
    /// Calls a helper.
    Call(&'static Helper, [Val; 3]),
    /// A guest instruction starts here: its offset in the page and its length in bytes.
    Begin(i64, u8),
    /// The arm up to the label runs only if the value is 1; with `exits` it ends the block.
    IfNot {
        /// The condition.
        c: Val,
        /// The end of the arm.
        to: Label,
        /// The arm ends in `Jump` or `Raise`.
        exits: bool,
    },
    /// End of an arm.
    Label(Label),
    /// Leaves the block to a virtual address.
    Jump(Flow, Val),
    /// Leaves the block with an exception: its cause, its code ([`Trap::code`](trine_base::Trap::code)), its
    /// value.
    Raise(u64, u32, Val),
}

/// The kind of register that holds a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// A general register.
    Int,
    /// A floating-point register.
    Float,
    /// A vector register, all 128 bits of it.
    Vec,
}

impl Inst {
    /// The class of the value that the instruction makes; `None` if it makes none.
    pub fn result(&self) -> Option<Class> {
        match self {
            Inst::Set(..)
            | Inst::SetF(..)
            | Inst::SetV(..)
            | Inst::Store(..)
            | Inst::StoreV(..)
            | Inst::Fence
            | Inst::SetFlags(_)
            | Inst::Begin(..)
            | Inst::IfNot { .. }
            | Inst::Label(_)
            | Inst::Jump(..)
            | Inst::Raise(..) => None,
            Inst::GetF(_) | Inst::SelectF(..) => Some(Class::Float),
            Inst::GetV(_)
            | Inst::Vec(..)
            | Inst::VFp(..)
            | Inst::ToVec(_)
            | Inst::VInsert(..)
            | Inst::LoadV(..) => Some(Class::Vec),
            Inst::Fp(op, ..) => Some(match op {
                Fp::ToInt(..) | Fp::ToBits(_) => Class::Int,
                op if op.compares().is_some() => Class::Int,
                _ => Class::Float,
            }),
            _ => Some(Class::Int),
        }
    }

    /// The instruction's value, if it is a constant.
    pub fn constant(&self) -> Option<u64> {
        match self {
            Inst::Const(k) => Some(*k),
            _ => None,
        }
    }

    /// Number of distinct operands of a floating-point operation.
    pub fn fp_operands(op: Fp) -> usize {
        match op {
            Fp::Fma { .. } => 3,
            Fp::Add(_)
            | Fp::Sub(_)
            | Fp::Mul(_)
            | Fp::Div(_)
            | Fp::Min(_)
            | Fp::Max(_)
            | Fp::WithLow
            | Fp::Sgnj(..) => 2,
            op if op.compares().is_some() => 2,
            _ => 1,
        }
    }

    /// Calls `f` with every operand.
    #[inline]
    pub fn operands(&self, mut f: impl FnMut(Val)) {
        match *self {
            Inst::Const(_)
            | Inst::Pc(_)
            | Inst::Get(_)
            | Inst::GetF(_)
            | Inst::GetV(_)
            | Inst::Fence
            | Inst::Flags
            | Inst::Begin(..)
            | Inst::Label(_) => {}
            Inst::Set(_, a)
            | Inst::SetF(_, a)
            | Inst::SetV(_, a)
            | Inst::ToVec(a)
            | Inst::VExtract(_, _, a)
            | Inst::VMask(_, a)
            | Inst::LoadV(_, a)
            | Inst::SetFlags(a)
            | Inst::Un(_, _, a)
            | Inst::Zext(_, _, a)
            | Inst::Sext(_, _, a)
            | Inst::Load(_, a)
            | Inst::IfNot { c: a, .. }
            | Inst::Jump(_, a)
            | Inst::Extra(_, a)
            | Inst::Raise(_, _, a) => f(a),
            Inst::Insert(_, _, a, b)
            | Inst::Bin(_, _, a, b)
            | Inst::Cmp(_, _, a, b)
            | Inst::Store(_, a, b)
            | Inst::Rmw(_, _, a, b) => {
                f(a);
                f(b);
            }
            Inst::Select(_, a, b, c) | Inst::SelectF(a, b, c) | Inst::Exchange(_, a, b, c) => {
                f(a);
                f(b);
                f(c);
            }
            Inst::VInsert(_, _, a, b) | Inst::StoreV(_, a, b) => {
                f(a);
                f(b);
            }
            Inst::Vec(op, args) => args[..op.operands()].iter().for_each(|&a| f(a)),
            Inst::VFp(op, _, args) => args[..op.operands()].iter().for_each(|&a| f(a)),
            Inst::Fp(op, _, args) => args[..Inst::fp_operands(op)].iter().for_each(|&a| f(a)),
            Inst::Carry(_, _, args) | Inst::DivWide(_, args) | Inst::Call(_, args) => {
                args.iter().for_each(|&a| f(a))
            }
        }
    }

    /// Whether the instruction accesses guest memory.
    pub fn is_access(&self) -> bool {
        matches!(
            self,
            Inst::Load(..)
                | Inst::Store(..)
                | Inst::Rmw(..)
                | Inst::Exchange(..)
                | Inst::LoadV(..)
                | Inst::StoreV(..)
        )
    }

    /// Whether the instruction may be dropped if its value is unused.
    pub fn is_pure(&self) -> bool {
        matches!(
            self,
            Inst::Const(_)
                | Inst::Pc(_)
                | Inst::Get(_)
                | Inst::GetF(_)
                | Inst::GetV(_)
                | Inst::Vec(..)
                | Inst::ToVec(_)
                | Inst::VInsert(..)
                | Inst::VExtract(..)
                | Inst::VMask(..)
                | Inst::Bin(..)
                | Inst::Cmp(..)
                | Inst::Un(..)
                | Inst::Carry(..)
                | Inst::DivWide(..)
                | Inst::Extra(..)
                | Inst::Insert(..)
                | Inst::Zext(..)
                | Inst::Sext(..)
                | Inst::Select(..)
                | Inst::SelectF(..)
                | Inst::Fp(Fp::ToBits(_) | Fp::FromBits(_) | Fp::Low | Fp::WithLow | Fp::Sgnj(..), ..)
        )
    }
}

/// A translated piece of guest code.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// The instructions.
    pub insts: Vec<Inst>,
    /// Number of guest instructions.
    pub guest: u32,
    /// Number of labels.
    pub labels: u32,
}
