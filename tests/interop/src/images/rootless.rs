//! Unpacking as an ordinary user, with and without IDs in `/etc/subuid`.

use super::Place;
use std::path::Path;
use std::process::{Command, ExitCode};
use trine_oci::{Platform, Silent, Store};
use trine_test_support::command::{Said, check};
use trine_test_support::{NOBODY, is_root, text};

/// Unpacks if the arguments are `unpack STORE IMAGE`: [`rootless`] runs this executable so as that user.
pub fn unpacking() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [word, store, image] = arguments.as_slice() else { return None };
    (word == "unpack").then(|| match unpack(Path::new(store), image) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("unpack: {why}");
            ExitCode::FAILURE
        }
    })
}

/// Prints the directories and whether owners were mapped.
fn unpack(store: &Path, image: &str) -> Result<(), String> {
    let store = Store::at(store).map_err(text)?;
    let image = store.resolve(image, &Platform::host()).map_err(text)?;
    let layers = store.layers(&image, &Silent).map_err(text)?;
    println!("mapped {}", layers.owners_mapped);
    layers.lower.iter().for_each(|l| println!("{}", l.display()));
    Ok(())
}

/// Runs as `nobody`, in a mount namespace with these IDs in `/etc/subuid`.
fn as_nobody(place: &Place, subuid: Option<&str>, line: &str) -> Result<Said, String> {
    let ids = place.dir.join("ids");
    std::fs::write(&ids, subuid.unwrap_or_default()).map_err(text)?;
    let mount = format!("mount --bind {0} /etc/subuid && mount --bind {0} /etc/subgid", ids.display());
    let become_nobody = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups");
    let script = format!("touch /etc/subuid /etc/subgid; {mount} && exec {become_nobody} {line}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).env("HOME", place.dir.join("nobody"));
    command.env("XDG_DATA_HOME", place.dir.join("nobody")).current_dir("/");
    command.output().map(Said::from).map_err(text)
}

/// An ordinary user's images: with owners if there are IDs, otherwise a working tree; all of it can be
/// removed again.
pub fn rootless(place: &Place) -> Result<(), String> {
    if !is_root() {
        println!("  skipped: only root becomes another user");
        return Ok(());
    }
    let home = place.dir.join("nobody");
    let own = place.dir.join("unpack");
    std::fs::create_dir_all(&home).map_err(text)?;
    std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).map_err(text)?;
    std::fs::copy(std::env::current_exe().map_err(text)?, &own).map_err(text)?;
    let trine = place.dir.join("trine");
    std::fs::copy(place.trine_path(), &trine).map_err(text)?;
    let store = home.join("trine/images");
    let archive = place.dir.join("nobody.tar");
    place.well("one", &format!("export {}/team/app:1 {}", place.open.host, archive.display()))?;
    let (name, trine, store) = ("mine", trine.display(), store.display());
    for ids in [None, Some("nobody:200000:65536\n")] {
        let said = as_nobody(place, ids, &format!("{trine} import {} {name}", archive.display()))?;
        check(said.code == 0, "import as an ordinary user", &said)?;
        let said = as_nobody(place, ids, &format!("{} unpack {store} {name}", own.display()))?;
        let wanted = format!("mapped {}\n", ids.is_some());
        check(said.code == 0 && said.out.starts_with(&wanted), "unpack as an ordinary user", &said)?;
        let lowest = said.out.lines().nth(1).unwrap_or_default();
        let owner = std::fs::metadata(Path::new(lowest).join("home/ann")).map_err(text)?;
        let owner = std::os::unix::fs::MetadataExt::uid(&owner);
        // Container user 1000 is the thousandth of the given IDs, after user 0, who is nobody.
        let right = if ids.is_some() { 200_000 + 999 } else { NOBODY };
        check(owner == right, &format!("the owner of /home/ann is {owner}, not {right}"), &said)?;
        let said = as_nobody(place, ids, &format!("{trine} rmi {name}"))?;
        check(said.code == 0, "rmi as an ordinary user", &said)?;
        check(!Path::new(lowest).exists(), "layers are gone after rmi", &said)?;
    }
    Ok(())
}
