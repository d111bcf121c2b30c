//! The boards that exist: the only place that lists them.

use crate::{Board, Config, Console, MachineError, virt};
use trine_base::elf::Cpu;

/// A kind of board.
pub struct BoardKind {
    /// The CPU on it.
    pub cpu: Cpu,
    /// Its name, which saved states have, too.
    pub name: &'static str,
    /// Sizes of its banks of flash in bytes, for machines that have flash.
    pub flash_banks: &'static [u64],
    /// Builds a machine and loads its software into memory. It fails if the configuration is not possible, the
    /// host has too little memory, or a file is not of the expected kind.
    pub assemble: fn(Config, Console) -> Result<Board, MachineError>,
    /// Gives the mnemonics of the instructions that are executed by helpers, for statistics.
    pub helper_rows: fn() -> Vec<&'static str>,
}

/// All boards. The first one with a CPU is the one that is used for that CPU.
pub const BOARDS: &[BoardKind] = &[BoardKind {
    cpu: Cpu::RISCV64,
    name: virt::NAME,
    flash_banks: &[virt::map::FLASH_BANK; virt::map::FLASH_BANKS],
    assemble: virt::assemble,
    helper_rows: virt::helper_rows,
}];

/// The board for a CPU; `None` if there is none.
pub fn find(cpu: Cpu) -> Option<&'static BoardKind> {
    BOARDS.iter().find(|kind| kind.cpu == cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_base::Words;

    #[test]
    fn each_board_has_a_name_of_its_own() {
        for (n, kind) in BOARDS.iter().enumerate() {
            assert!(BOARDS[..n].iter().all(|other| other.name != kind.name), "{}", kind.name);
        }
    }

    #[test]
    fn a_cpu_finds_its_board() {
        assert_eq!(find(Cpu::RISCV64).map(|kind| kind.name), Some("virt"));
        let narrow = Words { address: 4, ..Words::LITTLE_64 };
        assert!(find(Cpu { words: narrow, ..Cpu::RISCV64 }).is_none(), "of other words");
        assert!(find(Cpu { machine: 62, ..Cpu::RISCV64 }).is_none(), "of another kind");
    }
}
