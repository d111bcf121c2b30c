//! Datagrams through a port. Each client has a socket of its own in the guest's network, so that answers find
//! their way back; it is closed after some time without datagrams.

use super::listen::Name;
use crate::sys;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// At least the size of the largest datagram.
pub(super) const LARGEST: usize = 65_536;

/// The host's address that a client used and, if necessary, the link's index.
pub(super) type Asked = (IpAddr, u32);

/// A client, and the host's address that it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    /// The listener's number.
    pub listener: u64,
    pub client: SocketAddr,
    pub asked: Option<Asked>,
}

/// The socket of a client.
pub(super) struct Flow {
    pub socket: OwnedFd,
    pub peer: Peer,
    pub last: Instant,
}

/// Space for control data that contains the destination address, aligned as the kernel needs it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// A message with this address and these bytes, which the caller keeps while the message is used.
fn message(name: &mut Name, part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: a structure of integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut name.storage).cast();
    message.msg_namelen = name.length;
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}

/// Receives a datagram at a port of the host: its length, its sender, and its destination.
pub(super) fn receive(
    socket: BorrowedFd,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr, Option<Asked>)> {
    let mut name = Name::empty();
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; 64]);
    let mut message = message(&mut name, &mut part);
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = 64;
    // SAFETY: the message points at what lives until the call returns, with true lengths.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    name.length = message.msg_namelen;
    let client = name.get().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?;
    // SAFETY: the kernel wrote `msg_controllen` bytes of headers into `control`, which lives.
    let asked = unsafe { destination(&message) };
    Ok((count, client, asked))
}

/// # Safety
/// The message's control data must be what `recvmsg` wrote.
unsafe fn destination(message: &libc::msghdr) -> Option<Asked> {
    // SAFETY: as the caller promises; payloads are read only where they are as long as the structure.
    unsafe {
        let head = libc::CMSG_FIRSTHDR(message);
        if head.is_null() {
            return None;
        }
        let length = ((*head).cmsg_len as usize).checked_sub(libc::CMSG_LEN(0) as usize)?;
        match ((*head).cmsg_level, (*head).cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) if length >= size_of::<libc::in_pktinfo>() => {
                let info: libc::in_pktinfo =
                    libc::CMSG_DATA(head).cast::<libc::in_pktinfo>().read_unaligned();
                Some((Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr)).into(), 0))
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if length >= size_of::<libc::in6_pktinfo>() => {
                let info: libc::in6_pktinfo =
                    libc::CMSG_DATA(head).cast::<libc::in6_pktinfo>().read_unaligned();
                let to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let index = if to.is_unicast_link_local() { info.ipi6_ifindex as u32 } else { 0 };
                (!to.is_multicast()).then_some((to.into(), index))
            }
            _ => None,
        }
    }
}

/// Sends an answer from a port of the host, with the address that the client used.
pub(super) fn answer(socket: BorrowedFd, peer: &Peer, bytes: &mut [u8]) -> io::Result<()> {
    let mut name = Name::from(peer.client);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = Control([0; 64]);
    let mut message = message(&mut name, &mut part);
    match peer.asked {
        Some((IpAddr::V4(from), _)) => {
            let from = libc::in_addr { s_addr: from.to_bits().to_be() };
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: from,
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            attach(&mut message, &mut control, (libc::IPPROTO_IP, libc::IP_PKTINFO), info);
        }
        Some((IpAddr::V6(from), index)) => {
            let from = libc::in6_addr { s6_addr: from.octets() };
            let info = libc::in6_pktinfo { ipi6_addr: from, ipi6_ifindex: index as _ };
            attach(&mut message, &mut control, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), info);
        }
        None => {}
    }
    // SAFETY: the message points at what lives until the call returns, with true lengths.
    sys::check(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) } as i32)
        .map(drop)
}

fn attach<T>(message: &mut libc::msghdr, control: &mut Control, kind: (i32, i32), info: T) {
    message.msg_control = (&raw mut *control).cast();
    // SAFETY: only computes.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<T>() as u32) } as _;
    // SAFETY: header and payload lie in `control`: both structures of addresses need at most 40 of its 64 bytes.
    unsafe {
        let head = libc::CMSG_FIRSTHDR(&raw const *message);
        (*head).cmsg_level = kind.0;
        (*head).cmsg_type = kind.1;
        (*head).cmsg_len = libc::CMSG_LEN(size_of::<T>() as u32) as _;
        libc::CMSG_DATA(head).cast::<T>().write_unaligned(info);
    }
}
