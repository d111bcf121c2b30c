//! Placing the software of a machine in the memory of board `virt`.

use super::htif::Htif;
use super::{fdt, kernel, map};
use crate::MachineError;
use crate::boot::{Boot, Initrd};
use crate::firmware::FirmwareKind;
use crate::load::{self, Loaded, does_not_fit};
use std::os::unix::fs::FileExt;
use trine_memory::Ram;

/// The places of everything that was loaded.
pub struct Placed {
    /// The file that the harts start with.
    pub first: Loaded,
    /// The host-target interface of that file, if it has one.
    pub htif: Option<Htif>,
    /// Address of the device tree.
    pub tree: u64,
    /// Address of OpenSBI's `fw_dynamic` information; 0 where the guest has no firmware of its own.
    pub info: u64,
}

impl Placed {
    /// A restored machine: everything is in its memory already, and its harts' registers are loaded later.
    fn restored(firmware: FirmwareKind) -> Placed {
        let htif = match firmware {
            FirmwareKind::Htif { tohost, fromhost } => Some(Htif::at(tohost, fromhost)),
            _ => None,
        };
        Placed { first: Loaded::default(), htif, tree: 0, info: 0 }
    }
}

/// Where devices may be, for the device tree.
#[derive(Clone, Copy)]
pub struct Slots {
    /// Number of virtio slots.
    pub virtio: u32,
    /// Whether there is a PCI bus.
    pub pci: bool,
    /// Whether there is flash.
    pub flash: bool,
}

impl Boot {
    /// Puts everything into the memory of a board with `harts` harts and these slots; `seed` goes into the
    /// device tree, for the kernel's random numbers.
    ///
    /// # Errors
    /// A file cannot be read, is not of the expected kind, or does not fit.
    pub(super) fn place(
        &self,
        ram: &Ram,
        harts: u32,
        slots: Slots,
        seed: [u8; 32],
    ) -> Result<Placed, MachineError> {
        let ((first, htif), next) = match self {
            Boot::Restored(snapshot) => return Ok(Placed::restored(snapshot.header.firmware)),
            Boot::BareMetal(path) => (kernel::elf(ram, path)?, None),
            Boot::Flash { .. } => ((flash(ram), None), None),
            Boot::Kernel(payload) => ((kernel::kernel(ram, &payload.kernel)?, None), None),
            Boot::Firmware(path, payload) => {
                let (first, htif) = kernel::firmware(ram, path)?;
                let next =
                    payload.as_ref().map(|payload| kernel::payload(ram, &payload.kernel)).transpose()?;
                if let Some(next) = next.filter(|next| next.start < first.end && first.start < next.end) {
                    return Err(MachineError::Config(format!(
                        "the firmware takes memory from {:#x} to {:#x}, and the kernel from {:#x} to {:#x}: they \
                         must not overlap",
                        first.start, first.end, next.start, next.end
                    )));
                }
                ((first, htif), next.or_else(|| slots.flash.then(|| flash(ram))))
            }
        };
        let end = next.map_or(first.end, |next| next.end.max(first.end));
        let (initrd, append) = match self {
            Boot::BareMetal(_) | Boot::Flash { .. } | Boot::Firmware(_, None) | Boot::Restored(_) => {
                (None, "")
            }
            Boot::Kernel(payload) | Boot::Firmware(_, Some(payload)) => {
                kernel::check_command_line(&payload.append)?;
                let initrd = payload.initrd.as_ref();
                (initrd.map(|initrd| load_initrd(ram, end, initrd)).transpose()?, payload.append.as_str())
            }
        };
        let facts = fdt::Facts {
            bootargs: append,
            initrd,
            memory: (ram.base(), ram.size()),
            harts,
            virtio: slots.virtio,
            pci: slots.pci,
            flash: slots.flash,
            seed,
            machine_mode: !matches!(self, Boot::Kernel(_) | Boot::Flash { machine_mode: false }),
        };
        let tree = fdt::build(&facts).map_err(|e| no_tree(&e.to_string()))?;
        if tree.len() as u64 > TREE_MOST {
            return Err(no_tree(&format!(
                "it has {} bytes, and a kernel takes at most {TREE_MOST}: shorten the command line",
                tree.len()
            )));
        }
        // The page in front of the tree holds the information for the firmware.
        let last = initrd.map_or(end, |(_, end)| end).next_multiple_of(PLACE);
        let at = (ram.base() + ram.size()).saturating_sub(TREE_MOST) & !(PLACE - 1);
        let info = at.saturating_sub(PLACE);
        if info < last {
            let need = last + TREE_MOST + PLACE - ram.base();
            let what = if matches!(self, Boot::Flash { .. }) {
                "the device tree"
            } else {
                "the kernel with its device tree"
            };
            return Err(does_not_fit(ram, what, need));
        }
        ram.write(at, &tree).ok_or_else(|| does_not_fit(ram, "the device tree", TREE_MOST))?;
        let Boot::Firmware(..) = self else { return Ok(Placed { first, htif, tree: at, info: 0 }) };
        ram.write(info, &firmware_info(next)).ok_or_else(|| does_not_fit(ram, "the firmware", TREE_MOST))?;
        Ok(Placed { first, htif, tree: at, info })
    }
}

/// What starts in the first bank of flash: it takes no memory before it runs.
fn flash(ram: &Ram) -> Loaded {
    Loaded { start: ram.base(), entry: map::flash(0).base, end: ram.base(), shift: 0 }
}

fn no_tree(why: &str) -> MachineError {
    MachineError::Config(format!("the device tree cannot be made: {why}"))
}

/// `struct fw_dynamic_info` of OpenSBI (docs/firmware/fw_dynamic.md): magic, version, address and mode (1: S)
/// of the next stage, options, boot hart (any). Other firmware does not look at it.
fn firmware_info(next: Option<Loaded>) -> Vec<u8> {
    let next = next.map_or(0, |next| next.entry);
    [0x4942_534f, 2, next, 1, 0, u64::MAX].iter().flat_map(|n: &u64| n.to_le_bytes()).collect()
}

/// Alignment of what is put into memory beside the kernel.
const PLACE: u64 = 4096;
/// The largest device tree in bytes: a kernel maps this much while it starts.
const TREE_MOST: u64 = 1 << 20;

fn load_initrd(ram: &Ram, after: u64, initrd: &Initrd) -> Result<(u64, u64), MachineError> {
    match initrd {
        Initrd::Named(path) => {
            let bytes = load::read(path)?;
            if bytes.is_empty() {
                let what = "the initial RAM disk is empty".into();
                return Err(MachineError::Image { path: path.into(), what });
            }
            let (start, end) = initrd_place(ram, after, bytes.len() as u64)?;
            ram.write(start, &bytes).ok_or_else(|| does_not_fit(ram, "the initial RAM disk", end - start))?;
            Ok((start, end))
        }
        Initrd::Made(file) => {
            let bad = |error| MachineError::Read { path: "the initial RAM disk".into(), error };
            let (start, end) = initrd_place(ram, after, file.metadata().map_err(bad)?.len())?;
            let mut piece = vec![0; PIECE];
            for at in (start..end).step_by(PIECE) {
                let piece = &mut piece[..PIECE.min((end - at) as usize)];
                file.read_exact_at(piece, at - start).map_err(bad)?;
                ram.write(at, piece).ok_or_else(|| does_not_fit(ram, "the initial RAM disk", end - start))?;
            }
            Ok((start, end))
        }
    }
}

/// Bytes of a large file that are copied at a time.
const PIECE: usize = 1 << 20;

/// Chooses the place of an initial RAM disk: some way behind the kernel, which may grow while it starts, but
/// never beyond the end of memory.
fn initrd_place(ram: &Ram, after: u64, len: u64) -> Result<(u64, u64), MachineError> {
    let last = (ram.base() + ram.size()).saturating_sub(TREE_MOST + 2 * PLACE + len) & !(PLACE - 1);
    let start = (after + (64 << 20)).next_multiple_of(PLACE).min(last);
    if start < after.next_multiple_of(PLACE) {
        return Err(does_not_fit(ram, "the initial RAM disk beside the kernel", after - ram.base() + len));
    }
    Ok((start, start + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: Slots = Slots { virtio: 1, pci: false, flash: false };
    use crate::boot::Payload;

    #[test]
    fn firmware_is_told_what_comes_next_and_must_not_lie_on_it() {
        let dir = std::env::temp_dir().join(format!("trine-boot-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (firmware, kernel) = (dir.join("fw.bin"), dir.join("kernel.bin"));
        std::fs::write(&firmware, [0x13; 64]).unwrap();
        std::fs::write(&kernel, [0x13; 64]).unwrap();
        let ram = Ram::new(0x8000_0000, 16 << 20).unwrap();
        let payload = Payload { kernel, initrd: None, append: "x=1".into() };
        let boot = Boot::Firmware(firmware.clone(), Some(payload));
        let placed = boot.place(&ram, 1, SLOTS, [0; 32]).unwrap();
        assert_eq!((placed.first.entry, placed.info), (0x8000_0000, placed.tree - PLACE));
        let mut info = [0; 48];
        ram.read(placed.info, &mut info).unwrap();
        assert_eq!(&info[..4], b"OSBI");
        assert_eq!(info[16..32], [0x8020_0000u64.to_le_bytes(), 1u64.to_le_bytes()].concat());
        // Without a kernel, what the flash holds comes next.
        let slots = Slots { flash: true, ..SLOTS };
        let placed = Boot::Firmware(firmware.clone(), None).place(&ram, 1, slots, [0; 32]).unwrap();
        ram.read(placed.info, &mut info).unwrap();
        assert_eq!(info[16..32], [0x2000_0000u64.to_le_bytes(), 1u64.to_le_bytes()].concat());
        let flash = Boot::Flash { machine_mode: false }.place(&ram, 1, slots, [0; 32]).unwrap();
        assert_eq!((flash.first.entry, flash.info), (0x2000_0000, 0));
        // The first two MiB are the firmware's.
        std::fs::write(&firmware, vec![0x13; (2 << 20) + 1]).unwrap();
        let error = boot.place(&ram, 1, SLOTS, [0; 32]).map(drop).unwrap_err().to_string();
        assert!(error.contains("must not overlap"), "{error}");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_hart_starts_as_the_tree_says() {
        use crate::{Config, Console, TimeSource, virt};
        use trine_isa_riscv::state::{MENVCFG, X};
        const ADUE: u64 = 1 << 61;
        let dir = std::env::temp_dir().join(format!("trine-start-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("Image");
        std::fs::write(&path, kernel::tests::image(&[])).unwrap();
        let board = |boot| {
            let (tier, time) = (trine_engine::Tier::Interp, TimeSource::Count(1));
            let config = Config { tier, time, seed: Some(1), ..Config::new(16 << 20, 1, boot) };
            virt::assemble(config, Console::new(Box::new(|_: &[u8]| {}))).unwrap()
        };
        let payload = Payload { kernel: path.clone(), initrd: None, append: String::new() };
        let mut kernel = board(Boot::Kernel(payload));
        assert_eq!((kernel.vcpus()[0].pc(), kernel.vcpus()[0].get(MENVCFG) & ADUE), (0x8020_0000, ADUE));
        let mut firmware = board(Boot::Firmware(path, None));
        assert_eq!((firmware.vcpus()[0].pc(), firmware.vcpus()[0].get(MENVCFG) & ADUE), (0x8000_0000, 0));
        let [tree, info] = [11, 12].map(|n| firmware.vcpus()[0].get(X + n));
        assert_eq!(info, tree - PLACE);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
