//! Saved state: how the state of a machine is encoded as bytes, and how it is decoded again.
//!
//! Everything that is saved is an enum with one variant for each version of its layout, made by
//! [`crate::versions!`]. It is encoded with `postcard`; the first integer is the variant's index. A version
//! that was ever released is never changed and can always be loaded; a new layout is a new variant behind the
//! others.
//!
//! Loaded bytes may be anything: every `load` checks all values, returns a [`StateError`] and never panics.
//! After an error, the thing that was to be loaded is in an unspecified state.

use serde::{Serialize, de::DeserializeOwned};

/// Why a saved state cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It was saved by a newer program.
    #[error(
        "the saved state of {what} has version {found}, but this program knows versions up to {newest} only: use a newer Trine"
    )]
    Version {
        /// The thing whose state it is.
        what: &'static str,
        /// The version found.
        found: u64,
        /// The newest version known.
        newest: u64,
    },
    /// The bytes are not a valid saved state.
    #[error("the saved state of {what} is damaged: {why}")]
    Damaged {
        /// The thing whose state it is.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// It is the state of a different thing or configuration.
    #[error("the saved state of {what} does not fit this machine: {why}")]
    Mismatch {
        /// The thing whose state it is.
        what: &'static str,
        /// How they differ.
        why: String,
    },
}

/// An enum with one variant for each version of a saved layout; see [`crate::versions!`].
pub trait Versioned: Serialize + DeserializeOwned {
    /// The thing whose state it is, as in "the saved state of …".
    const WHAT: &'static str;
    /// Number of versions.
    const VERSIONS: u64;

    /// Creates an error that says that the state is damaged.
    fn damaged(why: impl Into<String>) -> StateError {
        StateError::Damaged { what: Self::WHAT, why: why.into() }
    }

    /// Creates an error that says that the state belongs to something else.
    fn mismatch(why: impl Into<String>) -> StateError {
        StateError::Mismatch { what: Self::WHAT, why: why.into() }
    }
}

/// Declares the versions of a saved layout, oldest first: `versions!(Saved of "the clock" { V1(Registers)
/// });`. A crate that uses this macro must depend on `serde`.
#[macro_export]
macro_rules! versions {
    ($name:ident of $what:literal { $($version:ident($state:ty)),+ $(,)? }) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        enum $name {
            $($version($state)),+
        }

        impl $crate::state::Versioned for $name {
            const WHAT: &'static str = $what;
            const VERSIONS: u64 = [$(stringify!($version)),+].len() as u64;
        }
    };
}

/// Encodes a state.
pub fn save<T: Versioned>(state: &T) -> Vec<u8> {
    // Encoding fails only for sequences of unknown length and for buffers that are too small; neither occurs
    // here.
    postcard::to_allocvec(state).unwrap_or_default()
}

/// Decodes a state; `bytes` must not contain anything else.
pub fn load<T: Versioned>(bytes: &[u8]) -> Result<T, StateError> {
    let (variant, _) = postcard::take_from_bytes::<u64>(bytes).map_err(|e| T::damaged(e.to_string()))?;
    if variant >= T::VERSIONS {
        let found = variant.saturating_add(1);
        return Err(StateError::Version { what: T::WHAT, found, newest: T::VERSIONS });
    }
    match postcard::take_from_bytes(bytes) {
        Ok((state, [])) => Ok(state),
        Ok((_, rest)) => Err(T::damaged(format!("{} bytes are left over at its end", rest.len()))),
        Err(e) => Err(T::damaged(e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    versions!(Old of "the thing" { V1(u8) });
    versions!(New of "the thing" { V1(u8), V2((u8, Vec<u16>)) });

    #[test]
    fn old_versions_are_read_and_newer_ones_are_named() {
        let bytes = save(&Old::V1(7));
        assert!(matches!(load(&bytes), Ok(New::V1(7))));
        let bytes = save(&New::V2((1, vec![2, 3])));
        assert!(matches!(load(&bytes), Ok(New::V2((1, list))) if list == [2, 3]));
        let error = load::<Old>(&bytes).err().unwrap();
        assert_eq!(error, StateError::Version { what: "the thing", found: 2, newest: 1 });
        let text = "the saved state of the thing has version 2, but this program knows versions up to 1 only: use a newer Trine";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn bytes_that_nobody_saved_are_errors() {
        let bytes = save(&New::V2((1, vec![2, 300])));
        for end in 0..bytes.len() {
            assert!(matches!(load::<New>(&bytes[..end]), Err(StateError::Damaged { .. })), "{end}");
        }
        let longer = [bytes.as_slice(), &[0, 0]].concat();
        let error = load::<New>(&longer).err().unwrap();
        assert_eq!(error, New::damaged("2 bytes are left over at its end"));
        // A list whose length claims more than any memory holds.
        let huge = [1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert!(matches!(load::<New>(&huge), Err(StateError::Damaged { .. })));
        assert!(matches!(load::<New>(&[0xff; 20]), Err(StateError::Damaged { .. })));
    }
}
