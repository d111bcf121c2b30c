//! The devices that a group may use: `linux.resources.devices`, a list of rules in which later rules override
//! earlier ones.

use crate::{Error, Result};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use std::collections::BTreeMap;

/// A device type, numbered as in the kernel's BPF interface (include/uapi/linux/bpf.h, `BPF_DEVCG_DEV_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Block = 1,
    Char = 2,
}

/// Access bits of the same interface (`BPF_DEVCG_ACC_*`).
pub(crate) const MKNOD: u8 = 1;
pub(crate) const READ: u8 = 2;
pub(crate) const WRITE: u8 = 4;

/// Devices of one type; `None` stands for all numbers.
pub(crate) type Which = (Kind, Option<u32>, Option<u32>);

/// One rule; without a type it is for all devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub allow: bool,
    pub which: Option<Which>,
    pub access: u8,
}

/// The devices that every container has (runtime specification, "Default Devices"), terminals, and making any
/// node, which does not give access to the device.
const DEFAULT: [(Option<u32>, Option<u32>, u8); 9] = [
    (None, None, MKNOD),
    (Some(1), Some(3), READ | WRITE | MKNOD), // null
    (Some(1), Some(5), READ | WRITE | MKNOD), // zero
    (Some(1), Some(7), READ | WRITE | MKNOD), // full
    (Some(1), Some(8), READ | WRITE | MKNOD), // random
    (Some(1), Some(9), READ | WRITE | MKNOD), // urandom
    (Some(5), Some(0), READ | WRITE | MKNOD), // tty
    (Some(5), Some(2), READ | WRITE | MKNOD), // ptmx
    (Some(136), None, READ | WRITE | MKNOD),  // pts/*
];

/// The rules of a configuration, followed by those for [`DEFAULT`].
pub(crate) fn rules(asked: &[LinuxDeviceCgroup]) -> Result<Vec<Rule>> {
    let default = DEFAULT.map(|(major, minor, access)| Rule {
        allow: true,
        which: Some((Kind::Char, major, minor)),
        access,
    });
    let block = Rule { allow: true, which: Some((Kind::Block, None, None)), access: MKNOD };
    let mut rules =
        asked.iter().enumerate().map(|(at, asked)| rule(at, asked)).collect::<Result<Vec<Rule>>>()?;
    rules.extend(default);
    rules.push(block);
    Ok(rules)
}

fn rule(at: usize, asked: &LinuxDeviceCgroup) -> Result<Rule> {
    let wrong = |what: &str| Error::Refused(format!("linux.resources.devices[{at}]: {what}"));
    let number = |number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n).map(Some).map_err(|_| wrong(&format!("{n} is not a device number"))),
    };
    let (major, minor) = (number(asked.major())?, number(asked.minor())?);
    let which = match asked.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some((Kind::Block, major, minor)),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some((Kind::Char, major, minor)),
        Some(LinuxDeviceType::P) => return Err(wrong("a pipe is not a device: use a, b or c")),
    };
    let bit = |letter| match letter {
        'r' => Ok(READ),
        'w' => Ok(WRITE),
        'm' => Ok(MKNOD),
        _ => Err(wrong(&format!("'{letter}' is not an access: use r, w and m"))),
    };
    let letters = asked.access().as_deref().filter(|letters| !letters.is_empty()).unwrap_or("rwm");
    let access = letters.chars().map(bit).try_fold(0, |all, bit| bit.map(|bit| all | bit))?;
    Ok(Rule { allow: asked.allow(), which, access })
}

/// The rule as cgroup v1 accepts it.
impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((kind, major, minor)) = self.which else { return write!(f, "a") };
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let kind = if kind == Kind::Block { 'b' } else { 'c' };
        write!(f, "{kind} {}:{} ", number(major), number(minor))?;
        [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')]
            .iter()
            .filter(|(bit, _)| self.access & bit != 0)
            .try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// The combined effect of rules, computed like cgroup v1 in the kernel: a default for all devices, and
/// exceptions. An exception that allows must cover the whole access; one that refuses matches any part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Whether devices without an exception are allowed.
    pub allow: bool,
    /// The exceptions: devices, and the access bits for which the default does not hold.
    pub exceptions: BTreeMap<Which, u8>,
}

impl Policy {
    /// Applies the rules in order, starting from a group that may use all devices.
    pub(crate) fn of(rules: &[Rule]) -> Policy {
        let mut policy = Policy { allow: true, exceptions: BTreeMap::new() };
        for rule in rules {
            match rule.which {
                None => policy = Policy { allow: rule.allow, exceptions: BTreeMap::new() },
                Some(which) if rule.allow != policy.allow => {
                    *policy.exceptions.entry(which).or_default() |= rule.access
                }
                Some(which) => {
                    if let Some(access) = policy.exceptions.get_mut(&which) {
                        *access &= !rule.access;
                    }
                }
            }
        }
        policy.exceptions.retain(|_, access| *access != 0);
        policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> Vec<LinuxDeviceCgroup> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn rules_of_the_specification() {
        let list = asked(
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
                {"allow":true,"type":"b","major":8,"minor":-1,"access":"m"}]"#,
        );
        let text: Vec<String> = rules(&list).unwrap().iter().map(Rule::to_string).collect();
        assert_eq!(text[..3], ["a", "c 10:229 rw", "b 8:* m"]);
        assert!(text.contains(&"c 136:* rwm".to_owned()) && text.contains(&"b *:* m".to_owned()));
        let wrong = |json: &str| rules(&asked(json)).unwrap_err().to_string();
        assert!(
            wrong(r#"[{"allow":true,"type":"c","access":"rx"}]"#)
                .contains("devices[0]: 'x' is not an access")
        );
        assert!(wrong(r#"[{"allow":true,"type":"c","major":-2}]"#).contains("-2 is not a device number"));
        assert!(wrong(r#"[{"allow":true,"type":"p"}]"#).contains("pipe"));
    }

    #[test]
    fn a_policy_counts_as_the_kernel_does() {
        let all = Rule { allow: false, which: None, access: 7 };
        let null = |allow, access| Rule { allow, which: Some((Kind::Char, Some(1), Some(3))), access };
        let policy = Policy::of(&[all, null(true, READ), null(true, WRITE), null(false, READ)]);
        assert!(!policy.allow);
        assert_eq!(
            policy.exceptions.into_iter().collect::<Vec<_>>(),
            [((Kind::Char, Some(1), Some(3)), WRITE)]
        );
        let refuse = Policy::of(&[null(false, WRITE), null(true, WRITE)]);
        assert_eq!(refuse, Policy { allow: true, exceptions: BTreeMap::new() });
    }
}
