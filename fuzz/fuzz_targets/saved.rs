//! Any bytes as an archive of images: of `docker save`, of an OCI layout, or a root file system.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trine_oci::transport::{Importing, Location, Settings, import};
use trine_oci::{Silent, Store};

fuzz_target!(|data: &[u8]| {
    let dir = std::env::temp_dir().join(format!("trine-fuzz-saved-{}", std::process::id()));
    let store = Store::at(&dir.join("images")).unwrap();
    let file = dir.join("saved.tar");
    std::fs::write(&file, data).unwrap();
    for from in [
        Location::Path(file.clone()),
        Location::DockerArchive(file.clone(), None),
        Location::LayoutArchive(file, None),
    ] {
        let name = "fuzz".parse().ok();
        let importing = Importing {
            store: &store,
            name,
            platform: None,
            settings: Settings::default(),
            progress: &Silent,
        };
        if let Ok(images) = import(&from, &importing) {
            // What was taken in is whole.
            assert!(images.iter().all(|i| i.parts().all(|p| store.has(p.digest()))));
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
});
