//! Moves and numbers: SSE to SSE3.

use crate::insn::{fp, vec_mov};
use trine_ir::{Fmt, Fp, IntTy, Lane, Lanes};

trine_rows::x86_rows! {
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
