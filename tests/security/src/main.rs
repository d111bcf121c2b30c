//! Tests that try to escape: from containers, and from confined programs. `cargo xtask test PART` runs them.

mod escapes;
mod hostile;

use std::process::ExitCode;
use trine_test_support::parts;

parts! { Security:
    "escapes" => escapes::run,
    "hostile" => hostile::run,
}

fn main() -> ExitCode {
    parts::main(PARTS)
}
