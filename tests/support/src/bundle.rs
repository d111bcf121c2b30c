//! Bundles for `trine oci`.

use crate::command::succeed;
use crate::{text, tools};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A bundle of BusyBox, and its user. Its containers and its directory are removed when this is dropped.
pub struct Bundle {
    /// Its directory.
    pub dir: PathBuf,
    /// Its user; root if there is none.
    pub user: Option<u32>,
    /// The start of every configuration.
    pub config: Value,
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if let Ok(out) = self.trine(&["list", "--quiet"]) {
            for id in String::from_utf8_lossy(&out.stdout).split_whitespace() {
                drop(self.trine(&["delete", "--force", id]));
            }
        }
        drop(fs::remove_dir_all(&self.dir));
    }
}

impl Bundle {
    /// Creates one for a user, or for root.
    ///
    /// # Errors
    /// The host's error, and those of `trine oci spec`.
    pub fn new(user: Option<u32>) -> Result<Bundle, String> {
        let name = format!("trine-runtime-{}-{}", std::process::id(), user.unwrap_or(0));
        let mut bundle = Bundle { dir: std::env::temp_dir().join(name), user, config: Value::Null };
        fs::create_dir_all(&bundle.dir).map_err(text)?;
        fs::set_permissions(&bundle.dir, fs::Permissions::from_mode(0o755)).map_err(text)?;
        fs::copy(tools::trine()?, bundle.dir.join("trine")).map_err(text)?;
        root(&bundle.dir.join("rootfs"))?;
        fs::create_dir(bundle.dir.join("shared")).map_err(text)?;
        fs::write(bundle.dir.join("shared/file"), "shared\n").map_err(text)?;
        if let Some(user) = user {
            let chown = Command::new("chown").arg("-R").arg(user.to_string()).arg(&bundle.dir).status();
            if !chown.is_ok_and(|s| s.success()) {
                return Err("chown failed".into());
            }
        }
        let rootless: &[&str] = if user.is_some() { &["spec", "--rootless"] } else { &["spec"] };
        bundle.good(rootless)?;
        let config = fs::read(bundle.dir.join("config.json")).map_err(text)?;
        bundle.config = serde_json::from_slice(&config).map_err(text)?;
        bundle.config["process"]["terminal"] = false.into();
        // The test's own limits may be lower than those of the default configuration.
        bundle.config["process"]["rlimits"] = Value::Array(Vec::new());
        bundle.config["root"]["readonly"] = true.into();
        // The newest that Debian's crun knows.
        bundle.config["ociVersion"] = "1.0.2".into();
        Ok(bundle)
    }

    /// A command as this bundle's user.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = match self.user {
            None => Command::new(program),
            Some(user) => {
                let id = user.to_string();
                let mut c = Command::new("setpriv");
                c.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(program);
                c
            }
        };
        command.current_dir(&self.dir).stdin(Stdio::null());
        command
    }

    /// `trine oci`, its state kept in this bundle.
    pub fn oci(&self) -> Command {
        let mut command = self.command(&self.dir.join("trine"));
        command.args(["oci", "--root"]).arg(self.dir.join("state"));
        command
    }

    /// Runs `trine oci` to its end.
    ///
    /// # Errors
    /// Fails if it cannot be started.
    pub fn trine(&self, args: &[&str]) -> Result<Output, String> {
        self.oci().args(args).output().map_err(text)
    }

    /// Standard output of `trine oci`, if it succeeds.
    ///
    /// # Errors
    /// Fails if it fails or cannot be started.
    pub fn good(&self, args: &[&str]) -> Result<String, String> {
        self.trine(args).and_then(succeed)
    }

    /// Writes the configuration with changes: JSON pointers and values; `+` at the end of a pointer adds to a
    /// list, `null` removes the entry.
    ///
    /// # Errors
    /// Fails if a pointer does not exist; the host's errors.
    pub fn configure(&self, changes: &[(&str, &str)]) -> Result<(), String> {
        let mut config = self.config.clone();
        changes.iter().try_for_each(|(pointer, value)| change(&mut config, pointer, value))?;
        fs::write(self.dir.join("config.json"), config.to_string()).map_err(text)
    }

    /// Writes the configuration of a shell's script, with changes as for [`Bundle::configure`].
    ///
    /// # Errors
    /// Those of [`Bundle::configure`].
    pub fn script(&self, script: &str, changes: &[(&str, &str)]) -> Result<(), String> {
        let args = serde_json::json!(["sh", "-c", script]).to_string();
        let all: Vec<_> =
            [("/process/args", args.as_str())].into_iter().chain(changes.iter().copied()).collect();
        self.configure(&all)
    }
}

/// Makes one change of [`Bundle::configure`].
fn change(config: &mut Value, pointer: &str, value: &str) -> Result<(), String> {
    let value: Value = serde_json::from_str(value).map_err(|e| format!("{pointer}: {e}"))?;
    let (above, name) = pointer.rsplit_once('/').ok_or("no pointer")?;
    let above_value = config.pointer_mut(above).ok_or_else(|| format!("{pointer} is not there"))?;
    match (name, above_value.as_array_mut()) {
        ("+", Some(list)) => list.push(value),
        _ if value.is_null() => drop(above_value.as_object_mut().and_then(|o| o.remove(name))),
        _ => above_value[name] = value,
    }
    Ok(())
}

/// Creates a root of BusyBox, with links that lead out, as hostile images have.
fn root(dir: &Path) -> Result<(), String> {
    let busybox = tools::busybox()?;
    for name in ["bin", "etc/deep", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(dir.join(name)).map_err(text)?;
    }
    fs::copy(&busybox, dir.join("bin/busybox")).map_err(text)?;
    let list = Command::new(&busybox).arg("--list").output().map_err(text)?;
    for name in String::from_utf8_lossy(&list.stdout).split_whitespace().filter(|n| *n != "busybox") {
        symlink("busybox", dir.join("bin").join(name)).map_err(text)?;
    }
    fs::write(dir.join("etc/inside"), "inside\n").map_err(text)?;
    fs::write(dir.join("etc/deep/er"), "deeper\n").map_err(text)?;
    symlink("inside", dir.join("etc/link")).map_err(text)?;
    for (to, at) in [("/dev", "to-dev"), ("../../proc", "to-proc"), ("/", "root-again")] {
        symlink(to, dir.join(at)).map_err(text)?;
    }
    symlink("../../../../../escaped", dir.join("out")).map_err(text)
}
