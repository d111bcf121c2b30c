//! `trine cp`: files from a machine or to it, by the host's SFTP client over the machine's socket device.

use super::args::CpArgs;
use super::{ssh, vsock};
use crate::Refusal;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Command;
use trine_control::ControlError;
use trine_control::record::KindName;
use trine_control::store::Store;

/// A file, as it is named on the command line.
#[derive(Debug, PartialEq, Eq)]
enum File {
    /// On the host.
    Here(OsString),
    /// In a guest: user, guest, path.
    There(String, String, OsString),
}

impl File {
    /// Reads `PATH` or `[USER@]GUEST:PATH`. A path of the host with a colon has a `/` before it, as `./a:b`.
    fn parse(word: &OsStr) -> File {
        let bytes = word.as_bytes();
        let here = || File::Here(word.into());
        let Some(colon) = bytes.iter().position(|&b| b == b':') else { return here() };
        match std::str::from_utf8(&bytes[..colon]) {
            Ok(guest) if !guest.is_empty() && !guest.contains('/') => {
                let (user, guest) = ssh::user(guest);
                File::There(user.into(), guest.into(), OsString::from_vec(bytes[colon + 1..].to_vec()))
            }
            _ => here(),
        }
    }

    /// The word for `scp`.
    fn word(self, name: &str) -> OsString {
        match self {
            // `scp` takes other words with a colon for those of a guest, and with a hyphen for options.
            File::Here(path) if path.as_bytes().starts_with(b"/") => path,
            File::Here(path) => [OsStr::new("./"), &path].into_iter().collect(),
            File::There(user, _, path) => {
                let mut word = OsString::from(format!("{user}@{name}:"));
                word.push(path);
                word
            }
        }
    }
}

/// The guest that takes part in copying.
fn guest<'a>(from: &'a File, to: &'a File) -> Result<&'a str, Refusal> {
    match (from, to) {
        (File::There(_, guest, _), File::Here(_)) | (File::Here(_), File::There(_, guest, _)) => Ok(guest),
        (File::Here(_), File::Here(_)) => Err(Refusal::refused(
            "neither of the two names a guest: write GUEST:PATH for one of them; `cp` copies on the host",
        )),
        _ => Err(Refusal::refused(
            "both name a guest: copy from the first one to the host, then to the second",
        )),
    }
}

/// `trine cp`.
pub fn cp(args: &CpArgs) -> Result<u8, Refusal> {
    let (from, to) = (File::parse(&args.from), File::parse(&args.to));
    let (which, store) = (guest(&from, &to)?, Store::open()?);
    let place = store.find(which).map_err(|e| match e {
        ControlError::Unknown(name) => Refusal::refused(format!(
            "there is no guest '{name}': `trine ps -a` lists them; a path of the host with a colon is written ./PATH"
        )),
        other => other.into(),
    })?;
    let record = place.read()?;
    if record.kind != KindName::Machine {
        let (name, kind) = (&record.name, record.kind);
        return Err(Refusal::refused(format!(
            "'{name}' is a {kind}, and `trine cp` is for machines only so far: use `trine exec` with tar, or a volume"
        )));
    }
    vsock::find(&store, which)?;
    let mut command = Command::new("scp");
    command.args(ssh::options(&record.id)?).args(["-o", "BatchMode=yes"]);
    let flags = [("-r", args.recursive), ("-p", args.preserve)];
    command.args(flags.iter().filter(|(_, given)| *given).map(|(flag, _)| flag));
    command.arg("--").args([from, to].map(|file| file.word(&record.name)));
    Err(ssh::become_it(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(user: &str, guest: &str, path: &str) -> File {
        File::There(user.into(), guest.into(), path.into())
    }

    #[test]
    fn a_word_names_a_file_here_or_in_a_guest() {
        for (word, expected) in [
            ("box:/etc/motd", there("root", "box", "/etc/motd")),
            ("me@box:", there("me", "box", "")),
            ("box:a:b", there("root", "box", "a:b")),
            ("./a:b", File::Here("./a:b".into())),
            ("/a:b", File::Here("/a:b".into())),
            (":b", File::Here(":b".into())),
            ("a", File::Here("a".into())),
        ] {
            assert_eq!(File::parse(word.as_ref()), expected, "{word}");
        }
        assert_eq!(there("me", "0123", "x y").word("box"), "me@box:x y");
        assert_eq!(File::Here("-a".into()).word("box"), "./-a");
        assert_eq!(File::Here("/a".into()).word("box"), "/a");
    }

    #[test]
    fn one_of_two_files_is_in_a_guest() {
        let (here, box_) = (|| File::Here("a".into()), || there("root", "box", "a"));
        assert_eq!(guest(&here(), &box_()).ok(), Some("box"));
        assert_eq!(guest(&box_(), &here()).ok(), Some("box"));
        assert!(guest(&here(), &here()).is_err_and(|e| e.message.contains("neither")));
        assert!(guest(&box_(), &box_()).is_err_and(|e| e.message.contains("both")));
    }
}
