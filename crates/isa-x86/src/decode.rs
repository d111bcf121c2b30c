//! From bytes to rows and operands (SDM volume 2, chapter 2).

use crate::cpu::Features;
use crate::operands::{ABSOLUTE, AH, Arg, Mem, NO_REGISTER, Operands, RIP, prefix};
use crate::row::{Kind, RowInfo, Size, flag, key};
use crate::state::{mode, segment};
use crate::table::{self, Entry};
use trine_ir::{Bytes, DecodeError};

/// Longest instruction in bytes.
pub const MAX_BYTES: usize = 15;

/// A decoded instruction.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// Number of its row, over all tables.
    pub row: u16,
    /// log2 of its operand size in bytes.
    pub log: u8,
    /// Its length in bytes.
    pub bytes: u8,
    /// Its operands.
    pub operands: Operands,
}

/// Reads an instruction's bytes.
struct Reader<'a> {
    bytes: &'a Bytes,
    have: usize,
    at: usize,
}

impl Reader<'_> {
    fn u8(&mut self) -> Result<u8, DecodeError> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn peek(&self) -> Result<u8, DecodeError> {
        if self.at < self.have.min(MAX_BYTES) {
            return Ok(self.bytes[self.at]);
        }
        Err(if self.have < MAX_BYTES { DecodeError::More } else { DecodeError::Illegal })
    }

    /// A little-endian number of `count` bytes, sign-extended.
    fn signed(&mut self, count: u32) -> Result<i64, DecodeError> {
        let mut number = 0u64;
        for n in 0..count {
            number |= (self.u8()? as u64) << (8 * n);
        }
        let unused = 64 - 8 * count;
        Ok(if count == 0 { 0 } else { (number << unused) as i64 >> unused })
    }
}

/// What stands before the opcode.
#[derive(Clone, Copy, Default)]
struct Prefixes {
    /// [`prefix`]es.
    set: u8,
    /// The latest of F3 (2) and F2 (3), or 66 (1), or 0.
    mandatory: u16,
    address: bool,
    segment: Option<u8>,
    rex: Option<u8>,
    vex: bool,
    /// R, X, B as bits 3 of register numbers, W and L.
    r: u8,
    x: u8,
    b: u8,
    w: bool,
    l: bool,
    /// VEX.vvvv.
    v: u8,
    map: u8,
}

impl Prefixes {
    /// Legacy prefixes and REX, up to the first byte of the opcode.
    fn read(bytes: &mut Reader, long: bool) -> Result<Prefixes, DecodeError> {
        let mut p = Prefixes::default();
        let mut repeat = 0;
        loop {
            let byte = bytes.peek()?;
            match byte {
                0x26 | 0x2e | 0x36 | 0x3e if !long => p.segment = Some(byte >> 3 & 3),
                // In 64-bit mode these four name nothing, but do not undo FS or GS.
                0x26 | 0x2e | 0x36 | 0x3e => {}
                0x64 => p.segment = Some(segment::FS),
                0x65 => p.segment = Some(segment::GS),
                0x66 => p.set |= prefix::OPERAND,
                0x67 => p.address = true,
                0xf0 => p.set |= prefix::LOCK,
                0xf2 => (p.set, repeat) = (p.set & !prefix::REP | prefix::REPNE, 3),
                0xf3 => (p.set, repeat) = (p.set & !prefix::REPNE | prefix::REP, 2),
                0x40..=0x4f if long => {
                    p.rex = Some(byte);
                    bytes.at += 1;
                    // REX counts only directly before the opcode.
                    if !matches!(bytes.peek()?, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
                    {
                        break;
                    }
                    p.rex = None;
                    continue;
                }
                _ => break,
            }
            bytes.at += 1;
        }
        p.mandatory = if repeat != 0 { repeat } else { (p.set & prefix::OPERAND != 0) as u16 };
        if let Some(rex) = p.rex {
            p.w = rex & 8 != 0;
            (p.r, p.x, p.b) = (rex << 1 & 8, rex << 2 & 8, rex << 3 & 8);
        }
        Ok(p)
    }

    /// The opcode's map or a VEX prefix, and the opcode.
    fn opcode(&mut self, bytes: &mut Reader, long: bool) -> Result<u8, DecodeError> {
        let byte = bytes.u8()?;
        match byte {
            0x0f => {
                let second = bytes.u8()?;
                self.map = match second {
                    0x38 => 2,
                    0x3a => 3,
                    _ => 1,
                };
                if self.map > 1 { bytes.u8() } else { Ok(second) }
            }
            // Outside 64-bit mode these are LES and LDS unless what follows would name a register.
            0xc4 | 0xc5 if long || bytes.peek()? >= 0xc0 => {
                if self.mandatory != 0 || self.set & prefix::LOCK != 0 || self.rex.is_some() {
                    return Err(DecodeError::Illegal);
                }
                self.vex(bytes, byte == 0xc4, long)?;
                bytes.u8()
            }
            _ => Ok(byte),
        }
    }

    /// The bytes of a VEX prefix after the first (SDM volume 2, 2.3.5).
    fn vex(&mut self, bytes: &mut Reader, three: bool, long: bool) -> Result<(), DecodeError> {
        let first = bytes.u8()?;
        self.vex = true;
        self.r = !first >> 4 & 8;
        self.map = 1;
        let last = if three {
            (self.x, self.b) = (!first >> 3 & 8, !first >> 2 & 8);
            self.map = first & 31;
            if !(1..=3).contains(&self.map) {
                return Err(DecodeError::Illegal);
            }
            bytes.u8()?
        } else {
            first
        };
        self.w = three && last & 0x80 != 0;
        self.v = !last >> 3 & 15;
        self.l = last & 4 != 0;
        // 66, F3, F2 in VEX's order are 1, 2, 3.
        self.mandatory = (last & 3) as u16;
        if !long {
            // Registers above 7 do not exist: the bits are ignored, or cannot be clear here.
            (self.r, self.x, self.b, self.v) = (0, 0, 0, self.v & 7);
        }
        Ok(())
    }
}

/// Bits of an address: 64, 32 or 16.
fn address_bits(p: &Prefixes, mode: u32) -> u32 {
    match (mode::long(mode), mode::code32(mode), p.address) {
        (true, _, false) => 64,
        (true, _, true) | (_, true, false) | (_, false, true) => 32,
        (_, true, true) | (_, false, false) => 16,
    }
}

/// A memory operand by ModRM of 32 or 64 bits (SDM volume 2, 2.1.5, tables 2-2 and 2-3).
fn memory(bytes: &mut Reader, modrm: u8, p: &Prefixes, long: bool) -> Result<Mem, DecodeError> {
    let (kind, rm) = (modrm >> 6, modrm & 7);
    let mut m = Mem { base: rm | p.b, ..Mem::default() };
    let mut low = rm;
    if rm == 4 {
        let sib = bytes.u8()?;
        let index = sib >> 3 & 7 | p.x;
        if index != 4 {
            (m.index, m.scale) = (index, sib >> 6);
        }
        low = sib & 7;
        m.base = low | p.b;
    }
    let displacement = match kind {
        0 if low == 5 => {
            m.base = if rm == 5 && long { RIP } else { NO_REGISTER };
            4
        }
        0 => 0,
        1 => 1,
        _ => 4,
    };
    m.disp = bytes.signed(displacement)? as i32;
    m.named = if matches!(m.base, 4 | 5) { segment::SS } else { segment::DS };
    Ok(m)
}

/// A memory operand by ModRM of 16 bits (table 2-1).
fn memory16(bytes: &mut Reader, modrm: u8) -> Result<Mem, DecodeError> {
    const BX: u8 = 3;
    const BP: u8 = 5;
    const SI: u8 = 6;
    const DI: u8 = 7;
    let (kind, rm) = (modrm >> 6, modrm & 7);
    let no = NO_REGISTER;
    let (base, index) =
        [(BX, SI), (BX, DI), (BP, SI), (BP, DI), (SI, no), (DI, no), (BP, no), (BX, no)][rm as usize];
    let mut m = Mem { base, index, ..Mem::default() };
    let displacement = match kind {
        0 if rm == 6 => {
            m.base = no;
            2
        }
        0 => 0,
        1 => 1,
        _ => 2,
    };
    m.disp = bytes.signed(displacement)? as i32;
    m.named = if m.base == BP { segment::SS } else { segment::DS };
    Ok(m)
}

/// The operand size of a row with these prefixes: log2 of bytes.
fn size_of(row: &RowInfo, p: &Prefixes, mode: u32) -> u8 {
    let long = mode::long(mode);
    let small = p.set & prefix::OPERAND != 0;
    // A mandatory 66 does not change the size of what has no W.
    let of_prefix = match (p.w, small == mode::code32(mode) && !long || small && long) {
        (true, _) if long => 3,
        (_, true) => 1,
        _ => 2,
    };
    match row.size {
        Size::B => 0,
        Size::W => 1,
        Size::D => 2,
        Size::Q => 3,
        Size::Y => {
            if p.w && long {
                3
            } else {
                2
            }
        }
        Size::Z => of_prefix.min(2),
        _ if row.has(flag::F64) && long => 3,
        _ if row.has(flag::D64) && long => {
            if of_prefix == 1 {
                1
            } else {
                3
            }
        }
        _ => of_prefix,
    }
}

/// Bytes of an immediate.
fn immediate_bytes(size: Size, log: u8) -> u32 {
    match size {
        Size::B => 1,
        Size::W => 2,
        Size::D => 4,
        Size::Q => 8,
        Size::V => 1 << log,
        _ => 1 << log.min(2),
    }
}

/// Decodes an instruction: see [`trine_ir::Isa::decode`].
pub fn decode(features: Features, mode: u32, bytes: &Bytes, have: usize) -> Result<Instruction, DecodeError> {
    let long = mode::long(mode);
    let mut reader = Reader { bytes, have, at: 0 };
    let mut p = Prefixes::read(&mut reader, long)?;
    let opcode = p.opcode(&mut reader, long)?;
    let candidates = table::candidates(p.vex, p.map, opcode);
    let first = candidates.first().ok_or(DecodeError::Illegal)?;
    let modrm = if first.modrm { Some(reader.u8()?) } else { None };
    let entry = choose(candidates, features, key_of(&p, modrm.unwrap_or(0), long))?;
    let row = table::info(entry.row);
    let mut o = Operands { low: opcode & 15, prefixes: p.set, wide: p.l, vex: p.vex, ..Operands::default() };
    let bits = address_bits(&p, mode);
    o.prefixes |= match bits {
        32 => prefix::A32,
        16 => prefix::A16,
        _ => 0,
    };
    if let Some(modrm) = modrm
        && modrm < 0xc0
        && !row.has(flag::NOMOD)
    {
        o.mem =
            if bits == 16 { memory16(&mut reader, modrm)? } else { memory(&mut reader, modrm, &p, long)? };
    }
    let log = size_of(row, &p, mode);
    for (n, operand) in row.operands.iter().enumerate() {
        let byte = matches!(operand.size, Size::B);
        // Without REX, the numbers 4 to 7 of 8-bit registers are AH to BH.
        let general = |number: u8| match byte && p.rex.is_none() && (4..8).contains(&number) {
            true => Arg::Reg(number - 4 + AH),
            false => Arg::Reg(number),
        };
        let (reg, rm) = modrm.map_or((0, 0), |m| (m >> 3 & 7 | p.r, m & 7 | p.b));
        let memory = modrm.is_some_and(|m| m < 0xc0) && !row.has(flag::NOMOD);
        o.args[n] = match operand.kind {
            Kind::E | Kind::M | Kind::W | Kind::Q if memory => Arg::Mem,
            Kind::E | Kind::R => general(rm),
            Kind::G => general(reg),
            Kind::Z => general(opcode & 7 | p.b),
            Kind::V => Arg::Reg(reg),
            Kind::W | Kind::U => Arg::Reg(rm),
            Kind::H | Kind::B => Arg::Reg(p.v),
            Kind::P => Arg::Reg(reg & 7),
            Kind::Q | Kind::N | Kind::StackRm => Arg::Reg(rm & 7),
            // Only these control registers exist, and six segment registers.
            Kind::C if !matches!(reg, 0 | 2 | 3 | 4 | 8) => return Err(DecodeError::Illegal),
            Kind::S if reg & 7 > segment::GS => return Err(DecodeError::Illegal),
            // CS cannot be moved to.
            Kind::S if n == 0 && reg & 7 == segment::CS => return Err(DecodeError::Illegal),
            Kind::C | Kind::D => Arg::Reg(reg),
            Kind::S => Arg::Reg(reg & 7),
            Kind::M => return Err(DecodeError::Illegal),
            Kind::Gpr(r) => Arg::Reg(r),
            Kind::Segment(r) | Kind::Vector(r) | Kind::Stack(r) => Arg::Reg(r),
            Kind::One => {
                o.imm = 1;
                Arg::Imm
            }
            Kind::I if n > 0 && matches!(o.args[n - 1], Arg::Imm) => {
                o.imm2 = reader.signed(immediate_bytes(operand.size, log))? as u16;
                Arg::Imm2
            }
            Kind::I | Kind::J => {
                o.imm = reader.signed(immediate_bytes(operand.size, log))?;
                Arg::Imm
            }
            Kind::L => {
                o.imm = reader.signed(1)?;
                Arg::Reg((o.imm >> 4 & if long { 15 } else { 7 }) as u8)
            }
            Kind::O => {
                o.mem = Mem { base: ABSOLUTE, named: segment::DS, ..Mem::default() };
                let unused = 64 - bits;
                o.imm = ((reader.signed(bits / 8)? as u64) << unused >> unused) as i64;
                Arg::Mem
            }
            Kind::A => {
                o.imm = reader.signed(1 << log)?;
                o.imm2 = reader.signed(2)? as u16;
                Arg::Imm
            }
            Kind::X | Kind::Y => Arg::Mem,
        };
        if matches!(operand.kind, Kind::X) {
            o.mem.named = segment::DS;
        }
    }
    // An instruction without memory operand has no segment.
    if o.mem.named != NO_REGISTER {
        o.mem.named = p.segment.unwrap_or(o.mem.named);
        let flat = mode::flat(mode) && o.mem.named < segment::FS;
        o.mem.segment = if flat { NO_REGISTER } else { o.mem.named };
    }
    let locked = o.has(prefix::LOCK);
    if locked && !(row.has(flag::LOCK) && o.args[0] == Arg::Mem) {
        return Err(DecodeError::Illegal);
    }
    // VEX.vvvv must be 1111 where no operand is in it.
    if p.vex && p.v != 0 && !row.operands.iter().any(|o| matches!(o.kind, Kind::H | Kind::B)) {
        return Err(DecodeError::Illegal);
    }
    Ok(Instruction { row: entry.row, log, bytes: reader.at as u8, operands: o })
}

/// What the rows of an opcode are told apart by.
fn key_of(p: &Prefixes, modrm: u8, long: bool) -> u16 {
    p.mandatory << key::PREFIX
        | ((modrm >> 3 & 7) as u16) << key::REG
        | ((modrm >= 0xc0) as u16) << key::REGISTER
        | ((modrm & 7) as u16) << key::RM
        | (p.w as u16) << key::W
        | (p.l as u16) << key::L
        | (long as u16) << key::LONG
}

/// The first candidate that fits: they are in the order of how much they demand.
fn choose(candidates: &[Entry], features: Features, key: u16) -> Result<&Entry, DecodeError> {
    let found = candidates.iter().find(|e| key & e.mask == e.value && features.has(e.feature));
    found.ok_or(DecodeError::Illegal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::code;

    /// Any bytes: nothing panics, no instruction is longer than it may be, and each needs all of its bytes and no more.
    #[test]
    fn instructions_need_their_own_bytes() {
        let mut x = 0x1234_5678_9abc_def1u64;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x
        };
        let mut found = 0;
        for round in 0..200_000u64 {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&next().to_le_bytes());
            bytes[8..].copy_from_slice(&next().to_le_bytes());
            if round % 4 == 0 {
                bytes[0] = 0x0f;
            }
            let mode = if round % 2 == 0 { code::LONG } else { code::D32 | code::FLAT } as u32;
            let Ok(whole) = decode(Features::ALL, mode, &bytes, 16) else { continue };
            let length = whole.bytes as usize;
            assert!((1..=MAX_BYTES).contains(&length), "{bytes:x?}");
            let cut = decode(Features::ALL, mode, &bytes, length).map(|i| (i.row, i.operands));
            assert_eq!(cut, Ok((whole.row, whole.operands)), "{bytes:x?}");
            for have in 0..length {
                let short = decode(Features::ALL, mode, &bytes, have).map(|i| i.bytes);
                assert_eq!(short, Err(DecodeError::More), "{have} of {bytes:x?}");
            }
            let _ = crate::disasm::text(mode, &whole, 0);
            found += 1;
        }
        assert!(found > 50_000, "{found}");
    }

    #[test]
    fn what_is_too_long_is_invalid() {
        let bytes = [0x66; 16];
        let mode = code::LONG as u32;
        assert_eq!(decode(Features::ALL, mode, &bytes, 16).map(|i| i.bytes), Err(DecodeError::Illegal));
        assert_eq!(decode(Features::ALL, mode, &bytes, 14).map(|i| i.bytes), Err(DecodeError::More));
    }
}
