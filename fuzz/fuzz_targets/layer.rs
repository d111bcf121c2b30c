//! Any bytes as a layer, unpacked over another; nothing beside its directory may change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Read;
use std::path::PathBuf;
use trine_oci::layer::unpack::unpack;
use trine_oci::layer::{Below, Limits, decompress, tar};

/// Most bytes that are unpacked.
const MOST: u64 = 1 << 20;

fn unpacked(data: &[u8], dir: &std::path::Path, below: &[PathBuf]) {
    std::fs::create_dir(dir).unwrap();
    let Ok(plain) = decompress::plain(data) else { return };
    let mut archive = tar::Reader::new(plain.take(MOST));
    // Sparse files may be as long as they like, but for the limit.
    let limits = Limits { entries: 64, bytes: MOST, names: MOST };
    drop(unpack(&mut archive, dir, Below(below), false, limits));
}

fuzz_target!(|data: &[u8]| {
    let base = std::env::temp_dir().join(format!("trine-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&base).unwrap();
    std::fs::write(base.join("outside"), "untouched").unwrap();
    let half = data.len() / 2 / 512 * 512;
    let layers = [base.join("a"), base.join("b")];
    unpacked(&data[..half], &layers[0], &[]);
    unpacked(&data[half..], &layers[1], &layers[..1]);
    assert_eq!(std::fs::read(base.join("outside")).unwrap(), b"untouched");
    assert_eq!(std::fs::read_dir(&base).unwrap().count(), 3, "something appeared beside the layers");
    std::fs::remove_dir_all(&base).unwrap();
});
