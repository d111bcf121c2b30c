//! An image in the store.

use super::{Held, Store};
use crate::document::{self, CONFIG_MOST, Document, Healthcheck, MANIFEST_MOST};
use crate::error::{Error, Result};
use crate::name::Name;
use crate::platform::Platform;
use oci_spec::image::{Descriptor, Digest, ImageConfiguration, ImageManifest};

/// An image for one platform: its documents, read and verified.
#[derive(Clone, Debug)]
pub struct Image {
    name: Option<Name>,
    held: Held,
    manifest: ImageManifest,
    config: ImageConfiguration,
    config_bytes: Vec<u8>,
}

impl Image {
    /// Reads the documents.
    pub(crate) fn load(store: &Store, name: Option<Name>, held: Held) -> Result<Image> {
        let place = held.manifest.digest().to_string();
        let bytes = store.read(held.manifest.digest(), MANIFEST_MOST)?;
        let Document::Manifest(manifest) = Document::parse(&bytes, &place)? else {
            return Err(Error::damaged(place, "an index where a manifest should be"));
        };
        let config_bytes = store.read(manifest.config().digest(), CONFIG_MOST)?;
        let config = document::config(&config_bytes, &manifest, manifest.config().digest().as_ref())?;
        Ok(Image { name, held, manifest: *manifest, config, config_bytes })
    }

    /// The name by which it was found.
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// Its ID, which is the digest of its configuration.
    pub fn id(&self) -> &Digest {
        self.manifest.config().digest()
    }

    /// The digest of its manifest.
    pub fn digest(&self) -> &Digest {
        self.held.manifest.digest()
    }

    /// Descriptors of its manifest and of the index that lists it.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Its manifest.
    pub fn manifest(&self) -> &ImageManifest {
        &self.manifest
    }

    /// Its configuration: command, user, directory and more.
    pub fn config(&self) -> &ImageConfiguration {
        &self.config
    }

    /// The original bytes of its configuration, with fields that OCI does not define.
    pub fn config_bytes(&self) -> &[u8] {
        &self.config_bytes
    }

    /// Its health check, if it has one of Docker's.
    pub fn healthcheck(&self) -> Option<Healthcheck> {
        document::healthcheck(&self.config_bytes)
    }

    /// Its platform.
    pub fn platform(&self) -> Platform {
        document::platform_of(&self.config)
    }

    /// Size in bytes of its layers and documents as stored.
    pub fn size(&self) -> u64 {
        let layers = self.manifest.layers().iter().map(Descriptor::size);
        let documents = [self.held.manifest.size(), self.config_bytes.len() as u64];
        layers.chain(documents).fold(0, u64::saturating_add)
    }

    /// Everything it consists of except its manifest.
    pub fn parts(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(self.manifest.config()).chain(self.manifest.layers())
    }

    /// Digests of its uncompressed layers, the lowest first.
    pub(crate) fn diff_ids(&self) -> Result<Vec<Digest>> {
        document::diff_ids(&self.config)
    }
}
