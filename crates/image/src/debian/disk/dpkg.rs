//! dpkg's database, written as dpkg would leave it after unpacking (Debian Policy, 5 and 6; dpkg(1), deb-conffiles(5)).

use super::tree::{Kind, Tree};
use crate::ImageError;
use crate::debian::deb;
use md5::{Digest, Md5};
use std::io::Read;
use std::path::Path;

/// Where dpkg keeps what it knows about each package.
const INFO: &str = "var/lib/dpkg/info";

/// The largest file among those that tell about a package, in bytes.
const MOST: u64 = 16 << 20;

/// The packages in a tree.
#[derive(Default)]
pub struct Database {
    status: String,
    count: usize,
}

/// A file that tells about a package: its name, its permissions, its contents.
type Control = (String, u16, Vec<u8>);

impl Database {
    /// Unpacks a package into a tree and records it as unpacked.
    ///
    /// # Errors
    /// The package is damaged, or does not fit into the tree.
    pub fn unpack(&mut self, tree: &mut Tree, package: &Path, made: i64) -> Result<(), ImageError> {
        let mut list = String::new();
        deb::entries(package, "--fsys-tarfile", |entry| {
            let path = tree.entry(entry)?;
            list += if path.is_empty() { "/." } else { "/" };
            list += &path;
            list.push('\n');
            Ok(())
        })?;
        let files = control(package)?;
        let bad = |why: String| ImageError::damaged(package, why);
        self.record(tree, files, list, made).map_err(bad)
    }

    fn record(
        &mut self,
        tree: &mut Tree,
        files: Vec<Control>,
        list: String,
        made: i64,
    ) -> Result<(), String> {
        let of = |name: &str| files.iter().find(|f| f.0 == name).map(|f| String::from_utf8_lossy(&f.2));
        let control = of("control").ok_or("it has no file 'control'")?.into_owned();
        let field = |key: &str| control.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(": "));
        let name = field("Package").ok_or("its control file has no name")?;
        let architecture = field("Architecture").ok_or("its control file has no architecture")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if !(name.chars().all(plain) && architecture.chars().all(plain)) {
            return Err(format!("'{name}:{architecture}' is not the name of a package"));
        }
        let info = match field("Multi-Arch") {
            Some("same") => format!("{INFO}/{name}:{architecture}"),
            _ => format!("{INFO}/{name}"),
        };
        self.status += &entry(&control, &of("conffiles").unwrap_or_default(), tree);
        self.count += 1;
        let write = |tree: &mut Tree, name: &str, mode, data| {
            tree.file(&format!("{info}.{name}"), mode, data, made).map_err(|e| e.to_string())
        };
        write(tree, "list", 0o644, list.into_bytes())?;
        let rest = files.into_iter().filter(|f| f.0 != "control");
        rest.into_iter().try_for_each(|(name, mode, data)| write(tree, &name, mode, data))
    }

    /// Writes the database.
    ///
    /// # Errors
    /// It does not fit into the tree.
    pub fn finish(self, tree: &mut Tree, made: i64) -> std::io::Result<usize> {
        tree.file("var/lib/dpkg/status", 0o644, self.status.into_bytes(), made)?;
        tree.file("var/lib/dpkg/available", 0o644, Vec::new(), made)?;
        tree.file(&format!("{INFO}/format"), 0o644, b"1\n".to_vec(), made)?;
        Ok(self.count)
    }
}

/// The files that tell about a package.
fn control(package: &Path) -> Result<Vec<Control>, ImageError> {
    let mut files = Vec::new();
    deb::entries(package, "--ctrl-tarfile", |entry| {
        let path = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_string();
        if !entry.header().entry_type().is_file() || path.contains('/') {
            return Ok(());
        }
        let mode = (entry.header().mode()? & 0o7777) as u16;
        let mut data = Vec::new();
        entry.take(MOST).read_to_end(&mut data)?;
        files.push((path, mode, data));
        Ok(())
    })?;
    Ok(files)
}

/// A package's paragraph in the status file.
fn entry(control: &str, conffiles: &str, tree: &Tree) -> String {
    let mut text = String::new();
    for (n, line) in control.lines().filter(|l| !l.trim().is_empty()).enumerate() {
        text += line;
        text += if n == 0 { "\nStatus: install ok unpacked\n" } else { "\n" };
    }
    // Others are flags such as `remove-on-upgrade`.
    let sums =
        conffiles.lines().map(str::trim).filter(|path| path.starts_with('/')).filter_map(|path| match &tree
            .get(path)?
            .kind
        {
            Kind::File(data) => Some(format!(" {path} {}\n", hex(&Md5::digest(data)))),
            _ => None,
        });
    let sums: String = sums.collect();
    if !sums.is_empty() {
        text += "Conffiles:\n";
        text += &sums;
    }
    text.push('\n');
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_recorded_as_unpacked() {
        let mut tree = Tree::default();
        tree.file("etc/x", 0o644, b"abc".to_vec(), 1).unwrap();
        let mut database = Database::default();
        let control =
            "Package: x\nVersion: 1\nArchitecture: riscv64\nMulti-Arch: same\nDescription: a\n b\n\n";
        let file = |name: &str, data: &str| (name.to_string(), 0o755, data.as_bytes().to_vec());
        let files = vec![
            file("control", control),
            file("conffiles", "/etc/x\nremove-on-upgrade /etc/y\n/etc/z\n"),
            file("postinst", "#!/bin/sh\n"),
        ];
        database.record(&mut tree, files, "/.\n/etc\n/etc/x\n".into(), 5).unwrap();
        assert_eq!(database.finish(&mut tree, 5).unwrap(), 1);
        let text = |path: &str| match &tree.get(path).unwrap().kind {
            Kind::File(data) => String::from_utf8(data.clone()).unwrap(),
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(
            text("var/lib/dpkg/status"),
            "Package: x\nStatus: install ok unpacked\nVersion: 1\nArchitecture: riscv64\nMulti-Arch: same\nDescription: a\n b\n\
             Conffiles:\n /etc/x 900150983cd24fb0d6963f7d28e17f72\n\n"
        );
        assert_eq!(text("var/lib/dpkg/info/x:riscv64.list"), "/.\n/etc\n/etc/x\n");
        assert_eq!(tree.get("var/lib/dpkg/info/x:riscv64.postinst").unwrap().mode, 0o755);
        for bad in ["Version: 1\n", "Package: ../x\nArchitecture: all\n", "Package: x\n"] {
            let mut database = Database::default();
            assert!(
                database.record(&mut Tree::default(), vec![file("control", bad)], String::new(), 1).is_err(),
                "{bad}"
            );
        }
    }
}
