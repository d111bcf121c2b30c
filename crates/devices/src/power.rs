//! The SiFive test finisher, as QEMU's `virt` has it, with which a guest ends the machine.

use trine_base::{Action, Actions, Device, StateError, StopReason, Width, state, versions};

const FAIL: u32 = 0x3333;
/// The value that powers the machine off.
pub const PASS: u32 = 0x5555;
/// The value that resets the machine.
pub const RESET: u32 = 0x7777;

/// The finisher.
pub struct Finisher;

versions!(Saved of "the test finisher" { V1(()) });

impl Device for Finisher {
    fn name(&self) -> &str {
        "finisher"
    }

    fn read(&mut self, _offset: u64, _width: Width, _now: u64, _out: &mut Actions) -> u64 {
        0
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64, _now: u64, out: &mut Actions) {
        if offset != 0 {
            return;
        }
        match value as u32 & 0xffff {
            PASS => out.push(Action::Stop(StopReason::PowerOff)),
            RESET => out.push(Action::Stop(StopReason::Reset)),
            FAIL => out.push(Action::Stop(StopReason::Failure(value as u32 >> 16))),
            _ => {}
        }
    }

    fn reset(&mut self, _out: &mut Actions) {}

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(()))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(()) = state::load(state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: u64, value: u64) -> Vec<Action> {
        let mut out = Actions::new();
        Finisher.write(offset, Width::B4, value, 0, &mut out);
        out.drain().collect()
    }

    #[test]
    fn the_ways_to_end() {
        let stop = |reason| vec![Action::Stop(reason)];
        assert_eq!(write(0, 0x5555), stop(StopReason::PowerOff));
        assert_eq!(write(0, 0x7777), stop(StopReason::Reset));
        assert_eq!(write(0, 0x0007_3333), stop(StopReason::Failure(7)));
        assert_eq!(write(0, 0xffff_ffff_ffff_3333), stop(StopReason::Failure(0xffff)));
        assert_eq!((write(0, 0), write(0, 0x1234), write(4, 0x5555)), (vec![], vec![], vec![]));
        let mut out = Actions::new();
        assert_eq!(Finisher.read(0, Width::B4, 0, &mut out), 0);
        Finisher.reset(&mut out);
        assert!(out.is_empty());
    }
}
