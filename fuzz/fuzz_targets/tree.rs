//! Any command line and any initial RAM disk in the device tree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trine_machine::virt::fdt;

fuzz_target!(|data: &[u8]| {
    let Some((head, text)) = data.split_at_checked(24) else { return };
    let word = |i: usize| u64::from_le_bytes(head[8 * i..8 * i + 8].try_into().unwrap());
    let facts = fdt::Facts {
        bootargs: &String::from_utf8_lossy(text),
        initrd: (word(0) & 1 != 0).then(|| (word(1), word(2))),
        memory: (0x8000_0000, word(1) & !0xfff),
        harts: 1,
        virtio: (word(0) >> 1 & 7) as u32,
        pci: word(0) & 32 != 0,
        flash: word(0) & 64 != 0,
        seed: [1; 32],
        machine_mode: word(0) & 16 != 0,
    };
    if let Ok(tree) = fdt::build(&facts) {
        assert_eq!(tree[..4], [0xd0, 0x0d, 0xfe, 0xed]);
    }
});
