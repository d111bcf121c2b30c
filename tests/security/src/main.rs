//! Tests that try to get out: of containers, and of programs that are confined. `cargo xtask test PART` runs them.

mod escapes;
mod hostile;

use std::process::ExitCode;
use trine_test_support::parts::{self, Run};

const PARTS: &[(&str, Run)] = &[("escapes", escapes::run), ("hostile", hostile::run)];

fn main() -> ExitCode {
    parts::main(PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_those_of_the_table() {
        assert_eq!(parts::difference(parts::Home::Security, PARTS), None);
    }
}
