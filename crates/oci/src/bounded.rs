//! Tests that input from outside uses a bounded amount of memory.

use std::process::Command;

/// The environment variable that tells a test that it runs in the child process.
const CHILD: &str = "TRINE_BOUNDED";

/// Runs the body of the test `name` (as for `--exact`) in a child process with at most `most` bytes of
/// address space: exceeding the limit ends the child.
pub fn within(name: &str, most: u64, body: impl FnOnce()) {
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        let limit = rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(rustix::process::Resource::As, limit).unwrap();
        return body();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    // Otherwise the C library reserves 64 MiB for each thread's heap.
    child.env(CHILD, name).env("MALLOC_ARENA_MAX", "1");
    let out = child.output().unwrap();
    let said = [out.stdout, out.stderr].map(|o| String::from_utf8_lossy(&o).into_owned());
    assert!(out.status.success() && said[0].contains("1 passed"), "{}: {said:?}", out.status);
}
