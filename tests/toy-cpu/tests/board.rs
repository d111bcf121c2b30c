//! Boards with several CPUs, each on a thread of its own.

use std::sync::Barrier;
use std::sync::atomic::Ordering;
use trine_base::{Exit, Vcpu};
use trine_engine::Tier;
use trine_toy_cpu::machine::{Board, DATA};

/// Adds 1 to the word at address 2 as often as `r5` says, by calls of two functions, and then waits.
const COUNT: &str = "ldiw r5, 2000
    ldi r1, 2
    loop:
    ldi r2, 1
    call =add
    call =even
    addi r5, -1
    bne @loop
    wait
    add:
    xadd (r1), r2
    ret
    even:
    mov r3, r5
    ldi r4, 1
    and r3, r4
    beq @skip
    ldi r0, 0
    skip:
    ret";

/// Runs the program on so many CPUs at once. Returns the blocks decoded and compiled, and the sum in memory.
fn run(count: usize, tier: Tier) -> (u64, u64, u16) {
    let mut board = Board::new(count, tier, COUNT);
    let start = Barrier::new(count);
    std::thread::scope(|s| {
        for hart in &mut board.harts {
            let start = &start;
            s.spawn(move || {
                start.wait();
                assert_eq!(hart.run(1_000_000), Exit::Idle { deadline: None });
            });
        }
    });
    let counts = board.translations.counts();
    let mut sum = [0; 2];
    board.ram.read(DATA + 2, &mut sum).expect("inside memory");
    let count = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::SeqCst);
    (count(&counts.decoded), count(&counts.compiled), u16::from_be_bytes(sum))
}

#[test]
fn two_cpus_of_a_board_run_one_translation() {
    for tier in [Tier::Interp, Tier::Baseline] {
        let (decoded, compiled, sum) = run(1, tier);
        assert_eq!(sum, 2000);
        assert!(
            decoded > 6 && (tier == Tier::Interp || compiled > 4),
            "{decoded} decoded, {compiled} compiled"
        );
        for _ in 0..20 {
            assert_eq!(run(2, tier), (decoded, compiled, 4000), "{tier:?}");
        }
    }
}
