//! `trine inspect` of an image.

use super::store;
use crate::Refusal;
use serde_json::{Value, json};
use trine_oci::{Error, Platform};

/// Everything that is known of an image, as JSON; `None` where there is no such image.
pub fn image(text: &str, platform: Option<&Platform>) -> Result<Option<Value>, Refusal> {
    let host = Platform::host();
    let store = store()?;
    let image = match store.resolve(text, platform.unwrap_or(&host)) {
        Err(Error::NotHere(_)) => return Ok(None),
        resolved => resolved?,
    };
    let names: Vec<String> =
        store.list()?.into_iter().filter(|l| l.held.id == *image.id()).map(|l| l.name).collect();
    let guests: Vec<String> =
        store.pinned()?.into_iter().filter(|l| l.manifest == *image.digest()).map(|l| l.guest).collect();
    let config: Value = serde_json::from_slice(image.config_bytes()).map_err(Refusal::host)?;
    let manifest = serde_json::to_value(image.manifest()).map_err(Refusal::host)?;
    Ok(Some(json!({
        "kind": "image",
        "id": image.id().to_string(),
        "digest": image.digest().to_string(),
        "index": image.held().index.as_ref().map(|i| i.digest().to_string()),
        "names": names,
        "platform": image.platform().to_string(),
        "size": image.size(),
        "since": image.held().since,
        "guests": guests,
        "manifest": manifest,
        "config": config,
    })))
}
