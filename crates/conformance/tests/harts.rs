//! Tests of machines with several vCPUs: how harts affect each other through firmware and devices, and how
//! all of them are paused and ended.

use std::sync::Arc;
use std::time::{Duration, Instant};
use trine_base::{Vcpu, Width};
use trine_conformance::bare::{ProgramFile, counter_of, counting_harts};
use trine_engine::Tier;
use trine_isa_riscv::state::X;
use trine_machine::boot::{Boot, Payload};
use trine_machine::virt::{self, map};
use trine_machine::{Board, Config, Console, End, TimeSource};
use trine_memory::Ram;

/// Where a program starts: a kernel's place, 2 MiB into RAM.
const AT: u64 = map::RAM + (2 << 20);
/// Offset of a program's data from the instruction after the jump with which it starts.
const DATA: u64 = 0x1_0000;
const FIRST: u64 = AT + 4 + DATA;

const PATIENCE: Duration = Duration::from_secs(20);

fn board(boot: Boot, cpus: u32, tier: Tier, time: TimeSource) -> Board {
    let config = Config {
        memory: 64 << 20,
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
    virt::assemble(config, Console::new(Box::new(|_| {}))).unwrap()
}

fn kernel(program: &ProgramFile) -> Boot {
    Boot::Kernel(Payload { kernel: program.path().into(), initrd: None, append: String::new() })
}

/// Runs a machine that should end by itself; ends it after a while.
fn run(board: &mut Board) -> End {
    let (remote, (over, wait)) = (board.remote(), std::sync::mpsc::channel::<()>());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if wait.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                remote.quit();
            }
        });
        let end = board.run();
        drop(over);
        end
    })
}

/// Loads a value below 2^31.
fn load(register: &str, value: i64) -> String {
    let low = (value & 0xfff ^ 0x800) - 0x800;
    format!("lui {register}, {}\naddi {register}, {register}, {low}\n", value - low)
}

/// A call of the firmware; arguments are in their registers.
fn call(extension: i64, function: i64) -> String {
    format!("{}addi a6, zero, {function}\necall\n", load("a7", extension))
}

const IPI: i64 = 0x73_5049;
const RFENCE: i64 = 0x5246_4e43;
const HSM: i64 = 0x48_534d;

/// Ends the machine by the test finisher: 0x5555 is success, 0x3333 failure.
fn finish(value: i64) -> String {
    format!("{}{}sw t6, 0(t5)\n", load("t5", map::FINISHER.base as i64), load("t6", value))
}

/// A program in S mode. Hart 0 starts the others, waits until all have counted themselves, fences and
/// interrupts them, waits until they have stopped, and starts hart 1 again. `s1` is the address of the
/// counters of starts, which are followed by those of stops.
fn firmware_program(harts: i64) -> ProgramFile {
    let others = harts - 1;
    let text = format!(
        "jal s0, @start
         csrrsi zero, sie, 2
         addi t0, zero, 1
         amoadd.w zero, t0, (a1)
         wait:
         wfi
         csrrs t1, sip, zero
         andi t1, t1, 2
         beq t1, zero, @wait
         csrrci zero, sip, 2
         addi t2, a1, 8
         amoadd.w zero, t0, (t2)
         {stop}
         fail:
         {failed}
         start:
         lui s1, {DATA}
         add s1, s1, s0
         {others_to_s3}
         addi s2, zero, 1
         next:
         addi a0, s2, 0
         addi a1, s0, 0
         addi a2, s1, 0
         {start}
         bne a0, zero, @fail
         addi s2, s2, 1
         bge s3, s2, @next
         addi a0, zero, 1
         {start}
         addi t1, a0, 6
         bne t1, zero, @fail
         addi a0, zero, {harts}
         {start}
         addi t1, a0, 3
         bne t1, zero, @fail
         in:
         lw t1, 0(s1)
         bne t1, s3, @in
         addi a0, zero, 0
         addi a1, zero, -1
         {fence}
         bne a0, zero, @fail
         addi a0, zero, {all}
         addi a1, zero, 1
         {interrupt}
         bne a0, zero, @fail
         out:
         lw t1, 8(s1)
         bne t1, s3, @out
         stopped:
         addi a0, zero, 1
         {status}
         addi t1, zero, 1
         bne a1, t1, @stopped
         addi a0, zero, 1
         addi a1, s0, 0
         addi a2, s1, 0
         {start}
         bne a0, zero, @fail
         again:
         lw t1, 0(s1)
         beq t1, s3, @again
         addi a0, zero, {harts}
         addi a1, zero, {harts}
         {interrupt}
         addi t1, a0, 3
         bne t1, zero, @fail
         {well}
         over:
         jal zero, @over",
        stop = call(HSM, 1),
        start = call(HSM, 0),
        status = call(HSM, 2),
        fence = call(RFENCE, 1),
        interrupt = call(IPI, 0),
        others_to_s3 = load("s3", others),
        all = (1 << others) - 1,
        failed = finish(0x3333),
        well = finish(0x5555),
    );
    ProgramFile::new(AT, &text)
}

#[test]
fn harts_start_fence_interrupt_and_stop_each_other() {
    for time in [TimeSource::Host, TimeSource::Count(1)] {
        for tier in [Tier::Interp, Tier::Baseline] {
            let program = firmware_program(4);
            let mut board = board(kernel(&program), 4, tier, time);
            assert_eq!(run(&mut board), End::PowerOff, "{time:?}, {tier:?}");
            let count = |at| board.ram().load(at, Width::B4).unwrap();
            assert_eq!((count(FIRST), count(FIRST + 8)), (4, 3), "{time:?}, {tier:?}");
        }
    }
}

#[test]
fn counted_harts_do_the_same_every_time() {
    let results = [Tier::Interp, Tier::Baseline, Tier::Baseline].map(|tier| {
        let program = firmware_program(3);
        let mut board = board(kernel(&program), 3, tier, TimeSource::Count(1));
        assert_eq!(run(&mut board), End::PowerOff);
        let state = |vcpu: &dyn Vcpu| {
            let registers: Vec<u64> = vcpu.registers().iter().map(|r| vcpu.get(r.slot)).collect();
            (vcpu.count(), vcpu.pc(), registers)
        };
        board.vcpus().iter().map(|vcpu| state(&**vcpu)).collect::<Vec<_>>()
    });
    assert_eq!(results[0], results[1], "interpreter and compiler");
    assert_eq!(results[1], results[2], "twice the same");
}

/// In M mode, where all harts start: hart 0 sends hart 1 a software interrupt by the ACLINT; hart 1 waits for that, then
/// for its own timer, then for the UART's interrupt at its own context of the PLIC, and ends the machine.
fn device_program() -> ProgramFile {
    let plic = map::PLIC.base as i64;
    let text = format!(
        "beq a0, zero, @first
         {clint}
         software:
         csrrs t1, mip, zero
         andi t1, t1, 8
         beq t1, zero, @software
         {compare}
         sd zero, 8(t0)
         timer:
         csrrs t1, mip, zero
         andi t1, t1, 128
         beq t1, zero, @timer
         {plic}
         addi t1, zero, 1
         sw t1, 40(t0)
         {enable}
         addi t1, zero, 1024
         sw t1, 0(t0)
         {uart}
         addi t1, zero, 2
         sb t1, 1(t0)
         external:
         csrrs t1, mip, zero
         srli t1, t1, 11
         andi t1, t1, 1
         beq t1, zero, @external
         {claim}
         lw s0, 4(t0)
         {well}
         over:
         jal zero, @over
         first:
         {clint}
         addi t1, zero, 1
         sw t1, 4(t0)
         rest:
         wfi
         jal zero, @rest",
        clint = load("t0", map::CLINT.base as i64),
        compare = load("t0", map::CLINT.base as i64 + 0x4000),
        plic = load("t0", plic),
        enable = load("t0", plic + 0x2000 + 2 * 0x80),
        claim = load("t0", plic + 0x20_0000 + 2 * 0x1000),
        uart = load("t0", map::UART.base as i64),
        well = finish(0x5555),
    );
    ProgramFile::new(AT, &text)
}

#[test]
fn devices_reach_each_hart() {
    for time in [TimeSource::Host, TimeSource::Count(1)] {
        let program = device_program();
        let mut board = board(Boot::BareMetal(program.path().into()), 2, Tier::Baseline, time);
        assert_eq!(run(&mut board), End::PowerOff, "{time:?}");
        let claimed = board.vcpus()[1].get(X + 8);
        assert_eq!(claimed, map::UART_IRQ.into(), "{time:?}");
    }
}

fn counts(ram: &Ram, harts: u64) -> Vec<u64> {
    (0..harts).map(|hart| ram.load(counter_of(AT, hart), Width::B4).unwrap()).collect()
}

/// Waits until every hart has a count that is not the old one.
fn all_count(ram: &Ram, old: &[u64]) {
    let start = Instant::now();
    while counts(ram, old.len() as u64).iter().zip(old).any(|(now, old)| now == old) {
        assert!(start.elapsed() < PATIENCE, "a hart does not run");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_pause_reaches_every_hart_and_the_end_reaches_paused_ones() {
    for time in [TimeSource::Host, TimeSource::Count(1)] {
        let program = counting_harts(AT);
        let mut board = board(Boot::BareMetal(program.path().into()), 3, Tier::Baseline, time);
        let (remote, ram) = (board.remote(), board.ram().clone());
        let machine = std::thread::spawn(move || board.run());
        let ram: Arc<Ram> = ram;
        all_count(&ram, &[0; 3]);
        for _ in 0..3 {
            assert!(remote.pause(PATIENCE) && remote.is_paused());
            let at_rest = counts(&ram, 3);
            std::thread::sleep(Duration::from_millis(30));
            assert_eq!(counts(&ram, 3), at_rest, "{time:?}: paused");
            remote.resume();
            all_count(&ram, &at_rest);
        }
        assert!(remote.pause(PATIENCE));
        remote.quit();
        assert_eq!(machine.join().unwrap(), End::Quit, "{time:?}");
        assert!(remote.pause(PATIENCE), "nothing runs: nothing is waited for");
    }
}

#[test]
fn a_machine_that_is_paused_before_it_runs_begins_paused() {
    let program = counting_harts(AT);
    let mut board = board(Boot::BareMetal(program.path().into()), 2, Tier::Baseline, TimeSource::Host);
    let (remote, ram) = (board.remote(), board.ram().clone());
    assert!(remote.pause(PATIENCE));
    let machine = std::thread::spawn(move || board.run());
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(counts(&ram, 2), [0, 0]);
    remote.resume();
    all_count(&ram, &[0; 2]);
    remote.quit();
    assert_eq!(machine.join().unwrap(), End::Quit);
}
