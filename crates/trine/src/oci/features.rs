//! `trine oci features` (runtime-spec, "Features Structure").

use crate::code;
use serde_json::json;
use trine_container::{Error, spec::options, state};

/// Prints the features of this runtime.
pub fn features() -> Result<u8, Error> {
    let security = |path: &str| std::path::Path::new(path).exists();
    let capabilities: Vec<String> =
        trine_container::process::caps::NUMBERS.iter().map(|c| format!("CAP_{c}")).collect();
    println!(
        "{:#}",
        json!({
            "ociVersionMin": "1.0.0",
            "ociVersionMax": state::VERSION,
            "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
            "mountOptions": options::words(),
            "linux": {
                "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
                "capabilities": capabilities,
                "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": true },
                "seccomp": {
                    "enabled": true,
                    "actions": ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                        "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"],
                    "operators": ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                        "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"],
                    "archs": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_RISCV64", "SCMP_ARCH_X32",
                        "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
                },
                "apparmor": { "enabled": security("/sys/kernel/security/apparmor") },
                "selinux": { "enabled": security("/sys/fs/selinux/enforce") },
                "intelRdt": { "enabled": false },
                "mountExtensions": { "idmap": { "enabled": true } },
            },
            "annotations": { "org.trine.version": env!("CARGO_PKG_VERSION") },
        })
    );
    Ok(code::OK)
}
