//! Which kind of guest an option makes: what the user said decides before what a file looks like.

use crate::Refusal;
use crate::args::{FirmwareArg, RunArgs};
use std::ffi::OsString;
use std::path::Path;
use trine_program::elf;

/// Options that only a machine has.
pub const OF_MACHINES: [&str; 7] =
    ["--firmware", "--kernel", "--initrd", "--append", "--disk", "--lockstep", "--count-time"];

/// The first option that makes a machine of whatever is named.
pub fn machine_option(args: &RunArgs) -> Option<&'static str> {
    let given = [
        args.firmware.is_some(),
        args.kernel.is_some(),
        args.initrd.is_some(),
        args.append.is_some(),
        !args.disk.is_empty(),
        args.lockstep,
        args.count_time.is_some(),
    ];
    OF_MACHINES.into_iter().zip(given).find_map(|(name, given)| given.then_some(name))
}

/// The first option that makes a program of whatever is named.
pub fn program_option(args: &RunArgs) -> Option<&'static str> {
    let given = [
        ("--sysroot", args.sysroot.is_some()),
        ("--packages", !args.packages.is_empty()),
        ("--strace", args.strace),
        ("--gdb", args.gdb.is_some()),
        ("--cwd", args.cwd.is_some()),
        ("--limit", !args.limit.is_empty()),
        ("--deny", !args.deny.is_empty()),
        ("--env", !args.env.is_empty()),
    ];
    given.into_iter().find_map(|(name, given)| given.then_some(name))
}

/// Whether the words behind an ELF file still speak of a machine, and are no arguments of a program: a firmware is
/// named, and nothing in the file says that it is for Linux.
pub fn firmware_behind(file: &Path, words: &[OsString]) -> bool {
    let is_it =
        |word: &OsString| word.to_str().is_some_and(|w| w == "--firmware" || w.starts_with("--firmware="));
    words.iter().take_while(|word| *word != "--").any(is_it) && !elf::is_marked_for_linux(file)
}

/// Refuses what would change nothing.
pub fn refuse_without_effect(args: &RunArgs) -> Result<(), Refusal> {
    let named = args.thing.is_some() || args.kernel.is_some();
    let why = match args.firmware {
        Some(FirmwareArg::None) => "it is for a kernel, and --firmware none starts an ELF file without one",
        Some(FirmwareArg::File(_)) if !named => {
            "it is for a kernel: name one, which the firmware then starts"
        }
        _ => "",
    };
    let of_kernels = [("--initrd", args.initrd.is_some()), ("--append", args.append.is_some())];
    let of_one_engine = [("--stats", args.stats), ("--perf-map", args.perf_map)];
    let without = |of: &[(&'static str, bool)]| of.iter().find_map(|(name, given)| given.then_some(*name));
    if let Some(name) = without(&of_kernels).filter(|_| !why.is_empty()) {
        return Err(Refusal::refused(format!("{name} would have no effect: {why}")));
    }
    match without(&of_one_engine).filter(|_| args.lockstep) {
        Some(name) => Err(Refusal::refused(format!("{name} is about one engine, and --lockstep runs both"))),
        None => Ok(()),
    }
}

/// Refuses what would change nothing for a program.
pub fn refuse_for_programs(args: &RunArgs) -> Result<(), Refusal> {
    if args.memory.is_some() {
        return Err(Refusal::refused(
            "--memory goes with machines and containers: what a program may use is --limit memory=SIZE",
        ));
    }
    refuse_without_checks(args)
}

/// Refuses what changes checks of health, where there are none: only an image brings them along.
pub fn refuse_without_checks(args: &RunArgs) -> Result<(), Refusal> {
    let guest = &args.guest;
    let given = [
        ("--no-healthcheck", guest.no_healthcheck),
        ("--health-interval", guest.health_interval.is_some()),
        ("--health-timeout", guest.health_timeout.is_some()),
        ("--health-retries", guest.health_retries.is_some()),
        ("--health-start-period", guest.health_start_period.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given && guest.health_cmd.is_none()) {
        Some((name, _)) => Err(Refusal::refused(format!("{name} would have no effect without --health-cmd"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Run;
    use crate::program;
    use clap::Parser;
    use std::path::PathBuf;

    /// A static executable for riscv64 with one segment, which says nothing of Linux.
    fn file(name: &str, address: u64) -> PathBuf {
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0\x01\0\0\0".to_vec();
        [address + 120, 64, 0].iter().for_each(|n| file.extend(n.to_le_bytes()));
        file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0]);
        [0, address, address, 0x1004, 0x1004, 4096].iter().for_each(|n: &u64| file.extend(n.to_le_bytes()));
        file.resize(0x1004, 0x13);
        let path = std::env::temp_dir().join(format!("trine-kind-{}-{name}", std::process::id()));
        std::fs::write(&path, file).unwrap();
        path
    }

    /// What the words behind `trine run` make of it: a program's path, a machine, or why neither.
    fn kind(words: &[&str]) -> Result<Option<PathBuf>, String> {
        let line = ["trine", "run"].iter().chain(words).map(OsString::from).collect();
        let line = crate::line::read(line).words;
        let args = Run::try_parse_from(&line[1..]).map_err(|e| e.to_string())?.args;
        program::wanted(&args).map_err(|refusal| refusal.message)
    }

    #[test]
    fn what_is_said_decides_before_what_a_file_looks_like() {
        // The page before the memory, for the file's header; and where programs are.
        let (high, low) = (file("high", 0x7fff_f000), file("low", 0x1_0000));
        let (machine, program) = (high.to_str().unwrap(), low.to_str().unwrap());
        for words in [
            &[machine][..],
            &[machine, "--firmware", "none"],
            &["--firmware", "none", machine],
            &["--disk", "d.img", machine],
            &["--firmware", "none", program],
            &[program, "--firmware", "none"],
            &[program, "--firmware=fw.bin"],
            &["--firmware", "sbi", program],
        ] {
            assert_eq!(kind(words), Ok(None), "{words:?}");
        }
        for words in [
            &[program][..],
            &[program, "--disk", "x"],
            &["--strace", program],
            &["--", program, "--firmware"],
        ] {
            assert_eq!(kind(words), Ok(Some(low.clone())), "{words:?}");
        }
        for (words, why) in [
            (&["--disk", "x", program][..], "--disk goes with machines"),
            (&["-m", "1G", program], "--limit memory=SIZE"),
            (&["--health-interval", "3s", program], "without --health-cmd"),
            (&["--no-healthcheck", program], "without --health-cmd"),
            (&["--sysroot", "/", "/no/such/file"], "the sysroot has no /no/such/file"),
            (&["--sysroot", "/", "no-such-command"], "the sysroot has no command 'no-such-command'"),
            (&["--sysroot", "/", "/bin/sh"], "is for"),
            (&["--append", "x", program], "--append goes with machines"),
            (&["--lockstep", program], "--lockstep goes with machines"),
            (&["--firmware", "none", "--strace", program], "leave one of them out"),
            (&["--disk", "x", "--env", "A=1", "linux"], "--disk goes with machines and --env with programs"),
            (&["--firmware", "none", program, "x"], "no arguments"),
        ] {
            let error = kind(words).unwrap_err();
            assert!(error.contains(why), "{words:?}: {error}");
        }
        [high, low].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        let refused = |words: &[&str]| {
            let args = Run::try_parse_from(["trine run"].iter().chain(words)).unwrap().args;
            refuse_without_effect(&args).is_err()
        };
        assert!(refused(&["--firmware", "none", "--append", "x", "file"]));
        assert!(refused(&["--firmware", "none", "--initrd", "x", "file"]));
        assert!(refused(&["--firmware", "fw.bin", "--append", "x"]));
        assert!(refused(&["--lockstep", "--stats", "linux"]));
        assert!(!refused(&["--firmware", "fw.bin", "--append", "x", "--kernel", "k"]));
        assert!(!refused(&["--initrd", "i", "--append", "x", "linux"]));
    }
}
