//! Extracting files from a package.

use crate::ImageError;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// The most bytes to which a package may unpack: kernel packages have a few hundred megabytes. The extracted
/// files, and long headers of the archive, are kept in memory.
const MOST: u64 = 2 << 30;

/// Extracts the regular files for which `wanted` returns a key; dpkg does the unpacking.
pub fn extract<K>(
    deb: &Path,
    mut wanted: impl FnMut(&str) -> Option<K>,
) -> Result<Vec<(K, Vec<u8>)>, ImageError> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|_| ImageError::NoApt("dpkg-deb".into(), deb.display().to_string()))?;
    let mut found = Vec::new();
    let mut fault = None;
    if let Some(out) = child.stdout.take() {
        let mut tar = tar::Archive::new(out.take(MOST));
        let mut take = || -> std::io::Result<()> {
            for entry in tar.entries()? {
                let mut entry = entry?;
                let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_string();
                if !entry.header().entry_type().is_file() {
                    continue;
                }
                if let Some(key) = wanted(&name) {
                    let mut data = Vec::new();
                    entry.read_to_end(&mut data)?;
                    if data.len() as u64 != entry.size() {
                        return Err(std::io::Error::other(format!("it unpacks to more than {MOST} bytes")));
                    }
                    found.push((key, data));
                }
            }
            Ok(())
        };
        fault = take().err();
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
    Ok(found)
}
