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
    /// The row of each number; computed when first needed.
    rows: OnceLock<Vec<Option<&'static Call>>>,
}

impl Numbering {
    /// The numbers in these parts.
    pub const fn new(parts: &'static [&'static [Run]]) -> Numbering {
        Numbering { parts, rows: OnceLock::new() }
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
            self.names().for_each(|(number, name)| rows[number as usize] = table::named(name));
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

    #[test]
    fn a_numbering_leads_to_rows_by_name() {
        static OTHER: Numbering = Numbering::new(&[numbers! { 0 => read write; 39 => getpid; }]);
        let name = |number| OTHER.find(number).map(|call| call.name);
        assert_eq!([0, 1, 39].map(name), ["read", "write", "getpid"].map(Some));
        assert_eq!([2, 38, 40, u64::MAX].map(name), [None; 4]);
        assert_eq!((OTHER.number("getpid"), OTHER.number("openat")), (Some(39), None));
    }
}
