//! An instruction with the state before it, and what became of both.

use trine_isa_x86::decode::{self, Instruction};
use trine_isa_x86::state::code;
use trine_isa_x86::{cpu, table};

/// Registers of a program, as XSAVE and a signal's context have them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Registers {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// The program counter.
    pub rip: u64,
    /// EFLAGS.
    pub eflags: u64,
    /// What FXSAVE writes (SDM volume 1, table 10-2).
    pub fx: [u64; 64],
    /// The upper parts of YMM0 to YMM15.
    pub ymm_high: [[u64; 2]; 16],
}

/// Where MXCSR is in [`Registers::fx`].
pub const FX_MXCSR: usize = 3;
/// Where the top of the x87 stack is in [`Registers::fx`]: significand, then sign and exponent.
pub const FX_STACK: usize = 4;
/// Where XMM0 is in [`Registers::fx`].
pub const FX_XMM: usize = 20;

impl Registers {
    /// Registers as a program has them at its start, but for its stack.
    pub fn new() -> Registers {
        let mut fx = [0; 64];
        fx[0] = 0x37f;
        fx[FX_MXCSR] = 0x1f80 | 0xffff << 32;
        Registers { gpr: [0; 16], rip: 0, eflags: 0x202, fx, ymm_high: [[0; 2]; 16] }
    }
}

impl Default for Registers {
    fn default() -> Registers {
        Registers::new()
    }
}

/// Bytes of code that a case may have.
pub const CODE_BYTES: usize = 32;

/// An instruction and the state before it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Case {
    /// Its bytes; the rest is filled with breakpoints.
    pub code: [u8; CODE_BYTES],
    /// Registers before. The program counter is the place of the code.
    pub registers: Registers,
    /// It runs in 64-bit mode.
    pub long: bool,
    /// 8 bytes of memory, and where they are in the area of data.
    pub patch: Option<(u32, u64)>,
    /// A number from which the rest of the data follows.
    pub seed: u64,
}

impl Case {
    /// The mode that it is decoded in.
    pub fn mode(&self) -> u32 {
        (if self.long { code::LONG } else { code::D32 | code::FLAT }) as u32
    }

    /// The instruction.
    pub fn instruction(&self) -> Option<Instruction> {
        decode::decode(cpu::Features::ALL, self.mode(), &self.code[..16].try_into().ok()?, 16).ok()
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let found = self.instruction();
        let length = found.map_or(15, |i| i.bytes as usize);
        let bytes: Vec<String> = self.code[..length].iter().map(|b| format!("{b:02x}")).collect();
        let row = found.map(|i| table::info(i.row));
        let text = row.map_or("(nothing)".into(), |row| format!("{}  {}", row.encoding, row.syntax));
        write!(f, "{} bits: {}: {text}", if self.long { 64 } else { 32 }, bytes.join(" "))?;
        for (n, v) in self.registers.gpr.iter().enumerate() {
            write!(f, "{}r{n}={v:x}", if n % 8 == 0 { "\n  " } else { " " })?;
        }
        write!(f, "\n  eflags={:x}", self.registers.eflags)
    }
}

/// Address of the area of data: two pages, with nothing before and behind.
pub const DATA: u64 = 0x5000_0000;
/// Its size.
pub const DATA_BYTES: usize = 0x2000;
/// The part of it that is compared, around the border of its pages.
pub const WATCHED: std::ops::Range<usize> = 0xe00..0x1200;
/// The last bytes of it are compared, too.
pub const TAIL: std::ops::Range<usize> = 0x1f80..0x2000;

/// The area of data before a case.
pub fn fill(case: &Case, data: &mut [u8; DATA_BYTES]) {
    data.fill(0);
    let mut x = case.seed | 1;
    for range in [WATCHED, TAIL] {
        for word in data[range].chunks_exact_mut(8) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            word.copy_from_slice(&x.to_le_bytes());
        }
    }
    if let Some((at, value)) = case.patch {
        data[at as usize..][..8].copy_from_slice(&value.to_le_bytes());
    }
}

/// What became of a case.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Outcome {
    /// Registers after.
    pub registers: Registers,
    /// The exception that ended it: #BP behind it if it completed. [`HANGS`] if it did not end.
    pub vector: u64,
    /// The exception's error code.
    pub error: u64,
    /// The address that a page fault was about.
    pub address: u64,
    /// [`WATCHED`] after.
    pub watched: [u8; WATCHED.end - WATCHED.start],
    /// [`TAIL`] after.
    pub tail: [u8; TAIL.end - TAIL.start],
}

/// Stands for no exception: the instruction jumps to itself, or repeats for too long.
pub const HANGS: u64 = 0xffff;
