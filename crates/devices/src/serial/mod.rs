//! Serial ports.

pub mod input;
pub mod ns16550a;

pub use input::ConsoleInput;
pub use ns16550a::Ns16550a;

/// The function that receives a console's output.
pub type Output = Box<dyn FnMut(&[u8]) + Send>;
