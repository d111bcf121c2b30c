//! The environment of a container's program, one row for each aspect.

/// A configuration with changes, a script in it, and the expected output.
pub struct Case {
    /// Its subject.
    pub name: &'static str,
    /// JSON pointers and values; `+` at the end of a pointer adds to a list, `-` removes the entry.
    pub changes: &'static [(&'static str, &'static str)],
    /// A shell's script, or the program if the changes contain the arguments.
    pub script: &'static str,
    /// Expected lines.
    pub wants: &'static [&'static str],
    /// Forbidden words.
    pub lacks: &'static [&'static str],
    /// Its exit code.
    pub code: i32,
    /// Whether only root can do that.
    pub root: bool,
    /// Whether crun prints the same.
    pub same: bool,
}

const PLAIN: Case =
    Case { name: "", changes: &[], script: "", wants: &[], lacks: &[], code: 0, root: false, same: true };

/// Mount propagation of the root; crun's output differs.
const PROPAGATION: Case = Case {
    script: "awk '$5 == \"/\" { print $7 }' /proc/self/mountinfo | cut -d: -f1",
    same: false,
    ..PLAIN
};

const CAPABILITIES: &str = r#"{"bounding":["CAP_CHOWN","CAP_KILL"],"effective":["CAP_KILL"],"permitted":["CAP_CHOWN","CAP_KILL"],"inheritable":["CAP_KILL"],"ambient":["CAP_KILL"]}"#;

/// The rows.
pub const CASES: &[Case] = &[
    Case { name: "exit code", script: "exit 37", code: 37, ..PLAIN },
    // A namespace's first process cannot kill itself (pid_namespaces(7)).
    Case { name: "a signal's exit code", script: "sh -c 'kill -KILL $$'; exit $?", code: 137, ..PLAIN },
    Case { name: "the first process does not kill itself", script: "kill -KILL $$", ..PLAIN },
    Case {
        name: "names",
        script: "hostname; echo $$; id -u; pwd",
        wants: &["trine", "1", "0", "/"],
        ..PLAIN
    },
    Case { name: "own processes only", script: "echo /proc/[0-9]*", wants: &["/proc/1"], ..PLAIN },
    Case {
        name: "default devices and links",
        script: "cd /dev; stat -c '%n %F %t %T' null zero full random urandom tty; for l in fd stdin stdout stderr ptmx; do echo $l $(readlink $l); done; echo x > null && head -c 3 zero | wc -c",
        wants: &[
            "null character special file 1 3",
            "zero character special file 1 5",
            "full character special file 1 7",
            "random character special file 1 8",
            "urandom character special file 1 9",
            "tty character special file 5 0",
            "fd /proc/self/fd",
            "stdin /proc/self/fd/0",
            "stderr /proc/self/fd/2",
            "ptmx pts/ptmx",
            "3",
        ],
        ..PLAIN
    },
    Case {
        name: "a device of the configuration",
        changes: &[(
            "/linux/devices",
            r#"[{"path":"/dev/sub/fuse","type":"c","major":10,"minor":229,"fileMode":384,"uid":7,"gid":8}]"#,
        )],
        script: "stat -c '%t %T %a %u %g' /dev/sub/fuse",
        wants: &["a e5 600 7 8"],
        root: true,
        ..PLAIN
    },
    Case {
        name: "devices that are not granted",
        changes: &[
            ("/process/capabilities/bounding/+", r#""CAP_MKNOD""#),
            ("/process/capabilities/effective/+", r#""CAP_MKNOD""#),
            ("/process/capabilities/permitted/+", r#""CAP_MKNOD""#),
        ],
        script: "mknod /dev/mem c 1 1 && echo made; cat /dev/mem > /dev/null || echo refused; head -c 1 /dev/zero | wc -c",
        wants: &["made", "refused", "1"],
        root: true,
        ..PLAIN
    },
    Case {
        name: "a read-only root",
        script: "touch /x || echo no; touch /dev/shm/x && echo yes",
        wants: &["no", "yes"],
        ..PLAIN
    },
    Case {
        name: "a writable root",
        changes: &[("/root/readonly", "false")],
        script: "touch /written && echo yes; rm /written",
        wants: &["yes"],
        ..PLAIN
    },
    Case {
        name: "masked and read-only paths",
        changes: &[
            ("/linux/maskedPaths", r#"["/proc/version","/proc/tty","/no/such"]"#),
            ("/linux/readonlyPaths", r#"["/proc/sys"]"#),
        ],
        script: "wc -c < /proc/version; ls /proc/tty | wc -l; echo 1 > /proc/sys/vm/drop_caches || echo no",
        wants: &["0", "0", "no"],
        ..PLAIN
    },
    Case {
        name: "capabilities",
        changes: &[("/process/capabilities", CAPABILITIES)],
        script: "grep Cap /proc/self/status | tr -d '\\t'",
        wants: &[
            "CapInh:0000000000000020",
            "CapPrm:0000000000000021",
            "CapEff:0000000000000021",
            "CapBnd:0000000000000021",
        ],
        ..PLAIN
    },
    Case {
        name: "no capabilities at all",
        changes: &[("/process/capabilities", "null")],
        script: "grep -E 'Cap(Prm|Bnd)' /proc/self/status | tr -d '\\t'",
        wants: &["CapPrm:0000000000000000", "CapBnd:0000000000000000"],
        ..PLAIN
    },
    Case {
        name: "another user",
        changes: &[
            ("/process/user", r#"{"uid":5,"gid":6,"additionalGids":[7,8],"umask":63}"#),
            ("/process/capabilities", CAPABILITIES),
        ],
        script: "id -u; id -g; id -G; umask; grep -E 'Cap(Eff|Amb)' /proc/self/status | tr -d '\\t'",
        wants: &["5", "6", "6 7 8", "0077", "CapEff:0000000000000020", "CapAmb:0000000000000020"],
        root: true,
        ..PLAIN
    },
    Case {
        name: "no new privileges, a filter of system calls",
        changes: &[(
            "/linux/seccomp",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sethostname"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#,
        )],
        script: "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'; hostname x 2>&1",
        wants: &["NoNewPrivs:1", "Seccomp:2", "hostname: sethostname: Function not implemented"],
        code: 1,
        ..PLAIN
    },
    Case {
        name: "limits",
        changes: &[(
            "/process/rlimits",
            r#"[{"type":"RLIMIT_NOFILE","soft":100,"hard":200},{"type":"RLIMIT_CORE","soft":0,"hard":0}]"#,
        )],
        script: "ulimit -n; ulimit -Hn; ulimit -c",
        wants: &["100", "200", "0"],
        ..PLAIN
    },
    Case {
        name: "a directory that is made",
        changes: &[("/root/readonly", "false"), ("/process/cwd", r#""/made/for/this""#)],
        script: "pwd",
        wants: &["/made/for/this"],
        ..PLAIN
    },
    Case {
        name: "environment",
        changes: &[("/process/env/+", r#""A=b c""#)],
        script: "echo $A; echo $HOME",
        wants: &["b c", "/"],
        ..PLAIN
    },
    Case {
        name: "tmpfs with options",
        changes: &[(
            "/mounts/+",
            r#"{"destination":"/t","type":"tmpfs","source":"tmpfs","options":["size=64k","mode=1750","nosuid","noexec","ro"]}"#,
        )],
        script: "grep ' /t ' /proc/self/mounts; stat -c %a /t",
        wants: &["1750"],
        lacks: &["rw"],
        same: false,
        ..PLAIN
    },
    Case {
        name: "tmpfs that begins with what was there",
        changes: &[(
            "/mounts/+",
            r#"{"destination":"/etc","type":"tmpfs","source":"tmpfs","options":["tmpcopyup"]}"#,
        )],
        script: "grep -c ' /etc ' /proc/self/mounts; cat /etc/inside; cat /etc/deep/er; readlink /etc/link; touch /etc/new && echo new",
        wants: &["1", "inside", "deeper", "inside", "new"],
        ..PLAIN
    },
    Case {
        name: "bind mounts",
        changes: &[
            ("/mounts/+", r#"{"destination":"/b","type":"bind","source":"shared","options":["rbind","ro"]}"#),
            (
                "/mounts/+",
                r#"{"destination":"/w/file","type":"none","source":"shared/file","options":["bind"]}"#,
            ),
        ],
        script: "cat /b/file; touch /b/x || echo no; cat /w/file; ls /w",
        wants: &["shared", "no", "shared", "file"],
        ..PLAIN
    },
    Case {
        name: "a recursively read-only mount",
        changes: &[(
            "/mounts/+",
            r#"{"destination":"/b","type":"bind","source":"shared","options":["rbind","rro"]}"#,
        )],
        script: "touch /b/x || echo no",
        wants: &["no"],
        ..PLAIN
    },
    Case {
        name: "a mount over a link stays inside",
        changes: &[("/mounts/+", r#"{"destination":"/out/x","type":"tmpfs","source":"tmpfs"}"#)],
        script: "grep -o ' /escaped/x ' /proc/self/mounts; ls -d /escaped/x",
        wants: &["/escaped/x"],
        ..PLAIN
    },
    Case {
        name: "settings of its own network",
        changes: &[("/linux/sysctl", r#"{"net.ipv4.ip_forward":"1","net.ipv4.ping_group_range":"0 0"}"#)],
        script: "cat /proc/sys/net/ipv4/ip_forward",
        wants: &["1"],
        root: true,
        ..PLAIN
    },
    Case {
        name: "its own loopback is up",
        script: "ip link show lo | grep -o 'LOOPBACK,UP'",
        wants: &["LOOPBACK,UP"],
        ..PLAIN
    },
    Case {
        name: "a tmpfs where nothing was is everybody's",
        changes: &[("/mounts/+", r#"{"destination":"/new/t","type":"tmpfs","source":"tmpfs"}"#)],
        script: "stat -c %a /new/t",
        wants: &["1777"],
        // The second one finds the files of the first.
        same: false,
        ..PLAIN
    },
    Case {
        name: "a root that cannot be bound",
        changes: &[("/linux/rootfsPropagation", r#""unbindable""#)],
        wants: &["unbindable"],
        ..PROPAGATION
    },
    Case {
        name: "a shared root",
        changes: &[("/linux/rootfsPropagation", r#""shared""#)],
        wants: &["shared"],
        ..PROPAGATION
    },
    Case {
        name: "clocks of its own",
        changes: &[
            ("/linux/namespaces/+", r#"{"type":"time"}"#),
            ("/linux/timeOffsets", r#"{"boottime":{"secs":100000000},"monotonic":{"secs":100000000}}"#),
        ],
        script: "test $(cut -d. -f1 /proc/uptime) -gt 100000000 && echo later",
        wants: &["later"],
        // crun 1.8 does not know them.
        same: false,
        ..PLAIN
    },
    Case {
        name: "control groups of its own",
        changes: &[
            ("/linux/resources/pids", r#"{"limit":50}"#),
            ("/linux/resources/memory", r#"{"limit":67108864}"#),
        ],
        script: "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; ls /sys/fs/cgroup | wc -l; touch /sys/fs/cgroup/x || echo no; sed 's/.*://' /proc/self/cgroup | sort -u",
        wants: &["50", "no", "/"],
        root: true,
        same: false,
        ..PLAIN
    },
    Case {
        name: "personality, priority, domain",
        changes: &[
            ("/linux/personality", r#"{"domain":"LINUX32"}"#),
            ("/process/ioPriority", r#"{"class":"IOPRIO_CLASS_BE","priority":7}"#),
            ("/process/scheduler", r#"{"policy":"SCHED_BATCH","nice":5}"#),
            ("/process/oomScoreAdj", "500"),
            ("/domainname", r#""dom""#),
        ],
        script: "uname -m; cut -d' ' -f19 /proc/self/stat; cut -d' ' -f41 /proc/self/stat; cat /proc/self/oom_score_adj; cat /proc/sys/kernel/domainname",
        wants: &["i686", "5", "3", "500", "dom"],
        same: false,
        ..PLAIN
    },
    Case {
        name: "no descriptor but the program's own",
        script: "ls /proc/self/fd | tr '\\n' ' '; echo; ls -l /proc/1/exe | sed 's/.*-> //'",
        wants: &["0 1 2 3", "/bin/busybox"],
        ..PLAIN
    },
    Case {
        name: "no keys of the caller",
        script: "grep -o ' _ses.c' /proc/keys",
        wants: &["_ses.c"],
        changes: &[("/linux/maskedPaths", "[]")],
        same: false,
        root: true,
        ..PLAIN
    },
];

/// Refusals, each with a word of the sentence.
pub const REFUSED: &[(&str, &str, &str)] = &[
    ("/process/args", r#"["nothere"]"#, "executable file not found in $PATH"),
    ("/process/args", r#"["/nothere"]"#, "no such file or directory"),
    ("/process/args", r#"["/etc"]"#, "permission denied"),
    ("/process/args", r#"["/etc/inside"]"#, "ermission denied"),
    ("/process/cwd", r#""/proc/self/fd/3""#, "/proc/self/fd/3"),
    ("/root/path", r#""nothere""#, "root.path"),
    ("/root/path", r#""/""#, "the host's own root"),
    ("/mounts/+", r#"{"destination":"/x","type":"bind","source":"/nothere","options":["bind"]}"#, "/nothere"),
    ("/mounts/+", r#"{"destination":"/proc/self/attr","type":"tmpfs","source":"t"}"#, "inside /proc"),
    ("/mounts/+", r#"{"destination":"/x","type":"nofs","source":"t"}"#, "nofs"),
    (
        "/mounts/+",
        r#"{"destination":"/x","type":"tmpfs","source":"t","options":["nonsense=1"]}"#,
        "cannot mount tmpfs",
    ),
    ("/linux/sysctl", r#"{"kernel.panic":"1"}"#, "kernel.panic"),
    ("/linux/intelRdt", "{}", "intelRdt"),
    ("/linux/memoryPolicy", r#"{"mode":"MPOL_BIND","nodes":"0"}"#, "memoryPolicy"),
    ("/linux/netDevices", r#"{"eth0":{}}"#, "netDevices"),
    ("/linux/rootfsPropagation", r#""up""#, "rootfsPropagation"),
    ("/process/apparmorProfile", r#""none""#, "apparmorProfile"),
];
