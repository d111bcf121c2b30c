//! Boots a kernel with the console on standard output: `boot KERNEL INITRD APPEND ENGINE`.

use std::io::Write;
use trine_engine::Tier;
use trine_machine::virt::{Boot, Initrd, Payload, TimeSource};
use trine_machine::{Board, Config, Console};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let console = Console::new(Box::new(|bytes| {
        let mut out = std::io::stdout().lock();
        drop(out.write_all(bytes));
        drop(out.flush());
    }));
    let config = Config {
        memory: 512 << 20,
        boot: Boot::Kernel(Payload {
            kernel: args[1].clone().into(),
            initrd: Some(Initrd::Named(args[2].clone().into())),
            append: args[3].clone(),
        }),
        disks: Vec::new(),
        tier: if args[4] == "interp" { Tier::Interp } else { Tier::Baseline },
        time: TimeSource::Host,
        seed: None,
    };
    let start = std::time::Instant::now();
    let mut board = Board::new(config, console).unwrap_or_else(|e| panic!("{e}"));
    let end = board.run();
    eprintln!(
        "{end:?} after {:?}: {:?}, count {}",
        start.elapsed(),
        board.stats(),
        trine_base::Vcpu::count(board.vcpu())
    );
}
