//! `trine run IMAGE` and `trine run BUNDLE`: containers.

use super::network::NetworkArgs;
use super::resources::ResourceArgs;
use super::run::{begin_with, options};
use crate::Refusal;
use crate::args::RunArgs;
use crate::images::{Display, or_host};
use clap::{Args, ValueEnum};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use trine_base::replace_file::Durability;
use trine_container::image::device::Device;
use trine_container::image::volume::{Tmpfs, Volume};
use trine_container::image::{self, Filter};
use trine_control::bundle;
use trine_control::error::OWN;
use trine_control::record::{self, GuestOptions, HealthCheck, KindName, Source, Word};
use trine_control::verbs::create::New;
use trine_hostnet::Mode;
use trine_oci::{Healthcheck, Image, Platform, Store};
use trine_program::confine::Limits;

/// When to fetch an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Pull {
    /// If it is not here
    #[default]
    Missing,
    /// At each start, to have the newest
    Always,
    /// Never
    Never,
}

/// Options of containers.
#[derive(Args)]
pub struct ContainerArgs {
    /// Use the image's variant for another CPU
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = Platform::from_str)]
    pub platform: Option<Platform>,
    /// When to fetch the image
    #[arg(long, value_enum, default_value = "missing")]
    pub pull: Pull,
    /// Use plain HTTP if the registry has no HTTPS
    #[arg(long)]
    pub insecure: bool,
    /// Executable in place of the image's entry point
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// User of its first process, by name or number
    #[arg(long, short, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Its host name
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Mount its root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Mount a directory or file of the host, or a named volume
    #[arg(long, short, value_name = "[SOURCE:]PLACE[:ro]", value_parser = Volume::from_str)]
    pub volume: Vec<Volume>,
    /// Mount a tmpfs
    #[arg(long, value_name = "PLACE[:OPTIONS]", value_parser = Tmpfs::from_str)]
    pub tmpfs: Vec<Tmpfs>,
    /// Give it a device of the host, with permissions to read, write and make nodes
    #[arg(long, value_name = "FILE[:PLACE][:rwm]", value_parser = Device::from_str)]
    pub device: Vec<Device>,
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    /// Everything that root of the host may do: not for untrusted software
    #[arg(long)]
    pub privileged: bool,
    /// Gain no privileges by set-user-ID files and file capabilities
    #[arg(long)]
    pub no_new_privileges: bool,
    /// System call filter: a file in the runtime's format, or `unconfined` for none
    #[arg(long, value_name = "FILE|unconfined")]
    pub seccomp: Option<PathBuf>,
    /// Set a kernel parameter of its namespaces
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub sysctl: Vec<(String, String)>,
    /// Resource limit of its processes, such as nofile=1024:4096
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = rlimit)]
    pub ulimit: Vec<(String, (u64, u64))>,
    /// Its resource limits.
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// Its network.
    #[command(flatten)]
    pub network: NetworkArgs,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("'{text}' is not NAME=VALUE"))?;
    Ok((name.into(), value.into()))
}

fn rlimit(text: &str) -> Result<(String, (u64, u64)), String> {
    let (name, values) = pair(text)?;
    let number = |text: &str| match text {
        "unlimited" | "-1" => Ok(u64::MAX),
        _ => text.parse().map_err(|_| format!("'{text}' is not a number")),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((&values, &values));
    Ok((name, (number(soft)?, number(hard)?)))
}

fn utf8(text: &OsStr) -> Result<String, Refusal> {
    text.to_str().map(str::to_string).ok_or_else(|| {
        Refusal::refused(format!(
            "'{}' is not UTF-8, which a container's configuration must be",
            text.display()
        ))
    })
}

fn limits(args: &RunArgs) -> Result<image::Limits, Refusal> {
    let all = args.limit.iter().cloned().fold(Limits::default(), Limits::and);
    if all.cpu_time.is_some() {
        return Err(Refusal::refused(
            "--limit cpu=TIME is not for containers: limit the number of CPUs, such as cpu=1.5",
        ));
    }
    let signed = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    Ok(image::Limits {
        memory: signed(all.memory.or(args.memory)),
        cpu_milli: all.cpus,
        pids: signed(all.pids),
        ..image::Limits::default()
    })
}

fn filter(path: Option<&Path>) -> Result<Filter, Refusal> {
    match path {
        None => Ok(Filter::Usual),
        Some(word) if word == Path::new("unconfined") => Ok(Filter::Unconfined),
        Some(path) => {
            let text =
                std::fs::read(path).map_err(|e| Refusal::refused(format!("{}: {e}", path.display())))?;
            let own = serde_json::from_slice(&text);
            let own = own
                .map_err(|e| Refusal::refused(format!("{} is not a seccomp filter: {e}", path.display())))?;
            Ok(Filter::Own(Box::new(own)))
        }
    }
}

/// The options for the container, besides its image.
pub(super) fn asked(args: &RunArgs) -> Result<image::ImageOptions, Refusal> {
    let own = &args.container;
    let words = |list: &[std::ffi::OsString]| list.iter().map(|w| utf8(w)).collect::<Result<Vec<_>, _>>();
    let mut rlimits: std::collections::BTreeMap<_, _> = own.ulimit.iter().cloned().collect();
    if let Some(files) = args.limit.iter().cloned().fold(Limits::default(), Limits::and).files {
        rlimits.insert("NOFILE".into(), (files, files));
    }
    Ok(image::ImageOptions {
        command: words(&args.args)?,
        // An empty entry point removes the image's.
        entrypoint: own.entrypoint.clone().map(|e| if e.is_empty() { Vec::new() } else { vec![e] }),
        env: words(&args.env)?,
        workdir: args.cwd.as_ref().map(|d| utf8(d.as_os_str())).transpose()?,
        user: own.user.clone(),
        hostname: own.hostname.clone().unwrap_or_default(),
        tty: args.guest.tty,
        read_only: own.read_only,
        volumes: own.volume.clone(),
        tmpfs: own.tmpfs.clone(),
        limits: own.resources.with(limits(args)?),
        shm_size: own.resources.shm_size.unwrap_or_default(),
        cap_add: own.cap_add.clone(),
        cap_drop: own.cap_drop.clone(),
        privileged: own.privileged,
        no_new_privileges: own.no_new_privileges,
        seccomp: filter(own.seccomp.as_deref())?,
        sysctl: own.sysctl.iter().cloned().collect(),
        rlimits,
        devices: own.device.clone(),
        host_network: own.network.mode()? == Mode::Host,
        ..image::ImageOptions::default()
    })
}

/// The image for a platform, by default the host's; fetched if that is wanted.
pub(super) fn image(name: &str, platform: Option<Platform>, own: &ContainerArgs) -> Result<Image, Refusal> {
    let store = Store::open()?;
    let here = match own.pull {
        Pull::Always => None,
        _ => match store.resolve(name, &or_host(platform.clone())) {
            Err(trine_oci::Error::NotHere(_)) if own.pull == Pull::Missing => None,
            found => Some(found?),
        },
    };
    match here {
        Some(image) => Ok(image),
        None => crate::images::fetch(&store, name, platform, own.insecure),
    }
}

/// What a container is made from.
pub enum What {
    /// The directory of a bundle.
    Bundle(PathBuf),
    /// The name of an image.
    Image(String),
}

/// Runs a container. Failures before it runs have the exit codes of other engines: 127 where the command does
/// not exist, 126 where it cannot be executed, 125 for other reasons.
pub fn run(args: &RunArgs, source: What) -> Result<u8, Refusal> {
    make(args, source).map_err(|refusal| match refusal.code {
        126 | 127 => refusal,
        _ => Refusal { code: OWN, ..refusal },
    })
}

fn make(args: &RunArgs, source: What) -> Result<u8, Refusal> {
    crate::be_a_command();
    let asked = asked(args)?;
    let mut options = options(args, KindName::Container)?;
    options.network = args.container.network.wanted()?;
    let what = args.thing.clone().unwrap_or_default();
    let arguments = args.args.iter().cloned().map(Word).collect();
    let new = |source, options: GuestOptions| New {
        name: args.guest.name.clone(),
        kind: KindName::Container,
        what: what.clone(),
        args: arguments,
        source,
        options,
    };
    match source {
        What::Bundle(path) => {
            let path = path.canonicalize().map_err(Refusal::refused)?;
            let source = Source::Bundle(record::Bundle { path, image: None, owned: false });
            begin_with(args, new(source, options), |_, _| Ok(()))
        }
        What::Image(name) => {
            let image = image(&name, args.container.platform.clone(), &args.container)?;
            of_image(&image, args, &mut options);
            let none = record::Bundle { path: PathBuf::new(), image: Some(name), owned: true };
            begin_with(args, new(Source::Bundle(none), options), |place, record| {
                let mut asked = asked;
                if asked.hostname.is_empty() {
                    asked.hostname = record.id[..12].to_string();
                }
                let display = Display::new(false);
                let made = bundle::make(&place.dir.join("bundle"), &record.id, &image, &asked, &display);
                display.clear();
                record.source = Source::Bundle(made?);
                place.write(record, Durability::Whole)
            })
        }
    }
}

/// Takes the image's settings where the user has none.
fn of_image(image: &Image, args: &RunArgs, options: &mut GuestOptions) {
    let config = image.config().config().as_ref();
    if options.stop_signal.is_none()
        && let Some(word) = config.and_then(|c| c.stop_signal().as_deref())
    {
        options.stop_signal = trine_control::signals::parse(word).ok();
    }
    if options.health.is_none() && !args.guest.no_healthcheck {
        options.health = image.healthcheck().and_then(|own| health(&own, args));
    }
}

/// An image's health check, with the user's times if given.
fn health(own: &Healthcheck, args: &RunArgs) -> Option<HealthCheck> {
    let command = match own.test.split_first() {
        Some((how, words)) if how == "CMD" && !words.is_empty() => words.iter().map(Word::from).collect(),
        Some((how, [line])) if how == "CMD-SHELL" => ["/bin/sh", "-c", line].map(Word::from).to_vec(),
        // `NONE`, or an empty command.
        _ => return None,
    };
    let (guest, usual) = (&args.guest, args.guest.health_times());
    let time =
        |given: Option<Duration>, own: u64, usual| given.unwrap_or_else(|| Healthcheck::or(own, usual));
    let retries = if own.retries == 0 { usual.retries } else { own.retries };
    Some(HealthCheck {
        command,
        interval: time(guest.health_interval, own.interval, usual.interval),
        timeout: time(guest.health_timeout, own.timeout, usual.timeout),
        retries: guest.health_retries.unwrap_or(retries),
        start_period: time(guest.health_start_period, own.start_period, usual.start_period),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Run;
    use clap::Parser;

    fn args(words: &[&str]) -> RunArgs {
        Run::parse_from([&["trine run"], words, &["image"]].concat()).args
    }

    #[test]
    fn an_image_says_how_its_health_is_looked_at() {
        let check = |test: &[&str]| Healthcheck {
            test: test.iter().map(|w| w.to_string()).collect(),
            interval: 5_000_000_000,
            ..Healthcheck::default()
        };
        let seconds = Duration::from_secs;
        let found = health(&check(&["CMD-SHELL", "curl -f x || exit 1"]), &args(&[])).unwrap();
        assert_eq!(found.command, ["/bin/sh", "-c", "curl -f x || exit 1"].map(Word::from));
        assert_eq!((found.interval, found.timeout, found.retries), (seconds(5), seconds(30), 3));
        let given = args(&["--health-interval", "7s", "--health-retries", "1"]);
        let found = health(&check(&["CMD", "/bin/ok", "-v"]), &given).unwrap();
        assert_eq!(found.command, ["/bin/ok", "-v"].map(Word::from));
        assert_eq!((found.interval, found.retries), (seconds(7), 1));
        for none in [&["NONE"][..], &[], &["CMD"], &["CMD-SHELL"], &["WHAT", "x"]] {
            assert_eq!(health(&check(none), &args(&[])), None, "{none:?}");
        }
    }
}
