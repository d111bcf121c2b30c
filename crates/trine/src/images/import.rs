//! `trine import`: images from archives and layouts, and root file systems.

use super::{Display, ImportArgs, said, store};
use crate::{Refusal, code};
use trine_oci::Name;
use trine_oci::transport::{self, Importing, Location, Settings};

/// Parses a command: a JSON list, or words.
fn command(text: Option<&str>) -> Result<Vec<String>, Refusal> {
    match text {
        None => Ok(Vec::new()),
        Some(text) if text.trim_start().starts_with('[') => serde_json::from_str(text)
            .map_err(|e| Refusal::refused(format!("'{text}' is not a JSON list of words: {e}"))),
        Some(text) => Ok(text.split_whitespace().map(String::from).collect()),
    }
}

/// `trine import`.
pub fn import(args: ImportArgs) -> Result<u8, Refusal> {
    let store = store()?;
    let from: Location = args.from.parse()?;
    let settings = Settings {
        entrypoint: command(args.entrypoint.as_deref())?,
        cmd: command(args.cmd.as_deref())?,
        env: args.env,
        workdir: args.workdir,
        user: args.user,
    };
    let display = Display::new(args.quiet);
    let name = args.name.as_deref().map(str::parse::<Name>).transpose()?;
    let importing = Importing { store: &store, name, platform: args.platform, settings, progress: &display };
    let images = transport::import(&from, &importing);
    display.clear();
    for image in images? {
        said(&image, args.quiet, args.json);
    }
    Ok(code::OK)
}
