//! Machine code of the programs: sequences of instructions, constants, and the trap handlers.

use super::layout::{CODE, LOG};
use trine_isa_riscv::asm::assemble;

/// Where the handler of M mode lies.
pub const M_HANDLER: u64 = CODE + 0x100;
/// Where the handler of S mode lies.
pub const S_HANDLER: u64 = CODE + 0x200;
/// Where the program continues behind the handlers.
const START: u64 = CODE + 0x300;
/// The fields of `mstatus` that are compared; in `s10`.
const MSTATUS_SHOWN: u64 = 0x7e_19aa;
/// The fields of `sstatus` that are compared; in `s9`.
const SSTATUS_SHOWN: u64 = 0xc_0122;

/// Code under construction.
#[derive(Default)]
pub struct Code {
    /// The bytes so far.
    pub bytes: Vec<u8>,
}

impl Code {
    /// Adds lines of assembly, all of them of four bytes.
    ///
    /// # Panics
    /// A line is not an instruction: all lines are the generator's own.
    pub fn lines(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (word, bytes) =
                assemble(line, false).unwrap_or_else(|e| panic!("the generator's own code: {e}"));
            assert_eq!(bytes, 4, "{line}");
            self.bytes.extend(word.to_le_bytes());
        }
    }

    /// Loads a constant.
    pub fn li(&mut self, register: &str, value: u64) {
        let value = value as i64;
        let low = value << 52 >> 52;
        let high = value.wrapping_sub(low);
        if high == 0 {
            self.lines(&format!("addi {register}, zero, {low}"));
        } else if i64::from(value as i32) == value && i64::from(high as i32) == high {
            self.lines(&format!("lui {register}, {high}"));
            if low != 0 {
                self.lines(&format!("addiw {register}, {register}, {low}"));
            }
        } else {
            let shift = (high >> 12).trailing_zeros() + 12;
            self.li(register, (high >> shift) as u64);
            self.lines(&format!("slli {register}, {register}, {shift}"));
            if low != 0 {
                self.lines(&format!("addi {register}, {register}, {low}"));
            }
        }
    }

    /// Adds a record of two registers to the log.
    pub fn record(&mut self, a: &str, b: &str) {
        self.lines(&format!(
            "sd {a}, 0(s0)\nsd {b}, 8(s0)\nsd zero, 16(s0)\nsd zero, 24(s0)\naddi s0, s0, 32"
        ));
    }

    fn fill(&mut self, to: u64) {
        assert!(CODE + self.bytes.len() as u64 <= to, "a handler is too long");
        while CODE + (self.bytes.len() as u64) < to {
            self.lines("addi zero, zero, 0");
        }
    }

    /// The handlers, and registers with a fixed purpose: `s0` is the end of the log, `s1` to `s4` belong to
    /// the handlers, `s9` and `s10` are masks, `s11` is where M mode continues when a piece of S or U mode
    /// ends. Each trap sets `t5` to 1.
    ///
    /// A handler appends cause, PC, value and status to the log. It continues behind the instruction; if that
    /// could not be fetched, at `ra`; after an interrupt, at the interrupted instruction. A call with `a7`
    /// other than 0 ends a piece.
    pub fn prologue() -> Code {
        let mut code = Code::default();
        code.lines(&format!("jal zero, {}", START - CODE));
        for (base, level, mask) in [(M_HANDLER, 'm', "s10"), (S_HANDLER, 's', "s9")] {
            code.fill(base);
            code.lines(&format!(
                "csrrs s1, {level}cause, zero
                 csrrs s2, {level}epc, zero
                 csrrs s3, {level}tval, zero
                 csrrs s4, {level}status, zero
                 and s4, s4, {mask}
                 sd s1, 0(s0)
                 sd s2, 8(s0)
                 sd s3, 16(s0)
                 sd s4, 24(s0)
                 addi s0, s0, 32
                 addi t5, zero, 1
                 blt s1, zero, 60
                 addi s3, zero, 1
                 beq s1, s3, 44
                 addi s3, zero, 12
                 beq s1, s3, 36
                 addi s2, s2, 4
                 csrrw zero, {level}epc, s2
                 addi s3, zero, 8
                 beq s1, s3, 48
                 addi s3, zero, 9
                 beq s1, s3, 40
                 {level}ret
                 addi zero, zero, 0
                 csrrw zero, {level}epc, ra
                 {level}ret
                 addi s3, zero, 2
                 csrrc zero, {level}ip, s3
                 {level}ret
                 addi zero, zero, 0
                 addi zero, zero, 0
                 bne a7, zero, 8
                 {level}ret"
            ));
            match level {
                'm' => code.lines(
                    "csrrw zero, mepc, s11
                     lui s3, 8192
                     addi s3, s3, -2048
                     csrrs zero, mstatus, s3
                     mret",
                ),
                _ => code.lines("ecall"),
            }
        }
        code.fill(START);
        code.li("s0", LOG);
        code.li("s9", SSTATUS_SHOWN);
        code.li("s10", MSTATUS_SHOWN);
        for (csr, value) in [("mtvec", M_HANDLER), ("stvec", S_HANDLER)] {
            code.li("t0", value);
            code.lines(&format!("csrrw zero, {csr}, t0"));
        }
        code
    }
}
