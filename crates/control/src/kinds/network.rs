//! A container's network: joined when the container is there and its program has not begun, left when it has ended.

use crate::error::{ControlError, refused};
use crate::record::{self, Record};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use trine_hostnet::{Join, Joined, Mode, Network, Ports};

impl From<trine_hostnet::Error> for ControlError {
    fn from(e: trine_hostnet::Error) -> ControlError {
        ControlError::Failed(e.to_string())
    }
}

/// A container's place in its network. Dropping it closes its ports, then leaves.
#[derive(Debug)]
pub struct Connected {
    _ports: Option<Ports>,
    _joined: Joined,
}

/// Whether a configuration has a network namespace of the container's own.
fn has_own(spec: &Spec) -> bool {
    let all = spec.linux().as_ref().and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    all.iter().any(|n| n.typ() == LinuxNamespaceType::Network && n.path().is_none())
}

/// Gives a container its network; what it has then is in its record. `files` is the directory of `hosts`,
/// `resolv.conf` and `hostname` where the container has them mounted.
///
/// # Errors
/// Where the network cannot be had, or one of its ports; nothing of it is left then.
pub fn join(
    record: &mut Record,
    pid: i32,
    spec: &Spec,
    files: Option<&Path>,
) -> Result<Option<Connected>, ControlError> {
    let wanted = &record.options.network;
    let own = has_own(spec);
    if !own && wanted.mode != Mode::Host {
        // A bundle may say otherwise than the options, which then must not ask for anything.
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
    let mut aliases = vec![record.name.clone(), record.short().to_string()];
    // A guest may be named as no host can be.
    aliases.retain(|name| trine_hostnet::is_host(name));
    aliases.extend_from_slice(&wanted.aliases);
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
    record.state.network = record::Joined {
        v4: joined.addresses.v4,
        v6: joined.addresses.v6,
        gateway: joined.addresses.gateway,
        ports: ports.as_ref().map_or_else(Vec::new, |p| p.list().to_vec()),
        notes: joined.notes.clone(),
    };
    Ok(Some(Connected { _ports: ports, _joined: joined }))
}

fn open(pid: i32) -> Result<File, ControlError> {
    let path = format!("/proc/{pid}/ns/net");
    File::open(&path).map_err(|e| ControlError::at(Path::new(&path), e))
}

/// Processes that members of a network share, whoever has started them.
pub fn shared() -> Vec<i32> {
    Network::open().map_or_else(|_| Vec::new(), |network| network.holders())
}

/// Takes away what guests whose monitor was killed had of networks.
pub fn repair() {
    if let Ok(network) = Network::open() {
        // What fails now is tried again by the next one that joins.
        let _ = network.repair();
    }
}
