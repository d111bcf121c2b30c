//! Extracting files from a package.

use crate::ImageError;
use std::io::{Read, Take};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

/// The most bytes to which a package may unpack: kernel packages have a few hundred megabytes. The extracted
/// files, and long headers of the archive, are kept in memory.
const MOST: u64 = 2 << 30;

/// An archive that dpkg-deb writes.
type Archive = tar::Archive<Take<ChildStdout>>;

/// Extracts the regular files for which `wanted` returns a key; dpkg does the unpacking.
pub fn extract<K>(
    deb: &Path,
    mut wanted: impl FnMut(&str) -> Option<K>,
) -> Result<Vec<(K, Vec<u8>)>, ImageError> {
    let mut found = Vec::new();
    entries(deb, "--fsys-tarfile", |entry| {
        let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_string();
        if !entry.header().entry_type().is_file() {
            return Ok(());
        }
        if let Some(key) = wanted(&name) {
            let mut data = Vec::new();
            entry.read_to_end(&mut data)?;
            if data.len() as u64 != entry.size() {
                return Err(std::io::Error::other(format!("it unpacks to more than {MOST} bytes")));
            }
            found.push((key, data));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Calls `each` for every entry of one of a package's archives: `--fsys-tarfile` is what it contains,
/// `--ctrl-tarfile` what tells about it.
pub fn entries(
    deb: &Path,
    which: &str,
    mut each: impl FnMut(&mut tar::Entry<Take<ChildStdout>>) -> std::io::Result<()>,
) -> Result<(), ImageError> {
    let mut child = Command::new("dpkg-deb")
        .arg(which)
        .arg(deb)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|_| ImageError::NoApt("dpkg-deb".into(), deb.display().to_string()))?;
    let mut fault = None;
    if let Some(out) = child.stdout.take() {
        let mut archive: Archive = tar::Archive::new(out.take(MOST));
        let all = archive.entries().and_then(|mut all| all.try_for_each(|entry| each(&mut entry?)));
        fault = all.err();
    }
    let end = child.wait_with_output().map_err(ImageError::file("cannot unpack", deb))?;
    if !end.status.success() || fault.is_some() {
        let said = String::from_utf8_lossy(&end.stderr).trim().replace('\n', "; ");
        let why = if said.is_empty() { fault.map_or(String::new(), |f| f.to_string()) } else { said };
        return Err(ImageError::damaged(
            deb,
            format!("the package is damaged ({why}): remove it and try again"),
        ));
    }
    Ok(())
}
