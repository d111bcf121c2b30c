//! Small programs on a bare hart, for tests: assembly with labels, in both engines with one initial state.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use trine_base::elf::{self, Segment};
use trine_base::{Bus, CountClock, Mailbox, Vcpu, Width};
use trine_engine::{Engine, Tier, Time};
use trine_ir::Isa;
use trine_isa_riscv::{Config, Rv32, Rv64, Start, asm};
use trine_memory::{MemoryError, Ram};

/// Start of RAM, and of the program.
pub const BASE: u64 = 0x8000_0000;
/// Size of RAM.
pub const SIZE: u64 = 8 << 20;

/// A RISC-V CPU that programs are assembled for.
pub trait Cpu: Isa<Config = Config> {
    /// Whether its registers have 32 bits.
    const IS32: bool;
}
impl Cpu for Rv64 {
    const IS32: bool = false;
}
impl Cpu for Rv32 {
    const IS32: bool = true;
}

/// A hart in M mode at [`BASE`], without firmware.
pub struct Bare<I: Cpu = Rv64> {
    /// The hart.
    pub vcpu: Engine<I>,
    /// Its memory.
    pub ram: Arc<Ram>,
}

/// Assembles lines; `name:` is a label, `@name` its distance from the instruction. Returns the code.
///
/// # Panics
/// A line is not an instruction: this is for tests.
pub fn assemble(text: &str) -> Vec<u8> {
    assemble_for::<Rv64>(text)
}

/// [`assemble`] for a CPU.
///
/// # Panics
/// As [`assemble`].
pub fn assemble_for<I: Cpu>(text: &str) -> Vec<u8> {
    let lines: Vec<&str> =
        text.lines().map(|l| l.split('#').next().unwrap_or("").trim()).filter(|l| !l.is_empty()).collect();
    let size = |l: &str| if l.ends_with(':') { 0 } else { 4 - 2 * l.starts_with("c.") as u64 };
    let mut labels = std::collections::BTreeMap::new();
    let mut at = 0;
    for l in &lines {
        if let Some(name) = l.strip_suffix(':') {
            labels.insert(name, at);
        }
        at += size(l);
    }
    let mut code = Vec::new();
    for l in lines.iter().filter(|l| !l.ends_with(':')) {
        let mut line = l.to_string();
        for (name, target) in labels.iter().rev() {
            line = line.replace(&format!("@{name}"), &(*target as i64 - code.len() as i64).to_string());
        }
        let (word, bytes) = asm::assemble(&line, I::IS32).unwrap_or_else(|e| panic!("{e}"));
        code.extend_from_slice(&word.to_le_bytes()[..bytes as usize]);
    }
    code
}

/// An ELF executable for RISC-V whose only segment is `code`, at physical address `at`, where it also starts.
pub fn executable(at: u64, code: &[u8]) -> Vec<u8> {
    let size = code.len() as u64;
    // One segment, readable, writable and executable, behind the headers.
    let segment = Segment::loaded(7, (elf::HEADER + elf::PROGRAM_HEADER) as u64, at, size, 8);
    let mut file = elf::headers(elf::Cpu::RISCV64, elf::kind::EXECUTABLE, at, &[segment]);
    file.extend_from_slice(code);
    file
}

/// A program in a file, which is removed when this is dropped.
pub struct ProgramFile(PathBuf);

impl ProgramFile {
    /// Assembles `text` for address `at`.
    ///
    /// # Panics
    /// As [`assemble`]; also if the file cannot be written.
    pub fn new(at: u64, text: &str) -> ProgramFile {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("trine-program-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, executable(at, &assemble(text)))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        ProgramFile(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// A program for M mode at `at` in which every hart counts, in a line of its own ([`counter_of`]).
pub fn counting_harts(at: u64) -> ProgramFile {
    ProgramFile::new(
        at,
        &format!(
            "jal s0, @start
             start:
             lui s1, {COUNTERS}
             add s1, s1, s0
             slli a0, a0, 6
             add s1, s1, a0
             count:
             addi t0, t0, 1
             sw t0, 0(s1)
             jal zero, @count"
        ),
    )
}

/// Bytes from the second instruction of [`counting_harts`] to the first counter.
const COUNTERS: u64 = 0x1_0000;

/// Where a hart of [`counting_harts`] counts: 4 bytes.
pub fn counter_of(at: u64, hart: u64) -> u64 {
    at + 4 + COUNTERS + (hart << 6)
}

impl Drop for ProgramFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

impl<I: Cpu> Bare<I> {
    /// Creates a hart that will run `program`.
    ///
    /// # Panics
    /// As [`assemble`].
    pub fn new(tier: Tier, program: &str) -> Self {
        let bare = Bare::with_memory(tier, SIZE).unwrap_or_else(|e| panic!("{e}"));
        bare.ram.write(BASE, &assemble_for::<I>(program));
        bare
    }

    /// Creates a hart that will run what is at [`BASE`], with `size` bytes of memory, all zero.
    ///
    /// # Errors
    /// The host does not have that much memory.
    pub fn with_memory(tier: Tier, size: u64) -> Result<Self, MemoryError> {
        let ram = Arc::new(Ram::new(BASE, size)?);
        let mailbox = Arc::new(Mailbox::new());
        let clock = Arc::new(CountClock::new(1, 0));
        let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
        let config = Config { hart: 0, start: Start::Machine };
        let (mut vcpu, _) = Engine::new(config, ram.clone(), bus, Time::Count(clock), mailbox, tier);
        vcpu.set_warm(1);
        vcpu.set_pc(BASE);
        Ok(Bare { vcpu, ram })
    }

    /// Reads a register by its name.
    ///
    /// # Panics
    /// There is no register of that name.
    pub fn get(&self, name: &str) -> u64 {
        let found = self.vcpu.registers().iter().find(|r| r.name == name);
        self.vcpu.get(found.unwrap_or_else(|| panic!("there is no register {name}")).slot)
    }

    /// Writes a double-word of memory.
    pub fn poke(&self, at: u64, value: u64) {
        self.ram.store(at, Width::B8, value);
    }
}

/// Runs a program in both engines for `budget` instructions, after `setup`; all registers must agree. Returns
/// the hart with the compiler.
///
/// # Panics
/// The registers differ.
pub fn both(budget: u64, program: &str, setup: impl Fn(&mut Bare)) -> Bare {
    both_on(budget, program, setup)
}

/// [`both`] on a CPU.
///
/// # Panics
/// As [`both`].
pub fn both_on<I: Cpu>(budget: u64, program: &str, setup: impl Fn(&mut Bare<I>)) -> Bare<I> {
    let [a, b] = [Tier::Interp, Tier::Baseline].map(|tier| {
        let mut bare = Bare::new(tier, program);
        setup(&mut bare);
        bare.vcpu.run(budget);
        bare
    });
    for r in a.vcpu.registers() {
        assert_eq!(a.vcpu.get(r.slot), b.vcpu.get(r.slot), "{} in interpreter and compiler", r.name);
    }
    assert_eq!((a.vcpu.pc(), a.vcpu.count()), (b.vcpu.pc(), b.vcpu.count()), "pc and count");
    assert!(b.vcpu.stats().entered > 0, "nothing was compiled");
    b
}
