//! Names of images, in one JSON file that is replaced as a whole.

use super::{Image, Store, replace};
use crate::error::{Error, Result};
use crate::name::Name;
use crate::platform::Platform;
use oci_spec::image::{Descriptor, Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// Version of the file's format.
const VERSION: u32 = 1;
/// The least number of digits that are taken for an ID.
const FEWEST: usize = 4;

/// The contents of the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Names {
    version: u32,
    /// Entries by complete name, then by platform.
    pub names: BTreeMap<String, BTreeMap<String, Held>>,
}

impl Default for Names {
    fn default() -> Names {
        Names { version: VERSION, names: BTreeMap::new() }
    }
}

/// An image for one platform, to which a name refers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Its manifest.
    pub manifest: Descriptor,
    /// The index through which it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<Descriptor>,
    /// Its configuration's digest: the image's ID.
    pub id: Digest,
    /// When it was stored, in seconds since 1970.
    pub since: u64,
}

impl Held {
    /// Creates an entry with the current time.
    pub(crate) fn new(manifest: Descriptor, index: Option<Descriptor>, id: Digest) -> Held {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Held { manifest, index, id, since }
    }

    fn digests(&self) -> impl Iterator<Item = &Digest> {
        let index = self.index.iter().map(Descriptor::digest);
        [&self.id, self.manifest.digest()].into_iter().chain(index)
    }
}

/// A row of the list of images.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its complete name.
    pub name: String,
    /// Its platform.
    pub platform: Platform,
    /// The image that the name refers to.
    pub held: Held,
    /// Size in bytes of its layers and documents as stored.
    pub size: u64,
    /// When it was created, as the image says (RFC 3339).
    pub created: Option<String>,
    /// The guests that use it.
    pub guests: Vec<String>,
}

/// The result of removing names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removed {
    /// The removed names.
    pub names: Vec<String>,
    /// IDs of images that have no name any more.
    pub images: Vec<Digest>,
}

impl Store {
    pub(super) fn names(&self) -> Result<Names> {
        let path = self.path("index.json");
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Names::default()),
            read => read.map_err(Error::file("cannot read", &path))?,
        };
        let names: Names = serde_json::from_slice(&bytes).map_err(|e| {
            let what = format!("this is not a list of images ({e}): move it away, and pull the images again");
            Error::damaged(path.display().to_string(), what)
        })?;
        match names.version {
            VERSION => Ok(names),
            other => {
                let what = format!("it has format version {other}, but this Trine reads version {VERSION}");
                Err(Error::damaged(path.display().to_string(), what))
            }
        }
    }

    /// Changes names; changes nothing where `change` fails.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Names) -> Result<T>) -> Result<T> {
        let _guard = self.exclusive()?;
        let mut names = self.names()?;
        let result = change(&mut names)?;
        names.names.retain(|_, platforms| !platforms.is_empty());
        let bytes = serde_json::to_vec_pretty(&names).map_err(|e| Error::Host(e.to_string()))?;
        replace(&self.path("index.json"), &bytes)?;
        Ok(result)
    }

    /// Makes a name refer to an image that is here, for one platform.
    pub(crate) fn set_name(&self, name: &Name, platform: &Platform, held: Held) -> Result<()> {
        self.change(|n| {
            n.names.entry(name.to_string()).or_default().insert(platform.to_string(), held);
            Ok(())
        })
    }

    /// Finds an image by its name, its digest, or the first digits of its ID.
    ///
    /// # Errors
    /// [`Error::NotHere`] if it could be pulled; a sentence if `text` is not a name, or is ambiguous.
    pub fn resolve(&self, text: &str, platform: &Platform) -> Result<Image> {
        let names = self.names()?;
        let (name, held) = find(&names, text, platform)?;
        Image::load(self, name, held)
    }

    /// Lists the images of all names, sorted by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let names = self.names()?;
        let pinned = self.pinned()?;
        let mut list = Vec::new();
        for (name, platforms) in &names.names {
            for (platform, held) in platforms {
                let image = Image::load(self, None, held.clone());
                let guests = pinned.iter().filter(|l| l.manifest == *held.manifest.digest());
                list.push(Listed {
                    name: name.clone(),
                    platform: platform.parse()?,
                    held: held.clone(),
                    size: image.as_ref().map_or(0, Image::size),
                    created: image.as_ref().ok().and_then(|i| i.config().created().clone()),
                    guests: guests.map(|l| l.guest.clone()).collect(),
                });
            }
        }
        Ok(list)
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// As [`Store::resolve`].
    pub fn tag(&self, text: &str, new: &Name, platform: &Platform) -> Result<Image> {
        if new.digest().is_some() {
            return Err(Error::Refused(format!("'{new}': a name that is given must not have a digest")));
        }
        self.change(|names| {
            let (name, held) = find(names, text, platform)?;
            let image = Image::load(self, name, held.clone())?;
            let platform = image.platform().to_string();
            names.names.entry(new.to_string()).or_default().insert(platform, held);
            Ok(image)
        })
    }

    /// Removes names: one name for all platforms or for the given one; with an ID, all names of that image.
    /// [`Store::collect`] then removes the garbage.
    ///
    /// # Errors
    /// [`Error::InUse`] if a guest uses the image, this is its last name, and `force` is not set;
    /// [`Error::NotHere`].
    pub fn untag(&self, text: &str, platform: Option<&Platform>, force: bool) -> Result<Removed> {
        self.change(|names| {
            let doomed = doomed(names, text, platform)?;
            let pinned = self.pinned()?;
            let last = |held: &Held| {
                let others = names.names.iter().flat_map(|(n, p)| p.iter().map(move |(p, h)| (n, p, h)));
                let same = others.filter(|(.., h)| h.manifest.digest() == held.manifest.digest());
                same.filter(|(n, p, _)| !doomed.contains(&(n.to_string(), p.to_string()))).count() == 0
            };
            let mut removed = Removed::default();
            for (name, platform) in &doomed {
                let Some(held) = names.names.get(name).and_then(|p| p.get(platform)) else { continue };
                if last(held) {
                    let user = pinned.iter().find(|l| l.manifest == *held.manifest.digest());
                    if let (Some(lease), false) = (user, force) {
                        return Err(Error::InUse { image: text.into(), guest: lease.guest.clone() });
                    }
                    if user.is_none() && !removed.images.contains(&held.id) {
                        removed.images.push(held.id.clone());
                    }
                }
            }
            for (name, platform) in doomed {
                names.names.entry(name.clone()).or_default().remove(&platform);
                if names.names.get(&name).is_some_and(BTreeMap::is_empty) {
                    removed.names.push(name);
                }
            }
            Ok(removed)
        })
    }
}

/// The entries that a name or an ID refers to.
fn doomed(names: &Names, text: &str, platform: Option<&Platform>) -> Result<Vec<(String, String)>> {
    let wanted = |p: &str| platform.is_none_or(|w| w.to_string() == p);
    if let Some(name) = Name::from_str(text).ok().map(|n| n.to_string())
        && let Some(platforms) = names.names.get(&name)
    {
        let all: Vec<_> = platforms.keys().filter(|p| wanted(p)).map(|p| (name.clone(), p.clone())).collect();
        return match all.is_empty() {
            true => Err(not_for(&name, platforms, platform.unwrap_or(&Platform::host()))),
            false => Ok(all),
        };
    }
    let id = by_id(names, text)?.ok_or_else(|| absent(text))?;
    let entries = names.names.iter().flat_map(|(n, ps)| ps.iter().map(move |(p, h)| (n, p, h)));
    let of = entries.filter(|(_, p, h)| wanted(p) && h.digests().any(|d| *d == id));
    Ok(of.map(|(n, p, _)| (n.clone(), p.clone())).collect())
}

fn absent(text: &str) -> Error {
    match Name::from_str(text) {
        Ok(name) => {
            Error::NotHere(format!("image {} is not here: `trine pull {text}` fetches it", name.short()))
        }
        Err(wrong) => wrong,
    }
}

fn not_for(name: &str, platforms: &BTreeMap<String, Held>, platform: &Platform) -> Error {
    let there: Vec<&str> = platforms.keys().map(String::as_str).collect();
    Error::NotHere(format!(
        "image {name} is here for {}, not for {platform}: `trine pull --platform {platform} {name}` fetches it",
        there.join(", ")
    ))
}

fn find(names: &Names, text: &str, platform: &Platform) -> Result<(Option<Name>, Held)> {
    let name = Name::from_str(text);
    if let Ok(name) = &name {
        if let Some(platforms) = names.names.get(&name.to_string()) {
            let held =
                best(platforms, platform).ok_or_else(|| not_for(&name.short(), platforms, platform))?;
            return Ok((Some(name.clone()), held));
        }
        if let Some(digest) = name.digest() {
            // Pulled by a tag, requested by a digest of the same repository.
            let of = |full: &str| {
                full.parse::<Name>().is_ok_and(|n| n.repository_name() == name.repository_name())
            };
            let same = names.names.iter().filter(|(full, _)| of(full));
            let held = same.flat_map(|(_, p)| p.iter()).filter(|(_, h)| h.digests().any(|d| *d == digest));
            let held: BTreeMap<String, Held> = held.map(|(p, h)| (p.clone(), h.clone())).collect();
            if let Some(held) = only_or_best(&held, platform) {
                return Ok((Some(name.clone()), held));
            }
        }
    }
    match by_id(names, text)? {
        Some(id) => {
            let all = names.names.iter().flat_map(|(n, ps)| ps.iter().map(move |(p, h)| (n, p, h)));
            let of: Vec<_> = all.filter(|(_, _, h)| h.digests().any(|d| *d == id)).collect();
            let first = of.first().and_then(|(n, ..)| n.parse().ok());
            let held = of.iter().map(|(_, p, h)| (p.to_string(), (*h).clone())).collect();
            only_or_best(&held, platform).map(|h| (first, h)).ok_or_else(|| not_for(text, &held, platform))
        }
        None => Err(absent(text)),
    }
}

fn best(platforms: &BTreeMap<String, Held>, wanted: &Platform) -> Option<Held> {
    let ranked = platforms.iter().filter_map(|(p, h)| Some((Platform::from_str(p).ok()?.serves(wanted)?, h)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, h)| h.clone())
}

/// A digest may identify the platform by itself.
fn only_or_best(platforms: &BTreeMap<String, Held>, wanted: &Platform) -> Option<Held> {
    match platforms.len() {
        1 => platforms.values().next().cloned(),
        _ => best(platforms, wanted),
    }
}

/// The only digest that begins with `text`.
fn by_id(names: &Names, text: &str) -> Result<Option<Digest>> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() < FEWEST || !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(None);
    }
    let all = names.names.values().flat_map(BTreeMap::values).flat_map(Held::digests);
    let mut found: Vec<&Digest> = all.filter(|d| d.digest().starts_with(digits)).collect();
    found.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
    found.dedup();
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => Err(Error::Refused(format!(
            "'{text}' begins the IDs of {} images: give more digits",
            found.len()
        ))),
    }
}
