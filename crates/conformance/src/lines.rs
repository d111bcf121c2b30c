//! Test lines: one instruction each, with the state before and after.
//!
//! `BYTES | TEXT | BEFORE | AFTER`: the instruction's bytes in memory order as hexadecimal digits; its text;
//! registers before; registers that are different afterwards (`pc` is listed if it is not the next
//! instruction; `m+N` is the 8-byte word N bytes behind [`DATA`]; `trap` the exception's cause). The
//! instruction is at [`CASE`]; `gp` is [`DATA`], `sp` is [`STACK`]; all other registers are 0; memory around
//! the two contains [`data_byte`].

use crate::program::{BASE, CASE, DATA, DATA_HALF, SIZE, STACK, Xlen, data_byte};
use std::collections::BTreeMap;
use std::sync::Arc;
use trine_base::{Bus, CountClock, Exit, Mailbox, Trap, Vcpu, Width};
use trine_engine::{Engine, Tier, Time};
use trine_ir::Isa;
use trine_isa_riscv::asm::disassemble;
use trine_isa_riscv::{Config, Rv32, Rv64, Start, state};
use trine_memory::Ram;

/// Names and values.
pub type Values = BTreeMap<String, u64>;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The instruction.
    pub bytes: Vec<u8>,
    /// Its text.
    pub text: String,
    /// Registers before.
    pub before: Values,
    /// The registers and words that are different afterwards.
    pub after: Values,
}

fn values(text: &str) -> Option<Values> {
    let pair = |p: &str| {
        let (name, value) = p.split_once('=')?;
        let value = match value.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok()?,
            None => value.parse().ok()?,
        };
        Some((name.to_string(), value))
    };
    text.split_whitespace().map(pair).collect()
}

fn text_of(values: &Values) -> String {
    values.iter().map(|(n, v)| format!("{n}={v:#x}")).collect::<Vec<_>>().join(" ")
}

impl Line {
    /// Parses a line; `None` if it is not valid.
    pub fn parse(text: &str) -> Option<Line> {
        let parts: Vec<&str> = text.split('|').map(str::trim).collect();
        let [bytes, text, before, after] = parts[..] else { return None };
        let digits = (0..bytes.len()).step_by(2).map(|i| u8::from_str_radix(bytes.get(i..i + 2)?, 16).ok());
        Some(Line {
            bytes: digits.collect::<Option<_>>()?,
            text: text.into(),
            before: values(before)?,
            after: values(after)?,
        })
    }

    /// The line as text.
    pub fn show(&self) -> String {
        let bytes: String = self.bytes.iter().map(|b| format!("{b:02x}")).collect();
        format!("{bytes} | {} | {} | {}", self.text, text_of(&self.before), text_of(&self.after))
    }

    /// Executes the instruction and compares. The error says what differs.
    pub fn check(&self, xlen: Xlen, tier: Tier) -> Result<(), String> {
        let mut word = [0; 4];
        word[..self.bytes.len()].copy_from_slice(&self.bytes);
        let text = disassemble(u32::from_le_bytes(word), xlen == Xlen::Rv32);
        if text.as_deref() != Some(&self.text) {
            return Err(format!("the bytes say {text:?}"));
        }
        let after = match xlen {
            Xlen::Rv32 => self.execute::<Rv32>(tier)?,
            Xlen::Rv64 => self.execute::<Rv64>(tier)?,
        };
        if after == self.after { Ok(()) } else { Err(format!("after it: {}", text_of(&after))) }
    }

    fn execute<I: Isa<Config = Config>>(&self, tier: Tier) -> Result<Values, String> {
        let ram = Arc::new(Ram::new(BASE, SIZE).map_err(|e| e.to_string())?);
        for center in [DATA, STACK] {
            let around: Vec<u8> =
                (center - DATA_HALF..center + DATA_HALF).map(|a| data_byte(a - BASE)).collect();
            ram.write(center - DATA_HALF, &around).ok_or("the memory is too small")?;
        }
        ram.write(CASE, &self.bytes).ok_or("the memory is too small")?;
        let mailbox = Arc::new(Mailbox::new());
        let clock = Arc::new(CountClock::new(1, 0));
        let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
        let config = Config { hart: 0, start: Start::Supervisor };
        let (mut vcpu, _) = Engine::<I>::new(config, ram.clone(), bus, Time::Count(clock), mailbox, tier);
        vcpu.set_warm(1);
        vcpu.set(state::MEDELEG, 0);
        vcpu.set(state::PRIV, 0);
        vcpu.set(state::SENVCFG, 0xf1);
        vcpu.set(state::MSTATUS, vcpu.get(state::MSTATUS) | state::mstatus::FS | state::mstatus::SD);
        vcpu.set(state::X + 2, STACK);
        vcpu.set(state::X + 3, DATA);
        for (name, value) in &self.before {
            write(&mut vcpu, name, *value).ok_or_else(|| format!("there is no register {name}"))?;
        }
        vcpu.set_pc(CASE);
        let before = snapshot(&vcpu, &ram);
        let exit = vcpu.run(1);
        let mut after = snapshot(&vcpu, &ram);
        after.retain(|name, value| before.get(name) != Some(value));
        match exit {
            Exit::Firmware(Trap { cause, .. }) => {
                after.insert("trap".into(), cause);
            }
            Exit::Budget if vcpu.pc() != CASE + self.bytes.len() as u64 => {
                after.insert("pc".into(), vcpu.pc());
            }
            Exit::Budget => {}
            other => return Err(format!("it ended with {other:?}")),
        }
        if tier == Tier::Baseline && vcpu.stats().entered == 0 {
            return Err("it was not compiled".into());
        }
        Ok(after)
    }
}

fn write<I: Isa>(vcpu: &mut Engine<I>, name: &str, value: u64) -> Option<()> {
    if name == "fcsr" {
        vcpu.set(state::FRM, value >> 5);
        vcpu.set(state::FFLAGS, value & 31);
        return Some(());
    }
    let slot = vcpu.registers().iter().find(|r| r.name == name)?.slot;
    vcpu.set(slot, value);
    Some(())
}

/// Registers of user mode, and the words of memory around [`DATA`].
fn snapshot<I: Isa>(vcpu: &Engine<I>, ram: &Ram) -> Values {
    let mut all = Values::new();
    for r in vcpu.registers().iter().filter(|r| r.slot < 64) {
        all.insert(r.name.into(), vcpu.get(r.slot));
    }
    all.insert("fcsr".into(), vcpu.get(state::FFLAGS) | vcpu.get(state::FRM) << 5);
    for at in (DATA - DATA_HALF..DATA + DATA_HALF).step_by(8) {
        if let Some(value) = ram.load(at, Width::B8) {
            all.insert(word_name(at), value);
        }
    }
    all
}

/// Name of the word of memory at an address.
pub fn word_name(at: u64) -> String {
    format!("m{:+}", at as i64 - DATA as i64)
}
