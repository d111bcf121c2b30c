//! Messages about ports (virtio 1.2, 5.3.6.2). What the driver is still to be told is a set of flags for each port and not a queue
//! of messages: a driver that asks again and again, and takes no answer, fills nothing.

use super::Console;
use crate::virtio::Broken;
use crate::virtio::queue::{Progress, Queue, Served, gather, scatter, total};
use trine_memory::Ram;

/// Events (`VIRTIO_CONSOLE_…`).
const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const CONSOLE_PORT: u16 = 4;
const RESIZE: u16 = 5;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

/// Bytes of a message: port, event, value.
const MESSAGE: usize = 8;
/// The order in which the driver is told of a port.
const ORDER: [u16; 5] = [PORT_ADD, CONSOLE_PORT, PORT_NAME, PORT_OPEN, RESIZE];

/// The flag that says that the driver is still to be told of an event.
fn flag(event: u16) -> u8 {
    1 << event
}

/// All flags.
pub(super) fn flags() -> u8 {
    ORDER.into_iter().fold(0, |all, event| all | flag(event))
}

impl Console {
    /// The driver is to be told the size of the terminal at its consoles.
    pub(super) fn owe_size(&mut self) {
        let consoles = self.ports.iter_mut().filter(|port| port.is_console() && port.state.ready);
        consoles.for_each(|port| port.state.owes |= flag(RESIZE));
    }

    /// The next message for the driver; `None` if there is none.
    fn next(&self) -> Option<(usize, u16)> {
        let ports = self.ports.iter().enumerate();
        let owed = ports.filter_map(|(n, port)| {
            let event = ORDER.into_iter().find(|event| port.state.owes & flag(*event) != 0)?;
            Some((n, event))
        });
        owed.min_by_key(|(n, event)| (*event != PORT_ADD, *n))
    }

    fn message(&self, port: usize, event: u16) -> Vec<u8> {
        let mut bytes = [(port as u32).to_le_bytes().as_slice(), &event.to_le_bytes(), &[1, 0]].concat();
        let (rows, columns) = self.shown;
        match (event, &self.ports[port].name) {
            (PORT_NAME, Some(name)) => bytes.extend_from_slice(name.as_bytes()),
            // In the order of the specification. Linux took them for rows and columns for years, so our boards tell the
            // size by a port of its own.
            (RESIZE, _) => bytes.extend([columns, rows].into_iter().flat_map(u16::to_le_bytes)),
            _ => {}
        }
        bytes
    }

    /// Gives the driver messages. One that does not fit into the driver's buffer is cut off.
    pub(super) fn tell(&mut self, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        let mut used = false;
        for _ in 0..queue.size {
            let Some((port, event)) = self.next() else { break };
            let Some(chain) = queue.pop(ram)? else { break };
            let message = self.message(port, event);
            let len = total(&chain.writable).min(message.len() as u64) as usize;
            scatter(ram, &chain.writable, 0, &message[..len]);
            queue.push(ram, &chain, len as u32)?;
            self.ports[port].state.owes &= !flag(event);
            used = true;
        }
        Ok(Served { used, more: self.next().is_some() && queue.waits(ram) })
    }

    /// Takes messages of the driver. Another turn follows, in which the other queues have what comes of them.
    pub(super) fn hear(&mut self, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        let served = queue.serve(ram, |chain, _, _| {
            let mut bytes = [0; MESSAGE];
            if gather(ram, &chain.readable, 0, &mut bytes) == MESSAGE {
                let [a, b, c, d, e, f, g, h] = bytes;
                let (port, event) = (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]));
                self.heard(port as usize, event, u16::from_le_bytes([g, h]));
            }
            Ok(Progress::Finished { moved: MESSAGE as u64, written: 0 })
        })?;
        Ok(Served { used: served.used, more: served.more || served.used })
    }

    fn heard(&mut self, port: usize, event: u16, value: u16) {
        if (event, value) == (DEVICE_READY, 1) {
            self.ports.iter_mut().for_each(|port| port.state.owes |= flag(PORT_ADD));
            return;
        }
        // The driver may name any port.
        let Some(port) = self.ports.get_mut(port) else { return };
        match (event, value) {
            (PORT_READY, 1) => {
                port.state.ready = true;
                let kind =
                    if port.is_console() { flag(CONSOLE_PORT) | flag(RESIZE) } else { flag(PORT_NAME) };
                port.state.owes |= kind | flag(PORT_OPEN);
            }
            (PORT_READY, _) => port.state.ready = false,
            (PORT_OPEN, value) => {
                port.state.open = value == 1;
                port.end.opened(port.state.open);
            }
            _ => {}
        }
    }
}
