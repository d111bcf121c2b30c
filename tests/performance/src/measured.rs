//! Times of loads, and tables of them.

use std::process::Command;

/// Names of the columns of most tables.
pub const USUAL: [&str; 3] = ["trine", "QEMU", "native"];

/// Times of one load in seconds: trine, its peer (QEMU), another one (native).
pub struct Measured {
    /// Its name.
    pub name: String,
    times: [Vec<f64>; 3],
}

impl Measured {
    /// Not measured yet.
    pub fn new(name: &str) -> Measured {
        Measured { name: name.into(), times: Default::default() }
    }

    /// Adds a round.
    pub fn add(&mut self, times: [Option<f64>; 3]) {
        self.times.iter_mut().zip(times).for_each(|(all, time)| all.extend(time));
    }

    /// Trine's time divided by the peer's.
    pub fn ratio(&mut self) -> Option<f64> {
        let [a, b, _] = &mut self.times;
        Some(spread(a)?.0 / spread(b)?.0)
    }
}

/// Median, smallest and largest.
pub fn spread(times: &mut [f64]) -> Option<(f64, f64, f64)> {
    times.sort_by(f64::total_cmp);
    Some((*times.get(times.len() / 2)?, *times.first()?, *times.last()?))
}

/// Geometric mean of Trine's times divided by the peer's; `None` without any.
pub fn mean<'a>(all: impl Iterator<Item = &'a mut Measured>) -> Option<f64> {
    let logs: Vec<f64> = all.filter_map(Measured::ratio).map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

/// Prints a table, or a JSON object a line.
pub fn print(all: &mut [Measured], [us, peer, other]: [&str; 3], json: bool) {
    if !json {
        println!("| load | {us} (ms) | {peer} (ms) | {other} (ms) | of {peer} | of {other} |");
        println!("| --- | --- | --- | --- | --- | --- |");
    }
    for m in all {
        let name = &m.name;
        let [a, b, c] = m.times.each_mut().map(|t| spread(t));
        if json {
            let side = |s: Option<(f64, f64, f64)>| {
                s.map(|(median, min, max)| serde_json::json!({ "median": median, "min": min, "max": max }))
            };
            let ratio = a.zip(b).map(|(a, b)| a.0 / b.0);
            let line = serde_json::json!({ "load": name, "unit": "s", us: side(a), peer.to_lowercase(): side(b),
                other: side(c), "ratio": ratio });
            println!("{line}");
            continue;
        }
        let time = |s: Option<(f64, f64, f64)>| match s {
            Some((m, lo, hi)) => format!("{} ({}–{})", ms(m), ms(lo), ms(hi)),
            None => "–".into(),
        };
        let part = |a: Option<(f64, f64, f64)>, b: Option<(f64, f64, f64)>| {
            a.zip(b).map_or("–".into(), |(a, b)| format!("{:.2}", a.0 / b.0))
        };
        println!("| {name} | {} | {} | {} | {} | {} |", time(a), time(b), time(c), part(a, b), part(a, c));
    }
}

fn ms(seconds: f64) -> String {
    let ms = 1e3 * seconds;
    if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

/// Runs a command that must succeed; returns its output.
pub fn check(command: &mut Command) -> Result<Vec<u8>, String> {
    let out = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if out.status.success() {
        Ok(out.stdout)
    } else {
        Err(format!("{command:?}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr)))
    }
}
