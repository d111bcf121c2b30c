//! The configuration of the host's apt: its Debian mirrors, and its settings for fetching.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A Debian mirror of the host and its keyring.
pub struct Source {
    /// Base address of the mirror.
    pub mirror: String,
    /// The keyring that signs it, if the host has one for it.
    pub keyring: Option<String>,
}

/// The host's sources, in both of apt's formats.
pub fn sources() -> Vec<Source> {
    let etc = setting("Dir::Etc/d").unwrap_or("/etc/apt/".into());
    let etc = Path::new(&etc);
    let mut files = vec![etc.join("sources.list")];
    let parts = fs::read_dir(etc.join("sources.list.d")).into_iter().flatten().flatten();
    files.extend(parts.map(|entry| entry.path()));
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|e| e.to_str()) {
            Some("sources") => text.split("\n\n").for_each(|s| found.extend(stanza(s))),
            Some("list") => found.extend(text.lines().filter_map(line)),
            _ => {}
        }
    }
    found
}

/// One stanza of a `.sources` file that names a Debian suite.
fn stanza(text: &str) -> Option<Source> {
    let field = |name: &str| {
        text.lines()
            .filter(|l| !l.starts_with('#'))
            .find_map(|l| Some(l.strip_prefix(name)?.trim().to_string()))
    };
    if field("Enabled:").as_deref() == Some("no") || !field("Types:")?.split(' ').any(|t| t == "deb") {
        return None;
    }
    let suites = field("Suites:")?;
    let mirror = field("URIs:")?.split(' ').next()?.to_string();
    is_debian(&mirror, suites.split(' ').next()?, &field("Components:")?)
        .then(|| Source { mirror, keyring: field("Signed-By:") })
}

/// One line of a `.list` file that names a Debian suite.
fn line(text: &str) -> Option<Source> {
    let rest = text.trim().strip_prefix("deb ")?.trim();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(r) => r.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (mirror, suite) = (words.next()?.to_string(), words.next()?);
    let keyring = options.split_whitespace().find_map(|o| Some(o.strip_prefix("signed-by=")?.to_string()));
    is_debian(&mirror, suite, &words.collect::<Vec<_>>().join(" ")).then_some(Source { mirror, keyring })
}

/// Whether a mirror is Debian's: neither security updates nor packages of third parties.
fn is_debian(mirror: &str, suite: &str, components: &str) -> bool {
    let path = mirror.trim_end_matches('/');
    path.ends_with("/debian") && !suite.contains("security") && components.split(' ').any(|c| c == "main")
}

/// The output of a program; `None` if it does not exist or fails.
pub fn shell(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A path of the host's apt configuration (`Name/f` a file, `Name/d` a directory).
pub fn setting(name: &str) -> Option<String> {
    let said = shell("apt-config", &["shell", "X", name])?;
    said.split('\'').nth(1).map(str::to_string)
}

/// The host's keys for sources without a keyring, as settings.
pub fn trusted_keys() -> String {
    let keys = [("Dir::Etc::Trusted", "f"), ("Dir::Etc::TrustedParts", "d")];
    let line = |(name, kind)| Some(format!("\n{name} \"{}\";", setting(&format!("{name}/{kind}"))?));
    keys.into_iter().filter_map(line).collect()
}

/// The host's settings for fetching (proxies, timeouts), without those about index files.
pub fn host_settings() -> String {
    let all = shell("apt-config", &["dump"]).unwrap_or_default();
    let keep = |l: &&str| {
        l.starts_with("Acquire::")
            && !l.starts_with("Acquire::IndexTargets")
            && !l.starts_with("Acquire::Languages")
            && !l.contains("::CompressionTypes")
    };
    all.lines().filter(keep).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_in_both_formats() {
        let s = stanza("Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\nSigned-By: /k.gpg").unwrap();
        assert_eq!((s.mirror.as_str(), s.keyring.as_deref()), ("http://m.example/debian", Some("/k.gpg")));
        assert!(
            stanza(
                "Types: deb\nURIs: http://m.example/debian-security\nSuites: x-security\nComponents: main"
            )
            .is_none()
        );
        let s =
            line("deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian/ bookworm main contrib").unwrap();
        assert_eq!((s.mirror.as_str(), s.keyring.as_deref()), ("http://m.example/debian/", Some("/k.gpg")));
        assert!(line("# deb http://m.example/debian bookworm main").is_none());
    }
}
