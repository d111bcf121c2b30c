//! `trine tag`: gives an image another name.

use super::{TagArgs, or_host, store};
use crate::{Refusal, code};

/// `trine tag`.
pub fn tag(args: TagArgs) -> Result<u8, Refusal> {
    let store = store()?;
    let platform = or_host(args.platform);
    let names = args.name.iter().map(|n| n.parse()).collect::<Result<Vec<_>, _>>()?;
    for name in names {
        store.tag(&args.image, &name, &platform)?;
    }
    Ok(code::OK)
}
