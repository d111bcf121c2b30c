//! Images outside registries: OCI layouts, archives of `docker save`, plain root file systems.

mod archive;
mod docker;
mod export;
mod layout;
mod rootfs;

pub use export::export;
pub use rootfs::Settings;

use crate::document::{self, CONFIG_MOST, Document, MANIFEST_MOST};
use crate::error::{Error, Result};
use crate::name::Name;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::store::{Held, Image, Store, Working};
use archive::Archive;
use oci_spec::image::Descriptor;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The location of an image to import or export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `oci:DIR[:TAG]`: an OCI layout.
    Layout(PathBuf, Option<String>),
    /// `oci-archive:FILE[:TAG]`: a tar archive of an OCI layout.
    LayoutArchive(PathBuf, Option<String>),
    /// `docker-archive:FILE[:NAME]`: an archive of `docker save`.
    DockerArchive(PathBuf, Option<String>),
    /// A file (`-` for the standard streams) or a directory, whose format is detected.
    Path(PathBuf),
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Location> {
        let parts = |rest: &str| -> Result<(PathBuf, Option<String>)> {
            // A path may contain colons: if the whole text is an existing file, there is no tag.
            let (path, tag) = match rest.split_once(':') {
                Some((path, tag)) if !Path::new(rest).exists() => (path, Some(tag.to_string())),
                _ => (rest, None),
            };
            match path.is_empty() || tag.as_deref() == Some("") {
                true => Err(Error::Refused(format!(
                    "'{text}' does not name a file: it should look like oci:DIR or oci:DIR:TAG"
                ))),
                false => Ok((path.into(), tag)),
            }
        };
        Ok(match text.split_once(':') {
            Some(("oci", rest)) => parts(rest).map(|(p, t)| Location::Layout(p, t))?,
            Some(("oci-archive", rest)) => parts(rest).map(|(p, t)| Location::LayoutArchive(p, t))?,
            Some(("docker-archive", rest)) => parts(rest).map(|(p, t)| Location::DockerArchive(p, t))?,
            _ if text.is_empty() => return Err(Error::Refused("the name of the file is empty".into())),
            _ => Location::Path(text.into()),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path, tag) = match self {
            Location::Layout(p, t) => ("oci:", p, t.as_deref()),
            Location::LayoutArchive(p, t) => ("oci-archive:", p, t.as_deref()),
            Location::DockerArchive(p, t) => ("docker-archive:", p, t.as_deref()),
            Location::Path(p) => ("", p, None),
        };
        write!(f, "{kind}{}", path.display())?;
        tag.map_or(Ok(()), |t| write!(f, ":{t}"))
    }
}

/// A source of content by digest.
trait Source {
    /// Opens content from its start.
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + '_>>;
    /// Its name, for messages.
    fn place(&self) -> String;
}

/// Options for importing images.
pub struct Importing<'a> {
    /// The store to import into.
    pub store: &'a Store,
    /// The name; `None` means the name in the archive.
    pub name: Option<Name>,
    /// The platform; `None` means the host's if there is a choice.
    pub platform: Option<Platform>,
    /// Settings for the image of a plain root file system.
    pub settings: Settings,
    /// Receives progress reports.
    pub progress: &'a dyn Progress,
}

/// Imports images from outside a registry into the store.
///
/// # Errors
/// The location does not exist, contains no image or a damaged one, or the store fails.
pub fn import(from: &Location, importing: &Importing<'_>) -> Result<Vec<Image>> {
    match from {
        Location::Layout(dir, tag) => layout::import_directory(dir, tag.as_deref(), importing),
        Location::LayoutArchive(file, tag) => {
            let archive = Archive::open(importing.store, file)?;
            layout::import(&archive, &archive.index()?, tag.as_deref(), importing)
        }
        Location::DockerArchive(file, name) => {
            docker::import(&Archive::open(importing.store, file)?, name.as_deref(), importing)
        }
        Location::Path(path) if path.is_dir() => layout::import_directory(path, None, importing),
        Location::Path(path) => {
            let archive = Archive::open(importing.store, path)?;
            if archive.has("manifest.json") && !archive.has("oci-layout") {
                docker::import(&archive, None, importing)
            } else if archive.has("oci-layout") {
                layout::import(&archive, &archive.index()?, None, importing)
            } else {
                rootfs::import(&archive, importing).map(|image| vec![image])
            }
        }
    }
}

impl Importing<'_> {
    /// Imports content from a source.
    fn take(&self, source: &dyn Source, descriptor: &Descriptor, working: &Working) -> Result<()> {
        if working.hold(descriptor.digest())? {
            return Ok(());
        }
        let Some(mut incoming) = self.store.incoming(descriptor)? else { return Ok(()) };
        let item = descriptor.digest().to_string();
        self.progress.start(&item, "copying", Some(descriptor.size()));
        // From a file, starting again is as fast as verifying what is here.
        incoming.restart()?;
        incoming.read_from(source.open(descriptor)?, &format!("{}: {item}", source.place()))?;
        incoming.finish()?;
        self.progress.done(&item, "copied");
        Ok(())
    }

    /// Imports a manifest or an index, and parses it.
    fn document(&self, source: &dyn Source, descriptor: &Descriptor, working: &Working) -> Result<Document> {
        let place = format!("{}: {}", source.place(), descriptor.digest());
        if descriptor.size() > MANIFEST_MOST {
            return Err(Error::damaged(place, format!("a manifest has at most {MANIFEST_MOST} bytes")));
        }
        self.take(source, descriptor, working)?;
        Document::parse(&self.store.read(descriptor.digest(), MANIFEST_MOST)?, &place)
    }

    /// Imports the image that a descriptor refers to.
    fn bring(&self, source: &dyn Source, root: &Descriptor, name: &Name) -> Result<Image> {
        let working = self.store.working()?;
        let (mut descriptor, mut index) = (root.clone(), None);
        let manifest = loop {
            match self.document(source, &descriptor, &working)? {
                Document::Manifest(manifest) => break manifest,
                Document::Index(_) if index.is_some() => {
                    return Err(Error::damaged(source.place(), "an index in an index"));
                }
                Document::Index(list) => {
                    let wanted = self.platform.clone().unwrap_or_else(Platform::host);
                    let chosen = document::choose(&list, &wanted, &source.place())?.clone();
                    index = Some(std::mem::replace(&mut descriptor, chosen));
                }
            }
        };
        for part in std::iter::once(manifest.config()).chain(manifest.layers()) {
            self.take(source, part, &working)?;
        }
        self.finish(name, descriptor, index, &working)
    }

    /// Names an image whose parts are all here.
    fn finish(
        &self,
        name: &Name,
        manifest: Descriptor,
        index: Option<Descriptor>,
        working: &Working,
    ) -> Result<Image> {
        adopt(self.store, name, manifest, index, self.platform.as_ref(), working)
    }
}

/// Names an image whose parts are all here and held by `working`.
pub(crate) fn adopt(
    store: &Store,
    name: &Name,
    manifest: Descriptor,
    index: Option<Descriptor>,
    wanted: Option<&Platform>,
    _working: &Working,
) -> Result<Image> {
    let bytes = store.read(manifest.digest(), MANIFEST_MOST)?;
    let Document::Manifest(document) = Document::parse(&bytes, manifest.digest().as_ref())? else {
        return Err(Error::damaged(manifest.digest().to_string(), "an index where a manifest should be"));
    };
    let id = document.config().digest();
    let config = document::config(&store.read(id, CONFIG_MOST)?, &document, id.as_ref())?;
    let platform = document::platform_of(&config);
    if let Some(wanted) = wanted
        && platform.serves(wanted).is_none()
    {
        return Err(Error::Refused(format!("{} is for {platform}, not for {wanted}", name.short())));
    }
    let held = Held::new(plain(&manifest), index.as_ref().map(plain), id.clone());
    store.set_name(name, &platform, held.clone())?;
    Image::load(store, Some(name.clone()), held)
}

/// Keeps only what identifies content: annotations belong to the source.
fn plain(descriptor: &Descriptor) -> Descriptor {
    Descriptor::new(descriptor.media_type().clone(), descriptor.size(), descriptor.digest().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_told_apart() {
        let shown = |text: &str| text.parse::<Location>().map(|l| l.to_string());
        for text in
            ["oci:dir", "oci:dir:1.0", "oci-archive:/a/b.tar:x", "docker-archive:x.tar", "file.tar", "-"]
        {
            assert_eq!(shown(text).unwrap(), text);
        }
        assert_eq!(
            "oci:dir:tag".parse::<Location>().unwrap(),
            Location::Layout("dir".into(), Some("tag".into()))
        );
        for wrong in ["", "oci:", "oci::x", "oci-archive:f:"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
