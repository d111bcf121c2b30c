//! An image as the root of a machine: its layers combined into an initial RAM disk, and a first process of
//! Trine's that runs the image's command. Nothing is written to the image or its layers.

use crate::bundle::read;
use crate::error::{ControlError, refused};
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use trine_container::image::{self, Given};
use trine_image::newc::{FILE_MOST, Head, Writer};
use trine_machine::virt::guest_init::{GuestCommand, LOADER, PLACE, loader, module_place};
use trine_oci::layer::{Found, merged};
use trine_oci::userns::Identity;
use trine_oci::{Image, Layers, Progress, Store, Working};

const MIB: u64 = 1 << 20;
/// Memory in bytes that Debian's kernel needs for itself and its tables.
const KERNEL: u64 = 96 * MIB;
/// The smallest default memory of such a machine in bytes.
const USUAL: u64 = 512 * MIB;
/// Memory in bytes besides the root, by default.
const BESIDE: u64 = 256 * MIB;

/// The size of a root file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Files, directories, links.
    pub entries: u64,
    /// Approximate size of its archive in bytes.
    pub archive: u64,
    /// Memory in bytes that its files take, in whole pages.
    pub pages: u64,
}

impl Size {
    fn add(&mut self, name: usize, bytes: u64) {
        self.entries += 1;
        self.archive += 120 + name as u64 + bytes;
        self.pages += bytes.next_multiple_of(4096);
    }

    /// The size together with kernel modules.
    pub fn and(mut self, modules: &[Module]) -> Size {
        modules.iter().for_each(|m| self.add(m.head().name.len(), m.data.len() as u64));
        self
    }

    /// Memory in bytes in which a machine can unpack it. The archive stays in memory until all of it is
    /// unpacked; until then, the kernel gives the root file system at most half of what is left, both of
    /// bytes and of files (one per page).
    pub fn needs(self) -> u64 {
        let unpacked = (2 * self.pages + 2048 * self.entries).max(8192 * self.entries);
        (KERNEL + self.archive + unpacked).next_multiple_of(MIB)
    }

    /// Default memory in bytes for a machine with this root.
    pub fn usual(self) -> u64 {
        (self.needs() + BESIDE).next_multiple_of(64 * MIB).max(USUAL)
    }
}

/// A kernel module.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its contents.
    pub data: Vec<u8>,
}

impl Module {
    /// Reads modules from files; each is named like its file.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn read(files: &[PathBuf]) -> Result<Vec<Module>, ControlError> {
        let one = |file: &PathBuf| {
            let data = std::fs::read(file).map_err(|e| ControlError::at(file, e))?;
            Ok(Module { name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), data })
        };
        files.iter().map(one).collect()
    }

    fn head(&self) -> Head {
        let name = module_place(&self.name).into_bytes();
        Head { name, mode: 0o100600, size: self.data.len() as u32, ..Head::default() }
    }
}

/// Writes an archive that is unpacked over the guest's own: modules, the program that loads them, and other files beside it,
/// by their paths, which everybody may read.
///
/// # Errors
/// Where writing fails.
pub fn modules(modules: &[Module], others: &[(&str, &[u8])], to: impl Write) -> Result<(), ControlError> {
    let names: Vec<String> = modules.iter().map(|m| m.name.clone()).collect();
    let program = loader(&names).map_err(|e| ControlError::Failed(e.to_string()))?;
    let mut archive = Archive { writer: Writer::new(to), inodes: HashMap::new() };
    let mut write = || {
        let own = Head { name: ".trine".into(), mode: 0o040755, ..Head::default() };
        archive.writer.add(&own, &mut io::empty())?;
        modules.iter().try_for_each(|module| archive.module(module))?;
        let size = program.len() as u32;
        let head = Head { name: LOADER.into(), mode: 0o100700, size, ..Head::default() };
        archive.writer.add(&head, &mut &program[..])?;
        others.iter().try_for_each(|(path, data)| {
            let size = u32::try_from(data.len()).map_err(io::Error::other)?;
            let head = Head { name: (*path).into(), mode: 0o100644, size, ..Head::default() };
            archive.writer.add(&head, &mut &data[..])
        })
    };
    let written = write().and_then(|()| archive.writer.finish());
    written.map(drop).map_err(|e| ControlError::host("the archive of modules", e))
}

/// The files of an image.
#[derive(Debug)]
pub struct Root {
    layers: Layers,
    size: Size,
    /// Keeps the layers in the store for as long as this value lives.
    _held: Working,
}

fn failed(what: &Image) -> impl Fn(io::Error) -> trine_oci::Error {
    let id = what.id().clone();
    move |e| trine_oci::Error::Host(format!("the files of image {id}: {e}"))
}

impl Root {
    /// Opens the files of an image; layers that are not unpacked yet are unpacked. For an ordinary user a
    /// child process reads them, so no other thread should be running.
    ///
    /// # Errors
    /// Where a layer is damaged, the image was removed, or the host refuses.
    pub fn open(store: &Store, image: &Image, progress: &dyn Progress) -> Result<Root, ControlError> {
        let held = store.hold(image)?;
        let layers = store.layers(image, progress)?;
        let measure = || {
            let mut size = Size::default();
            merged::walk(&layers.lower, &mut |path, found| {
                let stat = &found.stat;
                let content = matches!(kind(found), FileType::RegularFile | FileType::Symlink);
                size.add(path.as_os_str().len(), if content { stat.st_size as u64 } else { 0 });
                Ok(())
            })
            .map_err(failed(image))?;
            Ok(size)
        };
        let size = Identity::of_process().run(measure)?;
        Ok(Root { layers, size, _held: held })
    }

    /// Its size.
    pub fn size(&self) -> Size {
        self.size
    }

    /// What runs in the machine: the image's command, environment, directory and user, with the user's
    /// changes.
    ///
    /// # Errors
    /// Fails where the image has no command and none is given, or has no such user.
    pub fn process(
        &self,
        image: &Image,
        options: &image::ImageOptions,
    ) -> Result<GuestCommand, ControlError> {
        let read = |path: &str| read(&self.layers.lower, path);
        let given = Given { root: PathBuf::new(), read: &read, maps: None };
        let made = image::configuration(image.config(), options, &given).map_err(ControlError::Refused)?;
        let Some(process) = made.process() else { return refused("the image has no command") };
        let words = |list: &Option<Vec<String>>| {
            list.iter().flatten().map(|word| word.clone().into_bytes()).collect::<Vec<_>>()
        };
        let all = [words(process.args()), words(process.env())];
        if let Some(word) = all.iter().flatten().find(|w| w.contains(&0)) {
            return refused(format!("'{}' contains a zero byte", String::from_utf8_lossy(word)));
        }
        let [args, env] = all;
        let user = process.user();
        Ok(GuestCommand {
            args,
            env,
            cwd: process.cwd().as_os_str().as_bytes().to_vec(),
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            hostname: options.hostname.clone().into_bytes(),
            size: None,
            modules: Vec::new(),
            shares: Vec::new(),
        })
    }

    /// Writes the initial RAM disk, with `first` as its first process and `modules` for it to load.
    ///
    /// # Errors
    /// Where a file cannot be read, is too large for such an archive, or `to` cannot be written.
    pub fn write(
        &self,
        image: &Image,
        first: &[u8],
        modules: &[Module],
        to: &File,
    ) -> Result<(), ControlError> {
        let work = || {
            let mut archive = Archive { writer: Writer::new(BufWriter::new(to)), inodes: HashMap::new() };
            let own = Path::new(PLACE).parent().unwrap_or(Path::new(PLACE));
            merged::walk(&self.layers.lower, &mut |path, found| match path.starts_with(own) {
                true => Ok(()),
                false => archive.add(path, found),
            })
            .and_then(|()| archive.own(first))
            .and_then(|()| modules.iter().try_for_each(|module| archive.module(module)))
            .map_err(failed(image))?;
            archive.writer.finish().map_err(failed(image)).map(drop)
        };
        Ok(Identity::of_process().run(work)?)
    }
}

fn kind(found: &Found) -> FileType {
    FileType::from_raw_mode(found.stat.st_mode)
}

/// An archive under construction, and the numbers of files with several names.
struct Archive<W> {
    writer: Writer<W>,
    inodes: HashMap<(u64, u64), u32>,
}

impl<W: Write> Archive<W> {
    fn add(&mut self, path: &Path, found: &Found) -> io::Result<()> {
        let stat = &found.stat;
        let name = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let mut head = Head {
            name: name.as_os_str().as_bytes().to_vec(),
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: u32::try_from(stat.st_mtime.max(0)).unwrap_or(u32::MAX),
            ..Head::default()
        };
        match kind(found) {
            FileType::RegularFile => self.file(head, found),
            FileType::Symlink => {
                let target = found.link()?.into_bytes();
                head.size = target.len() as u32;
                self.writer.add(&head, &mut &target[..])
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                head.device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                self.writer.add(&head, &mut io::empty())
            }
            _ => self.writer.add(&head, &mut io::empty()),
        }
    }

    /// Adds a file; of a file with several names, the first one carries the contents.
    fn file(&mut self, mut head: Head, found: &Found) -> io::Result<()> {
        let stat = &found.stat;
        if stat.st_nlink > 1 {
            let next = self.inodes.len() as u32 + 1;
            head.inode = *self.inodes.entry((stat.st_dev, stat.st_ino)).or_insert(next);
            head.links = u32::try_from(stat.st_nlink).unwrap_or(u32::MAX);
            if head.inode != next {
                return self.writer.add(&head, &mut io::empty());
            }
        }
        let size = stat.st_size as u64;
        if size > FILE_MOST {
            let name = String::from_utf8_lossy(&head.name).into_owned();
            return Err(io::Error::other(format!(
                "{name} has {size} bytes, but a file of an initial RAM disk can have at most {FILE_MOST}"
            )));
        }
        head.size = size as u32;
        self.writer.add(&head, &mut found.file()?)
    }

    fn module(&mut self, module: &Module) -> io::Result<()> {
        self.writer.add(&module.head(), &mut &module.data[..])
    }

    /// Adds what the kernel needs besides the image: a console, and the first process.
    fn own(&mut self, first: &[u8]) -> io::Result<()> {
        let directory = |name: &str| Head { name: name.into(), mode: 0o040755, ..Head::default() };
        for name in ["dev", &PLACE[..PLACE.rfind('/').unwrap_or(0)]] {
            self.writer.add(&directory(name), &mut io::empty())?;
        }
        let console = Head { device: (5, 1), mode: 0o020600, ..directory("dev/console") };
        self.writer.add(&console, &mut io::empty())?;
        let size = u32::try_from(first.len()).map_err(io::Error::other)?;
        self.writer.add(&Head { mode: 0o100700, size, ..directory(PLACE) }, &mut first.take(size.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use trine_image::archive::{self, Entry};

    /// The entries of the archive of these layers, as [`Root::write`] makes it.
    fn entries(layers: &[PathBuf]) -> (Vec<Entry>, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut archive = Archive { writer: Writer::new(&mut bytes), inodes: HashMap::new() };
        merged::walk(layers, &mut |path, found| archive.add(path, found)).unwrap();
        archive.own(b"first").unwrap();
        archive.writer.finish().unwrap();
        (archive::read(&bytes, Path::new("archive")).unwrap(), bytes)
    }

    /// A field of a file's header, by its number.
    fn field(bytes: &[u8], name: &str, number: usize) -> u32 {
        let name = [name.as_bytes(), &[0]].concat();
        let at = bytes.windows(name.len()).position(|w| w == name).unwrap() - 110 + 6 + 8 * number;
        u32::from_str_radix(std::str::from_utf8(&bytes[at..at + 8]).unwrap(), 16).unwrap()
    }

    #[test]
    fn layers_become_an_archive() {
        let dir = std::env::temp_dir().join(format!("trine-initramfs-{}", std::process::id()));
        let layers = [dir.join("0"), dir.join("1")];
        fs::create_dir_all(layers[0].join("bin")).unwrap();
        fs::create_dir_all(layers[1].join("bin")).unwrap();
        fs::write(layers[0].join("bin/su"), "su").unwrap();
        fs::set_permissions(layers[0].join("bin/su"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::hard_link(layers[0].join("bin/su"), layers[0].join("bin/two")).unwrap();
        fs::write(layers[0].join("bin/gone"), "x").unwrap();
        fs::write(layers[1].join("bin/.wh.gone"), "").unwrap();
        symlink("su", layers[1].join("bin/link")).unwrap();
        let (found, bytes) = entries(&layers);
        let names: Vec<&str> = found.iter().map(|e| e.name.as_str()).collect();
        let own = ["dev", ".trine", "dev/console", ".trine/init"];
        let want = [&[".", "bin", "bin/link", "bin/su", "bin/two"][..], &own].concat();
        assert_eq!(names, want);
        assert_eq!((found[3].mode, &found[3].data[..]), (0o104755, &b"su"[..]));
        assert_eq!((found[2].target(), found[4].data.len()), (Some("su"), 0));
        // Inode, owner, names.
        let owner = fs::metadata(&dir).unwrap().uid();
        for (number, want) in [(0, 1), (2, owner), (4, 2)] {
            assert_eq!(field(&bytes, "bin/su", number), want);
            assert_eq!(field(&bytes, "bin/two", number), want);
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn modules_lie_where_their_loader_looks() {
        let list = [Module { name: "a".into(), data: b"first".to_vec() }];
        let mut bytes = Vec::new();
        modules(&list, &[(".trine/other", b"more")], &mut bytes).unwrap();
        let found = archive::read(&bytes, Path::new("archive")).unwrap();
        let names: Vec<&str> = found.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, [".trine", ".trine/a.ko", ".trine/load", ".trine/other"]);
        assert_eq!((&found[1].data[..], found[2].mode), (&b"first"[..], 0o100700));
        assert_eq!((&found[3].data[..], found[3].mode), (&b"more"[..], 0o100644));
        assert!(Size::default().and(&list).needs() > Size::default().needs());
    }

    #[test]
    fn memory_grows_with_the_root() {
        let size = |entries, bytes| Size { entries, archive: bytes, pages: bytes };
        assert_eq!(size(10, MIB).usual(), USUAL);
        assert_eq!(size(1000, 100 * MIB).needs(), 398 * MIB);
        assert_eq!(size(1000, 100 * MIB).usual(), 704 * MIB);
        assert!(size(1 << 20, 0).needs() > 8192 * MIB);
    }
}
