//! `trine pull`, `trine push`: images from and to registries.

use super::{Display, PullArgs, PushArgs, or_host, print, said, store};
use crate::{Refusal, code};
use trine_oci::registry::{self, Registries, RegistryOptions};
use trine_oci::transport::{self, Importing, Location, Settings};
use trine_oci::{Image, Name, Platform, Store};

/// `trine pull`.
pub fn pull(args: PullArgs) -> Result<u8, Refusal> {
    let store = store()?;
    let options = RegistryOptions {
        platform: args.platform.clone(),
        insecure: args.registry.insecure,
        mirrors: args.mirror.clone(),
        registries: Registries::load()?,
    };
    for image in &args.image {
        let display = Display::new(args.quiet);
        let pulled = one(&store, image, &options, &display);
        display.clear();
        for image in pulled? {
            said(&image, args.quiet, args.json);
        }
    }
    Ok(code::OK)
}

fn one(
    store: &Store,
    text: &str,
    options: &RegistryOptions,
    display: &Display,
) -> trine_oci::Result<Vec<Image>> {
    match text.parse::<Location>() {
        Ok(Location::Path(_)) | Err(_) => {
            let name: Name = text.parse()?;
            registry::pull(store, &name, options, display).map(|image| vec![image])
        }
        Ok(location) => {
            let importing = Importing {
                store,
                name: None,
                platform: options.platform.clone(),
                settings: Settings::default(),
                progress: display,
            };
            transport::import(&location, &importing)
        }
    }
}

/// Fetches an image for a container that will run.
pub fn fetch(
    store: &Store,
    name: &str,
    platform: Option<Platform>,
    insecure: bool,
) -> Result<Image, Refusal> {
    let options =
        RegistryOptions { platform, insecure, registries: Registries::load()?, ..RegistryOptions::default() };
    let display = Display::new(false);
    let name: Name = name.parse()?;
    let pulled = registry::pull(store, &name, &options, &display);
    display.clear();
    Ok(pulled?)
}

/// `trine push`.
pub fn push(args: PushArgs) -> Result<u8, Refusal> {
    let store = store()?;
    let image = store.resolve(&args.image, &or_host(args.platform))?;
    let to: Name = match (&args.name, image.name()) {
        (Some(name), _) => name.parse()?,
        // An image that is given by its ID has names, but none of them is meant.
        (None, Some(name)) if args.image.parse::<Name>().is_ok_and(|n| n == *name) => name.clone(),
        _ => {
            return Err(Refusal::refused(
                "an image named by its ID needs a name to be pushed to, as the second argument",
            ));
        }
    };
    let options = RegistryOptions {
        insecure: args.registry.insecure,
        registries: Registries::load()?,
        ..RegistryOptions::default()
    };
    let display = Display::new(args.quiet);
    let pushed = registry::push(&store, &image, &to, &options, &display);
    display.clear();
    let pushed = pushed?;
    match (args.json, args.quiet) {
        (true, _) => print(&format!(
            "{}\n",
            serde_json::json!({"name": to.to_string(), "digest": pushed.digest.to_string(), "sent": pushed.sent,
                "mounted": pushed.mounted, "there": pushed.there})
        )),
        (_, true) => print(&format!("{}\n", pushed.digest)),
        _ => print(&format!(
            "{} ({}): {}: {} parts sent, {} taken from other repositories, {} there already\n",
            to.short(),
            image.platform(),
            pushed.digest,
            pushed.sent,
            pushed.mounted,
            pushed.there
        )),
    }
    Ok(code::OK)
}
