//! What the thing is that `trine run` is given: the one place that decides it. What the user said decides before what a file
//! looks like.

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
use trine_program::elf;

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// Debian's kernel: a machine.
    Linux,
    /// A kernel, or an ELF file in machine mode: a machine.
    File(PathBuf),
    /// A firmware with nothing above it: a machine.
    Firmware,
    /// An image by its name, with a kernel of its own: a machine.
    ImageMachine(String),
    /// A Linux program of another CPU.
    Program {
        /// The executable.
        path: PathBuf,
        /// The root of its libraries.
        root: Option<PathBuf>,
    },
    /// An image by its name: a container.
    Image(String),
    /// A bundle's directory: a container.
    Bundle(PathBuf),
}

impl Target {
    /// What the options and the thing mean together. The root of a program is fetched where it is not here yet, once nothing
    /// else stands in the way.
    ///
    /// # Errors
    /// Where nothing can be made of it, or an option does not go with what it is.
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

    /// What the thing is where it is not looked for in a root.
    fn named(args: &RunArgs) -> Result<Target, Refusal> {
        let Some(thing) = args.thing.as_deref() else {
            return Ok(args.kernel.clone().map_or(Target::Firmware, Target::File));
        };
        if thing == LINUX {
            return Ok(Target::Linux);
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
        // A bare-metal file may look as a program does.
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
            Target::ImageMachine(_) => Kind::ImageMachine,
            Target::Program { .. } => Kind::Program,
            Target::Image(_) => Kind::Container,
            Target::Bundle(_) => Kind::Bundle,
        }
    }

    /// A sentence that says what it is, and by which option where that is not to be seen.
    fn describe(&self, args: &RunArgs) -> String {
        let thing = args.thing.as_deref().unwrap_or_default();
        match self {
            Target::Linux => format!("'{thing}' is a machine"),
            Target::File(path) if args.kernel.is_some() => {
                format!("'{}' is the kernel of a machine", path.display())
            }
            Target::File(_) if args.firmware.is_some() => format!("with --firmware, '{thing}' is a machine"),
            Target::File(_) => format!("'{thing}' is a machine: it is not a riscv64 Linux program"),
            Target::Firmware => "a firmware alone is a machine".into(),
            Target::ImageMachine(_) => format!("with --as machine, '{thing}' is a machine"),
            Target::Program { .. } => format!("'{thing}' is a program"),
            Target::Image(_) => format!("'{thing}' is a container"),
            Target::Bundle(_) => format!("'{thing}' is a bundle"),
        }
    }

    /// Refuses options and arguments that do not go with it.
    fn check(&self, args: &RunArgs) -> Result<(), Refusal> {
        let (kind, what) = (self.kind(), self.describe(args));
        let fits = options::check(&args.given, kind, &what)
            .and_then(|()| options::check_arguments(args, kind, &what));
        // Who gives a program's options means a program: that it is damaged is the better reason.
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

/// What is said of a thing that is nothing.
pub fn unknown(args: &RunArgs) -> Refusal {
    let thing = args.thing.as_deref().unwrap_or_default();
    Refusal::refused(format!("'{thing}' is neither a file nor the name of a guest (known: {LINUX})"))
}

/// The name of Debian's kernel.
const LINUX: &str = "linux";

/// Whether a word may be an image's name, and is no path.
fn is_image_name(word: &str) -> bool {
    word != LINUX && !word.starts_with(['.', '/']) && word.parse::<Name>().is_ok()
}

/// The container that a word means: a directory with a configuration, or what is not a file and may be an image's name.
fn container(word: &str) -> Option<Target> {
    let path = Path::new(word);
    if path.join("config.json").is_file() {
        return Some(Target::Bundle(path.into()));
    }
    // A directory that is not a bundle is nothing else that could run.
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
        "--as machine makes a machine of an image: '{thing}' is not an image's name (`trine images` lists those here)"
    )))
}

/// Whether the thing is looked for in the root that `--sysroot` names: nothing that is said makes a machine of it.
fn is_program_of_root(args: &RunArgs) -> bool {
    let named = args.thing.as_deref().is_some_and(|thing| thing != LINUX);
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
        None => Refusal::refused(format!("'{thing}' is not a riscv64 Linux program")),
    })
}

/// An executable that neither a program nor a machine of ours can be made of.
fn refuse_other_cpus(file: &Path) -> Result<(), Refusal> {
    let mut head = [0; 20];
    let whole = file.is_file() && File::open(file).is_ok_and(|f| f.read_exact_at(&mut head, 0).is_ok());
    match Cpu::of(&head).filter(|cpu| whole && *cpu != Cpu::RISCV64).map(Cpu::name) {
        None => Ok(()),
        Some(cpu) => {
            let host = if cpu == "x86-64" { ", as this host does by itself" } else { "" };
            Err(Refusal::refused(format!("{} is for {cpu}{host}: Trine runs riscv64", file.display())))
        }
    }
}

/// What the options before the thing have said, when the command line is not read yet.
#[derive(Default)]
pub struct Before {
    /// There is a root of its own.
    sysroot: bool,
    /// What only a machine has.
    machine: bool,
    /// What an image is to become.
    kind: bool,
}

impl Before {
    /// Takes an option, with its dashes.
    pub fn add(&mut self, option: &str) {
        self.sysroot |= option == "--sysroot";
        self.kind |= option == "--as";
        self.machine |= options::makes_machine(option);
    }

    /// Whether a thing is a container.
    pub fn is_container(&self, thing: &OsStr) -> bool {
        !self.sysroot && !self.kind && thing.to_str().is_some_and(|thing| container(thing).is_some())
    }

    /// Whether what stands behind a thing is its own.
    pub fn has_arguments(&self, thing: &OsStr, behind: &[OsString]) -> bool {
        let (path, name) = (Path::new(thing), thing.to_str().unwrap_or_default());
        if name == LINUX {
            return false;
        }
        if self.sysroot || (self.kind && is_image_name(name)) {
            return true;
        }
        // A firmware, a kernel, a disk: what the user says makes a machine of it.
        if self.machine {
            return false;
        }
        match path.exists() {
            true => path.is_dir() || (elf::is_program(path) && !firmware_behind(path, behind)),
            // An image that is fetched; of a file that is not there, that is said.
            false => !name.starts_with(['.', '/']),
        }
    }
}

/// Whether the words behind an ELF file still speak of a machine, and are not arguments of a program: a firmware is named, and
/// nothing in the file says that it is for Linux.
fn firmware_behind(file: &Path, words: &[OsString]) -> bool {
    let is_it =
        |word: &OsString| word.to_str().is_some_and(|w| w == "--firmware" || w.starts_with("--firmware="));
    words.iter().take_while(|word| *word != "--").any(is_it) && !elf::is_marked_for_linux(file)
}

#[cfg(test)]
pub mod tests;
