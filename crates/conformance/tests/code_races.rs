//! Two harts of one machine with shared translations: one rewrites code that the other one calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use trine_base::{Bus, Clock, Exit, HostClock, Mailbox, Trap, Vcpu, Width};
use trine_conformance::bare::assemble;
use trine_engine::{Engine, Tier, Time, Translations};
use trine_isa_riscv::state::X;
use trine_isa_riscv::{Config, Rv64, Start};
use trine_memory::Ram;

const BASE: u64 = 0x8000_0000;
/// The page of the rewritten function; the writer's TLB allows stores to it.
const FUNCTION: u64 = BASE + 0x2000;
/// The number of the version that was written last.
const VERSION: u64 = BASE + 0x3000;
/// The function's constant has 12 bits and is signed.
const VERSIONS: u64 = 2000;

/// Calls the function a hundred times.
const CALLER: &str = "fence.i
    addi a0, zero, 0
    addi t0, zero, 100
    again:
    jalr ra, 0(a1)
    addi t0, t0, -1
    bne t0, zero, @again
    ecall";

/// Makes the function add 1, 2, … up to `a3`, and stores after each which version is in force.
const WRITER: &str = "addi a4, zero, 0
    lui a5, 327680
    addi a5, a5, 1299
    next:
    addi a4, a4, 1
    slli a6, a4, 20
    add a6, a6, a5
    sw a6, 0(a1)
    fence rw, rw
    sd a4, 0(a2)
    blt a4, a3, @next
    ecall";

/// Adds a constant to `a0`, in two blocks.
const FUNCTION_0: &str = "addi a0, a0, 0\njal zero, 8\nebreak\njalr zero, 0(ra)";

/// Two harts that start at these addresses; their `a1` and `a2` are the addresses of function and version.
fn harts(tier: Tier, ram: &Arc<Ram>, starts: [u64; 2]) -> ([Engine<Rv64>; 2], Arc<Translations<Rv64>>) {
    let (translations, why) = Translations::new(tier);
    assert_eq!(why, None);
    ram.add_code_owner(translations.written().clone());
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    let mailboxes: [Arc<Mailbox>; 2] = Default::default();
    let bus = Arc::new(Bus::new(clock.clone(), mailboxes.to_vec()));
    let hart = |hart: usize| {
        let config = Config { hart: hart as _, start: Start::Supervisor };
        let (ram, bus, time) = (ram.clone(), bus.clone(), Time::Host(clock.clone()));
        let mailbox = mailboxes[hart].clone();
        let mut vcpu = Engine::of_machine(config, ram, bus, time, mailbox, translations.clone());
        vcpu.set_pc(starts[hart]);
        vcpu.set(X + 11, FUNCTION);
        vcpu.set(X + 12, VERSION);
        vcpu.set(X + 13, VERSIONS - 1);
        vcpu
    };
    ([hart(0), hart(1)], translations)
}

fn to_ecall(vcpu: &mut Engine<Rv64>) {
    assert!(matches!(vcpu.run(u64::MAX), Exit::Firmware(Trap { cause: 9, .. })));
}

/// One hart writes all versions while the other one calls. Returns how many blocks were retired: none if the
/// writer finished before the other one began.
fn round(tier: Tier) -> u64 {
    let ram = Arc::new(Ram::new(BASE, 1 << 20).expect("memory"));
    for (at, text) in [(BASE, CALLER), (BASE + 0x1000, WRITER), (FUNCTION, FUNCTION_0)] {
        ram.write(at, &assemble(text)).expect("inside");
    }
    let ([mut caller, mut writer], translations) = harts(tier, &ram, [BASE, BASE + 0x1000]);
    let over = AtomicBool::new(false);
    let version = || ram.load(VERSION, Width::B8).expect("inside");
    std::thread::scope(|s| {
        s.spawn(|| {
            to_ecall(&mut writer);
            over.store(true, Ordering::SeqCst);
        });
        loop {
            // Read before the last call, which must therefore see everything that was written.
            let last = over.load(Ordering::SeqCst);
            let before = version();
            caller.set_pc(BASE);
            to_ecall(&mut caller);
            // The next version is stored before its number.
            let after = version() + 1;
            let sum = caller.get(X + 10);
            assert!(
                (100 * before..=100 * after).contains(&sum),
                "{sum} where {before} to {after} were there"
            );
            if last {
                break;
            }
        }
    });
    assert_eq!(caller.get(X + 10), 100 * (VERSIONS - 1));
    translations.counts().retired.load(Ordering::SeqCst)
}

#[test]
fn code_that_another_hart_rewrites_is_seen_after_fence_i() {
    for tier in [Tier::Interp, Tier::Baseline] {
        let retired: u64 = (0..40).map(|_| round(tier)).sum();
        assert!(retired > 0, "no function was translated while it was rewritten");
    }
}

#[test]
#[ignore = "takes five minutes: cargo xtask test code-races"]
fn code_that_another_hart_rewrites_is_seen_for_five_minutes() {
    for tier in [Tier::Interp, Tier::Baseline] {
        let start = Instant::now();
        let mut called = 0;
        while start.elapsed() < Duration::from_secs(150) {
            called += round(tier);
        }
        println!("{tier:?}: {called} times a hundred calls while another hart rewrote the function");
    }
}

#[test]
fn harts_run_each_others_translations() {
    let ram = Arc::new(Ram::new(BASE, 1 << 20).expect("memory"));
    ram.write(BASE, &assemble(CALLER)).expect("inside");
    ram.write(FUNCTION, &assemble(FUNCTION_0)).expect("inside");
    let (mut both, translations) = harts(Tier::Baseline, &ram, [BASE, BASE]);
    let count = || {
        let counts = translations.counts();
        (counts.decoded.load(Ordering::SeqCst), counts.compiled.load(Ordering::SeqCst))
    };
    to_ecall(&mut both[0]);
    let alone = count();
    // The blocks of the loop were hot, those before and after it were not.
    assert!(alone.0 > alone.1 && alone.1 > 0, "{alone:?}");
    to_ecall(&mut both[1]);
    assert_eq!(count(), alone, "the second hart translated what the first one had");
}
