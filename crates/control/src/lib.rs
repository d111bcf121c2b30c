//! Guests and their lifecycle.
//!
//! * [`record`]: what is known of a guest. [`store`]: the directory of records. [`names`], [`time`],
//!   [`signals`].
//! * [`monitor`]: the small process that each guest has. [`kinds`]: the differences between the three kinds.
//! * [`machine_link`]: the protocol between a monitor and its machine.
//! * [`client`]: the client's side. [`wire`]: the protocol between commands and monitors. [`log`],
//!   [`events`]: files.
//! * [`verbs`]: what the commands do.
//! * [`lockstep`]: two machines side by side, compared at the end of every block.

pub mod bundle;
pub mod client;
pub mod error;
pub mod events;
pub mod initramfs;
pub mod kinds;
pub mod lockstep;
pub mod log;
pub mod machine_link;
pub mod monitor;
pub mod names;
pub mod process;
pub mod record;
pub mod signals;
pub mod store;
pub mod time;
pub mod verbs;
pub mod wire;

pub use error::ControlError;
