//! What runs here and its lifecycle.
//!
//! * [`record`]: what is known of a guest. [`store`]: where records lie. [`names`], [`time`], [`signals`].
//! * [`monitor`]: the small process that each guest has. [`kinds`]: what the three kinds do differently.
//! * [`machine_link`]: what a monitor and its machine say to each other.
//! * [`client`]: the commands' side. [`wire`]: what commands and monitors say to each other. [`log`], [`events`]: what is written down.
//! * [`verbs`]: what the commands do.
//! * [`lockstep`]: two machines side by side, compared at every block's end.

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
