//! Any bytes as a qcow2 image: it is refused, or serves requests, and its file stays of bounded size. Some inputs are
//! laid over a sound image, so that the tables behind the header are reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;
use trine_base::BlockBackend;
use trine_image::disk::Qcow2Disk;

const CLUSTER: usize = 512;

/// A file in memory with this content.
fn file(bytes: &[u8]) -> File {
    // SAFETY: the name is a literal; the descriptor is new and nobody else's.
    let file = unsafe {
        let fd = libc::memfd_create(c"qcow2".as_ptr(), libc::MFD_CLOEXEC);
        assert!(fd >= 0);
        File::from_raw_fd(fd)
    };
    file.write_all_at(bytes, 0).unwrap();
    file
}

/// An image of 32 KiB with clusters of 512 bytes: header, refcount table and block, L1 and L2 table, two clusters of
/// data.
fn sound() -> Vec<u8> {
    let mut image = vec![0; 7 * CLUSTER];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb");
    put(4, &3u32.to_be_bytes());
    put(20, &9u32.to_be_bytes());
    put(24, &32768u64.to_be_bytes());
    put(36, &1u32.to_be_bytes());
    let offset = |cluster: u64| (cluster * CLUSTER as u64).to_be_bytes();
    put(40, &offset(3));
    put(48, &offset(1));
    put(56, &1u32.to_be_bytes());
    put(96, &4u32.to_be_bytes());
    put(100, &104u32.to_be_bytes());
    put(CLUSTER, &offset(2));
    (0..7).for_each(|n| put(2 * CLUSTER + 2 * n, &1u16.to_be_bytes()));
    let copied = |cluster: u64| ((cluster * CLUSTER as u64) | (1 << 63)).to_be_bytes();
    put(3 * CLUSTER, &copied(4));
    put(4 * CLUSTER, &copied(5));
    put(4 * CLUSTER + 24, &copied(6));
    put(5 * CLUSTER, &[0x55; 2 * CLUSTER]);
    image
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, rest)) = data.split_first() else { return };
    let mut image = sound();
    let mut requests: &[u8] = &[];
    match kind % 2 {
        0 => image = rest.to_vec(),
        // Changes of single bytes, then requests.
        _ => {
            let (changes, behind) = rest.split_at(rest.len().min(kind as usize / 2 % 8 * 3));
            for change in changes.as_chunks::<3>().0 {
                let at = u16::from_le_bytes([change[0], change[1]]) as usize % image.len();
                image[at] = change[2];
            }
            requests = behind;
        }
    }
    let Ok(disk) = Qcow2Disk::of_file(file(&image), true) else { return };
    let size = disk.size();
    let mut buf = vec![0xaa; 4096];
    drop(disk.read_at(0, &mut buf[..size.min(4096) as usize]));
    for request in requests.as_chunks::<4>().0.iter().take(64) {
        let offset = u16::from_le_bytes([request[1], request[2]]) as u64 * 64 % size;
        let len = (request[3] as u64 * 32).min(size - offset).min(4096);
        let part = &mut buf[..len as usize];
        drop(match request[0] % 5 {
            0 => disk.read_at(offset, part),
            1 => disk.write_at(offset, part),
            2 => disk.write_zeroes(offset, len, request[0] & 128 != 0),
            3 => disk.discard(offset, len),
            _ => disk.flush(),
        });
    }
});
