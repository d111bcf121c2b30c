//! Atomic operations across the end of a page whose successor lies elsewhere in memory.

use std::sync::Barrier;
use trine_base::Width;
use trine_engine::Tier;
use trine_ir::{Hart, Leave, Rmw};
use trine_toy_cpu::machine::{Board, ToyVcpu};
use trine_toy_cpu::state::{PT, cause, mode::REGIME_USER};

/// Where the table of pages lies.
const TABLE: u64 = 0x3_0000;
/// The page of the accesses' first bytes, and where it lies; the next one lies before it.
const PAGE: (u64, u64) = (0x5000, 0x2_8000);
/// Where the next page lies.
const NEXT: u64 = 0x2_2000;

/// CPUs with a table of pages; the third page is not there.
fn board(count: usize) -> Board {
    let board = Board::new(count, Tier::Interp, "wait");
    for (number, frame) in [(PAGE.0 >> 12, PAGE.1), ((PAGE.0 >> 12) + 1, NEXT)] {
        // There, and may be written.
        let entry = (frame >> 12 << 4 | 3) as u16;
        board.ram.write(TABLE + 2 * number, &entry.to_be_bytes()).expect("inside memory");
    }
    board.harts.iter().for_each(|hart| Hart::set(hart.core(), PT, TABLE));
    board
}

/// The value across the end of the page, of which so many bytes lie in the first one.
fn value(board: &Board, here: usize) -> u32 {
    let mut bytes = [0; 4];
    board.ram.read(PAGE.1 + 0x1000 - here as u64, &mut bytes[..here]).expect("inside memory");
    board.ram.read(NEXT, &mut bytes[here..]).expect("inside memory");
    u32::from_le_bytes(bytes)
}

#[test]
fn the_rest_is_in_the_page_that_the_table_names() {
    for here in 1..4 {
        let board = board(1);
        let (hart, at) = (&board.harts[0], PAGE.0 + 0x1000 - here as u64);
        assert_eq!(hart.add_atomically(REGIME_USER, at, 0x1234_5678), Ok(0));
        assert_eq!(hart.add_atomically(REGIME_USER, at, 0x1111_1111), Ok(0x1234_5678));
        assert_eq!(value(&board, here), 0x2345_6789);
        assert_eq!(hart.exchange(REGIME_USER, at, 1, 2), Ok(0x2345_6789), "it is not 1");
        assert_eq!(hart.exchange(REGIME_USER, at, 0x2345_6789, 2), Ok(0x2345_6789));
        assert_eq!(value(&board, here), 2);
        // The page behind the first one in memory.
        let mut behind = [1; 4];
        board.ram.read(PAGE.1 + 0x1000, &mut behind).expect("inside memory");
        assert_eq!(behind, [0; 4]);
    }
}

#[test]
fn nothing_is_done_where_the_second_page_is_missing() {
    let board = board(1);
    let hart = &board.harts[0];
    let at = PAGE.0 + 0x2000 - 2;
    assert_eq!(hart.add_atomically(REGIME_USER, at, !0), Err(Leave::Trap));
    let trap = hart.core().trap.get();
    assert_eq!((trap.cause, trap.value), (cause::PAGE, PAGE.0 + 0x2000), "the byte that is not there");
    let mut bytes = [1; 2];
    board.ram.read(NEXT + 0xffe, &mut bytes).expect("inside memory");
    assert_eq!(bytes, [0; 2]);
}

#[test]
fn no_addition_of_several_cpus_is_lost() {
    const TIMES: u32 = 3000;
    let mut board = board(3);
    let start = Barrier::new(3);
    let at = PAGE.0 + 0x1000 - 2;
    std::thread::scope(|s| {
        for hart in &mut board.harts {
            let start = &start;
            s.spawn(move || {
                start.wait();
                for _ in 0..TIMES {
                    // Carries from the first page into the second one.
                    let done = hart.core().rmw(REGIME_USER, Rmw::Add, Width::B4.into(), at, 0x7fff);
                    assert!(done.is_ok(), "{done:?}");
                }
            });
        }
    });
    assert_eq!(value(&board, 2), 3 * TIMES * 0x7fff);
}
