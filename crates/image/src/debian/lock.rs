//! `guests.lock`: the pinned versions of packages.

use super::apt::Package;
use crate::ImageError;
use serde::{Deserialize, Serialize};
use std::path::Path;
use trine_base::replace_file::{self, Durability};

/// One pinned package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Suite.
    pub suite: String,
    /// The package.
    #[serde(flatten)]
    pub package: Package,
}

/// The contents of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The pins, sorted by name.
    #[serde(default, rename = "guest")]
    pub guests: Vec<Pin>,
}

impl Lock {
    /// Parses the text; `path` is its name in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Lock, ImageError> {
        toml::from_str(text).map_err(|e| ImageError::damaged(path, format!("not a lock file: {e}")))
    }

    /// Loads a file; a missing file is empty.
    pub fn load(path: &Path) -> Result<Lock, ImageError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Lock::parse(&text, path),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
            Err(error) => Err(ImageError::file("cannot read", path)(error)),
        }
    }

    /// The pin of a package.
    pub fn find(&self, name: &str, architecture: &str) -> Option<&Pin> {
        self.guests.iter().find(|p| p.package.name == name && p.package.architecture == architecture)
    }

    /// Adds or replaces a pin.
    pub fn set(&mut self, pin: Pin) {
        let key = |p: &Pin| (p.package.name.clone(), p.package.architecture.clone());
        self.guests.retain(|p| key(p) != key(&pin));
        self.guests.push(pin);
        self.guests.sort_by_key(key);
    }

    /// Saves the file atomically: readers see the old or the new one.
    pub fn save(&self, path: &Path) -> Result<(), ImageError> {
        let text = toml::to_string(self).map_err(|e| ImageError::Other(e.to_string()))?;
        let text = format!("# Guests that `trine run` boots; renewed by `trine update` only.\n\n{text}");
        let written = replace_file::replace(path, text.as_bytes(), 0o666, Durability::Whole);
        written.map_err(ImageError::file("cannot write", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_survive_the_file_and_faults_have_a_place() {
        let package = Package {
            name: "p".into(),
            version: "1".into(),
            architecture: "all".into(),
            path: "pool/p.deb".into(),
            sha256: "00".into(),
            size: 3,
        };
        let mut lock = Lock::default();
        lock.set(Pin { suite: "trixie".into(), package: package.clone() });
        lock.set(Pin { suite: "sid".into(), package });
        let text = toml::to_string(&lock).unwrap();
        assert_eq!(Lock::parse(&text, Path::new("x")).unwrap(), lock);
        assert_eq!(lock.guests.len(), 1);
        let error = Lock::parse("[[guest]]\nsuite = 3\n", Path::new("guests.lock")).unwrap_err().to_string();
        assert!(error.contains("guests.lock: not a lock file") && error.contains("line 2"), "{error}");
    }
}
