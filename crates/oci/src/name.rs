//! Image names, completed like Docker's: `alpine` is `docker.io/library/alpine:latest`.

use crate::digest;
use crate::error::{Error, Result};
use oci_spec::distribution::Reference;
use oci_spec::image::Digest;
use std::fmt;
use std::str::FromStr;

/// The longest accepted name in bytes: a host of 255, a repository of 255, a tag of 128, a digest of 135, and
/// separators.
const LONGEST: usize = 800;

/// A complete name: registry, repository, and a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(Reference);

impl Name {
    /// The registry, such as `docker.io` or `localhost:5000`.
    pub fn registry(&self) -> &str {
        self.0.registry()
    }

    /// The repository, such as `library/alpine`.
    pub fn repository(&self) -> &str {
        self.0.repository()
    }

    /// The tag; `None` where there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.0.tag()
    }

    /// The digest, if the name has one.
    pub fn digest(&self) -> Option<Digest> {
        self.0.digest().and_then(|d| d.parse().ok())
    }

    /// Registry and repository.
    pub fn repository_name(&self) -> String {
        format!("{}/{}", self.registry(), self.repository())
    }

    /// The name of content with this digest in the same repository.
    pub fn with_digest(&self, digest: &Digest) -> Name {
        Name(self.0.clone_with_digest(digest.to_string()))
    }

    /// The short form, without the parts that are added by default. The tag stays.
    pub fn short(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/library/").or_else(|| full.strip_prefix("docker.io/"));
        match short {
            // The short form must mean the same name.
            Some(short) if short.parse::<Name>().is_ok_and(|n| n == *self) => short.to_string(),
            _ => full,
        }
    }

    /// For the registry client.
    #[cfg(feature = "registry")]
    pub(crate) fn reference(&self) -> &Reference {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Name> {
        let wrong = |why: String| {
            let shown: String = text.chars().take(100).collect();
            Error::Refused(format!(
                "'{shown}' is not the name of an image: {why} (a name looks like alpine, alpine:3.20, localhost:5000/team/app:1)"
            ))
        };
        if text.len() > LONGEST {
            return Err(wrong(format!("it has more than {LONGEST} bytes")));
        }
        // A name must not look like an image's ID, since they could not be told apart.
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong("64 hexadecimal digits are an image's ID".into()));
        }
        let parsed = Reference::try_from(text).map_err(|e| {
            let repository = text.rsplit_once(':').map_or(text, |(r, _)| r);
            match repository.bytes().any(|b| b.is_ascii_uppercase()) && !text.contains('@') {
                true => wrong("the repository must be in lower case".into()),
                false => wrong(e.to_string()),
            }
        })?;
        // The library takes a first component in upper case for a host name.
        if parsed.repository().bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(wrong("the repository must be in lower case".into()));
        }
        // With both, only the digest identifies the content; the tag is dropped, as by Docker.
        Ok(Name(match parsed.digest() {
            Some(d) => parsed.clone_with_digest(digest::parse(d)?.to_string()),
            None => parsed,
        }))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        text.parse::<Name>().map_or_else(|e| e.to_string(), |n| n.to_string())
    }

    #[test]
    fn names_are_completed_as_docker_does() {
        let hex = "a".repeat(64);
        for (given, complete, short) in [
            ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
            ("team/app", "docker.io/team/app:latest", "team/app:latest"),
            ("index.docker.io/team/app", "docker.io/team/app:latest", "team/app:latest"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
            ("10.0.0.1:80/a/b/c:x", "10.0.0.1:80/a/b/c:x", "10.0.0.1:80/a/b/c:x"),
            ("docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ] {
            assert_eq!(full(given), complete);
            assert_eq!(given.parse::<Name>().unwrap().short(), short);
        }
        assert_eq!(
            full(&format!("alpine:3.20@sha256:{hex}")),
            format!("docker.io/library/alpine@sha256:{hex}")
        );
    }

    #[test]
    fn what_is_no_name_is_refused_with_a_sentence() {
        for wrong in ["", ":1", "UPPER", "a b", "a/../b", "a@sha256:123", "-a", "a:", "/a", "a//b"] {
            assert!(full(wrong).contains("is not the name of an image"), "{wrong}: {}", full(wrong));
        }
        assert!(full("Team/App").contains("lower case"));
        assert!(full("teaM/app").contains("lower case"));
        assert!(full(&"a/".repeat(2000)).contains("more than 800 bytes"));
        assert!(full(&"a".repeat(64)).contains("ID"));
        assert!(full(&format!("a@sha384:{}", "a".repeat(96))).contains("cannot be verified"));
    }
}
