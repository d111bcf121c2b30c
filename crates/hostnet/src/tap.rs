//! A machine's port of a group: a TAP device on the group's bridge. The monitor of the machine has the device's only
//! descriptor: when it ends, however it ends, the kernel removes the device.

use crate::error::{Doing, Error};
use crate::inside::{Inside, Kind, Place};
use crate::{Result, sys};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `linux/if_tun.h`, `linux/if.h`.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;
const NAME: usize = 16;

const DEVICE: &str = "/dev/net/tun";

/// A machine's port of a group.
#[derive(Debug)]
pub struct Port {
    /// The TAP device: each frame is behind a `virtio_net_hdr`.
    pub tap: OwnedFd,
    /// The guest's Ethernet address.
    pub ether: [u8; 6],
    /// The gateway's Ethernet address.
    pub gateway_ether: [u8; 6],
    /// The largest packet in bytes.
    pub mtu: u16,
    /// Whether packets are routed to the outside.
    pub outside: bool,
    netns: OwnedFd,
}

impl Port {
    pub(crate) fn new(tap: OwnedFd, netns: OwnedFd, ethers: [[u8; 6]; 2], mtu: u16, outside: bool) -> Port {
        let [ether, gateway_ether] = ethers;
        Port { tap, ether, gateway_ether, mtu, outside, netns }
    }

    /// The network namespace of the group's bridge, from which the guest is reached: for [`crate::Ports::open`].
    #[must_use]
    pub fn netns(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }
}

/// `struct ifreq`, as far as it is used here.
#[repr(C)]
struct Request {
    name: [u8; NAME],
    flags: u16,
    rest: [u8; 22],
}

/// Creates a TAP device in the network namespace of this process, or in that of `place`.
pub(crate) fn create(name: &str, place: Option<&Place>) -> Result<OwnedFd> {
    let opened = match place {
        None => File::options().read(true).write(true).open(DEVICE).map(OwnedFd::from),
        Some(place) => Inside::start(place)?.socket(Kind::Tap),
    };
    let tap = opened.map_err(cannot_open)?;
    let mut request = Request { name: [0; NAME], flags: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, rest: [0; 22] };
    // The last byte stays zero.
    let length = name.len().min(NAME - 1);
    request.name[..length].copy_from_slice(&name.as_bytes()[..length]);
    // SAFETY: reads and writes one structure of ours, which has the size of the kernel's.
    sys::check(unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETIFF as _, &raw mut request) })
        .doing(|| format!("cannot create the link {name}"))?;
    Ok(tap)
}

fn cannot_open(why: io::Error) -> Error {
    let advice = match why.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "ordinary users need permission to read and write it",
        _ => "the kernel's module tun is needed",
    };
    Error::System { what: format!("a machine in a private network needs {DEVICE}: {advice}"), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_size_of_the_kernels() {
        assert_eq!(size_of::<Request>(), size_of::<libc::ifreq>());
    }
}
