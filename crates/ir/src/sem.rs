//! What the semantics of instructions are written against.
//!
//! An engine implements the small untyped trait [`Sem`]; bodies see the typed value [`V`] with operators.
//! `jump` and `raise` are early exits (`Err`) in *every* engine. A condition on the guest's values goes
//! through `select` or `when`; a Rust `if` may test only what the encoding says. An instruction does
//! everything that may raise before its first write.

use crate::isa::{Helper, Isa, RAISE_AFTER};
use crate::memop::{Hints, MemOp};
use crate::op::{Bin, Carry, Cmp, Flow, Fmt, Fp, IntTy, Rmw, Rounding, Sign, Signed, Un};
use crate::vector::{Lane, Vop};
use crate::vector_fp::VFp;
use std::marker::PhantomData;
use std::ops::{Add, BitAnd, BitOr, BitXor, Mul, Not, Shl, Shr, Sub};
use trine_base::Width;

/// The result of a body or of a part that may leave it.
pub type Res<S, T = ()> = Result<T, <S as Sem>::Exit>;

/// Marker of an integer type.
pub trait Int: Copy + 'static {
    /// Its width in bits.
    const BITS: u32;
    /// Its width in memory (one byte for `bool`).
    const WIDTH: Width;
}

macro_rules! ints {
    ($($t:ident $bits:literal $width:ident),*) => {
        $(impl Int for $t { const BITS: u32 = $bits; const WIDTH: Width = Width::$width; })*
    };
}
ints!(bool 1 B1, u8 8 B1, u16 16 B2, u32 32 B4, u64 64 B8);

/// Marker of a floating-point type.
pub trait Float: Copy + 'static {
    /// Its format.
    const FMT: Fmt;
    /// The integer with as many bits.
    type Bits: Int;
}

impl Float for f32 {
    const FMT: Fmt = Fmt::S;
    type Bits = u32;
}

impl Float for f64 {
    const FMT: Fmt = Fmt::D;
    type Bits = u64;
}

/// An engine. Integers are passed zero-extended.
pub trait Sem: Copy {
    /// The CPU.
    type Isa: Isa;
    /// The reason of an early end of a body.
    type Exit;
    /// A value.
    type Raw: Copy;
    /// A vector of 128 bits.
    type Vec: Copy;
    /// Whether the engine emits code: operands are then read once, not at every execution.
    const EMITS: bool;

    /// The mode that the instruction is translated for ([`Isa::mode`]): known when translating, like the
    /// encoding.
    fn mode(self) -> u32;
    /// The operands of the instruction, for a body that does not get them all as arguments.
    fn operands(self) -> <Self::Isa as Isa>::Operands;

    /// The number that a value is, if the engine knows it: always while it executes; while it emits code, if
    /// the value is the same each time. Bodies may branch on it, if they do the same for a known value as for
    /// an unknown one.
    fn known(self, value: Self::Raw) -> Option<u64>;

    /// A constant; only bits inside the type's width are set.
    fn constant(self, bits: u32, value: u64) -> Self::Raw;
    /// An operation of two values.
    fn binary(self, op: Bin, bits: u32, a: Self::Raw, b: Self::Raw) -> Self::Raw;
    /// A comparison.
    fn compare(self, op: Cmp, bits: u32, a: Self::Raw, b: Self::Raw) -> Self::Raw;
    /// An operation of one value.
    fn unary(self, op: Un, bits: u32, a: Self::Raw) -> Self::Raw;
    /// Zero-extension, or truncation where `to < from`.
    fn zero_extend(self, from: u32, to: u32, a: Self::Raw) -> Self::Raw;
    /// Sign-extension to a wider type.
    fn sign_extend(self, from: u32, to: u32, a: Self::Raw) -> Self::Raw;
    /// A sum or difference with a carry-in of one bit: value, carry, overflow.
    fn carry_raw(self, op: Carry, bits: u32, args: [Self::Raw; 3]) -> [Self::Raw; 3];
    /// Quotient and remainder of high and low half of the dividend by the divisor, 64 bits each; the divisor is not zero
    /// and the quotient fits.
    fn divide_wide_raw(self, signed: Signed, args: [Self::Raw; 3]) -> [Self::Raw; 2];
    /// `old` with its `len` bits from bit `at` on replaced by the low ones of `value`; `at + len` is at most 64.
    fn insert_raw(self, at: u32, len: u32, old: Self::Raw, value: Self::Raw) -> Self::Raw;
    /// `a` if `c`, else `b`; both are computed.
    fn select_raw(self, bits: u32, c: Self::Raw, a: Self::Raw, b: Self::Raw) -> Self::Raw;
    /// `a` if `c`, else `b`; numbers of one format.
    fn select_fp(self, c: Self::Raw, a: Self::Raw, b: Self::Raw) -> Self::Raw;
    /// Reads a state slot (64 bits).
    fn get_raw(self, slot: u16) -> Self::Raw;
    /// Writes a state slot (64 bits).
    fn set_raw(self, slot: u16, value: Self::Raw);
    /// Reads a state slot as binary64 bits.
    fn get_fp(self, slot: u16) -> Self::Raw;
    /// Writes a state slot as binary64 bits.
    fn set_fp(self, slot: u16, value: Self::Raw);
    /// Reads a vector from this slot and the next one. In a block, slots of vectors are accessed in no other
    /// way.
    fn get_vec(self, slot: u16) -> Self::Vec;
    /// Writes a vector.
    fn set_vec(self, slot: u16, value: Self::Vec);
    /// An operation of vectors that [exists](Vop::exists); further operands are ignored.
    fn vector(self, op: Vop, args: [Self::Vec; 3]) -> Self::Vec;
    /// Floating point in lanes that [exists](VFp::exists); an operation of one vector does not look at the second.
    fn vector_fp(self, op: VFp, rounding: Rounding, args: [Self::Vec; 2]) -> Self::Vec;
    /// An integer of 64 bits in the lower half of a vector, zeros above.
    fn to_vec(self, value: Self::Raw) -> Self::Vec;
    /// `v` with lane `n` replaced by the low bits of `x`.
    fn insert_lane(self, lane: Lane, n: u8, v: Self::Vec, x: Self::Raw) -> Self::Vec;
    /// Lane `n` as an integer.
    fn extract_lane(self, lane: Lane, n: u8, v: Self::Vec) -> Self::Raw;
    /// The top bits of all lanes, the lowest lane's in bit 0.
    fn mask_of(self, lane: Lane, v: Self::Vec) -> Self::Raw;
    /// Loads 16 bytes, the lowest address first.
    fn load_vec(self, hints: Hints, address: Self::Raw) -> Res<Self, Self::Vec>;
    /// Stores 16 bytes in one access.
    fn store_vec(self, hints: Hints, address: Self::Raw, value: Self::Vec) -> Res<Self>;
    /// Loads from guest memory, any alignment.
    fn load_raw(self, how: MemOp, address: Self::Raw) -> Res<Self, Self::Raw>;
    /// Stores to guest memory, any alignment.
    fn store_raw(self, how: MemOp, address: Self::Raw, value: Self::Raw) -> Res<Self>;
    /// Atomic read-modify-write at any address; gives the old value.
    fn rmw_raw(self, op: Rmw, how: MemOp, address: Self::Raw, v: Self::Raw) -> Res<Self, Self::Raw>;
    /// Atomic compare-and-exchange at any address; gives the old value.
    fn exchange_raw(
        self,
        how: MemOp,
        address: Self::Raw,
        expect: Self::Raw,
        new: Self::Raw,
    ) -> Res<Self, Self::Raw>;
    /// A full memory barrier.
    fn fence(self);
    /// Runs `f` only if `c`. An early exit in `f` ends the instruction only in that case.
    fn when_raw(self, c: Self::Raw, f: impl FnOnce() -> Res<Self>) -> Res<Self>;
    /// The guest's program counter at this instruction.
    fn pc_raw(self) -> Self::Raw;
    /// The guest's program counter at the next instruction.
    fn next_pc_raw(self) -> Self::Raw;
    /// Ends the instruction; execution continues at `target`, of which only the bits of a program counter
    /// count ([`Isa::code_space`]).
    fn jump_raw(self, flow: Flow, target: Self::Raw) -> Res<Self>;
    /// Ends the instruction with an exception.
    fn raise_raw(self, cause: u64, code: u32, value: Self::Raw) -> Res<Self>;
    /// Calls a helper.
    fn call_raw(self, helper: &'static Helper, args: [Self::Raw; 3]) -> Res<Self, Self::Raw>;
    /// The accrued floating-point flags, as the CPU numbers them.
    fn fp_flags(self) -> Self::Raw;
    /// Sets the accrued floating-point flags; the value has no other bits.
    fn set_fp_flags(self, flags: Self::Raw);
    /// A floating-point operation.
    fn fp(self, op: Fp, rounding: Rounding, args: [Self::Raw; 3]) -> Self::Raw;

    /// A constant of type `T` (sign-extended, then cut to the width).
    #[inline(always)]
    fn k<T: Int>(self, value: i64) -> V<Self, T> {
        V::new(self, self.constant(T::BITS, value as u64 & (u64::MAX >> (64 - T::BITS))))
    }
    /// The low bits of a slot.
    #[inline(always)]
    fn get<T: Int>(self, slot: u16) -> V<Self, T> {
        let raw = self.get_raw(slot);
        V::new(self, if T::BITS == 64 { raw } else { self.zero_extend(64, T::BITS, raw) })
    }
    /// Writes a slot, zero-extended.
    #[inline(always)]
    fn set<T: Int>(self, slot: u16, value: V<Self, T>) {
        self.set_raw(slot, value.zext::<u64>().raw);
    }
    /// Loads a value in either order of bytes; `how` has the width of `T`.
    #[inline(always)]
    fn load_as<T: Int>(self, how: MemOp, address: V<Self, u64>) -> Res<Self, V<Self, T>> {
        Ok(V::new(self, self.load_raw(how, address.raw)?))
    }
    /// Stores a value as [`Sem::load_as`] loads one.
    #[inline(always)]
    fn store_as<T: Int>(self, how: MemOp, address: V<Self, u64>, value: V<Self, T>) -> Res<Self> {
        self.store_raw(how, address.raw, value.raw)
    }
    /// Loads a little-endian value.
    #[inline(always)]
    fn load<T: Int>(self, address: V<Self, u64>) -> Res<Self, V<Self, T>> {
        Ok(V::new(self, self.load_raw(T::WIDTH.into(), address.raw)?))
    }
    /// Stores a little-endian value.
    #[inline(always)]
    fn store<T: Int>(self, address: V<Self, u64>, value: V<Self, T>) -> Res<Self> {
        self.store_raw(T::WIDTH.into(), address.raw, value.raw)
    }
    /// Atomic read-modify-write; the address is aligned. Gives the old value.
    #[inline(always)]
    fn rmw<T: Int>(self, op: Rmw, address: V<Self, u64>, value: V<Self, T>) -> Res<Self, V<Self, T>> {
        Ok(V::new(self, self.rmw_raw(op, T::WIDTH.into(), address.raw, value.raw)?))
    }
    /// Atomic compare-and-exchange; the address is aligned. Gives the old value.
    #[inline(always)]
    fn exchange<T: Int>(
        self,
        address: V<Self, u64>,
        expect: V<Self, T>,
        new: V<Self, T>,
    ) -> Res<Self, V<Self, T>> {
        Ok(V::new(self, self.exchange_raw(T::WIDTH.into(), address.raw, expect.raw, new.raw)?))
    }
    /// `a` if `c`, else `b`.
    #[inline(always)]
    fn select<T: Int>(self, c: V<Self, bool>, a: impl To<Self, T>, b: impl To<Self, T>) -> V<Self, T> {
        V::new(self, self.select_raw(T::BITS, c.raw, a.to(self).raw, b.to(self).raw))
    }
    /// `a` if `c`, else `b`.
    #[inline(always)]
    fn select_float<F: Float>(self, c: V<Self, bool>, a: V<Self, F>, b: V<Self, F>) -> V<Self, F> {
        V::new(self, self.select_fp(c.raw, a.raw, b.raw))
    }
    /// Runs `f` only if `c`.
    #[inline(always)]
    fn when(self, c: V<Self, bool>, f: impl FnOnce() -> Res<Self>) -> Res<Self> {
        self.when_raw(c.raw, f)
    }
    /// The guest's program counter at this instruction.
    #[inline(always)]
    fn pc(self) -> V<Self, u64> {
        V::new(self, self.pc_raw())
    }
    /// The guest's program counter at the next instruction.
    #[inline(always)]
    fn next_pc(self) -> V<Self, u64> {
        V::new(self, self.next_pc_raw())
    }
    /// Ends the instruction; execution continues at `target`.
    #[inline(always)]
    fn jump(self, target: V<Self, u64>) -> Res<Self> {
        self.jump_raw(Flow::Plain, target.raw)
    }
    /// Ends the instruction; execution continues at `target`, as a call or a return.
    #[inline(always)]
    fn jump_as(self, flow: Flow, target: V<Self, u64>) -> Res<Self> {
        self.jump_raw(flow, target.raw)
    }
    /// Ends the instruction with an exception.
    #[inline(always)]
    fn raise(self, cause: u64, value: V<Self, u64>) -> Res<Self> {
        self.raise_raw(cause, 0, value.raw)
    }
    /// Ends the instruction with an exception that has a code ([`Trap::code`](trine_base::Trap::code)).
    #[inline(always)]
    fn raise_with(self, cause: u64, code: u32, value: V<Self, u64>) -> Res<Self> {
        self.raise_raw(cause, code, value.raw)
    }
    /// Completes the instruction with an exception that is reported at the next one: system calls, mostly.
    #[inline(always)]
    fn raise_after(self, cause: u64, value: V<Self, u64>) -> Res<Self> {
        let cause = self.k(cause as i64);
        self.call(&RAISE_AFTER, [cause, value, value])?;
        Ok(())
    }
    /// Calls a helper with up to three arguments.
    #[inline(always)]
    fn call(self, helper: &'static Helper, args: [V<Self, u64>; 3]) -> Res<Self, V<Self, u64>> {
        Ok(V::new(self, self.call_raw(helper, args.map(|a| a.raw))?))
    }
}

/// A value of type `T` in engine `S`.
pub struct V<S: Sem, T> {
    /// The engine.
    pub sem: S,
    /// The engine's own value.
    pub raw: S::Raw,
    ty: PhantomData<T>,
}

impl<S: Sem, T> Clone for V<S, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<S: Sem, T> Copy for V<S, T> {}

/// Lets literals be passed as values.
pub trait To<S: Sem, T> {
    /// The value.
    fn to(self, sem: S) -> V<S, T>;
}
impl<S: Sem, T> To<S, T> for V<S, T> {
    #[inline(always)]
    fn to(self, _: S) -> V<S, T> {
        self
    }
}
impl<S: Sem, T: Int> To<S, T> for i64 {
    #[inline(always)]
    fn to(self, sem: S) -> V<S, T> {
        sem.k(self)
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $op:ident),*) => {$(
        impl<S: Sem, T: Int, R: To<S, T>> $trait<R> for V<S, T> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: R) -> Self {
                self.binary(Bin::$op, other)
            }
        }
    )*};
}
operators!(Add add Add, Sub sub Sub, Mul mul Mul, BitAnd bitand And, BitOr bitor Or, BitXor bitxor Xor,
    Shl shl Shl, Shr shr Shr);

impl<S: Sem, T: Int> Not for V<S, T> {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        self ^ -1
    }
}

macro_rules! named {
    ($($(#[$doc:meta])* $name:ident $op:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(self, other: impl To<S, T>) -> Self {
            self.binary(Bin::$op, other)
        }
    )*};
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident $op:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(self, other: impl To<S, T>) -> V<S, bool> {
            V::new(self.sem, self.sem.compare(Cmp::$op, T::BITS, self.raw, other.to(self.sem).raw))
        }
    )*};
}

impl<S: Sem, T> V<S, T> {
    /// Wraps an engine's value.
    #[inline(always)]
    pub fn new(sem: S, raw: S::Raw) -> Self {
        V { sem, raw, ty: PhantomData }
    }
}

impl<S: Sem, T: Int> V<S, T> {
    #[inline(always)]
    fn binary(self, op: Bin, other: impl To<S, T>) -> Self {
        V::new(self.sem, self.sem.binary(op, T::BITS, self.raw, other.to(self.sem).raw))
    }
    named! {
        /// Arithmetic shift right.
        sar Sar;
        /// Rotate left.
        rol Rol;
        /// Rotate right.
        ror Ror;
        /// `self & !other`.
        andn Andn;
        /// Signed quotient; the divisor is not zero and the result does not overflow.
        div_s DivS;
        /// Unsigned quotient; the divisor is not zero.
        div_u DivU;
        /// Signed remainder; the divisor is not zero and the quotient does not overflow.
        rem_s RemS;
        /// Unsigned remainder; the divisor is not zero.
        rem_u RemU;
        /// High half of the signed product.
        mulh_s MulhS;
        /// High half of the unsigned product.
        mulh_u MulhU;
        /// High half of the signed-by-unsigned product.
        mulh_su MulhSU;
    }
    comparisons! {
        /// Equal.
        eq Eq;
        /// Not equal.
        ne Ne;
        /// Less than, signed.
        lt_s LtS;
        /// Less than, unsigned.
        lt_u LtU;
        /// Greater or equal, signed.
        ge_s GeS;
        /// Greater or equal, unsigned.
        ge_u GeU;
    }
    #[inline(always)]
    fn unary(self, op: Un) -> Self {
        V::new(self.sem, self.sem.unary(op, T::BITS, self.raw))
    }
    /// Leading zero bits.
    #[inline(always)]
    pub fn clz(self) -> Self {
        self.unary(Un::Clz)
    }
    /// Trailing zero bits.
    #[inline(always)]
    pub fn ctz(self) -> Self {
        self.unary(Un::Ctz)
    }
    /// One bits.
    #[inline(always)]
    pub fn popcount(self) -> Self {
        self.unary(Un::Popcount)
    }
    /// Bytes reversed.
    #[inline(always)]
    pub fn bswap(self) -> Self {
        self.unary(Un::Bswap)
    }
    /// Zero-extended or truncated to `U`.
    #[inline(always)]
    pub fn zext<U: Int>(self) -> V<S, U> {
        if U::BITS == T::BITS {
            V::new(self.sem, self.raw)
        } else {
            V::new(self.sem, self.sem.zero_extend(T::BITS, U::BITS, self.raw))
        }
    }
    /// The low bits.
    #[inline(always)]
    pub fn low<U: Int>(self) -> V<S, U> {
        self.zext()
    }
    /// Sign-extended (or truncated) to `U`.
    #[inline(always)]
    pub fn sext<U: Int>(self) -> V<S, U> {
        if U::BITS <= T::BITS {
            self.zext()
        } else {
            V::new(self.sem, self.sem.sign_extend(T::BITS, U::BITS, self.raw))
        }
    }
    /// `self + b + c`: sum, carry, overflow.
    #[inline(always)]
    pub fn add_carry(self, b: impl To<S, T>, c: V<S, bool>) -> (Self, V<S, bool>, V<S, bool>) {
        self.with_carry(Carry::Add, b.to(self.sem), c)
    }
    /// `self - b - c`: difference, borrow, overflow.
    #[inline(always)]
    pub fn sub_borrow(self, b: impl To<S, T>, c: V<S, bool>) -> (Self, V<S, bool>, V<S, bool>) {
        self.with_carry(Carry::Sub, b.to(self.sem), c)
    }
    #[inline(always)]
    fn with_carry(self, op: Carry, b: Self, c: V<S, bool>) -> (Self, V<S, bool>, V<S, bool>) {
        let [value, carry, overflow] = self.sem.carry_raw(op, T::BITS, [self.raw, b.raw, c.raw]);
        (V::new(self.sem, value), V::new(self.sem, carry), V::new(self.sem, overflow))
    }
    /// The value with its bits from `at` on replaced by `field`, which must fit.
    #[inline(always)]
    pub fn insert<F: Int>(self, at: u32, field: V<S, F>) -> Self {
        debug_assert!(at + F::BITS <= T::BITS);
        V::new(self.sem, self.sem.insert_raw(at, F::BITS, self.raw, field.raw))
    }
    /// The smaller, signed.
    #[inline(always)]
    pub fn min_s(self, o: Self) -> Self {
        self.sem.select(self.lt_s(o), self, o)
    }
    /// The larger, signed.
    #[inline(always)]
    pub fn max_s(self, o: Self) -> Self {
        self.sem.select(self.ge_s(o), self, o)
    }
    /// The smaller, unsigned.
    #[inline(always)]
    pub fn min_u(self, o: Self) -> Self {
        self.sem.select(self.lt_u(o), self, o)
    }
    /// The larger, unsigned.
    #[inline(always)]
    pub fn max_u(self, o: Self) -> Self {
        self.sem.select(self.ge_u(o), self, o)
    }
    /// The integer as a number of format `F`, rounded; `ty` says how its bits are to be read.
    #[inline(always)]
    pub fn to_float<F: Float>(self, ty: IntTy, rounding: Rounding) -> V<S, F> {
        V::new(self.sem, self.sem.fp(Fp::FromInt(ty, F::FMT), rounding, [self.raw; 3]))
    }
    /// The bits as a number of the same size.
    #[inline(always)]
    pub fn as_float<F: Float<Bits = T>>(self) -> V<S, F> {
        V::new(self.sem, self.sem.fp(Fp::FromBits(F::FMT), EXACT, [self.raw; 3]))
    }
}

/// The rounding direction for operations that do not round.
const EXACT: Rounding = Rounding::Static(crate::op::Round::Rne);

impl<S: Sem> V<S, u64> {
    /// Quotient and remainder of `self:low` by `divisor`, which is not zero; the quotient fits 64 bits.
    #[inline(always)]
    pub fn divide_wide(self, signed: Signed, low: Self, divisor: Self) -> (Self, Self) {
        let [quotient, remainder] = self.sem.divide_wide_raw(signed, [self.raw, low.raw, divisor.raw]);
        (V::new(self.sem, quotient), V::new(self.sem, remainder))
    }
}

impl<S: Sem, F: Float> V<S, F> {
    #[inline(always)]
    fn fp2<T>(self, op: Fp, rounding: Rounding, other: Self) -> V<S, T> {
        V::new(self.sem, self.sem.fp(op, rounding, [self.raw, other.raw, other.raw]))
    }
    #[inline(always)]
    fn fp1<T>(self, op: Fp, rounding: Rounding) -> V<S, T> {
        V::new(self.sem, self.sem.fp(op, rounding, [self.raw; 3]))
    }
    /// An arithmetic operation of two numbers; `op` gets the format.
    #[inline(always)]
    pub fn arith(self, op: fn(Fmt) -> Fp, rounding: Rounding, other: Self) -> Self {
        self.fp2(op(F::FMT), rounding, other)
    }
    /// `±(self × b) ± c` with one rounding.
    #[inline(always)]
    pub fn fma(self, b: Self, c: Self, neg_product: bool, neg_addend: bool, rounding: Rounding) -> Self {
        let op = Fp::Fma { fmt: F::FMT, neg_product, neg_addend };
        V::new(self.sem, self.sem.fp(op, rounding, [self.raw, b.raw, c.raw]))
    }
    /// Square root.
    #[inline(always)]
    pub fn sqrt(self, rounding: Rounding) -> Self {
        self.fp1(Fp::Sqrt(F::FMT), rounding)
    }
    /// A comparison; `op` gets the format.
    #[inline(always)]
    pub fn compare(self, op: fn(Fmt) -> Fp, other: Self) -> V<S, bool> {
        self.fp2(op(F::FMT), EXACT, other)
    }
    /// The number with a sign made from both.
    #[inline(always)]
    pub fn sign(self, sign: Sign, other: Self) -> Self {
        self.fp2(Fp::Sgnj(F::FMT, sign), EXACT, other)
    }
    /// Converted to the other format.
    #[inline(always)]
    pub fn convert<G: Float>(self, rounding: Rounding) -> V<S, G> {
        self.fp1(Fp::Convert(F::FMT), rounding)
    }
    /// Converted to an integer of type `ty`; `T` has as many bits.
    #[inline(always)]
    pub fn to_int<T: Int>(self, ty: IntTy, rounding: Rounding) -> V<S, T> {
        self.fp1(Fp::ToInt(F::FMT, ty), rounding)
    }
    /// The bits.
    #[inline(always)]
    pub fn bits(self) -> V<S, F::Bits> {
        self.fp1(Fp::ToBits(F::FMT), EXACT)
    }
}

impl<S: Sem> V<S, f64> {
    /// The binary32 in the lower half of the bits.
    #[inline(always)]
    pub fn low_half(self) -> V<S, f32> {
        self.fp1(Fp::Low, EXACT)
    }
    /// The number with the lower half of its bits replaced.
    #[inline(always)]
    pub fn with_low_half(self, low: V<S, f32>) -> Self {
        V::new(self.sem, self.sem.fp(Fp::WithLow, EXACT, [self.raw, low.raw, low.raw]))
    }
}
