//! An assembler for the machine code of a first process: instructions, labels, system calls, data, the ELF
//! file.

use super::module_place;
use trine_base::elf::{self, Cpu, Segment};
use trine_isa_riscv::asm;

/// Where its code and its data lie in its address space.
const CODE: u64 = 0x1_0000;
const DATA: u64 = 0x40_0000;
/// Size in bytes of the ELF file's headers: one file header, two program headers.
const HEADERS: usize = elf::HEADER + 2 * elf::PROGRAM_HEADER;
pub const PAGE: usize = 4096;

/// `AT_FDCWD`: paths are absolute.
pub const HERE: Arg = Arg::Value(-100);
/// Numbers of system calls.
pub mod call {
    pub const DUP3: i64 = 24;
    pub const IOCTL: i64 = 29;
    pub const MKDIRAT: i64 = 34;
    pub const UNLINKAT: i64 = 35;
    pub const SYMLINKAT: i64 = 36;
    pub const MOUNT: i64 = 40;
    pub const CHDIR: i64 = 49;
    pub const FCHOWN: i64 = 55;
    pub const OPENAT: i64 = 56;
    pub const CLOSE: i64 = 57;
    pub const WRITE: i64 = 64;
    pub const SYNC: i64 = 81;
    pub const EXIT_GROUP: i64 = 94;
    pub const KILL: i64 = 129;
    pub const SIGPROCMASK: i64 = 135;
    pub const REBOOT: i64 = 142;
    pub const SETRESUID: i64 = 147;
    pub const SETRESGID: i64 = 149;
    pub const SETPGID: i64 = 154;
    pub const SETSID: i64 = 157;
    pub const SETGROUPS: i64 = 159;
    pub const SETHOSTNAME: i64 = 161;
    pub const UMASK: i64 = 166;
    pub const GETPID: i64 = 172;
    pub const SOCKET: i64 = 198;
    pub const CLONE: i64 = 220;
    pub const EXECVE: i64 = 221;
    pub const MMAP: i64 = 222;
    pub const WAIT4: i64 = 260;
    pub const FINIT_MODULE: i64 = 273;
}

/// An argument of a system call.
#[derive(Clone, Copy)]
pub enum Arg {
    Value(i64),
    Register(&'static str),
}

/// Code and data under construction. `@name` in a line stands for the distance to that label.
#[derive(Default)]
pub struct Code {
    pub lines: Vec<String>,
    pub data: Vec<u8>,
}

impl Code {
    pub fn line(&mut self, text: &str) {
        self.lines.push(text.into());
    }

    /// Puts bytes into the data, aligned for any number.
    pub fn place(&mut self, bytes: &[u8]) -> Arg {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        let at = DATA + self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        Arg::Value(at as i64)
    }

    /// Puts a string into the data, followed by a zero byte.
    pub fn text(&mut self, text: impl AsRef<[u8]>) -> Arg {
        let bytes = [text.as_ref(), &[0]].concat();
        self.place(&bytes)
    }

    /// Puts a list of strings into the data, followed by a null pointer.
    pub fn list(&mut self, texts: &[Vec<u8>]) -> Arg {
        let mut pointers = Vec::new();
        for text in texts {
            let Arg::Value(at) = self.text(text) else { continue };
            pointers.extend(at.to_le_bytes());
        }
        pointers.extend([0; 8]);
        self.place(&pointers)
    }

    /// Loads a number into a register: 32 bits, sign-extended.
    pub fn load(&mut self, register: &str, value: i64) {
        let value = i64::from(value as i32);
        let upper = (value + 0x800) & !0xfff;
        if upper == 0 {
            return self.line(&format!("addi {register}, zero, {value}"));
        }
        self.line(&format!("lui {register}, {}", i64::from(upper as i32)));
        self.line(&format!("addiw {register}, {register}, {}", value - upper));
    }

    /// Makes a system call; its result is in `a0`.
    pub fn call(&mut self, number: i64, args: &[Arg]) {
        for (register, arg) in ["a0", "a1", "a2", "a3", "a4", "a5"].iter().zip(args) {
            match arg {
                Arg::Value(value) => self.load(register, *value),
                Arg::Register(from) => self.line(&format!("addi {register}, {from}, 0")),
            }
        }
        self.load("a7", number);
        self.line("ecall");
    }

    pub fn open(&mut self, path: &str, flags: i64) {
        let path = self.text(path);
        self.call(call::OPENAT, &[HERE, path, Arg::Value(flags), Arg::Value(0)]);
    }

    pub fn directory(&mut self, path: impl AsRef<[u8]>, mode: i64) {
        let path = self.text(path);
        self.call(call::MKDIRAT, &[HERE, path, Arg::Value(mode)]);
    }

    pub fn remove(&mut self, path: &str, flags: i64) {
        let path = self.text(path);
        self.call(call::UNLINKAT, &[HERE, path, Arg::Value(flags)]);
    }

    /// Loads modules into the kernel, in this order, and removes their files, which take memory.
    pub fn load_modules(&mut self, modules: &[String]) {
        for name in modules {
            let path = format!("/{}", module_place(name));
            // O_CLOEXEC.
            self.open(&path, 0x8_0000);
            self.line("addi s5, a0, 0");
            let options = self.text("");
            self.call(call::FINIT_MODULE, &[Arg::Register("s5"), options, Arg::Value(0)]);
            self.line(&format!("bge a0, zero, @loaded_{name}"));
            self.say(&format!("trine: the kernel refuses the module {name}\n"));
            self.line(&format!("loaded_{name}:"));
            self.call(call::CLOSE, &[Arg::Register("s5")]);
            self.remove(&path, 0);
        }
    }

    pub fn say(&mut self, text: &str) {
        let at = self.place(text.as_bytes());
        self.call(call::WRITE, &[Arg::Value(2), at, Arg::Value(text.len() as i64)]);
    }

    /// Assembles the code, once all labels are known. Each line is one instruction of 4 bytes.
    pub fn assemble(&self) -> Result<Vec<u8>, String> {
        let mut labels = Vec::new();
        let mut instructions = Vec::new();
        for line in &self.lines {
            match line.strip_suffix(':') {
                Some(label) => labels.push((label, 4 * instructions.len() as i64)),
                None => instructions.push(line),
            }
        }
        let mut code = Vec::new();
        for line in instructions {
            let line = match line.split_once('@') {
                None => line.clone(),
                Some((start, label)) => {
                    let to = labels.iter().find(|(name, _)| *name == label);
                    let (_, to) = to.ok_or_else(|| format!("there is no label '{label}'"))?;
                    format!("{start}{}", to - code.len() as i64)
                }
            };
            code.extend(asm::assemble(&line, false)?.0.to_le_bytes());
        }
        Ok(code)
    }
}

/// Builds a static executable of one code segment and one data segment; `None` where they do not fit.
pub fn executable(code: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let text = HEADERS + code.len();
    let at = text.next_multiple_of(PAGE);
    if CODE + at as u64 > DATA || data.len() > 1 << 24 {
        return None;
    }
    let segments = [
        Segment::loaded(5, 0, CODE, text as u64, PAGE as u64),
        Segment::loaded(6, at as u64, DATA, data.len() as u64, PAGE as u64),
    ];
    let mut file = elf::headers(Cpu::RISCV64, elf::kind::EXECUTABLE, CODE + HEADERS as u64, &segments);
    file.extend_from_slice(code);
    file.resize(at, 0);
    file.extend_from_slice(data);
    Some(file)
}
