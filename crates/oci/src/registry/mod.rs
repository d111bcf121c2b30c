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

/// How a registry is spoken to.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The platform wanted; none: the host's where there is a choice.
    pub platform: Option<Platform>,
    /// Takes certificates that cannot be verified, and plain HTTP.
    pub insecure: bool,
    /// Registries to ask before the one that is named, each as `HOST[:PORT][/PREFIX]`.
    pub mirrors: Vec<String>,
    /// What the user's and the host's files say.
    pub registries: Registries,
}
