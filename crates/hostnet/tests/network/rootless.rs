//! Tests of ordinary users' groups: as `nobody`, and as root of a user namespace without a network of its
//! own. (The second may open `/dev/net/tun` everywhere, the first only where the host allows it to
//! everybody.)

use crate::place::{Dir, Reach, command, has, host, plain, reach, v4};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use trine_hostnet::{Joined, Mode, Network, Ports, ports::parse};

const AMOUNT: usize = 200 << 20;

/// A guest: a process in its own user and network namespaces that executes commands.
pub struct Guest {
    child: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
    netns: OwnedFd,
}

impl Guest {
    pub fn new() -> Guest {
        let mut child = Command::new("unshare")
            .arg("-Urn")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "rootless::guest", "--nocapture"])
            .env("TRINE_TEST_GUEST", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, hear) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut guest = Guest { child, tell, hear, netns: File::open("/dev/null").unwrap().into() };
        guest.line("ready");
        guest.netns = File::open(format!("/proc/{}/ns/net", guest.child.id())).unwrap().into();
        guest
    }

    /// The rest of the next line that begins with this text.
    fn line(&mut self, begin: &str) -> String {
        let mut text = String::new();
        while self.hear.read_line(&mut text).unwrap() > 0 {
            if let Some(at) = text.find(begin) {
                return text[at + begin.len()..].trim().to_owned();
            }
            text.clear();
        }
        panic!("the guest has ended");
    }

    fn ask(&mut self, what: &str) -> String {
        writeln!(self.tell, "{what}").unwrap();
        self.line("=> ")
    }

    pub fn reach(&mut self, address: IpAddr, port: u16) -> String {
        self.ask(&format!("reach {address} {port}"))
    }

    pub fn join(&self, network: &Network, group: &str, name: &str) -> Joined {
        let (mode, netns) = (&Mode::Group(group.into()), Some(self.netns.as_fd()));
        network.join(&plain(mode, name, netns)).unwrap()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The main function of the guest's process; not a test by itself.
#[test]
fn guest() {
    if std::env::var_os("TRINE_TEST_GUEST").is_none() {
        return;
    }
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let address = || SocketAddr::new(words[1].parse().unwrap(), words[2].parse().unwrap());
        let answer = match words[0] {
            "reach" => format!("{:?}", reach(address().ip(), address().port())),
            "serve" => {
                let server = TcpListener::bind(address()).unwrap();
                std::thread::spawn(move || {
                    for client in server.incoming() {
                        std::thread::spawn(move || echo(&client.unwrap()));
                    }
                });
                "done".into()
            }
            "echo-udp" => {
                let server = UdpSocket::bind(address()).unwrap();
                std::thread::spawn(move || {
                    let mut buffer = [0; 1000];
                    while let Ok((n, from)) = server.recv_from(&mut buffer) {
                        server.send_to(&buffer[..n], from).unwrap();
                    }
                });
                "done".into()
            }
            "sink" => {
                let server = TcpListener::bind(address()).unwrap();
                std::thread::spawn(move || {
                    std::io::copy(&mut server.accept().unwrap().0, &mut std::io::sink())
                });
                "done".into()
            }
            "pour" => {
                let (start, chunk) = (Instant::now(), vec![7u8; 1 << 20]);
                let mut to = TcpStream::connect(address()).unwrap();
                (0..AMOUNT >> 20).for_each(|_| to.write_all(&chunk).unwrap());
                to.shutdown(std::net::Shutdown::Write).unwrap();
                to.read_to_end(&mut Vec::new()).unwrap();
                format!("{}", start.elapsed().as_millis())
            }
            "from" => {
                let mut text = String::new();
                TcpStream::connect(address()).and_then(|mut c| c.read_to_string(&mut text)).unwrap();
                text
            }
            "links" => format!("{:?}", command("ip", &["-o", "link"]).lines().count()),
            _ => panic!("{line}"),
        };
        println!("=> {answer}");
    }
}

fn echo(mut client: &TcpStream) {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    client.write_all(&bytes).unwrap();
}

/// Runs one of the functions below as `nobody` and as root of a user namespace, on a test host.
fn as_users(scene: &'static str) {
    host(move || {
        command("ip", &["link", "add", "out", "type", "veth", "peer", "name", "far"]);
        command("sh", &["-c", "ip addr add 192.0.2.1/24 dev out; ip link set out up; ip link set far up"]);
        command("ip", &["route", "add", "default", "via", "192.0.2.2"]);
        let dir = Dir::new();
        let program = dir.0.join("test");
        // Copied by a program: if this process copied it, a child that starts meanwhile would keep the file
        // open for writing.
        command("cp", &[std::env::current_exe().unwrap().to_str().unwrap(), program.to_str().unwrap()]);
        let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        let hide = "mount --bind /dev/null /usr/bin/slirp4netns; exec \"$@\"";
        let pasta = ["unshare", "-Urm", "sh", "-c", hide, "sh"];
        let mut users = vec![&nobody[..], &["unshare", "-Ur"]];
        if scene != "members" && has("pasta") && has("slirp4netns") {
            users.push(&pasta);
        }
        for user in users {
            let out = Command::new(user[0])
                .args(&user[1..])
                .arg(&program)
                .args(["--exact", "rootless::scene", "--nocapture"])
                .env("TRINE_TEST_SCENE", scene)
                .output()
                .unwrap();
            let said =
                format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            said.lines().filter(|l| l.contains("MB/s")).for_each(|l| println!("{}: {l}", user[0]));
            assert!(out.status.success() && said.contains("1 passed"), "{user:?}: {said}");
        }
    });
}

#[test]
fn scene() {
    match std::env::var("TRINE_TEST_SCENE").as_deref() {
        Ok("members") => members(),
        Ok("ways_out") => ways_out(),
        Ok("kills") => kills(),
        Ok("killed") => killed(),
        _ => {}
    }
}

#[test]
fn members_reach_each_other_and_nobody_else() {
    as_users("members");
}

fn members() {
    let dir = Dir::new();
    let network = dir.network();
    let [mut a, mut b, mut c] = [(); 3].map(|()| Guest::new());
    let ja = a.join(&network, "one", "a");
    let jb = b.join(&network, "one", "b");
    let jc = c.join(&network, "two", "c");
    let [va, vb, vc] = [&ja, &jb, &jc].map(|j| IpAddr::from(v4(&j.addresses)));
    assert_eq!(a.reach(vb, 9), "Refused");
    assert_eq!(b.reach(va, 9), "Refused");
    if let Some(v6) = jb.addresses.v6 {
        assert_eq!(a.reach(v6.into(), 9), "Refused");
    }
    assert_eq!(a.reach(vc, 9), "Nowhere");
    assert_eq!(c.reach(va, 9), "Nowhere");
    // Not even the user's own host.
    assert_eq!(reach(va, 9), Reach::Nowhere);
    // The guest sees its loopback interface and one link.
    assert_eq!(a.ask("links"), "2");
    assert!(std::fs::read_to_string(&ja.hosts).unwrap().contains(&format!("{vb}\tb\n")));
    b.ask("sink 0.0.0.0 99");
    let time: f64 = a.ask(&format!("pour {vb} 99")).parse().unwrap();
    println!("from member to member: {:.0} MB/s", AMOUNT as f64 / 1e3 / time);
    ports(&mut a, &ja);
    machine(&network, &mut a, &ja);
    drop(jb);
    assert_eq!(a.reach(vb, 9), "Nowhere");
    // Leaving and joining again.
    drop(b);
    let mut b = Guest::new();
    let jb = b.join(&network, "one", "b");
    assert_eq!(b.reach(va, 9), "Refused");
    drop((ja, jb, jc));
    dir.assert_no_records();
}

/// A machine, where the user may open a TAP device.
fn machine(network: &Network, a: &mut Guest, joined: &Joined) {
    if File::options().read(true).write(true).open("/dev/net/tun").is_err() {
        let join = network.join_machine(&plain(&Mode::Group("one".into()), "box", None));
        let why = join.unwrap_err().to_string();
        assert!(why.contains("/dev/net/tun: ordinary users need permission"), "{why}");
        return;
    }
    // The machine does not answer.
    crate::machine::meet(network, joined, |own| a.reach(own.into(), 9) == "Nowhere");
}

fn ports(a: &mut Guest, joined: &Joined) {
    a.ask("serve 0.0.0.0 80");
    a.ask("echo-udp 0.0.0.0 53");
    let maps: Vec<_> =
        ["127.0.0.1::80", "127.0.0.1::53/udp"].iter().flat_map(|o| parse(o).unwrap()).collect();
    let ports = Ports::open(&maps, a.netns.as_fd(), &joined.addresses).unwrap();
    let [tcp, udp] = ports.list() else { panic!() };
    let (tcp, udp) = (tcp.host, udp.host);
    std::thread::scope(|s| {
        for i in 0..50 {
            s.spawn(move || {
                let mut client = TcpStream::connect(tcp).unwrap();
                let sent = vec![i; 100_000];
                client.write_all(&sent).unwrap();
                client.shutdown(std::net::Shutdown::Write).unwrap();
                let mut got = Vec::new();
                client.read_to_end(&mut got).unwrap();
                assert!(got == sent);
            });
        }
    });
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.send_to(b"hello", udp).unwrap();
    let mut buffer = [0; 9];
    assert_eq!(client.recv(&mut buffer).unwrap(), 5);
}

#[test]
fn packets_go_out_where_a_program_for_that_is_here() {
    as_users("ways_out");
}

fn ways_out() {
    let dir = Dir::new();
    let mut guest = Guest::new();
    let joined = guest.join(&dir.network(), "one", "a");
    let note = joined.notes.iter().find(|n| n.contains("has no access to the outside"));
    let tun = File::options().read(true).write(true).open("/dev/net/tun");
    if tun.is_err() || !has("nft") || !(has("slirp4netns") || has("pasta")) {
        let note = note.expect("a sentence that nothing gets out");
        assert!(note.contains("slirp4netns") || note.contains("pasta") || note.contains("nft"), "{note}");
        return println!("skipped: /dev/net/tun, nft, and slirp4netns or pasta are needed");
    }
    assert_eq!(note, None);
    // This test's host, by an address of its own; not by loopback, which guests cannot reach.
    let server = TcpListener::bind("192.0.2.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    std::thread::spawn(move || server.accept().unwrap().0.write_all(b"out\n").unwrap());
    assert_eq!(guest.ask(&format!("from 192.0.2.1 {port}")), "out");
    let own = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_ne!(guest.reach("198.18.255.2".parse().unwrap(), own), "Taken");
    assert!(std::fs::read_to_string(&joined.resolv).unwrap().contains("nameserver 198.18.255.3"));
    drop(joined);
    dir.assert_no_records();
}

#[test]
fn nothing_is_left_after_kills() {
    as_users("kills");
}

/// Process IDs of the processes that a group has.
fn holders(dir: &Path, group: &str) -> Vec<i64> {
    let text = std::fs::read(dir.join(group).join("group.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&text).unwrap();
    record["holders"].as_array().unwrap().iter().map(|h| h["pid"].as_i64().unwrap()).collect()
}

fn ended(pids: &[i64]) {
    let end = Instant::now() + Duration::from_secs(10);
    // A zombie counts as ended.
    let state = |pid: &i64| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let runs = |pid: &&i64| !state(pid).is_empty() && !state(pid).contains(") Z ");
    while pids.iter().any(|p| runs(&p)) {
        assert!(Instant::now() < end, "{:?} still run", pids.iter().filter(runs).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn kills() {
    let dir = Dir::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "rootless::scene", "--nocapture"])
        .env("TRINE_TEST_SCENE", "killed")
        .env("TRINE_TEST_KILLED", &dir.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    assert!(out.lines().any(|l| l.unwrap().contains("ready")));
    let (one, two) = (holders(&dir.0, "one"), holders(&dir.0, "two"));
    assert!(!one.is_empty() && !two.is_empty());
    // Another process joins one of them, and keeps it.
    let mut c = Guest::new();
    let jc = c.join(&dir.network(), "one", "c");
    let to = [2, 3].map(|n| v4(&jc.addresses).to_bits() & !255 | n).map(|a| IpAddr::from(a.to_be_bytes()));
    let own = v4(&jc.addresses);
    let other = to.into_iter().find(|t| *t != IpAddr::from(own)).unwrap();
    assert_eq!(c.reach(other, 9), "Refused");
    child.kill().unwrap();
    child.wait().unwrap();
    // The second one's processes all end by themselves.
    ended(&two);
    assert!(one.iter().all(|p| Path::new(&format!("/proc/{p}")).exists()));
    assert_eq!(c.reach(other, 9), "Nowhere");
    let mut gone = dir.network().repair().unwrap();
    gone.sort();
    assert_eq!(gone, ["a", "b"]);
    // Killing the holder ends the group; the last member leaves nothing behind.
    command("kill", &["-9", &one[0].to_string()]);
    ended(&one);
    let guest = Guest::new();
    let mode = Mode::Group("one".into());
    let netns = Some(guest.netns.as_fd());
    let join = plain(&mode, "d", netns);
    let error = dir.network().join(&join).unwrap_err().to_string();
    assert!(error.contains("was killed: stop the network's members first"), "{error}");
    drop(jc);
    let joined = dir.network().join(&join).unwrap();
    let new = holders(&dir.0, "one");
    drop(joined);
    ended(&new);
    dir.assert_no_records();
}

fn killed() {
    let network = Network::at(std::env::var_os("TRINE_TEST_KILLED").unwrap().as_ref());
    let (a, b) = (Guest::new(), Guest::new());
    let _joined = (a.join(&network, "one", "a"), b.join(&network, "two", "b"));
    println!("ready");
    // Ends with its parent, where it is not killed.
    let _ = std::io::stdin().read(&mut [0]);
}
