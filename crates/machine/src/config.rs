//! The configuration of a machine, and how a machine ends.

use crate::boot::Boot;
use crate::disk::Disk;
use crate::flash::FlashBank;
use crate::share::Share;
use std::sync::Arc;
use trine_base::vsock::GuestEnd;
use trine_base::{NetBackend, StopReason};
use trine_devices::virtio::balloon::BalloonControl;
use trine_devices::virtio::console::TerminalSize;
use trine_engine::{PerfMap, Tier};

/// Where guest time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// The host's clock.
    Host,
    /// The number of executed instructions, each counted as so many nanoseconds: the same run gives the same
    /// result.
    Count(u64),
}

/// A network device to be made.
pub struct NetDevice {
    /// The network that it is on.
    pub backend: Box<dyn NetBackend>,
    /// Its address: unicast, that is with the lowest bit of the first byte clear.
    pub mac: [u8; 6],
    /// Pairs of queues, 1 to 8: as many vCPUs of the guest can send and receive at once.
    pub queue_pairs: u16,
}

/// A socket device to be made.
pub struct VsockDevice {
    /// The guest's context ID, 3 to 2³² − 2. Nothing outside this machine sees it.
    pub cid: u32,
    /// The streams to processes of the host.
    pub end: GuestEnd,
}

/// A machine to be made.
pub struct Config {
    /// Bytes of RAM.
    pub memory: u64,
    /// Number of vCPUs, at least 1.
    pub cpus: u32,
    /// The software that it starts with.
    pub boot: Boot,
    /// Disks, in the order of the guest's names for them.
    pub disks: Vec<Disk>,
    /// Banks of flash: as many as the board has, or none.
    pub flash: Vec<FlashBank>,
    /// Network devices, in the order of the guest's names for them.
    pub net: Vec<NetDevice>,
    /// Folders of the host.
    pub shares: Vec<Share>,
    /// The control of the memory balloon; `None` for a machine without one.
    pub balloon: Option<Arc<BalloonControl>>,
    /// The size of the terminal that shows the console, which the guest is told; `None` for a machine that does not tell.
    pub terminal: Option<Arc<TerminalSize>>,
    /// The socket device; `None` for a machine without one.
    pub vsock: Option<VsockDevice>,
    /// How the vCPUs execute instructions.
    pub tier: Tier,
    /// The source of guest time.
    pub time: TimeSource,
    /// Seed of the guest's randomness; `None` uses the host's randomness.
    pub seed: Option<u64>,
    /// Where generated code is recorded for `perf`; `None` records nothing.
    pub perf: Option<Arc<PerfMap>>,
}

impl Config {
    /// A machine with no device of the host's: compiled, in the host's time, with the host's randomness.
    pub fn new(memory: u64, cpus: u32, boot: Boot) -> Config {
        Config {
            memory,
            cpus,
            boot,
            disks: Vec::new(),
            flash: Vec::new(),
            net: Vec::new(),
            shares: Vec::new(),
            balloon: None,
            terminal: None,
            vsock: None,
            tier: Tier::Baseline,
            time: TimeSource::Host,
            seed: None,
            perf: None,
        }
    }
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest powered off.
    PowerOff,
    /// The guest asked for a reset.
    Reset,
    /// The guest reported a failure with this code.
    Failure(u32),
    /// The user ended it ([`crate::Remote::quit`]).
    Quit,
    /// The machine cannot go on, for this reason.
    Dead(String),
}

impl From<StopReason> for End {
    fn from(reason: StopReason) -> End {
        match reason {
            StopReason::PowerOff => End::PowerOff,
            StopReason::Reset => End::Reset,
            StopReason::Failure(code) => End::Failure(code),
        }
    }
}
