//! The one place that decides what THING of `trine run` is. What the user said is considered before what a
//! file looks like.

use super::debian::Debian;
use super::options::{self, Kind};
use super::{effects, sysroot};
use crate::Refusal;
use crate::args::RunArgs;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use trine_base::elf::Cpu;
use trine_control::error::OWN;
use trine_oci::Name;
use trine_program::{elf, guests};

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// A machine with Debian's kernel.
    Linux,
    /// A machine with a whole Debian on a disk.
    Debian(Debian),
    /// A machine with this kernel, or with this ELF file in machine mode.
    File(PathBuf),
    /// A machine with a firmware and nothing else.
    Firmware,
    /// A machine that runs the image of this name with a kernel of its own.
    ImageMachine(String),
    /// A machine that goes on from this snapshot.
    Restored(PathBuf),
    /// A Linux program of another CPU.
    Program {
        /// The executable.
        path: PathBuf,
        /// The root directory with its libraries.
        root: Option<PathBuf>,
    },
    /// A container of the image of this name.
    Image(String),
    /// A container of the bundle in this directory.
    Bundle(PathBuf),
}

impl Target {
    /// Decides what the options and the thing mean together. A program's root is fetched if missing, once
    /// everything else has been checked.
    ///
    /// # Errors
    /// Fails where the thing cannot be run, or an option is not for what it is.
    pub fn resolve(args: &RunArgs) -> Result<Target, Refusal> {
        let target = match &args.sysroot {
            Some(root) if is_program_of_root(args) => {
                let thing = args.thing.as_deref().unwrap_or_default();
                options::check(&args.given, Kind::Program, &format!("'{thing}' is a program"))?;
                program_of_root(sysroot::root(root.clone(), &args.packages, None)?, thing)?
            }
            _ => Target::named(args)?,
        };
        target.check(args).map_err(|refusal| match target.kind() {
            Kind::Container | Kind::Bundle => Refusal { code: OWN, ..refusal },
            _ => refusal,
        })?;
        Ok(target)
    }

    /// Decides what a thing is that is not looked up in a root.
    fn named(args: &RunArgs) -> Result<Target, Refusal> {
        if let Some(snapshot) = args.restore.as_ref().filter(|_| args.thing.is_none()) {
            return Ok(Target::Restored(snapshot.clone()));
        }
        let Some(thing) = args.thing.as_deref() else {
            return Ok(args.kernel.clone().map_or(Target::Firmware, Target::File));
        };
        if thing == LINUX {
            return Ok(Target::Linux);
        }
        let as_image = args.kind.is_some() || !args.args.is_empty() || options::container_is_asked(args);
        if !(as_image && is_image_name(thing))
            && let Some(debian) = Debian::parse(thing)
        {
            return debian.map(Target::Debian);
        }
        let path = Path::new(thing);
        if args.kind.is_some() {
            return image_as_machine(thing);
        }
        if args.sysroot.is_none()
            && let Some(container) = container(thing)
        {
            return Ok(container);
        }
        if !path.exists() {
            return Err(unknown(args));
        }
        // A bare-metal file may look like a program.
        if args.firmware.is_some() {
            return Ok(Target::File(path.into()));
        }
        if elf::is_program(path) {
            return Ok(Target::Program { path: path.into(), root: None });
        }
        refuse_other_cpus(path)?;
        Ok(Target::File(path.into()))
    }

    /// Its kind, as far as options differ.
    pub fn kind(&self) -> Kind {
        match self {
            Target::Linux | Target::File(_) | Target::Firmware => Kind::Machine,
            Target::Debian(_) => Kind::Debian,
            Target::Restored(_) => Kind::Restored,
            Target::ImageMachine(_) => Kind::ImageMachine,
            Target::Program { .. } => Kind::Program,
            Target::Image(_) => Kind::Container,
            Target::Bundle(_) => Kind::Bundle,
        }
    }

    /// Whether it boots Debian's kernel with a userland of Debian's.
    pub fn is_debians(&self) -> bool {
        matches!(self, Target::Linux | Target::Debian(_))
    }

    /// A sentence that says what it is, and because of which option if that is not obvious.
    fn describe(&self, args: &RunArgs) -> String {
        let thing = args.thing.as_deref().unwrap_or_default();
        match self {
            Target::Linux | Target::Debian(_) => format!("'{thing}' is a machine"),
            Target::File(path) if args.kernel.is_some() => {
                format!("'{}' is the kernel of a machine", path.display())
            }
            Target::File(_) if args.firmware.is_some() => format!("with --firmware, '{thing}' is a machine"),
            Target::File(_) => {
                format!("'{thing}' is a machine: it is not a {} Linux program", guests::names())
            }
            Target::Firmware if args.firmware.is_none() => "what starts from flash is a machine".into(),
            Target::Firmware => "a firmware alone is a machine".into(),
            Target::ImageMachine(_) => format!("with --as machine, '{thing}' is a machine"),
            Target::Restored(path) => {
                format!("with --restore, the machine is what {} says", path.display())
            }
            Target::Program { .. } => format!("'{thing}' is a program"),
            Target::Image(_) => format!("'{thing}' is a container"),
            Target::Bundle(_) => format!("'{thing}' is a bundle"),
        }
    }

    /// Refuses options and arguments that are not for it.
    fn check(&self, args: &RunArgs) -> Result<(), Refusal> {
        let (kind, what) = (self.kind(), self.describe(args));
        let fits = options::check(&args.given, kind, &what)
            .and_then(|()| options::check_arguments(args, kind, &what));
        // A user who gives options for programs means a program: that its file is damaged is the better
        // reason.
        if let (Target::File(path), Err(_)) = (self, &fits)
            && args.firmware.is_none()
            && let Some(why) = elf::damage(path)
        {
            return Err(Refusal::refused(why));
        }
        fits?;
        match kind {
            Kind::Program | Kind::Bundle => effects::refuse_without_checks(args),
            _ => Ok(()),
        }
    }
}

/// The error for a thing that is neither a file nor a name.
pub fn unknown(args: &RunArgs) -> Refusal {
    let thing = args.thing.as_deref().unwrap_or_default();
    Refusal::refused(format!("'{thing}' is neither a file nor the name of a guest (known: {LINUX}, debian)"))
}

/// The name of Debian's kernel.
const LINUX: &str = "linux";

/// Whether a word may be the name of an image, and is not a path.
fn is_image_name(word: &str) -> bool {
    word != LINUX && !word.starts_with(['.', '/']) && word.parse::<Name>().is_ok()
}

/// The container that a word means: a directory with a configuration, or a word that is not a file and may be
/// the name of an image.
fn container(word: &str) -> Option<Target> {
    let path = Path::new(word);
    if path.join("config.json").is_file() {
        return Some(Target::Bundle(path.into()));
    }
    // A directory that is not a bundle cannot be run as anything else.
    let free = !path.exists() || path.is_dir();
    (free && is_image_name(word)).then(|| Target::Image(word.into()))
}

/// What `--as machine` makes of a thing: a kernel is a machine anyway.
fn image_as_machine(thing: &str) -> Result<Target, Refusal> {
    let path = Path::new(thing);
    if is_image_name(thing) {
        return Ok(Target::ImageMachine(thing.into()));
    }
    if path.is_file() && !elf::is_program(path) {
        refuse_other_cpus(path)?;
        return Ok(Target::File(path.into()));
    }
    Err(Refusal::refused(format!(
        "--as machine is for images: '{thing}' is not the name of an image (`trine images` lists those here)"
    )))
}

/// Whether the thing is looked up in the root that `--sysroot` names: no option makes it a machine.
fn is_program_of_root(args: &RunArgs) -> bool {
    let named = args.thing.as_deref().is_some_and(|thing| thing != LINUX && Debian::parse(thing).is_none());
    named && args.kind.is_none() && !options::machine_is_asked(args)
}

fn program_of_root(root: PathBuf, thing: &str) -> Result<Target, Refusal> {
    let path = sysroot::find(&root, thing)?;
    if elf::is_program(&path) {
        return Ok(Target::Program { path, root: Some(root) });
    }
    refuse_other_cpus(&path)?;
    Err(match elf::damage(&path) {
        Some(why) => Refusal::refused(why),
        None => Refusal::refused(format!("'{thing}' is not a {} Linux program", guests::names())),
    })
}

/// Whether programs for this CPU can be run, or boards have it.
fn is_known(cpu: Cpu) -> bool {
    guests::is_supported(cpu) || trine_machine::CPUS.contains(&cpu)
}

/// Refuses an executable that Trine can run neither as a program nor as a machine.
fn refuse_other_cpus(file: &Path) -> Result<(), Refusal> {
    let mut head = [0; 20];
    let whole = file.is_file() && File::open(file).is_ok_and(|f| f.read_exact_at(&mut head, 0).is_ok());
    match Cpu::of(&head).filter(|cpu| whole && !is_known(*cpu)).map(Cpu::name) {
        None => Ok(()),
        Some(cpu) => {
            let host = if cpu == "x86-64" { ", which this host runs by itself" } else { "" };
            let known = guests::names();
            Err(Refusal::refused(format!("{} is for {cpu}{host}: Trine runs {known}", file.display())))
        }
    }
}

/// What the options before the thing mean, while the command line is not parsed yet.
#[derive(Default)]
pub struct Before {
    /// Whether a sysroot is given.
    sysroot: bool,
    /// Whether an option for machines only is given.
    machine: bool,
    /// Whether the kind of guest for an image is given.
    kind: bool,
    /// Whether an option for containers only is given.
    container: bool,
}

impl Before {
    /// Adds an option, with its dashes.
    pub fn add(&mut self, option: &str) {
        self.sysroot |= option == "--sysroot";
        self.kind |= option == "--as";
        self.machine |= options::makes_machine(option);
        self.container |= options::makes_container(option);
    }

    /// Whether a thing with these words behind it is Debian as a machine: as an image it has a command.
    fn is_debian(&self, thing: &str, behind: &[OsString]) -> bool {
        let has_command = behind.first().is_some_and(|word| !word.as_encoded_bytes().starts_with(b"-"));
        let as_image = self.kind || self.container || (has_command && !self.machine);
        Debian::parse(thing).is_some() && !(as_image && is_image_name(thing))
    }

    /// Whether a thing is a container.
    pub fn is_container(&self, thing: &OsStr, behind: &[OsString]) -> bool {
        let debian = thing.to_str().is_some_and(|thing| self.is_debian(thing, behind));
        !debian
            && !self.sysroot
            && !self.kind
            && thing.to_str().is_some_and(|thing| container(thing).is_some())
    }

    /// Whether the words that follow a thing are its arguments.
    pub fn has_arguments(&self, thing: &OsStr, behind: &[OsString]) -> bool {
        let (path, name) = (Path::new(thing), thing.to_str().unwrap_or_default());
        if name == LINUX || (self.is_debian(name, behind) && !self.sysroot) {
            return false;
        }
        if self.sysroot || (self.kind && is_image_name(name)) {
            return true;
        }
        // A firmware, a kernel or a disk makes it a machine.
        if self.machine {
            return false;
        }
        match path.exists() {
            true => path.is_dir() || (elf::is_program(path) && !firmware_behind(path, behind)),
            // An image, which is fetched; for a missing file this is reported later.
            false => !name.starts_with(['.', '/']),
        }
    }
}

/// Whether the words that follow an ELF file are options of a machine and not arguments of a program: a
/// firmware is named, and nothing in the file says that it is for Linux.
fn firmware_behind(file: &Path, words: &[OsString]) -> bool {
    let is_it =
        |word: &OsString| word.to_str().is_some_and(|w| w == "--firmware" || w.starts_with("--firmware="));
    words.iter().take_while(|word| *word != "--").any(is_it) && !elf::is_marked_for_linux(file)
}

#[cfg(test)]
pub mod tests;
