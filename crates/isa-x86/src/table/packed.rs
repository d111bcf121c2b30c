//! Integers in the lanes of vectors, and what treats vectors as bits: SSE and SSE2.

use crate::insn::packed;
use trine_ir::{Lane, VBin, VMix, VShift, Vop};

trine_rows::x86_rows! {
    /// Add lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::Add, Lane::L8)) {
        "66 0F FC /r" "paddb Vx, Wx" SSE2;
    }
    /// Add lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::Add, Lane::L16)) {
        "66 0F FD /r" "paddw Vx, Wx" SSE2;
    }
    /// Add lanes of 32 bits.
    packed::binary(Vop::Bin(VBin::Add, Lane::L32)) {
        "66 0F FE /r" "paddd Vx, Wx" SSE2;
    }
    /// Add lanes of 64 bits.
    packed::binary(Vop::Bin(VBin::Add, Lane::L64)) {
        "66 0F D4 /r" "paddq Vx, Wx" SSE2;
    }
    /// Subtract lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::Sub, Lane::L8)) {
        "66 0F F8 /r" "psubb Vx, Wx" SSE2;
    }
    /// Subtract lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::Sub, Lane::L16)) {
        "66 0F F9 /r" "psubw Vx, Wx" SSE2;
    }
    /// Subtract lanes of 32 bits.
    packed::binary(Vop::Bin(VBin::Sub, Lane::L32)) {
        "66 0F FA /r" "psubd Vx, Wx" SSE2;
    }
    /// Subtract lanes of 64 bits.
    packed::binary(Vop::Bin(VBin::Sub, Lane::L64)) {
        "66 0F FB /r" "psubq Vx, Wx" SSE2;
    }
    /// Add signed lanes, saturating of 8 bits.
    packed::binary(Vop::Bin(VBin::AddS, Lane::L8)) {
        "66 0F EC /r" "paddsb Vx, Wx" SSE2;
    }
    /// Add signed lanes, saturating of 16 bits.
    packed::binary(Vop::Bin(VBin::AddS, Lane::L16)) {
        "66 0F ED /r" "paddsw Vx, Wx" SSE2;
    }
    /// Add unsigned lanes, saturating of 8 bits.
    packed::binary(Vop::Bin(VBin::AddU, Lane::L8)) {
        "66 0F DC /r" "paddusb Vx, Wx" SSE2;
    }
    /// Add unsigned lanes, saturating of 16 bits.
    packed::binary(Vop::Bin(VBin::AddU, Lane::L16)) {
        "66 0F DD /r" "paddusw Vx, Wx" SSE2;
    }
    /// Subtract signed lanes, saturating of 8 bits.
    packed::binary(Vop::Bin(VBin::SubS, Lane::L8)) {
        "66 0F E8 /r" "psubsb Vx, Wx" SSE2;
    }
    /// Subtract signed lanes, saturating of 16 bits.
    packed::binary(Vop::Bin(VBin::SubS, Lane::L16)) {
        "66 0F E9 /r" "psubsw Vx, Wx" SSE2;
    }
    /// Subtract unsigned lanes, saturating of 8 bits.
    packed::binary(Vop::Bin(VBin::SubU, Lane::L8)) {
        "66 0F D8 /r" "psubusb Vx, Wx" SSE2;
    }
    /// Subtract unsigned lanes, saturating of 16 bits.
    packed::binary(Vop::Bin(VBin::SubU, Lane::L16)) {
        "66 0F D9 /r" "psubusw Vx, Wx" SSE2;
    }
    /// Multiply lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::Mul, Lane::L16)) {
        "66 0F D5 /r" "pmullw Vx, Wx" SSE2;
    }
    /// High halves of signed products of 16 bits.
    packed::binary(Vop::Bin(VBin::MulhS, Lane::L16)) {
        "66 0F E5 /r" "pmulhw Vx, Wx" SSE2;
    }
    /// High halves of unsigned products of 16 bits.
    packed::binary(Vop::Bin(VBin::MulhU, Lane::L16)) {
        "66 0F E4 /r" "pmulhuw Vx, Wx" SSE2;
    }
    /// Smaller unsigned lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::MinU, Lane::L8)) {
        "66 0F DA /r" "pminub Vx, Wx" SSE2;
    }
    /// Larger unsigned lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::MaxU, Lane::L8)) {
        "66 0F DE /r" "pmaxub Vx, Wx" SSE2;
    }
    /// Smaller signed lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::MinS, Lane::L16)) {
        "66 0F EA /r" "pminsw Vx, Wx" SSE2;
    }
    /// Larger signed lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::MaxS, Lane::L16)) {
        "66 0F EE /r" "pmaxsw Vx, Wx" SSE2;
    }
    /// Average lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::Avg, Lane::L8)) {
        "66 0F E0 /r" "pavgb Vx, Wx" SSE2;
    }
    /// Average lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::Avg, Lane::L16)) {
        "66 0F E3 /r" "pavgw Vx, Wx" SSE2;
    }
    /// Compare lanes for equality of 8 bits.
    packed::binary(Vop::Bin(VBin::Eq, Lane::L8)) {
        "66 0F 74 /r" "pcmpeqb Vx, Wx" SSE2;
    }
    /// Compare lanes for equality of 16 bits.
    packed::binary(Vop::Bin(VBin::Eq, Lane::L16)) {
        "66 0F 75 /r" "pcmpeqw Vx, Wx" SSE2;
    }
    /// Compare lanes for equality of 32 bits.
    packed::binary(Vop::Bin(VBin::Eq, Lane::L32)) {
        "66 0F 76 /r" "pcmpeqd Vx, Wx" SSE2;
    }
    /// Compare signed lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::GtS, Lane::L8)) {
        "66 0F 64 /r" "pcmpgtb Vx, Wx" SSE2;
    }
    /// Compare signed lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::GtS, Lane::L16)) {
        "66 0F 65 /r" "pcmpgtw Vx, Wx" SSE2;
    }
    /// Compare signed lanes of 32 bits.
    packed::binary(Vop::Bin(VBin::GtS, Lane::L32)) {
        "66 0F 66 /r" "pcmpgtd Vx, Wx" SSE2;
    }
    /// Bitwise and.
    packed::binary(packed::bitwise(VBin::And)) {
        "66 0F DB /r" "pand Vx, Wx" SSE2;
        "NP 0F 54 /r" "andps Vx, Wx" SSE;
        "66 0F 54 /r" "andpd Vx, Wx" SSE2;
    }
    /// Bitwise or.
    packed::binary(packed::bitwise(VBin::Or)) {
        "66 0F EB /r" "por Vx, Wx" SSE2;
        "NP 0F 56 /r" "orps Vx, Wx" SSE;
        "66 0F 56 /r" "orpd Vx, Wx" SSE2;
    }
    /// Bitwise exclusive or.
    packed::binary(packed::bitwise(VBin::Xor)) {
        "66 0F EF /r" "pxor Vx, Wx" SSE2;
        "NP 0F 57 /r" "xorps Vx, Wx" SSE;
        "66 0F 57 /r" "xorpd Vx, Wx" SSE2;
    }
    /// Bitwise and with the first operand's complement.
    packed::reversed(packed::bitwise(VBin::Andn)) {
        "66 0F DF /r" "pandn Vx, Wx" SSE2;
        "NP 0F 55 /r" "andnps Vx, Wx" SSE;
        "66 0F 55 /r" "andnpd Vx, Wx" SSE2;
    }
    /// Interleave the lower lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::Low, Lane::L8)) {
        "66 0F 60 /r" "punpcklbw Vx, Wx" SSE2;
    }
    /// Interleave the upper lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::High, Lane::L8)) {
        "66 0F 68 /r" "punpckhbw Vx, Wx" SSE2;
    }
    /// Interleave the lower lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::Low, Lane::L16)) {
        "66 0F 61 /r" "punpcklwd Vx, Wx" SSE2;
    }
    /// Interleave the upper lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::High, Lane::L16)) {
        "66 0F 69 /r" "punpckhwd Vx, Wx" SSE2;
    }
    /// Interleave the lower lanes of 32 bits.
    packed::binary(Vop::Bin(VBin::Low, Lane::L32)) {
        "66 0F 62 /r" "punpckldq Vx, Wx" SSE2;
        "NP 0F 14 /r" "unpcklps Vx, Wx" SSE;
    }
    /// Interleave the upper lanes of 32 bits.
    packed::binary(Vop::Bin(VBin::High, Lane::L32)) {
        "66 0F 6A /r" "punpckhdq Vx, Wx" SSE2;
        "NP 0F 15 /r" "unpckhps Vx, Wx" SSE;
    }
    /// Interleave the lower halves.
    packed::binary(Vop::Bin(VBin::Low, Lane::L64)) {
        "66 0F 6C /r" "punpcklqdq Vx, Wx" SSE2;
        "66 0F 14 /r" "unpcklpd Vx, Wx" SSE2;
    }
    /// Interleave the upper halves.
    packed::binary(Vop::Bin(VBin::High, Lane::L64)) {
        "66 0F 6D /r" "punpckhqdq Vx, Wx" SSE2;
        "66 0F 15 /r" "unpckhpd Vx, Wx" SSE2;
    }
    /// Sums of adjacent products.
    packed::binary(Vop::Mix(VMix::MulAdd16)) {
        "66 0F F5 /r" "pmaddwd Vx, Wx" SSE2;
    }
    /// Sums of absolute differences.
    packed::binary(Vop::Mix(VMix::SumAbs)) {
        "66 0F F6 /r" "psadbw Vx, Wx" SSE2;
    }
    /// Products of even lanes.
    packed::binary(Vop::Mix(VMix::MulEvenU)) {
        "66 0F F4 /r" "pmuludq Vx, Wx" SSE2;
    }
    /// Pack with signed saturation.
    packed::binary(Vop::Mix(VMix::PackS16)) {
        "66 0F 63 /r" "packsswb Vx, Wx" SSE2;
    }
    /// Pack with unsigned saturation.
    packed::binary(Vop::Mix(VMix::PackU16)) {
        "66 0F 67 /r" "packuswb Vx, Wx" SSE2;
    }
    /// Pack with signed saturation.
    packed::binary(Vop::Mix(VMix::PackS32)) {
        "66 0F 6B /r" "packssdw Vx, Wx" SSE2;
    }
    /// Shift lanes of 16 bits right.
    packed::binary(Vop::ShiftBy(VShift::Shr, Lane::L16)) {
        "66 0F D1 /r" "psrlw Vx, Wx" SSE2;
    }
    /// Shift lanes of 16 bits right by a constant.
    packed::shift_imm(VShift::Shr, Lane::L16) {
        "66 0F 71 /2 reg" "psrlw Ux, Ib" SSE2;
    }
    /// Shift lanes of 32 bits right.
    packed::binary(Vop::ShiftBy(VShift::Shr, Lane::L32)) {
        "66 0F D2 /r" "psrld Vx, Wx" SSE2;
    }
    /// Shift lanes of 32 bits right by a constant.
    packed::shift_imm(VShift::Shr, Lane::L32) {
        "66 0F 72 /2 reg" "psrld Ux, Ib" SSE2;
    }
    /// Shift lanes of 64 bits right.
    packed::binary(Vop::ShiftBy(VShift::Shr, Lane::L64)) {
        "66 0F D3 /r" "psrlq Vx, Wx" SSE2;
    }
    /// Shift lanes of 64 bits right by a constant.
    packed::shift_imm(VShift::Shr, Lane::L64) {
        "66 0F 73 /2 reg" "psrlq Ux, Ib" SSE2;
    }
    /// Shift lanes of 16 bits right with copies of the sign.
    packed::binary(Vop::ShiftBy(VShift::Sar, Lane::L16)) {
        "66 0F E1 /r" "psraw Vx, Wx" SSE2;
    }
    /// Shift lanes of 16 bits right with copies of the sign by a constant.
    packed::shift_imm(VShift::Sar, Lane::L16) {
        "66 0F 71 /4 reg" "psraw Ux, Ib" SSE2;
    }
    /// Shift lanes of 32 bits right with copies of the sign.
    packed::binary(Vop::ShiftBy(VShift::Sar, Lane::L32)) {
        "66 0F E2 /r" "psrad Vx, Wx" SSE2;
    }
    /// Shift lanes of 32 bits right with copies of the sign by a constant.
    packed::shift_imm(VShift::Sar, Lane::L32) {
        "66 0F 72 /4 reg" "psrad Ux, Ib" SSE2;
    }
    /// Shift lanes of 16 bits left.
    packed::binary(Vop::ShiftBy(VShift::Shl, Lane::L16)) {
        "66 0F F1 /r" "psllw Vx, Wx" SSE2;
    }
    /// Shift lanes of 16 bits left by a constant.
    packed::shift_imm(VShift::Shl, Lane::L16) {
        "66 0F 71 /6 reg" "psllw Ux, Ib" SSE2;
    }
    /// Shift lanes of 32 bits left.
    packed::binary(Vop::ShiftBy(VShift::Shl, Lane::L32)) {
        "66 0F F2 /r" "pslld Vx, Wx" SSE2;
    }
    /// Shift lanes of 32 bits left by a constant.
    packed::shift_imm(VShift::Shl, Lane::L32) {
        "66 0F 72 /6 reg" "pslld Ux, Ib" SSE2;
    }
    /// Shift lanes of 64 bits left.
    packed::binary(Vop::ShiftBy(VShift::Shl, Lane::L64)) {
        "66 0F F3 /r" "psllq Vx, Wx" SSE2;
    }
    /// Shift lanes of 64 bits left by a constant.
    packed::shift_imm(VShift::Shl, Lane::L64) {
        "66 0F 73 /6 reg" "psllq Ux, Ib" SSE2;
    }
    /// Shift right by bytes.
    packed::shift_bytes_right {
        "66 0F 73 /3 reg" "psrldq Ux, Ib" SSE2;
    }
    /// Shift left by bytes.
    packed::shift_bytes_left {
        "66 0F 73 /7 reg" "pslldq Ux, Ib" SSE2;
    }
    /// Lanes of 32 bits in another order.
    packed::shuffle {
        "66 0F 70 /r" "pshufd Vx, Wx, Ib" SSE2;
    }
    /// Upper lanes of 16 bits in another order.
    packed::shuffle_half(true) {
        "F3 0F 70 /r" "pshufhw Vx, Wx, Ib" SSE2;
    }
    /// Lower lanes of 16 bits in another order.
    packed::shuffle_half(false) {
        "F2 0F 70 /r" "pshuflw Vx, Wx, Ib" SSE2;
    }
    /// Lanes chosen from both vectors.
    packed::shuffle_two(Lane::L32) {
        "NP 0F C6 /r" "shufps Vx, Wx, Ib" SSE;
    }
    /// Lanes chosen from both vectors.
    packed::shuffle_two(Lane::L64) {
        "66 0F C6 /r" "shufpd Vx, Wx, Ib" SSE2;
    }
    /// A lane of 16 bits as a number.
    packed::extract_word {
        "66 0F C5 /r reg" "pextrw Gd, Ux, Ib" SSE2;
    }
    /// A lane of 16 bits replaced.
    packed::insert_word {
        "66 0F C4 /r" "pinsrw Vx, Ew, Ib" SSE2;
    }
    /// The top bits of all bytes.
    packed::mask(Lane::L8) {
        "66 0F D7 /r reg" "pmovmskb Gd, Ux" SSE2;
    }
    /// The top bits of all lanes.
    packed::mask(Lane::L32) {
        "NP 0F 50 /r reg" "movmskps Gd, Ux" SSE;
    }
    /// The top bits of both lanes.
    packed::mask(Lane::L64) {
        "66 0F 50 /r reg" "movmskpd Gd, Ux" SSE2;
    }
    /// Store the bytes that a mask chooses.
    packed::store_masked {
        "66 0F F7 /r reg" "maskmovdqu Vx, Ux" SSE2;
    }
}
