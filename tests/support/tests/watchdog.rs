//! The time limit for what may hang. It kills all of its process's descendants, so this is the only test here.

use std::process::Command;
use std::time::{Duration, Instant};
use trine_test_support::watchdog::within;

#[test]
fn what_is_done_in_time_is_as_it_was_and_what_hangs_is_named_and_killed() {
    let ends = |code: &str| {
        let status = Command::new("sh").args(["-c", &format!("exit {code}")]).status();
        if status.is_ok_and(|s| s.success()) { Ok(()) } else { Err("failed".into()) }
    };
    assert_eq!(within(Duration::from_secs(60), || ends("0")), Ok(()));
    assert_eq!(within(Duration::from_secs(60), || ends("1")), Err("failed".into()));
    let start = Instant::now();
    let hangs = within(Duration::from_millis(300), || {
        drop(Command::new("sh").args(["-c", "sleep 1000; true"]).status());
        Ok(())
    });
    let why = hangs.expect_err("it hangs");
    assert!(why.contains("sleep 1000; true") && start.elapsed() < Duration::from_secs(60), "{why}");
}
