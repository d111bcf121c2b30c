//! What a debugger needs of a machine's vCPUs and of its board: breakpoints, watchpoints, steps and jobs, in both engines and
//! with both kinds of time.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use trine_base::{DebugStop, Exit, Stops, Vcpu, Watchpoint, Width};
use trine_conformance::bare::{BASE, Bare, counter_of, counting_harts};
use trine_engine::Tier;
use trine_isa_riscv::{Rv64, state};
use trine_machine::boot::Boot;
use trine_machine::debug::{self, Address, GdbListener};
use trine_machine::virt::{self, map};
use trine_machine::{Board, Config, Console, End, Remote, TimeSource};

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
fn watchpoints_stop_before_the_access_and_only_for_theirs() {
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
        for _ in 0..20 {
            let rounds = bare.get("t1");
            let stop = Exit::Debugger(DebugStop::Watch { point: wanted.watchpoints[0], address: data + 4 });
            bare.vcpu.set_stops(&wanted);
            for exit in [bare.vcpu.run(4000), bare.vcpu.run(4000)] {
                assert_eq!(exit, stop, "and again, as nothing was done");
                assert_eq!((bare.vcpu.pc(), bare.get("t0"), bare.get("t1")), (BASE + 4, rounds + 1, rounds));
                assert_eq!(bare.ram.load(data, Width::B8), Some(rounds));
            }
            assert_eq!(
                (bare.vcpu.debug_step(), bare.vcpu.pc()),
                (Some(stop), BASE + 4),
                "a step does so, too"
            );
            bare.vcpu.set_stops(&Arc::default());
            assert_eq!((bare.vcpu.debug_step(), bare.vcpu.pc()), (None, BASE + 8));
            assert_eq!(bare.ram.load(data, Width::B8), Some(rounds + 1));
            assert_eq!(bare.vcpu.run(2), Exit::Budget, "to the start of a round");
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
            assert_eq!((bare.vcpu.pc(), bare.get("t1"), bare.get("t2")), (BASE, rounds, rounds - 1));
            bare.vcpu.set_stops(&Arc::default());
            bare.vcpu.run(3);
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
        terminal: None,
        flash: Vec::new(),
        vsock: None,
        shares: Vec::new(),
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
            let count = |remote: &Remote| {
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
        let pc = |remote: &Remote| remote.ask(|board| board.vcpus()[0].count());
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

/// gdb's side of a connection with a machine.
struct Gdb(UnixStream);

impl Gdb {
    /// Connects to a machine that is told to wait there.
    fn attach(board: &mut Board) -> Gdb {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("trine-gdb-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        let listener = GdbListener::open(&Address::Unix(path.clone())).expect("a socket");
        let commands = Box::new(|line: &str| format!("<{line}>"));
        debug::attach(board, listener, commands, |_| {}).expect("gdb knows the CPU");
        let stream = UnixStream::connect(&path).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut gdb = Gdb(stream);
        assert!(gdb.ask("qSupported:multiprocess+;swbreak+").contains("vContSupported+"));
        assert_eq!(gdb.ask("QStartNoAckMode"), "OK");
        gdb
    }

    fn send(&mut self, text: &str) {
        let sum = text.bytes().fold(0u8, u8::wrapping_add);
        self.0.write_all(format!("${text}#{sum:02x}").as_bytes()).expect("sent");
    }

    /// The next packet; runs are not expanded.
    fn packet(&mut self) -> String {
        let (mut text, mut byte) = (Vec::new(), [0]);
        while byte[0] != b'$' {
            self.0.read_exact(&mut byte).expect("an answer");
        }
        while byte[0] != b'#' {
            self.0.read_exact(&mut byte).expect("an answer");
            text.push(byte[0]);
        }
        self.0.read_exact(&mut [0; 2]).expect("a checksum");
        text.pop();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn ask(&mut self, text: &str) -> String {
        self.send(text);
        self.packet()
    }

    /// Where a hart counts, as it is now.
    fn counter(&mut self, hart: u64) -> u32 {
        // Runs of the answer would have to be expanded: one byte at a time has none.
        let mut byte =
            |n| u32::from_str_radix(&self.ask(&format!("m{:x},1", counter_of(map::RAM, hart) + n)), 16);
        (0..4).map(|n| byte(n).expect("a byte") << (8 * n)).sum()
    }
}

#[test]
fn one_hart_steps_while_the_others_hold_or_go() {
    for (tier, time) in TIERS.into_iter().flat_map(|t| [(t, TimeSource::Host), (t, TimeSource::Count(1))]) {
        let mut board = counting(2, tier, time);
        let mut gdb = Gdb::attach(&mut board);
        let remote = board.remote();
        let machine = std::thread::spawn(move || board.run());
        assert!(gdb.ask("?").starts_with("T05"), "{tier:?} {time:?}");
        assert_eq!(remote.ask(|board| board.vcpus().iter().map(|v| v.count()).sum()), Some(0), "it waits");
        // Until both count; then Ctrl-C.
        gdb.send("vCont;c");
        std::thread::sleep(Duration::from_millis(100));
        gdb.0.write_all(&[3]).expect("sent");
        assert!(gdb.packet().starts_with("T02"), "SIGINT");
        let before = [gdb.counter(0), gdb.counter(1)];
        assert!(before[0] > 0 && before[1] > 0, "{before:?}");
        // Three steps of the second hart are a round.
        for _ in 0..3 {
            assert!(gdb.ask("vCont;s:p1.2").starts_with("T05thread:p01.02"), "{tier:?} {time:?}");
        }
        assert_eq!([gdb.counter(0), gdb.counter(1)], [before[0], before[1] + 1]);
        assert!(gdb.ask("vCont;s:p1.2;c").starts_with("T05thread:p01.02"));
        assert_eq!(gdb.ask("Hgp1.2"), "OK");
        // A breakpoint at the first hart's loop, which the second one holds before.
        let add = counting_loop(&remote);
        assert_eq!(gdb.ask(&format!("Z0,{add:x},4")), "OK");
        assert_eq!(gdb.ask("vCont;c:p1.1"), "T05thread:p01.01;swbreak:;");
        let there = remote.ask(|board| board.vcpus()[0].pc());
        assert_eq!(there, Some(add));
        assert_eq!(gdb.ask(&format!("z0,{add:x},4")), "OK");
        assert_eq!((gdb.ask("qRcmd,78"), gdb.packet()), ("O3c783e".into(), "OK".into()));
        assert_eq!(gdb.ask("D;1"), "OK");
        let goes = |remote: &Remote| remote.ask(|board| board.vcpus()[0].count());
        let (now, end) = (goes(&remote), Instant::now() + Duration::from_secs(20));
        while goes(&remote) == now && Instant::now() < end {}
        assert_ne!(goes(&remote), now, "it goes on without gdb");
        remote.quit();
        assert_eq!(machine.join().expect("no panic"), End::Quit);
    }
}

/// The address of the instruction that counts.
fn counting_loop(remote: &Remote) -> u64 {
    let found = remote.ask(|board| {
        (map::RAM..map::RAM + 0x100).step_by(4).find(|&at| {
            let mut bytes = [0; 4];
            board.read_virtual(0, at, &mut bytes);
            // `addi t0, t0, 1`.
            u32::from_le_bytes(bytes) == 0x0012_8293
        })
    });
    found.flatten().expect("the loop")
}

#[test]
fn the_end_of_a_machine_is_reported_and_kill_ends_it() {
    let mut board = counting(1, Tier::Interp, TimeSource::Host);
    let mut gdb = Gdb::attach(&mut board);
    let remote = board.remote();
    let machine = std::thread::spawn(move || board.run());
    gdb.send("vCont;c");
    remote.quit();
    assert!(gdb.packet().starts_with("X09"), "SIGKILL");
    assert_eq!(machine.join().expect("no panic"), End::Quit);

    let mut board = counting(1, Tier::Interp, TimeSource::Host);
    let mut gdb = Gdb::attach(&mut board);
    let machine = std::thread::spawn(move || board.run());
    gdb.send("vKill;1");
    assert_eq!(machine.join().expect("no panic"), End::Quit);

    // A connection that breaks lets the machine go on.
    let mut board = counting(1, Tier::Interp, TimeSource::Host);
    let gdb = Gdb::attach(&mut board);
    let remote = board.remote();
    let machine = std::thread::spawn(move || board.run());
    drop(gdb);
    let end = Instant::now() + Duration::from_secs(20);
    while remote.ask(|board| board.vcpus()[0].count()) == Some(0) && Instant::now() < end {}
    assert_ne!(remote.ask(|board| board.vcpus()[0].count()), Some(0));
    remote.quit();
    assert_eq!(machine.join().expect("no panic"), End::Quit);
}
