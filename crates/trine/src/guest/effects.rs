//! Refusal of options that have no effect together with others that are given.

use crate::Refusal;
use crate::args::{FirmwareArg, RunArgs};

/// Refuses options without an effect.
pub fn refuse_without_effect(args: &RunArgs) -> Result<(), Refusal> {
    if args.cold && !args.ephemeral {
        return Err(Refusal::refused("--cold would have no effect without --ephemeral: other machines boot"));
    }
    let named = args.thing.is_some() || args.kernel.is_some();
    let why = match args.firmware {
        _ if !args.flash.is_empty() && !named => "it is for a kernel, and --flash starts what the flash has",
        Some(FirmwareArg::None) => "it is for a kernel, and --firmware none starts an ELF file without one",
        Some(FirmwareArg::File(_)) if !named => {
            "it is for a kernel: name one with --kernel, which the firmware then starts"
        }
        _ => "",
    };
    let of_kernels = [("--initrd", args.initrd.is_some()), ("--append", args.append.is_some())];
    let of_one_engine = [("--stats", args.stats), ("--perf-map", args.perf_map)];
    let without = |of: &[(&'static str, bool)]| of.iter().find_map(|(name, given)| given.then_some(*name));
    if let Some(name) = without(&of_kernels).filter(|_| !why.is_empty()) {
        return Err(Refusal::refused(format!("{name} would have no effect: {why}")));
    }
    if args.trace.is_some() && args.lockstep {
        return Err(Refusal::refused("--trace is not possible with --lockstep, which runs two machines"));
    }
    match without(&of_one_engine).filter(|_| args.lockstep) {
        Some(name) => Err(Refusal::refused(format!("{name} selects one engine, but --lockstep runs both"))),
        None => Ok(()),
    }
}

/// Refuses options that change health checks where there are none: only an image brings its own.
pub fn refuse_without_checks(args: &RunArgs) -> Result<(), Refusal> {
    let guest = &args.guest;
    let given = [
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
    use clap::Parser;

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
        assert!(refused(&["--cold", "debian"]) && !refused(&["--cold", "--ephemeral", "debian"]));
        assert!(refused(&["--lockstep", "--trace", "t", "linux"]));
        assert!(!refused(&["--firmware", "fw.bin", "--append", "x", "--kernel", "k"]));
        assert!(refused(&["--flash", "f", "--append", "x"]) && !refused(&["--flash", "f"]));
        assert!(!refused(&["--initrd", "i", "--append", "x", "linux"]));
    }
}
