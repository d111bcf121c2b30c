//! `trine run debian`: a whole Debian on a disk. The disk is made once for a suite: its packages are unpacked here and
//! configured by a machine; each machine then has a copy of its own, which keeps what is written.

pub mod prompt;

use super::{boot, ssh};
use crate::args::RunArgs;
use crate::front::Machine;
use crate::run::Display;
use crate::{Refusal, run};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use trine_base::{file_lock, xdg};
use trine_control::store::Store;
use trine_image::debian::disk::{self, COMPLETE};
use trine_image::disk::{Access, Format, copy};
use trine_image::{linux, modules};
use trine_machine::boot::{Boot, Payload};
use trine_machine::{Board, Config, Console, Disk, End};

/// Memory size in bytes of a machine for which no size is given.
pub const USUAL: u64 = 1 << 30;
/// The least memory in bytes with which it starts and is of use.
pub const LEAST: u64 = 256 << 20;
/// How long to wait for another process that makes the same disk.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The longest host name that the kernel accepts, in bytes.
const HOSTNAME_MOST: usize = 64;

/// The suite that `debian` means.
const SUITE: &str = "trixie";
/// The CPU of machines, as Debian names it.
const ARCHITECTURE: &str = "riscv64";

/// Debian in one of its suites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debian {
    /// The suite's name.
    pub suite: String,
}

impl Debian {
    /// What a thing means: `debian`, or `debian:SUITE/CPU`. `None` where it is something else.
    ///
    /// # Errors
    /// There are no machines with this CPU, or that is no suite's name.
    pub fn parse(thing: &str) -> Option<Result<Debian, Refusal>> {
        let rest = thing.strip_prefix("debian")?;
        if rest.is_empty() {
            return Some(Ok(Debian { suite: SUITE.into() }));
        }
        let (suite, cpu) = rest.strip_prefix(':')?.split_once('/')?;
        let plain = suite.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        Some(match cpu {
            _ if suite.is_empty() || !plain => Err(Refusal::refused(format!(
                "'{suite}' is not the name of a Debian suite, such as {SUITE}: use debian:SUITE/CPU"
            ))),
            ARCHITECTURE => Ok(Debian { suite: suite.into() }),
            _ => Err(Refusal::refused(format!(
                "there are no machines for {cpu}: use debian:{suite}/{ARCHITECTURE}"
            ))),
        })
    }

    /// The file of this user's machine that has no name.
    fn own_disk(&self) -> Result<PathBuf, Refusal> {
        let dir = xdg::data().map_err(Refusal::host)?.join("disks");
        fs::create_dir_all(&dir).map_err(|e| Refusal::host(format!("{}: {e}", dir.display())))?;
        Ok(dir.join(format!("debian-{}-{ARCHITECTURE}.raw", self.suite)))
    }
}

/// The file with a machine's disk: that of its record, or that of the user's machine without a record.
fn own_disk(debian: &Debian) -> Result<PathBuf, Refusal> {
    match super::own_record() {
        Some(id) => Ok(Store::open()?.place(&id).dir.join("disk.raw")),
        None => debian.own_disk(),
    }
}

/// Opens the disk with the root file system. It is made if this user has none of this suite yet, or copied for this machine.
pub fn disk(args: &RunArgs, debian: &Debian) -> Result<Disk, Refusal> {
    let open = |path: &Path, access| {
        let backend = trine_image::disk::open(path, Some(Format::Raw), access).map_err(|e| {
            Refusal::refused(format!(
                "{e}; with --name a machine has a disk of its own, with --ephemeral it keeps nothing"
            ))
        })?;
        Ok(Disk { backend, id: Some("debian".into()) })
    };
    if args.ephemeral {
        return open(&prepare(args, debian)?, Access::Private);
    }
    let path = own_disk(debian)?;
    // A machine with a record has a new disk when it starts for the first time, and keeps that.
    let fresh = args.fresh && super::own_record().is_none();
    if path.exists() && !fresh {
        return open(&path, Access::Write);
    }
    let base = prepare(args, debian)?;
    if path.exists() {
        let old = path.with_extension("old.raw");
        // Opened, so that no machine that runs loses its disk.
        drop(open(&path, Access::Write)?);
        fs::rename(&path, &old).map_err(|e| Refusal::host(format!("{}: {e}", path.display())))?;
        eprintln!("trine: the disk before this one is {}", old.display());
    }
    copy::sparse(&base, &path).map_err(Refusal::host)?;
    open(&path, Access::Write)
}

/// The kernel and what it is told.
pub fn boot(args: &RunArgs, guest: boot::Guest) -> Result<Boot, Refusal> {
    let (root, name) = (linux::ROOT, host_name(args));
    let append = args.append.as_deref().unwrap_or_default();
    let shares = super::share::words(args)?;
    payload(guest, &format!("{root}/dev/vda systemd.hostname={name} {shares} {append}")).map(Boot::Kernel)
}

/// The machine's own name, as far as a host can have it.
fn host_name(args: &RunArgs) -> String {
    let name = args.guest.name.as_deref().unwrap_or(disk::HOSTNAME);
    name.chars().map(|c| if c == '_' { '-' } else { c }).take(HOSTNAME_MOST).collect()
}

fn payload(guest: boot::Guest, append: &str) -> Result<Payload, Refusal> {
    // Told where the disk is made, if there is none.
    let key = ssh::public_key().map(|key| format!("{key}\n"));
    let key = key.iter().map(|key| (linux::AUTHORIZED_KEYS, key.as_bytes()));
    let initrd = boot::with_modules(&guest.initrd, &guest.modules, &key.collect::<Vec<_>>())?;
    let initrd = Some(trine_machine::boot::Initrd::Made(Arc::new(initrd)));
    Ok(Payload { kernel: guest.kernel, initrd, append: boot::usual_append(append) })
}

/// Makes sure that the disk from which machines get their copies is there, and returns its path.
pub fn prepare(args: &RunArgs, debian: &Debian) -> Result<PathBuf, Refusal> {
    let cache = xdg::cache().map_err(Refusal::host)?;
    let base = disk::base(&cache, &debian.suite, ARCHITECTURE);
    let anew = args.fresh && super::own_record().is_none();
    if base.is_file() && !anew {
        return Ok(base);
    }
    let before = modified(&base);
    let _lock = lock_of(&base)?;
    // Made by another process while this one waited.
    if base.is_file() && (!anew || modified(&base) != before) {
        return Ok(base);
    }
    make(args, debian, &cache, &base)?;
    Ok(base)
}

/// Waits for the right to make a disk, or what belongs to one.
fn lock_of(base: &Path) -> Result<File, Refusal> {
    let dir = base.parent().unwrap_or(base);
    let host = |e: std::io::Error| Refusal::host(format!("{}: {e}", dir.display()));
    fs::create_dir_all(dir).map_err(host)?;
    file_lock::take(&dir.join("lock"), PATIENCE)
        .map_err(host)?
        .ok_or_else(|| Refusal::host("another trine makes a disk of Debian for an hour already"))
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    path.metadata().and_then(|m| m.modified()).ok()
}

/// Makes the disk: unpacks packages, and has a machine configure them.
fn make(args: &RunArgs, debian: &Debian, cache: &Path, base: &Path) -> Result<(), Refusal> {
    eprintln!(
        "trine: making the disk of Debian {} (once; some 60 MB of packages and 110 MB of kernel are fetched, and it takes minutes)",
        debian.suite
    );
    let guest = boot::kernel(true)?;
    let unfinished = base.with_extension("unfinished");
    let mut display = Display::new();
    let mut show = |text: &str, done, of| display.show(text, done, of);
    if let Err(Refusal { message, .. }) = ssh::public_key() {
        eprintln!(
            "trine: `trine ssh`, exec and cp will not reach machines that start as long as this is so: {message}"
        );
    }
    let unpacked = modules::for_root(cache, &guest.kernel, &mut show)
        .and_then(|extra| disk::unpacked(cache, &debian.suite, ARCHITECTURE, extra, &unfinished, &mut show));
    let configured = unpacked.map_err(Refusal::host).and_then(|packages| {
        configure(args, guest, &unfinished, &mut |done| {
            display.show_count("configuring packages", done, packages as u64)
        })
    });
    display.clear();
    configured
        .and_then(|()| {
            fs::rename(&unfinished, base).map_err(|e| Refusal::host(format!("{}: {e}", base.display())))
        })
        .inspect_err(|_| drop(fs::remove_file(&unfinished)))
}

/// What a machine that configures a disk has said.
#[derive(Default)]
struct Said {
    line: Vec<u8>,
    packages: u64,
    complete: bool,
    panicked: bool,
    log: Option<File>,
}

impl Said {
    /// Adds output; returns whether a line has come to its end.
    fn add(&mut self, bytes: &[u8]) -> bool {
        if let Some(log) = &mut self.log {
            drop(log.write_all(bytes));
        }
        let mut ended = false;
        for &byte in bytes.iter().filter(|b| **b != b'\r') {
            if byte != b'\n' {
                self.line.push(byte);
                // The guest must not fill the host's memory.
                self.line.truncate(4096);
                continue;
            }
            let line = String::from_utf8_lossy(&self.line);
            self.packages += u64::from(line.starts_with("Setting up "));
            self.complete |= line == COMPLETE;
            self.panicked |= line.contains("---[ end Kernel panic");
            self.line.clear();
            ended = true;
        }
        ended
    }
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a machine that configures the packages on a disk.
fn configure(
    args: &RunArgs,
    guest: boot::Guest,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Refusal> {
    progress(0);
    let log = path.with_extension("log");
    let file = File::create(&log).map_err(|e| Refusal::host(format!("{}: {e}", log.display())))?;
    let said = Arc::new(Mutex::new(Said { log: Some(file), ..Said::default() }));
    let backend = trine_image::disk::open(path, Some(Format::Raw), Access::Write).map_err(Refusal::host)?;
    let payload = payload(guest, &format!("{}/dev/vda {}", linux::ROOT, linux::CONFIGURE))?;
    let hears = said.clone();
    let (lines, heard) = std::sync::mpsc::channel();
    let console = Console::new(Box::new(move |bytes: &[u8]| {
        if lock(&hears).add(bytes) {
            let _ = lines.send(());
        }
    }));
    let config = Config {
        disks: vec![Disk { backend, id: None }],
        tier: args.engine.tier(),
        ..Config::new(USUAL, run::cpus(args), Boot::Kernel(payload))
    };
    let mut board = (run::board_kind(args)?.assemble)(config, console).map_err(Refusal::refused)?;
    let end = with_progress(&mut board, &said, &heard, progress);
    drop(board);
    let said = lock(&said);
    match end {
        End::PowerOff if said.complete => {
            drop(fs::remove_file(&log));
            Ok(())
        }
        _ => Err(Refusal::host(format!(
            "the packages of the new disk could not be configured: what they said is in {}",
            log.display()
        ))),
    }
}

/// Runs the board on a thread of its own, and shows here what it has done.
fn with_progress(
    board: &mut Board,
    said: &Mutex<Said>,
    heard: &std::sync::mpsc::Receiver<()>,
    progress: &mut dyn FnMut(u64),
) -> End {
    let remote = board.remote();
    std::thread::scope(|scope| {
        let runs = scope.spawn(|| board.run());
        while !runs.is_finished() {
            if heard.recv_timeout(Duration::from_millis(200)).is_ok() {
                let said = lock(said);
                progress(said.packages);
                if said.panicked {
                    Machine::quit(&remote);
                }
            }
        }
        runs.join().unwrap_or_else(|_| End::Dead("a thread of the machine has failed".into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_debian() {
        let suite = |thing| Debian::parse(thing).map(|d| d.map(|d| d.suite).map_err(|e| e.message));
        assert_eq!(suite("debian"), Some(Ok("trixie".into())));
        assert_eq!(suite("debian:sid/riscv64"), Some(Ok("sid".into())));
        // Names of images.
        assert!(
            ["debian:sid", "debian-x", "library/debian", "debian/riscv64", "linux"]
                .iter()
                .all(|t| suite(t).is_none())
        );
        assert!(suite("debian:sid/s390x").unwrap().unwrap_err().contains("no machines for s390x"));
        assert!(suite("debian:../riscv64").unwrap().unwrap_err().contains("not the name of a Debian suite"));
        assert!(suite("debian:/riscv64").unwrap().is_err());
    }

    #[test]
    fn what_a_configuring_machine_says() {
        let mut said = Said::default();
        assert!(!said.add(b"Setting up a (1) ...\r"));
        assert!(said.add(b"\nSetting up b (2) ...\r\ntrine: the disk is comp"));
        assert!(said.packages == 2 && !said.complete);
        assert!(said.add(b"lete\r\n") && said.complete && !said.panicked);
        assert!(!said.add(&[b'x'; 10_000]) && said.line.len() == 4096);
    }
}
