//! A machine's trace in a file: a line for each instruction, exception, interrupt and access to a device.

use std::fs::File;
use std::io::{BufWriter, Error, Write};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use trine_base::trace::{DeviceAccess, Place, TakenTrap, Tracer};

/// What is written at once.
const BUFFER: usize = 1 << 20;

/// What a trace contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContents {
    /// Instructions.
    pub instructions: bool,
    /// Exceptions and interrupts.
    pub traps: bool,
    /// Accesses to devices.
    pub accesses: bool,
    /// Only instructions and traps at these addresses, if there are any.
    pub pcs: Option<RangeInclusive<u64>>,
}

/// A trace in a file.
pub struct Trace {
    contents: TraceContents,
    out: Mutex<Out>,
}

struct Out {
    file: BufWriter<File>,
    /// Why nothing is written any more.
    failed: Option<Error>,
}

impl Trace {
    /// A trace with these contents in an open file.
    pub fn new(contents: TraceContents, file: File) -> Trace {
        let out = Out { file: BufWriter::with_capacity(BUFFER, file), failed: None };
        Trace { contents, out: Mutex::new(out) }
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, line: std::fmt::Arguments<'_>) {
        let mut out = self.out();
        if out.failed.is_none() {
            out.failed = writeln!(out.file, "{line}").err();
        }
    }

    /// Writes what is not in the file yet.
    ///
    /// # Errors
    /// The first error of the file, after which nothing was written.
    pub fn flush(&self) -> Result<(), Error> {
        let mut out = self.out();
        match out.failed.take() {
            Some(error) => Err(error),
            None => out.file.flush(),
        }
    }
}

/// The beginning of a line about a vCPU.
fn at(kind: &str, place: Place) -> String {
    let Place { cpu, count, pc, privilege } = place;
    format!("{kind} cpu{cpu} {count:>10} {privilege:1} {pc:#018x}")
}

impl Tracer for Trace {
    fn wants_instructions(&self) -> bool {
        self.contents.instructions
    }

    fn wants_traps(&self) -> bool {
        self.contents.traps
    }

    fn wants_accesses(&self) -> bool {
        self.contents.accesses
    }

    fn wants(&self, pc: u64) -> bool {
        self.contents.pcs.as_ref().is_none_or(|pcs| pcs.contains(&pc))
    }

    fn instruction(&self, place: Place, text: &str) {
        let text = if text.is_empty() { "(not a valid instruction)" } else { text };
        self.write(format_args!("{} {text}", at("exec", place)));
    }

    fn trap(&self, place: Place, taken: TakenTrap) {
        let TakenTrap { trap, interrupt, name, handler } = taken;
        let kind = if interrupt { "intr" } else { "trap" };
        let handler = handler.map_or("the firmware".into(), |pc| format!("{pc:#018x}"));
        let name = if name.is_empty() { "unknown" } else { name };
        let (cause, value) = (trap.cause, trap.value);
        self.write(format_args!(
            "{} -> {handler} {name} (cause {cause:#x}, value {value:#x})",
            at(kind, place)
        ));
    }

    fn access(&self, device: &str, access: DeviceAccess) {
        let DeviceAccess { offset, width, value, write } = access;
        let (kind, bytes) = (if write { "write" } else { "read" }, width.bytes());
        self.write(format_args!("mmio {device}+{offset:#x} {kind} {bytes} {value:#x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_base::{Trap, Width};

    #[test]
    fn each_event_is_a_line() {
        let path = std::env::temp_dir().join(format!("trine-trace-{}", std::process::id()));
        let pcs = Some(0x8000_0000..=0x8000_0fff);
        let contents = TraceContents { instructions: true, traps: true, accesses: false, pcs };
        let trace = Trace::new(contents, File::create(&path).unwrap());
        assert!(trace.wants(0x8000_0fff) && !trace.wants(0x8000_1000) && !trace.wants_accesses());
        let place = Place { cpu: 1, count: 12, pc: 0x8000_0004, privilege: "S" };
        trace.instruction(place, "addi a0, a0, 1");
        trace.instruction(place, "");
        let trap = Trap::fault(8, 5);
        let taken =
            TakenTrap { trap, interrupt: false, name: "environment call", handler: Some(0x8000_0100) };
        trace.trap(place, taken);
        trace.trap(place, TakenTrap { interrupt: true, name: "", handler: None, ..taken });
        trace.access("uart", DeviceAccess { offset: 3, width: Width::B1, value: 0x41, write: true });
        trace.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "exec cpu1         12 S 0x0000000080000004 addi a0, a0, 1",
                "exec cpu1         12 S 0x0000000080000004 (not a valid instruction)",
                "trap cpu1         12 S 0x0000000080000004 -> 0x0000000080000100 environment call (cause 0x8, value 0x5)",
                "intr cpu1         12 S 0x0000000080000004 -> the firmware unknown (cause 0x8, value 0x5)",
                "mmio uart+0x3 write 1 0x41",
            ]
        );
    }

    #[test]
    fn a_full_disk_is_an_error_at_the_end() {
        let contents = TraceContents { instructions: true, traps: false, accesses: false, pcs: None };
        let file = File::options().write(true).open("/dev/full").unwrap();
        let trace = Trace::new(contents, file);
        let place = Place { cpu: 0, count: 0, pc: 0, privilege: "" };
        (0..100_000).for_each(|_| trace.instruction(place, "nop"));
        assert!(trace.flush().is_err());
    }
}
