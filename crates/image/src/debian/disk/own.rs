//! The files of a Debian disk that no package contains: those that an installer would write, and what makes a virtual machine
//! start fast and ask nothing.

use super::tree::Tree;
use crate::debian::sources::Source;
use std::io::Result;

/// The host name of a machine that got no other.
pub const HOSTNAME: &str = "debian";

/// Brings up every Ethernet interface by what the network says.
const NETWORK: &str =
    "[Match]\nType=ether\n\n[Network]\nDHCP=yes\nIPv6AcceptRA=yes\n\n[DHCPv4]\nUseDomains=yes\n";

/// Root's shell on the serial console without a question: who has the console has the machine.
const LOGIN: &str = "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200,38400,9600 %I $TERM\n";

/// Host keys are made at the first boot: copies of a disk must not share them. One kind is enough.
const SSH_KEYS: &str = "[Service]\nExecStartPre=\nExecStartPre=/bin/sh -c '[ -e /etc/ssh/ssh_host_ed25519_key ] || \
                        ssh-keygen -q -t ed25519 -N \"\" -f /etc/ssh/ssh_host_ed25519_key'\nExecStartPre=/usr/sbin/sshd -t\n";

/// Who may come in besides those whom the system itself knows: the host's user, whose key comes with each boot and is not on the
/// disk, of which other users may get copies.
const SSH_USERS: &str =
    "AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2 /run/trine/authorized_keys\n";

/// The port of the socket device at which the machine is asked to shut down; a constant of the units below, too.
pub const SHUT_DOWN_PORT: u32 = 1023;
/// The port at which a machine that goes on from a snapshot gets what it must not share with others: see `renew.sh`.
pub const RENEW_PORT: u32 = 1022;
/// Listens there, and for SSH, as soon as the socket device's driver is loaded.
const VSOCK_RULE: &str = "KERNEL==\"vsock\", TAG+=\"systemd\", ENV{SYSTEMD_WANTS}+=\"sshd-vsock.socket trine-shut-down.socket trine-renew.socket\"\n";
const SHUT_DOWN_SOCKET: &str = "[Unit]\nDescription=Shutting down at the monitor's request\n\n[Socket]\nListenStream=vsock::1023\nAccept=yes\n";
const SHUT_DOWN_SERVICE: &str = "[Unit]\nDescription=Shutting down at the monitor's request\n\n[Service]\nExecStart=/usr/bin/systemctl --no-block poweroff\n";

const RENEW_SOCKET: &str = "[Unit]\nDescription=What a machine from a snapshot has of its own\n\n[Socket]\nListenStream=vsock::1022\nAccept=yes\n";
const RENEW_SERVICE: &str = "[Unit]\nDescription=What a machine from a snapshot has of its own\n\n[Service]\nExecStart=/bin/sh /usr/lib/trine/renew\n\
                             StandardInput=socket\nStandardOutput=socket\nStandardError=journal\n";
const RENEW: &str = include_str!("renew.sh");
/// Sets the console's size as long as a port of the console device tells that of the user's terminal. The size is kept in a
/// file for shells that begin later: a terminal that nobody has open forgets it.
const TERMINAL_SIZE_RULE: &str = "SUBSYSTEM==\"virtio-ports\", ATTR{name}==\"trine.terminal-size\", TAG+=\"systemd\", \
                                  ENV{SYSTEMD_WANTS}+=\"trine-terminal-size.service\"\n";
const TERMINAL_SIZE_SERVICE: &str = "[Unit]\nDescription=The size of the user's terminal for the console\n\n[Service]\n\
                                     StandardInput=file:/dev/virtio-ports/trine.terminal-size\n\
                                     ExecStart=/bin/sh -c 'while read -r rows columns; do \
                                     echo \"rows $$rows cols $$columns\" >/run/trine-terminal-size; \
                                     stty -F /dev/ttyS0 rows \"$$rows\" cols \"$$columns\"; done'\n";
const TERMINAL_SIZE_PROFILE: &str = "[ \"$(tty)\" != /dev/ttyS0 ] || [ ! -r /run/trine-terminal-size ] || stty $(cat /run/trine-terminal-size)\n";

/// SSH at the socket device. systemd makes such units by itself, under these names, where it knows that it is in a virtual machine,
/// which it does not on every CPU; these replace them.
const SSH_SOCKET: &str = "[Unit]\nDescription=SSH at the socket device\n\n[Socket]\nListenStream=vsock::22\nAccept=yes\nPollLimitIntervalSec=30s\n";
const SSH_SERVICE: &str = "[Unit]\nDescription=SSH at the socket device\nAfter=ssh.service\n\n[Service]\nRuntimeDirectory=sshd\n\
                           RuntimeDirectoryPreserve=yes\nExecStart=-/usr/sbin/sshd -i\nStandardInput=socket\nKillMode=process\n";

/// Text files: path, contents.
const FILES: &[(&str, &str)] = &[
    ("etc/fstab", "/dev/vda / ext4 rw,noatime,x-systemd.growfs 0 1\n"),
    ("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost ip6-localhost ip6-loopback\n"),
    ("etc/default/locale", "LANG=C.UTF-8\n"),
    // Empty: systemd makes one and asks nothing. (Without the file it asks for everything.)
    ("etc/machine-id", ""),
    ("etc/systemd/network/80-ethernet.network", NETWORK),
    ("etc/systemd/system/serial-getty@.service.d/autologin.conf", LOGIN),
    ("etc/systemd/system/ssh.service.d/keys.conf", SSH_KEYS),
    ("etc/ssh/sshd_config.d/10-one-key.conf", "HostKey /etc/ssh/ssh_host_ed25519_key\n"),
    ("etc/ssh/sshd_config.d/20-trine.conf", SSH_USERS),
    ("etc/udev/rules.d/70-trine.rules", VSOCK_RULE),
    ("etc/systemd/system/sshd-vsock.socket", SSH_SOCKET),
    ("etc/systemd/system/sshd-vsock@.service", SSH_SERVICE),
    ("etc/systemd/system/trine-shut-down.socket", SHUT_DOWN_SOCKET),
    ("etc/systemd/system/trine-shut-down@.service", SHUT_DOWN_SERVICE),
    ("etc/systemd/system/trine-renew.socket", RENEW_SOCKET),
    ("etc/systemd/system/trine-renew@.service", RENEW_SERVICE),
    ("usr/lib/trine/renew", RENEW),
    ("etc/udev/rules.d/71-trine-terminal-size.rules", TERMINAL_SIZE_RULE),
    ("etc/systemd/system/trine-terminal-size.service", TERMINAL_SIZE_SERVICE),
    ("etc/profile.d/trine-terminal-size.sh", TERMINAL_SIZE_PROFILE),
    // Nobody reads so many lines of audit on a console.
    ("etc/sysctl.d/20-quiet-console.conf", "kernel.printk = 4 4 1 7\n"),
];

/// Adds them.
///
/// # Errors
/// Those of [`Tree::put`].
pub fn add(tree: &mut Tree, suite: &str, sources: &[Source], made: i64) -> Result<()> {
    for (path, text) in FILES {
        tree.file(path, 0o644, text.as_bytes().to_vec(), made)?;
    }
    tree.file("etc/hostname", 0o644, format!("{HOSTNAME}\n").into_bytes(), made)?;
    tree.symlink("etc/localtime", "/usr/share/zoneinfo/Etc/UTC", made)?;
    // The second stage removes it: until then no service starts.
    tree.file("usr/sbin/policy-rc.d", 0o755, b"#!/bin/sh\nexit 101\n".to_vec(), made)?;
    tree.file("etc/apt/sources.list.d/debian.sources", 0o644, mirrors(suite, sources).into_bytes(), made)
}

/// The host's mirrors, for the guest's suite.
fn mirrors(suite: &str, sources: &[Source]) -> String {
    let of = |s: &Source| {
        format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n",
            s.mirror
        )
    };
    sources.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_name_the_port() {
        assert!(SHUT_DOWN_SOCKET.contains(&format!("vsock::{SHUT_DOWN_PORT}\n")));
        assert!(RENEW_SOCKET.contains(&format!("vsock::{RENEW_PORT}\n")));
    }
}
