//! `trine run --as machine IMAGE`: an image with a kernel of its own.

use super::target::Target;
use super::{boot, container, share};
use crate::args::RunArgs;
use crate::images::Display;
use crate::run::{OfImage, Prepared};
use crate::{Refusal, terminal};
use std::sync::Arc;
use trine_control::initramfs::{Root, Size};
use trine_image::linux::BALLOON;
use trine_machine::boot::{Boot, Initrd, Payload};
use trine_machine::virt::guest_init::{APPEND, GuestCommand};
use trine_oci::{Image, Platform, Store};

/// Default memory in bytes of a machine that does not run an image.
pub const USUAL: u64 = 512 << 20;
/// The longest host name that the kernel accepts, in bytes.
const HOSTNAME_MOST: usize = 64;

/// The image's variant that a machine can run.
fn platform(args: &RunArgs) -> Result<Platform, Refusal> {
    let ours = Platform::new("linux", "riscv64", "");
    match &args.container.platform {
        Some(other) if (&other.os, &other.architecture) != (&ours.os, &ours.architecture) => {
            Err(Refusal::refused(format!(
                "--platform {other} is not possible with --as machine: machines are {ours}; leave --platform out, or run it \
                 as a container"
            )))
        }
        Some(given) => Ok(given.clone()),
        None => Ok(ours),
    }
}

/// What is decided before the machine is created.
struct Plan {
    image: Image,
    root: Root,
    process: GuestCommand,
    memory: u64,
}

fn plan(args: &RunArgs, name: &str) -> Result<Plan, Refusal> {
    let platform = platform(args)?;
    let image = container::image(name, Some(platform.clone()), &args.container)?;
    let has = image.platform();
    if has.architecture != platform.architecture {
        return Err(Refusal::refused(format!("image {name} is for {has}, but machines are {platform}")));
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
            "'{}' is longer than the {HOSTNAME_MOST} bytes of a host name: use a shorter one with --hostname",
            asked.hostname
        )));
    }
    let process = GuestCommand { size: terminal::size(), ..root.process(&image, &asked)? };
    let memory = memory(args, name, root.size())?;
    process.executable().map_err(Refusal::refused)?;
    Ok(Plan { image, root, process, memory })
}

/// The machine's memory in bytes, which must hold a root of this size.
fn memory(args: &RunArgs, name: &str, size: Size) -> Result<u64, Refusal> {
    match args.memory {
        None => Ok(size.usual()),
        Some(memory) if memory >= size.needs() => Ok(memory),
        Some(_) => Err(Refusal::refused(format!(
            "the machine needs at least {0} MiB of memory, since it holds the files of {name}: use -m {0}M, or leave -m out",
            size.needs() >> 20
        ))),
    }
}

/// The plan and the kernel, which is fetched if missing, once everything else has been checked.
fn with_kernel(args: &RunArgs, name: &str) -> Result<(Plan, boot::Guest), Refusal> {
    let mut plan = plan(args, name)?;
    let mut kernel = boot::kernel(boot::needs_modules(args))?;
    if kernel.modules.is_empty() && boot::has_balloon(args, &Target::ImageMachine(name.into())) {
        // Such a machine has no network.
        kernel.modules = kernel.drivers.extract_if(.., |module| module.name == BALLOON).collect();
    }
    plan.memory = memory(args, name, plan.root.size().and(&kernel.modules))?;
    let places = share::places(args)?;
    plan.process.shares = places.into_iter().map(|(tag, place)| (tag, place.into_bytes())).collect();
    plan.process.modules = kernel.modules.iter().map(|m| m.name.clone()).collect();
    Ok((plan, kernel))
}

/// Checks that such a machine can be created; fetches what is missing.
pub fn check(args: &RunArgs, name: &str) -> Result<(), Refusal> {
    with_kernel(args, name).map(drop)
}

/// Prepares the machine.
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
