//! Volumes (files of the host in a container) and tmpfs mounts.

use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// A file or directory of the host, mounted in a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Its source on the host; a plain name is a volume that Trine keeps.
    pub from: Source,
    /// Its path in the container.
    pub to: PathBuf,
    /// Whether it is mounted read-only.
    pub read_only: bool,
    /// The propagation of mounts (default `rprivate`).
    pub propagation: String,
}

/// The source of a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Source {
    /// A path of the host.
    Path(PathBuf),
    /// A named volume, which is kept when no container uses it.
    Named(String),
    /// A volume for this container only, removed with it.
    Own,
}

/// A tmpfs mount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Its path in the container.
    pub to: PathBuf,
    /// Its mount options, such as `size=64m`.
    pub options: Vec<String>,
}

/// A path inside a container: absolute, not the root, and without `..`.
fn inside(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let plain =
        path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_) | Component::CurDir));
    let some = path.components().any(|c| matches!(c, Component::Normal(_)));
    match path.is_absolute() && plain && some {
        true => Ok(path.into()),
        false => Err(format!(
            "'{text}' cannot be a path in the container: use an absolute path below '/' without '..'"
        )),
    }
}

/// Whether this host's kernel labels files (SELinux): then its file system is mounted.
fn labelled() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Whether a text can be the name of a volume: letters, digits, `_`, `.`, `-`.
pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

impl FromStr for Volume {
    type Err = String;

    /// Parses `[SOURCE:]PLACE[:OPTION,…]`.
    fn from_str(text: &str) -> Result<Volume, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (from, to, options) = match parts[..] {
            [to] => ("", to, ""),
            [from, to] if !from.is_empty() => (from, to, ""),
            [from, to, options] if !from.is_empty() => (from, to, options),
            _ => return Err(format!("'{text}' is not a volume: use [SOURCE:]PLACE[:ro]")),
        };
        let from = match from {
            "" => Source::Own,
            path if path.starts_with('/') => Source::Path(path.into()),
            path if path.starts_with('.') => {
                Source::Path(std::path::absolute(path).map_err(|e| e.to_string())?)
            }
            name if is_name(name) => Source::Named(name.into()),
            other => {
                return Err(format!(
                    "'{other}' is neither a path (which starts with '/' or './') nor the name of a volume"
                ));
            }
        };
        let mut made = Volume { from, to: inside(to)?, read_only: false, propagation: "rprivate".into() };
        for option in options.split(',').filter(|o| !o.is_empty()) {
            match option {
                "ro" => made.read_only = true,
                "rw" => made.read_only = false,
                "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => {
                    made.propagation = option.into()
                }
                // SELinux labels, on hosts that have it: shared among containers, or private.
                "z" | "Z" if !labelled() => {}
                "z" | "Z" => {
                    return Err(format!(
                        "'{option}' asks for another SELinux label of the volume, which Trine does not give: leave it out, \
                         and use chcon(1) where containers may not read it"
                    ));
                }
                _ => {
                    return Err(format!(
                        "'{option}' is not a volume option: use ro, rw, rprivate, rslave, rshared, private, slave or shared"
                    ));
                }
            }
        }
        Ok(made)
    }
}

impl FromStr for Tmpfs {
    type Err = String;

    /// Parses `PLACE[:OPTION,…]`.
    fn from_str(text: &str) -> Result<Tmpfs, String> {
        let (to, options) = text.split_once(':').unwrap_or((text, ""));
        let options = options.split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect();
        Ok(Tmpfs { to: inside(to)?, options })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_as_users_write_them() {
        let v: Volume = "/srv/data:/data:ro".parse().unwrap();
        assert!(v.from == Source::Path("/srv/data".into()) && v.to == Path::new("/data") && v.read_only);
        let v: Volume = "db-1:/var/lib/db:rw,rslave".parse().unwrap();
        assert!(v.from == Source::Named("db-1".into()) && !v.read_only && v.propagation == "rslave");
        assert_eq!("/cache".parse::<Volume>().unwrap().from, Source::Own);
        assert!(matches!("./x:/x".parse::<Volume>().unwrap().from, Source::Path(p) if p.is_absolute()));
        for option in ["z", "Z", "ro,z"].iter().filter(|_| !labelled()) {
            let v: Volume = format!("/srv:/data:{option}").parse().unwrap();
            assert_eq!((v.read_only, v.propagation.as_str()), (option.contains("ro"), "rprivate"));
        }
        let t: Tmpfs = "/run:size=1m,mode=700".parse().unwrap();
        assert_eq!(t.options, ["size=1m", "mode=700"]);
    }

    #[test]
    fn places_that_cannot_be() {
        for bad in ["/a:b", "/a:/", "/a:/../etc", ":/x", "/a:/b:/c:/d", "/a:/b:exec", "a b:/x", "..:"] {
            assert!(bad.parse::<Volume>().is_err(), "{bad}");
        }
        assert!("run".parse::<Tmpfs>().is_err());
    }
}
