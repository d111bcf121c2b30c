//! `--network passt`: the program `passt` as a machine's network, started as a child that has the other end of a socket.

use super::network::NetworkArgs;
use crate::Refusal;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use trine_hostnet::{PortMap, ports};
use trine_net::StreamNetwork;

/// The largest IP packet that `passt` takes, in bytes: 64 KiB without the Ethernet header, in whole words.
const MTU: u16 = 65_520;
/// How long the program may take to start.
const START: Duration = Duration::from_secs(10);

/// Starts the program for a guest with the Ethernet address `mac`; its ports are open when this returns. It ends when the
/// kernel closes the machine's end of the socket: a confined machine could not send it a signal.
///
/// # Errors
/// It is not installed, cannot open a port, or does not start.
pub fn start(network: &NetworkArgs, mac: [u8; 6]) -> Result<StreamNetwork, Refusal> {
    let (mut ours, theirs) = UnixStream::pair().map_err(Refusal::host)?;
    let mut said = memory_file()?;
    let stderr = said.try_clone().map_err(Refusal::host)?;
    let mut command = Command::new("passt");
    let fd = theirs.as_raw_fd();
    command.args(["--foreground", "--quiet", "--stderr", "--fd"]).arg(fd.to_string());
    command.args(port_options(network.ports())?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    // SAFETY: changes a descriptor of the child only.
    let inherit = move || match unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: system calls only, between fork and exec.
    unsafe { command.pre_exec(inherit) };
    let mut child = command.spawn().map_err(|e| match e.kind() {
        ErrorKind::NotFound => Refusal::host(
            "--network passt: the program passt is not installed: install the package passt, or use --network user",
        ),
        _ => Refusal::host(format!("--network passt: the program cannot be started: {e}")),
    })?;
    drop(theirs);
    if !answers(&mut ours, mac) {
        // Fails only where it has ended.
        let _ = child.kill().and_then(|()| child.wait());
        return Err(Refusal::host(format!("--network passt: {}", reason(&mut said))));
    }
    StreamNetwork::new(ours, MTU).map_err(Refusal::host)
}

/// A file in memory, for what the program writes: unlike a pipe it is never full.
fn memory_file() -> Result<File, Refusal> {
    // SAFETY: a constant string.
    let fd = unsafe { libc::memfd_create(c"passt".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(Refusal::host(std::io::Error::last_os_error()));
    }
    // SAFETY: a descriptor that the kernel has just made for this call; nobody else has it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// The options for ports. `passt` has no ports that it chooses itself.
fn port_options<'a>(all: impl Iterator<Item = &'a PortMap>) -> Result<Vec<String>, Refusal> {
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    for port in all {
        if port.host_first == 0 || port.host_last > port.host_first {
            return Err(Refusal::refused(format!(
                "-p {}: with --network passt a port of the host must be named, such as -p {}:{}",
                port.option,
                port.host_first.max(8080),
                port.guest
            )));
        }
        let address = port.address.map(|a| format!("{a}/")).unwrap_or_default();
        let of = if port.protocol == ports::Protocol::Tcp { &mut tcp } else { &mut udp };
        of.push(format!("{address}{}:{}", port.host_first, port.guest));
    }
    let options = |option: &'static str, mut list: Vec<String>| {
        if list.is_empty() {
            list.push("none".into());
        }
        list.into_iter().flat_map(move |spec| [option.to_owned(), spec])
    };
    Ok(options("-t", tcp).chain(options("-u", udp)).collect())
}

/// Whether the program answers: it is asked for an address by ARP, as a guest would that looks whether the address is
/// free (RFC 5227). The answer stays in the socket.
fn answers(socket: &mut UnixStream, mac: [u8; 6]) -> bool {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    // ARP for IPv4 over Ethernet: a request.
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend([0; 10]);
    frame.extend([10, 0, 2, 2]);
    let message = [&(frame.len() as u32).to_be_bytes()[..], &frame].concat();
    if socket.write_all(&message).is_err() {
        return false;
    }
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut byte = 0u8;
    // SAFETY: one structure of ours, then one byte of ours.
    unsafe {
        libc::poll(&raw mut poll, 1, START.as_millis() as i32) == 1
            && libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT)
                == 1
    }
}

/// Why the program has ended, in its own words.
fn reason(said: &mut File) -> String {
    let mut text = Vec::new();
    // Without its words there is still the sentence below.
    let _ = said.rewind().and_then(|()| said.read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    // It complains where there is no system log.
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.ends_with("to syslog"));
    let plain = |line: &str| line.chars().filter(|c| !c.is_control()).collect();
    lines.next_back().map_or("the program passt does not start".into(), plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Result<Vec<String>, String> {
        let maps: Vec<PortMap> = words.iter().flat_map(|w| ports::parse(w).unwrap()).collect();
        port_options(maps.iter()).map_err(|r| r.message)
    }

    #[test]
    fn ports_have_the_form_of_the_program() {
        let got = options(&["8080:80", "127.0.0.1:53:53/udp", "[::1]:8081:81"]).unwrap().join(" ");
        assert_eq!(got, "-t 8080:80 -t ::1/8081:81 -u 127.0.0.1/53:53");
        assert_eq!(options(&[]).unwrap().join(" "), "-t none -u none");
        for any in ["80", "8000-8010:80"] {
            assert!(options(&[any]).unwrap_err().contains("must be named"), "{any}");
        }
    }

    #[test]
    fn the_programs_last_words_are_the_reason() {
        let mut file = memory_file().unwrap();
        file.write_all(b"Don't run as root\nFailed to bind any port\nFailed to send 3 bytes to syslog\n")
            .unwrap();
        assert_eq!(reason(&mut file), "Failed to bind any port");
        assert!(reason(&mut memory_file().unwrap()).contains("does not start"));
    }
}
