//! Attacks from inside, one row each.

use serde_json::{Value, json};

/// A change of the configuration that every image's container gets.
pub type Change = fn(&mut Value);

/// An attack.
pub struct Row {
    /// What is attacked.
    pub name: &'static str,
    /// Changes in both runs, so that only one protection is tested.
    pub both: &'static [Change],
    /// The protection, if the usual configuration lacks it.
    pub on: &'static [Change],
    /// The change that removes the protection.
    pub off: &'static [Change],
    /// A shell's script: `attack` prints `GOT …` or `no …`. `$DISK`, `$PID`, `$ID` and `$HANDLE` are the host's.
    pub script: &'static str,
}

const PLAIN: Row = Row { name: "", both: &[], on: &[], off: &[], script: "" };

/// All capabilities.
pub fn capable(config: &mut Value) {
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = json!(trine_container::process::caps::every());
    }
}

/// No filter of system calls.
pub fn unfiltered(config: &mut Value) {
    config["linux"]["seccomp"] = Value::Null;
}

fn unmasked(config: &mut Value) {
    config["linux"]["maskedPaths"] = json!([]);
}

/// Writable files of the kernel.
pub fn writable(config: &mut Value) {
    config["linux"]["readonlyPaths"] = json!([]);
}

fn sys_writable(config: &mut Value) {
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"].as_str().is_some_and(|d| d.starts_with("/sys")) {
            mount["options"].as_array_mut().into_iter().for_each(|o| o.retain(|o| o != "ro"));
        }
    }
}

fn all_devices(config: &mut Value) {
    config["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "rwm" }]);
}

fn without(config: &mut Value, kind: &str) {
    if let Some(list) = config["linux"]["namespaces"].as_array_mut() {
        list.retain(|n| n["type"] != kind);
    }
}

fn host_groups(config: &mut Value) {
    without(config, "cgroup");
}

fn host_processes(config: &mut Value) {
    without(config, "pid");
}

fn host_network(config: &mut Value) {
    without(config, "network");
}

/// Other users inside: the container's root has no rights outside.
pub fn users(config: &mut Value) {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["linux"]["namespaces"].as_array_mut().into_iter().for_each(|l| l.push(json!({ "type": "user" })));
}

fn ordinary(config: &mut Value) {
    config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    for set in ["effective", "permitted"] {
        config["process"]["capabilities"][set] = json!([]);
    }
}

fn no_new_privileges(config: &mut Value) {
    config["process"]["noNewPrivileges"] = json!(true);
}

/// Writes of the kernel's settings: every row writes the current value.
const SETTINGS: &str = "for f in kernel/core_pattern kernel/panic vm/panic_on_oom fs/file-max; do attack same /proc/sys/$f; done; \
     attack write /proc/sysrq-trigger; attack write /proc/irq/default_smp_affinity";

const DEVICES: &str = "mknod /tmp/disk b $DISK && attack read /tmp/disk; attack read /image-disk; rm -f /tmp/disk; \
     mknod /tmp/log c 1 11 && attack write /tmp/log; rm -f /tmp/log";

/// The rows.
pub const ROWS: &[Row] = &[
    Row { name: "settings of the kernel", off: &[writable], script: SETTINGS, ..PLAIN },
    Row {
        name: "settings of the kernel, with all capabilities",
        both: &[capable],
        off: &[writable],
        script: SETTINGS,
        ..PLAIN
    },
    Row {
        name: "what the kernel tells of the host",
        both: &[capable],
        off: &[unmasked],
        script: "for f in kcore keys timer_list interrupts; do test -e /proc/$f && attack read /proc/$f; done; \
                 test -z \"$(ls /sys/firmware)\" || echo GOT firmware",
        ..PLAIN
    },
    Row {
        name: "masks taken away",
        off: &[capable, unfiltered],
        script: "mount -o remount,rw /proc/sys && attack same /proc/sys/kernel/core_pattern; \
                 umount /proc/timer_list && attack read /proc/timer_list",
        ..PLAIN
    },
    Row {
        name: "another procfs",
        off: &[capable, unfiltered],
        script: "mkdir /tmp/p; mount -t proc proc /tmp/p && attack same /tmp/p/sys/kernel/core_pattern; umount /tmp/p",
        ..PLAIN
    },
    Row {
        name: "another procfs in a user namespace",
        both: &[unfiltered],
        off: &[unmasked, writable],
        script: "attack nested-proc /tmp/p /tmp/p/sys/kernel/core_pattern",
        ..PLAIN
    },
    Row { name: "nodes of devices", off: &[all_devices], script: DEVICES, ..PLAIN },
    Row {
        name: "nodes of devices, with all capabilities",
        both: &[capable, unfiltered],
        off: &[all_devices],
        script: DEVICES,
        ..PLAIN
    },
    Row {
        name: "a release agent",
        off: &[capable, unfiltered, host_groups],
        script: "attack agent trine$ID",
        ..PLAIN
    },
    Row {
        name: "a release agent, with all capabilities",
        both: &[capable, unfiltered],
        off: &[host_groups],
        script: "attack agent trine$ID",
        ..PLAIN
    },
    Row {
        name: "a release agent behind a user namespace",
        both: &[unfiltered],
        off: &[capable, host_groups],
        script: "attack nested-agent trine$ID; attack agent trine$ID",
        ..PLAIN
    },
    Row {
        name: "its own control groups",
        off: &[sys_writable],
        script: "for d in /sys/fs/cgroup/pids /sys/fs/cgroup; do mkdir $d/x && echo GOT a group && rmdir $d/x; done",
        ..PLAIN
    },
    Row {
        name: "settings of devices and drivers",
        off: &[sys_writable],
        script: "attack write /sys/kernel/uevent_helper; attack write /sys/kernel/mm/ksm/run; attack write /sys/power/state",
        ..PLAIN
    },
    Row {
        name: "a file by its handle",
        off: &[capable, unfiltered],
        script: "attack handle $HANDLE",
        ..PLAIN
    },
    Row {
        name: "a file by its handle, with all capabilities in a user namespace",
        both: &[capable, unfiltered],
        on: &[users],
        script: "attack handle $HANDLE",
        ..PLAIN
    },
    Row {
        name: "processes of the host",
        both: &[capable, unfiltered],
        off: &[host_processes],
        script: "attack process $PID",
        ..PLAIN
    },
    Row {
        name: "sockets without a file",
        off: &[host_network],
        script: "attack abstract trine-escape-$ID",
        ..PLAIN
    },
    Row { name: "new user namespaces", off: &[unfiltered], script: "attack userns", ..PLAIN },
    Row { name: "calls of many attacks", off: &[capable, unfiltered], script: "attack calls", ..PLAIN },
    Row {
        name: "set-user-ID files",
        both: &[ordinary],
        on: &[no_new_privileges],
        script: "/bin/raised euid",
        ..PLAIN
    },
    Row {
        name: "mounts",
        off: &[capable, unfiltered],
        script: "mount -t tmpfs t /tmp && echo GOT tmpfs; mount --bind /etc /tmp && echo GOT bind; mount -o remount,rw / && echo GOT root",
        ..PLAIN
    },
];
