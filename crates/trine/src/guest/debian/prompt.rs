//! `trine run --ephemeral debian` goes on from a snapshot at the shell's prompt, as booting takes half a minute. The snapshot is
//! made once for each size of machine; what machines must not share is renewed in each (`renew.sh` in the guest).

use super::{Debian, lock_of, modified, payload, prepare};
use crate::args::RunArgs;
use crate::front::Machine;
use crate::guest::boot;
use crate::guest::network::NetworkArg;
use crate::guest::user_network::{Network, queue_pairs};
use crate::guest::vsock::{Caller, Sockets};
use crate::guest::{restore, ssh};
use crate::output::Writer;
use crate::run::{Display, Plan, Prepared};
use crate::{Refusal, run};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use trine_base::Waker;
use trine_hostnet::Mode;
use trine_image::debian::disk::{HOSTNAME, RENEW_PORT};
use trine_image::disk::{Access, Format};
use trine_machine::boot::Boot;
use trine_machine::snapshot::{About, Description, NewFiles, Snapshot, copied_disks, write};
use trine_machine::{BalloonControl, Board, Config, Console, Disk, End, Remote, TerminalSize};

/// What the shell on the console says when it waits for a command.
const PROMPT: &[u8] = b"root@debian:~# ";
/// The line with which the console of a system that is up begins.
const GREETING: &[u8] = b"\nDebian GNU/Linux";
/// How long a boot may take.
const BOOT: Duration = Duration::from_secs(600);
/// How long services may take to start after the prompt.
const SETTLING: Duration = Duration::from_secs(300);
/// How long a restored machine may take to renew what is its own.
const RENEWING: Duration = Duration::from_secs(60);
/// The most bytes of the console that are kept.
const SCREEN: usize = 16 << 10;
/// The most snapshots of a disk that are kept: each is as large as the memory that its system uses.
const MOST: usize = 3;

/// The machines for which one snapshot is made.
struct Shape {
    memory: u64,
    cpus: u32,
    network: bool,
}

impl Shape {
    /// The shape of the machine that is wanted, if a snapshot can take its place.
    fn of(args: &RunArgs) -> Option<Shape> {
        let plain = args.disk.is_empty()
            && args.share.is_empty()
            && args.append.is_none()
            && args.initrd.is_none()
            && args.firmware.is_none()
            && args.gdb.is_none()
            && args.count_time.is_none()
            && !args.lockstep;
        let network = match &args.container.network.network {
            None | Some(NetworkArg::User { .. }) => Some(true),
            Some(NetworkArg::Mode(Mode::None)) => Some(false),
            Some(_) => None,
        };
        let wanted = args.ephemeral && !args.cold && plain;
        let memory = args.memory.unwrap_or(super::USUAL);
        network.filter(|_| wanted).map(|network| Shape { memory, cpus: run::cpus(args), network })
    }

    /// The snapshot's file.
    fn file(&self, base: &Path) -> PathBuf {
        let Shape { memory, cpus, network } = self;
        let network = if *network { "" } else { "-nonet" };
        let version = env!("CARGO_PKG_VERSION");
        base.with_extension(format!("prompt-{version}-{}k-{cpus}{network}.snap", memory >> 10))
    }
}

/// The snapshot that a machine with these options goes on from, which is made if it is not there yet; `None` for a machine
/// that boots.
///
/// # Errors
/// It cannot be made.
pub fn snapshot(args: &RunArgs, debian: &Debian) -> Result<Option<PathBuf>, Refusal> {
    let Some(shape) = Shape::of(args) else { return Ok(None) };
    let base = prepare(args, debian)?;
    let file = shape.file(&base);
    let is_there = || modified(&file).is_some_and(|made| Some(made) >= modified(&base));
    if is_there() {
        return Ok(Some(file));
    }
    let _lock = lock_of(&base)?;
    if !is_there() {
        make_room(&base);
        make(args, debian, &shape, &base, &file)?;
    }
    Ok(Some(file))
}

/// Everything that a machine has that goes on from the snapshot; `None` for a machine that boots. A reset boots it, with the
/// disk that it has then.
///
/// # Errors
/// Those of [`snapshot`] and [`restore::plan`].
pub fn plan(args: &RunArgs, debian: &Debian, monitored: bool) -> Result<Option<Plan>, Refusal> {
    let Some(snapshot) = snapshot(args, debian)? else { return Ok(None) };
    let Some(screen) = screen_of_whole(&snapshot)? else { return Ok(None) };
    let mut plan = restore::plan(args, &snapshot, monitored)?;
    let boot = super::boot(args, boot::kernel(true)?)?;
    plan.after_reset = Some(Prepared { boot, memory: plan.start.memory, image: None });
    plan.renewal = Some(Renewal { name: super::host_name(args), key: ssh::public_key().ok(), screen });
    Ok(Some(plan))
}

/// What the console showed when this snapshot was made. One that is damaged is removed, and the user is told that the machine
/// boots: then it is `None`.
///
/// # Errors
/// The host refuses something, for which the snapshot is not to blame.
fn screen_of_whole(snapshot: &Path) -> Result<Option<Vec<u8>>, Refusal> {
    let shown = screen_of(snapshot);
    let (is_damaged, why) = match restore::whole(snapshot) {
        Err(why) => (why.is_of_snapshot(snapshot), Refusal::from(why)),
        Ok(_) => match fs::read(&shown) {
            Ok(screen) => return Ok(Some(screen)),
            Err(e) => (e.kind() == ErrorKind::NotFound, Refusal::host(format!("{}: {e}", shown.display()))),
        },
    };
    if !is_damaged {
        return Err(why);
    }
    eprintln!("trine: {}; this machine boots, the next one makes the snapshot anew", why.message);
    remove(snapshot);
    Ok(None)
}

/// Says that the machine boots, with the disk of the snapshot, because its state cannot be loaded. The machine's process is
/// confined by then, and removes nothing.
pub fn say_unusable(snapshot: &Snapshot, why: &dyn std::fmt::Display) {
    let path = snapshot.path().display();
    eprintln!("trine: {why}; this machine boots. Remove {path}, and the next one makes it anew");
}

/// Removes the oldest snapshots of this disk, and those of an earlier disk.
fn make_room(base: &Path) {
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name(&base.with_extension(""));
    let of_base = |path: &PathBuf| {
        let name = name(path);
        name.starts_with(&format!("{stem}.prompt-")) && name.ends_with(".snap")
    };
    let Some(Ok(entries)) = base.parent().map(fs::read_dir) else { return };
    let mut all: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(of_base).collect();
    all.sort_by_key(|path| std::cmp::Reverse(modified(path)));
    let stale = |path: &PathBuf| modified(path) < modified(base);
    let (old, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(stale);
    old.iter().chain(kept.iter().skip(MOST - 1)).for_each(|path| remove(path));
}

/// Removes a snapshot with what belongs to it.
fn remove(snapshot: &Path) {
    let mut disk = snapshot.as_os_str().to_owned();
    disk.push(".disk0");
    for path in [snapshot.to_path_buf(), disk.into(), screen_of(snapshot)] {
        drop(fs::remove_file(path));
    }
}

/// The file with what the console showed at the prompt.
fn screen_of(snapshot: &Path) -> PathBuf {
    snapshot.with_extension("screen")
}

/// The end of what the console has said.
#[derive(Default)]
struct Screen(Vec<u8>);

impl Screen {
    fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let surplus = self.0.len().saturating_sub(SCREEN);
        self.0.drain(..surplus);
    }

    fn is_at_prompt(&self) -> bool {
        self.0.ends_with(PROMPT)
    }

    /// What somebody who logs in sees.
    fn shown(&self) -> &[u8] {
        let before = self.0.windows(GREETING.len()).position(|piece| piece == GREETING);
        &self.0[before.map_or(0, |newline| newline + 1)..]
    }
}

/// Boots a machine of this shape to its prompt and saves it there.
fn make(args: &RunArgs, debian: &Debian, shape: &Shape, base: &Path, file: &Path) -> Result<(), Refusal> {
    eprintln!(
        "trine: booting Debian {} for a snapshot at its prompt (once for machines of {} MiB and {} CPUs; `--cold` boots each time)",
        debian.suite,
        shape.memory >> 20,
        shape.cpus
    );
    let append = format!("{}/dev/vda systemd.hostname={HOSTNAME}", trine_image::linux::ROOT);
    let payload = payload(boot::kernel(true)?, &append)?;
    let backend =
        trine_image::disk::open(base, Some(Format::Raw), Access::Private).map_err(Refusal::refused)?;
    let net = match shape.network {
        true => Network::alone(queue_pairs(shape.cpus))?,
        false => Network::default(),
    };
    let sockets = Sockets::at(None)?;
    let (vsock, _host) = sockets.serve()?;
    let screen = Arc::new(Mutex::new(Screen::default()));
    let hears = screen.clone();
    let console = Console::new(Box::new(move |bytes: &[u8]| {
        hears.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
    }));
    let kind = run::board_kind(args)?;
    let config = Config {
        disks: vec![Disk { backend, id: Some("debian".into()) }],
        net: net.devices(),
        balloon: Some(Arc::new(BalloonControl::new(Waker::new()))),
        terminal: Some(Arc::new(TerminalSize::new(Waker::new()))),
        vsock: Some(vsock),
        tier: args.engine.tier(),
        ..Config::new(shape.memory, shape.cpus, Boot::Kernel(payload))
    };
    let description = Description {
        cpu: kind.cpu.name().into(),
        count_time: None,
        net: net.saved(),
        vsock: Some(crate::guest::vsock::CID),
        shares: Vec::new(),
        flash: Vec::new(),
        about: About { reads_end: true, of_image: false, terminates: false },
    };
    let mut board = (kind.assemble)(config, console).map_err(Refusal::refused)?;
    let remote = board.remote();
    let mut display = Display::new();
    let saved = std::thread::scope(|scope| {
        let runs = scope.spawn(|| Board::run(&mut board));
        let mut show = || display.show("booting", 0, 0);
        let saved = at_prompt(&screen, &mut show, || runs.is_finished())
            .and_then(|()| settle(&sockets.caller()))
            .and_then(|()| save(&remote, description, &screen, file));
        Machine::quit(&remote);
        let end = runs.join().unwrap_or_else(|_| End::Dead("a thread of the machine has failed".into()));
        saved.map_err(|why| match end {
            End::Quit => why,
            end => Refusal::host(format!("{}: the machine has ended ({end:?})", why.message)),
        })
    });
    display.clear();
    saved
}

/// Waits for the prompt.
fn at_prompt(
    screen: &Mutex<Screen>,
    show: &mut dyn FnMut(),
    has_ended: impl Fn() -> bool,
) -> Result<(), Refusal> {
    let end = Instant::now() + BOOT;
    while Instant::now() < end && !has_ended() {
        if screen.lock().unwrap_or_else(PoisonError::into_inner).is_at_prompt() {
            return Ok(());
        }
        show();
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(Refusal::host("Debian has not come to its prompt, of which a snapshot is made: try --cold"))
}

/// Waits until all services have started.
fn settle(caller: &Caller) -> Result<(), Refusal> {
    match request(caller, "settle\nend\n", SETTLING) {
        true => Ok(()),
        false => {
            Err(Refusal::host("Debian's services do not come to rest, so there is no snapshot: try --cold"))
        }
    }
}

/// Sends requests to the guest; returns whether it has done them. A guest that has just gone on from a snapshot ends all
/// connections once, of which this may be one: then it is asked again.
fn request(caller: &Caller, lines: &str, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    let mut answer = [0; 5];
    while Instant::now() < end {
        if let Some(mut socket) = caller.connect(RENEW_PORT, patience)
            && socket.write_all(lines.as_bytes()).and_then(|()| socket.read_exact(&mut answer)).is_ok()
        {
            return &answer == b"done\n";
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn save(
    remote: &Remote,
    description: Description,
    screen: &Mutex<Screen>,
    file: &Path,
) -> Result<(), Refusal> {
    let files = NewFiles::create(file, true, &copied_disks(remote)).map_err(Refusal::host)?;
    let open: std::io::Result<Vec<File>> = files.files().map(File::try_clone).collect();
    write(remote, description, file, open.map_err(Refusal::host)?).map_err(Refusal::host)?;
    let shown = screen_of(file);
    let screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
    fs::write(&shown, screen.shown()).map_err(|e| Refusal::host(format!("{}: {e}", shown.display())))?;
    files.put().map_err(Refusal::host)
}

/// What a restored machine does not share with others.
pub struct Renewal {
    /// Its host name.
    name: String,
    /// The key by which its user comes in: the snapshot's may be another user's, or an earlier one.
    key: Option<String>,
    /// What its console shows.
    screen: Vec<u8>,
}

impl Renewal {
    /// Begins to renew it in the machine that has just gone on, then shows its prompt.
    ///
    /// # Errors
    /// The host has no thread for it.
    pub fn begin(self, caller: Caller, writer: &Writer) -> Result<(), Refusal> {
        let lines = self.lines();
        let Renewal { name, screen, .. } = self;
        let own_name = name != HOSTNAME;
        let mut console = writer.sink(|_| ());
        let work = move || {
            if !request(&caller, &lines, RENEWING) {
                eprint!(
                    "trine: the machine may share its random numbers and its id with others: it does not renew them\r\n"
                );
            }
            // With a name of its own, the machine logs in anew.
            if !own_name {
                // The shell may have drawn its prompt anew already, as the terminal's size is another one.
                console(b"\r\x1b[K");
                console(&screen);
            }
        };
        let thread = std::thread::Builder::new().name("renew".into()).spawn(work);
        thread.map(drop).map_err(Refusal::host)
    }

    /// The requests.
    fn lines(&self) -> String {
        let random = |bytes: usize| {
            let mut random = vec![0; bytes];
            trine_base::random::fill(&mut random);
            random.iter().map(|b| format!("{b:02x}")).collect::<String>()
        };
        let (seed, id) = (random(64), random(16));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = format!("{}.{:03}", now.as_secs(), now.subsec_millis());
        let name = match self.name.as_str() {
            HOSTNAME => String::new(),
            name => format!("name {name}\nlogin ttyS0\n"),
        };
        let key = self.key.as_ref().map(|key| format!("key {key}\n")).unwrap_or_default();
        format!("seed {seed}\nid {id}\ntime {time}\n{key}{name}end\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Run;
    use crate::guest::restore::Unusable;
    use clap::Parser;
    use trine_image::ImageError;
    use trine_machine::firmware::FirmwareKind;
    use trine_machine::snapshot::{Header, SnapshotError, encode};

    fn shape(words: &[&str]) -> Option<Shape> {
        Shape::of(&Run::try_parse_from(["trine run"].iter().chain(words)).unwrap().args)
    }

    #[test]
    fn machines_that_a_snapshot_can_replace() {
        let plain = shape(&["--ephemeral", "--cpus", "2", "-m", "2G", "debian"]).unwrap();
        let file = plain.file(Path::new("/x/debian-4.raw")).display().to_string();
        assert!(file.starts_with("/x/debian-4.prompt-") && file.ends_with("-2097152k-2.snap"), "{file}");
        let host = shape(&["--ephemeral", "--net", "user,host", "-p", "80", "debian"]).unwrap();
        assert!(host.network && !shape(&["--ephemeral", "--net", "none", "debian"]).unwrap().network);
        for booted in [
            &["debian"][..],
            &["--ephemeral", "--cold", "debian"],
            &["--ephemeral", "--share", "/tmp", "debian"],
            &["--ephemeral", "--append", "x", "debian"],
            &["--ephemeral", "--gdb", "debian"],
            &["--ephemeral", "--disk", "x,ro", "debian"],
            &["--ephemeral", "--network", "mine", "debian"],
        ] {
            assert!(shape(booted).is_none(), "{booted:?}");
        }
    }

    #[test]
    fn what_the_console_shows_begins_with_the_greeting() {
        let mut screen = Screen::default();
        screen.add(&[b'x'; 2 * SCREEN]);
        screen.add(
            b"\r\nDebian GNU/Linux 13 debian ttyS0\r\n\r\ndebian login: root (automatic login)\r\nDebian GNU/Linux comes\r\nroot@deb",
        );
        assert!(!screen.is_at_prompt());
        screen.add(b"ian:~# ");
        assert!(screen.is_at_prompt() && screen.0.len() == SCREEN);
        assert!(screen.shown().starts_with(b"Debian GNU/Linux 13 debian"));
    }

    #[test]
    fn each_machine_renews_with_other_numbers() {
        let key = || Some("ssh-ed25519 AAAA trine".into());
        let renewal = |name: &str| Renewal { name: name.into(), key: key(), screen: Vec::new() };
        let lines = || renewal("debian").lines();
        assert_ne!(lines(), lines());
        assert!(lines().starts_with("seed ") && lines().ends_with("\nend\n") && !lines().contains("login"));
        let named = renewal("web").lines();
        assert!(named.contains("\nkey ssh-ed25519 AAAA trine\nname web\nlogin ttyS0\nend\n"));
        assert!(!Renewal { key: None, ..renewal("web") }.lines().contains("key"));
    }

    /// A snapshot of a machine of 1 MiB without disks, whose state means nothing.
    fn saved(board: &str) -> Vec<u8> {
        let header = Header {
            program: "0.1.0".into(),
            cpu: "riscv64".into(),
            board: board.into(),
            memory: 1 << 20,
            cpus: 1,
            count_time: None,
            firmware: FirmwareKind::Board,
            disks: Vec::new(),
            net: None,
            vsock: None,
            shares: Vec::new(),
            about: About::default(),
            balloon: false,
            terminal: false,
            flash: Vec::new(),
        };
        let (mut bytes, memory) = encode(&header.save(), b"state");
        bytes.resize(memory as usize + (1 << 20), 0);
        bytes
    }

    #[test]
    fn a_damaged_snapshot_is_removed_and_nothing_else() {
        let dir = std::env::temp_dir().join(format!("trine-damaged-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let others = ["debian-4.prompt-other.snap", "debian-4.raw"];
        others.iter().for_each(|name| fs::write(dir.join(name), "kept").unwrap());
        let snapshot = dir.join("debian-4.prompt-x.snap");
        let screen = |bytes: &[u8], shown: bool| {
            fs::write(&snapshot, bytes).unwrap();
            if shown {
                fs::write(screen_of(&snapshot), "shown").unwrap();
            }
            screen_of_whole(&snapshot).unwrap_or_else(|why| panic!("{}", why.message))
        };
        let good = saved("virt");
        assert_eq!(screen(&good, true).as_deref(), Some(&b"shown"[..]));
        let mut later = good.clone();
        later[8] = 2;
        let cut = &good[..good.len() - 1];
        for (bytes, shown) in [(cut, true), (&later, true), (&saved("pc"), true), (b"", true), (&good, false)]
        {
            assert_eq!(screen(bytes, shown), None);
            let mut left: Vec<_> =
                dir.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            left.sort();
            assert_eq!(left, others);
        }
        // What the host refuses, here to follow a link to itself, is no damage.
        std::os::unix::fs::symlink(&snapshot, &snapshot).unwrap();
        assert!(screen_of_whole(&snapshot).is_err() && snapshot.is_symlink());
        let of = |path: &Path, kind: ErrorKind| {
            let error = ImageError::File { what: "", path: path.into(), error: kind.into() };
            Unusable::Snapshot(SnapshotError::File(error)).is_of_snapshot(&snapshot)
        };
        assert!(of(&snapshot, ErrorKind::NotFound) && !of(&snapshot, ErrorKind::StorageFull));
        assert!(!of(Path::new("/no/temporary/files"), ErrorKind::NotFound));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn only_the_newest_snapshots_of_a_disk_stay() {
        let dir = std::env::temp_dir().join(format!("trine-prompts-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let age = |name: &str, seconds: u64| {
            let file = File::create(dir.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        age("debian-4.raw", 1000);
        age("debian-4.prompt-stale.snap", 2000);
        for (n, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            age(&format!("debian-4.prompt-{name}.snap"), 100 + n as u64);
        }
        age("debian-4.prompt-d.snap.disk0", 100);
        age("debian-5.prompt-x.snap", 3000);
        make_room(&dir.join("debian-4.raw"));
        let mut left: Vec<_> =
            dir.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(
            left,
            ["debian-4.prompt-a.snap", "debian-4.prompt-b.snap", "debian-4.raw", "debian-5.prompt-x.snap"]
        );
    }
}
