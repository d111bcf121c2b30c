//! Whole machines of board `virt` for small programs.

use crate::bare::ProgramFile;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use trine_engine::Tier;
use trine_machine::boot::{Boot, Payload};
use trine_machine::virt::{self, map};
use trine_machine::{Board, Config, Console, End, TimeSource};

/// Where a program starts: a kernel's place, 2 MiB into RAM.
pub const AT: u64 = map::RAM + (2 << 20);

/// A boot configuration that starts a program in S mode, with the board as firmware.
pub fn kernel(program: &ProgramFile) -> Boot {
    Boot::Kernel(Payload { kernel: program.path().into(), initrd: None, append: String::new() })
}

/// A boot configuration that starts a program in M mode.
pub fn bare(program: &ProgramFile) -> Boot {
    Boot::BareMetal(program.path().into())
}

/// A machine with 64 MiB, always with the same random numbers, and with no device of the host's.
pub fn config(boot: Boot, cpus: u32, tier: Tier, time: TimeSource) -> Config {
    Config { tier, time, seed: Some(1), ..Config::new(64 << 20, cpus, boot) }
}

/// Makes a machine whose console nobody reads.
///
/// # Panics
/// It cannot be made: this is for tests.
pub fn assemble(config: Config) -> Board {
    virt::assemble(config, Console::new(Box::new(|_| {}))).expect("a machine")
}

/// Runs a machine that should end by itself; ends it after `most`.
pub fn run(board: &mut Board, most: Duration) -> End {
    let (remote, (over, wait)) = (board.remote(), channel::<()>());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if wait.recv_timeout(most) == Err(RecvTimeoutError::Timeout) {
                remote.quit();
            }
        });
        let end = board.run();
        drop(over);
        end
    })
}
