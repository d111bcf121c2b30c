//! A cable between a guest and the bridge of an ordinary user's group. The two are in sibling user
//! namespaces, and no process may create a link into both. Therefore each side gets a veth pair whose far end
//! is in a network namespace with nothing else in it, and a thread of the guest's monitor passes frames
//! between the two far ends.
//!
//! Frames keep the kernel's offload information (`virtio_net_hdr`: checksums to be computed, segments to be
//! cut), so that up to 64 KiB of TCP pass at once. The far namespaces live as long as the thread's sockets:
//! when the process ends, both pairs are gone.

use crate::error::Doing;
use crate::inside::{Inside, Kind};
use crate::netlink::{End, Netlink};
use crate::worker::{Stop, Worker};
use crate::{Result, sys};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The name of the far end, which no user sees.
const FAR: &str = "far0";
/// Its interface index. The kernel updates the state of links at once, and not within a second, if their
/// peer's index differs from their own.
const FAR_INDEX: u32 = 1000;
/// More than the size of the largest frame with its offload header.
const LARGEST: usize = 128 * 1024;
/// Number of frames in one direction before the other direction gets its turn.
const TURN: usize = 64;
/// `linux/if_packet.h`.
const PACKET_VNET_HDR: i32 = 15;
const PACKET_IGNORE_OUTGOING: i32 = 23;

/// Creates a pair whose near end is in `netlink`'s namespace, and returns a socket for the frames of the far
/// end. `inside` moves to the far end's namespace and creates no more sockets in the guest's.
pub(crate) fn end(
    inside: &Inside,
    netlink: &mut Netlink,
    near: &End,
    (mtu, silent): (Option<u32>, bool),
) -> Result<OwnedFd> {
    let what = || format!("cannot create a cable for {}", near.name);
    let mut far = Netlink::on(inside.socket(Kind::Apart).doing(what)?);
    let namespace = netlink.namespace().doing(what)?;
    let named = End { name: near.name, namespace: Some(namespace.as_fd()), ether: near.ether };
    far.pair(&End { name: FAR, namespace: None, ether: None }, &named, FAR_INDEX)?;
    if let Some(mtu) = mtu {
        netlink.mtu(near.name, mtu)?;
        far.mtu(FAR, mtu)?;
    }
    let index = far.up(FAR, true)?;
    netlink.up(near.name, silent)?;
    far.settle(FAR)?;
    netlink.settle(near.name)?;
    let socket = inside.socket(Kind::Packet).doing(what)?;
    sys::option(socket.as_fd(), libc::SOL_PACKET, PACKET_VNET_HDR, 1).doing(what)?;
    sys::option(socket.as_fd(), libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1).doing(what)?;
    for name in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
        sys::option(socket.as_fd(), libc::SOL_SOCKET, name, 4 << 20).doing(what)?;
    }
    // SAFETY: a structure of integers, for which zero is a value.
    let mut name: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    name.sll_family = libc::AF_PACKET as u16;
    name.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    name.sll_ifindex = index as i32;
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: points at a structure of the size given.
    sys::check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const name).cast(), size) }).doing(what)?;
    Ok(socket)
}

/// The thread that passes frames. Dropping this value ends it, and removes both pairs.
#[derive(Debug)]
pub(crate) struct Cable(#[allow(dead_code, reason = "dropping it is what ends the thread")] Worker);

impl Cable {
    /// Starts passing frames between two sockets from [`end`].
    pub fn new(a: OwnedFd, b: OwnedFd) -> Result<Cable> {
        let (stop, told) = Stop::new()?;
        Worker::start("cable", stop, move || pass(&a, &b, &told)).map(Cable)
    }
}

fn pass(a: &OwnedFd, b: &OwnedFd, stop: &OwnedFd) {
    // SAFETY: changes this thread's mask, from a set that is made full first.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
    }
    let mut buffer = vec![0u8; LARGEST];
    let mut poll = [a, b, stop].map(|f| libc::pollfd { fd: f.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    loop {
        // SAFETY: three structures of ours.
        let count = unsafe { libc::poll(poll.as_mut_ptr(), 3, -1) };
        if poll[2].revents != 0
            || (count < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted)
        {
            return;
        }
        if poll[0].revents != 0 {
            frames(a.as_fd(), b.as_fd(), &mut buffer);
        }
        if poll[1].revents != 0 {
            frames(b.as_fd(), a.as_fd(), &mut buffer);
        }
    }
}

/// Passes frames on. Frames that cannot be passed are dropped, as on any Ethernet.
fn frames(from: BorrowedFd, to: BorrowedFd, buffer: &mut [u8]) {
    for _ in 0..TURN {
        let (at, flags) = (buffer.as_mut_ptr().cast(), libc::MSG_DONTWAIT | libc::MSG_TRUNC);
        // SAFETY: writes at most the buffer's length.
        let count = unsafe { libc::recv(from.as_raw_fd(), at, buffer.len(), flags) };
        let Ok(count) = usize::try_from(count) else { return };
        if let Some(frame) = buffer.get(..count) {
            // SAFETY: sends bytes that were received into the buffer.
            unsafe { libc::send(to.as_raw_fd(), frame.as_ptr().cast(), frame.len(), libc::MSG_DONTWAIT) };
        }
    }
}
