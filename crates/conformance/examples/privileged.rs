//! `cargo run -p trine-conformance --example privileged -- PROGRAMS SEED QEMU ARGUMENT…`: the same as `cargo
//! xtask test privileged`, with other programs.

use std::process::ExitCode;
use trine_conformance::privileged::{Qemu, run};

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let (Some(Ok(programs)), Some(Ok(seed)), Some(program)) =
        (all.first().map(|n| n.parse()), all.get(1).map(|n| n.parse()), all.get(2))
    else {
        eprintln!("usage: privileged PROGRAMS SEED QEMU ARGUMENT...");
        return ExitCode::FAILURE;
    };
    let qemu = Qemu { program: program.into(), arguments: all[3..].to_vec() };
    match run(&qemu, programs, seed) {
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
