//! What all disks have in common: formats, locks, private layers, space.

use super::*;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use trine_base::{BlockBackend, BlockError};

/// A directory for one test, removed at its end.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("trine-disk-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub(super) fn read(disk: &dyn BlockBackend, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    disk.read_at(offset, &mut bytes).unwrap();
    bytes
}

fn error(result: Result<Arc<dyn BlockBackend>, ImageError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn one_image_is_not_written_by_two() {
    let scratch = Scratch::new("locks");
    let path = scratch.file("a", &[0; 512]);
    let open = |access| open(&path, None, access);
    let writer = open(Access::Write).unwrap();
    for access in [Access::Write, Access::ReadOnly, Access::Private] {
        let error = error(open(access));
        assert!(error.contains("in use by another machine"), "{error}");
    }
    drop(writer);
    let readers =
        [open(Access::ReadOnly).unwrap(), open(Access::ReadOnly).unwrap(), open(Access::Private).unwrap()];
    assert!(open(Access::Write).is_err());
    drop(readers);
    open(Access::Write).unwrap();
}

#[test]
fn what_is_not_a_disk_is_refused() {
    let scratch = Scratch::new("odd");
    let odd = error(open(&scratch.file("odd", &[0; 513]), None, Access::ReadOnly));
    assert!(odd.ends_with("this file has 513: it is cut off or not a disk"), "{odd}");
    let directory = error(open(&scratch.path(""), None, Access::ReadOnly));
    assert!(directory.ends_with("a disk must be a regular file or a block device"), "{directory}");
    let missing = error(open(&scratch.path("missing"), None, Access::ReadOnly));
    assert!(missing.contains("cannot open the disk"), "{missing}");
}

#[test]
fn a_format_that_is_named_counts_more_than_what_the_file_looks_like() {
    let scratch = Scratch::new("forced");
    let mut bytes = vec![0; 1024];
    bytes[..4].copy_from_slice(&qcow2::MAGIC);
    let path = scratch.file("looks", &bytes);
    assert!(error(open(&path, None, Access::ReadOnly)).contains("qcow2"));
    let raw = open(&path, Some(Format::Raw), Access::ReadOnly).unwrap();
    assert_eq!((raw.size(), raw.format(), read(&*raw, 0, 4)), (1024, "raw", qcow2::MAGIC.to_vec()));
    let plain = scratch.file("plain", &[0; 1024]);
    assert!(
        error(open(&plain, Some(Format::Qcow2), Access::ReadOnly)).ends_with("this is not a qcow2 image")
    );
}

#[test]
fn a_read_only_disk_refuses_everything_that_changes_it() {
    let scratch = Scratch::new("ro");
    let disk = open(&scratch.file("a", &[7; 512]), None, Access::ReadOnly).unwrap();
    assert!(disk.read_only());
    for result in [disk.write_at(0, &[1]), disk.discard(0, 512), disk.write_zeroes(0, 512, true)] {
        assert!(matches!(result, Err(BlockError::ReadOnly)));
    }
    assert_eq!(read(&*disk, 0, 512), [7; 512]);
}

/// What is given back to the host's file system, in a file of 1 MiB.
#[test]
fn a_raw_disk_gives_space_back() {
    let scratch = Scratch::new("punch");
    let path = scratch.file("a", &[7; 1 << 20]);
    let disk = open(&path, None, Access::Write).unwrap();
    let used = || std::fs::metadata(&path).unwrap().blocks() * 512;
    let before = used();
    disk.discard(64 << 10, 512 << 10).unwrap();
    let after = read(&*disk, 64 << 10, 512 << 10);
    // A file system without holes keeps the bytes.
    assert!(after.iter().all(|b| *b == 0) && used() + (512 << 10) <= before || after == vec![7; 512 << 10]);
    for (offset, len, may_unmap) in
        [(0u64, 513u64, true), (4095, 70_000, false), ((1 << 20) - 9, 9, true), (5, 0, true)]
    {
        disk.write_zeroes(offset, len, may_unmap).unwrap();
        assert_eq!(read(&*disk, offset, len as usize), vec![0; len as usize]);
    }
    assert_eq!(read(&*disk, 513, 4), [7; 4], "what lies beside is kept");
    assert_eq!(read(&*disk, (1 << 20) - 10, 1), [7]);
    disk.flush().unwrap();
    assert_eq!((disk.size(), std::fs::metadata(&path).unwrap().len()), (1 << 20, 1 << 20));
    assert!(disk.discard((1 << 20) - 512, 1024).is_err());
    assert!(disk.write_zeroes(u64::MAX, 2, true).is_err());
}

#[test]
fn the_file_below_a_private_layer_is_never_written() {
    let scratch = Scratch::new("private");
    let path = scratch.file("a", &[7; 8192 + 512]);
    let disk = open(&path, None, Access::Private).unwrap();
    assert!(!disk.read_only());
    disk.write_at(4000, &[1; 300]).unwrap();
    disk.write_at(8192, &[2; 512]).unwrap();
    let bytes = read(&*disk, 3999, 302);
    assert_eq!((bytes[0], bytes[1], bytes[300], bytes[301]), (7, 1, 1, 7));
    assert_eq!(read(&*disk, 8192, 512), [2; 512]);
    assert!(disk.write_at(8192 + 511, &[0; 2]).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), vec![7; 8192 + 512]);
}

/// Makes the same random requests to a disk and to a vector, in multiples of `unit` bytes; `discards`: what is discarded reads as
/// zeros.
pub fn compare(disk: &dyn BlockBackend, model: &mut [u8], unit: usize, discards: bool) {
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let size = model.len();
    for round in 0..2000 {
        let offset = random(size / unit) * unit;
        let len = (random((size - offset).min(20_000) / unit) + 1) * unit;
        let range = &mut model[offset..offset + len];
        let (at, bytes) = (offset as u64, len as u64);
        match random(if discards { 5 } else { 4 }) {
            0 | 1 => {
                disk.write_at(at, &vec![round as u8; len]).unwrap();
                range.fill(round as u8);
            }
            2 => {
                disk.write_zeroes(at, bytes, round % 2 == 0).unwrap();
                range.fill(0);
            }
            3 => assert!(read(disk, at, len) == range, "round {round}"),
            _ => {
                disk.discard(at, bytes).unwrap();
                range.fill(0);
            }
        }
    }
    assert!(read(disk, 0, size) == model);
}

#[test]
fn a_private_layer_does_what_a_vector_does() {
    let scratch = Scratch::new("model");
    let size = 100 * 1024 + 512;
    let mut model: Vec<u8> = (0..size).map(|i| (i / 512) as u8).collect();
    let disk = open(&scratch.file("a", &model), None, Access::Private).unwrap();
    compare(&*disk, &mut model, 1, false);
    disk.discard(0, size as u64).unwrap();
    assert!(read(&*disk, 0, size).iter().zip(&model).all(|(now, was)| now == was || *now == 0));
}

/// Writers that share chunks but no bytes: none undoes what another one wrote.
#[test]
fn neighbours_in_a_chunk_do_not_disturb_each_other() {
    let scratch = Scratch::new("neighbours");
    let disk = open(&scratch.file("a", &[9; 1 << 20]), None, Access::Private).unwrap();
    std::thread::scope(|scope| {
        for n in 0..4u8 {
            let disk = &disk;
            scope.spawn(move || {
                for at in (n as u64 * 512..1 << 20).step_by(2048) {
                    disk.write_at(at, &[n; 512]).unwrap();
                }
            });
        }
    });
    let bytes = read(&*disk, 0, 1 << 20);
    assert!(bytes.chunks(512).zip((0..4u8).cycle()).all(|(sector, n)| sector.iter().all(|b| *b == n)));
}

/// Runs the named test again as a process of its own, and returns whether this is that process.
pub(super) fn in_a_process(test: &str) -> bool {
    const MARK: &str = "TRINE_TEST_IN_A_PROCESS";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}{errors}");
    false
}

/// Lets this process write no file beyond so many bytes, as if the host's disk were full.
pub(super) fn limit_files(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: numbers, and a structure that the kernel reads.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

#[test]
fn a_private_layer_that_has_no_room_is_refused() {
    if !in_a_process("disk::tests::a_private_layer_that_has_no_room_is_refused") {
        return;
    }
    let scratch = Scratch::new("full");
    let path = scratch.file("a", &[3; 512 << 10]);
    limit_files(256 << 10);
    let refused = error(open(&path, None, Access::Private));
    assert!(refused.contains("cannot create a temporary file for what is written to the disk"), "{refused}");
    let disk = open(&path, None, Access::Write).unwrap();
    assert!(disk.write_at(300 << 10, &[1; 512]).is_err());
    disk.write_at(0, &[1; 512]).unwrap();
    assert_eq!((read(&*disk, 511, 2), read(&*disk, 300 << 10, 512)), (vec![1, 3], vec![3; 512]));
}
