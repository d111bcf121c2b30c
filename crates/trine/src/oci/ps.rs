//! `trine oci ps`.

use super::args::{Format, Ps};
use super::system;
use crate::code;
use std::process::Command;
use trine_container::{Container, Error};

/// Prints a container's processes: their IDs, or those lines of ps(1) that belong to them.
pub fn ps(container: &Container, args: &Ps) -> Result<u8, Error> {
    let pids = container.processes()?;
    if args.format == Format::Json {
        println!("{}", serde_json::Value::from(pids));
        return Ok(code::OK);
    }
    let options = if args.options.is_empty() { vec!["-ef".to_string()] } else { args.options.clone() };
    let out = Command::new("ps").args(&options).output().map_err(|error| system("cannot run ps", error))?;
    if !out.status.success() {
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        return Err(Error::refused(format!("ps {}: {}", options.join(" "), text.trim())));
    }
    print!("{}", select(&String::from_utf8_lossy(&out.stdout), &pids)?);
    Ok(code::OK)
}

/// The header of a table and the lines of these processes.
fn select(table: &str, pids: &[i32]) -> Result<String, Error> {
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let Some(column) = head.split_whitespace().position(|name| name == "PID") else {
        return Err(Error::refused("ps prints no column PID with these options"));
    };
    let pid = |line: &str| line.split_whitespace().nth(column).and_then(|p| p.parse::<i32>().ok());
    let own = lines.filter(|line| pid(line).is_some_and(|p| pids.contains(&p)));
    Ok(std::iter::once(head).chain(own).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::select;

    #[test]
    fn lines_are_chosen_by_their_number() {
        let table = "UID   PID  PPID CMD\nroot    1     0 init 7\nroot    7     1 sh\n";
        assert_eq!(select(table, &[7]).unwrap(), "UID   PID  PPID CMD\nroot    7     1 sh\n");
        assert!(select("UID CMD\n", &[7]).is_err());
    }
}
