//! GCC's c-torture/execute, cross-compiled and run inside the machine in batches; every program must
//! end as it does under QEMU's user mode.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use trine_image::archive::{self, Entry};
use trine_test_support::command::Running;
use trine_test_support::tools;

/// Programs in one machine.
const BATCH: usize = 120;
/// Time limit of a program under QEMU.
const LONGEST: Duration = Duration::from_secs(20);

/// Runs all programs compiled at `level`.
pub fn run(level: &str) -> Result<(), String> {
    let sources = sources()?;
    let dir = tools::root().join("target/tools").join(format!("torture{level}"));
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let gcc = tools::cross_gcc()?;
    let qemu = tools::qemu_user("riscv64")?;
    let built = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(source) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some((name, program)) = compile(&gcc, source, level, &dir)
                        && let Some(code) = under_qemu(&qemu, &program)
                    {
                        built.lock().unwrap_or_else(|e| e.into_inner()).insert(name, (program, code));
                    }
                }
            });
        }
    });
    let built: Vec<_> = built.into_inner().unwrap_or_else(|e| e.into_inner()).into_iter().collect();
    let mut differ = Vec::new();
    for batch in built.chunks(BATCH) {
        let codes = in_machine(batch, &dir)?;
        for (name, (_, code)) in batch {
            match codes.get(name) {
                Some(c) if c == code => {}
                other => differ.push(format!("{name}: {other:?} here, {code} under QEMU")),
            }
        }
    }
    println!(
        "c-torture {level}: {} of {} files compiled and run, {} differ",
        built.len(),
        sources.len(),
        differ.len()
    );
    drop(std::fs::remove_dir_all(&dir));
    if differ.is_empty() { Ok(()) } else { Err(differ.join("\n")) }
}

/// The archive of the compiler itself, not of one of its extra languages.
fn is_gcc(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("gcc-"))
}

/// The test files, out of the package of GCC's sources.
fn sources() -> Result<Vec<PathBuf>, String> {
    let package = tools::unpacked("gcc-source", "bookworm", &["gcc-12-source"], false)?;
    let dir = package.join("execute");
    if !dir.exists() {
        let home = package.join("usr/src/gcc-12");
        let files = std::fs::read_dir(&home).map_err(|e| e.to_string())?.flatten();
        let tar = files.map(|f| f.path()).find(|p| is_gcc(p)).ok_or("no sources inside")?;
        let status = Command::new("tar")
            .arg("-xf")
            .arg(&tar)
            .arg("-C")
            .arg(&package)
            .args(["--wildcards", "--strip-components=4", "*/testsuite/gcc.c-torture/execute/*"])
            .status();
        if !status.is_ok_and(|s| s.success()) || !dir.exists() {
            return Err(format!("{} cannot be unpacked", tar.display()));
        }
    }
    let mut found = Vec::new();
    for place in [dir.clone(), dir.join("ieee")] {
        let files = std::fs::read_dir(&place).into_iter().flatten().flatten().map(|f| f.path());
        found.extend(files.filter(|p| p.extension().is_some_and(|e| e == "c")));
    }
    found.sort();
    Ok(found)
}

/// Compiles a file; some do not without options of their own and are left out, as under QEMU.
fn compile(gcc: &Path, source: &Path, level: &str, dir: &Path) -> Option<(String, PathBuf)> {
    let parent = source.parent()?.file_name()?.to_string_lossy().into_owned();
    let name = format!("{parent}-{}", source.file_stem()?.to_string_lossy());
    let program = dir.join(&name);
    let status = tools::gcc(gcc)
        .args([level, "-w", "-static", "-s", "-o"])
        .arg(&program)
        .arg(source)
        .arg("-lm")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|s| s.success()).then_some((name, program))
}

/// The shell's number for the way it ends; `None` if it takes too long.
fn under_qemu(qemu: &Path, program: &Path) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    let child = Command::new(qemu)
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut child = Running(child);
    let status = child.end(LONGEST).ok()??;
    Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// Runs a batch in one machine.
fn in_machine(batch: &[(String, (PathBuf, i32))], dir: &Path) -> Result<BTreeMap<String, i32>, String> {
    let mut script = String::from("#!/bin/sh\n");
    let mut entries = vec![Entry::directory("t")];
    for (name, (program, _)) in batch {
        let bytes = std::fs::read(program).map_err(|e| e.to_string())?;
        entries.push(Entry::file(&format!("t/{name}"), 0o755, &bytes));
        script += &format!("/t/{name} >/dev/null 2>&1; echo \"RESULT {name} $?\"\n");
    }
    entries.push(Entry::file("batch", 0o755, script.as_bytes()));
    let mut initrd = std::fs::read(tools::guest()?.initrd).map_err(|e| e.to_string())?;
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd.extend(archive::write(&entries).map_err(|e| e.to_string())?);
    let path = dir.join("batch.cpio");
    std::fs::write(&path, initrd).map_err(|e| e.to_string())?;
    let out = Command::new(tools::trine()?)
        .args(["run", "linux", "--memory", "1G", "--append", "trine.exec=/batch", "--initrd"])
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&out.stdout);
    let line = |l: &str| {
        let (name, code) = l.trim().strip_prefix("RESULT ")?.split_once(' ')?;
        Some((name.to_string(), code.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}
