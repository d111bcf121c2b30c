//! `trine images`: lists the images that are here.

use super::{ImagesArgs, print, short, size, store, table};
use crate::{Refusal, code};
use trine_oci::{Listed, Name};

fn name_of(listed: &Listed) -> String {
    listed.name.parse().map_or_else(|_| listed.name.clone(), |n: Name| n.short())
}

/// `trine images`.
pub fn list(args: ImagesArgs) -> Result<u8, Refusal> {
    let mut list = store()?.list()?;
    if let Some(filter) = &args.filter {
        list.retain(|l| l.name.contains(filter.as_str()) || name_of(l).contains(filter.as_str()));
    }
    if args.json {
        let json: Vec<_> = list
            .iter()
            .map(|l| {
                serde_json::json!({"name": l.name, "platform": l.platform.to_string(), "id": l.held.id.to_string(),
                    "digest": l.held.manifest.digest().to_string(),
                    "index": l.held.index.as_ref().map(|i| i.digest().to_string()), "size": l.size,
                    "created": l.created, "since": l.held.since, "guests": l.guests})
            })
            .collect();
        print(&format!("{}\n", serde_json::Value::from(json)));
        return Ok(code::OK);
    }
    let id = |l: &Listed| if args.no_trunc { l.held.id.to_string() } else { short(&l.held.id) };
    if args.quiet {
        let mut ids: Vec<String> = list.iter().map(id).collect();
        ids.sort();
        ids.dedup();
        print(&ids.iter().map(|i| format!("{i}\n")).collect::<String>());
        return Ok(code::OK);
    }
    let mut rows = vec![["NAME", "PLATFORM", "ID", "CREATED", "SIZE", "GUESTS"].map(String::from).to_vec()];
    rows.extend(list.iter().map(|l| {
        let created: String = l.created.as_deref().unwrap_or("-").chars().take(10).collect();
        let guests = if l.guests.is_empty() { "-".into() } else { l.guests.join(",") };
        vec![name_of(l), l.platform.to_string(), id(l), created, size(l.size), guests]
    }));
    print(&table(&rows));
    Ok(code::OK)
}
