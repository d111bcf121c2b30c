//! A machine's link to the outside: it outlives that the host stops the machine, and jumps of the guest's clock; and through passt.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use trine_test_support::command::{check, tool};
use trine_test_support::machine::{Machines, Talk};
use trine_test_support::{Checked, text, tools};

/// Bytes that the host sends.
const BYTES: usize = 24 << 20;
/// After so many bytes the host waits, so that a transfer takes two seconds and more.
const PIECE: usize = 1 << 20;
const PAUSE: Duration = Duration::from_millis(100);
/// How long the machine is stopped.
const STOPPED: Duration = Duration::from_secs(3);

/// The guest asks for its address behind its prompt.
const HAS_ADDRESS: &str = "until ip -4 route show default | grep -q via; do sleep 1; done";

/// Runs all of them.
pub fn links(machines: &Machines) -> Checked {
    let file = machines.dir.join("sent");
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::fs::write(&file, (0..BYTES).map(|_| next()).collect::<Vec<u8>>()).map_err(text)?;
    let sum = tool(Command::new("md5sum").arg(&file))?;
    let sum = sum.split_whitespace().next().ok_or("no sum")?;
    stopped(machines, &file, sum)?;
    refused(machines)?;
    match tools::has(&["passt"]) {
        true => passt(machines, &file, sum),
        false => Ok(()),
    }
}

/// Sends the file to each that connects; returns the port.
fn sends(file: &Path) -> Result<u16, String> {
    let bytes = std::fs::read(file).map_err(text)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let port = listener.local_addr().map_err(text)?.port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            for piece in bytes.chunks(PIECE) {
                if stream.write_all(piece).is_err() {
                    break;
                }
                std::thread::sleep(PAUSE);
            }
        }
    });
    Ok(port)
}

/// The host stops the machine in a transfer, and the guest's clock is set to other years.
fn stopped(machines: &Machines, file: &Path, sum: &str) -> Checked {
    let port = sends(file)?;
    let mut talk = Talk::start(machines.run(&["linux", "--network", "user,host"]))?;
    talk.hear("# ")?;
    talk.say(&format!(
        "{HAS_ADDRESS}; (sleep 1; date -s @1900000000; sleep 1; date -s @1500000000) >/dev/null & \
         echo be''gins; nc 10.0.2.2 {port} </dev/null | md5sum; ping -c 1 10.0.2.2\n"
    ))?;
    talk.hear("begins")?;
    std::thread::sleep(Duration::from_millis(500));
    talk.signal(rustix::process::Signal::STOP)?;
    std::thread::sleep(STOPPED);
    talk.signal(rustix::process::Signal::CONT)?;
    talk.hear(sum).map_err(|e| format!("a transfer in which the machine was stopped: {e}"))?;
    talk.hear("1 packets received")?;
    talk.say("poweroff\n")?;
    talk.end().map(drop)
}

/// What a machine's network and number of harts cannot be.
fn refused(machines: &Machines) -> Checked {
    let taken = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let port = format!("127.0.0.1:{}:80", taken.local_addr().map_err(text)?.port());
    let cases = [
        (["-p", port.as_str()], 1, "in use"),
        (["--cpus", "17"], 2, "1..=16"),
        (["--cpus", "0"], 2, "1..=16"),
    ];
    for (words, code, why) in cases {
        let said = machines.whole(&[&["linux"], &words[..]].concat(), "")?;
        check(said.code == code && said.err.contains(why), &words.join(" "), &said)?;
    }
    Ok(())
}

/// The same transfer through the program `passt`, which has the host's loopback behind the address of the gateway. The guest keeps
/// its own direction open: with Debian 12's passt it stops after 64 KiB otherwise (docs/status.md).
fn passt(machines: &Machines, file: &Path, sum: &str) -> Checked {
    let port = sends(file)?;
    let mut talk = Talk::start(machines.run(&["linux", "--network", "passt"]))?;
    talk.hear("# ")?;
    talk.say(&format!(
        "{HAS_ADDRESS}; sleep 1000 | nc $(ip -4 route show default | sed 's/.*via //; s/ .*//') {port} | md5sum &\n"
    ))?;
    talk.hear(sum).map_err(|e| format!("a transfer through passt: {e}"))?;
    talk.say("poweroff\n")?;
    talk.end().map(drop)
}
