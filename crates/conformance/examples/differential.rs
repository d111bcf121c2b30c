//! `cargo run -p trine-conformance --example differential -- PROGRAMS SEED XLEN QEMU`: the same as `cargo
//! xtask test differential`, with other programs. XLEN is 32 or 64.

use std::process::ExitCode;
use trine_conformance::differential::run;
use trine_conformance::program::Xlen;

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let xlen = all.get(2).and_then(|x| match x.as_str() {
        "32" => Some(Xlen::Rv32),
        "64" => Some(Xlen::Rv64),
        _ => None,
    });
    let (Some(Ok(programs)), Some(Ok(seed)), Some(xlen), Some(qemu)) =
        (all.first().map(|n| n.parse()), all.get(1).map(|n| n.parse()), xlen, all.get(3))
    else {
        eprintln!("usage: differential PROGRAMS SEED 32|64 QEMU");
        return ExitCode::FAILURE;
    };
    match run(xlen, qemu.as_ref(), programs, seed) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}
