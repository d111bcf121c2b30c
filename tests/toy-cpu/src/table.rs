//! Every instruction, one row each. Those of 32 bits have their first bit set.

use crate::insn::{Toy, control, integer, memory, system, vector};
use trine_ir::{Operands, Row};

trine_rows::rows! {
    cpu Toy { fields rd: 3, rs: 3, sr: 3, vd: 2, va: 2, vb: 2; }

    // Integers
    /// Move; condition codes N and Z.
    mov = integer::mov(rd, rs) "0000 000000 rs rd" "mov rd, rs" BASE;
    /// Add.
    add = integer::add(rd, rs) "0000 000001 rs rd" "add rd, rs" BASE;
    /// Add with carry.
    addc = integer::addc(rd, rs) "0000 000010 rs rd" "addc rd, rs" BASE;
    /// Subtract.
    sub = integer::sub(rd, rs) "0000 000011 rs rd" "sub rd, rs" BASE;
    /// Subtract with borrow.
    subc = integer::subc(rd, rs) "0000 000100 rs rd" "subc rd, rs" BASE;
    /// Compare: the condition codes of a difference.
    cmp = integer::cmp(rd, rs) "0000 000101 rs rd" "cmp rd, rs" BASE;
    /// Bitwise and.
    and = integer::and(rd, rs) "0000 000110 rs rd" "and rd, rs" BASE;
    /// Bitwise or.
    or = integer::or(rd, rs) "0000 000111 rs rd" "or rd, rs" BASE;
    /// Bitwise exclusive or.
    xor = integer::xor(rd, rs) "0000 001000 rs rd" "xor rd, rs" BASE;
    /// Low half of the product.
    mul = integer::mul(rd, rs) "0000 001001 rs rd" "mul rd, rs" BASE;
    /// High half of the unsigned product.
    mulh = integer::mulh(rd, rs) "0000 001010 rs rd" "mulh rd, rs" BASE;
    /// Shift left by the low four bits of a register.
    shl = integer::shl(rd, rs) "0000 001011 rs rd" "shl rd, rs" BASE;
    /// Logical shift right.
    shr = integer::shr(rd, rs) "0000 001100 rs rd" "shr rd, rs" BASE;
    /// Arithmetic shift right.
    sar = integer::sar(rd, rs) "0000 001101 rs rd" "sar rd, rs" BASE;
    /// Rotate left.
    rol = integer::rol(rd, rs) "0000 001110 rs rd" "rol rd, rs" BASE;
    /// Divide the pair `r0:rd` by a register: quotient to `rd`, remainder to `r0`.
    div = integer::div(rd!=0, rs) "0000 001111 rs rd" "div rd, rs" BASE;
    /// Exchange the bytes.
    swpb = integer::swpb(rd, rs) "0000 010000 rs rd" "swpb rd, rs" BASE;
    /// Sign-extend a byte.
    sxb = integer::sxb(rd, rs) "0000 010001 rs rd" "sxb rd, rs" BASE;
    /// Count leading zeros.
    clz = integer::clz(rd, rs) "0000 010010 rs rd" "clz rd, rs" BASE;
    /// Load a small constant.
    ldi = integer::ldi(rd, imm) "0011 0 rd imm[7:0]" "ldi rd, imm" BASE;
    /// Add a small constant.
    addi = integer::addi(rd, imm) "0011 1 rd imm[7:0]" "addi rd, imm" BASE;
    /// Load a constant.
    ldiw = integer::ldi(rd, imm) "1000 000000 000 rd imm[15:0]" "ldiw rd, imm" BASE;
    /// Insert the low `len + 1` bits of a register at bit `at`.
    ins = integer::ins(rd, rs, at, len) "1001 000000 rs rd 00000000 at[3:0] len[3:0]" "ins rd, rs, at, len" BASE;

    // Memory
    /// Load a byte, zero-extended.
    ldb = memory::ldb(rd, rs) "0010 000000 rs rd" "ldb rd, (rs)" BASE;
    /// Load a word.
    ldw = memory::ldw(rd, rs, 0) "0010 000001 rs rd" "ldw rd, (rs)" BASE;
    /// Store a byte.
    stb = memory::stb(rd, rs) "0010 000010 rs rd" "stb (rs), rd" BASE;
    /// Store a word.
    stw = memory::stw(rd, rs, 0) "0010 000011 rs rd" "stw (rs), rd" BASE;


    /// Add a register to a word of memory, atomically; the old word to the register.
    xadd = memory::xadd(rd, rs) "0010 000100 rs rd" "xadd (rs), rd" BASE;
    /// Store a register where memory holds `r0`, atomically: Z says whether it did, and `r0` gets what memory held.
    cas = memory::cas(rd, rs) "0010 000101 rs rd" "cas (rs), rd" BASE;
    /// Load a word at a displacement.
    ldwd = memory::ldw(rd, rs, imm) "1000 000001 rs rd imm[15:0]" "ldwd rd, imm(rs)" BASE;
    /// Store a word at a displacement.
    stwd = memory::stw(rd, rs, imm) "1000 000010 rs rd imm[15:0]" "stwd imm(rs), rd" BASE;

    // Vectors: eight lanes of 16 bits, the first at the lowest address
    /// Load a vector.
    ldv = vector::ldv(vd, rs) "1010 000000 rs 0 vd 0000000000000000" "ldv vd, (rs)" VECTOR;
    /// Store a vector.
    stv = vector::stv(vd, rs) "1010 000001 rs 0 vd 0000000000000000" "stv (rs), vd" VECTOR;
    /// Add lanes.
    vadd = vector::vadd(vd, va, vb) "1010 000010 000 0 vd 000000000000 va vb" "vadd vd, va, vb" VECTOR;
    /// Multiply lanes: the low halves of the products.
    vmul = vector::vmul(vd, va, vb) "1010 000011 000 0 vd 000000000000 va vb" "vmul vd, va, vb" VECTOR;
    /// Bitwise exclusive or.
    vxor = vector::vxor(vd, va, vb) "1010 000100 000 0 vd 000000000000 va vb" "vxor vd, va, vb" VECTOR;
    /// All ones in the lanes where the first is greater, signed; zeros elsewhere.
    vgt = vector::vgt(vd, va, vb) "1010 000101 000 0 vd 000000000000 va vb" "vgt vd, va, vb" VECTOR;
    /// A register in every lane.
    vdup = vector::vdup(vd, rs) "1010 000110 rs 0 vd 0000000000000000" "vdup vd, rs" VECTOR;
    /// A lane to a register.
    vext = vector::vext(rd, va, lane) "1010 000111 000 rd 0000000000 lane[2:0] 0 va" "vext rd, va, lane" VECTOR;

    // Control
    /// Branch always.
    bra = control::bra(imm) "0100 0000 imm[8:1]" "bra imm" BASE;
    /// Branch if equal.
    beq = control::beq(imm) "0100 0001 imm[8:1]" "beq imm" BASE;
    /// Branch if not equal.
    bne = control::bne(imm) "0100 0010 imm[8:1]" "bne imm" BASE;
    /// Branch if carry.
    bcs = control::bcs(imm) "0100 0011 imm[8:1]" "bcs imm" BASE;
    /// Branch if no carry.
    bcc = control::bcc(imm) "0100 0100 imm[8:1]" "bcc imm" BASE;
    /// Branch if negative.
    bmi = control::bmi(imm) "0100 0101 imm[8:1]" "bmi imm" BASE;
    /// Branch if overflow.
    bvs = control::bvs(imm) "0100 0110 imm[8:1]" "bvs imm" BASE;
    /// Branch if less, signed.
    blt = control::blt(imm) "0100 0111 imm[8:1]" "blt imm" BASE;
    /// Branch if greater or equal, signed.
    bge = control::bge(imm) "0100 1000 imm[8:1]" "bge imm" BASE;
    /// Jump to a register.
    jmp = control::jmp(rs) "0101 000000 rs 000" "jmp rs" BASE;
    /// Call a register.
    callr = control::callr(rs) "0101 000001 rs 000" "callr rs" BASE;
    /// Return from a call.
    ret = control::ret() "0101 000010 000 000" "ret" BASE;
    /// Call.
    call = control::call(uimm) "1000 000011 000 000 uimm[15:0]" "call uimm" BASE;
    /// Move the code base by a register's 256 bytes, and jump to a register there.
    jmpf = control::jmpf(rd, rs) "0101 000011 rs rd" "jmpf rs:rd" BASE;

    // System
    /// Do nothing.
    nop = system::nop() "0110 000000 000 000" "nop" BASE;
    /// Trap to system mode; the handler returns behind it.
    trap = system::trap(number) "0110 000001 00 number[3:0]" "trap number" BASE;
    /// Return from a trap.
    rti = system::rti() "0110 000010 000 000" "rti" BASE;
    /// Wait for an interrupt.
    wait = system::wait() "0110 000011 000 000" "wait" BASE;
    /// Forget translated addresses.
    flush = system::flush() "0110 000100 000 000" "flush" BASE;
    /// Write a special register.
    mts = system::mts(sr, rs) "0110 001 sr rs 000" "mts sr, rs" BASE;
    /// Read a special register.
    mfs = system::mfs(rd, sr) "0110 010 sr 000 rd" "mfs rd, sr" BASE;
}

/// Whether a translation ends after this instruction.
pub fn ends_block(row: Row, operands: &Operands) -> bool {
    match row {
        row::BRA | row::JMP | row::CALLR | row::RET | row::CALL | row::JMPF => true,
        row::TRAP | row::RTI | row::WAIT | row::FLUSH => true,
        // The special registers that the mode or the address of code depends on.
        row::MTS => system::Special::from(operands.r[0]).ends_block(),
        _ => false,
    }
}
