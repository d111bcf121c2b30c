//! Random blocks of IR.

use super::harness::{DATA, Given};
use trine_base::Width;
use trine_ir::inst::{Block, Class, Inst, Label, Val};
use trine_ir::verify::bits_of;
use trine_ir::{
    Bin, Carry, Cmp, Extra, Flow, Fmt, Fp, Hints, IntTy, Lane, Lanes, MemOp, Rmw, Round, Rounding, Sign,
    Signed, Un, VBin, VFp, VMix, VShift, Vop,
};

/// Slots that blocks read and write.
const SLOTS: std::ops::Range<u16> = 8..28;

/// Pairs of slots that hold vectors.
const VECTORS: std::ops::Range<u16> = 32..56;

/// Slots that hold numbers.
const NUMBERS: std::ops::Range<u16> = 56..64;

/// Marsaglia's xorshift of 64 bits.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 8) % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A number, often one at a boundary.
    fn number(&mut self) -> u64 {
        let edges =
            [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 63];
        match self.below(4) {
            0 => self.pick(&edges),
            1 => self.pick(&edges).wrapping_neg(),
            2 => self.below(64),
            _ => self.next(),
        }
    }

    /// A binary64, or a binary32 in a NaN box, that is often a special one.
    fn float(&mut self) -> u64 {
        let doubles =
            [0, 1.0f64.to_bits(), 1.5f64.to_bits(), 1e300f64.to_bits(), 0x7ff0 << 48, 0x7ff8 << 48, 1];
        let singles = [0, 1.0f32.to_bits(), 2.5f32.to_bits(), 1e38f32.to_bits(), 0x7f80_0000, 0x7fa0_0000, 1];
        let sign = self.below(2);
        match self.below(4) {
            0 => self.pick(&doubles) | sign << 63,
            1 => u64::from(self.pick(&singles)) | sign << 31 | 0xffff_ffff << 32,
            2 => self.next() | 0xffff_ffff << 32,
            _ => self.next(),
        }
    }
}

/// The rounding of operations that do not round, and of some that do.
const EXACT: Rounding = Rounding::Static(Round::Rne);

const BITS: [u8; 4] = [8, 16, 32, 64];
const BINS: [Bin; 19] = [
    Bin::Add,
    Bin::Sub,
    Bin::Mul,
    Bin::MulhS,
    Bin::MulhU,
    Bin::MulhSU,
    Bin::DivS,
    Bin::DivU,
    Bin::RemS,
    Bin::RemU,
    Bin::And,
    Bin::Or,
    Bin::Xor,
    Bin::Shl,
    Bin::Shr,
    Bin::Sar,
    Bin::Rol,
    Bin::Ror,
    Bin::Andn,
];
const VBINS: [VBin; 22] = [
    VBin::Add,
    VBin::Sub,
    VBin::AddS,
    VBin::AddU,
    VBin::SubS,
    VBin::SubU,
    VBin::Mul,
    VBin::MulhS,
    VBin::MulhU,
    VBin::MinS,
    VBin::MinU,
    VBin::MaxS,
    VBin::MaxU,
    VBin::Avg,
    VBin::Eq,
    VBin::GtS,
    VBin::And,
    VBin::Or,
    VBin::Xor,
    VBin::Andn,
    VBin::Low,
    VBin::High,
];
const VMIXES: [VMix; 19] = [
    VMix::MulAdd16,
    VMix::MulAdd8,
    VMix::SumAbs,
    VMix::MulEvenU,
    VMix::MulEvenS,
    VMix::MulRound,
    VMix::PackS16,
    VMix::PackU16,
    VMix::PackS32,
    VMix::PackU32,
    VMix::AddPairs16,
    VMix::AddPairs32,
    VMix::AddPairsS16,
    VMix::SubPairs16,
    VMix::SubPairs32,
    VMix::SubPairsS16,
    VMix::Sign8,
    VMix::Sign16,
    VMix::Sign32,
];
const CMPS: [Cmp; 6] = [Cmp::Eq, Cmp::Ne, Cmp::LtS, Cmp::LtU, Cmp::GeS, Cmp::GeU];
const UNS: [Un; 4] = [Un::Clz, Un::Ctz, Un::Popcount, Un::Bswap];
const RMWS: [Rmw; 9] =
    [Rmw::Swap, Rmw::Add, Rmw::And, Rmw::Or, Rmw::Xor, Rmw::MinS, Rmw::MaxS, Rmw::MinU, Rmw::MaxU];

/// A block in the making.
struct Maker {
    random: Random,
    block: Block,
    /// Values that may be used here.
    usable: Vec<Val>,
    /// Vectors that may be used here.
    vectors: Vec<Val>,
    /// Numbers that may be used here. All are binary64: a binary32 is put into one immediately.
    numbers: Vec<Val>,
}

impl Maker {
    fn emit(&mut self, inst: Inst) -> Val {
        let made = Val(self.block.insts.len() as u32);
        self.block.insts.push(inst);
        match inst.result() {
            Some(Class::Int) => self.usable.push(made),
            Some(Class::Vec) => self.vectors.push(made),
            Some(Class::Float) | None => {}
        }
        made
    }

    /// An integer whose bits above `bits` are zero.
    fn value(&mut self, bits: u8) -> Val {
        let v = match self.random.below(8) {
            0 => {
                let k = self.random.number() & (u64::MAX >> (64 - bits));
                return self.emit(Inst::Const(k));
            }
            1 | 2 => {
                let slot = SLOTS.start + self.random.below(SLOTS.len() as u64) as u16;
                self.emit(Inst::Get(slot))
            }
            _ => {
                let usable = std::mem::take(&mut self.usable);
                let v = self.random.pick(&usable);
                self.usable = usable;
                v
            }
        };
        let fits = bits_of(&self.block.insts[v.0 as usize]) <= bits as u32;
        if fits { v } else { self.emit(Inst::Zext(64, bits, v)) }
    }

    fn binary(&mut self) {
        let op = self.random.pick(&BINS);
        let bits = self.random.pick(&BITS);
        let (mut a, mut b) = (self.value(bits), self.value(bits));
        if matches!(op, Bin::DivS | Bin::DivU | Bin::RemS | Bin::RemU) {
            // Neither zero nor an overflow.
            let (positive, one) = (Inst::Const(u64::MAX >> (65 - bits)), Inst::Const(1));
            let (positive, one) = (self.emit(positive), self.emit(one));
            a = self.emit(Inst::Bin(Bin::And, bits, a, positive));
            b = self.emit(Inst::Bin(Bin::Or, bits, b, one));
        }
        self.emit(Inst::Bin(op, bits, a, b));
    }

    fn vector(&mut self) -> Val {
        if self.vectors.is_empty() || self.random.below(4) == 0 {
            let slot = VECTORS.start + 2 * self.random.below(VECTORS.len() as u64 / 2) as u16;
            return self.emit(Inst::GetV(slot));
        }
        self.random.pick(&self.vectors.clone())
    }

    fn vector_op(&mut self) {
        let lane = self.random.pick(&[Lane::L8, Lane::L16, Lane::L32, Lane::L64]);
        let n = self.random.below(lane.count().into()) as u8;
        match self.random.below(13) {
            0 => {
                let x = self.value(64);
                self.emit(Inst::ToVec(x));
            }
            1 => {
                let (v, x) = (self.vector(), self.value(64));
                self.emit(Inst::VInsert(lane, n, v, x));
            }
            2 => {
                let v = self.vector();
                self.emit(Inst::VExtract(lane, n, v));
            }
            3 => {
                let v = self.vector();
                self.emit(Inst::VMask(lane, v));
            }
            4 | 5 => {
                let (a, hints) = (self.address(), Hints::NONE);
                if self.random.below(2) == 0 {
                    self.emit(Inst::LoadV(hints, a));
                } else {
                    let v = self.vector();
                    self.emit(Inst::StoreV(hints, a, v));
                }
            }
            6 | 7 => {
                let slot = VECTORS.start + 2 * self.random.below(VECTORS.len() as u64 / 2) as u16;
                let v = self.vector();
                self.emit(Inst::SetV(slot, v));
            }
            8 => self.numbers_in_lanes(),
            _ => {
                let op = self.vector_operation(lane);
                let args = [self.vector(), self.vector(), self.vector()];
                let last = args[op.operands() - 1];
                let args = std::array::from_fn(|i| if i < op.operands() { args[i] } else { last });
                self.emit(Inst::Vec(op, args));
            }
        }
    }

    fn number(&mut self) -> Val {
        let v = match self.random.below(6) {
            0 => {
                let k = self.random.float();
                let k = self.emit(Inst::Const(k));
                self.emit(Inst::Fp(Fp::FromBits(Fmt::D), EXACT, [k; 3]))
            }
            1 => {
                let x = self.value(64);
                self.emit(Inst::Fp(Fp::FromBits(Fmt::D), EXACT, [x; 3]))
            }
            2.. if !self.numbers.is_empty() => self.random.pick(&self.numbers.clone()),
            _ => {
                let slot = NUMBERS.start + self.random.below(NUMBERS.len() as u64) as u16;
                self.emit(Inst::GetF(slot))
            }
        };
        self.numbers.push(v);
        v
    }

    /// A number of this format.
    fn number_of(&mut self, fmt: Fmt) -> Val {
        let v = self.number();
        if fmt == Fmt::D { v } else { self.emit(Inst::Fp(Fp::Low, EXACT, [v; 3])) }
    }

    fn number_op(&mut self) {
        let fmt = self.random.pick(&[Fmt::S, Fmt::D]);
        let (a, b, c) = (self.number_of(fmt), self.number_of(fmt), self.number_of(fmt));
        let rounding = self.random.pick(&[Rounding::Dynamic, EXACT, Rounding::Static(Round::Rtz)]);
        let (mut made, mut result) = (None, fmt);
        match self.random.below(12) {
            0 => {
                let slot = NUMBERS.start + self.random.below(NUMBERS.len() as u64) as u16;
                let v = self.number();
                self.emit(Inst::SetF(slot, v));
            }
            1 => {
                let (x, bits) = (self.number(), Inst::Const(32));
                let x = self.emit(Inst::Fp(Fp::ToBits(Fmt::D), EXACT, [x; 3]));
                let by = self.emit(bits);
                let (shift, op) = (self.random.pick(&[Bin::Sar, Bin::Shr]), self.random.pick(&CMPS));
                let upper = self.emit(Inst::Bin(shift, 64, x, by));
                let k = Inst::Const(self.random.pick(&[0, u64::MAX, 0x3ff0_0000]));
                let k = self.emit(k);
                let c = self.emit(Inst::Cmp(op, 64, upper, k));
                made = Some(self.emit(Inst::SelectF(c, a, b)));
            }
            2 => {
                let c = self.value(1);
                made = Some(self.emit(Inst::SelectF(c, a, b)));
            }
            3 => {
                self.emit(Inst::Fp(Fp::ToBits(fmt), EXACT, [a; 3]));
            }
            4 => {
                let op =
                    self.random.pick(&[Fp::Eq, Fp::Lt, Fp::Le, Fp::LtQuiet, Fp::LeQuiet, Fp::Unordered])(fmt);
                self.emit(Inst::Fp(op, EXACT, [a, b, b]));
            }
            5 => {
                let ty = self.random.pick(&[IntTy::I32, IntTy::U32, IntTy::I64, IntTy::U64]);
                self.emit(Inst::Fp(Fp::ToInt(fmt, ty), rounding, [a; 3]));
            }
            6 => {
                let ty = self.random.pick(&[IntTy::I32, IntTy::U32, IntTy::I64, IntTy::U64]);
                let x = self.value(if matches!(ty, IntTy::I32 | IntTy::U32) { 32 } else { 64 });
                made = Some(self.emit(Inst::Fp(Fp::FromInt(ty, fmt), rounding, [x; 3])));
            }
            7 => {
                result = if fmt == Fmt::S { Fmt::D } else { Fmt::S };
                made = Some(self.emit(Inst::Fp(Fp::Convert(fmt), rounding, [a; 3])));
            }
            8 => {
                let fma = Fp::Fma {
                    fmt,
                    neg_product: self.random.below(2) == 0,
                    neg_addend: self.random.below(2) == 0,
                };
                made = Some(self.emit(Inst::Fp(fma, rounding, [a, b, c])));
            }
            9 => {
                let sign = self.random.pick(&[Sign::Copy, Sign::Negate, Sign::Xor]);
                made = Some(self.emit(Inst::Fp(Fp::Sgnj(fmt, sign), EXACT, [a, b, b])));
            }
            _ => {
                let op = self.random.pick(&[Fp::Add, Fp::Sub, Fp::Mul, Fp::Div, Fp::Min, Fp::Max])(fmt);
                made = Some(self.emit(Inst::Fp(op, rounding, [a, b, b])));
            }
        }
        let Some(made) = made else { return };
        let whole = match result {
            Fmt::D => made,
            Fmt::S => {
                let high = self.number();
                self.emit(Inst::Fp(Fp::WithLow, EXACT, [high, made, made]))
            }
        };
        self.numbers.push(whole);
        if self.random.below(3) == 0 {
            let slot = NUMBERS.start + self.random.below(NUMBERS.len() as u64) as u16;
            self.emit(Inst::SetF(slot, whole));
        }
    }

    /// Floating point in lanes, of vectors that numbers were put into.
    fn numbers_in_lanes(&mut self) {
        let fmt = self.random.pick(&[Fmt::S, Fmt::D]);
        let ops = [
            Fp::Add,
            Fp::Sub,
            Fp::Mul,
            Fp::Div,
            Fp::Sqrt,
            Fp::Min,
            Fp::Max,
            Fp::Eq,
            Fp::Lt,
            Fp::Le,
            Fp::LtQuiet,
            Fp::LeQuiet,
            Fp::Unordered,
        ];
        let op = match self.random.below(14) {
            0 | 1 => Fp::Convert(fmt),
            2 => Fp::ToInt(fmt, IntTy::I32),
            3 => Fp::FromInt(IntTy::I32, fmt),
            _ => self.random.pick(&ops)(fmt),
        };
        let all = VFp { op, lanes: Lanes::All };
        let first = VFp { op, lanes: Lanes::First };
        let op = if first.exists() && self.random.below(2) == 0 { first } else { all };
        let mut args = [self.vector(), self.vector()];
        for v in &mut args {
            for n in 0..2 {
                let x = self.number();
                let x = self.emit(Inst::Fp(Fp::ToBits(Fmt::D), EXACT, [x; 3]));
                *v = self.emit(Inst::VInsert(Lane::L64, n, *v, x));
            }
        }
        let rounding = self.random.pick(&[Rounding::Dynamic, EXACT, Rounding::Static(Round::Rtz)]);
        let args = if op.operands() == 2 { args } else { [args[0]; 2] };
        self.emit(Inst::VFp(op, rounding, args));
    }

    /// One that exists.
    fn vector_operation(&mut self, lane: Lane) -> Vop {
        loop {
            let op = match self.random.below(16) {
                0 => Vop::Abs(lane),
                1 => {
                    let by = self.random.below(lane.bits().into()) as u8;
                    Vop::Shift(self.random.pick(&[VShift::Shl, VShift::Shr, VShift::Sar]), lane, by)
                }
                2 => Vop::Shuffle(self.random.next() as u8),
                3 => self.random.pick(&[Vop::Permute, Vop::Blend]),
                4 => Vop::Align(self.random.below(17) as u8),
                5 => Vop::Mix(self.random.pick(&VMIXES)),
                6 => {
                    let shift = self.random.pick(&[VShift::Shl, VShift::Shr, VShift::Sar]);
                    self.random.pick(&[Vop::ShiftBy(shift, lane), Vop::ShiftEach(shift, lane)])
                }
                7 => {
                    let to = self.random.pick(&[Lane::L16, Lane::L32, Lane::L64]);
                    Vop::Extend(self.random.pick(&[Signed::No, Signed::Yes]), lane, to)
                }
                8 => {
                    let order = self.random.next() as u8;
                    let high = self.random.below(2) == 0;
                    let ops = [
                        Vop::ShuffleHalf(high, order),
                        Vop::ShuffleTwo(Lane::L32, order),
                        Vop::ShuffleTwo(Lane::L64, order & 3),
                        Vop::Smallest,
                        Vop::MultipleSums(order & 7),
                    ];
                    self.random.pick(&ops)
                }
                _ => Vop::Bin(self.random.pick(&VBINS), lane),
            };
            if op.exists() {
                return op;
            }
        }
    }

    fn carry(&mut self) {
        let (op, bits) = (self.random.pick(&[Carry::Add, Carry::Sub]), self.random.pick(&BITS));
        let args = [self.value(bits), self.value(bits), self.value(1)];
        let made = self.emit(Inst::Carry(op, bits, args));
        for extra in [Extra::Carry, Extra::Overflow] {
            if self.random.below(3) > 0 {
                self.emit(Inst::Extra(extra, made));
            }
        }
        if self.random.below(4) == 0 {
            let (high, low, divisor) = (self.value(64), self.value(64), self.value(64));
            // The quotient fits: the high half is smaller than the divisor, which is at least 2^32.
            let (mask, bit) =
                (self.emit(Inst::Const(u64::from(u32::MAX) >> 1)), self.emit(Inst::Const(1 << 32)));
            let high = self.emit(Inst::Bin(Bin::And, 64, high, mask));
            let positive = self.emit(Inst::Const(u64::MAX >> 1));
            let divisor = self.emit(Inst::Bin(Bin::And, 64, divisor, positive));
            let divisor = self.emit(Inst::Bin(Bin::Or, 64, divisor, bit));
            let signed = self.random.pick(&[Signed::No, Signed::Yes]);
            let made = self.emit(Inst::DivWide(signed, [high, low, divisor]));
            self.emit(Inst::Extra(Extra::Remainder, made));
        }
    }

    /// An address in the data, aligned or not; sometimes one from which an access crosses the end of a page or of
    /// memory.
    fn address(&mut self) -> Val {
        let offset = match self.random.below(16) {
            0 => 0x2000 - self.random.below(8),
            1 => 0x1000 - self.random.below(8),
            _ => self.random.below(0x40),
        };
        let base = self.emit(Inst::Const(DATA));
        // The compiler does not know the added value.
        let mask = self.emit(Inst::Const(0));
        let some = self.value(64);
        let zero = self.emit(Inst::Bin(Bin::And, 64, some, mask));
        let at = self.emit(Inst::Bin(Bin::Add, 64, zero, base));
        let offset = self.emit(Inst::Const(offset));
        self.emit(Inst::Bin(Bin::Add, 64, at, offset))
    }

    fn access(&mut self) {
        let width = self.random.pick(&[Width::B1, Width::B2, Width::B4, Width::B8]);
        let plain = MemOp::from(width);
        let how = if self.random.below(3) == 0 { plain.big() } else { plain };
        let kind = self.random.below(8);
        let a = self.address();
        let bits = width.bits() as u8;
        match kind {
            0 => {
                let (op, v) = (self.random.pick(&RMWS), self.value(bits));
                self.emit(Inst::Rmw(op, how, a, v));
            }
            1 => {
                let (expect, new) = (self.value(bits), self.value(bits));
                self.emit(Inst::Exchange(how, a, expect, new));
            }
            2..5 => {
                let v = self.value(64);
                self.emit(Inst::Store(how, a, v));
            }
            _ => {
                let v = self.emit(Inst::Load(how, a));
                if bits < 64 && self.random.below(2) == 0 {
                    self.emit(Inst::Sext(bits, 64, v));
                }
            }
        }
    }

    fn one(&mut self, arms: bool) {
        match self.random.below(22) {
            20 | 21 => (0..1 + self.random.below(4)).for_each(|_| self.number_op()),
            0..7 => self.binary(),
            7 | 8 => {
                let (op, bits) = (self.random.pick(&CMPS), self.random.pick(&BITS));
                let (a, b) = (self.value(bits), self.value(bits));
                self.emit(Inst::Cmp(op, bits, a, b));
            }
            9 => {
                let (op, bits) = (self.random.pick(&UNS), self.random.pick(&BITS[1..]));
                let a = self.value(bits);
                self.emit(Inst::Un(op, bits, a));
            }
            10 => {
                let (bits, c) = (self.random.pick(&BITS), self.value(1));
                let (a, b) = (self.value(bits), self.value(bits));
                self.emit(Inst::Select(bits, c, a, b));
            }
            11 => {
                let a = self.value(64);
                let (from, to) = self.random.pick(&[(8, 16), (8, 32), (8, 64), (16, 32), (16, 64), (32, 64)]);
                self.emit(Inst::Sext(from, to, a));
            }
            12 | 13 => self.access(),
            14 if arms => self.arm(),
            15 => self.carry(),
            17 | 18 => (0..1 + self.random.below(6)).for_each(|_| self.vector_op()),
            16 => {
                let at = self.random.below(57) as u8;
                let len = 1 + self.random.below(64 - at as u64) as u8;
                let len = self.random.pick(&[len, 8, 8.min(64 - at)]);
                let at = if len == 8 { self.random.pick(&[0, 8, at]) } else { at };
                let (old, v) = (self.value(64), self.value(64));
                self.emit(Inst::Insert(at, len, old, v));
            }
            _ => {
                let slot = SLOTS.start + self.random.below(SLOTS.len() as u64) as u16;
                let v = self.value(64);
                self.emit(Inst::Set(slot, v));
            }
        }
    }

    fn arm(&mut self) {
        let c = self.value(1);
        let label = Label(self.block.labels);
        self.block.labels += 1;
        let start = self.emit(Inst::IfNot { c, to: label, exits: false });
        let (usable, vectors, numbers) = (self.usable.clone(), self.vectors.clone(), self.numbers.clone());
        (0..1 + self.random.below(4)).for_each(|_| self.one(false));
        let exits = self.random.below(2) == 0;
        if exits {
            self.leave(0x40);
        }
        (self.usable, self.vectors, self.numbers) = (usable, vectors, numbers);
        self.block.insts[start.0 as usize] = Inst::IfNot { c, to: label, exits };
        self.emit(Inst::Label(label));
    }

    fn leave(&mut self, offset: i64) {
        let target = self.emit(Inst::Pc(offset));
        self.emit(Inst::Jump(Flow::Plain, target));
    }
}

/// A random block, perhaps with arms, and its start state.
pub fn case(seed: u64, arms: bool) -> (Block, Given) {
    let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut maker = Maker {
        random,
        block: Block { guest: 1, ..Block::default() },
        usable: Vec::new(),
        vectors: Vec::new(),
        numbers: Vec::new(),
    };
    maker.emit(Inst::Begin(0, 4));
    let first = maker.emit(Inst::Get(SLOTS.start));
    maker.usable.push(first);
    (0..10 + maker.random.below(60)).for_each(|_| maker.one(arms));
    maker.leave(4);
    let random = &mut maker.random;
    let mut slots: Vec<(u16, u64)> = SLOTS.chain(VECTORS).map(|slot| (slot, random.number())).collect();
    slots.extend(NUMBERS.map(|slot| (slot, random.float())));
    let mut bytes = || (0..0x60).map(|_| random.next() as u8).collect();
    let memory = vec![(DATA, bytes()), (DATA + 0xfa0, bytes()), (DATA + 0x1fa0, bytes())];
    (maker.block, Given { slots, memory, rounds: 1 })
}
