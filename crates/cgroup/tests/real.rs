//! Tests with real groups on this host, as root, of what a fake hierarchy cannot show. Skipped for other
//! users.

use oci_spec::runtime::LinuxResources;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trine_cgroup::{GroupPath, Manager};

/// A group on this host, whose processes are killed and which is removed at the end.
struct Group(Manager);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.remove();
    }
}

/// Creates a group for a test; `None` where that is not possible.
fn group(name: &str, controllers: &[&str]) -> Option<Group> {
    let id = format!("{name}-{}", std::process::id());
    let mut manager = Manager::new(&GroupPath::new(None, &id).unwrap());
    manager.create().unwrap();
    let group = Group(manager);
    let there =
        |c: &&str| group.0.hierarchies().iter().any(|h| h.missing.is_none() && (h.has(c) || offers(h, c)));
    match controllers.iter().find(|c| !there(c)) {
        Some(controller) => {
            println!(
                "skipped: a control group with the {controller} controller, for which one is root, is not here"
            );
            None
        }
        None => Some(group),
    }
}

fn offers(hierarchy: &trine_cgroup::Hierarchy, controller: &str) -> bool {
    let controllers = std::fs::read_to_string(hierarchy.dir.join("cgroup.controllers")).unwrap_or_default();
    hierarchy.is_second() && controllers.split_ascii_whitespace().any(|c| c == controller)
}

impl Group {
    /// Starts a shell script in the group.
    fn run(&self, script: &str) -> Child {
        let entry_descriptors = self.0.entry_descriptors().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // SAFETY: only writes to open descriptors.
        unsafe { command.pre_exec(move || entry_descriptors.enter(false)) };
        command.spawn().unwrap()
    }

    fn apply(&self, json: &str) -> Vec<String> {
        self.0.apply(&resources(json)).unwrap()
    }

    /// Reads a file of the group, of the version that this host has.
    fn file(&self, controller: &str, first: &str, second: &str) -> String {
        let hierarchies = self.0.hierarchies();
        let of_first = hierarchies.iter().find(|h| h.has(controller)).map(|h| h.dir.join(first));
        let of_second = || hierarchies.iter().find(|h| h.is_second()).unwrap().dir.join(second);
        let path = of_first.unwrap_or_else(of_second);
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }
}

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// Waits until a condition holds; returns false after some seconds.
fn soon(mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while !holds() {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

#[test]
fn a_group_lives() {
    let Some(group) = group("lives", &[]) else { return };
    if group.0.hierarchies().iter().all(|h| h.missing.is_some()) {
        println!("skipped: a control group that one may make is not here");
        return;
    }
    let saved = serde_json::to_string(&group.0).unwrap();
    let mut inside = group.run("sleep 100 & sleep 100 & wait");
    assert!(soon(|| group.0.processes().unwrap().len() == 3));
    // No process of the program has moved out, and all hierarchies contain it.
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", inside.id())).unwrap();
    let made = group.0.hierarchies().iter().filter(|h| h.missing.is_none()).count();
    assert_eq!(own.lines().filter(|l| l.contains("/trine/lives-")).count(), made, "{own}");
    let again: Manager = serde_json::from_str(&saved).unwrap();
    assert!(!again.is_frozen());
    again.freeze().unwrap();
    assert!(group.0.is_frozen());
    group.0.thaw().unwrap();
    assert!(!group.0.is_frozen());
    again.freeze().unwrap();
    // Another process joins, and a frozen group can still be killed.
    let mut joins = Command::new("sleep").arg("100").spawn().unwrap();
    again.add(joins.id() as i32).unwrap();
    again.kill().unwrap();
    assert!(!inside.wait().unwrap().success() && !joins.wait().unwrap().success());
    assert_eq!(again.processes().unwrap(), Vec::<i32>::new());
    again.remove().unwrap();
    again.remove().unwrap();
    assert!(group.0.hierarchies().iter().all(|h| !h.dir.exists()));
}

#[test]
fn groups_below_go_as_well() {
    let Some(group) = group("below", &["pids"]) else { return };
    let dir = &group.0.hierarchies().iter().find(|h| h.has("pids") || h.is_second()).unwrap().dir;
    std::fs::create_dir_all(dir.join("a/b")).unwrap();
    let mut child = Command::new("sleep").arg("100").spawn().unwrap();
    std::fs::write(dir.join("a/b/cgroup.procs"), child.id().to_string()).unwrap();
    let all = group.0.hierarchies().iter().find(|h| h.is_second()).map(|h| &h.dir);
    // A cgroup v2 group, if there is one, answers for all.
    if all.is_none_or(|second| second == dir) {
        assert_eq!(group.0.processes().unwrap(), [child.id() as i32]);
        group.0.kill().unwrap();
    } else {
        child.kill().unwrap();
    }
    child.wait().unwrap();
    group.0.remove().unwrap();
    assert!(!dir.exists());
}

#[test]
fn a_fork_bomb_stays_small_and_ends() {
    if let Some(group) = group("bomb", &["pids"]) {
        fork_bomb(&group);
    }
}

/// Without cgroup v2, which can kill all processes at once, they are frozen and then killed.
#[test]
fn a_fork_bomb_ends_by_the_first_version() {
    let Some(all) = group("bomb1", &["pids"]) else { return };
    let group = Group(without(&all.0, true));
    if group.0.hierarchies().iter().all(|h| !h.has("freezer")) {
        println!("skipped: this host has no cgroup v1 freezer");
        return;
    }
    let mut sleeper = group.run("exec sleep 100");
    group.0.freeze().unwrap();
    assert!(group.0.is_frozen());
    group.0.thaw().unwrap();
    assert!(!group.0.is_frozen());
    fork_bomb(&group);
    sleeper.wait().unwrap();
}

fn fork_bomb(group: &Group) {
    group.apply(r#"{"pids":{"limit":20}}"#);
    assert_eq!(group.file("pids", "pids.max", "pids.max"), "20");
    let mut bomb = group.run("f() { f | f & f; }; while :; do f; done");
    let refused = || {
        let events = group.file("pids", "pids.events", "pids.events");
        events.lines().any(|l| l.strip_prefix("max ").is_some_and(|n| n != "0"))
    };
    assert!(soon(refused));
    assert!(group.0.stats().pids.unwrap().0 <= 20);
    let start = Instant::now();
    group.0.kill().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(group.0.processes().unwrap(), Vec::<i32>::new());
    bomb.wait().unwrap();
}

#[test]
fn a_memory_hog_is_ended_and_that_is_told() {
    let Some(group) = group("hog", &["memory"]) else { return };
    group.apply(r#"{"memory":{"limit":33554432,"swap":33554432}}"#);
    let stats = group.0.stats().memory.unwrap();
    assert_eq!((stats.limit, stats.oom_kills), (32 << 20, 0));
    let mut events = group.0.oom_events().unwrap();
    // A shell variable that doubles in size.
    let mut hog = group.run("a=0123456789abcdef; while :; do a=$a$a; done");
    let mut poll = libc::pollfd {
        fd: std::os::fd::AsRawFd::as_raw_fd(&events.as_fd()),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: writes a structure of ours.
    assert_eq!(unsafe { libc::poll(&mut poll, 1, 20_000) }, 1);
    assert!(!hog.wait().unwrap().success());
    let mut ended = 0;
    assert!(soon(|| {
        ended += events.take().unwrap();
        ended == 1
    }));
    let stats = group.0.stats().memory.unwrap();
    assert_eq!(stats.oom_kills, 1);
    assert!(stats.peak > 16 << 20 && stats.peak <= 33 << 20, "{stats:?}");
    group.0.remove().unwrap();
    assert_eq!(events.take(), None);
}

#[test]
fn memory_limits_move_both_ways() {
    let Some(group) = group("moves", &["memory"]) else { return };
    let limit = || group.0.stats().memory.unwrap().limit;
    for (memory, both) in [(64, 128), (16, 16), (256, 512), (256, -1), (32, 64), (-1, -1)] {
        let bytes = |mib: i64| if mib < 0 { mib } else { mib << 20 };
        group.apply(&format!(r#"{{"memory":{{"limit":{},"swap":{}}}}}"#, bytes(memory), bytes(both)));
        assert_eq!(limit(), if memory < 0 { u64::MAX } else { (memory as u64) << 20 });
    }
    let mut child = group.run("exec sleep 100");
    assert!(soon(|| group.0.stats().memory.unwrap().usage > 0));
    let low = resources(r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#);
    assert!(group.0.apply(&low).unwrap_err().to_string().contains("less than the memory in use"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_spinner_gets_its_share() {
    let Some(group) = group("spins", &["cpu"]) else { return };
    group.apply(r#"{"cpu":{"quota":20000,"period":100000,"shares":512}}"#);
    let mut spinner = group.run("while :; do :; done");
    let used = || group.0.stats().cpu.unwrap();
    let (before, start) = (used(), Instant::now());
    // However little CPU time a busy host gives it, it uses up its quota at some time.
    assert!(soon(|| used().throttled_periods >= before.throttled_periods + 5));
    let (after, time) = (used(), start.elapsed().as_nanos() as f64);
    let share = (after.total - before.total) as f64 / time;
    assert!(share > 0.01 && share < 0.3, "{share}");
    assert!(after.throttled > before.throttled);
    // Quota, period and burst can be changed in any order.
    for json in [
        r#"{"cpu":{"quota":5000,"period":5000}}"#,
        r#"{"cpu":{"quota":400000,"period":100000,"burst":300000}}"#,
        r#"{"cpu":{"burst":1000,"quota":2000,"period":10000}}"#,
        r#"{"cpu":{"quota":-1,"burst":0}}"#,
        r#"{"cpu":{"idle":1}}"#,
    ] {
        assert_eq!(group.apply(json), Vec::<String>::new());
    }
    group.0.kill().unwrap();
    spinner.wait().unwrap();
}

#[test]
fn cpus_are_chosen() {
    let Some(group) = group("chosen", &["cpuset"]) else { return };
    let all = group.file("cpuset", "cpuset.cpus", "cpuset.cpus.effective");
    let first = all.split([',', '-']).next().unwrap().to_owned();
    group.apply(&format!(r#"{{"cpu":{{"cpus":"{first}"}}}}"#));
    let child = group.run("exec grep Cpus_allowed_list /proc/self/status");
    let said = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).split_ascii_whitespace().last(), Some(&*first));
    let wrong = resources(r#"{"cpu":{"cpus":"9999"}}"#);
    let why = group.0.apply(&wrong).unwrap_err().to_string();
    assert!(why.contains("cpuset.cpus cannot be written (\"9999\")"), "{why}");
}

/// Uses devices that every container has, and one that none has.
const DEVICES: &str = "head -c1 /dev/zero >/dev/null && echo zero; : </dev/kmsg && echo kmsg";

fn devices_seen(group: &Group) -> String {
    let child = group.run(DEVICES);
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn devices_are_refused() {
    let Some(group) = group("devices", &["devices"]) else { return };
    assert!(devices_seen(&group).contains("kmsg"));
    group.apply(r#"{"devices":[{"allow":false,"access":"rwm"}]}"#);
    assert_eq!(devices_seen(&group), "zero");
    group.apply(r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#);
    assert_eq!(devices_seen(&group), "zero kmsg");
}

/// The same with a BPF program, which also works beside cgroup v1 controllers.
#[test]
fn devices_are_refused_by_bpf() {
    let Some(all) = group("bpf", &[]) else { return };
    let second = |h: &&trine_cgroup::Hierarchy| h.is_second() && h.missing.is_none();
    if all.0.hierarchies().iter().find(second).is_none() {
        println!("skipped: this host has no cgroup v2");
        return;
    }
    let group = Group(without(&all.0, false));
    assert!(devices_seen(&group).contains("kmsg"));
    match group.0.apply(&resources(r#"{"devices":[{"allow":false,"access":"rwm"}]}"#)) {
        Err(why)
            if why.to_string().contains("not supported") || why.to_string().contains("not implemented") =>
        {
            println!("skipped: a kernel with BPF for control groups is not here ({why})");
            return;
        }
        other => assert_eq!(other.unwrap(), Vec::<String>::new()),
    }
    assert_eq!(devices_seen(&group), "zero");
    // An update replaces the previous rules.
    group.apply(r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#);
    assert_eq!(devices_seen(&group), "zero kmsg");
    group.apply(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
    assert!(devices_seen(&group).contains("kmsg"));
}

/// The same group without the hierarchies of one version.
fn without(manager: &Manager, second: bool) -> Manager {
    let mut json = serde_json::to_value(manager).unwrap();
    let all = json["hierarchies"].as_array_mut().unwrap();
    all.retain(|h| h["controllers"].as_array().unwrap().is_empty() != second);
    serde_json::from_value(json).unwrap()
}

/// Created in the v2 group, and moved into the others by itself.
#[test]
fn a_process_is_born_inside() {
    let Some(group) = group("born", &[]) else { return };
    let (Some(second), Ok(entry_descriptors)) = (group.0.open_v2(), group.0.entry_descriptors()) else {
        println!("skipped: this host has no cgroup v2");
        return;
    };
    // SAFETY: a structure of integers.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    // CLONE_INTO_CGROUP (linux/sched.h).
    args.flags = 0x2_0000_0000;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = std::os::fd::AsRawFd::as_raw_fd(&second) as u64;
    // SAFETY: the child makes system calls only.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &args, size_of_val(&args)) } as i32;
    if pid == 0 {
        let code = i32::from(entry_descriptors.enter(true).is_err());
        // SAFETY: system calls of the child.
        unsafe {
            libc::raise(libc::SIGSTOP);
            libc::_exit(code)
        }
    }
    assert!(pid > 0);
    let mut status = 0;
    // SAFETY: waits for the child made just now until it stops.
    unsafe { libc::waitpid(pid, &mut status, libc::WUNTRACED) };
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    // SAFETY: lets the child go on, and waits for it.
    unsafe {
        libc::kill(pid, libc::SIGCONT);
        libc::waitpid(pid, &mut status, 0);
    }
    assert_eq!(status, 0);
    let made = group.0.hierarchies().iter().filter(|h| h.missing.is_none()).count();
    assert_eq!(own.lines().filter(|l| l.contains("/trine/born-")).count(), made, "{own}");
}

#[test]
fn no_group_is_left() {
    let name = format!("gone-{}", std::process::id());
    let mut manager =
        Manager::new(&GroupPath::new(Some(Path::new(&format!("/trine/deep/{name}"))), "x").unwrap());
    manager.create().unwrap();
    manager.create().unwrap();
    manager.remove().unwrap();
    assert!(manager.hierarchies().iter().all(|h| !h.dir.exists()));
    manager.hierarchies().iter().for_each(|h| drop(std::fs::remove_dir(h.dir.parent().unwrap())));
    assert!(manager.processes().is_err() || manager.processes().unwrap().is_empty());
}

/// A user who cannot create groups has none, and is told so when asking for a limit.
#[test]
fn a_user_without_rights() {
    // SAFETY: only returns a number.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: becoming another user needs root, which is not here");
        return;
    }
    // SAFETY: of this thread alone (the C library's function would change all).
    let become_user = |id: u32| unsafe { libc::syscall(libc::SYS_setresuid, -1, id, -1) };
    assert_eq!(become_user(65534), 0);
    let mut manager = Manager::new(&GroupPath::new(None, "denied").unwrap());
    let (created, applied) = (manager.create(), manager.apply(&resources(r#"{"pids":{"limit":5}}"#)));
    let devices = manager.apply(&resources(r#"{"devices":[{"allow":false}]}"#));
    assert_eq!(become_user(0), 0);
    created.unwrap();
    assert!(manager.hierarchies().iter().all(|h| h.missing.is_some()), "{manager:?}");
    let why = applied.unwrap_err().to_string();
    assert!(why.contains("linux.resources.pids needs a control group with the pids controller"), "{why}");
    assert_eq!(devices.unwrap().len(), 1);
    assert!(manager.kill().is_err());
    manager.remove().unwrap();
}

/// A container whose own service manager has moved its processes into groups below.
#[test]
fn processes_go_where_the_others_are() {
    let Some(all) = group("inner", &[]) else { return };
    let group = Group(without(&all.0, false));
    let Some(second) = group.0.hierarchies().first().filter(|h| h.missing.is_none()) else {
        println!("skipped: this host has no cgroup v2");
        return;
    };
    let offered = std::fs::read_to_string(second.dir.join("cgroup.controllers")).unwrap();
    let Some(controller) = offered.split_ascii_whitespace().next() else {
        println!("skipped: this host has no cgroup v2 controller");
        return;
    };
    let below = second.dir.join("init.scope");
    std::fs::create_dir(&below).unwrap();
    let mut first = Command::new("sleep").arg("100").spawn().unwrap();
    std::fs::write(below.join("cgroup.procs"), first.id().to_string()).unwrap();
    std::fs::write(second.dir.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    let mut other = Command::new("sleep").arg("100").spawn().unwrap();
    group.0.add(other.id() as i32).unwrap();
    assert!(std::fs::read_to_string(below.join("cgroup.procs")).unwrap().contains(&other.id().to_string()));
    let mut inside = group.run("exec sleep 100");
    assert!(soon(|| group.0.processes().unwrap().len() == 3));
    group.0.kill().unwrap();
    [&mut first, &mut other, &mut inside]
        .into_iter()
        .for_each(|child| assert!(!child.wait().unwrap().success()));
}

/// The file that names a program for the host to run lies in the root of each v1 hierarchy; a process in the
/// group that mounts a hierarchy itself does not see it (CVE-2022-0492 needed one).
#[test]
fn no_release_agent_is_in_sight() {
    let Some(group) = group("agent", &["memory"]) else { return };
    let dir = std::env::temp_dir().join(format!("trine-agent-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let list = |namespaces: &str| {
        let at = dir.display();
        let script = format!("unshare {namespaces} sh -c 'mount -t cgroup -o memory none {at} && ls {at}'");
        let output = group.run(&script).wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let has = |list: &[String], name: &str| list.iter().any(|n| n == name);
    let (whole, own) = (list("-m"), list("-mC"));
    std::fs::remove_dir(&dir).unwrap();
    if !has(&whole, "release_agent") || own.is_empty() {
        println!("skipped: this host has no cgroup v1 memory controller, or no unshare(1)");
        return;
    }
    assert!(has(&own, "cgroup.procs") && !has(&own, "release_agent"), "{own:?}");
    assert_eq!(group.file("memory", "notify_on_release", "cgroup.procs"), "0");
}
