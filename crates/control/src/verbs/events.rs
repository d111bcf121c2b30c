//! `events`.

use super::logs::Watch;
use crate::events::{Event, Reader};
use crate::store::Store;
use crate::time::Time;

/// The options of `events`.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Shows events from this time on; `None` means from now on.
    pub since: Option<Time>,
    /// Shows events until this time.
    pub until: Option<Time>,
    /// Filters: an event must match all keys, and any of the values of a key.
    pub filters: Vec<Filter>,
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    key: Key,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Action,
    Guest,
    Kind,
}

impl std::str::FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Filter, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("'{text}' is not KEY=VALUE"))?;
        let key = match key {
            "action" | "event" => Key::Action,
            "guest" | "container" | "name" | "id" => Key::Guest,
            "kind" | "type" => Key::Kind,
            _ => return Err(format!("'{key}' is not a filter of events: use action, guest or kind")),
        };
        Ok(Filter { key, value: value.into() })
    }
}

impl Filter {
    fn fits(&self, event: &Event) -> bool {
        match self.key {
            Key::Action => event.action == self.value,
            Key::Guest => {
                event.name == self.value || (!self.value.is_empty() && event.id.starts_with(&self.value))
            }
            Key::Kind => event.kind.to_string() == self.value,
        }
    }
}

impl Wanted {
    fn fits(&self, event: &Event) -> bool {
        let filters = &self.filters;
        self.since.is_none_or(|t| event.time >= t)
            && self.until.is_none_or(|t| event.time <= t)
            && filters.iter().all(|f| filters.iter().any(|other| other.key == f.key && other.fits(event)))
    }
}

/// An event as a line of text.
pub fn line(event: &Event) -> String {
    let attributes: String = event.attributes.iter().map(|(k, v)| format!(", {k}={v}")).collect();
    let Event { time, kind, action, id, name, what, .. } = event;
    format!("{time} {kind} {action} {id} (name={name}, what={what}{attributes})\n")
}

/// `trine events`: calls `tell` for each event, until the time `until`, or until `tell` returns false.
pub fn events(store: &Store, wanted: &Wanted, mut tell: impl FnMut(&Event) -> bool) {
    let wanted = Wanted { since: wanted.since.or(Some(Time::now())), ..wanted.clone() };
    let watch = Watch::new(store.dir());
    let mut reader = Reader::new(store);
    loop {
        let late = wanted.until.is_some_and(|t| Time::now() >= t);
        let found = reader.read();
        if !found.iter().filter(|e| wanted.fits(e)).all(&mut tell) || late {
            return;
        }
        watch.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;
    use crate::store::tests::Own;

    #[test]
    fn events_are_filtered() {
        let own = Own::new("filter");
        let store = &own.0;
        // A name is never taken for the beginning of an id, which has hexadecimal digits only.
        for name in ["x", "y"] {
            let record = sample(name);
            Event::new(&record, "start").tell(store);
            Event::new(&record, "die").with("exit_code", 3).tell(store);
        }
        let get = |filters: &[&str]| {
            let filters = filters.iter().map(|f| f.parse().unwrap()).collect();
            let (since, until) = (Some(Time(0)), Some(Time::now()));
            let mut text = String::new();
            events(store, &Wanted { since, until, filters }, |e| {
                text.push_str(&format!("{}-{} ", e.name, e.action));
                true
            });
            text
        };
        assert_eq!(get(&[]), "x-start x-die y-start y-die ");
        assert_eq!(get(&["event=die", "container=y"]), "y-die ");
        assert_eq!(get(&["name=x", "name=y", "action=start"]), "x-start y-start ");
        assert_eq!(get(&["kind=machine"]), "");
        assert!("x=y".parse::<Filter>().is_err());
    }
}
