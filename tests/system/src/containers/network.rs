//! Networks of containers and machines, and ports of the host that lead into them.

use super::Place;
use crate::check::{same, until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use trine_test_support::command::{tool, words};
use trine_test_support::{Checked, NOBODY, text, tools};

const SERVE: &str = "exec httpd -f -h /srv -p 80";

/// The first line of a port's answer to a request, and the last.
fn get(port: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).map_err(text)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(text)?;
    Ok(answer.lines().last().unwrap_or_default().to_string())
}

/// Members find each other by name; others are unreachable.
pub fn groups(place: &Place) -> Checked {
    place.start("web", &["--network", "front", "--network-alias", "site"], SERVE)?;
    let fetch = "for i in 1 2 3 4 5 6 7 8 9; do wget -qO- http://$0/ && break; sleep 0.2; done";
    for name in ["web", "site"] {
        let line = fetch.replace("$0", name);
        same(name, place.line(&["--network", "front"], &line)?, "from the image")?;
    }
    let address = place.field("web", "State.Network.V4")?;
    let fetch = format!("wget -T 2 -qO- http://{address}/ 2>&1 || echo no");
    for other in [&["--network", "back"][..], &[]] {
        let said = place.line(other, &fetch)?;
        if !said.ends_with("no") {
            return Err(format!("{other:?} reaches another group: {said}"));
        }
    }
    same(
        "alone",
        place.line(&[], "ls /sys/class/net | grep -c eth; ping -c 1 127.0.0.1 > /dev/null && echo up")?,
        "0\nup",
    )?;
    let names =
        place.line(&["--network", "front", "--name", "me", "--add-host", "db:10.1.2.3"], "cat /etc/hosts")?;
    for line in ["10.1.2.3\tdb", &format!("{address}\t")] {
        if !names.contains(line) {
            return Err(format!("'{line}' is missing in {names}"));
        }
    }
    let dns = ["--network", "front", "--dns", "192.0.2.1", "--dns-search", "example"];
    same("resolver", place.line(&dns, "cat /etc/resolv.conf")?, "search example\nnameserver 192.0.2.1")?;
    // A member that leaves is forgotten; the remaining ones are updated.
    let hosts = place.well(&["exec", "web", "cat", "/etc/hosts"])?;
    if hosts.contains("me") {
        return Err(format!("who has gone is in the list yet: {hosts}"));
    }
    same(
        "the host's network",
        place.line(&["--network", "host"], "ls /sys/class/net | head -1; hostname | wc -l")?.lines().count(),
        2,
    )
}

/// In a group and alone, and after a restart.
pub fn ports(place: &Place) -> Checked {
    place.start("alone", &["-p", "127.0.0.1::80"], SERVE)?;
    place.start("member", &["--network", "n", "-p", "80", "-p", "127.0.0.1:0:53/udp"], SERVE)?;
    let open = |name: &str, inside: &str| {
        let list = place.well(&["ps", "--filter", &format!("name={name}"), "--format", "{{.Ports}}"])?;
        let found = list.split([',', ' ', '[', ']', '"']).find(|p| p.ends_with(&format!("->{inside}")));
        let port = found.and_then(|p| p.split("->").next()?.rsplit(':').next());
        port.map(str::to_string).ok_or_else(|| format!("{name} has no port {inside}: {list}"))
    };
    for name in ["alone", "member"] {
        let port = open(name, "80/tcp")?;
        until(&format!("{name} answers"), || Ok(get(&port).is_ok_and(|line| line == "from the image")))?;
    }
    // Datagrams are tested in the part `network`, as BusyBox has no server for them.
    open("member", "53/udp")?;
    let port = open("alone", "80/tcp")?;
    let said = place.say(&["run", "--rm", "-p", &format!("127.0.0.1:{port}:80"), &place.image, "true"])?;
    trine_test_support::command::check(
        said.code != 0 && said.err.contains("is in use"),
        "a port that is taken",
        &said,
    )?;
    place.well(&["stop", "-t", "0", "alone"])?;
    same("closed", get(&port).is_err(), true)?;
    place.well(&["start", "alone"])?;
    let port = open("alone", "80/tcp")?;
    until("it answers again", || Ok(get(&port).is_ok()))
}

/// What the machine does: it finds a container by its name, then serves a page of its own. The installer's BusyBox has no
/// `wget` and no `httpd`. What is said is not in these lines, which the console repeats.
const MACHINE: &str = r#"
until ping -c 1 web >/dev/null 2>&1; do sleep 1; done
get() { printf 'GET / HTTP/1.0\r\n\r\n' | nc $1 80 | tail -n 1; }
echo "got: $(get web)"; echo "with its domain: $(get web.mixed)"
printf 'HTTP/1.0 200 OK\r\n\r\nfrom the machine\n' >/tmp/page
while :; do nc -l -p 80 </tmp/page >/dev/null; done &
echo "it $(echo serves)"
"#;

/// A machine in the foreground of a command that has ended when this is dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Machine {
    fn start(place: &Place, options: &[&str]) -> Result<Machine, String> {
        let mut command = place.command(&[&["run"], options, &["linux"]].concat());
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(text)?;
        let input = child.stdin.as_mut().ok_or("no input")?;
        input.write_all(MACHINE.as_bytes()).map_err(text)?;
        Ok(Machine(child))
    }
}

/// Puts the files that machines boot where the place's user finds them, and lets everybody open a TAP device: the mount is in the
/// test's own namespace.
fn prepare_machines(place: &Place) -> Checked {
    let kernel = tools::guest()?.kernel;
    let files = kernel.ancestors().find(|dir| dir.ends_with("linux")).ok_or("no files of the guest")?;
    let cache = place.dir.join("data/trine");
    std::fs::create_dir_all(&cache).map_err(text)?;
    tool(Command::new("cp").arg("-r").arg(files).arg(&cache))?;
    if !place.rootless {
        return Ok(());
    }
    tool(Command::new("chown").arg("-R").arg(format!("{NOBODY}:{NOBODY}")).arg(&cache))?;
    let device = place.dir.join("tun");
    if !device.exists() {
        tool(Command::new("mknod").args(["-m", "666"]).arg(&device).args(["c", "10", "200"]))?;
        tool(Command::new("mount").arg("--bind").arg(&device).arg("/dev/net/tun"))?;
    }
    Ok(())
}

/// A machine and a container reach each other by name, a port of the host leads to the machine, and SIGKILL leaves nothing.
pub fn machines(place: &Place) -> Checked {
    if !Path::new("/dev/net/tun").exists() {
        println!("  skipped: /dev/net/tun is not here");
        return Ok(());
    }
    prepare_machines(place)?;
    let done = mixed(place);
    if place.rootless {
        tool(&mut words("umount /dev/net/tun"))?;
    }
    done
}

fn mixed(place: &Place) -> Checked {
    place.start("web", &["--network", "mixed"], SERVE)?;
    let options = ["--name", "box", "--network", "mixed", "--network-alias", "vm", "-p", "127.0.0.1::80"];
    let _machine = Machine::start(place, &options)?;
    let wanted = ["got: from the image", "with its domain: from the image", "it serves"];
    until("the machine reaches the container by name", || {
        let said = place.well(&["logs", "box"]).unwrap_or_default();
        Ok(wanted.iter().all(|line| said.contains(line)))
    })
    .map_err(|e| format!("{e}: {}", place.well(&["logs", "box"]).unwrap_or_default()))?;
    for name in ["box", "vm"] {
        let again =
            format!("for i in 1 2 3 4 5 6 7 8 9; do wget -qO- http://{name}/ && break; sleep 0.2; done");
        let line = format!("{again}; ping -c 1 {name} >/dev/null && echo and echo");
        same(name, place.line(&["--network", "mixed"], &line)?, "from the machine\nand echo")?;
    }
    let list = place.well(&["ps", "--filter", "name=box", "--format", "{{.Ports}}"])?;
    let port = list.split(['[', ']', '"', ',']).find_map(|p| p.split("->").next()?.rsplit_once(':'));
    let (_, port) = port.ok_or_else(|| format!("the machine has no port: {list}"))?;
    // Its server begins anew for each connection.
    let serves = || Ok(get(port).is_ok_and(|line| line == "from the machine"));
    until("the port leads to the machine", serves)?;
    // Stopped and continued, with the link as it was.
    let pid: i32 = place.field("box", "State.Pid")?.parse().map_err(text)?;
    let pause = format!("kill -STOP {pid}; sleep 0.3; kill -CONT {pid}");
    tool(Command::new("sh").args(["-c", &pause]))?;
    until("the machine answers after SIGSTOP", serves)?;
    let said = place.say(&["snapshot", "box", &place.dir.join("saved").display().to_string()])?;
    let refused = said.code != 0 && said.err.contains("private network cannot be saved");
    trine_test_support::command::check(refused, "a snapshot of a member", &said)?;
    trine_control::process::kill(pid);
    until("it is over", || Ok(["dead", "stopped"].contains(&&*place.field("box", "State.Status")?)))?;
    until("its name has gone", || Ok(!place.well(&["exec", "web", "cat", "/etc/hosts"])?.contains("box")))?;
    same("the port is closed", get(port).is_err(), true)?;
    same(
        "the other one stays",
        place.line(&["--network", "mixed"], "wget -qO- http://web/")?,
        "from the image",
    )
}
