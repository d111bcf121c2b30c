//! The device tree of board `virt` (Devicetree specification 0.4; bindings as Linux 6.12 reads
//! them).

use super::map;
use trine_devices::power;
use trine_isa_riscv::extensions::{self, Told};
use vm_fdt::{Error, FdtWriter};

/// The properties that differ between machines.
pub struct Facts<'a> {
    /// Kernel command line.
    pub bootargs: &'a str,
    /// Initial RAM disk: its first physical address and the address behind it.
    pub initrd: Option<(u64, u64)>,
    /// Start and size of RAM in bytes.
    pub memory: (u64, u64),
    /// Number of harts.
    pub harts: u32,
    /// Number of virtio slots in use.
    pub virtio: u32,
    /// Whether there is a PCI bus.
    pub pci: bool,
    /// Whether there is flash.
    pub flash: bool,
    /// Random bytes for the kernel's generator.
    pub seed: [u8; 32],
    /// Whether the harts have an M mode, which the guest's own firmware uses.
    pub machine_mode: bool,
}

const PHANDLE_PLIC: u32 = 1;
const PHANDLE_FINISHER: u32 = 2;
const PHANDLE_CPU: u32 = 16;

fn reg(base: u64, size: u64) -> [u64; 2] {
    [base, size]
}

/// Builds the device tree.
pub fn build(facts: &Facts) -> Result<Vec<u8>, Error> {
    let mut f = FdtWriter::new()?;
    let root = f.begin_node("")?;
    f.property_u32("#address-cells", 2)?;
    f.property_u32("#size-cells", 2)?;
    f.property_string("compatible", "riscv-virtio")?;
    f.property_string("model", "riscv-virtio,trine")?;
    chosen(&mut f, facts)?;
    let memory = f.begin_node(&format!("memory@{:x}", facts.memory.0))?;
    f.property_string("device_type", "memory")?;
    f.property_array_u64("reg", &reg(facts.memory.0, facts.memory.1))?;
    f.end_node(memory)?;
    cpus(&mut f, facts)?;
    soc(&mut f, facts)?;
    if facts.flash {
        flash(&mut f)?;
    }
    for (name, compatible, value) in ENDS {
        let node = f.begin_node(name)?;
        f.property_string("compatible", compatible)?;
        f.property_u32("regmap", PHANDLE_FINISHER)?;
        f.property_u32("offset", 0)?;
        f.property_u32("value", value)?;
        f.end_node(node)?;
    }
    f.end_node(root)?;
    f.finish()
}

/// How a guest without our firmware ends the machine: the values to write to the finisher, which is a
/// `syscon` for that. Firmware, U-Boot and Linux have a driver for these names only.
const ENDS: [(&str, &str, u32); 2] =
    [("poweroff", "syscon-poweroff", power::PASS), ("reboot", "syscon-reboot", power::RESET)];

fn chosen(f: &mut FdtWriter, facts: &Facts) -> Result<(), Error> {
    let node = f.begin_node("chosen")?;
    f.property_string("bootargs", facts.bootargs)?;
    f.property_string("stdout-path", &format!("/soc/serial@{:x}", map::UART.base))?;
    f.property("rng-seed", &facts.seed)?;
    if let Some((start, end)) = facts.initrd {
        f.property_u64("linux,initrd-start", start)?;
        f.property_u64("linux,initrd-end", end)?;
    }
    f.end_node(node)
}

fn cpus(f: &mut FdtWriter, facts: &Facts) -> Result<(), Error> {
    let cpus = f.begin_node("cpus")?;
    f.property_u32("#address-cells", 1)?;
    f.property_u32("#size-cells", 0)?;
    f.property_u32("timebase-frequency", 10_000_000)?;
    for hart in 0..facts.harts {
        let cpu = f.begin_node(&format!("cpu@{hart}"))?;
        f.property_string("device_type", "cpu")?;
        f.property_u32("reg", hart)?;
        f.property_string("status", "okay")?;
        f.property_string("compatible", "riscv")?;
        let told = if facts.machine_mode { Told::Firmware } else { Told::Kernel };
        f.property_string("riscv,isa", &extensions::isa_string(told))?;
        f.property_string("riscv,isa-base", "rv64i")?;
        let names = extensions::told(told).map(|e| e.name.to_string()).collect();
        f.property_string_list("riscv,isa-extensions", names)?;
        f.property_u32("riscv,cboz-block-size", extensions::CBOZ_BLOCK)?;
        f.property_string("mmu-type", "riscv,sv48")?;
        let controller = f.begin_node("interrupt-controller")?;
        f.property_u32("#interrupt-cells", 1)?;
        f.property_null("interrupt-controller")?;
        f.property_string("compatible", "riscv,cpu-intc")?;
        f.property_u32("phandle", PHANDLE_CPU + hart)?;
        f.end_node(controller)?;
        f.end_node(cpu)?;
    }
    f.end_node(cpus)
}

fn soc(f: &mut FdtWriter, facts: &Facts) -> Result<(), Error> {
    let soc = f.begin_node("soc")?;
    f.property_u32("#address-cells", 2)?;
    f.property_u32("#size-cells", 2)?;
    f.property_string("compatible", "simple-bus")?;
    f.property_null("ranges")?;
    let finisher = f.begin_node(&format!("test@{:x}", map::FINISHER.base))?;
    f.property_string_list(
        "compatible",
        ["sifive,test1", "sifive,test0", "syscon"].map(String::from).into(),
    )?;
    f.property_array_u64("reg", &reg(map::FINISHER.base, map::FINISHER.size))?;
    f.property_u32("phandle", PHANDLE_FINISHER)?;
    f.end_node(finisher)?;
    device(f, "rtc", map::RTC, &["google,goldfish-rtc"], Some(map::RTC_IRQ))?;
    interrupts(f, facts)?;
    let uart = f.begin_node(&format!("serial@{:x}", map::UART.base))?;
    f.property_string("compatible", "ns16550a")?;
    f.property_array_u64("reg", &reg(map::UART.base, map::UART.size))?;
    f.property_u32("interrupt-parent", PHANDLE_PLIC)?;
    f.property_u32("interrupts", map::UART_IRQ)?;
    f.property_u32("clock-frequency", 3_686_400)?;
    f.end_node(uart)?;
    for slot in 0..facts.virtio {
        device(f, "virtio_mmio", map::virtio(slot), &["virtio,mmio"], Some(map::VIRTIO_IRQ + slot))?;
    }
    if facts.pci {
        pci(f, facts.memory.0.saturating_add(facts.memory.1))?;
    }
    f.end_node(soc)
}

/// The banks of flash (the kernel's binding `mtd/mtd-physmap.yaml`), at the root as QEMU has them: software may look for that
/// path.
fn flash(f: &mut FdtWriter) -> Result<(), Error> {
    let banks: Vec<u64> = (0..map::FLASH_BANKS).map(map::flash).flat_map(|w| reg(w.base, w.size)).collect();
    let node = f.begin_node(&format!("flash@{:x}", map::flash(0).base))?;
    f.property_string("compatible", "cfi-flash")?;
    f.property_array_u64("reg", &banks)?;
    f.property_u32("bank-width", 4)?;
    f.end_node(node)
}

/// The PCI host bridge (IEEE 1275 PCI binding 2.1; `pci-host-ecam-generic` of the kernel's bindings). An address on the
/// bus is three cells; the first one says the space: ports, memory below 4 GiB, memory with 64-bit addresses.
fn pci(f: &mut FdtWriter, ram_end: u64) -> Result<(), Error> {
    const PORTS: u32 = 0x0100_0000;
    const MEMORY: u32 = 0x0200_0000;
    // Prefetchable, as all BARs with 64-bit addresses are here; kernels complain about others of this size.
    const HIGH: u32 = 0x4300_0000;
    let node = f.begin_node(&format!("pci@{:x}", map::PCI_ECAM.base))?;
    f.property_string("compatible", "pci-host-ecam-generic")?;
    f.property_string("device_type", "pci")?;
    f.property_u32("#address-cells", 3)?;
    f.property_u32("#size-cells", 2)?;
    f.property_u32("#interrupt-cells", 1)?;
    f.property_u32("linux,pci-domain", 0)?;
    f.property_array_u32("bus-range", &[0, (map::PCI_ECAM.size >> 20) as u32 - 1])?;
    f.property_null("dma-coherent")?;
    f.property_array_u64("reg", &reg(map::PCI_ECAM.base, map::PCI_ECAM.size))?;
    let high = map::pci_high(ram_end);
    // Ports begin at 0 on the bus; memory has the same addresses there.
    let ranges = [
        (PORTS, 0, map::PCI_PORTS),
        (MEMORY, map::PCI_MEMORY.base, map::PCI_MEMORY),
        (HIGH, high.base, high),
    ];
    let ranges: Vec<u32> = ranges
        .iter()
        .flat_map(|(space, there, here)| {
            [&[*space][..], &cells(*there), &cells(here.base), &cells(here.size)].concat()
        })
        .collect();
    f.property_array_u32("ranges", &ranges)?;
    // Pin `p` of device `d` is wired to line `(d + p) mod 4`: the two lowest bits of the device and the pin say which.
    let wires = (0..4).flat_map(|device| (0..4).map(move |pin| (device, pin)));
    let map: Vec<u32> = wires
        .flat_map(|(d, pin)| [d << 11, 0, 0, pin + 1, PHANDLE_PLIC, map::PCI_IRQ + (d + pin) % 4])
        .collect();
    f.property_array_u32("interrupt-map-mask", &[3 << 11, 0, 0, 7])?;
    f.property_array_u32("interrupt-map", &map)?;
    f.end_node(node)
}

/// A number in two cells.
fn cells(number: u64) -> [u32; 2] {
    [(number >> 32) as u32, number as u32]
}

fn device(
    f: &mut FdtWriter,
    name: &str,
    window: map::Window,
    compatible: &[&str],
    irq: Option<u32>,
) -> Result<(), Error> {
    let node = f.begin_node(&format!("{name}@{:x}", window.base))?;
    f.property_string_list("compatible", compatible.iter().map(|c| c.to_string()).collect())?;
    f.property_array_u64("reg", &reg(window.base, window.size))?;
    if let Some(irq) = irq {
        f.property_u32("interrupt-parent", PHANDLE_PLIC)?;
        f.property_u32("interrupts", irq)?;
    }
    f.end_node(node)
}

fn interrupts(f: &mut FdtWriter, facts: &Facts) -> Result<(), Error> {
    let wires = |lines: [u32; 2]| -> Vec<u32> {
        (0..facts.harts).flat_map(|h| lines.map(|line| [PHANDLE_CPU + h, line])).flatten().collect()
    };
    if facts.machine_mode {
        let clint = f.begin_node(&format!("clint@{:x}", map::CLINT.base))?;
        f.property_string_list("compatible", vec!["sifive,clint0".into(), "riscv,clint0".into()])?;
        f.property_array_u64("reg", &reg(map::CLINT.base, map::CLINT.size))?;
        f.property_array_u32("interrupts-extended", &wires([3, 7]))?;
        f.end_node(clint)?;
    }
    let plic = f.begin_node(&format!("plic@{:x}", map::PLIC.base))?;
    f.property_string_list("compatible", vec!["sifive,plic-1.0.0".into(), "riscv,plic0".into()])?;
    f.property_u32("#address-cells", 0)?;
    f.property_u32("#interrupt-cells", 1)?;
    f.property_null("interrupt-controller")?;
    f.property_array_u64("reg", &reg(map::PLIC.base, map::PLIC.size))?;
    f.property_u32("riscv,ndev", map::PLIC_SOURCES)?;
    // Context 2n is hart n's M mode, 2n + 1 its S mode. A kernel without an M mode below it must not use
    // context 2n: -1 says so.
    let machine = if facts.machine_mode { 11 } else { u32::MAX };
    f.property_array_u32("interrupts-extended", &wires([machine, 9]))?;
    f.property_u32("phandle", PHANDLE_PLIC)?;
    f.end_node(plic)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree's words of 4 bytes.
    fn tree(machine_mode: bool) -> Vec<u8> {
        build(&facts(machine_mode)).unwrap()
    }

    fn facts(machine_mode: bool) -> Facts<'static> {
        Facts {
            bootargs: "",
            initrd: None,
            memory: (map::RAM, 1 << 27),
            harts: 1,
            virtio: 1,
            pci: false,
            flash: false,
            seed: [0; 32],
            machine_mode,
        }
    }

    fn has(tree: &[u8], bytes: &[u8]) -> bool {
        tree.windows(bytes.len()).any(|w| w == bytes)
    }

    #[test]
    fn guests_without_our_firmware_find_the_way_to_end() {
        for machine_mode in [false, true] {
            let tree = tree(machine_mode);
            assert!(has(&tree, b"sifive,test1\0sifive,test0\0syscon\0"));
            for (name, compatible, value) in
                [("poweroff", "syscon-poweroff", 0x5555u32), ("reboot", "syscon-reboot", 0x7777)]
            {
                // FDT_BEGIN_NODE and the name; FDT_PROP, its length and the place of its name precede a value.
                assert!(has(&tree, &[&[0, 0, 0, 1], name.as_bytes(), &[0]].concat()), "{name}");
                assert!(has(&tree, &[compatible.as_bytes(), &[0]].concat()), "{compatible}");
                assert!(has(&tree, &value.to_be_bytes()), "{name}");
            }
        }
    }

    #[test]
    fn who_updates_page_tables_is_told_as_it_is_after_a_reset() {
        // With `svadu` alone the hardware always updates these bits; with both, only after firmware has asked
        // for it.
        assert!(has(&tree(false), b"\0svadu\0") && !has(&tree(false), b"svade"));
        assert!(has(&tree(true), b"\0svade\0svadu\0"));
    }

    #[test]
    fn a_pci_bus_is_told_with_its_windows_and_wires() {
        assert!(!has(&tree(false), b"pci@30000000\0"));
        let tree = build(&Facts { pci: true, ..facts(false) }).unwrap();
        assert!(has(&tree, b"pci@30000000\0") && has(&tree, b"pci-host-ecam-generic\0"));
        let bytes = |words: &[u32]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
        for (what, words) in [
            ("ports", [0x0100_0000, 0, 0, 0, 0x300_0000, 0, 0x1_0000]),
            ("memory", [0x0200_0000, 0, 0x4000_0000, 0, 0x4000_0000, 0, 0x4000_0000]),
            ("memory above RAM", [0x4300_0000, 4, 0, 4, 0, 4, 0]),
        ] {
            assert!(has(&tree, &bytes(&words)), "{what}");
        }
        // INTB# of device 3.
        assert!(has(&tree, &bytes(&[3 << 11, 0, 0, 2, PHANDLE_PLIC, 32])));
    }

    #[test]
    fn flash_is_told_as_qemu_tells_it() {
        assert!(!has(&tree(false), b"flash@"));
        let tree = build(&Facts { flash: true, ..facts(false) }).unwrap();
        assert!(has(&tree, b"\0\0\0\x01flash@20000000\0") && has(&tree, b"cfi-flash\0"));
        let words = [0, 0x2000_0000, 0, 0x200_0000, 0, 0x2200_0000, 0, 0x200_0000u32];
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
        assert!(has(&tree, &bytes), "both banks");
    }

    #[test]
    fn a_bus_above_any_memory_does_no_harm() {
        for memory in [(map::RAM, 1 << 40), (map::RAM, u64::MAX)] {
            build(&Facts { pci: true, memory, ..facts(false) }).unwrap();
        }
    }
}
