//! Devices behind a bridge: their windows move while the machine runs, and they share interrupt lines.

use super::windows::{Owner, Windows};
use super::{Bus, DeviceId, Space, WindowError};
use crate::{Device, Width};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Finds the device for each access to a window in which devices' own windows move, such as those that a PCI bridge
/// passes on.
pub trait Router: Send + Sync {
    /// The device that has the whole access at `offset` in the router's window, and the offset among that device's
    /// registers. Where it is `None`, reads are all ones, and writes are ignored.
    fn route(&self, offset: u64, width: Width) -> Option<(DeviceId, u64)>;
}

/// An interrupt line that several devices drive: it is high while one of them asserts it. Each device notes its own
/// level here before it asks for [`crate::Action::Irq`], and when its state is loaded.
#[derive(Debug, Default)]
pub struct SharedLine(AtomicU64);

impl SharedLine {
    /// Notes the level that device `member` of this line drives it to. Members have numbers from 0 to 63; others are
    /// ignored.
    pub fn set(&self, member: u32, level: bool) {
        let bit = 1u64.checked_shl(member).unwrap_or(0);
        match level {
            true => self.0.fetch_or(bit, Ordering::SeqCst),
            false => self.0.fetch_and(!bit, Ordering::SeqCst),
        };
    }

    /// Whether any member asserts it.
    pub fn level(&self) -> bool {
        self.0.load(Ordering::SeqCst) != 0
    }
}

impl Bus {
    /// Adds a device without a window of its own: a [`Router`] finds it.
    pub fn add_inner(&mut self, device: Box<dyn Device>) -> DeviceId {
        self.push(device)
    }

    /// Has `router` find the device for each access to addresses `base .. base + size`; `name` is for errors.
    pub fn add_router(
        &mut self,
        space: Space,
        base: u64,
        size: u64,
        name: &'static str,
        router: Arc<dyn Router>,
    ) -> Result<(), WindowError> {
        self.insert(space, base, size, Owner::Router { router: self.routers.len(), name }, name)?;
        self.routers.push(router);
        Ok(())
    }

    /// Says that several devices drive input `line` of the interrupt controller.
    pub fn share_line(&mut self, line: u32, shared: Arc<SharedLine>) {
        self.shared_lines.push((line, shared));
    }

    /// Makes `id` the device that [`crate::Action::Message`] goes to.
    pub fn set_message_target(&mut self, id: DeviceId) {
        self.message_target = Some(id);
    }

    /// Whether a device still asserts a shared line. Asked with the controller locked: two devices change their own
    /// levels at once, and the change that is performed last must not be one that was overtaken.
    pub(super) fn is_asserted(&self, line: u32) -> bool {
        self.shared_lines.iter().any(|(shared, who)| *shared == line && who.level())
    }

    /// `None` where there is no router.
    pub(super) fn read_routed(&self, windows: &Windows, address: u64, width: Width) -> Option<u64> {
        let (router, offset) = windows.find_router(address, width)?;
        let found = self.routers[router].route(offset, width);
        Some(found.map_or(width.mask(), |(DeviceId(device), offset)| self.read_at((device, offset), width)))
    }

    pub(super) fn write_routed(&self, windows: &Windows, at: u64, width: Width, value: u64) -> Option<()> {
        let (router, offset) = windows.find_router(at, width)?;
        if let Some((DeviceId(device), offset)) = self.routers[router].route(offset, width) {
            self.write_at((device, offset), width, value);
        }
        Some(())
    }
}
