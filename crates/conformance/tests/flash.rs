//! Programs that run in flash and change it, in both engines.

use std::sync::{Arc, Mutex};
use trine_base::Width;
use trine_base::trace::{DeviceAccess, Place, TakenTrap, Tracer};
use trine_conformance::bare::assemble;
use trine_engine::Tier;
use trine_isa_riscv::state::X;
use trine_machine::boot::Boot;
use trine_machine::virt::{self, map};
use trine_machine::{Board, Config, Console, End, FlashBank, TimeSource};

/// How often a routine is called before it is changed: often enough to be compiled.
const CALLS: u64 = 100;
/// How often it is changed.
const CHANGES: u64 = 20;

/// A machine that starts in M mode in the first bank.
fn board(banks: &[FlashBank], tier: Tier, time: TimeSource) -> Board {
    board_of(1, banks, tier, time)
}

fn board_of(cpus: u32, banks: &[FlashBank], tier: Tier, time: TimeSource) -> Board {
    let config = Config { cpus, ..config(banks.to_vec(), tier, time) };
    virt::assemble(config, Console::new(Box::new(|_| {}))).unwrap()
}

fn config(flash: Vec<FlashBank>, tier: Tier, time: TimeSource) -> Config {
    let boot = Boot::Flash { machine_mode: true };
    Config { flash, tier, time, seed: Some(1), ..Config::new(16 << 20, 1, boot) }
}

/// Two banks, the first one with this program.
fn banks(program: &str) -> Vec<FlashBank> {
    let banks: Vec<_> = (0..map::FLASH_BANKS).map(|_| FlashBank::blank(map::FLASH_BANK, false)).collect();
    banks[0].contents.write(0, &assemble(program)).unwrap();
    banks
}

fn ends(board: &mut Board) -> End {
    for _ in 0..10_000 {
        if let Some(end) = board.step(1 << 30) {
            return end;
        }
    }
    panic!("it does not end");
}

/// Writes a command to both chips of the bank at s0.
fn command(byte: u64) -> String {
    format!("lui t0, {}\naddi t0, t0, {byte}\nsw t0, 0(s0)\n", byte << 16)
}

/// Programs the word in t1 at an offset.
fn program(offset: u64) -> String {
    format!("{}sw t1, {offset}(s0)\n", command(0x40))
}

/// Writes a routine `addi a0, a0, s1` (0x50513 and the number) and a return (0x8067) to the bank at s0.
fn written() -> String {
    let [erase, confirm, array] = [0x20, 0xd0, 0xff].map(command);
    let (first_word, second_word) = (program(0), program(4));
    format!(
        "{erase}
         {confirm}
         lui t1, 327680
         addi t1, t1, 1299
         slli t2, s1, 20
         add t1, t1, t2
         {first_word}
         lui t1, 32768
         addi t1, t1, 103
         {second_word}
         {array}"
    )
}

/// Writes [`written`]'s routine to the second bank and calls it, for s1 = 1, 2, …; then calls it while that bank shows its
/// status. The trap handler powers off.
fn changing() -> String {
    let (written, status) = (written(), command(0x70));
    format!(
        "jal t0, @start
         lui t5, 1048576
         lui t6, 20480
         addi t6, t6, 1365
         sw t6, 0(t5)
         over:
         jal zero, @over
         start:
         csrrw zero, mtvec, t0
         lui s0, {second}
         addi s1, zero, 1
         addi s2, zero, {CHANGES}
         addi a0, zero, 0
         change:
         {written}
         fence.i
         addi s3, zero, {CALLS}
         call:
         jalr ra, 0(s0)
         addi s3, s3, -1
         bne s3, zero, @call
         addi s1, s1, 1
         bge s2, s1, @change
         lw s4, 0(s0)
         {status}
         lw s5, 0(s0)
         jalr ra, 0(s0)
         addi a0, zero, 0",
        second = map::flash(1).base,
    )
}

/// Machines that have run this program to its end, in both engines, counted and on threads: the last hart has called every
/// routine.
fn powered_off(cpus: u32, program: &str) -> Vec<Board> {
    let mut boards = Vec::new();
    for tier in [Tier::Interp, Tier::Baseline] {
        for time in [TimeSource::Count(1), TimeSource::Host] {
            let mut board = board_of(cpus, &banks(program), tier, time);
            let end = if time == TimeSource::Host { board.run() } else { ends(&mut board) };
            assert_eq!(end, End::PowerOff, "{tier:?} {time:?}");
            let sum = CALLS * CHANGES * (CHANGES + 1) / 2;
            assert_eq!(board.vcpus()[cpus as usize - 1].get(X + 10), sum, "{tier:?} {time:?}");
            boards.push(board);
        }
    }
    boards
}

#[test]
fn code_in_flash_is_executed_as_it_is_now() {
    for mut board in powered_off(1, &changing()) {
        // What was read there as an array, then as the status register; then the fetch was a fault.
        let last = CHANGES << 20 | 0x50513;
        assert_eq!([20, 21].map(|n| board.vcpus()[0].get(X + n)), [last, 0x80_0080]);
        let causes = ["mcause", "mepc"].map(|name| {
            let slot = board.vcpus()[0].registers().iter().find(|r| r.name == name).unwrap().slot;
            board.vcpus()[0].get(slot)
        });
        assert_eq!(causes, [1, map::flash(1).base]);
    }
}

/// The routine of [`changing`], which hart 0 writes and hart 1 calls: they take turns by the two words at the start of RAM,
/// and hart 0 powers off after the last turn.
fn changing_for_another() -> String {
    let written = written();
    format!(
        "csrrs t0, mhartid, zero
         lui s0, {second}
         addi s6, zero, 1
         slli s6, s6, 31
         addi s1, zero, 1
         addi s2, zero, {CHANGES}
         addi a0, zero, 0
         bne t0, zero, @called
         change:
         {written}
         fence rw, rw
         sd s1, 0(s6)
         answer:
         ld t0, 8(s6)
         bne t0, s1, @answer
         addi s1, s1, 1
         bge s2, s1, @change
         lui t5, 1048576
         lui t6, 20480
         addi t6, t6, 1365
         sw t6, 0(t5)
         over:
         jal zero, @over
         called:
         ld t0, 0(s6)
         bne t0, s1, @called
         fence rw, rw
         fence.i
         addi s3, zero, {CALLS}
         call:
         jalr ra, 0(s0)
         addi s3, s3, -1
         bne s3, zero, @call
         fence rw, rw
         sd s1, 8(s6)
         addi s1, s1, 1
         jal zero, @called",
        second = map::flash(1).base,
    )
}

#[test]
fn one_hart_changes_what_another_one_executes() {
    powered_off(2, &changing_for_another());
}

#[test]
fn a_saved_machine_has_its_flash() {
    let time = TimeSource::Count(1);
    let first = banks(&changing());
    let mut old = board(&first, Tier::Baseline, time);
    // In the middle of it.
    (0..100).for_each(|_| assert_eq!(old.step(100), None));
    let state = old.save();
    let blank: Vec<_> = (0..map::FLASH_BANKS).map(|_| FlashBank::blank(map::FLASH_BANK, false)).collect();
    let mut new = board(&blank, Tier::Interp, time);
    new.load(&state).unwrap();
    for board in [&mut old, &mut new] {
        assert_eq!(ends(board), End::PowerOff);
    }
    assert_eq!(new.save(), old.save());
    assert_eq!(new.vcpus()[0].get(X + 10), CALLS * CHANGES * (CHANGES + 1) / 2);
}

#[test]
fn a_reset_machine_finds_what_was_written() {
    let banks = banks(&changing());
    let mut first = board(&banks, Tier::Interp, TimeSource::Count(1));
    assert_eq!(ends(&mut first), End::PowerOff);
    drop(first);
    let second = board(&banks, Tier::Interp, TimeSource::Count(1));
    let mut word = [0; 4];
    second.ram().read_any(map::flash(1).base, &mut word).unwrap();
    assert_eq!(u32::from_le_bytes(word), (CHANGES as u32) << 20 | 0x50513);
    assert!(second.ram().load_rom(map::flash(1).base, Width::B4).is_some(), "as an array again");
}

/// Notes where instructions are executed.
#[derive(Default)]
struct Places(Mutex<Vec<u64>>);

impl Tracer for Places {
    fn wants_instructions(&self) -> bool {
        true
    }
    fn wants_traps(&self) -> bool {
        false
    }
    fn wants_accesses(&self) -> bool {
        false
    }
    fn wants(&self, _: u64) -> bool {
        true
    }
    fn instruction(&self, place: Place, text: &str) {
        assert!(!text.is_empty());
        self.0.lock().unwrap().push(place.pc);
    }
    fn trap(&self, _: Place, _: TakenTrap) {}
    fn access(&self, _: &str, _: DeviceAccess) {}
}

/// Turns Sv39 on with a table in flash, whose first entry is the first GiB itself, has the board's firmware write a text that is in
/// flash, and powers off.
#[test]
fn tables_and_texts_in_flash_are_read() {
    let base = map::flash(0).base;
    let (table, text) = (base + 0x1000, base + 0x100);
    let program = format!(
        "addi t0, zero, 8
         slli t0, t0, 60
         lui t1, {page}
         addi t1, t1, 1
         add t0, t0, t1
         csrrw zero, satp, t0
         sfence.vma zero, zero
         lui a7, {dbcn}
         addi a7, a7, 846
         addi a6, zero, 0
         addi a0, zero, 5
         lui a1, {base}
         addi a1, a1, 256
         addi a2, zero, 0
         ecall
         lui a7, {srst}
         addi a7, a7, 852
         addi a0, zero, 0
         addi a1, zero, 0
         ecall",
        page = (table >> 12) - 1,
        dbcn = 0x4442_4000,
        srst = 0x5352_5000,
    );
    for (tier, traced) in [(Tier::Interp, false), (Tier::Baseline, false), (Tier::Interp, true)] {
        let banks = banks(&program);
        banks[0].contents.write(table - base, &0xcf_u64.to_le_bytes()).unwrap();
        banks[0].contents.write(text - base, b"flash").unwrap();
        let said = Arc::new(Mutex::new(Vec::<u8>::new()));
        let hears = said.clone();
        let console = Console::new(Box::new(move |bytes: &[u8]| hears.lock().unwrap().extend(bytes)));
        let boot = Boot::Flash { machine_mode: false };
        let config = Config { boot, ..config(banks, tier, TimeSource::Count(1)) };
        let mut board = virt::assemble(config, console).unwrap();
        let places = Arc::new(Places::default());
        assert!(!traced || board.set_tracer(&(places.clone() as Arc<dyn Tracer>)));
        assert_eq!(ends(&mut board), End::PowerOff, "{tier:?}");
        assert_eq!(*said.lock().unwrap(), b"flash");
        let expected: Vec<u64> = (0..20).map(|n| base + 4 * n).collect();
        assert_eq!(*places.0.lock().unwrap(), if traced { expected } else { Vec::new() });
    }
}

#[test]
fn flash_is_a_device_and_not_ram() {
    let assemble_with = |banks| {
        virt::assemble(config(banks, Tier::Interp, TimeSource::Count(1)), Console::new(Box::new(|_| {})))
    };
    let banks = banks("");
    let board = assemble_with(banks).unwrap();
    let flash: Vec<_> = board.devices().into_iter().filter(|device| device.name == "flash").collect();
    assert_eq!(flash.len(), map::FLASH_BANKS);
    assert_eq!(board.ram().load(map::flash(0).base, Width::B4), None);
    let small = FlashBank::blank(4096, false);
    for (banks, why) in [
        (vec![small], "this board has 2 banks of flash of 32 MiB"),
        (Vec::new(), "a machine cannot start what is in its flash, as it has none"),
    ] {
        assert_eq!(assemble_with(banks).map(drop).unwrap_err().to_string(), why);
    }
}
