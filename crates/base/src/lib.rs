//! The interfaces that all crates share: vCPU, bus and devices, block backends, clock; and the directories
//! for files.
//!
//! Nothing here knows a guest CPU, an engine or a board; every other crate may import it.

pub mod block;
pub mod bus;
pub mod clock;
pub mod debug;
pub mod device;
pub mod elf;
pub mod file_lock;
pub mod mailbox;
pub mod net;
pub mod net_header;
pub mod passed_fds;
pub mod process_stat;
pub mod random;
pub mod replace_file;
pub mod rfc3339;
pub mod size;
pub mod state;
pub mod stats;
pub mod target;
pub mod terminal;
pub mod text;
pub mod trace;
pub mod vcpu;
pub mod vcpu_state;
pub mod vsock;
pub mod wake;
pub mod width;
pub mod words;
pub mod workers;
pub mod xdg;

pub use block::{BlockBackend, BlockError, BlockSizes};
pub use bus::{Bus, DeviceId, Router, SharedLine, Space, WindowError};
pub use clock::{Clock, CountClock, HostClock};
pub use debug::{CachedPage, DebugStop, Stops, Watchpoint};
pub use device::{Action, Actions, Device, StopReason};
pub use mailbox::Mailbox;
pub use net::{NetBackend, Offloads, Partial};
pub use random::{HostRandom, Random, SeededRandom};
pub use state::StateError;
pub use stats::Stats;
pub use vcpu::{Exit, Fence, RegisterInfo, Trap, Vcpu};
pub use wake::Waker;
pub use width::Width;
pub use words::{ByteOrder, Words};
pub use workers::Workers;
