//! MMX: vectors of 64 bits.

use crate::insn::{fp, mmx, packed};
use trine_ir::{Fmt, Lane, VBin, VMix, VShift, Vop};

trine_rows::x86_rows! {
    /// Add lanes of 8 bits.
    mmx::binary(Vop::Bin(VBin::Add, Lane::L8)) {
        "NP 0F FC /r" "paddb Pq, Qq" MMX;
    }
    /// Add lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::Add, Lane::L16)) {
        "NP 0F FD /r" "paddw Pq, Qq" MMX;
    }
    /// Add lanes of 32 bits.
    mmx::binary(Vop::Bin(VBin::Add, Lane::L32)) {
        "NP 0F FE /r" "paddd Pq, Qq" MMX;
    }
    /// Add lanes of 64 bits.
    mmx::binary(Vop::Bin(VBin::Add, Lane::L64)) {
        "NP 0F D4 /r" "paddq Pq, Qq" SSE2;
    }
    /// Subtract lanes of 8 bits.
    mmx::binary(Vop::Bin(VBin::Sub, Lane::L8)) {
        "NP 0F F8 /r" "psubb Pq, Qq" MMX;
    }
    /// Subtract lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::Sub, Lane::L16)) {
        "NP 0F F9 /r" "psubw Pq, Qq" MMX;
    }
    /// Subtract lanes of 32 bits.
    mmx::binary(Vop::Bin(VBin::Sub, Lane::L32)) {
        "NP 0F FA /r" "psubd Pq, Qq" MMX;
    }
    /// Subtract lanes of 64 bits.
    mmx::binary(Vop::Bin(VBin::Sub, Lane::L64)) {
        "NP 0F FB /r" "psubq Pq, Qq" SSE2;
    }
    /// Add signed lanes, saturating of 8 bits.
    mmx::binary(Vop::Bin(VBin::AddS, Lane::L8)) {
        "NP 0F EC /r" "paddsb Pq, Qq" MMX;
    }
    /// Add signed lanes, saturating of 16 bits.
    mmx::binary(Vop::Bin(VBin::AddS, Lane::L16)) {
        "NP 0F ED /r" "paddsw Pq, Qq" MMX;
    }
    /// Add unsigned lanes, saturating of 8 bits.
    mmx::binary(Vop::Bin(VBin::AddU, Lane::L8)) {
        "NP 0F DC /r" "paddusb Pq, Qq" MMX;
    }
    /// Add unsigned lanes, saturating of 16 bits.
    mmx::binary(Vop::Bin(VBin::AddU, Lane::L16)) {
        "NP 0F DD /r" "paddusw Pq, Qq" MMX;
    }
    /// Subtract signed lanes, saturating of 8 bits.
    mmx::binary(Vop::Bin(VBin::SubS, Lane::L8)) {
        "NP 0F E8 /r" "psubsb Pq, Qq" MMX;
    }
    /// Subtract signed lanes, saturating of 16 bits.
    mmx::binary(Vop::Bin(VBin::SubS, Lane::L16)) {
        "NP 0F E9 /r" "psubsw Pq, Qq" MMX;
    }
    /// Subtract unsigned lanes, saturating of 8 bits.
    mmx::binary(Vop::Bin(VBin::SubU, Lane::L8)) {
        "NP 0F D8 /r" "psubusb Pq, Qq" MMX;
    }
    /// Subtract unsigned lanes, saturating of 16 bits.
    mmx::binary(Vop::Bin(VBin::SubU, Lane::L16)) {
        "NP 0F D9 /r" "psubusw Pq, Qq" MMX;
    }
    /// Multiply lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::Mul, Lane::L16)) {
        "NP 0F D5 /r" "pmullw Pq, Qq" MMX;
    }
    /// High halves of signed products of 16 bits.
    mmx::binary(Vop::Bin(VBin::MulhS, Lane::L16)) {
        "NP 0F E5 /r" "pmulhw Pq, Qq" MMX;
    }
    /// High halves of unsigned products of 16 bits.
    mmx::binary(Vop::Bin(VBin::MulhU, Lane::L16)) {
        "NP 0F E4 /r" "pmulhuw Pq, Qq" SSE;
    }
    /// Smaller unsigned lanes of 8 bits.
    mmx::binary(Vop::Bin(VBin::MinU, Lane::L8)) {
        "NP 0F DA /r" "pminub Pq, Qq" SSE;
    }
    /// Larger unsigned lanes of 8 bits.
    mmx::binary(Vop::Bin(VBin::MaxU, Lane::L8)) {
        "NP 0F DE /r" "pmaxub Pq, Qq" SSE;
    }
    /// Smaller signed lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::MinS, Lane::L16)) {
        "NP 0F EA /r" "pminsw Pq, Qq" SSE;
    }
    /// Larger signed lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::MaxS, Lane::L16)) {
        "NP 0F EE /r" "pmaxsw Pq, Qq" SSE;
    }
    /// Average lanes of 8 bits.
    mmx::binary(Vop::Bin(VBin::Avg, Lane::L8)) {
        "NP 0F E0 /r" "pavgb Pq, Qq" SSE;
    }
    /// Average lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::Avg, Lane::L16)) {
        "NP 0F E3 /r" "pavgw Pq, Qq" SSE;
    }
    /// Compare lanes for equality of 8 bits.
    mmx::binary(Vop::Bin(VBin::Eq, Lane::L8)) {
        "NP 0F 74 /r" "pcmpeqb Pq, Qq" MMX;
    }
    /// Compare lanes for equality of 16 bits.
    mmx::binary(Vop::Bin(VBin::Eq, Lane::L16)) {
        "NP 0F 75 /r" "pcmpeqw Pq, Qq" MMX;
    }
    /// Compare lanes for equality of 32 bits.
    mmx::binary(Vop::Bin(VBin::Eq, Lane::L32)) {
        "NP 0F 76 /r" "pcmpeqd Pq, Qq" MMX;
    }
    /// Compare signed lanes of 8 bits.
    mmx::binary(Vop::Bin(VBin::GtS, Lane::L8)) {
        "NP 0F 64 /r" "pcmpgtb Pq, Qq" MMX;
    }
    /// Compare signed lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::GtS, Lane::L16)) {
        "NP 0F 65 /r" "pcmpgtw Pq, Qq" MMX;
    }
    /// Compare signed lanes of 32 bits.
    mmx::binary(Vop::Bin(VBin::GtS, Lane::L32)) {
        "NP 0F 66 /r" "pcmpgtd Pq, Qq" MMX;
    }
    /// Bitwise and.
    mmx::binary(packed::bitwise(VBin::And)) {
        "NP 0F DB /r" "pand Pq, Qq" MMX;
    }
    /// Bitwise or.
    mmx::binary(packed::bitwise(VBin::Or)) {
        "NP 0F EB /r" "por Pq, Qq" MMX;
    }
    /// Bitwise exclusive or.
    mmx::binary(packed::bitwise(VBin::Xor)) {
        "NP 0F EF /r" "pxor Pq, Qq" MMX;
    }
    /// Bitwise and with the first operand's complement.
    mmx::reversed(packed::bitwise(VBin::Andn)) {
        "NP 0F DF /r" "pandn Pq, Qq" MMX;
    }
    /// Interleave the lower lanes of 8 bits.
    mmx::interleave_low(Lane::L8) {
        "NP 0F 60 /r" "punpcklbw Pq, Qd" MMX;
    }
    /// Interleave the upper lanes of 8 bits.
    mmx::interleave_high(Lane::L8) {
        "NP 0F 68 /r" "punpckhbw Pq, Qq" MMX;
    }
    /// Interleave the lower lanes of 16 bits.
    mmx::interleave_low(Lane::L16) {
        "NP 0F 61 /r" "punpcklwd Pq, Qd" MMX;
    }
    /// Interleave the upper lanes of 16 bits.
    mmx::interleave_high(Lane::L16) {
        "NP 0F 69 /r" "punpckhwd Pq, Qq" MMX;
    }
    /// Interleave the lower lanes of 32 bits.
    mmx::interleave_low(Lane::L32) {
        "NP 0F 62 /r" "punpckldq Pq, Qd" MMX;
    }
    /// Interleave the upper lanes of 32 bits.
    mmx::interleave_high(Lane::L32) {
        "NP 0F 6A /r" "punpckhdq Pq, Qq" MMX;
    }
    /// Sums of adjacent products.
    mmx::binary(Vop::Mix(VMix::MulAdd16)) {
        "NP 0F F5 /r" "pmaddwd Pq, Qq" MMX;
    }
    /// Sums of absolute differences.
    mmx::binary(Vop::Mix(VMix::SumAbs)) {
        "NP 0F F6 /r" "psadbw Pq, Qq" SSE;
    }
    /// Products of even lanes.
    mmx::binary(Vop::Mix(VMix::MulEvenU)) {
        "NP 0F F4 /r" "pmuludq Pq, Qq" SSE2;
    }
    /// Pack with signed saturation.
    mmx::halves(Vop::Mix(VMix::PackS16)) {
        "NP 0F 63 /r" "packsswb Pq, Qq" MMX;
    }
    /// Pack with unsigned saturation.
    mmx::halves(Vop::Mix(VMix::PackU16)) {
        "NP 0F 67 /r" "packuswb Pq, Qq" MMX;
    }
    /// Pack with signed saturation.
    mmx::halves(Vop::Mix(VMix::PackS32)) {
        "NP 0F 6B /r" "packssdw Pq, Qq" MMX;
    }
    /// Shift lanes of 16 bits right.
    mmx::binary(Vop::ShiftBy(VShift::Shr, Lane::L16)) {
        "NP 0F D1 /r" "psrlw Pq, Qq" MMX;
    }
    /// Shift lanes of 16 bits right by a constant.
    mmx::shift_imm(VShift::Shr, Lane::L16) {
        "NP 0F 71 /2 reg" "psrlw Nq, Ib" MMX;
    }
    /// Shift lanes of 32 bits right.
    mmx::binary(Vop::ShiftBy(VShift::Shr, Lane::L32)) {
        "NP 0F D2 /r" "psrld Pq, Qq" MMX;
    }
    /// Shift lanes of 32 bits right by a constant.
    mmx::shift_imm(VShift::Shr, Lane::L32) {
        "NP 0F 72 /2 reg" "psrld Nq, Ib" MMX;
    }
    /// Shift lanes of 64 bits right.
    mmx::binary(Vop::ShiftBy(VShift::Shr, Lane::L64)) {
        "NP 0F D3 /r" "psrlq Pq, Qq" MMX;
    }
    /// Shift lanes of 64 bits right by a constant.
    mmx::shift_imm(VShift::Shr, Lane::L64) {
        "NP 0F 73 /2 reg" "psrlq Nq, Ib" MMX;
    }
    /// Shift lanes of 16 bits right with copies of the sign.
    mmx::binary(Vop::ShiftBy(VShift::Sar, Lane::L16)) {
        "NP 0F E1 /r" "psraw Pq, Qq" MMX;
    }
    /// Shift lanes of 16 bits right with copies of the sign by a constant.
    mmx::shift_imm(VShift::Sar, Lane::L16) {
        "NP 0F 71 /4 reg" "psraw Nq, Ib" MMX;
    }
    /// Shift lanes of 32 bits right with copies of the sign.
    mmx::binary(Vop::ShiftBy(VShift::Sar, Lane::L32)) {
        "NP 0F E2 /r" "psrad Pq, Qq" MMX;
    }
    /// Shift lanes of 32 bits right with copies of the sign by a constant.
    mmx::shift_imm(VShift::Sar, Lane::L32) {
        "NP 0F 72 /4 reg" "psrad Nq, Ib" MMX;
    }
    /// Shift lanes of 16 bits left.
    mmx::binary(Vop::ShiftBy(VShift::Shl, Lane::L16)) {
        "NP 0F F1 /r" "psllw Pq, Qq" MMX;
    }
    /// Shift lanes of 16 bits left by a constant.
    mmx::shift_imm(VShift::Shl, Lane::L16) {
        "NP 0F 71 /6 reg" "psllw Nq, Ib" MMX;
    }
    /// Shift lanes of 32 bits left.
    mmx::binary(Vop::ShiftBy(VShift::Shl, Lane::L32)) {
        "NP 0F F2 /r" "pslld Pq, Qq" MMX;
    }
    /// Shift lanes of 32 bits left by a constant.
    mmx::shift_imm(VShift::Shl, Lane::L32) {
        "NP 0F 72 /6 reg" "pslld Nq, Ib" MMX;
    }
    /// Shift lanes of 64 bits left.
    mmx::binary(Vop::ShiftBy(VShift::Shl, Lane::L64)) {
        "NP 0F F3 /r" "psllq Pq, Qq" MMX;
    }
    /// Shift lanes of 64 bits left by a constant.
    mmx::shift_imm(VShift::Shl, Lane::L64) {
        "NP 0F 73 /6 reg" "psllq Nq, Ib" MMX;
    }
    /// Lanes of 16 bits in another order.
    mmx::shuffle {
        "NP 0F 70 /r" "pshufw Pq, Qq, Ib" SSE;
    }
    /// A lane of 16 bits as a number.
    mmx::extract_word {
        "NP 0F C5 /r reg" "pextrw Gd, Nq, Ib" SSE;
    }
    /// A lane of 16 bits replaced.
    mmx::insert_word {
        "NP 0F C4 /r" "pinsrw Pq, Ew, Ib" SSE;
    }
    /// The top bits of all bytes.
    mmx::mask {
        "NP 0F D7 /r reg" "pmovmskb Gd, Nq" SSE;
    }
    /// Store the bytes that a mask chooses.
    mmx::store_masked {
        "NP 0F F7 /r reg" "maskmovq Pq, Nq" SSE;
    }
    /// Move from a general register or memory.
    mmx::from_general<T> {
        "NP 0F 6E /r" "movd/movd/movq Pq, Ey" MMX;
    }
    /// Move to a general register or memory.
    mmx::to_general<T> {
        "NP 0F 7E /r" "movd/movd/movq Ey, Pq" MMX;
    }
    /// Move to an MMX register.
    mmx::load {
        "NP 0F 6F /r" "movq Pq, Qq" MMX;
    }
    /// Move from an MMX register.
    mmx::store {
        "NP 0F 7F /r" "movq Qq, Pq" MMX;
        "NP 0F E7 /r mem" "movntq Mq, Pq" SSE;
    }
    /// Move from an MMX register to a vector register.
    mmx::to_vector {
        "F3 0F D6 /r reg" "movq2dq Vx, Nq" SSE2;
    }
    /// Move from a vector register to an MMX register.
    mmx::from_vector {
        "F2 0F D6 /r reg" "movdq2q Pq, Ux" SSE2;
    }
    /// Leave MMX.
    mmx::emms {
        "NP 0F 77" "emms" MMX;
    }
    /// Convert integers.
    fp::from_mmx(Fmt::S) {
        "NP 0F 2A /r" "cvtpi2ps Vx, Qq" SSE;
    }
    /// Convert to integers.
    fp::to_mmx(Fmt::S, fp::CURRENT) {
        "NP 0F 2D /r" "cvtps2pi Pq, Wq" SSE;
    }
    /// Convert to integers towards zero.
    fp::to_mmx(Fmt::S, fp::TRUNCATE) {
        "NP 0F 2C /r" "cvttps2pi Pq, Wq" SSE;
    }
    /// Convert integers.
    fp::from_mmx(Fmt::D) {
        "66 0F 2A /r" "cvtpi2pd Vx, Qq" SSE2;
    }
    /// Convert to integers.
    fp::to_mmx(Fmt::D, fp::CURRENT) {
        "66 0F 2D /r" "cvtpd2pi Pq, Wx" SSE2;
    }
    /// Convert to integers towards zero.
    fp::to_mmx(Fmt::D, fp::TRUNCATE) {
        "66 0F 2C /r" "cvttpd2pi Pq, Wx" SSE2;
    }
}
