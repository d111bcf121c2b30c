//! Serial ports.

pub mod input;
pub mod ns16550a;

pub use input::ConsoleInput;
pub use ns16550a::Ns16550a;

/// Where a console's output goes.
pub type Output = Box<dyn FnMut(&[u8]) + Send>;
