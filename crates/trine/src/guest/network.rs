//! Options of `trine run` for a guest's network.

use crate::Refusal;
use clap::Args;
use std::net::IpAddr;
use std::str::FromStr;
use trine_control::record;
use trine_hostnet::{Mode, PortMap, ports};

/// The ports of one `-p`: a single one, or a range.
#[derive(Clone, Debug)]
pub struct Published(Vec<PortMap>);

impl FromStr for Published {
    type Err = String;

    fn from_str(text: &str) -> Result<Published, String> {
        ports::parse(text).map(Published).map_err(|e| e.to_string())
    }
}

/// Parses `NAME:ADDRESS`.
fn host(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once(':').ok_or_else(|| format!("'{text}' is not NAME:ADDRESS"))?;
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    let address = bare.parse().map_err(|_| format!("'{address}' is not an address"))?;
    Ok((name.into(), address))
}

/// A value of `--network`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkArg {
    /// A network of the machine's own, with a router that reaches the outside for it.
    User {
        /// Whether the guest also reaches the host.
        host: bool,
    },
    /// A machine's network that the program `passt` makes.
    Passt,
    /// What containers can have, too.
    Mode(Mode),
}

impl FromStr for NetworkArg {
    type Err = String;

    fn from_str(text: &str) -> Result<NetworkArg, String> {
        match text {
            "user" => Ok(NetworkArg::User { host: false }),
            "user,host" => Ok(NetworkArg::User { host: true }),
            "passt" => Ok(NetworkArg::Passt),
            _ => text.parse().map(NetworkArg::Mode).map_err(|e: trine_hostnet::Error| e.to_string()),
        }
    }
}

/// Options of networks.
#[derive(Args)]
pub struct NetworkArgs {
    /// `none`: its own loopback interface only; `host`: the host's network, for containers; any other name: the private
    /// network of that name, which its first member creates, with the other members, containers and machines, and access to
    /// the outside. Only machines have `user` (default of `linux` and `debian`): a network of their own whose router reaches
    /// the outside, but not this host; `user,host`: this host as well, by the router's address 10.0.2.2; `passt`: what the
    /// program passt makes, if it is installed
    #[arg(long, visible_alias = "net", value_name = "none|user[,host]|passt|host|NAME")]
    pub network: Option<NetworkArg>,
    /// Further name by which the other members find it
    #[arg(long, value_name = "NAME")]
    pub network_alias: Vec<String>,
    /// Forward a port of the host to it; any free port if only the guest's is given
    #[arg(long, short, value_name = "[[ADDRESS:]PORT:]PORT[/udp]")]
    pub publish: Vec<Published>,
    /// Name server in place of the host's
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<IpAddr>,
    /// Domain that its resolver searches
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Line of its /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = host)]
    pub add_host: Vec<(String, IpAddr)>,
}

impl NetworkArgs {
    /// All ports to be forwarded.
    pub fn ports(&self) -> impl Iterator<Item = &PortMap> {
        self.publish.iter().flat_map(|p| &p.0)
    }

    /// The mode of a container.
    ///
    /// # Errors
    /// It is for machines.
    pub fn mode(&self) -> Result<Mode, Refusal> {
        match &self.network {
            None => Ok(Mode::None),
            Some(NetworkArg::Mode(mode)) => Ok(mode.clone()),
            Some(own @ (NetworkArg::User { .. } | NetworkArg::Passt)) => {
                let own = if *own == NetworkArg::Passt { "passt" } else { "user" };
                Err(Refusal::refused(format!(
                    "--network {own} is for machines: a container reaches the outside with --network NAME, in a private network"
                )))
            }
        }
    }

    /// Whether it is a private network.
    pub fn is_private(&self) -> bool {
        matches!(self.network, Some(NetworkArg::Mode(Mode::Group(_))))
    }

    /// A container's options, or those of a machine in a private network, in the form of a record.
    pub fn wanted(&self) -> Result<record::Network, Refusal> {
        let made = record::Network {
            mode: self.mode()?,
            aliases: self.network_alias.clone(),
            hosts: self.add_host.clone(),
            dns: self.dns.clone(),
            search: self.dns_search.clone(),
            publish: self.ports().cloned().collect(),
        };
        match made.mode {
            Mode::Host if !made.publish.is_empty() => Err(Refusal::refused(
                "-p is not for --network host: there, the container's ports are the host's",
            )),
            Mode::None | Mode::Host if !made.aliases.is_empty() => Err(Refusal::refused(
                "--network-alias is for private networks: choose one with --network NAME",
            )),
            _ => Ok(made),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_machines_and_containers() {
        let user = |host| Ok(NetworkArg::User { host });
        assert_eq!(["user", "user,host"].map(str::parse), [user(false), user(true)]);
        assert_eq!("passt".parse(), Ok(NetworkArg::Passt));
        assert_eq!("none".parse(), Ok(NetworkArg::Mode(Mode::None)));
        assert_eq!("mine".parse(), Ok(NetworkArg::Mode(Mode::Group("mine".into()))));
        assert!("user,x".parse::<NetworkArg>().is_err());
    }

    #[test]
    fn hosts_as_users_write_them() {
        assert_eq!(host("db:10.0.0.1"), Ok(("db".into(), IpAddr::from([10, 0, 0, 1]))));
        assert_eq!(host("db:::1").unwrap().1, host("db:[::1]").unwrap().1);
        assert!(host("db").is_err() && host("db:x").is_err() && host("db:").is_err());
    }
}
