//! `trine ssh`, and `trine exec` for machines: the host's SSH client, over the machine's socket device. No network is
//! involved, and nobody else can answer there, so the host's key is not checked.

use super::args::{ExecArgs, SshArgs};
use super::vsock;
use crate::{Refusal, code};
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use trine_base::file_lock;
use trine_control::store::Store;

/// The port of the guest's SSH server.
const PORT: u32 = 22;
/// The user if none is given.
const USER: &str = "root";
/// How long another command may take to make the key.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a package with the SSH client comes from.
const ADVICE: &str = "install the SSH client (on Debian: the package openssh-client)";

/// The user's key, which is made if missing: its private half.
///
/// # Errors
/// There is no directory for it, or no `ssh-keygen`.
fn key() -> Result<PathBuf, Refusal> {
    key_in(&trine_base::xdg::data().map_err(Refusal::host)?.join("ssh"))
}

fn key_in(dir: &Path) -> Result<PathBuf, Refusal> {
    let host = |e: std::io::Error| Refusal::host(format!("cannot make a key in {}: {e}", dir.display()));
    let key = dir.join("id_ed25519");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(host)?;
    // Two commands at once must not make two keys: a guest knows one.
    let lock = file_lock::take(&dir.join("lock"), PATIENCE).map_err(host)?;
    if lock.is_none() {
        return Err(Refusal::host(format!("{} stays locked by another trine", dir.display())));
    }
    if key.exists() && public(&key).exists() {
        return Ok(key);
    }
    // A killed command may have left one half.
    let new = dir.join("new");
    for left in [&new, &public(&new)] {
        drop(std::fs::remove_file(left));
    }
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "trine", "-f"]).arg(&new);
    let output =
        command.stdin(std::process::Stdio::null()).output().map_err(|e| missing("ssh-keygen", &e))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Refusal::host(format!(
            "ssh-keygen cannot make a key in {}: {}",
            dir.display(),
            why.trim()
        )));
    }
    std::fs::rename(public(&new), public(&key)).and_then(|()| std::fs::rename(&new, &key)).map_err(host)?;
    Ok(key)
}

/// The public half of a key.
fn public(key: &Path) -> PathBuf {
    key.with_extension("pub")
}

/// The line for `authorized_keys` of guests that this user reaches by `trine ssh`, without the end of line. The key is made
/// if it is missing.
///
/// # Errors
/// There is no directory for it, or no `ssh-keygen`.
pub fn public_key() -> Result<String, Refusal> {
    let path = public(&key()?);
    let text = std::fs::read_to_string(&path);
    text.map(|text| text.trim().to_string())
        .map_err(|e| Refusal::host(format!("cannot read {}: {e}", path.display())))
}

fn missing(program: &str, error: &std::io::Error) -> Refusal {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Refusal::host(format!("there is no {program} on this host: {ADVICE}"))
        }
        _ => Refusal::host(format!("cannot execute {program}: {error}")),
    }
}

/// A word as a shell reads it back.
fn quoted(word: &OsStr) -> OsString {
    let mut bytes = vec![b'\''];
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => bytes.extend(b"'\\''"),
            byte => bytes.push(byte),
        }
    }
    bytes.push(b'\'');
    OsString::from_vec(bytes)
}

/// The command by which the SSH client reaches a guest: this executable, as a shell reads it, with `%` as the client wants it
/// (ssh_config(5), TOKENS).
fn proxy(own: &Path, guest: &str) -> OsString {
    let mut command = OsString::new();
    command.push(quoted(own.as_os_str()));
    command.push(format!(" vsock-connect {guest} {PORT}"));
    let doubled = command.as_bytes().iter().flat_map(|&b| if b == b'%' { vec![b, b] } else { vec![b] });
    OsString::from_vec(doubled.collect())
}

/// The options with which `ssh` and `scp` reach the guest with this id.
pub fn options(id: &str) -> Result<Vec<OsString>, Refusal> {
    let own =
        std::env::current_exe().map_err(|e| Refusal::host(format!("cannot find this executable: {e}")))?;
    let mut all: Vec<OsString> = Vec::new();
    // The user's own configuration is meant for hosts of a network.
    all.extend(["-F", "none", "-i"].map(OsString::from));
    all.push(key()?.into_os_string());
    let mut command = OsString::from("ProxyCommand=");
    command.push(proxy(&own, id));
    all.extend(["-o".into(), command]);
    for option in [
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
    ] {
        all.extend(["-o", option].map(OsString::from));
    }
    Ok(all)
}

/// Splits `[USER@]GUEST`.
pub fn user(text: &str) -> (&str, &str) {
    text.rsplit_once('@').unwrap_or((USER, text))
}

/// Becomes the program: its exit code is this command's.
pub fn become_it(mut command: Command) -> Refusal {
    let program = command.get_program().to_string_lossy().into_owned();
    // Ignored by this command (`be_a_command`), which the client would inherit.
    // SAFETY: sets a signal's action to the default.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    missing(&program, &command.exec())
}

/// `trine ssh`.
pub fn ssh(args: SshArgs) -> Result<u8, Refusal> {
    let Some(guest) = args.guest.filter(|_| !args.key) else {
        super::print(&format!("{}\n", public_key()?))?;
        return Ok(code::OK);
    };
    let (user, which) = user(&guest);
    let (record, _) = vsock::find(&Store::open()?, which)?;
    let mut command = Command::new("ssh");
    command.args(options(&record.id)?).arg(format!("{user}@{}", record.name)).args(args.args);
    Err(become_it(command))
}

/// `trine exec` for a machine.
pub fn exec(store: &Store, args: ExecArgs) -> Result<u8, Refusal> {
    let (record, _) = vsock::find(store, &args.guest)?;
    let name = &record.name;
    if args.privileged {
        return Err(Refusal::refused(format!("'{name}' is a machine: only containers have --privileged")));
    }
    if args.detach_keys.is_some() {
        return Err(Refusal::refused(format!(
            "--detach-keys would have no effect: in the machine '{name}' the SSH client executes the command"
        )));
    }
    if args.tty && args.interactive && !std::io::stdin().is_terminal() {
        return Err(Refusal::refused("-t needs a terminal: leave it out where standard input is none"));
    }
    let mut command = Command::new("ssh");
    command.args(options(&record.id)?).args(["-o", "BatchMode=yes"]);
    command.arg(if args.tty && !args.detach { "-tt" } else { "-T" });
    if !args.interactive || args.detach {
        command.arg("-n");
    }
    command.arg(format!("{USER}@{name}")).arg("--").arg(line(&args));
    Err(become_it(command))
}

/// The command line for the guest's shell.
fn line(args: &ExecArgs) -> OsString {
    let mut words: Vec<OsString> = Vec::new();
    if let Some(user) = &args.user {
        let (user, group) =
            user.split_once(':').map_or((&user[..], None), |(user, group)| (user, Some(group)));
        words.extend(["runuser", "-u"].map(OsString::from));
        words.push(quoted(user.as_ref()));
        if let Some(group) = group {
            words.push("-g".into());
            words.push(quoted(group.as_ref()));
        }
        words.push("--".into());
    }
    if !args.env.is_empty() {
        words.push("env".into());
        words.extend(args.env.iter().map(|variable| quoted(variable)));
    }
    words.extend(args.command.iter().map(|word| quoted(word)));
    let mut line = OsString::new();
    if let Some(dir) = &args.workdir {
        line.push("cd ");
        line.push(quoted(dir));
        line.push(" && ");
    }
    // In the background, nothing of it may hold the connection open.
    line.push(if args.detach { "setsid -f " } else { "exec " });
    line.push(words.join(OsStr::new(" ")));
    line.push(if args.detach { " </dev/null >/dev/null 2>&1" } else { "" });
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::os::unix::fs::PermissionsExt;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        exec: ExecArgs,
    }

    #[test]
    fn the_guests_shell_gets_every_word_as_it_is() {
        let cases: [(&[&str], &str); 4] = [
            (&["box", "ls", "-l", "a b"], "exec 'ls' '-l' 'a b'"),
            (&["-w", "/it's", "box", "$HOME"], r"cd '/it'\''s' && exec '$HOME'"),
            (
                &["-e", "A=1 2", "-u", "me:us", "box", "id"],
                "exec runuser -u 'me' -g 'us' -- env 'A=1 2' 'id'",
            ),
            (&["-d", "box", "job"], "setsid -f 'job' </dev/null >/dev/null 2>&1"),
        ];
        for (words, expected) in cases {
            let args = Line::try_parse_from(["exec"].iter().chain(words)).unwrap().exec;
            assert_eq!(line(&args), expected, "{words:?}");
        }
    }

    #[test]
    fn the_client_calls_this_executable_whatever_its_path() {
        let command = proxy(Path::new("/a b/100%/it's"), "0123");
        assert_eq!(command, r"'/a b/100%%/it'\''s' vsock-connect 0123 22");
        assert_eq!((user("box"), user("me@box")), (("root", "box"), ("me", "box")));
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = std::env::temp_dir().join(format!("trine-key-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let key = match key_in(&dir) {
            Ok(key) => key,
            // A host without the SSH client: the error says what to do.
            Err(refusal) => {
                let wanted = refusal.message.contains("openssh-client");
                std::fs::remove_dir_all(&dir).unwrap();
                return assert!(wanted, "{}", refusal.message);
            }
        };
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(read(&public(&key)).starts_with("ssh-ed25519 "));
        let first = read(&key);
        assert_eq!(read(&key_in(&dir).unwrap_or_else(|e| panic!("{}", e.message))), first);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
