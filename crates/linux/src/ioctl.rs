//! Requests of `ioctl` (include/uapi/asm-generic/ioctls.h, linux/fs.h, linux/sockios.h and others). They are
//! passed to the host's kernel unchanged, since all structures are the same; so are requests that are not
//! listed here.

use crate::call::{Context, get, put};
use crate::errno::Errno;
use crate::space::{NOWHERE, programs, programs_or_number};

/// The direction of a request's argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// No argument.
    None,
    /// A number, not an address.
    Value,
    /// The kernel reads the structure.
    In,
    /// The kernel writes the structure.
    Out,
    /// The kernel reads and writes the structure.
    InOut,
}

/// A request.
pub struct Request {
    /// Number.
    pub number: u32,
    /// Name.
    pub name: &'static str,
    /// Size of the structure in bytes.
    pub size: u32,
    /// The direction of the argument.
    pub way: Way,
    /// A short description.
    pub meaning: &'static str,
}

macro_rules! requests {
    ($($number:literal $name:ident $size:literal $way:ident $meaning:literal;)*) => {
        /// Requests in the order of their numbers.
        pub const REQUESTS: &[Request] = &[$(Request {
            number: $number,
            name: stringify!($name),
            size: $size,
            way: Way::$way,
            meaning: $meaning,
        }),*];
    };
}

/// The row of a request; `None` if it is not listed.
pub fn find(number: u32) -> Option<&'static Request> {
    let at = REQUESTS.binary_search_by_key(&number, |r| r.number).ok()?;
    Some(&REQUESTS[at])
}

/// Requests whose structures contain an address, and its offset.
const NESTED: &[(&str, usize)] =
    &[("SIOCADDRT", 88), ("SIOCDELRT", 88), ("SIOCGIFCONF", 8), ("SIOCETHTOOL", 16)];

/// The largest such structure in bytes.
const LARGEST: usize = 120;

/// `ioctl(fd, request, argument)`.
pub fn ioctl(c: &Context, [fd, request, argument, ..]: [u64; 6]) -> Result<u64, Errno> {
    let row = find(request as u32);
    let call = |argument| c.host(libc::SYS_ioctl, [fd, request, argument, 0, 0, 0]);
    match row {
        Some(Request { way: Way::None | Way::Value, .. }) => call(argument),
        Some(row) => match NESTED.iter().find(|(name, _)| *name == row.name) {
            Some(&(_, at)) => nested(row, at, argument, call),
            None => call(programs(argument)),
        },
        None => call(programs_or_number(argument)),
    }
}

/// A request whose structure at `at` contains an address at offset `inner`: the kernel gets a copy, which no
/// other thread can change.
fn nested(
    row: &Request,
    inner: usize,
    at: u64,
    call: impl Fn(u64) -> Result<u64, Errno>,
) -> Result<u64, Errno> {
    let mut copy = [0u8; LARGEST];
    let size = row.size as usize;
    for (byte, i) in copy[..size].iter_mut().zip(0..) {
        match get(at.wrapping_add(i)) {
            Ok(value) => *byte = value,
            Err(_) => return call(NOWHERE),
        }
    }
    let mut address = [0; 8];
    address.copy_from_slice(&copy[inner..inner + 8]);
    let given = u64::from_ne_bytes(address);
    copy[inner..inner + 8].copy_from_slice(&programs(given).to_ne_bytes());
    let result = call(copy.as_mut_ptr() as u64)?;
    if row.way == Way::InOut {
        copy[inner..inner + 8].copy_from_slice(&address);
        copy[..size].iter().zip(0..).try_for_each(|(byte, i)| put(at.wrapping_add(i), byte))?;
    }
    Ok(result)
}

requests! {
    0x1 FIBMAP 4 InOut "block of a file";
    0x2 FIGETBSZ 4 Out "size of a file system's blocks";
    0x125d BLKROSET 4 In "read-only";
    0x125e BLKROGET 4 Out "read-only";
    0x1260 BLKRRPART 0 None "read partitions again";
    0x1261 BLKFLSBUF 0 None "drop buffers";
    0x1268 BLKSSZGET 4 Out "size of a sector";
    0x1277 BLKDISCARD 16 In "discard a range";
    0x127b BLKPBSZGET 4 Out "size of a physical sector";
    0x127f BLKZEROOUT 16 In "zero a range";
    0x4b33 KDGKBTYPE 1 Out "kind of keyboard";
    0x4b3a KDSETMODE 0 Value "text or graphics";
    0x4b3b KDGETMODE 4 Out "text or graphics";
    0x4b44 KDGKBMODE 4 Out "mode of the keyboard";
    0x5401 TCGETS 36 Out "settings of a terminal";
    0x5402 TCSETS 36 In "settings of a terminal, at once";
    0x5403 TCSETSW 36 In "settings of a terminal, after output";
    0x5404 TCSETSF 36 In "settings of a terminal, after output, input dropped";
    0x5405 TCGETA 18 Out "old settings of a terminal";
    0x5406 TCSETA 18 In "old settings of a terminal";
    0x5409 TCSBRK 0 Value "a break, or wait for output";
    0x540a TCXONC 0 Value "stop or start output and input";
    0x540b TCFLSH 0 Value "drop input or output";
    0x540c TIOCEXCL 0 None "nobody else may open the terminal";
    0x540d TIOCNXCL 0 None "others may open it again";
    0x540e TIOCSCTTY 0 Value "make it the controlling terminal";
    0x540f TIOCGPGRP 4 Out "foreground process group";
    0x5410 TIOCSPGRP 4 In "foreground process group";
    0x5411 TIOCOUTQ 4 Out "bytes not sent yet";
    0x5412 TIOCSTI 1 In "a character as if typed";
    0x5413 TIOCGWINSZ 8 Out "size of the window";
    0x5414 TIOCSWINSZ 8 In "size of the window";
    0x5415 TIOCMGET 4 Out "modem lines";
    0x5416 TIOCMBIS 4 In "modem lines to set";
    0x5417 TIOCMBIC 4 In "modem lines to clear";
    0x5418 TIOCMSET 4 In "modem lines";
    0x541b FIONREAD 4 Out "bytes that can be read";
    0x541d TIOCCONS 0 None "redirect the console";
    0x5420 TIOCPKT 4 In "packet mode";
    0x5421 FIONBIO 4 In "do not block";
    0x5422 TIOCNOTTY 0 None "give up the controlling terminal";
    0x5423 TIOCSETD 4 In "line discipline";
    0x5424 TIOCGETD 4 Out "line discipline";
    0x5425 TCSBRKP 0 Value "a break of some length";
    0x5427 TIOCSBRK 0 None "begin a break";
    0x5428 TIOCCBRK 0 None "end a break";
    0x5429 TIOCGSID 4 Out "session of the terminal";
    0x5441 TIOCGPTPEER 0 Value "open the other side of a pseudo-terminal";
    0x5450 FIONCLEX 0 None "keep over execve";
    0x5451 FIOCLEX 0 None "close on execve";
    0x5452 FIOASYNC 4 In "signal when ready";
    0x5460 FIOQSIZE 8 Out "size of a file or directory";
    0x5600 VT_OPENQRY 4 Out "a free console";
    0x5603 VT_GETSTATE 6 Out "consoles";
    0x8902 SIOCSPGRP 4 In "owner of a socket";
    0x8904 SIOCGPGRP 4 Out "owner of a socket";
    0x8905 SIOCATMARK 4 Out "at the urgent mark";
    0x8906 SIOCGSTAMP 16 Out "time of the last packet";
    0x890b SIOCADDRT 120 In "add a route";
    0x890c SIOCDELRT 120 In "delete a route";
    0x8910 SIOCGIFNAME 40 InOut "name of an interface";
    0x8912 SIOCGIFCONF 16 InOut "addresses of all interfaces";
    0x8913 SIOCGIFFLAGS 40 InOut "flags of an interface";
    0x8914 SIOCSIFFLAGS 40 In "flags of an interface";
    0x8915 SIOCGIFADDR 40 InOut "address of an interface";
    0x8916 SIOCSIFADDR 40 In "address of an interface";
    0x8917 SIOCGIFDSTADDR 40 InOut "the other end's address";
    0x8919 SIOCGIFBRDADDR 40 InOut "broadcast address";
    0x891b SIOCGIFNETMASK 40 InOut "network mask";
    0x891c SIOCSIFNETMASK 40 In "network mask";
    0x8921 SIOCGIFMTU 40 InOut "largest packet";
    0x8922 SIOCSIFMTU 40 In "largest packet";
    0x8927 SIOCGIFHWADDR 40 InOut "hardware address";
    0x8933 SIOCGIFINDEX 40 InOut "number of an interface";
    0x8942 SIOCGIFTXQLEN 40 InOut "length of the queue";
    0x8946 SIOCETHTOOL 40 InOut "what ethtool asks";
    0x8953 SIOCDARP 68 In "delete a neighbour";
    0x8954 SIOCGARP 68 InOut "a neighbour";
    0x8955 SIOCSARP 68 In "set a neighbour";
    0xb701 NS_GET_USERNS 0 None "user namespace of a namespace";
    0xb702 NS_GET_PARENT 0 None "parent of a namespace";
    0xb703 NS_GET_NSTYPE 0 None "kind of a namespace";
    0xb704 NS_GET_OWNER_UID 4 Out "owner of a namespace";
    0x40045431 TIOCSPTLCK 4 In "lock of a pseudo-terminal";
    0x400454ca TUNSETIFF 40 InOut "make a tunnel";
    0x40049409 FICLONE 0 Value "share another file's blocks";
    0x40086602 FS_IOC_SETFLAGS 4 In "attributes of a file";
    0x401c5820 FS_IOC_FSSETXATTR 28 In "more attributes of a file";
    0x4020940d FICLONERANGE 32 In "share a range of another file";
    0x402c542b TCSETS2 44 In "settings of a terminal with any speed";
    0x402c542c TCSETSW2 44 In "settings of a terminal with any speed, after output";
    0x402c542d TCSETSF2 44 In "settings of a terminal with any speed, input dropped";
    0x80045200 RNDGETENTCNT 4 Out "entropy";
    0x80045430 TIOCGPTN 4 Out "number of a pseudo-terminal";
    0x80045432 TIOCGDEV 4 Out "device of the terminal";
    0x80045438 TIOCGPKT 4 Out "packet mode";
    0x80045439 TIOCGPTLCK 4 Out "lock of a pseudo-terminal";
    0x80081272 BLKGETSIZE64 8 Out "bytes of a device";
    0x80086601 FS_IOC_GETFLAGS 4 Out "attributes of a file";
    0x801c581f FS_IOC_FSGETXATTR 28 Out "more attributes of a file";
    0x802c542a TCGETS2 44 Out "settings of a terminal with any speed";
    0xc0045877 FIFREEZE 4 InOut "freeze a file system";
    0xc0045878 FITHAW 4 InOut "thaw a file system";
    0xc0185879 FITRIM 24 InOut "discard unused blocks";
    0xc0189436 FIDEDUPERANGE 24 InOut "share equal ranges";
    0xc020660b FS_IOC_FIEMAP 32 InOut "extents of a file";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_as_their_numbers_say() {
        assert!(REQUESTS.windows(2).all(|w| w[0].number < w[1].number));
        // New request numbers contain the size (bits 16 to 29) and the direction (30 and 31).
        for r in REQUESTS.iter().filter(|r| r.number >> 30 != 0) {
            let said = r.number >> 16 & 0x3fff;
            // These say `long` and take `int`; FICLONE takes a descriptor, TUNSETIFF a larger structure.
            let odd = ["FS_IOC_GETFLAGS", "FS_IOC_SETFLAGS", "FICLONE", "TUNSETIFF"].contains(&r.name);
            assert!(said == r.size || odd, "{} says {said}", r.name);
            let way = match r.number >> 30 {
                1 => Way::In,
                2 => Way::Out,
                _ => Way::InOut,
            };
            assert!(way == r.way || odd, "{}", r.name);
        }
    }

    #[test]
    fn the_hosts_numbers_are_the_same() {
        let host = [
            ("TCGETS", libc::TCGETS),
            ("TCSETSF", libc::TCSETSF),
            ("TIOCGWINSZ", libc::TIOCGWINSZ),
            ("TIOCGPTN", libc::TIOCGPTN),
            ("TIOCSCTTY", libc::TIOCSCTTY),
            ("FIONREAD", libc::FIONREAD),
            ("FIONBIO", libc::FIONBIO),
            ("FIOCLEX", libc::FIOCLEX),
            ("FICLONE", libc::FICLONE as _),
            ("TUNSETIFF", libc::TUNSETIFF as _),
            ("BLKSSZGET", libc::BLKSSZGET as _),
            ("SIOCGIFINDEX", libc::SIOCGIFINDEX as _),
            ("SIOCGIFCONF", libc::SIOCGIFCONF as _),
        ];
        for (name, number) in host {
            assert_eq!(find(number as u32).map(|r| r.name), Some(name));
        }
    }
}
