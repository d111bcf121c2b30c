//! What a debugger needs of a machine's vCPUs and of its board: breakpoints, watchpoints, steps and jobs, in both engines and
//! with both kinds of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use trine_base::{DebugStop, Exit, Stops, Vcpu, Watchpoint, Width};
use trine_conformance::bare::{BASE, Bare, counter_of, counting_harts};
use trine_engine::Tier;
use trine_isa_riscv::{Rv64, state};
use trine_machine::boot::Boot;
use trine_machine::virt::{self, map};
use trine_machine::{Board, Config, Console, End, TimeSource};

const TIERS: [Tier; 2] = [Tier::Interp, Tier::Baseline];

/// Adds 1 to `t0`, then to `t1`, and again; stores `t0` at `s0` in every round.
const LOOP: &str = "again:
    addi t0, t0, 1
    sd t0, 0(s0)
    addi t1, t1, 1
    jal zero, @again";

fn stops_at(breakpoints: &[u64]) -> Arc<Stops> {
    let mut stops = Stops::default();
    breakpoints.iter().for_each(|&at| stops.add_breakpoint(at));
    Arc::new(stops)
}

/// The loop after 4000 instructions.
fn hot(tier: Tier) -> Bare {
    let mut bare = Bare::<Rv64>::new(tier, LOOP);
    bare.vcpu.set(state::X + 8, BASE + 0x10_0000);
    assert_eq!(bare.vcpu.run(4000), Exit::Budget);
    bare
}

const AT_BREAKPOINT: Exit = Exit::Debugger(DebugStop::Breakpoint);

#[test]
fn breakpoints_come_before_their_instruction_even_in_hot_code() {
    for tier in TIERS {
        let mut bare = hot(tier);
        assert!(bare.vcpu.set_stops(&stops_at(&[BASE + 8])));
        for _ in 0..20 {
            let rounds = bare.get("t1");
            assert_eq!(bare.vcpu.run(4000), AT_BREAKPOINT);
            assert_eq!((bare.vcpu.pc(), bare.get("t0"), bare.get("t1")), (BASE + 8, rounds + 1, rounds));
            assert_eq!(bare.vcpu.run(4000), AT_BREAKPOINT, "it stays there");
            assert_eq!(bare.vcpu.debug_step(), None);
            assert_eq!((bare.vcpu.pc(), bare.get("t1")), (BASE + 12, rounds + 1));
        }
        bare.vcpu.set_stops(&Arc::default());
        let (rounds, entered) = (bare.get("t1"), bare.vcpu.stats().entered);
        assert_eq!(bare.vcpu.run(4000), Exit::Budget);
        assert_eq!(bare.get("t1"), rounds + 1000);
        assert_eq!(bare.vcpu.stats().entered > entered, tier == Tier::Baseline, "compiled again");
    }
}

#[test]
fn the_same_offset_in_another_page_is_passed() {
    for tier in TIERS {
        let mut bare = hot(tier);
        bare.vcpu.set_stops(&stops_at(&[BASE + 0x1008, BASE + 0x7004, 0xffff_ffff_8000_0000]));
        let (rounds, count) = (bare.get("t1"), bare.vcpu.count());
        assert_eq!(bare.vcpu.run(4000), Exit::Budget);
        assert_eq!((bare.get("t1"), bare.vcpu.count()), (rounds + 1000, count + 4000));
    }
}

/// Goes to `t5` in S mode with `t3` as `satp`; there, it counts in `s1`.
const PAGING: &str = "csrrw zero, satp, t3
    csrrw zero, mepc, t5
    csrrw zero, mstatus, t6
    mret
    there:
    addi s1, s1, 1
    jal zero, @there";
/// Where RAM is mapped once more, and where the code there begins.
const HIGH: u64 = 0x4000_0000;
const THERE: u64 = HIGH + 16;
/// The page table.
const TABLE: u64 = BASE + 0x10_0000;

/// A hart that will turn on translation: the GiB at [`HIGH`] is RAM, with these flags in the leaf.
fn before_paging(tier: Tier, flags: u64) -> Bare {
    let mut bare = Bare::<Rv64>::new(tier, PAGING);
    bare.poke(TABLE + 8, BASE >> 2 | flags);
    let registers = [(28, 8 << 60 | TABLE >> 12), (30, THERE), (31, 1 << 11)];
    registers.into_iter().for_each(|(x, value)| bare.vcpu.set(state::X + x, value));
    // All memory for S mode, by the first entry of the PMP.
    for (csr, value) in [(0x3b0, u64::MAX >> 10), (0x3a0, 0x1f)] {
        assert!(bare.vcpu.set_system_register(csr, value));
    }
    bare
}

#[test]
fn a_breakpoint_at_an_address_that_is_not_mapped_yet_works() {
    for tier in TIERS {
        let mut bare = before_paging(tier, 0xcf);
        assert_eq!(bare.vcpu.debug_translate(THERE), Some(THERE), "translation is off");
        bare.vcpu.set_stops(&stops_at(&[THERE]));
        for round in 0..20 {
            assert_eq!(bare.vcpu.run(4000), AT_BREAKPOINT, "{:#x}", bare.vcpu.pc());
            assert_eq!((bare.vcpu.pc(), bare.get("s1")), (THERE, round));
            assert_eq!(bare.vcpu.debug_step(), None);
        }
        assert_eq!(bare.vcpu.debug_translate(THERE), Some(BASE + 16));
        assert_eq!(bare.vcpu.debug_translate(BASE), None);
        // The same bytes at their physical address are not what was named.
        bare.vcpu.set_stops(&stops_at(&[BASE + 16]));
        assert_eq!(bare.vcpu.run(4000), Exit::Budget);
    }
}

#[test]
fn watchpoints_stop_behind_the_access_and_only_for_theirs() {
    for tier in TIERS {
        let mut bare = hot(tier);
        let data = BASE + 0x10_0000;
        let watch = |start, reads, writes| {
            let point = Watchpoint { start, bytes: 4, reads, writes };
            Arc::new(Stops { watchpoints: vec![point], ..Stops::default() })
        };
        // In the same page, but not accessed; and accessed the other way.
        for other in [watch(data + 8, true, true), watch(data, true, false)] {
            bare.vcpu.set_stops(&other);
            let rounds = bare.get("t1");
            assert_eq!(bare.vcpu.run(4000), Exit::Budget);
            assert_eq!(bare.get("t1"), rounds + 1000);
        }
        let wanted = watch(data + 4, false, true);
        bare.vcpu.set_stops(&wanted);
        for _ in 0..20 {
            let rounds = bare.get("t1");
            let stop = DebugStop::Watch { point: wanted.watchpoints[0], address: data + 4 };
            assert_eq!(bare.vcpu.run(4000), Exit::Debugger(stop));
            assert_eq!((bare.vcpu.pc(), bare.get("t0"), bare.get("t1")), (BASE + 8, rounds + 1, rounds));
            assert_eq!(bare.ram.load(data, Width::B8), Some(rounds + 1), "it is done");
        }
        bare.vcpu.set_stops(&Arc::default());
        assert_eq!(bare.vcpu.run(4000), Exit::Budget);
    }
}

#[test]
fn atomic_instructions_are_watched() {
    for tier in TIERS {
        let mut bare = Bare::<Rv64>::new(
            tier,
            "again:
             amoadd.d t2, t0, (s0)
             addi t1, t1, 1
             jal zero, @again",
        );
        bare.vcpu.set(state::X + 8, BASE + 0x10_0000);
        bare.vcpu.set(state::X + 5, 1);
        bare.vcpu.run(300);
        for (reads, writes) in [(true, false), (false, true)] {
            let point = Watchpoint { start: BASE + 0x10_0000, bytes: 8, reads, writes };
            bare.vcpu.set_stops(&Arc::new(Stops { watchpoints: vec![point], ..Stops::default() }));
            let (rounds, exit) = (bare.get("t1"), bare.vcpu.run(3000));
            assert!(matches!(exit, Exit::Debugger(DebugStop::Watch { .. })), "{exit:?}");
            assert_eq!((bare.vcpu.pc(), bare.get("t1"), bare.get("t2")), (BASE + 4, rounds, rounds));
            bare.vcpu.run(1);
            bare.vcpu.run(1);
        }
    }
}

#[test]
fn a_step_takes_no_interrupt() {
    let mut bare = Bare::<Rv64>::new(Tier::Interp, LOOP);
    bare.vcpu.set(state::X + 8, BASE + 0x10_0000);
    for (name, value) in [("mtvec", BASE + 0x100), ("mie", 0x80), ("mstatus", 8)] {
        let found = bare.vcpu.registers().iter().find(|r| r.name == name).map(|r| r.slot);
        bare.vcpu.set(found.expect("a register"), value);
    }
    bare.vcpu.mailbox().set_line(7, true);
    assert_eq!(bare.vcpu.debug_step(), None);
    assert_eq!(bare.vcpu.pc(), BASE + 4);
    bare.vcpu.run(0);
    assert_eq!(bare.vcpu.pc(), BASE + 0x100, "it is taken when the vCPU runs");
}

#[test]
fn a_walk_for_a_debugger_changes_nothing() {
    const A: u64 = 1 << 6;
    /// `menvcfg`, and its bit ADUE: the hart sets A and D by itself.
    const MENVCFG: (u16, u64) = (0x30a, 1 << 61);
    let mut bare = before_paging(Tier::Interp, 0xcf);
    assert_eq!(bare.vcpu.run(4), Exit::Budget);
    bare.poke(TABLE + 8, BASE >> 2 | 0xf);
    assert_eq!(bare.vcpu.debug_translate(HIGH + 0x123), None, "without A, software must act");
    assert!(bare.vcpu.set_system_register(MENVCFG.0, MENVCFG.1));
    assert_eq!(bare.vcpu.debug_translate(HIGH + 0x123), Some(BASE + 0x123));
    assert_eq!(bare.ram.load(TABLE + 8, Width::B8), Some(BASE >> 2 | 0xf));
    assert_eq!(bare.vcpu.run(2), Exit::Budget);
    assert_eq!(bare.ram.load(TABLE + 8, Width::B8), Some(BASE >> 2 | 0xf | A), "as the hart does");
}

/// A machine whose harts count.
fn counting(cpus: u32, tier: Tier, time: TimeSource) -> Board {
    let program = counting_harts(map::RAM);
    let config = Config {
        memory: 16 << 20,
        cpus,
        boot: Boot::BareMetal(program.path().into()),
        disks: Vec::new(),
        net: Vec::new(),
        balloon: None,
        tier,
        time,
        seed: Some(1),
        perf: None,
    };
    virt::assemble(config, Console::new(Box::new(|_| {}))).expect("a machine")
}

#[test]
fn jobs_are_done_between_two_instructions_of_a_machine_that_goes_on() {
    for (tier, time) in TIERS.into_iter().flat_map(|t| [(t, TimeSource::Host), (t, TimeSource::Count(1))]) {
        let mut board = counting(2, tier, time);
        let remote = board.remote();
        let asker = std::thread::spawn(move || {
            let count = |remote: &trine_machine::Remote| {
                remote.ask(|board| {
                    let [mut bytes, mut other] = [[0; 4]; 2];
                    board.read_virtual(0, counter_of(map::RAM, 0), &mut bytes);
                    board.read_virtual(1, counter_of(map::RAM, 1), &mut other);
                    (u32::from_le_bytes(bytes), u32::from_le_bytes(other))
                })
            };
            let end = Instant::now() + Duration::from_secs(20);
            let mut seen = Vec::new();
            while seen.len() < 20 && Instant::now() < end {
                let now = count(&remote).expect("it runs");
                if seen.last() != Some(&now) {
                    seen.push(now);
                }
            }
            remote.quit();
            // It has ended, sooner or later.
            while remote.ask(|_| ()).is_some() {}
            seen
        });
        assert_eq!(board.run(), End::Quit);
        let seen = asker.join().expect("no panic");
        assert!(seen.len() == 20 && seen.is_sorted(), "{tier:?} {time:?}: {seen:?}");
    }
}

#[test]
fn a_paused_machine_does_jobs_and_stays_paused() {
    let mut board = counting(1, Tier::Interp, TimeSource::Host);
    let (remote, over) = (board.remote(), Arc::new(AtomicBool::new(false)));
    let done = over.clone();
    let asker = std::thread::spawn(move || {
        assert!(remote.pause(Duration::from_secs(20)));
        let pc = |remote: &trine_machine::Remote| remote.ask(|board| board.vcpus()[0].count());
        let before = pc(&remote);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(pc(&remote), before);
        assert_eq!(remote.ask(|board| board.step_vcpu(0)), Some(true));
        assert_eq!(pc(&remote), before.map(|count| count + 1));
        assert!(remote.is_paused());
        done.store(true, Ordering::SeqCst);
        remote.quit();
    });
    assert_eq!(board.run(), End::Quit);
    asker.join().expect("no panic");
    assert!(over.load(Ordering::SeqCst));
}
