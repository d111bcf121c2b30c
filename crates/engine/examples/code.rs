//! Assembles a line of instructions (separated by `;`) and writes the host code of its block to
//! standard output, for a disassembler: `code 'divu a0, a1, a2' | objdump -D -b binary -m i386:x86-64 /dev/stdin`.

use std::io::Write;
use std::sync::Arc;
use trine_base::{Bus, CountClock, Mailbox, Vcpu};
use trine_engine::{Engine, Tier, Time};
use trine_isa_riscv::{Config, Rv64, Start, asm};
use trine_memory::Ram;

const BASE: u64 = 0x8000_0000;

fn main() {
    let text = std::env::args().nth(1).unwrap_or_default();
    let Ok(ram) = Ram::new(BASE, 1 << 20).map(Arc::new) else { return };
    let mut at = BASE;
    for line in text.split(';').chain(["jal zero, 0"]) {
        match asm::assemble(line, false) {
            Ok((word, bytes)) => drop(ram.write(at, &word.to_le_bytes()[..bytes as usize])),
            Err(e) => return eprintln!("{e}"),
        }
        at += if asm::assemble(line, false).is_ok_and(|(_, b)| b == 2) { 2 } else { 4 };
    }
    let mailbox = Arc::new(Mailbox::new());
    let clock = Arc::new(CountClock::new(1, 0));
    let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
    let config = Config { hart: 0, start: Start::Machine };
    let (mut vcpu, _) = Engine::<Rv64>::new(config, ram, bus, Time::Count(clock), mailbox, Tier::Baseline);
    vcpu.set(trine_isa_riscv::state::MSTATUS, 0x6000);
    vcpu.set_warm(1);
    vcpu.set_pc(BASE);
    vcpu.run(text.split(';').count() as u64 + 1);
    drop(std::io::stdout().write_all(&vcpu.listing(BASE, |_, code| code).unwrap_or_default()));
}
