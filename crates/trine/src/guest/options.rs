//! One table of which option of `trine run` is for which kinds of guests. Refusals and the headings of the
//! help come from it.

use crate::Refusal;
use crate::args::RunArgs;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

/// The kinds of guests that differ in their options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A machine: `linux`, a kernel, a firmware, or an ELF file in machine mode.
    Machine = 1,
    /// A machine that runs an image with a kernel of its own.
    ImageMachine = 2,
    /// A Linux program of another CPU.
    Program = 4,
    /// A container of an image.
    Container = 8,
    /// A container of an OCI bundle.
    Bundle = 16,
    /// A machine with a whole Debian on a disk.
    Debian = 32,
    /// A machine that goes on from a snapshot.
    Restored = 64,
}

/// A set of kinds.
#[derive(Clone, Copy)]
struct Kinds(u8);

impl Kinds {
    const fn of(kinds: &[Kind]) -> Kinds {
        let (mut bits, mut at) = (0, 0);
        while at < kinds.len() {
            bits |= kinds[at] as u8;
            at += 1;
        }
        Kinds(bits)
    }

    fn has(self, kind: Kind) -> bool {
        self.0 & kind as u8 != 0
    }

    /// Whether the set has machines only.
    fn are_machines(self) -> bool {
        self.0 & !(MACHINES.0 | Kind::Restored as u8) == 0
    }

    /// The kinds in words, for the user of a guest of kind `other`, which is not among them.
    fn describe(self, other: Kind) -> String {
        if self.0 == Kind::Debian as u8 {
            return "machines with Debian (`trine run debian`)".into();
        }
        if self.0 == Kind::Restored as u8 {
            return "machines that go on from a snapshot".into();
        }
        let name = |pair: Kinds, general, special| match self.0 & pair.0 {
            0 => None,
            _ if pair.has(other) => Some(special),
            _ => Some(general),
        };
        let machines = match other {
            Kind::Restored => "machines that start anew",
            Kind::Machine | Kind::Debian if self.has(Kind::ImageMachine) => "images as machines",
            Kind::Debian => "machines without a whole Debian",
            _ => "machines without an image",
        };
        let containers = if other == Kind::Bundle { "containers of images" } else { "bundles" };
        let words = [
            name(MACHINES, if other == Kind::Restored { machines } else { "machines" }, machines),
            self.has(Kind::Program).then_some("programs"),
            name(CONTAINERS, "containers", containers),
        ];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        match words.as_slice() {
            [first, second, third] => format!("{first}, {second} and {third}"),
            some => some.join(" and "),
        }
    }
}

const MACHINES: Kinds = Kinds::of(&[Kind::Machine, Kind::Debian, Kind::ImageMachine]);
const CONTAINERS: Kinds = Kinds::of(&[Kind::Container, Kind::Bundle]);

/// Options for the same kinds.
struct Group {
    /// Their heading in the help.
    heading: &'static str,
    /// The kinds of guests.
    kinds: Kinds,
    /// Their long names, without dashes.
    options: &'static [&'static str],
}

/// Heading of the options for all kinds of guests.
const GUESTS: &str = "Guests (with any of these, `trine ps` and the other verbs know it)";

/// All options.
const TABLE: &[Group] = &[
    Group {
        heading: "Machines",
        kinds: Kinds::of(&[Kind::Machine]),
        options: &["firmware", "flash", "kernel", "initrd"],
    },
    Group {
        heading: "Machines",
        kinds: MACHINES,
        options: &["append", "disk", "share", "cpus", "as", "lockstep", "count-time"],
    },
    Group {
        heading: "Machines",
        kinds: Kinds::of(&[Kind::Machine, Kind::Debian, Kind::ImageMachine, Kind::Restored]),
        options: &["trace"],
    },
    Group { heading: "Machines", kinds: Kinds::of(&[Kind::Restored]), options: &["restore"] },
    Group {
        heading: "Machines",
        kinds: Kinds::of(&[Kind::Debian]),
        options: &["ephemeral", "cold", "fresh"],
    },
    Group {
        heading: "Machines and programs",
        kinds: Kinds::of(&[Kind::Machine, Kind::Debian, Kind::ImageMachine, Kind::Program]),
        options: &["arch"],
    },
    Group {
        heading: "Machines and programs",
        kinds: Kinds::of(&[Kind::Machine, Kind::Debian, Kind::ImageMachine, Kind::Restored, Kind::Program]),
        options: &["engine", "gdb", "perf-map", "stats"],
    },
    Group {
        heading: "Programs",
        kinds: Kinds::of(&[Kind::Program]),
        options: &["sysroot", "packages", "strace", "deny"],
    },
    Group {
        heading: "Programs and containers",
        kinds: Kinds::of(&[Kind::Program, Kind::Container]),
        options: &["limit"],
    },
    Group {
        heading: "Programs and containers",
        kinds: Kinds::of(&[Kind::Program, Kind::Container, Kind::ImageMachine]),
        options: &["env", "cwd"],
    },
    Group {
        heading: "Machines and containers",
        kinds: Kinds::of(&[Kind::Machine, Kind::Debian, Kind::ImageMachine, Kind::Container]),
        options: &["memory"],
    },
    Group {
        heading: "Images, as containers or as machines",
        kinds: Kinds::of(&[Kind::Container, Kind::ImageMachine]),
        options: &["platform", "pull", "insecure", "entrypoint", "user", "hostname"],
    },
    Group {
        heading: "Containers",
        kinds: Kinds::of(&[Kind::Container]),
        options: &[
            "read-only",
            "volume",
            "tmpfs",
            "device",
            "cap-add",
            "cap-drop",
            "privileged",
            "no-new-privileges",
            "seccomp",
            "sysctl",
            "ulimit",
            "memory-swap",
            "memory-reservation",
            "cpu-shares",
            "cpuset-cpus",
            "io-weight",
            "device-read-bps",
            "device-write-bps",
            "device-read-iops",
            "device-write-iops",
            "shm-size",
        ],
    },
    Group {
        heading: "Networks",
        kinds: Kinds::of(&[Kind::Machine, Kind::Debian, Kind::Container, Kind::Bundle]),
        options: &["network", "network-alias"],
    },
    Group {
        heading: "Networks",
        kinds: Kinds::of(&[Kind::Machine, Kind::Debian, Kind::Restored, Kind::Container, Kind::Bundle]),
        options: &["publish"],
    },
    Group {
        heading: "Networks of containers",
        kinds: Kinds::of(&[Kind::Container]),
        options: &["dns", "dns-search", "add-host"],
    },
    Group {
        heading: GUESTS,
        kinds: Kinds::of(&[
            Kind::Machine,
            Kind::Debian,
            Kind::ImageMachine,
            Kind::Restored,
            Kind::Program,
            Kind::Container,
            Kind::Bundle,
        ]),
        options: &[
            "name",
            "detach",
            "rm",
            "interactive",
            "tty",
            "restart",
            "stop-signal",
            "stop-timeout",
            "log-size",
            "label",
            "detach-keys",
            "json",
        ],
    },
    Group {
        heading: GUESTS,
        // No command can be executed in a machine to check its health.
        kinds: Kinds::of(&[Kind::Program, Kind::Container, Kind::Bundle]),
        options: &[
            "health-cmd",
            "health-interval",
            "health-timeout",
            "health-retries",
            "health-start-period",
        ],
    },
    // Only an image brings its own health check.
    Group { heading: GUESTS, kinds: Kinds::of(&[Kind::Container]), options: &["no-healthcheck"] },
];

fn group(option: &str) -> Option<&'static Group> {
    TABLE.iter().find(|group| group.options.contains(&option))
}

/// The options on a command line, by their long names.
#[derive(Clone, Default)]
pub struct Given(Vec<String>);

impl Given {
    /// The options of a parsed command line.
    pub fn of(command: &Command, matches: &ArgMatches) -> Given {
        let given =
            |a: &&clap::Arg| matches.value_source(a.get_id().as_str()) == Some(ValueSource::CommandLine);
        Given(command.get_arguments().filter(given).filter_map(|a| Some(a.get_long()?.to_owned())).collect())
    }

    fn has(&self, option: &str) -> bool {
        self.0.iter().any(|given| given == option)
    }
}

/// Puts the options of a command under the headings of the table.
pub fn grouped(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_long().and_then(group) {
        Some(group) => arg.help_heading(group.heading),
        None => arg,
    })
}

/// Whether an option (with its dashes) makes the named file a machine. `--as` does not, because it is for
/// images.
pub fn makes_machine(option: &str) -> bool {
    let name = option.strip_prefix("--").unwrap_or_default();
    name != "as" && group(name).is_some_and(|group| group.kinds.are_machines())
}

/// Whether an option (with its dashes) is for containers, and not for machines without an image.
pub fn makes_container(option: &str) -> bool {
    let name = option.strip_prefix("--").unwrap_or(match option {
        "-e" => "env",
        "-w" => "cwd",
        "-v" => "volume",
        "-u" => "user",
        _ => "",
    });
    group(name).is_some_and(|group| group.kinds.has(Kind::Container) && !group.kinds.has(Kind::Debian))
}

/// Whether an option was given that is for containers, and not for machines without an image.
pub fn container_is_asked(args: &RunArgs) -> bool {
    args.given.0.iter().any(|option| makes_container(&format!("--{option}")))
}

/// Whether an option that is for machines only was given.
pub fn machine_is_asked(args: &RunArgs) -> bool {
    args.given.0.iter().any(|option| makes_machine(&format!("--{option}")))
}

/// What to do instead of using an option.
fn advice(option: &str, kinds: Kinds, kind: Kind) -> &'static str {
    match (option, kind) {
        ("restore", _) => ": leave that out, as the snapshot says what the machine is",
        ("memory", Kind::Program) => ": limit a program with --limit memory=SIZE",
        ("cpus", Kind::Program | Kind::Container) => ": limit it with --limit cpu=N",
        ("limit", Kind::ImageMachine) => ": use --memory for a machine",
        (_, Kind::Bundle) if kinds.has(Kind::Container) => ": its config.json sets that",
        (_, Kind::Container) if kinds.has(Kind::ImageMachine) => ": --as machine makes it a machine",
        _ => "",
    }
}

/// Refuses the first option that is not for this kind of guest. `what` is a sentence that says what kind the
/// guest is.
///
/// # Errors
/// The refusal.
pub fn check(given: &Given, kind: Kind, what: &str) -> Result<(), Refusal> {
    for group in TABLE.iter().filter(|group| !group.kinds.has(kind)) {
        if let Some(option) = group.options.iter().find(|option| given.has(option)) {
            let (kinds, advice) = (group.kinds.describe(kind), advice(option, group.kinds, kind));
            return Err(Refusal::refused(format!("--{option} is for {kinds}; {what}{advice}")));
        }
    }
    Ok(())
}

/// Refuses arguments of a guest that takes none.
///
/// # Errors
/// The refusal.
pub fn check_arguments(args: &RunArgs, kind: Kind, what: &str) -> Result<(), Refusal> {
    let why = match kind {
        _ if args.args.is_empty() => return Ok(()),
        Kind::Machine | Kind::Debian => ": only options may follow it",
        Kind::Bundle => ": its config.json says what runs",
        _ => return Ok(()),
    };
    Err(Refusal::refused(format!("{what}, which takes no arguments{why}")))
}

#[cfg(test)]
mod tests;
