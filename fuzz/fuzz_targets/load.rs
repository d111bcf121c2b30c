//! Any file as a kernel: loaded or refused, nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use trine_machine::virt::htif::Htif;
use trine_machine::virt::kernel;
use trine_memory::Ram;

fuzz_target!(|data: &[u8]| {
    let ram = Ram::new(0x8000_0000, 4 << 20).unwrap();
    if let Ok(loaded) = kernel::kernel_bytes(&ram, data, Path::new("fuzz")) {
        assert!(ram.contains(loaded.entry, 2));
        // Looks for symbols, too.
        let _ = Htif::of(data, &loaded);
    }
});
