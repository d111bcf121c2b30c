//! The host-target interface of bare-metal test suites: the words `tohost` and `fromhost` (riscv-isa-sim,
//! "HTIF"). An odd value of `tohost` ends the machine; an even value is the address of a system call's number
//! and arguments.

use crate::End;
use crate::firmware::{Firmware, FirmwareKind};
use crate::host::Console;
use crate::load::{self, Loaded};
use std::sync::Arc;
use trine_base::Width;
use trine_memory::Ram;

const SYS_WRITE: u64 = 64;
const SYS_EXIT: u64 = 93;
/// The most bytes of one write.
const MOST: u64 = 1 << 20;

/// The addresses of the two words.
#[derive(Clone, Copy, Debug)]
pub struct Htif {
    tohost: u64,
    fromhost: Option<u64>,
}

impl Htif {
    /// The interface with its words at these addresses.
    pub fn at(tohost: u64, fromhost: Option<u64>) -> Htif {
        Htif { tohost, fromhost }
    }

    /// The interface of a loaded ELF file (its bytes) that has symbols for the two words.
    pub fn of(file: &[u8], loaded: &Loaded) -> Option<Htif> {
        let symbol = |name| load::symbol(file, name).map(|at| at.wrapping_add(loaded.shift));
        Some(Htif { tohost: symbol("tohost")?, fromhost: symbol("fromhost") })
    }

    /// Serves what the guest wrote; returns the machine's end, if the guest asked for that.
    pub fn poll(&self, ram: &Ram, console: &Console) -> Option<End> {
        let value = ram.load(self.tohost, Width::B8)?;
        match value {
            0 => return None,
            1 => return Some(End::PowerOff),
            v if v & 1 == 1 => return Some(End::Failure((v >> 1) as u32)),
            _ => {}
        }
        // The upper 16 bits name device and command: 0 is the system-call proxy, 1 the console.
        let end = match value >> 48 {
            0 => self.system_call(ram, console, value),
            0x0101 => {
                console.write(&[value as u8]);
                None
            }
            _ => None,
        };
        ram.store(self.tohost, Width::B8, 0);
        if let Some(fromhost) = self.fromhost {
            ram.store(fromhost, Width::B8, 1);
        }
        end
    }

    fn system_call(&self, ram: &Ram, console: &Console, at: u64) -> Option<End> {
        let word = |n: u64| ram.load(at.checked_add(8 * n)?, Width::B8);
        match word(0)? {
            SYS_WRITE => {
                let (address, len) = (word(2)?, word(3)?.min(MOST));
                let mut bytes = vec![0; len as usize];
                ram.read(address, &mut bytes)?;
                console.write(&bytes);
                ram.store(at, Width::B8, len);
                None
            }
            SYS_EXIT => match word(1)? {
                0 => Some(End::PowerOff),
                code => Some(End::Failure(code as u32)),
            },
            // Not implemented: -ENOSYS.
            _ => {
                ram.store(at, Width::B8, (-38i64) as u64);
                None
            }
        }
    }
}

/// Instructions between two looks at the words: a guest's store to them notifies nobody.
const BUDGET: u64 = 50_000;

/// The interface of a machine without firmware, or with a guest's own firmware.
pub struct Polled {
    words: Htif,
    ram: Arc<Ram>,
    console: Console,
}

impl Polled {
    /// Creates firmware that looks at these words.
    pub fn new(words: Htif, ram: Arc<Ram>, console: Console) -> Polled {
        Polled { words, ram, console }
    }
}

impl Firmware for Polled {
    fn kind(&self) -> FirmwareKind {
        FirmwareKind::Htif { tohost: self.words.tohost, fromhost: self.words.fromhost }
    }

    fn budget(&self) -> u64 {
        BUDGET
    }

    fn poll(&self) -> Option<End> {
        self.words.poll(&self.ram, &self.console)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    const BASE: u64 = 0x8000_0000;
    const TOHOST: u64 = BASE + 0x100;
    const FROMHOST: u64 = BASE + 0x140;
    const CALL: u64 = BASE + 0x200;

    struct Test {
        ram: Ram,
        console: Console,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Test {
        fn new() -> Test {
            let written = Arc::new(Mutex::new(Vec::new()));
            let theirs = written.clone();
            let console =
                Console::new(Box::new(move |bytes| theirs.lock().unwrap().extend_from_slice(bytes)));
            Test { ram: Ram::new(BASE, 1 << 20).unwrap(), console, written }
        }

        fn poll(&self, tohost: u64) -> Option<End> {
            self.ram.store(TOHOST, Width::B8, tohost).unwrap();
            Htif { tohost: TOHOST, fromhost: Some(FROMHOST) }.poll(&self.ram, &self.console)
        }

        fn call(&self, words: [u64; 4]) -> Option<End> {
            (0..).zip(words).for_each(|(i, w)| self.ram.store(CALL + 8 * i, Width::B8, w).unwrap());
            self.poll(CALL)
        }

        fn word(&self, at: u64) -> u64 {
            self.ram.load(at, Width::B8).unwrap()
        }
    }

    #[test]
    fn ends() {
        let t = Test::new();
        assert_eq!((t.poll(0), t.poll(1), t.poll(7)), (None, Some(End::PowerOff), Some(End::Failure(3))));
        assert_eq!(t.call([SYS_EXIT, 0, 0, 0]), Some(End::PowerOff));
        assert_eq!(t.call([SYS_EXIT, 9, 0, 0]), Some(End::Failure(9)));
    }

    #[test]
    fn output_is_answered() {
        let t = Test::new();
        assert_eq!(t.poll(0x0101_0000_0000_0000 | b'x' as u64), None);
        t.ram.write(BASE, b"yz").unwrap();
        assert_eq!(t.call([SYS_WRITE, 1, BASE, 2]), None);
        assert_eq!(*t.written.lock().unwrap(), b"xyz");
        assert_eq!((t.word(TOHOST), t.word(FROMHOST), t.word(CALL)), (0, 1, 2));
        assert_eq!(t.call([1234, 0, 0, 0]), None);
        assert_eq!(t.word(CALL) as i64, -38);
    }

    #[test]
    fn anything_a_guest_may_do() {
        let t = Test::new();
        for (at, len) in
            [(0, 1), (u64::MAX, 2), (BASE + (1 << 20) - 1, 2), (BASE, u64::MAX), (u64::MAX, u64::MAX)]
        {
            t.call([SYS_WRITE, 1, at, len]);
        }
        for address in [2, BASE + (1 << 20) - 8, u64::MAX - 7, 0x0000_ffff_ffff_fff8, 0x0202_0000_0000_0000] {
            t.poll(address);
        }
        let nowhere = Htif { tohost: u64::MAX - 7, fromhost: None };
        assert_eq!(nowhere.poll(&t.ram, &t.console), None);
    }
}
