//! Every instruction, one row each: documentation, name, body and its operands, encoding, syntax,
//! extension. See the crate `rows` for the notation and `docs/` for how to add one.
//!
//! Reserved compressed encodings have no rows; hints are ordinary instructions (their results go to `x0`).

use crate::insn::{Rv, a, fp, i, m, system, zb};
use crate::sys::csr;
use trine_ir::{Operands, Row};

trine_rows::rows! {
    cpu Rv {
        variants rv32, rv64;
        fields
            rd: 5, rs1: 5, rs2: 5, rs3: 5, frd: 5, frs1: 5, frs2: 5, frs3: 5,
            rdp: 3 + 8, rs1p: 3 + 8, rs2p: 3 + 8, frdp: 3 + 8, frs2p: 3 + 8,
            rm: 3, csr: 12, zimm: 5, shamt: 6, shamtw: 5, aq: 1, rl: 1, fm: 4, pred: 4, succ: 4;
    }

    // RV32I, RV64I (unpriv 2, 4)
    /// Load upper immediate.
    lui = i::lui(rd, imm) "imm[31:12] rd 0110111" "lui rd, imm" I;
    /// Add upper immediate to PC.
    auipc = i::auipc(rd, imm) "imm[31:12] rd 0010111" "auipc rd, imm" I;
    /// Jump and link.
    jal = i::jal(rd, imm) "imm[20|10:1|11|19:12] rd 1101111" "jal rd, imm" I;
    /// Jump and link register.
    jalr = i::jalr(rd, rs1, imm) "imm[11:0] rs1 000 rd 1100111" "jalr rd, imm(rs1)" I;
    /// Branch if equal.
    beq = i::beq(rs1, rs2, imm) "imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011" "beq rs1, rs2, imm" I;
    /// Branch if not equal.
    bne = i::bne(rs1, rs2, imm) "imm[12|10:5] rs2 rs1 001 imm[4:1|11] 1100011" "bne rs1, rs2, imm" I;
    /// Branch if less, signed.
    blt = i::blt(rs1, rs2, imm) "imm[12|10:5] rs2 rs1 100 imm[4:1|11] 1100011" "blt rs1, rs2, imm" I;
    /// Branch if greater or equal, signed.
    bge = i::bge(rs1, rs2, imm) "imm[12|10:5] rs2 rs1 101 imm[4:1|11] 1100011" "bge rs1, rs2, imm" I;
    /// Branch if less, unsigned.
    bltu = i::bltu(rs1, rs2, imm) "imm[12|10:5] rs2 rs1 110 imm[4:1|11] 1100011" "bltu rs1, rs2, imm" I;
    /// Branch if greater or equal, unsigned.
    bgeu = i::bgeu(rs1, rs2, imm) "imm[12|10:5] rs2 rs1 111 imm[4:1|11] 1100011" "bgeu rs1, rs2, imm" I;
    /// Load byte.
    lb = i::lb(rd, rs1, imm) "imm[11:0] rs1 000 rd 0000011" "lb rd, imm(rs1)" I;
    /// Load half-word.
    lh = i::lh(rd, rs1, imm) "imm[11:0] rs1 001 rd 0000011" "lh rd, imm(rs1)" I;
    /// Load word.
    lw = i::lw(rd, rs1, imm) "imm[11:0] rs1 010 rd 0000011" "lw rd, imm(rs1)" I;
    /// Load double-word.
    ld = i::ld(rd, rs1, imm) "imm[11:0] rs1 011 rd 0000011" "ld rd, imm(rs1)" I rv64;
    /// Load byte, unsigned.
    lbu = i::lbu(rd, rs1, imm) "imm[11:0] rs1 100 rd 0000011" "lbu rd, imm(rs1)" I;
    /// Load half-word, unsigned.
    lhu = i::lhu(rd, rs1, imm) "imm[11:0] rs1 101 rd 0000011" "lhu rd, imm(rs1)" I;
    /// Load word, unsigned.
    lwu = i::lwu(rd, rs1, imm) "imm[11:0] rs1 110 rd 0000011" "lwu rd, imm(rs1)" I rv64;
    /// Store byte.
    sb = i::sb(rs2, rs1, imm) "imm[11:5] rs2 rs1 000 imm[4:0] 0100011" "sb rs2, imm(rs1)" I;
    /// Store half-word.
    sh = i::sh(rs2, rs1, imm) "imm[11:5] rs2 rs1 001 imm[4:0] 0100011" "sh rs2, imm(rs1)" I;
    /// Store word.
    sw = i::sw(rs2, rs1, imm) "imm[11:5] rs2 rs1 010 imm[4:0] 0100011" "sw rs2, imm(rs1)" I;
    /// Store double-word.
    sd = i::sd(rs2, rs1, imm) "imm[11:5] rs2 rs1 011 imm[4:0] 0100011" "sd rs2, imm(rs1)" I rv64;
    /// Add immediate.
    addi = i::addi(rd, rs1, imm) "imm[11:0] rs1 000 rd 0010011" "addi rd, rs1, imm" I;
    /// Set if less than immediate, signed.
    slti = i::slti(rd, rs1, imm) "imm[11:0] rs1 010 rd 0010011" "slti rd, rs1, imm" I;
    /// Set if less than immediate, unsigned.
    sltiu = i::sltiu(rd, rs1, imm) "imm[11:0] rs1 011 rd 0010011" "sltiu rd, rs1, imm" I;
    /// Exclusive or with immediate.
    xori = i::xori(rd, rs1, imm) "imm[11:0] rs1 100 rd 0010011" "xori rd, rs1, imm" I;
    /// Or with immediate.
    ori = i::ori(rd, rs1, imm) "imm[11:0] rs1 110 rd 0010011" "ori rd, rs1, imm" I;
    /// And with immediate.
    andi = i::andi(rd, rs1, imm) "imm[11:0] rs1 111 rd 0010011" "andi rd, rs1, imm" I;
    /// Shift left by a constant.
    slli = i::slli(rd, rs1, shamt) "000000 shamt rs1 001 rd 0010011" "slli rd, rs1, shamt" I rv64;
    /// Shift left by a constant.
    slli_rv32 = i::slli(rd, rs1, shamtw) "0000000 shamtw rs1 001 rd 0010011" "slli rd, rs1, shamtw" I rv32;
    /// Logical shift right by a constant.
    srli = i::srli(rd, rs1, shamt) "000000 shamt rs1 101 rd 0010011" "srli rd, rs1, shamt" I rv64;
    /// Logical shift right by a constant.
    srli_rv32 = i::srli(rd, rs1, shamtw) "0000000 shamtw rs1 101 rd 0010011" "srli rd, rs1, shamtw" I rv32;
    /// Arithmetic shift right by a constant.
    srai = i::srai(rd, rs1, shamt) "010000 shamt rs1 101 rd 0010011" "srai rd, rs1, shamt" I rv64;
    /// Arithmetic shift right by a constant.
    srai_rv32 = i::srai(rd, rs1, shamtw) "0100000 shamtw rs1 101 rd 0010011" "srai rd, rs1, shamtw" I rv32;
    /// Add.
    add = i::add(rd, rs1, rs2) "0000000 rs2 rs1 000 rd 0110011" "add rd, rs1, rs2" I;
    /// Subtract.
    sub = i::sub(rd, rs1, rs2) "0100000 rs2 rs1 000 rd 0110011" "sub rd, rs1, rs2" I;
    /// Shift left.
    sll = i::sll(rd, rs1, rs2) "0000000 rs2 rs1 001 rd 0110011" "sll rd, rs1, rs2" I;
    /// Set if less, signed.
    slt = i::slt(rd, rs1, rs2) "0000000 rs2 rs1 010 rd 0110011" "slt rd, rs1, rs2" I;
    /// Set if less, unsigned.
    sltu = i::sltu(rd, rs1, rs2) "0000000 rs2 rs1 011 rd 0110011" "sltu rd, rs1, rs2" I;
    /// Exclusive or.
    xor = i::xor(rd, rs1, rs2) "0000000 rs2 rs1 100 rd 0110011" "xor rd, rs1, rs2" I;
    /// Logical shift right.
    srl = i::srl(rd, rs1, rs2) "0000000 rs2 rs1 101 rd 0110011" "srl rd, rs1, rs2" I;
    /// Arithmetic shift right.
    sra = i::sra(rd, rs1, rs2) "0100000 rs2 rs1 101 rd 0110011" "sra rd, rs1, rs2" I;
    /// Or.
    or = i::or(rd, rs1, rs2) "0000000 rs2 rs1 110 rd 0110011" "or rd, rs1, rs2" I;
    /// And.
    and = i::and(rd, rs1, rs2) "0000000 rs2 rs1 111 rd 0110011" "and rd, rs1, rs2" I;
    /// Add immediate to a word.
    addiw = i::addiw(rd, rs1, imm) "imm[11:0] rs1 000 rd 0011011" "addiw rd, rs1, imm" I rv64;
    /// Shift a word left by a constant.
    slliw = i::slliw(rd, rs1, shamtw) "0000000 shamtw rs1 001 rd 0011011" "slliw rd, rs1, shamtw" I rv64;
    /// Logical shift of a word right by a constant.
    srliw = i::srliw(rd, rs1, shamtw) "0000000 shamtw rs1 101 rd 0011011" "srliw rd, rs1, shamtw" I rv64;
    /// Arithmetic shift of a word right by a constant.
    sraiw = i::sraiw(rd, rs1, shamtw) "0100000 shamtw rs1 101 rd 0011011" "sraiw rd, rs1, shamtw" I rv64;
    /// Add words.
    addw = i::addw(rd, rs1, rs2) "0000000 rs2 rs1 000 rd 0111011" "addw rd, rs1, rs2" I rv64;
    /// Subtract words.
    subw = i::subw(rd, rs1, rs2) "0100000 rs2 rs1 000 rd 0111011" "subw rd, rs1, rs2" I rv64;
    /// Shift a word left.
    sllw = i::sllw(rd, rs1, rs2) "0000000 rs2 rs1 001 rd 0111011" "sllw rd, rs1, rs2" I rv64;
    /// Logical shift of a word right.
    srlw = i::srlw(rd, rs1, rs2) "0000000 rs2 rs1 101 rd 0111011" "srlw rd, rs1, rs2" I rv64;
    /// Arithmetic shift of a word right.
    sraw = i::sraw(rd, rs1, rs2) "0100000 rs2 rs1 101 rd 0111011" "sraw rd, rs1, rs2" I rv64;
    /// Order memory accesses.
    fence = i::fence(pred, succ) "fm pred succ rs1 000 rd 0001111" "fence pred, succ" I;
    /// Hint: spinning.
    pause = system::pause() "0000 0001 0000 00000 000 00000 0001111" "pause" Zihintpause;
    /// Environment call.
    ecall = system::ecall() "000000000000 00000 000 00000 1110011" "ecall" I;
    /// Breakpoint.
    ebreak = system::ebreak() "000000000001 00000 000 00000 1110011" "ebreak" I;

    // Zifencei, Zicboz, Zicsr (unpriv 7, 24, 6)
    /// Order instruction fetches after stores.
    fence_i = system::fence_i() "imm[11:0] rs1 001 rd 0001111" "fence.i" Zifencei;
    /// Zero a cache block.
    cbo_zero = system::cbo_zero(rs1) "000000000100 rs1 010 00000 0001111" "cbo.zero (rs1)" Zicboz;
    /// Read and write a CSR.
    csrrw = system::csrrw(rd, csr, rs1) "csr rs1 001 rd 1110011" "csrrw rd, csr, rs1" Zicsr;
    /// Read and set bits of a CSR.
    csrrs = system::csrrs(rd, csr, rs1) "csr rs1 010 rd 1110011" "csrrs rd, csr, rs1" Zicsr;
    /// Read and clear bits of a CSR.
    csrrc = system::csrrc(rd, csr, rs1) "csr rs1 011 rd 1110011" "csrrc rd, csr, rs1" Zicsr;
    /// Read and write a CSR, constant.
    csrrwi = system::csrrwi(rd, csr, zimm) "csr zimm 101 rd 1110011" "csrrwi rd, csr, zimm" Zicsr;
    /// Read and set bits of a CSR, constant.
    csrrsi = system::csrrsi(rd, csr, zimm) "csr zimm 110 rd 1110011" "csrrsi rd, csr, zimm" Zicsr;
    /// Read and clear bits of a CSR, constant.
    csrrci = system::csrrci(rd, csr, zimm) "csr zimm 111 rd 1110011" "csrrci rd, csr, zimm" Zicsr;

    // Privileged (priv 3.3, 12.2)
    /// Return from S.
    sret = system::sret() "000100000010 00000 000 00000 1110011" "sret" S;
    /// Return from M.
    mret = system::mret() "001100000010 00000 000 00000 1110011" "mret" M_mode;
    /// Wait for interrupt.
    wfi = system::wfi() "000100000101 00000 000 00000 1110011" "wfi" M_mode;
    /// Fence address translation.
    sfence_vma = system::sfence_vma(rs1, rs2) "0001001 rs2 rs1 000 00000 1110011" "sfence.vma rs1, rs2" S;

    // M (unpriv 12)
    /// Multiply.
    mul = m::mul(rd, rs1, rs2) "0000001 rs2 rs1 000 rd 0110011" "mul rd, rs1, rs2" M;
    /// High half, signed.
    mulh = m::mulh(rd, rs1, rs2) "0000001 rs2 rs1 001 rd 0110011" "mulh rd, rs1, rs2" M;
    /// High half, signed by unsigned.
    mulhsu = m::mulhsu(rd, rs1, rs2) "0000001 rs2 rs1 010 rd 0110011" "mulhsu rd, rs1, rs2" M;
    /// High half, unsigned.
    mulhu = m::mulhu(rd, rs1, rs2) "0000001 rs2 rs1 011 rd 0110011" "mulhu rd, rs1, rs2" M;
    /// Divide, signed.
    div = m::div(rd, rs1, rs2) "0000001 rs2 rs1 100 rd 0110011" "div rd, rs1, rs2" M;
    /// Divide, unsigned.
    divu = m::divu(rd, rs1, rs2) "0000001 rs2 rs1 101 rd 0110011" "divu rd, rs1, rs2" M;
    /// Remainder, signed.
    rem = m::rem(rd, rs1, rs2) "0000001 rs2 rs1 110 rd 0110011" "rem rd, rs1, rs2" M;
    /// Remainder, unsigned.
    remu = m::remu(rd, rs1, rs2) "0000001 rs2 rs1 111 rd 0110011" "remu rd, rs1, rs2" M;
    /// Multiply words.
    mulw = m::mulw(rd, rs1, rs2) "0000001 rs2 rs1 000 rd 0111011" "mulw rd, rs1, rs2" M rv64;
    /// Divide words, signed.
    divw = m::divw(rd, rs1, rs2) "0000001 rs2 rs1 100 rd 0111011" "divw rd, rs1, rs2" M rv64;
    /// Divide words, unsigned.
    divuw = m::divuw(rd, rs1, rs2) "0000001 rs2 rs1 101 rd 0111011" "divuw rd, rs1, rs2" M rv64;
    /// Remainder of words, signed.
    remw = m::remw(rd, rs1, rs2) "0000001 rs2 rs1 110 rd 0111011" "remw rd, rs1, rs2" M rv64;
    /// Remainder of words, unsigned.
    remuw = m::remuw(rd, rs1, rs2) "0000001 rs2 rs1 111 rd 0111011" "remuw rd, rs1, rs2" M rv64;

    // A (unpriv 13)
    /// Load-reserved.
    lr_w = a::lr_w(rd, rs1) "00010 aq rl 00000 rs1 010 rd 0101111" "lr.w rd, (rs1)" A;
    /// Store-conditional.
    sc_w = a::sc_w(rd, rs1, rs2) "00011 aq rl rs2 rs1 010 rd 0101111" "sc.w rd, rs2, (rs1)" A;
    /// Atomic swap.
    amoswap_w = a::amoswap_w(rd, rs1, rs2) "00001 aq rl rs2 rs1 010 rd 0101111" "amoswap.w rd, rs2, (rs1)" A;
    /// Atomic add.
    amoadd_w = a::amoadd_w(rd, rs1, rs2) "00000 aq rl rs2 rs1 010 rd 0101111" "amoadd.w rd, rs2, (rs1)" A;
    /// Atomic exclusive or.
    amoxor_w = a::amoxor_w(rd, rs1, rs2) "00100 aq rl rs2 rs1 010 rd 0101111" "amoxor.w rd, rs2, (rs1)" A;
    /// Atomic and.
    amoand_w = a::amoand_w(rd, rs1, rs2) "01100 aq rl rs2 rs1 010 rd 0101111" "amoand.w rd, rs2, (rs1)" A;
    /// Atomic or.
    amoor_w = a::amoor_w(rd, rs1, rs2) "01000 aq rl rs2 rs1 010 rd 0101111" "amoor.w rd, rs2, (rs1)" A;
    /// Atomic minimum, signed.
    amomin_w = a::amomin_w(rd, rs1, rs2) "10000 aq rl rs2 rs1 010 rd 0101111" "amomin.w rd, rs2, (rs1)" A;
    /// Atomic maximum, signed.
    amomax_w = a::amomax_w(rd, rs1, rs2) "10100 aq rl rs2 rs1 010 rd 0101111" "amomax.w rd, rs2, (rs1)" A;
    /// Atomic minimum, unsigned.
    amominu_w = a::amominu_w(rd, rs1, rs2) "11000 aq rl rs2 rs1 010 rd 0101111" "amominu.w rd, rs2, (rs1)" A;
    /// Atomic maximum, unsigned.
    amomaxu_w = a::amomaxu_w(rd, rs1, rs2) "11100 aq rl rs2 rs1 010 rd 0101111" "amomaxu.w rd, rs2, (rs1)" A;
    /// Load-reserved.
    lr_d = a::lr_d(rd, rs1) "00010 aq rl 00000 rs1 011 rd 0101111" "lr.d rd, (rs1)" A rv64;
    /// Store-conditional.
    sc_d = a::sc_d(rd, rs1, rs2) "00011 aq rl rs2 rs1 011 rd 0101111" "sc.d rd, rs2, (rs1)" A rv64;
    /// Atomic swap.
    amoswap_d = a::amoswap_d(rd, rs1, rs2) "00001 aq rl rs2 rs1 011 rd 0101111" "amoswap.d rd, rs2, (rs1)" A rv64;
    /// Atomic add.
    amoadd_d = a::amoadd_d(rd, rs1, rs2) "00000 aq rl rs2 rs1 011 rd 0101111" "amoadd.d rd, rs2, (rs1)" A rv64;
    /// Atomic exclusive or.
    amoxor_d = a::amoxor_d(rd, rs1, rs2) "00100 aq rl rs2 rs1 011 rd 0101111" "amoxor.d rd, rs2, (rs1)" A rv64;
    /// Atomic and.
    amoand_d = a::amoand_d(rd, rs1, rs2) "01100 aq rl rs2 rs1 011 rd 0101111" "amoand.d rd, rs2, (rs1)" A rv64;
    /// Atomic or.
    amoor_d = a::amoor_d(rd, rs1, rs2) "01000 aq rl rs2 rs1 011 rd 0101111" "amoor.d rd, rs2, (rs1)" A rv64;
    /// Atomic minimum, signed.
    amomin_d = a::amomin_d(rd, rs1, rs2) "10000 aq rl rs2 rs1 011 rd 0101111" "amomin.d rd, rs2, (rs1)" A rv64;
    /// Atomic maximum, signed.
    amomax_d = a::amomax_d(rd, rs1, rs2) "10100 aq rl rs2 rs1 011 rd 0101111" "amomax.d rd, rs2, (rs1)" A rv64;
    /// Atomic minimum, unsigned.
    amominu_d = a::amominu_d(rd, rs1, rs2) "11000 aq rl rs2 rs1 011 rd 0101111" "amominu.d rd, rs2, (rs1)" A rv64;
    /// Atomic maximum, unsigned.
    amomaxu_d = a::amomaxu_d(rd, rs1, rs2) "11100 aq rl rs2 rs1 011 rd 0101111" "amomaxu.d rd, rs2, (rs1)" A rv64;

    // F, D (unpriv 20, 21)
    /// Load.
    flw = fp::fload::<_, f32>(frd, rs1, imm) "imm[11:0] rs1 010 frd 0000111" "flw frd, imm(rs1)" F;
    /// Store.
    fsw = fp::fstore::<_, f32>(frs2, rs1, imm) "imm[11:5] frs2 rs1 010 imm[4:0] 0100111" "fsw frs2, imm(rs1)" F;
    /// Fused multiply-add.
    fmadd_s = fp::fmadd::<_, f32>(frd, frs1, frs2, frs3, rm) "frs3 00 frs2 frs1 rm frd 1000011" "fmadd.s frd, frs1, frs2, frs3, rm" F;
    /// Fused multiply-subtract.
    fmsub_s = fp::fmsub::<_, f32>(frd, frs1, frs2, frs3, rm) "frs3 00 frs2 frs1 rm frd 1000111" "fmsub.s frd, frs1, frs2, frs3, rm" F;
    /// Fused negative multiply-subtract.
    fnmsub_s = fp::fnmsub::<_, f32>(frd, frs1, frs2, frs3, rm) "frs3 00 frs2 frs1 rm frd 1001011" "fnmsub.s frd, frs1, frs2, frs3, rm" F;
    /// Fused negative multiply-add.
    fnmadd_s = fp::fnmadd::<_, f32>(frd, frs1, frs2, frs3, rm) "frs3 00 frs2 frs1 rm frd 1001111" "fnmadd.s frd, frs1, frs2, frs3, rm" F;
    /// Add.
    fadd_s = fp::fadd::<_, f32>(frd, frs1, frs2, rm) "0000000 frs2 frs1 rm frd 1010011" "fadd.s frd, frs1, frs2, rm" F;
    /// Subtract.
    fsub_s = fp::fsub::<_, f32>(frd, frs1, frs2, rm) "0000100 frs2 frs1 rm frd 1010011" "fsub.s frd, frs1, frs2, rm" F;
    /// Multiply.
    fmul_s = fp::fmul::<_, f32>(frd, frs1, frs2, rm) "0001000 frs2 frs1 rm frd 1010011" "fmul.s frd, frs1, frs2, rm" F;
    /// Divide.
    fdiv_s = fp::fdiv::<_, f32>(frd, frs1, frs2, rm) "0001100 frs2 frs1 rm frd 1010011" "fdiv.s frd, frs1, frs2, rm" F;
    /// Square root.
    fsqrt_s = fp::fsqrt::<_, f32>(frd, frs1, rm) "0101100 00000 frs1 rm frd 1010011" "fsqrt.s frd, frs1, rm" F;
    /// Copy sign.
    fsgnj_s = fp::fsgnj::<_, f32>(frd, frs1, frs2) "0010000 frs2 frs1 000 frd 1010011" "fsgnj.s frd, frs1, frs2" F;
    /// Copy opposite sign.
    fsgnjn_s = fp::fsgnjn::<_, f32>(frd, frs1, frs2) "0010000 frs2 frs1 001 frd 1010011" "fsgnjn.s frd, frs1, frs2" F;
    /// Exclusive or of signs.
    fsgnjx_s = fp::fsgnjx::<_, f32>(frd, frs1, frs2) "0010000 frs2 frs1 010 frd 1010011" "fsgnjx.s frd, frs1, frs2" F;
    /// Minimum.
    fmin_s = fp::fmin::<_, f32>(frd, frs1, frs2) "0010100 frs2 frs1 000 frd 1010011" "fmin.s frd, frs1, frs2" F;
    /// Maximum.
    fmax_s = fp::fmax::<_, f32>(frd, frs1, frs2) "0010100 frs2 frs1 001 frd 1010011" "fmax.s frd, frs1, frs2" F;
    /// Equal, quiet.
    feq_s = fp::feq::<_, f32>(rd, frs1, frs2) "1010000 frs2 frs1 010 rd 1010011" "feq.s rd, frs1, frs2" F;
    /// Less than, signaling.
    flt_s = fp::flt::<_, f32>(rd, frs1, frs2) "1010000 frs2 frs1 001 rd 1010011" "flt.s rd, frs1, frs2" F;
    /// Less or equal, signaling.
    fle_s = fp::fle::<_, f32>(rd, frs1, frs2) "1010000 frs2 frs1 000 rd 1010011" "fle.s rd, frs1, frs2" F;
    /// Classify.
    fclass_s = fp::fclass::<_, f32>(rd, frs1) "1110000 00000 frs1 001 rd 1010011" "fclass.s rd, frs1" F;
    /// To integer.
    fcvt_w_s = fp::fcvt_int::<_, i32, f32>(rd, frs1, rm) "1100000 00000 frs1 rm rd 1010011" "fcvt.w.s rd, frs1, rm" F;
    /// From integer.
    fcvt_s_w = fp::fcvt_from::<_, f32, i32>(frd, rs1, rm) "1101000 00000 rs1 rm frd 1010011" "fcvt.s.w frd, rs1, rm" F;
    /// To integer.
    fcvt_wu_s = fp::fcvt_int::<_, u32, f32>(rd, frs1, rm) "1100000 00001 frs1 rm rd 1010011" "fcvt.wu.s rd, frs1, rm" F;
    /// From integer.
    fcvt_s_wu = fp::fcvt_from::<_, f32, u32>(frd, rs1, rm) "1101000 00001 rs1 rm frd 1010011" "fcvt.s.wu frd, rs1, rm" F;
    /// To integer.
    fcvt_l_s = fp::fcvt_int::<_, i64, f32>(rd, frs1, rm) "1100000 00010 frs1 rm rd 1010011" "fcvt.l.s rd, frs1, rm" F rv64;
    /// From integer.
    fcvt_s_l = fp::fcvt_from::<_, f32, i64>(frd, rs1, rm) "1101000 00010 rs1 rm frd 1010011" "fcvt.s.l frd, rs1, rm" F rv64;
    /// To integer.
    fcvt_lu_s = fp::fcvt_int::<_, u64, f32>(rd, frs1, rm) "1100000 00011 frs1 rm rd 1010011" "fcvt.lu.s rd, frs1, rm" F rv64;
    /// From integer.
    fcvt_s_lu = fp::fcvt_from::<_, f32, u64>(frd, rs1, rm) "1101000 00011 rs1 rm frd 1010011" "fcvt.s.lu frd, rs1, rm" F rv64;
    /// Bits to an integer register.
    fmv_x_w = fp::fmv_x::<_, f32>(rd, frs1) "1110000 00000 frs1 000 rd 1010011" "fmv.x.w rd, frs1" F;
    /// Bits from an integer register.
    fmv_w_x = fp::fmv_f::<_, f32>(frd, rs1) "1111000 00000 rs1 000 frd 1010011" "fmv.w.x frd, rs1" F;
    /// Load.
    fld = fp::fload::<_, f64>(frd, rs1, imm) "imm[11:0] rs1 011 frd 0000111" "fld frd, imm(rs1)" D;
    /// Store.
    fsd = fp::fstore::<_, f64>(frs2, rs1, imm) "imm[11:5] frs2 rs1 011 imm[4:0] 0100111" "fsd frs2, imm(rs1)" D;
    /// Fused multiply-add.
    fmadd_d = fp::fmadd::<_, f64>(frd, frs1, frs2, frs3, rm) "frs3 01 frs2 frs1 rm frd 1000011" "fmadd.d frd, frs1, frs2, frs3, rm" D;
    /// Fused multiply-subtract.
    fmsub_d = fp::fmsub::<_, f64>(frd, frs1, frs2, frs3, rm) "frs3 01 frs2 frs1 rm frd 1000111" "fmsub.d frd, frs1, frs2, frs3, rm" D;
    /// Fused negative multiply-subtract.
    fnmsub_d = fp::fnmsub::<_, f64>(frd, frs1, frs2, frs3, rm) "frs3 01 frs2 frs1 rm frd 1001011" "fnmsub.d frd, frs1, frs2, frs3, rm" D;
    /// Fused negative multiply-add.
    fnmadd_d = fp::fnmadd::<_, f64>(frd, frs1, frs2, frs3, rm) "frs3 01 frs2 frs1 rm frd 1001111" "fnmadd.d frd, frs1, frs2, frs3, rm" D;
    /// Add.
    fadd_d = fp::fadd::<_, f64>(frd, frs1, frs2, rm) "0000001 frs2 frs1 rm frd 1010011" "fadd.d frd, frs1, frs2, rm" D;
    /// Subtract.
    fsub_d = fp::fsub::<_, f64>(frd, frs1, frs2, rm) "0000101 frs2 frs1 rm frd 1010011" "fsub.d frd, frs1, frs2, rm" D;
    /// Multiply.
    fmul_d = fp::fmul::<_, f64>(frd, frs1, frs2, rm) "0001001 frs2 frs1 rm frd 1010011" "fmul.d frd, frs1, frs2, rm" D;
    /// Divide.
    fdiv_d = fp::fdiv::<_, f64>(frd, frs1, frs2, rm) "0001101 frs2 frs1 rm frd 1010011" "fdiv.d frd, frs1, frs2, rm" D;
    /// Square root.
    fsqrt_d = fp::fsqrt::<_, f64>(frd, frs1, rm) "0101101 00000 frs1 rm frd 1010011" "fsqrt.d frd, frs1, rm" D;
    /// Copy sign.
    fsgnj_d = fp::fsgnj::<_, f64>(frd, frs1, frs2) "0010001 frs2 frs1 000 frd 1010011" "fsgnj.d frd, frs1, frs2" D;
    /// Copy opposite sign.
    fsgnjn_d = fp::fsgnjn::<_, f64>(frd, frs1, frs2) "0010001 frs2 frs1 001 frd 1010011" "fsgnjn.d frd, frs1, frs2" D;
    /// Exclusive or of signs.
    fsgnjx_d = fp::fsgnjx::<_, f64>(frd, frs1, frs2) "0010001 frs2 frs1 010 frd 1010011" "fsgnjx.d frd, frs1, frs2" D;
    /// Minimum.
    fmin_d = fp::fmin::<_, f64>(frd, frs1, frs2) "0010101 frs2 frs1 000 frd 1010011" "fmin.d frd, frs1, frs2" D;
    /// Maximum.
    fmax_d = fp::fmax::<_, f64>(frd, frs1, frs2) "0010101 frs2 frs1 001 frd 1010011" "fmax.d frd, frs1, frs2" D;
    /// Equal, quiet.
    feq_d = fp::feq::<_, f64>(rd, frs1, frs2) "1010001 frs2 frs1 010 rd 1010011" "feq.d rd, frs1, frs2" D;
    /// Less than, signaling.
    flt_d = fp::flt::<_, f64>(rd, frs1, frs2) "1010001 frs2 frs1 001 rd 1010011" "flt.d rd, frs1, frs2" D;
    /// Less or equal, signaling.
    fle_d = fp::fle::<_, f64>(rd, frs1, frs2) "1010001 frs2 frs1 000 rd 1010011" "fle.d rd, frs1, frs2" D;
    /// Classify.
    fclass_d = fp::fclass::<_, f64>(rd, frs1) "1110001 00000 frs1 001 rd 1010011" "fclass.d rd, frs1" D;
    /// To integer.
    fcvt_w_d = fp::fcvt_int::<_, i32, f64>(rd, frs1, rm) "1100001 00000 frs1 rm rd 1010011" "fcvt.w.d rd, frs1, rm" D;
    /// From integer.
    fcvt_d_w = fp::fcvt_from::<_, f64, i32>(frd, rs1, rm) "1101001 00000 rs1 rm frd 1010011" "fcvt.d.w frd, rs1, rm" D;
    /// To integer.
    fcvt_wu_d = fp::fcvt_int::<_, u32, f64>(rd, frs1, rm) "1100001 00001 frs1 rm rd 1010011" "fcvt.wu.d rd, frs1, rm" D;
    /// From integer.
    fcvt_d_wu = fp::fcvt_from::<_, f64, u32>(frd, rs1, rm) "1101001 00001 rs1 rm frd 1010011" "fcvt.d.wu frd, rs1, rm" D;
    /// To integer.
    fcvt_l_d = fp::fcvt_int::<_, i64, f64>(rd, frs1, rm) "1100001 00010 frs1 rm rd 1010011" "fcvt.l.d rd, frs1, rm" D rv64;
    /// From integer.
    fcvt_d_l = fp::fcvt_from::<_, f64, i64>(frd, rs1, rm) "1101001 00010 rs1 rm frd 1010011" "fcvt.d.l frd, rs1, rm" D rv64;
    /// To integer.
    fcvt_lu_d = fp::fcvt_int::<_, u64, f64>(rd, frs1, rm) "1100001 00011 frs1 rm rd 1010011" "fcvt.lu.d rd, frs1, rm" D rv64;
    /// From integer.
    fcvt_d_lu = fp::fcvt_from::<_, f64, u64>(frd, rs1, rm) "1101001 00011 rs1 rm frd 1010011" "fcvt.d.lu frd, rs1, rm" D rv64;
    /// Bits to an integer register.
    fmv_x_d = fp::fmv_x::<_, f64>(rd, frs1) "1110001 00000 frs1 000 rd 1010011" "fmv.x.d rd, frs1" D rv64;
    /// Bits from an integer register.
    fmv_d_x = fp::fmv_f::<_, f64>(frd, rs1) "1111001 00000 rs1 000 frd 1010011" "fmv.d.x frd, rs1" D rv64;
    /// Double to single.
    fcvt_s_d = fp::fcvt::<_, f32, f64>(frd, frs1, rm) "0100000 00001 frs1 rm frd 1010011" "fcvt.s.d frd, frs1, rm" D;
    /// Single to double.
    fcvt_d_s = fp::fcvt::<_, f64, f32>(frd, frs1, rm) "0100001 00000 frs1 rm frd 1010011" "fcvt.d.s frd, frs1, rm" D;

    // Zba, Zbb, Zbs, Zicond (unpriv 28, 29)
    /// Shift by 1 and add.
    sh1add = zb::sh1add(rd, rs1, rs2) "0010000 rs2 rs1 010 rd 0110011" "sh1add rd, rs1, rs2" Zba;
    /// Shift by 2 and add.
    sh2add = zb::sh2add(rd, rs1, rs2) "0010000 rs2 rs1 100 rd 0110011" "sh2add rd, rs1, rs2" Zba;
    /// Shift by 3 and add.
    sh3add = zb::sh3add(rd, rs1, rs2) "0010000 rs2 rs1 110 rd 0110011" "sh3add rd, rs1, rs2" Zba;
    /// And with inverted operand.
    andn = zb::andn(rd, rs1, rs2) "0100000 rs2 rs1 111 rd 0110011" "andn rd, rs1, rs2" Zbb;
    /// Or with inverted operand.
    orn = zb::orn(rd, rs1, rs2) "0100000 rs2 rs1 110 rd 0110011" "orn rd, rs1, rs2" Zbb;
    /// Exclusive nor.
    xnor = zb::xnor(rd, rs1, rs2) "0100000 rs2 rs1 100 rd 0110011" "xnor rd, rs1, rs2" Zbb;
    /// Maximum, signed.
    max = zb::max(rd, rs1, rs2) "0000101 rs2 rs1 110 rd 0110011" "max rd, rs1, rs2" Zbb;
    /// Maximum, unsigned.
    maxu = zb::maxu(rd, rs1, rs2) "0000101 rs2 rs1 111 rd 0110011" "maxu rd, rs1, rs2" Zbb;
    /// Minimum, signed.
    min = zb::min(rd, rs1, rs2) "0000101 rs2 rs1 100 rd 0110011" "min rd, rs1, rs2" Zbb;
    /// Minimum, unsigned.
    minu = zb::minu(rd, rs1, rs2) "0000101 rs2 rs1 101 rd 0110011" "minu rd, rs1, rs2" Zbb;
    /// Rotate left.
    rol = zb::rol(rd, rs1, rs2) "0110000 rs2 rs1 001 rd 0110011" "rol rd, rs1, rs2" Zbb;
    /// Rotate right.
    ror = zb::ror(rd, rs1, rs2) "0110000 rs2 rs1 101 rd 0110011" "ror rd, rs1, rs2" Zbb;
    /// Clear a bit.
    bclr = zb::bclr(rd, rs1, rs2) "0100100 rs2 rs1 001 rd 0110011" "bclr rd, rs1, rs2" Zbs;
    /// Extract a bit.
    bext = zb::bext(rd, rs1, rs2) "0100100 rs2 rs1 101 rd 0110011" "bext rd, rs1, rs2" Zbs;
    /// Invert a bit.
    binv = zb::binv(rd, rs1, rs2) "0110100 rs2 rs1 001 rd 0110011" "binv rd, rs1, rs2" Zbs;
    /// Set a bit.
    bset = zb::bset(rd, rs1, rs2) "0010100 rs2 rs1 001 rd 0110011" "bset rd, rs1, rs2" Zbs;
    /// Zero if equal to zero.
    czero_eqz = zb::czero_eqz(rd, rs1, rs2) "0000111 rs2 rs1 101 rd 0110011" "czero.eqz rd, rs1, rs2" Zicond;
    /// Zero if not equal to zero.
    czero_nez = zb::czero_nez(rd, rs1, rs2) "0000111 rs2 rs1 111 rd 0110011" "czero.nez rd, rs1, rs2" Zicond;
    /// Add an unsigned word.
    add_uw = zb::add_uw(rd, rs1, rs2) "0000100 rs2 rs1 000 rd 0111011" "add.uw rd, rs1, rs2" Zba rv64;
    /// Shift an unsigned word by 1 and add.
    sh1add_uw = zb::sh1add_uw(rd, rs1, rs2) "0010000 rs2 rs1 010 rd 0111011" "sh1add.uw rd, rs1, rs2" Zba rv64;
    /// Shift an unsigned word by 2 and add.
    sh2add_uw = zb::sh2add_uw(rd, rs1, rs2) "0010000 rs2 rs1 100 rd 0111011" "sh2add.uw rd, rs1, rs2" Zba rv64;
    /// Shift an unsigned word by 3 and add.
    sh3add_uw = zb::sh3add_uw(rd, rs1, rs2) "0010000 rs2 rs1 110 rd 0111011" "sh3add.uw rd, rs1, rs2" Zba rv64;
    /// Shift an unsigned word left by a constant.
    slli_uw = zb::slli_uw(rd, rs1, shamt) "000010 shamt rs1 001 rd 0011011" "slli.uw rd, rs1, shamt" Zba rv64;
    /// Rotate a word left.
    rolw = zb::rolw(rd, rs1, rs2) "0110000 rs2 rs1 001 rd 0111011" "rolw rd, rs1, rs2" Zbb rv64;
    /// Rotate a word right.
    rorw = zb::rorw(rd, rs1, rs2) "0110000 rs2 rs1 101 rd 0111011" "rorw rd, rs1, rs2" Zbb rv64;
    /// Rotate a word right by a constant.
    roriw = zb::roriw(rd, rs1, shamtw) "0110000 shamtw rs1 101 rd 0011011" "roriw rd, rs1, shamtw" Zbb rv64;
    /// Rotate right by a constant.
    rori = zb::rori(rd, rs1, shamt) "011000 shamt rs1 101 rd 0010011" "rori rd, rs1, shamt" Zbb rv64;
    /// Rotate right by a constant.
    rori_rv32 = zb::rori(rd, rs1, shamtw) "0110000 shamtw rs1 101 rd 0010011" "rori rd, rs1, shamtw" Zbb rv32;
    /// Clear a bit named by a constant.
    bclri = zb::bclri(rd, rs1, shamt) "010010 shamt rs1 001 rd 0010011" "bclri rd, rs1, shamt" Zbs rv64;
    /// Clear a bit named by a constant.
    bclri_rv32 = zb::bclri(rd, rs1, shamtw) "0100100 shamtw rs1 001 rd 0010011" "bclri rd, rs1, shamtw" Zbs rv32;
    /// Extract a bit named by a constant.
    bexti = zb::bexti(rd, rs1, shamt) "010010 shamt rs1 101 rd 0010011" "bexti rd, rs1, shamt" Zbs rv64;
    /// Extract a bit named by a constant.
    bexti_rv32 = zb::bexti(rd, rs1, shamtw) "0100100 shamtw rs1 101 rd 0010011" "bexti rd, rs1, shamtw" Zbs rv32;
    /// Invert a bit named by a constant.
    binvi = zb::binvi(rd, rs1, shamt) "011010 shamt rs1 001 rd 0010011" "binvi rd, rs1, shamt" Zbs rv64;
    /// Invert a bit named by a constant.
    binvi_rv32 = zb::binvi(rd, rs1, shamtw) "0110100 shamtw rs1 001 rd 0010011" "binvi rd, rs1, shamtw" Zbs rv32;
    /// Set a bit named by a constant.
    bseti = zb::bseti(rd, rs1, shamt) "001010 shamt rs1 001 rd 0010011" "bseti rd, rs1, shamt" Zbs rv64;
    /// Set a bit named by a constant.
    bseti_rv32 = zb::bseti(rd, rs1, shamtw) "0010100 shamtw rs1 001 rd 0010011" "bseti rd, rs1, shamtw" Zbs rv32;
    /// Leading zeros.
    clz = zb::clz(rd, rs1) "011000000000 rs1 001 rd 0010011" "clz rd, rs1" Zbb;
    /// Trailing zeros.
    ctz = zb::ctz(rd, rs1) "011000000001 rs1 001 rd 0010011" "ctz rd, rs1" Zbb;
    /// One bits.
    cpop = zb::cpop(rd, rs1) "011000000010 rs1 001 rd 0010011" "cpop rd, rs1" Zbb;
    /// Sign-extend a byte.
    sext_b = zb::sext_b(rd, rs1) "011000000100 rs1 001 rd 0010011" "sext.b rd, rs1" Zbb;
    /// Sign-extend a half-word.
    sext_h = zb::sext_h(rd, rs1) "011000000101 rs1 001 rd 0010011" "sext.h rd, rs1" Zbb;
    /// Or-combine bytes.
    orc_b = zb::orc_b(rd, rs1) "001010000111 rs1 101 rd 0010011" "orc.b rd, rs1" Zbb;
    /// Leading zeros of a word.
    clzw = zb::clzw(rd, rs1) "011000000000 rs1 001 rd 0011011" "clzw rd, rs1" Zbb rv64;
    /// Trailing zeros of a word.
    ctzw = zb::ctzw(rd, rs1) "011000000001 rs1 001 rd 0011011" "ctzw rd, rs1" Zbb rv64;
    /// One bits of a word.
    cpopw = zb::cpopw(rd, rs1) "011000000010 rs1 001 rd 0011011" "cpopw rd, rs1" Zbb rv64;
    /// Reverse bytes.
    rev8 = zb::rev8(rd, rs1) "011010111000 rs1 101 rd 0010011" "rev8 rd, rs1" Zbb rv64;
    /// Zero-extend a half-word.
    zext_h = zb::zext_h(rd, rs1) "000010000000 rs1 100 rd 0111011" "zext.h rd, rs1" Zbb rv64;
    /// Reverse bytes.
    rev8_rv32 = zb::rev8(rd, rs1) "011010011000 rs1 101 rd 0010011" "rev8 rd, rs1" Zbb rv32;
    /// Zero-extend a half-word.
    zext_h_rv32 = zb::zext_h(rd, rs1) "000010000000 rs1 100 rd 0110011" "zext.h rd, rs1" Zbb rv32;

    // C: quadrant 0 (unpriv 27)
    /// Add to the stack pointer.
    c_addi4spn = i::addi(rdp, 2, nzuimm) "000 nzuimm[5:4|9:6|2|3] rdp 00" "c.addi4spn rdp, sp, nzuimm" C;
    /// Load double.
    c_fld = fp::fload::<_, f64>(frdp, rs1p, uimm) "001 uimm[5:3] rs1p uimm[7:6] frdp 00" "c.fld frdp, uimm(rs1p)" C;
    /// Load word.
    c_lw = i::lw(rdp, rs1p, uimm) "010 uimm[5:3] rs1p uimm[2|6] rdp 00" "c.lw rdp, uimm(rs1p)" C;
    /// Load double-word.
    c_ld = i::ld(rdp, rs1p, uimm) "011 uimm[5:3] rs1p uimm[7:6] rdp 00" "c.ld rdp, uimm(rs1p)" C rv64;
    /// Load single.
    c_flw = fp::fload::<_, f32>(frdp, rs1p, uimm) "011 uimm[5:3] rs1p uimm[2|6] frdp 00" "c.flw frdp, uimm(rs1p)" C rv32;
    /// Store double.
    c_fsd = fp::fstore::<_, f64>(frs2p, rs1p, uimm) "101 uimm[5:3] rs1p uimm[7:6] frs2p 00" "c.fsd frs2p, uimm(rs1p)" C;
    /// Store word.
    c_sw = i::sw(rs2p, rs1p, uimm) "110 uimm[5:3] rs1p uimm[2|6] rs2p 00" "c.sw rs2p, uimm(rs1p)" C;
    /// Store double-word.
    c_sd = i::sd(rs2p, rs1p, uimm) "111 uimm[5:3] rs1p uimm[7:6] rs2p 00" "c.sd rs2p, uimm(rs1p)" C rv64;
    /// Store single.
    c_fsw = fp::fstore::<_, f32>(frs2p, rs1p, uimm) "111 uimm[5:3] rs1p uimm[2|6] frs2p 00" "c.fsw frs2p, uimm(rs1p)" C rv32;

    // C: quadrant 1
    /// Does nothing.
    c_nop = i::nop() "000 0 00000 00000 01" "c.nop" C;
    /// Add immediate.
    c_addi = i::addi(rd, rd, imm) "000 imm[5] rd imm[4:0] 01" "c.addi rd, imm" C;
    /// Jump and link.
    c_jal = i::jal(1, imm) "001 imm[11|4|9:8|10|6|7|3:1|5] 01" "c.jal imm" C rv32;
    /// Add immediate to a word.
    c_addiw = i::addiw(rd!=0, rd, imm) "001 imm[5] rd imm[4:0] 01" "c.addiw rd, imm" C rv64;
    /// Load immediate.
    c_li = i::addi(rd, 0, imm) "010 imm[5] rd imm[4:0] 01" "c.li rd, imm" C;
    /// Add to the stack pointer.
    c_addi16sp = i::addi(2, 2, nzimm) "011 nzimm[9] 00010 nzimm[4|6|8:7|5] 01" "c.addi16sp sp, nzimm" C;
    /// Load upper immediate.
    c_lui = i::lui(rd!=2, nzimm) "011 nzimm[17] rd nzimm[16:12] 01" "c.lui rd, nzimm" C;
    /// Logical shift right.
    c_srli = i::srli(rdp, rdp, shamt) "100 shamt[5] 00 rdp shamt[4:0] 01" "c.srli rdp, shamt" C rv64;
    /// Logical shift right.
    c_srli_rv32 = i::srli(rdp, rdp, shamtw) "100 0 00 rdp shamtw 01" "c.srli rdp, shamtw" C rv32;
    /// Arithmetic shift right.
    c_srai = i::srai(rdp, rdp, shamt) "100 shamt[5] 01 rdp shamt[4:0] 01" "c.srai rdp, shamt" C rv64;
    /// Arithmetic shift right.
    c_srai_rv32 = i::srai(rdp, rdp, shamtw) "100 0 01 rdp shamtw 01" "c.srai rdp, shamtw" C rv32;
    /// And with immediate.
    c_andi = i::andi(rdp, rdp, imm) "100 imm[5] 10 rdp imm[4:0] 01" "c.andi rdp, imm" C;
    /// Subtract.
    c_sub = i::sub(rdp, rdp, rs2p) "100 0 11 rdp 00 rs2p 01" "c.sub rdp, rs2p" C;
    /// Exclusive or.
    c_xor = i::xor(rdp, rdp, rs2p) "100 0 11 rdp 01 rs2p 01" "c.xor rdp, rs2p" C;
    /// Or.
    c_or = i::or(rdp, rdp, rs2p) "100 0 11 rdp 10 rs2p 01" "c.or rdp, rs2p" C;
    /// And.
    c_and = i::and(rdp, rdp, rs2p) "100 0 11 rdp 11 rs2p 01" "c.and rdp, rs2p" C;
    /// Subtract words.
    c_subw = i::subw(rdp, rdp, rs2p) "100 1 11 rdp 00 rs2p 01" "c.subw rdp, rs2p" C rv64;
    /// Add words.
    c_addw = i::addw(rdp, rdp, rs2p) "100 1 11 rdp 01 rs2p 01" "c.addw rdp, rs2p" C rv64;
    /// Jump.
    c_j = i::jal(0, imm) "101 imm[11|4|9:8|10|6|7|3:1|5] 01" "c.j imm" C;
    /// Branch if zero.
    c_beqz = i::beq(rs1p, 0, imm) "110 imm[8|4:3] rs1p imm[7:6|2:1|5] 01" "c.beqz rs1p, imm" C;
    /// Branch if not zero.
    c_bnez = i::bne(rs1p, 0, imm) "111 imm[8|4:3] rs1p imm[7:6|2:1|5] 01" "c.bnez rs1p, imm" C;

    // C: quadrant 2
    /// Shift left.
    c_slli = i::slli(rd, rd, shamt) "000 shamt[5] rd shamt[4:0] 10" "c.slli rd, shamt" C rv64;
    /// Shift left.
    c_slli_rv32 = i::slli(rd, rd, shamtw) "000 0 rd shamtw 10" "c.slli rd, shamtw" C rv32;
    /// Load double from the stack.
    c_fldsp = fp::fload::<_, f64>(frd, 2, uimm) "001 uimm[5] frd uimm[4:3|8:6] 10" "c.fldsp frd, uimm(sp)" C;
    /// Load word from the stack.
    c_lwsp = i::lw(rd!=0, 2, uimm) "010 uimm[5] rd uimm[4:2|7:6] 10" "c.lwsp rd, uimm(sp)" C;
    /// Load double-word from the stack.
    c_ldsp = i::ld(rd!=0, 2, uimm) "011 uimm[5] rd uimm[4:3|8:6] 10" "c.ldsp rd, uimm(sp)" C rv64;
    /// Load single from the stack.
    c_flwsp = fp::fload::<_, f32>(frd, 2, uimm) "011 uimm[5] frd uimm[4:2|7:6] 10" "c.flwsp frd, uimm(sp)" C rv32;
    /// Jump to register.
    c_jr = i::jalr(0, rs1!=0, 0) "1000 rs1 00000 10" "c.jr rs1" C;
    /// Move.
    c_mv = i::add(rd, 0, rs2!=0) "1000 rd rs2 10" "c.mv rd, rs2" C;
    /// Breakpoint.
    c_ebreak = system::ebreak() "1001 00000 00000 10" "c.ebreak" C;
    /// Jump and link register.
    c_jalr = i::jalr(1, rs1!=0, 0) "1001 rs1 00000 10" "c.jalr rs1" C;
    /// Add.
    c_add = i::add(rd, rd, rs2!=0) "1001 rd rs2 10" "c.add rd, rs2" C;
    /// Store double on the stack.
    c_fsdsp = fp::fstore::<_, f64>(frs2, 2, uimm) "101 uimm[5:3|8:6] frs2 10" "c.fsdsp frs2, uimm(sp)" C;
    /// Store word on the stack.
    c_swsp = i::sw(rs2, 2, uimm) "110 uimm[5:2|7:6] rs2 10" "c.swsp rs2, uimm(sp)" C;
    /// Store double-word on the stack.
    c_sdsp = i::sd(rs2, 2, uimm) "111 uimm[5:3|8:6] rs2 10" "c.sdsp rs2, uimm(sp)" C rv64;
    /// Store single on the stack.
    c_fswsp = fp::fstore::<_, f32>(frs2, 2, uimm) "111 uimm[5:2|7:6] frs2 10" "c.fswsp frs2, uimm(sp)" C rv32;
}

/// Whether an instruction has 32 bits (unpriv 1.5).
pub fn is_long(word: u32) -> bool {
    word & 3 == 3
}

/// Decodes an instruction of RV32; of a short one, the low 16 bits.
pub fn decode32(word: u32) -> Option<(Row, Operands)> {
    if is_long(word) { decode32_rv32(word) } else { decode16_rv32(word & 0xffff) }
}

/// Decodes an instruction of RV64; of a short one, the low 16 bits.
pub fn decode64(word: u32) -> Option<(Row, Operands)> {
    if is_long(word) { decode32_rv64(word) } else { decode16_rv64(word & 0xffff) }
}

/// The kind of access of a CSR instruction; whether a write also reads makes no difference to translations.
fn csr_op(row: Row, operands: &Operands) -> csr::Op {
    // `rs1` or `zimm`, the first field of the pattern.
    let no_operand = operands.r[0] == 0;
    match row {
        row::CSRRS | row::CSRRSI | row::CSRRC | row::CSRRCI if no_operand => csr::Op::Read,
        row::CSRRS | row::CSRRSI => csr::Op::Set,
        row::CSRRC | row::CSRRCI => csr::Op::Clear,
        _ => csr::Op::Swap,
    }
}

/// Whether a translation ends after this instruction: it may change the mode, or never continues with the
/// next one.
pub fn ends_block(row: Row, operands: &Operands) -> bool {
    match row {
        row::SRET | row::MRET | row::WFI | row::SFENCE_VMA | row::FENCE_I => true,
        row::JAL | row::JALR | row::C_J | row::C_JAL | row::C_JR | row::C_JALR => true,
        row::ECALL | row::EBREAK | row::C_EBREAK => true,
        row::CSRRW | row::CSRRS | row::CSRRC | row::CSRRWI | row::CSRRSI | row::CSRRCI => {
            let number = operands.imm as u16;
            let plain = csr::find(number).map(|c| c.kind);
            let float = csr::FpCsr::of(number, csr_op(row, operands)).is_some();
            !float && !matches!(plain, Some(csr::Kind::Plain(..) | csr::Kind::Fixed(_)))
        }
        _ => false,
    }
}
