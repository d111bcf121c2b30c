//! `trine export`: images to archives and layouts.

use super::{Display, ExportArgs, or_host, store};
use crate::{Refusal, code};
use trine_oci::transport::{self, Location};

/// `trine export`.
pub fn export(args: ExportArgs) -> Result<u8, Refusal> {
    let store = store()?;
    let to: Location = args.to.parse()?;
    let image = store.resolve(&args.image, &or_host(args.platform))?;
    // Held so that no part of the image is removed while it is written.
    let working = store.working()?;
    for part in image.parts().chain([&image.held().manifest]) {
        if !working.hold(part.digest())? {
            return Err(Refusal::host(format!("{} of the image is not here: pull it again", part.digest())));
        }
    }
    let display = Display::new(false);
    let done = transport::export(&store, &image, &to, &display);
    display.clear();
    done?;
    Ok(code::OK)
}
