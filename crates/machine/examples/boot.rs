//! Boots a kernel with the console on standard output: `boot KERNEL INITRD APPEND ENGINE`.

use std::io::Write;
use trine_engine::Tier;
use trine_machine::boot::{Boot, Initrd, Payload};
use trine_machine::{Config, Console, TimeSource, virt};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let console = Console::new(Box::new(|bytes| {
        let mut out = std::io::stdout().lock();
        drop(out.write_all(bytes));
        drop(out.flush());
    }));
    let config = Config {
        memory: 512 << 20,
        cpus: 1,
        boot: Boot::Kernel(Payload {
            kernel: args[1].clone().into(),
            initrd: Some(Initrd::Named(args[2].clone().into())),
            append: args[3].clone(),
        }),
        disks: Vec::new(),
        net: Vec::new(),
        shares: Vec::new(),
        balloon: None,
        terminal: None,
        flash: Vec::new(),
        vsock: None,
        tier: if args[4] == "interp" { Tier::Interp } else { Tier::Baseline },
        time: TimeSource::Host,
        seed: None,
        perf: None,
    };
    let start = std::time::Instant::now();
    let mut board = virt::assemble(config, console).unwrap_or_else(|e| panic!("{e}"));
    let end = board.run();
    eprintln!("{end:?} after {:?}: {:?}, count {}", start.elapsed(), board.stats(), board.vcpus()[0].count());
}
