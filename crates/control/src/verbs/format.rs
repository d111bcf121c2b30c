//! Tables for people, and templates as in Docker.

use serde_json::Value;

/// Formats a table; each column is as wide as its contents.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    // Names that others chose for a guest must not act on the terminal.
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
    let all = [head.iter().map(|h| h.to_string()).collect()].into_iter().chain(rows.iter().cloned());
    let all: Vec<Vec<String>> = all.map(|r| r.iter().map(|c| plain(c)).collect()).collect();
    let width = |n: usize| all.iter().filter_map(|r| r.get(n)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_string() + "\n"
    };
    all.iter().map(line).collect()
}

/// Shortens a text to `most` characters, with a mark where it was cut.
pub fn shortened(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_string(),
    }
}

/// A number of bytes as people write it.
pub fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{n}B") } else { format!("{value:.1}{unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1}TiB")
}

/// A normalized field name: `ExitCode`, `exit_code` and `exitcode` are the same.
fn plain(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

fn field<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|p| !p.is_empty()).try_fold(value, |at, name| match at {
        Value::Object(map) => map.iter().find(|(key, _)| plain(key) == plain(name)).map(|(_, v)| v),
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Expands a template in Docker's form: text with `{{.Field.Field}}` and `{{json .Field}}` in it. Field names
/// are those of the JSON; their case does not matter.
///
/// # Errors
/// Returns a sentence where a field does not exist or the template has another form.
pub fn template(template: &str, value: &Value) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = &*template.replace("\\n", "\n").replace("\\t", "\t");
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (inside, after) =
            after.split_once("}}").ok_or_else(|| format!("'{template}': a {{{{ is not followed by }}}}"))?;
        rest = after;
        let inside = inside.trim();
        let (json, path) = match inside.strip_prefix("json ") {
            Some(path) => (true, path.trim()),
            None => (false, inside),
        };
        let path = path.strip_prefix('.').filter(|p| !p.contains(char::is_whitespace));
        let path = path.ok_or_else(|| {
            format!("'{{{{{inside}}}}}' is not supported: write {{{{.Field.Field}}}} or {{{{json .Field}}}}")
        })?;
        let found = field(value, path).ok_or_else(|| format!("there is no field .{path}"))?;
        match found {
            Value::String(text) if !json => out.push_str(text),
            Value::Null if !json => out.push_str("<no value>"),
            other => out.push_str(&other.to_string()),
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_find_fields_in_any_case() {
        let value = json!({"id": "ab", "state": {"exit_code": 3, "status": "stopped", "error": null}, "env": ["A=1"]});
        let get = |t: &str| template(t, &value);
        assert_eq!(get("{{.Id}} {{ .State.ExitCode }}!"), Ok("ab 3!".into()));
        assert_eq!(get("{{json .State.Status}}{{.State.Error}}"), Ok("\"stopped\"<no value>".into()));
        assert_eq!(get(r"{{.env.0}}\t{{json .env}}"), Ok("A=1\t[\"A=1\"]".into()));
        assert_eq!(get("{{.}}").unwrap(), value.to_string());
        for bad in ["{{.Nothing}}", "{{.Id", "{{range .Env}}", "{{.Id.More}}"] {
            assert!(get(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tables_are_as_wide_as_they_have_to_be() {
        let rows = [vec!["1".into(), "b".into()], vec!["long".into(), "\x1b[2J".into()]];
        assert_eq!(table(&["A", "B"], &rows), "A      B\n1      b\nlong   ?[2J\n");
    }

    #[test]
    fn numbers_of_bytes() {
        assert_eq!(
            (bytes(1023), bytes(1536), bytes(u64::MAX)),
            ("1023B".into(), "1.5KiB".into(), "16777216.0TiB".into())
        );
        assert_eq!(shortened("äöüß", 3), "äö…");
    }
}
