//! Tests of the table of calls against the checks that it names, and of the generated page.

use std::path::{Path, PathBuf};
use trine_linux::abi::riscv64::MACHINE;
use trine_linux::abi::{MACHINES, every_call};
use trine_linux::page;
use trine_linux::table::{CALLS, Reach, State};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn rows_are_in_order() {
    let numbers: Vec<_> = CALLS.iter().map(|call| MACHINE.calls.number(call.name)).collect();
    assert!(numbers.windows(2).all(|w| w[0].is_some() && w[0] < w[1]));
    assert!(CALLS.len() >= 300, "{} calls", CALLS.len());
}

#[test]
fn every_number_has_a_row() {
    for calls in MACHINES.iter().map(|machine| machine.calls) {
        for (number, name) in calls.names() {
            assert_eq!(calls.find(number).map(|call| call.name), Some(name), "{number}");
        }
    }
    assert_eq!(MACHINE.calls.names().count(), CALLS.len() + MACHINE.calls.own().len());
}

#[test]
fn every_own_row_has_a_number() {
    for machine in MACHINES {
        for call in machine.calls.own() {
            assert!(machine.calls.number(call.name).is_some(), "{}: {}", machine.name, call.name);
        }
    }
}

#[test]
fn functions_of_the_vdso_make_calls_that_there_are() {
    for (function, call) in MACHINE.vdso.functions {
        assert!(MACHINE.calls.number(call).is_some(), "{function}: no call {call}");
    }
}

#[test]
fn every_row_names_a_check_that_exists() {
    for call in every_call() {
        let (file, check) = call.test.split_once('/').unwrap_or_default();
        let source = std::fs::read_to_string(here("tests/calls").join(file).with_extension("c"));
        let source = source.unwrap_or_else(|e| panic!("{} names {}: {e}", call.name, call.test));
        assert!(source.contains(&format!("(\"{check}\"")), "{}: no check '{check}' in {file}.c", call.name);
        // The check must be about this call.
        assert_eq!(check.split(' ').next(), Some(call.name), "{check}");
    }
}

#[test]
fn every_row_says_once_what_it_reaches() {
    for call in every_call() {
        assert!(call.reach.windows(2).all(|w| w[0] < w[1]), "{}: {:?}", call.name, call.reach);
        assert!(call.reach.iter().all(|r| Reach::ALL.iter().any(|(known, _)| known == r)), "{}", call.name);
        let alone = [Reach::Own, Reach::Tells].iter().any(|r| call.reach.contains(r));
        assert!(!alone || call.reach.len() == 1, "{}: nothing and something", call.name);
    }
}

#[test]
fn what_falls_short_says_why() {
    for call in every_call().filter(|c| c.state != State::Complete) {
        assert!(!call.note.is_empty(), "{} has no note", call.name);
    }
}

#[test]
fn the_page_is_the_tables() {
    let committed = std::fs::read_to_string(here("../../docs/system-calls.md")).unwrap_or_default();
    assert!(committed == page::system_calls(), "docs/system-calls.md is stale: run `cargo xtask docs`");
}
