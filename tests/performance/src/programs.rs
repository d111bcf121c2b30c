//! Programs: the project's loads, start-up, and real programs from Debian, by `trine run`, `qemu-riscv64` and
//! the host itself.

use crate::loads;
use crate::measured::{Measured, USUAL, check, mean, print};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use trine_test_support::tools;

/// Starts that are timed together.
const STARTS: usize = 20;

/// A real program: name, file in its root (a `*` stands for the one existing name), arguments. `@NAME` is an
/// input file; `<NAME` as the last argument is standard input.
type Program = (&'static str, &'static str, &'static [&'static str]);

const PROGRAMS: &[Program] = &[
    ("openssl sha256", "usr/bin/openssl", &["sha256", "-r", "<text"]),
    ("openssl aes", "usr/bin/openssl", &["enc", "-aes-128-cbc", "-K", "00", "-iv", "00", "-in", "@text"]),
    ("xz", "usr/bin/xz", &["-2", "-T1", "-c", "@text"]),
    ("zstd", "usr/bin/zstd", &["-9", "-q", "--single-thread", "-c", "@text"]),
    ("gzip", "usr/bin/gzip", &["-n", "-c", "@text"]),
    ("python3", "usr/bin/python3", &["-S", "@load.py"]),
    ("perl", "usr/bin/perl", &["@load.pl"]),
    ("lua", "usr/bin/lua5.4", &["@load.lua"]),
    ("sqlite3", "usr/bin/sqlite3", &[":memory:", "<load.sql"]),
    ("gcc (cc1)", "usr/libexec/gcc/*/*/cc1", &["-O2", "-quiet", "-o", "-", "@load.i"]),
    ("bc", "usr/bin/bc", &["-l", "<load.bc"]),
    ("sh, forks", "usr/bin/dash", &["@forks.sh"]),
];

/// A measurement by `openssl speed` in one second: name, algorithm with its options, start of the line with
/// the rate, and the rate's field.
type Rate = (&'static str, &'static [&'static str], &'static str, usize);

const RATES: &[Rate] = &[
    ("openssl speed rsa2048, a signature", &["rsa2048"], "+F2:", 3),
    ("openssl speed sha256, a MiB", &["-bytes", "8192", "sha256"], "+F:", 3),
];

/// Where programs and inputs are.
struct Places {
    trine: PathBuf,
    qemu: PathBuf,
    guest: PathBuf,
    host: PathBuf,
    inputs: PathBuf,
}

impl Places {
    fn find() -> Result<Places, String> {
        let inputs = tools::root().join("target/tools/bench");
        fs::create_dir_all(&inputs).map_err(|e| e.to_string())?;
        write_inputs(&inputs).map_err(|e| e.to_string())?;
        Ok(Places {
            trine: tools::trine()?,
            qemu: tools::qemu_user("riscv64")?,
            guest: tools::debian_root("riscv64", tools::PROGRAMS)?,
            host: tools::debian_root("amd64", tools::PROGRAMS)?,
            inputs,
        })
    }

    /// By trine, by QEMU and natively.
    fn commands(&self, &(_, file, args): &Program) -> Result<[Command; 3], String> {
        let (guest, host) = (the_file(&self.guest, file)?, the_file(&self.host, file)?);
        let mut commands = [self.ours(&guest), self.theirs(&guest), self.native(&host)];
        for command in &mut commands {
            command.stdin(Stdio::null());
            for arg in args {
                match arg.as_bytes().first() {
                    Some(b'@') => command.arg(self.inputs.join(&arg[1..])),
                    Some(b'<') => command.stdin(self.input(&arg[1..])?),
                    _ => command.arg(arg),
                };
            }
        }
        Ok(commands)
    }

    fn input(&self, name: &str) -> Result<File, String> {
        File::open(self.inputs.join(name)).map_err(|e| format!("{name}: {e}"))
    }

    fn ours(&self, file: &Path) -> Command {
        let mut c = Command::new(&self.trine);
        c.arg("run").arg("--sysroot").arg(&self.guest);
        c.arg(Path::new("/").join(file.strip_prefix(&self.guest).unwrap_or(file)));
        c
    }

    fn theirs(&self, file: &Path) -> Command {
        let mut c = Command::new(&self.qemu);
        c.arg("-L").arg(&self.guest).arg(file);
        c
    }

    /// With the loader and the libraries of the same release.
    fn native(&self, file: &Path) -> Command {
        let mut c = Command::new(self.host.join("usr/lib64/ld-linux-x86-64.so.2"));
        c.arg("--library-path").arg(self.host.join("usr/lib/x86_64-linux-gnu")).arg(file);
        c.env("PYTHONHOME", self.host.join("usr"));
        c
    }
}

/// The file that a path with stars stands for.
fn the_file(root: &Path, pattern: &str) -> Result<PathBuf, String> {
    let mut path = root.to_path_buf();
    for part in pattern.split('/') {
        path = match part {
            "*" => {
                let mut found: Vec<_> = fs::read_dir(&path)
                    .map_err(|e| format!("{}: {e}", path.display()))?
                    .flatten()
                    .filter(|e| e.path().is_dir())
                    .collect();
                found.sort_by_key(|e| e.file_name());
                found.first().ok_or(format!("{} is empty", path.display()))?.path()
            }
            _ => path.join(part),
        };
    }
    match path.exists() {
        true => Ok(path),
        false => Err(format!("{} is not there", path.display())),
    }
}

/// Text that compresses like real text: words drawn by a fixed generator.
fn text(bytes: usize) -> String {
    const WORDS: &str = "the of and a to in is you that it he was for on are as with his they at be this have from or \
                         one had by word but not what all were we when your can said there use an each which she do \
                         how their if will up other about out many then them these so some her would make like him \
                         into time has look two more write go see number no way could people my than first water";
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let (mut text, mut state) = (String::with_capacity(bytes + 64), 1u64);
    while text.len() < bytes {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let n = (state >> 33) as usize;
        text += words[n % words.len()];
        text += if n.is_multiple_of(11) { ".\n" } else { " " };
        if n.is_multiple_of(29) {
            text += &(state >> 40).to_string();
        }
    }
    text
}

/// A C file with many functions, as the preprocessor leaves it.
fn c_file(functions: usize) -> String {
    let one = |i: usize| {
        format!(
            "static unsigned f{i}(unsigned a, unsigned *t) {{\n  unsigned r = a * {}u;\n  for (unsigned k = 0; k < {}u; \
             k++) {{ if (r & {}u) r = (r << 3) ^ t[k & 7]; else r += t[(r >> 5) & 7]; }}\n  return r;\n}}\n",
            i * 7 + 3,
            i % 9 + 2,
            1 << (i % 13)
        )
    };
    let calls: String = (0..functions).map(|i| format!("  s = f{i}(s, t);\n")).collect();
    let all: String = (0..functions).map(one).collect();
    format!("{all}unsigned run(unsigned s, unsigned *t) {{\n{calls}  return s;\n}}\n")
}

const PYTHON: &str = "\
def queens(n, row=0, cols=0, a=0, b=0):
    if row == n: return 1
    total, free = 0, ~(cols | a | b) & ((1 << n) - 1)
    while free:
        bit = free & -free
        free ^= bit
        total += queens(n, row + 1, cols | bit, (a | bit) << 1, (b | bit) >> 1)
    return total
words = {}
for i in range(150000):
    words[str(i * 7919 % 10007)] = words.get(str(i % 997), 0) + i
x = 0.0
for i in range(1, 300000): x += 1.0 / (i * i)
print(queens(8), sum(words.values()), round(x, 9), sorted(words)[:3])
";
const PERL: &str = "\
my (%h, $n);
for my $i (1 .. 200000) { my $s = 'key' . ($i * 7919 % 10007); $h{$s} += $i; $n++ if $s =~ /^key(\\d)\\d*\\1$/; }
my $t = join ' ', map { \"$_=$h{$_}\" } sort keys %h;
my $c = () = $t =~ /(\\d)(?=\\1)/g;
print \"$n $c \", length $t, \"\\n\";
";
const LUA: &str = "\
local t, s = {}, 0
for i = 1, 3000000 do t[i % 1000 + 1] = (t[i % 1000 + 1] or 0) + i % 7; s = s + i * 0.5 end
local parts = {}
for i = 1, 100000 do parts[#parts + 1] = string.format('%d:%s', i, ('x'):rep(i % 5)) end
print(s, t[17], #table.concat(parts))
";
const SQL: &str = "\
create table t(a integer primary key, b integer, c text);
with recursive n(x) as (select 1 union all select x + 1 from n where x < 120000)
  insert into t select x, x * 7919 % 10007, 'text ' || x from n;
create index tb on t(b);
select count(*), sum(length(c)) from t where b between 100 and 5000;
select b % 10, count(*), max(c) from t group by 1 order by 1;
select count(*) from t x join t y on x.b = y.b where x.a < 3000;
";
const FORKS: &str = "\
i=0
while [ $i -lt 300 ]; do x=$(echo $i); (exit 3); i=$((i + 1)); done
echo $x
";

fn write_inputs(dir: &Path) -> std::io::Result<()> {
    for (name, content) in [
        ("text", text(4 << 20)),
        ("load.py", PYTHON.into()),
        ("load.pl", PERL.into()),
        ("load.lua", LUA.into()),
        ("load.sql", SQL.into()),
        ("load.i", c_file(60)),
        ("load.bc", "scale=900\n4*a(1)\n".into()),
        ("forks.sh", FORKS.into()),
    ] {
        fs::write(dir.join(name), content)?;
    }
    Ok(())
}

/// Seconds, and the output.
fn timed(command: &mut Command) -> Result<(f64, Vec<u8>), String> {
    let start = Instant::now();
    let out = check(command)?;
    Ok((start.elapsed().as_secs_f64(), out))
}

/// Runs the program once each.
fn round(places: &Places, program: &Program) -> Result<[Option<f64>; 3], String> {
    let [mut ours, mut theirs, mut native] = places.commands(program)?;
    let ((a, out), (b, other)) = (timed(&mut ours)?, timed(&mut theirs)?);
    if out != other {
        return Err(format!("{}: what it wrote differs from QEMU's", program.0));
    }
    Ok([Some(a), Some(b), Some(timed(&mut native)?.0)])
}

/// Seconds for one unit of a line of `openssl speed`: a signature, or a MiB.
fn rate(places: &Places, &(name, args, start, field): &Rate) -> Result<[Option<f64>; 3], String> {
    let [ours, theirs, native] =
        places.commands(&(name, "usr/bin/openssl", &["speed", "-mr", "-seconds", "1"]))?;
    let mut times = [None; 3];
    for (time, mut command) in times.iter_mut().zip([ours, theirs, native]) {
        let out = String::from_utf8(check(command.args(args))?).map_err(|e| e.to_string())?;
        let line = out.lines().find(|l| l.starts_with(start));
        let rate = line.and_then(|l| l.split(':').nth(field)?.parse::<f64>().ok());
        let unit = if start == "+F:" { (1 << 20) as f64 } else { 1.0 };
        *time = Some(unit / rate.ok_or_else(|| format!("{name}: it said no rate:\n{out}"))?);
    }
    Ok(times)
}

/// Seconds for one of several starts.
fn start(command: impl Fn() -> Command) -> Result<Option<f64>, String> {
    let begin = Instant::now();
    (0..STARTS).try_for_each(|_| check(&mut command()).map(drop))?;
    Ok(Some(begin.elapsed().as_secs_f64() / STARTS as f64))
}

/// `true`, linked statically: for riscv64 and for the host.
fn static_true() -> Result<(PathBuf, PathBuf), String> {
    let dir = tools::root().join("target/tools/bench");
    let (source, guest, host) = (dir.join("true.c"), dir.join("true-riscv64"), dir.join("true-native"));
    fs::write(&source, "int main(void) { return 0; }\n").map_err(|e| e.to_string())?;
    let args = [OsStr::new("-O2"), "-static".as_ref(), source.as_ref(), "-o".as_ref()];
    check(tools::gcc(&tools::cross_gcc()?).args(args).arg(&guest))?;
    check(Command::new("cc").args(args).arg(&host))?;
    Ok((guest, host))
}

/// Measures and prints.
pub fn run(runs: usize, json: bool) -> Result<(), String> {
    let places = Places::find()?;
    let (loads_guest, loads_native) = (loads::guest()?, loads::native()?);
    let (true_guest, true_native) = static_true()?;
    let (dynamic, dynamic_host) = (places.guest.join("usr/bin/true"), places.host.join("usr/bin/true"));
    let plain = |with: &Path, first: &[&str], file: &Path| {
        let mut c = Command::new(with);
        c.args(first).arg(file);
        c
    };
    let mut own = Vec::new();
    let mut starts = [Measured::new("start of true, static"), Measured::new("start of true, dynamic")];
    let names = PROGRAMS.iter().map(|p| p.0).chain(RATES.iter().map(|r| r.0));
    let mut real: Vec<Measured> = names.map(Measured::new).collect();
    for run in 0..runs {
        let mut ours = plain(&places.trine, &["run"], &loads_guest);
        let mut theirs = plain(&places.qemu, &[], &loads_guest);
        loads::round(&mut own, [&mut ours, &mut theirs, &mut Command::new(&loads_native)])?;
        starts[0].add([
            start(|| plain(&places.trine, &["run"], &true_guest))?,
            start(|| plain(&places.qemu, &[], &true_guest))?,
            start(|| Command::new(&true_native))?,
        ]);
        starts[1].add([
            start(|| places.ours(&dynamic))?,
            start(|| places.theirs(&dynamic))?,
            start(|| places.native(&dynamic_host))?,
        ]);
        for (program, measured) in PROGRAMS.iter().zip(&mut real) {
            measured.add(round(&places, program)?);
        }
        for (one, measured) in RATES.iter().zip(&mut real[PROGRAMS.len()..]) {
            measured.add(rate(&places, one)?);
        }
        eprintln!("run {} of {runs} done", run + 1);
    }
    for part in [&mut own[..], &mut starts, &mut real] {
        print(part, USUAL, json);
        println!();
    }
    loads::print_means(&mut own, json);
    if let Some(mean) = mean(real.iter_mut()).filter(|_| !json) {
        println!("geometric mean of QEMU's time, real programs: {mean:.2}");
    }
    Ok(())
}
