//! A load like that of a program whose compiler runs beside it, as in a JVM: one thread writes methods and rewrites some,
//! many threads call them in random order.

use crate::common::{pages, put};
use crate::{add, call, vcpu};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use trine_base::{Vcpu, Width};
use trine_engine::direct;
use trine_engine::{Direct, Tier, Translations};
use trine_isa_riscv::{Rv64, asm};
use trine_memory::CodeOwner;

/// Threads that call methods.
const THREADS: u64 = 15;
/// Methods in a page. They are further apart than the pieces in which `fence.i` compares pages.
const IN_A_PAGE: usize = 8;
/// All methods.
const METHODS: usize = 25 * IN_A_PAGE;
/// Calls between two returns to the test.
const CALLS: usize = 64;
/// Blocks of a method.
const BLOCKS: u64 = 2;

/// Calls `a3` methods, whose addresses are at `a2`.
const CALLER: [&str; 8] = [
    "addi a0, zero, 0",
    "ld a1, 0(a2)",
    "jalr ra, 0(a1)",
    "addi a2, a2, 8",
    "addi a3, a3, -1",
    "bne a3, zero, -16",
    "ecall",
    "ebreak",
];
/// Its blocks: the two that end with a call, and the one behind it.
const CALLER_BLOCKS: u64 = 3;

/// How threads come to see a method that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// The writer asks the system to flush the range, as JVMs do.
    Flush,
    /// Each thread executes `fence.i` before it calls.
    Fence,
}

struct Methods {
    seen: Seen,
    translations: Arc<Translations<Rv64, Direct>>,
    caller: u64,
    code: u64,
    /// The version of each method that is being written.
    begun: Vec<AtomicU64>,
    /// The version of each method that threads must see; 0 if it is not written yet.
    published: Vec<AtomicU64>,
    over: AtomicBool,
}

/// A generator of numbers that look random.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

impl Methods {
    fn new(seen: Seen) -> Methods {
        let (translations, why) = Translations::new(Tier::Baseline);
        assert_eq!(why, None);
        let caller = pages(1);
        let fence = ["fence.i"].into_iter().filter(|_| seen == Seen::Fence);
        let lines = fence.chain(CALLER);
        put(caller, &lines.map(|line| asm::assemble(line, false).expect("assembles").0).collect::<Vec<_>>());
        let versions = || (0..METHODS).map(|_| AtomicU64::new(0)).collect();
        Methods {
            seen,
            translations,
            caller,
            code: pages((METHODS / IN_A_PAGE) as u64),
            begun: versions(),
            published: versions(),
            over: AtomicBool::new(false),
        }
    }

    fn address(&self, method: usize) -> u64 {
        self.code + (method * 4096 / IN_A_PAGE) as u64
    }

    /// Writes the next version of a method; each adds its number to `a0`.
    fn write(&self, method: usize) {
        let at = self.address(method);
        let version = self.begun[method].fetch_add(1, Ordering::SeqCst) + 1;
        let code = add(version);
        if version == 1 {
            put(at, &code);
        } else {
            // Threads that call it meanwhile may see either version, but no mixture.
            direct::store(at, Width::B4, code[0] as u64).expect("written");
        }
        if self.seen == Seen::Flush {
            self.translations.written().code_changed(at, at + 16);
        }
        self.published[method].store(version, Ordering::SeqCst);
    }

    /// Calls methods until the end.
    fn run(&self, thread: u64) {
        // A thread that finds a wrong result ends the others.
        let _ends = EndsIfPanicking(&self.over);
        let mut vcpu = vcpu(&self.translations);
        let list = pages(1);
        let mut random = thread + 1;
        while !self.over.load(Ordering::SeqCst) {
            let chosen = [(); CALLS].map(|()| next(&mut random) as usize % METHODS);
            let is_published = |&method: &usize| self.published[method].load(Ordering::SeqCst) > 0;
            let chosen: Vec<usize> = chosen.into_iter().filter(is_published).collect();
            if chosen.is_empty() {
                std::thread::yield_now();
                continue;
            }
            for (n, &method) in chosen.iter().enumerate() {
                direct::store(list + 8 * n as u64, Width::B8, self.address(method)).expect("written");
            }
            let sum = |versions: &[AtomicU64]| -> u64 {
                chosen.iter().map(|&method| versions[method].load(Ordering::SeqCst)).sum()
            };
            let least = sum(&self.published);
            vcpu.set(12, list);
            vcpu.set(13, chosen.len() as u64);
            let got = call(&mut vcpu, self.caller);
            let most = sum(&self.begun);
            assert!((least..=most).contains(&got), "{got} is not between {least} and {most}");
        }
    }

    /// Waits until every version so far is compiled, which must not take more than one translation of each.
    fn settle(&self, versions: u64) {
        let fences = (self.seen == Seen::Fence) as u64;
        let expected = CALLER_BLOCKS + fences + BLOCKS * versions;
        let counts = self.translations.counts();
        let compiled = || counts.compiled.load(Ordering::SeqCst);
        let start = Instant::now();
        while compiled() < expected
            && start.elapsed() < Duration::from_secs(100)
            && !self.over.load(Ordering::SeqCst)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        let decoded = counts.decoded.load(Ordering::SeqCst);
        assert_eq!(
            (decoded, compiled()),
            (expected, expected),
            "{:?}, {versions} versions: {counts:?}",
            self.seen
        );
    }

    /// Writes all methods, then rewrites those at the same place of each page, once at each place.
    fn write_all(&self) {
        (0..METHODS).for_each(|method| self.write(method));
        let mut versions = METHODS as u64;
        self.settle(versions);
        for place in 0..IN_A_PAGE {
            // One in each page: decoding compares the page, and would find another method before it is published.
            let rewritten = (0..METHODS).filter(|method| method % IN_A_PAGE == place);
            versions += rewritten.inspect(|&method| self.write(method)).count() as u64;
            self.settle(versions);
        }
    }
}

/// Ends the threads if the one that holds this panics.
struct EndsIfPanicking<'a>(&'a AtomicBool);

impl Drop for EndsIfPanicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

/// Ends the threads, also where the one that holds this panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn methods_that_fifteen_threads_call_are_translated_once_in_each_version() {
    for seen in [Seen::Flush, Seen::Fence] {
        let methods = Methods::new(seen);
        std::thread::scope(|s| {
            for thread in 0..THREADS {
                let methods = &methods;
                s.spawn(move || methods.run(thread));
            }
            let _ends = Ends(&methods.over);
            methods.write_all();
        });
        let retired = methods.translations.counts().retired.load(Ordering::SeqCst);
        assert_eq!(retired, BLOCKS * METHODS as u64, "each first version was retired once");
    }
}
