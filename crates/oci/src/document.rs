//! Manifests, indexes and configurations: parsing with limits, in OCI's and Docker's media types.
//!
//! Sources: OCI Image Format 1.1; Docker's "Image Manifest Version 2, Schema 2".

use crate::digest::Hasher;
use crate::error::{Error, Result};
use crate::platform::Platform;
use oci_spec::image::{Descriptor, Digest, ImageConfiguration, ImageIndex, ImageManifest};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The largest manifest or index in bytes; registries accept no larger ones (Distribution Specification 1.1,
/// "Pushing Manifests").
pub const MANIFEST_MOST: u64 = 4 << 20;
/// The largest configuration in bytes. The largest known ones have some 100 KiB; the parsed form takes many
/// times the size.
pub const CONFIG_MOST: u64 = 4 << 20;
/// The most entries of a configuration's history: an entry can be as short as `{}`, and takes fifty times its
/// size in memory.
const HISTORY_MOST: usize = 10_000;
/// The most layers of an image. The kernel stacks at most 500 (fs/overlayfs/params.h, `OVL_MAX_STACK`).
pub const LAYERS_MOST: usize = 500;
/// The largest layer in bytes, compressed if it is.
pub const LAYER_MOST: u64 = 256 << 30;

/// OCI's media type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI's media type of a configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI's media type of a layer that is not compressed.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Docker's media type of a manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's media type of an index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A document that a name may refer to.
#[derive(Debug)]
pub enum Document {
    /// The manifest of one image.
    Manifest(Box<ImageManifest>),
    /// An index of the same image for several platforms.
    Index(Box<ImageIndex>),
}

/// The fields that tell the two apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
}

/// The number of entries in a configuration's lists, counted without storing them.
#[derive(Deserialize)]
struct Shape {
    #[serde(default)]
    history: Option<Vec<serde::de::IgnoredAny>>,
}

fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8], place: &str, what: &str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::damaged(place, format!("this is not a valid {what}: {e}")))
}

/// Checks that content can be verified with this digest.
fn verifiable(digest: &Digest, place: &str) -> Result<()> {
    Hasher::of(digest).map(drop).map_err(|e| Error::damaged(place, e.to_string()))
}

impl Document {
    /// Parses a manifest or an index; `place` is for messages.
    ///
    /// # Errors
    /// The document is neither, or exceeds a limit.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Document> {
        if bytes.len() as u64 > MANIFEST_MOST {
            return Err(Error::damaged(place, format!("a manifest has at most {MANIFEST_MOST} bytes")));
        }
        let head: Head = json(bytes, place, "manifest of an image")?;
        if head.schema_version != 2 {
            let version = head.schema_version;
            return Err(Error::damaged(
                place,
                format!("manifests of schema version {version} are obsolete: the image must be pushed again"),
            ));
        }
        // One document must not be interpreted in two ways (CVE-2021-41190).
        if head.manifests.is_some() && head.layers.is_some() {
            return Err(Error::damaged(place, "a document with both layers and manifests is refused"));
        }
        match head.media_type.as_deref() {
            Some(INDEX | DOCKER_LIST) => Document::index(bytes, place),
            Some(MANIFEST | DOCKER_MANIFEST) => Document::manifest(bytes, place),
            Some(other) => Err(Error::damaged(place, format!("'{other}' is not the media type of an image"))),
            None if head.manifests.is_some() => Document::index(bytes, place),
            None => Document::manifest(bytes, place),
        }
    }

    fn manifest(bytes: &[u8], place: &str) -> Result<Document> {
        let manifest: ImageManifest = json(bytes, place, "manifest of an image")?;
        if manifest.layers().len() > LAYERS_MOST {
            return Err(Error::damaged(place, format!("an image has at most {LAYERS_MOST} layers")));
        }
        if manifest.config().size() > CONFIG_MOST {
            return Err(Error::damaged(place, format!("a configuration has at most {CONFIG_MOST} bytes")));
        }
        let kind = manifest.config().media_type().as_ref();
        if !matches!(kind, CONFIG | "application/vnd.docker.container.image.v1+json") {
            return Err(Error::damaged(place, format!("this is not an image but '{kind}'")));
        }
        verifiable(manifest.config().digest(), place)?;
        for layer in manifest.layers() {
            verifiable(layer.digest(), place)?;
            if layer.size() > LAYER_MOST {
                return Err(Error::damaged(place, format!("a layer has at most {LAYER_MOST} bytes")));
            }
        }
        Ok(Document::Manifest(Box::new(manifest)))
    }

    fn index(bytes: &[u8], place: &str) -> Result<Document> {
        let index: ImageIndex = json(bytes, place, "index of images")?;
        for manifest in index.manifests() {
            verifiable(manifest.digest(), place)?;
        }
        Ok(Document::Index(Box::new(index)))
    }
}

/// Parses a configuration.
///
/// # Errors
/// The text is not a configuration, or exceeds a limit.
pub fn parse_config(bytes: &[u8], place: &str) -> Result<ImageConfiguration> {
    if bytes.len() as u64 > CONFIG_MOST {
        return Err(Error::damaged(place, format!("a configuration has at most {CONFIG_MOST} bytes")));
    }
    let shape: Shape = json(bytes, place, "configuration of an image")?;
    if shape.history.is_some_and(|h| h.len() > HISTORY_MOST) {
        return Err(Error::damaged(
            place,
            format!("a configuration's history has at most {HISTORY_MOST} entries"),
        ));
    }
    json(bytes, place, "configuration of an image")
}

/// Parses a configuration and compares it with its manifest.
///
/// # Errors
/// The text is not a configuration, or does not match the manifest.
pub fn config(bytes: &[u8], manifest: &ImageManifest, place: &str) -> Result<ImageConfiguration> {
    let config = parse_config(bytes, place)?;
    let (ids, layers) = (config.rootfs().diff_ids().len(), manifest.layers().len());
    if ids != layers {
        return Err(Error::damaged(
            place,
            format!("the configuration lists {ids} layers, the manifest {layers}"),
        ));
    }
    for id in config.rootfs().diff_ids() {
        crate::digest::parse(id).map_err(|e| Error::damaged(place, format!("diff_ids: {e}")))?;
    }
    Ok(config)
}

/// The platform of a configuration.
pub fn platform_of(config: &ImageConfiguration) -> Platform {
    let variant = config.variant().as_deref().unwrap_or_default();
    Platform::new(&config.os().to_string(), &config.architecture().to_string(), variant)
}

/// The digests of a configuration's uncompressed layers.
pub fn diff_ids(config: &ImageConfiguration) -> Result<Vec<Digest>> {
    config.rootfs().diff_ids().iter().map(|id| crate::digest::parse(id)).collect()
}

/// Chooses the manifest of an index that fits a platform best. Of several that fit equally, it is the first
/// (OCI Image Index, "manifests").
///
/// # Errors
/// No manifest fits; the message names the platforms that there are.
pub fn choose<'a>(index: &'a ImageIndex, wanted: &Platform, place: &str) -> Result<&'a Descriptor> {
    let of = |d: &Descriptor| {
        let p = d.platform().as_ref()?;
        let variant = p.variant().as_deref().unwrap_or_default();
        Some(Platform::new(&p.os().to_string(), &p.architecture().to_string(), variant))
    };
    let images = || index.manifests().iter().filter(|d| is_manifest(d) && !is_attestation(d));
    let best = images().filter_map(|d| Some((of(d)?.serves(wanted)?, d))).min_by_key(|(rank, _)| *rank);
    // An index with one image without a platform means that image; its configuration is checked later.
    let only = || match images().collect::<Vec<_>>()[..] {
        [one] if one.platform().is_none() => Some(one),
        _ => None,
    };
    best.map(|(_, d)| d).or_else(only).ok_or_else(|| {
        // Some images have thirty; an index of 4 MiB may have arbitrarily many.
        let mut there: Vec<String> = images().filter_map(of).map(|p| p.to_string()).take(100).collect();
        there.dedup();
        Error::Refused(match there.is_empty() {
            true => format!("{place} names no platform"),
            false => format!("{place} is not for {wanted}: --platform can be {}", there.join(", ")),
        })
    })
}

fn is_manifest(descriptor: &Descriptor) -> bool {
    matches!(descriptor.media_type().as_ref(), MANIFEST | DOCKER_MANIFEST)
}

/// BuildKit stores attestations of an image in its index as if they were images ("unknown/unknown").
fn is_attestation(descriptor: &Descriptor) -> bool {
    let notes = descriptor.annotations().as_ref();
    notes.is_some_and(|n| n.contains_key("vnd.docker.reference.type"))
}

/// Docker's health check of a container (`HEALTHCHECK`), which OCI's configuration does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", argument…]` or `["CMD-SHELL", line]`; empty means inherited.
    pub test: Vec<String>,
    /// Nanoseconds between two checks; 0 means the default.
    pub interval: u64,
    /// Nanoseconds that a check may take; 0 means the default.
    pub timeout: u64,
    /// Nanoseconds after the start during which failures do not count.
    pub start_period: u64,
    /// Nanoseconds between two checks during the start.
    pub start_interval: u64,
    /// Consecutive failures that make it unhealthy; 0 means the default.
    pub retries: u32,
}

impl Healthcheck {
    /// A field in nanoseconds as a duration, or the default if it is 0.
    pub fn or(nanoseconds: u64, default: Duration) -> Duration {
        if nanoseconds == 0 { default } else { Duration::from_nanos(nanoseconds) }
    }
}

/// The fields of Docker's images that OCI's configuration does not have.
pub(crate) fn healthcheck(bytes: &[u8]) -> Option<Healthcheck> {
    #[derive(Deserialize)]
    struct Outer {
        config: Option<Inner>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inner {
        healthcheck: Option<Healthcheck>,
    }
    serde_json::from_slice::<Outer>(bytes).ok()?.config?.healthcheck
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::within;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn manifest(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2{extra},"config":{{"mediaType":"{CONFIG}","digest":"sha256:{HEX}","size":2}},
               "layers":[{{"mediaType":"{LAYER}","digest":"sha256:{HEX}","size":5}}]}}"#
        )
    }

    fn refusal(text: &str) -> String {
        Document::parse(text.as_bytes(), "here").unwrap_err().to_string()
    }

    #[test]
    fn manifests_and_indexes_are_told_apart() {
        assert!(matches!(Document::parse(manifest("").as_bytes(), "x"), Ok(Document::Manifest(_))));
        let typed = manifest(&format!(r#","mediaType":"{DOCKER_MANIFEST}""#));
        assert!(matches!(Document::parse(typed.as_bytes(), "x"), Ok(Document::Manifest(_))));
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#);
        assert!(matches!(Document::parse(index.as_bytes(), "x"), Ok(Document::Index(_))));
        let bare = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(Document::parse(bare.as_bytes(), "x"), Ok(Document::Index(_))));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        assert!(refusal("{}").contains("here: this is not a valid manifest"));
        assert!(refusal(r#"{"schemaVersion":1}"#).contains("version 1"));
        assert!(refusal(&manifest(r#","manifests":[]"#)).contains("both"));
        assert!(refusal(&manifest(r#","mediaType":"text/plain""#)).contains("text/plain"));
        assert!(refusal(&manifest("").replace(HEX, "../../etc/passwd")).starts_with("here: "));
        assert!(refusal(&manifest("").replace(&format!("sha256:{HEX}"), "md5:00")).contains("md5"));
        assert!(refusal(&manifest("").replace("\"size\":5", "\"size\":-5")).contains("here"));
        assert!(refusal(&manifest("").replace("\"size\":5", "\"size\":999999999999")).contains("at most"));
        assert!(refusal(&manifest("").replace("\"size\":2", "\"size\":99999999")).contains("at most"));
        let layer = format!(r#"{{"mediaType":"{LAYER}","digest":"sha256:{HEX}","size":5}}"#);
        let many = vec![layer.clone(); 501].join(",");
        assert!(refusal(&manifest("").replace(&layer, &many)).contains("at most 500 layers"));
        assert!(refusal(&" ".repeat(5 << 20)).contains("at most"));
    }

    #[test]
    fn a_platform_is_chosen_from_an_index() {
        let entry = |arch: &str, more: &str| {
            format!(
                r#"{{"mediaType":"{MANIFEST}","digest":"sha256:{}","size":1,"platform":{{"os":"linux","architecture":"{arch}"}}{more}}}"#,
                HEX.replace('0', if arch == "amd64" { "1" } else { "2" })
            )
        };
        let papers =
            entry("unknown", r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#);
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{papers},{},{}]}}"#,
            entry("amd64", ""),
            entry("riscv64", "")
        );
        let Ok(Document::Index(index)) = Document::parse(text.as_bytes(), "x") else { panic!("an index") };
        let chosen = choose(&index, &"linux/riscv64".parse().unwrap(), "x").unwrap();
        assert!(chosen.digest().as_ref().starts_with("sha256:2"));
        let none = choose(&index, &"linux/s390x".parse().unwrap(), "x").unwrap_err().to_string();
        assert_eq!(none, "x is not for linux/s390x: --platform can be linux/amd64, linux/riscv64");
    }

    #[test]
    fn configurations_fit_their_manifests() {
        let Ok(Document::Manifest(m)) = Document::parse(manifest("").as_bytes(), "x") else { panic!("one") };
        let text = |ids: &str| {
            format!(
                r#"{{"architecture":"riscv64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{ids}]}}}}"#
            )
        };
        let good = config(text(&format!("\"sha256:{HEX}\"")).as_bytes(), &m, "x").unwrap();
        assert_eq!(platform_of(&good).to_string(), "linux/riscv64");
        assert!(config(text("").as_bytes(), &m, "x").unwrap_err().to_string().contains("lists 0 layers"));
        assert!(config(text("\"../x\"").as_bytes(), &m, "x").unwrap_err().to_string().contains("diff_ids"));
    }

    #[test]
    fn lists_of_nothing_take_no_memory() {
        within("document::tests::lists_of_nothing_take_no_memory", 256 << 20, || {
            let Ok(Document::Manifest(m)) = Document::parse(manifest("").as_bytes(), "x") else {
                panic!("one")
            };
            let text = |count: usize| {
                let history = vec!["{}"; count].join(",");
                let rootfs = format!(r#"{{"type":"layers","diff_ids":["sha256:{HEX}"]}}"#);
                format!(
                    r#"{{"architecture":"riscv64","os":"linux","history":[{history}],"rootfs":{rootfs}}}"#
                )
            };
            let why = config(text(1_300_000).as_bytes(), &m, "x").unwrap_err().to_string();
            assert!(why.contains("at most 10000 entries"), "{why}");
            let why = config(text(5_000_000).as_bytes(), &m, "x").unwrap_err().to_string();
            assert!(why.contains("at most 4194304 bytes"), "{why}");
            assert_eq!(
                config(text(9_000).as_bytes(), &m, "x").unwrap().history().as_ref().unwrap().len(),
                9_000
            );
        });
    }

    #[test]
    fn dockers_health_check_is_read() {
        let text = br#"{"config":{"Healthcheck":{"Test":["CMD","true"],"Interval":5000000000,"Retries":3}}}"#;
        let check = healthcheck(text).unwrap();
        assert_eq!((check.test.len(), check.retries), (2, 3));
        assert_eq!(Healthcheck::or(check.interval, Duration::ZERO), Duration::from_secs(5));
        assert_eq!(Healthcheck::or(check.timeout, Duration::from_secs(30)), Duration::from_secs(30));
        assert_eq!(healthcheck(b"{}"), None);
    }
}
