//! OCI layouts (OCI Image Layout Specification 1.1).

use super::{Importing, Source};
use crate::document::{Document, MANIFEST_MOST};
use crate::error::{Error, Result};
use crate::name::Name;
use crate::store::Image;
use oci_spec::image::Descriptor;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The annotation with a tag in a layout's index.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with a complete name, as containerd and Docker write it.
pub const FULL_NAME: &str = "io.containerd.image.name";

/// The directory of a layout.
struct Directory(PathBuf);

impl Source for Directory {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + '_>> {
        let digest = descriptor.digest();
        let path = self.0.join("blobs").join(digest.algorithm().as_ref()).join(digest.digest());
        Ok(Box::new(File::open(&path).map_err(Error::file("cannot open", &path))?))
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }
}

pub fn import_directory(dir: &Path, tag: Option<&str>, importing: &Importing<'_>) -> Result<Vec<Image>> {
    let path = dir.join("index.json");
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|f| f.take(MANIFEST_MOST + 1).read_to_end(&mut bytes));
    match read {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::Refused(format!("{} is not an OCI layout: it has no index.json", dir.display())))
        }
        read => {
            read.map_err(Error::file("cannot read", &path))?;
            import(&Directory(dir.into()), &bytes, tag, importing)
        }
    }
}

fn note<'a>(descriptor: &'a Descriptor, key: &str) -> Option<&'a str> {
    descriptor.annotations().as_ref()?.get(key).map(String::as_str)
}

/// Imports the image with a tag; without a tag, every image that has a name, or the only one.
pub fn import(
    source: &dyn Source,
    index: &[u8],
    tag: Option<&str>,
    importing: &Importing<'_>,
) -> Result<Vec<Image>> {
    let place = source.place();
    let Document::Index(index) = Document::parse(index, &place)? else {
        return Err(Error::damaged(place, "its index.json is not an index"));
    };
    let all = index.manifests();
    let tags = || {
        let mut tags: Vec<&str> = all.iter().filter_map(|d| note(d, REF_NAME)).collect();
        tags.dedup();
        if tags.is_empty() { "none".into() } else { tags.join(", ") }
    };
    let chosen: Vec<&Descriptor> = match tag {
        Some(tag) => all.iter().filter(|d| note(d, REF_NAME) == Some(tag)).take(1).collect(),
        None => all.iter().collect(),
    };
    match (&chosen[..], tag) {
        ([], Some(tag)) => {
            Err(Error::Refused(format!("{place} has no image of tag {tag} (it has: {})", tags())))
        }
        ([], None) => Err(Error::damaged(place, "the layout has no image")),
        ([one], _) => {
            let name = name_of(one, &place, importing.name.as_ref())?;
            Ok(vec![importing.bring(source, one, &name)?])
        }
        (several, _)
            if importing.name.is_none() && several.iter().all(|d| name_of(d, &place, None).is_ok()) =>
        {
            several.iter().map(|d| importing.bring(source, d, &name_of(d, &place, None)?)).collect()
        }
        (several, _) => Err(Error::Refused(format!(
            "{place} has {} images: say which, as oci:DIR:TAG or oci-archive:FILE:TAG (tags: {})",
            several.len(),
            tags()
        ))),
    }
}

fn name_of(descriptor: &Descriptor, place: &str, given: Option<&Name>) -> Result<Name> {
    if let Some(name) = given {
        return Ok(name.clone());
    }
    let full =
        note(descriptor, FULL_NAME).or_else(|| note(descriptor, REF_NAME).filter(|n| n.contains(['/', ':'])));
    match full.map(str::parse) {
        Some(Ok(name)) => Ok(name),
        _ => Err(Error::Refused(format!(
            "{place} contains no name of the image: give one as the last argument"
        ))),
    }
}
