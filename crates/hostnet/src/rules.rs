//! Packet filter rules of a group, set by the program `nft`: one table per group, so that no other rules are
//! touched and all rules of a group can be removed at once.

use crate::inside::Place;
use crate::records::Group;
use std::fmt::Write as _;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Finds a program in PATH and in the system's directories, which PATH of ordinary users often leaves out.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    let mut dirs = std::env::split_paths(&path).filter(|p| p.is_absolute()).chain(system);
    dirs.find_map(|d| Some(d.join(name)).filter(|p| p.is_file()))
}

/// The table of a group: packets to the outside get the host's address, packets from the outside are accepted
/// only as answers, and no packet leaves with an address that is not in the group.
fn table(group: &Group) -> String {
    let (bridge, v4) = (&group.bridge, group.v4);
    let mut text =
        format!("table inet {bridge} {{\n chain forward {{\n  type filter hook forward priority filter;\n");
    let _ = writeln!(text, "  iifname \"{bridge}\" oifname \"{bridge}\" accept");
    let _ = writeln!(text, "  iifname \"{bridge}\" oifname \"tr-*\" drop");
    let _ = writeln!(text, "  iifname \"{bridge}\" ip saddr != {v4}/24 drop");
    match group.v6.filter(|_| group.out6) {
        Some(v6) => {
            let _ = writeln!(text, "  iifname \"{bridge}\" ip6 saddr != {v6}/64 drop");
        }
        None => {
            let _ = writeln!(text, "  iifname \"{bridge}\" meta nfproto ipv6 drop");
        }
    }
    let _ = writeln!(text, "  oifname \"{bridge}\" ct state established,related accept");
    let _ = writeln!(text, "  oifname \"{bridge}\" drop\n }}");
    let _ = writeln!(text, " chain nat {{\n  type nat hook postrouting priority srcnat;");
    let _ = writeln!(text, "  ip saddr {v4}/24 oifname != \"{bridge}\" masquerade");
    if let Some(v6) = group.v6.filter(|_| group.out6) {
        let _ = writeln!(text, "  ip6 saddr {v6}/64 oifname != \"{bridge}\" masquerade");
    }
    text + " }\n}\n"
}

/// Sets a group's rules, or says why that failed. `at`: the network namespace, if it is not this process's.
pub(crate) fn put(group: &Group, at: Option<&Place>) -> Result<(), String> {
    run(&format!("{}{}", gone(&group.bridge), table(group)), at)
}

/// Removes a group's rules, if there are any. Without `nft` there are none.
pub(crate) fn remove(bridge: &str) -> Result<(), String> {
    match program("nft") {
        Some(_) => run(&gone(bridge), None),
        None => Ok(()),
    }
}

/// Commands that remove the table whether it exists or not.
fn gone(bridge: &str) -> String {
    format!("table inet {bridge}\ndelete table inet {bridge}\n")
}

fn run(text: &str, at: Option<&Place>) -> Result<(), String> {
    let program = program("nft").ok_or("the program nft (package nftables) is not installed")?;
    let mut command = Command::new(program);
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    if let Some(at) = at {
        let (user, net) = (at.user.as_ref().map(|f| f.try_clone()), at.net.try_clone());
        let place = Place { user: user.transpose().map_err(text_of)?, net: net.map_err(text_of)? };
        // SAFETY: `enter` only makes system calls.
        unsafe { command.pre_exec(move || place.enter()) };
    }
    let mut child = command.spawn().map_err(text_of)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes()).map_err(text_of)?;
    }
    let out = child.wait_with_output().map_err(text_of)?;
    let said = String::from_utf8_lossy(&out.stderr);
    if out.status.success() { Ok(()) } else { Err(said.lines().next().unwrap_or("nft failed").to_owned()) }
}

fn text_of(e: std::io::Error) -> String {
    format!("nft: {e}")
}
