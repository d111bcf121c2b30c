//! The condition flags. An instruction that sets them writes which operation it was and its operands, and a reader computes
//! what it needs: a block that knows the writer gets one comparison of the operands, and a writer whose flags nobody reads
//! costs nothing.
//!
//! [`CC_OP`] holds a [`Kind`] and the operands' size, and whether C, or C and O, come from elsewhere: INC leaves C alone, and
//! rotations write C and O only. That is then what `CF_OP`, `CF_A` and `CF_B` say.

use crate::insn::X86;
use crate::state::{CC_A, CC_B, CC_C, CC_OP, CF_A, CF_B, CF_OP, eflags};
use trine_ir::{Hart, Helper, Int, Res, Sem, SlotSet, V};

/// The operation that set the flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// `A` has them as EFLAGS has.
    Packed,
    /// `A + B`.
    Add,
    /// `A - B`.
    Sub,
    /// `A + B + C`, C being [`CC_C`]. The carry-out is [`CF_A`].
    Adc,
    /// `A - B - C`, likewise.
    Sbb,
    /// The result is `A`; C and O are clear.
    Logic,
    /// The result of adding 1 is `A`; C is elsewhere.
    Inc,
    /// The result of subtracting 1 is `A`; C is elsewhere.
    Dec,
    /// The result is `A`; C and O are bit 0 of `B`.
    Mul,
    /// `A << B`, `B` not 0.
    Shl,
    /// `A >> B`, `B` not 0.
    Shr,
    /// `A >> B` with copies of the sign, `B` not 0.
    Sar,
    /// Rotated left: the result is `A`. Gives C and O only.
    Rol,
    /// Rotated right: the result is `A`. Gives C and O only.
    Ror,
    /// A comparison of numbers: bit 0 of `A` is "greater or equal", bit 0 of `B` "less or equal". O, S and A are clear.
    Order,
}

impl Kind {
    fn of(op: u64) -> Kind {
        use Kind::*;
        const ALL: [Kind; 16] =
            [Packed, Add, Sub, Adc, Sbb, Logic, Inc, Dec, Mul, Shl, Shr, Sar, Rol, Ror, Order, Packed];
        ALL[(op >> 2 & 15) as usize]
    }

    /// Its number in [`CC_OP`], for operands of type `T`.
    pub const fn code<T: Int>(self) -> u64 {
        (self as u64) << 2 | log(T::BITS)
    }
}

/// log2 of the bytes of a number with `bits` bits.
const fn log(bits: u32) -> u64 {
    match bits {
        16 => 1,
        32 => 2,
        64 => 3,
        _ => 0,
    }
}

/// Bit of [`CC_OP`]: C comes from [`CF_OP`].
pub const C_APART: u64 = 0x100;
/// Bit of [`CC_OP`]: O does, too.
pub const O_APART: u64 = 0x200;

/// The slots that tell the flags.
pub const SLOTS: &[u16] = &[CC_OP, CC_A, CC_B, CC_C, CF_OP, CF_A, CF_B];

/// Sets all flags by an operation of two operands.
#[inline(always)]
pub fn set<S: X86, T: Int>(s: S, kind: Kind, a: V<S, T>, b: V<S, T>) {
    s.set(CC_OP, s.k::<u64>(kind.code::<T>() as i64));
    s.set(CC_A, a);
    s.set(CC_B, b);
}

/// Sets all flags by a result; C and O are clear.
#[inline(always)]
pub fn set_logic<S: X86, T: Int>(s: S, result: V<S, T>) {
    s.set(CC_OP, s.k::<u64>(Kind::Logic.code::<T>() as i64));
    s.set(CC_A, result);
}

/// Sets all flags by a sum or difference with a carry-in. The carry-out is kept, as most readers want just that.
#[inline(always)]
pub fn set_carry<S: X86, T: Int>(s: S, kind: Kind, a: V<S, T>, b: V<S, T>, carry: [V<S, bool>; 2]) {
    let [carry_in, carry_out] = carry;
    set_bit_carry(s, (kind.code::<T>() | C_APART) as i64, carry_out);
    s.set(CC_A, a);
    s.set(CC_B, b);
    s.set(CC_C, carry_in);
}

/// Writes [`CC_OP`], and C as a bit of its own.
#[inline(always)]
fn set_bit_carry<S: X86>(s: S, op: i64, carry: V<S, bool>) {
    s.set(CC_OP, s.k::<u64>(op));
    s.set(CF_OP, s.k::<u64>(Kind::Packed.code::<u8>() as i64));
    s.set(CF_A, carry);
}

/// Sets all flags but C.
#[inline(always)]
pub fn set_but_carry<S: X86, T: Int>(s: S, kind: Kind, result: V<S, T>) {
    // C stays where it is, or the latest writer becomes its source.
    let op = s.get::<u64>(CC_OP);
    let moves = [(CF_OP, CC_OP), (CF_A, CC_A), (CF_B, CC_B)];
    match s.known(op.raw) {
        Some(op) if op & C_APART != 0 => {}
        Some(_) => moves.iter().for_each(|&(to, from)| s.set(to, s.get::<u64>(from))),
        None => {
            let apart = (op & C_APART as i64).ne(0);
            for (to, from) in moves {
                s.set(to, s.select(apart, s.get::<u64>(to), s.get::<u64>(from)));
            }
        }
    }
    s.set(CC_OP, s.k::<u64>((kind.code::<T>() | C_APART) as i64));
    s.set(CC_A, result);
}

/// Sets C and O by a rotation, if `changes`: by a count that is not 0.
#[inline(always)]
pub fn set_rotated<S: X86, T: Int>(s: S, kind: Kind, result: V<S, T>, changes: Option<V<S, bool>>) {
    let op = s.get::<u64>(CC_OP) | (C_APART | O_APART) as i64;
    let new = [(CC_OP, op), (CF_OP, s.k(kind.code::<T>() as i64)), (CF_A, result.zext())];
    for (slot, value) in new {
        s.set(slot, changes.map_or(value, |c| s.select(c, value, s.get::<u64>(slot))));
    }
}

/// Sets all flags by a shift, if `changes`.
#[inline(always)]
pub fn set_shifted<S: X86, T: Int>(s: S, kind: Kind, a: V<S, T>, by: V<S, T>, changes: Option<V<S, bool>>) {
    let Some(changes) = changes else { return set(s, kind, a, by) };
    let new = [(CC_OP, s.k(kind.code::<T>() as i64)), (CC_A, a.zext::<u64>()), (CC_B, by.zext())];
    for (slot, value) in new {
        s.set(slot, s.select(changes, value, s.get::<u64>(slot)));
    }
}

/// Sets C alone where O becomes undefined.
#[inline(always)]
pub fn set_carry_bit<S: X86>(s: S, carry: V<S, bool>) {
    let op = (s.get::<u64>(CC_OP) | C_APART as i64) & !(O_APART as i64);
    s.set(CC_OP, op);
    s.set(CF_OP, s.k::<u64>(Kind::Packed.code::<u8>() as i64));
    s.set(CF_A, carry);
}

/// Sets C alone; O keeps its value.
#[inline(always)]
pub fn set_only_carry<S: X86>(s: S, carry: V<S, bool>) -> Res<S> {
    match s.known(s.get::<u64>(CC_OP).raw) {
        Some(op) if op & O_APART == 0 => set_carry_bit(s, carry),
        _ => {
            let others = all(s)? & !(eflags::CF as i64);
            set_packed(s, others | carry.zext());
        }
    }
    Ok(())
}

/// Sets all flags to these bits of EFLAGS.
#[inline(always)]
pub fn set_packed<S: X86>(s: S, bits: V<S, u64>) {
    s.set(CC_OP, s.k::<u64>(Kind::Packed.code::<u8>() as i64));
    s.set(CC_A, bits);
}

/// Sets Z, P and C by a comparison of numbers; the others become clear.
#[inline(always)]
pub fn set_order<S: X86>(s: S, at_least: V<S, bool>, at_most: V<S, bool>) {
    s.set(CC_OP, s.k::<u64>(Kind::Order.code::<u8>() as i64));
    s.set(CC_A, at_least);
    s.set(CC_B, at_most);
}

/// The flags by their latest writer, with operands of type `T`.
#[derive(Clone, Copy)]
struct Lazy<S: Sem, T> {
    s: S,
    kind: Kind,
    a: V<S, T>,
    b: V<S, T>,
}

impl<S: X86, T: Int> Lazy<S, T> {
    fn latest(s: S, op: u64) -> Self {
        Lazy { s, kind: Kind::of(op), a: s.get(CC_A), b: s.get(CC_B) }
    }

    /// The writer of C, and perhaps O, alone.
    fn apart(s: S, op: u64) -> Self {
        Lazy { s, kind: Kind::of(op), a: s.get(CF_A), b: s.get(CF_B) }
    }

    fn bit(self, flag: u64) -> V<S, bool> {
        (self.a.zext::<u64>() >> flag.trailing_zeros() as i64).low()
    }

    /// Bit of a packed flag that lies above 8 bits.
    fn wide_bit(self, flag: u64) -> V<S, bool> {
        (self.s.get::<u64>(CC_A) >> flag.trailing_zeros() as i64).low()
    }

    fn carry_in(self) -> V<S, T> {
        self.s.get(CC_C)
    }

    fn flag(self, v: i64) -> V<S, bool> {
        self.s.k(v)
    }

    /// The first operand shifted by one bit less than it is.
    fn almost_shifted(self) -> V<S, u64> {
        let by = self.b.zext::<u64>() - 1;
        match self.kind {
            Kind::Shl => self.a.zext::<u64>() << by,
            Kind::Shr => self.a.zext::<u64>() >> by,
            _ => self.a.sext::<u64>().sar(by),
        }
    }

    fn result(self) -> V<S, T> {
        match self.kind {
            Kind::Add => self.a + self.b,
            Kind::Sub => self.a - self.b,
            Kind::Adc => self.a + self.b + self.carry_in(),
            Kind::Sbb => self.a - self.b - self.carry_in(),
            Kind::Shl => (self.almost_shifted() << 1).low(),
            Kind::Shr => (self.almost_shifted() >> 1).low(),
            Kind::Sar => self.almost_shifted().sar(1).low(),
            _ => self.a,
        }
    }

    fn c(self) -> V<S, bool> {
        match self.kind {
            Kind::Add => (self.a + self.b).lt_u(self.a),
            Kind::Sub => self.a.lt_u(self.b),
            Kind::Logic => self.flag(0),
            Kind::Mul => self.b.low(),
            Kind::Shl => (self.almost_shifted() >> (T::BITS as i64 - 1)).low(),
            Kind::Shr | Kind::Sar => self.almost_shifted().low(),
            Kind::Ror => self.a.lt_s(0),
            Kind::Order => !self.a.low::<bool>(),
            // The others have it apart, or in bit 0.
            _ => self.a.low(),
        }
    }

    fn z(self) -> V<S, bool> {
        match self.kind {
            Kind::Packed => self.bit(eflags::ZF),
            Kind::Order => self.a.low::<bool>().eq(self.b.low::<bool>()),
            Kind::Sub => self.a.eq(self.b),
            _ => self.result().eq(0),
        }
    }

    fn s(self) -> V<S, bool> {
        match self.kind {
            Kind::Packed => self.bit(eflags::SF),
            Kind::Order => self.flag(0),
            _ => self.result().lt_s(0),
        }
    }

    fn p(self) -> V<S, bool> {
        match self.kind {
            Kind::Packed => self.bit(eflags::PF),
            Kind::Order => !(self.a.low::<bool>() | self.b.low::<bool>()),
            _ => !self.result().low::<u8>().popcount().low::<bool>(),
        }
    }

    fn adjust(self) -> V<S, bool> {
        match self.kind {
            Kind::Packed => self.bit(eflags::AF),
            Kind::Add | Kind::Sub | Kind::Adc | Kind::Sbb => ((self.a ^ self.b ^ self.result()) >> 4).low(),
            Kind::Inc => (self.a & 15).eq(0),
            Kind::Dec => (self.a & 15).eq(15),
            _ => self.flag(0),
        }
    }

    fn o(self) -> V<S, bool> {
        let (a, b) = (self.a, self.b);
        let smallest = (1u64 << (T::BITS - 1)) as i64;
        match self.kind {
            Kind::Packed => self.wide_bit(eflags::OF),
            Kind::Add | Kind::Adc => {
                let r = self.result();
                ((a ^ r) & (b ^ r)).lt_s(0)
            }
            Kind::Sub | Kind::Sbb => ((a ^ b) & (a ^ self.result())).lt_s(0),
            Kind::Inc => a.eq(smallest),
            Kind::Dec => a.eq(smallest.wrapping_sub(1)),
            Kind::Mul => b.low(),
            // Defined for shifts by one bit.
            Kind::Shl => self.c() ^ self.result().lt_s(0),
            Kind::Shr => a.lt_s(0),
            Kind::Rol => (a ^ (a >> (T::BITS as i64 - 1))).low(),
            Kind::Ror => (a ^ (a << 1)).lt_s(0),
            Kind::Logic | Kind::Sar | Kind::Order => self.flag(0),
        }
    }
}

/// The flags when the block knows who wrote them: C and O may have another writer.
struct Writers<S: Sem, T> {
    latest: Lazy<S, T>,
    /// C by the writer that is known to have set it.
    c: Option<V<S, bool>>,
    o: Option<V<S, bool>>,
}

impl<S: X86, T: Int> Writers<S, T> {
    fn c(&self) -> V<S, bool> {
        self.c.unwrap_or_else(|| self.latest.c())
    }

    fn o(&self) -> V<S, bool> {
        self.o.unwrap_or_else(|| self.latest.o())
    }

    /// A condition by its number (SDM volume 1, appendix B).
    fn condition(&self, number: u8) -> V<S, bool> {
        let l = &self.latest;
        let whole = self.c.is_none() && self.o.is_none();
        let even = match (number >> 1, l.kind) {
            (0, _) => self.o(),
            (1, _) => self.c(),
            (2, _) => l.z(),
            (3, Kind::Sub) if whole => l.b.ge_u(l.a),
            (3, Kind::Order) if whole => !(l.a.low::<bool>() & !l.b.low::<bool>()),
            (3, _) => self.c() | l.z(),
            (4, _) => l.s(),
            (5, _) => l.p(),
            (6, Kind::Sub) if whole => l.a.lt_s(l.b),
            (6, _) => l.s() ^ self.o(),
            (_, Kind::Sub) if whole => l.b.ge_s(l.a),
            (_, Kind::Logic) if whole => !l.a.ge_s(1),
            _ => l.z() | (l.s() ^ self.o()),
        };
        if number & 1 == 0 { even } else { !even }
    }

    /// All flags, as EFLAGS has them.
    fn all(&self) -> V<S, u64> {
        let l = &self.latest;
        let flags = [
            (self.c(), eflags::CF),
            (l.p(), eflags::PF),
            (l.adjust(), eflags::AF),
            (l.z(), eflags::ZF),
            (l.s(), eflags::SF),
            (self.o(), eflags::OF),
        ];
        let at = |(flag, bit): (V<S, bool>, u64)| flag.zext::<u64>() << bit.trailing_zeros() as i64;
        flags.into_iter().map(at).reduce(|all, bit| all | bit).unwrap_or_else(|| l.s.k(0))
    }
}

/// C, or O, of the operation that set it apart, if the block knows that.
fn apart<S: X86>(s: S, want_o: bool) -> Option<V<S, bool>> {
    let op = s.known(s.get::<u64>(CF_OP).raw)?;
    fn one<S: X86, T: Int>(s: S, op: u64, want_o: bool) -> V<S, bool> {
        let l = Lazy::<S, T>::apart(s, op);
        if want_o { l.o() } else { l.c() }
    }
    Some(match op & 3 {
        0 => one::<S, u8>(s, op, want_o),
        1 => one::<S, u16>(s, op, want_o),
        2 => one::<S, u32>(s, op, want_o),
        _ => one::<S, u64>(s, op, want_o),
    })
}

/// What a reader wants.
#[derive(Clone, Copy)]
enum Want {
    Condition(u8),
    All,
}

impl Want {
    /// Whether it needs C, and whether O.
    fn needs(self) -> (bool, bool) {
        match self {
            Want::Condition(number) => (matches!(number >> 1, 1 | 3), matches!(number >> 1, 0 | 6 | 7)),
            Want::All => (true, true),
        }
    }
}

/// What `want` asks for, if the block knows enough of the writers.
fn read<S: X86>(s: S, want: Want) -> Option<V<S, u64>> {
    let op = s.known(s.get::<u64>(CC_OP).raw)?;
    let (needs_c, needs_o) = want.needs();
    let c = if op & C_APART != 0 && needs_c { Some(apart(s, false)?) } else { None };
    let o = if op & O_APART != 0 && needs_o { Some(apart(s, true)?) } else { None };
    fn one<S: X86, T: Int>(s: S, op: u64, [c, o]: [Option<V<S, bool>>; 2], want: Want) -> V<S, u64> {
        let writers = Writers { latest: Lazy::<S, T>::latest(s, op), c, o };
        match want {
            Want::Condition(number) => writers.condition(number).zext(),
            Want::All => writers.all(),
        }
    }
    Some(match op & 3 {
        0 => one::<S, u8>(s, op, [c, o], want),
        1 => one::<S, u16>(s, op, [c, o], want),
        2 => one::<S, u32>(s, op, [c, o], want),
        _ => one::<S, u64>(s, op, [c, o], want),
    })
}

/// A condition by its number: that of Jcc, SETcc, CMOVcc.
pub fn condition<S: X86>(s: S, number: u8) -> Res<S, V<S, bool>> {
    match read(s, Want::Condition(number)) {
        Some(v) => Ok(v.low()),
        None => Ok(s.call(&CONDITION, [s.k(number as i64), s.k(0), s.k(0)])?.low()),
    }
}

/// The carry flag.
pub fn carry<S: X86>(s: S) -> Res<S, V<S, bool>> {
    condition(s, 2)
}

/// All condition flags, as EFLAGS has them.
pub fn all<S: X86>(s: S) -> Res<S, V<S, u64>> {
    match read(s, Want::All) {
        Some(v) => Ok(v),
        None => s.call(&ALL, [s.k(0), s.k(0), s.k(0)]),
    }
}

/// A condition, of flags whose writer the block does not know.
static CONDITION: Helper = Helper {
    name: "condition",
    run: |hart, [number, ..]| Ok(holds(number as u8, packed(&|slot| hart.get(slot))) as u64),
    reads: SlotSet::Only(SLOTS),
    writes: SlotSet::NONE,
    leaves: false,
    flushes: false,
    fp: false,
};

/// All flags, if the block does not know their writer.
static ALL: Helper = Helper {
    name: "flags",
    run: |hart: &dyn Hart, _| Ok(packed(&|slot| hart.get(slot))),
    reads: SlotSet::Only(SLOTS),
    writes: SlotSet::NONE,
    leaves: false,
    flushes: false,
    fp: false,
};

/// Whether a condition holds for these bits of EFLAGS.
pub fn holds(number: u8, flags: u64) -> bool {
    let set = |bits: u64| flags & bits != 0;
    let less = set(eflags::SF) != set(eflags::OF);
    let even = match number >> 1 & 7 {
        0 => set(eflags::OF),
        1 => set(eflags::CF),
        2 => set(eflags::ZF),
        3 => set(eflags::CF | eflags::ZF),
        4 => set(eflags::SF),
        5 => set(eflags::PF),
        6 => less,
        _ => less || set(eflags::ZF),
    };
    even != (number & 1 != 0)
}

/// Operands as plain numbers.
struct Plain {
    kind: Kind,
    bits: u32,
    a: u64,
    b: u64,
    carry: u64,
}

impl Plain {
    fn new(op: u64, [a, b, carry]: [u64; 3]) -> Plain {
        let bits = 8 << (op & 3);
        let mask = u64::MAX >> (64 - bits);
        Plain { kind: Kind::of(op), bits, a: a & mask, b: b & mask, carry: carry & 1 }
    }

    fn sext(&self, v: u64) -> i64 {
        trine_ir::eval::sext(self.bits, v)
    }

    /// The first operand shifted by `by`, not cut off.
    fn shifted(&self, by: u64) -> u64 {
        let by = by as u32;
        match self.kind {
            Kind::Shl => self.a.checked_shl(by).unwrap_or(0),
            Kind::Shr => self.a.checked_shr(by).unwrap_or(0),
            _ => (self.sext(self.a) >> by.min(63)) as u64,
        }
    }

    fn result(&self) -> u64 {
        let (a, b, c) = (self.a, self.b, self.carry);
        let wide = match self.kind {
            Kind::Add => a.wrapping_add(b),
            Kind::Sub => a.wrapping_sub(b),
            Kind::Adc => a.wrapping_add(b).wrapping_add(c),
            Kind::Sbb => a.wrapping_sub(b).wrapping_sub(c),
            Kind::Shl | Kind::Shr | Kind::Sar => self.shifted(b),
            _ => a,
        };
        wide & u64::MAX >> (64 - self.bits)
    }

    fn negative(&self, v: u64) -> bool {
        v >> (self.bits - 1) & 1 != 0
    }

    fn c(&self) -> bool {
        let (a, b) = (self.a, self.b);
        match self.kind {
            Kind::Add => self.result() < a,
            Kind::Sub => a < b,
            Kind::Logic => false,
            Kind::Mul => b & 1 != 0,
            Kind::Shl => self.negative(self.shifted(b.wrapping_sub(1))),
            Kind::Shr | Kind::Sar => self.shifted(b.wrapping_sub(1)) & 1 != 0,
            Kind::Ror => self.negative(a),
            Kind::Order => a & 1 == 0,
            _ => a & 1 != 0,
        }
    }

    fn o(&self, whole_a: u64) -> bool {
        let (a, b, r) = (self.a, self.b, self.result());
        match self.kind {
            Kind::Packed => whole_a & eflags::OF != 0,
            Kind::Add | Kind::Adc => self.negative((a ^ r) & (b ^ r)),
            Kind::Sub | Kind::Sbb => self.negative((a ^ b) & (a ^ r)),
            Kind::Inc => a == 1 << (self.bits - 1),
            Kind::Dec => a == (1 << (self.bits - 1)) - 1,
            Kind::Mul => b & 1 != 0,
            Kind::Shl => self.c() != self.negative(r),
            Kind::Shr => self.negative(a),
            Kind::Rol => (a ^ a >> (self.bits - 1)) & 1 != 0,
            Kind::Ror => self.negative(a ^ a << 1),
            Kind::Logic | Kind::Sar | Kind::Order => false,
        }
    }

    /// P, A, Z and S.
    fn others(&self) -> u64 {
        if self.kind == Kind::Packed {
            return self.a & (eflags::PF | eflags::AF | eflags::ZF | eflags::SF);
        }
        if self.kind == Kind::Order {
            let (ge, le) = (self.a & 1, self.b & 1);
            return if ge == le { eflags::ZF } else { 0 } | if ge | le == 0 { eflags::PF } else { 0 };
        }
        let r = self.result();
        let adjust = match self.kind {
            Kind::Add | Kind::Sub | Kind::Adc | Kind::Sbb => (self.a ^ self.b ^ r) >> 4 & 1 != 0,
            Kind::Inc => r & 15 == 0,
            Kind::Dec => r & 15 == 15,
            _ => false,
        };
        let set = |yes: bool, flag| if yes { flag } else { 0 };
        set((r as u8).count_ones().is_multiple_of(2), eflags::PF)
            | set(adjust, eflags::AF)
            | set(r == 0, eflags::ZF)
            | set(self.negative(r), eflags::SF)
    }
}

/// The condition flags that the slots stand for, as EFLAGS has them.
pub fn packed(get: &dyn Fn(u16) -> u64) -> u64 {
    let op = get(CC_OP);
    let latest = Plain::new(op, [get(CC_A), get(CC_B), get(CC_C)]);
    let apart = Plain::new(get(CF_OP), [get(CF_A), get(CF_B), 0]);
    let c = if op & C_APART != 0 { apart.c() } else { latest.c() };
    let o = if op & O_APART != 0 { apart.o(get(CF_A)) } else { latest.o(get(CC_A)) };
    latest.others() | if c { eflags::CF } else { 0 } | if o { eflags::OF } else { 0 }
}
