//! `trine inspect`: all there is to say of a thing, as JSON.

use crate::{Refusal, code, images};
use clap::Args;
use std::io::Write;
use std::str::FromStr;
use trine_oci::Platform;

/// Arguments of `trine inspect`.
#[derive(Args)]
pub struct InspectArgs {
    /// Names or IDs
    #[arg(required = true)]
    pub thing: Vec<String>,
    /// Of an image for several platforms, this one
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = Platform::from_str)]
    pub platform: Option<Platform>,
}

/// `trine inspect`: a list with one object for each thing.
pub fn inspect(args: InspectArgs) -> Result<u8, Refusal> {
    let mut found = Vec::new();
    for thing in &args.thing {
        // Guests come first: they have the shorter lives.
        match images::inspect::image(thing, args.platform.as_ref())? {
            Some(value) => found.push(value),
            None => {
                return Err(Refusal::refused(format!(
                    "there is no '{thing}' here: `trine images` lists the images"
                )));
            }
        }
    }
    let text = serde_json::to_string_pretty(&found).map_err(Refusal::host)?;
    drop(writeln!(std::io::stdout(), "{text}"));
    Ok(code::OK)
}
