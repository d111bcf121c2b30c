//! A CPU's registers as gdb numbers and describes them (gdb's manual, appendix G).

use std::fmt::Write;
use trine_base::{RegisterInfo, Vcpu};

/// Where a register's value is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    Pc,
    Slot(u16),
    /// Several slots side by side: slot, lowest bit, bits.
    Parts(Vec<(u16, u8, u8)>),
}

#[derive(Clone, Debug)]
struct Register {
    name: String,
    bits: u8,
    kind: &'static str,
    place: Place,
}

/// The registers that gdb sees. Their numbers are the places in this list; each is [`BYTES`] long on the wire.
#[derive(Clone, Debug)]
pub struct Layout {
    registers: Vec<Register>,
    xml: String,
}

/// Bytes of a register on the wire.
pub const BYTES: usize = 8;

/// A part of the description.
struct Feature {
    name: &'static str,
    registers: Vec<Register>,
}

fn feature(name: &'static str) -> Feature {
    Feature { name, registers: Vec::new() }
}

impl Feature {
    /// Adds a register of the CPU by its own name; one that the CPU does not have is left out.
    fn slot(&mut self, all: &[RegisterInfo], name: &str, kind: &'static str) {
        if let Some(info) = all.iter().find(|r| r.name == name) {
            let place = Place::Slot(info.slot);
            self.registers.push(Register { name: name.into(), bits: info.bits, kind, place });
        }
    }

    fn xml(&self) -> String {
        let mut text = format!("<feature name=\"{}\">\n", self.name);
        for r in &self.registers {
            let _ = writeln!(text, "<reg name=\"{}\" bitsize=\"{}\" type=\"{}\"/>", r.name, r.bits, r.kind);
        }
        text + "</feature>\n"
    }
}

impl Layout {
    fn new(architecture: &str, features: Vec<Feature>) -> Layout {
        let parts: String = features.iter().map(Feature::xml).collect();
        let xml = format!(
            "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n\
             <architecture>{architecture}</architecture>\n<osabi>GNU/Linux</osabi>\n{parts}</target>\n"
        );
        Layout { registers: features.into_iter().flat_map(|f| f.registers).collect(), xml }
    }

    /// 64-bit RISC-V as programs see it, from a CPU's list ([`Vcpu::registers`]): the integer registers and the PC
    /// (`org.gnu.gdb.riscv.cpu`), the floating-point registers with `fflags`, `frm` and `fcsr`
    /// (`org.gnu.gdb.riscv.fpu`).
    pub fn riscv64(all: &'static [RegisterInfo]) -> Layout {
        let mut cpu = feature("org.gnu.gdb.riscv.cpu");
        let names = [
            "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
            "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
        ];
        for name in names {
            let kind = match name {
                "ra" => "code_ptr",
                "sp" | "gp" | "tp" => "data_ptr",
                _ => "int",
            };
            cpu.slot(all, name, kind);
        }
        cpu.registers.push(Register { name: "pc".into(), bits: 64, kind: "code_ptr", place: Place::Pc });
        let mut fpu = feature("org.gnu.gdb.riscv.fpu");
        let groups = [("ft", 0..8), ("fs", 0..2), ("fa", 0..8), ("fs", 2..12), ("ft", 8..12)];
        for (letters, numbers) in groups {
            numbers.for_each(|n| fpu.slot(all, &format!("{letters}{n}"), "ieee_double"));
        }
        fpu.slot(all, "fflags", "int");
        fpu.slot(all, "frm", "int");
        let slot = |name: &str| all.iter().find(|r| r.name == name).map(|r| r.slot);
        if let (Some(flags), Some(rounding)) = (slot("fflags"), slot("frm")) {
            let place = Place::Parts(vec![(flags, 0, 5), (rounding, 5, 3)]);
            fpu.registers.push(Register { name: "fcsr".into(), bits: 64, kind: "int", place });
        }
        Layout::new("riscv:rv64", vec![cpu, fpu])
    }

    /// Number of registers.
    pub fn len(&self) -> usize {
        self.registers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.registers.is_empty()
    }

    /// The target description.
    pub fn xml(&self) -> &str {
        &self.xml
    }

    /// Number of the register with this name.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.registers.iter().position(|r| r.name == name)
    }

    /// Values of all registers of a vCPU.
    pub fn values(&self, vcpu: &dyn Vcpu) -> Vec<u64> {
        let one = |r: &Register| match &r.place {
            Place::Pc => vcpu.pc(),
            Place::Slot(slot) => vcpu.get(*slot),
            Place::Parts(parts) => parts
                .iter()
                .fold(0, |value, &(slot, at, bits)| value | (vcpu.get(slot) & ((1 << bits) - 1)) << at),
        };
        self.registers.iter().map(one).collect()
    }

    /// Writes a register of a vCPU; what is not there is not written.
    pub fn set(&self, vcpu: &mut dyn Vcpu, register: usize, value: u64) {
        match self.registers.get(register).map(|r| &r.place) {
            Some(Place::Pc) => vcpu.set_pc(value),
            // RISC-V's x0 stays 0.
            Some(Place::Slot(0)) if self.registers[0].name == "zero" => {}
            Some(Place::Slot(slot)) => vcpu.set(*slot, value),
            Some(Place::Parts(parts)) => {
                parts.iter().for_each(|&(slot, at, bits)| vcpu.set(slot, value >> at & ((1 << bits) - 1)));
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::sync::Arc;
    use trine_base::{Exit, Mailbox, StateError};
    use trine_isa_riscv::state::{F, FFLAGS, FRM, REGISTERS};

    #[derive(Default)]
    struct Fake {
        pc: u64,
        slots: HashMap<u16, u64>,
    }

    impl Vcpu for Fake {
        fn run(&mut self, _: u64) -> Exit {
            Exit::Budget
        }
        fn count(&self) -> u64 {
            0
        }
        fn registers(&self) -> &'static [RegisterInfo] {
            REGISTERS
        }
        fn get(&self, slot: u16) -> u64 {
            self.slots.get(&slot).copied().unwrap_or(0)
        }
        fn set(&mut self, slot: u16, value: u64) {
            self.slots.insert(slot, value);
        }
        fn pc(&self) -> u64 {
            self.pc
        }
        fn set_pc(&mut self, pc: u64) {
            self.pc = pc;
        }
        fn fence(&mut self) {}
        fn mailbox(&self) -> Arc<Mailbox> {
            Arc::new(Mailbox::new())
        }
        fn save(&self) -> Vec<u8> {
            Vec::new()
        }
        fn load(&mut self, _: &[u8]) -> Result<(), StateError> {
            Ok(())
        }
    }

    #[test]
    fn numbers_are_those_of_gdb() {
        // riscv-tdep.h: x0 to x31, pc 32, f0 to f31 from 33.
        let layout = Layout::riscv64(REGISTERS);
        let known = [("zero", 0), ("sp", 2), ("a0", 10), ("t6", 31), ("pc", 32), ("ft0", 33), ("ft11", 64)];
        known.iter().for_each(|&(name, n)| assert_eq!(layout.number(name), Some(n), "{name}"));
        assert_eq!(layout.number("fa0"), Some(43));
        assert_eq!((layout.number("fflags"), layout.number("fcsr"), layout.len()), (Some(65), Some(67), 68));
    }

    #[test]
    fn description_names_every_register_once() {
        let layout = Layout::riscv64(REGISTERS);
        assert_eq!(layout.xml().matches("<reg ").count(), layout.len());
        assert!(layout.xml().contains("<architecture>riscv:rv64</architecture>"));
        for name in ["org.gnu.gdb.riscv.cpu", "org.gnu.gdb.riscv.fpu"] {
            assert_eq!(layout.xml().matches(name).count(), 1);
        }
    }

    #[test]
    fn values_go_where_they_came_from() {
        let (layout, mut vcpu) = (Layout::riscv64(REGISTERS), Fake::default());
        for register in 0..layout.len() {
            layout.set(&mut vcpu, register, 0x100 + register as u64);
        }
        let fcsr = layout.number("fcsr").unwrap_or(0);
        layout.set(&mut vcpu, fcsr, 0b011_10101);
        layout.set(&mut vcpu, 1000, 1);
        let values = layout.values(&vcpu);
        assert_eq!((values[0], values[1], values[32], values[33]), (0, 0x101, 0x120, 0x121));
        assert_eq!((vcpu.get(FFLAGS), vcpu.get(FRM), vcpu.get(F + 31)), (0b10101, 3, 0x100 + 64));
        assert_eq!(values[fcsr], 0b011_10101);
    }
}
