//! The option `--trace`.

use crate::Refusal;
use crate::args::RunArgs;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use trine_base::trace::Tracer;
use trine_machine::Board;
use trine_machine::trace::{Trace, TraceContents};

/// A value of `--trace`: `FILE[,exec][,exceptions][,mmio][,pc=FIRST-LAST]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceArg {
    path: PathBuf,
    contents: TraceContents,
}

impl FromStr for TraceArg {
    type Err = String;

    /// Takes the options off the end: what comes before them is the file's name, which may have commas itself.
    fn from_str(text: &str) -> Result<TraceArg, String> {
        let mut rest = text;
        let mut contents = TraceContents { instructions: false, traps: false, accesses: false, pcs: None };
        while let Some((before, option)) = rest.rsplit_once(',') {
            let new = match option.split_once('=') {
                None if option == "exec" => !std::mem::replace(&mut contents.instructions, true),
                None if option == "exceptions" => !std::mem::replace(&mut contents.traps, true),
                None if option == "mmio" => !std::mem::replace(&mut contents.accesses, true),
                Some(("pc", range)) => contents.pcs.replace(addresses(range)?).is_none(),
                _ => break,
            };
            if !new {
                return Err(format!("'{option}' repeats another option of this trace"));
            }
            rest = before;
        }
        if rest.is_empty() {
            return Err("a file is missing: FILE[,exec][,exceptions][,mmio][,pc=FIRST-LAST]".into());
        }
        if !contents.instructions && !contents.traps && !contents.accesses {
            (contents.instructions, contents.traps, contents.accesses) = (true, true, true);
        }
        Ok(TraceArg { path: rest.into(), contents })
    }
}

/// `FIRST-LAST`, both of which belong to the range.
fn addresses(text: &str) -> Result<RangeInclusive<u64>, String> {
    let wrong = || format!("'{text}' is not a range of addresses, such as 0x80000000-0x80000fff");
    let address = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    match (address(first), address(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(wrong()),
    }
}

/// The trace that the options ask for, which goes on when the guest resets its machine.
pub struct OpenTrace {
    path: PathBuf,
    trace: Arc<Trace>,
}

/// Creates the trace's file, if one is wanted.
pub fn open(args: &RunArgs) -> Result<Option<OpenTrace>, Refusal> {
    let Some(TraceArg { path, contents }) = args.trace.clone() else { return Ok(None) };
    let file = File::create(&path)
        .map_err(|e| Refusal::refused(format!("--trace {}: the file cannot be made: {e}", path.display())))?;
    Ok(Some(OpenTrace { path, trace: Arc::new(Trace::new(contents, file)) }))
}

impl OpenTrace {
    /// Has a machine write to it.
    pub fn attach(&self, board: &mut Board) -> Result<(), Refusal> {
        let tracer: Arc<dyn Tracer> = self.trace.clone();
        match board.set_tracer(&tracer) {
            true => Ok(()),
            false => Err(Refusal::refused(
                "--trace is not possible: the host's own CPU executes the guest's instructions",
            )),
        }
    }

    /// Writes what is not in the file yet. Says so where that is not possible.
    pub fn flush(&self) {
        if let Err(e) = self.trace.flush() {
            eprint!("trine: the trace {} is not complete: {e}\r\n", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_trace_option_means() {
        let all = TraceContents { instructions: true, traps: true, accesses: true, pcs: None };
        let none = TraceContents { instructions: false, traps: false, accesses: false, pcs: None };
        let cases = [
            ("t", "t", all.clone()),
            ("a,b", "a,b", all.clone()),
            ("a,exec", "a", TraceContents { instructions: true, ..none.clone() }),
            ("a,mmio,exceptions", "a", TraceContents { traps: true, accesses: true, ..none }),
            ("a,pc=0x10-32", "a", TraceContents { pcs: Some(16..=32), ..all }),
        ];
        for (text, path, contents) in cases {
            assert_eq!(text.parse::<TraceArg>(), Ok(TraceArg { path: path.into(), contents }), "{text}");
        }
        for (text, why) in [
            ("", "a file is missing"),
            (",exec", "a file is missing"),
            ("a,exec,exec", "repeats"),
            ("a,pc=1-2,pc=1-2", "repeats"),
            ("a,pc=2-1", "not a range"),
            ("a,pc=7", "not a range"),
            ("a,pc=0xg-0xh", "not a range"),
        ] {
            let error = text.parse::<TraceArg>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
