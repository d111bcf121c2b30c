//! The checks.

use super::proxy::Proxy;
use super::rootless::rootless;
use super::{Place, tree};
use std::path::Path;
use std::time::{Duration, Instant};
use trine_oci::{Platform, Silent, Store};
use trine_test_support::command::{Said, check, tool, words};
use trine_test_support::registry::Registry;
use trine_test_support::{is_root, text};

type Check = fn(&Place) -> Result<(), String>;

/// In this order: later ones use what earlier ones fetched.
pub const ALL: &[(&str, Check)] = &[
    ("a registry is insecure only when that is said", insecure),
    ("what is fetched is what skopeo sees", fetched),
    ("unpacked layers are what umoci unpacks", unpacked),
    ("platforms", platforms),
    ("mirrors and registries.toml", mirrors),
    ("logins", logins),
    ("a fetch that was killed goes on where it was", resumed),
    ("fetches killed at any moment lose nothing", killed),
    ("many fetches and collections at once", together),
    ("what is sent is what skopeo sees", sent),
    ("archives and layouts", exported),
    ("what nobody needs goes", removed),
    ("an ordinary user's images", rootless),
];

fn images(place: &Place, store: &str) -> Result<Vec<serde_json::Value>, String> {
    let json = place.well(store, "images --json")?;
    serde_json::from_str(&json).map_err(|e| format!("images --json: {e}: {json}"))
}

/// Every blob of a store has the digest of its name.
fn sound(place: &Place, store: &str) -> Result<usize, String> {
    let dir = place.dir.join(store).join("trine/images/blobs/sha256");
    let mut count = 0;
    for entry in std::fs::read_dir(&dir).map_err(text)? {
        let path = entry.map_err(text)?.path();
        let digest = trine_oci::digest::of(&std::fs::read(&path).map_err(text)?);
        if !path.ends_with(digest.digest()) {
            return Err(format!("{} is {digest}", path.display()));
        }
        count += 1;
    }
    Ok(count)
}

/// A registry of this host by another address: `0.0.0.0` connects to loopback, but must not be treated as
/// loopback.
fn elsewhere(host: &str) -> String {
    host.replace("127.0.0.1", "0.0.0.0")
}

fn insecure(place: &Place) -> Result<(), String> {
    // The same registry, by an address that is not loopback's, though it connects to it.
    let other = elsewhere(&place.open.host);
    let said = place.say("one", &format!("pull {other}/team/app:1"))?;
    let right =
        said.code == 1 && said.err.ends_with("does not support HTTPS: --insecure allows plain HTTP\n");
    check(right, "pull without --insecure", &said)?;
    place.well("own", &format!("pull {}/team/app:1", place.open.host))?;
    let said = place.say("one", &format!("pull --insecure {}/team/nothing:1", place.open.host))?;
    check(said.code == 1 && said.err.contains("not found"), "pull of what is not there", &said)?;
    let said = place.say("one", "pull UPPER")?;
    check(said.code == 2 && said.err.contains("lower case"), "pull of what is no name", &said)
}

fn fetched(place: &Place) -> Result<(), String> {
    let name = format!("{}/team/app:1", place.open.host);
    place.well("one", &format!("pull --insecure {name}"))?;
    let list = images(place, "one")?;
    let digest = place.digest(&format!("docker://{name}"))?;
    let right = list.len() == 1 && list[0]["digest"] == digest.as_str() && list[0]["name"] == name.as_str();
    check(right, "images after pull", &Said { code: 0, out: format!("{list:?}"), err: digest.clone() })?;
    let config =
        tool(&mut words(&format!("skopeo inspect --tls-verify=false --config --raw docker://{name}")))?;
    let ours = place.well("one", &format!("inspect {name}"))?;
    let ours: serde_json::Value = serde_json::from_str(&ours).map_err(text)?;
    let config: serde_json::Value = serde_json::from_str(&config).map_err(text)?;
    check(
        ours[0]["config"] == config,
        "inspect",
        &Said { code: 0, out: ours.to_string(), err: config.to_string() },
    )?;
    // By its digest, and again: then nothing is fetched.
    let proxy = Proxy::before(&place.open.host, Duration::ZERO)?;
    place.well(
        "one",
        &format!("pull --insecure --mirror {} {}/team/app@{digest}", proxy.host, place.open.host),
    )?;
    match proxy.sent() {
        0..4000 => sound(place, "one").map(drop),
        n => Err(format!("{n} bytes were fetched of what is here already")),
    }
}

fn unpacked(place: &Place) -> Result<(), String> {
    if !is_root() {
        println!("  skipped: only root mounts overlayfs here");
        return Ok(());
    }
    let store = Store::at(&place.dir.join("one/trine/images")).map_err(text)?;
    let theirs = place.dir.join("theirs");
    let layout = place.dir.join("layout");
    tool(&mut words(&format!("umoci unpack --image {}:1 {}", layout.display(), theirs.display())))?;
    let zstd = format!("import oci:{}:1 by-zstd", place.dir.join("zstd").display());
    place.well("zstd-store", &zstd)?;
    let other = Store::at(&place.dir.join("zstd-store/trine/images")).map_err(text)?;
    let gzip = format!("{}/team/app:1", place.open.host);
    for (store, name) in [(&store, &gzip[..]), (&other, "by-zstd")] {
        let image = store.resolve(name, &Platform::host()).map_err(text)?;
        let layers = store.layers(&image, &Silent).map_err(text)?;
        let again = store.layers(&image, &Silent).map_err(text)?;
        if layers != again || layers.lower.len() != 3 || !layers.owners_mapped {
            return Err(format!("{name}: layers {layers:?}, then {again:?}"));
        }
        let lower: Vec<String> = layers.lower.iter().rev().map(|l| l.display().to_string()).collect();
        let merged = place.dir.join("merged");
        std::fs::create_dir_all(&merged).map_err(text)?;
        let options = if layers.user_xattrs { ",userxattr" } else { "" };
        let at = merged.display();
        tool(&mut words(&format!(
            "mount -t overlay overlay -o ro,lowerdir={}{options} {at}",
            lower.join(":")
        )))?;
        let same = tree::same(&merged, &theirs.join("rootfs"), true);
        tool(&mut words(&format!("umount {at}")))?;
        println!("    {name}: {} files are the same", same?);
    }
    std::fs::remove_dir_all(theirs).map_err(text)
}

fn platforms(place: &Place) -> Result<(), String> {
    let name = format!("{}/team/app:multi", place.open.host);
    let line = |platform: &str| format!("pull --insecure --platform {platform} {name}");
    place.well("many", &line("linux/riscv64"))?;
    place.well("many", &format!("pull --insecure {name}"))?;
    let list = images(place, "many")?;
    let rv = place.digest(&format!("docker://{}/team/app:rv", place.open.host))?;
    let right = list.len() == 2
        && list.iter().any(|l| l["platform"] == "linux/riscv64" && l["digest"] == rv.as_str());
    check(right, "one name for two platforms", &Said { code: 0, out: format!("{list:?}"), err: rv })?;
    let said = place.say("many", &line("linux/s390x"))?;
    check(said.code == 2 && said.err.contains("linux/riscv64"), "a platform that it is not for", &said)?;
    let said = place
        .say("many", &format!("pull --insecure --platform linux/s390x {}/team/app:1", place.open.host))?;
    check(said.code == 2, "a single image of another platform", &said)?;
    let said = place.say("many", &format!("rmi --platform linux/riscv64 {name}"))?;
    check(said.code == 0 && images(place, "many")?.len() == 1, "rmi --platform", &said)
}

fn mirrors(place: &Place) -> Result<(), String> {
    // A registry that no name service knows: only the mirror can answer.
    let said = place.well(
        "mirrored",
        &format!("pull --insecure --mirror {} registry.invalid/team/app:1", place.open.host),
    )?;
    let dir = place.dir.join("config/trine");
    std::fs::create_dir_all(&dir).map_err(text)?;
    let file = dir.join("registries.toml");
    let toml = format!(
        "[[registry]]\nname = \"registry.invalid\"\nmirrors = [\"{0}\"]\n[[registry]]\nname = \"{0}\"\ninsecure = true\n",
        place.open.host
    );
    std::fs::write(&file, toml).map_err(text)?;
    place.well("mirrored", "rmi registry.invalid/team/app:1")?;
    let again = place.well("mirrored", "pull registry.invalid/team/app:1")?;
    std::fs::write(&file, "[[registry]]\nnaem = 1\n").map_err(text)?;
    let wrong = place.say("mirrored", "pull registry.invalid/team/app:1");
    std::fs::remove_file(&file).map_err(text)?;
    let wrong = wrong?;
    check(said == again, "by --mirror and by the file", &Said { code: 0, out: said, err: again })?;
    check(wrong.code == 2 && wrong.err.contains("registries.toml"), "a wrong registries.toml", &wrong)
}

fn logins(place: &Place) -> Result<(), String> {
    let line = format!("pull --insecure {}/team/app:1", place.closed.host);
    let said = place.say("closed", &line)?;
    check(said.code == 1 && said.err.contains("docker login"), "pull without a login", &said)?;
    let with = |variable: &str, value: &Path, path: &str, line: &str| {
        let mut command = place.trine("closed", line);
        command
            .env(variable, value)
            .env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap_or_default()));
        command.output().map(Said::from).map_err(text)
    };
    let docker = place.dir.join("docker");
    std::fs::create_dir_all(&docker).map_err(text)?;
    let write =
        |json: serde_json::Value| std::fs::write(docker.join("config.json"), json.to_string()).map_err(text);
    let host = &place.closed.host;
    // ann:wrong, ann:secret
    write(serde_json::json!({"auths": {host: {"auth": "YW5uOndyb25n"}}}))?;
    let said = with("DOCKER_CONFIG", &docker, "", &line)?;
    check(said.code == 1 && said.err.contains("not allow"), "pull with a wrong password", &said)?;
    write(serde_json::json!({"auths": {host: {"auth": "YW5uOnNlY3JldA=="}}}))?;
    let said = with("DOCKER_CONFIG", &docker, "", &line)?;
    check(said.code == 0, "pull with DOCKER_CONFIG", &said)?;
    let said = with("REGISTRY_AUTH_FILE", &docker.join("config.json"), "", &line)?;
    check(said.code == 0, "pull with REGISTRY_AUTH_FILE", &said)?;
    let helper = docker.join("docker-credential-test");
    let script = "#!/bin/sh\nread -r server\necho \"{\\\"ServerURL\\\":\\\"$server\\\",\\\"Username\\\":\\\"ann\\\",\\\"Secret\\\":\\\"secret\\\"}\"\n";
    std::fs::write(&helper, script).map_err(text)?;
    std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(text)?;
    for json in
        [serde_json::json!({"credHelpers": {host: "test"}}), serde_json::json!({"credsStore": "test"})]
    {
        write(json)?;
        place.say("closed", &format!("rmi {host}/team/app:1"))?;
        let said = with("DOCKER_CONFIG", &docker, &docker.display().to_string(), &line)?;
        check(said.code == 0, "pull with a credential helper", &said)?;
    }
    let push = format!("push --insecure {host}/team/app:1 {host}/team/app:pushed");
    let said = with("DOCKER_CONFIG", &docker, &docker.display().to_string(), &push)?;
    check(said.code == 0, "push with a login", &said)?;
    let said = place.say("closed", &push)?;
    check(said.code == 1 && said.err.contains("docker login"), "push without a login", &said)
}

/// Partially downloaded bytes.
fn partial(place: &Place, store: &str) -> u64 {
    let dir = place.dir.join(store).join("trine/images/partial");
    let sizes =
        std::fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|e| Some(e.metadata().ok()?.len()));
    sizes.sum()
}

fn resumed(place: &Place) -> Result<(), String> {
    let proxy = Proxy::before(&place.open.host, Duration::from_millis(10))?;
    let line = format!("pull --insecure {}/team/app:1", proxy.host);
    let mut child = place.trine("resumed", &line).spawn().map_err(text)?;
    let end = Instant::now() + Duration::from_secs(60);
    while partial(place, "resumed") < super::LARGE as u64 / 3 {
        if Instant::now() > end || child.try_wait().map_err(text)?.is_some() {
            drop(child.kill());
            return Err("nothing arrives".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().and_then(|()| child.wait()).map_err(text)?;
    let (kept, before) = (partial(place, "resumed"), proxy.sent());
    place.well("resumed", &line)?;
    let rest = proxy.sent() - before;
    println!("    {kept} bytes were kept, {rest} fetched after that");
    if rest + kept / 2 > super::LARGE as u64 + (4 << 20) {
        return Err("what was kept was fetched again".into());
    }
    sound(place, "resumed").map(drop)
}

fn killed(place: &Place) -> Result<(), String> {
    let proxy = Proxy::before(&place.open.host, Duration::from_millis(1))?;
    let line = format!("pull --insecure {}/team/app:1", proxy.host);
    for round in 0..25u64 {
        let mut child =
            place.trine("killed", &line).stdout(std::process::Stdio::null()).spawn().map_err(text)?;
        std::thread::sleep(Duration::from_millis(5 + 37 * round % 400));
        drop(child.kill());
        child.wait().map_err(text)?;
        if place.dir.join("killed/trine/images/blobs/sha256").exists() {
            sound(place, "killed")?;
        }
        // Listed images are complete.
        let whole = images(place, "killed")?.iter().all(|i| i["size"].as_u64() > Some(super::LARGE as u64));
        if !whole {
            return Err("an image is listed that is not whole".into());
        }
    }
    place.well("killed", &line)?;
    place.well("killed", "rmi --garbage")?;
    match sound(place, "killed")? {
        5 => Ok(()),
        n => Err(format!("{n} blobs are kept of an image of 5")),
    }
}

fn together(place: &Place) -> Result<(), String> {
    let proxy = Proxy::before(&place.open.host, Duration::from_millis(2))?;
    let pull = |tag: &str| place.trine("together", &format!("pull --insecure {}/team/app:{tag}", proxy.host));
    let mut children = Vec::new();
    for tag in ["1", "1", "multi", "1", "rv", "multi"] {
        children.push(pull(tag).stdout(std::process::Stdio::null()).spawn().map_err(text)?);
    }
    while children.iter_mut().any(|c| matches!(c.try_wait(), Ok(None))) {
        place.well("together", "rmi --garbage")?;
    }
    for child in &mut children {
        let status = child.wait().map_err(text)?;
        if !status.success() {
            return Err(format!("one of six pulls at once failed: {status}"));
        }
    }
    let once = super::LARGE as u64 * 3 / 2;
    if proxy.sent() > once {
        return Err(format!("{} bytes were fetched: the same layer more than once", proxy.sent()));
    }
    sound(place, "together").map(drop)
}

fn sent(place: &Place) -> Result<(), String> {
    let host = &place.open.host;
    let digest = place.digest(&format!("docker://{host}/team/app:1"))?;
    let json = place.well("one", &format!("push --insecure --json {host}/team/app:1 {host}/other/app:2"))?;
    let said: serde_json::Value = serde_json::from_str(&json).map_err(text)?;
    let right = said["digest"] == digest.as_str() && said["mounted"] == 4 && said["sent"] == 0;
    check(
        right,
        "parts are taken from another repository",
        &Said { code: 0, out: json, err: digest.clone() },
    )?;
    check(
        place.digest(&format!("docker://{host}/other/app:2"))? == digest,
        "skopeo sees it",
        &Said { code: 0, out: digest.clone(), err: String::new() },
    )?;
    // Everything is sent to an empty registry; skopeo fetches it from there.
    let fresh = Registry::start(&place.dir.join("fresh"), false)?;
    place.well("one", &format!("push --insecure {host}/team/app:1 {}/a/b:c", fresh.host))?;
    let to = place.dir.join("fetched");
    let copy =
        format!("skopeo copy -q --src-tls-verify=false docker://{}/a/b:c oci:{}:x", fresh.host, to.display());
    tool(&mut words(&copy))?;
    check(
        place.digest(&format!("oci:{}:x", to.display()))? == digest,
        "fetched again by skopeo",
        &Said { code: 0, out: digest, err: String::new() },
    )?;
    place.well("one", &format!("push {host}/team/app:1 {}/a/b:own", fresh.host))?;
    let said = place.say("one", &format!("push {host}/team/app:1 {}/a/b:d", elsewhere(&fresh.host)))?;
    check(said.code == 1 && said.err.contains("--insecure"), "push without --insecure", &said)
}

fn exported(place: &Place) -> Result<(), String> {
    let name = format!("{}/team/app:1", place.open.host);
    let digest = place.digest(&format!("docker://{name}"))?;
    let at = |p: &str| place.dir.join(p).display().to_string();
    let id = images(place, "one")?[0]["id"].as_str().unwrap_or_default().to_string();
    for (to, from) in [
        (format!("oci:{}:x", at("e-layout")), format!("oci:{}:x", at("e-layout"))),
        (format!("oci-archive:{}:x", at("e.tar")), format!("oci-archive:{}:x", at("e.tar"))),
        (at("plain.tar"), format!("oci-archive:{}:1", at("plain.tar"))),
    ] {
        place.well("one", &format!("export {name} {to}"))?;
        check(
            place.digest(&from)? == digest,
            &format!("skopeo reads {from}"),
            &Said { code: 0, out: digest.clone(), err: String::new() },
        )?;
    }
    let docker = format!("docker-archive:{}", at("d.tar"));
    place.well("one", &format!("export {name} {docker}"))?;
    for archive in [docker, format!("docker-archive:{}", at("plain.tar"))] {
        let copy = at("from-docker");
        tool(&mut words(&format!("skopeo copy -q {archive} dir:{copy}")))?;
        let config = std::fs::read_to_string(Path::new(&copy).join("manifest.json")).map_err(text)?;
        check(
            config.contains(&id),
            &format!("skopeo reads {archive}"),
            &Said { code: 0, out: config, err: id.clone() },
        )?;
        std::fs::remove_dir_all(copy).map_err(text)?;
    }
    // Archives and layouts that other tools write.
    tool(&mut words(&format!(
        "skopeo copy -q oci:{}:1 docker-archive:{}:named:3",
        at("layout"),
        at("theirs.tar")
    )))?;
    place.well("two", &format!("import {}", at("theirs.tar")))?;
    place.well("two", &format!("import oci:{}:1 layout:1", at("layout")))?;
    place.well("two", &format!("import {} plain:1", at("plain.tar")))?;
    let list = images(place, "two")?;
    let names: Vec<&str> = list.iter().filter_map(|l| l["name"].as_str()).collect();
    let right =
        names == ["docker.io/library/layout:1", "docker.io/library/named:3", "docker.io/library/plain:1"];
    check(right, "imported", &Said { code: 0, out: format!("{list:?}"), err: String::new() })?;
    let said = place.say("two", &format!("import {}/index.json bad:1", at("layout")))?;
    check(said.code == 2 && said.err.contains("archive"), "import of what is no archive", &said)
}

fn removed(place: &Place) -> Result<(), String> {
    let name = format!("{}/team/app:1", place.open.host);
    let store = Store::at(&place.dir.join("two/trine/images")).map_err(text)?;
    let image = store.resolve("plain:1", &Platform::host()).map_err(text)?;
    store.pin(&image, "box").map_err(text)?;
    let said = place.say("two", "rmi layout:1 named:3 plain:1")?;
    check(said.code == 2 && said.err.contains("guest box"), "rmi of what a guest uses", &said)?;
    let said = place.say("two", "rmi --force plain:1")?;
    check(said.code == 0 && store.has(image.digest()), "rmi --force keeps what a guest uses", &said)?;
    store.unpin("box").map_err(text)?;
    place.well("two", "rmi --garbage")?;
    let left = std::fs::read_dir(place.dir.join("two/trine/images/blobs/sha256")).map_err(text)?.count();
    check(left == 0, &format!("{left} blobs are left"), &said)?;
    // Content that other images need stays.
    place.well("one", &format!("tag {name} kept:1"))?;
    place.well("one", &format!("rmi {name}"))?;
    sound(place, "one")?;
    place.well("one", &format!("tag kept:1 {name}")).map(drop)
}
