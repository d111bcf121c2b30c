//! How debuggers see a hart (gdb's manual, "RISC-V Features").

use crate::state::{F, F_NAMES, FFLAGS, FRM, PMP_ENTRIES, PRIV, X, X_NAMES};
use crate::sys::csr;
use trine_base::target::{Feature, Place, Register, Target};
use trine_ir::Hart;

/// A 64-bit register for debuggers.
fn register(name: impl Into<String>, kind: &'static str, place: Place) -> Register {
    Register { name: name.into(), bits: 64, kind, place }
}

/// Integer registers and the PC.
pub fn integer_feature() -> Feature {
    let kind = |name: &str| match name {
        "ra" => "code_ptr",
        "sp" | "gp" | "tp" => "data_ptr",
        _ => "int",
    };
    let named = X_NAMES[1..].iter().zip(X + 1..);
    let named = named.map(|(&name, slot)| register(name, kind(name), Place::Slot(slot)));
    let registers = [register("zero", "int", Place::Fixed(0))]
        .into_iter()
        .chain(named)
        .chain([register("pc", "code_ptr", Place::Pc)])
        .collect();
    Feature { name: "org.gnu.gdb.riscv.cpu", registers }
}

/// Floating-point registers.
pub fn float_feature() -> Feature {
    let named = F_NAMES.iter().zip(F..);
    let named = named.map(|(&name, slot)| register(name, "ieee_double", Place::Slot(slot)));
    let fcsr = Place::Parts(vec![(FFLAGS, 0, 5), (FRM, 5, 3)]);
    let parts = [
        register("fflags", "int", Place::Slot(FFLAGS)),
        register("frm", "int", Place::Slot(FRM)),
        register("fcsr", "int", fcsr),
    ];
    Feature { name: "org.gnu.gdb.riscv.fpu", registers: named.chain(parts).collect() }
}

/// The CSRs of an RV64 hart that are not among the floating-point registers, by their numbers.
fn csr_feature() -> Feature {
    let known = csr::CSRS.iter().filter(|c| c.number > 3 && !csr::is_high_half(c.number));
    let known = known.map(|c| (c.number, c.name.to_string()));
    let protection = (0..PMP_ENTRIES).map(|n| (0x3b0 + n, format!("pmpaddr{n}")));
    let configuration = (0..PMP_ENTRIES / 8).map(|n| (0x3a0 + 2 * n, format!("pmpcfg{}", 2 * n)));
    let mut all: Vec<(u16, String)> = known.chain(configuration).chain(protection).collect();
    all.sort_unstable();
    let registers = all.into_iter().map(|(number, name)| register(name, "int", Place::System(number)));
    Feature { name: "org.gnu.gdb.riscv.csr", registers: registers.collect() }
}

/// The privilege level, which is no CSR.
fn virtual_feature() -> Feature {
    let registers = vec![register("priv", "int", Place::Slot(PRIV))];
    Feature { name: "org.gnu.gdb.riscv.virtual", registers }
}

/// The registers of an RV64 hart of a machine.
pub fn machine() -> Target {
    let features = vec![integer_feature(), float_feature(), csr_feature(), virtual_feature()];
    Target { architecture: "riscv:rv64", features }
}

/// Reads a CSR, whatever the privilege level is.
pub(crate) fn read(hart: &dyn Hart, number: u16) -> Option<u64> {
    csr::read(hart, number)
}

/// Writes a CSR as an instruction in M mode would; read-only ones keep their values.
pub(crate) fn write(hart: &dyn Hart, number: u16, value: u64) -> bool {
    number >> 10 != 3 && csr::write(hart, number, value).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_register_has_one_name() {
        let registers: Vec<Register> = machine().features.into_iter().flat_map(|f| f.registers).collect();
        let names: BTreeSet<&str> = registers.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names.len(), registers.len());
        for name in ["satp", "sstatus", "mip", "pmpaddr15", "pmpcfg2", "priv", "fcsr", "stimecmp"] {
            assert!(names.contains(name), "{name}");
        }
        assert!(!names.contains("mstatush") && !names.contains("cycleh"), "RV32 only");
    }
}
