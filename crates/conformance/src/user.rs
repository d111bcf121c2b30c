//! The part of Linux that the random programs need, over an engine: a hart in U mode, every trap of which is
//! handled here.

use crate::program::{BASE, LOG_END_AT, SIZE, STATE, Xlen};
use std::sync::Arc;
use trine_base::{Bus, CountClock, Exit, Mailbox, Trap, Vcpu, Width};
use trine_engine::{Engine, Stats, Tier, Time};
use trine_ir::Isa;
use trine_isa_riscv::{Config, Rv32, Rv64, Start, state};
use trine_memory::Ram;

/// The result of a program.
#[derive(Debug)]
pub struct Outcome {
    /// Its output.
    pub output: Vec<u8>,
    /// Instructions executed.
    pub count: u64,
    /// The engine's counters.
    pub stats: Stats,
}

/// The most instructions of one program.
const MOST: u64 = 1_000_000;

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Signal for an exception.
fn signal(cause: u64) -> u64 {
    match cause {
        2 => 4,
        3 => 5,
        4 | 6 => 7,
        _ => 11,
    }
}

/// Runs an executable made by [`crate::program`].
pub fn run(elf: &[u8], xlen: Xlen, tier: Tier) -> Result<Outcome, String> {
    match xlen {
        Xlen::Rv32 => execute::<Rv32>(elf, tier, u64_at(elf, 24) as u32 as u64),
        Xlen::Rv64 => execute::<Rv64>(elf, tier, u64_at(elf, 24)),
    }
}

fn execute<I: Isa<Config = Config>>(elf: &[u8], tier: Tier, entry: u64) -> Result<Outcome, String> {
    let ram = Arc::new(Ram::new(BASE, SIZE).map_err(|e| e.to_string())?);
    ram.write(BASE, elf).ok_or("the program does not fit")?;
    let mailbox = Arc::new(Mailbox::new());
    let clock = Arc::new(CountClock::new(1, 0));
    let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
    let config = Config { hart: 0, start: Start::Supervisor };
    let (mut vcpu, _) = Engine::<I>::new(config, ram.clone(), bus, Time::Count(clock), mailbox, tier);
    vcpu.set(state::MEDELEG, 0);
    vcpu.set(state::PRIV, 0);
    vcpu.set(state::SENVCFG, 0xf1);
    vcpu.set(state::MSTATUS, vcpu.get(state::MSTATUS) | state::mstatus::FS | state::mstatus::SD);
    vcpu.set_pc(entry);
    let mut output = Vec::new();
    loop {
        match vcpu.run(MOST) {
            Exit::Firmware(Trap { cause: 8, .. }) => {
                let [a0, a1, a2, a7] = [10, 11, 12, 17].map(|r| vcpu.get(state::X + r));
                let result = match a7 {
                    64 => {
                        let mut bytes = vec![0; a2.min(SIZE) as usize];
                        ram.read(a1, &mut bytes).ok_or("write: bad address")?;
                        output.extend(bytes);
                        a2
                    }
                    132 | 134 => 0,
                    93 if a0 == 0 => return Ok(Outcome { output, count: vcpu.count(), stats: vcpu.stats() }),
                    n => return Err(format!("system call {n}")),
                };
                vcpu.set(state::X + 10, result);
                vcpu.set_pc(vcpu.pc() + 4);
            }
            Exit::Firmware(Trap { cause, .. }) => fault(&mut vcpu, &ram, cause)?,
            other => return Err(format!("it ended with {other:?} at {:#x}", vcpu.pc())),
        }
    }
}

/// Performs what the kernel does to call the program's signal handler.
fn fault<I: Isa>(vcpu: &mut Engine<I>, ram: &Ram, cause: u64) -> Result<(), String> {
    let pc = vcpu.pc();
    let lost = || format!("exception {cause} at {pc:#x}");
    let end = ram.load(STATE + LOG_END_AT, Width::B8).ok_or_else(lost)?;
    ram.store(end, Width::B8, pc).ok_or_else(lost)?;
    ram.store(end + 8, Width::B8, signal(cause)).ok_or_else(lost)?;
    ram.store(STATE + LOG_END_AT, Width::B8, end + 16).ok_or_else(lost)?;
    let half = ram.load(pc, Width::B2).ok_or_else(lost)?;
    vcpu.set_pc(pc + if half & 3 == 3 { 4 } else { 2 });
    Ok(())
}
