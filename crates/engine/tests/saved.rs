//! A run that is saved in the middle and loaded into a fresh vCPU continues like one that was not: in either
//! engine, from either engine, with the CPU's timer armed and floating-point flags that only the host's FPU
//! has yet.

use std::sync::Arc;
use trine_base::{Bus, CountClock, Exit, Mailbox, StateError, Vcpu, vcpu_state};
use trine_engine::{Engine, Tier, Time};
use trine_isa_riscv::{Config, Rv64, Start, asm, state};
use trine_memory::Ram;

const BASE: u64 = 0x8000_0000;
const SIZE: u64 = 1 << 16;

/// Arms the timer and counts its interrupts in the handler; meanwhile computes with integers, inexact square
/// roots rounded to zero, a reservation and memory.
const PROGRAM: &[&str] = &[
    "auipc s0, 0",
    "addi t0, s0, 108",
    "csrrw zero, mtvec, t0",
    "lui t0, 8192",
    "csrrs zero, mstatus, t0",
    "addi t0, zero, 1",
    "csrrw zero, frm, t0",
    "slli t0, t0, 63",
    "csrrs zero, menvcfg, t0",
    "csrrs t1, time, zero",
    "addi t1, t1, 2",
    "csrrw zero, stimecmp, t1",
    "addi t0, zero, 32",
    "csrrs zero, mie, t0",
    "addi t0, zero, 8",
    "csrrs zero, mstatus, t0",
    "lui s3, 32768",
    "add s3, s3, s0",
    // 72: the loop.
    "addi a0, a0, 1",
    "fcvt.d.l fa0, a0, dyn",
    "fsqrt.d fa1, fa0, dyn",
    "fadd.d fa2, fa2, fa1, dyn",
    "lr.d a1, (s3)",
    "add a1, a1, a0",
    "sc.d a2, a1, (s3)",
    "add a3, a3, a2",
    "jal zero, -32",
    // 108: the handler.
    "addi s1, s1, 1",
    "csrrs s2, time, zero",
    "addi s2, s2, 50",
    "csrrw zero, stimecmp, s2",
    "mret",
];

/// A vCPU and what it runs on.
struct Rig {
    vcpu: Engine<Rv64>,
    bus: Arc<Bus>,
    ram: Arc<Ram>,
}

impl Rig {
    fn new(tier: Tier) -> Rig {
        let ram = Arc::new(Ram::new(BASE, SIZE).unwrap());
        let mailbox = Arc::new(Mailbox::new());
        let clock = Arc::new(CountClock::new(10, 0));
        let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
        let config = Config { hart: 0, start: Start::Machine };
        let (mut vcpu, why) =
            Engine::new(config, ram.clone(), bus.clone(), Time::Count(clock), mailbox, tier);
        assert_eq!(why, None);
        vcpu.set_warm(1);
        vcpu.set_pc(BASE);
        Rig { vcpu, bus, ram }
    }

    fn started(tier: Tier) -> Rig {
        let rig = Rig::new(tier);
        for (i, line) in PROGRAM.iter().enumerate() {
            let (word, bytes) = asm::assemble(line, false).unwrap();
            assert_eq!(bytes, 4, "{line}");
            rig.ram.write(BASE + 4 * i as u64, &word.to_le_bytes()).unwrap();
        }
        rig
    }

    fn memory(&self) -> Vec<u8> {
        let mut bytes = vec![0; SIZE as usize];
        self.ram.read(BASE, &mut bytes).unwrap();
        bytes
    }

    fn load(&mut self, memory: &[u8], bus: &[u8], vcpu: &[u8]) -> Result<(), StateError> {
        self.ram.write(BASE, memory).unwrap();
        self.bus.load(bus)?;
        vcpu_state::load(&mut self.vcpu, vcpu)
    }

    fn copy(&self, tier: Tier) -> Rig {
        let mut new = Rig::new(tier);
        new.load(&self.memory(), &self.bus.save(), &vcpu_state::save(&self.vcpu)).unwrap();
        new
    }

    /// Every slot that is a register, the program counter, count and memory.
    fn everything(&self) -> (Vec<u64>, u64, u64, Vec<u8>) {
        // Writes to x0 go to the last slot, which nobody reads.
        let slots = (0..state::DUMP).map(|slot| self.vcpu.get(slot)).collect();
        (slots, self.vcpu.pc(), self.vcpu.count(), self.memory())
    }
}

const TIERS: [Tier; 2] = [Tier::Interp, Tier::Baseline];

#[test]
fn a_loaded_vcpu_runs_on_as_the_saved_one() {
    for (from, to) in TIERS.into_iter().flat_map(|from| TIERS.map(|to| (from, to))) {
        // Each place in the loop and in the handler is one of these.
        for first in (3000..3600).step_by(7) {
            let mut old = Rig::started(from);
            assert_eq!(old.vcpu.run(first), Exit::Budget);
            let mut new = old.copy(to);
            assert_eq!(new.vcpu.get(state::FFLAGS), 1, "inexact");
            assert!(new.vcpu.get(state::X + 9) > 0, "the timer came");
            for rig in [&mut old, &mut new] {
                assert_eq!(rig.vcpu.run(5000), Exit::Budget);
            }
            assert!(old.everything() == new.everything(), "{from:?} to {to:?} after {first}");
        }
    }
}

/// A vCPU that ran something else has translations of it, which must not live on.
#[test]
fn a_used_vcpu_forgets_what_it_ran() {
    for tier in TIERS {
        let mut other = Rig::new(tier);
        let (jump, _) = asm::assemble("jal zero, 0", false).unwrap();
        (0..64).for_each(|i| other.ram.write(BASE + 4 * i, &jump.to_le_bytes()).unwrap());
        other.vcpu.run(1000);
        let mut old = Rig::started(tier);
        old.vcpu.run(1000);
        other.load(&old.memory(), &old.bus.save(), &vcpu_state::save(&old.vcpu)).unwrap();
        for rig in [&mut old, &mut other] {
            rig.vcpu.run(1000);
        }
        assert!(old.everything() == other.everything(), "{tier:?}");
    }
}

#[test]
fn setting_a_register_loses_no_floating_point_flags() {
    let mut rig = Rig::started(Tier::Baseline);
    rig.vcpu.run(3000);
    assert!(rig.vcpu.stats().entered > 0);
    rig.vcpu.set(state::X + 5, 1);
    assert_eq!(rig.vcpu.get(state::FFLAGS), 1);
}

#[test]
fn damaged_states_are_refused_or_run() {
    let mut old = Rig::started(Tier::Baseline);
    old.vcpu.run(3001);
    let (memory, bus, vcpu) = (old.memory(), old.bus.save(), vcpu_state::save(&old.vcpu));
    for end in 0..vcpu.len() {
        assert!(vcpu_state::load(&mut Rig::new(Tier::Interp).vcpu, &vcpu[..end]).is_err(), "{end}");
    }
    for at in (0..vcpu.len()).step_by(3) {
        for bit in [0, 3, 6, 7] {
            let mut vcpu = vcpu.clone();
            vcpu[at] ^= 1 << bit;
            let mut rig = Rig::new(Tier::Baseline);
            if rig.load(&memory, &bus, &vcpu).is_ok() {
                rig.vcpu.run(1000);
            }
        }
    }
    let mut later = vcpu.clone();
    later[0] = 1;
    assert!(matches!(
        vcpu_state::load(&mut old.vcpu, &later),
        Err(StateError::Version { found: 2, newest: 1, .. })
    ));
}
