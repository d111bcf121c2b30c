//! Tests of machines that are saved, loaded into fresh ones, and continue as if nothing had happened.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trine_base::Width;
use trine_conformance::bare::{ProgramFile, counter_of, counting_harts};
use trine_engine::Tier;
use trine_machine::boot::Boot;
use trine_machine::virt::{self, map};
use trine_machine::{Board, Config, Console, End, TimeSource};
use trine_memory::Ram;

/// Where a program starts.
const AT: u64 = map::RAM + (2 << 20);

/// What a machine wrote to its console.
type Written = Arc<Mutex<Vec<u8>>>;

struct Machine {
    board: Board,
    written: Written,
}

impl Machine {
    fn new(program: &ProgramFile, cpus: u32, memory: u64, tier: Tier, time: TimeSource) -> Machine {
        let boot = Boot::BareMetal(program.path().into());
        let config = Config {
            memory,
            cpus,
            boot,
            disks: vec![],
            net: vec![],
            shares: Vec::new(),
            balloon: None,
            terminal: None,
            flash: Vec::new(),
            vsock: None,
            tier,
            time,
            seed: Some(1),
            perf: None,
        };
        let written = Written::default();
        let theirs = written.clone();
        let console = Console::new(Box::new(move |bytes| theirs.lock().unwrap().extend_from_slice(bytes)));
        Machine { board: virt::assemble(config, console).unwrap(), written }
    }

    fn counted(program: &ProgramFile, cpus: u32, tier: Tier) -> Machine {
        Machine::new(program, cpus, 16 << 20, tier, TimeSource::Count(3))
    }

    /// Creates a fresh machine with this one's state and memory.
    fn fork(&self, fresh: Machine) -> Machine {
        let (state, mut fresh) = (self.board.save(), fresh);
        copy(self.board.ram(), fresh.board.ram());
        fresh.board.load(&state).unwrap();
        fresh
    }

    /// Registers and counts of all vCPUs.
    fn state(&mut self) -> Vec<(u64, u64, Vec<u64>)> {
        let vcpus = self.board.vcpus().iter();
        let registers =
            |vcpu: &dyn trine_base::Vcpu| vcpu.registers().iter().map(|r| vcpu.get(r.slot)).collect();
        vcpus.map(|vcpu| (vcpu.count(), vcpu.pc(), registers(&**vcpu))).collect()
    }

    fn ends(&mut self) -> End {
        for _ in 0..100_000 {
            if let Some(end) = self.board.step(1 << 40) {
                return end;
            }
        }
        panic!("it does not end");
    }
}

fn copy(from: &Ram, to: &Ram) {
    let mut page = [0; 4096];
    for at in (from.base()..from.base() + from.size()).step_by(page.len()) {
        from.read(at, &mut page).unwrap();
        to.write(at, &page).unwrap();
    }
}

/// Every hart takes timer interrupts of the ACLINT, 1,000 ticks apart, and sums the times at which they came;
/// hart 0 writes a letter each time and ends the machine after 20.
fn ticking_program() -> ProgramFile {
    let text = format!(
        "jal s0, @start
         lui t1, {clint}
         lui t2, 49152
         add t2, t1, t2
         ld t3, -8(t2)
         add s3, s3, t3
         lui t2, 16384
         add t2, t1, t2
         slli t4, s1, 3
         add t2, t2, t4
         addi t3, t3, 1000
         sd t3, 0(t2)
         addi s2, s2, 1
         bne s1, zero, @back
         lui t5, {uart}
         addi t6, s2, 64
         sb t6, 0(t5)
         addi t6, zero, 20
         bne s2, t6, @back
         lui t5, {finisher}
         lui t6, 20480
         addi t6, t6, 1365
         sw t6, 0(t5)
         back:
         mret
         start:
         addi s1, a0, 0
         csrrw zero, mtvec, s0
         lui t1, {clint}
         lui t2, 16384
         add t2, t1, t2
         slli t4, s1, 3
         add t2, t2, t4
         sd zero, 0(t2)
         addi t0, zero, 128
         csrrs zero, mie, t0
         csrrsi zero, mstatus, 8
         work:
         addi s4, s4, 1
         xor s5, s5, s4
         slli s6, s5, 1
         add s5, s5, s6
         jal zero, @work",
        clint = map::CLINT.base,
        uart = map::UART.base,
        finisher = map::FINISHER.base,
    );
    ProgramFile::new(AT, &text)
}

#[test]
fn a_loaded_machine_goes_on_to_the_same_end() {
    let program = ticking_program();
    for cpus in [1, 2] {
        for [tier, other] in [[Tier::Baseline, Tier::Interp], [Tier::Interp, Tier::Baseline]] {
            let mut first = Machine::counted(&program, cpus, tier);
            while first.written.lock().unwrap().len() < 7 {
                assert_eq!(first.board.step(1_234), None);
            }
            let mut second = first.fork(Machine::counted(&program, cpus, other));
            assert_eq!(first.state(), second.state(), "just loaded");
            assert_eq!((first.ends(), second.ends()), (End::PowerOff, End::PowerOff));
            assert_eq!(first.state(), second.state(), "{cpus} CPUs, saved by {tier:?}, loaded by {other:?}");
            assert_eq!(*first.written.lock().unwrap(), b"ABCDEFGHIJKLMNOPQRST");
            assert_eq!(*second.written.lock().unwrap(), b"HIJKLMNOPQRST");
        }
    }
}

/// Loads a state that an earlier version of Trine saved. With `BLESS` set, a missing file is written: a new
/// version of the state has a new name, and an existing file never changes.
#[test]
fn golden_states_are_loaded() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/saved/machine.v1");
    // The program keeps nothing in memory, so a fresh machine has all the memory that belongs to the state.
    let program = ticking_program();
    if !path.exists() && std::env::var_os("BLESS").is_some() {
        let mut machine = Machine::counted(&program, 2, Tier::Baseline);
        while machine.written.lock().unwrap().len() < 7 {
            assert_eq!(machine.board.step(1_234), None);
        }
        std::fs::write(&path, machine.board.save()).unwrap();
    }
    let mut machine = Machine::counted(&program, 2, Tier::Baseline);
    machine.board.load(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(machine.ends(), End::PowerOff);
    assert_eq!(*machine.written.lock().unwrap(), b"HIJKLMNOPQRST");
}

#[test]
fn states_of_other_machines_and_damaged_ones_are_refused() {
    let program = ticking_program();
    let first = Machine::counted(&program, 1, Tier::Interp);
    let state = first.board.save();
    let refuses = |mut machine: Machine, why: &str| {
        let error = machine.board.load(&state).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refuses(Machine::counted(&program, 2, Tier::Interp), "1 vCPUs");
    let larger = Machine::new(&program, 1, 32 << 20, Tier::Interp, TimeSource::Count(3));
    refuses(larger, "16 MiB of memory");
    let hosts = Machine::new(&program, 1, 16 << 20, Tier::Interp, TimeSource::Host);
    refuses(hosts, "clock");
    let mut machine = Machine::counted(&program, 1, Tier::Interp);
    for end in (0..state.len()).step_by(7) {
        assert!(machine.board.load(&state[..end]).is_err(), "cut off at {end}");
    }
    machine.board.load(&state).unwrap();
}

#[test]
fn a_running_machine_is_interrupted_saved_and_goes_on() {
    let program = counting_harts(AT);
    let machine = || Machine::new(&program, 2, 16 << 20, Tier::Baseline, TimeSource::Host);
    let count = |board: &Board, hart: u64| board.ram().load(counter_of(AT, hart), Width::B4).unwrap();
    let mut first = machine();
    for round in 1..4 {
        let remote = first.board.remote();
        let clock = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            remote.interrupt();
        });
        assert_eq!(first.board.run_until_interrupted(), None, "round {round}");
        clock.join().unwrap();
        let before = [count(&first.board, 0), count(&first.board, 1)];
        let second = first.fork(machine());
        assert_eq!([count(&second.board, 0), count(&second.board, 1)], before);
        assert!(before.iter().all(|n| *n > 0), "round {round}: {before:?}");
        let counts: Vec<u64> = first.board.vcpus().iter().map(|v| v.count()).collect();
        first = second;
        assert_eq!(first.board.vcpus().iter().map(|v| v.count()).collect::<Vec<_>>(), counts);
    }
}
