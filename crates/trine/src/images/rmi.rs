//! `trine rmi`: removes names of images, and everything that is not needed any more.

use super::{RmiArgs, print, size, store};
use crate::{Refusal, code};
use trine_oci::Name;

/// `trine rmi`.
pub fn rmi(args: RmiArgs) -> Result<u8, Refusal> {
    let store = store()?;
    let (mut names, mut images) = (Vec::new(), Vec::new());
    let mut failed = None;
    for image in &args.image {
        match store.untag(image, args.platform.as_ref(), args.force) {
            Ok(removed) => {
                names.extend(removed.names);
                images.extend(removed.images);
            }
            Err(e) => {
                failed = Some(e);
                break;
            }
        }
    }
    let collected = store.collect()?;
    if args.json {
        print(&format!(
            "{}\n",
            serde_json::json!({"names": names, "images": images.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "blobs": collected.blobs, "layers": collected.layers, "bytes": collected.bytes})
        ));
    } else {
        for name in &names {
            let short = name.parse().map_or_else(|_| name.clone(), |n: Name| n.short());
            print(&format!("name removed: {short}\n"));
        }
        for image in &images {
            print(&format!("removed: {image}\n"));
        }
        if args.garbage || collected.bytes > 0 {
            let (blobs, layers) = (collected.blobs, collected.layers);
            print(&format!("{} freed ({blobs} blobs, {layers} unpacked layers)\n", size(collected.bytes)));
        }
    }
    match failed {
        Some(e) => Err(e.into()),
        None => Ok(code::OK),
    }
}
