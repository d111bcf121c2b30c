//! `config.json` of a bundle: whatever it says, it is refused with a sentence or can be followed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trine_container::spec;

fuzz_target!(|data: &[u8]| {
    let Ok(config) = spec::parse(data) else { return };
    if spec::check(&config).is_err() {
        return;
    }
    let Some(linux) = config.linux() else { panic!("checked without a section 'linux'") };
    // What the check has let through does not fail for itself later.
    spec::maps(linux).expect("checked maps");
    for mount in config.mounts().iter().flatten() {
        trine_container::rootfs::mounts::parse(mount).expect("checked options");
        let inside = trine_container::rootfs::paths::clean(mount.destination());
        assert!(inside.is_absolute() && !inside.components().any(|c| c == std::path::Component::ParentDir));
    }
    if let Some(profile) = linux.seccomp() {
        drop(trine_container::seccomp::compile(profile));
    }
    // The process inside reads what the runtime has written.
    let text = serde_json::to_vec(&config).expect("a configuration that was read");
    assert_eq!(spec::parse(&text).expect("a configuration that was written"), config);
});
