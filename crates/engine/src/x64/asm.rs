//! Bytes of x86-64 instructions (Intel SDM volume 2). Only what the compiler needs.

/// A general register by its number in encodings.
pub type Reg = u8;
/// A vector register by its number in encodings.
pub type Xmm = u8;

#[allow(missing_docs)]
pub mod reg {
    use super::Reg;
    pub const RAX: Reg = 0;
    pub const RCX: Reg = 1;
    pub const RDX: Reg = 2;
    pub const RBX: Reg = 3;
    pub const RSP: Reg = 4;
    pub const RBP: Reg = 5;
    pub const RSI: Reg = 6;
    pub const RDI: Reg = 7;
    pub const R12: Reg = 12;
    pub const R13: Reg = 13;
    pub const R14: Reg = 14;
    pub const R15: Reg = 15;
}

/// A memory operand.
#[derive(Clone, Copy, Debug)]
pub struct Mem {
    /// Base register.
    pub base: Reg,
    /// Index register, with scale 1.
    pub index: Option<Reg>,
    /// Displacement.
    pub disp: i32,
}

/// `[base + disp]`.
pub fn mem(base: Reg, disp: i32) -> Mem {
    Mem { base, index: None, disp }
}

/// `[base + index + disp]`.
pub fn mem2(base: Reg, index: Reg, disp: i32) -> Mem {
    // With `rbp` or `r13` as its base an address always has a displacement, and `lea` of three parts is
    // slower.
    let (base, index) = if disp == 0 && base & 7 == 5 { (index, base) } else { (base, index) };
    Mem { base, index: Some(index), disp }
}

/// Two-operand arithmetic; the number is its place in the opcode map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts and rotates; the number is the opcode extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// Condition codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Cc {
    Overflow = 0,
    NoOverflow = 1,
    Below = 2,
    AboveEqual = 3,
    Equal = 4,
    NotEqual = 5,
    Above = 7,
    Parity = 10,
    NoParity = 11,
    Less = 12,
    GreaterEqual = 13,
    LessEqual = 14,
    Greater = 15,
}

impl Cc {
    /// The opposite condition.
    pub fn opposite(self) -> Cc {
        match self {
            Cc::Overflow => Cc::NoOverflow,
            Cc::NoOverflow => Cc::Overflow,
            Cc::Below => Cc::AboveEqual,
            Cc::AboveEqual => Cc::Below,
            Cc::Equal => Cc::NotEqual,
            Cc::NotEqual => Cc::Equal,
            Cc::Above => Cc::Below,
            Cc::Parity => Cc::NoParity,
            Cc::NoParity => Cc::Parity,
            Cc::Less => Cc::GreaterEqual,
            Cc::GreaterEqual => Cc::Less,
            Cc::LessEqual => Cc::Greater,
            Cc::Greater => Cc::LessEqual,
        }
    }
}

/// Bytes of a displacement; also the alignment of one that changes.
const DISPLACEMENT: usize = 4;
/// Fills space that is never executed.
const INT3: u8 = 0xcc;

/// One of the two parts of a block's code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Part {
    /// Code that runs usually.
    Hot = 0,
    /// Code that runs seldom; follows the hot part.
    Cold = 1,
}

/// A place in the code.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    part: Part,
    at: usize,
}

/// A 32-bit displacement still to be filled in; `Place` is its position.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Hole(pub Place);

/// Collects the code of one block in two parts.
#[derive(Default)]
pub struct Asm {
    parts: [Vec<u8>; 2],
    now: usize,
    fixes: Vec<(Place, Place)>,
    /// Length of the hot part, once that is final.
    split: usize,
}

impl Asm {
    /// An empty assembler.
    pub fn new() -> Asm {
        Asm {
            parts: [Vec::with_capacity(1024), Vec::with_capacity(1024)],
            now: 0,
            fixes: Vec::new(),
            split: 0,
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.parts.iter_mut().for_each(Vec::clear);
        self.fixes.clear();
        self.now = 0;
    }

    /// Selects the part that code is added to; returns the previous one.
    pub fn switch(&mut self, part: Part) -> Part {
        let old = if self.now == 0 { Part::Hot } else { Part::Cold };
        self.now = part as usize;
        old
    }

    /// The current place.
    pub fn here(&self) -> Place {
        let part = if self.now == 0 { Part::Hot } else { Part::Cold };
        Place { part, at: self.parts[self.now].len() }
    }

    /// Makes the hole lead to a place.
    pub fn fix(&mut self, hole: Hole, to: Place) {
        self.fixes.push((hole.0, to));
    }

    /// Makes the hole lead here.
    pub fn fix_here(&mut self, hole: Hole) {
        let here = self.here();
        self.fix(hole, here);
    }

    fn offset(&self, place: Place) -> usize {
        place.at + if place.part == Part::Cold { self.split } else { 0 }
    }

    /// Offset of a place from the start of the finished code.
    pub fn place_offset(&self, place: Place) -> usize {
        self.offset(place)
    }

    /// Offset of a hole from the start of the finished code.
    pub fn hole_offset(&self, hole: Hole) -> usize {
        self.offset(hole.0)
    }

    /// The result of [`Asm::finish`].
    pub fn code(&self) -> &[u8] {
        &self.parts[0]
    }

    /// The displacement in a hole of the finished code.
    pub fn displacement(&self, hole: Hole) -> i32 {
        let at = self.hole_offset(hole);
        let bytes = self.parts[0].get(at..at + DISPLACEMENT).and_then(|b| b.try_into().ok());
        bytes.map_or(0, i32::from_le_bytes)
    }

    /// The finished code: the hot part, then the cold one.
    pub fn finish(&mut self) -> &[u8] {
        // Aligned places in the cold part stay so after the hot one.
        while !self.parts[0].len().is_multiple_of(DISPLACEMENT) {
            self.parts[0].push(INT3);
        }
        self.split = self.parts[0].len();
        for &(hole, to) in &self.fixes {
            let rel = self.offset(to) as i64 - (self.offset(hole) as i64 + 4);
            self.parts[hole.part as usize][hole.at..hole.at + 4].copy_from_slice(&(rel as i32).to_le_bytes());
        }
        self.fixes.clear();
        let (hot, cold) = self.parts.split_at_mut(1);
        hot[0].extend_from_slice(&cold[0]);
        &hot[0]
    }

    /// Adds a byte.
    pub fn byte(&mut self, b: u8) {
        self.parts[self.now].push(b);
    }
    fn bytes(&mut self, b: &[u8]) {
        self.parts[self.now].extend_from_slice(b);
    }
    fn imm32(&mut self, v: i32) {
        self.bytes(&v.to_le_bytes());
    }

    fn rex(&mut self, w: bool, r: u8, x: u8, b: u8, force: bool) {
        let rex = 0x40 | (w as u8) << 3 | (r >> 3 & 1) << 2 | (x >> 3 & 1) << 1 | (b >> 3 & 1);
        if rex != 0x40 || force {
            self.byte(rex);
        }
    }

    fn modrm_reg(&mut self, r: u8, b: u8) {
        self.byte(0xc0 | (r & 7) << 3 | b & 7);
    }

    fn modrm_mem(&mut self, r: u8, m: Mem) {
        let short = (-128..128).contains(&m.disp);
        let mode = if m.disp == 0 && m.base & 7 != 5 {
            0
        } else if short {
            0x40
        } else {
            0x80
        };
        let r = (r & 7) << 3;
        match m.index {
            Some(index) => {
                self.byte(mode | r | 4);
                self.byte((index & 7) << 3 | m.base & 7);
            }
            None if m.base & 7 == 4 => {
                self.byte(mode | r | 4);
                self.byte(0x24);
            }
            None => self.byte(mode | r | m.base & 7),
        }
        match mode {
            0x40 => self.byte(m.disp as u8),
            0x80 => self.imm32(m.disp),
            _ => {}
        }
    }

    /// `[prefix] rex opcode modrm` of two registers.
    fn op_rr(&mut self, prefix: u8, w: bool, opcode: &[u8], r: u8, b: u8, force: bool) {
        if prefix != 0 {
            self.byte(prefix);
        }
        self.rex(w, r, 0, b, force);
        self.bytes(opcode);
        self.modrm_reg(r, b);
    }

    /// The same with a memory operand.
    fn op_rm(&mut self, prefix: u8, w: bool, opcode: &[u8], r: u8, m: Mem, force: bool) {
        if prefix != 0 {
            self.byte(prefix);
        }
        self.rex(w, r, m.index.unwrap_or(0), m.base, force);
        self.bytes(opcode);
        self.modrm_mem(r, m);
    }

    /// `mov d, s` of 64 (`w`) or 32 bits.
    pub fn mov(&mut self, w: bool, d: Reg, s: Reg) {
        self.op_rr(0, w, &[0x8b], d, s, false);
    }
    /// A constant into a register; flags stay.
    pub fn mov_imm(&mut self, d: Reg, v: u64) {
        if v <= u32::MAX as u64 {
            self.rex(false, 0, 0, d, false);
            self.byte(0xb8 | d & 7);
            self.imm32(v as u32 as i32);
        } else if v as i64 == v as i32 as i64 {
            self.rex(true, 0, 0, d, false);
            self.byte(0xc7);
            self.modrm_reg(0, d);
            self.imm32(v as i32);
        } else {
            self.rex(true, 0, 0, d, false);
            self.byte(0xb8 | d & 7);
            self.bytes(&v.to_le_bytes());
        }
    }
    /// Load of 1, 2, 4 or 8 bytes, zero-extended.
    pub fn load(&mut self, bytes: u64, d: Reg, m: Mem) {
        match bytes {
            1 => self.op_rm(0, false, &[0x0f, 0xb6], d, m, false),
            2 => self.op_rm(0, false, &[0x0f, 0xb7], d, m, false),
            4 => self.op_rm(0, false, &[0x8b], d, m, false),
            _ => self.op_rm(0, true, &[0x8b], d, m, false),
        }
    }
    /// Sign-extending load of 1, 2 or 4 bytes.
    pub fn load_signed(&mut self, bytes: u64, d: Reg, m: Mem) {
        match bytes {
            1 => self.op_rm(0, true, &[0x0f, 0xbe], d, m, false),
            2 => self.op_rm(0, true, &[0x0f, 0xbf], d, m, false),
            _ => self.op_rm(0, true, &[0x63], d, m, false),
        }
    }
    /// Store of 1, 2, 4 or 8 bytes.
    pub fn store(&mut self, bytes: u64, m: Mem, s: Reg) {
        match bytes {
            1 => self.op_rm(0, false, &[0x88], s, m, true),
            2 => self.op_rm(0x66, false, &[0x89], s, m, false),
            4 => self.op_rm(0, false, &[0x89], s, m, false),
            _ => self.op_rm(0, true, &[0x89], s, m, false),
        }
    }
    /// Stores a sign-extended constant of 32 bits as 64, or as 32 bits.
    pub fn store_imm(&mut self, w: bool, m: Mem, v: i32) {
        self.op_rm(0, w, &[0xc7], 0, m, false);
        self.imm32(v);
    }
    /// `op d, s`.
    pub fn alu(&mut self, op: Alu, w: bool, d: Reg, s: Reg) {
        self.op_rr(0, w, &[(op as u8) << 3 | 3], d, s, false);
    }
    /// `op d, imm`.
    pub fn alu_imm(&mut self, op: Alu, w: bool, d: Reg, v: i32) {
        self.rex(w, 0, 0, d, false);
        if (-128..128).contains(&v) {
            self.byte(0x83);
            self.modrm_reg(op as u8, d);
            self.byte(v as u8);
        } else {
            self.byte(0x81);
            self.modrm_reg(op as u8, d);
            self.imm32(v);
        }
    }
    /// `op d, [m]`.
    pub fn alu_mem(&mut self, op: Alu, w: bool, d: Reg, m: Mem) {
        self.op_rm(0, w, &[(op as u8) << 3 | 3], d, m, false);
    }
    /// `cmp dword [m], imm8`.
    pub fn cmp_mem_imm8(&mut self, m: Mem, v: i8) {
        self.op_rm(0, false, &[0x83], 7, m, false);
        self.byte(v as u8);
    }
    /// `test a, b`.
    pub fn test(&mut self, w: bool, a: Reg, b: Reg) {
        self.op_rr(0, w, &[0x85], b, a, false);
    }
    /// `test eax, imm32`.
    pub fn test_eax_imm(&mut self, v: i32) {
        self.byte(0xa9);
        self.imm32(v);
    }
    /// `test eax, imm32`: stores a number after a call.
    pub fn mark(&mut self, v: u32) {
        self.test_eax_imm(v as i32);
    }
    /// `lea d, [m]` of 64 or 32 bits.
    pub fn lea(&mut self, w: bool, d: Reg, m: Mem) {
        self.op_rm(0, w, &[0x8d], d, m, false);
    }
    /// Shift or rotate by a constant.
    pub fn shift_imm(&mut self, op: Shift, w: bool, d: Reg, n: u8) {
        self.rex(w, 0, 0, d, false);
        self.byte(0xc1);
        self.modrm_reg(op as u8, d);
        self.byte(n);
    }
    /// Shift or rotate by `cl`.
    pub fn shift_cl(&mut self, op: Shift, w: bool, d: Reg) {
        self.rex(w, 0, 0, d, false);
        self.byte(0xd3);
        self.modrm_reg(op as u8, d);
    }

    /// Rotates 8 or 16 bits by a constant, or by `cl`; the bits above stay.
    pub fn rotate_narrow(&mut self, op: Shift, bits: u8, d: Reg, n: Option<u8>) {
        let byte = bits == 8;
        if !byte {
            self.byte(0x66);
        }
        self.rex(false, 0, 0, d, byte);
        self.byte(if n.is_some() { 0xc0 } else { 0xd2 } | !byte as u8);
        self.modrm_reg(op as u8, d);
        if let Some(n) = n {
            self.byte(n);
        }
    }

    /// A VEX prefix with three bytes.
    #[allow(clippy::too_many_arguments)]
    fn vex(&mut self, map: u8, pp: u8, w: bool, r: u8, x: u8, b: u8, v: u8) {
        self.byte(0xc4);
        self.byte((!r >> 3 & 1) << 7 | (!x >> 3 & 1) << 6 | (!b >> 3 & 1) << 5 | map);
        self.byte((w as u8) << 7 | (!v & 15) << 3 | pp);
    }
    /// BMI2 shift of `s` by register `n`.
    pub fn shift_x(&mut self, op: Shift, w: bool, d: Reg, s: Reg, n: Reg) {
        let pp = match op {
            Shift::Shl => 1,
            Shift::Shr => 3,
            _ => 2,
        };
        self.vex(2, pp, w, d, 0, s, n);
        self.byte(0xf7);
        self.modrm_reg(d, s);
    }
    /// `d = s & !n`.
    pub fn andn(&mut self, w: bool, d: Reg, n: Reg, s: Reg) {
        self.vex(2, 0, w, d, 0, s, n);
        self.byte(0xf2);
        self.modrm_reg(d, s);
    }
    /// Gathers the bits of `s` that `mask` selects.
    pub fn pext(&mut self, d: Reg, s: Reg, mask: Reg) {
        self.vex(2, 2, true, d, 0, mask, s);
        self.byte(0xf5);
        self.modrm_reg(d, mask);
    }
    /// `imul d, s`.
    pub fn imul(&mut self, w: bool, d: Reg, s: Reg) {
        self.op_rr(0, w, &[0x0f, 0xaf], d, s, false);
    }
    /// `mul` 4, `imul` 5, `div` 6, `idiv` 7 of `rdx:rax` by `s`.
    pub fn group3(&mut self, n: u8, w: bool, s: Reg) {
        self.rex(w, 0, 0, s, false);
        self.byte(0xf7);
        self.modrm_reg(n, s);
    }
    /// Sign of `rax` into `rdx`.
    pub fn cqo(&mut self, w: bool) {
        self.rex(w, 0, 0, 0, false);
        self.byte(0x99);
    }
    /// `adc` (`Alu::Add`) or `sbb` (`Alu::Sub`) of two registers.
    pub fn alu_carry(&mut self, op: Alu, w: bool, d: Reg, s: Reg) {
        let opcode = if op == Alu::Add { 0x13 } else { 0x1b };
        self.op_rr(0, w, &[opcode], d, s, false);
    }
    /// Bit 0 of a register into the carry flag: `bt r, 0`.
    pub fn low_bit_to_carry(&mut self, r: Reg) {
        self.rex(false, 0, 0, r, false);
        self.bytes(&[0x0f, 0xba]);
        self.modrm_reg(4, r);
        self.byte(0);
    }
    /// Replaces the low 1 or 2 bytes of `d` by those of `s`.
    pub fn mov_low(&mut self, bytes: u64, d: Reg, s: Reg) {
        match bytes {
            1 => self.op_rr(0, false, &[0x8a], d, s, true),
            _ => self.op_rr(0x66, false, &[0x8b], d, s, false),
        }
    }
    /// `setcc` of a byte register.
    pub fn setcc(&mut self, cc: Cc, d: Reg) {
        self.rex(false, 0, 0, d, true);
        self.bytes(&[0x0f, 0x90 | cc as u8]);
        self.modrm_reg(0, d);
    }
    /// `cmovcc d, s`.
    pub fn cmov(&mut self, cc: Cc, w: bool, d: Reg, s: Reg) {
        self.op_rr(0, w, &[0x0f, 0x40 | cc as u8], d, s, false);
    }
    /// Zero-extends 1 or 2 bytes.
    pub fn movzx(&mut self, bytes: u64, d: Reg, s: Reg) {
        let op = if bytes == 1 { 0xb6 } else { 0xb7 };
        self.op_rr(0, false, &[0x0f, op], d, s, bytes == 1);
    }
    /// Sign-extends 1, 2 or 4 bytes to 64 (`w`) or 32 bits.
    pub fn movsx(&mut self, bytes: u64, w: bool, d: Reg, s: Reg) {
        match bytes {
            1 => self.op_rr(0, w, &[0x0f, 0xbe], d, s, true),
            2 => self.op_rr(0, w, &[0x0f, 0xbf], d, s, false),
            _ => self.op_rr(0, true, &[0x63], d, s, false),
        }
    }
    /// `lzcnt` bd, `tzcnt` bc, `popcnt` b8.
    pub fn count(&mut self, op: u8, w: bool, d: Reg, s: Reg) {
        self.op_rr(0xf3, w, &[0x0f, op], d, s, false);
    }
    /// Reverses bytes.
    pub fn bswap(&mut self, w: bool, d: Reg) {
        self.rex(w, 0, 0, d, false);
        self.bytes(&[0x0f, 0xc8 | d & 7]);
    }
    /// An instruction with a register and a memory operand of 1, 2, 4 or 8 bytes; the opcode for one byte is one less.
    fn op_sized(&mut self, bytes: u64, opcode: &[u8], r: Reg, m: Mem) {
        let mut code = [0; 2];
        let code = &mut code[..opcode.len()];
        code.copy_from_slice(opcode);
        if let (1, Some(last)) = (bytes, code.last_mut()) {
            *last -= 1;
        }
        self.op_rm(if bytes == 2 { 0x66 } else { 0 }, bytes == 8, code, r, m, bytes == 1);
    }
    /// `lock cmpxchg [m], s` of so many bytes.
    pub fn lock_cmpxchg(&mut self, bytes: u64, m: Mem, s: Reg) {
        self.byte(0xf0);
        self.op_sized(bytes, &[0x0f, 0xb1], s, m);
    }
    /// `lock xadd [m], s` of so many bytes.
    pub fn lock_xadd(&mut self, bytes: u64, m: Mem, s: Reg) {
        self.byte(0xf0);
        self.op_sized(bytes, &[0x0f, 0xc1], s, m);
    }
    /// `xchg [m], s` of so many bytes (implicitly locked).
    pub fn xchg(&mut self, bytes: u64, m: Mem, s: Reg) {
        self.op_sized(bytes, &[0x87], s, m);
    }
    /// Load of 2, 4 or 8 bytes in reverse order; bits above 2 bytes stay.
    pub fn movbe_load(&mut self, bytes: u64, d: Reg, m: Mem) {
        self.op_rm(if bytes == 2 { 0x66 } else { 0 }, bytes == 8, &[0x0f, 0x38, 0xf0], d, m, false);
    }
    /// Store of 2, 4 or 8 bytes in reverse order.
    pub fn movbe_store(&mut self, bytes: u64, m: Mem, s: Reg) {
        self.op_rm(if bytes == 2 { 0x66 } else { 0 }, bytes == 8, &[0x0f, 0x38, 0xf1], s, m, false);
    }
    /// A full barrier: `lock or dword [rsp], 0`.
    pub fn barrier(&mut self) {
        self.bytes(&[0xf0, 0x83, 0x0c, 0x24, 0x00]);
    }

    /// Places the displacement of the next `jmp` or `call` at a multiple of 4, so that one store can change
    /// it while other threads execute it. Code starts at a multiple of 64.
    pub fn align_displacement(&mut self) {
        // The opcode is one byte. The instructions are the manual's recommended nops (SDM volume 2, NOP).
        match (self.parts[self.now].len() + 1) % DISPLACEMENT {
            1 => self.bytes(&[0x0f, 0x1f, 0x00]),
            2 => self.bytes(&[0x66, 0x90]),
            3 => self.byte(0x90),
            _ => {}
        }
    }

    /// `jcc` to an unknown place.
    pub fn jcc(&mut self, cc: Cc) -> Hole {
        self.bytes(&[0x0f, 0x80 | cc as u8]);
        self.hole()
    }
    /// `jmp` to an unknown place.
    pub fn jmp(&mut self) -> Hole {
        self.byte(0xe9);
        self.hole()
    }
    /// `call` of an unknown place.
    pub fn call(&mut self) -> Hole {
        self.byte(0xe8);
        self.hole()
    }
    fn hole(&mut self) -> Hole {
        let at = self.here();
        self.imm32(0);
        Hole(at)
    }
    /// `jmp [m]`.
    pub fn jmp_mem(&mut self, m: Mem) {
        self.op_rm(0, false, &[0xff], 4, m, false);
    }
    /// `call [m]`.
    pub fn call_mem(&mut self, m: Mem) {
        self.op_rm(0, false, &[0xff], 2, m, false);
    }
    /// `jmp r`.
    pub fn jmp_reg(&mut self, r: Reg) {
        self.rex(false, 0, 0, r, false);
        self.byte(0xff);
        self.modrm_reg(4, r);
    }
    /// `push r`.
    pub fn push(&mut self, r: Reg) {
        self.rex(false, 0, 0, r, false);
        self.byte(0x50 | r & 7);
    }
    /// `pop r`.
    pub fn pop(&mut self, r: Reg) {
        self.rex(false, 0, 0, r, false);
        self.byte(0x58 | r & 7);
    }
    /// `ret`.
    pub fn ret(&mut self) {
        self.byte(0xc3);
    }

    /// `ldmxcsr` 2 or `stmxcsr` 3.
    pub fn mxcsr(&mut self, n: u8, m: Mem) {
        self.op_rm(0, false, &[0x0f, 0xae], n, m, false);
    }
    /// Copies a whole vector register.
    pub fn movaps(&mut self, d: Xmm, s: Xmm) {
        self.op_rr(0, false, &[0x0f, 0x28], d, s, false);
    }
    /// Loads 8 bytes; the rest becomes zero.
    pub fn movq_load(&mut self, d: Xmm, m: Mem) {
        self.op_rm(0xf3, false, &[0x0f, 0x7e], d, m, false);
    }
    /// Loads 16 bytes of any alignment.
    pub fn movups_load(&mut self, d: Xmm, m: Mem) {
        self.op_rm(0, false, &[0x0f, 0x10], d, m, false);
    }
    /// Stores 16 bytes of any alignment.
    pub fn movups_store(&mut self, m: Mem, s: Xmm) {
        self.op_rm(0, false, &[0x0f, 0x11], s, m, false);
    }
    /// A VEX instruction of 128 bits with registers only; `form` is opcode map, prefix (0 none, 1 for 66) and
    /// W. `r` and `s` are the fields reg and rm of ModRM, `v` is the register in the prefix, 0 if the
    /// instruction has none.
    pub fn vop(&mut self, form: (u8, u8, bool), opcode: u8, r: u8, v: u8, s: u8) {
        let (map, prefix, w) = form;
        self.vex(map, prefix, w, r, 0, s, v);
        self.byte(opcode);
        self.modrm_reg(r, s);
    }
    /// Stores 8 bytes.
    pub fn movq_store(&mut self, m: Mem, s: Xmm) {
        self.op_rm(0x66, false, &[0x0f, 0xd6], s, m, false);
    }
    /// Bits of a vector register to a general one, 64 (`w`) or 32 of them.
    pub fn movq_from(&mut self, w: bool, d: Reg, s: Xmm) {
        self.op_rr(0x66, w, &[0x0f, 0x7e], s, d, false);
    }
    /// Bits of a general register to a vector one.
    pub fn movq_to(&mut self, w: bool, d: Xmm, s: Reg) {
        self.op_rr(0x66, w, &[0x0f, 0x6e], d, s, false);
    }
    /// A scalar operation: `add` 58, `mul` 59, `sub` 5c, `min` 5d, `div` 5e, `max` 5f, `sqrt` 51,
    /// conversion to the other format 5a.
    pub fn sse(&mut self, op: u8, double: bool, d: Xmm, s: Xmm) {
        self.op_rr(if double { 0xf2 } else { 0xf3 }, false, &[0x0f, op], d, s, false);
    }
    /// `ucomis` 2e or `comis` 2f.
    pub fn comis(&mut self, op: u8, double: bool, a: Xmm, b: Xmm) {
        self.op_rr(if double { 0x66 } else { 0 }, false, &[0x0f, op], a, b, false);
    }
    /// Integer of 64 (`w`) or 32 bits to a number.
    pub fn cvtsi2s(&mut self, double: bool, w: bool, d: Xmm, s: Reg) {
        self.op_rr(if double { 0xf2 } else { 0xf3 }, w, &[0x0f, 0x2a], d, s, false);
    }
    /// Number to integer: truncating or with the current rounding.
    pub fn cvts2si(&mut self, double: bool, truncate: bool, w: bool, d: Reg, s: Xmm) {
        let op = if truncate { 0x2c } else { 0x2d };
        self.op_rr(if double { 0xf2 } else { 0xf3 }, w, &[0x0f, op], d, s, false);
    }
    /// `xorps d, s`.
    pub fn xorps(&mut self, d: Xmm, s: Xmm) {
        self.op_rr(0, false, &[0x0f, 0x57], d, s, false);
    }
    /// `vorps d, v, [m]` of any alignment.
    pub fn vorps_mem(&mut self, d: Xmm, v: Xmm, m: Mem) {
        self.vex(1, 0, false, d, m.index.unwrap_or(0), m.base, v);
        self.byte(0x56);
        self.modrm_mem(d, m);
    }
    /// Fused multiply-add, form 213: `d = ±(v × d) ± s`. `op`: `madd` a9, `msub` ab, `nmadd` ad,
    /// `nmsub` af.
    pub fn fma213(&mut self, op: u8, double: bool, d: Xmm, v: Xmm, s: Xmm) {
        self.vex(2, 1, double, d, 0, s, v);
        self.byte(op);
        self.modrm_reg(d, s);
    }
}
