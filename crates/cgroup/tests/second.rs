//! Tests of cgroup v2 with a fake hierarchy: directories in which the test creates the files of each new
//! group, as the kernel would.

use oci_spec::runtime::LinuxResources;
use std::fs;
use std::path::{Path, PathBuf};
use trine_cgroup::{GroupPath, Host, Manager};

/// A fake hierarchy, and the mountinfo text by which it is found.
struct Tree {
    root: PathBuf,
    own: &'static str,
}

impl Tree {
    fn new(name: &str, own: &'static str, controllers: &str) -> Tree {
        let root = std::env::temp_dir().join(format!("trine-second-{name}-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let tree = Tree { root, own };
        tree.set("cgroup.controllers", controllers);
        tree.set("cgroup.subtree_control", "");
        tree
    }

    fn set(&self, file: &str, text: &str) {
        fs::create_dir_all(self.root.join(file).parent().unwrap()).unwrap();
        fs::write(self.root.join(file), text).unwrap();
    }

    fn get(&self, file: &str) -> String {
        fs::read_to_string(self.root.join(file)).unwrap()
    }

    fn manager(&self, path: &str, root: bool) -> Manager {
        let mountinfo = format!("30 25 0:26 / {} rw - cgroup2 cgroup2 rw,nsdelegate\n", self.root.display());
        let path = GroupPath::new(Some(Path::new(path)), "one").unwrap();
        Manager::on(&mut Host::of(&mountinfo, self.own), &path, root)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// A group `/a/b` with these files.
fn group(tree: &Tree, controllers: &str, files: &[&str]) -> Manager {
    for dir in ["a", "a/b"] {
        tree.set(&format!("{dir}/cgroup.controllers"), controllers);
        tree.set(&format!("{dir}/cgroup.subtree_control"), controllers);
    }
    files.iter().for_each(|file| tree.set(&format!("a/b/{file}"), ""));
    let mut manager = tree.manager("/a/b", true);
    manager.create().unwrap();
    manager
}

#[test]
fn controllers_are_given_from_above() {
    let tree = Tree::new("given", "0::/\n", "cpu memory pids misc");
    tree.set("a/cgroup.subtree_control", "memory");
    tree.set("a/b/cgroup.controllers", "memory");
    let mut manager = tree.manager("/a/b", true);
    manager.create().unwrap();
    // A plain file keeps the last value that was written to it only.
    assert_eq!(tree.get("cgroup.subtree_control"), "+pids");
    assert_eq!(tree.get("a/cgroup.subtree_control"), "+pids");
    let why = manager.apply(&resources(r#"{"pids":{"limit":3}}"#)).unwrap_err().to_string();
    assert!(why.contains("linux.resources.pids needs a control group with the pids controller"), "{why}");
}

#[test]
fn limits_of_the_specification() {
    let files = [
        "memory.max memory.low memory.swap.max memory.current cpu.weight cpu.max cpu.max.burst cpu.idle cpuset.cpus",
        "cpuset.mems pids.max io.weight io.max hugetlb.2MB.max rdma.max memory.high cgroup.max.depth",
    ];
    let files: Vec<&str> = files.iter().flat_map(|line| line.split(' ')).collect();
    let tree = Tree::new("limits", "0::/\n", "cpuset cpu io memory hugetlb pids rdma");
    let manager = group(&tree, "cpuset cpu io memory hugetlb pids rdma", &files);
    let notes = manager.apply(&resources(
        r#"{
        "memory":{"limit":1000,"reservation":500,"swap":3000,"kernel":1,"swappiness":10},
        "cpu":{"shares":1024,"quota":20000,"period":50000,"burst":7,"idle":0,"realtimePeriod":5,"cpus":"0-1","mems":"0"},
        "pids":{"limit":9},
        "blockIO":{"weight":505,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":4096}]},
        "hugepageLimits":[{"pageSize":"2MB","limit":2097152}],
        "rdma":{"mlx5_0":{"hcaHandles":3}},
        "network":{"classID":1},
        "unified":{"memory.high":"900","cgroup.max.depth":"2"}}"#,
    ));
    let notes = notes.unwrap();
    for (file, value) in [
        ("memory.max", "1000"),
        ("memory.low", "500"),
        ("memory.swap.max", "2000"),
        ("cpu.weight", "100"),
        ("cpu.max", "20000 50000"),
        ("cpu.max.burst", "7"),
        ("cpu.idle", "0"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
        ("pids.max", "9"),
        ("io.weight", "default 5000"),
        ("io.max", "8:0 rbps=4096"),
        ("hugetlb.2MB.max", "2097152"),
        ("rdma.max", "mlx5_0 hca_handle=3 hca_object=max"),
        ("memory.high", "900"),
        ("cgroup.max.depth", "2"),
    ] {
        assert_eq!(tree.get(&format!("a/b/{file}")), value, "{file}");
    }
    let said = |what: &str| notes.iter().any(|note| note.contains(what));
    assert!(
        notes.len() == 4 && said("kernel") && said("swappiness") && said("realtime") && said("classID"),
        "{notes:?}"
    );
    manager.apply(&resources(r#"{"memory":{"limit":-1},"pids":{"limit":-1},"cpu":{"quota":-1}}"#)).unwrap();
    let all =
        ["memory.max", "memory.swap.max", "pids.max", "cpu.max"].map(|file| tree.get(&format!("a/b/{file}")));
    assert_eq!(all, ["max"; 4]);
    // A period without a quota keeps the quota.
    tree.set("a/b/cpu.max", "20000 50000\n");
    manager.apply(&resources(r#"{"cpu":{"period":70000}}"#)).unwrap();
    assert_eq!(tree.get("a/b/cpu.max"), "20000 70000");
}

#[test]
fn what_cannot_be_is_refused_with_a_sentence() {
    let tree = Tree::new("refused", "0::/\n", "memory");
    let manager = group(&tree, "memory", &["memory.max"]);
    tree.set("a/b/memory.current", "5000\n");
    let why = |json: &str| manager.apply(&resources(json)).unwrap_err().to_string();
    for (json, part) in [
        (r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#, "in use (5000 bytes)"),
        (r#"{"memory":{"limit":4096,"swap":1}}"#, "memory and swap together"),
        (r#"{"cpu":{"shares":2}}"#, "needs a control group with the cpu controller"),
        (r#"{"unified":{"../memory.max":"1"}}"#, "not the name of a file"),
        (r#"{"unified":{"..":"1"}}"#, "not the name of a file"),
        (r#"{"unified":{"a/b":"1"}}"#, "not the name of a file"),
        (r#"{"unified":{"memory.zswap.max":"1"}}"#, "this host does not support this limit"),
        (r#"{"unified":{"pids.max":"1"}}"#, "pids controller"),
        (r#"{"memory":{"reservation":1}}"#, "memory.low cannot be written (\"1\")"),
    ] {
        assert!(why(json).contains(part), "{json}: {}", why(json));
    }
    // Nothing asked for, nothing needed.
    manager.apply(&resources(r#"{"cpu":{"shares":0},"blockIO":{"weight":0},"network":{}}"#)).unwrap();
}

#[test]
fn ordinary_users_make_groups_where_they_may() {
    let tree = Tree::new("users", "0::/user/session\n", "memory pids");
    tree.set("user/cgroup.subtree_control", "memory pids");
    tree.set("user/session/cgroup.subtree_control", "");
    let below = |path: &str, root| {
        tree.manager(path, root).hierarchies()[0].dir.strip_prefix(&tree.root).unwrap().to_owned()
    };
    // Its own group contains processes, so it enables no controllers: the new group is beside it.
    assert_eq!(below("", false), Path::new("user/trine/one"));
    assert_eq!(below("x", true), Path::new("x"));
    assert_eq!(below("/user/x", false), Path::new("user/x"));
    assert_eq!(below("user.slice:p:n", false), Path::new("user.slice/p-n.scope"));
    tree.set("user/session/cgroup.subtree_control", "memory");
    assert_eq!(below("", false), Path::new("user/session/trine/one"));
}

#[test]
fn what_was_used() {
    let tree = Tree::new("used", "0::/\n", "cpu io memory pids hugetlb");
    let manager = group(&tree, "cpu io memory pids hugetlb", &[]);
    for (file, text) in [
        (
            "cpu.stat",
            "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 3\nnr_throttled 2\nthrottled_usec 9\n",
        ),
        ("memory.current", "4096\n"),
        ("memory.max", "max\n"),
        ("memory.stat", "anon 1000\nfile 2000\n"),
        ("memory.events", "low 0\nmax 5\noom 2\noom_kill 1\n"),
        ("memory.swap.current", "7\n"),
        ("pids.current", "2\n"),
        ("pids.max", "max\n"),
        ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"),
        ("hugetlb.2MB.current", "2097152\n"),
        ("hugetlb.2MB.rsvd.current", "9\n"),
        ("hugetlb.2MB.events", "max 6\n"),
        ("cgroup.procs", "12\n0\n13\n"),
        ("c/cgroup.procs", "14\n"),
    ] {
        tree.set(&format!("a/b/{file}"), text);
    }
    let stats = manager.stats();
    let cpu = stats.cpu.unwrap();
    assert_eq!((cpu.total, cpu.user, cpu.kernel, cpu.throttled), (30_000, 20_000, 10_000, 9_000));
    let memory = stats.memory.unwrap();
    assert_eq!((memory.usage, memory.limit, memory.cache, memory.failures), (4096, u64::MAX, 2000, 5));
    assert_eq!((memory.oom_kills, memory.swap.usage, memory.all["anon"]), (1, 7, 1000));
    assert_eq!(stats.pids, Some((2, u64::MAX)));
    assert_eq!((stats.io[0].device, stats.io[0].writes), ((8, 0), 4));
    assert_eq!((stats.huge.len(), stats.huge["2MB"].usage, stats.huge["2MB"].failures), (1, 2 << 20, 6));
    assert_eq!(manager.processes().unwrap(), [12, 13, 14]);
}

#[test]
fn news_of_memory_by_inotify() {
    let tree = Tree::new("news", "0::/\n", "memory");
    let manager = group(&tree, "memory", &[]);
    tree.set("a/b/memory.events", "oom 1\noom_kill 1\n");
    let mut events = manager.oom_events().unwrap();
    assert_eq!(events.take(), Some(0));
    tree.set("a/b/memory.events", "oom 2\noom_kill 3\n");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&events));
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: writes a structure of ours.
    assert_eq!(unsafe { libc::poll(&mut poll, 1, 1000) }, 1);
    assert_eq!((events.take(), events.take()), (Some(2), Some(0)));
}

#[test]
fn freezing_waits_for_the_kernel() {
    let tree = Tree::new("freeze", "0::/\n", "");
    let manager = group(&tree, "", &["cgroup.freeze"]);
    tree.set("a/b/cgroup.events", "populated 1\nfrozen 0\n");
    let events = tree.root.join("a/b/cgroup.events");
    let kernel = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(30));
        fs::write(events, "populated 1\nfrozen 1\n").unwrap();
    });
    let start = std::time::Instant::now();
    manager.freeze().unwrap();
    assert!(start.elapsed().as_millis() >= 20 && manager.is_frozen());
    assert_eq!(tree.get("a/b/cgroup.freeze"), "1");
    kernel.join().unwrap();
    manager.thaw().unwrap();
    assert_eq!(tree.get("a/b/cgroup.freeze"), "0");
}

#[test]
fn a_host_without_groups() {
    let mut manager = Manager::on(&mut Host::of("", ""), &GroupPath::new(None, "one").unwrap(), true);
    manager.create().unwrap();
    manager.add(1).unwrap();
    assert!(manager.open_v2().is_none());
    assert!(manager.processes().unwrap_err().to_string().contains("no control group"));
    let why = manager.apply(&resources(r#"{"memory":{"limit":1}}"#)).unwrap_err().to_string();
    assert!(why.contains("this host does not have it"), "{why}");
    assert_eq!(manager.apply(&resources(r#"{"devices":[]}"#)).unwrap().len(), 1);
    manager.remove().unwrap();
}
