//! Directories that tests work in.

use std::path::{Path, PathBuf};

/// A directory that is removed, with all that is in it, when this is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes `trine-NAME-PID` in the directory for temporary files.
    ///
    /// # Errors
    /// The host's.
    pub fn new(name: &str) -> Result<Scratch, String> {
        let dir = std::env::temp_dir().join(format!("trine-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Scratch(dir))
    }
}

impl std::ops::Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
