//! `trine update`: renews the pins of the guests.

use crate::args::UpdateArgs;
use crate::run::Display;
use crate::{Refusal, code};
use trine_image::debian::Lock;

/// Asks the mirror and writes the lock file.
pub fn update(args: UpdateArgs) -> Result<u8, Refusal> {
    let cache = trine_base::xdg::cache().map_err(Refusal::host)?;
    let mut lock = Lock::load(&args.lock).map_err(Refusal::refused)?;
    let before = lock.clone();
    let mut display = Display::new();
    let package = trine_image::linux::update(&cache, &mut lock, &mut |t, n, of| display.show(t, n, of))
        .map_err(Refusal::host)?;
    display.clear();
    if lock == before {
        println!("{} {} is pinned already", package.name, package.version);
        return Ok(code::OK);
    }
    lock.save(&args.lock).map_err(Refusal::host)?;
    println!("pinned {} {} in {}", package.name, package.version, args.lock.display());
    Ok(code::OK)
}
