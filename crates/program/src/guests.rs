//! The CPUs whose programs can be run.

use crate::ProgramError;
use crate::elf::Image;
use crate::process::{self, ProgramOptions};
use std::convert::Infallible;
use trine_base::elf::Cpu;
use trine_isa_riscv::Rv64;
use trine_linux::abi::{GuestAbi, Machine};

/// A function that runs a program to its end, which is also the end of this process.
type Run = fn(ProgramOptions, Image) -> Result<Infallible, ProgramError>;

/// A CPU whose programs can be run.
pub(crate) struct Guest {
    machine: fn() -> &'static Machine,
    /// Runs a program.
    pub(crate) run: Run,
}

/// All supported CPUs: the only place that lists them.
const GUESTS: &[Guest] = &[guest::<Rv64>()];

const fn guest<A: GuestAbi>() -> Guest {
    Guest { machine: A::machine, run: process::run_for::<A> }
}

/// The supported CPU of executables for `cpu`; `None` if there is none.
pub(crate) fn find(cpu: Cpu) -> Option<&'static Guest> {
    GUESTS.iter().find(|guest| is_served((guest.machine)(), cpu))
}

fn is_served(machine: &Machine, cpu: Cpu) -> bool {
    machine.elf == cpu && machine.is_served()
}

/// Whether executables for this CPU can be run here.
pub fn is_supported(cpu: Cpu) -> bool {
    find(cpu).is_some()
}

/// Whether a file begins like an ELF executable that can be run here.
pub fn is_guest(head: &[u8]) -> bool {
    Cpu::of(head).is_some_and(is_supported)
}

/// The names of all supported CPUs, for messages.
pub fn names() -> String {
    GUESTS.iter().map(|guest| (guest.machine)().name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_base::{ByteOrder, Words};
    use trine_linux::abi::{MACHINES, riscv64};

    #[test]
    fn every_guests_calls_are_documented() {
        let guests: Vec<_> = GUESTS.iter().map(|guest| (guest.machine)().name).collect();
        let documented: Vec<_> = MACHINES.iter().map(|machine| machine.name).collect();
        assert_eq!(guests, documented);
    }

    #[test]
    fn only_programs_with_the_hosts_words_are_served() {
        let served = |elf: Cpu| is_served(&Machine { elf, ..riscv64::machine() }, elf);
        assert!(served(Cpu::RISCV64));
        let with = |order, address| Cpu { words: Words { order, address }, ..Cpu::RISCV64 };
        for cpu in [with(ByteOrder::Little, 4), with(ByteOrder::Big, 8)] {
            assert!(!served(cpu) && find(cpu).is_none(), "{cpu:?}");
        }
        assert!(find(Cpu { machine: 62, ..Cpu::RISCV64 }).is_none());
        assert_eq!(names(), "riscv64");
    }
}
