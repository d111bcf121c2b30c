//! The three files that describe a guest's network inside the guest: `/etc/hosts`, `/etc/resolv.conf`,
//! `/etc/hostname`.

use crate::error::Doing;
use crate::records::{Group, Member};
use crate::{Result, addresses};
use std::fmt::Write;
use std::fs::OpenOptions;
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The names of the files in their directory.
pub const HOSTS: &str = "hosts";
/// See [`HOSTS`].
pub const RESOLV: &str = "resolv.conf";
/// See [`HOSTS`].
pub const HOSTNAME: &str = "hostname";

/// Rewrites a file in place: it must keep its inode, because the guest has it mounted. A reader at the same
/// moment sees the old text, the new text, or the new text followed by old lines.
pub(crate) fn rewrite(path: &Path, text: &str) -> Result<()> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o644).open(path).file(path)?;
    file.write_all_at(text.as_bytes(), 0).file(path)?;
    file.set_len(text.len() as u64).file(path)
}

fn entry(text: &mut String, address: IpAddr, member: &Member) {
    let _ = write!(text, "{address}\t{}", member.name);
    for alias in member.aliases.iter().filter(|a| **a != member.name) {
        let _ = write!(text, " {alias}");
    }
    text.push('\n');
}

/// Builds `/etc/hosts` for one member: itself first, then the others.
pub(crate) fn hosts(group: Option<&Group>, own: &Member, others: &[Member]) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    match group {
        Some(group) => {
            let all = std::iter::once(own).chain(others.iter().filter(|m| m.guest != own.guest));
            for member in all {
                entry(&mut text, addresses::host(group.v4, member.number).into(), member);
                if let Some(v6) = group.v6.filter(|_| !member.only4) {
                    entry(&mut text, addresses::host6(v6, member.number).into(), member);
                }
            }
        }
        None => entry(&mut text, IpAddr::from([127, 0, 1, 1]), own),
    }
    for (name, address) in &own.hosts {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

/// Selects the host's name servers that a guest in its own network can use: not those on the host's loopback
/// (systemd-resolved lists the real ones in another file), and not those with a zone. The other lines are
/// kept. Also returns a remark for the user.
pub(crate) fn resolv(host: &str, stub: Option<&str>, resolver: Option<IpAddr>) -> (String, Option<String>) {
    let usable = |text: &str| -> Vec<IpAddr> {
        let named = text.lines().filter_map(|l| l.trim().strip_prefix("nameserver"));
        named.filter_map(|a| a.trim().parse().ok()).filter(|a: &IpAddr| !a.is_loopback()).collect()
    };
    let mut servers = usable(host);
    let mut from = host;
    if let (true, Some(stub)) = (servers.is_empty(), stub) {
        servers = usable(stub);
        from = stub;
    }
    // The uplink's own resolver asks the host's, whichever they are.
    if let Some(resolver) = resolver {
        servers = vec![resolver];
    }
    let mut text = String::new();
    let kept = from.lines().filter(|l| {
        let word = l.split_whitespace().next().unwrap_or("");
        matches!(word, "search" | "domain" | "options")
    });
    kept.for_each(|l| text.push_str(&format!("{}\n", l.trim())));
    servers.iter().for_each(|s| text.push_str(&format!("nameserver {s}\n")));
    let note = "no name server of the host can be reached from the guest's network: names outside the group are not \
                resolved; give one with --dns";
    (text, servers.is_empty().then(|| note.to_owned()))
}

/// Replaces servers and search domains by those that the user gave.
pub(crate) fn resolv_given(text: &str, servers: &[IpAddr], search: &[String]) -> String {
    let replaced = |line: &&str| match line.split_whitespace().next().unwrap_or("") {
        "nameserver" => servers.is_empty(),
        "search" | "domain" => search.is_empty(),
        _ => true,
    };
    let mut new: String = text.lines().filter(replaced).map(|l| format!("{l}\n")).collect();
    if !search.is_empty() {
        let _ = writeln!(new, "search {}", search.join(" "));
    }
    servers.iter().for_each(|s| new.push_str(&format!("nameserver {s}\n")));
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn member(guest: &str, number: u8) -> Member {
        let (guest, link) = (guest.to_owned(), String::new());
        Member {
            name: format!("{guest}-host"),
            aliases: vec![guest.clone()],
            guest,
            number,
            link,
            hosts: vec![],
            files: "".into(),
            only4: false,
        }
    }

    #[test]
    fn resolvers_on_loopback_are_left_out() {
        let host = "# comment\nnameserver 127.0.0.53\noptions edns0\nsearch home\n";
        let (text, note) = resolv(host, Some("nameserver 192.0.2.1\nsearch lan"), None);
        assert_eq!((text.as_str(), note), ("search lan\nnameserver 192.0.2.1\n", None));
        let (text, note) = resolv(host, None, None);
        assert_eq!(text, "options edns0\nsearch home\n");
        assert!(note.unwrap().contains("--dns"));
        let (text, _) = resolv("nameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver ::1", None, None);
        assert_eq!(text, "nameserver 192.0.2.1\n");
        let given = resolv_given("search a\nnameserver 192.0.2.1\n", &[], &["b".into()]);
        assert_eq!(given, "nameserver 192.0.2.1\nsearch b\n");
        assert_eq!(resolv_given(&given, &[[192, 0, 2, 9].into()], &[]), "search b\nnameserver 192.0.2.9\n");
        assert!(resolv(host, None, Some([10, 0, 2, 3].into())).0.ends_with("nameserver 10.0.2.3\n"));
    }

    #[test]
    fn hosts_lists_the_members_and_keeps_its_inode() {
        let own = member("a", 2);
        let group = Group {
            name: "g".into(),
            bridge: "tr-0".into(),
            v4: [10, 212, 1, 0].into(),
            v6: None,
            notes: vec![],
            out6: false,
            out4: false,
            resolver: None,
            mtu: None,
            namespace: 0,
            holders: vec![],
        };
        let text = hosts(Some(&group), &own, &[own.clone(), member("b", 3)]);
        assert!(text.contains("10.212.1.2\ta-host a\n10.212.1.3\tb-host b\n"), "{text}");
        let path = std::env::temp_dir().join(format!("trine-hosts-{}", std::process::id()));
        rewrite(&path, &text).unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        rewrite(&path, "short\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "short\n");
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
        std::fs::remove_file(&path).unwrap();
    }
}
