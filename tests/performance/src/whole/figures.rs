//! Figures with units, side by side.

use super::side::Side;
use crate::measured::spread;

/// What a figure counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Seconds,
    Percent,
    Mib,
    MbitPerSecond,
    MibPerSecond,
    OperationsPerSecond,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::Percent => "%",
            Unit::Mib => "MiB",
            Unit::MbitPerSecond => "Mbit/s",
            Unit::MibPerSecond => "MiB/s",
            Unit::OperationsPerSecond => "IOPS",
        }
    }
}

struct Figure {
    name: &'static str,
    unit: Unit,
    /// Of each round, for each side.
    values: [Vec<f64>; Side::ALL.len()],
}

/// Figures in the order in which they were measured first.
#[derive(Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Adds a side's value.
    pub fn add(&mut self, name: &'static str, unit: Unit, side: Side, value: f64) {
        eprintln!("  {name}: {} {}", short(value), unit.name());
        let at = self.0.iter().position(|figure| figure.name == name).unwrap_or_else(|| {
            self.0.push(Figure { name, unit, values: Default::default() });
            self.0.len() - 1
        });
        self.0[at].values[side as usize].push(value);
    }

    /// Prints them as a table, or a JSON object a line.
    pub fn print(&mut self, json: bool) {
        if !json {
            let names = Side::ALL.map(Side::name);
            println!("| | {} | of slirp's | of passt's |", names.join(" | "));
            println!("| --- | --- | --- | --- | --- | --- |");
        }
        self.0.iter_mut().for_each(|figure| println!("{}", figure.line(json)));
    }
}

impl Figure {
    fn line(&mut self, json: bool) -> String {
        let sides = self.values.each_mut().map(|values| spread(values));
        let [ours, slirp, passt] = sides;
        let ratio = |theirs: Option<(f64, f64, f64)>| Some(ours?.0 / theirs?.0);
        if json {
            let side = |s: Option<(f64, f64, f64)>| {
                s.map(|(median, min, max)| serde_json::json!({ "median": median, "min": min, "max": max }))
            };
            let line = serde_json::json!({ "load": self.name, "unit": self.unit.name(), "trine": side(ours),
                "slirp": side(slirp), "passt": side(passt), "of slirp": ratio(slirp), "of passt": ratio(passt) });
            return line.to_string();
        }
        let cell = |s: Option<(f64, f64, f64)>| match s {
            Some((m, lo, hi)) => format!("{} ({}–{})", short(m), short(lo), short(hi)),
            None => "–".into(),
        };
        let part = |ratio: Option<f64>| ratio.map_or("–".into(), |ratio| format!("{ratio:.2}"));
        let cells = sides.map(cell).join(" | ");
        format!(
            "| {} ({}) | {cells} | {} | {} |",
            self.name,
            self.unit.name(),
            part(ratio(slirp)),
            part(ratio(passt))
        )
    }
}

/// A number with two or three digits that count.
fn short(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_medians_and_ratios() {
        let mut figures = Figures::default();
        for (side, values) in [(Side::Trine, [10.0, 30.0, 20.0]), (Side::Slirp, [40.0, 39.0, 400.0])] {
            values.into_iter().for_each(|value| figures.add("load", Unit::MibPerSecond, side, value));
        }
        let line = figures.0[0].line(false);
        assert_eq!(line, "| load (MiB/s) | 20.0 (10.0–30.0) | 40.0 (39.0–400) | – | 0.50 | – |");
        assert!(figures.0[0].line(true).contains("\"of slirp\":0.5"));
    }
}
