//! The bundle of a container that is made from an image: its configuration, its layers, and what the
//! container writes.
//!
//! ```text
//! bundle/config.json   for the runtime
//! bundle/layers.json   the image's layers, and the two directories below
//! bundle/rootfs/       empty: the layers are mounted over it, inside the container only
//! bundle/upper/ work/  what the container writes
//! bundle/network/      its hosts, resolv.conf and hostname, written when it joins its network
//! ```

use crate::error::{ControlError, refused};
use crate::record;
use oci_spec::runtime::LinuxIdMappingBuilder;
use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use trine_container::Bundle;
use trine_container::image::volume::Source;
use trine_container::image::{self, Given, Maps};
use trine_container::rootfs::layers::Layers;
use trine_hostnet::files;
use trine_oci::layer::{Found, merged};
use trine_oci::userns::{Identity, Mapping, Range};
use trine_oci::{Image, Progress, Store};

/// Name of the directory with the files for the container's network.
const NETWORK: &str = "network";
/// The largest user or group file of an image that is read, in bytes.
const USERS: u64 = 1 << 20;

impl From<trine_oci::Error> for ControlError {
    fn from(e: trine_oci::Error) -> ControlError {
        ControlError::Failed(e.to_string())
    }
}

/// Makes a container's bundle in `dir`, a new directory. The guest's id names its lease on the image.
///
/// # Errors
/// Fails where the image cannot be unpacked, or the options are not possible with this image on this host;
/// nothing is left then.
pub fn make(
    dir: &Path,
    id: &str,
    image: &Image,
    options: &image::ImageOptions,
    progress: &dyn Progress,
) -> Result<record::Bundle, ControlError> {
    let store = Store::open()?;
    store.pin(image, id)?;
    let made = fill(dir, &store, image, options, progress);
    if made.is_err() {
        remove(dir, id);
    }
    made.map(|()| record::Bundle {
        path: dir.into(),
        image: image.name().map(ToString::to_string),
        owned: true,
    })
}

fn fill(
    dir: &Path,
    store: &Store,
    image: &Image,
    options: &image::ImageOptions,
    progress: &dyn Progress,
) -> Result<(), ControlError> {
    let unpacked = store.layers(image, progress)?;
    let at = |name: &str| dir.join(name);
    for (name, mode) in [("", 0o711), ("rootfs", 0o755), ("upper", 0o755), ("work", 0o700), (NETWORK, 0o755)]
    {
        DirBuilder::new().mode(mode).create(at(name)).map_err(|e| ControlError::at(&at(name), e))?;
    }
    for name in [files::HOSTS, files::RESOLV, files::HOSTNAME] {
        let path = at(NETWORK).join(name);
        File::create_new(&path).map_err(|e| ControlError::at(&path, e))?;
    }
    let layers =
        Layers { lower: unpacked.lower, upper: at("upper"), work: at("work"), fuse: unpacked.fuse_only };
    let options = image::ImageOptions {
        volumes: volumes(dir, options)?,
        network: Some(at(NETWORK)),
        ..options.clone()
    };
    let read = |path: &str| read(&layers.lower, path);
    let given = Given { root: "rootfs".into(), read: &read, maps: maps() };
    let spec = image::configuration(image.config(), &options, &given).map_err(ControlError::Refused)?;
    write(&at("config.json"), &spec)?;
    write(&at("layers.json"), &layers)
}

/// The directory with the files for the container's network; `None` where the bundle was not made from an
/// image.
pub fn network_files(bundle: &record::Bundle) -> Option<PathBuf> {
    bundle.owned.then(|| bundle.path.join(NETWORK))
}

/// Loads a bundle for the runtime.
///
/// # Errors
/// Fails where it is damaged or gone.
pub fn load(bundle: &record::Bundle) -> Result<Bundle, ControlError> {
    let mut loaded = Bundle::load(&bundle.path).map_err(|e| ControlError::Refused(e.to_string()))?;
    let path = bundle.path.join("layers.json");
    // A bundle that the user made has its root file system itself.
    if bundle.owned && path.exists() {
        let text = fs::read(&path).map_err(|e| ControlError::at(&path, e))?;
        let layers = serde_json::from_slice(&text);
        loaded.layers = Some(layers.map_err(|e| ControlError::at(&path, std::io::Error::other(e)))?);
    }
    Ok(loaded)
}

/// Removes a bundle with everything that its container wrote, and ends its lease on the image.
pub fn remove(dir: &Path, id: &str) {
    // Files of the namespace's users can be removed only inside the user namespace.
    let gone = Identity::of_process().run(|| {
        let _ = fs::remove_dir_all(dir);
        Ok(())
    });
    drop(gone);
    // The bundle of an image without a user namespace, or what is left of it.
    let _ = fs::remove_dir_all(dir);
    if let Ok(store) = Store::open() {
        let _ = store.unpin(id);
    }
}

fn write(path: &Path, what: &impl serde::Serialize) -> Result<(), ControlError> {
    let text =
        serde_json::to_vec_pretty(what).map_err(|e| ControlError::at(path, std::io::Error::other(e)))?;
    fs::write(path, text).map_err(|e| ControlError::at(path, e))
}

/// Reads a file of an image that lists its users or groups, as its layers show it together: a file that an
/// upper layer has removed is gone. `layers` are directories, the lowest first.
pub(crate) fn read(layers: &[PathBuf], path: &str) -> Result<Option<String>, String> {
    let read = || {
        let Some(found) = merged::find(layers, Path::new(path))?.filter(Found::is_file) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        found.file()?.take(USERS).read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    };
    read().map_err(|e: std::io::Error| format!("{path} of the image cannot be read: {e}"))
}

/// The user namespace that this user's containers need.
fn maps() -> Option<Maps> {
    let one = |range: &Range| {
        let made = LinuxIdMappingBuilder::default().container_id(range.inside).host_id(range.outside);
        made.size(range.count).build().unwrap_or_default()
    };
    let maps = |mapping: &Mapping| Maps {
        users: mapping.uids.iter().map(one).collect(),
        groups: mapping.gids.iter().map(one).collect(),
    };
    match Identity::of_process() {
        Identity::Root => None,
        Identity::Mapped(mapping) | Identity::Alone(mapping) => Some(maps(&mapping)),
    }
}

/// The directory of a named volume of this user.
fn named(name: &str) -> Result<PathBuf, ControlError> {
    let data = trine_base::xdg::data().map_err(|e| ControlError::host("the directory for volumes", e))?;
    Ok(data.join("volumes").join(name))
}

/// The volumes of the options as directories of the host; those that Trine keeps are created if missing.
fn volumes(dir: &Path, options: &image::ImageOptions) -> Result<Vec<image::volume::Volume>, ControlError> {
    let mut made = options.volumes.clone();
    for (i, volume) in made.iter_mut().enumerate() {
        let kept = match &volume.from {
            Source::Path(path) if path.exists() => continue,
            Source::Path(path) => {
                return refused(format!(
                    "{} does not exist: a volume must be a file or directory of the host",
                    path.display()
                ));
            }
            Source::Named(name) => named(name)?,
            Source::Own => dir.join(format!("volume-{i}")),
        };
        let make = DirBuilder::new().recursive(true).mode(0o755).create(&kept);
        make.map_err(|e| ControlError::at(&kept, e))?;
        volume.from = Source::Path(kept);
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_through_the_layers_and_links_do_not_lead_out() {
        let dir = std::env::temp_dir().join(format!("trine-bundle-{}", std::process::id()));
        let layers = [dir.join("0"), dir.join("1")];
        for layer in &layers {
            fs::create_dir_all(layer.join("etc")).unwrap();
        }
        fs::write(layers[0].join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        fs::write(layers[0].join("etc/group"), b"odd:\xff:0:\n").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", layers[1].join("link")).unwrap();
        std::os::unix::fs::symlink("/../../../../proc/self/status", layers[1].join("out")).unwrap();
        let at = |path: &str| read(&layers, path).unwrap();
        assert!(at("/etc/passwd").unwrap().starts_with("root:"));
        assert_eq!(at("/link"), at("/etc/passwd"));
        assert_eq!((at("/out"), at("/etc")), (None, None));
        assert!(at("/etc/group").unwrap().starts_with("odd:"));
        // The upper layer marks the file as removed.
        fs::write(layers[1].join("etc/.wh.passwd"), "").unwrap();
        assert_eq!((at("/etc/passwd"), at("/link")), (None, None));
        fs::remove_dir_all(dir).unwrap();
    }
}
