//! `x86 COUNT SEED`: random x86 instructions, natively and in both engines.

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;
    use trine_conformance::x86::native::{Native, SLOTS};
    use trine_conformance::x86::{differences, generate};

    /// Cases between two lines about the progress.
    const STEP: u64 = 100 * SLOTS as u64;
    /// Differences after which no more are shown.
    const SHOWN: usize = 40;
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let (Some(Ok(count)), Some(Ok(seed)), None) = (numbers.next(), numbers.next(), numbers.next()) else {
        eprintln!("usage: x86 COUNT SEED");
        return ExitCode::from(2);
    };
    let mut native = Native::new();
    let (mut done, mut reported, mut differ) = (0, 0, 0);
    while done < count {
        let some = (count - done).min(SLOTS as u64);
        // Each batch has a seed of its own, so that any of them can be run again alone.
        let batch = seed + done / SLOTS as u64;
        let found = differences(&mut native, &generate::cases(batch, some as usize));
        if !found.is_empty() && differ < SHOWN {
            eprintln!("batch of seed {batch}: {} differences\n{}", found.len(), found.join("\n"));
        }
        differ += found.len();
        done += some;
        if done - reported >= STEP || done == count {
            println!("{done} of {count} instructions, {differ} differences");
            reported = done;
        }
    }
    if differ > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("skipped: the host's CPU is not x86-64");
}
