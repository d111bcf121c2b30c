//! A machine's network: its own (`--network user`) and the ports that lead to the guest, a private network, or `passt`.

use super::network::NetworkArg;
use super::passt;
use super::target::Target;
use crate::Refusal;
use crate::args::RunArgs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trine_base::Waker;
use trine_base::net::{NetBackend, Offloads, Partial};
use trine_control::machine_link::Port;
use trine_hostnet::{Mode, PortMap, ports};
use trine_machine::NetDevice;
use trine_machine::snapshot::SavedNet;
use trine_net::{Config, EthernetAddress, Forward, Protocol, TapNetwork, UserNetwork};

/// The guest's Ethernet address where the machine has a network of its own.
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// The most pairs of queues that are of use: the other end is one thread.
const QUEUE_PAIRS: u32 = 4;
/// Open files that a network with all of its connections needs, besides the machine's own.
const FILES: u64 = 4096;

/// The network that a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// A network of its own.
    User {
        /// Whether the guest reaches the host.
        host: bool,
    },
    /// A private network, together with containers and other machines.
    Private,
    /// What the program `passt` makes.
    Passt,
}

/// Which network the machine has, if any.
///
/// # Errors
/// The options contradict each other, or name what machines do not have.
fn wanted(args: &RunArgs, target: &Target) -> Result<Option<Wanted>, Refusal> {
    let counted = args.lockstep || args.count_time.is_some();
    let network = &args.container.network;
    let wanted = match &network.network {
        Some(NetworkArg::User { host }) => Some(Wanted::User { host: *host }),
        Some(NetworkArg::Passt) => Some(Wanted::Passt),
        Some(NetworkArg::Mode(Mode::None)) => None,
        Some(NetworkArg::Mode(Mode::Host)) => {
            return Err(Refusal::refused(
                "--network host is for containers; a machine reaches this host with --network user,host",
            ));
        }
        Some(NetworkArg::Mode(Mode::Group(_))) => Some(Wanted::Private),
        None => (target.is_debians() && !counted).then_some(Wanted::User { host: false }),
    };
    if counted && wanted.is_some() {
        return Err(Refusal::refused(
            "a network is not for runs in counted time, which repeat exactly: leave out --network",
        ));
    }
    if wanted != Some(Wanted::Private) && !network.network_alias.is_empty() {
        return Err(Refusal::refused(
            "--network-alias is for private networks: choose one with --network NAME",
        ));
    }
    match (wanted, network.ports().next()) {
        (None, Some(port)) => Err(Refusal::refused(format!(
            "-p {} would have no effect: the machine has no network; use --network user",
            port.option
        ))),
        _ => Ok(wanted),
    }
}

/// Whether the machine has a network.
///
/// # Errors
/// As the options of [`Network::new`].
pub fn is_wanted(args: &RunArgs, target: &Target) -> Result<bool, Refusal> {
    wanted(args, target).map(|network| network.is_some())
}

/// The pairs of queues that a machine with so many CPUs has.
pub fn queue_pairs(cpus: u32) -> u16 {
    cpus.clamp(1, QUEUE_PAIRS) as u16
}

/// The network of a machine, which outlives a reset: open ports stay open.
#[derive(Default)]
pub struct Network {
    backend: Option<Shared>,
    mac: [u8; 6],
    saved: Option<SavedNet>,
    unsaved: Option<&'static str>,
    queue_pairs: u16,
    /// Whether this process makes sockets for it.
    makes_sockets: bool,
}

impl Network {
    /// Makes the network that the options ask for; all ports are open when this returns.
    ///
    /// # Errors
    /// A port is in use, or the options cannot be.
    pub fn new(args: &RunArgs, target: &Target, cpus: u32) -> Result<Network, Refusal> {
        let queue_pairs = queue_pairs(cpus);
        match wanted(args, target)? {
            None => Ok(Network::default()),
            Some(Wanted::User { host }) => Network::user(Some(args), host, queue_pairs),
            Some(Wanted::Private) => Network::private(queue_pairs),
            Some(Wanted::Passt) => Network::passt(args, queue_pairs),
        }
    }

    /// Makes the network of a restored machine: what the guest had under way is not part of it.
    ///
    /// # Errors
    /// A port is in use, or the machine has no network for a port.
    pub fn restored(args: &RunArgs, net: Option<SavedNet>) -> Result<Network, Refusal> {
        if let (None, Some(port)) = (net, args.container.network.ports().next()) {
            return Err(Refusal::refused(format!(
                "-p {} would have no effect: the machine of the snapshot has no network",
                port.option
            )));
        }
        let wants_host = matches!(args.container.network.network, Some(NetworkArg::User { host: true }));
        let user = |net: SavedNet| Network::user(Some(args), net.host || wants_host, net.queue_pairs);
        net.map_or(Ok(Network::default()), user)
    }

    /// A user-mode network without ports, from which the guest does not reach the host.
    ///
    /// # Errors
    /// The host's.
    pub fn alone(queue_pairs: u16) -> Result<Network, Refusal> {
        Network::user(None, false, queue_pairs)
    }

    fn user(args: Option<&RunArgs>, host: bool, queue_pairs: u16) -> Result<Network, Refusal> {
        raise_open_files();
        let host_name = args.and_then(|args| args.guest.name.clone()).unwrap_or_default();
        let network =
            UserNetwork::new(Config { host, host_name, ..Config::default() }).map_err(Refusal::host)?;
        for port in args.into_iter().flat_map(|args| args.container.network.ports()) {
            publish(&network, port)?;
        }
        let saved = Some(SavedNet { host, queue_pairs });
        Ok(Network { saved, ..Network::of(Box::new(network), MAC, queue_pairs) })
    }

    /// The port of the private network that the monitor has joined.
    fn private(queue_pairs: u16) -> Result<Network, Refusal> {
        let Some(Port { tap, hosts, about }) = Port::inherited() else {
            return Err(Refusal::host(
                "the machine's monitor has joined no network: start the machine again",
            ));
        };
        let services = Config {
            guest4: about.address,
            gateway4: about.gateway,
            prefix4: 24,
            mac: EthernetAddress(about.gateway_ether),
            mtu: about.mtu,
            host_name: about.host_name,
            domain: about.network,
            outside: about.outside,
            hosts: Some(Arc::new(hosts.into())),
            ..Config::default()
        };
        let network = TapNetwork::new(tap, services).map_err(Refusal::host)?;
        let unsaved = "a machine in a private network cannot be saved: its address is the network's";
        Ok(Network { unsaved: Some(unsaved), ..Network::of(Box::new(network), about.ether, queue_pairs) })
    }

    fn passt(args: &RunArgs, queue_pairs: u16) -> Result<Network, Refusal> {
        let network = passt::start(&args.container.network, MAC)?;
        let unsaved =
            "a machine with --network passt cannot be saved: passt's part of its connections would be lost";
        let of = Network::of(Box::new(network), MAC, queue_pairs);
        Ok(Network { unsaved: Some(unsaved), makes_sockets: false, ..of })
    }

    fn of(backend: Box<dyn NetBackend>, mac: [u8; 6], queue_pairs: u16) -> Network {
        let backend = Some(Shared(Arc::new(Mutex::new(backend))));
        Network { backend, mac, queue_pairs, makes_sockets: true, ..Network::default() }
    }

    /// Whether this process makes sockets for it.
    pub fn makes_sockets(&self) -> bool {
        self.makes_sockets
    }

    /// What a snapshot says of it.
    pub fn saved(&self) -> Option<SavedNet> {
        self.saved
    }

    /// Why a machine with it cannot be saved.
    pub fn unsaved(&self) -> Option<&'static str> {
        self.unsaved
    }

    /// The devices for a machine that is assembled. What an earlier one had under way is lost.
    pub fn devices(&self) -> Vec<NetDevice> {
        let device = |shared: &Shared| {
            shared.lock().reset();
            NetDevice {
                backend: Box::new(Shared(shared.0.clone())),
                mac: self.mac,
                queue_pairs: self.queue_pairs,
            }
        };
        self.backend.iter().map(device).collect()
    }
}

/// Lets this process have as many open files as the network may need, as far as the host allows it.
fn raise_open_files() {
    // SAFETY: the calls read and write one structure that lives here.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < FILES {
            limit.rlim_cur = FILES.min(limit.rlim_max);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Opens one port of an option `-p`: the first that is free of those that it allows, on the same number for both
/// families where no address is given.
fn publish(network: &UserNetwork, port: &PortMap) -> Result<(), Refusal> {
    let protocol = match port.protocol {
        ports::Protocol::Tcp => Protocol::Tcp,
        ports::Protocol::Udp => Protocol::Udp,
    };
    let open = |address: IpAddr, host: u16| {
        network.handle().forward(Forward {
            protocol,
            host: SocketAddr::new(address, host),
            guest: port.guest,
        })
    };
    let first = port.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let mut refused = None;
    for number in port.host_first..=port.host_last.max(port.host_first) {
        match open(first, number) {
            Ok(opened) => {
                // A host may have no IPv6.
                if port.address.is_none() {
                    let _ = open(IpAddr::V6(Ipv6Addr::UNSPECIFIED), opened.host.port());
                }
                if port.host_first == 0 {
                    eprintln!(
                        "trine: port {} of this host leads to {}/{protocol}",
                        opened.host.port(),
                        port.guest
                    );
                }
                return Ok(());
            }
            Err(e) => refused = Some(e),
        }
    }
    let why = refused.map(|e| e.to_string()).unwrap_or_default();
    Err(Refusal::host(format!("-p {}: {why}; choose another port of the host", port.option)))
}

/// A network that the device and this command share.
struct Shared(Arc<Mutex<Box<dyn NetBackend>>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Box<dyn NetBackend>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NetBackend for Shared {
    fn set_waker(&mut self, waker: Waker) {
        self.lock().set_waker(waker);
    }

    fn takes(&self) -> Offloads {
        self.lock().takes()
    }

    fn set_gives(&mut self, gives: Offloads) {
        self.lock().set_gives(gives);
    }

    fn mtu(&self) -> u16 {
        self.lock().mtu()
    }

    fn is_up(&self) -> bool {
        self.lock().is_up()
    }

    fn send(&mut self, frame: &[u8], partial: Partial) {
        self.lock().send(frame, partial);
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<Partial> {
        self.lock().receive(frame)
    }

    fn reset(&mut self) {
        self.lock().reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Run;
    use std::ffi::OsString;

    /// What the words that follow `trine run` ask for.
    fn asked(words: &[&str]) -> Result<Option<Wanted>, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let args = Run::parse_words(&words).unwrap_or_else(|e| panic!("{words:?}: {e}"));
        let target = Target::resolve(&args).map_err(|r| r.message)?;
        wanted(&args, &target).map_err(|r| r.message)
    }

    #[test]
    fn machines_have_the_network_that_is_asked_for() {
        let own = |host| Some(Wanted::User { host });
        for (words, want) in [
            (&["linux"][..], own(false)),
            (&["debian"], own(false)),
            (&["--net", "user,host", "linux"], own(true)),
            (&["--net", "mine", "linux"], Some(Wanted::Private)),
            (&["--net", "mine", "--network-alias", "db", "linux"], Some(Wanted::Private)),
            (&["--net", "passt", "linux"], Some(Wanted::Passt)),
            (&["--net", "none", "linux"], None),
            (&["--count-time", "1", "linux"], None),
            (&["--kernel", "k"], None),
            (&["--network", "user", "--kernel", "k"], own(false)),
            (&["-p", "8080:80", "linux"], own(false)),
        ] {
            assert_eq!(asked(words), Ok(want), "{words:?}");
        }
        for (words, why) in [
            (&["--net", "none", "-p", "80:80", "linux"][..], "-p 80:80 would have no effect"),
            (&["-p", "80:80", "--kernel", "k"], "the machine has no network"),
            (&["--net", "host", "linux"], "a machine reaches this host with --network user,host"),
            (&["--network-alias", "db", "linux"], "--network-alias is for private networks"),
            (&["--net", "mine", "--count-time", "1", "linux"], "not for runs in counted time"),
            (&["--net", "user", "--count-time", "1", "linux"], "not for runs in counted time"),
        ] {
            let error = asked(words).unwrap_err();
            assert!(error.contains(why), "{words:?}: {error}");
        }
    }

    #[test]
    fn a_port_in_use_is_refused_and_a_range_finds_a_free_one() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let network = UserNetwork::new(Config::default()).unwrap();
        let map = |text: &str| ports::parse(text).unwrap().remove(0);
        let error = publish(&network, &map(&format!("127.0.0.1:{port}:80"))).err().unwrap();
        assert!(
            error.message.contains(&format!("-p 127.0.0.1:{port}:80: cannot listen on tcp")),
            "{}",
            error.message
        );
        assert!(publish(&network, &map("127.0.0.1::80")).is_ok());
        assert_eq!(network.handle().forwards().len(), 1);
    }
}
