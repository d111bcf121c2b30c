//! `trine inspect`: prints everything that is known of guests and images, as JSON.

use crate::guest::print;
use crate::{Refusal, code, images};
use clap::Args;
use serde_json::Value;
use std::io::IsTerminal;
use std::str::FromStr;
use trine_base::text::plain;
use trine_control::ControlError;
use trine_control::store::Store;
use trine_control::verbs::show;
use trine_oci::Platform;

/// Arguments of `trine inspect`.
#[derive(Args)]
pub struct InspectArgs {
    /// Names, ids or beginnings of ids of guests, or names of images
    #[arg(required = true)]
    pub thing: Vec<String>,
    /// Print JSON, which is the default
    #[arg(long)]
    pub json: bool,
    /// Print by a template such as '{{.State.Status}}'
    #[arg(long, short, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Platform of an image that has several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = Platform::from_str)]
    pub platform: Option<Platform>,
}

/// Finds a guest, or else an image: guests come first, because they are shorter-lived.
fn find(store: &Store, thing: &str, platform: Option<&Platform>) -> Result<Value, Refusal> {
    match show::inspect(store, thing) {
        Err(ControlError::Unknown(_)) => {}
        found => return Ok(found?),
    }
    images::inspect::image(thing, platform)?.ok_or_else(|| {
        let where_listed = "`trine ps -a` lists the guests, `trine images` the images";
        Refusal::refused(format!("there is no '{thing}' here: {where_listed}"))
    })
}

/// `trine inspect`: a list with one object for each thing.
pub fn inspect(args: InspectArgs) -> Result<u8, Refusal> {
    let store = Store::open()?;
    let (mut found, mut worst) = (Vec::new(), code::OK);
    for thing in &args.thing {
        match find(&store, thing, args.platform.as_ref()) {
            Ok(value) => found.push(value),
            Err(refusal) => {
                eprintln!("trine: {}", refusal.message);
                worst = refusal.code;
            }
        }
    }
    let text = show::inspected(&found, args.format.as_deref())?;
    // Programs get the text as it is; for a terminal, text from images is made safe.
    let text = if std::io::stdout().is_terminal() { plain(&text) } else { text };
    print(&text)?;
    Ok(worst)
}
