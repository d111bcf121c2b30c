//! Registries: OCI's and Docker's, by HTTP (OCI Distribution Specification 1.1).

mod auth;
mod client;
mod config;
mod failure;
mod http;
mod pull;
mod push;
#[cfg(test)]
mod tests;
mod token;

pub use config::Registries;
pub use pull::pull;
pub use push::push;

use crate::platform::Platform;

/// Options for requests to a registry.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// The platform of the image; `None` means the host's if there is a choice.
    pub platform: Option<Platform>,
    /// Whether to accept certificates that cannot be verified, and plain HTTP.
    pub insecure: bool,
    /// Registries to try before the named one, each as `HOST[:PORT][/PREFIX]`.
    pub mirrors: Vec<String>,
    /// The settings in the user's or the host's file.
    pub registries: Registries,
}
