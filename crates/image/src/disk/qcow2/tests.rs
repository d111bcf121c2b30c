//! qcow2 images, compared with QEMU's own tool where it is installed.

use super::super::tests::{Scratch, compare, in_a_process, limit_files, read};
use super::super::{Access, Format, open};
use super::*;
use std::path::PathBuf;
use std::process::Command;

const CLUSTER: usize = 512;

/// Runs `qemu-img`; `None` where it is not installed.
fn qemu_img(args: &[&str]) -> Option<(bool, String)> {
    let out = Command::new("qemu-img").args(args).output().ok()?;
    Some((out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()))
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Creates an image of `size` bytes with these clusters of 512 bytes, over another file if named.
fn create(path: &Path, size: u64, below: Option<(&str, &str)>) {
    use imago::file::File as Storage;
    use imago::{FormatCreateBuilder, Storage as _, StorageCreateOptions, qcow2::Qcow2};
    let options = StorageCreateOptions::new().filename(path);
    let file = Storage::create_open(options).unwrap();
    let mut builder = Qcow2::<Storage>::create_builder(file).size(size).cluster_size(CLUSTER);
    if let Some((name, format)) = below {
        builder = builder.backing(name.into(), format.into());
    }
    builder.create().unwrap();
}

fn refusal(path: &Path, access: Access) -> String {
    open(path, None, access).map(|_| ()).unwrap_err().to_string()
}

/// What QEMU reads from an image; `None` where it refuses it or is not installed.
fn as_qemu_reads(path: &Path) -> Option<Vec<u8>> {
    let raw = path.with_extension("converted");
    let (done, _) = qemu_img(&["convert", "-f", "qcow2", "-O", "raw", name(path), name(&raw)])?;
    let bytes = std::fs::read(&raw);
    drop(std::fs::remove_file(&raw));
    bytes.ok().filter(|_| done)
}

fn assert_sound(path: &Path) {
    if let Some((sound, said)) = qemu_img(&["check", name(path)]) {
        assert!(sound, "{said}");
    }
}

/// In several shapes of images.
#[test]
fn an_image_does_what_a_vector_does() {
    let scratch = Scratch::new("q-model");
    let size = 300 * 1024 + 512usize;
    let base: Vec<u8> = (0..200 * 1024).map(|i| (i / 700) as u8).collect();
    let base_path = scratch.file("base", &base);
    let shapes: [(&str, Option<(&str, &str)>); 3] =
        [("alone", None), ("over", Some(("base", "raw"))), ("absolute", Some((name(&base_path), "raw")))];
    for (image, below) in shapes {
        let path = scratch.path(image);
        create(&path, size as u64, below);
        let mut model = vec![0; size];
        if below.is_some() {
            model[..base.len()].copy_from_slice(&base);
        }
        let disk = open(&path, None, Access::Write).unwrap();
        assert_eq!((disk.size(), disk.format(), disk.read_only()), (size as u64, "qcow2", false));
        compare(&*disk, &mut model, 512, true);
        // Nothing was flushed, and the process could end now: what was written is in the file.
        std::fs::copy(&path, scratch.path("copy")).unwrap();
        disk.flush().unwrap();
        drop(disk);
        for path in [path, scratch.path("copy")] {
            assert_sound(&path);
            let disk = open(&path, None, Access::ReadOnly).unwrap();
            assert!(read(&*disk, 0, size) == model, "{image}, opened again");
            assert!(as_qemu_reads(&path).is_none_or(|bytes| bytes == model), "{image}, read by QEMU");
        }
        assert!(std::fs::read(&base_path).unwrap() == base);
    }
}

/// Images of QEMU's making, which are written here and checked there.
#[test]
fn images_of_qemu() {
    let scratch = Scratch::new("q-qemu");
    let raw = scratch.path("raw");
    let bytes: Vec<u8> = (0..4u32 << 20).map(|i| (i / 3000) as u8 & 0x0f).collect();
    std::fs::write(&raw, &bytes).unwrap();
    let shapes: [&[&str]; 7] = [
        &[],
        &["-c"],
        &["-o", "compat=0.10"],
        &["-o", "cluster_size=4k"],
        &["-o", "refcount_bits=1,cluster_size=1k"],
        &["-o", "refcount_bits=64,preallocation=metadata"],
        &["-o", "lazy_refcounts=on"],
    ];
    for shape in shapes {
        let path = scratch.path("image");
        let args = [&["convert", "-f", "raw", "-O", "qcow2"], shape, &[name(&raw), name(&path)]].concat();
        let Some((done, said)) = qemu_img(&args) else { return };
        assert!(done, "{said}");
        let mut model = bytes.clone();
        let disk = open(&path, None, Access::Write).unwrap();
        assert!(read(&*disk, 0, model.len()) == model, "{shape:?}");
        for at in [0usize, 70_000, 131_072, (4 << 20) - 512] {
            let at = at / 512 * 512;
            disk.write_at(at as u64, &[0x55; 512]).unwrap();
            model[at..at + 512].fill(0x55);
        }
        disk.write_zeroes(1 << 20, 300 << 10, true).unwrap();
        model[1 << 20..(1 << 20) + (300 << 10)].fill(0);
        disk.flush().unwrap();
        assert!(read(&*disk, 0, model.len()) == model, "{shape:?}");
        // QEMU respects our lock, while we use it and no longer.
        let (open, said) = qemu_img(&["check", name(&path)]).unwrap();
        assert!(!open && said.contains("lock"), "{said}");
        drop(disk);
        assert_sound(&path);
        assert!(as_qemu_reads(&path).is_some_and(|bytes| bytes == model), "{shape:?}");
    }
}

#[test]
fn a_private_layer_leaves_an_image_as_it_is() {
    let scratch = Scratch::new("q-private");
    let path = scratch.path("image");
    create(&path, 64 << 10, None);
    let before = std::fs::read(&path).unwrap();
    let disk = open(&path, None, Access::Private).unwrap();
    disk.write_at(1000, &[5; 3000]).unwrap();
    assert_eq!((read(&*disk, 999, 2), disk.format()), (vec![0, 5], "qcow2, private layer"));
    drop(disk);
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn discards_give_space_back_to_the_host() {
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::new("q-space");
    let path = scratch.path("image");
    create(&path, 4 << 20, None);
    let disk = open(&path, None, Access::Write).unwrap();
    let used = || std::fs::metadata(&path).unwrap().blocks() * 512;
    disk.write_at(0, &vec![7; 4 << 20]).unwrap();
    disk.flush().unwrap();
    let before = used();
    disk.discard(1 << 20, 1 << 20).unwrap();
    disk.write_zeroes((2 << 20) + 100, 1 << 20, true).unwrap();
    // A file system that makes no holes keeps the space.
    let probe = HostFile::new(std::fs::File::create(scratch.path("probe")).unwrap(), &path, true).unwrap();
    let holes = probe.discard(0, 4096).unwrap();
    assert!(!holes || used() + (3 << 19) < before, "{before} {}", used());
    for (offset, byte) in
        [(0, 7), ((1 << 20) - 1, 7), (1 << 20, 0), ((2 << 20) + 99, 7), ((2 << 20) + 100, 0)]
    {
        assert_eq!(read(&*disk, offset, 1), [byte], "{offset}");
    }
    assert_eq!(read(&*disk, (3 << 20) + 100, 1), [7]);
    // Free clusters are used again, for what is written next.
    disk.write_at(1 << 20, &vec![9; 1 << 20]).unwrap();
    assert!(read(&*disk, 1 << 20, 1 << 20).iter().all(|b| *b == 9));
    assert_eq!(read(&*disk, 4095, 1), [7]);
    let len = std::fs::metadata(&path).unwrap().len();
    drop(disk);
    assert!(len < (4 << 20) + (512 << 10), "{len}");
    assert_sound(&path);
}

#[test]
fn requests_at_once() {
    let scratch = Scratch::new("q-threads");
    let path = scratch.path("image");
    create(&path, 1 << 20, None);
    let disk = open(&path, None, Access::Write).unwrap();
    std::thread::scope(|scope| {
        for n in 0..4u8 {
            let disk = &disk;
            scope.spawn(move || {
                for at in (n as u64 * 512..1 << 20).step_by(2048) {
                    disk.write_at(at, &[n + 1; 512]).unwrap();
                    if at % 16_384 == 0 {
                        disk.flush().unwrap();
                    }
                    assert_eq!(read(&**disk, at, 512), [n + 1; 512]);
                    if at % 8192 == 0 {
                        disk.discard(at, 512).unwrap();
                        disk.write_at(at, &[n + 1; 512]).unwrap();
                    }
                }
            });
        }
    });
    let bytes = read(&*disk, 0, 1 << 20);
    assert!(bytes.chunks(512).zip((1..5u8).cycle()).all(|(sector, n)| sector.iter().all(|b| *b == n)));
    drop(disk);
    assert_sound(&path);
}

#[test]
fn chains_that_cannot_be_opened_are_named() {
    let scratch = Scratch::new("q-chain");
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| scratch.path(name));
    create(&a, 4096, Some(("b", "qcow2")));
    create(&b, 4096, Some(("a", "qcow2")));
    let error = refusal(&a, Access::ReadOnly);
    assert!(
        error.starts_with("the chain of backing files has a loop: ") && error.matches(" -> ").count() == 2,
        "{error}"
    );
    create(&c, 4096, Some(("missing", "raw")));
    create(&d, 4096, Some(("c", "qcow2")));
    let error = refusal(&d, Access::Write);
    assert!(error.contains("missing: No such file") && error.matches(" -> ").count() == 2, "{error}");
    for (name, format, what) in [
        ("nbd://localhost/x", "raw", "is not a path; only files are supported"),
        ("json:{}", "raw", "is not a path"),
        ("c", "vmdk", "has the format 'vmdk', which is not supported"),
    ] {
        let path = scratch.path("other");
        create(&path, 4096, Some((name, format)));
        let error = refusal(&path, Access::ReadOnly);
        assert!(error.contains(what), "{error}");
        std::fs::remove_file(path).unwrap();
    }
    // What another machine writes is not read.
    let raw = scratch.file("raw", &[1; 4096]);
    let path = scratch.path("over");
    create(&path, 4096, Some(("raw", "raw")));
    let writer = open(&raw, None, Access::Write).unwrap();
    assert!(refusal(&path, Access::ReadOnly).contains("in use by another machine"));
    drop(writer);
    let reader = open(&path, None, Access::Write).unwrap();
    assert!(refusal(&raw, Access::Write).contains("in use by another machine"));
    drop(reader);
}

/// Replaces bytes of a copy of an image.
fn changed(scratch: &Scratch, from: &[u8], at: usize, bytes: &[u8]) -> PathBuf {
    let mut image = from.to_vec();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    scratch.file("changed", &image)
}

#[test]
fn what_is_not_supported_is_said() {
    let scratch = Scratch::new("q-refused");
    let path = scratch.path("image");
    create(&path, 64 << 10, None);
    let image = std::fs::read(&path).unwrap();
    let cases: [(usize, &[u8], &str); 12] = [
        (4, &[0, 0, 0, 4], "of version 4"),
        (32, &[0, 0, 0, 1], "is encrypted"),
        (20, &[0, 0, 0, 22], "its clusters have 2^22 bytes"),
        (79, &[1], "was not closed properly"),
        (79, &[2], "is marked as corrupt"),
        (79, &[4], "keeps its data in another file"),
        (79, &[8], "is compressed by another method"),
        (79, &[16], "has extended L2 entries"),
        (72, &[1], "needs features that are not known here (bit 56)"),
        (36, &[0xff, 0, 0, 0], "its L1 table does not lie in the file"),
        (24, &[0; 8], "the size of a disk must be a multiple of 512"),
        (24, &[0x0f, 0, 0, 0], "its L1 table is too small"),
    ];
    for (at, bytes, what) in cases {
        let path = changed(&scratch, &image, at, bytes);
        let before = std::fs::read(&path).unwrap();
        for access in [Access::ReadOnly, Access::Write, Access::Private] {
            let error = refusal(&path, access);
            assert!(error.contains(what), "{error}");
        }
        assert!(std::fs::read(&path).unwrap() == before, "a damaged image is not written: {what}");
    }
    // Internal snapshots: read, but not written.
    let path = changed(&scratch, &image, 60, &[0, 0, 0, 1]);
    assert!(refusal(&path, Access::Write).contains("has internal snapshots"));
    assert!(open(&path, None, Access::Private).is_ok());
}

/// Changes each byte of the header and the tables of a small image in several ways. Each damaged image is refused, or
/// reads as before, or as QEMU reads it; what is refused is not written.
#[test]
fn every_damage_gives_an_error_or_right_data() {
    let scratch = Scratch::new("q-damage");
    let path = scratch.path("image");
    let size = 40 * CLUSTER;
    create(&path, size as u64, None);
    let disk = open(&path, None, Access::Write).unwrap();
    for n in [0u64, 1, 2, 7, 39] {
        disk.write_at(n * CLUSTER as u64, &[n as u8 + 1; CLUSTER]).unwrap();
    }
    disk.write_zeroes(20 * CLUSTER as u64, 512, false).unwrap();
    drop(disk);
    let (refused, same, other) = damage(&scratch, &path);
    assert!(refused > 300 && same > 300 && other < 100, "{refused} refused, {same} the same, {other} other");
}

#[test]
fn every_damage_of_a_compressed_image_gives_an_error_or_right_data() {
    let scratch = Scratch::new("q-squeezed");
    let [raw, path] = ["raw", "image"].map(|name| scratch.path(name));
    std::fs::write(&raw, (0..5 * CLUSTER).map(|i| (i / 100) as u8).collect::<Vec<u8>>()).unwrap();
    let args =
        ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=512", name(&raw), name(&path)];
    let Some((done, said)) = qemu_img(&args) else { return };
    assert!(done, "{said}");
    let (refused, same, _) = damage(&scratch, &path);
    assert!(refused > 300 && same > 300, "{refused} refused, {same} the same");
}

/// Damages each byte of an image's tables; returns how many copies were refused, read the same, and read something
/// else.
fn damage(scratch: &Scratch, path: &Path) -> (usize, usize, usize) {
    let image = std::fs::read(path).unwrap();
    let disk = open(path, None, Access::ReadOnly).unwrap();
    let right = read(&*disk, 0, disk.size() as usize);
    drop(disk);
    // All but the clusters of data, which are full of one small number.
    let tables = image.chunks(CLUSTER).zip((0..).step_by(CLUSTER));
    let tables = tables.filter(|(c, _)| !c.iter().all(|b| *b == c[0] && *b != 0)).map(|(_, at)| at);
    let (mut refused, mut same, mut other) = (0, 0, 0);
    for at in tables.flat_map(|at| at..(at + CLUSTER).min(image.len())) {
        for flip in [0x01, 0x80, 0xff] {
            let path = changed(scratch, &image, at, &[image[at] ^ flip]);
            let Ok(disk) = open(&path, Some(Format::Qcow2), Access::Write) else {
                refused += 1;
                let now = std::fs::read(&path).unwrap();
                assert!(
                    now[at] == image[at] ^ flip
                        && now[..at] == image[..at]
                        && now[at + 1..] == image[at + 1..]
                );
                continue;
            };
            let mut data = vec![0; disk.size().min(1 << 20) as usize];
            let result = disk.read_at(0, &mut data);
            drop(disk);
            match result {
                // A compressed cluster that cannot be expanded.
                Err(_) => refused += 1,
                Ok(()) if data == right => same += 1,
                Ok(()) => {
                    other += 1;
                    let qemu = as_qemu_reads(&path);
                    assert!(
                        qemu.is_none_or(|bytes| bytes[..data.len()] == data),
                        "byte {at} changed by {flip:#x}"
                    );
                }
            }
        }
    }
    (refused, same, other)
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    if !in_a_process("disk::qcow2::tests::a_full_disk_is_an_error_and_loses_nothing") {
        return;
    }
    let scratch = Scratch::new("q-full");
    let path = scratch.path("image");
    create(&path, 1 << 20, None);
    limit_files(256 << 10);
    let disk = open(&path, None, Access::Write).unwrap();
    let written: Vec<u64> =
        (0..2048u64).filter(|n| disk.write_at(n * 512, &[*n as u8 | 1; 512]).is_ok()).collect();
    assert!((300..512).contains(&written.len()), "{}", written.len());
    let check = |disk: &dyn BlockBackend| {
        assert!(written.iter().all(|n| read(disk, n * 512, 512) == [*n as u8 | 1; 512]));
    };
    check(&*disk);
    // Space that is given back can be used again.
    disk.write_zeroes(0, 64 * 512, true).unwrap();
    disk.write_at(0, &[9; 512]).unwrap();
    assert_eq!(read(&*disk, 0, 512), [9; 512]);
    disk.write_at(0, &[1; 512]).unwrap();
    for n in written.iter().filter(|n| **n < 64) {
        disk.write_at(n * 512, &[*n as u8 | 1; 512]).unwrap();
    }
    check(&*disk);
    drop(disk);
    assert_sound(&path);
    check(&*open(&path, None, Access::Write).unwrap());
}
