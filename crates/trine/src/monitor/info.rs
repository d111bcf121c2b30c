//! What the monitor's command `info` shows.

use super::{Answer, Monitor, find};
use std::fmt::Write;
use trine_base::CachedPage;
use trine_machine::debug;
use trine_machine::{BALLOON_PAGE_BITS, Board};

/// The most lines of a list of pages.
const MOST_LINES: usize = 200;
/// The name of a place for a device that has none.
const EMPTY: &str = "virtio-empty";
/// Said of a machine without a memory balloon.
pub(super) const NO_BALLOON: &str = "the machine has no memory balloon";
/// Registers in a line.
const COLUMNS: usize = 4;

/// Something to show.
struct Subject {
    name: &'static str,
    show: fn(&mut Board, usize) -> String,
}

const SUBJECTS: &[Subject] = &[
    Subject { name: "registers", show: registers },
    Subject { name: "tlb", show: tlb },
    Subject { name: "mem", show: memory },
    Subject { name: "devices", show: |board, _| devices(board, |name| name != EMPTY) },
    Subject { name: "jit", show: translations },
    Subject { name: "stats", show: statistics },
    Subject { name: "net", show: network },
    Subject { name: "block", show: disks },
    Subject { name: "balloon", show: balloon },
];

impl Monitor {
    pub(super) fn info(&mut self, words: &[&str]) -> Answer {
        let names: Vec<&str> = SUBJECTS.iter().map(|subject| subject.name).collect();
        let Some(word) = words.first() else { return Err(format!("info about what? {}", names.join(", "))) };
        let show = find(SUBJECTS, |subject| subject.name, word)?.show;
        let cpu = self.cpu;
        self.ask(move |board| show(board, cpu))
    }
}

fn registers(board: &mut Board, cpu: usize) -> String {
    let mut text = format!("CPU {cpu}\n");
    for group in debug::registers(board, cpu) {
        for line in group.chunks(COLUMNS) {
            let parts = line.iter().map(|r| {
                let digits = usize::from(r.bits).div_ceil(4);
                format!("{:>10} {:0digits$x}", r.name, r.value)
            });
            let _ = writeln!(text, "{}", parts.collect::<Vec<_>>().join(" "));
        }
    }
    text
}

/// Pages whose virtual and physical addresses follow each other, and that allow the same.
struct Run {
    first: CachedPage,
    pages: u64,
}

/// Joins pages to runs.
fn runs(mut pages: Vec<CachedPage>) -> Vec<Run> {
    pages.sort_by_key(|p| (p.regime, p.execute, p.page));
    let mut runs: Vec<Run> = Vec::new();
    for page in pages {
        let bytes = runs.last().map_or(0, |run| run.pages << 12);
        let next = runs.last().map(|run| CachedPage {
            page: run.first.page.wrapping_add(bytes),
            physical: run.first.physical.wrapping_add(bytes),
            ..run.first
        });
        match runs.last_mut().filter(|_| next == Some(page)) {
            Some(run) => run.pages += 1,
            None => runs.push(Run { first: page, pages: 1 }),
        }
    }
    runs
}

fn tlb(board: &mut Board, cpu: usize) -> String {
    let pages = board.vcpus().get(cpu).map(|vcpu| vcpu.cached_pages()).unwrap_or_default();
    let (count, runs) = (pages.len(), runs(pages));
    let mut text = format!("CPU {cpu}: {count} pages are cached\n");
    let _ = writeln!(text, "regime {:>16} {:>16} {:>8} may", "virtual", "physical", "KiB");
    for Run { first, pages } in runs.iter().take(MOST_LINES) {
        let CachedPage { regime, page, physical, .. } = first;
        let may = |allowed, letter| if allowed { letter } else { '-' };
        let letters = [may(first.read, 'r'), may(first.write, 'w'), may(first.execute, 'x')];
        let letters: String = letters.into_iter().collect();
        let _ = writeln!(text, "{regime:>6} {page:016x} {physical:016x} {:>8} {letters}", pages * 4);
    }
    if runs.len() > MOST_LINES {
        let _ = writeln!(text, "and {} more", runs.len() - MOST_LINES);
    }
    text
}

fn memory(board: &mut Board, _: usize) -> String {
    let ram = board.ram();
    let (base, size) = (ram.base(), ram.size());
    let last = base + (size - 1).min(u64::MAX - base);
    let code = (base..=last).step_by(0x1000).filter(|&at| ram.is_code(at)).count();
    format!("memory {base:#x}-{last:#x}: {} MiB, {code} pages of 4 KiB hold translated code\n", size >> 20)
}

fn devices(board: &mut Board, wanted: fn(&str) -> bool) -> String {
    let mut text = String::new();
    for device in board.devices().iter().filter(|device| wanted(&device.name)) {
        let windows = device.windows.iter().map(|(space, range)| format!("{space} {range}"));
        let _ = writeln!(text, "{:<20} {}", device.name, windows.collect::<Vec<_>>().join(", "));
    }
    text
}

fn translations(board: &mut Board, cpu: usize) -> String {
    let described = board.vcpus().get(cpu).and_then(|vcpu| vcpu.describe_code());
    described.unwrap_or_else(|| "the host's own CPU executes the guest: nothing is translated".into())
}

fn statistics(board: &mut Board, _: usize) -> String {
    let mut text = String::new();
    for (cpu, vcpu) in board.vcpus().iter().enumerate() {
        let described = vcpu
            .stats()
            .map_or_else(|| format!("instructions {}", vcpu.count()), |stats| stats.describe(vcpu.count()));
        let _ = writeln!(text, "CPU {cpu}: {}", described.replace('\n', "\n       "));
    }
    text
}

fn network(board: &mut Board, _: usize) -> String {
    match devices(board, |name| name.contains("net")) {
        none if none.is_empty() => "the machine has no network device\n".into(),
        some => some,
    }
}

pub(super) fn balloon(board: &mut Board, _: usize) -> String {
    let memory = board.ram().size();
    let Some(control) = board.balloon() else { return format!("{NO_BALLOON}\n") };
    let mib = |pages: u32| (u64::from(pages) << BALLOON_PAGE_BITS) >> 20;
    let (has, wants) = (mib(control.actual()), mib(control.target()));
    format!(
        "the guest has given the host {has} MiB of its {} MiB, and is asked for {wants} MiB; \
         free memory that it reported so far: {} MiB\n",
        memory >> 20,
        control.reported() >> 20
    )
}

fn disks(board: &mut Board, _: usize) -> String {
    match board.disks() {
        [] => "the machine has no disk\n".into(),
        disks => disks.iter().map(|disk| format!("{disk}\n")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_follow_each_other_are_one_line() {
        let page = |page, physical, write| CachedPage {
            regime: 1,
            page,
            physical,
            read: true,
            write,
            execute: false,
        };
        let pages = vec![
            page(0x3000, 0x9000, true),
            page(0x1000, 0x8000, true),
            page(0x2000, 0x9000, true),
            page(0x4000, 0xa000, false),
            page(0x5000, 0xb000, false),
        ];
        let found: Vec<(u64, u64)> = runs(pages).iter().map(|run| (run.first.page, run.pages)).collect();
        assert_eq!(found, [(0x1000, 2), (0x3000, 1), (0x4000, 2)]);
    }
}
