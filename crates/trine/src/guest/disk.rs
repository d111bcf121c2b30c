//! The option `--disk`.

use crate::Refusal;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use trine_image::disk::{self, Access, Format};
use trine_machine::Disk;

/// The longest serial number (virtio 1.2, 5.2.6.1).
const LONGEST_ID: usize = 20;

/// A value of `--disk`: `FILE[,ro|,snapshot][,format=raw|qcow2][,id=NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskArg {
    path: PathBuf,
    access: Access,
    format: Option<Format>,
    id: Option<String>,
}

impl FromStr for DiskArg {
    type Err = String;

    /// Takes the options off the end: what comes before them is the file's name, which may have commas itself.
    fn from_str(text: &str) -> Result<DiskArg, String> {
        let (mut rest, mut access, mut format, mut id) = (text, None, None, None);
        while let Some((before, option)) = rest.rsplit_once(',') {
            let new = match option.split_once('=') {
                None if option == "ro" => access.replace(Access::ReadOnly).is_none(),
                None if option == "snapshot" => access.replace(Access::Private).is_none(),
                Some(("format", name)) => {
                    let named = Format::of_name(name);
                    let named = named.ok_or(format!("the format '{name}' is not known: raw or qcow2"))?;
                    format.replace(named).is_none()
                }
                Some(("id", name)) => id.replace(valid_id(name)?).is_none(),
                _ => break,
            };
            if !new {
                return Err(format!("'{option}' contradicts or repeats another option of this disk"));
            }
            rest = before;
        }
        if rest.is_empty() {
            return Err("a file is missing: FILE[,ro|,snapshot][,format=raw|qcow2][,id=NAME]".into());
        }
        Ok(DiskArg { path: rest.into(), access: access.unwrap_or(Access::Write), format, id })
    }
}

fn valid_id(name: &str) -> Result<String, String> {
    let plain = name.bytes().all(|b| b.is_ascii_graphic());
    match plain && (1..=LONGEST_ID).contains(&name.len()) {
        true => Ok(name.to_owned()),
        false => Err(format!("id '{name}' must have 1 to {LONGEST_ID} letters, digits or signs")),
    }
}

impl DiskArg {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the machine changes the file.
    pub fn writes(&self) -> bool {
        self.access == Access::Write
    }

    fn open(&self) -> Result<Disk, Refusal> {
        let named = has_no_unknown_option(&self.path, "disks: ro, snapshot, format=raw|qcow2, id=NAME");
        named.map_err(|why| Refusal::refused(format!("--disk {}: {why}", self.path.display())))?;
        let backend = disk::open(&self.path, self.format, self.access).map_err(Refusal::refused)?;
        Ok(Disk { backend, id: self.id.clone() })
    }
}

/// Options stand after the name of a file: a word that is none of these is taken for a part of the name, which is then
/// not found.
///
/// # Errors
/// The file is not there, and its name has such a word.
pub fn has_no_unknown_option(path: &Path, options: &str) -> Result<(), String> {
    match path.to_string_lossy().rsplit_once(',').filter(|_| !path.exists()) {
        Some((_, word)) => Err(format!("there is no such file, and '{word}' is not an option of {options}")),
        None => Ok(()),
    }
}

/// Opens the disks of a machine.
pub fn open_all(args: &[DiskArg]) -> Result<Vec<Disk>, Refusal> {
    let mut ids = HashSet::new();
    if let Some(id) = args.iter().filter_map(|disk| disk.id.as_ref()).find(|id| !ids.insert(*id)) {
        return Err(Refusal::refused(format!("two disks have the id '{id}'")));
    }
    args.iter().map(DiskArg::open).collect()
}

/// Makes a write beyond the host's limit of file sizes an error for the guest, where it would end the machine. Call it
/// before there are threads.
pub fn without_a_signal_of_limits() {
    // SAFETY: sets a signal's action.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_disk_option_means() {
        let (raw, qcow2) = (Some(Format::Raw), Some(Format::Qcow2));
        let cases = [
            ("a", "a", Access::Write, None, None),
            ("a,ro", "a", Access::ReadOnly, None, None),
            ("/x/b.img,snapshot,format=raw", "/x/b.img", Access::Private, raw, None),
            ("b,format=qcow2,id=data,ro", "b", Access::ReadOnly, qcow2, Some("data")),
            (
                "odd,name,id=12345678901234567890",
                "odd,name",
                Access::Write,
                None,
                Some("12345678901234567890"),
            ),
            ("a,size=3", "a,size=3", Access::Write, None, None),
            ("ro", "ro", Access::Write, None, None),
        ];
        for (text, path, access, format, id) in cases {
            let id = id.map(str::to_owned);
            assert_eq!(text.parse(), Ok(DiskArg { path: path.into(), access, format, id }), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            ("a,ro,snapshot", "'ro' contradicts or repeats"),
            ("a,ro,ro", "'ro' contradicts or repeats"),
            ("a,format=raw,format=raw", "'format=raw' contradicts or repeats"),
            ("a,format=vmdk", "the format 'vmdk' is not known"),
            ("a,id=", "must have 1 to 20"),
            ("a,id=123456789012345678901", "must have 1 to 20"),
            ("a,id=a b", "must have 1 to 20"),
            (",ro", "a file is missing"),
            ("", "a file is missing"),
        ];
        for (text, what) in cases {
            let error = text.parse::<DiskArg>().unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
        let open = |texts: &[&str]| {
            let args: Vec<DiskArg> = texts.iter().map(|text| text.parse().unwrap()).collect();
            open_all(&args).map(|_| ()).unwrap_err().message
        };
        assert_eq!(open(&["a,id=x", "b,id=x"]), "two disks have the id 'x'");
        assert!(open(&["/nowhere/a,rw"]).contains("'rw' is not an option of disks"));
        assert!(open(&["/nowhere/a"]).contains("cannot open the disk"));
    }
}
