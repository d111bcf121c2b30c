//! The system call numbers of a CPU, and the rows of the table that they refer to.

use crate::table::{self, Call};
use std::sync::OnceLock;

/// The number of the first call, and the names of calls with consecutive numbers.
pub type Run = (u64, &'static [&'static str]);

/// Runs of numbers, written as in Linux's `unistd.h`: the first number, followed by names.
macro_rules! numbers {
    ($($first:literal => $($name:ident)+;)+) => { &[$(($first, &[$(stringify!($name)),+])),+] };
}
pub(crate) use numbers;

/// The system call numbers of a CPU.
pub struct Numbering {
    parts: &'static [&'static [Run]],
    own: &'static [Call],
    /// The row of each number; computed when first needed.
    rows: OnceLock<Vec<Option<&'static Call>>>,
}

impl Numbering {
    /// The numbers in these parts, and the rows of the calls that only this CPU has.
    pub const fn new(parts: &'static [&'static [Run]], own: &'static [Call]) -> Numbering {
        Numbering { parts, own, rows: OnceLock::new() }
    }

    /// The rows of the calls that only this CPU has.
    pub fn own(&self) -> &'static [Call] {
        self.own
    }

    /// The row of a name. A CPU's own row takes precedence over a common one with the same name.
    fn named(&self, name: &str) -> Option<&'static Call> {
        self.own.iter().find(|call| call.name == name).or_else(|| table::named(name))
    }

    /// Numbers and names, in the order of the parts.
    pub fn names(&self) -> impl Iterator<Item = (u64, &'static str)> {
        let runs = self.parts.iter().flat_map(|part| part.iter());
        runs.flat_map(|&(first, names)| (first..).zip(names.iter().copied()))
    }

    fn rows(&self) -> &[Option<&'static Call>] {
        self.rows.get_or_init(|| {
            let most = self.names().map(|(number, _)| number as usize + 1).max().unwrap_or(0);
            let mut rows = vec![None; most];
            self.names().for_each(|(number, name)| rows[number as usize] = self.named(name));
            rows
        })
    }

    /// The row of a number; `None` if no call has it.
    pub fn find(&self, number: u64) -> Option<&'static Call> {
        *self.rows().get(usize::try_from(number).ok()?)?
    }

    /// The number of the call with this name.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.names().find(|(_, known)| *known == name).map(|(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{How, ThreadCall, calls};

    calls! {
        /// As another CPU might have them.
        pub const OWN:
        arch_prctl(Int, Either) => thread(Own) reaches Own tested "none";
        fork() => thread(Fork) reaches Children tested "none";
        getpid(Ptr) => refused(EPERM) reaches Own tested "none";
    }

    #[test]
    fn a_numbering_leads_to_rows_by_name() {
        static OTHER: Numbering = Numbering::new(&[numbers! { 0 => read write; 39 => getpid; }], &[]);
        let name = |number| OTHER.find(number).map(|call| call.name);
        assert_eq!([0, 1, 39].map(name), ["read", "write", "getpid"].map(Some));
        assert_eq!([2, 38, 40, u64::MAX].map(name), [None; 4]);
        assert_eq!((OTHER.number("getpid"), OTHER.number("openat")), (Some(39), None));
    }
    #[test]
    fn a_cpus_own_rows_come_before_common_ones() {
        static OTHER: Numbering =
            Numbering::new(&[numbers! { 0 => read; 39 => getpid; 57 => fork; 158 => arch_prctl; }], OWN);
        let how = |number| OTHER.find(number).map(|call| call.how);
        assert!(matches!(how(0), Some(How::Same(libc::SYS_read))));
        assert!(matches!(how(39), Some(How::Refused(libc::EPERM))));
        assert!(matches!(how(57), Some(How::Thread(ThreadCall::Fork))));
        assert!(matches!(how(158), Some(How::Thread(ThreadCall::Own))));
        assert!(table::named("arch_prctl").is_none() && OTHER.own().len() == 3);
    }
}
