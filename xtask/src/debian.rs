//! Debian's own riscv64 programs, from packages, without a guest kernel: each must write what it writes under QEMU's
//! user mode. And `trine binfmt`, in a user namespace of the test's own.

use crate::bench::PACKAGES;
use crate::tools;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file of the root, and its arguments.
type Program = (&'static str, &'static [&'static str]);

const PROGRAMS: &[Program] = &[
    ("usr/bin/uname", &["-m"]),
    (
        "usr/bin/dash",
        &["-c", "i=0; while [ $i -lt 50 ]; do x=$(echo $i); (exit 3) || i=$((i + 1)); done; echo $x $?"],
    ),
    ("usr/bin/dash", &["-c", "trap 'echo caught' TERM; kill -TERM $$; echo after; exit 7"]),
    ("usr/bin/sort", &["-r", "@words"]),
    ("usr/bin/sha256sum", &["@words"]),
    ("usr/bin/date", &["-u", "-d", "2026-11-25 10:00", "+%s %A"]),
    (
        "usr/bin/perl",
        &["-e", "my %h; $h{$_ % 97} += $_ for 1 .. 9999; print join ',', map { $h{$_} } sort keys %h"],
    ),
    (
        "usr/bin/python3",
        &[
            "-S",
            "-c",
            "import sys, os\npid = os.fork()\nif pid == 0: os._exit(5)\nprint(os.waitpid(pid, 0)[1], 2 ** 200, 1e22 / 3)",
        ],
    ),
    (
        "usr/bin/python3",
        &[
            "-S",
            "-c",
            "import threading\nl = []\nt = [threading.Thread(target=l.append, args=(i,)) for i in range(20)]\n[x.start() for x in t]; [x.join() for x in t]\nprint(sorted(l))",
        ],
    ),
    (
        "usr/bin/sqlite3",
        &[
            ":memory:",
            "create table t(a); insert into t values (1), (2); select sum(a), sqrt(count(*)) from t;",
        ],
    ),
    (
        "usr/bin/lua5.4",
        &["-e", "print(string.format('%.14g', math.pi), #string.rep('x', 1000), 7 // 2, 2^0.5)"],
    ),
    ("usr/bin/openssl", &["dgst", "-sha512", "@words"]),
    ("usr/bin/xz", &["-c", "-T2", "@words"]),
    ("usr/bin/zstd", &["-q", "-c", "@words"]),
    ("usr/bin/gzip", &["-n", "-c", "@words"]),
    ("usr/bin/dash", &["-c", "exit 42"]),
    ("usr/bin/dash", &["-c", "kill -SEGV $$"]),
    ("usr/bin/cat", &["/no/such/file"]),
];

/// Runs every program under both engines and QEMU.
pub fn run() -> Result<(), String> {
    let root = tools::debian_root("riscv64", PACKAGES)?;
    let (trine, qemu) = (tools::trine()?, tools::qemu_user("riscv64")?);
    let words = tools::root().join("target/tools/words");
    let text: String = (0..20_000u32).map(|i| format!("{}\n", i.wrapping_mul(2_654_435_761) >> 12)).collect();
    std::fs::write(&words, text).map_err(|e| e.to_string())?;
    for program in PROGRAMS {
        let want =
            output(Command::new(&qemu).arg("-L").arg(&root).arg(root.join(program.0)), program, &words)?;
        for engine in ["baseline", "interp"] {
            let mut ours = Command::new(&trine);
            ours.args(["run", "--engine", engine, "--sysroot"]).arg(&root).arg(format!("/{}", program.0));
            let got = output(&mut ours, program, &words)?;
            compare(program, engine, &got, &want)?;
        }
    }
    println!("{} runs of Debian's programs, in both engines as under QEMU", PROGRAMS.len());
    Ok(())
}

fn output(command: &mut Command, program: &Program, words: &Path) -> Result<Output, String> {
    for arg in program.1 {
        match *arg {
            "@words" => command.arg(words),
            arg => command.arg(arg),
        };
    }
    command.stdin(std::process::Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))
}

fn compare(program: &Program, engine: &str, got: &Output, want: &Output) -> Result<(), String> {
    if got.status == want.status && got.stdout == want.stdout {
        return Ok(());
    }
    let text = |o: &Output| {
        let (out, err) = (String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr));
        format!("{}\n{}\n{}", o.status, out.chars().take(500).collect::<String>(), err)
    };
    Err(format!("{program:?} ({engine}):\n{}\nunder QEMU:\n{}", text(got), text(want)))
}

/// What runs in the namespace: a registration, a riscv64 program started by the kernel, in this root and in one that has
/// nothing else, and the end of the registration. Exit code 99: there is no such namespace here.
const SCRIPT: &str = "\
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null || exit 99
set -e
\"$0\" binfmt status
\"$0\" binfmt install
\"$0\" binfmt status
\"$1/one\" a 'b c'
chroot \"$1\" /one a 'b c'
\"$0\" binfmt remove
! \"$1/one\" 2>/dev/null
";

/// A program that prints its arguments and starts itself again, once.
const ONE: &str = r#"
#include <stdio.h>
#include <unistd.h>
int main(int n, char **v) {
    for (int i = 0; i < n; i++) printf("[%s]", i ? v[i] : "0");
    printf("\n");
    fflush(stdout);
    if (n == 3) execl(v[0], v[0], "again", (char *)0);
    return n == 2 ? 0 : 1;
}
"#;

/// Registers with the kernel in a user namespace of its own (Linux 6.7).
pub fn binfmt() -> Result<(), String> {
    let dir: PathBuf = tools::root().join("target/tools/binfmt");
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let source = dir.join("one.c");
    std::fs::write(&source, ONE).map_err(|e| e.to_string())?;
    let gcc = tools::cross_gcc()?;
    crate::bench::check(tools::gcc(&gcc).args(["-static", "-o"]).arg(dir.join("one")).arg(&source))?;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT]).arg(tools::trine()?).arg(&dir);
    let out = command.output().map_err(|e| format!("unshare: {e}"))?;
    if out.status.code() == Some(99) || !out.status.success() && out.stdout.is_empty() {
        println!("skipped: a binfmt_misc of one's own in a user namespace is not here (Linux 6.7)");
        return Ok(());
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let runs = text.matches("[0][a][b c]\n[0][again]\n").count();
    let said = ["trine-riscv64: not registered", "trine-riscv64: run by", "trine-riscv64: removed"];
    match out.status.success() && runs == 2 && said.iter().all(|s| text.contains(s)) {
        true => Ok(()),
        false => Err(format!("{}\n{text}\n{}", out.status, String::from_utf8_lossy(&out.stderr))),
    }
}
