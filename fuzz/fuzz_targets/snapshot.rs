//! Any header and state of a snapshot, with a sum that fits: refused, or a machine that can be saved again and runs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use trine_engine::Tier;
use trine_machine::boot::Boot;
use trine_machine::snapshot::{Header, Snapshot, encode};
use trine_machine::{Config, Console, TimeSource, virt};

/// The most memory that a machine gets here.
const MOST: u64 = 16 << 20;

/// A file in memory that has a prefix, then zeros up to the end of memory.
fn file(bytes: &[u8], len: u64) -> File {
    // SAFETY: the name is a NUL-terminated literal; the descriptor is new and nobody else's.
    let file = unsafe { File::from_raw_fd(libc::memfd_create(c"snapshot".as_ptr(), 0)) };
    file.write_all_at(bytes, 0).unwrap();
    file.set_len(len.max(bytes.len() as u64)).unwrap();
    file
}

fuzz_target!(|data: &[u8]| {
    // The bytes as they are.
    let path = Path::new("fuzz");
    let _ = Snapshot::of(file(data, 1 << 20), path);
    // The same as a header and a state.
    let [low, high, rest @ ..] = data else { return };
    let header = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (header, state) = rest.split_at(header);
    let (bytes, at) = encode(header, state);
    let sizes = [1 << 20, 2 << 20, MOST];
    let Some(snapshot) = sizes.into_iter().find_map(|size| Snapshot::of(file(&bytes, at + size), path).ok())
    else {
        return;
    };
    let Ok(flash) = snapshot.flash(&[virt::map::FLASH_BANK; virt::map::FLASH_BANKS]) else { return };
    let snapshot = Arc::new(snapshot);
    let time = snapshot.header.count_time.map_or(TimeSource::Host, TimeSource::Count);
    // The user's disks are not opened.
    let Header { memory, cpus, .. } = snapshot.header;
    let boot = Boot::Restored(snapshot.clone());
    let config = Config { flash, tier: Tier::Interp, time, seed: Some(1), ..Config::new(memory, cpus.min(4), boot) };
    let mut board = virt::assemble(config, Console::new(Box::new(|_: &[u8]| {}))).unwrap();
    if snapshot.load(&mut board).is_err() {
        return;
    }
    let saved = board.save();
    board.load(&saved).unwrap();
    if snapshot.header.count_time.is_some() {
        for _ in 0..20 {
            if board.step(200).is_some() {
                return;
            }
        }
    }
});
