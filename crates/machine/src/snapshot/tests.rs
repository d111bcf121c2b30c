use super::*;
use crate::boot::Boot;
use crate::firmware::FirmwareKind;
use crate::virt::kernel::tests::image;
use crate::{Board, Config, Console, Disk, End, Remote, TimeSource, virt};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trine_base::{BlockBackend, Width};
use trine_engine::Tier;
use trine_image::disk::{self, Access, Format};

/// A directory of a test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("trine-snapshot-{test}-{}", std::process::id()));
        drop(fs::remove_dir_all(&dir));
        fs::create_dir(&dir).unwrap();
        Scratch(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.0.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// `1: addi a0, a0, 1; j 1b`: a kernel that counts.
const COUNTS: [u32; 2] = [0x0015_0513, 0xffdf_f06f];
const MEMORY: u64 = 16 << 20;
const AT: u64 = virt::map::RAM + (8 << 20);

fn config(boot: Boot, disks: Vec<Disk>, time: TimeSource) -> Config {
    Config { disks, tier: Tier::Interp, time, seed: Some(1), ..Config::new(MEMORY, 2, boot) }
}

fn assemble(config: Config) -> Board {
    virt::assemble(config, Console::new(Box::new(|_: &[u8]| {}))).unwrap()
}

/// A machine that counts, with these disks and something in its memory.
fn counts(scratch: &Scratch, disks: Vec<Disk>, time: TimeSource) -> Board {
    let kernel = scratch.path("kernel");
    fs::write(&kernel, image(&COUNTS)).unwrap();
    let payload = crate::boot::Payload { kernel, initrd: None, append: String::new() };
    let board = assemble(config(Boot::Kernel(payload), disks, time));
    board.ram().write(AT, b"what the machine knows").unwrap();
    board
}

fn description(count_time: Option<u64>) -> Description {
    Description { cpu: "riscv64".into(), count_time, ..Description::default() }
}

/// Runs a machine until `f` has done its work beside it; returns what it gave.
fn beside<T: Send>(board: &mut Board, f: impl FnOnce(&Remote) -> T + Send) -> T {
    /// Ends the machine even if a check fails.
    struct Quits(Remote);
    impl Drop for Quits {
        fn drop(&mut self) {
            self.0.quit();
        }
    }
    let quits = Quits(board.remote());
    std::thread::scope(|scope| {
        let runs = scope.spawn(|| board.run());
        let quits = quits;
        let result = f(&quits.0);
        drop(quits);
        assert_eq!(runs.join().unwrap(), End::Quit);
        result
    })
}

/// Makes the files of a snapshot, has the machine write them, and gives them their names.
fn save(remote: &Remote, description: Description, to: &Path, replace: bool) -> Result<(), SnapshotError> {
    let files = NewFiles::create(to, replace, &copied_disks(remote))?;
    write(remote, description, to, files.files().map(|file| file.try_clone().unwrap()).collect())?;
    files.put()
}

fn restored(path: &Path, time: TimeSource) -> Board {
    let snapshot = Arc::new(Snapshot::open(path).unwrap());
    let disks = snapshot.disks().unwrap();
    let mut board = assemble(config(Boot::Restored(snapshot.clone()), disks, time));
    snapshot.load(&mut board).unwrap();
    board
}

fn a0(board: &mut Board) -> u64 {
    board.vcpus()[0].get(trine_isa_riscv::state::X + 10)
}

#[test]
fn a_machine_goes_on_from_a_file_twice_and_the_first_one_goes_on_too() {
    let scratch = Scratch::new("twice");
    let to = scratch.path("saved");
    let (disk, fixed) = (scratch.path("disk.raw"), scratch.path("fixed.raw"));
    fs::write(&disk, [1; 4096]).unwrap();
    fs::write(&fixed, [2; 4096]).unwrap();
    let open =
        |path, access| Disk { backend: disk::open(path, Some(Format::Raw), access).unwrap(), id: None };
    let memory = Disk { backend: Arc::new(Mutex::new(vec![3u8; 1 << 20])), id: Some("memory".into()) };
    let disks = vec![open(&disk, Access::Write), open(&fixed, Access::ReadOnly), memory];
    let mut board = counts(&scratch, disks, TimeSource::Host);
    let (saved_at, later) = beside(&mut board, |remote| {
        save(remote, description(None), &to, false).unwrap();
        let again = save(remote, description(None), &to, false).unwrap_err().to_string();
        assert!(again.contains("exists already"), "{again}");
        // Paused machines can be saved, and stay paused.
        assert!(remote.pause(Duration::from_secs(10)));
        save(remote, description(None), &to, true).unwrap();
        assert!(remote.is_paused());
        let look = |board: &mut Board| a0(board);
        let saved_at = remote.ask(look).unwrap();
        remote.resume();
        while remote.ask(look).unwrap() == saved_at {
            // Time to run before the next question.
            std::thread::sleep(Duration::from_millis(5));
        }
        (saved_at, remote.ask(look).unwrap())
    });
    assert!(later > saved_at);
    // What the machine did later is not in the snapshot.
    board.disks()[0].backend.write_at(0, &[9; 512]).unwrap();
    drop(board);
    assert_eq!(scratch.names(), ["disk.raw", "fixed.raw", "kernel", "saved", "saved.disk0", "saved.disk2"]);
    let [mut one, mut two] = [(); 2].map(|()| restored(&to, TimeSource::Host));
    for board in [&mut one, &mut two] {
        assert_eq!(a0(board), saved_at);
        let mut text = [0; 22];
        board.ram().read(AT, &mut text).unwrap();
        assert_eq!(&text, b"what the machine knows");
        let first = |place: usize| {
            let mut byte = [0];
            board.disks()[place].backend.read_at(100, &mut byte).unwrap();
            byte[0]
        };
        assert_eq!([0, 1, 2].map(first), [1, 2, 3]);
        assert_eq!(board.disks()[2].id, "memory");
        assert!(board.disks()[1].read_only && board.disks()[1].backend.write_at(0, &[0; 512]).is_err());
    }
    // Each has its own memory and disks, and runs.
    one.ram().store(AT, Width::B1, b'W'.into()).unwrap();
    one.disks()[0].backend.write_at(0, &[7; 512]).unwrap();
    assert_eq!(two.ram().load(AT, Width::B1), Some(b'w'.into()));
    for board in [&mut one, &mut two] {
        let now = beside(board, |remote| {
            loop {
                std::thread::sleep(Duration::from_millis(5));
                if let Some(now) = remote.ask(a0).filter(|now| *now > saved_at + 1000) {
                    break now;
                }
            }
        });
        assert!(now > saved_at);
    }
    let mut byte = [0];
    two.disks()[0].backend.read_at(100, &mut byte).unwrap();
    assert_eq!(byte, [1]);
    drop((one, two));
    // A disk that was only named must be what it was.
    File::options().write(true).open(&fixed).unwrap().write_all_at(b"x", 0).unwrap();
    let error = Snapshot::open(&to).unwrap().disks().map(drop).unwrap_err().to_string();
    assert!(
        error.contains("fixed.raw, a disk of the snapshot") && error.contains("has been changed"),
        "{error}"
    );
    fs::remove_file(scratch.path("saved.disk0")).unwrap();
    let error = Snapshot::open(&to).unwrap().disks().map(drop).unwrap_err().to_string();
    assert!(error.contains("saved.disk0, a disk of"), "{error}");
}

#[test]
fn counted_time_goes_on_from_where_it_was() {
    let scratch = Scratch::new("counted");
    let (to, time) = (scratch.path("saved"), TimeSource::Count(3));
    let mut board = counts(&scratch, Vec::new(), time);
    beside(&mut board, |remote| save(remote, description(Some(3)), &to, false).unwrap());
    let snapshot = Snapshot::open(&to).unwrap();
    assert_eq!((snapshot.header.count_time, snapshot.header.firmware), (Some(3), FirmwareKind::Board));
    assert_eq!((snapshot.header.cpus, snapshot.header.memory), (2, MEMORY));
    let states = [(); 2].map(|()| {
        let mut board = restored(&to, time);
        for _ in 0..50 {
            assert_eq!(board.step(1000), None);
        }
        board.save()
    });
    assert_eq!(states[0], states[1]);
    // Another kind of time does not fit.
    let snapshot = Arc::new(Snapshot::open(&to).unwrap());
    let mut other = assemble(config(Boot::Restored(snapshot.clone()), Vec::new(), TimeSource::Host));
    assert!(snapshot.load(&mut other).unwrap_err().to_string().contains("saved state of the clock"));
}

#[test]
fn nothing_stays_of_a_snapshot_that_cannot_be_written() {
    let scratch = Scratch::new("unwritable");
    let disk: Arc<dyn BlockBackend> = Arc::new(Mutex::new(vec![3u8; 1 << 20]));
    let mut board = counts(&scratch, vec![Disk { backend: disk, id: None }], TimeSource::Host);
    beside(&mut board, |remote| {
        let error =
            |to: &Path, replace| save(remote, description(None), to, replace).unwrap_err().to_string();
        assert!(error(&scratch.path("no/saved"), false).contains("No such file"));
        fs::create_dir(scratch.path("dir")).unwrap();
        assert!(error(&scratch.path("dir"), true).contains("cannot write the snapshot"));
        fs::write(scratch.path("x.disk0"), "mine").unwrap();
        assert!(error(&scratch.path("x"), false).contains("x.disk0 exists already"));
    });
    assert_eq!(scratch.names(), ["dir", "kernel", "x.disk0"]);
    let error = save(&board.remote(), description(None), &scratch.path("y"), false).unwrap_err();
    assert!(matches!(error, SnapshotError::Ended), "{error}");
}

#[test]
fn damage_is_told_and_never_used() {
    let scratch = Scratch::new("damage");
    let (to, bad) = (scratch.path("saved"), scratch.path("bad"));
    let mut board = counts(&scratch, Vec::new(), TimeSource::Host);
    beside(&mut board, |remote| save(remote, description(None), &to, false).unwrap());
    let whole = fs::read(&to).unwrap();
    let error = |bytes: &[u8]| {
        fs::write(&bad, bytes).unwrap();
        Snapshot::open(&bad).map(drop).unwrap_err().to_string()
    };
    assert!(error(b"").contains("this is not a snapshot"));
    assert!(error(&[0; 5000]).contains("this is not a snapshot"));
    for end in [8, 63] {
        assert!(error(&whole[..end]).contains("this is not a snapshot"));
    }
    for end in [64, 4095, whole.len() - 4096, whole.len() - 1] {
        assert!(error(&whole[..end]).contains("cut off"), "{end}");
    }
    assert!(error(&[&whole[..], &[0]].concat()).contains("too long"));
    let changed = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        error(&bytes)
    };
    assert!(changed(8, 2).contains("has version 2, but this program knows version 1 only"));
    assert!(changed(23, 1).contains("lengths are not possible") && changed(31, 1).contains("not possible"));
    // Each byte that the sum covers.
    let snapshot = Snapshot::open(&to).unwrap();
    let (header, state) = (snapshot.header.save(), board.save());
    for at in (32..64 + header.len()).chain([64 + header.len() + state.len() / 2]) {
        assert!(changed(at, !whole[at]).contains("sum does not match"), "{at}");
    }
    // A header whose sum is right, but which no machine has.
    let with = |change: &dyn Fn(&mut Header)| {
        let mut header = snapshot.header.clone();
        change(&mut header);
        error(&encode(&header.save(), &state).0.into_iter().chain([0; 8192]).collect::<Vec<u8>>())
    };
    assert!(with(&|h| h.memory = 0).contains("it has 0 bytes of memory"));
    assert!(with(&|h| h.memory = 1 << 60).contains("bytes of memory"));
    assert!(with(&|h| h.cpus = 0).contains("it has 0 CPUs"));
    assert!(with(&|h| h.vsock = Some(2)).contains("context ID 2"));
    assert!(with(&|h| h.net = Some(SavedNet { host: false, queue_pairs: 0 })).contains("0 pairs"));
    assert!(with(&|h| h.count_time = Some(0)).contains("no time"));
    assert!(
        error(&encode(&[9], &[]).0.into_iter().chain([0; 8192]).collect::<Vec<u8>>()).contains("version 10")
    );
    assert!(Snapshot::open(&scratch.0).unwrap_err().to_string().contains("regular file"));
    assert!(Snapshot::open(&scratch.path("none")).unwrap_err().to_string().contains("No such file"));
}

/// The versions of the header, byte for byte: they are never changed, and can always be read.
#[test]
fn old_headers_are_read_for_ever() {
    let goldens: [&[u8]; 3] = [
        include_bytes!("golden/header.v1"),
        include_bytes!("golden/header.v2"),
        include_bytes!("golden/header.v3"),
    ];
    let disks = vec![
        SavedDisk { id: "debian".into(), size: 8 << 30, read_only: false, stored: Stored::Beside },
        SavedDisk {
            id: "tools".into(),
            size: 1 << 20,
            read_only: true,
            stored: Stored::Named {
                path: b"/srv/tools.qcow2".to_vec(),
                format: "qcow2".into(),
                len: 196_624,
                modified: (1_700_000_000, 999_999_999),
            },
        },
    ];
    let header = Header {
        program: "0.1.0".into(),
        cpu: "riscv64".into(),
        board: "virt".into(),
        memory: 512 << 20,
        cpus: 4,
        count_time: Some(3),
        firmware: FirmwareKind::Htif { tohost: 0x8000_1000, fromhost: Some(0x8000_1040) },
        disks,
        net: Some(SavedNet { host: true, queue_pairs: 4 }),
        vsock: Some(3),
        shares: vec![SavedShare { tag: "share0".into(), path: b"/home/u".to_vec(), read_only: true }],
        about: About { reads_end: true, of_image: false, terminates: true },
        balloon: true,
        terminal: true,
        flash: vec![false, true],
    };
    assert_eq!(header.save(), goldens[2]);
    let scratch = Scratch::new("golden");
    // The first version had none of the last three, the second one no flash.
    let second = Header { flash: Vec::new(), ..header.clone() };
    let first = Header { balloon: false, terminal: false, ..second.clone() };
    for (golden, header) in goldens.into_iter().zip([first, second, header]) {
        let path = scratch.path("saved");
        let (bytes, at) = encode(golden, b"state");
        let file = File::create(&path).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file.set_len(at + header.memory).unwrap();
        assert_eq!(Snapshot::open(&path).unwrap().header, header);
    }
}
