//! What ELF files say of their CPU.

/// `e_machine` and name, of the CPUs that Linux runs on (System V ABI, chapter 4; include/uapi/linux/elf-em.h).
const CPUS: &[(u16, &str)] = &[
    (2, "SPARC"),
    (3, "x86 (32 bits)"),
    (4, "m68k"),
    (8, "MIPS"),
    (15, "PA-RISC"),
    (18, "SPARC"),
    (20, "PowerPC"),
    (21, "64-bit PowerPC"),
    (22, "z/Architecture"),
    (40, "32-bit Arm"),
    (42, "SuperH"),
    (43, "64-bit SPARC"),
    (50, "Itanium"),
    (62, "x86-64"),
    (183, "64-bit Arm"),
    (243, "RISC-V"),
    (247, "BPF"),
    (258, "LoongArch"),
    (0x9026, "Alpha"),
];

/// The CPU that a file is for, by its first 20 bytes or more; `None` where it is no ELF file.
pub fn cpu(head: &[u8]) -> Option<String> {
    let [b'\x7f', b'E', b'L', b'F', class, order, ..] = head else { return None };
    let machine: [u8; 2] = head.get(18..20)?.try_into().ok()?;
    let machine = if *order == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
    let name = CPUS.iter().find(|c| c.0 == machine).map_or("an unknown CPU", |c| c.1);
    Some(match (machine, class) {
        (243, 1) => "32-bit RISC-V".into(),
        (243, _) => "riscv64".into(),
        _ => name.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::cpu;

    #[test]
    fn names_of_cpus() {
        let head = |class, order, machine: [u8; 2]| {
            let mut head = *b"\x7fELF\0\0\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0";
            (head[4], head[5]) = (class, order);
            head[18..].copy_from_slice(&machine);
            head
        };
        assert_eq!(cpu(&head(2, 1, [62, 0])).as_deref(), Some("x86-64"));
        assert_eq!(cpu(&head(2, 2, [0, 22])).as_deref(), Some("z/Architecture"));
        assert_eq!(cpu(&head(1, 1, [243, 0])).as_deref(), Some("32-bit RISC-V"));
        assert_eq!(cpu(b"\x7fELF\x02\x01"), None);
        assert_eq!(cpu(b"#!/bin/sh and more than 20"), None);
    }
}
