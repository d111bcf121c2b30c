//! What runs here and its lifecycle.
//!
//! * [`lockstep`]: two machines side by side, compared at every block's end.

pub mod lockstep;
