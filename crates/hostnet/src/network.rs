//! Joining and leaving networks, and repairing what killed processes left behind.

use crate::cable::{self, Cable};
use crate::error::{Doing, Error};
use crate::files::{self, rewrite};
use crate::inside::{Inside, Kind, Place};
use crate::netlink::{End, Netlink};
use crate::records::{Group, Member, Records};
use crate::tap::{self, Port};
use crate::{Result, addresses, holder, names, rules, sys, uplink};
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// Host numbers of members; the first address is the gateway's, the last one is for broadcasts.
const NUMBERS: std::ops::RangeInclusive<u8> = 2..=254;
/// Directory for the files of guests without a group. A group cannot have this name.
const NONE: &str = "none";
const HOST: &str = "host";

/// The network mode of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Only its own loopback interface.
    #[default]
    None,
    /// The host's network.
    Host,
    /// A private network, shared with the other members of the group.
    Group(String),
}

impl std::str::FromStr for Mode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Mode> {
        match text {
            NONE => Ok(Mode::None),
            HOST => Ok(Mode::Host),
            name => names::group(name).map(|()| Mode::Group(name.into())),
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Mode::None => NONE,
            Mode::Host => HOST,
            Mode::Group(name) => name,
        })
    }
}

impl serde::Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Mode {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Mode, D::Error> {
        <String as serde::Deserialize>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A guest that is to join a network.
#[derive(Clone, Debug)]
pub struct Join<'a> {
    /// The network that it joins.
    pub mode: &'a Mode,
    /// Its identifier: letters, digits, `-`, `_`, `.`; at most 128.
    pub guest: &'a str,
    /// Its host name, by which the other members find it.
    pub name: &'a str,
    /// Its further names.
    pub aliases: &'a [String],
    /// Additional lines for its `/etc/hosts`: name, address.
    pub hosts: &'a [(String, IpAddr)],
    /// Its name servers; empty means the host's.
    pub dns: &'a [IpAddr],
    /// The domains that its resolver searches; empty means the host's.
    pub search: &'a [String],
    /// Its network namespace, created but not used yet. Ignored for [`Mode::Host`].
    pub netns: Option<BorrowedFd<'a>>,
    /// The directory of its three files, if they are mounted before it joins; otherwise they are in the
    /// records.
    pub files: Option<&'a Path>,
}

/// The addresses of a guest in its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4 address, in a /24.
    pub v4: Option<Ipv4Addr>,
    /// IPv6 address, in a /64; `None` where the host has no IPv6.
    pub v6: Option<Ipv6Addr>,
    /// The bridge's address, which is the guest's default gateway.
    pub gateway: Option<Ipv4Addr>,
}

/// A guest's membership in its network. Dropping it leaves the network; so does the end of this process,
/// which [`Network::repair`] or the next join notices.
#[derive(Debug)]
pub struct Joined {
    /// The guest's addresses; none without a group.
    pub addresses: Addresses,
    /// The file for `/etc/hosts`; its contents change as members come and go, its inode does not.
    pub hosts: PathBuf,
    /// The file for `/etc/resolv.conf`.
    pub resolv: PathBuf,
    /// The file for `/etc/hostname`.
    pub hostname: PathBuf,
    /// Remarks for the user, one sentence each: such as that there is no access to the outside.
    pub notes: Vec<String>,
    network: Network,
    guest: String,
    // Locked while the guest lives.
    _alive: File,
    _wire: Wire,
}

impl Drop for Joined {
    fn drop(&mut self) {
        // If this fails, the next join or repair tries it again.
        let _ = self.network.leave(&self.guest);
    }
}

/// The processes and threads that keep a member connected, if the kernel alone does not.
#[derive(Debug, Default)]
struct Wire {
    _cable: Option<Cable>,
    // A share of the lock that the holder waits for.
    _share: Option<File>,
}

/// The location of a group's bridge.
enum Ground {
    /// In the network namespace of this process.
    Here,
    /// In a holder's network namespace; with a share of the holder's lock.
    Held(Place, File),
}

impl Ground {
    /// Creates a netlink socket in that namespace.
    fn netlink(&self) -> Result<Netlink> {
        match self {
            Ground::Here => Netlink::here(),
            Ground::Held(place, _) => netlink_in(&Inside::start(place)?),
        }
    }
}

fn netlink_in(inside: &Inside) -> Result<Netlink> {
    Ok(Netlink::on(inside.socket(Kind::Route).doing(|| "cannot create a netlink socket".into())?))
}

/// All networks of a user.
#[derive(Clone, Debug)]
pub struct Network {
    dir: PathBuf,
}

impl Network {
    /// Opens the networks that are recorded in the user's runtime directory (`networks/` there).
    ///
    /// # Errors
    /// Fails where there is no such directory and it cannot be created.
    pub fn open() -> Result<Network> {
        let dir = trine_base::xdg::runtime().doing(|| "networks".into())?;
        Ok(Network::at(&dir.join("networks")))
    }

    /// Opens the networks that are recorded in this directory, which is created when it is needed.
    #[must_use]
    pub fn at(dir: &Path) -> Network {
        Network { dir: dir.into() }
    }

    /// Lets a guest join a network: creates the group if it is the first member, assigns addresses, and
    /// writes its files and those of the other members. When this returns, the guest's network is ready to
    /// use.
    ///
    /// # Errors
    /// A name is invalid, the guest has a network already, no address is left, or the kernel refused. Nothing
    /// is left behind then.
    pub fn join(&self, join: &Join) -> Result<Joined> {
        self.admit(join, false).map(|(joined, _)| joined)
    }

    /// Lets a machine join a group: as [`Network::join`], but instead of a namespace that is set up, the machine gets a
    /// port of the group's bridge. Its guest is told its addresses by others. It has IPv4 only.
    ///
    /// # Errors
    /// As [`Network::join`]; the network is not a group, or `/dev/net/tun` cannot be opened.
    pub fn join_machine(&self, join: &Join) -> Result<(Joined, Port)> {
        let (joined, port) = self.admit(join, true)?;
        let port = port.ok_or_else(|| Error::Bad("a machine can join a private network only".into()))?;
        Ok((joined, port))
    }

    fn admit(&self, join: &Join, machine: bool) -> Result<(Joined, Option<Port>)> {
        names::guest(join.guest)?;
        names::host(join.name)?;
        join.aliases.iter().chain(join.hosts.iter().map(|(n, _)| n)).try_for_each(|n| names::host(n))?;
        join.search.iter().try_for_each(|n| names::host(n))?;
        let group = match join.mode {
            Mode::None => NONE,
            Mode::Host => HOST,
            Mode::Group(name) if name == NONE || name == HOST => {
                return Err(Error::Bad(format!(
                    "'{name}' is not the name of a private network: it cannot be one"
                )));
            }
            Mode::Group(name) => {
                names::group(name)?;
                name
            }
        };
        let records = Records::open(&self.dir)?;
        // What cannot be repaired now does not prevent this guest from joining.
        let _ = repair(&records);
        if records.group_of(join.guest).is_some() {
            return Err(Error::Member(join.guest.into()));
        }
        let joined = self.enter(&records, group, join, machine);
        if joined.is_err() {
            let _ = take_out(&records, group, join.guest);
        }
        joined
    }

    fn enter(
        &self,
        records: &Records,
        name: &str,
        join: &Join,
        machine: bool,
    ) -> Result<(Joined, Option<Port>)> {
        let (group, ground) = match join.mode {
            Mode::Group(_) => ready(records, name).map(|(group, ground)| (Some(group), Some(ground)))?,
            _ => (None, None),
        };
        let member = Member {
            guest: join.guest.into(),
            name: join.name.into(),
            aliases: join.aliases.to_vec(),
            number: if group.is_some() { number(records, name)? } else { 0 },
            link: addresses::link_name(
                "tv",
                addresses::hash(&[&self.dir.to_string_lossy(), name, join.guest]),
            ),
            hosts: join.hosts.to_vec(),
            files: join.files.map_or_else(|| records.member_dir(name, join.guest), Path::to_path_buf),
            only4: machine,
        };
        let alive = records.set_member(name, &member)?;
        let mut notes = group.as_ref().map_or(Vec::new(), |g| g.notes.clone());
        // A machine's questions for names are asked by its monitor, which reaches the host's name servers.
        notes.extend(write_files(group.as_ref(), &member, join)?.filter(|_| !machine));
        let (mut addresses, mut wire, mut port) = (Addresses::default(), Wire::default(), None);
        match (group.as_ref().zip(ground), machine) {
            (Some((group, ground)), true) => {
                let made = plug_machine(group, &member, ground)?;
                (addresses, wire, port) = (made.0, made.1, Some(made.2));
            }
            (at, false) if *join.mode != Mode::Host => (addresses, wire) = connect(join, at, &member)?,
            _ => {}
        }
        if let Some(group) = &group {
            rewrite_hosts(records, group)?;
        }
        let joined = Joined {
            addresses,
            hosts: member.files.join(files::HOSTS),
            resolv: member.files.join(files::RESOLV),
            hostname: member.files.join(files::HOSTNAME),
            notes,
            network: self.clone(),
            guest: join.guest.into(),
            _alive: alive,
            _wire: wire,
        };
        Ok((joined, port))
    }

    /// Removes a guest from its network; the last member removes the group as well. Returns whether it was in
    /// one.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn leave(&self, guest: &str) -> Result<bool> {
        names::guest(guest)?;
        let records = Records::open(&self.dir)?;
        let left = match records.group_of(guest) {
            Some(group) => take_out(&records, &group, guest).map(|()| true),
            None => Ok(false),
        };
        let _ = repair(&records);
        left
    }

    /// The processes that all members share. They belong to no guest and end with the last member: code that
    /// kills the remaining processes of a guest must spare them.
    #[must_use]
    pub fn holders(&self) -> Vec<i32> {
        if !self.dir.is_dir() {
            return Vec::new();
        }
        let Ok(records) = Records::open(&self.dir) else { return Vec::new() };
        let groups = records.groups().into_iter().filter_map(|g| records.group(&g));
        groups.flat_map(|g| g.holders).filter(|p| p.is_alive()).map(|p| p.pid).collect()
    }

    /// Removes what is left of guests whose process ended without leaving, and returns their identifiers.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn repair(&self) -> Result<Vec<String>> {
        if !self.dir.is_dir() {
            return Ok(Vec::new());
        }
        repair(&Records::open(&self.dir)?)
    }
}

/// Does everything that is possible, then reports what was not.
fn repair(records: &Records) -> Result<Vec<String>> {
    let mut gone = Vec::new();
    let mut done = Ok(());
    for group in records.groups() {
        let guests = records.guests(&group);
        for guest in &guests {
            match records.alive(&group, guest) {
                Ok(true) => continue,
                Ok(false) => done = done.and(take_out(records, &group, guest)),
                Err(e) => done = done.and(Err(e)),
            }
            gone.push(guest.clone());
        }
        if guests.is_empty() {
            done = done.and(dissolve(records, &group));
        }
    }
    done.map(|()| gone)
}

fn take_out(records: &Records, name: &str, guest: &str) -> Result<()> {
    let member = records.members(name).into_iter().find(|m| m.guest == guest);
    let group = records.group(name);
    if let (Some(member), Some(_)) = (member, group.as_ref().filter(|g| g.is_here())) {
        Netlink::here()?.remove(&member.link)?;
    }
    records.forget_member(name, guest)?;
    if records.guests(name).is_empty() {
        return dissolve(records, name);
    }
    group.map_or(Ok(()), |group| rewrite_hosts(records, &group))
}

/// Removes a group that has no members.
fn dissolve(records: &Records, name: &str) -> Result<()> {
    if let Some(group) = records.group(name) {
        group.holders.iter().for_each(|&process| holder::end(process));
        if group.is_here() {
            let mut netlink = Netlink::here()?;
            netlink.remove(&group.bridge)?;
            netlink.forbid_routing(&group.bridge, false)?;
            match rules::remove(&group.bridge) {
                Err(why) if group.out4 => return Err(Error::Bad(why)),
                // A kernel that does not support rules has none.
                _ => {}
            }
        }
    }
    records.forget_group(name)
}

impl Group {
    /// Whether its bridge is in the network namespace of this process.
    fn is_here(&self) -> bool {
        self.holders.is_empty() && namespace_number().is_ok_and(|n| n == self.namespace)
    }
}

/// The inode number of this thread's network namespace.
fn namespace_number() -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let fd = File::from(sys::namespace("net")?);
    Ok(fd.metadata().doing(|| "cannot examine the network namespace".into())?.ino())
}

/// The lowest number that no member has.
fn number(records: &Records, group: &str) -> Result<u8> {
    let taken: Vec<u8> = records.members(group).iter().map(|m| m.number).collect();
    NUMBERS.into_iter().find(|n| !taken.contains(n)).ok_or_else(|| {
        Error::Full(format!(
            "the network {group} has {} members, which is the most it can have: use another network",
            taken.len()
        ))
    })
}

/// Returns a group that members can join; creates it if it does not exist.
fn ready(records: &Records, name: &str) -> Result<(Group, Ground)> {
    let Some(group) = records.group(name) else {
        return if sys::privileged()? { make(records, name) } else { make_held(records, name) };
    };
    if group.is_here() {
        return Ok((group, Ground::Here));
    }
    let Some(&first) = group.holders.first() else {
        return Err(Error::Bad(format!(
            "the network {name} is in another network namespace of the host: enter that namespace, or use another name"
        )));
    };
    if let Some(share) = holder::share(&records.held(name))?
        && let Some(place) = holder::place(first)
    {
        return Ok((group, Ground::Held(place, share)));
    }
    // It is about to end, or was killed.
    if records.guests(name).is_empty() {
        dissolve(records, name)?;
        return make_held(records, name);
    }
    Err(Error::Bad(format!(
        "the process that holds the network {name} was killed: stop the network's members first"
    )))
}

/// Chooses the properties of a new group, before anything of it is created.
fn plan(records: &Records, name: &str, netlink: &mut Netlink) -> Result<(Group, u64)> {
    let hash = addresses::hash(&[&records.group_dir(name).to_string_lossy()]);
    let taken: Vec<Ipv4Addr> =
        records.groups().iter().filter_map(|g| records.group(g)).map(|g| g.v4).collect();
    let v4 = addresses::subnet(hash, &netlink.routes()?, &taken).ok_or_else(|| {
        Error::Full(
            "the host's routes leave no private /24 for a network: remove a route below 10.212.0.0".into(),
        )
    })?;
    let has6 = setting("net/ipv6/conf/default/disable_ipv6").as_deref() == Some("0");
    let group = Group {
        name: name.into(),
        bridge: addresses::link_name("tr", hash),
        v4,
        v6: has6.then(|| addresses::subnet6(hash)),
        notes: Vec::new(),
        out4: true,
        out6: false,
        resolver: None,
        mtu: None,
        namespace: 0,
        holders: Vec::new(),
    };
    Ok((group, hash))
}

impl Group {
    /// Adds the remark that there is no access to the outside, and why.
    fn no_way_out(&mut self, why: &str) {
        (self.out4, self.out6) = (false, false);
        self.notes.push(format!("the network {} has no access to the outside: {why}", self.name));
    }

    /// Brings the bridge up, with its addresses.
    fn raise(&self, netlink: &mut Netlink) -> Result<()> {
        netlink.address(&self.bridge, addresses::host(self.v4, 1).into(), 24)?;
        if let Some(v6) = self.v6 {
            netlink.address(&self.bridge, addresses::host6(v6, 1).into(), 64)?;
        }
        if let Some(mtu) = self.mtu {
            netlink.mtu(&self.bridge, mtu)?;
        }
        netlink.up(&self.bridge, false).map(drop)
    }
}

/// Creates a group in the network namespace of this process. It is recorded first, so that a repair finds
/// everything.
fn make(records: &Records, name: &str) -> Result<(Group, Ground)> {
    let mut netlink = Netlink::here()?;
    let (mut group, hash) = plan(records, name, &mut netlink)?;
    group.namespace = namespace_number()?;
    let leads_out = netlink.routes()?.iter().any(|(to, prefix)| *prefix == 0 && to.is_ipv6());
    let forwards = setting("net/ipv6/conf/all/forwarding").as_deref() == Some("1");
    group.out6 = group.v6.is_some() && leads_out && forwards;
    group.mtu = way_out_mtu(&mut netlink);
    records.set_group(&group)?;
    // An existing bridge is left over from a record that was lost.
    netlink.remove(&group.bridge)?;
    netlink.bridge(&group.bridge, addresses::ether(hash))?;
    guard(&group)?;
    if let Err(why) = rules::put(&group, None).and_then(|()| forward()) {
        netlink.forbid_routing(&group.bridge, true)?;
        // This matters only where routing cannot be enabled.
        let _ = rules::remove(&group.bridge);
        group.no_way_out(&why);
    }
    group.raise(&mut netlink)?;
    records.set_group(&group)?;
    Ok((group, Ground::Here))
}

/// Creates a group in a namespace of its own. Its holder ends with this process, as long as no other member
/// has joined.
fn make_held(records: &Records, name: &str) -> Result<(Group, Ground)> {
    let (mut group, hash) = plan(records, name, &mut Netlink::here()?)?;
    group.mtu = Some(uplink::MTU);
    records.set_group(&group)?;
    let lost = || Error::Bad(format!("the process that holds the network {name} was killed"));
    let share = holder::share(&records.held(name))?.ok_or_else(lost)?;
    let (process, line) = holder::start(&records.held(name))?;
    group.holders.push(process);
    records.set_group(&group)?;
    let place = holder::place(process).ok_or_else(lost)?;
    let inside = Inside::start(&place)?;
    let mut netlink = netlink_in(&inside)?;
    netlink.up("lo", false)?;
    netlink.bridge(&group.bridge, addresses::ether(hash))?;
    group.raise(&mut netlink)?;
    let out = uplink::open(process, &line, &mut netlink, &records.group_dir(name).join("way-out.log"))?;
    let out = out.and_then(|processes| {
        group.holders.extend(processes);
        rules::put(&group, Some(&place))
    });
    match out {
        Ok(()) => group.resolver = Some(uplink::RESOLVER),
        Err(why) => group.no_way_out(&why),
    }
    records.set_group(&group)?;
    Ok((group, Ground::Held(place, share)))
}

/// Sets up a guest's network namespace, and connects it with the bridge of its group, if it is in one.
fn connect(join: &Join, at: Option<(&Group, Ground)>, member: &Member) -> Result<(Addresses, Wire)> {
    let netns =
        join.netns.ok_or_else(|| Error::Bad("the guest has no network namespace of its own".into()))?;
    let inside = Inside::start(&Place::of(netns)?)?;
    let mut netlink = netlink_in(&inside)?;
    inside.guard().doing(|| "cannot make the guest ignore router advertisements".into())?;
    netlink.up("lo", false)?;
    let Some((group, ground)) = at else { return Ok(Default::default()) };
    let mut bridge = ground.netlink()?;
    let wire = match ground {
        Ground::Here => bridge.plug(group, member, netns)?,
        Ground::Held(place, share) => Wire {
            _cable: Some(lay(group, member, (&inside, &mut netlink), (&place, &mut bridge))?),
            _share: Some(share),
        },
    };
    let addresses = configure(&mut netlink, group, member)?;
    bridge.settle(&member.link)?;
    bridge.attach(&member.link, &group.bridge)?;
    bridge.settle(&group.bridge)?;
    netlink.settle("eth0")?;
    Ok((addresses, wire))
}

/// Makes a machine's port of the bridge.
fn plug_machine(group: &Group, member: &Member, ground: Ground) -> Result<(Addresses, Wire, Port)> {
    let mut bridge = ground.netlink()?;
    // The kernel removes the links of an earlier process a little after it has ended.
    bridge.remove(&member.link)?;
    let (place, share) = match ground {
        Ground::Here => (Place { user: None, net: sys::namespace("net")? }, None),
        Ground::Held(place, share) => (place, Some(share)),
    };
    let tap = tap::create(&member.link, share.as_ref().map(|_| &place))?;
    if let Some(mtu) = group.mtu {
        bridge.mtu(&member.link, mtu)?;
    }
    bridge.up(&member.link, true)?;
    bridge.attach(&member.link, &group.bridge)?;
    bridge.settle(&group.bridge)?;
    let mtu = bridge.mtu_of(&member.link)?.and_then(|mtu| u16::try_from(mtu).ok()).unwrap_or(1500);
    let addresses = Addresses {
        v4: Some(addresses::host(group.v4, member.number)),
        v6: None,
        gateway: Some(addresses::host(group.v4, 1)),
    };
    let ethers = [member.ether(group), bridge.ether_of(&group.bridge)?];
    let port = Port::new(tap, place.net, ethers, mtu, group.out4);
    Ok((addresses, Wire { _cable: None, _share: share }, port))
}

/// Lays a cable from a guest to a link on the bridge of its group's holder.
fn lay(
    group: &Group,
    member: &Member,
    guest: (&Inside, &mut Netlink),
    holder: (&Place, &mut Netlink),
) -> Result<Cable> {
    let near = End { name: &member.link, namespace: None, ether: None };
    // The kernel removes the links of an earlier cable a little after it was dropped.
    holder.1.remove(&member.link)?;
    let far = cable::end(&Inside::start(holder.0)?, holder.1, &near, (group.mtu, true))?;
    let near = End { name: "eth0", namespace: None, ether: Some(member.ether(group)) };
    Cable::new(cable::end(guest.0, guest.1, &near, (group.mtu, false))?, far)
}

/// Makes the host ignore router advertisements of members.
fn guard(group: &Group) -> Result<()> {
    for (family, setting) in
        [("ipv6", "accept_ra"), ("ipv6", "accept_redirects"), ("ipv4", "accept_redirects")]
    {
        let path = PathBuf::from(format!("/proc/sys/net/{family}/conf/{}/{setting}", group.bridge));
        match fs::write(&path, "0") {
            // There is no IPv6 here, or settings are read-only, as in containers of other engines.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EROFS)) => {}
            other => other.file(&path)?,
        }
    }
    Ok(())
}

/// Reads a kernel setting in this network namespace, by its path below `/proc/sys`.
fn setting(path: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc/sys").join(path)).ok().map(|t| t.trim().to_owned())
}

/// Lets the host route IPv4 packets, as all container engines do. It stays enabled, because others may rely
/// on it by then.
fn forward() -> std::result::Result<(), String> {
    let path = "/proc/sys/net/ipv4/ip_forward";
    if setting("net/ipv4/ip_forward").as_deref() == Some("1") {
        return Ok(());
    }
    fs::write(path, "1").map_err(|e| format!("cannot set {path} to 1: {e}"))
}

/// The MTU in bytes of the link of the host's default route.
fn way_out_mtu(netlink: &mut Netlink) -> Option<u32> {
    let routes = fs::read_to_string("/proc/thread-self/net/route").ok()?;
    let mut fields = routes.lines().skip(1).map(|l| l.split('\t'));
    let link = fields.find_map(|mut f| {
        let (link, to) = (f.next()?, f.next()?);
        // The mask is the sixth field behind the destination.
        (to == "00000000" && f.nth(5) == Some("00000000")).then(|| link.to_owned())
    })?;
    netlink.mtu_of(&link).ok()?
}

impl Netlink {
    /// Creates the pair that connects a member with the bridge, which must be in this socket's namespace.
    fn plug(&mut self, group: &Group, member: &Member, netns: BorrowedFd) -> Result<Wire> {
        let near = End { name: &member.link, namespace: None, ether: None };
        let far = End { name: "eth0", namespace: Some(netns), ether: Some(member.ether(group)) };
        self.remove(&member.link)?;
        self.pair(&near, &far, 0)?;
        if let Some(mtu) = group.mtu {
            self.mtu(&member.link, mtu)?;
        }
        self.up(&member.link, true).map(|_| Wire::default())
    }
}

impl Member {
    /// The Ethernet address of a member. It is derived from its IP address, so that neighbour caches stay
    /// valid.
    fn ether(&self, group: &Group) -> [u8; 6] {
        let mut ether = addresses::ether(addresses::hash(&[&group.bridge]));
        ether[5] = self.number;
        ether
    }
}

/// Sets up the guest's end of the connection.
fn configure(netlink: &mut Netlink, group: &Group, member: &Member) -> Result<Addresses> {
    let gateway = addresses::host(group.v4, 1);
    let v4 = addresses::host(group.v4, member.number);
    if let Some(mtu) = group.mtu {
        netlink.mtu("eth0", mtu)?;
    }
    netlink.address("eth0", v4.into(), 24)?;
    netlink.up("eth0", false)?;
    netlink.default_route(gateway.into())?;
    let mut v6 = group.v6.map(|subnet| addresses::host6(subnet, member.number));
    if let (Some(address), Some(subnet)) = (v6, group.v6) {
        match netlink.address("eth0", address.into(), 64) {
            // IPv6 is disabled in the guest's namespace.
            Err(e) if matches!(e.number(), Some(libc::EACCES | libc::EOPNOTSUPP | libc::EAFNOSUPPORT)) => {
                v6 = None
            }
            other => other?,
        }
        if v6.is_some() && group.out6 {
            netlink.default_route(addresses::host6(subnet, 1).into())?;
        }
    }
    Ok(Addresses { v4: Some(v4), v6, gateway: Some(gateway) })
}

/// Writes a new member's files; returns a remark for the user.
fn write_files(group: Option<&Group>, member: &Member, join: &Join) -> Result<Option<String>> {
    let dir = &member.files;
    rewrite(&dir.join(files::HOSTNAME), &format!("{}\n", member.name))?;
    let host = |path: &str| fs::read_to_string(path);
    let mut hosts = files::hosts(group, member, &[]);
    if *join.mode == Mode::Host {
        let own: String = member.hosts.iter().map(|(n, a)| format!("{a}\t{n}\n")).collect();
        hosts = host("/etc/hosts").map_or(hosts, |text| format!("{text}\n{own}"));
    }
    rewrite(&dir.join(files::HOSTS), &hosts)?;
    let text = host("/etc/resolv.conf").unwrap_or_default();
    let (mut resolv, mut note) = match join.mode {
        Mode::Host => (text, None),
        Mode::None => (String::new(), None),
        Mode::Group(_) => {
            let stub = host("/run/systemd/resolve/resolv.conf").ok();
            files::resolv(&text, stub.as_deref(), group.and_then(|g| g.resolver).map(IpAddr::V4))
        }
    };
    if !join.dns.is_empty() || !join.search.is_empty() {
        resolv = files::resolv_given(&resolv, join.dns, join.search);
        note = note.filter(|_| join.dns.is_empty());
    }
    rewrite(&dir.join(files::RESOLV), &resolv)?;
    // Without access to the outside, the remark about that is enough.
    Ok(note.filter(|_| group.is_some_and(|g| g.out4)))
}

/// Rewrites `/etc/hosts` of every member.
fn rewrite_hosts(records: &Records, group: &Group) -> Result<()> {
    let members = records.members(&group.name);
    for member in &members {
        let path = member.files.join(files::HOSTS);
        match rewrite(&path, &files::hosts(Some(group), member, &members)) {
            // A member that is about to leave has no file any more.
            Err(e) if e.number() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(())
}
