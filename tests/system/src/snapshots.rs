//! Machines that are saved while they work, and go on from the file: memory, disk and network are as they should be.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use trine_test_support::command::check;
use trine_test_support::machine::{Machines, Talk};
use trine_test_support::{Checked, text};

/// Bytes of the machine's disk.
const DISK: u64 = 128 << 20;

/// The machine in a place of its own.
struct Bench {
    machines: Machines,
    disk: PathBuf,
    file: String,
    /// The port where everything is accepted and read, and bytes that came.
    port: u16,
    came: Arc<AtomicU64>,
}

/// Saves a machine `rounds` times under load, and restores each snapshot twice at once.
pub fn run(rounds: u32) -> Checked {
    let bench = Bench::new()?;
    let mut box_ = Talk::start(bench.machines.verb(&bench.options()))?;
    let sum = bench.prepare(&mut box_)?;
    bench.refusals()?;
    for round in 0..rounds {
        bench.round(round, &sum).map_err(|e| format!("round {round}: {e}"))?;
        if round % 20 == 19 {
            println!("{} of {rounds}", round + 1);
        }
    }
    // The first machine has gone on all the time.
    bench.verify(&mut box_, &sum).map_err(|e| format!("the machine that was saved: {e}"))?;
    box_.say("poweroff\n")?;
    box_.end()?;
    bench.counted()?;
    println!(
        "{rounds} snapshots under load, each restored twice: memory, disks and network are as they should be"
    );
    Ok(())
}

/// A machine with a record goes on when its client is killed: those that a failed test left are removed.
impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.machines.said(&["rm", "-f", "box", "copy", "counted"]));
    }
}

impl Bench {
    fn new() -> Result<Bench, String> {
        let machines = Machines::new("snapshots")?;
        let disk = machines.dir.join("disk.raw");
        std::fs::File::create(&disk).and_then(|f| f.set_len(DISK)).map_err(text)?;
        let file = machines.dir.join("box.snap").display().to_string();
        let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
        let (port, came) = (listener.local_addr().map_err(text)?.port(), Arc::new(AtomicU64::new(0)));
        let theirs = came.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let came = theirs.clone();
                std::thread::spawn(move || {
                    let mut buf = [0; 1 << 16];
                    while let Ok(n @ 1..) = stream.read(&mut buf) {
                        came.fetch_add(n as u64, Ordering::SeqCst);
                    }
                });
            }
        });
        Ok(Bench { machines, disk, file, port, came })
    }

    fn options(&self) -> Vec<String> {
        let disk = self.disk.display().to_string();
        let words =
            ["run", "--name", "box", "-m", "256M", "--network", "user,host", "--disk", &disk, "linux"];
        words.map(String::from).to_vec()
    }

    /// Fills memory and disk with what can be recognized, and starts the load; returns the sum of both.
    fn prepare(&self, talk: &mut Talk) -> Result<String, String> {
        talk.hear("# ")?;
        talk.say(
            "mkdir -p /t; mount -t tmpfs t /t; dd if=/dev/urandom of=/t/a bs=1M count=16 2>/dev/null; \
             dd if=/t/a of=/dev/vda bs=1M 2>/dev/null; sync; md5sum /t/a > /t/sum; echo prep''ared\n",
        )?;
        talk.hear("prepared")?;
        // The sum stays in the guest; a file on its disk shows that it is the same one.
        let port = self.port;
        talk.say(&format!(
            "(while :; do dd if=/t/a of=/dev/vda bs=1M seek=32 conv=fsync 2>/dev/null; done) & A=$!; \
             (while :; do dd if=/t/a bs=1M 2>/dev/null | nc 10.0.2.2 {port} 2>/dev/null >/dev/null; sleep 0.1; done) & B=$!; \
             echo lo''aded $(cut -c1-32 /t/sum)\n"
        ))?;
        talk.hear("loaded ")?;
        Ok("/t/sum".into())
    }

    /// Stops the load, and compares memory and disk with the sum; does new work on both.
    fn verify(&self, talk: &mut Talk, sum: &str) -> Checked {
        talk.say(&format!(
            "kill $A $B; S=$(cut -c1-32 {sum}); same() {{ read s r; [ \"$s\" = \"$S\" ] && echo $1-go''od || echo $1-b''ad; }}; \
             echo 3 > /proc/sys/vm/drop_caches; same memory < /t/sum; md5sum /t/a | same tmpfs; \
             dd if=/dev/vda bs=1M count=16 2>/dev/null | md5sum | same disk; \
             dd if=/t/a of=/dev/vda bs=1M seek=64 conv=fsync 2>/dev/null; echo 3 > /proc/sys/vm/drop_caches; \
             dd if=/dev/vda bs=1M skip=64 count=16 2>/dev/null | md5sum | same written; echo veri''fied\n"
        ))?;
        for what in ["memory", "tmpfs", "disk", "written"] {
            talk.hear(&format!("{what}-good"))?;
        }
        talk.hear("verified")?;
        // A new connection.
        let before = self.came.load(Ordering::SeqCst);
        talk.say(&format!("echo new | nc 10.0.2.2 {}; echo conn''ected\n", self.port))?;
        talk.hear("connected")?;
        match self.came.load(Ordering::SeqCst) > before {
            true => Ok(()),
            false => Err("nothing came over the network".into()),
        }
    }

    fn round(&self, round: u32, sum: &str) -> Checked {
        // Now and then a paused machine, which stays paused.
        let paused = round % 5 == 4;
        if paused {
            let said = self.machines.said(&["pause", "box"])?;
            check(said.code == 0, "pause", &said)?;
        }
        let said = self.machines.said(&["snapshot", "--force", "box", &self.file])?;
        check(said.code == 0, "snapshot", &said)?;
        if paused {
            let said = self.machines.said(&["inspect", "-f", "{{.State.Status}}", "box"])?;
            check(said.out.trim() == "paused", "it stays paused", &said)?;
            let said = self.machines.said(&["resume", "box"])?;
            check(said.code == 0, "resume", &said)?;
        }
        let words = ["run", "--restore", &self.file];
        let mut copies = [Talk::start(self.machines.verb(&words))?, Talk::start(self.machines.verb(&words))?];
        for copy in &mut copies {
            self.verify(copy, sum)?;
        }
        for copy in &mut copies {
            copy.say("poweroff\n")?;
            copy.end()?;
        }
        Ok(())
    }

    /// What is refused, and how.
    fn refusals(&self) -> Checked {
        let refused = |words: &[&str], why: &str| {
            let said = self.machines.said(words)?;
            let right = said.code == 2 && said.err.contains(why) && said.err.lines().count() == 1;
            check(right, &format!("trine {}: '{why}'", words.join(" ")), &said)
        };
        let file = self.file.as_str();
        let said = self.machines.said(&["snapshot", "box", file])?;
        check(said.code == 0 && Path::new(&format!("{file}.disk0")).exists(), "the first snapshot", &said)?;
        refused(&["snapshot", "box", file], "exists already")?;
        refused(&["snapshot", "nobody", file], "there is no guest 'nobody'")?;
        refused(&["snapshot", "box", "/nowhere/file"], "cannot write the snapshot /nowhere/file")?;
        for (option, value) in [("-m", "1G"), ("--cpus", "2"), ("--disk", "x"), ("--append", "x")] {
            let name = if option == "-m" { "--memory" } else { option };
            refused(&["run", "--restore", file, option, value], &format!("{name} is for machines"))?;
        }
        refused(
            &["run", "--restore", file, "linux"],
            "--restore is for machines that go on from a snapshot",
        )?;
        refused(&["run", "--restore", "/etc/passwd"], "this is not a snapshot")?;
        let cut = self.machines.dir.join("cut.snap");
        std::fs::copy(file, &cut).map_err(text)?;
        let len = cut.metadata().map_err(text)?.len();
        std::fs::File::options().write(true).open(&cut).and_then(|f| f.set_len(len - 5)).map_err(text)?;
        refused(&["run", "--restore", &cut.display().to_string()], "this snapshot is cut off")?;
        // A record of a restored machine, in the background.
        let said = self.machines.said(&[
            "run",
            "-d",
            "--rm",
            "--name",
            "copy",
            "--restore",
            file,
            "-p",
            "127.0.0.1::22",
        ])?;
        check(said.code == 0, "a restored machine in the background", &said)?;
        let said = self.machines.said(&["rm", "-f", "copy"])?;
        check(said.code == 0, "rm", &said)
    }

    /// Machines in counted time go on in counted time.
    fn counted(&self) -> Checked {
        let file = self.machines.dir.join("counted.snap").display().to_string();
        let words = ["run", "--name", "counted", "--count-time", "1", "-m", "128M", "--disk"];
        let disk = format!("{},snapshot", self.disk.display());
        let words: Vec<String> =
            words.into_iter().chain([disk.as_str(), "linux"]).map(String::from).collect();
        let mut first = Talk::start(self.machines.verb(&words))?;
        first.hear("# ")?;
        first.say("X=bef''ore; (while :; do dd if=/dev/vda of=/dev/null bs=1M count=32; done) 2>/dev/null & echo $X\n")?;
        first.hear("before")?;
        let said = self.machines.said(&["snapshot", "counted", &file])?;
        check(said.code == 0, "a snapshot in counted time", &said)?;
        let mut copy = Talk::start(self.machines.verb(&["run", "--restore", &file]))?;
        for talk in [&mut first, &mut copy] {
            talk.say("kill $!; dd if=/dev/vda bs=1M count=16 2>/dev/null | md5sum | wc -c; echo $X-af''ter; poweroff\n")?;
            talk.hear("before-after")?;
            talk.end()?;
        }
        Ok(())
    }
}
