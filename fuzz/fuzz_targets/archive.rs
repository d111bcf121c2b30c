//! Any bytes as an initramfs or a lock file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use trine_image::{archive, debian::Lock};

fuzz_target!(|data: &[u8]| {
    if let Ok(entries) = archive::read(data, Path::new("fuzz")) {
        drop(archive::write(&entries));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        drop(Lock::parse(text, Path::new("fuzz")));
    }
});
