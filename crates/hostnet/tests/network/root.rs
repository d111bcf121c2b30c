//! Tests of root's groups.

use crate::place::{Dir, Guest, Reach, command, has, host, reach, v4};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use trine_hostnet::{Error, Mode};

#[test]
fn members_reach_each_other_and_nobody_else() {
    host(|| {
        let dir = Dir::new();
        let network = dir.network();
        let [a, b, c] = [(); 3].map(|()| Guest::new());
        let ja = a.join(&network, "one", "a").unwrap();
        let inode = std::fs::metadata(&ja.hosts).unwrap().ino();
        let jb = b.join(&network, "one", "b").unwrap();
        let jc = c.join(&network, "two", "c").unwrap();
        assert_ne!(v4(&ja.addresses), v4(&jb.addresses));
        // No link accepts router advertisements of a member.
        let believes =
            "for i in /proc/sys/net/ipv6/conf/*; do case $i in */tr-*|*/eth0) cat $i/accept_ra; esac; done";
        assert_eq!(command("sh", &["-c", believes]), "0\n0\n");
        assert_eq!(a.run(|| command("sh", &["-c", believes])), "0\n");
        let [va, vb, vc] = [&ja, &jb, &jc].map(|j| IpAddr::from(v4(&j.addresses)));
        // Refused means that the host is there and answers.
        assert_eq!(a.run(move || reach(vb, 9)), Reach::Refused);
        assert_eq!(b.run(move || reach(va, 9)), Reach::Refused);
        if let Some(v6) = jb.addresses.v6 {
            assert_eq!(a.run(move || reach(v6.into(), 9)), Reach::Refused);
        }
        // By name: a's hosts file contains b's address, and is still the same file.
        let hosts = std::fs::read_to_string(&ja.hosts).unwrap();
        assert!(hosts.lines().any(|l| l == format!("{vb}\tb")), "{hosts}");
        assert!(!hosts.contains(&vc.to_string()), "{hosts}");
        assert_eq!(std::fs::metadata(&ja.hosts).unwrap().ino(), inode);
        assert_eq!(std::fs::read_to_string(&ja.hostname).unwrap(), "a\n");
        // The other group is unreachable even where the host routes; its members reach each other by IPv6;
        // the host reaches all.
        assert_eq!(reach(vc, 9), Reach::Refused);
        assert_eq!(a.run(move || reach(vc, 9)), Reach::Nowhere);
        assert_eq!(c.run(move || reach(va, 9)), Reach::Nowhere);
        if let Some(v6) = jc.addresses.v6 {
            command("sh", &["-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"]);
            a.run(|| {
                command(
                    "sh",
                    &[
                        "-c",
                        "ip -6 route add default via $(ip -6 route | sed -n 's/^\\(fd.*\\)::\\/64 dev eth0.*/\\1::1/p')",
                    ],
                )
            });
            assert_eq!(a.run(move || reach(v6.into(), 9)), Reach::Nowhere);
        }
        drop(jb);
        assert!(!std::fs::read_to_string(&ja.hosts).unwrap().contains("\tb\n"));
        assert_eq!(a.run(move || reach(vb, 9)), Reach::Nowhere);
        drop((ja, jc));
        dir.assert_empty();
    });
}

#[test]
fn groups_are_apart_without_a_packet_filter_and_say_that_nothing_gets_out() {
    // A child with a PATH of its own; it finds nft in none of the system's directories.
    if std::env::var_os("TRINE_TEST_NO_NFT").is_none() {
        return;
    }
    host(|| {
        command("sh", &["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        let dir = Dir::new();
        let [a, b] = [(); 2].map(|()| Guest::new());
        let ja = a.join(&dir.network(), "one", "a").unwrap();
        let jb = b.join(&dir.network(), "two", "b").unwrap();
        assert!(
            ja.notes.iter().any(|n| n.contains("no access to the outside") && n.contains("nft")),
            "{:?}",
            ja.notes
        );
        let vb = v4(&jb.addresses).into();
        assert_eq!(a.run(move || reach(vb, 9)), Reach::Nowhere);
        assert_eq!(reach(vb, 9), Reach::Refused);
        drop((ja, jb));
        dir.assert_empty();
    });
}

/// The test above, with system directories that contain no nft.
#[test]
fn without_nft() {
    host(|| {
        // The mounts that hide nft are visible to this child only.
        let script = "for d in /usr/sbin /usr/bin; do [ -e $d/nft ] && mount --bind /dev/null $d/nft; done; exec \"$@\"";
        let test = "root::groups_are_apart_without_a_packet_filter_and_say_that_nothing_gets_out";
        let out = Command::new("unshare")
            .args(["-m", "sh", "-c", script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env("TRINE_TEST_NO_NFT", "1")
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    });
}

#[test]
fn packets_go_out_under_the_hosts_address() {
    if !has("nft") {
        return eprintln!("skipped: nft is not here");
    }
    host(|| {
        let dir = Dir::new();
        // A neighbour of the host, which has no route to the group.
        let neighbour = Guest::new();
        command("ip", &["link", "add", "out", "type", "veth", "peer", "name", "far"]);
        let pid = std::process::id();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&neighbour.0);
        command("ip", &["link", "set", "far", "netns", &format!("/proc/{pid}/fd/{fd}")]);
        command("sh", &["-c", "ip addr add 192.0.2.1/24 dev out; ip link set out mtu 1400 up"]);
        command("ip", &["route", "add", "default", "via", "192.0.2.2"]);
        let up = "ip addr add 192.0.2.2/24 dev far; ip link set far up; ip link set lo up";
        neighbour.run(move || command("sh", &["-c", up]));
        let guest = Guest::new();
        let joined = guest.join(&dir.network(), "one", "a").unwrap();
        assert!(joined.notes.iter().all(|n| !n.contains("access to the outside")), "{:?}", joined.notes);
        let server = neighbour.run(|| std::net::TcpListener::bind("192.0.2.2:7").unwrap());
        let client = guest.spawn(|| std::net::TcpStream::connect("192.0.2.2:7").unwrap());
        let (_, from) = server.accept().unwrap();
        assert_eq!(from.ip(), IpAddr::from([192, 0, 2, 1]));
        drop(client.join().unwrap());
        // The neighbour adds a route, and still cannot reach the group; the MTU is that of the uplink.
        let to = v4(&joined.addresses);
        neighbour.run(move || {
            command("ip", &["route", "add", &format!("{to}/32"), "via", "192.0.2.1"]);
            assert_eq!(reach(to.into(), 9), Reach::Nowhere);
        });
        assert!(guest.run(|| command("ip", &["link", "show", "eth0"])).contains("mtu 1400"));
        drop(joined);
        dir.assert_empty();
    });
}

#[test]
fn a_subnet_of_the_host_is_not_used() {
    host(|| {
        let dir = Dir::new();
        let first = Guest::new().join(&dir.network(), "one", "a").map(|j| v4(&j.addresses)).unwrap();
        command("sh", &["-c", "ip link add name d0 type bridge && ip link set d0 up"]);
        command(
            "ip",
            &["route", "add", &format!("{}/24", Ipv4Addr::from_bits(first.to_bits() & !255)), "dev", "d0"],
        );
        let second = Guest::new().join(&dir.network(), "one", "a").map(|j| v4(&j.addresses)).unwrap();
        assert_ne!(first.octets()[2], second.octets()[2]);
        command("ip", &["route", "add", "10.0.0.0/8", "dev", "d0"]);
        let third = Guest::new().join(&dir.network(), "one", "a").map(|j| v4(&j.addresses)).unwrap();
        assert_eq!(third.octets()[0], 172);
        dir.assert_empty();
    });
}

#[test]
fn no_network_and_the_hosts() {
    host(|| {
        let dir = Dir::new();
        let guest = Guest::new();
        let none = guest.join_mode(&dir.network(), &Mode::None, "a").unwrap();
        assert_eq!(guest.run(|| reach(Ipv4Addr::LOCALHOST.into(), 9)), Reach::Refused);
        assert_eq!(
            guest.run(|| command("ip", &["-o", "link"]).lines().filter(|l| l.contains("UP")).count()),
            1
        );
        assert_eq!(std::fs::read_to_string(&none.resolv).unwrap(), "");
        let own = guest.join_mode(&dir.network(), &Mode::Host, "b").unwrap();
        assert_eq!(std::fs::read(&own.resolv).unwrap(), std::fs::read("/etc/resolv.conf").unwrap());
        drop((none, own));
        dir.assert_empty();
    });
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    host(|| {
        let dir = Dir::new();
        let network = dir.network();
        let guest = Guest::new();
        for bad in ["", "..", "a/b", "host", "none", "a\n"] {
            assert!(matches!(guest.join(&network, bad, "a"), Err(Error::Bad(_))), "{bad}");
        }
        assert!(matches!(guest.join(&network, "one", "a\tb"), Err(Error::Bad(_))));
        let joined = guest.join(&network, "one", "a").unwrap();
        assert!(matches!(guest.join(&network, "two", "a"), Err(Error::Member(_))));
        // The guest has an eth0 already: the kernel refuses, and the first membership stays intact.
        assert!(matches!(guest.join(&network, "one", "b"), Err(Error::System { .. })));
        assert!(!std::fs::read_to_string(&joined.hosts).unwrap().contains("\tb\n"));
        assert!(network.leave("a").unwrap() && !network.leave("a").unwrap());
        drop(joined);
        dir.assert_empty();
    });
}

#[test]
fn a_guest_with_users_of_its_own_is_a_member_like_others() {
    host(|| {
        let dir = Dir::new();
        let (mut a, b) = (crate::rootless::Guest::new(), Guest::new());
        let ja = a.join(&dir.network(), "one", "a");
        let jb = b.join(&dir.network(), "one", "b").unwrap();
        let [va, vb] = [&ja, &jb].map(|j| IpAddr::from(v4(&j.addresses)));
        assert_eq!(a.reach(vb, 9), "Refused");
        assert_eq!(b.run(move || reach(va, 9)), Reach::Refused);
        assert_eq!(reach(va, 9), Reach::Refused);
        drop((ja, jb));
        dir.assert_empty();
    });
}

#[test]
fn a_member_that_is_in_disorder_does_not_keep_others_away() {
    host(|| {
        let dir = Dir::new();
        let network = dir.network();
        // Incomplete records of a group and of members, and a directory that is not ours.
        for path in ["half/members", "torn/members/x", "none/members/y"] {
            std::fs::create_dir_all(dir.0.join(path)).unwrap();
        }
        std::fs::write(dir.0.join("torn/group.json"), "{").unwrap();
        std::fs::write(dir.0.join("torn/members/x/member.json"), "").unwrap();
        let guest = Guest::new();
        let joined = guest.join(&network, "torn", "a").unwrap();
        // Another process removed the bridge.
        let bridge = command("sh", &["-c", "ip -o link | sed -n 's/.*: \\(tr-[^:]*\\):.*/\\1/p'"]);
        command("ip", &["link", "del", bridge.trim()]);
        let error = Guest::new().join(&network, "torn", "b").unwrap_err().to_string();
        assert!(error.contains("does not exist"), "{error}");
        drop(joined);
        dir.assert_empty();
    });
}

#[test]
fn a_group_has_room_for_253_members_and_no_more() {
    host(|| {
        let dir = Dir::new();
        let network = dir.network();
        let members: Vec<_> = (2..=254)
            .map(|i| {
                let guest = Guest::new();
                let joined = guest.join(&network, "one", &format!("g{i}")).unwrap();
                (guest, joined)
            })
            .collect();
        let error = Guest::new().join(&network, "one", "more").unwrap_err();
        assert!(matches!(error, Error::Full(_)) && error.to_string().contains("253 members"), "{error}");
        let last = v4(&members[252].1.addresses).into();
        assert_eq!(members[0].0.run(move || reach(last, 9)), Reach::Refused);
        drop(members);
        dir.assert_empty();
    });
}

#[test]
fn members_come_and_go_at_once() {
    host(|| {
        let dir = Dir::new();
        let own = Guest(std::fs::File::open("/proc/thread-self/ns/net").unwrap().into());
        let threads: Vec<_> = (0..8)
            .map(|i| {
                let network = dir.network();
                own.spawn(move || {
                    for round in 0..5 {
                        let guest = Guest::new();
                        let joined =
                            guest.join(&network, &format!("g{}", i % 2), &format!("m{i}-{round}")).unwrap();
                        assert!(
                            std::fs::read_to_string(&joined.hosts)
                                .unwrap()
                                .contains(&format!("m{i}-{round}"))
                        );
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        dir.assert_empty();
    });
}

/// The process that a test kills: it joins two guests and waits.
#[test]
fn child_that_is_killed() {
    let Some(dir) = std::env::var_os("TRINE_TEST_KILLED") else { return };
    let network = trine_hostnet::Network::at(dir.as_ref());
    let guests = [Guest::new(), Guest::new()];
    let joined = [("one", "a"), ("two", "b")]
        .map(|(g, n)| guests[usize::from(n == "b")].join(&network, g, n).unwrap());
    let ports = trine_hostnet::ports::parse("127.0.0.1::80").unwrap();
    use std::os::fd::AsFd;
    let _ports = trine_hostnet::Ports::open(&ports, guests[0].0.as_fd(), &joined[0].addresses).unwrap();
    println!("ready");
    std::thread::sleep(std::time::Duration::from_secs(600));
}

#[test]
fn nothing_is_left_after_a_kill() {
    host(|| {
        let dir = Dir::new();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "root::child_that_is_killed", "--nocapture"])
            .env("TRINE_TEST_KILLED", &dir.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        assert!(out.lines().any(|l| l.unwrap().contains("ready")));
        assert!(dir.network().repair().unwrap().is_empty());
        let links = command("ip", &["-o", "link"]);
        assert_eq!(links.matches(": tr-").count(), 2, "{links}");
        assert_eq!(links.matches(": tv-").count(), 2, "{links}");
        let children = || command("sh", &["-c", &format!("cat /proc/{}/task/*/children", child.id())]);
        let helpers = children();
        assert_eq!(helpers.split_whitespace().count(), 1, "the foot in the guest with ports: {helpers}");
        child.kill().unwrap();
        child.wait().unwrap();
        let mut gone = dir.network().repair().unwrap();
        gone.sort();
        assert_eq!(gone, ["a", "b"]);
        dir.assert_empty();
        // The helper process ends by itself, too.
        let path = format!("/proc/{}", helpers.trim());
        let ends = |_| {
            !std::path::Path::new(&path).exists() || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                false
            }
        };
        assert!((0..200).any(ends), "{path} is still there");
    });
}
