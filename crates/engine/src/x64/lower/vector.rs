//! Vectors of 128 bits, in three-operand forms of AVX.

use super::Lower;
use super::allocator::Allocator;
use crate::x64::asm::Xmm;
use crate::x64::side::Kind;
use crate::x64::thunks::SCRATCH_FP;
use trine_ir::inst::Val;
use trine_ir::vector::{Lane, VBin, VShift, Vop};
use trine_ir::{Access, Hints, Isa, Signed, VMix};

/// Opcode map and opcode of an operation of two vectors; all have the prefix 66. Called only for existing
/// operations.
fn opcode(op: VBin, lane: Lane) -> (u8, u8) {
    let by_lane = |first: u8| (1, first + lane as u8);
    let pick = |of: [(u8, u8); 3]| of[(lane as usize).min(2)];
    match op {
        VBin::Add if lane == Lane::L64 => (1, 0xd4),
        VBin::Add => by_lane(0xfc),
        VBin::Sub => by_lane(0xf8),
        VBin::AddS => by_lane(0xec),
        VBin::AddU => by_lane(0xdc),
        VBin::SubS => by_lane(0xe8),
        VBin::SubU => by_lane(0xd8),
        VBin::Mul if lane == Lane::L32 => (2, 0x40),
        VBin::Mul => (1, 0xd5),
        VBin::MulhS => (1, 0xe5),
        VBin::MulhU => (1, 0xe4),
        VBin::MinS => pick([(2, 0x38), (1, 0xea), (2, 0x39)]),
        VBin::MinU => pick([(1, 0xda), (2, 0x3a), (2, 0x3b)]),
        VBin::MaxS => pick([(2, 0x3c), (1, 0xee), (2, 0x3d)]),
        VBin::MaxU => pick([(1, 0xde), (2, 0x3e), (2, 0x3f)]),
        VBin::Avg if lane == Lane::L8 => (1, 0xe0),
        VBin::Avg => (1, 0xe3),
        VBin::Eq if lane == Lane::L64 => (2, 0x29),
        VBin::Eq => by_lane(0x74),
        VBin::GtS if lane == Lane::L64 => (2, 0x37),
        VBin::GtS => by_lane(0x64),
        VBin::And => (1, 0xdb),
        VBin::Or => (1, 0xeb),
        VBin::Xor => (1, 0xef),
        VBin::Andn => (1, 0xdf),
        VBin::Low if lane == Lane::L64 => (1, 0x6c),
        VBin::Low => by_lane(0x60),
        VBin::High if lane == Lane::L64 => (1, 0x6d),
        VBin::High => by_lane(0x68),
    }
}

/// Opcode map and opcode of an operation that mixes lanes.
fn mix_opcode(op: VMix) -> (u8, u8) {
    match op {
        VMix::MulAdd16 => (1, 0xf5),
        VMix::MulAdd8 => (2, 0x04),
        VMix::SumAbs => (1, 0xf6),
        VMix::MulEvenU => (1, 0xf4),
        VMix::MulEvenS => (2, 0x28),
        VMix::MulRound => (2, 0x0b),
        VMix::PackS16 => (1, 0x63),
        VMix::PackU16 => (1, 0x67),
        VMix::PackS32 => (1, 0x6b),
        VMix::PackU32 => (2, 0x2b),
        VMix::AddPairs16 => (2, 0x01),
        VMix::AddPairs32 => (2, 0x02),
        VMix::AddPairsS16 => (2, 0x03),
        VMix::SubPairs16 => (2, 0x05),
        VMix::SubPairs32 => (2, 0x06),
        VMix::SubPairsS16 => (2, 0x07),
        VMix::Sign8 => (2, 0x08),
        VMix::Sign16 => (2, 0x09),
        VMix::Sign32 => (2, 0x0a),
    }
}

/// Opcode of an extension, in map 2.
fn extension_opcode(signed: Signed, from: Lane, to: Lane) -> u8 {
    let first = if signed == Signed::Yes { 0x20 } else { 0x30 };
    first
        + match (from, to) {
            (Lane::L8, Lane::L16) => 0,
            (Lane::L8, Lane::L32) => 1,
            (Lane::L8, _) => 2,
            (Lane::L16, Lane::L32) => 3,
            (Lane::L16, _) => 4,
            _ => 5,
        }
}

/// The prefix 66 in VEX's encoding.
const P66: u8 = 1;
/// The prefixes F3 and F2.
const PF3: u8 = 2;
const PF2: u8 = 3;

impl<I: Isa, A> Lower<'_, I, A>
where
    Self: Allocator,
{
    /// An operation from vectors to a vector.
    pub fn vector(&mut self, op: Vop, [x, y, z]: [Val; 3]) {
        let (a, b) = (self.xmm(x), self.xmm(y));
        match op {
            // The host's form negates the first operand.
            Vop::Bin(op @ VBin::Andn, lane) => self.vector_binary(op, lane, b, a),
            Vop::Bin(op, lane) => self.vector_binary(op, lane, a, b),
            Vop::Abs(lane) => {
                let d = self.def_fp();
                self.a.vop((2, P66, false), 0x1c + lane as u8, d, 0, a);
            }
            Vop::Shift(op, lane, by) => {
                let extension = match op {
                    VShift::Shr => 2,
                    VShift::Sar => 4,
                    VShift::Shl => 6,
                };
                let d = self.def_fp();
                self.a.vop((1, P66, false), 0x70 + lane as u8, extension, d, a);
                self.a.byte(by);
            }
            Vop::Shuffle(order) => {
                let d = self.def_fp();
                self.a.vop((1, P66, false), 0x70, d, 0, a);
                self.a.byte(order);
            }
            Vop::Permute => {
                let d = self.def_fp();
                self.a.vop((2, P66, false), 0x00, d, a, b);
            }
            Vop::Align(n) => {
                let d = self.def_fp();
                self.a.vop((3, P66, false), 0x0f, d, a, b);
                self.a.byte(n);
            }
            Vop::Mix(op) => {
                let (map, code) = mix_opcode(op);
                let d = self.def_fp();
                self.a.vop((map, P66, false), code, d, a, b);
            }
            Vop::ShiftBy(op, lane) => {
                let first = match op {
                    VShift::Shr => 0xd0,
                    VShift::Sar => 0xe0,
                    VShift::Shl => 0xf0,
                };
                let d = self.def_fp();
                self.a.vop((1, P66, false), first + lane as u8, d, a, b);
            }
            Vop::ShiftEach(op, lane) => {
                let code = match op {
                    VShift::Shr => 0x45,
                    VShift::Sar => 0x46,
                    VShift::Shl => 0x47,
                };
                let d = self.def_fp();
                self.a.vop((2, P66, lane == Lane::L64), code, d, a, b);
            }
            Vop::Extend(signed, from, to) => {
                let d = self.def_fp();
                self.a.vop((2, P66, false), extension_opcode(signed, from, to), d, 0, a);
            }
            Vop::ShuffleHalf(high, order) => {
                let d = self.def_fp();
                self.a.vop((1, if high { PF3 } else { PF2 }, false), 0x70, d, 0, a);
                self.a.byte(order);
            }
            Vop::ShuffleTwo(lane, order) => {
                let d = self.def_fp();
                let prefix = if lane == Lane::L64 { P66 } else { 0 };
                self.a.vop((1, prefix, false), 0xc6, d, a, b);
                self.a.byte(order);
            }
            Vop::Smallest => {
                let d = self.def_fp();
                self.a.vop((2, P66, false), 0x41, d, 0, a);
            }
            Vop::MultipleSums(choice) => {
                let d = self.def_fp();
                self.a.vop((3, P66, false), 0x42, d, a, b);
                self.a.byte(choice);
            }
            Vop::Blend => {
                let chosen = self.xmm(z);
                let d = self.def_fp();
                self.a.vop((3, P66, false), 0x4c, d, a, b);
                self.a.byte(chosen << 4);
            }
        }
    }

    fn vector_binary(&mut self, op: VBin, lane: Lane, a: Xmm, b: Xmm) {
        let (map, code) = opcode(op, lane);
        let d = self.def_fp();
        self.a.vop((map, P66, false), code, d, a, b);
    }

    /// Replaces a lane of the vector by an integer's low bits.
    pub fn vector_insert(&mut self, lane: Lane, n: u8, v: Val, x: Val) {
        let (map, code) = match lane {
            Lane::L8 => (3, 0x20),
            Lane::L16 => (1, 0xc4),
            Lane::L32 | Lane::L64 => (3, 0x22),
        };
        let (v, x) = (self.xmm(v), self.gpr(x));
        let d = self.def_fp();
        self.a.vop((map, P66, lane == Lane::L64), code, d, v, x);
        self.a.byte(n);
    }

    /// A lane as an integer.
    pub fn vector_extract(&mut self, lane: Lane, n: u8, v: Val) {
        let v = self.xmm(v);
        let d = self.def();
        if lane == Lane::L64 && n == 0 {
            return self.a.movq_from(true, d, v);
        }
        let code = 0x14 + (lane as u8).min(2);
        self.a.vop((3, P66, lane == Lane::L64), code, v, 0, d);
        self.a.byte(n);
    }

    /// The top bits of all lanes.
    pub fn vector_mask(&mut self, lane: Lane, v: Val) {
        let x = self.xmm(v);
        let d = self.def();
        match lane {
            Lane::L8 => self.a.vop((1, P66, false), 0xd7, d, 0, x),
            Lane::L16 => {
                // Words become bytes with their signs; the upper eight come from zeros.
                let zero = SCRATCH_FP;
                self.a.vop((1, P66, false), 0xef, zero, zero, zero);
                self.a.vop((1, P66, false), 0x63, zero, x, zero);
                self.a.vop((1, P66, false), 0xd7, d, 0, zero);
            }
            Lane::L32 => self.a.vop((1, 0, false), 0x50, d, 0, x),
            Lane::L64 => self.a.vop((1, P66, false), 0x50, d, 0, x),
        }
    }

    /// An integer in the lower half, zeros above.
    pub fn vector_of(&mut self, x: Val) {
        if self.constant(x) == Some(0) {
            let d = self.def_fp();
            return self.a.vop((1, P66, false), 0xef, d, d, d);
        }
        let r = self.gpr(x);
        let d = self.def_fp();
        self.a.movq_to(true, d, r);
    }

    /// A load of 16 bytes.
    pub fn load_vector(&mut self, hints: Hints, a: Val) {
        let pair = self.pair_of(a, hints, false);
        let at = self.address(a);
        self.check_aligned(at, hints, 16, Access::Read);
        let d = self.take_xmm();
        let (m, miss) = self.reach(pair, at, hints, 16, false);
        self.a.movups_load(d, m);
        self.on_miss(miss, at, Kind::LoadVector(hints), |_| {}, |e| e.a.movups_load(d, e.l.arg(1)));
        self.own_fp(d);
    }

    /// A store of 16 bytes: one access.
    pub fn store_vector(&mut self, hints: Hints, a: Val, v: Val) {
        let pair = self.pair_of(a, hints, true);
        let at = self.address(a);
        let s = self.xmm(v);
        self.check_aligned(at, hints, 16, Access::Write);
        let (m, miss) = self.reach(pair, at, hints, 16, true);
        self.a.movups_store(m, s);
        self.on_miss(miss, at, Kind::StoreVector(hints), |e| e.a.movups_store(e.l.arg(1), s), |_| {});
    }
}
