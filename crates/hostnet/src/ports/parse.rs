//! The option `-p [IP:][HOSTPORT:]PORT[/tcp|udp]`, with Docker's meaning.

use super::{PortMap, Protocol};
use crate::{Error, Result};
use std::net::{IpAddr, Ipv6Addr};

fn bad(option: &str, why: &str) -> Error {
    let option = option.escape_default();
    Error::Bad(format!(
        "-p {option}: {why}: use [ADDRESS:][HOSTPORT:]PORT[/tcp|udp], ports also as FIRST-LAST"
    ))
}

/// Parses `N` or `N-M`.
fn range(option: &str, text: &str) -> Result<(u16, u16)> {
    let port = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>()) {
        Some(Ok(port)) => Ok(port),
        _ => Err(bad(option, &format!("'{}' is not a port (0 to 65535)", text.escape_default()))),
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    match first <= last {
        true => Ok((first, last)),
        false => Err(bad(option, "a range must not end before it begins")),
    }
}

/// Splits off the address. IPv6 addresses must be in brackets.
fn address<'a>(option: &str, text: &'a str) -> Result<(Option<IpAddr>, &'a str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, rest) = rest.split_once("]:").ok_or_else(|| bad(option, "']:' is missing"))?;
        let address: std::result::Result<Ipv6Addr, _> = inside.parse();
        return match address {
            Ok(a) => Ok((Some(a.into()), rest)),
            Err(_) => Err(bad(option, "the text in brackets is not an IPv6 address")),
        };
    }
    let Some((first, rest)) = text.split_once(':').filter(|(_, rest)| rest.contains(':')) else {
        return Ok((None, text));
    };
    match first.parse::<IpAddr>() {
        Ok(a) => Ok((Some(a), rest)),
        Err(_) if first.is_empty() => Ok((None, rest)),
        Err(_) => Err(bad(option, &format!("'{}' is not an address", first.escape_default()))),
    }
}

/// Parses one option. Two ranges of the same length give one map per port; a range of the host for one port
/// of the guest means any free one of the range; no port of the host, or 0, means any free one.
///
/// # Errors
/// A sentence that says which part is wrong.
pub fn parse(option: &str) -> Result<Vec<PortMap>> {
    let (text, protocol) = match option.split_once('/') {
        None => (option, Protocol::Tcp),
        Some((text, "tcp")) => (text, Protocol::Tcp),
        Some((text, "udp")) => (text, Protocol::Udp),
        Some((_, other)) => {
            return Err(bad(option, &format!("'{}' is neither tcp nor udp", other.escape_default())));
        }
    };
    let (address, ports) = address(option, text)?;
    let (host, guest) = match ports.split_once(':') {
        Some(("", guest)) => (None, guest),
        Some((host, guest)) => (Some(range(option, host)?), guest),
        None => (None, ports),
    };
    let (first, last) = range(option, guest)?;
    if first == 0 {
        return Err(bad(option, "a port of the guest must be 1 to 65535"));
    }
    let map = |guest, host_first, host_last| PortMap {
        address,
        host_first,
        host_last,
        guest,
        protocol,
        option: option.to_owned(),
    };
    let Some((low, high)) = host.filter(|&h| h != (0, 0)) else {
        return Ok((first..=last).map(|g| map(g, 0, 0)).collect());
    };
    if low == 0 {
        return Err(bad(option, "a range of the host must begin at 1 or later"));
    }
    if first == last {
        return Ok(vec![map(first, low, high)]);
    }
    match high - low == last - first {
        true => Ok((first..=last).zip(low..=high).map(|(g, h)| map(g, h, h)).collect()),
        false => Err(bad(option, "both ranges must have the same length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(option: &str) -> (Option<String>, u16, u16, u16, Protocol) {
        let mut maps = parse(option).unwrap();
        assert_eq!(maps.len(), 1, "{option}");
        let m = maps.remove(0);
        (m.address.map(|a| a.to_string()), m.host_first, m.host_last, m.guest, m.protocol)
    }

    #[test]
    fn all_forms_that_docker_takes() {
        let ip = |a: &str| Some(a.to_owned());
        assert_eq!(one("80"), (None, 0, 0, 80, Protocol::Tcp));
        assert_eq!(one("8080:80"), (None, 8080, 8080, 80, Protocol::Tcp));
        assert_eq!(one("0:80/udp"), (None, 0, 0, 80, Protocol::Udp));
        assert_eq!(one("127.0.0.1:8080:80/tcp"), (ip("127.0.0.1"), 8080, 8080, 80, Protocol::Tcp));
        assert_eq!(one("127.0.0.1::80"), (ip("127.0.0.1"), 0, 0, 80, Protocol::Tcp));
        assert_eq!(one("[::1]:8080:80"), (ip("::1"), 8080, 8080, 80, Protocol::Tcp));
        assert_eq!(one("[::1]::80"), (ip("::1"), 0, 0, 80, Protocol::Tcp));
        assert_eq!(one("8000-8010:80"), (None, 8000, 8010, 80, Protocol::Tcp));
        let maps = parse("8000-8002:90-92/udp").unwrap();
        let pairs: Vec<_> = maps.iter().map(|m| (m.host_first, m.host_last, m.guest)).collect();
        assert_eq!(pairs, [(8000, 8000, 90), (8001, 8001, 91), (8002, 8002, 92)]);
        assert_eq!(parse("90-92").unwrap().len(), 3);
        assert_eq!(parse("1-65535:1-65535").unwrap().len(), 65535);
    }

    #[test]
    fn others_are_refused_with_a_sentence() {
        let bad = [
            "",
            ":",
            "::",
            "x",
            "80/",
            "80/sctp",
            "80/TCP",
            "0",
            "65536",
            "-1",
            "1-",
            "-",
            "2-1",
            "+80",
            "8080:",
            "1-2:1-3",
            "0-5:80",
            "a:1:2",
            "[::1]80",
            "[::1:80",
            "[]:1:2",
            "::1:80:80",
            "1.2.3:1:2",
            "1:2:3:4",
            " 80",
            "80 ",
            "8 0",
            "host:80",
            "1.2.3.4:80",
            "[::1]:8080:80:80",
            "80\n",
            "8080:0",
            "٣:80",
        ];
        for option in bad {
            let error = parse(option).expect_err(option).to_string();
            assert!(error.starts_with("-p ") && error.contains("PORT"), "{option}: {error}");
            assert!(error.bytes().all(|b| !b.is_ascii_control()), "{option}");
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        let letters = b"0189:-/[]. tudpcp\xc3\xa4x";
        let mut state = 1u64;
        for _ in 0..200_000 {
            let mut text = Vec::new();
            for _ in 0..1 + state % 14 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push(letters[(state >> 33) as usize % letters.len()]);
            }
            for map in parse(&String::from_utf8_lossy(&text)).into_iter().flatten() {
                assert!(map.guest != 0 && map.host_first <= map.host_last);
                assert!(map.host_first != 0 || map.host_last == 0);
            }
        }
    }
}
