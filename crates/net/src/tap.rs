//! A machine's port of a private network: a TAP device on the network's bridge, and the services of the network for this
//! one guest, DHCP and names.
//!
//! The device's thread reads and writes the TAP device itself; a thread of ours only waits for it. Frames keep what their
//! sender has left undone, as far as the guest's driver agreed. The guest has IPv4: frames of IPv6 stay out, as do DHCP
//! answers of other members, so that none of them can pose as the router.

use crate::watch::Watch;
use crate::{Config, Error, UserNetwork};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use trine_base::net::MAX_FRAME;
use trine_base::net_header::{DATA_VALID, LEN, decode, encode};
use trine_base::{NetBackend, Offloads, Partial, Waker};

/// `linux/if_tun.h`.
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
const TUNSETVNETHDRSZ: libc::c_ulong = 0x4004_54d8;
const TUNSETVNETLE: libc::c_ulong = 0x4004_54dc;
const TUN_F_CSUM: libc::c_ulong = 1;
const TUN_F_TSO4: libc::c_ulong = 2;
const TUN_F_TSO6: libc::c_ulong = 4;

/// The most frames that are dropped before the device gets its turn.
const TURN: usize = 256;
/// More frames than a TAP device keeps (`txqueuelen` is 1,000).
const KEPT: usize = 2048;

const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;

const DNS_PORT: u16 = 53;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;

/// A port of a private network, as its device sees it.
pub struct TapNetwork {
    tap: OwnedFd,
    watch: Watch,
    services: UserNetwork,
    gateway: Ipv4Addr,
    mtu: u16,
    gives: Offloads,
    buffer: Vec<u8>,
}

impl TapNetwork {
    /// Uses an open TAP device (`IFF_TAP | IFF_NO_PI | IFF_VNET_HDR`). `services` has the guest's address, and the gateway's
    /// addresses on the network, which is also the name server's.
    ///
    /// # Errors
    /// The descriptor is not such a device, the configuration cannot work, or the host has no thread for it.
    pub fn new(tap: OwnedFd, services: Config) -> Result<TapNetwork, Error> {
        let (gateway, mtu) = (services.gateway4, services.mtu);
        let services = UserNetwork::new(Config { dns4: gateway, ipv6: false, ..services })?;
        prepare(&tap).map_err(Error::Start)?;
        let watch = Watch::start(&tap, "tap", || false).map_err(Error::Start)?;
        // One byte more than a frame, so that a longer one is noticed.
        let buffer = vec![0; LEN + MAX_FRAME + 1];
        Ok(TapNetwork { tap, watch, services, gateway, mtu, gives: Offloads::default(), buffer })
    }

    /// Reads a frame with its header into the buffer; returns their length, `None` if there is none.
    fn read(&mut self) -> Option<usize> {
        loop {
            let at = self.buffer.as_mut_ptr().cast();
            // SAFETY: writes at most the buffer's length.
            let count = unsafe { libc::read(self.tap.as_raw_fd(), at, self.buffer.len()) };
            if let Ok(count) = usize::try_from(count) {
                return Some(count);
            }
            match io::Error::last_os_error().kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => {
                    self.watch.arm(&self.tap);
                    return None;
                }
                // The link was removed.
                _ => {
                    self.watch.went_down();
                    return None;
                }
            }
        }
    }

    /// What a frame in the buffer leaves undone; `None` where the guest is not to have it.
    fn admit(&self, count: usize) -> Option<Partial> {
        let head = self.buffer.first_chunk::<LEN>()?;
        let frame = self.buffer.get(LEN..count).filter(|f| (ETHERNET..=MAX_FRAME).contains(&f.len()))?;
        if is_kept_from_guest(frame) {
            return None;
        }
        let partial = decode(head, self.gives)?;
        Some(Partial { verified: head[0] & DATA_VALID != 0, ..partial })
    }
}

/// Sets the form of frames.
fn prepare(tap: &OwnedFd) -> io::Result<()> {
    let fd = tap.as_raw_fd();
    let (length, little) = (LEN as libc::c_int, 1 as libc::c_int);
    // SAFETY: the requests read one integer of ours each; the others take no pointers.
    let done = unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        flags >= 0
            && libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) == 0
            && libc::ioctl(fd, TUNSETVNETHDRSZ as _, &raw const length) == 0
            && libc::ioctl(fd, TUNSETVNETLE as _, &raw const little) == 0
    };
    if done { set_offloads(tap, Offloads::default()) } else { Err(io::Error::last_os_error()) }
}

/// Tells the kernel what frames for the guest may leave undone.
fn set_offloads(tap: &OwnedFd, gives: Offloads) -> io::Result<()> {
    let (tcp4, tcp6) = (gives.tcp4 && gives.checksum, gives.tcp6 && gives.checksum);
    let flags = [(TUN_F_CSUM, gives.checksum), (TUN_F_TSO4, tcp4), (TUN_F_TSO6, tcp6)];
    let flags = flags.iter().filter(|(_, given)| *given).fold(0, |all, (flag, _)| all | flag);
    // SAFETY: takes no pointer.
    match unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETOFFLOAD as _, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Two bytes at an offset as a number.
fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// The header of a whole UDP datagram, or of TCP, in a frame of IPv4.
struct Ends {
    protocol: u8,
    target: Ipv4Addr,
    from_port: u16,
    to_port: u16,
}

/// `None` for every other frame.
fn ends(frame: &[u8]) -> Option<Ends> {
    let ip = frame.get(ETHERNET..).filter(|_| word(frame, 12) == Some(IPV4))?;
    let header = usize::from(ip.first()? & 15) * 4;
    // A fragment has an offset, or says that more follow.
    let whole = word(ip, 6)? & 0x3fff == 0;
    if ip[0] >> 4 != 4 || header < 20 || !whole {
        return None;
    }
    let target = ip.get(16..)?.first_chunk::<4>()?;
    Some(Ends {
        protocol: *ip.get(9)?,
        target: Ipv4Addr::from(*target),
        from_port: word(ip, header)?,
        to_port: word(ip, header + 2)?,
    })
}

/// Whether a frame from the guest is for the services: DHCP, and questions for names.
fn is_for_services(frame: &[u8], gateway: Ipv4Addr) -> bool {
    ends(frame).is_some_and(|e| {
        let is_dhcp = e.protocol == UDP && e.from_port == DHCP_CLIENT && e.to_port == DHCP_SERVER;
        let asks = matches!(e.protocol, UDP | TCP) && e.to_port == DNS_PORT && e.target == gateway;
        is_dhcp || asks
    })
}

/// Whether the guest is not to have a frame of another member's.
fn is_kept_from_guest(frame: &[u8]) -> bool {
    word(frame, 12) == Some(IPV6)
        || ends(frame).is_some_and(|e| e.protocol == UDP && e.to_port == DHCP_CLIENT)
}

impl NetBackend for TapNetwork {
    fn set_waker(&mut self, waker: Waker) {
        self.watch.set_waker(waker.clone());
        self.services.set_waker(waker);
    }

    fn takes(&self) -> Offloads {
        Offloads { checksum: true, tcp4: true, tcp6: true }
    }

    fn set_gives(&mut self, gives: Offloads) {
        // A kernel that refuses gives whole frames.
        self.gives = if set_offloads(&self.tap, gives).is_ok() { gives } else { Offloads::default() };
        self.services.set_gives(gives);
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn is_up(&self) -> bool {
        self.watch.is_up()
    }

    fn send(&mut self, frame: &[u8], partial: Partial) {
        if is_for_services(frame, self.gateway) {
            return self.services.send(frame, partial);
        }
        let Some(head) = encode(partial, self.takes()) else { return };
        if word(frame, 12) == Some(IPV6) {
            return;
        }
        let parts = [head.as_slice(), frame]
            .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
        // What the kernel does not take, such as a frame that contradicts its header, is lost as on a wire.
        // SAFETY: reads two slices that live here.
        unsafe { libc::writev(self.tap.as_raw_fd(), parts.as_ptr(), 2) };
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<Partial> {
        if let Some(partial) = self.services.receive(frame) {
            return Some(partial);
        }
        for _ in 0..TURN {
            let count = self.read()?;
            if let Some(partial) = self.admit(count) {
                frame.clear();
                frame.extend_from_slice(&self.buffer[LEN..count]);
                return Some(partial);
            }
        }
        // There may be more: the device is woken at once.
        self.watch.arm(&self.tap);
        None
    }

    fn reset(&mut self) {
        self.services.reset();
        for _ in 0..KEPT {
            if self.read().is_none() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 212, 7, 1);

    /// A frame of IPv4 with these ports.
    fn frame(protocol: u8, to: [u8; 4], ports: [u16; 2]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(IPV4.to_be_bytes());
        frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 212, 7, 2]);
        frame.extend(to);
        ports.iter().for_each(|port| frame.extend(port.to_be_bytes()));
        frame.extend([0; 4]);
        frame
    }

    #[test]
    fn the_services_get_what_is_theirs() {
        let own = [10, 212, 7, 1];
        let theirs = |frame: &[u8]| is_for_services(frame, GATEWAY);
        assert!(theirs(&frame(UDP, [255; 4], [68, 67])) && theirs(&frame(UDP, own, [68, 67])));
        assert!(theirs(&frame(UDP, own, [40_000, 53])) && theirs(&frame(TCP, own, [40_000, 53])));
        for (protocol, to, ports) in [
            (UDP, [10, 212, 7, 3], [40_000, 53]),
            (UDP, own, [40_000, 54]),
            (1, own, [40_000, 53]),
            (UDP, [255; 4], [67, 68]),
        ] {
            assert!(!theirs(&frame(protocol, to, ports)), "{protocol} {to:?} {ports:?}");
        }
        let mut fragment = frame(UDP, own, [40_000, 53]);
        fragment[20] = 0x20;
        assert!(!theirs(&fragment));
    }

    #[test]
    fn members_cannot_pose_as_the_router() {
        assert!(is_kept_from_guest(&frame(UDP, [255; 4], [67, 68])));
        assert!(!is_kept_from_guest(&frame(TCP, [10, 212, 7, 2], [67, 68])));
        let mut six = frame(UDP, [0; 4], [1, 2]);
        six[12..14].copy_from_slice(&IPV6.to_be_bytes());
        assert!(is_kept_from_guest(&six));
    }

    #[test]
    fn frames_of_every_length_are_looked_at_safely() {
        let whole = frame(UDP, [10, 212, 7, 1], [68, 67]);
        for length in 0..whole.len() {
            is_for_services(&whole[..length], GATEWAY);
            is_kept_from_guest(&whole[..length]);
        }
        for header in 0..=255 {
            let mut odd = whole.clone();
            odd[14] = header;
            ends(&odd);
        }
    }

    #[test]
    fn what_is_no_tap_device_is_refused() {
        let null: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        assert!(matches!(TapNetwork::new(null, Config::default()), Err(Error::Start(_))));
    }
}
