//! What a machine in the foreground keeps of its user's rights (crate `trine_confine`).

use crate::Refusal;
use crate::args::RunArgs;
use crate::run::Plan;
use std::path::{Path, PathBuf};
use trine_confine::{Capabilities, Confined, Confinement, Listens, SharedFolder, needs_read_search};
use trine_engine::Tier;
use trine_machine::Share;
use trine_machine::boot::{Boot, Initrd, Payload};
use trine_machine::debug::Address;
use trine_share::Access;

/// Where the host says which CPUs it has.
const CPUS: &str = "/sys/devices/system/cpu/online";
/// Where it says which name servers it uses.
const NAME_SERVERS: &str = "/etc/resolv.conf";

/// Confines this process, for good, to what the machine needs from now on; everything else is open already.
///
/// # Errors
/// The kernel refuses a restriction that it has. The machine must not run then.
pub fn confine(args: &RunArgs, plan: &Plan) -> Result<Confined, Refusal> {
    let network = plan.net.makes_sockets();
    let mut readable = boot_files(&plan.start.boot);
    readable.extend(plan.after_reset.iter().flat_map(|start| boot_files(&start.boot)));
    readable.push(CPUS.into());
    readable.extend(network.then(|| NAME_SERVERS.into()));
    let sockets = plan.sockets.as_ref().and_then(|sockets| sockets.directory()).map(Path::to_path_buf);
    let shares = plan.shares.iter().map(shared).collect::<Result<_, _>>()?;
    let capabilities = capabilities(&plan.shares, &readable);
    let confinement = Confinement { network, sockets, shares, ..alone(args, readable, capabilities) };
    confinement.apply().map_err(Refusal::host)
}

/// Confines the process of two machines in lock-step, which exist already and are given nothing.
///
/// # Errors
/// Those of [`confine`].
pub fn confine_lockstep(args: &RunArgs) -> Result<Confined, Refusal> {
    alone(args, vec![CPUS.into()], Capabilities::NONE).apply().map_err(Refusal::host)
}

/// A machine that is given nothing but files to read.
fn alone(args: &RunArgs, readable: Vec<PathBuf>, capabilities: Capabilities) -> Confinement {
    let gdb = args.gdb.as_ref().map(|address| match address {
        Address::Tcp(address) => Listens::Tcp(*address),
        Address::Unix(path) => Listens::Unix(path.clone()),
    });
    let code_memory = (args.engine.tier() != Tier::Interp).then_some(trine_engine::code::SIZE);
    Confinement { readable, gdb, code_memory, capabilities, ..Confinement::default() }
}

/// The files that the machine starts with, which are read when it begins and at each reset.
fn boot_files(boot: &Boot) -> Vec<PathBuf> {
    let payload = |payload: &Payload| {
        let initrd = match &payload.initrd {
            Some(Initrd::Named(path)) => Some(path.clone()),
            Some(Initrd::Made(_)) | None => None,
        };
        [payload.kernel.clone()].into_iter().chain(initrd).collect::<Vec<_>>()
    };
    match boot {
        Boot::Kernel(kernel) => payload(kernel),
        Boot::Firmware(path, next) => {
            [path.clone()].into_iter().chain(next.iter().flat_map(payload)).collect()
        }
        Boot::BareMetal(path) => vec![path.clone()],
        // What is in flash was read, and stays over a reset.
        Boot::Flash { .. } | Boot::Restored(_) => Vec::new(),
    }
}

fn shared(share: &Share) -> Result<SharedFolder, Refusal> {
    let folder = share.folder.descriptor().map_err(Refusal::host)?;
    Ok(SharedFolder { folder, writable: share.folder.access() == Access::Write })
}

/// What root keeps: what it takes to serve its folders, and to read files that belong to somebody else.
fn capabilities(shares: &[Share], readable: &[PathBuf]) -> Capabilities {
    let of_share = |share: &Share| match share.folder.access() {
        Access::Write => Capabilities::CHANGE_FILES,
        Access::ReadOnly => Capabilities::READ,
    };
    let of_files = if needs_read_search(readable) { Capabilities::READ } else { Capabilities::NONE };
    shares.iter().map(of_share).fold(of_files, Capabilities::and)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_a_reset_reads_is_readable() {
        let payload = Payload {
            kernel: "kernel".into(),
            initrd: Some(Initrd::Named("initrd".into())),
            append: String::new(),
        };
        let files = |boot: Boot| {
            let names = boot_files(&boot).into_iter().map(|path| path.display().to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(files(Boot::Kernel(payload.clone())), "kernel initrd");
        assert_eq!(files(Boot::Firmware("fw".into(), Some(payload))), "fw kernel initrd");
        assert_eq!(files(Boot::Firmware("fw".into(), None)), "fw");
        assert_eq!(files(Boot::BareMetal("elf".into())), "elf");
        assert_eq!(files(Boot::Flash { machine_mode: false }), "");
    }
}
