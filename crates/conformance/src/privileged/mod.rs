//! Random programs for M, S and U mode on a bare machine: page tables with leaves of all sizes in Sv39 and
//! Sv48, every form of `sfence.vma`, traps, delegation, protection and CSRs. They run under QEMU's machine
//! emulator and under both engines. The memory that they leave is compared: a log of traps and results, the
//! page tables, the frames.

mod code;
mod layout;
mod steps;

use crate::bare::Bare;
use crate::random::Random;
use code::Code;
use layout::*;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use steps::World;
use trine_base::{Vcpu, Width};
use trine_engine::Tier;

/// Steps of a program.
const LENGTH: u64 = 150;
/// A number of instructions that no program reaches.
const MOST: u64 = 3_000_000;
/// How long QEMU may take for one program.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the reduction of a program that differs may take.
const SHORTEN: Duration = Duration::from_secs(120);

/// QEMU's machine emulator, and arguments that precede all others.
pub struct Qemu {
    /// The program.
    pub program: PathBuf,
    /// The arguments.
    pub arguments: Vec<String>,
}

/// A program: the contents of memory at its start.
struct Program {
    /// Physical addresses and what lies there.
    memory: Vec<(u64, Vec<u8>)>,
    /// Descriptions of its steps.
    texts: Vec<(u64, String)>,
}

/// The program of a seed, with these of its steps.
fn program(seed: u64, steps: &[u64]) -> Program {
    let mut random = Random::new(seed);
    let world = World::new(&mut random);
    let mut memory: Vec<(u64, Vec<u8>)> = Vec::new();
    for (at, value) in fixed().into_iter().chain(world.entries(&mut random)) {
        memory.push((at, value.to_le_bytes().to_vec()));
    }
    for (n, at) in pages().enumerate() {
        let mut page = Code::default();
        for word in 0..256u64 {
            page.bytes.extend((at.rotate_left(20) ^ word << 8 | n as u64).to_le_bytes());
        }
        memory.push((at, page.bytes));
        let mut function = Code::default();
        function.lines(&format!("addi t2, zero, {}\njalr zero, 0(ra)", n + 1));
        memory.push((at + FUNCTION, function.bytes));
    }
    let mut code = Code::prologue();
    // All memory is accessible to all modes unless another entry matches.
    code.li("t0", u64::MAX >> 10);
    code.lines("csrrw zero, 0x3bf, t0");
    code.li("t0", 0x1f << 56);
    code.lines(
        "csrrw zero, 0x3a2, t0\ncsrrw zero, mie, zero\ncsrrw zero, mideleg, zero\ncsrrw zero, menvcfg, zero",
    );
    let mut texts = Vec::new();
    for &step in steps {
        let made = steps::make(&world, seed, step);
        while made.aligned && !code.bytes.len().is_multiple_of(0x1000) {
            code.lines("addi zero, zero, 0");
        }
        code.bytes.extend(made.code);
        texts.push((step, made.text));
    }
    code.li("t0", END);
    code.lines("sd s0, 0(t0)\naddi t1, zero, 1\nsd t1, 8(t0)");
    // Ends QEMU's board; a board without this device raises a fault.
    code.lines("auipc t0, 0\naddi t0, t0, 28\ncsrrw zero, mtvec, t0");
    code.lines("lui t0, 1048576\nlui t1, 20480\naddi t1, t1, 1365\nsw t1, 0(t0)\njal zero, 0");
    assert!((code.bytes.len() as u64) < LOG - CODE, "a program is too long");
    memory.push((CODE, code.bytes));
    Program { memory, texts }
}

/// The pages that have content.
fn pages() -> impl Iterator<Item = u64> {
    FRAMES.iter().flat_map(|frame| PAGES.iter().map(move |page| frame + page * 0x1000))
}

/// What is compared: names, addresses, sizes.
fn compared() -> Vec<(&'static str, u64, u64)> {
    let mut all = vec![("the log", LOG, LOG_SIZE + 16), ("page tables", TABLES, TABLES_SIZE)];
    all.extend(pages().map(|page| ("a frame", page, 0x1000)));
    all
}

/// The memory that a program leaves, range by range.
type Left = Vec<Vec<u8>>;

/// Runs a program in one of our engines.
fn ours(program: &Program, tier: Tier) -> Result<Left, String> {
    let mut bare: Bare = Bare::with_memory(tier, SIZE).map_err(|e| e.to_string())?;
    for (at, bytes) in &program.memory {
        bare.ram.write(*at, bytes).ok_or("memory is too small")?;
    }
    while bare.ram.load(END + 8, Width::B8) == Some(0) {
        let exit = bare.vcpu.run(20_000);
        if bare.vcpu.count() > MOST || exit != trine_base::Exit::Budget {
            let (pc, log) = (bare.vcpu.pc(), bare.get("s0"));
            return Err(format!("{tier:?} does not end ({exit:?}): pc {pc:#x}, log at {log:#x}"));
        }
    }
    let read = |(_, at, length): &(&str, u64, u64)| {
        let mut bytes = vec![0; *length as usize];
        bare.ram.read(*at, &mut bytes).map(|()| bytes).ok_or("memory is too small".to_string())
    };
    compared().iter().map(read).collect()
}

/// Runs a program under QEMU, whose memory is a file.
fn theirs(program: &Program, qemu: &Qemu, dir: &Path) -> Result<Left, String> {
    let (path, text) = (dir.join("memory"), |e: std::io::Error| format!("QEMU's memory: {e}"));
    let mut file =
        File::options().read(true).write(true).create(true).truncate(true).open(&path).map_err(text)?;
    file.set_len(SIZE).map_err(text)?;
    for (at, bytes) in &program.memory {
        file.write_all_at(bytes, at - CODE).map_err(text)?;
    }
    let mut child = Command::new(&qemu.program)
        .args(&qemu.arguments)
        .args(["-machine", "virt,memory-backend=ram", "-m", &format!("{}M", SIZE >> 20), "-smp", "1"])
        .arg("-object")
        .arg(format!("memory-backend-file,id=ram,size={}M,mem-path={},share=on", SIZE >> 20, path.display()))
        // Extensions that our CPU lacks, and those that change the layout of registers, are disabled.
        .args(["-cpu", "rv64,sv57=off,h=off,v=off,svade=on,svadu=on,svpbmt=off,svnapot=off,smepmp=off"])
        .args(["-bios", "none", "-display", "none", "-serial", "none", "-monitor", "none", "-net", "none"])
        .arg("-no-reboot")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}", qemu.program.display()))?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break status,
            None if start.elapsed() > PATIENCE => {
                drop(child.kill());
                drop(child.wait());
                let mut log = vec![0; LOG_SIZE as usize];
                file.read_exact_at(&mut log, LOG - CODE).map_err(text)?;
                return Err(format!("QEMU does not end: {}", last_step(program, &log, log.len() - 32)));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut said = String::new();
    if let Some(mut errors) = child.stderr.take() {
        drop(errors.read_to_string(&mut said));
    }
    if !status.success() {
        return Err(format!("QEMU: {status}, {said}"));
    }
    let mut left = Vec::new();
    for (_, at, length) in compared() {
        let mut bytes = vec![0; length as usize];
        file.seek(SeekFrom::Start(at - CODE)).and_then(|_| file.read_exact(&mut bytes)).map_err(text)?;
        left.push(bytes);
    }
    if left[0][LOG_SIZE as usize + 8] != 1 {
        return Err("QEMU ended before the program did".into());
    }
    Ok(left)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Describes the step to which a record of the log belongs.
fn last_step(program: &Program, log: &[u8], record: usize) -> String {
    let mut marks = (0..=record / 32).rev().map(|n| word(log, 32 * n));
    let step = marks.find(|mark| mark >> 32 == steps::MARK >> 32).map(|mark| mark & 0xffff_ffff);
    match program.texts.iter().find(|(n, _)| Some(*n) == step) {
        Some((n, text)) => format!("in step {n}: {text}"),
        None => "before the first step".into(),
    }
}

/// Describes where two programs first differ: ours, then QEMU's.
fn difference(program: &Program, ours: &Left, theirs: &Left) -> Option<String> {
    for ((name, start, _), (a, b)) in compared().iter().zip(ours.iter().zip(theirs)) {
        let Some(at) = a.iter().zip(b).position(|(a, b)| a != b) else { continue };
        if *name != "the log" || at as u64 >= LOG_SIZE {
            let at = at & !7;
            let place = start + at as u64;
            return Some(format!("{name} at {place:#x}: {:#x} and {:#x}", word(a, at), word(b, at)));
        }
        let record = at / 32 * 32;
        let show = |bytes: &[u8]| {
            let words: Vec<String> = (0..4).map(|n| format!("{:#x}", word(bytes, record + 8 * n))).collect();
            words.join(" ")
        };
        return Some(format!("{} and {}, {}", show(a), show(b), last_step(program, b, record)));
    }
    None
}

fn compare(program: &Program, qemu: &Qemu, dir: &Path) -> Result<(), String> {
    let theirs = theirs(program, qemu, dir)?;
    for tier in [Tier::Interp, Tier::Baseline] {
        if let Some(what) = difference(program, &ours(program, tier)?, &theirs) {
            return Err(format!("{tier:?}: {what}"));
        }
    }
    Ok(())
}

/// Reduces a program that differs: removes steps that are not needed for the difference.
fn shortest(seed: u64, qemu: &Qemu, dir: &Path) -> Option<(Vec<u64>, String)> {
    let differs = |steps: &[u64]| compare(&program(seed, steps), qemu, dir).err();
    let mut steps: Vec<u64> = (0..LENGTH).collect();
    let mut what = differs(&steps)?;
    let start = Instant::now();
    let mut chunk = steps.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < steps.len() && start.elapsed() < SHORTEN {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + chunk).min(steps.len()));
            match differs(&fewer) {
                Some(still) => (steps, what) = (fewer, still),
                None => at += chunk,
            }
        }
        chunk /= 2;
    }
    Some((steps, what))
}

/// A temporary directory, in memory if possible.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, String> {
        let shared = Path::new("/dev/shm");
        let base = if shared.is_dir() { shared.to_path_buf() } else { std::env::temp_dir() };
        let dir = base.join(format!("trine-privileged-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Scratch(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Runs `programs` programs, the first with `seed`. Returns a report, or an error that says where a
/// difference is, and with which steps alone.
///
/// # Errors
/// There is a difference, or QEMU or an engine does not end.
pub fn run(qemu: &Qemu, programs: u64, seed: u64) -> Result<String, String> {
    let dir = Scratch::new()?;
    let all: Vec<u64> = (0..LENGTH).collect();
    for n in seed..seed + programs {
        if let Err(what) = compare(&program(n, &all), qemu, &dir.0) {
            eprintln!("program {n}: {what}");
            let short = shortest(n, qemu, &dir.0).map_or_else(String::new, |(steps, what)| {
                let texts: Vec<String> =
                    program(n, &steps).texts.iter().map(|(n, text)| format!("{n}: {text}")).collect();
                format!("\nwith these steps alone:\n{}\n{what}", texts.join("\n"))
            });
            return Err(format!("program {n}, {what}{short}"));
        }
    }
    Ok(format!("{programs} programs of {LENGTH} steps, no difference"))
}
