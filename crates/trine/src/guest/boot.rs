//! What a machine starts with: a kernel, a firmware, an ELF file; and its disks.

use super::kind;
use crate::Refusal;
use crate::args::{FirmwareArg, RunArgs};
use crate::run::Display;
use std::path::{Path, PathBuf};
use trine_base::BlockBackend;
use trine_image::debian::Lock;
use trine_image::disk::{RawDisk, Snapshot};
use trine_machine::virt::{Boot, Initrd, Payload};

/// Pins of the guests, as they were when this program was built.
const GUESTS: &str = include_str!("../../../../guests.lock");
/// What a Debian kernel is told by default: messages on the serial port, only the important ones
/// once the userland is there.
const APPEND: &str = "console=ttyS0 quiet loglevel=4";

/// What to boot.
pub fn boot(args: &RunArgs) -> Result<Boot, Refusal> {
    kind::refuse_without_effect(args)?;
    let firmware = args.firmware.as_ref().unwrap_or(&FirmwareArg::Sbi);
    if let FirmwareArg::None = firmware {
        return match args.thing.as_deref() {
            Some("linux") => {
                Err(Refusal::refused("`linux` needs a firmware below it: leave out --firmware none"))
            }
            _ => file(args)?.map(Boot::BareMetal).ok_or_else(nothing),
        };
    }
    let payload = match args.thing.as_deref() {
        Some("linux") => Some(linux(args)?),
        _ => file(args)?.map(|kernel| Payload {
            kernel,
            initrd: args.initrd.clone().map(Initrd::Named),
            append: args.append.clone().unwrap_or_default(),
        }),
    };
    match firmware {
        FirmwareArg::File(path) => {
            regular(path)?;
            Ok(Boot::Firmware(path.clone(), payload))
        }
        _ => payload.map(Boot::Kernel).ok_or_else(nothing),
    }
}

fn nothing() -> Refusal {
    Refusal::refused("nothing to run: name a file, or `linux`")
}

/// The kernel or program that is named.
fn file(args: &RunArgs) -> Result<Option<PathBuf>, Refusal> {
    if let Some(thing) = args.thing.as_ref().filter(|thing| !Path::new(thing).exists()) {
        return Err(Refusal::refused(format!(
            "'{thing}' is neither a file nor the name of a guest (known: linux)"
        )));
    }
    let named = args.thing.as_ref().map(PathBuf::from).or_else(|| args.kernel.clone());
    named.iter().try_for_each(|file| regular(file))?;
    Ok(named)
}

/// Opening a pipe would wait for whoever writes it. A file that is not there is said by who reads it.
fn regular(file: &Path) -> Result<(), Refusal> {
    match file.metadata() {
        Ok(found) if !found.is_file() => {
            Err(Refusal::refused(format!("{} is not a regular file", file.display())))
        }
        _ => Ok(()),
    }
}

fn linux(args: &RunArgs) -> Result<Payload, Refusal> {
    let guest = debian()?;
    Ok(Payload {
        kernel: guest.kernel,
        initrd: Some(Initrd::Named(args.initrd.clone().unwrap_or(guest.initrd))),
        append: usual_append(args.append.as_deref().unwrap_or_default()),
    })
}

/// The kernel's command line with what is added to the usual one.
pub fn usual_append(append: &str) -> String {
    format!("{APPEND} {append}").trim_end().to_string()
}

/// Debian's kernel, fetched where it is not here.
pub fn debian() -> Result<trine_image::linux::Guest, Refusal> {
    let cache = trine_base::xdg::cache().map_err(Refusal::host)?;
    let lock = Lock::parse(GUESTS, Path::new("guests.lock")).map_err(Refusal::host)?;
    let mut display = Display::new();
    let guest = trine_image::linux::prepare(&cache, &lock, &mut |t, n, of| display.show(t, n, of));
    display.clear();
    let guest = guest.map_err(Refusal::host)?;
    guest.notes.iter().for_each(|note| eprintln!("trine: {note}"));
    Ok(guest)
}

/// Opens a disk as its option says.
pub fn disk(option: &str) -> Result<Box<dyn BlockBackend>, Refusal> {
    let (path, how) = match option.rsplit_once(',') {
        Some((path, how @ ("ro" | "snapshot"))) => (path, how),
        _ => (option, ""),
    };
    let raw = RawDisk::open(Path::new(path), !how.is_empty()).map_err(Refusal::refused)?;
    Ok(if how == "snapshot" { Box::new(Snapshot::over(Box::new(raw))) } else { Box::new(raw) })
}
