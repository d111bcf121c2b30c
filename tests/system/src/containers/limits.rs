//! Limits of a container hold: against a fork bomb, a memory hog, a CPU spinner and a disk filler.

use super::Place;
use crate::check::same;
use std::time::{Duration, Instant};
use trine_test_support::Checked;
use trine_test_support::command::check;

/// Starts processes until no more can be started, and prints how many there were.
const BOMB: &str =
    "n=0; while [ $n -lt 200 ]; do sleep 5 & n=$((n+1)); done 2>/dev/null; ls /proc | grep -c '^[0-9]'";

/// All of them; an ordinary user has control groups that were delegated to him.
pub fn all(place: &Place) -> Checked {
    let bomb = place.say(&["run", "--rm", "--limit", "pids=20", &place.image, "sh", "-c", BOMB])?;
    // The shell itself ends when it cannot fork, or counts.
    let count = bomb.out.trim().parse().unwrap_or(0);
    check(count <= 20 && (bomb.code != 0 || count > 10), "a fork bomb", &bomb)?;
    same("the same without a limit", place.line(&[], BOMB)?.parse().unwrap_or(0) > 150, true)?;
    let hog = "dd if=/dev/zero of=/dev/null bs=90M count=1 2>/dev/null && echo done";
    place.start("hog", &["--limit", "memory=32M"], &format!("exec sh -c '{hog}'"))?;
    let code = place.well(&["wait", "hog"])?;
    same("a memory hog", (code != "0", place.well(&["logs", "hog"])?), (true, String::new()))?;
    same("out of memory", place.field("hog", "State.OutOfMemory")?, "true")?;
    same("the same with enough", place.line(&["-m", "400M"], hog)?, "done")?;
    spinner(place)?;
    disk(place)
}

/// Two processes that only compute get half of one CPU together.
fn spinner(place: &Place) -> Checked {
    let spin =
        "for i in 1 2; do timeout 2 sh -c 'while :; do :; done' & done; wait; times > /tmp/t; tail -1 /tmp/t";
    let said = place.line(&["--limit", "cpu=0.5"], spin)?;
    let seconds = |word: &str| {
        let (minutes, seconds) = word.trim_end_matches('s').split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    };
    let used: f64 = said.split_whitespace().filter_map(seconds).sum();
    // 2 s of half a CPU, with tolerance for one period more or less and a slow clock.
    match (0.3..1.5).contains(&used) {
        true => Ok(()),
        false => Err(format!("two spinners used {used} s of CPU in 2 s at half a CPU: {said}")),
    }
}

/// Writes past the cache at a megabyte per second.
fn disk(place: &Place) -> Checked {
    let data = place.dir.join("data");
    let rate = format!("{}:1M", data.display());
    let write = "dd if=/dev/zero of=/srv/x bs=256k count=8 oflag=direct 2>/dev/null && wc -c < /srv/x";
    let plain = Instant::now();
    if place.line(&[], write)? != (2 << 20).to_string() {
        println!("  limit of a disk: skipped, nothing is written past the cache here");
        return Ok(());
    }
    let plain = plain.elapsed();
    let start = Instant::now();
    let said = place.say(&["run", "--rm", "--device-write-bps", &rate, &place.image, "sh", "-c", write])?;
    if said.code == 2 && said.err.contains("block device") {
        println!("  limit of a disk: skipped, {} is on none", data.display());
        return Ok(());
    }
    check(said.code == 0, "a slow disk", &said)?;
    match start.elapsed() > Duration::from_millis(1200) && plain < start.elapsed() {
        true => Ok(()),
        false => Err(format!("2 MiB at 1 MiB/s took {:?}, without a limit {plain:?}", start.elapsed())),
    }
}
