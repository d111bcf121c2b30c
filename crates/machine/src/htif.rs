//! The host-target interface of bare-metal test suites: the words `tohost` and `fromhost`
//! (riscv-isa-sim, "HTIF"). An odd value ends the machine; an even one is the address of a system
//! call's number and arguments.

use crate::host::Console;
use crate::load::Loaded;
use crate::virt::End;
use trine_base::Width;
use trine_memory::Ram;

const SYS_WRITE: u64 = 64;
const SYS_EXIT: u64 = 93;
/// Most bytes of one write.
const MOST: u64 = 1 << 20;

/// The two words.
#[derive(Clone, Copy, Debug)]
pub struct Htif {
    tohost: u64,
    fromhost: Option<u64>,
}

impl Htif {
    /// For an ELF file that names the words.
    pub fn of(loaded: &Loaded) -> Option<Htif> {
        Some(Htif { tohost: loaded.tohost?, fromhost: loaded.fromhost })
    }

    /// Serves what the guest wrote; the machine's end, if that is what it asked for.
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
