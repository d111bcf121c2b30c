//! `trine run PROGRAM`: a Linux executable of another CPU.

use crate::args::{ProgramArgs, RunArgs};
use crate::guest::kind;
use crate::run::Display;
use crate::{Refusal, binfmt, code, guest};
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use trine_base::elf::Cpu;
use trine_engine::Tier;
use trine_engine::perf::Start;
use trine_image::debian::root;
use trine_program::confine::{Confinement, Deny, Limits};
use trine_program::{Options, ProgramError, elf};

/// Debian's suites where none is named, the preferred one first.
const SUITES: &[&str] = &["trixie", "sid"];

/// Where commands are looked for in a root (Debian's `/etc/profile`).
const COMMANDS: &[&str] = &["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"];

/// The directory that `--sysroot` names: Debian's own is fetched into the cache where it is not there yet, with these
/// packages beside the usual ones.
pub fn root(option: PathBuf, packages: &[String], cache: Option<&Path>) -> Result<PathBuf, Refusal> {
    let name = option.to_str().unwrap_or_default();
    let suites = match name.split_once(':') {
        _ if name == "debian" => SUITES,
        Some(("debian", suite)) => &[suite],
        _ if !packages.is_empty() => {
            return Err(Refusal::refused(format!(
                "--packages goes with a root that is fetched: --sysroot debian, not {name}"
            )));
        }
        _ if option.is_dir() => return std::path::absolute(&option).map_err(Refusal::host),
        _ => return Err(Refusal::refused(format!("--sysroot {name}: there is no such directory"))),
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
        made.map_err(|e| Refusal::host(format!("{e}; another suite may serve: --sysroot debian:forky")))?;
    if let Some(why) = made.refused {
        eprintln!("trine: this root is Debian {}, because {why}", made.suite);
    }
    Ok(made.dir)
}

/// The options with `--sysroot` as a directory.
pub fn resolve(mut args: Box<RunArgs>) -> Result<Box<RunArgs>, Refusal> {
    let packages = std::mem::take(&mut args.packages);
    args.sysroot = args.sysroot.take().map(|option| root(option, &packages, None)).transpose()?;
    Ok(args)
}

/// The executable that is to be run, where the thing is one; an error where only a program can have what is asked for.
pub fn wanted(args: &RunArgs) -> Result<Option<PathBuf>, Refusal> {
    if guest::machine::image(args)?.is_some() {
        return Ok(None);
    }
    let named = args.thing.as_deref().filter(|t| *t != "linux");
    let machine = kind::machine_option(args);
    let found = match (named, args.sysroot.as_deref()) {
        (Some(thing), Some(root)) if machine.is_none() => Some(in_root(root, thing)?),
        (thing, _) => thing.map(PathBuf::from),
    };
    let path = found.clone().filter(|p| elf::is_program(p));
    let program = kind::program_option(args);
    if let (Some(machine), Some(program)) = (machine, program) {
        return Err(Refusal::refused(format!(
            "{machine} goes with machines and {program} with programs: leave one of them out"
        )));
    }
    match (machine, &path) {
        // A bare-metal file may look as a program does.
        (Some("--firmware"), _) if args.args.is_empty() => return Ok(None),
        (Some("--firmware"), _) => return Err(Refusal::refused("a machine takes no arguments")),
        (Some(machine), Some(path)) => {
            return Err(Refusal::refused(format!(
                "{machine} goes with machines, and {} is a riscv64 Linux program: leave it out",
                path.display()
            )));
        }
        _ => {}
    }
    if let Some(file) = found.filter(|_| path.is_none()) {
        refuse_other_cpus(&file)?;
    }
    if path.is_some() {
        kind::refuse_for_programs(args)?;
    }
    if path.is_none() && (program.is_some() || !args.args.is_empty()) {
        let thing = args.thing.as_deref().unwrap_or("a kernel");
        if let Some(why) = elf::damage(Path::new(thing)) {
            return Err(Refusal::refused(why));
        }
        if program.is_none() && (thing == "linux" || Path::new(thing).is_file()) {
            return Err(Refusal::refused(format!(
                "'{thing}' is a machine, which takes no arguments: only options may stand behind it"
            )));
        }
        return Err(Refusal::refused(format!(
            "'{thing}' is no riscv64 Linux program: arguments and the options of programs do not go with it"
        )));
    }
    Ok(path)
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

/// The file that is meant with a root: a path below it, or a command in its directories. Outside of it only a program
/// of the guest's CPU is meant: other files that are there are the host's own.
fn in_root(root: &Path, thing: &str) -> Result<PathBuf, Refusal> {
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

/// An absolute path below the program's root, where it is there.
fn below(root: Option<&PathBuf>, path: PathBuf) -> PathBuf {
    let Some(root) = root.filter(|_| path.is_absolute()) else { return path };
    let below = root.join(path.strip_prefix("/").unwrap_or(&path));
    if below.exists() { below } else { path }
}

fn text(s: OsString) -> Result<CString, Refusal> {
    CString::new(s.into_vec()).map_err(|_| Refusal::refused("an argument has a zero byte in it"))
}

/// The environment: the host's with the changes asked for.
fn environment(changes: &[OsString]) -> Result<Vec<CString>, Refusal> {
    let mut all: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    for change in changes {
        let bytes = change.as_bytes();
        let end = bytes.iter().position(|&b| b == b'=').unwrap_or(bytes.len());
        let name = OsString::from_vec(bytes[..end].to_vec());
        all.retain(|(n, _)| *n != name);
        if end < bytes.len() {
            all.push((name, OsString::from_vec(bytes[end + 1..].to_vec())));
        }
    }
    let line = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        text(name)
    };
    all.into_iter().map(line).collect()
}

/// Runs the executable; comes back only with a reason why it did not start.
pub fn run(args: &RunArgs, path: PathBuf) -> Result<u8, Refusal> {
    let name = OsString::from(args.thing.clone().unwrap_or_default());
    let list = [name].into_iter().chain(args.args.iter().cloned()).map(text).collect::<Result<_, _>>()?;
    let path = std::path::absolute(&path).map_err(Refusal::host)?;
    let sysroot = args.sysroot.clone();
    if let Some(dir) = &args.cwd {
        std::env::set_current_dir(dir)
            .map_err(|e| Refusal::refused(format!("--cwd {}: {e}", dir.display())))?;
    }
    let (env, tier, strace) = (environment(&args.env)?, args.engine.tier(), args.strace);
    confine(args, &path)?;
    let (perf_map, gdb) = (args.perf_map.then_some(Start::New), args.gdb.clone());
    let (opened, by_kernel) = (None, false);
    let stats = args.stats;
    start(Options { path, opened, by_kernel, args: list, env, sysroot, tier, strace, stats, perf_map, gdb })
}

/// A command beside a program, with its options: another program, or an executable of the host's own as a program
/// would execute it. Comes back only with a reason why it did not start.
pub fn beside(args: Box<RunArgs>) -> Result<u8, Refusal> {
    let args = resolve(args)?;
    let name = args.thing.clone().unwrap_or_default();
    let path = found(args.sysroot.as_ref(), &name).ok_or_else(|| Refusal {
        code: 127,
        message: format!("there is no command '{name}' beside the program"),
    })?;
    if elf::is_program(&path) {
        return run(&args, path);
    }
    let mut command = std::process::Command::new(&path);
    command.arg0(&name).args(&args.args).env_clear();
    for line in environment(&args.env)? {
        let (name, value) =
            line.to_bytes().split_at(line.to_bytes().iter().position(|&b| b == b'=').unwrap_or(0));
        command.env(OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..).unwrap_or_default()));
    }
    command.current_dir(args.cwd.as_deref().unwrap_or(Path::new(".")));
    confine(&args, &path)?;
    let error = command.exec();
    Err(Refusal { code: 126, message: format!("{}: {error}", path.display()) })
}

/// The file of a command: by its path, or in the directories of `PATH`, each below the root first.
fn found(root: Option<&PathBuf>, name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(below(root, name.into())).filter(|p| p.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let there = std::env::split_paths(&path).map(|dir| below(root, dir.join(name)));
    let runs = |p: &PathBuf| p.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    there.into_iter().find(runs)
}

/// Puts up what `--limit` and `--deny` ask for; children have it from this process.
fn confine(args: &RunArgs, path: &Path) -> Result<(), Refusal> {
    let limits = args.limit.iter().cloned().fold(Limits::default(), Limits::and);
    let deny = args.deny.iter().copied().fold(Deny::default(), Deny::or);
    // The program's directory, also where a link leads to it.
    let real = path.canonicalize().unwrap_or_default();
    let own = [path, &real].into_iter().filter_map(Path::parent).map(Path::to_path_buf);
    let readable = args.sysroot.iter().cloned().chain(own).collect();
    let notes = Confinement { limits, deny, readable }.apply().map_err(Refusal::refused)?;
    notes.iter().for_each(|note| eprintln!("trine: {note}"));
    Ok(())
}

/// The hidden verb: a program in place of another one.
pub fn again(args: ProgramArgs) -> Result<u8, Refusal> {
    let mut line = args.line.into_iter();
    let path = PathBuf::from(line.next().unwrap_or_default());
    let list = line.map(text).collect::<Result<_, _>>()?;
    let (env, tier, strace) = (environment(&[])?, args.engine.tier(), args.strace);
    let (sysroot, perf_map, gdb) = (args.sysroot, args.perf_map.then_some(Start::Append), args.gdb);
    let (opened, by_kernel, stats) =
        (args.opened.and_then(trine_program::process::take_opened), args.by_kernel, args.stats);
    start(Options { path, opened, by_kernel, args: list, env, sysroot, tier, strace, stats, perf_map, gdb })
}

/// The kernel started this executable for a program of another CPU: its path, its name as it was called, arguments.
pub fn by_kernel(line: Vec<OsString>) -> Result<u8, Refusal> {
    let mut line = line.into_iter();
    let path = PathBuf::from(line.next().unwrap_or_default());
    let args = line.map(text).collect::<Result<_, _>>()?;
    let env = environment(&[])?;
    let tier = Tier::Baseline;
    start(Options {
        path,
        opened: binfmt::opened().and_then(trine_program::process::take_opened),
        by_kernel: true,
        args,
        env,
        sysroot: binfmt::sysroot(),
        tier,
        strace: false,
        stats: false,
        perf_map: None,
        gdb: None,
    })
}

fn start(options: Options) -> Result<u8, Refusal> {
    match trine_program::run(options) {
        Ok(never) => match never {},
        Err(
            e @ (ProgramError::Read { .. }
            | ProgramError::Image { .. }
            | ProgramError::Map { .. }
            | ProgramError::Gdb { .. }
            | ProgramError::PerfMap { .. }
            | ProgramError::Confine(_)),
        ) => Err(Refusal { code: code::REFUSED, message: e.to_string() }),
        Err(e) => Err(Refusal::host(e)),
    }
}
