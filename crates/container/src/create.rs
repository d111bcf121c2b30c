//! Creating a container.

use crate::channel::{Channel, Kind};
use crate::container::{self, Container};
use crate::error::{Context, Error, Result};
use crate::idmap::{self, Maps};
use crate::launch::{Launch, Launched};
use crate::namespaces::Namespaces;
use crate::plan::{Plan, Task};
use crate::rootfs::groups::Hierarchy;
use crate::rootfs::layers::Layers;
use crate::rootfs::{fuse, mounts};
use crate::spec::{self, Bundle};
use crate::state::{ContainerState, Directory, Record, Status, VERSION};
use crate::{hooks, sys};
use oci_spec::runtime::{Linux, Spec};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use trine_base::process_stat::ProcessIdentity;
use trine_base::rfc3339;
use trine_cgroup::{GroupPath, Manager};

/// All containers whose state is below one directory.
#[derive(Clone, Debug)]
pub struct Runtime {
    root: PathBuf,
}

/// Options for creating a container.
#[derive(Default)]
pub struct CreateOptions {
    /// Number of descriptors, from 3 on, that its program inherits from the caller.
    pub preserve: u32,
    /// Its standard input, output and error; `None` means the caller's own.
    pub stdio: [Option<OwnedFd>; 3],
    /// Whether to keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Whether to change the root without `pivot_root(2)`: for hosts that run from a RAM disk.
    pub no_pivot: bool,
    /// Whether [`Container::start`] starts its program, from any process; otherwise [`Created::start`] does,
    /// from this one.
    pub detached: bool,
}

/// A container whose program has not started.
#[derive(Debug)]
pub struct Created {
    /// The container.
    pub container: Container,
    /// Its first process, a child of this one.
    pub process: OwnedFd,
    /// The caller's end of its terminal.
    pub terminal: Option<OwnedFd>,
    /// Sentences about settings that were left out because the host does not have or allow them.
    pub notes: Vec<String>,
    channel: Channel,
    config: Spec,
}

impl Created {
    /// Starts its program.
    ///
    /// # Errors
    /// The program cannot be executed.
    pub fn start(&mut self) -> Result<()> {
        self.channel.send(Kind::Go, &[], &[])?;
        let state = &self.container.record.state;
        container::begun(&mut self.channel, &self.config, state, &self.process, state.pid)?;
        container::started(&self.config, state)
    }
}

impl Runtime {
    /// The containers below a directory, which is created with the first one.
    pub fn new(root: PathBuf) -> Runtime {
        Runtime { root }
    }

    /// Loads an existing container.
    ///
    /// # Errors
    /// There is no container with this name.
    pub fn load(&self, id: &str) -> Result<Container> {
        let directory = Directory::find(&self.root, id)?;
        let record = directory.load()?;
        Ok(Container { directory, record })
    }

    /// All existing containers.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<Container>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with(|| format!("cannot read {}", self.root.display()))?,
        };
        let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
        // Another command may be creating or deleting a container.
        let mut all: Vec<Container> = names.filter_map(|id| self.load(&id).ok()).collect();
        all.sort_by(|a, b| a.record.state.id.cmp(&b.record.state.id));
        Ok(all)
    }

    /// Removes what is left of a container whose creation was interrupted, if there is anything.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn clear(&self, id: &str) -> Result<()> {
        match Directory::find(&self.root, id) {
            Ok(directory) => directory.remove(),
            Err(Error::Missing(_)) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Creates a container: everything is there, but its program has not started.
    ///
    /// # Errors
    /// The name is taken, or something cannot be created; nothing is left then.
    pub fn create(&self, id: &str, bundle: &Bundle, options: CreateOptions) -> Result<Created> {
        let directory = Directory::make(&self.root, id)?;
        let making = Making::begin(&directory, bundle, options);
        let created = making.and_then(|mut m| {
            let result = m.go();
            if result.is_err() {
                m.abort();
            }
            result
        });
        if created.is_err() {
            drop(directory.remove());
        }
        created
    }
}

/// A container that is being created.
struct Making<'a> {
    directory: &'a Directory,
    bundle: &'a Bundle,
    options: CreateOptions,
    record: Record,
    launch: Launch,
    launched: Option<Launched>,
    groups: Manager,
    notes: Vec<String>,
}

fn linux(spec: &Spec) -> Result<&Linux> {
    spec.linux().as_ref().ok_or_else(|| Error::refused("the section 'linux' is missing"))
}

impl<'a> Making<'a> {
    fn begin(directory: &'a Directory, bundle: &'a Bundle, mut options: CreateOptions) -> Result<Making<'a>> {
        let spec = &bundle.spec;
        let linux = linux(spec)?;
        let namespaces = Namespaces::open(linux.namespaces().as_deref().unwrap_or_default())?;
        let maps = spec::maps(linux)?;
        // SAFETY: only gives a number.
        let owner = unsafe { libc::geteuid() };
        let own_users = namespaces.joins.iter().any(|j| j.1 == libc::CLONE_NEWUSER) || maps.is_some();
        if owner != 0 && !own_users {
            return Err(Error::refused(
                "a user other than root needs a namespace of type user in linux.namespaces (`trine oci spec --rootless`)",
            ));
        }
        let state = ContainerState {
            oci_version: VERSION.into(),
            id: directory.id().into(),
            status: Status::Creating,
            pid: 0,
            bundle: bundle.path.clone(),
            annotations: spec.annotations().clone().unwrap_or_default(),
        };
        let record = Record {
            state,
            started: 0,
            rootfs: bundle.rootfs.clone(),
            created: rfc3339::nanoseconds(std::time::SystemTime::now()),
            owner,
            groups: None,
            callers_keys: options.no_new_keyring,
        };
        let groups = Manager::new(&GroupPath::new(linux.cgroups_path().as_deref(), directory.id())?);
        let launch = Launch {
            joins: namespaces.joins,
            // The cgroup namespace is created once the process is in its groups.
            new: namespaces.new & !libc::CLONE_NEWCGROUP,
            maps,
            time_offsets: offsets(linux),
            stdio: std::mem::take(&mut options.stdio),
            preserve: options.preserve,
            ..Launch::default()
        };
        Ok(Making { directory, bundle, options, record, launch, launched: None, groups, notes: Vec::new() })
    }

    /// Creates the control groups and sets their limits.
    fn limit(&mut self) -> Result<()> {
        // Recorded before they are created: this process may be killed in between, and another must clean up.
        self.record.groups = Some(self.groups.clone());
        self.directory.save(&self.record)?;
        self.groups.create()?;
        if self.record.groups.as_ref() != Some(&self.groups) {
            self.record.groups = Some(self.groups.clone());
            self.directory.save(&self.record)?;
        }
        if let Some(resources) = linux(&self.bundle.spec)?.resources() {
            self.notes.extend(self.groups.apply(resources)?);
        }
        self.launch.entry_descriptors = Some(self.groups.entry_descriptors()?);
        self.launch.group = self.groups.open_v2();
        Ok(())
    }

    /// Mount trees that only this side can open: their indices and descriptors.
    fn trees(&self, pid: i32) -> Result<Vec<(usize, OwnedFd)>> {
        let mounts = self.bundle.spec.mounts().iter().flatten().enumerate();
        let users = self.launch.maps.is_some() || joins(&self.launch, libc::CLONE_NEWUSER);
        let privileged = self.record.owner == 0 && !inside_user_namespace();
        let mut trees = Vec::new();
        for (i, mount) in mounts {
            let (Some(uids), Some(gids)) = (mount.uid_mappings(), mount.gid_mappings()) else {
                let options = mounts::parse(mount)?;
                let bind = options.is_bind() || mount.typ().as_deref() == Some("bind");
                let mapped = options.map_owners.is_some();
                if mapped && !users {
                    let to = mount.destination().display();
                    let why = "idmap needs uidMappings and gidMappings, or a namespace of type user";
                    return Err(Error::refused(format!("mount at {to}: {why}")));
                }
                if mapped || (bind && users && privileged) {
                    let own = || sys::open(format!("/proc/{pid}/ns/user"), libc::O_RDONLY);
                    let own =
                        if mapped { Some(own().context("cannot open the user namespace")?) } else { None };
                    trees.push((i, mounts::outside(&self.bundle.path, mount, &options, own.as_ref())?));
                }
                continue;
            };
            let own = idmap::namespace(&Maps::new(uids, gids)?)?;
            let options = mounts::parse(mount)?;
            trees.push((i, mounts::outside(&self.bundle.path, mount, &options, Some(&own))?));
        }
        Ok(trees)
    }

    fn go(&mut self) -> Result<Created> {
        let config = serde_json::to_vec(&self.bundle.spec).map_err(Error::refused)?;
        self.directory.keep(&config)?;
        self.limit()?;
        let launched = self.launch.go()?;
        let pid = launched.pid;
        self.launched = Some(launched);
        let trees = self.trees(pid)?;
        let Some(launched) = self.launched.as_mut() else { return Err(Error::NotRunning) };
        self.record.state.pid = pid;
        self.record.started = ProcessIdentity::of(pid).map_or(0, |process| process.start);
        let listener = match self.options.detached {
            true => Some(container::listen(self.directory.path())?),
            false => None,
        };
        let spec = &self.bundle.spec;
        let has_hooks = spec.hooks().as_ref().is_some_and(due);
        let users = self.launch.maps.is_some() || joins(&self.launch, libc::CLONE_NEWUSER);
        let plan = Plan {
            task: Task::Create,
            spec: spec.clone(),
            state: self.record.state.clone(),
            rootfs: self.bundle.rootfs.clone(),
            layers: self.bundle.layers.clone(),
            new: self.launch.new,
            users: users || inside_user_namespace(),
            may_set_groups: may_set_groups(pid),
            hierarchies: hierarchies(&self.groups),
            preserve: self.options.preserve,
            keyring: !self.options.no_new_keyring,
            pivot: !self.options.no_pivot,
            listens: listener.is_some(),
            trees: trees.iter().map(|t| t.0).collect(),
            hooks: has_hooks,
        };
        let text = serde_json::to_vec(&plan).map_err(Error::refused)?;
        let fds: Vec<_> = listener.iter().chain(trees.iter().map(|t| &t.1)).map(|l| l.as_raw_fd()).collect();
        launched.channel.send(Kind::Plan, &text, &fds)?;
        drop((listener, trees, launched.executable.take()));
        if let Some(layers) = &self.bundle.layers {
            serve(&mut launched.channel, layers, users.then_some(pid), &self.bundle.path)?;
        }
        if let Some(h) = spec.hooks().as_ref().filter(|_| has_hooks) {
            launched.channel.expect(Kind::Hooks)?;
            // Hooks may ask for it.
            self.directory.save(&self.record)?;
            #[allow(deprecated, reason = "bundles still have them")]
            hooks::run("prestart", h.prestart(), &self.record.state, Status::Creating)?;
            hooks::run("createRuntime", h.create_runtime(), &self.record.state, Status::Creating)?;
            launched.channel.send(Kind::Go, &[], &[])?;
        }
        let mut ready = launched.channel.expect(Kind::Ready)?;
        let terminal = ready.fds.pop();
        self.notes.extend(serde_json::from_slice::<Vec<String>>(&ready.bytes).unwrap_or_default());
        self.record.state.status = Status::Created;
        self.directory.save(&self.record)?;
        if self.options.detached {
            launched.channel.send(Kind::Go, &[], &[])?;
        }
        let Some(Launched { pidfd: process, channel, .. }) = self.launched.take() else {
            return Err(Error::NotRunning);
        };
        let container = Container { directory: self.directory.clone(), record: self.record.clone() };
        let notes = std::mem::take(&mut self.notes);
        Ok(Created { container, process, terminal, notes, channel, config: spec.clone() })
    }

    /// Ends everything that has been started.
    fn abort(&mut self) {
        if let Some(launched) = self.launched.take() {
            drop(sys::signal(&launched.pidfd, libc::SIGKILL));
            drop(sys::wait(launched.pid));
        }
        // Processes that hooks left in the groups, too.
        drop(self.groups.kill());
        drop(self.groups.remove());
    }
}

/// Waits until the layers are mounted, and starts the FUSE server if the process inside asks for it. `users`:
/// a process in the container's user namespace.
fn serve(channel: &mut Channel, layers: &Layers, users: Option<i32>, bundle: &Path) -> Result<()> {
    if channel.expect(Kind::Layers)?.bytes.is_empty() {
        return Ok(());
    }
    let open = |pid| sys::open(format!("/proc/{pid}/ns/user"), libc::O_RDONLY);
    let users = users.map(open).transpose().context("cannot open the user namespace")?;
    // In a user namespace, the process inside opens the device; it also reports why this side could not.
    let device = if users.is_none() { fuse::device().ok() } else { None };
    channel.send(Kind::Go, &[], device.as_ref().map(AsRawFd::as_raw_fd).as_slice())?;
    drop(device);
    if let Some(device) = channel.expect(Kind::Layers)?.fds.pop() {
        fuse::serve(layers, &device, users.as_ref(), &fuse::log(bundle))?;
    }
    channel.send(Kind::Go, &[], &[])
}

/// The hierarchies as they are mounted inside the container.
fn hierarchies(groups: &Manager) -> Vec<Hierarchy> {
    let all = groups.hierarchies();
    let first = all.iter().filter(|h| !h.is_second()).count();
    let made = all.iter().filter(|h| h.missing.is_none() && (first == 0 || !h.is_second()));
    made.map(|h| {
        let name = h.mount.file_name().map(|n| n.to_string_lossy().into_owned());
        Hierarchy {
            name: name.filter(|_| !h.is_second()),
            options: h.controllers.join(","),
            group: h.dir.clone(),
        }
    })
    .collect()
}

/// Whether hooks of the runtime must run while a container is being created.
#[allow(deprecated, reason = "bundles still have them")]
fn due(hooks: &oci_spec::runtime::Hooks) -> bool {
    let some = |h: &Option<Vec<_>>| h.as_ref().is_some_and(|h| !h.is_empty());
    some(hooks.prestart()) || some(hooks.create_runtime())
}

fn joins(launch: &Launch, flag: i32) -> bool {
    launch.joins.iter().any(|j| j.1 == flag)
}

/// Whether this process is in a user namespace: then it cannot create devices.
pub(crate) fn inside_user_namespace() -> bool {
    // The mapping of the host's own user namespace is the identity over all IDs (user_namespaces(7)).
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether a process may change its supplementary groups.
pub(crate) fn may_set_groups(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/setgroups")).is_ok_and(|t| t.trim() == "allow")
}

/// The text for `/proc/self/timens_offsets`.
fn offsets(linux: &Linux) -> String {
    let rows = linux.time_offsets().iter().flatten();
    rows.map(|(clock, o)| format!("{clock} {} {}\n", o.secs().unwrap_or(0), o.nanosecs().unwrap_or(0)))
        .collect()
}
