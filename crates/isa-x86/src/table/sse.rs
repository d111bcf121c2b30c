//! MMX and SSE to SSE3.

use crate::insn::{fp, mmx, packed, vec_mov};
use trine_ir::{Fmt, Fp, IntTy, Lane, Lanes, VBin, VMix, VShift, Vop};

trine_rows::x86_rows! {
    /// Add lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::Add, Lane::L8)) {
        "66 0F FC /r" "paddb Vx, Wx" SSE2;
    }
    /// Add lanes of 8 bits.
    mmx::binary(Vop::Bin(VBin::Add, Lane::L8)) {
        "NP 0F FC /r" "paddb Pq, Qq" MMX;
    }
    /// Add lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::Add, Lane::L16)) {
        "66 0F FD /r" "paddw Vx, Wx" SSE2;
    }
    /// Add lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::Add, Lane::L16)) {
        "NP 0F FD /r" "paddw Pq, Qq" MMX;
    }
    /// Add lanes of 32 bits.
    packed::binary(Vop::Bin(VBin::Add, Lane::L32)) {
        "66 0F FE /r" "paddd Vx, Wx" SSE2;
    }
    /// Add lanes of 32 bits.
    mmx::binary(Vop::Bin(VBin::Add, Lane::L32)) {
        "NP 0F FE /r" "paddd Pq, Qq" MMX;
    }
    /// Add lanes of 64 bits.
    packed::binary(Vop::Bin(VBin::Add, Lane::L64)) {
        "66 0F D4 /r" "paddq Vx, Wx" SSE2;
    }
    /// Add lanes of 64 bits.
    mmx::binary(Vop::Bin(VBin::Add, Lane::L64)) {
        "NP 0F D4 /r" "paddq Pq, Qq" SSE2;
    }
    /// Subtract lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::Sub, Lane::L8)) {
        "66 0F F8 /r" "psubb Vx, Wx" SSE2;
    }
    /// Subtract lanes of 8 bits.
    mmx::binary(Vop::Bin(VBin::Sub, Lane::L8)) {
        "NP 0F F8 /r" "psubb Pq, Qq" MMX;
    }
    /// Subtract lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::Sub, Lane::L16)) {
        "66 0F F9 /r" "psubw Vx, Wx" SSE2;
    }
    /// Subtract lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::Sub, Lane::L16)) {
        "NP 0F F9 /r" "psubw Pq, Qq" MMX;
    }
    /// Subtract lanes of 32 bits.
    packed::binary(Vop::Bin(VBin::Sub, Lane::L32)) {
        "66 0F FA /r" "psubd Vx, Wx" SSE2;
    }
    /// Subtract lanes of 32 bits.
    mmx::binary(Vop::Bin(VBin::Sub, Lane::L32)) {
        "NP 0F FA /r" "psubd Pq, Qq" MMX;
    }
    /// Subtract lanes of 64 bits.
    packed::binary(Vop::Bin(VBin::Sub, Lane::L64)) {
        "66 0F FB /r" "psubq Vx, Wx" SSE2;
    }
    /// Subtract lanes of 64 bits.
    mmx::binary(Vop::Bin(VBin::Sub, Lane::L64)) {
        "NP 0F FB /r" "psubq Pq, Qq" SSE2;
    }
    /// Add signed lanes, saturating of 8 bits.
    packed::binary(Vop::Bin(VBin::AddS, Lane::L8)) {
        "66 0F EC /r" "paddsb Vx, Wx" SSE2;
    }
    /// Add signed lanes, saturating of 8 bits.
    mmx::binary(Vop::Bin(VBin::AddS, Lane::L8)) {
        "NP 0F EC /r" "paddsb Pq, Qq" MMX;
    }
    /// Add signed lanes, saturating of 16 bits.
    packed::binary(Vop::Bin(VBin::AddS, Lane::L16)) {
        "66 0F ED /r" "paddsw Vx, Wx" SSE2;
    }
    /// Add signed lanes, saturating of 16 bits.
    mmx::binary(Vop::Bin(VBin::AddS, Lane::L16)) {
        "NP 0F ED /r" "paddsw Pq, Qq" MMX;
    }
    /// Add unsigned lanes, saturating of 8 bits.
    packed::binary(Vop::Bin(VBin::AddU, Lane::L8)) {
        "66 0F DC /r" "paddusb Vx, Wx" SSE2;
    }
    /// Add unsigned lanes, saturating of 8 bits.
    mmx::binary(Vop::Bin(VBin::AddU, Lane::L8)) {
        "NP 0F DC /r" "paddusb Pq, Qq" MMX;
    }
    /// Add unsigned lanes, saturating of 16 bits.
    packed::binary(Vop::Bin(VBin::AddU, Lane::L16)) {
        "66 0F DD /r" "paddusw Vx, Wx" SSE2;
    }
    /// Add unsigned lanes, saturating of 16 bits.
    mmx::binary(Vop::Bin(VBin::AddU, Lane::L16)) {
        "NP 0F DD /r" "paddusw Pq, Qq" MMX;
    }
    /// Subtract signed lanes, saturating of 8 bits.
    packed::binary(Vop::Bin(VBin::SubS, Lane::L8)) {
        "66 0F E8 /r" "psubsb Vx, Wx" SSE2;
    }
    /// Subtract signed lanes, saturating of 8 bits.
    mmx::binary(Vop::Bin(VBin::SubS, Lane::L8)) {
        "NP 0F E8 /r" "psubsb Pq, Qq" MMX;
    }
    /// Subtract signed lanes, saturating of 16 bits.
    packed::binary(Vop::Bin(VBin::SubS, Lane::L16)) {
        "66 0F E9 /r" "psubsw Vx, Wx" SSE2;
    }
    /// Subtract signed lanes, saturating of 16 bits.
    mmx::binary(Vop::Bin(VBin::SubS, Lane::L16)) {
        "NP 0F E9 /r" "psubsw Pq, Qq" MMX;
    }
    /// Subtract unsigned lanes, saturating of 8 bits.
    packed::binary(Vop::Bin(VBin::SubU, Lane::L8)) {
        "66 0F D8 /r" "psubusb Vx, Wx" SSE2;
    }
    /// Subtract unsigned lanes, saturating of 8 bits.
    mmx::binary(Vop::Bin(VBin::SubU, Lane::L8)) {
        "NP 0F D8 /r" "psubusb Pq, Qq" MMX;
    }
    /// Subtract unsigned lanes, saturating of 16 bits.
    packed::binary(Vop::Bin(VBin::SubU, Lane::L16)) {
        "66 0F D9 /r" "psubusw Vx, Wx" SSE2;
    }
    /// Subtract unsigned lanes, saturating of 16 bits.
    mmx::binary(Vop::Bin(VBin::SubU, Lane::L16)) {
        "NP 0F D9 /r" "psubusw Pq, Qq" MMX;
    }
    /// Multiply lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::Mul, Lane::L16)) {
        "66 0F D5 /r" "pmullw Vx, Wx" SSE2;
    }
    /// Multiply lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::Mul, Lane::L16)) {
        "NP 0F D5 /r" "pmullw Pq, Qq" MMX;
    }
    /// High halves of signed products of 16 bits.
    packed::binary(Vop::Bin(VBin::MulhS, Lane::L16)) {
        "66 0F E5 /r" "pmulhw Vx, Wx" SSE2;
    }
    /// High halves of signed products of 16 bits.
    mmx::binary(Vop::Bin(VBin::MulhS, Lane::L16)) {
        "NP 0F E5 /r" "pmulhw Pq, Qq" MMX;
    }
    /// High halves of unsigned products of 16 bits.
    packed::binary(Vop::Bin(VBin::MulhU, Lane::L16)) {
        "66 0F E4 /r" "pmulhuw Vx, Wx" SSE2;
    }
    /// High halves of unsigned products of 16 bits.
    mmx::binary(Vop::Bin(VBin::MulhU, Lane::L16)) {
        "NP 0F E4 /r" "pmulhuw Pq, Qq" SSE;
    }
    /// Smaller unsigned lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::MinU, Lane::L8)) {
        "66 0F DA /r" "pminub Vx, Wx" SSE2;
    }
    /// Smaller unsigned lanes of 8 bits.
    mmx::binary(Vop::Bin(VBin::MinU, Lane::L8)) {
        "NP 0F DA /r" "pminub Pq, Qq" SSE;
    }
    /// Larger unsigned lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::MaxU, Lane::L8)) {
        "66 0F DE /r" "pmaxub Vx, Wx" SSE2;
    }
    /// Larger unsigned lanes of 8 bits.
    mmx::binary(Vop::Bin(VBin::MaxU, Lane::L8)) {
        "NP 0F DE /r" "pmaxub Pq, Qq" SSE;
    }
    /// Smaller signed lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::MinS, Lane::L16)) {
        "66 0F EA /r" "pminsw Vx, Wx" SSE2;
    }
    /// Smaller signed lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::MinS, Lane::L16)) {
        "NP 0F EA /r" "pminsw Pq, Qq" SSE;
    }
    /// Larger signed lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::MaxS, Lane::L16)) {
        "66 0F EE /r" "pmaxsw Vx, Wx" SSE2;
    }
    /// Larger signed lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::MaxS, Lane::L16)) {
        "NP 0F EE /r" "pmaxsw Pq, Qq" SSE;
    }
    /// Average lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::Avg, Lane::L8)) {
        "66 0F E0 /r" "pavgb Vx, Wx" SSE2;
    }
    /// Average lanes of 8 bits.
    mmx::binary(Vop::Bin(VBin::Avg, Lane::L8)) {
        "NP 0F E0 /r" "pavgb Pq, Qq" SSE;
    }
    /// Average lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::Avg, Lane::L16)) {
        "66 0F E3 /r" "pavgw Vx, Wx" SSE2;
    }
    /// Average lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::Avg, Lane::L16)) {
        "NP 0F E3 /r" "pavgw Pq, Qq" SSE;
    }
    /// Compare lanes for equality of 8 bits.
    packed::binary(Vop::Bin(VBin::Eq, Lane::L8)) {
        "66 0F 74 /r" "pcmpeqb Vx, Wx" SSE2;
    }
    /// Compare lanes for equality of 8 bits.
    mmx::binary(Vop::Bin(VBin::Eq, Lane::L8)) {
        "NP 0F 74 /r" "pcmpeqb Pq, Qq" MMX;
    }
    /// Compare lanes for equality of 16 bits.
    packed::binary(Vop::Bin(VBin::Eq, Lane::L16)) {
        "66 0F 75 /r" "pcmpeqw Vx, Wx" SSE2;
    }
    /// Compare lanes for equality of 16 bits.
    mmx::binary(Vop::Bin(VBin::Eq, Lane::L16)) {
        "NP 0F 75 /r" "pcmpeqw Pq, Qq" MMX;
    }
    /// Compare lanes for equality of 32 bits.
    packed::binary(Vop::Bin(VBin::Eq, Lane::L32)) {
        "66 0F 76 /r" "pcmpeqd Vx, Wx" SSE2;
    }
    /// Compare lanes for equality of 32 bits.
    mmx::binary(Vop::Bin(VBin::Eq, Lane::L32)) {
        "NP 0F 76 /r" "pcmpeqd Pq, Qq" MMX;
    }
    /// Compare signed lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::GtS, Lane::L8)) {
        "66 0F 64 /r" "pcmpgtb Vx, Wx" SSE2;
    }
    /// Compare signed lanes of 8 bits.
    mmx::binary(Vop::Bin(VBin::GtS, Lane::L8)) {
        "NP 0F 64 /r" "pcmpgtb Pq, Qq" MMX;
    }
    /// Compare signed lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::GtS, Lane::L16)) {
        "66 0F 65 /r" "pcmpgtw Vx, Wx" SSE2;
    }
    /// Compare signed lanes of 16 bits.
    mmx::binary(Vop::Bin(VBin::GtS, Lane::L16)) {
        "NP 0F 65 /r" "pcmpgtw Pq, Qq" MMX;
    }
    /// Compare signed lanes of 32 bits.
    packed::binary(Vop::Bin(VBin::GtS, Lane::L32)) {
        "66 0F 66 /r" "pcmpgtd Vx, Wx" SSE2;
    }
    /// Compare signed lanes of 32 bits.
    mmx::binary(Vop::Bin(VBin::GtS, Lane::L32)) {
        "NP 0F 66 /r" "pcmpgtd Pq, Qq" MMX;
    }
    /// Bitwise and.
    packed::binary(packed::bitwise(VBin::And)) {
        "66 0F DB /r" "pand Vx, Wx" SSE2;
        "NP 0F 54 /r" "andps Vx, Wx" SSE;
        "66 0F 54 /r" "andpd Vx, Wx" SSE2;
    }
    /// Bitwise and.
    mmx::binary(packed::bitwise(VBin::And)) {
        "NP 0F DB /r" "pand Pq, Qq" MMX;
    }
    /// Bitwise or.
    packed::binary(packed::bitwise(VBin::Or)) {
        "66 0F EB /r" "por Vx, Wx" SSE2;
        "NP 0F 56 /r" "orps Vx, Wx" SSE;
        "66 0F 56 /r" "orpd Vx, Wx" SSE2;
    }
    /// Bitwise or.
    mmx::binary(packed::bitwise(VBin::Or)) {
        "NP 0F EB /r" "por Pq, Qq" MMX;
    }
    /// Bitwise exclusive or.
    packed::binary(packed::bitwise(VBin::Xor)) {
        "66 0F EF /r" "pxor Vx, Wx" SSE2;
        "NP 0F 57 /r" "xorps Vx, Wx" SSE;
        "66 0F 57 /r" "xorpd Vx, Wx" SSE2;
    }
    /// Bitwise exclusive or.
    mmx::binary(packed::bitwise(VBin::Xor)) {
        "NP 0F EF /r" "pxor Pq, Qq" MMX;
    }
    /// Bitwise and with the first operand's complement.
    packed::reversed(packed::bitwise(VBin::Andn)) {
        "66 0F DF /r" "pandn Vx, Wx" SSE2;
        "NP 0F 55 /r" "andnps Vx, Wx" SSE;
        "66 0F 55 /r" "andnpd Vx, Wx" SSE2;
    }
    /// Bitwise and with the first operand's complement.
    mmx::reversed(packed::bitwise(VBin::Andn)) {
        "NP 0F DF /r" "pandn Pq, Qq" MMX;
    }
    /// Interleave the lower lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::Low, Lane::L8)) {
        "66 0F 60 /r" "punpcklbw Vx, Wx" SSE2;
    }
    /// Interleave the upper lanes of 8 bits.
    packed::binary(Vop::Bin(VBin::High, Lane::L8)) {
        "66 0F 68 /r" "punpckhbw Vx, Wx" SSE2;
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
    packed::binary(Vop::Bin(VBin::Low, Lane::L16)) {
        "66 0F 61 /r" "punpcklwd Vx, Wx" SSE2;
    }
    /// Interleave the upper lanes of 16 bits.
    packed::binary(Vop::Bin(VBin::High, Lane::L16)) {
        "66 0F 69 /r" "punpckhwd Vx, Wx" SSE2;
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
    packed::binary(Vop::Bin(VBin::Low, Lane::L32)) {
        "66 0F 62 /r" "punpckldq Vx, Wx" SSE2;
        "NP 0F 14 /r" "unpcklps Vx, Wx" SSE;
    }
    /// Interleave the upper lanes of 32 bits.
    packed::binary(Vop::Bin(VBin::High, Lane::L32)) {
        "66 0F 6A /r" "punpckhdq Vx, Wx" SSE2;
        "NP 0F 15 /r" "unpckhps Vx, Wx" SSE;
    }
    /// Interleave the lower lanes of 32 bits.
    mmx::interleave_low(Lane::L32) {
        "NP 0F 62 /r" "punpckldq Pq, Qd" MMX;
    }
    /// Interleave the upper lanes of 32 bits.
    mmx::interleave_high(Lane::L32) {
        "NP 0F 6A /r" "punpckhdq Pq, Qq" MMX;
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
    /// Sums of adjacent products.
    mmx::binary(Vop::Mix(VMix::MulAdd16)) {
        "NP 0F F5 /r" "pmaddwd Pq, Qq" MMX;
    }
    /// Sums of absolute differences.
    packed::binary(Vop::Mix(VMix::SumAbs)) {
        "66 0F F6 /r" "psadbw Vx, Wx" SSE2;
    }
    /// Sums of absolute differences.
    mmx::binary(Vop::Mix(VMix::SumAbs)) {
        "NP 0F F6 /r" "psadbw Pq, Qq" SSE;
    }
    /// Products of even lanes.
    packed::binary(Vop::Mix(VMix::MulEvenU)) {
        "66 0F F4 /r" "pmuludq Vx, Wx" SSE2;
    }
    /// Products of even lanes.
    mmx::binary(Vop::Mix(VMix::MulEvenU)) {
        "NP 0F F4 /r" "pmuludq Pq, Qq" SSE2;
    }
    /// Pack with signed saturation.
    packed::binary(Vop::Mix(VMix::PackS16)) {
        "66 0F 63 /r" "packsswb Vx, Wx" SSE2;
    }
    /// Pack with signed saturation.
    mmx::halves(Vop::Mix(VMix::PackS16)) {
        "NP 0F 63 /r" "packsswb Pq, Qq" MMX;
    }
    /// Pack with unsigned saturation.
    packed::binary(Vop::Mix(VMix::PackU16)) {
        "66 0F 67 /r" "packuswb Vx, Wx" SSE2;
    }
    /// Pack with unsigned saturation.
    mmx::halves(Vop::Mix(VMix::PackU16)) {
        "NP 0F 67 /r" "packuswb Pq, Qq" MMX;
    }
    /// Pack with signed saturation.
    packed::binary(Vop::Mix(VMix::PackS32)) {
        "66 0F 6B /r" "packssdw Vx, Wx" SSE2;
    }
    /// Pack with signed saturation.
    mmx::halves(Vop::Mix(VMix::PackS32)) {
        "NP 0F 6B /r" "packssdw Pq, Qq" MMX;
    }
    /// Shift lanes of 16 bits right.
    packed::binary(Vop::ShiftBy(VShift::Shr, Lane::L16)) {
        "66 0F D1 /r" "psrlw Vx, Wx" SSE2;
    }
    /// Shift lanes of 16 bits right.
    mmx::binary(Vop::ShiftBy(VShift::Shr, Lane::L16)) {
        "NP 0F D1 /r" "psrlw Pq, Qq" MMX;
    }
    /// Shift lanes of 16 bits right by a constant.
    packed::shift_imm(VShift::Shr, Lane::L16) {
        "66 0F 71 /2 reg" "psrlw Ux, Ib" SSE2;
    }
    /// Shift lanes of 16 bits right by a constant.
    mmx::shift_imm(VShift::Shr, Lane::L16) {
        "NP 0F 71 /2 reg" "psrlw Nq, Ib" MMX;
    }
    /// Shift lanes of 32 bits right.
    packed::binary(Vop::ShiftBy(VShift::Shr, Lane::L32)) {
        "66 0F D2 /r" "psrld Vx, Wx" SSE2;
    }
    /// Shift lanes of 32 bits right.
    mmx::binary(Vop::ShiftBy(VShift::Shr, Lane::L32)) {
        "NP 0F D2 /r" "psrld Pq, Qq" MMX;
    }
    /// Shift lanes of 32 bits right by a constant.
    packed::shift_imm(VShift::Shr, Lane::L32) {
        "66 0F 72 /2 reg" "psrld Ux, Ib" SSE2;
    }
    /// Shift lanes of 32 bits right by a constant.
    mmx::shift_imm(VShift::Shr, Lane::L32) {
        "NP 0F 72 /2 reg" "psrld Nq, Ib" MMX;
    }
    /// Shift lanes of 64 bits right.
    packed::binary(Vop::ShiftBy(VShift::Shr, Lane::L64)) {
        "66 0F D3 /r" "psrlq Vx, Wx" SSE2;
    }
    /// Shift lanes of 64 bits right.
    mmx::binary(Vop::ShiftBy(VShift::Shr, Lane::L64)) {
        "NP 0F D3 /r" "psrlq Pq, Qq" MMX;
    }
    /// Shift lanes of 64 bits right by a constant.
    packed::shift_imm(VShift::Shr, Lane::L64) {
        "66 0F 73 /2 reg" "psrlq Ux, Ib" SSE2;
    }
    /// Shift lanes of 64 bits right by a constant.
    mmx::shift_imm(VShift::Shr, Lane::L64) {
        "NP 0F 73 /2 reg" "psrlq Nq, Ib" MMX;
    }
    /// Shift lanes of 16 bits right with copies of the sign.
    packed::binary(Vop::ShiftBy(VShift::Sar, Lane::L16)) {
        "66 0F E1 /r" "psraw Vx, Wx" SSE2;
    }
    /// Shift lanes of 16 bits right with copies of the sign.
    mmx::binary(Vop::ShiftBy(VShift::Sar, Lane::L16)) {
        "NP 0F E1 /r" "psraw Pq, Qq" MMX;
    }
    /// Shift lanes of 16 bits right with copies of the sign by a constant.
    packed::shift_imm(VShift::Sar, Lane::L16) {
        "66 0F 71 /4 reg" "psraw Ux, Ib" SSE2;
    }
    /// Shift lanes of 16 bits right with copies of the sign by a constant.
    mmx::shift_imm(VShift::Sar, Lane::L16) {
        "NP 0F 71 /4 reg" "psraw Nq, Ib" MMX;
    }
    /// Shift lanes of 32 bits right with copies of the sign.
    packed::binary(Vop::ShiftBy(VShift::Sar, Lane::L32)) {
        "66 0F E2 /r" "psrad Vx, Wx" SSE2;
    }
    /// Shift lanes of 32 bits right with copies of the sign.
    mmx::binary(Vop::ShiftBy(VShift::Sar, Lane::L32)) {
        "NP 0F E2 /r" "psrad Pq, Qq" MMX;
    }
    /// Shift lanes of 32 bits right with copies of the sign by a constant.
    packed::shift_imm(VShift::Sar, Lane::L32) {
        "66 0F 72 /4 reg" "psrad Ux, Ib" SSE2;
    }
    /// Shift lanes of 32 bits right with copies of the sign by a constant.
    mmx::shift_imm(VShift::Sar, Lane::L32) {
        "NP 0F 72 /4 reg" "psrad Nq, Ib" MMX;
    }
    /// Shift lanes of 16 bits left.
    packed::binary(Vop::ShiftBy(VShift::Shl, Lane::L16)) {
        "66 0F F1 /r" "psllw Vx, Wx" SSE2;
    }
    /// Shift lanes of 16 bits left.
    mmx::binary(Vop::ShiftBy(VShift::Shl, Lane::L16)) {
        "NP 0F F1 /r" "psllw Pq, Qq" MMX;
    }
    /// Shift lanes of 16 bits left by a constant.
    packed::shift_imm(VShift::Shl, Lane::L16) {
        "66 0F 71 /6 reg" "psllw Ux, Ib" SSE2;
    }
    /// Shift lanes of 16 bits left by a constant.
    mmx::shift_imm(VShift::Shl, Lane::L16) {
        "NP 0F 71 /6 reg" "psllw Nq, Ib" MMX;
    }
    /// Shift lanes of 32 bits left.
    packed::binary(Vop::ShiftBy(VShift::Shl, Lane::L32)) {
        "66 0F F2 /r" "pslld Vx, Wx" SSE2;
    }
    /// Shift lanes of 32 bits left.
    mmx::binary(Vop::ShiftBy(VShift::Shl, Lane::L32)) {
        "NP 0F F2 /r" "pslld Pq, Qq" MMX;
    }
    /// Shift lanes of 32 bits left by a constant.
    packed::shift_imm(VShift::Shl, Lane::L32) {
        "66 0F 72 /6 reg" "pslld Ux, Ib" SSE2;
    }
    /// Shift lanes of 32 bits left by a constant.
    mmx::shift_imm(VShift::Shl, Lane::L32) {
        "NP 0F 72 /6 reg" "pslld Nq, Ib" MMX;
    }
    /// Shift lanes of 64 bits left.
    packed::binary(Vop::ShiftBy(VShift::Shl, Lane::L64)) {
        "66 0F F3 /r" "psllq Vx, Wx" SSE2;
    }
    /// Shift lanes of 64 bits left.
    mmx::binary(Vop::ShiftBy(VShift::Shl, Lane::L64)) {
        "NP 0F F3 /r" "psllq Pq, Qq" MMX;
    }
    /// Shift lanes of 64 bits left by a constant.
    packed::shift_imm(VShift::Shl, Lane::L64) {
        "66 0F 73 /6 reg" "psllq Ux, Ib" SSE2;
    }
    /// Shift lanes of 64 bits left by a constant.
    mmx::shift_imm(VShift::Shl, Lane::L64) {
        "NP 0F 73 /6 reg" "psllq Nq, Ib" MMX;
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
    /// Lanes of 16 bits in another order.
    mmx::shuffle {
        "NP 0F 70 /r" "pshufw Pq, Qq, Ib" SSE;
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
    /// A lane of 16 bits as a number.
    mmx::extract_word {
        "NP 0F C5 /r reg" "pextrw Gd, Nq, Ib" SSE;
    }
    /// A lane of 16 bits replaced.
    packed::insert_word {
        "66 0F C4 /r" "pinsrw Vx, Ew, Ib" SSE2;
    }
    /// A lane of 16 bits replaced.
    mmx::insert_word {
        "NP 0F C4 /r" "pinsrw Pq, Ew, Ib" SSE;
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
    /// The top bits of all bytes.
    mmx::mask {
        "NP 0F D7 /r reg" "pmovmskb Gd, Nq" SSE;
    }
    /// Store the bytes that a mask chooses.
    packed::store_masked {
        "66 0F F7 /r reg" "maskmovdqu Vx, Ux" SSE2;
    }
    /// Store the bytes that a mask chooses.
    mmx::store_masked {
        "NP 0F F7 /r reg" "maskmovq Pq, Nq" SSE;
    }
    /// Move an aligned vector.
    vec_mov::load(false) {
        "NP 0F 28 /r" "movaps Vx, Wx" SSE;
        "66 0F 28 /r" "movapd Vx, Wx" SSE2;
        "66 0F 6F /r" "movdqa Vx, Wx" SSE2;
    }
    /// Move a vector.
    vec_mov::load(true) {
        "NP 0F 10 /r" "movups Vx, Wx" SSE;
        "66 0F 10 /r" "movupd Vx, Wx" SSE2;
        "F3 0F 6F /r" "movdqu Vx, Wx" SSE2;
        "F2 0F F0 /r mem" "lddqu Vx, Mx" SSE3;
    }
    /// Move an aligned vector.
    vec_mov::store(false) {
        "NP 0F 29 /r" "movaps Wx, Vx" SSE;
        "66 0F 29 /r" "movapd Wx, Vx" SSE2;
        "66 0F 7F /r" "movdqa Wx, Vx" SSE2;
        "NP 0F 2B /r mem" "movntps Mx, Vx" SSE;
        "66 0F 2B /r mem" "movntpd Mx, Vx" SSE2;
        "66 0F E7 /r mem" "movntdq Mx, Vx" SSE2;
    }
    /// Move a vector.
    vec_mov::store(true) {
        "NP 0F 11 /r" "movups Wx, Vx" SSE;
        "66 0F 11 /r" "movupd Wx, Vx" SSE2;
        "F3 0F 7F /r" "movdqu Wx, Vx" SSE2;
    }
    /// Move a number.
    vec_mov::load_scalar<T> {
        "F3 0F 10 /r" "movss Vx, Wss" d SSE;
        "F2 0F 10 /r" "movsd Vx, Wsd" q SSE2;
    }
    /// Move a number.
    vec_mov::store_scalar<T> {
        "F3 0F 11 /r" "movss Wss, Vx" d SSE;
        "F2 0F 11 /r" "movsd Wsd, Vx" q SSE2;
    }
    /// Replace the lower half.
    vec_mov::load_half(0, 0) {
        "NP 0F 12 /r mem" "movlps Vx, Mq" SSE;
        "66 0F 12 /r mem" "movlpd Vx, Mq" SSE2;
    }
    /// Replace the lower half by an upper one.
    vec_mov::load_half(0, 1) {
        "NP 0F 12 /r reg" "movhlps Vx, Ux" SSE;
    }
    /// Replace the upper half.
    vec_mov::load_half(1, 0) {
        "NP 0F 16 /r mem" "movhps Vx, Mq" SSE;
        "66 0F 16 /r mem" "movhpd Vx, Mq" SSE2;
        "NP 0F 16 /r reg" "movlhps Vx, Ux" SSE;
    }
    /// Store the lower half.
    vec_mov::store_half(0) {
        "NP 0F 13 /r mem" "movlps Mq, Vx" SSE;
        "66 0F 13 /r mem" "movlpd Mq, Vx" SSE2;
    }
    /// Store the upper half.
    vec_mov::store_half(1) {
        "NP 0F 17 /r mem" "movhps Mq, Vx" SSE;
        "66 0F 17 /r mem" "movhpd Mq, Vx" SSE2;
    }
    /// Move from a general register or memory.
    vec_mov::from_general<T> {
        "66 0F 6E /r" "movd/movd/movq Vx, Ey" SSE2;
    }
    /// Move to a general register or memory.
    vec_mov::to_general<T> {
        "66 0F 7E /r" "movd/movd/movq Ey, Vx" SSE2;
    }
    /// Move the lower half.
    vec_mov::load_low {
        "F3 0F 7E /r" "movq Vx, Wq" SSE2;
    }
    /// Move the lower half.
    vec_mov::store_low {
        "66 0F D6 /r" "movq Wq, Vx" SSE2;
    }
    /// Store a general register without caching.
    vec_mov::store_general<T> {
        "NP 0F C3 /r mem" "movnti My, Gy" SSE2;
    }
    /// Double the even lanes.
    vec_mov::duplicate(0xa0) {
        "F3 0F 12 /r" "movsldup Vx, Wx" SSE3;
    }
    /// Double the odd lanes.
    vec_mov::duplicate(0xf5) {
        "F3 0F 16 /r" "movshdup Vx, Wx" SSE3;
    }
    /// Double the lower half.
    vec_mov::duplicate_low {
        "F2 0F 12 /r" "movddup Vx, Wq" SSE3;
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
    /// Add numbers.
    fp::compute(Fp::Add(Fmt::S), Fmt::S, Lanes::All) {
        "NP 0F 58 /r" "addps Vx, Wx" SSE;
    }
    /// Add numbers.
    fp::compute(Fp::Add(Fmt::D), Fmt::D, Lanes::All) {
        "66 0F 58 /r" "addpd Vx, Wx" SSE2;
    }
    /// Add numbers.
    fp::compute(Fp::Add(Fmt::S), Fmt::S, Lanes::First) {
        "F3 0F 58 /r" "addss Vx, Wss" SSE;
    }
    /// Add numbers.
    fp::compute(Fp::Add(Fmt::D), Fmt::D, Lanes::First) {
        "F2 0F 58 /r" "addsd Vx, Wsd" SSE2;
    }
    /// Multiply numbers.
    fp::compute(Fp::Mul(Fmt::S), Fmt::S, Lanes::All) {
        "NP 0F 59 /r" "mulps Vx, Wx" SSE;
    }
    /// Multiply numbers.
    fp::compute(Fp::Mul(Fmt::D), Fmt::D, Lanes::All) {
        "66 0F 59 /r" "mulpd Vx, Wx" SSE2;
    }
    /// Multiply numbers.
    fp::compute(Fp::Mul(Fmt::S), Fmt::S, Lanes::First) {
        "F3 0F 59 /r" "mulss Vx, Wss" SSE;
    }
    /// Multiply numbers.
    fp::compute(Fp::Mul(Fmt::D), Fmt::D, Lanes::First) {
        "F2 0F 59 /r" "mulsd Vx, Wsd" SSE2;
    }
    /// Subtract numbers.
    fp::compute(Fp::Sub(Fmt::S), Fmt::S, Lanes::All) {
        "NP 0F 5C /r" "subps Vx, Wx" SSE;
    }
    /// Subtract numbers.
    fp::compute(Fp::Sub(Fmt::D), Fmt::D, Lanes::All) {
        "66 0F 5C /r" "subpd Vx, Wx" SSE2;
    }
    /// Subtract numbers.
    fp::compute(Fp::Sub(Fmt::S), Fmt::S, Lanes::First) {
        "F3 0F 5C /r" "subss Vx, Wss" SSE;
    }
    /// Subtract numbers.
    fp::compute(Fp::Sub(Fmt::D), Fmt::D, Lanes::First) {
        "F2 0F 5C /r" "subsd Vx, Wsd" SSE2;
    }
    /// Smaller of two numbers.
    fp::compute(Fp::Min(Fmt::S), Fmt::S, Lanes::All) {
        "NP 0F 5D /r" "minps Vx, Wx" SSE;
    }
    /// Smaller of two numbers.
    fp::compute(Fp::Min(Fmt::D), Fmt::D, Lanes::All) {
        "66 0F 5D /r" "minpd Vx, Wx" SSE2;
    }
    /// Smaller of two numbers.
    fp::compute(Fp::Min(Fmt::S), Fmt::S, Lanes::First) {
        "F3 0F 5D /r" "minss Vx, Wss" SSE;
    }
    /// Smaller of two numbers.
    fp::compute(Fp::Min(Fmt::D), Fmt::D, Lanes::First) {
        "F2 0F 5D /r" "minsd Vx, Wsd" SSE2;
    }
    /// Divide numbers.
    fp::compute(Fp::Div(Fmt::S), Fmt::S, Lanes::All) {
        "NP 0F 5E /r" "divps Vx, Wx" SSE;
    }
    /// Divide numbers.
    fp::compute(Fp::Div(Fmt::D), Fmt::D, Lanes::All) {
        "66 0F 5E /r" "divpd Vx, Wx" SSE2;
    }
    /// Divide numbers.
    fp::compute(Fp::Div(Fmt::S), Fmt::S, Lanes::First) {
        "F3 0F 5E /r" "divss Vx, Wss" SSE;
    }
    /// Divide numbers.
    fp::compute(Fp::Div(Fmt::D), Fmt::D, Lanes::First) {
        "F2 0F 5E /r" "divsd Vx, Wsd" SSE2;
    }
    /// Larger of two numbers.
    fp::compute(Fp::Max(Fmt::S), Fmt::S, Lanes::All) {
        "NP 0F 5F /r" "maxps Vx, Wx" SSE;
    }
    /// Larger of two numbers.
    fp::compute(Fp::Max(Fmt::D), Fmt::D, Lanes::All) {
        "66 0F 5F /r" "maxpd Vx, Wx" SSE2;
    }
    /// Larger of two numbers.
    fp::compute(Fp::Max(Fmt::S), Fmt::S, Lanes::First) {
        "F3 0F 5F /r" "maxss Vx, Wss" SSE;
    }
    /// Larger of two numbers.
    fp::compute(Fp::Max(Fmt::D), Fmt::D, Lanes::First) {
        "F2 0F 5F /r" "maxsd Vx, Wsd" SSE2;
    }
    /// Square root of numbers.
    fp::compute(Fp::Sqrt(Fmt::S), Fmt::S, Lanes::All) {
        "NP 0F 51 /r" "sqrtps Vx, Wx" SSE;
    }
    /// Square root of numbers.
    fp::compute(Fp::Sqrt(Fmt::D), Fmt::D, Lanes::All) {
        "66 0F 51 /r" "sqrtpd Vx, Wx" SSE2;
    }
    /// Square root of numbers.
    fp::compute(Fp::Sqrt(Fmt::S), Fmt::S, Lanes::First) {
        "F3 0F 51 /r" "sqrtss Vx, Wss" SSE;
    }
    /// Square root of numbers.
    fp::compute(Fp::Sqrt(Fmt::D), Fmt::D, Lanes::First) {
        "F2 0F 51 /r" "sqrtsd Vx, Wsd" SSE2;
    }
    /// Convert to the other format.
    fp::compute(Fp::Convert(Fmt::S), Fmt::S, Lanes::First) {
        "F3 0F 5A /r" "cvtss2sd Vx, Wss" SSE2;
    }
    /// Convert to the other format.
    fp::compute(Fp::Convert(Fmt::D), Fmt::D, Lanes::First) {
        "F2 0F 5A /r" "cvtsd2ss Vx, Wsd" SSE2;
    }
    /// Convert to the other format.
    fp::compute(Fp::Convert(Fmt::D), Fmt::D, Lanes::All) {
        "66 0F 5A /r" "cvtpd2ps Vx, Wx" SSE2;
    }
    /// Convert to the other format.
    fp::convert_low(Fp::Convert(Fmt::S)) {
        "NP 0F 5A /r" "cvtps2pd Vx, Wq" SSE2;
    }
    /// Convert integers.
    fp::convert_low(Fp::FromInt(IntTy::I32, Fmt::D)) {
        "F3 0F E6 /r" "cvtdq2pd Vx, Wq" SSE2;
    }
    /// Convert integers.
    fp::convert(Fp::FromInt(IntTy::I32, Fmt::S), fp::CURRENT) {
        "NP 0F 5B /r" "cvtdq2ps Vx, Wx" SSE2;
    }
    /// Convert to integers.
    fp::convert(Fp::ToInt(Fmt::S, IntTy::I32), fp::CURRENT) {
        "66 0F 5B /r" "cvtps2dq Vx, Wx" SSE2;
    }
    /// Convert to integers towards zero.
    fp::convert(Fp::ToInt(Fmt::S, IntTy::I32), fp::TRUNCATE) {
        "F3 0F 5B /r" "cvttps2dq Vx, Wx" SSE2;
    }
    /// Convert to integers.
    fp::convert(Fp::ToInt(Fmt::D, IntTy::I32), fp::CURRENT) {
        "F2 0F E6 /r" "cvtpd2dq Vx, Wx" SSE2;
    }
    /// Convert to integers towards zero.
    fp::convert(Fp::ToInt(Fmt::D, IntTy::I32), fp::TRUNCATE) {
        "66 0F E6 /r" "cvttpd2dq Vx, Wx" SSE2;
    }
    /// Convert an integer.
    fp::from_integer<T>(Fmt::S) {
        "F3 0F 2A /r" "cvtsi2ss Vx, Ey" SSE;
    }
    /// Convert to an integer.
    fp::to_integer<T>(Fmt::S, fp::CURRENT) {
        "F3 0F 2D /r" "cvtss2si Gy, Wss" y SSE;
    }
    /// Convert to an integer towards zero.
    fp::to_integer<T>(Fmt::S, fp::TRUNCATE) {
        "F3 0F 2C /r" "cvttss2si Gy, Wss" y SSE;
    }
    /// Convert an integer.
    fp::from_integer<T>(Fmt::D) {
        "F2 0F 2A /r" "cvtsi2sd Vx, Ey" SSE2;
    }
    /// Convert to an integer.
    fp::to_integer<T>(Fmt::D, fp::CURRENT) {
        "F2 0F 2D /r" "cvtsd2si Gy, Wsd" y SSE2;
    }
    /// Convert to an integer towards zero.
    fp::to_integer<T>(Fmt::D, fp::TRUNCATE) {
        "F2 0F 2C /r" "cvttsd2si Gy, Wsd" y SSE2;
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
    /// Compare numbers.
    fp::compare(Fmt::S, Lanes::All) {
        "NP 0F C2 /r" "cmpps Vx, Wx, Ib" SSE;
    }
    /// Compare numbers.
    fp::compare(Fmt::D, Lanes::All) {
        "66 0F C2 /r" "cmppd Vx, Wx, Ib" SSE2;
    }
    /// Compare numbers.
    fp::compare(Fmt::S, Lanes::First) {
        "F3 0F C2 /r" "cmpss Vx, Wss, Ib" SSE;
    }
    /// Compare numbers.
    fp::compare(Fmt::D, Lanes::First) {
        "F2 0F C2 /r" "cmpsd Vx, Wsd, Ib" SSE2;
    }
    /// Compare numbers and set flags.
    fp::compare_flags(Fmt::S, true) {
        "NP 0F 2E /r" "ucomiss Vx, Wss" SSE;
    }
    /// Compare numbers and set flags.
    fp::compare_flags(Fmt::S, false) {
        "NP 0F 2F /r" "comiss Vx, Wss" SSE;
    }
    /// Compare numbers and set flags.
    fp::compare_flags(Fmt::D, true) {
        "66 0F 2E /r" "ucomisd Vx, Wsd" SSE2;
    }
    /// Compare numbers and set flags.
    fp::compare_flags(Fmt::D, false) {
        "66 0F 2F /r" "comisd Vx, Wsd" SSE2;
    }
    /// Estimate reciprocals.
    fp::estimate(false, Lanes::All) {
        "NP 0F 53 /r" "rcpps Vx, Wx" SSE;
    }
    /// Estimate a reciprocal.
    fp::estimate(false, Lanes::First) {
        "F3 0F 53 /r" "rcpss Vx, Wss" SSE;
    }
    /// Estimate reciprocals of square roots.
    fp::estimate(true, Lanes::All) {
        "NP 0F 52 /r" "rsqrtps Vx, Wx" SSE;
    }
    /// Estimate the reciprocal of a square root.
    fp::estimate(true, Lanes::First) {
        "F3 0F 52 /r" "rsqrtss Vx, Wss" SSE;
    }
    /// Sums of adjacent numbers.
    fp::horizontal(Fp::Add(Fmt::S), Lane::L32) {
        "F2 0F 7C /r" "haddps Vx, Wx" SSE3;
    }
    /// Sums of adjacent numbers.
    fp::horizontal(Fp::Add(Fmt::D), Lane::L64) {
        "66 0F 7C /r" "haddpd Vx, Wx" SSE3;
    }
    /// Differences of adjacent numbers.
    fp::horizontal(Fp::Sub(Fmt::S), Lane::L32) {
        "F2 0F 7D /r" "hsubps Vx, Wx" SSE3;
    }
    /// Differences of adjacent numbers.
    fp::horizontal(Fp::Sub(Fmt::D), Lane::L64) {
        "66 0F 7D /r" "hsubpd Vx, Wx" SSE3;
    }
    /// Differences and sums alternating.
    fp::add_sub(Fmt::S) {
        "F2 0F D0 /r" "addsubps Vx, Wx" SSE3;
    }
    /// Differences and sums alternating.
    fp::add_sub(Fmt::D) {
        "66 0F D0 /r" "addsubpd Vx, Wx" SSE3;
    }
    /// Load MXCSR.
    fp::load_mxcsr {
        "NP 0F AE /2 mem" "ldmxcsr Md" SSE;
    }
    /// Store MXCSR.
    fp::store_mxcsr {
        "NP 0F AE /3 mem" "stmxcsr Md" SSE;
    }
}
