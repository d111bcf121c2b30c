//! Random x86 instructions, one at a time, on the host's own CPU and in both engines: x86 on x86 needs no second
//! implementation.
//!
//! * [`case`]: an instruction with the state before it, and what became of both. * [`generate`]: random ones, by the rows of the
//!   CPU's tables. * [`native`]: runs them in a child process. * [`engine`]: runs them in an engine. * [`compare`]: what must be
//!   the same, and what the manual leaves undefined.

pub mod case;
pub mod compare;
pub mod engine;
pub mod generate;
pub mod native;

use case::{Case, Outcome};
use trine_engine::Tier;

/// Runs cases natively and in both engines; returns what differs, one report each.
///
/// # Panics
/// If the host has no memory, or the child ends: this is for tests.
pub fn differences(native: &mut native::Native, cases: &[Case]) -> Vec<String> {
    let mut found = Vec::new();
    for chunk in cases.chunks(native::SLOTS) {
        let expected: Vec<Outcome> = native.run(chunk).to_vec();
        for tier in [Tier::Interp, Tier::Baseline] {
            let ours = engine::run(native, tier, chunk);
            for ((case, theirs), ours) in chunk.iter().zip(&expected).zip(&ours) {
                if let Some(difference) = compare::compare(case, theirs, ours) {
                    found.push(format!("{tier:?}: {case}\n{difference}"));
                }
            }
        }
    }
    found
}
