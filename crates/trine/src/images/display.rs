//! The progress of fetching and unpacking, on standard error if that is a terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use trine_base::text::{line, plain};
use trine_oci::Progress;

/// A progress bar for each item.
pub struct Display {
    /// The bars; `None` if they are not shown.
    bars: Option<MultiProgress>,
    each: Mutex<HashMap<String, ProgressBar>>,
}

impl Display {
    /// Shows bars, unless `quiet`.
    pub fn new(quiet: bool) -> Display {
        let bars = (!quiet && std::io::IsTerminal::is_terminal(&std::io::stderr())).then(MultiProgress::new);
        Display { bars, each: Mutex::default() }
    }

    /// Removes everything from the screen.
    pub fn clear(&self) {
        if let Some(bars) = &self.bars {
            drop(bars.clear());
        }
    }
}

/// The name of an item on the screen.
fn called(item: &str) -> String {
    let name = item.rsplit(['/', ':']).next().unwrap_or(item);
    // An archive has its own names for its members.
    line(name, usize::MAX).chars().take(12).collect()
}

impl Progress for Display {
    fn start(&self, item: &str, what: &str, bytes: Option<u64>) {
        let Some(bars) = &self.bars else { return };
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = each.entry(item.into()).or_insert_with(|| bars.add(ProgressBar::new(0)));
        let template = match bytes {
            Some(_) => "{prefix:12} {msg:10} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}",
            None => "{prefix:12} {msg:10} {spinner}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_length(bytes.unwrap_or(0));
        bar.set_prefix(called(item));
        bar.set_message(what.to_string());
        bar.reset_eta();
        bar.set_position(0);
    }

    fn at(&self, item: &str, done: u64) {
        if let Some(bar) = self.each.lock().unwrap_or_else(PoisonError::into_inner).get(item) {
            bar.set_position(done);
        }
    }

    fn done(&self, item: &str, how: &str) {
        if let Some(bar) = self.each.lock().unwrap_or_else(PoisonError::into_inner).remove(item) {
            if let Ok(style) = ProgressStyle::with_template("{prefix:12} {msg}") {
                bar.set_style(style);
            }
            bar.finish_with_message(how.to_string());
        }
    }

    fn note(&self, text: &str) {
        let text = plain(text);
        match &self.bars {
            Some(bars) => drop(bars.println(format!("trine: {text}"))),
            None => eprintln!("trine: {text}"),
        }
    }
}
