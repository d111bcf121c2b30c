//! Platforms: operating system, CPU architecture and variant, with Go's names (OCI Image Index, "platform").

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The platform that an image is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `riscv64`, …
    pub architecture: String,
    /// The variant, such as `v7` of `arm`; empty where it does not matter.
    pub variant: String,
}

impl Platform {
    /// Creates a normalized platform: other names of the same architecture are replaced, and variants that
    /// are implied are removed.
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
        // 32-bit Arm has no default variant, but most images mean v7.
        let variant = match (architecture, variant) {
            ("arm", "") if implied.is_empty() => "v7",
            ("arm", "") => implied,
            ("arm64", "8") => "",
            (_, variant) if variant == implied => "",
            (_, variant) => variant,
        };
        Platform { os: os.into(), architecture: architecture.into(), variant: variant.into() }
    }

    /// The host's platform.
    pub fn host() -> Platform {
        Platform::new(std::env::consts::OS, std::env::consts::ARCH, "")
    }

    /// How well an image of this platform fits `wanted`; less is better, `None` means not at all.
    pub fn serves(&self, wanted: &Platform) -> Option<u32> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        let level = |variant: &str| variant.strip_prefix('v').and_then(|v| v.parse::<u32>().ok());
        match (level(&self.variant), level(&wanted.variant)) {
            _ if self.variant == wanted.variant => Some(0),
            // A CPU of a higher level runs images for a lower one.
            (Some(own), Some(wanted)) if own < wanted => Some(wanted - own),
            (None, _) if self.variant.is_empty() => Some(100),
            // No level was asked for: an image that every such CPU runs would fit, but none is known to be
            // one.
            _ => None,
        }
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Parses `os/arch`, `os/arch/variant`, or `arch` for Linux.
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
                "'{text}' is not a platform: it should look like linux/riscv64 or linux/arm/v7"
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
