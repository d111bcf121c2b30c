//! Names of groups, guests and hosts. They become file names and lines of `/etc/hosts`, so few characters are
//! allowed.

use crate::{Error, Result};

fn plain(text: &str, most: usize, more: &[u8]) -> bool {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    first && text.len() <= most && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
}

/// Checks the name of a group: letters, digits, `-`, `_`, `.`; at most 63.
pub(crate) fn group(text: &str) -> Result<()> {
    match plain(text, 63, b"-_.") {
        true => Ok(()),
        false => Err(Error::Bad(format!(
            "'{}' cannot be the name of a network: it takes up to 63 letters, digits, '-', '_' and '.', a letter or \
             digit first",
            text.escape_default()
        ))),
    }
}

/// Checks the identifier of a guest: the characters of a group name, at most 128.
pub(crate) fn guest(text: &str) -> Result<()> {
    match plain(text, 128, b"-_.") {
        true => Ok(()),
        false => Err(Error::Bad(format!("'{}' cannot be the identifier of a guest", text.escape_default()))),
    }
}

/// Whether a text can be the name of a host.
#[must_use]
pub fn is_host(text: &str) -> bool {
    host(text).is_ok()
}

/// Checks a host name: RFC 1123, section 2.1, and also `_`, which is widely used; at most 253 characters, 63
/// per label.
pub(crate) fn host(text: &str) -> Result<()> {
    let good = text.len() <= 253 && text.split('.').all(|part| plain(part, 63, b"-_"));
    match good {
        true => Ok(()),
        false => Err(Error::Bad(format!(
            "'{}' cannot be the name of a host: each part takes up to 63 letters, digits, '-' and '_', a letter or \
             digit first",
            text.escape_default()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_place_are_refused() {
        for good in ["a", "web-1", "a.b_c", "0"] {
            assert!(group(good).is_ok() && guest(good).is_ok() && host(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".x", "-x", "a/b", "a b", "a\nb", "a\0", "ä", &"x".repeat(254)] {
            assert!(group(bad).is_err() && guest(bad).is_err() && host(bad).is_err(), "{bad}");
        }
        assert!(host("a..b").is_err() && host("a.-b").is_err() && host(&"x".repeat(64)).is_err());
    }
}
