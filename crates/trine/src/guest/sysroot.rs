//! Root directories of programs: `--sysroot`.

use crate::Refusal;
use crate::run::Display;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use trine_image::debian::root;
use trine_program::elf;

/// Debian's suites that are tried if none is named, the preferred one first.
const SUITES: &[&str] = &["trixie", "sid"];

/// Directories in which commands are looked up in a root (Debian's `/etc/profile`).
const COMMANDS: &[&str] = &["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"];

/// The directory that `--sysroot` names. Debian's is fetched into the cache if missing, with these packages
/// besides the default ones.
pub fn root(option: PathBuf, packages: &[String], cache: Option<&Path>) -> Result<PathBuf, Refusal> {
    let name = option.to_str().unwrap_or_default();
    let suites = match name.split_once(':') {
        _ if name == "debian" => SUITES,
        Some(("debian", suite)) => &[suite],
        _ if !packages.is_empty() => {
            return Err(Refusal::refused(format!(
                "--packages is for a root that is fetched: use --sysroot debian, not {name}"
            )));
        }
        _ if option.is_dir() => return std::path::absolute(&option).map_err(Refusal::host),
        _ => return Err(Refusal::refused(format!("--sysroot {name}: this directory does not exist"))),
    };
    let cache = cache.map_or_else(trine_base::xdg::cache, |dir| Ok(dir.into())).map_err(Refusal::host)?;
    let more: BTreeSet<&str> =
        packages.iter().map(String::as_str).filter(|p| !root::USUAL.contains(p)).collect();
    let all: Vec<&str> = root::USUAL.iter().copied().chain(more).collect();
    let mut display = Display::new();
    let show = &mut |text: &str, n, of| display.show(text, n, of);
    let made = root::root(&cache, suites, "riscv64", &all, show);
    display.clear();
    let made =
        made.map_err(|e| Refusal::host(format!("{e}; another suite may have it: --sysroot debian:forky")))?;
    if let Some(why) = made.refused {
        eprintln!("trine: this root is Debian {}, because {why}", made.suite);
    }
    Ok(made.dir)
}

/// Finds the file of a program in a root: a path below it, or a command in its directories. Outside the root,
/// only a program of the guest's CPU is accepted: other files there belong to the host.
pub fn find(root: &Path, thing: &str) -> Result<PathBuf, Refusal> {
    let path = Path::new(thing);
    let is_file = |p: &PathBuf| p.is_file();
    let missing = |what: String| {
        Err(Refusal::refused(format!(
            "the sysroot has no {what} ({}); with --sysroot debian, --packages NAME,… adds to it",
            root.display()
        )))
    };
    if !thing.contains('/') {
        let commands = COMMANDS.iter().map(|dir| root.join(dir).join(thing));
        let own = Some(path.to_path_buf()).filter(|p| elf::is_program(p));
        return match own.into_iter().chain(commands).find(is_file) {
            Some(file) => Ok(file),
            None => missing(format!("command '{thing}'")),
        };
    }
    if path.is_relative()
        || elf::is_program(path) && !below(Some(&root.into()), path.into()).starts_with(root)
    {
        return Ok(path.into());
    }
    let inside = root.join(path.strip_prefix("/").unwrap_or(path));
    if is_file(&inside) { Ok(inside) } else { missing(thing.into()) }
}

/// An absolute path below the program's root, if it exists there.
pub fn below(root: Option<&PathBuf>, path: PathBuf) -> PathBuf {
    let Some(root) = root.filter(|_| path.is_absolute()) else { return path };
    let below = root.join(path.strip_prefix("/").unwrap_or(&path));
    if below.exists() { below } else { path }
}
