//! Random blocks of IR.

use super::harness::{DATA, Given};
use trine_base::Width;
use trine_ir::inst::{Block, Class, Inst, Label, Val};
use trine_ir::verify::bits_of;
use trine_ir::{
    Bin, Carry, Cmp, Extra, Flow, Fmt, Fp, Hints, IntTy, Lane, MemOp, Rmw, Round, Rounding, Sign, Signed, Un,
    VBin, VShift, Vop,
};

/// Slots that blocks read and write.
const SLOTS: std::ops::Range<u16> = 8..28;

/// Pairs of slots that hold vectors.
const VECTORS: std::ops::Range<u16> = 32..64;

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

    /// A number that is often one where something changes.
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
}

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
}

impl Maker {
    /// At the start of a block.
    fn new(seed: u64) -> Maker {
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let block = Block { guest: 1, ..Block::default() };
        let mut maker = Maker { random, block, usable: Vec::new(), vectors: Vec::new() };
        maker.emit(Inst::Begin(0, 4));
        let first = maker.emit(Inst::Get(SLOTS.start));
        maker.usable.push(first);
        maker
    }

    fn emit(&mut self, inst: Inst) -> Val {
        let made = Val(self.block.insts.len() as u32);
        self.block.insts.push(inst);
        match inst.result() {
            Some(Class::Int) => self.usable.push(made),
            Some(Class::Vec) => self.vectors.push(made),
            _ => {}
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
        let narrow = matches!(
            op,
            Bin::MulhS
                | Bin::MulhU
                | Bin::MulhSU
                | Bin::DivS
                | Bin::DivU
                | Bin::RemS
                | Bin::RemU
                | Bin::Rol
                | Bin::Ror
        );
        let bits = if narrow { self.random.pick(&[32, 64]) } else { self.random.pick(&BITS) };
        let (mut a, mut b) = (self.value(bits), self.value(bits));
        if matches!(op, Bin::DivS | Bin::DivU | Bin::RemS | Bin::RemU) {
            // Neither zero nor what overflows.
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
        match self.random.below(12) {
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
                let (a, hints) = (self.address(16, false), Hints::NONE);
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
            _ => {
                let op = self.vector_operation(lane);
                let args = [self.vector(), self.vector(), self.vector()];
                let last = args[op.operands() - 1];
                let args = std::array::from_fn(|i| if i < op.operands() { args[i] } else { last });
                self.emit(Inst::Vec(op, args));
            }
        }
    }

    /// One that exists.
    fn vector_operation(&mut self, lane: Lane) -> Vop {
        loop {
            let op = match self.random.below(10) {
                0 => Vop::Abs(lane),
                1 => {
                    let by = self.random.below(lane.bits().into()) as u8;
                    Vop::Shift(self.random.pick(&[VShift::Shl, VShift::Shr, VShift::Sar]), lane, by)
                }
                2 => Vop::Shuffle(self.random.next() as u8),
                3 => self.random.pick(&[Vop::Permute, Vop::Blend]),
                4 => Vop::Align(self.random.below(17) as u8),
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

    /// An address in the data, for an access of `bytes` that is aligned where `aligned`; sometimes one whose end lies
    /// behind the end of memory.
    fn address(&mut self, bytes: u64, aligned: bool) -> Val {
        let mut offset = match self.random.below(16) {
            0 => 0x2000 - self.random.below(8),
            1 => 0x1000 - self.random.below(8),
            _ => self.random.below(0x40),
        };
        if aligned {
            offset &= !(bytes - 1);
        }
        let base = self.emit(Inst::Const(DATA));
        // What is added is not a constant for the compiler.
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
        let a = self.address(width.bytes(), kind < 2);
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
        match self.random.below(20) {
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
        let (usable, vectors) = (self.usable.clone(), self.vectors.clone());
        (0..1 + self.random.below(4)).for_each(|_| self.one(false));
        let exits = self.random.below(2) == 0;
        if exits {
            self.leave(0x40);
        }
        (self.usable, self.vectors) = (usable, vectors);
        self.block.insts[start.0 as usize] = Inst::IfNot { c, to: label, exits };
        self.emit(Inst::Label(label));
    }

    fn leave(&mut self, offset: i64) {
        let target = self.emit(Inst::Pc(offset));
        self.emit(Inst::Jump(Flow::Plain, target));
    }
}

/// A random block, perhaps with arms, and what it starts from.
pub fn case(seed: u64, arms: bool) -> (Block, Given) {
    let mut maker = Maker::new(seed);
    (0..10 + maker.random.below(60)).for_each(|_| maker.one(arms));
    maker.leave(4);
    let random = &mut maker.random;
    let slots = SLOTS.chain(VECTORS).map(|slot| (slot, random.number())).collect();
    let mut bytes = || (0..0x60).map(|_| random.next() as u8).collect();
    let memory = vec![(DATA, bytes()), (DATA + 0xfa0, bytes()), (DATA + 0x1fa0, bytes())];
    (maker.block, Given { slots, memory, rounds: 1 })
}

/// Slots that hold floating-point numbers.
const FLOATS: std::ops::Range<u16> = 28..32;

impl Maker {
    /// A number of this format: of a binary32, registers have anything above it, so nothing else may look at it.
    fn float(&mut self, fmt: Fmt) -> Val {
        let fits = |inst: &Inst| match inst {
            Inst::GetF(_) => true,
            Inst::Fp(op, ..) => {
                inst.result() == Some(Class::Float) && (fmt == Fmt::S || made_format(*op) == fmt)
            }
            _ => false,
        };
        let all = 0..self.block.insts.len() as u32;
        let floats: Vec<u32> = all.filter(|&i| fits(&self.block.insts[i as usize])).collect();
        if floats.is_empty() || self.random.below(4) == 0 {
            let slot = FLOATS.start + self.random.below(FLOATS.len() as u64) as u16;
            return self.emit(Inst::GetF(slot));
        }
        Val(self.random.pick(&floats))
    }

    fn float_op(&mut self) {
        let fmt = self.random.pick(&[Fmt::S, Fmt::D]);
        let bits = if fmt == Fmt::S { 32 } else { 64 };
        let ty = self.random.pick(&[IntTy::I32, IntTy::U32, IntTy::I64, IntTy::U64]);
        let sign = self.random.pick(&[Sign::Copy, Sign::Negate, Sign::Xor]);
        let (neg_product, neg_addend) = (self.random.below(2) == 0, self.random.below(2) == 0);
        let ops = [
            Fp::Add(fmt),
            Fp::Sub(fmt),
            Fp::Mul(fmt),
            Fp::Div(fmt),
            Fp::Sqrt(fmt),
            Fp::Fma { fmt, neg_product, neg_addend },
            Fp::Min(fmt),
            Fp::Max(fmt),
            Fp::Eq(fmt),
            Fp::Lt(fmt),
            Fp::Le(fmt),
            Fp::Convert(fmt),
            Fp::ToInt(fmt, ty),
            Fp::FromInt(ty, fmt),
            Fp::Sgnj(fmt, sign),
            Fp::ToBits(fmt),
            Fp::FromBits(fmt),
        ];
        let op = self.random.pick(&ops);
        let args = match op {
            Fp::FromInt(IntTy::I32 | IntTy::U32, _) => [self.value(32); 3],
            Fp::FromInt(..) => [self.value(64); 3],
            Fp::FromBits(_) => [self.value(bits); 3],
            _ => {
                let args = [self.float(fmt), self.float(fmt), self.float(fmt)];
                let last = args[Inst::fp_operands(op) - 1];
                std::array::from_fn(|i| if i < Inst::fp_operands(op) { args[i] } else { last })
            }
        };
        let rounding = self.random.pick(&[
            Rounding::Dynamic,
            Rounding::Dynamic,
            Rounding::Static(Round::Rne),
            Rounding::Static(Round::Rtz),
        ]);
        self.emit(Inst::Fp(op, rounding, args));
    }
}

/// The format of the number that an operation makes.
fn made_format(op: Fp) -> Fmt {
    match op {
        Fp::Convert(Fmt::S) => Fmt::D,
        Fp::Convert(Fmt::D) => Fmt::S,
        Fp::Add(fmt) | Fp::Sub(fmt) | Fp::Mul(fmt) | Fp::Div(fmt) | Fp::Sqrt(fmt) => fmt,
        Fp::Min(fmt) | Fp::Max(fmt) | Fp::Fma { fmt, .. } | Fp::Sgnj(fmt, _) => fmt,
        Fp::FromInt(_, fmt) | Fp::FromBits(fmt) => fmt,
        _ => Fmt::S,
    }
}

/// A random block with floating point and without arms, and what it starts from.
pub fn float_case(seed: u64) -> (Block, Given) {
    let mut maker = Maker::new(seed);
    for _ in 0..10 + maker.random.below(40) {
        match maker.random.below(8) {
            0 | 1 => maker.one(false),
            2 => {
                let (slot, v) =
                    (FLOATS.start + maker.random.below(FLOATS.len() as u64) as u16, maker.float(Fmt::D));
                maker.emit(Inst::SetF(slot, v));
            }
            3 => {
                let v = maker.emit(Inst::Flags);
                if maker.random.below(4) == 0 {
                    maker.emit(Inst::SetFlags(v));
                }
            }
            _ => maker.float_op(),
        }
    }
    maker.leave(4);
    let random = &mut maker.random;
    let mut given: Vec<(u16, u64)> =
        SLOTS.chain(FLOATS).chain(VECTORS).map(|slot| (slot, random.number())).collect();
    for slot in given.iter_mut().filter(|s| FLOATS.contains(&s.0)) {
        let number = random.next() as i32 as f64 / 1024.0;
        slot.1 = match random.below(8) {
            0 => slot.1,
            1 => f64::NAN.to_bits(),
            2 => f64::INFINITY.to_bits(),
            3 => u64::from((number as f32).to_bits()),
            _ => number.to_bits(),
        };
    }
    (maker.block, Given { slots: given, memory: Vec::new(), rounds: 1 })
}
