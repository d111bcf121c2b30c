//! `trine run --as machine IMAGE`: an image with a kernel of its own.

use super::{boot, container};
use crate::args::RunArgs;
use crate::images::Display;
use crate::run::{OfImage, Prepared};
use crate::{Refusal, terminal};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use trine_control::initramfs::{Root, Size};
use trine_machine::boot::{Boot, Initrd, Payload};
use trine_machine::virt::guest_init::{APPEND, Process};
use trine_oci::{Image, Name, Platform, Store};
use trine_program::elf;

/// Memory of a machine that is of no image.
pub const USUAL: u64 = 512 << 20;
/// Longest name that the kernel takes for a machine.
const HOSTNAME_MOST: usize = 64;

/// The image's name, where one is to become a machine.
pub fn image(args: &RunArgs) -> Result<Option<&str>, Refusal> {
    let Some(thing) = args.thing.as_deref().filter(|_| args.kind.is_some()) else { return Ok(None) };
    let path = Path::new(thing);
    // What is a machine anyway.
    if thing == "linux" {
        return Ok(None);
    }
    if !thing.starts_with(['.', '/']) && thing.parse::<Name>().is_ok() {
        return Ok(Some(thing));
    }
    match path.is_file() && !elf::is_program(path) {
        true => Ok(None),
        false => Err(Refusal::refused(format!(
            "--as machine makes one of an image: '{thing}' is no image's name (`trine images` lists those here)"
        ))),
    }
}

/// Options of containers that mean something for a machine of an image, too.
const COMMON: [&str; 6] = ["platform", "pull", "insecure", "entrypoint", "user", "hostname"];

/// Refuses options that mean nothing for a machine of an image. `words` is the command line behind `trine run`.
pub fn refuse_others(args: &RunArgs, words: &[OsString]) -> Result<(), Refusal> {
    let others = [
        ("--initrd", args.initrd.is_some()),
        ("--firmware", args.firmware.is_some()),
        ("--sysroot", args.sysroot.is_some()),
        ("--packages", !args.packages.is_empty()),
        ("--strace", args.strace),
        ("--gdb", args.gdb.is_some()),
        ("--limit", !args.limit.is_empty()),
        ("--deny", !args.deny.is_empty()),
    ];
    let other = others.iter().find(|(_, given)| *given).map(|(name, _)| name.to_string());
    match other.or_else(|| container::given_of_containers(words, &COMMON)) {
        None => platform(args).map(drop),
        Some(name) => Err(Refusal::refused(format!(
            "{name} does not go with a machine of an image, which has a kernel of its own"
        ))),
    }
}

/// The image's variant that a machine can run.
fn platform(args: &RunArgs) -> Result<Platform, Refusal> {
    let ours = Platform::new("linux", "riscv64", "");
    match &args.container.platform {
        Some(other) if (&other.os, &other.architecture) != (&ours.os, &ours.architecture) => {
            Err(Refusal::refused(format!(
                "--platform {other} does not go with --as machine: machines are {ours}; leave --platform out, or run it \
                 as a container"
            )))
        }
        Some(given) => Ok(given.clone()),
        None => Ok(ours),
    }
}

/// What is known before the machine is made.
struct Plan {
    image: Image,
    root: Root,
    process: Process,
    memory: u64,
}

fn plan(args: &RunArgs, name: &str) -> Result<Plan, Refusal> {
    let platform = platform(args)?;
    let image = container::image(name, Some(platform.clone()), &args.container)?;
    let has = image.platform();
    if has.architecture != platform.architecture {
        return Err(Refusal::refused(format!("image {name} is for {has}, and machines are {platform}")));
    }
    let display = Display::new(false);
    let root = Root::open(&Store::open()?, &image, &display);
    display.clear();
    let root = root?;
    let mut asked = container::asked(args)?;
    asked.tty = true;
    if asked.hostname.is_empty() {
        asked.hostname = args.guest.name.clone().unwrap_or_else(|| "trine".into());
    }
    if asked.hostname.len() > HOSTNAME_MOST {
        return Err(Refusal::refused(format!(
            "'{}' is longer than the {HOSTNAME_MOST} bytes of a machine's name: give a shorter one with --hostname",
            asked.hostname
        )));
    }
    let process = Process { size: terminal::size(), ..root.process(&image, &asked)? };
    let memory = memory(args, name, root.size())?;
    process.executable().map_err(Refusal::refused)?;
    Ok(Plan { image, root, process, memory })
}

/// The machine's memory, which must hold that much.
fn memory(args: &RunArgs, name: &str, size: Size) -> Result<u64, Refusal> {
    match args.memory {
        None => Ok(size.usual()),
        Some(memory) if memory >= size.needs() => Ok(memory),
        Some(_) => Err(Refusal::refused(format!(
            "the files of {name} are the machine's memory, of which it needs at least {0} MiB: -m {0}M, or leave -m out",
            size.needs() >> 20
        ))),
    }
}

/// With the kernel, fetched where it is not here, once nothing else stands in the way.
fn with_kernel(args: &RunArgs, name: &str) -> Result<(Plan, boot::Guest), Refusal> {
    let mut plan = plan(args, name)?;
    let kernel = boot::debian(args)?;
    plan.memory = memory(args, name, plan.root.size().and(&kernel.modules))?;
    plan.process.modules = kernel.modules.iter().map(|m| m.name.clone()).collect();
    Ok((plan, kernel))
}

/// Whether such a machine can be made; fetches what is missing.
pub fn check(args: &RunArgs, name: &str) -> Result<(), Refusal> {
    with_kernel(args, name).map(drop)
}

/// The machine.
pub fn prepare(args: &RunArgs, name: &str) -> Result<Prepared, Refusal> {
    let (Plan { image, root, process, memory }, guest) = with_kernel(args, name)?;
    let first = process.executable().map_err(Refusal::refused)?;
    let boot::Guest { kernel, modules, .. } = guest;
    let file = boot::nameless()?;
    root.write(&image, &first, &modules, &file)?;
    let append = args.append.as_deref().unwrap_or_default();
    let append = boot::usual_append(&format!("{APPEND} {append}"));
    Ok(Prepared {
        boot: Boot::Kernel(Payload { kernel, initrd: Some(Initrd::Made(Arc::new(file))), append }),
        memory,
        image: Some(OfImage { terminates: !process.is_init() }),
    })
}
