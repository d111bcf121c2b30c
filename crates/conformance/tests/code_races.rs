//! Harts of one machine with shared translations: they rewrite code that other ones call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use trine_base::{Actions, Bus, Clock, Device, Exit, HostClock, Mailbox, StateError, Trap, Vcpu, Width};
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

/// Harts that start at these addresses; their `a1` and `a2` are the addresses of function and version.
fn harts(tier: Tier, ram: &Arc<Ram>, starts: &[u64]) -> (Vec<Engine<Rv64>>, Arc<Translations<Rv64>>) {
    let (translations, why) = Translations::new(tier);
    assert_eq!(why, None);
    ram.add_code_owner(translations.written().clone());
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    let mailboxes: Vec<Arc<Mailbox>> = starts.iter().map(|_| Arc::default()).collect();
    let mut bus = Bus::new(clock.clone(), mailboxes.clone());
    bus.add(SLOW, 0x1000, Box::new(Slow)).expect("a free window");
    let bus = Arc::new(bus);
    let hart = |(hart, start): (usize, &u64)| {
        let config = Config { hart: hart as _, start: Start::Supervisor };
        let (ram, bus, time) = (ram.clone(), bus.clone(), Time::Host(clock.clone()));
        let mailbox = mailboxes[hart].clone();
        let mut vcpu = Engine::of_machine(config, ram, bus, time, mailbox, translations.clone());
        vcpu.set_pc(*start);
        vcpu.set(X + 11, FUNCTION);
        vcpu.set(X + 12, VERSION);
        vcpu.set(X + 13, VERSIONS - 1);
        vcpu
    };
    (starts.iter().enumerate().map(hart).collect(), translations)
}

fn to_ecall(vcpu: &mut Engine<Rv64>) {
    let exit = vcpu.run(u64::MAX);
    assert!(matches!(exit, Exit::Firmware(Trap { cause: 9, .. })), "{exit:?} at {:#x}", vcpu.pc());
}

/// One hart writes all versions while the other one calls. Returns how many blocks were retired: none if the
/// writer finished before the other one began.
fn round(tier: Tier) -> u64 {
    let ram = Arc::new(Ram::new(BASE, 1 << 20).expect("memory"));
    for (at, text) in [(BASE, CALLER), (BASE + 0x1000, WRITER), (FUNCTION, FUNCTION_0)] {
        ram.write(at, &assemble(text)).expect("inside");
    }
    let (harts, translations) = harts(tier, &ram, &[BASE, BASE + 0x1000]);
    let Ok([mut caller, mut writer]) = <[_; 2]>::try_from(harts) else { unreachable!("two harts") };
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
    let (mut both, translations) = harts(Tier::Baseline, &ram, &[BASE, BASE]);
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

/// Harts that write and translate the same page.
const HARTS: usize = 3;

/// Where reads take long: a vCPU passes no safepoint meanwhile.
const SLOW: u64 = 0x1000_0000;

/// Stores twice to the page, so that the second store may enter it into the TLB as writable; then, after a long time, the
/// function's new first instruction.
const LONG_WRITER: &str = "lui a5, 268435456
    sd zero, 256(a1)
    sd zero, 256(a1)
    lw t1, 0(a5)
    sw a6, 0(a1)
    ecall";

/// A device that answers late.
struct Slow;

impl Device for Slow {
    fn name(&self) -> &str {
        "slow"
    }
    fn read(&mut self, _: u64, _: Width, _: u64, _: &mut Actions) -> u64 {
        std::thread::sleep(Duration::from_micros(100));
        0
    }
    fn write(&mut self, _: u64, _: Width, _: u64, _: u64, _: &mut Actions) {}
    fn reset(&mut self, _: &mut Actions) {}
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn load(&mut self, _: &[u8]) -> Result<(), StateError> {
        Ok(())
    }
}

/// `addi a0, a0, version`.
fn add(version: u64) -> u64 {
    0x0005_0513 | version << 20
}

/// Ends the threads when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Harts that take turns to rewrite a function of a page that all of them translate, while a device writes to that page.
struct Crowd {
    ram: Arc<Ram>,
    /// The last version.
    last: u64,
    /// The version in force.
    version: AtomicU64,
    /// The latest version that each hart has called.
    called: [AtomicU64; HARTS],
    over: AtomicBool,
}

impl Crowd {
    fn new(last: u64) -> Crowd {
        let ram = Arc::new(Ram::new(BASE, 1 << 20).expect("memory"));
        for (at, text) in [(BASE, CALLER), (BASE + 0x1000, LONG_WRITER), (FUNCTION, FUNCTION_0)] {
            ram.write(at, &assemble(text)).expect("inside");
        }
        Crowd {
            ram,
            last,
            version: AtomicU64::new(0),
            called: Default::default(),
            over: AtomicBool::new(false),
        }
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Writes the next version if it is this hart's turn and all have called the last one.
    fn write(&self, hart: usize, vcpu: &mut Engine<Rv64>) {
        let version = self.version();
        let all_called = || self.called.iter().all(|called| called.load(Ordering::SeqCst) >= version);
        if version as usize % HARTS != hart || version == self.last || !all_called() {
            return;
        }
        vcpu.set(X + 16, add(version + 1));
        vcpu.set_pc(BASE + 0x1000);
        to_ecall(vcpu);
        self.version.store(version + 1, Ordering::SeqCst);
    }

    /// Calls the function, which must be at least the version that was in force before.
    fn call(&self, hart: usize, vcpu: &mut Engine<Rv64>) {
        let before = self.version();
        vcpu.set_pc(BASE);
        to_ecall(vcpu);
        let (sum, after) = (vcpu.get(X + 10), self.version() + 1);
        let right = (100 * before..=100 * after).contains(&sum);
        assert!(right, "hart {hart} got {sum} where {before} to {after} were there");
        self.called[hart].store(before, Ordering::SeqCst);
    }

    fn run(&self, hart: usize, vcpu: &mut Engine<Rv64>) {
        // The others must not wait for a hart that failed.
        let _over = Over(&self.over);
        while !self.over.load(Ordering::SeqCst) {
            self.write(hart, vcpu);
            self.call(hart, vcpu);
        }
    }

    /// As a device does, writes into the page once in each version, where it can while the page becomes code.
    fn device(&self) {
        while !self.over.load(Ordering::SeqCst) {
            let version = self.version();
            let is_becoming = || self.ram.is_code(FUNCTION) && !self.ram.is_settled(FUNCTION);
            while !is_becoming() && version == self.version() && !self.over.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            self.ram.store(FUNCTION + 512, Width::B8, version).expect("inside");
            while version == self.version() && !self.over.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        }
    }

    /// Ends when the last version was called by all.
    fn supervise(&self) {
        let all = || self.called.iter().all(|called| called.load(Ordering::SeqCst) == self.last);
        while !all() && !self.over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_micros(100));
        }
        self.over.store(true, Ordering::SeqCst);
    }
}

/// The harts write so many versions. Returns how many blocks were retired.
fn crowded_round(tier: Tier, versions: u64) -> u64 {
    let crowd = Crowd::new(versions);
    let (harts, translations) = harts(tier, &crowd.ram, &[BASE; HARTS]);
    std::thread::scope(|s| {
        for (hart, mut vcpu) in harts.into_iter().enumerate() {
            let crowd = &crowd;
            s.spawn(move || crowd.run(hart, &mut vcpu));
        }
        s.spawn(|| crowd.device());
        crowd.supervise();
    });
    translations.counts().retired.load(Ordering::SeqCst)
}

#[test]
fn a_page_that_three_harts_and_a_device_write_while_it_becomes_code_is_seen_as_it_is() {
    for tier in [Tier::Interp, Tier::Baseline] {
        let versions = 200;
        let retired = crowded_round(tier, versions);
        assert!(retired >= versions, "{retired} blocks were retired");
    }
}

#[test]
#[ignore = "takes five minutes: cargo xtask test code-races"]
fn a_page_that_three_harts_and_a_device_write_is_seen_as_it_is_for_five_minutes() {
    for tier in [Tier::Interp, Tier::Baseline] {
        let (start, mut rounds) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(150) {
            crowded_round(tier, VERSIONS - 1);
            rounds += 1;
        }
        println!("{tier:?}: {rounds} times {} versions by {HARTS} harts in turn", VERSIONS - 1);
    }
}
