//! The saved state of the console device.

use super::{Console, control};
use crate::serial::input::Item;
use serde::{Deserialize, Serialize};
use trine_base::state::{self, Versioned};
use trine_base::{StateError, versions};

/// What a driver has done with a port.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct PortState {
    /// What it is still to be told, by flags of `control`.
    pub owes: u8,
    /// Whether its driver is ready.
    pub ready: bool,
    /// Whether a program of the guest has opened it.
    pub open: bool,
}

#[derive(Serialize, Deserialize)]
struct StateV2 {
    /// Rows and columns as the driver knows them.
    shown: (u16, u16),
    /// What each port's driver has done, and the input that waits there.
    ports: Vec<(PortState, Vec<Item>)>,
}

// The first version had one port, of which the input was saved.
versions!(Saved of "the console" { V1(Vec<Item>), V2(StateV2) });

pub(super) fn save(console: &Console) -> Vec<u8> {
    let ports = console.ports.iter().map(|port| (port.state, port.end.waiting())).collect();
    state::save(&Saved::V2(StateV2 { shown: console.shown, ports }))
}

pub(super) fn load(console: &mut Console, state: &[u8]) -> Result<(), StateError> {
    let StateV2 { shown, ports } = match state::load(state)? {
        Saved::V1(input) => StateV2 { shown: (0, 0), ports: vec![(PortState::default(), input)] },
        Saved::V2(state) => state,
    };
    if ports.len() != console.ports.len() {
        let (has, here) = (ports.len(), console.ports.len());
        return Err(Saved::mismatch(format!("it had {has} ports, but this one has {here}")));
    }
    if ports.iter().any(|(port, _)| port.owes & !control::flags() != 0) {
        return Err(Saved::damaged("a port owes messages that there are not"));
    }
    console.shown = shown;
    for (port, (state, input)) in console.ports.iter_mut().zip(ports) {
        port.state = state;
        port.end.opened(state.open);
        port.end.replace(input).map_err(Saved::damaged)?;
    }
    Ok(())
}
