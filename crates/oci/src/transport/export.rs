//! Exporting images: as an OCI layout, as an archive of one, or as `docker save` writes them.

use super::Location;
use super::layout::{FULL_NAME, REF_NAME};
use crate::document::{self, Document};
use crate::error::{Error, Result};
use crate::layer::decompress;
use crate::name::Name;
use crate::progress::Progress;
use crate::store::{Image, Store, key, replace};
use oci_spec::image::{Arch, Descriptor, Digest, ImageIndex, ImageIndexBuilder, Os, PlatformBuilder};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use tar::{Builder, Header};
use trine_base::replace_file::{Durability, NewFile};

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Exports an image. Files appear when they are complete.
///
/// # Errors
/// The host fails, or the destination contains something else.
pub fn export(store: &Store, image: &Image, to: &Location, progress: &dyn Progress) -> Result<()> {
    let exporting = Exporting { store, image, progress };
    match to {
        Location::Layout(dir, tag) => exporting.directory(dir, tag.as_deref()),
        Location::LayoutArchive(file, tag) => {
            write_file(file, |out| exporting.archive(out, tag.as_deref(), false))
        }
        Location::Path(path) if path.is_dir() => exporting.directory(path, None),
        Location::Path(file) => write_file(file, |out| exporting.archive(out, None, true)),
        Location::DockerArchive(file, name) => {
            let name = name.as_deref().map(str::parse::<Name>).transpose()?;
            write_file(file, |out| exporting.docker(out, name.as_ref()))
        }
    }
}

/// Writes a file that appears when it is complete; `-` is standard output.
fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    if path == Path::new("-") {
        return write(&mut io::stdout().lock());
    }
    // A device or a pipe is written to directly.
    if path.metadata().is_ok_and(|m| !m.is_file()) {
        let mut file = File::options().write(true).open(path).map_err(Error::file("cannot write", path))?;
        return write(&mut file);
    }
    let cannot = || Error::file("cannot write", path);
    let mut out = io::BufWriter::with_capacity(1 << 17, NewFile::beside(path, 0o666).map_err(cannot())?);
    write(&mut out)?;
    let file = out.into_inner().map_err(|e| cannot()(e.into_error()))?;
    file.put(Durability::Whole).map_err(cannot())
}

fn failed(e: io::Error) -> Error {
    Error::Host(format!("cannot write the archive: {e}"))
}

struct Exporting<'a> {
    store: &'a Store,
    image: &'a Image,
    progress: &'a dyn Progress,
}

impl Exporting<'_> {
    /// The entry of the image in a layout's index.
    fn entry(&self, tag: Option<&str>) -> Result<Descriptor> {
        let platform = self.image.platform();
        let platform = PlatformBuilder::default()
            .architecture(Arch::from(&platform.architecture[..]))
            .os(Os::from(&platform.os[..]));
        let platform = match &self.image.platform().variant[..] {
            "" => platform.build(),
            variant => platform.variant(variant).build(),
        };
        let mut notes = HashMap::new();
        let name = self.image.name();
        if let Some(tag) = tag.or_else(|| name.and_then(Name::tag)) {
            notes.insert(REF_NAME.to_string(), tag.to_string());
        }
        if let Some(name) = name.filter(|n| n.digest().is_none()) {
            notes.insert(FULL_NAME.to_string(), name.to_string());
        }
        let mut entry = self.image.held().manifest.clone();
        entry.set_platform(Some(platform.map_err(|e| Error::Host(e.to_string()))?));
        entry.set_annotations((!notes.is_empty()).then_some(notes));
        Ok(entry)
    }

    fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let mut seen: Vec<&Digest> = Vec::new();
        let all = std::iter::once(&self.image.held().manifest).chain(self.image.parts());
        all.filter(move |d| {
            let new = !seen.contains(&d.digest());
            seen.push(d.digest());
            new
        })
    }

    fn index(entries: Vec<Descriptor>) -> Result<ImageIndex> {
        let index = ImageIndexBuilder::default()
            .schema_version(2u32)
            .media_type(document::INDEX)
            .manifests(entries)
            .build();
        index.map_err(|e| Error::Host(e.to_string()))
    }

    /// Adds the image to a layout; it replaces another one with the same tag.
    fn directory(&self, dir: &Path, tag: Option<&str>) -> Result<()> {
        let path = dir.join("index.json");
        let mut bytes = Vec::new();
        let most = document::MANIFEST_MOST + 1;
        let read = File::open(&path).and_then(|f| f.take(most).read_to_end(&mut bytes));
        let mut entries = match read {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let empty = dir.read_dir().map_or(true, |mut d| d.next().is_none());
                if !empty {
                    return Err(Error::Refused(format!(
                        "{} is neither empty nor an OCI layout",
                        dir.display()
                    )));
                }
                Vec::new()
            }
            read => {
                read.map_err(Error::file("cannot read", &path))?;
                match Document::parse(&bytes, &path.display().to_string())? {
                    Document::Index(index) => index.manifests().clone(),
                    Document::Manifest(_) => {
                        return Err(Error::damaged(path.display().to_string(), "this is not an index"));
                    }
                }
            }
        };
        for descriptor in self.blobs() {
            let digest = descriptor.digest();
            let parent = dir.join("blobs").join(digest.algorithm().as_ref());
            std::fs::create_dir_all(&parent).map_err(Error::file("cannot create directory", &parent))?;
            let to = parent.join(digest.digest());
            if to.metadata().is_ok_and(|m| m.len() == descriptor.size()) {
                continue;
            }
            let item = digest.to_string();
            self.progress.start(&item, "copying", Some(descriptor.size()));
            write_file(&to, |mut out| {
                io::copy(&mut self.store.blob(digest)?, &mut out)
                    .map_err(Error::file("cannot write", &to))
                    .map(drop)
            })?;
            self.progress.done(&item, "copied");
        }
        let entry = self.entry(tag)?;
        let of = |d: &Descriptor| d.annotations().as_ref().and_then(|n| n.get(REF_NAME)).cloned();
        entries.retain(|d| of(d) != of(&entry) || (of(d).is_none() && d.digest() != entry.digest()));
        entries.push(entry);
        replace(&dir.join("oci-layout"), LAYOUT)?;
        let bytes = serde_json::to_vec(&Self::index(entries)?).map_err(|e| Error::Host(e.to_string()))?;
        replace(&path, &bytes)
    }

    /// Writes a layout as an archive; with `docker` set, also the files that every version of `docker load`
    /// reads.
    fn archive(&self, out: &mut dyn Write, tag: Option<&str>, docker: bool) -> Result<()> {
        let mut archive = Builder::new(out);
        let index = serde_json::to_vec(&Self::index(vec![self.entry(tag)?])?)
            .map_err(|e| Error::Host(e.to_string()))?;
        add(&mut archive, "oci-layout", LAYOUT.len() as u64, LAYOUT)?;
        add(&mut archive, "index.json", index.len() as u64, &index[..])?;
        if docker {
            let path = |d: &Descriptor| format!("blobs/{}/{}", d.digest().algorithm(), d.digest().digest());
            let layers: Vec<String> = self.image.manifest().layers().iter().map(path).collect();
            let list = self.list(&path(self.image.manifest().config()), &layers, self.image.name());
            add(&mut archive, "manifest.json", list.len() as u64, &list[..])?;
        }
        for descriptor in self.blobs() {
            let digest = descriptor.digest();
            let name = format!("blobs/{}/{}", digest.algorithm(), digest.digest());
            self.progress.start(&name, "writing", Some(descriptor.size()));
            add(&mut archive, &name, descriptor.size(), self.store.blob(digest)?)?;
            self.progress.done(&name, "written");
        }
        archive.into_inner().and_then(Write::flush).map_err(failed)
    }

    fn list(&self, config: &str, layers: &[String], name: Option<&Name>) -> Vec<u8> {
        let tags: Vec<String> = name.filter(|n| n.digest().is_none()).map(Name::short).into_iter().collect();
        serde_json::json!([{"Config": config, "RepoTags": tags, "Layers": layers}]).to_string().into_bytes()
    }

    /// Writes the files of old versions of `docker save`, with uncompressed layers.
    fn docker(&self, out: &mut dyn Write, name: Option<&Name>) -> Result<()> {
        let mut archive = Builder::new(out);
        let id = key(self.image.id());
        let config = format!("{id}.json");
        let bytes = self.image.config_bytes();
        add(&mut archive, &config, bytes.len() as u64, bytes)?;
        let mut paths: Vec<String> = Vec::new();
        for (blob, diff_id) in self.image.manifest().layers().iter().zip(self.image.diff_ids()?) {
            let path = format!("{}.tar", key(&diff_id));
            if !paths.contains(&path) {
                self.progress.start(&path, "writing", None);
                self.plain_layer(&mut archive, &path, blob, &diff_id)?;
                self.progress.done(&path, "written");
            }
            paths.push(path);
        }
        let list = self.list(&config, &paths, name.or(self.image.name()));
        add(&mut archive, "manifest.json", list.len() as u64, &list[..])?;
        archive.into_inner().and_then(Write::flush).map_err(failed)
    }

    /// A member's size precedes its content, so a compressed layer is decompressed to a file first.
    fn plain_layer(
        &self,
        archive: &mut Builder<&mut dyn Write>,
        path: &str,
        blob: &Descriptor,
        diff_id: &Digest,
    ) -> Result<()> {
        if blob.digest() == diff_id {
            return add(archive, path, blob.size(), self.store.blob(diff_id)?);
        }
        let mut spool = self.store.spool()?;
        let mut content = decompress::bounded(self.store.blob(blob.digest())?, document::LAYER_MOST)?;
        let read = io::copy(&mut content, &mut spool);
        let size = read.map_err(|e| Error::damaged(blob.digest().to_string(), e.to_string()))?;
        spool.check(diff_id)?;
        let mut file = spool.reopen()?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        add(archive, path, size, file)
    }
}

fn add(archive: &mut Builder<&mut dyn Write>, name: &str, size: u64, content: impl Read) -> Result<()> {
    // Sizes of more than eleven octal digits are written in GNU's binary form, which all tools read.
    let mut header = if size < 1 << 33 { Header::new_ustar() } else { Header::new_gnu() };
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    archive.append_data(&mut header, name, content.take(size)).map_err(failed)
}
