//! Who runs the machine, and with which network.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;
use trine_test_support::command::{Running, until};
use trine_test_support::debian::Debian;
use trine_test_support::machine::Machines;
use trine_test_support::text;

pub const MIB: u64 = 1 << 20;

/// Who runs the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Trine, `--network user,host`.
    Trine,
    /// QEMU, `-netdev user`.
    Slirp,
    /// QEMU with `passt`.
    Passt,
}

impl Side {
    /// In the order in which they are measured.
    pub const ALL: [Side; 3] = [Side::Trine, Side::Slirp, Side::Passt];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Side::Trine => "trine",
            Side::Slirp => "QEMU, slirp",
            Side::Passt => "QEMU, passt",
        }
    }

    /// The command for a machine with these disks, and what has to run beside it.
    pub fn command(
        self,
        machines: &Machines,
        debian: &Debian,
        disks: &[String],
    ) -> Result<(Command, Option<Running>), String> {
        match self {
            Side::Trine => Ok((debian.ours(machines, disks, "user,host")?, None)),
            Side::Slirp => Ok((debian.theirs(disks, "user")?, None)),
            Side::Passt => {
                let (passt, socket) = passt(machines)?;
                let network = format!("stream,server=off,addr.type=unix,addr.path={socket}");
                Ok((debian.theirs(disks, &network)?, Some(passt)))
            }
        }
    }
}

/// Starts the host's `passt`, and returns the path of its socket.
fn passt(machines: &Machines) -> Result<(Running, String), String> {
    // As root it becomes another user before it makes the socket.
    let dir = machines.dir.join("passt");
    std::fs::create_dir_all(&dir).map_err(text)?;
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o777)).map_err(text)?;
    let socket = dir.join("socket");
    drop(std::fs::remove_file(&socket));
    let mut command = Command::new("passt");
    command.args(["--foreground", "--tcp-ports", "none", "--udp-ports", "none", "--socket"]).arg(&socket);
    let log = machines.dir.join("passt.log");
    let passt = Running::start(&mut command, &log)?;
    until("passt has its socket", Duration::from_secs(10), || Ok(socket.exists()))
        .map_err(|e| format!("{e}: {}", std::fs::read_to_string(&log).unwrap_or_default()))?;
    Ok((passt, socket.display().to_string()))
}
