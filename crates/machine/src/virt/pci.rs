//! The board's PCI bus. A machine without PCI devices has none: its kernel need not look for any.

use super::map;
use crate::{MachineError, NetDevice, Share, VsockDevice};
use std::sync::Arc;
use trine_base::{Bus, Device, DeviceId, Waker, WindowError, Workers};
use trine_devices::pci::root::{SLOTS, Wiring};
use trine_devices::pci::{Root, Seat};
use trine_devices::virtio::balloon::{Balloon, BalloonControl};
use trine_devices::virtio::console::{Console, Port, SizePort, TerminalSize};
use trine_devices::virtio::fs::Fs;
use trine_devices::virtio::net::Net;
use trine_devices::virtio::vsock::Vsock;
use trine_devices::virtio::{Pci, Virtio};
use trine_memory::Ram;
use trine_share::Server;

/// The most threads that serve a machine's folders.
const SHARE_THREADS: usize = 4;

/// The name of the port that tells the guest the size of the terminal: see `trine_image::linux`.
const TERMINAL_SIZE: &str = "trine.terminal-size";

/// The devices on the bus, in the order of their slots.
pub struct Devices {
    /// Network devices.
    pub net: Vec<NetDevice>,
    /// The control of the memory balloon, if there is one.
    pub balloon: Option<Arc<BalloonControl>>,
    /// The socket device, if there is one.
    pub vsock: Option<VsockDevice>,
    /// Folders of the host.
    pub shares: Vec<Share>,
    /// Queues for the requests to each of them.
    pub share_queues: usize,
    /// The size of the terminal that a console device tells, if there is one.
    pub terminal: Option<Arc<TerminalSize>>,
}

impl Devices {
    /// Whether the board needs the bus.
    pub fn any(&self) -> bool {
        let some = !self.net.is_empty() || !self.shares.is_empty();
        some || self.balloon.is_some() || self.vsock.is_some() || self.terminal.is_some()
    }

    /// The virtio devices, each with the waker of its backend.
    fn virtio(self, ram: &Arc<Ram>) -> Vec<(Box<dyn Virtio>, Waker)> {
        let net = self.net.into_iter().map(|mut device| {
            let waker = Waker::new();
            device.backend.set_waker(waker.clone());
            let net = Net::new(device.backend, device.mac, device.queue_pairs);
            (Box::new(net) as Box<dyn Virtio>, waker)
        });
        let balloon = self.balloon.map(|control| {
            let waker = control.waker().clone();
            (Box::new(Balloon::new(control)) as Box<dyn Virtio>, waker)
        });
        let vsock = self.vsock.map(|device| {
            let vsock = Vsock::new(device.cid, device.end);
            let waker = vsock.waker();
            (Box::new(vsock) as Box<dyn Virtio>, waker)
        });
        let (count, queues) = (self.shares.len(), self.share_queues);
        let workers = Arc::new(Workers::new("share", SHARE_THREADS));
        let shares = self.shares.into_iter().map(|share| {
            let device = Fs::new(&share.tag, Server::new(share.folder, count));
            let device = device.with_queues(queues).with_workers(workers.clone(), ram.clone());
            let waker = device.waker();
            (Box::new(device) as Box<dyn Virtio>, waker)
        });
        // Its only port is one for programs: the guest's console stays the UART, which has it from the first instruction on.
        let terminal = self.terminal.map(|size| {
            let (waker, port) =
                (size.waker().clone(), Port::named(TERMINAL_SIZE, SizePort::new(size.clone())));
            (Box::new(Console::with_ports(vec![port], size)) as Box<dyn Virtio>, waker)
        });
        net.chain(balloon).chain(vsock).chain(shares).chain(terminal).collect()
    }
}

/// Adds the host bridge and the devices on its bus. Returns the wakers of their backends, to be connected to them once
/// the board's bus is complete.
///
/// # Errors
/// There are more devices than the bus has slots.
pub fn add(bus: &mut Bus, ram: &Arc<Ram>, devices: Devices) -> Result<Vec<(Waker, DeviceId)>, MachineError> {
    let (most, devices) = (SLOTS as usize - 1, devices.virtio(ram));
    if devices.len() > most {
        return Err(MachineError::Config(format!("at most {most} PCI devices fit on this board")));
    }
    let root = bridge(bus, ram)?;
    let mut wakers = Vec::new();
    for (slot, (device, waker)) in (1..).zip(devices) {
        let make = |seat: Seat| -> Box<dyn Device> { Box::new(Pci::new(seat, ram.clone(), device)) };
        wakers.push((waker, root.add(bus, slot, make)));
    }
    Ok(wakers)
}

/// Adds the host bridge. The PLIC takes no messages.
fn bridge(bus: &mut Bus, ram: &Ram) -> Result<Arc<Root>, WindowError> {
    let root = Root::new(bus, Wiring { irq: map::PCI_IRQ, messages: false });
    root.add_ecam(bus, map::PCI_ECAM.base, map::PCI_ECAM.size)?;
    root.add_ports(bus, map::PCI_PORTS.base, map::PCI_PORTS.size)?;
    for window in [map::PCI_MEMORY, map::pci_high(ram.base() + ram.size())] {
        root.add_window(bus, window.base, window.size)?;
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use trine_base::{CountClock, NetBackend, Offloads, Partial, Width};

    /// A network that notes whether it was asked for frames.
    struct Network(Arc<AtomicBool>);

    impl NetBackend for Network {
        fn set_waker(&mut self, waker: Waker) {
            waker.wake();
        }
        fn takes(&self) -> Offloads {
            Offloads::default()
        }
        fn set_gives(&mut self, _: Offloads) {}
        fn mtu(&self) -> u16 {
            1500
        }
        fn is_up(&self) -> bool {
            true
        }
        fn send(&mut self, _: &[u8], _: Partial) {}
        fn receive(&mut self, _: &mut Vec<u8>) -> Option<Partial> {
            self.0.store(true, Ordering::SeqCst);
            None
        }
        fn reset(&mut self) {}
    }

    fn nothing() -> Devices {
        let (net, shares) = (Vec::new(), Vec::new());
        Devices { net, balloon: None, vsock: None, shares, share_queues: 1, terminal: None }
    }

    fn devices(count: usize, asked: &Arc<AtomicBool>) -> Devices {
        let device = |n| NetDevice {
            backend: Box::new(Network(asked.clone())),
            mac: [2, 0, 0, 0, 0, n as u8],
            queue_pairs: 1,
        };
        Devices { net: (0..count).map(device).collect(), ..nothing() }
    }

    fn empty() -> (Bus, Arc<Ram>) {
        let bus = Bus::new(Arc::new(CountClock::new(1, 0)), Vec::new());
        (bus, Arc::new(Ram::new(map::RAM, 1 << 20).unwrap()))
    }

    #[test]
    fn a_network_device_is_behind_the_bridge_and_is_woken_by_its_network() {
        let (mut bus, ram) = empty();
        let asked = Arc::new(AtomicBool::new(false));
        let wakers = add(&mut bus, &ram, devices(2, &asked)).unwrap();
        let bus = Arc::new(bus);
        let config = |slot: u64| map::PCI_ECAM.base + (slot << 15);
        let ids = [0, 1, 2, 3].map(|slot| bus.read(config(slot), Width::B4).unwrap());
        assert_eq!(ids, [0x0008_1b36, 0x1041_1af4, 0x1041_1af4, 0xffff_ffff]);
        // The second device's registers above RAM, and its driver.
        let high = map::pci_high(map::RAM + (1 << 20)).base;
        for (at, width, value) in [
            (config(2) + 0x20, Width::B8, high),
            (config(2) + 4, Width::B2, 6),
            (high + 0x14, Width::B1, 3),
            (high + 8, Width::B4, 1),
            (high + 0xc, Width::B4, 1),
            (high + 0x14, Width::B1, 15),
        ] {
            bus.write(at, width, value).unwrap();
        }
        assert_eq!(bus.read(high + 0x2005, Width::B1), Some(1), "its address");
        assert!(!asked.load(Ordering::SeqCst));
        let (waker, device) = &wakers[1];
        waker.connect(&bus, *device);
        bus.run_timers();
        assert!(asked.load(Ordering::SeqCst));
    }

    #[test]
    fn the_balloon_follows_its_control() {
        let (mut bus, ram) = empty();
        let control = Arc::new(BalloonControl::new(Waker::new()));
        let devices = Devices { balloon: Some(control.clone()), ..nothing() };
        assert!(devices.any());
        let wakers = add(&mut bus, &ram, devices).unwrap();
        let bus = Arc::new(bus);
        wakers.iter().for_each(|(waker, device)| waker.connect(&bus, *device));
        assert_eq!(bus.read(map::PCI_ECAM.base + (1 << 15), Width::B4), Some(0x1045_1af4));
        bus.run_timers();
        assert_eq!(bus.next_timer(), None);
        control.set_target(7);
        assert_eq!(bus.next_timer(), Some(0), "the device is woken");
    }

    #[test]
    fn the_terminals_size_is_told_by_a_console_device() {
        let (mut bus, ram) = empty();
        let size = Arc::new(TerminalSize::new(Waker::new()));
        let devices = Devices { terminal: Some(size.clone()), ..nothing() };
        assert!(devices.any());
        let wakers = add(&mut bus, &ram, devices).unwrap();
        let bus = Arc::new(bus);
        wakers.iter().for_each(|(waker, device)| waker.connect(&bus, *device));
        assert_eq!(bus.read(map::PCI_ECAM.base + (1 << 15), Width::B4), Some(0x1043_1af4));
        bus.run_timers();
        size.set((24, 80));
        assert_eq!(bus.next_timer(), Some(0), "the device is woken");
    }

    #[test]
    fn the_socket_device_is_woken_by_the_host() {
        let (mut bus, ram) = empty();
        let (end, host) = trine_base::vsock::streams();
        let vsock = Some(VsockDevice { cid: 5, end });
        let wakers = add(&mut bus, &ram, Devices { vsock, ..nothing() }).unwrap();
        let bus = Arc::new(bus);
        wakers.iter().for_each(|(waker, device)| waker.connect(&bus, *device));
        assert_eq!(bus.read(map::PCI_ECAM.base + (1 << 15), Width::B4), Some(0x1053_1af4));
        bus.run_timers();
        assert_eq!(bus.next_timer(), None);
        assert!(host.connect(22).is_some());
        assert_eq!(bus.next_timer(), Some(0), "the device is woken");
    }

    #[test]
    fn a_folder_is_behind_the_bridge() {
        let (mut bus, ram) = empty();
        let folder = trine_share::Folder::open("/".as_ref(), trine_share::Access::ReadOnly).unwrap();
        let share = Share { tag: "share0".into(), folder: Arc::new(folder) };
        let devices = Devices { shares: vec![share], ..nothing() };
        assert!(devices.any());
        assert_eq!(add(&mut bus, &ram, devices).unwrap().len(), 1);
        assert_eq!(bus.read(map::PCI_ECAM.base + (1 << 15), Width::B4), Some(0x105a_1af4));
    }

    #[test]
    fn there_are_as_many_devices_as_slots() {
        let (mut bus, ram) = empty();
        let error = add(&mut bus, &ram, devices(32, &Arc::default())).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "at most 31 PCI devices fit on this board");
        assert_eq!(add(&mut empty().0, &ram, devices(31, &Arc::default())).unwrap().len(), 31);
    }
}
