//! `bench machine`: a whole Debian under Trine and QEMU in turn: boot, idling, memory, network, disk, compiling.

mod figures;
mod side;

use figures::{Figures, Unit};
use side::{MIB, Side};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use trine_test_support::command::Running;
use trine_test_support::debian::{BOOT, Debian, HARTS, PROMPT, Shell, padded};
use trine_test_support::machine::{Machines, Talk};
use trine_test_support::process::{cpu_time, memory_besides};
use trine_test_support::{text, tools};

/// Writes the C files that are compiled, and a makefile.
const TREE: &str = include_str!("tree.sh");
/// Time limit for what runs in the machine, beyond its own time.
const PATIENCE: Duration = Duration::from_secs(900);
/// Bytes of the guest's RAM, as `HARTS` and `MEMORY` of the support code say.
const RAM: u64 = 1024 * MIB;
/// Bytes of the raw disk that fio writes and reads.
const DATA: u64 = 512 * MIB;

/// How long a machine that has started is left alone before it counts as idle. Trine notices a rest after twenty
/// seconds at most, and translates again what still runs.
const SETTLING: Duration = Duration::from_secs(45);

/// How long each measurement takes, in seconds.
struct Times {
    idle: u64,
    network: u64,
    disk: u64,
}

/// What all machines get.
struct Bench {
    machines: Machines,
    debian: Debian,
    tree: PathBuf,
    times: Times,
    /// Where `iperf3` listens on the host's loopback.
    port: u16,
}

/// Measures so many rounds and prints a table, or JSON.
pub fn run(rounds: usize, quick: bool, json: bool) -> Result<(), String> {
    let machines = Machines::new("bench-machine")?;
    let debian = Debian::with_tools(&machines)?;
    let tree = padded(&machines, "tree.sh", TREE)?;
    let times = match quick {
        true => Times { idle: 15, network: 3, disk: 3 },
        false => Times { idle: 30, network: 10, disk: 10 },
    };
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(text)?.port();
    let _server = serve(&machines, port)?;
    let bench = Bench { machines, debian, tree, times, port };
    let mut figures = Figures::default();
    for round in 1..=rounds {
        for side in Side::ALL {
            bench.measure(side, &mut figures).map_err(|e| format!("{}: {e}", side.name()))?;
            eprintln!("round {round} of {rounds}: {} done", side.name());
        }
    }
    figures.print(json);
    Ok(())
}

/// Starts `iperf3` as a server on the host's loopback.
fn serve(machines: &Machines, port: u16) -> Result<Running, String> {
    let dir = tools::unpacked("iperf3", "trixie", &["iperf3"], true)?;
    let mut command = Command::new(dir.join("usr/lib64/ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(dir.join("usr/lib/x86_64-linux-gnu")).arg(dir.join("usr/bin/iperf3"));
    command.args(["-s", "-B", "127.0.0.1", "-p", &port.to_string()]);
    Running::start(&mut command, &machines.dir.join("iperf3.log"))
}

impl Bench {
    fn measure(&self, side: Side, figures: &mut Figures) -> Result<(), String> {
        let root = self.debian.copy(&self.machines, "root.raw")?;
        let data = self.machines.dir.join("data.raw");
        std::fs::File::create(&data).and_then(|file| file.set_len(DATA)).map_err(text)?;
        let disks = [&root, &data, &self.tree].map(|disk| disk.display().to_string());
        let (command, _passt) = side.command(&self.machines, &self.debian, &disks)?;
        let start = Instant::now();
        let mut talk = Talk::start(command)?;
        let pid = talk.process().id();
        talk.hear_within(PROMPT, BOOT)?;
        figures.add("boot to the prompt", Unit::Seconds, side, start.elapsed().as_secs_f64());
        let mut shell = Shell::at_prompt(talk)?;
        if side != Side::Passt {
            self.idles(side, pid, &mut shell, figures)?;
        }
        self.network(side, &mut shell, figures)?;
        if side != Side::Passt {
            self.disk(side, &mut shell, figures)?;
            self.compiles(side, &mut shell, figures)?;
            memory(side, pid, "memory besides RAM, behind the loads", figures)?;
        }
        shell.power_off()
    }

    /// What a machine costs that has started and has nothing to do.
    fn idles(&self, side: Side, pid: u32, shell: &mut Shell, figures: &mut Figures) -> Result<(), String> {
        // Fails where a unit has failed, which is of no interest here. A machine that looks for servers of the time in vain is
        // not idle.
        shell.run("systemctl is-system-running --wait || true; systemctl stop systemd-timesyncd", BOOT)?;
        std::thread::sleep(SETTLING);
        let (time, start) = (cpu_time(pid), Instant::now());
        std::thread::sleep(Duration::from_secs(self.times.idle));
        let used = cpu_time(pid).saturating_sub(time).as_secs_f64() / start.elapsed().as_secs_f64();
        figures.add("idle, of a core", Unit::Percent, side, 100.0 * used);
        memory(side, pid, "memory besides RAM, idle", figures)
    }

    fn network(&self, side: Side, shell: &mut Shell, figures: &mut Figures) -> Result<(), String> {
        for (what, option) in [("network, guest to host", ""), ("network, host to guest", "-R")] {
            // On a busy host it happens that its connection of control ends early.
            let said = shell.run(
                &format!(
                    "for attempt in 1 2 3; do iperf3 -c $(ip -4 route show default | cut -d' ' -f3 | head -n 1) -p {} -t {} -f m \
                     {option} && break; sleep 1; done",
                    self.port, self.times.network
                ),
                PATIENCE,
            )?;
            let rate = received(&said).ok_or_else(|| format!("iperf3 says no rate: {said}"))?;
            figures.add(what, Unit::MbitPerSecond, side, rate);
        }
        Ok(())
    }

    fn disk(&self, side: Side, shell: &mut Shell, figures: &mut Figures) -> Result<(), String> {
        let loads = [
            ("disk, 1 MiB sequential write", "write", "1M"),
            ("disk, 1 MiB sequential read", "read", "1M"),
            ("disk, 4 KiB random write", "randwrite", "4k"),
            ("disk, 4 KiB random read", "randread", "4k"),
        ];
        for (what, kind, block) in loads {
            let said = shell.run(
                &format!(
                    "fio --name=t --filename=/dev/vdb --direct=1 --ioengine=libaio --iodepth=16 --rw={kind} --bs={block} \
                     --time_based --runtime={} --minimal",
                    self.times.disk
                ),
                PATIENCE,
            )?;
            let (kib, operations) = disk_rate(&said, kind.ends_with("write"))
                .ok_or_else(|| format!("fio says no rate: {said}"))?;
            match block {
                "1M" => figures.add(what, Unit::MibPerSecond, side, kib / 1024.0),
                _ => figures.add(what, Unit::OperationsPerSecond, side, operations),
            }
        }
        Ok(())
    }

    fn compiles(&self, side: Side, shell: &mut Shell, figures: &mut Figures) -> Result<(), String> {
        shell.run("sh /dev/vdc", PATIENCE)?;
        let start = Instant::now();
        shell.run(&format!("make -s -C /root/tree -j{HARTS}"), PATIENCE)?;
        figures.add("make -j4", Unit::Seconds, side, start.elapsed().as_secs_f64());
        Ok(())
    }
}

fn memory(side: Side, pid: u32, what: &'static str, figures: &mut Figures) -> Result<(), String> {
    figures.add(what, Unit::Mib, side, memory_besides(pid, RAM)? as f64 / MIB as f64);
    Ok(())
}

/// The rate in Mbit/s of what was received, of iperf3's last lines.
fn received(said: &str) -> Option<f64> {
    let line = said.lines().rev().find(|line| line.trim_end().ends_with("receiver"))?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let unit = words.iter().position(|word| *word == "Mbits/sec")?;
    words.get(unit.checked_sub(1)?)?.parse().ok()
}

/// KiB and operations per second, of the line that fio's `--minimal` writes: fields 7 and 8 for reads, 48 and 49 for writes.
fn disk_rate(said: &str, writes: bool) -> Option<(f64, f64)> {
    let line = said.lines().find(|line| line.starts_with("3;"))?;
    let at = if writes { 47 } else { 6 };
    let number = |field: usize| line.split(';').nth(field)?.parse().ok();
    Some((number(at)?, number(at + 1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_iperf3_says() {
        let said = "[  5]   0.00-3.00   sec   341 MBytes   954 Mbits/sec   12            sender\n\
                    [  5]   0.00-3.05   sec   339 MBytes   932 Mbits/sec                  receiver\n\niperf Done.\n";
        assert_eq!(received(said), Some(932.0));
        assert_eq!(received("iperf3: error"), None);
    }

    #[test]
    fn what_fio_says() {
        let line: Vec<String> = (1..=130).map(|n| if n == 1 { "3".into() } else { n.to_string() }).collect();
        let said = format!("fio: words\n{}\n", line.join(";"));
        assert_eq!(disk_rate(&said, false), Some((7.0, 8.0)));
        assert_eq!(disk_rate(&said, true), Some((48.0, 49.0)));
        assert_eq!(disk_rate("3;fio", true), None);
    }
}
