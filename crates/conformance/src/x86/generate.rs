//! Random instructions by the rows of the CPU's tables, with registers and memory that let most of them complete.

use super::case::{CODE_BYTES, Case, DATA, DATA_BYTES, FX_MXCSR, FX_STACK, FX_XMM, Registers};
use super::native::{CODE_STRIDE, SLOTS, code_of};
use crate::random::Random;
use std::sync::LazyLock;
use trine_isa_x86::cpu::Features;
use trine_isa_x86::decode::{self, Instruction};
use trine_isa_x86::operands::{ABSOLUTE, Arg, NO_REGISTER, Operands, RIP, prefix};
use trine_isa_x86::row::{Kind, RowInfo, Size, flag, key};
use trine_isa_x86::state::gpr;
use trine_isa_x86::table;

/// Rows that are not compared in this way, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("syscall", "the child would make the call"),
    ("sysenter", "the child would make the call"),
    ("int", "the child would make the call"),
    ("cpuid", "the host is another model"),
    ("rdtsc", "the clock differs"),
    ("rdtscp", "the clock differs"),
    ("rdpid", "the number of the host's CPU"),
    ("xgetbv", "the host has more state"),
    ("rdrand", "not the same twice"),
    ("rdseed", "not the same twice"),
    ("popf/popfd/popfq", "TF and AC would hit the child's signal handler"),
    ("rdfsbase", "the base is the child's own"),
    ("rdgsbase", "the base is the child's own"),
    ("wrfsbase", "the child would lose its thread-local variables"),
    ("wrgsbase", "the base is the child's own"),
    ("mov Sw, Ew", "needs descriptors"),
    ("mov Ev, Sw", "the child's selectors differ"),
    ("push es", "the child's selectors differ"),
    ("push ds", "the child's selectors differ"),
    ("push cs", "the child's selectors differ"),
    ("push ss", "the child's selectors differ"),
    ("push fs", "the child's selectors differ"),
    ("push gs", "the child's selectors differ"),
    ("pushf/pushfd/pushfq", "IOPL and the like are the child's own"),
    ("int1", "a debug exception without its own report"),
    ("salc", "undocumented"),
    ("mov Rv, Cv", "which control registers there are is the system's side"),
    ("mov Cv, Rv", "which control registers there are is the system's side"),
    ("mov Rv, Dv", "which debug registers there are is the system's side"),
    ("mov Dv, Rv", "which debug registers there are is the system's side"),
    ("in", "the child may have rights to ports"),
    ("out", "the child may have rights to ports"),
    ("ins", "the child may have rights to ports"),
    ("outs", "the child may have rights to ports"),
];

/// The features of the host's CPU.
fn host() -> Features {
    static HOST: LazyLock<Features> = LazyLock::new(|| {
        Features::told_by(|leaf, sub| {
            let found = std::arch::x86_64::__cpuid_count(leaf, sub);
            [found.eax, found.ebx, found.ecx, found.edx]
        })
    });
    *HOST
}

/// Whether a row is compared.
pub fn is_compared(row: &RowInfo) -> bool {
    host().has(row.feature)
        && !LEFT_OUT.iter().any(|(name, _)| *name == row.mnemonic() || *name == row.syntax)
}

/// An instruction's bytes as they are made.
struct Maker<'a> {
    random: &'a mut Random,
    long: bool,
    bytes: Vec<u8>,
    /// Where a displacement of 32 bits without registers is.
    absolute: Option<usize>,
}

impl Maker<'_> {
    /// What the row demands of a part of its key.
    fn demanded(row: &RowInfo, at: u16, bits: u16) -> Option<u8> {
        (row.mask >> at & bits == bits).then_some((row.value >> at & bits) as u8)
    }

    fn prefixes(&mut self, row: &RowInfo) {
        let demanded = Self::demanded(row, key::PREFIX, 3);
        if row.has(flag::REP) && self.random.once_in(2) {
            let byte = self.random.pick(&[0xf2, 0xf3]);
            self.bytes.push(byte);
        }
        // A branch with 66 depends on the vendor.
        let sized = matches!(row.size, Size::V | Size::Z | Size::Y) && !row.has(flag::F64);
        if demanded.is_none() && sized && self.random.once_in(4) || demanded == Some(1) {
            self.bytes.push(0x66);
        }
        match demanded {
            Some(2) => self.bytes.push(0xf3),
            Some(3) => self.bytes.push(0xf2),
            _ => {}
        }
        if self.random.once_in(if row.has(flag::LOCK) { 6 } else { 200 }) {
            self.bytes.push(0xf0);
        }
        if self.random.once_in(16) {
            self.bytes.push(0x67);
        }
        if self.random.once_in(32) {
            // A store to the code segment is refused before or after its address is looked at.
            let byte = if self.long { self.random.pick(&[0x26, 0x2e, 0x36, 0x3e]) } else { 0x26 };
            self.bytes.push(byte);
        }
    }

    fn opcode(&mut self, row: &RowInfo) {
        let opcode = row.opcode | self.random.word() as u8 & (row.span - 1);
        let w = Self::demanded(row, key::W, 1);
        if row.vex {
            self.vex(row, w);
        } else {
            if self.long && (w == Some(1) || self.random.once_in(2)) {
                let rex = 0x40 | self.random.word() as u8 & 15;
                self.bytes.push(match w {
                    Some(1) => rex | 8,
                    Some(_) => rex & !8,
                    None => rex,
                });
            }
            let map: &[u8] = [&[][..], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]][row.map as usize];
            self.bytes.extend(map);
        }
        self.bytes.push(opcode);
    }

    fn vex(&mut self, row: &RowInfo, w: Option<u8>) {
        let r = self.random.word() as u8;
        let pp = Self::demanded(row, key::PREFIX, 3).unwrap_or(0);
        let l = Self::demanded(row, key::L, 1).unwrap_or(r & 1);
        let uses_v = row.operands.iter().any(|o| matches!(o.kind, Kind::H | Kind::B));
        let v = if uses_v { self.random.word() as u8 & 15 } else { 15 };
        let high = if self.long { r & 0xe0 } else { 0xe0 };
        let v = if self.long { v } else { v | 8 };
        let w = w.unwrap_or(r >> 3 & 1);
        if row.map == 1 && w == 0 && self.random.once_in(2) {
            self.bytes.extend([0xc5, high & 0x80 | 0x40 | v << 3 | l << 2 | pp]);
            if self.long {
                // The bit is that of vvvv here: it belongs to no fixed pattern.
                let last = self.bytes.len() - 1;
                self.bytes[last] = high & 0x80 | v << 3 | l << 2 | pp;
            }
        } else {
            self.bytes.extend([0xc4, high | row.map, w << 7 | v << 3 | l << 2 | pp]);
        }
    }

    fn modrm(&mut self, row: &RowInfo) {
        let form = match Self::demanded(row, key::REGISTER, 1) {
            Some(1) => 3,
            Some(_) => self.random.below(3) as u8,
            None => self.random.below(4) as u8,
        };
        let reg = Self::demanded(row, key::REG, 7).unwrap_or(self.random.word() as u8 & 7);
        let rm = Self::demanded(row, key::RM, 7).unwrap_or(self.random.word() as u8 & 7);
        self.bytes.push(form << 6 | reg << 3 | rm);
        if form == 3 {
            return;
        }
        let mut low = rm;
        if rm == 4 {
            let sib = self.random.word() as u8;
            self.bytes.push(sib);
            low = sib & 7;
        }
        match form {
            0 if low == 5 => {
                self.absolute = Some(self.bytes.len());
                self.bytes.extend([0; 4]);
            }
            0 => {}
            1 => self.bytes.push(self.random.word() as u8),
            _ => {
                let displacement = (self.random.word() as i32) >> self.random.below(24);
                self.bytes.extend(displacement.to_le_bytes());
            }
        }
    }

    fn immediate(&mut self) {
        let value = self.random.integer();
        self.bytes.extend(value.to_le_bytes());
        self.bytes.extend(value.to_le_bytes());
    }
}

/// A random case for a row, in the place of `slot`; `None` if it did not turn out to be that row or another one that can be
/// compared.
pub fn case(random: &mut Random, row: &RowInfo, long: bool, slot: usize) -> Option<Case> {
    let mut m = Maker { random, long, bytes: Vec::new(), absolute: None };
    m.prefixes(row);
    m.opcode(row);
    if row.modrm {
        m.modrm(row);
    }
    m.immediate();
    let absolute = m.absolute;
    let mut code = [0xcc; CODE_BYTES];
    let length = m.bytes.len().min(CODE_BYTES);
    code[..length].copy_from_slice(&m.bytes[..length]);
    let mut case = Case { code, registers: Registers::new(), long, patch: None, seed: random.word() };
    let i = case.instruction()?;
    case.code[i.bytes as usize..].fill(0xcc);
    if !is_compared(table::info(i.row)) {
        return None;
    }
    registers(random, &mut case, slot);
    address(random, &mut case, &i, absolute);
    branch(random, &mut case, &i, slot);
    let mut again = case.instruction()?;
    again.operands.imm = i.operands.imm;
    (again.row == i.row).then_some(case)
}

/// Random registers.
fn registers(random: &mut Random, case: &mut Case, slot: usize) {
    let r = &mut case.registers;
    let mask = if case.long { u64::MAX } else { u32::MAX.into() };
    r.gpr = std::array::from_fn(|_| random.integer() & mask);
    r.gpr[gpr::RSP as usize] = target(random);
    r.rip = code_of(slot);
    r.eflags = 0x202 | random.word() & 0x8d5;
    for n in 0..32 {
        r.fx[FX_XMM + n] = if random.once_in(2) { random.float() } else { random.integer() };
    }
    // Rounding, DAZ and FTZ, flags; now and then an exception that is not masked.
    let masks = if random.once_in(8) { random.word() & 0x1f80 } else { 0x1f80 };
    let control = if random.once_in(2) { random.word() & 0xe07f } else { 0 };
    r.fx[FX_MXCSR] = masks | control | 0xffff << 32;
    r.fx[0] = 0x37f | (random.word() & 7) << 27 | (random.word() & 0xff) << 32;
    for n in 0..8 {
        r.fx[FX_STACK + 2 * n] = random.integer();
        r.fx[FX_STACK + 2 * n + 1] = random.word() & 0xffff;
    }
    r.ymm_high = std::array::from_fn(|_| [random.integer(), random.integer()]);
    if random.once_in(16) {
        r.eflags |= 0x400;
    }
}

/// An address in the data: around the border of its pages, or at its end, where accesses may fault.
fn target(random: &mut Random) -> u64 {
    let at = match random.below(24) {
        0 => DATA_BYTES as u64 - random.below(40),
        n if n < 12 => 0x1000 - 0x80 + random.below(0x100),
        _ => (0x1000 - 0x100 + random.below(0x200)) & !31,
    };
    DATA + at
}

/// Lets the instruction's memory operand lie in the data.
fn address(random: &mut Random, case: &mut Case, i: &Instruction, absolute: Option<usize>) {
    let o = i.operands;
    let row = table::info(i.row);
    let has_memory = o.args.contains(&Arg::Mem);
    let mut to = target(random);
    if o.has(prefix::REP | prefix::REPNE) && row.has(flag::REP) {
        case.registers.gpr[gpr::RCX as usize] = random.below(6);
    }
    let r = &mut case.registers.gpr;
    if row.operands.iter().any(|o| matches!(o.kind, Kind::X | Kind::Y)) {
        r[gpr::RSI as usize] = to;
        r[gpr::RDI as usize] = target(random);
        if row.mnemonic() == "xlat" {
            r[gpr::RBX as usize] = to.wrapping_sub(r[0] & 0xff);
        }
        return;
    }
    if row.mnemonic().starts_with("maskmov") {
        r[gpr::RDI as usize] = to;
    }
    if matches!(row.mnemonic(), "leave" | "enter") {
        r[gpr::RBP as usize] = to;
    }
    if !has_memory {
        return;
    }
    // A bit's number reaches beyond the operand.
    if row.mnemonic().starts_with("bt")
        && let Arg::Reg(n) = o.args[1]
    {
        let value = random.below(512).wrapping_sub(256);
        r[n as usize & 15] = value;
    }
    let m = o.mem;
    if m.base == ABSOLUTE {
        let bytes = if o.has(prefix::A16) {
            2
        } else if o.has(prefix::A32) {
            4
        } else {
            8
        };
        let end = i.bytes as usize;
        case.code[end - bytes..end].copy_from_slice(&to.to_le_bytes()[..bytes]);
        return;
    }
    let index = |r: &[u64; 16]| if m.index == NO_REGISTER { 0 } else { r[m.index as usize] << m.scale };
    if let Some(at) = absolute
        && (m.base == RIP || m.base == NO_REGISTER)
    {
        if m.base == RIP {
            to = to.wrapping_sub(case.registers.rip + i.bytes as u64);
        } else if m.index != NO_REGISTER {
            r[m.index as usize] = random.below(8);
            to = to.wrapping_sub(index(&case.registers.gpr));
        }
        if at + 4 <= i.bytes as usize {
            case.code[at..at + 4].copy_from_slice(&(to as u32).to_le_bytes());
        }
        return;
    }
    if m.base >= 16 {
        return;
    }
    if m.base == m.index {
        // The sum is a multiple of the register.
        r[m.base as usize] = (to.wrapping_sub(m.disp as i64 as u64)) / ((1 << m.scale) + 1);
        return;
    }
    if m.index != NO_REGISTER && random.once_in(2) {
        r[m.index as usize] = random.below(64).wrapping_sub(32);
    }
    let base = to.wrapping_sub(m.disp as i64 as u64).wrapping_sub(index(r));
    r[m.base as usize] = if case.long { base } else { base as u32 as u64 };
}

/// Lets branches go to where there are breakpoints.
fn branch(random: &mut Random, case: &mut Case, i: &Instruction, slot: usize) {
    let row = table::info(i.row);
    let o: Operands = i.operands;
    let near = code_of(slot) + CODE_BYTES as u64 + random.below((CODE_STRIDE - CODE_BYTES) as u64 - 1);
    let end = i.bytes as usize;
    if let Some(operand) = row.operands.iter().find(|o| o.kind == Kind::J) {
        let displacement = near.wrapping_sub(case.registers.rip + end as u64);
        let bytes = match (operand.size, i.log) {
            (Size::B, _) => 1,
            (_, 1) => 2,
            _ => 4,
        };
        case.code[end - bytes..end].copy_from_slice(&displacement.to_le_bytes()[..bytes]);
    }
    if row.mnemonic() == "ret" {
        case.patch = patch(case.registers.gpr[gpr::RSP as usize], near);
    }
    if matches!(row.mnemonic(), "jmp" | "call") && row.operands[0].kind == Kind::E {
        match o.args[0] {
            Arg::Reg(n) => case.registers.gpr[n as usize & 15] = near,
            _ => case.patch = memory_address(case, &o).and_then(|at| patch(at, near)),
        }
    }
}

/// The address of the memory operand.
fn memory_address(case: &Case, o: &Operands) -> Option<u64> {
    let m = o.mem;
    let again = decode::decode(Features::ALL, case.mode(), &case.code[..16].try_into().ok()?, 16).ok()?;
    let disp = again.operands.mem.disp as i64 as u64;
    let base = match m.base {
        RIP => case.registers.rip + again.bytes as u64,
        n if n < 16 => case.registers.gpr[n as usize],
        _ => 0,
    };
    let index = if m.index < 16 { case.registers.gpr[m.index as usize] << m.scale } else { 0 };
    let all = base.wrapping_add(index).wrapping_add(disp);
    Some(if o.has(prefix::A32) || !case.long { all as u32 as u64 } else { all })
}

/// 8 bytes at an address in the data.
fn patch(address: u64, value: u64) -> Option<(u32, u64)> {
    let at = address.checked_sub(DATA).filter(|at| *at <= DATA_BYTES as u64 - 8)?;
    Some((at as u32, value))
}

/// Random cases: every row in turn, and rows by chance.
pub fn cases(seed: u64, count: usize) -> Vec<Case> {
    let mut random = Random::new(seed);
    let rows: Vec<&RowInfo> = table::rows().filter(|row| is_compared(row)).collect();
    let mut made = Vec::with_capacity(count);
    let mut turn = seed as usize * 7919;
    while made.len() < count {
        turn += 1;
        let row = rows[turn % rows.len()];
        let only = if row.mask >> key::LONG & 1 != 0 { Some(row.value >> key::LONG & 1 != 0) } else { None };
        let long = only.unwrap_or(!random.once_in(4));
        made.extend(case(&mut random, row, long, made.len() % SLOTS));
    }
    made
}
