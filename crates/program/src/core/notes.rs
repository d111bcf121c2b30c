//! The notes of a core file (Linux, fs/binfmt_elf.c and include/uapi/linux/elfcore.h).

use super::parts::Part;
use trine_base::Words;
use trine_linux::abi::{GuestAbi, Info, Registers};
use trine_linux::space::PAGE;

const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
const NT_SIGINFO: u32 = 0x5349_4749;
const NT_FILE: u32 = 0x4649_4c45;

/// Bytes of `pr_fname` and `pr_psargs`.
const NAME: usize = 16;
const ARGS: usize = 80;

/// A stopped thread.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// Its thread ID.
    pub tid: i32,
    /// The signals that it blocks.
    pub mask: u64,
    /// Its registers.
    pub registers: Registers,
}

/// The properties of the process for the notes.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// IDs of the process, its parent, its process group and its session.
    pub ids: [i32; 4],
    /// User and group ID.
    pub owner: [u32; 2],
    /// Its nice value.
    pub nice: i8,
    /// Its name.
    pub name: Vec<u8>,
    /// Its command line, with spaces between the arguments.
    pub args: Vec<u8>,
    /// User and system CPU time, then those of its children, each in seconds and microseconds.
    pub times: [[u64; 2]; 4],
}

/// Notes under construction.
pub struct Notes {
    /// Their bytes.
    pub bytes: Vec<u8>,
    words: Words,
}

impl Notes {
    /// Adds a note of a type that Linux has on all CPUs.
    fn add(&mut self, kind: u32, bytes: &[u8]) {
        self.add_of("CORE", kind, bytes);
    }

    fn add_of(&mut self, owner: &str, kind: u32, bytes: &[u8]) {
        for word in [owner.len() as u32 + 1, bytes.len() as u32, kind] {
            self.words.put(&mut self.bytes, 4, word.into());
        }
        self.bytes.extend(owner.bytes().chain([0]));
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Encodes 32-bit numbers, one after the other.
    fn ints(&self, values: &[i32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        values.iter().for_each(|&value| self.words.put(&mut bytes, 4, value as u32 as u64));
        bytes
    }

    /// `struct elf_prstatus`.
    fn status<A: GuestAbi>(&mut self, about: &About, thread: &Stopped, signal: i32) {
        let words = self.words;
        // pr_info: signal, code, errno; pr_cursig; pr_sigpend.
        let mut b = self.ints(&[signal, 0, 0, signal]);
        b.extend(words.addresses(&[0, thread.mask]));
        let [_, parent, group, session] = about.ids;
        b.extend(self.ints(&[thread.tid, parent, group, session]));
        b.extend(words.addresses(about.times.as_flattened()));
        b.extend(words.addresses(&A::core_registers(&thread.registers)));
        // pr_fpvalid, and padding.
        b.extend(self.ints(&[1, 0]));
        self.add(NT_PRSTATUS, &b);
    }

    /// `struct elf_prpsinfo`.
    fn process(&mut self, about: &About) {
        // pr_state, pr_sname, pr_zomb, pr_nice; pr_flag.
        let mut b = vec![0, b'R', 0, about.nice as u8, 0, 0, 0, 0];
        b.extend([0; 8]);
        b.extend(self.ints(&about.owner.map(|id| id as i32)));
        b.extend(self.ints(&about.ids));
        for (text, bytes) in [(&about.name, NAME), (&about.args, ARGS)] {
            let end = b.len() + bytes;
            b.extend(text.iter().take(bytes - 1));
            b.resize(end, 0);
        }
        self.add(NT_PRPSINFO, &b);
    }

    /// The mapped files: their number and the unit of offsets; their ranges; their names.
    fn files(&mut self, parts: &[Part]) {
        let files: Vec<_> = parts.iter().filter_map(|p| Some((&p.view, p.view.file.as_ref()?))).collect();
        let mut b = self.words.addresses(&[files.len() as u64, PAGE]);
        for (view, _) in &files {
            b.extend(self.words.addresses(&[view.start, view.end, view.offset / PAGE]));
        }
        for (_, file) in &files {
            b.extend(file.bytes());
            b.push(0);
        }
        self.add(NT_FILE, &b);
    }

    /// All notes of a process that `signal` kills; the thread that died comes first.
    pub fn of<A: GuestAbi>(
        about: &About,
        threads: &[Stopped],
        (signal, info): (i32, &Info),
        auxv: &[u8],
        parts: &[Part],
    ) -> Notes {
        let mut notes = Notes { bytes: Vec::new(), words: A::machine().words() };
        for (i, thread) in threads.iter().enumerate() {
            notes.status::<A>(about, thread, signal);
            if i == 0 {
                notes.process(about);
                notes.add(NT_SIGINFO, &notes.words.addresses(info));
                notes.add(NT_AUXV, auxv);
                notes.files(parts);
            }
            for note in A::core_notes(&thread.registers) {
                notes.add_of(note.owner, note.kind, &note.bytes);
            }
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_isa_riscv::Rv64;
    use trine_isa_riscv::state::{F, FFLAGS, FRM, X};
    use trine_linux::space::View;

    fn stopped(tid: i32) -> Stopped {
        let integer = (1..32).map(|i| (X + i, 0x1000 * tid as u64 + i as u64));
        let float = (0..32).map(|i| (F + i, 0x2000 * tid as u64 + i as u64));
        let slots = integer.chain(float).chain([(FFLAGS, 1), (FRM, 3)]).collect();
        let registers = Registers { pc: 0x1000 * tid as u64, slots };
        Stopped { tid, mask: 0xaa, registers }
    }

    /// Type and contents of each note.
    fn parsed(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
        let mut notes = Vec::new();
        while !bytes.is_empty() {
            let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
            let (name, size, kind) = (word(0), word(4) as usize, word(8));
            assert_eq!((name, &bytes[12..20]), (5, &b"CORE\0\0\0\0"[..]));
            notes.push((kind, &bytes[20..20 + size]));
            bytes = &bytes[20 + size.next_multiple_of(4)..];
        }
        notes
    }

    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
    }

    #[test]
    fn notes_lie_where_readers_look() {
        let about = About {
            ids: [70, 60, 50, 40],
            owner: [1000, 1001],
            name: b"a program with a long name".to_vec(),
            args: [b'x'; 100].to_vec(),
            times: [[1, 2], [3, 4], [5, 6], [7, 8]],
            ..About::default()
        };
        let part = |start, file| {
            let view =
                View { start, end: start + 0x2000, protection: 5, shared: false, file, offset: 0x3000 };
            Part { view, kept: 0 }
        };
        let parts = [part(0x10000, Some("/lib/a".into())), part(0x20000, None)];
        let mut info = [0; 16];
        info[0] = 11;
        let made = Notes::of::<Rv64>(&about, &[stopped(71), stopped(70)], (11, &info), &[9; 32], &parts);
        let notes = parsed(&made.bytes);
        let kinds: Vec<u32> = notes.iter().map(|n| n.0).collect();
        assert_eq!(kinds, [1, 3, 0x5349_4749, 6, 0x4649_4c45, 2, 1, 2]);
        // Offsets as in binutils' bfd/elfnn-riscv.c.
        let (status, process) = (notes[0].1, notes[1].1);
        assert_eq!((status.len(), word(status, 0), word(status, 12) as u16), (376, 11, 11));
        assert_eq!((word(status, 24), word(status, 32)), (0xaa, 60 << 32 | 71));
        assert_eq!((word(status, 48), word(status, 104)), (1, 8));
        assert_eq!((word(status, 112), word(status, 112 + 31 * 8)), (0x47000, 0x4701f));
        assert_eq!((word(notes[6].1, 32) as u32, word(notes[6].1, 112)), (70, 0x46000));
        assert_eq!(
            (process.len(), word(process, 16), word(process, 24)),
            (136, 1001 << 32 | 1000, 60 << 32 | 70)
        );
        assert_eq!(&process[40..56], b"a program with \0");
        assert_eq!((process[56], process[134], process[135]), (b'x', b'x', 0));
        assert_eq!((notes[2].1.len(), notes[3].1), (128, &[9; 32][..]));
        let files = notes[4].1;
        let words: Vec<u64> = (0..5).map(|i| word(files, 8 * i)).collect();
        assert_eq!((words, &files[40..]), (vec![1, 0x1000, 0x10000, 0x12000, 3], &b"/lib/a\0"[..]));
        let float = notes[5].1;
        assert_eq!((float.len(), word(float, 8), word(float, 256)), (264, 0x8e001, 0x61));
    }
}
