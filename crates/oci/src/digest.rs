//! Digests: computing them, and verifying a stream (OCI Image Format 1.1, "Digests").

use crate::error::{Error, Result};
use oci_spec::image::{Digest, DigestAlgorithm};
use sha2::{Digest as _, Sha256, Sha512};
use std::io::{self, Read};

/// A digest being computed.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Box<Sha512>),
}

impl Default for Hasher {
    fn default() -> Hasher {
        Hasher::Sha256(Sha256::new())
    }
}

impl Hasher {
    /// Creates a hasher for the algorithm of a digest.
    ///
    /// # Errors
    /// The algorithm is not registered in the specification, which has `sha256` and `sha512`.
    pub fn of(digest: &Digest) -> Result<Hasher> {
        match digest.algorithm() {
            DigestAlgorithm::Sha256 => Ok(Hasher::default()),
            DigestAlgorithm::Sha512 => Ok(Hasher::Sha512(Box::new(Sha512::new()))),
            other => Err(Error::damaged(
                digest.to_string(),
                format!("digests by {other} cannot be verified, only those by sha256 and sha512"),
            )),
        }
    }

    /// Adds bytes to the hash.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(h) => h.update(bytes),
            Hasher::Sha512(h) => h.update(bytes),
        }
    }

    /// Returns the digest of all bytes, as text.
    pub fn finish(self) -> String {
        let (name, bytes) = match self {
            Hasher::Sha256(h) => ("sha256", h.finalize().to_vec()),
            Hasher::Sha512(h) => ("sha512", h.finalize().to_vec()),
        };
        let mut text = format!("{name}:");
        for b in bytes {
            text.push(char::from(b"0123456789abcdef"[usize::from(b >> 4)]));
            text.push(char::from(b"0123456789abcdef"[usize::from(b & 15)]));
        }
        text
    }

    /// Compares the digest of all bytes with `digest`.
    ///
    /// # Errors
    /// A sentence with both digests if they differ.
    pub fn check(self, digest: &Digest) -> Result<()> {
        let found = self.finish();
        match found == digest.as_ref() {
            true => Ok(()),
            false => Err(Error::damaged(
                digest.to_string(),
                format!("the content does not match its digest (its digest is {found}): it is discarded"),
            )),
        }
    }
}

/// The SHA-256 of these bytes.
pub fn of(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    parse(&hasher.finish()).unwrap_or_else(|e| unreachable!("a digest computed here: {e}"))
}

/// Parses a digest by an algorithm that can be verified.
///
/// # Errors
/// A sentence that says what a digest looks like.
pub fn parse(text: &str) -> Result<Digest> {
    let digest: Digest = text.parse().map_err(|_| {
        Error::Refused(format!(
            "'{text}' is not a digest: it should look like sha256:<64 hexadecimal digits>"
        ))
    })?;
    Hasher::of(&digest).map(|_| digest)
}

/// A reader that hashes everything read through it.
pub struct Hashing<R> {
    inner: R,
    hasher: Hasher,
    count: u64,
}

impl<R: Read> Hashing<R> {
    /// Creates a reader of `inner` that updates `hasher`.
    pub fn new(inner: R, hasher: Hasher) -> Hashing<R> {
        Hashing { inner, hasher, count: 0 }
    }

    /// Returns the hasher and the number of bytes it hashed.
    pub fn finish(self) -> (Hasher, u64) {
        (self.hasher, self.count)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.count += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        // FIPS 180-4 examples: "abc".
        assert_eq!(
            of(b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let sha512 = parse(&format!("sha512:{}", "0".repeat(128))).unwrap();
        let mut h = Hasher::of(&sha512).unwrap();
        h.update(b"abc");
        assert!(h.clone().finish().starts_with("sha512:ddaf35a193617abacc417349ae204131"));
        assert!(h.check(&sha512).unwrap_err().to_string().contains("does not match its digest"));
    }

    #[test]
    fn what_cannot_be_verified_is_no_digest() {
        for wrong in
            ["", "abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:zz", "sha256:../../etc/passwd"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_stream_is_hashed_as_it_is_read() {
        let mut reading = Hashing::new(&b"abc"[..], Hasher::default());
        io::copy(&mut reading, &mut io::sink()).unwrap();
        let (hasher, count) = reading.finish();
        assert_eq!(count, 3);
        hasher.check(&of(b"abc")).unwrap();
    }
}
