//! Networks of containers, and ports of the host that lead into them.

use super::Place;
use crate::check::{same, until};
use std::io::{Read, Write};
use std::net::TcpStream;
use trine_test_support::{Checked, text};

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
