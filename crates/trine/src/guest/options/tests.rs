//! Tests of the whole table: every option with every kind of guest.

use super::*;
use crate::args::Run;
use crate::guest::target::Target;
use crate::guest::target::tests::Files;
use clap::CommandFactory;
use std::collections::BTreeSet;
use std::ffi::OsString;

const KINDS: [Kind; 7] = [
    Kind::Machine,
    Kind::Debian,
    Kind::ImageMachine,
    Kind::Restored,
    Kind::Program,
    Kind::Container,
    Kind::Bundle,
];

/// Options whose values need the network or a disk: these are only marked as given.
const NO_VALUE: [&str; 5] =
    ["packages", "device-read-bps", "device-write-bps", "device-read-iops", "device-write-iops"];

/// Words that give an option a valid value, together with the options it requires.
fn words_of(option: &clap::Arg, root: &str, fits: bool) -> Vec<String> {
    let name = option.get_long().unwrap();
    let value = match name {
        "sysroot" => root,
        "pull" => "never",
        "arch" => "riscv64",
        "engine" => "interp",
        "as" => "machine",
        "gdb" => return vec!["--gdb=:1".into()],
        "env" | "sysctl" | "label" => "a=b",
        "limit" => "pids=3",
        "deny" => "net",
        "platform" => "linux/riscv64",
        "volume" | "tmpfs" => "/x",
        "device" => "/dev/null",
        "ulimit" => "nofile=3",
        "restart" => "no",
        "stop-signal" => "TERM",
        "detach-keys" => "ctrl-p",
        "network" => "mine",
        "cpuset-cpus" => "0",
        "cpus" => "2",
        "dns" => "::1",
        "add-host" => "a:::1",
        "log-size" | "shm-size" | "memory" | "memory-swap" | "memory-reservation" => "1M",
        "health-interval" | "health-timeout" | "health-start-period" => "3s",
        _ => "100",
    };
    let beside: &[&str] = match name {
        "json" => &["--detach"],
        _ if fits && name.starts_with("health-") && name != "health-cmd" => &["--health-cmd", "x"],
        _ => &[],
    };
    let mut words: Vec<String> = beside.iter().map(|w| w.to_string()).collect();
    words.push(format!("--{name}"));
    words.extend(option.get_action().takes_values().then(|| value.to_string()));
    words
}

/// Resolves an option together with a thing that is of this kind without it.
fn with(option: &clap::Arg, kind: Kind, files: &Files) -> Result<Target, String> {
    let name = option.get_long().unwrap();
    let mut words = match NO_VALUE.contains(&name) {
        true => Vec::new(),
        false => {
            let fits = group(name).is_some_and(|group| group.kinds.has(kind));
            words_of(option, files.bundle.to_str().unwrap(), fits)
        }
    };
    let path = |p: &std::path::Path| p.to_str().unwrap().to_string();
    match kind {
        Kind::Machine if name == "kernel" => {}
        Kind::Machine => words.push("linux".into()),
        Kind::Debian => words.push("debian:trixie/riscv64".into()),
        Kind::ImageMachine if name == "as" => words.push("image".into()),
        Kind::ImageMachine => words.extend(["--as", "machine", "image"].map(String::from)),
        Kind::Restored if name == "restore" => {}
        Kind::Restored => words.extend(["--restore", "machine.snap"].map(String::from)),
        Kind::Program => words.push(path(&files.program)),
        Kind::Container => words.push("image".into()),
        Kind::Bundle => words.push(path(&files.bundle)),
    }
    let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    let mut args = Run::parse_words(&words).map_err(|e| e.to_string())?;
    if NO_VALUE.contains(&name) {
        args.given.0.push(name.into());
    }
    Target::resolve(&args).map_err(|refusal| refusal.message)
}

#[test]
fn every_option_goes_with_the_kinds_of_the_table_only() {
    let files = Files::new("table");
    for option in Run::command().get_arguments().filter(|a| a.get_long().is_some()) {
        let name = option.get_long().unwrap();
        let group = group(name).unwrap_or_else(|| panic!("--{name} is not in the table"));
        for kind in KINDS {
            let result = with(option, kind, &files);
            // An option may change the kind of the thing: then it is not for this one.
            let accepted = result.as_ref().is_ok_and(|target| target.kind() == kind);
            assert_eq!(accepted, group.kinds.has(kind), "--{name} with {kind:?}: {result:?}");
            let decides = ["kernel", "firmware", "as", "sysroot"].contains(&name);
            if let Err(message) = result.as_ref().map_err(|e| e.lines().next().unwrap_or_default())
                && !decides
            {
                assert!(message.starts_with(&format!("--{name} is for ")), "{message}");
            }
        }
    }
}

#[test]
fn the_table_has_each_option_once_and_no_other() {
    let command = Run::command();
    let options: BTreeSet<&str> = command.get_arguments().filter_map(|a| a.get_long()).collect();
    let table: Vec<&str> = TABLE.iter().flat_map(|group| group.options.iter().copied()).collect();
    assert_eq!(table.iter().copied().collect::<BTreeSet<_>>(), options);
    assert_eq!(table.len(), options.len());
}

#[test]
fn the_help_has_the_headings_of_the_table() {
    let help = grouped(Run::command()).render_long_help().to_string();
    assert!(TABLE.iter().all(|group| help.contains(&format!("{}:", group.heading))), "{help}");
}

#[test]
fn options_that_only_machines_have_make_machines() {
    for (option, makes) in
        [("--disk", true), ("--firmware", true), ("--as", false), ("--memory", false), ("disk", false)]
    {
        assert_eq!(makes_machine(option), makes, "{option}");
    }
}
