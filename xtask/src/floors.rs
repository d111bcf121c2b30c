//! The floors: a crate imports only from floors below its own. Development dependencies count, too, except the
//! pairs in `ALLOWED`.

use serde_json::Value;
use std::collections::BTreeMap;
use trine_test_support::tools::cargo_command;

/// Pairs of crate and development dependency that break the rule, with the reason.
const ALLOWED: &[(&str, &str, &str)] = &[];

/// Checks all crates of the workspace.
pub fn check() -> Result<(), String> {
    let out = cargo_command().args(["metadata", "--no-deps", "--format-version", "1"]).output();
    let out = out.map_err(|e| format!("cargo metadata: {e}"))?;
    let all: Value = serde_json::from_slice(&out.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let packages = all["packages"].as_array().ok_or("cargo metadata says no packages")?;
    let mut floors = BTreeMap::new();
    for p in packages {
        let floor = p["metadata"]["floor"].as_u64();
        floors.insert(p["name"].as_str().unwrap_or(""), floor.ok_or(format!("{} has no floor", p["name"]))?);
    }
    let mut faults = Vec::new();
    for p in packages {
        let name = p["name"].as_str().unwrap_or("");
        for d in p["dependencies"].as_array().into_iter().flatten() {
            let on = d["name"].as_str().unwrap_or("");
            let allowed = ALLOWED.iter().any(|(a, b, _)| (*a, *b) == (name, on));
            if let Some(floor) = floors.get(on)
                && *floor >= floors[name]
                && !allowed
            {
                faults.push(format!("{name} (floor {}) imports {on} (floor {floor})", floors[name]));
            }
        }
    }
    if faults.is_empty() {
        println!("{} crates, every one imports downwards only", floors.len());
        return Ok(());
    }
    Err(faults.join("\n"))
}
