//! Opens a qcow2 image and the images below it.

use super::super::Format;
use super::super::host_file::{DISK, HostFile};
use super::super::lock::Locks;
use super::check::check;
use super::header::Header;
use crate::ImageError;
use imago::file::File as Storage;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{DenyImplicitOpenGate, FormatAccess};
use std::io;
use std::path::{Path, PathBuf};

/// The most images in a chain.
const LONGEST: usize = 200;

pub type Image = FormatAccess<Storage>;

/// The images of a chain that are being opened, the first one first.
#[derive(Default)]
struct Chain {
    files: Vec<(u64, u64)>,
    paths: Vec<PathBuf>,
    locks: Vec<Locks>,
}

impl Chain {
    /// Adds a file, which must not be there yet.
    fn add(&mut self, file: &mut HostFile) -> Result<(), ImageError> {
        self.locks.extend(file.locks.take());
        let identity = file.identity().map_err(ImageError::file("cannot read", &file.path))?;
        let loops = self.files.contains(&identity);
        self.files.push(identity);
        self.paths.push(file.path.clone());
        if loops {
            return Err(self.error("the chain of backing files has a loop"));
        }
        if self.files.len() > LONGEST {
            return Err(ImageError::damaged(
                &self.paths[0],
                format!("the chain of backing files has more than {LONGEST} images"),
            ));
        }
        Ok(())
    }

    /// An error about the chain, which it names.
    fn error(&self, what: &str) -> ImageError {
        let names: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        ImageError::Other(format!("{what}: {}", names.join(" -> ")))
    }

    /// The error of opening the last image, with the way to it.
    fn within(&self, error: ImageError) -> ImageError {
        match self.paths.as_slice() {
            [] | [_] => error,
            _ => self.error(&format!("{error} (a backing file)")),
        }
    }
}

/// Opens the image in `file` and all below it, which are checked before anything is written. The locks of all of them
/// must live as long as the image.
pub fn open(mut file: HostFile) -> Result<(Header, Image, Vec<Locks>), ImageError> {
    let mut chain = Chain::default();
    chain.add(&mut file)?;
    let (header, image) = open_qcow2(file, &mut chain)?;
    Ok((header, image, chain.locks))
}

fn open_qcow2(file: HostFile, chain: &mut Chain) -> Result<(Header, Image), ImageError> {
    let header = Header::read(&file).map_err(|e| chain.within(e))?;
    if file.writable && header.snapshots != 0 {
        let what = "this qcow2 image has internal snapshots, so it is not written: use it with `,ro` or `,snapshot`, \
                    or remove them with `qemu-img snapshot -d`";
        return Err(ImageError::damaged(&file.path, what));
    }
    check(&file, &header).map_err(|e| chain.within(e))?;
    let below = match &header.backing {
        Some((name, format)) => Some(open_backing(&file.path, name, format.as_deref(), chain)?),
        None => None,
    };
    let (path, writable) = (file.path.clone(), file.writable);
    let image = || -> io::Result<Image> {
        let mut image = Qcow2::<Storage>::open_image(Storage::try_from(file.file)?, writable)?;
        image.set_data_file(None);
        image.set_backing(below);
        // Nothing is left to open; anything else would be refused.
        image.open_implicit_dependencies_gated(DenyImplicitOpenGate::default())?;
        Ok(FormatAccess::new(image))
    };
    let image = image().map_err(|e| chain.within(ImageError::file("cannot open the disk", &path)(e)))?;
    Ok((header, image))
}

/// The path of a backing file: a relative one is relative to the image that names it.
fn resolve(image: &Path, name: &str) -> Result<PathBuf, String> {
    // QEMU's names may be descriptions or addresses; a scheme has no slash before its colon.
    let scheme = name.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| !scheme.contains('/'));
    let name = match scheme {
        Some("file") => &name["file:".len()..],
        Some(_) => return Err(format!("its backing file '{name}' is not a path; only files are supported")),
        None => name,
    };
    Ok(image.parent().unwrap_or(Path::new("")).join(name))
}

fn open_backing(
    image: &Path,
    name: &str,
    format: Option<&str>,
    chain: &mut Chain,
) -> Result<Image, ImageError> {
    let path = resolve(image, name).map_err(|what| chain.within(ImageError::damaged(image, what)))?;
    let mut file = HostFile::open(&path, false, &DISK).map_err(|e| {
        chain.paths.push(path.clone());
        chain.within(e)
    })?;
    chain.add(&mut file)?;
    let format = match format {
        Some("raw" | "file") => Format::Raw,
        Some("qcow2") => Format::Qcow2,
        None => Format::detect(&file)?,
        Some(other) => {
            let what = format!("this backing file has the format '{other}', which is not supported");
            return Err(chain.within(ImageError::damaged(&path, what)));
        }
    };
    match format {
        Format::Qcow2 => open_qcow2(file, chain).map(|(_, image)| image),
        Format::Raw => {
            let raw = Storage::try_from(file.file).and_then(|file| Raw::open_image(file, false));
            let raw = raw.map_err(|e| chain.within(ImageError::file("cannot open the disk", &path)(e)))?;
            Ok(FormatAccess::new(raw))
        }
    }
}
