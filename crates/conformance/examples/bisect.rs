//! `bisect QEMU SEED [32]`: the shortest beginning of a random program that differs from QEMU.

use trine_conformance::differential;
use trine_conformance::program::Xlen;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (Some(qemu), Some(Ok(seed))) = (args.get(1), args.get(2).map(|s| s.parse())) else {
        eprintln!("bisect QEMU SEED [32]");
        return;
    };
    let xlen = if args.len() > 3 { Xlen::Rv32 } else { Xlen::Rv64 };
    match differential::shortest(xlen, qemu.as_ref(), seed) {
        Some((length, what)) => {
            let listing = differential::listing(xlen, seed, length);
            let lines: Vec<&str> = listing.lines().collect();
            println!("{length} instructions: {what}");
            lines.iter().for_each(|l| println!("{l}"));
        }
        None => println!("no difference"),
    }
}
