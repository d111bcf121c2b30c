//! Steps of a vCPU, one by one.

use super::*;
use trine_base::HostClock;
use trine_isa_riscv::{Config, Rv64, Start};
use trine_memory::Ram;

const RAM: u64 = 0x8000_0000;
/// `addi a0, a0, 1`.
const ADD: u32 = 0x0015_0513;

/// A hart in front of a block of three additions and a jump to itself.
fn hart(time: Time) -> Engine<Rv64> {
    let ram = Arc::new(Ram::new(RAM, 1 << 20).unwrap());
    for (at, word) in (RAM..).step_by(4).zip([ADD, ADD, ADD, 0x0000_006f]) {
        ram.write(at, &word.to_le_bytes()).unwrap();
    }
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    let (mailbox, config) = (Arc::new(Mailbox::new()), Config { hart: 0, start: Start::Machine });
    let bus = Arc::new(Bus::new(clock, vec![mailbox.clone()]));
    let (translations, _) = Translations::new(Tier::Interp);
    let mut hart = Engine::of_machine(config, ram, bus, time, mailbox, translations);
    hart.set_pc(RAM);
    hart.set_target(100);
    hart
}

/// Additions executed in one step that is kicked behind its safepoint, after so many idle ones.
fn kicked(time: Time, idle: u32) -> u64 {
    hart(time).online(|hart| {
        assert!(hart.attend().is_none());
        let Ok(Some(block)) = hart.lookup() else { panic!("there is a block") };
        hart.core.mailbox.kick();
        // SAFETY: there is no safepoint before it is used.
        let step = hart.kicked(unsafe { &*block }, idle);
        assert!(matches!(step, Step::Go));
        hart.get(10)
    })
}

#[test]
fn a_vcpu_that_is_kicked_again_and_again_goes_on_by_one_instruction() {
    let host = || Time::Host(Arc::new(HostClock::new()));
    assert_eq!(kicked(host(), 0), 0);
    assert_eq!(kicked(host(), STARVED - 1), 0);
    assert_eq!(kicked(host(), STARVED), 1);
    let counted = Time::Count(Arc::new(trine_base::CountClock::new(1, 0)));
    assert_eq!(kicked(counted, STARVED), 0, "counts are exact");
}
