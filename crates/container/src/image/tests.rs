//! Tests of containers' configurations.

use super::volume::Volume;
use super::*;
use serde_json::json;

fn image(config: serde_json::Value) -> ImageConfiguration {
    serde_json::from_value(json!({
        "architecture": "amd64", "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": []},
    }))
    .unwrap()
}

fn none(_: &str) -> Result<Option<String>, String> {
    Ok(None)
}

fn made(config: serde_json::Value, options: &ImageOptions) -> Result<serde_json::Value, String> {
    let given = Given { root: "/r".into(), read: &none, maps: None };
    configuration(&image(config), options, &given).map(|spec| serde_json::to_value(spec).unwrap())
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| s.to_string()).collect()
}

#[test]
fn commands() {
    let both = json!({"Entrypoint": ["/e"], "Cmd": ["c", "d"]});
    let args = |options: &ImageOptions| made(both.clone(), options).unwrap()["process"]["args"].clone();
    let command = strings(&["x"]);
    assert_eq!(args(&ImageOptions::default()), json!(["/e", "c", "d"]));
    assert_eq!(
        args(&ImageOptions { command: command.clone(), ..ImageOptions::default() }),
        json!(["/e", "x"])
    );
    let entrypoint = Some(strings(&["/n"]));
    assert_eq!(
        args(&ImageOptions { entrypoint: entrypoint.clone(), ..ImageOptions::default() }),
        json!(["/n"])
    );
    assert_eq!(args(&ImageOptions { command, entrypoint, ..ImageOptions::default() }), json!(["/n", "x"]));
    assert!(made(json!({}), &ImageOptions::default()).unwrap_err().contains("no command"));
    // `--entrypoint ''` removes both the image's entry point and its command.
    let without = |command: &[&str]| {
        let options = ImageOptions {
            command: strings(command),
            entrypoint: Some(Vec::new()),
            ..ImageOptions::default()
        };
        made(both.clone(), &options)
    };
    assert_eq!(without(&["x", "-y"]).unwrap()["process"]["args"], json!(["x", "-y"]));
    assert!(without(&[]).unwrap_err().contains("no command"));
}

#[test]
fn environments() {
    let options = ImageOptions {
        env: strings(&["A=2", "CARGO_MANIFEST_DIR", "NOT_SET_ANYWHERE", "B=x=y"]),
        hostname: "h".into(),
        ..ImageOptions::default()
    };
    let spec = made(json!({"Cmd": ["c"], "Env": ["A=1", "PATH=/p"]}), &options).unwrap();
    let env: Vec<&str> =
        spec["process"]["env"].as_array().unwrap().iter().filter_map(|e| e.as_str()).collect();
    let cargo = format!("CARGO_MANIFEST_DIR={}", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(env, ["HOSTNAME=h", "PATH=/p", "A=2", &cargo, "B=x=y", "HOME=/"]);
}

#[test]
fn an_empty_home_is_the_users() {
    for env in [json!(["HOME="]), json!([])] {
        let spec = made(json!({"Cmd": ["c"], "Env": env}), &ImageOptions::default()).unwrap();
        let homes: Vec<_> =
            spec["process"]["env"].as_array().unwrap().iter().filter_map(|e| e.as_str()).collect();
        assert_eq!(homes.iter().filter(|e| e.starts_with("HOME")).collect::<Vec<_>>(), [&"HOME=/"]);
    }
}

#[test]
fn capabilities_given_and_taken() {
    let set = |add: &[&str], drop: &[&str]| {
        capabilities(&ImageOptions {
            cap_add: strings(add),
            cap_drop: strings(drop),
            ..ImageOptions::default()
        })
    };
    let usual = set(&[], &[]).unwrap();
    assert!(usual.contains(&Capability::Chown) && !usual.contains(&Capability::SysAdmin));
    assert!(set(&["cap_sys_admin"], &[]).unwrap().contains(&Capability::SysAdmin));
    assert_eq!(set(&["CHOWN"], &["all"]).unwrap(), HashSet::from([Capability::Chown]));
    assert!(!set(&["ALL"], &["SYS_ADMIN"]).unwrap().contains(&Capability::SysAdmin));
    assert!(set(&["FLY"], &[]).unwrap_err().contains("'FLY'"));
}

#[test]
fn only_root_starts_with_capabilities() {
    let config = json!({"Cmd": ["c"], "User": "7"});
    let spec = made(config, &ImageOptions::default()).unwrap();
    let sets = &spec["process"]["capabilities"];
    assert_eq!(sets["effective"], json!([]));
    assert!(!sets["bounding"].as_array().unwrap().is_empty());
}

#[test]
fn limits() {
    let limits = Limits { memory: Some(1 << 20), cpu_milli: Some(1500), pids: Some(9), ..Limits::default() };
    let spec = made(json!({"Cmd": ["c"]}), &ImageOptions { limits, ..ImageOptions::default() }).unwrap();
    let resources = &spec["linux"]["resources"];
    assert_eq!(resources["memory"], json!({"limit": 1 << 20, "swap": 1 << 20}));
    assert_eq!(resources["cpu"]["quota"], 150_000);
    assert_eq!(resources["pids"]["limit"], 9);
    assert_eq!(resources["devices"][0], json!({"allow": false, "access": "rwm"}));
}

#[test]
fn limits_of_processes() {
    let limited = |name: &str| {
        let rlimits = BTreeMap::from([(name.to_string(), (5, 6))]);
        made(json!({"Cmd": ["c"]}), &ImageOptions { rlimits, ..ImageOptions::default() })
    };
    let spec = limited("nofile").unwrap();
    assert_eq!(spec["process"]["rlimits"], json!([{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}]));
    assert!(limited("wings").unwrap_err().contains("RLIMIT_WINGS"));
}

#[test]
fn volumes_and_devices() {
    let volumes = vec!["/srv:/data:ro".parse::<Volume>().unwrap()];
    let options = ImageOptions {
        volumes,
        devices: vec!["/dev/null:/dev/n2:r".parse().unwrap()],
        ..ImageOptions::default()
    };
    let spec = made(json!({"Cmd": ["c"]}), &options).unwrap();
    let last = spec["mounts"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        last,
        json!({"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "ro", "rprivate"]})
    );
    assert_eq!(spec["linux"]["devices"][0]["minor"], 3);
    assert_eq!(spec["linux"]["devices"][0]["path"], "/dev/n2");
    assert_eq!(spec["linux"]["resources"]["devices"][1]["access"], "r");
    let named = vec!["db:/data".parse::<Volume>().unwrap()];
    assert!(
        made(json!({"Cmd": ["c"]}), &ImageOptions { volumes: named, ..ImageOptions::default() }).is_err()
    );
    let file = ImageOptions { devices: vec!["/etc/passwd".parse().unwrap()], ..ImageOptions::default() };
    assert!(made(json!({"Cmd": ["c"]}), &file).unwrap_err().contains("not a device"));
}

#[test]
fn a_user_namespace_without_the_terminals_group() {
    let one: Vec<spec::LinuxIdMapping> =
        serde_json::from_value(json!([{"hostID": 1000, "containerID": 0, "size": 1}])).unwrap();
    let maps = Some(Maps { users: one.clone(), groups: one });
    let given = Given { root: "/r".into(), read: &none, maps };
    let spec = configuration(&image(json!({"Cmd": ["c"]})), &ImageOptions::default(), &given).unwrap();
    let spec = serde_json::to_value(spec).unwrap();
    assert!(!spec["mounts"][2]["options"].to_string().contains("gid=5"));
    assert!(spec["linux"]["namespaces"].to_string().contains("user"));
}
