//! Platforms: operating system, CPU architecture, variant, named as Go does (OCI Image Index, "platform").

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `riscv64`, …
    pub architecture: String,
    /// `v7` of `arm`; empty where it does not matter.
    pub variant: String,
}

impl Platform {
    /// From an image's own words. Other names of the same architecture are made one, and variants that are implied left
    /// out.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Platform {
        let (architecture, implied) = match architecture {
            "x86_64" | "x86-64" => ("amd64", "v1"),
            "amd64" => ("amd64", "v1"),
            "aarch64" | "arm64" => ("arm64", "v8"),
            "i386" | "i486" | "i586" | "i686" => ("386", ""),
            "armhf" => ("arm", "v7"),
            "armel" => ("arm", "v6"),
            "powerpc64le" | "ppc64el" => ("ppc64le", ""),
            other => (other, ""),
        };
        // 32-bit Arm has no variant that goes without saying, but most mean v7.
        let variant = match (architecture, variant) {
            ("arm", "") if implied.is_empty() => "v7",
            ("arm", "") => implied,
            ("arm64", "8") => "",
            (_, variant) if variant == implied => "",
            (_, variant) => variant,
        };
        Platform { os: os.into(), architecture: architecture.into(), variant: variant.into() }
    }

    /// The host's own.
    pub fn host() -> Platform {
        Platform::new(std::env::consts::OS, std::env::consts::ARCH, "")
    }

    /// How well this, that an image says of itself, serves where `wanted` is asked for; less is better.
    pub fn serves(&self, wanted: &Platform) -> Option<u32> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        let level = |variant: &str| variant.strip_prefix('v').and_then(|v| v.parse::<u32>().ok());
        match (level(&self.variant), level(&wanted.variant)) {
            _ if self.variant == wanted.variant => Some(0),
            // A CPU of a higher level runs what was made for a lower one.
            (Some(own), Some(wanted)) if own < wanted => Some(wanted - own),
            (None, _) if self.variant.is_empty() => Some(100),
            // Asked for none in particular: any that every CPU of the kind has would do, and none is known to.
            _ => None,
        }
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// `os/arch`, `os/arch/variant`, or `arch` for Linux.
    fn from_str(text: &str) -> Result<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        let fine = |p: &str| {
            !p.is_empty()
                && p.len() < 32
                && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        match parts[..] {
            [os, architecture] if fine(os) && fine(architecture) => Ok(Platform::new(os, architecture, "")),
            [os, architecture, variant] if parts.iter().all(|p| fine(p)) => {
                Ok(Platform::new(os, architecture, variant))
            }
            [architecture] if fine(architecture) && architecture != "linux" => {
                Ok(Platform::new("linux", architecture, ""))
            }
            _ => Err(Error::Refused(format!(
                "'{text}' is no platform: it should look like linux/riscv64 or linux/arm/v7"
            ))),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.is_empty() {
            true => Ok(()),
            false => write!(f, "/{}", self.variant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn platforms_have_one_spelling() {
        for (given, one) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("riscv64", "linux/riscv64"),
            ("linux/aarch64", "linux/arm64"),
        ] {
            assert_eq!(platform(given).to_string(), one);
        }
        for wrong in ["", "linux", "linux/", "/", "a/b/c/d", "linux/a b"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_best_variant_serves() {
        let v7 = platform("linux/arm/v7");
        assert_eq!(platform("linux/arm/v7").serves(&v7), Some(0));
        assert_eq!(platform("linux/arm/v6").serves(&v7), Some(1));
        assert_eq!(platform("linux/arm/v8").serves(&v7), None);
        assert_eq!(platform("linux/amd64").serves(&platform("linux/riscv64")), None);
        assert_eq!(platform("linux/amd64/v3").serves(&platform("linux/amd64")), None);
        assert!(platform("linux/amd64").serves(&platform("linux/amd64/v3")).is_some());
    }
}
