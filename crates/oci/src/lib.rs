//! OCI images: the store, registries, layouts and archives (OCI Image Format Specification 1.1, Distribution
//! Specification 1.1).
//!
//! ```no_run
//! # use trine_oci::{Platform, Silent, Store};
//! # fn main() -> trine_oci::Result<()> {
//! let store = Store::open()?;
//! let image = store.resolve("alpine", &Platform::host())?;
//! store.pin(&image, "guest-id")?;
//! let layers = store.layers(&image, &Silent)?;
//! // lowerdir= is layers.lower, the last one first; when the guest is removed:
//! store.unpin("guest-id")?;
//! store.collect()?;
//! # Ok(())
//! # }
//! ```

#[cfg(test)]
mod bounded;
pub mod digest;
pub mod document;
mod error;
pub mod layer;
mod name;
mod platform;
mod progress;
#[cfg(feature = "registry")]
pub mod registry;
mod store;
pub mod transport;
pub mod userns;

pub use document::Healthcheck;
pub use error::{Error, Result};
pub use layer::{Layers, Limits};
pub use name::Name;
pub use oci_spec::image::{Descriptor, Digest, ImageConfiguration, ImageManifest};
pub use platform::Platform;
pub use progress::{Progress, Silent};
pub use store::{Collected, Held, Image, Incoming, Lease, Listed, Removed, Spool, Store, Taking, Working};
