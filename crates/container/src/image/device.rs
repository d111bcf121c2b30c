//! Devices of the host in a container.

use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// All access rights: read, write, make nodes.
const ALL: &str = "rwm";

/// A device of the host in a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its path on the host.
    pub from: PathBuf,
    /// Its path in the container.
    pub to: PathBuf,
    /// Access rights: a combination of `r`, `w` and `m`.
    pub access: String,
}

/// Whether a text is a combination of access rights.
fn is_access(text: &str) -> bool {
    !text.is_empty() && text.chars().enumerate().all(|(i, c)| ALL.contains(c) && !text[..i].contains(c))
}

impl FromStr for Device {
    type Err = String;

    /// Parses `FILE[:PLACE][:ACCESS]`.
    fn from_str(text: &str) -> Result<Device, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (from, to, access) = match parts[..] {
            [from] => (from, from, ALL),
            [from, access] if is_access(access) => (from, from, access),
            [from, to] => (from, to, ALL),
            [from, to, access] if is_access(access) => (from, to, access),
            [_, _, access] => {
                return Err(format!("'{access}' is not a device access: use r, w and m, each once"));
            }
            _ => return Err(format!("'{text}' is not a device: use FILE[:PLACE][:rwm]")),
        };
        let inside = Path::new(to);
        let plain = inside.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
        if from.is_empty() || !inside.is_absolute() || !plain || inside.file_name().is_none() {
            return Err(format!(
                "'{to}' cannot be the path of a device in the container: use an absolute path without '..'"
            ));
        }
        Ok(Device { from: from.into(), to: to.into(), access: access.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_as_users_write_them() {
        for (text, from, to, access) in [
            ("/dev/zero", "/dev/zero", "/dev/zero", "rwm"),
            ("/dev/zero:r", "/dev/zero", "/dev/zero", "r"),
            ("/dev/zero:/dev/z2", "/dev/zero", "/dev/z2", "rwm"),
            ("/dev/zero:/dev/z2:r", "/dev/zero", "/dev/z2", "r"),
            ("/dev/zero:/dev/z2:mw", "/dev/zero", "/dev/z2", "mw"),
        ] {
            let want = Device { from: from.into(), to: to.into(), access: access.into() };
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        for bad in [
            "",
            "zero",
            "/dev/zero:",
            "/dev/zero:x",
            "/a:/b:x",
            "/a:/b:rr",
            "/a:/b:",
            "/a:/b:r:w",
            "/a:/../b",
            ":/b",
            "/a:/",
        ] {
            assert!(bad.parse::<Device>().is_err(), "{bad}");
        }
    }
}
