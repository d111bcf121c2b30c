//! Hooks: programs of the configuration that run at certain points of a container's lifecycle (runtime-spec,
//! "POSIX-platform Hooks").

use crate::error::{Context, Error, Result};
use crate::state::{ContainerState, Status};
use crate::sys;
use oci_spec::runtime::Hook;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The most bytes of a hook's output that an error shows.
const SHOWN: u64 = 4096;

/// Runs hooks in order, with the container's state as input.
///
/// # Errors
/// A hook cannot be started, fails, or exceeds its time limit; later hooks do not run then.
pub fn run(kind: &str, hooks: &Option<Vec<Hook>>, state: &ContainerState, status: Status) -> Result<()> {
    each(kind, hooks, state, status).find(Result::is_err).unwrap_or(Ok(()))
}

/// Runs all hooks in order, even if some fail; returns the failures.
pub fn run_all(kind: &str, hooks: &Option<Vec<Hook>>, state: &ContainerState, status: Status) -> Vec<Error> {
    each(kind, hooks, state, status).filter_map(Result::err).collect()
}

/// The results of the hooks, each of which runs when its result is requested.
fn each(
    kind: &str,
    hooks: &Option<Vec<Hook>>,
    state: &ContainerState,
    status: Status,
) -> impl Iterator<Item = Result<()>> {
    let text = serde_json::to_vec(&ContainerState { status, ..state.clone() }).map_err(|e| e.to_string());
    hooks.iter().flatten().map(move |hook| {
        let done = text.as_ref().map_err(Error::refused).and_then(|text| one(hook, text));
        done.map_err(|why| Error::refused(format!("{kind} hook {}: {why}", hook.path().display())))
    })
}

/// A file in memory: unlike with a pipe, neither the reader nor the writer has to wait.
fn memory(content: &[u8]) -> std::io::Result<File> {
    // SAFETY: reads a literal; makes a descriptor.
    let fd = sys::check(unsafe { libc::memfd_create(c"hook".as_ptr(), libc::MFD_CLOEXEC) }.into())?;
    // SAFETY: just made; nobody else owns it.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
    file.write_all(content)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn one(hook: &Hook, state: &[u8]) -> Result<()> {
    let (input, output) = (memory(state), memory(b""));
    let (input, mut output) =
        (input.context("cannot create a file in memory")?, output.context("cannot create a file in memory")?);
    let said = || output.try_clone().context("cannot copy a descriptor");
    let mut command = Command::new(hook.path());
    command.stdin(input).stdout(said()?).stderr(said()?);
    if let Some((name, rest)) = hook.args().as_ref().and_then(|a| a.split_first()) {
        command.arg0(name).args(rest);
    }
    if let Some(env) = hook.env() {
        command.env_clear().envs(env.iter().filter_map(|e| e.split_once('=')));
    }
    let child = command.spawn().context("cannot start it")?;
    let status = wait(child, hook.timeout())?;
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    output.seek(SeekFrom::Start(0)).and_then(|_| output.take(SHOWN).read_to_string(&mut text)).unwrap_or(0);
    let colon = if text.trim().is_empty() { "" } else { ": " };
    Err(Error::refused(format!("{status}{colon}{}", text.trim())))
}

fn wait(mut child: Child, seconds: Option<i64>) -> Result<std::process::ExitStatus> {
    let Some(seconds) = seconds.and_then(|s| u64::try_from(s).ok()) else {
        return child.wait().context("cannot wait for it");
    };
    let fd = sys::pidfd(child.id() as i32).context("cannot wait for it")?;
    let limit = Duration::from_secs(seconds);
    let begin = Instant::now();
    loop {
        let left = limit.saturating_sub(begin.elapsed());
        let most = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        if sys::ready(&fd, libc::POLLIN, most).context("cannot wait for it")? {
            return child.wait().context("cannot wait for it");
        }
        if left.is_zero() {
            drop(child.kill());
            drop(child.wait());
            return Err(Error::refused(format!("it took longer than {seconds} s and was killed")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::HookBuilder;

    fn shell(script: &str, timeout: i64) -> Option<Vec<Hook>> {
        let args = ["sh", "-c", script].map(String::from).to_vec();
        Some(vec![HookBuilder::default().path("/bin/sh").args(args).timeout(timeout).build().unwrap()])
    }

    fn state() -> ContainerState {
        ContainerState {
            oci_version: crate::state::VERSION.into(),
            id: "c".into(),
            status: Status::Creating,
            pid: 7,
            bundle: "/b".into(),
            annotations: Default::default(),
        }
    }

    #[test]
    fn some_hooks_run_whatever_becomes_of_others() {
        let file = std::env::temp_dir().join(format!("trine-hooks-{}", std::process::id()));
        let says = |word: &str| shell(&format!("echo {word} >> {}", file.display()), 10).unwrap().remove(0);
        let all = Some(vec![says("a"), shell("exit 1", 10).unwrap().remove(0), says("b")]);
        assert!(run("test", &all, &state(), Status::Stopped).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a\n");
        let failed = run_all("test", &all, &state(), Status::Stopped);
        assert_eq!(failed.len(), 1);
        assert!(failed[0].to_string().contains("test hook /bin/sh: exit status: 1"), "{}", failed[0]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a\na\nb\n");
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn hooks_read_the_state_and_have_an_end() {
        let reads = shell(r#"grep -q '"status":"created"' && exit 0; exit 1"#, 10);
        assert!(run("test", &reads, &state(), Status::Created).is_ok());
        let text = run("test", &reads, &state(), Status::Stopped).unwrap_err().to_string();
        assert!(text.contains("test hook /bin/sh: exit status: 1"), "{text}");
        let says = run("test", &shell("echo because >&2; exit 3", 10), &state(), Status::Created);
        assert!(says.unwrap_err().to_string().ends_with("because"));
        let slow = run("test", &shell("sleep 60", 0), &state(), Status::Created).unwrap_err().to_string();
        assert!(slow.contains("longer than 0 s"), "{slow}");
        // Processes that a hook leaves behind are not waited for.
        assert!(
            run("test", &shell("sleep 60 & echo $! >/dev/null; kill $!", 10), &state(), Status::Created)
                .is_ok()
        );
    }
}
