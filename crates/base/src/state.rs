//! Saved state: how what a machine holds becomes bytes, and how it is read again.
//!
//! Everything that is saved is an enum with one variant for each version of its layout, made by [`crate::versions!`];
//! the bytes are those of `postcard`, whose first word is the number of the variant. A version that was ever released
//! is loaded for ever: it is never changed, and what is new gets a variant behind it.
//!
//! Bytes that are loaded may be anything: each `load` checks what it is about to believe, answers with a
//! [`StateError`], and never panics. After an error the thing that was to be loaded is in no defined state.

use serde::{Serialize, de::DeserializeOwned};

/// Why a saved state cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It was saved by a newer program.
    #[error(
        "the saved state of {what} has version {found}, and this program knows up to {newest}: use a newer one"
    )]
    Version {
        /// Whose state it is.
        what: &'static str,
        /// The version found.
        found: u64,
        /// The newest version known.
        newest: u64,
    },
    /// The bytes are none that were ever saved.
    #[error("the saved state of {what} is damaged: {why}")]
    Damaged {
        /// Whose state it is.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// It is a state of something else.
    #[error("the saved state of {what} does not fit this machine: {why}")]
    Mismatch {
        /// Whose state it is.
        what: &'static str,
        /// What is different.
        why: String,
    },
}

/// An enum with one variant for each version of a saved layout; see [`crate::versions!`].
pub trait Versioned: Serialize + DeserializeOwned {
    /// Whose state it is, as in "the saved state of ...".
    const WHAT: &'static str;
    /// Number of versions.
    const VERSIONS: u64;

    /// An error that says that the state is damaged.
    fn damaged(why: impl Into<String>) -> StateError {
        StateError::Damaged { what: Self::WHAT, why: why.into() }
    }

    /// An error that says that the state is that of something else.
    fn mismatch(why: impl Into<String>) -> StateError {
        StateError::Mismatch { what: Self::WHAT, why: why.into() }
    }
}

/// Declares the versions of a saved layout, oldest first: `versions!(Saved of "the clock" { V1(Registers) });`. The
/// crate that uses it depends on `serde`.
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

/// The bytes of a state.
pub fn save<T: Versioned>(state: &T) -> Vec<u8> {
    // Only types that say no length in advance are refused, and memory of the wrong size: neither can be here.
    postcard::to_allocvec(state).unwrap_or_default()
}

/// The state in `bytes`, all of which belong to it.
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
        let text =
            "the saved state of the thing has version 2, and this program knows up to 1: use a newer one";
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
        // A list that says it is longer than any memory.
        let huge = [1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert!(matches!(load::<New>(&huge), Err(StateError::Damaged { .. })));
        assert!(matches!(load::<New>(&[0xff; 20]), Err(StateError::Damaged { .. })));
    }
}
