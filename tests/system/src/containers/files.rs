//! A container's files.

use super::Place;
use crate::check::{finish, same, until};
use std::fs;
use std::os::unix::fs::chown;
use trine_test_support::command::{Said, check, tool, words};
use trine_test_support::{Checked, text};

/// Volumes of all kinds, memory as files, a read-only root, devices.
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
    same(
        "a label where there are none",
        place.line(&["-v", &at(":ro,z")], "cat /vol/file")?,
        "from the host",
    )?;
    // The image has a link to /dev there: nothing is created in what is mounted instead.
    let there = || -> Result<Vec<_>, String> {
        let names = fs::read_dir(&shared).map_err(text)?.flatten().map(|e| e.file_name());
        Ok(names.collect::<std::collections::BTreeSet<_>>().into_iter().collect())
    };
    let before = there()?;
    for how in ["", ":ro"] {
        let over = format!("{}:/to-dev{how}", shared.display());
        same("at /dev by a link", place.line(&["-v", &over], "cat /dev/file")?, "from the host")?;
    }
    same("nothing is made there", there()?, before)?;
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
    let other = place.line(
        &["--device", "/dev/zero:/dev/z2:r"],
        "head -c 3 /dev/z2 | wc -c; test -c /dev/zero && echo too",
    );
    same("a device by another name", other?, "3\ntoo")?;
    let own =
        place.line(&["-v", &format!("{}:/etc/hosts", shared.join("file").display())], "cat /etc/hosts")?;
    same("in place of a file of ours", own, "from the host")
}

/// If the kernel cannot stack the layers, because the container's own are on an overlay already.
pub fn fuse(place: &Place) -> Checked {
    if !trine_test_support::tools::has(&["fuse-overlayfs"]) || !std::path::Path::new("/dev/fuse").exists() {
        return Ok(());
    }
    let over = place.dir.join("over");
    fs::create_dir_all(&over).map_err(text)?;
    let at = over.display();
    tool(&mut words(&format!("mount -t tmpfs over {at}")))?;
    tool(&mut words(&format!("mkdir {at}/l {at}/u {at}/w {at}/m")))?;
    tool(&mut words(&format!(
        "mount -t overlay over -o lowerdir={at}/l,upperdir={at}/u,workdir={at}/w {at}/m"
    )))?;
    // Elsewhere everybody may open it.
    tool(&mut words(&format!("mknod -m 666 {at}/fuse c 10 229")))?;
    tool(&mut words(&format!("mount --bind {at}/fuse /dev/fuse")))?;
    if place.rootless {
        chown(over.join("m"), Some(super::NOBODY), Some(super::NOBODY)).map_err(text)?;
    }
    let done = laid(place);
    tool(&mut words(&format!("umount /dev/fuse {at}/m {at}")))?;
    done
}

fn laid(place: &Place) -> Checked {
    let data = place.dir.join("over/m");
    let archive = place.dir.join("home/box.tar").display().to_string();
    place.well(&["export", &place.image, &archive])?;
    let say = |args: &[&str]| {
        let mut command = place.command(args);
        Ok::<_, String>(Said::from(finish(command.env("XDG_DATA_HOME", &data).spawn().map_err(text)?, args)?))
    };
    let well = |args: &[&str]| {
        let said = say(args)?;
        check(said.code == 0, &format!("trine {}", args.join(" ")), &said)?;
        Ok::<_, String>(said.out.trim_end().to_string())
    };
    well(&["import", &archive, "box"])?;
    let line = "grep ' / ' /proc/mounts | tail -1 | cut -d' ' -f1; rm -r /srv; mkdir /srv; echo x > /srv/new; chown 5:5 /srv/new; \
                stat -c %u /srv/new; ls /srv; exec sleep 1000";
    well(&["run", "-d", "--name", "laid", "box", "sh", "-c", line])?;
    until("it is laid", || Ok(well(&["logs", "laid"])?.ends_with("new")))?;
    same("by whom, and what", well(&["logs", "laid"])?, "fuse-overlayfs\n5\nnew")?;
    same(
        "no server inside",
        well(&["exec", "laid", "sh", "-c", "ps | grep -c [f]use-overlay"]).is_err(),
        true,
    )?;
    same("exec", well(&["exec", "laid", "cat", "/srv/new"])?, "x")?;
    well(&["stop", "-t", "0", "laid"])?;
    well(&["rm", "laid"])?;
    until("its server has ended", || Ok(place.processes().is_empty()))?;
    well(&["rmi", "box"]).map(drop)
}
