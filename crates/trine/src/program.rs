//! `trine run PROGRAM`: a Linux executable of another CPU.

use crate::args::{ProgramArgs, RunArgs};
use crate::guest::sysroot::{self, below};
use crate::{Refusal, binfmt, code};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use trine_engine::Tier;
use trine_engine::perf::Start;
use trine_program::confine::{Confinement, Deny, Limits};
use trine_program::{ProgramError, ProgramOptions, elf};

fn text(s: OsString) -> Result<CString, Refusal> {
    CString::new(s.into_vec()).map_err(|_| Refusal::refused("an argument has a zero byte in it"))
}

/// The environment: the host's with the changes that the options ask for.
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

/// Runs the executable; returns only if it could not be started.
pub fn run(args: &RunArgs, path: PathBuf, sysroot: Option<PathBuf>) -> Result<u8, Refusal> {
    let name = OsString::from(args.thing.clone().unwrap_or_default());
    let list = [name].into_iter().chain(args.args.iter().cloned()).map(text).collect::<Result<_, _>>()?;
    let path = std::path::absolute(&path).map_err(Refusal::host)?;
    if let Some(dir) = &args.cwd {
        std::env::set_current_dir(dir)
            .map_err(|e| Refusal::refused(format!("--cwd {}: {e}", dir.display())))?;
    }
    let (env, tier, strace) = (environment(&args.env)?, args.engine.tier(), args.strace);
    confine(args, &path, sysroot.as_deref())?;
    let (perf_map, gdb) = (args.perf_map.then_some(Start::New), args.gdb.clone());
    let (opened, by_kernel) = (None, false);
    let stats = args.stats;
    start(ProgramOptions {
        path,
        opened,
        by_kernel,
        args: list,
        env,
        sysroot,
        tier,
        strace,
        stats,
        perf_map,
        gdb,
    })
}

/// Runs a command beside a program, with the program's options: another program, or an executable of the host
/// as a program would execute it. Returns only if it could not be started.
pub fn beside(args: Box<RunArgs>) -> Result<u8, Refusal> {
    let root = args.sysroot.clone().map(|root| sysroot::root(root, &args.packages, None)).transpose()?;
    let name = args.thing.clone().unwrap_or_default();
    let path = found(root.as_ref(), &name).ok_or_else(|| Refusal {
        code: 127,
        message: format!("command '{name}' does not exist beside the program"),
    })?;
    if elf::is_program(&path) {
        return run(&args, path, root);
    }
    let mut command = std::process::Command::new(&path);
    command.arg0(&name).args(&args.args).env_clear();
    for line in environment(&args.env)? {
        let (name, value) =
            line.to_bytes().split_at(line.to_bytes().iter().position(|&b| b == b'=').unwrap_or(0));
        command.env(OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..).unwrap_or_default()));
    }
    command.current_dir(args.cwd.as_deref().unwrap_or(Path::new(".")));
    confine(&args, &path, root.as_deref())?;
    let error = command.exec();
    Err(Refusal { code: 126, message: format!("{}: {error}", path.display()) })
}

/// The file of a command: by its path, or in the directories of `PATH`, below the root first.
fn found(root: Option<&PathBuf>, name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(below(root, name.into())).filter(|p| p.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let there = std::env::split_paths(&path).map(|dir| below(root, dir.join(name)));
    let runs = |p: &PathBuf| p.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    there.into_iter().find(runs)
}

/// Applies `--limit` and `--deny` to this process, from which children inherit them.
fn confine(args: &RunArgs, path: &Path, root: Option<&Path>) -> Result<(), Refusal> {
    let limits = args.limit.iter().cloned().fold(Limits::default(), Limits::and);
    let deny = args.deny.iter().copied().fold(Deny::default(), Deny::or);
    // The program's directory, after following links.
    let real = path.canonicalize().unwrap_or_default();
    let own = [path, &real].into_iter().filter_map(Path::parent).map(Path::to_path_buf);
    let readable = root.map(Path::to_path_buf).into_iter().chain(own).collect();
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
    start(ProgramOptions {
        path,
        opened,
        by_kernel,
        args: list,
        env,
        sysroot,
        tier,
        strace,
        stats,
        perf_map,
        gdb,
    })
}

/// The host's kernel started this executable for a program of another CPU, with its path, argument 0 and the
/// other arguments.
pub fn by_kernel(line: Vec<OsString>) -> Result<u8, Refusal> {
    let mut line = line.into_iter();
    let path = PathBuf::from(line.next().unwrap_or_default());
    let args = line.map(text).collect::<Result<_, _>>()?;
    let env = environment(&[])?;
    let tier = Tier::Baseline;
    start(ProgramOptions {
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

fn start(options: ProgramOptions) -> Result<u8, Refusal> {
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
