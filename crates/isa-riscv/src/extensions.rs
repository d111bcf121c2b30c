//! The extensions that are implemented whole, as guests are told of them: by the device tree, `/proc/cpuinfo`, the
//! auxiliary vector and `riscv_hwprobe`.

/// An extension.
pub struct Extension {
    /// Its name as `riscv,isa-extensions` has it.
    pub name: &'static str,
    /// Its bits in the answer to `RISCV_HWPROBE_KEY_IMA_EXT_0` (Linux, Documentation/arch/riscv/hwprobe.rst); 0 where
    /// that has none.
    pub probe: u64,
    /// Whether programs can use it: it is not about privileged code only.
    pub user: bool,
}

const fn user(name: &'static str, probe: u64) -> Extension {
    Extension { name, probe, user: true }
}

const fn privileged(name: &'static str) -> Extension {
    Extension { name, probe: 0, user: false }
}

/// A row an extension: single letters first, in the order of the manual (unpriv 35).
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
    privileged("sstc"),
    privileged("svadu"),
];

/// Bytes that `cbo.zero` zeroes.
pub const CBOZ_BLOCK: u32 = 64;

fn letter(e: &Extension) -> bool {
    e.name.len() == 1
}

/// The ISA string of a hart of 64 bits (unpriv 35.1), with or without what is about privileged code.
pub fn isa_string(privileged: bool) -> String {
    let chosen = || EXTENSIONS.iter().filter(move |e| privileged || e.user);
    let letters: String = chosen().filter(|e| letter(e)).map(|e| e.name).collect();
    let names: String = chosen().filter(|e| !letter(e)).map(|e| format!("_{}", e.name)).collect();
    format!("rv64{letters}{names}")
}

/// A bit for each extension of a single letter, `a` the lowest, as `misa` and `AT_HWCAP` have them.
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
        assert!(isa_string(true).starts_with("rv64imafdc_zicboz_"));
        assert!(isa_string(true).ends_with("_zbs_sstc_svadu"));
        assert!(isa_string(false).ends_with("_zbs"));
        assert_eq!(letters(), 0x112d);
    }

    #[test]
    fn every_extension_with_a_probe_has_instructions() {
        for e in EXTENSIONS.iter().filter(|e| e.probe != 0) {
            assert!(ROWS.iter().any(|r| r.extension.eq_ignore_ascii_case(e.name)), "{} has no row", e.name);
        }
    }
}
