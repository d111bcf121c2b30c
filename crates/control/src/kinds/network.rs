//! A guest's network: a container joins it after it is created and before its program starts, a machine before its process
//! starts. It is left after the guest has ended.

use crate::error::{ControlError, refused};
use crate::machine_link::{AboutPort, Port};
use crate::record::{self, Record};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use trine_hostnet::{Join, Joined, Mode, Network, Ports};

impl From<trine_hostnet::Error> for ControlError {
    fn from(e: trine_hostnet::Error) -> ControlError {
        ControlError::Failed(e.to_string())
    }
}

/// A guest's membership in its network. Dropping it closes the published ports, then leaves the network.
#[derive(Debug)]
pub struct Connected {
    _ports: Option<Ports>,
    _joined: Joined,
}

/// Whether a configuration has a network namespace of its own.
fn has_own(spec: &Spec) -> bool {
    let all = spec.linux().as_ref().and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    all.iter().any(|n| n.typ() == LinuxNamespaceType::Network && n.path().is_none())
}

/// Connects a container to its network, and records that. `files` is the directory of `hosts`, `resolv.conf`
/// and `hostname`, if they are mounted in the container.
///
/// # Errors
/// Fails where the network or one of the ports cannot be set up; nothing is left of it then.
pub fn join(
    record: &mut Record,
    pid: i32,
    spec: &Spec,
    files: Option<&Path>,
) -> Result<Option<Connected>, ControlError> {
    let wanted = &record.options.network;
    let own = has_own(spec);
    if !own && wanted.mode != Mode::Host {
        // A bundle may differ from the options, which then must not ask for anything.
        return match *wanted == record::Network::default() {
            true => Ok(None),
            false => refused(
                "the bundle's config.json gives the container no network namespace of its own, so it can join no network and have \
                 no ports",
            ),
        };
    }
    let netns = match wanted.mode {
        Mode::Host => None,
        _ => Some(open(pid)?),
    };
    let aliases = aliases(record);
    let name = spec.hostname().clone().filter(|n| !n.is_empty()).unwrap_or_else(|| record.name.clone());
    let joined = Network::open()?.join(&Join {
        mode: &wanted.mode,
        guest: &record.id,
        name: &name,
        aliases: &aliases,
        hosts: &wanted.hosts,
        dns: &wanted.dns,
        search: &wanted.search,
        netns: netns.as_ref().map(AsFd::as_fd),
        files,
    })?;
    let open = |netns: &File| Ports::open(&wanted.publish, netns.as_fd(), &joined.addresses);
    let ports = netns.as_ref().filter(|_| !wanted.publish.is_empty()).map(open).transpose()?;
    Ok(Some(connected(record, joined, ports)))
}

/// Its further names.
fn aliases(record: &Record) -> Vec<String> {
    let mut aliases = vec![record.name.clone(), record.short().to_string()];
    // The name of a guest may be invalid as a host name.
    aliases.retain(|name| trine_hostnet::is_host(name));
    aliases.extend_from_slice(&record.options.network.aliases);
    aliases
}

/// Records what a guest has in its network.
fn connected(record: &mut Record, joined: Joined, ports: Option<Ports>) -> Connected {
    record.state.network = record::Joined {
        v4: joined.addresses.v4,
        v6: joined.addresses.v6,
        gateway: joined.addresses.gateway,
        ports: ports.as_ref().map_or_else(Vec::new, |p| p.list().to_vec()),
        notes: joined.notes.clone(),
    };
    Connected { _ports: ports, _joined: joined }
}

/// Connects a machine to its private network, if it is to have one, and records that. Its process gets the port.
///
/// # Errors
/// Fails where the network or one of the ports cannot be set up; nothing is left of it then.
pub fn join_machine(record: &mut Record) -> Result<Option<(Connected, Port)>, ControlError> {
    let wanted = &record.options.network;
    let Mode::Group(network) = &wanted.mode else { return Ok(None) };
    let aliases = aliases(record);
    let name: &str = if trine_hostnet::is_host(&record.name) { &record.name } else { record.short() };
    let (joined, port) = Network::open()?.join_machine(&Join {
        mode: &wanted.mode,
        guest: &record.id,
        name,
        aliases: &aliases,
        hosts: &wanted.hosts,
        dns: &wanted.dns,
        search: &wanted.search,
        netns: None,
        files: None,
    })?;
    let open = || Ports::open(&wanted.publish, port.netns(), &joined.addresses);
    let ports = (!wanted.publish.is_empty()).then(open).transpose()?;
    let hosts = File::open(&joined.hosts).map_err(|e| ControlError::at(&joined.hosts, e))?;
    let none = Ipv4Addr::UNSPECIFIED;
    let about = AboutPort {
        network: network.clone(),
        host_name: name.to_string(),
        ether: port.ether,
        address: joined.addresses.v4.unwrap_or(none),
        gateway_ether: port.gateway_ether,
        gateway: joined.addresses.gateway.unwrap_or(none),
        mtu: port.mtu,
        outside: port.outside,
    };
    let port = Port { tap: port.tap, hosts: hosts.into(), about };
    Ok(Some((connected(record, joined, ports), port)))
}

fn open(pid: i32) -> Result<File, ControlError> {
    let path = format!("/proc/{pid}/ns/net");
    File::open(&path).map_err(|e| ControlError::at(Path::new(&path), e))
}

/// The processes that all members of a network share, whichever member started them.
pub fn shared() -> Vec<i32> {
    Network::open().map_or_else(|_| Vec::new(), |network| network.holders())
}

/// Cleans up the networks of guests whose monitor was killed.
pub fn repair() {
    if let Ok(network) = Network::open() {
        // If this fails, the next guest that joins tries it again.
        let _ = network.repair();
    }
}
