//! `trine binfmt`: makes the host's kernel start executables of other CPUs under Trine
//! (Documentation/admin-guide/binfmt-misc.rst).

use crate::args::BinfmtVerb;
use crate::guest::sysroot;
use crate::{Refusal, code};
use std::ffi::OsString;
use std::fs;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

/// The directory in which the kernel shows its registrations.
const MOUNT: &str = "/proc/sys/fs/binfmt_misc";
/// A link to the root directory with the libraries of programs that the kernel starts. It is looked up in the
/// program's own root: another root, which has its own libraries, does not have it.
const SYSROOT: &str = "/etc/trine/sysroot";
/// The directory into which a root for all users is fetched.
const ROOTS: &str = "/var/lib/trine";
/// The directory that systemd and Debian's binfmt-support read at boot.
const AT_BOOT: &str = "/etc/binfmt.d";

/// An executable format.
struct Format {
    name: &'static str,
    magic: [u8; 20],
    mask: [u8; 20],
}

/// One row for each CPU whose programs Trine runs: ELF, 64 bits, little-endian, executable or shared object,
/// the machine. The OS ABI may be any.
const FORMATS: &[Format] = &[Format {
    name: "trine-riscv64",
    magic: *b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xf3\x00",
    mask: *b"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff",
}];

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("\\x{b:02x}")).collect()
}

impl Format {
    /// The line that registers `interpreter`. Flags: the program's argument 0 is preserved (P), set-user-ID
    /// bits of the program apply (C), the executable is passed as an open descriptor (O, implied by C), and
    /// the interpreter is opened at registration, so that it works in every root (F).
    fn line(&self, interpreter: &Path) -> String {
        let (name, magic, mask) = (self.name, escaped(&self.magic), escaped(&self.mask));
        format!(":{name}:M::{magic}:{mask}:{}:POCF", interpreter.display())
    }

    fn entry(&self) -> PathBuf {
        Path::new(MOUNT).join(self.name)
    }

    fn at_boot(&self) -> PathBuf {
        Path::new(AT_BOOT).join(format!("{}.conf", self.name))
    }

    /// Other registered handlers of the same executables.
    fn rivals(&self) -> Vec<String> {
        let hex: String = self.magic.iter().map(|b| format!("{b:02x}")).collect();
        let other = |e: &fs::DirEntry| {
            let text = fs::read_to_string(e.path()).unwrap_or_default();
            e.file_name() != self.name && text.contains(&hex) && text.starts_with("enabled")
        };
        let entries = fs::read_dir(MOUNT).into_iter().flatten().flatten();
        entries.filter(other).map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    }
}

/// Where the kernel started this process for a program: the arguments behind the interpreter's own, which are
/// the path, argument 0, and the rest. The kernel says so in `AT_FLAGS` (Linux 5.12).
pub fn started() -> Option<Vec<OsString>> {
    const PRESERVE_ARGV0: u64 = 1;
    // SAFETY: only returns a number.
    let flags = unsafe { libc::getauxval(libc::AT_FLAGS) };
    (flags & PRESERVE_ARGV0 != 0).then(|| std::env::args_os().skip(1).collect())
}

/// The descriptor of the program's executable, which the kernel opened (flag O).
pub fn opened() -> Option<RawFd> {
    const AT_EXECFD: u64 = 2;
    // SAFETY: the C library's own; 0 is a descriptor where there is no error.
    let fd = unsafe {
        *libc::__errno_location() = 0;
        libc::getauxval(AT_EXECFD)
    };
    let found = std::io::Error::last_os_error().raw_os_error() == Some(0);
    RawFd::try_from(fd).ok().filter(|_| found)
}

/// The root directory that was set for programs which the kernel starts.
pub fn sysroot() -> Option<PathBuf> {
    fs::canonicalize(SYSROOT).ok().filter(|dir| dir.is_dir())
}

/// Sets that root directory.
fn set_sysroot(dir: &Path) -> Result<(), Refusal> {
    let place = Path::new(SYSROOT);
    let parent = place.parent().unwrap_or(place);
    fs::create_dir_all(parent).map_err(|e| denied(parent, e))?;
    let new = place.with_extension("new");
    drop(fs::remove_file(&new));
    std::os::unix::fs::symlink(dir, &new)
        .and_then(|()| fs::rename(&new, place))
        .map_err(|e| denied(place, e))?;
    println!("{SYSROOT}: libraries are in {}", dir.display());
    Ok(())
}

/// `trine binfmt`.
pub fn binfmt(verb: BinfmtVerb) -> Result<u8, Refusal> {
    if !Path::new(MOUNT).join("register").exists() {
        return Err(Refusal::host(format!(
            "binfmt_misc is not mounted: as root, `modprobe binfmt_misc` and `mount -t binfmt_misc binfmt_misc {MOUNT}`"
        )));
    }
    match verb {
        BinfmtVerb::Install { persist, sysroot, packages } => {
            if let Some(option) = sysroot {
                set_sysroot(&sysroot::root(option, &packages, Some(Path::new(ROOTS)))?)?;
            }
            FORMATS.iter().try_for_each(|f| install(f, persist))?;
        }
        BinfmtVerb::Remove => {
            FORMATS.iter().try_for_each(remove)?;
            remove_file(Path::new(SYSROOT))?;
        }
        BinfmtVerb::Status => {
            FORMATS.iter().for_each(status);
            if let Some(dir) = sysroot() {
                println!("  libraries: {}", dir.display());
            }
        }
    }
    Ok(code::OK)
}

fn denied(path: &Path, e: std::io::Error) -> Refusal {
    let help = if e.kind() == std::io::ErrorKind::PermissionDenied { ": run it as root" } else { "" };
    Refusal::host(format!("cannot write {}: {e}{help}", path.display()))
}

fn install(format: &Format, persist: bool) -> Result<(), Refusal> {
    let own = std::env::current_exe().map_err(Refusal::host)?;
    // A field must not contain the character that separates fields.
    if own.display().to_string().contains(':') || own.as_os_str().len() > 127 {
        return Err(Refusal::refused(format!(
            "the kernel accepts no interpreter whose path contains a colon or has more than 127 bytes: copy {} elsewhere",
            own.display()
        )));
    }
    let line = format.line(&own);
    if format.entry().exists() {
        fs::write(format.entry(), "-1").map_err(|e| denied(&format.entry(), e))?;
    }
    let register = Path::new(MOUNT).join("register");
    fs::write(&register, &line).map_err(|e| denied(&register, e))?;
    println!("{}: {} runs these executables", format.name, own.display());
    let rivals = format.rivals();
    if !rivals.is_empty() {
        println!("also registered, and no longer used: {}", rivals.join(", "));
    }
    if persist {
        fs::create_dir_all(AT_BOOT).map_err(|e| denied(Path::new(AT_BOOT), e))?;
        fs::write(format.at_boot(), line + "\n").map_err(|e| denied(&format.at_boot(), e))?;
        println!("{}: registered at every boot", format.at_boot().display());
    }
    Ok(())
}

fn remove(format: &Format) -> Result<(), Refusal> {
    if format.entry().exists() {
        fs::write(format.entry(), "-1").map_err(|e| denied(&format.entry(), e))?;
        println!("{}: removed", format.name);
    } else {
        println!("{}: was not registered", format.name);
    }
    remove_file(&format.at_boot())
}

/// Removes a file, if it exists.
fn remove_file(path: &Path) -> Result<(), Refusal> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(denied(path, e)),
        _ => Ok(()),
    }
}

fn status(format: &Format) {
    let text = fs::read_to_string(format.entry()).unwrap_or_default();
    let interpreter = text.lines().find_map(|l| l.strip_prefix("interpreter "));
    match interpreter {
        Some(path) if text.starts_with("enabled") => println!("{}: started by {path}", format.name),
        Some(_) => println!("{}: registered, but disabled", format.name),
        None => println!("{}: not registered", format.name),
    }
    format.rivals().iter().for_each(|r| println!("  also registered: {r}"));
    if format.at_boot().exists() {
        println!("  at every boot: {}", format.at_boot().display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_the_kernel_takes() {
        let line = FORMATS[0].line(Path::new("/usr/bin/trine"));
        assert!(line.starts_with(r":trine-riscv64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00"), "{line}");
        assert!(line.ends_with(r"\xff\xfe\xff\xff\xff:/usr/bin/trine:POCF"), "{line}");
        assert!(line.len() < 1920, "the kernel's limit");
    }
}
