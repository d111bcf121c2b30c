//! Any page tables, any system registers, any address: a walk ends, and inside the rules.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::sync::Arc;
use trine_base::{Bus, CountClock, Mailbox, Vcpu};
use trine_engine::{Engine, Tier, Time};
use trine_ir::{Access, Isa};
use trine_isa_riscv::{Config, Rv64, Start, state};
use trine_memory::Ram;

const BASE: u64 = 0x8000_0000;

thread_local! {
    static HART: RefCell<(Engine<Rv64>, Arc<Ram>)> = RefCell::new(hart());
}

fn hart() -> (Engine<Rv64>, Arc<Ram>) {
    let ram = Arc::new(Ram::new(BASE, 1 << 16).unwrap());
    let mailbox = Arc::new(Mailbox::new());
    let clock = Arc::new(CountClock::new(1, 0));
    let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
    let config = Config { hart: 0, start: Start::Machine };
    (Engine::new(config, ram.clone(), bus, Time::Count(clock), mailbox, Tier::Interp).0, ram)
}

fuzz_target!(|data: &[u8]| {
    let Some((head, tables)) = data.split_at_checked(64) else { return };
    let word = |i: usize| u64::from_le_bytes(head[8 * i..8 * i + 8].try_into().unwrap());
    HART.with_borrow_mut(|(hart, ram)| {
        ram.write(BASE, &tables[..tables.len().min(1 << 16)]);
        hart.set(state::SATP, ((word(0) & 0xf) << 60) | ((BASE >> 12) + (word(0) >> 4 & 15)));
        hart.set(state::MSTATUS, word(1));
        hart.set(state::PRIV, [0, 1, 3, 1][word(2) as usize & 3]);
        hart.set(state::MENVCFG, word(3));
        hart.set(state::PMPCFG0, word(4));
        hart.set(state::PMPADDR, word(5) & ((1 << 54) - 1));
        hart.set(state::PMPADDR + 1, word(6) & ((1 << 54) - 1));
        let core = hart.core();
        for access in [Access::Read, Access::Write, Access::Execute] {
            let regime = match access {
                Access::Execute => Rv64::fetch_regime(core.mode.get()),
                _ => Rv64::data_regime(core.mode.get()),
            };
            if let Ok(m) = Rv64::walk(core, regime, word(7), access) {
                let allowed = match access {
                    Access::Read => m.read,
                    Access::Write => m.write,
                    Access::Execute => m.execute,
                };
                assert!(allowed && m.page & 0xfff == 0);
            }
        }
    });
});
