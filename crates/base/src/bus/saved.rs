//! Pausing a bus, and saving and loading its state.

use super::{Bus, Locked, lock, timers::Timers};
use crate::state::{self, StateError, Versioned};
use crate::{StopReason, versions};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;

/// The first version of the saved state.
#[derive(Serialize, Deserialize)]
struct V1 {
    clock: Vec<u8>,
    devices: Vec<SavedDevice>,
    timers: Timers,
    /// Interrupt inputs of the vCPUs.
    vcpus: Vec<Vec<u8>>,
    stop: Option<StopReason>,
}

#[derive(Serialize, Deserialize)]
struct SavedDevice {
    name: String,
    state: Vec<u8>,
}

versions!(Saved of "the board's devices" { V1(V1) });

impl Bus {
    /// Stops the clock, the devices' timers and what devices have running on other threads; returns once all have
    /// stopped. Pause the vCPUs first: those that run on would see a clock that stands still.
    pub fn pause(&self) {
        self.clock.pause();
        let timers = lock(&self.timers);
        self.paused.store(true, Ordering::SeqCst);
        drop(timers);
        self.timer_changed.notify_all();
        // The thread that serves timers holds this lock while it calls a device.
        drop(lock(&self.serving));
        (0..self.devices.len()).for_each(|index| self.run(index, |device, out| device.quiesce(out)));
    }

    /// Restarts the clock and the timers. Where time is the host's, every device is called once: its wall
    /// clock went on, and input may have come. After [`Bus::load`] they are in counted time, too: requests that were
    /// under way when the state was saved begin again, and nobody else would say so to their devices.
    pub fn resume(&self) {
        let mut timers = lock(&self.timers);
        self.paused.store(false, Ordering::SeqCst);
        if self.loaded.swap(false, Ordering::SeqCst) || !self.clock.is_counted() {
            (0..self.devices.len()).for_each(|index| timers.request(index));
        }
        self.clock.resume();
        self.timers_changed(timers);
    }

    /// Saves the clock, the devices, the timers and the interrupt inputs. The bus must be paused and no vCPU
    /// may run; otherwise the parts belong to different points in time.
    pub fn save(&self) -> Vec<u8> {
        // An action that a device asked for has been performed or is in the device's state, never in between:
        // only lines and timers are saved.
        self.settle((0..self.devices.len()).collect());
        let devices = self.devices.iter().map(|slot| {
            let Locked { device, .. } = &*lock(&slot.device);
            SavedDevice { name: device.name().to_owned(), state: device.save() }
        });
        state::save(&Saved::V1(V1 {
            clock: self.clock.save(),
            devices: devices.collect(),
            timers: lock(&self.timers).clone(),
            vcpus: self.vcpus.iter().map(|mailbox| mailbox.save()).collect(),
            stop: self.stopped(),
        }))
    }

    /// Loads the state of a bus with the same devices, the same clock and the same number of vCPUs. The bus
    /// must be paused and no vCPU may run. Guest memory is not part of the state: the caller loads it.
    pub fn load(&self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(saved) = state::load(state)?;
        self.check(&saved)?;
        self.clock.load(&saved.clock)?;
        for (slot, SavedDevice { state, .. }) in self.devices.iter().zip(&saved.devices) {
            lock(&slot.device).device.load(state)?;
        }
        for (mailbox, state) in self.vcpus.iter().zip(&saved.vcpus) {
            mailbox.load(state)?;
        }
        *lock(&self.stop) = saved.stop;
        let mut timers = lock(&self.timers);
        *timers = saved.timers;
        self.loaded.store(true, Ordering::SeqCst);
        self.timers_changed(timers);
        Ok(())
    }

    fn check(&self, saved: &V1) -> Result<(), StateError> {
        let here: Vec<_> =
            self.devices.iter().map(|slot| lock(&slot.device).device.name().to_owned()).collect();
        let there: Vec<_> = saved.devices.iter().map(|device| device.name.clone()).collect();
        if there != here {
            let differ = there.iter().zip(&here).find(|(there, here)| there != here);
            return Err(Saved::mismatch(match differ {
                Some((there, here)) => format!("it has the device '{there}' where this one has '{here}'"),
                None => format!("it has {} devices, but this machine has {}", there.len(), here.len()),
            }));
        }
        if saved.vcpus.len() != self.vcpus.len() {
            let (there, here) = (saved.vcpus.len(), self.vcpus.len());
            return Err(Saved::mismatch(format!("it has {there} vCPUs, but this machine has {here}")));
        }
        if saved.timers.devices() != Some(here.len()) {
            return Err(Saved::damaged("it does not have one timer per device"));
        }
        Ok(())
    }
}
