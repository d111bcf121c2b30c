//! The network behind a network device: it carries Ethernet frames.

use crate::Waker;

/// Which work the sender of a frame may leave to its receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums of TCP and UDP: see [`Partial::checksum`].
    pub checksum: bool,
    /// TCP segments over IPv4 longer than the link's frames.
    pub tcp4: bool,
    /// The same over IPv6.
    pub tcp6: bool,
}

/// The protocol of the segments that a long frame is to be cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
}

/// What the sender of a frame has left undone (the meaning is that of virtio's `virtio_net_hdr`, virtio 1.2, 5.1.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    /// The checksum from the first offset to the end of the frame is to be stored at the second offset from there,
    /// where the sum of the pseudo header is already. Both come from a guest: they may lie anywhere.
    pub checksum: Option<(u16, u16)>,
    /// The frame is to be cut into segments, each with at most so many bytes after the headers.
    pub segments: Option<(Segments, u16)>,
    /// The checksum has been verified, or the frame has never left this host, so that nobody needs to look.
    pub verified: bool,
}

/// The largest frame with its Ethernet header: 64 KiB of IP, to be cut into segments.
pub const MAX_FRAME: usize = 14 + 65_535;

/// A network as its network device sees it. Frames begin with the Ethernet header and have no checksum at the end. Frames get
/// lost: who cannot take one drops it.
pub trait NetBackend: Send {
    /// Has the device woken when [`NetBackend::receive`] may have a frame after it had none, or when a link comes or goes.
    fn set_waker(&mut self, waker: Waker);

    /// What frames for the network may leave undone.
    fn takes(&self) -> Offloads;

    /// What frames from the network may leave undone: what the guest's driver accepts. Nothing before the first call.
    fn set_gives(&mut self, gives: Offloads);

    /// The largest IP packet that the network carries without segments, in bytes.
    fn mtu(&self) -> u16;

    /// Whether there is a link.
    fn is_up(&self) -> bool;

    /// A frame from the guest, which may be anything. Never waits.
    fn send(&mut self, frame: &[u8], partial: Partial);

    /// The next frame for the guest, if there is one, in place of what `frame` contains. Never waits.
    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<Partial>;

    /// Everything that was under way is lost, as after a restore: what is connected will notice.
    fn reset(&mut self);
}
