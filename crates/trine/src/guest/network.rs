//! Options of `trine run` for a container's network.

use crate::Refusal;
use clap::Args;
use std::net::IpAddr;
use std::str::FromStr;
use trine_control::record;
use trine_hostnet::{Mode, PortMap, ports};

/// What one `-p` says: a port, or a range of ports.
#[derive(Clone, Debug)]
pub struct Published(Vec<PortMap>);

impl FromStr for Published {
    type Err = String;

    fn from_str(text: &str) -> Result<Published, String> {
        ports::parse(text).map(Published).map_err(|e| e.to_string())
    }
}

/// `NAME:ADDRESS`.
fn host(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once(':').ok_or_else(|| format!("'{text}' is no NAME:ADDRESS"))?;
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    let address = bare.parse().map_err(|_| format!("'{address}' is no address"))?;
    Ok((name.into(), address))
}

fn mode(text: &str) -> Result<Mode, String> {
    text.parse().map_err(|e: trine_hostnet::Error| e.to_string())
}

/// Options of networks.
#[derive(Args)]
pub struct NetworkArgs {
    /// `none`: only its own loopback interface; `host`: the host's; any other name: the private network of that name,
    /// which its first member makes, with the other members and a way out
    #[arg(long, value_name = "none|host|NAME", default_value = "none", value_parser = mode)]
    pub network: Mode,
    /// A further name by which the other members find it
    #[arg(long, value_name = "NAME")]
    pub network_alias: Vec<String>,
    /// A port of the host that leads into it; any free one where only its own is given
    #[arg(long, short, value_name = "[[ADDRESS:]PORT:]PORT[/udp]")]
    pub publish: Vec<Published>,
    /// A name server in place of the host's
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<IpAddr>,
    /// A domain that its resolver searches
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// A line of its /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = host)]
    pub add_host: Vec<(String, IpAddr)>,
}

impl NetworkArgs {
    /// As its record has it.
    pub fn wanted(&self) -> Result<record::Network, Refusal> {
        let made = record::Network {
            mode: self.network.clone(),
            aliases: self.network_alias.clone(),
            hosts: self.add_host.clone(),
            dns: self.dns.clone(),
            search: self.dns_search.clone(),
            publish: self.publish.iter().flat_map(|p| p.0.clone()).collect(),
        };
        match made.mode {
            Mode::Host if !made.publish.is_empty() => Err(Refusal::refused(
                "-p does not go with --network host: the container's ports are the host's there",
            )),
            Mode::None | Mode::Host if !made.aliases.is_empty() => Err(Refusal::refused(
                "--network-alias goes with a private network: give one with --network NAME",
            )),
            _ => Ok(made),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_as_users_write_them() {
        assert_eq!(host("db:10.0.0.1"), Ok(("db".into(), IpAddr::from([10, 0, 0, 1]))));
        assert_eq!(host("db:::1").unwrap().1, host("db:[::1]").unwrap().1);
        assert!(host("db").is_err() && host("db:x").is_err() && host("db:").is_err());
    }
}
