//! Runs cases in an engine.

use super::case::{Case, FX_MXCSR, FX_STACK, FX_XMM, HANGS, Outcome, Registers, TAIL, WATCHED};
use super::native::{Native, code_of, observe, prepare};
use std::sync::{Arc, Once};
use trine_base::{Exit, HostClock, Mailbox, Vcpu};
use trine_engine::direct::{self, Direct, Pages};
use trine_engine::{Engine, Tier, Translations};
use trine_isa_x86::state::{FCW, FEMPTY, FSW, MXCSR, WHOLE_EFLAGS, X87, XMM, YMM_HIGH, vector};
use trine_isa_x86::{Config, X64};

/// More instructions than any case needs.
const BUDGET: u64 = 4096;

/// All of memory may be code and may change.
struct Anything;

impl Pages for Anything {
    fn fetch(&self, page: u64) -> bool {
        (page >> 17) == (super::native::CODE >> 17)
    }
    fn may_change(&self, _: u64) -> bool {
        true
    }
}

type Cpu = Engine<X64, Direct>;

/// Lets the engine know of accesses that the host refuses.
fn handle_faults() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the structure is complete, and the handler keeps to what a handler may do.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
            libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
        }
    });
}

extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's own arguments.
    if !unsafe { direct::on_fault(signal, info, context.cast()) } {
        // SAFETY: the access is repeated, and ends the process as it would have without this handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn cpu(long: bool, tier: Tier) -> Cpu {
    handle_faults();
    // SAFETY: the kernel places this executable and what it maps without a wish far above these addresses.
    unsafe { direct::claim_addresses() };
    let (clock, mailbox) = (Arc::new(HostClock::new()), Arc::new(Mailbox::new()));
    let (translations, _) = Translations::new(tier);
    let mut cpu =
        Engine::program(Config { model: 0, long }, Arc::new(Anything), clock, mailbox, translations);
    cpu.set_warm(0);
    cpu
}

/// Runs cases, whose code is in its place.
pub fn run(native: &mut Native, tier: Tier, cases: &[Case]) -> Vec<Outcome> {
    native.place(cases);
    let mut cpus = [cpu(false, tier), cpu(true, tier)];
    let one = |(slot, case): (usize, &Case)| run_one(&mut cpus[case.long as usize], slot, case);
    cases.iter().enumerate().map(one).collect()
}

fn run_one(cpu: &mut Cpu, slot: usize, case: &Case) -> Outcome {
    prepare(case);
    load(cpu, &case.registers);
    cpu.set_pc(code_of(slot));
    let (vector, error, address) = match cpu.run(BUDGET) {
        Exit::Firmware(trap) if trap.cause == vector::PF => (trap.cause, trap.code as u64, trap.value),
        Exit::Firmware(trap) => (trap.cause, trap.code as u64, 0),
        _ => (HANGS, 0, 0),
    };
    let mut outcome = Outcome {
        registers: save(cpu),
        vector,
        error,
        address,
        watched: [0; WATCHED.end - WATCHED.start],
        tail: [0; TAIL.end - TAIL.start],
    };
    observe(&mut outcome);
    outcome
}

/// The number of the x87 register on top of the stack, from what FXSAVE writes first.
fn top(control: u64) -> usize {
    (control >> 27 & 7) as usize
}

fn load(cpu: &mut Cpu, r: &Registers) {
    (0..16).for_each(|n| cpu.set(n, r.gpr[n as usize]));
    cpu.set_view(WHOLE_EFLAGS, r.eflags.into());
    cpu.set(FCW, r.fx[0] & 0xffff);
    cpu.set(FSW, r.fx[0] >> 16 & 0xffff);
    cpu.set(FEMPTY, !(r.fx[0] >> 32) & 0xff);
    for n in 0..8 {
        let slot = X87 + 2 * ((top(r.fx[0]) + n) & 7) as u16;
        cpu.set(slot, r.fx[FX_STACK + 2 * n]);
        cpu.set(slot + 1, r.fx[FX_STACK + 2 * n + 1] & 0xffff);
    }
    cpu.set(MXCSR, r.fx[FX_MXCSR] as u32 as u64);
    for n in 0..16u16 {
        let at = FX_XMM + 2 * n as usize;
        for half in 0..2u16 {
            cpu.set(XMM + 2 * n + half, r.fx[at + half as usize]);
            cpu.set(YMM_HIGH + 2 * n + half, r.ymm_high[n as usize][half as usize]);
        }
    }
}

fn save(cpu: &Cpu) -> Registers {
    let mut fx = [0; 64];
    fx[0] = cpu.get(FCW) | cpu.get(FSW) << 16 | (!cpu.get(FEMPTY) & 0xff) << 32;
    for n in 0..8 {
        let slot = X87 + 2 * ((top(fx[0]) + n) & 7) as u16;
        (fx[FX_STACK + 2 * n], fx[FX_STACK + 2 * n + 1]) = (cpu.get(slot), cpu.get(slot + 1));
    }
    fx[FX_MXCSR] = cpu.get(MXCSR) | 0xffff << 32;
    (0..32).for_each(|n| fx[FX_XMM + n] = cpu.get(XMM + n as u16));
    let high = |n: usize, half: u16| cpu.get(YMM_HIGH + 2 * n as u16 + half);
    Registers {
        gpr: std::array::from_fn(|n| cpu.get(n as u16)),
        rip: cpu.pc(),
        eflags: cpu.view(WHOLE_EFLAGS) as u64,
        fx,
        ymm_high: std::array::from_fn(|n| [high(n, 0), high(n, 1)]),
    }
}
