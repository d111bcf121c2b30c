//! Compiles blocks for the host's CPU and runs the result, under names that are the same for every host.
//!
//! Everything outside of a back end uses these names only. A back end for another host has a module like [`crate::x64`]
//! with the same items:
//!
//! * [`Code`]: generated code, its tables and the way into it; shared by vCPUs and read without a lock.
//! * [`Compiler`]: what is needed to add to it; one thread at a time.
//! * [`Compiled`], [`Left`]: what compiling and running came to.
//! * [`guest_access`], [`Tables`], [`Thunk`]: for accesses to programs' memory and the handler of refused ones
//!   ([`crate::direct`]).

pub use crate::x64::guest_access;
pub use crate::x64::tables::Tables;
pub use crate::x64::thunks::{THUNKS, Thunk};
pub use crate::x64::{Code, Compiled, Compiler, Left};
