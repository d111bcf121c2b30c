//! Any bytes as a manifest, an index, a configuration, a name, a platform, a place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trine_oci::document::{self, Document};
use trine_oci::transport::Location;
use trine_oci::{Name, Platform};

fuzz_target!(|data: &[u8]| {
    match Document::parse(data, "fuzz") {
        Ok(Document::Index(index)) => drop(document::choose(&index, &Platform::host(), "fuzz")),
        Ok(Document::Manifest(manifest)) => {
            assert!(manifest.layers().len() <= document::LAYERS_MOST);
            for part in manifest.layers() {
                assert!(!part.digest().digest().contains(['/', '.']), "a digest is a file's name");
            }
        }
        Err(e) => assert!(e.to_string().starts_with("fuzz: ")),
    }
    if let Some((manifest, config)) =
        data.iter().position(|&b| b == 0).map(|at| (&data[..at], &data[at + 1..]))
        && let Ok(Document::Manifest(manifest)) = Document::parse(manifest, "fuzz")
        && let Ok(config) = document::config(config, &manifest, "fuzz")
    {
        assert_eq!(document::diff_ids(&config).unwrap().len(), manifest.layers().len());
        drop(document::platform_of(&config).to_string().parse::<Platform>());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = text.parse::<Name>() {
        // Complete names and short ones mean the same.
        assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
        assert_eq!(name.short().parse::<Name>().unwrap(), name);
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.serves(&platform), Some(0));
    }
    if let Ok(location) = text.parse::<Location>() {
        drop(location.to_string());
    }
});
