//! vCPUs of one program on several host threads, which share translations.

mod common;
mod methods;

use common::{pages, put};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use trine_base::{Exit, HostClock, Mailbox, Trap, Vcpu, Width};
use trine_engine::direct::{self, Pages};
use trine_engine::translations::Bounds;
use trine_engine::{Direct, Engine, Tier, Translations};
use trine_isa_riscv::{Config, Rv64, Start};
use trine_memory::CodeOwner;

/// Every page may be fetched from, and may change.
struct Everything;

impl Pages for Everything {
    fn fetch(&self, _: u64) -> bool {
        true
    }
    fn may_change(&self, _: u64) -> bool {
        true
    }
}

fn vcpu(translations: &Arc<Translations<Rv64, Direct>>) -> Engine<Rv64, Direct> {
    vcpu_with(Arc::new(Mailbox::new()), translations)
}

fn vcpu_with(mailbox: Arc<Mailbox>, translations: &Arc<Translations<Rv64, Direct>>) -> Engine<Rv64, Direct> {
    let config = Config { hart: 0, start: Start::User };
    let clock = Arc::new(HostClock::new());
    Engine::program(config, Arc::new(Everything), clock, mailbox, translations.clone())
}

/// Runs from `pc` to an `ecall`; returns `a0`.
fn call(vcpu: &mut Engine<Rv64, Direct>, pc: u64) -> u64 {
    vcpu.set_pc(pc);
    assert_eq!(vcpu.run(u64::MAX), Exit::Firmware(Trap::fault(8, 0)));
    vcpu.get(10)
}

const ECALL: u32 = 0x0000_0073;
const RET: u32 = 0x0000_8067;
const EBREAK: u32 = 0x0010_0073;
/// `addi a0, a0, 0`; the constant is the upper 12 bits.
const ADD: u32 = 0x0005_0513;
/// `jal zero, 8`.
const SKIP: u32 = 0x0080_006f;
/// `jalr ra, 0(a1)`, `addi a1, a1, 16`.
const CALL: [u32; 2] = [0x0005_80e7, 0x0105_8593];

/// `a0 = 0`, `t0 = 100`; a hundred times: call what `a1` points to; `ecall`.
const HUNDRED: [u32; 6] = [0x0000_0513, 0x0640_0293, 0x0005_80e7, 0xfff2_8293, 0xfe02_9ce3, ECALL];

/// A function of two blocks that adds `n` to `a0`.
fn add(n: u64) -> [u32; 4] {
    [ADD | (n as u32) << 20, SKIP, EBREAK, RET]
}

/// Code that calls each of `count` functions once, and adds what they add.
fn many(count: u64) -> u64 {
    let at = pages(2 + count * 24 / 4096 + 1);
    let functions = at + 4096 * (1 + count * 8 / 4096);
    // `a0 = 0`; `auipc a1` and `addi a1` of the functions' address; the calls.
    let distance = (functions - (at + 4)) as u32;
    assert_eq!(distance & 0xfff, 0xffc);
    let mut code = vec![0x0000_0513, 0x0000_0597 | (distance + 4) & !0xfff, 0xffc5_8593];
    (0..count).for_each(|_| code.extend(CALL));
    code.push(ECALL);
    put(at, &code);
    (0..count).for_each(|n| put(functions + 16 * n, &add(n % 7)));
    at
}

/// Blocks decoded and compiled when so many threads ran the code so many times.
fn translated(code: u64, threads: usize, times: usize) -> (u64, u64) {
    let (translations, why) = Translations::new(Tier::Baseline);
    assert_eq!(why, None);
    let start = Barrier::new(threads);
    let sums: Vec<u64> = std::thread::scope(|s| {
        let run = || {
            let mut vcpu = vcpu(&translations);
            start.wait();
            (0..times).map(|_| call(&mut vcpu, code)).sum()
        };
        let threads: Vec<_> = (0..threads).map(|_| s.spawn(run)).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
    let counts = translations.counts();
    (counts.decoded.load(Ordering::SeqCst), counts.compiled.load(Ordering::SeqCst))
}

#[test]
fn each_block_is_translated_once_however_many_threads_run_it() {
    let code = many(600);
    let alone = translated(code, 1, 40);
    // Each call ends a block, each function is two.
    assert!(alone.0 > 1800 && alone.1 == alone.0, "{alone:?}");
    for threads in [2, 15] {
        assert_eq!(translated(code, threads, 40), alone, "{threads} threads");
    }
}

/// Rewrites functions that other threads call, until `end`; returns how often. Each call must see at least
/// the version that was flushed before it.
fn rewritten(
    translations: &Arc<Translations<Rv64, Direct>>,
    runners: usize,
    end: impl Fn(u64, &Translations<Rv64, Direct>) -> bool,
) -> u64 {
    /// The constant has 12 bits, with a sign.
    const VERSIONS: u64 = 2000;
    let (at, version, over) = (pages(1), AtomicU64::new(0), AtomicBool::new(false));
    let function = at + 256;
    put(at, &HUNDRED);
    put(function, &add(0));
    let run = || {
        let mut vcpu = vcpu(translations);
        while !over.load(Ordering::SeqCst) {
            let before = version.load(Ordering::SeqCst);
            vcpu.set(11, function);
            let sum = call(&mut vcpu, at);
            // The next one may be there already.
            let after = version.load(Ordering::SeqCst) + 1;
            let (least, most) = (before % VERSIONS, after % VERSIONS);
            if least < most && after - before < VERSIONS {
                assert!((100 * least..=100 * most).contains(&sum), "{sum} between {least} and {most}");
            }
        }
    };
    std::thread::scope(|s| {
        let threads: Vec<_> = (0..runners).map(|_| s.spawn(run)).collect();
        let mut done = 0;
        while !end(done, translations) && threads.iter().all(|t| !t.is_finished()) {
            let next = done + 1;
            direct::store(function, Width::B4, add(next % VERSIONS)[0] as u64).expect("written");
            translations.written().code_changed(function, function + 16);
            version.store(next, Ordering::SeqCst);
            done = next;
        }
        over.store(true, Ordering::SeqCst);
        done
    })
}

#[test]
fn threads_see_code_that_was_flushed_and_what_was_dropped_is_freed() {
    for tier in [Tier::Interp, Tier::Baseline] {
        let (translations, _) = Translations::new(tier);
        let done = rewritten(&translations, 3, |done, t| {
            done >= 3000 && t.counts().retired.load(Ordering::SeqCst) > 200
        });
        let count = |n: &AtomicU64| n.load(Ordering::SeqCst);
        let counts = translations.counts();
        assert!(done >= 3000, "a thread ended early");
        assert!(count(&counts.freed) > 100, "{counts:?}");
        // All threads are gone: the next one finds everything free.
        let mut last = vcpu(&translations);
        translations.written().code_changed(0, u64::MAX);
        let at = pages(1);
        put(at, &[ECALL]);
        call(&mut last, at);
        translations.written().code_changed(at, at + 4);
        call(&mut last, at);
        translations.written().code_changed(at, at + 4);
        call(&mut last, at);
        assert!(count(&counts.retired) - count(&counts.freed) <= 1, "{counts:?}");
    }
}

#[test]
#[ignore = "takes five minutes: cargo xtask test code-races"]
fn threads_see_code_that_is_flushed_for_five_minutes() {
    for tier in [Tier::Interp, Tier::Baseline] {
        let (translations, _) = Translations::new(tier);
        let start = Instant::now();
        let time = Duration::from_secs(150);
        let done = rewritten(&translations, 3, |_, _| start.elapsed() >= time);
        assert!(start.elapsed() >= time, "a thread ended early");
        println!("{tier:?}: {done} versions, {:?}", translations.counts());
    }
}

#[test]
fn full_code_memory_is_emptied_part_by_part_while_threads_run_in_it() {
    // 16 parts of 16 KiB: a few dozen blocks each.
    let (translations, why) =
        Translations::with_bounds(Tier::Baseline, Bounds { part: 16 << 10, ..Bounds::default() });
    assert_eq!(why, None);
    let end = |_, t: &Translations<Rv64, Direct>| t.counts().emptied.load(Ordering::SeqCst) > 18;
    let done = rewritten(&translations, 2, end);
    assert!(end(done, &translations), "a thread ended early");
    let counts = translations.counts();
    assert!(counts.compiled.load(Ordering::SeqCst) > 400, "{counts:?}");
}

#[test]
fn code_that_fills_the_memory_many_times_runs_on() {
    let code = many(600);
    let (translations, _) =
        Translations::with_bounds(Tier::Baseline, Bounds { part: 8 << 10, ..Bounds::default() });
    let mut vcpu = vcpu(&translations);
    let sums: Vec<u64> = (0..60).map(|_| call(&mut vcpu, code)).collect();
    assert!(sums.iter().all(|sum| *sum == (0..600).map(|n| n % 7).sum::<u64>()), "{sums:?}");
    assert!(translations.counts().emptied.load(Ordering::SeqCst) > 16, "{:?}", translations.counts());
}

#[test]
fn blocks_that_run_rarely_are_bounded() {
    let code = many(600);
    for tier in [Tier::Interp, Tier::Baseline] {
        let (translations, _) = Translations::with_bounds(tier, Bounds { cold: 500, ..Bounds::default() });
        let mut vcpu = vcpu(&translations);
        // Fewer runs than make a block worth compiling: each finds nothing of the one before.
        for _ in 0..5 {
            assert_eq!(call(&mut vcpu, code), (0..600).map(|n| n % 7).sum::<u64>());
        }
        let counts = translations.counts();
        let [decoded, retired, freed, cooled] =
            [&counts.decoded, &counts.retired, &counts.freed, &counts.cooled]
                .map(|n| n.load(Ordering::SeqCst));
        assert!(decoded > 5 * 1800 && cooled >= decoded / 500 - 1, "{counts:?}");
        assert!(decoded - retired <= 500 && retired - freed <= 1000, "{counts:?}");
    }
}

#[test]
fn what_is_given_up_is_translated_again() {
    let code = many(600);
    let sum = (0..600).map(|n| n % 7).sum::<u64>();
    for tier in [Tier::Interp, Tier::Baseline] {
        let (translations, _) = Translations::new(tier);
        let mut vcpu = vcpu(&translations);
        for round in 1..4 {
            (0..40).for_each(|_| assert_eq!(call(&mut vcpu, code), sum));
            let count = |n: &AtomicU64| n.load(Ordering::SeqCst);
            // There is not so much; then there is nothing more.
            assert!(translations.give_up(64 << 20) && translations.give_up(0) && translations.give_up(0));
            let counts = translations.counts();
            assert_eq!(count(&counts.rested), round);
            assert_eq!(
                (count(&counts.retired), count(&counts.freed)),
                (count(&counts.decoded), count(&counts.decoded))
            );
        }
    }
}

#[test]
fn translations_are_given_up_while_threads_come_and_go() {
    let code = many(100);
    for tier in [Tier::Interp, Tier::Baseline] {
        let (translations, _) = Translations::new(tier);
        let over = AtomicBool::new(false);
        // Whether who is told comes at once. Only at every second attempt: threads that always did would be online in that very
        // moment each time, and nothing could ever be given up.
        let hurried = Arc::new(AtomicBool::new(false));
        let run = || {
            let (mailbox, told) = (Arc::new(Mailbox::new()), Arc::new(AtomicBool::new(false)));
            let (tells, hurried) = (told.clone(), hurried.clone());
            // It comes online between the moment in which blocks are taken out and the one in which they are counted as such.
            mailbox.set_kicker(Box::new(move || {
                if hurried.load(Ordering::SeqCst) {
                    tells.store(true, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }));
            let mut vcpu = vcpu_with(mailbox.clone(), &translations);
            while !over.load(Ordering::SeqCst) {
                (0..10).for_each(|_| assert_eq!(call(&mut vcpu, code), (0..100).map(|n| n % 7).sum::<u64>()));
                let end = Instant::now() + Duration::from_millis(5);
                while !told.swap(false, Ordering::SeqCst) && Instant::now() < end {
                    std::thread::yield_now();
                }
            }
        };
        let mut half = 0;
        std::thread::scope(|s| {
            let threads = [s.spawn(run), s.spawn(run)];
            while half == 0
                && translations.counts().rested.load(Ordering::SeqCst) < 30
                && !threads.iter().any(|t| t.is_finished())
            {
                hurried.fetch_not(Ordering::SeqCst);
                if translations.give_up(0) {
                    let count = |n: &AtomicU64| n.load(Ordering::SeqCst);
                    let counts = translations.counts();
                    // Whatever threads have translated since is not retired.
                    half += u32::from(count(&counts.freed) != count(&counts.retired));
                }
                // Not at once again: who asks has the lock that they wait for.
                std::thread::sleep(Duration::from_micros(500));
            }
            over.store(true, Ordering::SeqCst);
        });
        assert_eq!(half, 0, "given up, but not free");
        assert!(translations.counts().rested.load(Ordering::SeqCst) >= 30, "a thread ended early");
    }
}
