//! Random programs: static executables for riscv64 and riscv32 Linux of about a thousand random instructions
//! that run a few times over, catch their own faults, and write their whole state at the end.

use crate::random::Random;
use trine_base::elf::{self, Cpu, Segment};
use trine_ir::rows::Place;
use trine_ir::{Operands, Row, RowInfo};
use trine_isa_riscv::asm::assemble;
use trine_isa_riscv::table::{ROWS, decode32, decode64, variant};

/// Address of the executable; everything is in one readable, writable and executable segment.
pub const BASE: u64 = 0x1000_0000;
/// Its size in memory.
pub const SIZE: u64 = 4 << 20;
/// The centre of the area that loads and stores access.
pub const DATA: u64 = BASE + 0x10_0000;
/// Registers before and after.
pub const STATE: u64 = BASE + 0x11_0000;
/// The log of faults: pairs of PC and signal.
pub const LOG: u64 = BASE + 0x20_0000;
/// Stack pointer of the programs.
pub const STACK: u64 = BASE + 0x18_0000;
const SIGNAL_STACK: u64 = BASE + 0x30_0000;
const ACTION: u64 = STATE + 0x800;
/// Offsets in the state: f registers, fcsr, rounds left, end of the log.
pub const F_AT: u64 = 256;
const FCSR_AT: u64 = 512;
const ROUNDS_AT: u64 = 520;
/// Offset in the state of the address behind the log's last entry.
pub const LOG_END_AT: u64 = 528;
/// Bytes of the state that are written at the end.
pub const STATE_LEN: u64 = 536;
/// Bytes of data on either side of [`DATA`] that are written at the end.
pub const DATA_HALF: u64 = 4096;
/// Number of times that the instructions are run: often enough for them to be compiled.
const ROUNDS: u64 = 32;
/// Start of the code.
pub const CODE: u64 = BASE + 0x1000;

/// Registers with a fixed purpose: stack, data, state, scratch.
const RESERVED: [u8; 4] = [2, 3, 4, 31];

/// Width of the integer registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Xlen {
    /// RV32.
    Rv32,
    /// RV64.
    Rv64,
}

impl Xlen {
    fn is32(self) -> bool {
        self == Xlen::Rv32
    }

    /// The number of the table's variant.
    pub fn variant(self) -> u32 {
        if self.is32() { variant::RV32 } else { variant::RV64 }
    }

    /// The row that a word decodes to.
    fn row(self, word: u32) -> Option<Row> {
        if self.is32() { decode32(word) } else { decode64(word) }.map(|(row, _)| row)
    }

    /// A value as a register of this width holds it.
    fn cut(self, value: u64) -> u64 {
        if self.is32() { value as u32 as u64 } else { value }
    }
}

/// A program.
pub struct Program {
    /// The executable.
    pub elf: Vec<u8>,
    /// The rows that occur in it.
    pub rows: Vec<Row>,
}

struct Maker {
    xlen: Xlen,
    random: Random,
    code: Vec<u8>,
    rows: Vec<Row>,
}

/// The program for a seed.
pub fn make(xlen: Xlen, seed: u64, length: usize) -> Program {
    let mut m = Maker { xlen, random: Random::new(seed), code: Vec::new(), rows: Vec::new() };
    let state = m.prologue();
    let start = m.code.len();
    let pool: Vec<usize> = (0..ROWS.len()).filter(|&i| usable(xlen, &ROWS[i])).collect();
    while m.rows.len() < length {
        // Every row is used at least once; then rows are chosen at random.
        let turn = seed as usize * length + m.rows.len();
        let i = if m.random.once_in(3) { pool[turn % pool.len()] } else { m.random.pick(&pool) };
        m.instruction(i);
    }
    m.epilogue(start);
    Program { elf: elf(xlen, &m.code, &state), rows: m.rows }
}

/// One instruction at [`CASE`], and the registers before it.
pub struct Single {
    /// The executable.
    pub elf: Vec<u8>,
    /// The instruction.
    pub word: u32,
    /// Its length in bytes.
    pub bytes: u8,
    /// Its operands.
    pub operands: Operands,
    /// Integer registers before.
    pub x: [u64; 32],
    /// Floating-point registers before.
    pub f: [u64; 32],
    /// `fcsr` before.
    pub fcsr: u64,
}

/// The address of the instruction of a [`Single`].
pub const CASE: u64 = CODE + 0x600;
/// A register that is 6 after a [`Single`] if the following instruction was executed, otherwise 5.
pub const MARK: u8 = 30;

/// A program that executes one instruction of row `index` with random operands.
pub fn single(xlen: Xlen, index: usize, seed: u64) -> Option<Single> {
    let row = &ROWS[index];
    let mut m =
        Maker { xlen, random: Random::new(seed ^ (index as u64) << 32), code: Vec::new(), rows: Vec::new() };
    let mut o = m.operands(row)?;
    let is_branch = row.body.starts_with("i::b");
    match row.name {
        "jal" | "jalr" => Maker::set(row, &mut o, "imm", if row.name == "jal" { 8 } else { 0 }),
        "c_j" | "c_jal" => Maker::set(row, &mut o, "imm", 6),
        _ if is_branch => Maker::set(row, &mut o, "imm", row.bytes as i64 + 4),
        _ => {}
    }
    let word = row.encode(&o)?;
    if xlen.row(word).is_none_or(|r| r.0 as usize != index) {
        return None;
    }
    let uses = |o: &Operands, r: i64| row.fields.iter().any(|f| f.name.starts_with('r') && f.of(o) == r);
    if uses(&o, MARK as i64) {
        return None;
    }
    let mut state = m.prologue();
    // An address in the instruction's base register.
    let base = row.fields.iter().find(|f| matches!(f.name, "rs1" | "rs1p")).map(|f| f.of(&o) as usize);
    let needs = match row.name {
        "jalr" | "c_jr" | "c_jalr" => Some(CASE + row.bytes as u64 + 4),
        _ if row.syntax.contains("(rs1") => Some(
            DATA + m.random.below(32) * 64 - if row.syntax.contains("imm(") { o.imm as u64 & 7 } else { 0 },
        ),
        _ => None,
    };
    if let (Some(base), Some(value)) = (base, needs) {
        if base == 0 {
            return None;
        }
        state[base * 8..base * 8 + 8].copy_from_slice(&value.to_le_bytes());
    }
    let at = MARK as usize * 8;
    state[at..at + 8].copy_from_slice(&5u64.to_le_bytes());
    let rounds = ROUNDS_AT as usize;
    state[rounds..rounds + 8].copy_from_slice(&1u64.to_le_bytes());
    while (m.code.len() as u64) < CASE - CODE {
        m.lines("c.nop");
    }
    let start = m.code.len();
    m.word(word, row.bytes);
    m.lines(&format!("addi x{MARK}, x{MARK}, 1"));
    m.epilogue(start);
    let word_at = |i: usize| u64::from_le_bytes(state[i * 8..i * 8 + 8].try_into().unwrap_or_default());
    let (mut x, mut f) = ([0; 32], [0; 32]);
    for r in 0..32 {
        x[r] = if r == 0 { 0 } else { word_at(r) };
        f[r] = word_at(32 + r);
    }
    for (r, value) in [(2, STACK), (3, DATA), (4, STATE)] {
        x[r] = value;
    }
    Some(Single {
        elf: elf(xlen, &m.code, &state),
        word,
        bytes: row.bytes,
        operands: o,
        x,
        f,
        fcsr: word_at(64),
    })
}

/// Initial contents of the data area: byte `i` after [`BASE`].
pub fn data_byte(i: u64) -> u8 {
    (i.wrapping_mul(37) ^ i >> 8).wrapping_add(11) as u8
}

/// Whether user mode may execute the row, with a result that does not depend on time or on the system.
pub fn usable(xlen: Xlen, row: &RowInfo) -> bool {
    row.valid_in(xlen.variant()) && !matches!(row.name, "ecall" | "sret" | "mret" | "wfi" | "sfence_vma")
}

fn le(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

impl Maker {
    fn word(&mut self, word: u32, bytes: u8) {
        self.code.extend_from_slice(&word.to_le_bytes()[..bytes as usize]);
    }

    /// Adds lines of assembly of the harness.
    fn lines(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
            // Registers are moved by instructions of their width.
            let line = match (self.xlen.is32(), line.split_once(' ')) {
                (true, Some(("ld", rest))) => format!("lw {rest}"),
                (true, Some(("sd", rest))) => format!("sw {rest}"),
                _ => line.to_string(),
            };
            let (word, bytes) =
                assemble(&line, self.xlen.is32()).unwrap_or_else(|e| panic!("the generator's own code: {e}"));
            self.word(word, bytes);
        }
    }

    /// Loads an address of the image.
    fn address(&mut self, register: &str, value: u64) {
        let high = (value + 0x800) & !0xfff;
        let low = value as i64 - high as i64;
        self.lines(&format!("lui {register}, {high}\naddi {register}, {register}, {low}"));
    }

    /// The signal handler, then the start, which sets handlers and loads registers. Returns the initial
    /// state.
    fn prologue(&mut self) -> Vec<u8> {
        // The entry point jumps over the handler.
        // The offset of the PC in the `ucontext` of the handler.
        let pc = if self.xlen.is32() { 160 } else { 176 };
        self.lines(&format!(
            "jal zero, 64
             ld t0, {pc}(a2)
             ld t1, 528(tp)
             sd t0, 0(t1)
             sd a0, 8(t1)
             addi t1, t1, 16
             sd t1, 528(tp)
             lhu t2, 0(t0)
             andi t2, t2, 3
             addi t2, t2, -3
             addi t0, t0, 2
             bne t2, zero, 8
             addi t0, t0, 2
             sd t0, {pc}(a2)
             jalr zero, 0(ra)
             addi zero, zero, 0",
        ));
        self.address("sp", STACK);
        self.address("gp", DATA);
        self.address("tp", STATE);
        // Signals have a stack of their own: their frames must not be in the compared memory.
        self.address("a0", ACTION + 24);
        self.lines("addi a1, zero, 0\naddi a7, zero, 132\necall");
        for signal in [4, 5, 7, 8, 11] {
            self.address("a1", ACTION);
            self.lines(&format!(
                "addi a0, zero, {signal}\naddi a2, zero, 0\naddi a3, zero, 8\naddi a7, zero, 134\necall"
            ));
        }
        let mut state = vec![0u64; (STATE_LEN / 8) as usize];
        self.lines("ld t6, 512(tp)\ncsrrw zero, fcsr, t6");
        for r in 0..32 {
            state[(F_AT / 8) as usize + r] = self.random.float();
            self.lines(&format!("fld f{r}, {}(tp)", F_AT + 8 * r as u64));
        }
        for r in 1..32u8 {
            state[r as usize] = self.xlen.cut(self.random.integer());
            if !RESERVED.contains(&r) {
                self.lines(&format!("ld x{r}, {}(tp)", 8 * r as u64));
            }
        }
        state[(FCSR_AT / 8) as usize] = self.random.below(5) << 5;
        state[(ROUNDS_AT / 8) as usize] = ROUNDS;
        state[(LOG_END_AT / 8) as usize] = LOG;
        le(&state)
    }

    fn epilogue(&mut self, start: usize) {
        self.lines("ld t6, 520(tp)\naddi t6, t6, -1\nsd t6, 520(tp)\nbeq t6, zero, 8");
        let back = start as i64 - self.code.len() as i64;
        self.lines(&format!("jal zero, {back}"));
        for r in 0..32 {
            self.lines(&format!("sd x{r}, {}(tp)\nfsd f{r}, {}(tp)", 8 * r, F_AT + 8 * r));
        }
        self.lines("csrrs t6, fcsr, zero\nsd t6, 512(tp)");
        for (at, len) in [(STATE, STATE_LEN), (DATA - DATA_HALF, 2 * DATA_HALF)] {
            self.address("a1", at);
            self.address("a2", len);
            self.lines("addi a0, zero, 1\naddi a7, zero, 64\necall");
        }
        self.address("a1", LOG);
        self.lines("ld a2, 528(tp)\nsub a2, a2, a1\naddi a0, zero, 1\naddi a7, zero, 64\necall");
        self.lines("addi a0, zero, 0\naddi a7, zero, 93\necall");
    }

    fn register(&mut self) -> u8 {
        loop {
            let r = self.random.below(32) as u8;
            if !RESERVED.contains(&r) {
                return r;
            }
        }
    }

    /// Random operands that do not destroy what the harness needs.
    fn operands(&mut self, row: &RowInfo) -> Option<Operands> {
        let mut o = Operands::default();
        let bits = self.random.word();
        let word = bits as u32 & !row.mask & if row.bytes == 2 { 0xffff } else { u32::MAX } | row.value;
        for f in row.fields {
            let raw =
                f.pieces.iter().fold(0u64, |v, p| v | ((word as u64 >> p.at) & ((1 << p.len) - 1)) << p.bit);
            let signed = if f.signed { ((raw << (64 - f.bits)) as i64) >> (64 - f.bits) } else { raw as i64 };
            let value = match f.name {
                "rd" | "rs1" | "rs2" => self.register() as i64,
                "rm" if !self.random.once_in(20) => self.random.pick(&[0, 1, 2, 3, 4, 7, 7, 7]),
                "csr" => self.random.pick(&[1, 1, 2, 3]),
                _ => signed + f.plus as i64,
            };
            match f.place {
                Place::R(i) => o.r[i as usize & 7] = value as u8,
                Place::Imm => o.imm = value,
            }
        }
        row.encode(&o).map(|_| o)
    }

    fn set(row: &RowInfo, o: &mut Operands, name: &str, value: i64) {
        if let Some(f) = row.fields.iter().find(|f| f.name == name) {
            match f.place {
                Place::R(i) => o.r[i as usize & 7] = value as u8,
                Place::Imm => o.imm = value,
            }
        }
    }

    fn emit(&mut self, index: usize, o: &Operands) -> bool {
        let row = &ROWS[index];
        let Some(word) = row.encode(o) else { return false };
        if self.xlen.row(word).is_none_or(|r| r.0 as usize != index) {
            return false;
        }
        self.word(word, row.bytes);
        self.rows.push(Row(index as u16));
        true
    }

    /// One random instruction of a row, preceded by what it needs.
    fn instruction(&mut self, index: usize) {
        let row = &ROWS[index];
        let Some(mut o) = self.operands(row) else { return };
        let before = self.code.len();
        match row.name {
            "jal" => Self::set(row, &mut o, "imm", 8),
            "c_j" | "c_jal" => Self::set(row, &mut o, "imm", 6),
            "jalr" => {
                self.lines("auipc t6, 0");
                Self::set(row, &mut o, "rs1", 31);
                Self::set(row, &mut o, "imm", 8);
            }
            "c_jr" | "c_jalr" => {
                self.lines("auipc t6, 0\naddi t6, t6, 10");
                Self::set(row, &mut o, "rs1", 31);
            }
            _ if row.syntax.ends_with("imm") && row.body.starts_with("i::b") => {
                Self::set(row, &mut o, "imm", row.bytes as i64 + 4);
            }
            _ if row.syntax.ends_with("(rs1)") && row.name != "jalr" && !row.syntax.contains("imm") => {
                // The manual leaves open what a store-conditional does after a reservation of the other size:
                // words and double-words have separate places.
                let doubles = row.name.ends_with("_d") as u64 * 256;
                let at = self.random.below(32) * 8 + doubles;
                self.lines(&format!("addi t6, gp, {at}"));
                Self::set(row, &mut o, "rs1", 31);
            }
            _ if row.syntax.ends_with("(rs1)") && !self.random.once_in(8) => Self::set(row, &mut o, "rs1", 3),
            // A random register may contain an address of code, and the effect of a store there without a
            // `fence.i` is undefined: stores that should fault go to the first page.
            "sb" | "sh" | "sw" | "sd" | "fsw" | "fsd" => Self::set(row, &mut o, "rs1", 0),
            // In 32 bits, a random address may well be one that QEMU has mapped.
            _ if row.syntax.ends_with("(rs1)") && self.xlen.is32() => Self::set(row, &mut o, "rs1", 0),
            _ if row.syntax.ends_with("(rs1p)") => {
                let f = row.fields.iter().find(|f| f.name == "rs1p");
                let base = f.map_or(8, |f| f.of(&o));
                self.lines(&format!("addi x{base}, gp, 0"));
            }
            _ => {}
        }
        let jumps = matches!(row.name, "jal" | "c_j" | "c_jal") || row.body.starts_with("i::b");
        if !self.emit(index, &o) {
            self.code.truncate(before);
        } else if jumps {
            // An instruction that may be jumped over.
            let (rd, rs) = (self.register(), self.register());
            self.lines(&format!("addi x{rd}, x{rs}, 1"));
        }
    }
}

/// Builds the executable: header, one segment, code and initial state.
fn elf(xlen: Xlen, code: &[u8], state: &[u8]) -> Vec<u8> {
    let mut image = vec![0u8; (STACK + DATA_HALF - BASE) as usize];
    let mut put = |at: u64, bytes: &[u8]| {
        let at = (at - BASE) as usize;
        image[at..at + bytes.len()].copy_from_slice(bytes);
    };
    let around = DATA - DATA_HALF..DATA + DATA_HALF;
    around.for_each(|at| put(at, &[data_byte(at - BASE)]));
    let stack = STACK - DATA_HALF..STACK + DATA_HALF;
    stack.for_each(|at| put(at, &[data_byte(at - BASE)]));
    put(CODE, code);
    put(STATE, state);
    // struct sigaction: handler, SA_SIGINFO | SA_NODEFER | SA_ONSTACK, empty mask; then stack_t.
    const FLAGS: u64 = 0x4800_0004;
    if xlen.is32() {
        put(ACTION, &le32(&[CODE + 4, FLAGS, 0, 0]));
        put(ACTION + 24, &le32(&[SIGNAL_STACK, 0, 0x1_0000]));
    } else {
        put(ACTION, &le(&[CODE + 4, FLAGS, 0, SIGNAL_STACK, 0, 0x1_0000]));
    }
    let len = image.len() as u64;
    let header = if xlen.is32() { header32(len) } else { header64(len) };
    image[..header.len()].copy_from_slice(&header);
    image
}

fn le32(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| (*w as u32).to_le_bytes()).collect()
}

fn header64(len: u64) -> Vec<u8> {
    let segment = Segment { size: SIZE, ..Segment::loaded(7, 0, BASE, len, 0x1000) };
    let mut header = elf::headers(Cpu::RISCV64, elf::kind::EXECUTABLE, CODE, &[segment]);
    // EF_RISCV_RVC and EF_RISCV_FLOAT_ABI_DOUBLE.
    header[48] = 5;
    header
}

fn header32(len: u64) -> Vec<u8> {
    let mut header = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend([2, 0, 243, 0, 1, 0, 0, 0]);
    header.extend(le32(&[CODE, 52, 0, 5]));
    header.extend([52, 0, 32, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    header.extend(le32(&[1, 0, BASE, BASE, len, SIZE, 7, 0x1000]));
    header
}
