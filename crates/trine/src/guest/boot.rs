//! The software that a machine starts with (a kernel, a firmware, an ELF file).

use super::target::Target;
use super::{debian, effects, share, user_network};
use crate::Refusal;
use crate::args::{FirmwareArg, RunArgs};
use crate::run::Display;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trine_control::initramfs::{self, Module};
use trine_image::debian::Lock;
use trine_image::modules;
use trine_machine::boot::{Boot, Initrd, Payload};

/// Pins of the guests, as they were when this program was built.
const GUESTS: &str = include_str!("../../../../guests.lock");
/// Default command line of Debian's kernel: messages on the serial port, only the important ones. `earlycon`
/// makes messages visible even if the kernel ends before its driver for that port is loaded.
const APPEND: &str = "earlycon console=ttyS0 quiet loglevel=4";

/// The memory below which Debian's kernel panics before its userland starts (with 6.12, 80 MiB are too
/// little), and the additional memory it needs to load modules.
const LEAST: u64 = 96 << 20;
const FOR_MODULES: u64 = 32 << 20;

/// Memory size in bytes of a machine that does not run an image.
pub fn memory(args: &RunArgs, target: &Target) -> Result<u64, Refusal> {
    let (usual, least) = match target {
        Target::Debian(_) => (debian::USUAL, debian::LEAST),
        _ if needs_modules(args) => (super::machine::USUAL, LEAST + FOR_MODULES),
        _ => (super::machine::USUAL, LEAST),
    };
    let memory = args.memory.unwrap_or(usual);
    let ours = target.is_debians() && args.initrd.is_none();
    match ours && memory < least {
        false => Ok(memory),
        true => Err(Refusal::refused(format!(
            "Debian does not start with {} MiB of memory: use at least -m {}M, or leave -m out",
            memory >> 20,
            least >> 20
        ))),
    }
}

/// Decides what to boot.
pub fn boot(args: &RunArgs, target: &Target) -> Result<Boot, Refusal> {
    effects::refuse_without_effect(args)?;
    let firmware = args.firmware.as_ref().unwrap_or(&FirmwareArg::Sbi);
    if let Target::File(path) = target {
        regular(path)?;
    }
    if !args.flash.is_empty() {
        return flash(args, target, firmware);
    }
    if let FirmwareArg::None = firmware {
        return match target {
            Target::Linux => Err(Refusal::refused("`linux` needs a firmware: leave out --firmware none")),
            Target::File(path) => Ok(Boot::BareMetal(path.clone())),
            _ => Err(nothing()),
        };
    }
    let payload = match target {
        Target::Linux => Some(linux(args)?),
        Target::Debian(_) => return debian::boot(args, kernel(true)?),
        Target::File(kernel) => Some(Payload {
            kernel: kernel.clone(),
            initrd: args.initrd.clone().map(Initrd::Named),
            append: args.append.clone().unwrap_or_default(),
        }),
        _ => None,
    };
    match firmware {
        FirmwareArg::File(path) => {
            regular(path)?;
            Ok(Boot::Firmware(path.clone(), payload))
        }
        _ => payload.map(Boot::Kernel).ok_or_else(nothing),
    }
}

/// A machine with flash starts what is in it.
fn flash(args: &RunArgs, target: &Target, firmware: &FirmwareArg) -> Result<Boot, Refusal> {
    let named = match target {
        Target::Firmware => None,
        Target::File(path) => Some(path.display().to_string()),
        _ => args.thing.clone(),
    };
    if let Some(named) = named {
        return Err(Refusal::refused(format!(
            "--flash starts what the flash has: leave out {named}, which something in the flash may boot from a disk"
        )));
    }
    match firmware {
        FirmwareArg::Sbi => Ok(Boot::Flash { machine_mode: false }),
        FirmwareArg::None => Ok(Boot::Flash { machine_mode: true }),
        FirmwareArg::File(path) => {
            regular(path)?;
            Ok(Boot::Firmware(path.clone(), None))
        }
    }
}

fn nothing() -> Refusal {
    Refusal::refused("nothing to run: name a file, or `linux`")
}

/// Refuses files that are not regular: opening a pipe would wait for its writer. A missing file is reported
/// by its reader.
fn regular(file: &Path) -> Result<(), Refusal> {
    match file.metadata() {
        Ok(found) if !found.is_file() => {
            Err(Refusal::refused(format!("{} is not a regular file", file.display())))
        }
        _ => Ok(()),
    }
}

fn linux(args: &RunArgs) -> Result<Payload, Refusal> {
    let Guest { kernel, initrd, mut modules, drivers } = kernel(needs_modules(args))?;
    let net = args.initrd.is_none() && user_network::is_wanted(args, &Target::Linux)?;
    let balloon = args.initrd.is_none() && has_balloon(args, &Target::Linux);
    if (net || balloon) && modules.is_empty() {
        modules = drivers;
    }
    let initrd = match &args.initrd {
        Some(own) => Initrd::Named(own.clone()),
        None if modules.is_empty() => Initrd::Named(initrd),
        None => Initrd::Made(Arc::new(with_modules(&initrd, &modules, &[])?)),
    };
    let mut append = args.append.clone().unwrap_or_default();
    // Where input is not a terminal, the machine ends with the shell.
    if args.initrd.is_none() && !std::io::stdin().is_terminal() {
        append = format!("{} {append}", trine_image::linux::ONCE);
    }
    if net {
        append = format!("{} {append}", trine_image::linux::NET);
    }
    if args.initrd.is_none() && knows_terminal(args, &Target::Linux) {
        append = format!("{} {append}", trine_image::linux::TERMINAL);
    }
    if args.initrd.is_none() {
        append = format!("{} {append}", share::words(args)?);
    }
    let append = usual_append(append.trim_start());
    Ok(Payload { kernel, initrd: Some(initrd), append })
}

/// The guest's initial RAM disk followed by one with the modules and other files: the kernel unpacks one after the other.
pub fn with_modules(initrd: &Path, modules: &[Module], others: &[(&str, &[u8])]) -> Result<File, Refusal> {
    let host = |e: std::io::Error| Refusal::host(format!("{}: {e}", initrd.display()));
    let mut all = std::fs::read(initrd).map_err(host)?;
    all.resize(all.len().next_multiple_of(4), 0);
    initramfs::modules(modules, others, &mut all)?;
    let mut file = nameless()?;
    file.write_all(&all).map_err(host)?;
    Ok(file)
}

/// Creates a file in the cache that has no name any more, so that it goes when it is closed.
pub fn nameless() -> Result<File, Refusal> {
    let cache = trine_base::xdg::cache().map_err(Refusal::host)?;
    let path = cache.join(format!("initramfs-{}", std::process::id()));
    let host = |e: std::io::Error| Refusal::host(format!("{}: {e}", path.display()));
    // An existing file was left by a killed process that had the same process ID.
    drop(std::fs::remove_file(&path));
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(host)?;
    std::fs::remove_file(&path).map_err(host)?;
    Ok(file)
}

/// The default command line of the kernel with `append` added.
pub fn usual_append(append: &str) -> String {
    format!("{APPEND} {append}").trim_end().to_string()
}

/// Debian's kernel, its userland, and the modules that the machine needs.
pub struct Guest {
    /// The kernel.
    pub kernel: PathBuf,
    /// BusyBox and what it depends on.
    pub initrd: PathBuf,
    /// The drivers of disks and of the network device, in the order in which they are loaded; none if they are not wanted.
    pub modules: Vec<Module>,
    /// The drivers of the network device and of the memory balloon alone.
    pub drivers: Vec<Module>,
}

/// Whether the machine has a memory balloon, by which it gives the host the memory that it does not use: where it runs
/// Debian's kernel, except in counted time, as what a guest reports as free depends on the host.
pub fn has_balloon(args: &RunArgs, target: &Target) -> bool {
    let counted = args.lockstep || args.count_time.is_some();
    !counted && (target.is_debians() || matches!(target, Target::ImageMachine(_)))
}

/// Whether the guest is told the size of the user's terminal: where it has our userland, except in counted time, as runs
/// repeat.
pub fn knows_terminal(args: &RunArgs, target: &Target) -> bool {
    let counted = args.lockstep || args.count_time.is_some();
    !counted && target.is_debians()
}

/// Whether the machine has devices whose drivers are modules of Debian's kernel.
pub fn needs_modules(args: &RunArgs) -> bool {
    !args.disk.is_empty()
}

/// Debian's kernel, which is fetched if missing; with the modules for disks, if they are wanted.
pub fn kernel(modules: bool) -> Result<Guest, Refusal> {
    let cache = trine_base::xdg::cache().map_err(Refusal::host)?;
    let lock = Lock::parse(GUESTS, Path::new("guests.lock")).map_err(Refusal::host)?;
    let mut display = Display::new();
    let mut show = |text: &str, n, of| display.show(text, n, of);
    let found = trine_image::linux::prepare(&cache, &lock, &mut show).and_then(|guest| {
        let with = modules.then(|| modules::for_disks(&cache, &guest, &mut show)).transpose()?;
        Ok((guest, with))
    });
    display.clear();
    let (guest, with) = found.map_err(Refusal::host)?;
    guest.notes.iter().for_each(|note| eprintln!("trine: {note}"));
    let drivers = Module::read(&guest.drivers)?;
    let Some(with) = with else {
        return Ok(Guest { kernel: guest.kernel, initrd: guest.initrd, modules: Vec::new(), drivers });
    };
    with.note.iter().for_each(|note| eprintln!("trine: {note}"));
    Ok(Guest { kernel: with.kernel, initrd: guest.initrd, modules: Module::read(&with.modules)?, drivers })
}
