//! Whole machines of board `virt` with small programs: timers, interrupts and devices as a guest sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use trine_base::elf::Cpu;
use trine_base::{BlockBackend, BlockError, Bus, CountClock, Mailbox, Vcpu};
use trine_conformance::bare::ProgramFile;
use trine_devices::power::Finisher;
use trine_engine::{Engine, Tier, Time};
use trine_isa_riscv::state::X;
use trine_isa_riscv::{Rv64, Start};
use trine_machine::board::Assembly;
use trine_machine::boot::{Boot, Payload};
use trine_machine::firmware::NoFirmware;
use trine_machine::load;
use trine_machine::virt::{self, map};
use trine_machine::{Board, Config, Console, Disk, End, TimeSource};
use trine_memory::Ram;

/// Where a program starts: a kernel's place, 2 MiB into RAM.
const AT: u64 = map::RAM + (2 << 20);

/// A boot configuration that starts it in S mode, with the board as firmware.
fn kernel(program: &ProgramFile) -> Boot {
    Boot::Kernel(Payload { kernel: program.path().into(), initrd: None, append: String::new() })
}

/// A boot configuration that starts it in M mode.
fn bare(program: &ProgramFile) -> Boot {
    Boot::BareMetal(program.path().into())
}

fn board(boot: Boot, tier: Tier, time: TimeSource) -> Board {
    with_disks(boot, tier, time, Vec::new())
}

fn with_disks(boot: Boot, tier: Tier, time: TimeSource, disks: Vec<Arc<dyn BlockBackend>>) -> Board {
    let disks = disks.into_iter().map(|backend| Disk { backend, id: None }).collect();
    let config = Config {
        memory: 64 << 20,
        cpus: 1,
        boot,
        disks,
        net: Vec::new(),
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

/// Runs a machine that should end by itself; ends it after `most`.
fn run(board: &mut Board, most: Duration) -> End {
    let (remote, (over, wait)) = (board.remote(), std::sync::mpsc::channel::<()>());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if wait.recv_timeout(most) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                remote.quit();
            }
        });
        let end = board.run();
        drop(over);
        end
    })
}

const PATIENCE: Duration = Duration::from_secs(10);
/// A machine ends within a second of being told to; the rest is a margin for a busy host.
const SOON: Duration = Duration::from_secs(3);

/// Powers off by the test finisher.
const POWER_OFF: &str = "lui t5, 1048576
     lui t6, 20480
     addi t6, t6, 1365
     sw t6, 0(t5)
     over:
     jal zero, @over\n";

/// Reports failure by the test finisher.
const FAIL: &str = "lui t5, 1048576
     lui t6, 77824
     addi t6, t6, -1229
     sw t6, 0(t5)
     failed:
     jal zero, @failed\n";

/// A program in S mode whose trap handler powers off; it arms a timer 10 ms ahead by `arm` and waits by
/// `wait`.
fn timer_program(arm: &str, wait: &str) -> ProgramFile {
    ProgramFile::new(
        AT,
        &format!(
            "jal t0, @start
         {POWER_OFF}
         start:
         csrrw zero, stvec, t0
         addi t0, zero, 32
         csrrs zero, sie, t0
         csrrs a0, time, zero
         lui t1, 102400
         add a0, a0, t1
         {arm}
         csrrsi zero, sstatus, 2
         again:
         {wait}
         jal zero, @again"
        ),
    )
}

/// `TIME` set_timer of the SBI.
const SET_TIMER: &str = "lui a7, 1414090752
     addi a7, a7, -699
     addi a6, zero, 0
     ecall";

#[test]
fn a_timer_ends_every_kind_of_wait() {
    let legacy = "addi a7, zero, 0\necall";
    // Retentive suspension of the hart (HSM, function 3, type 0).
    let suspend = "lui a7, 4739072
         addi a7, a7, 845
         addi a6, zero, 3
         addi a0, zero, 0
         ecall";
    let arms = [("stimecmp", "csrrw zero, stimecmp, a0"), ("SBI", SET_TIMER), ("legacy SBI", legacy)];
    let waits = [("wfi", "wfi"), ("suspend", suspend), ("spin", "addi zero, zero, 0")];
    for (arm_name, arm) in arms {
        for (wait_name, wait) in waits {
            for (time_name, time) in [("host", TimeSource::Host), ("count", TimeSource::Count(1))] {
                let program = timer_program(arm, wait);
                let mut board = board(kernel(&program), Tier::Baseline, time);
                let end = run(&mut board, PATIENCE);
                assert_eq!(end, End::PowerOff, "{arm_name}, {wait_name}, {time_name} time");
            }
        }
    }
}

#[test]
fn a_masked_timer_that_is_due_does_not_keep_a_waiting_hart_busy() {
    // The timer is due, but its interrupt is not enabled: nothing ends the wait.
    let program = ProgramFile::new(
        AT,
        "csrrw zero, stimecmp, zero
         again:
         addi s0, s0, 1
         wfi
         jal zero, @again",
    );
    for time in [TimeSource::Host, TimeSource::Count(1)] {
        let mut board = board(kernel(&program), Tier::Baseline, time);
        assert_eq!(run(&mut board, Duration::from_millis(500)), End::Quit);
        let rounds = board.vcpus()[0].get(X + 8);
        assert!(rounds < 1000, "{rounds} rounds in half a second");
    }
}

/// Sets a timer of the ACLINT `ticks` ahead, spins until it pends, powers off.
fn aclint_program(ticks: u64) -> ProgramFile {
    ProgramFile::new(
        AT,
        &format!(
            "lui t0, {}
         lui t1, {}
         ld a0, -8(t1)
         lui t2, {}
         addi t2, t2, {}
         add a0, a0, t2
         sd a0, 0(t0)
         addi t3, zero, 128
         spin:
         addi s0, s0, 1
         csrrs t4, mip, zero
         and t4, t4, t3
         beq t4, zero, @spin
         ld s1, -8(t1)
         sub s1, s1, a0
         {POWER_OFF}",
            map::CLINT.base + 0x4000,
            map::CLINT.base + 0xc000,
            (ticks + 0x800) & !0xfff,
            (ticks as i64 & 0xfff ^ 0x800) - 0x800,
        ),
    )
}

#[test]
fn a_device_timer_fires_while_a_counted_guest_spins() {
    // 4.9 ms, two nanoseconds an instruction: 2.45 million instructions.
    let program = aclint_program(49_000);
    let counts = [Tier::Interp, Tier::Baseline].map(|tier| {
        let mut board = board(bare(&program), tier, TimeSource::Count(2));
        assert_eq!(run(&mut board, PATIENCE), End::PowerOff);
        let late = board.vcpus()[0].get(X + 9);
        assert!(late <= 2, "the timer came {late} ticks late");
        (board.vcpus()[0].count(), board.vcpus()[0].get(X + 8))
    });
    assert_eq!(counts[0], counts[1], "interpreter and compiler");
    assert!((2_450_000..2_450_400).contains(&counts[0].0), "{counts:?}");
}

/// A board of a vCPU, memory and a power switch: its console has no device.
#[test]
fn a_board_needs_no_console_device() {
    let program = ProgramFile::new(map::RAM, POWER_OFF);
    let ram = Arc::new(Ram::new(map::RAM, 1 << 20).unwrap());
    let file = std::fs::read(program.path()).unwrap();
    let entry = load::elf(&ram, &file, program.path(), Cpu::RISCV64).unwrap().entry;
    let (clock, mailbox) = (Arc::new(CountClock::new(1, 0)), Arc::new(Mailbox::new()));
    let mut bus = Bus::new(clock.clone(), vec![mailbox.clone()]);
    bus.add(map::FINISHER.base, map::FINISHER.size, Box::new(Finisher)).unwrap();
    let (bus, config) = (Arc::new(bus), trine_isa_riscv::Config { hart: 0, start: Start::Machine });
    let time = Time::Count(clock.clone());
    let (mut vcpu, note) = Engine::<Rv64>::new(config, ram.clone(), bus.clone(), time, mailbox, Tier::Interp);
    vcpu.set_pc(entry);
    let mut board = Board::new(Assembly {
        balloon: None,
        terminal: None,
        name: "bare",
        vcpus: vec![Box::new(vcpu)],
        bus,
        ram,
        clock,
        console: Console::new(Box::new(|_| {})),
        console_device: None,
        firmware: Box::new(NoFirmware),
        note,
        disks: Vec::new(),
    });
    assert_eq!(board.remote().input(b"x"), 1);
    assert!(!board.remote().listens());
    assert_eq!(run(&mut board, PATIENCE), End::PowerOff);
}

#[test]
fn a_time_that_never_comes_is_waited_for_without_overflow() {
    // The last time whose nanoseconds are a number of 64 bits.
    const LAST: &str = "addi a0, zero, -1\naddi t1, zero, 100\ndivu a0, a0, t1\n";
    let own = timer_program(&format!("{LAST}csrrw zero, stimecmp, a0"), "wfi");
    let device = ProgramFile::new(
        map::RAM,
        &format!("{LAST}lui t0, {}\nsd a0, 0(t0)\nagain:\nwfi\njal zero, @again", map::CLINT.base + 0x4000),
    );
    for (name, boot) in [("the hart's own", kernel(&own)), ("a device's", bare(&device))] {
        for nanos in [1, 7] {
            let mut board = board(boot.clone(), Tier::Baseline, TimeSource::Count(nanos));
            for _ in 0..4 {
                assert_eq!(board.step(1000), None, "{name}");
            }
            let count = board.vcpus()[0].count();
            assert!((4..100).contains(&count), "{name}: no time was skipped, but {count} were executed");
        }
    }
}

#[test]
fn both_engines_see_the_same_device_time() {
    // Reads of `mtime` in the middle of blocks.
    let program = ProgramFile::new(
        AT,
        &format!(
            "lui t1, {}
         addi t2, zero, 500
         round:
         addi t2, t2, -1
         ld a0, -8(t1)
         addi a2, a2, 1
         addi a2, a2, 1
         ld a1, -8(t1)
         slli s0, s0, 1
         xor s0, s0, a0
         xor s0, s0, a1
         bne t2, zero, @round
         {POWER_OFF}",
            map::CLINT.base + 0xc000
        ),
    );
    let seen = [Tier::Interp, Tier::Baseline].map(|tier| {
        let mut board = board(bare(&program), tier, TimeSource::Count(77));
        assert_eq!(run(&mut board, PATIENCE), End::PowerOff);
        board.vcpus()[0].get(X + 8)
    });
    assert_eq!(seen[0], seen[1], "interpreter and compiler");
}

#[test]
fn a_machine_that_only_traps_ends_when_told() {
    // A handler whose first instruction raises another exception, and no handler at all.
    for vector in ["auipc t0, 0\naddi t0, t0, 12", "addi t0, zero, 0"] {
        let program = ProgramFile::new(AT, &format!("{vector}\ncsrrw zero, mtvec, t0\necall"));
        let mut board = board(bare(&program), Tier::Baseline, TimeSource::Host);
        let start = Instant::now();
        assert_eq!(run(&mut board, Duration::from_millis(200)), End::Quit);
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

/// A disk on which every read returns a number one higher than the previous one.
struct Counter {
    reads: Arc<AtomicU32>,
    /// How long a read takes.
    each: Duration,
}

impl BlockBackend for Counter {
    fn size(&self) -> u64 {
        1 << 50
    }
    fn read_only(&self) -> bool {
        true
    }
    fn read_at(&self, _: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let count = self.reads.fetch_add(1, Ordering::SeqCst) as u16;
        std::thread::sleep(self.each);
        buf.fill(0);
        buf[..2].copy_from_slice(&count.wrapping_add(2).to_le_bytes());
        Ok(())
    }
    fn write_at(&self, _: u64, _: &[u8]) -> Result<(), BlockError> {
        Err(BlockError::ReadOnly)
    }
    fn format(&self) -> &'static str {
        "test"
    }
    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }
    fn discard(&self, _: u64, _: u64) -> Result<(), BlockError> {
        Err(BlockError::ReadOnly)
    }
}

/// The address of the disk's queue.
const RINGS: u64 = map::RAM + (16 << 20);
const AVAILABLE: u64 = RINGS + 0x1000;

/// A machine whose guest sets up the first disk's queue and makes one request of `buffers`, then spins; each read of
/// the disk takes `each`.
fn disk_machine(
    time: TimeSource,
    buffers: &[(u64, u32)],
    each: Duration,
) -> (Board, Arc<AtomicU32>, ProgramFile) {
    // Writes 32-bit values to registers, from a list of offsets and values that ends with offset 2047.
    let program = ProgramFile::new(
        AT,
        &format!(
            "lui s0, {slot}
             lui s1, {half}
             slli s1, s1, 1
             addi s2, zero, 2047
             next:
             lw t0, 1024(s1)
             beq t0, s2, @spin
             lw t1, 1028(s1)
             add t0, t0, s0
             sw t1, 0(t0)
             addi s1, s1, 8
             jal zero, @next
             spin:
             addi s3, s3, 1
             jal zero, @spin",
            slot = map::virtio(0).base,
            half = RINGS / 2,
        ),
    );
    let reads = Arc::new(AtomicU32::new(0));
    let disk = Arc::new(Counter { reads: reads.clone(), each });
    let board = with_disks(bare(&program), Tier::Baseline, time, vec![disk]);
    let mut list = vec![(0x70, 3), (0x24, 1), (0x20, 1), (0x70, 11), (0x38, 8)];
    for (register, at) in [(0x80, RINGS), (0x90, AVAILABLE), (0xa0, RINGS + 0x2000)] {
        list.push((register, at as u32));
    }
    list.extend([(0x44, 1), (0x70, 15), (0x50, 0), (2047, 0)]);
    let list: Vec<u8> = list.iter().flat_map(|(o, v)| [*o, *v]).flat_map(u32::to_le_bytes).collect();
    board.ram().write(RINGS + 0x400, &list).unwrap();
    // The header, which asks for sector 0, then the buffers, then the status.
    let chain = [&[(RINGS + 0x3000, 16)], buffers, &[(RINGS + 0x3800, 1)]].concat();
    for (i, (address, len)) in (0u64..).zip(&chain) {
        let last = i + 1 == chain.len() as u64;
        let flags = !last as u64 | if i > 0 { 2 } else { 0 };
        let rest = *len as u64 | flags << 32 | (i + 1) << 48;
        let words = [*address, rest].map(u64::to_le_bytes).concat();
        board.ram().write(RINGS + 16 * i, &words).unwrap();
    }
    board.ram().write(AVAILABLE + 2, &[1]).unwrap();
    (board, reads, program)
}

#[test]
fn requests_without_end_leave_the_machine_to_its_user() {
    // A sector that overlaps the available ring, so that the index is always one higher; and buffers of most
    // of the memory, again and again, from a disk that is large enough.
    let over_the_ring = vec![(AVAILABLE + 2, 512)];
    let huge = vec![(RINGS + 0x1_0000, 47 << 20); 6];
    for (what, buffers) in [("a chain over its own ring", over_the_ring), ("a huge request", huge)] {
        for time in [TimeSource::Host, TimeSource::Count(1)] {
            let (mut board, reads, _program) = disk_machine(time, &buffers, Duration::ZERO);
            let start = Instant::now();
            assert_eq!(run(&mut board, Duration::from_millis(300)), End::Quit, "{what}");
            assert!(start.elapsed() < SOON, "{what}: {:?}", start.elapsed());
            let (reads, rounds) = (reads.load(Ordering::SeqCst), board.vcpus()[0].get(X + 19));
            // Other threads serve the disk in host time: a chain that is offered again while it is in flight breaks
            // the queue.
            let least = if time == TimeSource::Host && buffers.len() == 1 { 1 } else { 9 };
            assert!(reads >= least && rounds > 100, "{what}: {reads} reads, {rounds} rounds of the guest");
        }
    }
}

#[test]
fn a_machine_that_is_leaked_leaves_its_disks_alone() {
    let buffers = vec![(RINGS + 0x1_0000, 47 << 20); 6];
    let (mut board, reads, _program) = disk_machine(TimeSource::Host, &buffers, Duration::from_millis(20));
    assert_eq!(run(&mut board, Duration::from_millis(200)), End::Quit);
    let before = reads.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(200));
    assert!(reads.load(Ordering::SeqCst) > before, "the request should still be under way");
    board.leak();
    let after = reads.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(reads.load(Ordering::SeqCst), after);
}

#[test]
fn empty_virtio_slots_say_so() {
    // Without disks, slot 0 has the entropy device; slots 1 to 7 respond, but are empty.
    let program = ProgramFile::new(
        AT,
        &format!(
            "lui s0, {}
         lui s1, 4096
         lui s2, {}
         slot:
         lw t0, 0(s0)
         lw t1, 8(s0)
         sw s1, 112(s0)
         lw t2, 112(s0)
         add s3, s3, t0
         slli s4, s4, 4
         add s4, s4, t1
         add s5, s5, t2
         add s0, s0, s1
         bne s0, s2, @slot
         {POWER_OFF}",
            map::virtio(0).base,
            map::virtio(map::VIRTIO_SLOTS).base
        ),
    );
    let mut board = board(bare(&program), Tier::Baseline, TimeSource::Host);
    assert_eq!(run(&mut board, PATIENCE), End::PowerOff);
    let [magic, ids, status] = [19, 20, 21].map(|r| board.vcpus()[0].get(X + r));
    assert_eq!(magic, 8 * 0x7472_6976, "all slots answer");
    assert_eq!(ids, 4 << 28, "device IDs, the first slot's first");
    assert_eq!(status, 0, "nothing is kept");
}

/// Behaves like a UART driver that never reads the interrupt identification: see [`storm_program`].
const STORM_MOST: u64 = 64;

/// M mode. Enables both interrupts of the UART through the PLIC, writes 16 bytes, then waits for `wait` rounds. Its handler
/// claims, reads what was received into s3, writes a byte while s4 says so, completes; s2 counts its calls, and more
/// than [`STORM_MOST`] are a failure.
fn storm_program(wait: u64) -> ProgramFile {
    ProgramFile::new(
        AT,
        &format!(
            "jal t0, @start
         lw t1, 4(s0)
         addi s2, s2, 1
         addi t2, zero, {STORM_MOST}
         blt t2, s2, @fail
         receive:
         lbu t2, 5(s1)
         andi t2, t2, 1
         beq t2, zero, @send
         lbu t2, 0(s1)
         slli s3, s3, 8
         add s3, s3, t2
         jal zero, @receive
         send:
         beq s4, zero, @complete
         addi s4, s4, -1
         lbu t2, 5(s1)
         sb t2, 0(s1)
         complete:
         sw t1, 4(s0)
         mret
         fail:
         {FAIL}
         start:
         csrrw zero, mtvec, t0
         lui s0, {context}
         lui s1, {uart}
         lui t0, {plic}
         addi t1, zero, 1
         sw t1, 40(t0)
         lui t0, {enable}
         addi t1, zero, 1024
         sw t1, 0(t0)
         addi t1, zero, 7
         sb t1, 2(s1)
         addi s4, zero, 5
         addi t1, zero, 3
         sb t1, 1(s1)
         lui t1, 4096
         addi t1, t1, -2048
         csrrs zero, mie, t1
         csrrsi zero, mstatus, 8
         addi a0, zero, 16
         write:
         sb a0, 0(s1)
         addi a0, a0, -1
         bne a0, zero, @write
         lui a0, {wait}
         wait:
         addi a0, a0, -1
         bne a0, zero, @wait
         {POWER_OFF}",
            context = map::PLIC.base + 0x20_0000,
            uart = map::UART.base,
            plic = map::PLIC.base,
            enable = map::PLIC.base + 0x2000,
        ),
    )
}

#[test]
fn a_uart_driver_that_never_reads_the_interrupt_identification() {
    let program = storm_program(1 << 26);
    let mut board = board(bare(&program), Tier::Baseline, TimeSource::Count(1));
    let remote = board.remote();
    remote.input(b"abc");
    assert_eq!(run(&mut board, PATIENCE), End::PowerOff, "no storm");
    let [calls, received, left] = [18, 19, 20].map(|r| board.vcpus()[0].get(X + r));
    assert_eq!(received, 0x61_6263, "what was typed came by interrupt");
    assert_eq!(left, 0, "every byte sent from the handler brought the next interrupt");
    assert!((6..=30).contains(&calls), "{calls} interrupts");
}
