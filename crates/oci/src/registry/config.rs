//! The configuration file for registries.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The contents of `registries.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registries {
    #[serde(default)]
    registry: Vec<Registry>,
}

/// The settings of one registry.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// `HOST[:PORT]`, as in image names.
    name: String,
    /// Whether to accept certificates that cannot be verified, and plain HTTP.
    #[serde(default)]
    pub insecure: bool,
    /// Registries to try first.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// A file of certificates (PEM) to trust in addition to the host's.
    pub ca: Option<PathBuf>,
}

impl Registries {
    /// Loads the user's file, or else the host's: `$XDG_CONFIG_HOME/trine/registries.toml`,
    /// `/etc/trine/registries.toml`.
    ///
    /// # Errors
    /// The file cannot be read or is not valid.
    pub fn load() -> Result<Registries> {
        let absolute = |v: &str| std::env::var_os(v).map(PathBuf::from).filter(|p| p.is_absolute());
        let user = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|h| h.join(".config")));
        let user = user.map(|d| d.join("trine/registries.toml"));
        for path in user.into_iter().chain([PathBuf::from("/etc/trine/registries.toml")]) {
            match std::fs::read_to_string(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => (),
                read => return Registries::parse(&read.map_err(Error::file("cannot read", &path))?, &path),
            }
        }
        Ok(Registries::default())
    }

    /// Parses the file's text; `path` is for messages.
    ///
    /// # Errors
    /// The text is not valid.
    pub fn parse(text: &str, path: &Path) -> Result<Registries> {
        toml::from_str(text)
            .map_err(|e| Error::damaged(path.display().to_string(), e.to_string().trim().to_string()))
    }

    /// The settings of a registry.
    pub fn of(&self, name: &str) -> Registry {
        self.registry.iter().find(|r| r.name == name).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_it_may() {
        let text = "[[registry]]\nname = \"docker.io\"\nmirrors = [\"localhost:5000\"]\n\
                    [[registry]]\nname = \"localhost:5000\"\ninsecure = true\n";
        let all = Registries::parse(text, Path::new("r.toml")).unwrap();
        assert_eq!(all.of("docker.io").mirrors, ["localhost:5000"]);
        assert!(all.of("localhost:5000").insecure && !all.of("docker.io").insecure && !all.of("x").insecure);
        let wrong =
            Registries::parse("[[registry]]\nnmae = 1\n", Path::new("r.toml")).unwrap_err().to_string();
        assert!(wrong.starts_with("r.toml: ") && wrong.contains("nmae"), "{wrong}");
    }
}
