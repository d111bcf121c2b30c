//! A CPU's registers as gdb numbers and describes them (gdb's manual, appendix G).

use std::fmt::Write;
use trine_base::Vcpu;
use trine_base::target::{Feature, Place, Register, Target};

/// The registers that gdb sees. Their numbers are indices of this list.
#[derive(Clone, Debug)]
pub struct Layout {
    registers: Vec<Register>,
    xml: String,
}

fn xml(feature: &Feature) -> String {
    let mut text = format!("<feature name=\"{}\">\n", feature.name);
    for r in &feature.registers {
        let _ = writeln!(text, "<reg name=\"{}\" bitsize=\"{}\" type=\"{}\"/>", r.name, r.bits, r.kind);
    }
    text + "</feature>\n"
}

impl Layout {
    /// The layout for a CPU that executes a Linux program.
    pub fn new(target: Target) -> Layout {
        Self::with(target, "<osabi>GNU/Linux</osabi>\n")
    }

    /// The layout for a CPU of a machine.
    pub fn of_machine(target: Target) -> Layout {
        Self::with(target, "")
    }

    fn with(target: Target, abi: &str) -> Layout {
        let Target { architecture, features } = target;
        let parts: String = features.iter().map(xml).collect();
        let xml = format!(
            "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n\
             <architecture>{architecture}</architecture>\n{abi}{parts}</target>\n"
        );
        Layout { registers: features.into_iter().flat_map(|f| f.registers).collect(), xml }
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

    /// The number of the register with this name.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.registers.iter().position(|r| r.name == name)
    }

    /// Size of a register on the wire in bytes; `None` if it does not exist.
    pub fn bytes(&self, register: usize) -> Option<usize> {
        self.registers.get(register).map(|r| usize::from(r.bits).div_ceil(8))
    }

    /// Values of all registers of a vCPU.
    pub fn values(&self, vcpu: &dyn Vcpu) -> Vec<u128> {
        let one = |r: &Register| match &r.place {
            Place::Pc => vcpu.pc().into(),
            Place::Slot(slot) => vcpu.get(*slot).into(),
            Place::View(number) => vcpu.view(*number),
            Place::System(number) => vcpu.system_register(*number).unwrap_or(0).into(),
            Place::Fixed(value) => (*value).into(),
            Place::Parts(parts) => parts
                .iter()
                .fold(0, |value, &(slot, at, bits)| value | (vcpu.get(slot) & ((1 << bits) - 1)) << at)
                .into(),
        };
        self.registers.iter().map(one).collect()
    }

    /// Writes a register of a vCPU; does nothing if it does not exist.
    pub fn set(&self, vcpu: &mut dyn Vcpu, register: usize, wide: u128) {
        let value = wide as u64;
        match self.registers.get(register).map(|r| &r.place) {
            Some(Place::Pc) => vcpu.set_pc(value),
            Some(Place::Slot(slot)) => vcpu.set(*slot, value),
            Some(Place::View(number)) => vcpu.set_view(*number, wide),
            Some(Place::System(number)) => drop(vcpu.set_system_register(*number, value)),
            Some(Place::Parts(parts)) => {
                parts.iter().for_each(|&(slot, at, bits)| vcpu.set(slot, value >> at & ((1 << bits) - 1)));
            }
            Some(Place::Fixed(_)) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::sync::Arc;
    use trine_base::{Exit, Fence, Mailbox, RegisterInfo};

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
        fn set_count(&mut self, _: u64) {}
        fn registers(&self) -> &'static [RegisterInfo] {
            &[]
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
        fn reset(&mut self) {
            *self = Fake::default();
        }
        fn wait(&mut self) -> Option<Exit> {
            Some(Exit::Idle { deadline: None })
        }
        fn skip_to(&mut self, _: u64) {}
        fn fence(&mut self, _: Fence) {}
        fn mailbox(&self) -> Arc<Mailbox> {
            Arc::new(Mailbox::new())
        }
    }

    /// A CPU with a register for each kind of place.
    fn target() -> Target {
        let register = |name: &str, place| Register { name: name.into(), bits: 64, kind: "int", place };
        let integer = vec![
            register("zero", Place::Fixed(0)),
            register("one", Place::Slot(7)),
            register("pc", Place::Pc),
        ];
        let float = vec![register("both", Place::Parts(vec![(8, 0, 5), (9, 5, 3)]))];
        let features = vec![
            Feature { name: "some.integer", registers: integer },
            Feature { name: "some.float", registers: float },
        ];
        Target { architecture: "some:cpu", features }
    }

    #[test]
    fn description_names_every_register_once() {
        let layout = Layout::new(target());
        assert_eq!((layout.len(), layout.xml().matches("<reg ").count()), (4, 4));
        assert!(layout.xml().contains("<architecture>some:cpu</architecture>"));
        let lines = ["some.integer", "some.float", "<reg name=\"one\" bitsize=\"64\" type=\"int\"/>"];
        lines.iter().for_each(|line| assert_eq!(layout.xml().matches(line).count(), 1, "{line}"));
        assert_eq!(["one", "both", "two"].map(|name| layout.number(name)), [Some(1), Some(3), None]);
    }

    #[test]
    fn values_go_where_they_came_from() {
        let (layout, mut vcpu) = (Layout::new(target()), Fake::default());
        for register in 0..layout.len() {
            layout.set(&mut vcpu, register, 0x100 + register as u128);
        }
        layout.set(&mut vcpu, 3, 0b011_10101);
        layout.set(&mut vcpu, 1000, 1);
        assert_eq!([7, 8, 9].map(|slot| vcpu.get(slot)), [0x101, 0b10101, 3]);
        assert_eq!(layout.values(&vcpu), [0, 0x101, 0x102, 0b011_10101]);
    }
}
