//! `ps` and `inspect`.

use super::format::{shortened, table, template};
use crate::error::{ControlError, refused};
use crate::monitor::repair::look;
use crate::record::Record;
use crate::store::{Place, Store};
use crate::time::words;
use serde_json::{Value, json};

/// The options of `ps`.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Whether to include guests that do not run.
    pub all: bool,
    /// Whether to print ids only.
    pub quiet: bool,
    /// Whether to print JSON.
    pub json: bool,
    /// Whether to print everything in full length.
    pub whole: bool,
    /// Shows only the newest so many, running or not.
    pub last: Option<usize>,
    /// Filters `KEY=VALUE`: a guest must match all keys, and any of the values of a key.
    pub filters: Vec<Filter>,
    /// A template for each guest.
    pub format: Option<String>,
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    key: String,
    value: String,
}

/// The keys of filters.
const KEYS: &[&str] = &["status", "name", "id", "kind", "label", "health", "exited", "ancestor", "restart"];

impl std::str::FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Filter, String> {
        match text.split_once('=') {
            Some((key, value)) if KEYS.contains(&key) => Ok(Filter { key: key.into(), value: value.into() }),
            Some((key, _)) => Err(format!("'{key}' is not a filter: use {}", KEYS.join(", "))),
            None => Err(format!("'{text}' is not KEY=VALUE: keys are {}", KEYS.join(", "))),
        }
    }
}

impl Filter {
    fn fits(&self, r: &Record) -> bool {
        let (value, state) = (&*self.value, &r.state);
        match &*self.key {
            "status" if value == "exited" => state.status.name() == "stopped",
            "status" => state.status.name() == value,
            "name" => r.name.contains(value),
            "id" => r.id.starts_with(value),
            "kind" => r.kind.to_string() == value,
            "label" => match value.split_once('=') {
                Some((key, value)) => r.options.labels.get(key).is_some_and(|v| v == value),
                None => r.options.labels.contains_key(value),
            },
            "health" => state.health.as_ref().map_or("none", |h| &h.status) == value,
            "exited" => state.exit_code.is_some_and(|c| c.to_string() == value),
            "restart" => r.options.restart.to_string().split(':').next() == Some(value),
            _ => r.what == value,
        }
    }

    /// Whether a record matches all keys, each by any of its values.
    pub fn all_fit(filters: &[Filter], record: &Record) -> bool {
        filters.iter().all(|f| filters.iter().any(|other| other.key == f.key && other.fits(record)))
    }
}

/// A guest in the form of `ps --json`.
fn summary(r: &Record) -> Value {
    json!({
        "id": r.id, "name": r.name, "kind": r.kind, "what": r.what, "command": r.command(), "created": r.created,
        "status": r.state.status, "description": r.describe(), "pid": r.state.pid, "exit_code": r.state.exit_code,
        "started": r.state.started, "finished": r.state.finished, "restarts": r.state.restarts,
        "health": r.state.health.as_ref().map(|h| &h.status), "ports": r.state.network.ports(), "labels": r.options.labels,
    })
}

/// Reads the record again, repaired if necessary.
fn look_again(store: &Store, place: &Place, record: Record) -> Result<Record, ControlError> {
    if record.state.status.is_up() || record.traces.open { look(store, place) } else { Ok(record) }
}

/// `trine ps`: returns the text for standard output, and a sentence for each record that cannot be read.
///
/// # Errors
/// Fails where a template is not valid.
pub fn list(store: &Store, wanted: &List) -> Result<(String, Vec<String>), ControlError> {
    let (found, mut damaged) = store.list();
    let mut records = Vec::new();
    for (place, record) in found {
        // A guest whose monitor is gone is repaired; others are not read again.
        match look_again(store, &place, record) {
            Ok(record) => records.push(record),
            Err(ControlError::Unknown(_)) => {}
            Err(e) => damaged.push(e.to_string()),
        }
    }
    let any = wanted.all
        || wanted.last.is_some()
        || wanted.filters.iter().any(|f| f.key == "status" || f.key == "exited");
    records.retain(|r| (any || r.state.status.is_up()) && Filter::all_fit(&wanted.filters, r));
    records.truncate(wanted.last.unwrap_or(usize::MAX));
    let id = |r: &Record| if wanted.whole { r.id.clone() } else { r.short().to_string() };
    let text = if let Some(format) = wanted.format.as_ref().filter(|f| *f != "json") {
        let line = |r| template(format, &summary(r)).map(|line| line + "\n");
        records.iter().map(line).collect::<Result<String, _>>().map_err(ControlError::Refused)?
    } else if wanted.json || wanted.format.is_some() {
        let list: Vec<Value> = records.iter().map(summary).collect();
        trine_base::text::json(&serde_json::to_string_pretty(&list).unwrap_or_default()) + "\n"
    } else if wanted.quiet {
        records.iter().map(|r| id(r) + "\n").collect()
    } else {
        let row = |r: &Record| {
            let command = if wanted.whole { r.command() } else { shortened(&r.command(), 30) };
            let created = format!("{} ago", words(r.created.ago()));
            vec![
                id(r),
                r.name.clone(),
                r.kind.to_string(),
                command,
                created,
                r.describe(),
                r.state.network.ports().join(", "),
            ]
        };
        let rows: Vec<_> = records.iter().map(row).collect();
        table(&["ID", "NAME", "KIND", "COMMAND", "CREATED", "STATUS", "PORTS"], &rows)
    };
    Ok((text, damaged))
}

/// `trine inspect`: returns a guest's record as JSON.
///
/// # Errors
/// Fails where there is no such guest.
pub fn inspect(store: &Store, which: &str) -> Result<Value, ControlError> {
    let place = store.find(which)?;
    let record = look(store, &place)?;
    let mut value = serde_json::to_value(&record).map_err(|e| ControlError::host("a record", e))?;
    value["log_path"] = json!(place.dir.join("log"));
    Ok(value)
}

/// Formats what `inspect` prints of several things.
///
/// # Errors
/// Fails where the template is not valid.
pub fn inspected(values: &[Value], format: Option<&str>) -> Result<String, ControlError> {
    match format {
        None | Some("json") => {
            Ok(trine_base::text::json(&serde_json::to_string_pretty(values).unwrap_or_default()) + "\n")
        }
        Some(format) => {
            let line = |v| template(format, v).map(|line| line + "\n");
            match values.iter().map(line).collect::<Result<String, _>>() {
                Ok(text) => Ok(text),
                Err(why) => refused(why),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Status;
    use crate::record::tests::sample;
    use crate::store::tests::Own;

    #[test]
    fn filters_and_what_is_shown() {
        let own = Own::new("ps");
        let store = &own.0;
        for (name, status) in [("one", Status::Created), ("two", Status::Stopped), ("three", Status::Stopped)]
        {
            let mut record = sample(name);
            record.state.status = status;
            record.state.exit_code = (status == Status::Stopped).then_some(3);
            store.create(&mut record).unwrap();
        }
        let names = |filters: &[&str], all| {
            let filters = filters.iter().map(|f| f.parse().unwrap()).collect();
            let format = Some("{{.Name}}".into());
            let (text, _) = list(store, &List { all, filters, format, ..List::default() }).unwrap();
            let mut names: Vec<_> = text.lines().map(str::to_string).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(names(&[], false), "");
        assert_eq!(names(&[], true), "one three two");
        assert_eq!(names(&["status=exited"], false), "three two");
        assert_eq!(names(&["name=o", "name=three", "exited=3"], true), "three two");
        assert_eq!(names(&["kind=machine"], true), "");
        assert!("color=red".parse::<Filter>().is_err() && "status".parse::<Filter>().is_err());
        let value = inspect(store, "two").unwrap();
        assert_eq!(inspected(&[value], Some("{{.State.ExitCode}} {{.Kind}}")).unwrap(), "3 program\n");
    }

    #[test]
    fn a_guest_whose_monitor_is_gone_is_repaired() {
        let own = Own::new("repair");
        let store = &own.0;
        let mut record = sample("lost");
        record.state.status = Status::Running;
        store.create(&mut record).unwrap();
        let (text, _) = list(store, &List { all: true, json: true, ..List::default() }).unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&list[0]["status"], &list[0]["exit_code"]), (&json!("dead"), &json!(137)));
    }
}
