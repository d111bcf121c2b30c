//! Devices that belong to one vCPU: several vCPUs may have theirs at the same address, as each has its own local
//! APIC on x86.

use super::windows::{Owner, Windows};
use super::{Bus, DeviceId, Space, WindowError};
use crate::{Device, Mailbox, Width};
use std::sync::Arc;

/// What only one vCPU sees.
#[derive(Default)]
pub(super) struct Local {
    pub windows: Windows,
    /// The vCPU's part of the interrupt controller.
    pub controller: Option<DeviceId>,
}

impl Bus {
    /// Puts `device` at physical addresses `base .. base + size`, where only vCPU `vcpu` of this bus sees it.
    /// It is like any other device, except that several of them, for different vCPUs, may have the same
    /// addresses.
    pub fn add_local(
        &mut self,
        vcpu: usize,
        base: u64,
        size: u64,
        device: Box<dyn Device>,
    ) -> Result<DeviceId, WindowError> {
        if vcpu >= self.locals.len() {
            return Err(WindowError::NoVcpu { name: device.name().to_owned(), vcpu });
        }
        let index = self.devices.len();
        self.insert(Space::Memory, base, size, Owner::Local { vcpu, device: index }, device.name())?;
        Ok(self.push(device))
    }

    /// Makes `id` the interrupt controller that vCPU `vcpu` asks first ([`Bus::acknowledge`]).
    pub fn set_local_controller(&mut self, vcpu: usize, id: DeviceId) {
        if let Some(local) = self.locals.get_mut(vcpu) {
            local.controller = Some(id);
        }
    }

    /// The number of the vCPU with this mailbox; `None` if it is not on this bus.
    pub fn vcpu_of(&self, mailbox: &Arc<Mailbox>) -> Option<usize> {
        self.vcpus.iter().position(|one| Arc::ptr_eq(one, mailbox))
    }

    fn find_local(&self, vcpu: usize, address: u64, width: Width) -> Option<(usize, u64)> {
        self.locals.get(vcpu)?.windows.find(address, width)
    }

    /// Reads a device register in memory as vCPU `vcpu` sees it; `None` where no device answers.
    pub fn read_as(&self, vcpu: usize, address: u64, width: Width) -> Option<u64> {
        match self.find_local(vcpu, address, width) {
            Some(found) => Some(self.read_at(found, width)),
            None => self.read(address, width),
        }
    }

    /// Writes a device register in memory as vCPU `vcpu` sees it; `None` where no device answers.
    pub fn write_as(&self, vcpu: usize, address: u64, width: Width, value: u64) -> Option<()> {
        match self.find_local(vcpu, address, width) {
            Some(found) => {
                self.write_at(found, width, value);
                Some(())
            }
            None => self.write(address, width, value),
        }
    }

    /// Asks the interrupt controllers which interrupt vCPU `vcpu` takes now: its own one first, then the
    /// board's. `None` if none is pending, or none of them works that way.
    pub fn acknowledge(&self, vcpu: usize) -> Option<u32> {
        let own = self.locals.get(vcpu).and_then(|local| local.controller);
        let asked = own.into_iter().chain(self.controller);
        asked.into_iter().find_map(|id| self.with(id, |device, out| device.acknowledge(out)))
    }
}
