//! Which option of `trine run` goes with which kind of guest: one table. Refusals and the headings of the help come from it.

use crate::Refusal;
use crate::args::RunArgs;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

/// Kinds of guests, as far as their options differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `linux`, a kernel, a firmware, or an ELF file in machine mode.
    Machine = 1,
    /// An image with a kernel of its own.
    ImageMachine = 2,
    /// A Linux program of another CPU.
    Program = 4,
    /// A container of an image.
    Container = 8,
    /// A container of an OCI bundle.
    Bundle = 16,
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

    /// Whether these are machines and nothing else.
    fn are_machines(self) -> bool {
        self.0 & !MACHINES.0 == 0
    }

    /// The kinds in words, for somebody who has a guest of the kind `other`, which is none of them.
    fn describe(self, other: Kind) -> String {
        let name = |pair: Kinds, general, special| match self.0 & pair.0 {
            0 => None,
            _ if pair.has(other) => Some(special),
            _ => Some(general),
        };
        let machines = if other == Kind::Machine { "images as machines" } else { "machines of no image" };
        let containers = if other == Kind::Bundle { "containers of images" } else { "bundles" };
        let words = [
            name(MACHINES, "machines", machines),
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

const MACHINES: Kinds = Kinds::of(&[Kind::Machine, Kind::ImageMachine]);
const CONTAINERS: Kinds = Kinds::of(&[Kind::Container, Kind::Bundle]);

/// Options that go with the same kinds.
struct Group {
    /// Where the help has them.
    heading: &'static str,
    /// The kinds.
    kinds: Kinds,
    /// Their long names, without the dashes.
    options: &'static [&'static str],
}

/// Heading of options that all kinds of guests have.
const GUESTS: &str = "Guests (with any of these, `trine ps` and the other verbs know it)";

/// All options.
const TABLE: &[Group] = &[
    Group {
        heading: "Machines",
        kinds: Kinds::of(&[Kind::Machine]),
        options: &["firmware", "kernel", "initrd"],
    },
    Group {
        heading: "Machines",
        kinds: MACHINES,
        options: &["append", "disk", "as", "lockstep", "count-time"],
    },
    Group {
        heading: "Machines and programs",
        kinds: Kinds::of(&[Kind::Machine, Kind::ImageMachine, Kind::Program]),
        options: &["arch", "engine", "perf-map", "stats"],
    },
    Group {
        heading: "Programs",
        kinds: Kinds::of(&[Kind::Program]),
        options: &["sysroot", "packages", "strace", "gdb", "deny"],
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
        kinds: Kinds::of(&[Kind::Machine, Kind::ImageMachine, Kind::Container]),
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
        heading: "Networks of containers",
        kinds: CONTAINERS,
        options: &["network", "network-alias", "publish"],
    },
    Group {
        heading: "Networks of containers",
        kinds: Kinds::of(&[Kind::Container]),
        options: &["dns", "dns-search", "add-host"],
    },
    Group {
        heading: GUESTS,
        kinds: Kinds::of(&[Kind::Machine, Kind::ImageMachine, Kind::Program, Kind::Container, Kind::Bundle]),
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
        // Nothing can be executed in a machine to look at its health.
        kinds: Kinds::of(&[Kind::Program, Kind::Container, Kind::Bundle]),
        options: &[
            "health-cmd",
            "health-interval",
            "health-timeout",
            "health-retries",
            "health-start-period",
        ],
    },
    // Only an image brings checks along.
    Group { heading: GUESTS, kinds: Kinds::of(&[Kind::Container]), options: &["no-healthcheck"] },
];

fn group(option: &str) -> Option<&'static Group> {
    TABLE.iter().find(|group| group.options.contains(&option))
}

/// Options that stand on the command line, by their long names.
#[derive(Clone, Default)]
pub struct Given(Vec<String>);

impl Given {
    /// Those of a command line that was read.
    pub fn of(command: &Command, matches: &ArgMatches) -> Given {
        let given =
            |a: &&clap::Arg| matches.value_source(a.get_id().as_str()) == Some(ValueSource::CommandLine);
        Given(command.get_arguments().filter(given).filter_map(|a| Some(a.get_long()?.to_owned())).collect())
    }

    fn has(&self, option: &str) -> bool {
        self.0.iter().any(|given| given == option)
    }
}

/// The command with its options under the headings of the table.
pub fn grouped(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_long().and_then(group) {
        Some(group) => arg.help_heading(group.heading),
        None => arg,
    })
}

/// Whether an option, with its dashes, makes a machine of the file that is named. `--as` does not: it is about images.
pub fn makes_machine(option: &str) -> bool {
    let name = option.strip_prefix("--").unwrap_or_default();
    name != "as" && group(name).is_some_and(|group| group.kinds.are_machines())
}

/// Whether an option that only machines have is given.
pub fn machine_is_asked(args: &RunArgs) -> bool {
    args.given.0.iter().any(|option| makes_machine(&format!("--{option}")))
}

/// What to do in place of giving an option.
fn advice(option: &str, kinds: Kinds, kind: Kind) -> &'static str {
    match (option, kind) {
        ("memory", Kind::Program) => ": what a program may use is --limit memory=SIZE",
        ("limit", Kind::ImageMachine) => ": a machine has --memory",
        (_, Kind::Bundle) if kinds.has(Kind::Container) => ": its config.json says that",
        (_, Kind::Container) if kinds.has(Kind::ImageMachine) => ": --as machine makes a machine of it",
        _ => "",
    }
}

/// Refuses the first option of the table that does not go with a kind. `what` is a sentence that says of what kind the guest
/// is.
///
/// # Errors
/// That refusal.
pub fn check(given: &Given, kind: Kind, what: &str) -> Result<(), Refusal> {
    for group in TABLE.iter().filter(|group| !group.kinds.has(kind)) {
        if let Some(option) = group.options.iter().find(|option| given.has(option)) {
            let (kinds, advice) = (group.kinds.describe(kind), advice(option, group.kinds, kind));
            return Err(Refusal::refused(format!("--{option} is for {kinds}; {what}{advice}")));
        }
    }
    Ok(())
}

/// Refuses arguments behind what takes none.
///
/// # Errors
/// That refusal.
pub fn check_arguments(args: &RunArgs, kind: Kind, what: &str) -> Result<(), Refusal> {
    let why = match kind {
        _ if args.args.is_empty() => return Ok(()),
        Kind::Machine => ": only options may stand behind it",
        Kind::Bundle => ": its config.json says what runs",
        _ => return Ok(()),
    };
    Err(Refusal::refused(format!("{what}, which takes no arguments{why}")))
}

#[cfg(test)]
mod tests;
