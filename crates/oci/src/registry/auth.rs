//! Logins at registries, as stored by `docker login`, `podman login` and their helpers.
//!
//! Sources: Docker's "config.json" and "Credential helper protocol"; containers-auth.json(5).

use crate::error::{Error, Result};
use base64::Engine;
use serde::Deserialize;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use trine_base::text::line;

/// The largest file, and the largest answer of a helper, in bytes.
const MOST: u64 = 1 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    auths: HashMap<String, Entry>,
    cred_helpers: HashMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// A login at a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// No login is known.
    Anonymous,
    /// A name and a password.
    Basic(String, String),
    /// A token that a registry has issued.
    Bearer(String),
}

impl std::fmt::Debug for Login {
    /// Shows no secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Login::Anonymous => "Anonymous",
            Login::Basic(..) => "Basic",
            Login::Bearer(_) => "Bearer",
        })
    }
}

/// The answer of a helper.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    username: String,
    secret: String,
}

/// The files with logins, in the order in which they are searched.
fn files() -> Vec<PathBuf> {
    let named = |v: &str| std::env::var_os(v).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut files = Vec::new();
    files.extend(named("REGISTRY_AUTH_FILE"));
    files.extend(named("XDG_RUNTIME_DIR").map(|d| d.join("containers/auth.json")));
    let docker = named("DOCKER_CONFIG").or_else(|| named("HOME").map(|h| h.join(".docker")));
    files.extend(docker.map(|d| d.join("config.json")));
    files
}

/// Finds the login for `registry`/`repository`.
///
/// # Errors
/// A file or the answer of a helper is not valid.
pub fn of(registry: &str, repository: &str) -> Result<Login> {
    for path in files() {
        let mut text = String::new();
        let read = std::fs::File::open(&path).and_then(|f| f.take(MOST).read_to_string(&mut text));
        match read {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            read => read.map_err(Error::file("cannot read", &path))?,
        };
        let file: File = serde_json::from_str(&text).map_err(|e| {
            Error::damaged(path.display().to_string(), format!("not a valid file of logins: {e}"))
        })?;
        if let Some(auth) = file.find(registry, repository, &path)? {
            return Ok(auth);
        }
    }
    Ok(Login::Anonymous)
}

/// The significant part of a key: `https://index.docker.io/v1/` means `index.docker.io`.
fn bare(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key)
}

/// The names of a registry in such files, best first.
fn names(registry: &str) -> Vec<&str> {
    match registry {
        "docker.io" => vec!["docker.io", "index.docker.io", "registry-1.docker.io"],
        other => vec![other],
    }
}

impl File {
    fn find(&self, registry: &str, repository: &str, path: &Path) -> Result<Option<Login>> {
        let is = |key: &str| names(registry).contains(&bare(key));
        if let Some((_, helper)) = self.cred_helpers.iter().find(|(key, _)| is(key)) {
            return ask(helper, registry);
        }
        // The entry for the longest prefix of the name: registry/a/b, registry/a, registry.
        let mut part = Some(repository);
        while let Some(p) = part {
            let of = |key: &str| names(registry).iter().any(|r| bare(key) == format!("{r}/{p}"));
            if let Some((_, entry)) = self.auths.iter().find(|(key, _)| of(key)) {
                return entry.auth(registry, path);
            }
            part = p.rsplit_once('/').map(|(p, _)| p);
        }
        if let Some(auth) =
            self.auths.iter().find(|(key, _)| is(key)).map(|(_, e)| e.auth(registry, path)).transpose()?
            && auth.is_some()
        {
            return Ok(auth);
        }
        match &self.creds_store {
            Some(helper) if !helper.is_empty() => ask(helper, registry),
            _ => Ok(None),
        }
    }
}

fn token(registry: &str) -> Error {
    Error::Refused(format!(
        "the login at {registry} is an identity token, which is not supported: log in with a password or an access token"
    ))
}

impl Entry {
    fn auth(&self, registry: &str, path: &Path) -> Result<Option<Login>> {
        let some = |t: &Option<String>| t.clone().filter(|t| !t.is_empty());
        if let Some(token) = some(&self.registrytoken) {
            return Ok(Some(Login::Bearer(token)));
        }
        if some(&self.identitytoken).is_some() {
            return Err(token(registry));
        }
        if let Some(auth) = some(&self.auth) {
            let bytes = base64::engine::general_purpose::STANDARD.decode(auth.trim()).ok();
            let text = bytes.and_then(|b| String::from_utf8(b).ok());
            let pair = text.as_deref().and_then(|t| t.trim_end_matches('\0').split_once(':'));
            let (user, password) = pair.ok_or_else(|| {
                Error::damaged(
                    path.display().to_string(),
                    format!("the login at {registry} is not user:password in base64"),
                )
            })?;
            return Ok(Some(Login::Basic(user.into(), password.into())));
        }
        match (some(&self.username), some(&self.password)) {
            (Some(user), Some(password)) => Ok(Some(Login::Basic(user, password))),
            _ => Ok(None),
        }
    }
}

/// The first [`MOST`] bytes of a helper's output; the rest is read and discarded.
fn beginning(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    if (&mut from).take(MOST).read_to_end(&mut bytes).is_ok() {
        drop(std::io::copy(&mut from, &mut std::io::sink()));
    }
    bytes
}

/// Runs `docker-credential-HELPER get`.
fn ask(helper: &str, registry: &str) -> Result<Option<Login>> {
    let program = format!("docker-credential-{helper}");
    if !helper.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        return Err(Error::Refused(format!("'{helper}' is not the name of a credential helper")));
    }
    let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    let failed =
        |e: std::io::Error| Error::Host(format!("cannot ask {program} for the login at {registry}: {e}"));
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // It may write more than we keep, and would block if nobody read it.
    let errors = child.stderr.take().map(|e| std::thread::spawn(move || beginning(e)));
    let talks = child.stdout.take().map(|o| std::thread::spawn(move || beginning(o)));
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input may still answer.
        drop(stdin.write_all(server.as_bytes()));
    }
    let read = |from: Option<std::thread::JoinHandle<Vec<u8>>>| {
        from.and_then(|thread| thread.join().ok()).unwrap_or_default()
    };
    let (out, errors) = (read(talks), read(errors));
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        let said = [out, errors].concat();
        let said = line(&String::from_utf8_lossy(&said), 300);
        return match said.contains("credentials not found") {
            true => Ok(None),
            false => Err(Error::Host(format!("{program} failed for {registry}: {said}"))),
        };
    }
    let said: Said = serde_json::from_slice(&out)
        .map_err(|e| Error::Host(format!("{program} gave no valid login for {registry}: {e}")))?;
    match &said.username[..] {
        "<token>" => Err(token(registry)),
        _ => Ok(Some(Login::Basic(said.username, said.secret))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, registry: &str, repository: &str) -> Result<Option<Login>> {
        serde_json::from_str::<File>(text).unwrap().find(registry, repository, Path::new("config.json"))
    }

    fn basic(user: &str, password: &str) -> Option<Login> {
        Some(Login::Basic(user.into(), password.into()))
    }

    #[test]
    fn logins_are_found_by_registry_and_by_repository() {
        // ann:pw, bob:a:b
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YW5uOnB3"},"localhost:5000":{"auth":"Ym9iOmE6Yg=="},
            "localhost:5000/team":{"username":"t","password":"p"},"empty":{}}}"#;
        assert_eq!(find(text, "docker.io", "library/alpine").unwrap(), basic("ann", "pw"));
        assert_eq!(find(text, "localhost:5000", "x").unwrap(), basic("bob", "a:b"));
        assert_eq!(find(text, "localhost:5000", "team/app").unwrap(), basic("t", "p"));
        assert_eq!(find(text, "localhost:5000", "teams").unwrap(), basic("bob", "a:b"));
        assert_eq!(find(text, "localhost", "x").unwrap(), None);
        assert_eq!(find(text, "empty", "x").unwrap(), None);
    }

    #[test]
    fn what_cannot_be_used_says_so() {
        let damaged = find(r#"{"auths":{"h":{"auth":"!!"}}}"#, "h", "x").unwrap_err().to_string();
        assert!(damaged.contains("not user:password in base64"), "{damaged}");
        let token = find(r#"{"auths":{"h":{"identitytoken":"x"}}}"#, "h", "x").unwrap_err().to_string();
        assert!(token.contains("access token"), "{token}");
        let evil = find(r#"{"credHelpers":{"h":"../../x"}}"#, "h", "x").unwrap_err().to_string();
        assert!(evil.contains("not the name of a credential helper"), "{evil}");
        let absent = find(r#"{"credsStore":"trine-absent"}"#, "h", "x").unwrap_err().to_string();
        assert!(absent.contains("docker-credential-trine-absent"), "{absent}");
    }
}
