//! A container's files.

use super::Place;
use crate::check::{Checked, same};
use crate::images::text;
use std::fs;

/// Volumes of all kinds, memory as files, a root that cannot be written, devices.
pub fn all(place: &Place) -> Checked {
    let shared = place.dir.join("home/shared");
    fs::create_dir_all(&shared).map_err(text)?;
    fs::write(shared.join("file"), "from the host\n").map_err(text)?;
    if place.rootless {
        std::os::unix::fs::chown(&shared, Some(super::NOBODY), Some(super::NOBODY)).map_err(text)?;
    }
    let at = |how: &str| format!("{}:/vol{how}", shared.display());
    same(
        "a directory",
        place.line(&["-v", &at("")], "cat /vol/file; echo inside > /vol/new")?,
        "from the host",
    )?;
    same("on the host", fs::read_to_string(shared.join("new")).map_err(text)?, "inside\n")?;
    let line = "echo x 2>/dev/null > /vol/new || echo no; mount -o remount,rw /vol 2>/dev/null || echo no";
    same("for reading", place.line(&["-v", &at(":ro")], line)?, "no\nno")?;
    same("a named volume", place.line(&["-v", "keep:/v"], "echo kept > /v/x")?, "")?;
    same("again", place.line(&["-v", "keep:/v"], "cat /v/x")?, "kept")?;
    same("one of its own", place.line(&["-v", "/v"], "ls /v; touch /v/x")?, "")?;
    let line = "dd if=/dev/zero of=/t/x bs=1M count=4 2>/dev/null; wc -c < /t/x";
    same("memory", place.line(&["--tmpfs", "/t:size=1m"], line)?, (1 << 20).to_string())?;
    let line = "touch /x 2>/dev/null || echo no; touch /dev/shm/x && echo yes; cat /etc/hosts | wc -l";
    same("a root for reading", place.line(&["--read-only"], line)?, "no\nyes\n3")?;
    same(
        "size of /dev/shm",
        place.line(&["--shm-size", "2M"], "df /dev/shm | tail -1 | awk '{print $2}'")?,
        "2048",
    )?;
    let line =
        "ls /dev | grep -v core | tr '\\n' ' '; dd if=/dev/zero of=/dev/null count=1 2>/dev/null && echo ok";
    let devices = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ok";
    same("devices", place.line(&[], line)?, devices)?;
    let own =
        place.line(&["-v", &format!("{}:/etc/hosts", shared.join("file").display())], "cat /etc/hosts")?;
    same("in place of a file of ours", own, "from the host")
}
