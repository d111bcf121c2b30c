//! A configuration to start from.

use oci_spec::runtime::{
    Capability, LinuxBuilder, LinuxCapabilities, LinuxDeviceCgroupBuilder, LinuxIdMapping,
    LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxResourcesBuilder,
    Spec, get_default_maskedpaths, get_default_mounts, get_default_readonly_paths, get_rootless_mounts,
};
use std::collections::HashSet;

/// A shell in the root `rootfs`, as `runc spec` writes it. `users` are the IDs of a user other than root, who
/// becomes root inside.
pub fn configuration(users: Option<(u32, u32)>) -> Spec {
    use LinuxNamespaceType::*;
    let mut spec = Spec::default();
    spec.set_version(crate::state::VERSION.into());
    spec.set_hostname(Some("trine".into()));
    spec.set_annotations(None);
    spec.set_mounts(Some(if users.is_some() { get_rootless_mounts() } else { get_default_mounts() }));
    if let Some(process) = spec.process_mut() {
        process.set_terminal(Some(true));
        process.set_console_size(None);
        process.set_capabilities(Some(capabilities()));
    }
    let kinds: &[LinuxNamespaceType] = match users {
        Some(_) => &[Pid, Ipc, Uts, Mount, Cgroup, User],
        None => &[Pid, Network, Ipc, Uts, Mount, Cgroup],
    };
    let linux = LinuxBuilder::default()
        .namespaces(kinds.iter().map(|kind| namespace(*kind)).collect::<Vec<_>>())
        .masked_paths(get_default_maskedpaths())
        .readonly_paths(get_default_readonly_paths());
    let linux = match users {
        Some((uid, gid)) => linux.uid_mappings(vec![only(uid)]).gid_mappings(vec![only(gid)]).build(),
        None => {
            let none = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build();
            let resources =
                LinuxResourcesBuilder::default().devices(none.into_iter().collect::<Vec<_>>()).build();
            linux.resources(resources.unwrap_or_default()).build()
        }
    };
    spec.set_linux(linux.ok());
    spec
}

fn namespace(kind: LinuxNamespaceType) -> LinuxNamespace {
    LinuxNamespaceBuilder::default().typ(kind).build().unwrap_or_default()
}

/// Maps root inside to this ID outside; no other ID is mapped.
fn only(host: u32) -> LinuxIdMapping {
    LinuxIdMappingBuilder::default().container_id(0u32).host_id(host).size(1u32).build().unwrap_or_default()
}

fn capabilities() -> LinuxCapabilities {
    let three =
        || Some(HashSet::from([Capability::AuditWrite, Capability::Kill, Capability::NetBindService]));
    let mut all = LinuxCapabilities::default();
    all.set_bounding(three()).set_effective(three()).set_permitted(three());
    all.set_inheritable(None).set_ambient(None);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_can_be_followed() {
        for users in [None, Some((1000, 1000))] {
            let text = serde_json::to_vec(&configuration(users)).unwrap();
            super::super::check(&super::super::parse(&text).unwrap()).unwrap();
        }
    }
}
