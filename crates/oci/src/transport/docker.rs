//! Archives of `docker save` (Docker Image Specification 1.2, "Combined Image JSON + Filesystem Changeset Format").

use super::archive::Archive;
use super::{Importing, Source};
use crate::digest::{self, Hasher, Hashing};
use crate::document::{self, CONFIG_MOST, LAYER_MOST, LAYERS_MOST, MANIFEST_MOST};
use crate::error::{Error, Result};
use crate::layer::decompress::{self, Compression};
use crate::name::Name;
use crate::store::{Image, Working};
use oci_spec::image::{Descriptor, Digest, ImageManifestBuilder};
use serde::Deserialize;
use std::io::{self, Read};

/// An image in the archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Imports every image of the archive, or the one with this name.
pub fn import(archive: &Archive, wanted: Option<&str>, importing: &Importing<'_>) -> Result<Vec<Image>> {
    let place = archive.place();
    let bytes = archive.small("manifest.json", MANIFEST_MOST)?;
    let mut list: Vec<Listed> = serde_json::from_slice(&bytes)
        .map_err(|e| Error::damaged(&place, format!("its manifest.json is not a list of images: {e}")))?;
    if let Some(wanted) = wanted {
        let wanted: Name = wanted.parse()?;
        let named =
            |l: &Listed| l.repo_tags.iter().flatten().any(|t| t.parse::<Name>().is_ok_and(|n| n == wanted));
        list.retain(named);
        if list.is_empty() {
            return Err(Error::Refused(format!("{place} has no image {}", wanted.short())));
        }
    }
    if importing.name.is_some() && list.len() != 1 {
        return Err(Error::Refused(format!(
            "{place} has {} images, which cannot all have the same name",
            list.len()
        )));
    }
    let mut images = Vec::new();
    for listed in &list {
        images.extend(one(archive, listed, importing)?);
    }
    Ok(images)
}

fn one(archive: &Archive, listed: &Listed, importing: &Importing<'_>) -> Result<Vec<Image>> {
    let place = archive.place();
    let names: Vec<Name> = match &importing.name {
        Some(name) => vec![name.clone()],
        None => listed.repo_tags.iter().flatten().map(|t| t.parse()).collect::<Result<_>>()?,
    };
    if names.is_empty() {
        return Err(Error::Refused(format!(
            "{place} contains no name of the image: give one as the last argument"
        )));
    }
    let working = importing.store.working()?;
    let bytes = archive.small(&listed.config, CONFIG_MOST)?;
    let config = document::parse_config(&bytes, &format!("{place}: {}", listed.config))?;
    let diff_ids = document::diff_ids(&config)?;
    if diff_ids.len() != listed.layers.len() || diff_ids.len() > LAYERS_MOST {
        let what = format!("{} layers are listed, {} described", listed.layers.len(), diff_ids.len());
        return Err(Error::damaged(&place, what));
    }
    let id = importing.store.put(&bytes, &working)?;
    let layers: Vec<Descriptor> = listed
        .layers
        .iter()
        .zip(&diff_ids)
        .map(|(path, diff_id)| layer(archive, path, diff_id, importing, &working))
        .collect::<Result<_>>()?;
    let config = Descriptor::new(document::CONFIG.into(), bytes.len() as u64, id);
    let manifest = put_manifest(config, layers, importing, &working)?;
    names.iter().map(|name| importing.finish(name, manifest.clone(), None, &working)).collect()
}

/// Creates a manifest for parts that are in the store.
pub fn put_manifest(
    config: Descriptor,
    layers: Vec<Descriptor>,
    importing: &Importing<'_>,
    working: &Working,
) -> Result<Descriptor> {
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(document::MANIFEST)
        .config(config)
        .layers(layers)
        .build()
        .map_err(|e| Error::Host(e.to_string()))?;
    let bytes = serde_json::to_vec(&manifest).map_err(|e| Error::Host(e.to_string()))?;
    let digest = importing.store.put(&bytes, working)?;
    Ok(Descriptor::new(document::MANIFEST.into(), bytes.len() as u64, digest))
}

/// Imports a layer, and compares it with the digest of its decompressed content.
fn layer(
    archive: &Archive,
    path: &str,
    diff_id: &Digest,
    importing: &Importing<'_>,
    working: &Working,
) -> Result<Descriptor> {
    let place = format!("{}: {path}", archive.place());
    let bad = |e: io::Error| Error::damaged(&place, e.to_string());
    let size = archive.size(path)?;
    let mut start = Vec::new();
    archive.member(path)?.take(8).read_to_end(&mut start).map_err(bad)?;
    let compression = Compression::of(&start)?;
    let kind = compression.media_type();
    importing.progress.start(path, "copying", Some(size));
    if compression == Compression::None {
        let descriptor = Descriptor::new(kind.into(), size, diff_id.clone());
        if !working.hold(diff_id)?
            && let Some(mut incoming) = importing.store.incoming(&descriptor)?
        {
            incoming.restart()?;
            incoming.read_from(archive.member(path)?, &place)?;
            incoming.finish()?;
        }
        importing.progress.done(path, "copied");
        return Ok(descriptor);
    }
    let content = decompress::bounded(archive.member(path)?, LAYER_MOST)?;
    let mut hashing = Hashing::new(content, Hasher::of(diff_id)?);
    io::copy(&mut hashing, &mut io::sink()).map_err(bad)?;
    hashing.finish().0.check(diff_id)?;
    let mut spool = importing.store.spool()?;
    io::copy(&mut archive.member(path)?, &mut spool).map_err(bad)?;
    let (blob, size) = spool.finish(working)?;
    importing.progress.done(path, "copied");
    Ok(Descriptor::new(kind.into(), size, digest::parse(blob.as_ref())?))
}
