//! The console device (virtio 1.2, 5.3): a console, or several ports with names, and the size of the console's terminal.
//!
//! * [`port`]: what is at the host's end of a port. This file: queues, features, configuration. `control`: the messages
//!   about ports. `saved`: the saved state.

mod control;
pub mod port;
mod saved;
#[cfg(test)]
mod tests;

pub use port::{PortEnd, SizePort, TerminalSize};

use super::queue::{Progress, Queue, Served, gather, scatter, total};
use super::{Broken, Virtio};
use crate::serial::{ConsoleInput, Output};
use port::Stream;
use saved::PortState;
use std::sync::Arc;
use trine_base::StateError;
use trine_memory::Ram;

/// Feature: the configuration has the size of the terminal of port 0, if that is a console.
const F_SIZE: u64 = 1 << 0;
/// Feature: there are several ports, and queues for messages about them.
const F_MULTIPORT: u64 = 1 << 1;

/// Queues: input and output of port 0, control messages to the driver and from it, input and output of the further ports.
const CONTROL_IN: usize = 2;
const CONTROL_OUT: usize = 3;
/// The most ports: two queues for each and two for control are all that a device can have.
pub const MOST_PORTS: usize = 31;
/// The most bytes that are moved at a time.
const PIECE: usize = 4096;

/// A port.
pub struct Port {
    /// Its name; `None` for a console of the guest's kernel.
    name: Option<String>,
    end: Box<dyn PortEnd>,
    state: PortState,
}

impl Port {
    /// A console of the guest's kernel (`/dev/hvc0`, …).
    pub fn console(out: Output, input: Arc<ConsoleInput>) -> Port {
        Port { name: None, end: Box::new(Stream { out, input }), state: PortState::default() }
    }

    /// A port that programs of the guest find by its name (`/dev/virtio-ports/NAME`).
    pub fn named(name: &str, end: impl PortEnd + 'static) -> Port {
        Port { name: Some(name.into()), end: Box::new(end), state: PortState::default() }
    }

    fn is_console(&self) -> bool {
        self.name.is_none()
    }
}

/// The device.
pub struct Console {
    ports: Vec<Port>,
    /// Whether it has the queues for several ports.
    multiport: bool,
    /// Whether the driver knows of them.
    negotiated: bool,
    size: Arc<TerminalSize>,
    /// Rows and columns as the driver knows them.
    shown: (u16, u16),
}

/// Where the bytes of a queue go, or come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Input(usize),
    Output(usize),
    ControlIn,
    ControlOut,
    /// The driver must not use it.
    Unused,
}

impl Console {
    /// Creates a console between `input` and `out`, without further ports.
    pub fn new(out: Output, input: Arc<ConsoleInput>) -> Console {
        Console { multiport: false, ..Console::with_ports(vec![Port::console(out, input)], Arc::default()) }
    }

    /// Creates a device with these ports, of which those beyond the first [`MOST_PORTS`] are dropped. The terminal of its
    /// consoles has this size.
    pub fn with_ports(mut ports: Vec<Port>, size: Arc<TerminalSize>) -> Console {
        ports.truncate(MOST_PORTS);
        Console { ports, multiport: true, negotiated: false, size, shown: (0, 0) }
    }

    fn role(&self, queue: usize) -> Role {
        let port = if queue < CONTROL_IN { 0 } else { (queue / 2).saturating_sub(1) };
        match queue {
            CONTROL_IN if self.negotiated => Role::ControlIn,
            CONTROL_OUT if self.negotiated => Role::ControlOut,
            // Without the feature there is port 0 alone.
            CONTROL_IN.. if !self.negotiated => Role::Unused,
            _ if port >= self.ports.len() => Role::Unused,
            _ if queue.is_multiple_of(2) => Role::Input(port),
            _ => Role::Output(port),
        }
    }

    /// Whether a port may have input for the driver now: a named one if the guest has opened it.
    fn has_input(&self, port: usize) -> bool {
        let Port { end, state, .. } = &self.ports[port];
        let may = !self.negotiated || self.ports[port].is_console() || state.open;
        may && end.has_input()
    }

    fn receive(&mut self, port: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        let mut used = false;
        for _ in 0..queue.size {
            if !self.has_input(port) {
                break;
            }
            let Some(chain) = queue.pop(ram)? else { break };
            let room = total(&chain.writable).min(PIECE as u64) as usize;
            let bytes = self.ports[port].end.input(room);
            scatter(ram, &chain.writable, 0, &bytes);
            queue.push(ram, &chain, bytes.len() as u32)?;
            used = true;
        }
        Ok(Served { used, more: self.has_input(port) && queue.waits(ram) })
    }

    fn transmit(&mut self, port: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        let (mut buf, end) = ([0; PIECE], &mut self.ports[port].end);
        queue.serve(ram, |chain, done, most| {
            let mut moved = 0;
            while moved < most {
                let n = gather(ram, &chain.readable, done.saturating_add(moved), &mut buf);
                if n == 0 {
                    return Ok(Progress::Finished { moved, written: 0 });
                }
                end.output(&buf[..n]);
                moved += n as u64;
            }
            Ok(Progress::Moved(moved))
        })
    }
}

impl Virtio for Console {
    fn id(&self) -> u32 {
        3
    }

    fn name(&self) -> &str {
        "virtio-console"
    }

    fn features(&self) -> u64 {
        let console = self.ports.first().is_some_and(Port::is_console);
        let size = if console && self.multiport { F_SIZE } else { 0 };
        size | if self.multiport { F_MULTIPORT } else { 0 }
    }

    fn queues(&self) -> usize {
        if self.multiport { 2 * self.ports.len().max(1) + 2 } else { 2 }
    }

    fn negotiated(&mut self, features: u64) {
        self.negotiated = features & F_MULTIPORT != 0;
    }

    /// Columns, rows, the number of ports, and a register that is not offered.
    fn config(&self) -> Vec<u8> {
        let (rows, columns) = self.shown;
        let size = [columns, rows].into_iter().flat_map(u16::to_le_bytes);
        let ports = if self.multiport { self.ports.len() as u32 } else { 0 };
        size.chain(ports.to_le_bytes()).chain([0; 4]).collect()
    }

    fn config_changed(&mut self) -> bool {
        let size = self.size.get().unwrap_or_default();
        let changed = self.features() & F_SIZE != 0 && size != self.shown;
        if changed {
            self.shown = size;
            self.owe_size();
        }
        changed
    }

    fn serve(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        match self.role(index) {
            Role::Input(port) => self.receive(port, queue, ram),
            Role::Output(port) => self.transmit(port, queue, ram),
            Role::ControlIn => self.tell(queue, ram),
            Role::ControlOut => self.hear(queue, ram),
            Role::Unused => Ok(Served::default()),
        }
    }

    fn reset(&mut self) {
        self.negotiated = false;
        self.shown = (0, 0);
        for port in &mut self.ports {
            port.state = PortState::default();
            port.end.opened(false);
        }
    }

    fn save(&self) -> Vec<u8> {
        saved::save(self)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        saved::load(self, state)
    }
}
