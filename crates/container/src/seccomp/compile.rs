//! Compiling the specification's rules to a program.

use super::bpf::{ARCHITECTURE, ARGUMENTS, Assembler, Compare, Label, NUMBER};
use super::numbers::{Numbers, X32_BIT, second_door};
use super::{Abi, Filter, SeccompError};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// `BPF_MAXINSNS`.
const MOST: usize = 4096;

/// The number that a filter sees if a tracer removed the call: there is nothing to decide, and any other
/// action would overwrite the tracer's result.
const NO_CALL: u32 = u32::MAX;

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Condition {
    index: u32,
    operator: Test,
    value: u64,
    /// The comparison value of [`Test::Masked`].
    with: u64,
    /// Whether only the lower half is compared.
    narrow: bool,
}

/// The specification's operators, without those that negate others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Test {
    Equal { not: bool },
    NotBelow { not: bool },
    Above { not: bool },
    Masked,
}

/// A rule: an action if all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rule {
    conditions: Vec<Condition>,
    action: u32,
}

/// The decision about a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Decision {
    Always(u32),
    /// The action of the first matching rule, or the default.
    Rules(Vec<Rule>),
}

/// Compiles a filter for this host.
///
/// # Errors
/// A sentence about what in the profile is not possible.
pub fn compile(profile: &LinuxSeccomp) -> Result<Filter, SeccompError> {
    compile_for(profile, Abi::native().ok_or(SeccompError::Host(std::env::consts::ARCH))?)
}

/// Compiles a filter for a host with this native ABI.
///
/// # Errors
/// As [`compile`].
pub fn compile_for(profile: &LinuxSeccomp, native: Abi) -> Result<Filter, SeccompError> {
    let flags = flags(profile)?;
    let default = value(profile.default_action(), profile.default_errno_ret(), || "defaultAction".into())?;
    let entries = entries(profile, default)?;
    let listed = profile.architectures().iter().flatten().filter_map(|arch| Abi::of(*arch, native));
    let abis: BTreeSet<Abi> = listed.chain([native]).collect();
    // Calls that are newer than the profile's author can have known are made to look unimplemented (`ENOSYS`)
    // if they would be refused: programs then fall back to older ones, which they do not on EPERM.
    let newer = match profile.default_action() {
        Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace | Action::ScmpActNotify => default,
        _ => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
    };
    let program = Program { default, newer, assembler: Assembler::default(), written: HashMap::new() };
    let mut sections: BTreeMap<u32, Vec<Range>> = BTreeMap::new();
    for abi in abis {
        let ranges = sections.entry(abi.audit()).or_default();
        ranges.retain(|range| abi != Abi::X32 || range.start < X32_BIT);
        ranges.extend(program.ranges(abi, &entries));
    }
    let program = program.write(sections, native.audit());
    match program.len() {
        ..=MOST => Ok(Filter { program, flags }),
        long => Err(SeccompError::Long(long)),
    }
}

/// The flags for seccomp(2), after checks of their combinations.
fn flags(profile: &LinuxSeccomp) -> Result<libc::c_ulong, SeccompError> {
    let entries = || profile.syscalls().iter().flatten();
    let notify = |entry: &&LinuxSyscall| entry.action() == Action::ScmpActNotify;
    if profile.default_action() == Action::ScmpActNotify {
        return Err(SeccompError::Notify("as defaultAction"));
    }
    if entries().filter(notify).flat_map(LinuxSyscall::names).any(|name| name == "write") {
        return Err(SeccompError::Notify("for write"));
    }
    let notifies = entries().any(|entry| notify(&entry));
    let listener = profile.listener_path().is_some();
    if notifies && !listener {
        return Err(SeccompError::Listener("SCMP_ACT_NOTIFY needs listenerPath, the socket of the listener"));
    }
    if profile.listener_metadata().is_some() && !listener {
        return Err(SeccompError::Listener("listenerMetadata needs listenerPath"));
    }
    let mut flags = match profile.flags() {
        None => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        Some(list) => list.iter().fold(0, |all, flag| all | bit(*flag)),
    };
    match notifies {
        true if flags & libc::SECCOMP_FILTER_FLAG_TSYNC != 0 => {
            flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
        }
        true => flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        // The kernel refuses it without a listener.
        false => flags &= !libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    }
    Ok(flags)
}

fn bit(flag: Flag) -> libc::c_ulong {
    match flag {
        Flag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
        Flag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
        Flag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        Flag::SeccompFilterFlagWaitKillableRecv => libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    }
}

/// The return value of a filter for an action.
fn value(action: Action, errno: Option<u32>, at: impl Fn() -> String) -> Result<u32, SeccompError> {
    let (value, most) = match action {
        Action::ScmpActKill | Action::ScmpActKillThread => (libc::SECCOMP_RET_KILL_THREAD, 0),
        Action::ScmpActKillProcess => (libc::SECCOMP_RET_KILL_PROCESS, 0),
        Action::ScmpActTrap => (libc::SECCOMP_RET_TRAP, 0),
        // The kernel's MAX_ERRNO.
        Action::ScmpActErrno => (libc::SECCOMP_RET_ERRNO, 4095),
        Action::ScmpActTrace => (libc::SECCOMP_RET_TRACE, 0xffff),
        Action::ScmpActNotify => (libc::SECCOMP_RET_USER_NOTIF, 0),
        Action::ScmpActLog => (libc::SECCOMP_RET_LOG, 0),
        Action::ScmpActAllow => (libc::SECCOMP_RET_ALLOW, 0),
    };
    match (errno, most) {
        (None, 0) => Ok(value),
        (None, _) => Ok(value | libc::EPERM as u32),
        (Some(_), 0) => Err(SeccompError::Errno { at: at(), action: action.to_string() }),
        (Some(errno), _) if errno > most => Err(SeccompError::ErrnoRange { at: at(), value: errno, most }),
        (Some(errno), _) => Ok(value | errno),
    }
}

/// An entry of `syscalls`: names, and their rules (none if it repeats the default action).
type Entry<'a> = (&'a [String], Vec<Rule>);

fn entries(profile: &LinuxSeccomp, default: u32) -> Result<Vec<Entry<'_>>, SeccompError> {
    let entry = |(at, entry): (usize, &'_ LinuxSyscall)| {
        let name = entry.names().first().map_or("", |name| name);
        let at = || format!("syscalls[{at}] ({name})");
        let action = value(entry.action(), entry.errno_ret(), at)?;
        let conditions = entry.args().iter().flatten().map(|arg| condition(arg, at));
        let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        Ok(if action == default { Vec::new() } else { rules(conditions, action) })
    };
    let listed = profile.syscalls().iter().flatten().enumerate();
    listed.map(|(at, listed)| Ok((listed.names().as_slice(), entry((at, listed))?))).collect()
}

fn condition(arg: &LinuxSeccompArg, at: impl Fn() -> String) -> Result<Condition, SeccompError> {
    if arg.index() > 5 {
        return Err(SeccompError::Argument { at: at(), index: arg.index() });
    }
    let operator = match arg.op() {
        Operator::ScmpCmpEq => Test::Equal { not: false },
        Operator::ScmpCmpNe => Test::Equal { not: true },
        Operator::ScmpCmpGe => Test::NotBelow { not: false },
        Operator::ScmpCmpLt => Test::NotBelow { not: true },
        Operator::ScmpCmpGt => Test::Above { not: false },
        Operator::ScmpCmpLe => Test::Above { not: true },
        Operator::ScmpCmpMaskedEq => Test::Masked,
    };
    let with = arg.value_two().unwrap_or(0);
    Ok(Condition { index: arg.index() as u32, operator, value: arg.value(), with, narrow: false })
}

/// One rule, or, if an argument is compared twice, one for each comparison.
fn rules(conditions: Vec<Condition>, action: u32) -> Vec<Rule> {
    let twice = (0..6).any(|index| conditions.iter().filter(|c| c.index == index).count() > 1);
    match twice {
        false => vec![Rule { conditions, action }],
        true => conditions.into_iter().map(|c| Rule { conditions: vec![c], action }).collect(),
    }
}

/// Consecutive numbers from `start` up to the next range, with the same decision.
struct Range {
    start: u32,
    decision: Decision,
}

/// A program under construction.
struct Program {
    default: u32,
    newer: u32,
    assembler: Assembler,
    /// Rule lists that are compiled already: calls often share theirs.
    written: HashMap<Vec<Rule>, Label>,
}

/// The decision for each call that an entry names, by number, and the largest number named.
fn decisions(abi: Abi, entries: &[Entry<'_>]) -> (Vec<(u32, Decision)>, Option<u32>) {
    let numbers = Numbers::of(abi);
    let mut last = None;
    let mut lists: Vec<Vec<Rule>> = Vec::new();
    // The rules of each entry for a number, in the entries' order.
    let mut calls: Vec<(u32, usize)> = Vec::with_capacity(512);
    for (names, rules) in entries {
        lists.push(rules.iter().map(|rule| narrowed(rule, abi)).collect());
        let list = lists.len() - 1;
        for name in *names {
            if let Some(number) = numbers.get(name) {
                last = last.max(Some(number));
                calls.push((number, list));
            }
            if abi == Abi::X86
                && let Some((door, code)) = second_door(name)
                && let Some(number) = numbers.get(door)
            {
                calls.push((number, lists.len()));
                lists.push(through(code, rules));
            }
        }
    }
    calls.sort_by_key(|(number, _)| *number);
    let decide = |calls: &[(u32, usize)]| {
        let rules = || calls.iter().flat_map(|(_, list)| &lists[*list]);
        let decision = match rules().find(|rule| rule.conditions.is_empty()) {
            Some(rule) => Decision::Always(rule.action),
            None => Decision::Rules(rules().cloned().collect()),
        };
        rules().next().map(|_| (calls[0].0, decision))
    };
    (calls.chunk_by(|a, b| a.0 == b.0).filter_map(decide).collect(), last)
}

/// Rules of a call for the multiplexing call through which it can also be made. The arguments are then in
/// memory, which a filter cannot see.
fn through(code: u32, rules: &[Rule]) -> Vec<Rule> {
    let operator = Test::Equal { not: false };
    let first = Condition { index: 0, operator, value: code.into(), with: 0, narrow: true };
    let plain = rules.iter().filter(|rule| rule.conditions.is_empty());
    plain.map(|rule| Rule { conditions: vec![first], action: rule.action }).collect()
}

fn narrowed(rule: &Rule, abi: Abi) -> Rule {
    let mut rule = rule.clone();
    for condition in rule.conditions.iter_mut().filter(|_| abi.narrow()) {
        condition.narrow = true;
        condition.value &= u64::from(u32::MAX);
        condition.with &= u64::from(u32::MAX);
    }
    rule
}

impl Program {
    /// The numbers of an ABI. For x86-64 they include those of x32, which are refused unless its own ranges
    /// follow.
    fn ranges(&self, abi: Abi, entries: &[Entry<'_>]) -> Vec<Range> {
        let (decisions, last) = decisions(abi, entries);
        let mut ranges: Vec<Range> = Vec::new();
        let mut push = |start, decision: Decision| {
            if ranges.last().is_none_or(|last| last.decision != decision) {
                ranges.push(Range { start, decision });
            }
        };
        let mut free = if abi == Abi::X32 { X32_BIT } else { 0 };
        for (number, decision) in decisions {
            if number > free {
                push(free, Decision::Always(self.default));
            }
            push(number, decision);
            free = number + 1;
        }
        match last {
            Some(last) => {
                if last >= free {
                    push(free, Decision::Always(self.default));
                }
                push(free.max(last + 1), Decision::Always(self.newer));
            }
            None => push(free, Decision::Always(self.default)),
        }
        if abi == Abi::X86_64 {
            push(X32_BIT, Decision::Always(libc::SECCOMP_RET_KILL_PROCESS));
        }
        push(NO_CALL, Decision::Always(libc::SECCOMP_RET_ALLOW));
        ranges
    }

    /// All sections, the native one first, and the selection between them.
    fn write(mut self, mut sections: BTreeMap<u32, Vec<Range>>, native: u32) -> Vec<libc::sock_filter> {
        let front = sections.remove(&native).map(|ranges| (native, ranges));
        let mut start = Label::Return(libc::SECCOMP_RET_KILL_PROCESS);
        for (architecture, ranges) in sections.into_iter().chain(front) {
            let tree = self.tree(&groups(&ranges));
            let section = self.assembler.load(NUMBER, tree);
            start = self.assembler.jump(Compare::Equal, architecture, section, start);
        }
        let start = self.assembler.load(ARCHITECTURE, start);
        self.assembler.finish(start)
    }

    /// A binary search.
    fn tree(&mut self, groups: &[Group<'_>]) -> Label {
        match groups {
            [] => Label::Return(self.default),
            [group] => self.group(group),
            _ => {
                let (below, from) = groups.split_at(groups.len() / 2);
                let (here, yes) = (from[0][0].start, self.tree(from));
                let no = self.tree(below);
                self.assembler.jump(Compare::NotBelow, here, yes, no)
            }
        }
    }

    fn group(&mut self, group: &Group<'_>) -> Label {
        let mut label = self.decision(&group[0].decision);
        for range in group.iter().skip(1).step_by(2).rev() {
            let yes = self.decision(&range.decision);
            label = self.assembler.jump(Compare::Equal, range.start, yes, label);
        }
        label
    }

    fn decision(&mut self, decision: &Decision) -> Label {
        match decision {
            Decision::Always(action) => Label::Return(*action),
            Decision::Rules(rules) => match self.written.get(rules) {
                Some(label) => *label,
                None => {
                    let label = self.rules(rules);
                    self.written.insert(rules.clone(), label);
                    label
                }
            },
        }
    }

    /// Tests rules one after the other; rules that compare the same argument with different values are
    /// combined.
    fn rules(&mut self, mut rules: &[Rule]) -> Label {
        let mut next = Label::Return(self.default);
        while let Some(last) = rules.last() {
            let like = |rule: &&Rule| choice(last).is_some_and(|this| choice(rule) == Some(this));
            let alike = rules.iter().rev().take_while(like).count().max(1);
            let (before, these) = rules.split_at(rules.len() - alike);
            next = match these {
                [rule] => {
                    rule.conditions.iter().rev().fold(Label::Return(rule.action), |yes, condition| {
                        self.condition(condition, yes, next)
                    })
                }
                _ => self.choice(these, next),
            };
            rules = before;
        }
        next
    }

    /// Rules that each compare one argument with one value, all with the same upper half.
    fn choice(&mut self, rules: &[Rule], no: Label) -> Label {
        let condition = rules[0].conditions[0];
        let mut label = no;
        for rule in rules.iter().rev() {
            let value = rule.conditions[0].value as u32;
            label = self.assembler.jump(Compare::Equal, value, Label::Return(rule.action), label);
        }
        let low = self.assembler.load(ARGUMENTS + 8 * condition.index, label);
        self.upper(&condition, |program, upper| program.assembler.jump(Compare::Equal, upper, low, no), low)
    }

    /// The test of the upper half that `test` writes; if the upper half does not count, what follows it.
    fn upper(
        &mut self,
        of: &Condition,
        test: impl FnOnce(&mut Program, u32) -> Label,
        otherwise: Label,
    ) -> Label {
        if of.narrow {
            return otherwise;
        }
        let test = test(self, (of.value >> 32) as u32);
        self.assembler.load(ARGUMENTS + 8 * of.index + 4, test)
    }

    /// Jumps to `yes` if the condition holds, otherwise to `no`.
    fn condition(&mut self, condition: &Condition, yes: Label, no: Label) -> Label {
        let swap = |not: bool| if not { (no, yes) } else { (yes, no) };
        match condition.operator {
            Test::Equal { not } => {
                let (yes, no) = swap(not);
                let low = self.low(condition, Compare::Equal, yes, no);
                self.upper(condition, |p, upper| p.assembler.jump(Compare::Equal, upper, low, no), low)
            }
            Test::NotBelow { not } => {
                let (yes, no) = swap(not);
                self.order(condition, Compare::NotBelow, yes, no)
            }
            Test::Above { not } => {
                let (yes, no) = swap(not);
                self.order(condition, Compare::Above, yes, no)
            }
            Test::Masked => self.masked(condition, yes, no),
        }
    }

    fn low(&mut self, condition: &Condition, compare: Compare, yes: Label, no: Label) -> Label {
        let test = self.assembler.jump(compare, condition.value as u32, yes, no);
        self.assembler.load(ARGUMENTS + 8 * condition.index, test)
    }

    /// A larger upper half decides; if equal, the lower half does.
    fn order(&mut self, condition: &Condition, compare: Compare, yes: Label, no: Label) -> Label {
        let low = self.low(condition, compare, yes, no);
        let test = |program: &mut Program, upper| {
            let equal = match upper {
                0 => low,
                _ => program.assembler.jump(Compare::Equal, upper, low, no),
            };
            program.assembler.jump(Compare::Above, upper, yes, equal)
        };
        self.upper(condition, test, low)
    }

    fn masked(&mut self, condition: &Condition, yes: Label, no: Label) -> Label {
        let (mask, with) = (condition.value, condition.with);
        if with & !mask != 0 {
            return no;
        }
        let halves = [0, 32].map(|shift| ((mask >> shift) as u32, (with >> shift) as u32));
        (0..).zip(halves).fold(yes, |yes, (half, (mask, with))| {
            let test = match (mask, with) {
                // This half is not compared.
                (0, _) => return yes,
                (_, 0) => self.assembler.jump(Compare::AnyBit, mask, no, yes),
                _ if mask == with && mask.is_power_of_two() => {
                    self.assembler.jump(Compare::AnyBit, mask, yes, no)
                }
                _ => {
                    let equal = self.assembler.jump(Compare::Equal, with, yes, no);
                    if mask == u32::MAX || equal == yes { equal } else { self.assembler.and(mask, equal) }
                }
            };
            self.assembler.load(ARGUMENTS + 8 * condition.index + 4 * half, test)
        })
    }
}

/// What rules must have in common for [`Program::choice`] to combine them.
fn choice(rule: &Rule) -> Option<(u32, bool, u32)> {
    match rule.conditions[..] {
        [Condition { index, operator: Test::Equal { not: false }, value, narrow, .. }] => {
            Some((index, narrow, (value >> 32) as u32))
        }
        _ => None,
    }
}

/// A range, or several in which every second one is a single number and the others are equal: then one
/// comparison for equality replaces two for order.
type Group<'a> = &'a [Range];

/// The grouping with the fewest comparisons.
fn groups(ranges: &[Range]) -> Vec<Group<'_>> {
    /// More comparisons in a row would make the path longer than they make the program shorter.
    const MOST_SINGLES: usize = 3;
    // For each range: the number of comparisons from here on, and the number of ranges in the group that
    // starts here.
    let mut best = vec![(0, 0); ranges.len() + 1];
    for at in (0..ranges.len()).rev() {
        best[at] = (usize::MAX, 1);
        for singles in 0..=MOST_SINGLES {
            let end = at + 2 * singles + 1;
            let fits = |single: usize| {
                let at = at + 2 * single;
                ranges[at - 1].start + 1 == ranges[at].start && ranges[at].decision == ranges[at - 2].decision
            };
            if end > ranges.len() || !(1..=singles).all(fits) {
                break;
            }
            let cost = singles + 1 + best[end].0;
            if cost < best[at].0 {
                best[at] = (cost, end - at);
            }
        }
    }
    let mut groups = Vec::new();
    let mut at = 0;
    while at < ranges.len() {
        groups.push(&ranges[at..at + best[at].1]);
        at += best[at].1;
    }
    groups
}
