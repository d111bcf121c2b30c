//! The extensions that are implemented completely, as guests see them: in the device tree, `/proc/cpuinfo`,
//! the auxiliary vector and `riscv_hwprobe`.

/// An extension.
pub struct Extension {
    /// Its name in `riscv,isa-extensions`.
    pub name: &'static str,
    /// Its bits in the answer to `RISCV_HWPROBE_KEY_IMA_EXT_0` (Linux, Documentation/arch/riscv/hwprobe.rst);
    /// 0 if it has none there.
    pub probe: u64,
    /// The least privileged code that sees it; more privileged code sees it, too.
    pub first: Told,
}

/// A view of a hart. Each includes the extensions of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// Programs: without extensions of the privileged architecture.
    Programs,
    /// A kernel in S mode on Trine's own firmware.
    Kernel,
    /// The guest's own firmware in M mode.
    Firmware,
}

const fn user(name: &'static str, probe: u64) -> Extension {
    Extension { name, probe, first: Told::Programs }
}

const fn privileged(name: &'static str, first: Told) -> Extension {
    Extension { name, probe: 0, first }
}

/// One row for each extension: single letters first, in the order of the manual (unpriv 35).
pub const EXTENSIONS: &[Extension] = &[
    user("i", 0),
    user("m", 0),
    user("a", 0),
    user("f", 1 << 0),
    user("d", 1 << 0),
    user("c", 1 << 1),
    user("zicboz", 1 << 6),
    user("zicntr", 0),
    user("zicond", 1 << 35),
    user("zicsr", 0),
    user("zifencei", 0),
    user("zihintpause", 1 << 36),
    user("zba", 1 << 3),
    user("zbb", 1 << 4),
    user("zbs", 1 << 5),
    privileged("sstc", Told::Kernel),
    // With both names, hardware does not update page tables' A and D bits before `menvcfg.ADUE` is set
    // (Linux, Documentation/devicetree/bindings/riscv/extensions.yaml): the state after a reset into M mode,
    // as on QEMU with `svade` on. Trine's own firmware sets the bit, and its kernels see `svadu` alone, which
    // means always on.
    privileged("svade", Told::Firmware),
    privileged("svadu", Told::Kernel),
];

/// Bytes that `cbo.zero` zeroes.
pub const CBOZ_BLOCK: u32 = 64;

fn letter(e: &Extension) -> bool {
    e.name.len() == 1
}

/// The extensions in a view.
pub fn told(whom: Told) -> impl Iterator<Item = &'static Extension> {
    EXTENSIONS.iter().filter(move |e| e.first <= whom)
}

/// The ISA string of a hart of 64 bits (unpriv 35.1), in a view.
pub fn isa_string(whom: Told) -> String {
    let letters: String = told(whom).filter(|e| letter(e)).map(|e| e.name).collect();
    let names: String = told(whom).filter(|e| !letter(e)).map(|e| format!("_{}", e.name)).collect();
    format!("rv64{letters}{names}")
}

/// A bit for each extension of a single letter, `a` the lowest, as in `misa` and `AT_HWCAP`.
pub const fn letters() -> u64 {
    let (mut bits, mut i) = (0, 0);
    while i < EXTENSIONS.len() {
        let name = EXTENSIONS[i].name.as_bytes();
        if name.len() == 1 {
            bits |= 1 << (name[0] - b'a');
        }
        i += 1;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::ROWS;

    #[test]
    fn the_string_is_what_kernels_read() {
        assert!(isa_string(Told::Kernel).starts_with("rv64imafdc_zicboz_"));
        assert!(isa_string(Told::Kernel).ends_with("_sstc_svadu"));
        assert!(isa_string(Told::Firmware).ends_with("_sstc_svade_svadu"));
        // Programs see no extension of the privileged architecture.
        assert!(!isa_string(Told::Programs).contains("_s"));
        assert_eq!(letters(), 0x112d);
    }

    #[test]
    fn every_extension_with_a_probe_has_instructions() {
        for e in EXTENSIONS.iter().filter(|e| e.probe != 0) {
            assert!(ROWS.iter().any(|r| r.extension.eq_ignore_ascii_case(e.name)), "{} has no row", e.name);
        }
    }
}
