//! Debian's own riscv64 programs, from packages, without a guest kernel: each must have the same output as
//! under QEMU's user mode.

use std::path::Path;
use std::process::{Command, Output};
use trine_test_support::tools;

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
    let root = tools::debian_root("riscv64", tools::PROGRAMS)?;
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
