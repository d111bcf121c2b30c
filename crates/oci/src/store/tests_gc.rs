//! Tests of names, leases and garbage collection, with images that are made here.

use super::tests::Scratch;
use super::*;
use crate::name::Name;
use crate::platform::Platform;
use crate::progress::Silent;
use crate::transport::{Importing, Location, Settings, export, import};
use std::io::Cursor;

/// A root file system with one file.
fn rootfs(scratch: &Scratch, text: &str) -> Location {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "file", Cursor::new(text)).unwrap();
    let path = scratch.dir.join(format!("{}.tar", unique()));
    std::fs::write(&path, builder.into_inner().unwrap()).unwrap();
    Location::Path(path)
}

fn importing<'a>(store: &'a Store, name: Option<&str>) -> Importing<'a> {
    let name = name.map(|n| n.parse().unwrap());
    Importing { store, name, platform: None, settings: Settings::default(), progress: &Silent }
}

fn bring(scratch: &Scratch, name: &str, text: &str) -> Image {
    import(&rootfs(scratch, text), &importing(&scratch.store, Some(name))).unwrap().remove(0)
}

fn host() -> Platform {
    Platform::host()
}

fn find(store: &Store, text: &str) -> Result<Image> {
    store.resolve(text, &host())
}

#[test]
fn images_are_found_by_name_digest_and_id() {
    let scratch = Scratch::new();
    let store = &scratch.store;
    let image = bring(&scratch, "one", "1");
    let other = bring(&scratch, "two", "2");
    assert_eq!(find(store, "one").unwrap().id(), image.id());
    assert_eq!(find(store, "docker.io/library/one:latest").unwrap().id(), image.id());
    assert_eq!(find(store, &image.id().digest()[..12]).unwrap().id(), image.id());
    assert_eq!(find(store, image.id().as_ref()).unwrap().id(), image.id());
    assert_eq!(find(store, &format!("one@{}", image.digest())).unwrap().id(), image.id());
    assert!(matches!(find(store, &format!("one@{}", other.digest())), Err(Error::NotHere(_))));
    assert!(matches!(find(store, "three"), Err(Error::NotHere(why)) if why.contains("trine pull three")));
    assert!(matches!(find(store, "No Name"), Err(Error::Refused(_))));
    let foreign = store.resolve("one", &"linux/s390x".parse().unwrap()).unwrap_err();
    assert!(matches!(&foreign, Error::NotHere(why) if why.contains("not for linux/s390x")), "{foreign}");
}

#[test]
fn names_move_and_go() {
    let scratch = Scratch::new();
    let store = &scratch.store;
    let image = bring(&scratch, "one", "1");
    store.tag("one", &"two:x".parse::<Name>().unwrap(), &host()).unwrap();
    let removed = store.untag("one", None, false).unwrap();
    assert_eq!(removed, Removed { names: vec!["docker.io/library/one:latest".into()], images: vec![] });
    assert_eq!(store.collect().unwrap(), Collected::default());
    assert_eq!(find(store, "two:x").unwrap().id(), image.id());
    let removed = store.untag(&image.id().digest()[..8], None, false).unwrap();
    assert_eq!(removed.images, [image.id().clone()]);
    assert_eq!(store.collect().unwrap().blobs, 3, "layer, configuration, manifest");
    assert!(matches!(store.untag("two:x", None, false), Err(Error::NotHere(_))));
}

#[test]
fn what_a_guest_uses_stays() {
    let scratch = Scratch::new();
    let store = &scratch.store;
    let image = bring(&scratch, "one", "1");
    store.pin(&image, "guest-1").unwrap();
    let layers = store.layers(&image, &Silent).unwrap();
    assert_eq!(std::fs::read_to_string(layers.lower[0].join("file")).unwrap(), "1");
    let why = store.untag("one", None, false).unwrap_err().to_string();
    assert!(why.contains("used by guest guest-1"), "{why}");
    assert!(store.untag("one", None, true).unwrap().images.is_empty());
    assert_eq!(store.collect().unwrap(), Collected::default());
    assert!(layers.lower[0].join("file").exists());
    store.unpin("guest-1").unwrap();
    store.unpin("guest-1").unwrap();
    let collected = store.collect().unwrap();
    assert_eq!((collected.blobs, collected.layers), (3, 1));
    assert!(!layers.lower[0].exists());
    assert!(store.pin(&image, "late").unwrap_err().to_string().contains("removed a moment ago"));
    assert!(store.pin(&image, "../x").is_err());
}

#[test]
fn what_is_being_taken_in_stays() {
    let scratch = Scratch::new();
    let store = &scratch.store;
    let working = store.working().unwrap();
    let digest = store.put(b"half an image", &working).unwrap();
    assert_eq!(store.collect().unwrap(), Collected::default());
    drop(working);
    assert_eq!(store.collect().unwrap().blobs, 1);
    assert!(!store.has(&digest));
    // What a dead process left: a lease that is not locked, a partly unpacked layer.
    std::fs::write(store.path("leases/work-dead"), format!("{digest}\n")).unwrap();
    std::fs::create_dir_all(store.path("layers/new-dead/fs")).unwrap();
    std::fs::write(store.path("partial/new-dead"), "x").unwrap();
    store.collect().unwrap();
    for gone in ["leases/work-dead", "layers/new-dead", "partial/new-dead"] {
        assert!(!store.path(gone).exists(), "{gone}");
    }
}

#[test]
fn partial_content_waits_a_week() {
    let scratch = Scratch::new();
    let path = scratch.store.path(&format!("partial/sha256-{}", "a".repeat(64)));
    let file = std::fs::File::create(&path).unwrap();
    scratch.store.collect().unwrap();
    assert!(path.exists());
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(8 * 24 * 3600);
    file.set_modified(old).unwrap();
    scratch.store.collect().unwrap();
    assert!(!path.exists());
}

#[test]
fn layers_that_lie_are_not_kept() {
    let scratch = Scratch::new();
    let store = &scratch.store;
    let image = bring(&scratch, "one", "1");
    let layer = image.manifest().layers()[0].digest();
    let other = bring(&scratch, "two", "2");
    std::fs::copy(store.blob_path(other.manifest().layers()[0].digest()), store.blob_path(layer)).unwrap();
    let why = store.layers(&image, &Silent).unwrap_err().to_string();
    assert!(why.contains("does not match its digest"), "{why}");
    assert_eq!(store.layers_path().read_dir().unwrap().count(), 0);
}

#[test]
fn images_go_out_and_come_back_the_same() {
    let scratch = Scratch::new();
    let image = bring(&scratch, "localhost:5000/team/app:1", "1");
    let other = Store::at(&scratch.dir.join("other")).unwrap();
    let at = |p: &str| scratch.dir.join(p).display().to_string();
    for to in [
        format!("oci:{}", at("layout")),
        format!("oci-archive:{}", at("a.tar")),
        format!("docker-archive:{}", at("d.tar")),
        at("plain.tar"),
    ] {
        let location: Location = to.parse().unwrap();
        export(&scratch.store, &image, &location, &Silent).unwrap();
        let back = import(&location, &importing(&other, None)).unwrap().remove(0);
        assert_eq!(back.id(), image.id(), "{to}");
        assert_eq!(back.name().unwrap().to_string(), "localhost:5000/team/app:1", "{to}");
        other.untag("localhost:5000/team/app:1", None, false).unwrap();
        other.collect().unwrap();
    }
    // A second image beside it; the first one again in its own place.
    let two = bring(&scratch, "two:x", "2");
    let layout: Location = format!("oci:{}", at("layout")).parse().unwrap();
    export(&scratch.store, &two, &layout, &Silent).unwrap();
    export(&scratch.store, &image, &layout, &Silent).unwrap();
    assert_eq!(import(&layout, &importing(&other, None)).unwrap().len(), 2);
    let tagged: Location = format!("oci:{}:x", at("layout")).parse().unwrap();
    assert_eq!(import(&tagged, &importing(&other, Some("named"))).unwrap()[0].id(), two.id());
    let absent: Location = format!("oci:{}:nope", at("layout")).parse().unwrap();
    let why = import(&absent, &importing(&other, None)).unwrap_err().to_string();
    assert!(why.contains("no image of tag nope (it has: "), "{why}");
}

#[test]
fn a_damaged_list_of_names_removes_nothing() {
    let scratch = Scratch::new();
    let image = bring(&scratch, "one", "1");
    std::fs::write(scratch.store.path("index.json"), "{").unwrap();
    assert!(scratch.store.collect().unwrap_err().to_string().contains("not a list of images"));
    assert!(scratch.store.has(image.digest()));
}
