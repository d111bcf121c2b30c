//! CPU time and memory of processes that run machines.

use crate::text;
use std::fs;
use std::time::Duration;
use trine_base::process_stat::ProcessStat;

/// A process and all its descendants.
pub(crate) fn family(pid: u32) -> Vec<i32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: Vec<(i32, i32)> =
        all.filter_map(|pid| Some((pid, ProcessStat::of(pid)?.number(4)?))).collect();
    let mut family = vec![pid as i32];
    let mut at = 0;
    while let Some(&one) = family.get(at) {
        family.extend(parents.iter().filter(|(_, parent)| *parent == one).map(|(child, _)| child));
        at += 1;
    }
    family
}

/// CPU time that a process and its descendants have used, those that have ended and were waited for included.
pub fn cpu_time(pid: u32) -> Duration {
    let ticks = |pid: &i32| {
        let stat = ProcessStat::of(*pid)?;
        Some((14..=17).filter_map(|field| stat.number::<u64>(field)).sum::<u64>())
    };
    let ticks: u64 = family(pid).iter().filter_map(ticks).sum();
    // SAFETY: the call takes and returns numbers.
    let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as f64;
    Duration::from_secs_f64(ticks as f64 / a_second)
}

/// Memory in bytes of a process and its descendants besides the guest's RAM of `ram` bytes: what is resident, and of pages that
/// several of them share, each one's share.
///
/// # Errors
/// The process has ended.
pub fn memory_besides(pid: u32, ram: u64) -> Result<u64, String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).map_err(text)?;
    let others = family(pid).into_iter().skip(1);
    let others = others.filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps")).ok());
    Ok(besides(&maps, ram) + others.map(|maps| besides(&maps, ram)).sum::<u64>())
}

/// The same of the text of a file `smaps`. The guest's RAM is in mappings of Trine's memory file, of a snapshot, or, under other
/// monitors, in a writable mapping of at least its size.
fn besides(maps: &str, ram: u64) -> u64 {
    let (mut sum, mut is_ram) = (0, false);
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if let Some((from, to)) = first.split_once('-') {
            let number = |digits| u64::from_str_radix(digits, 16).unwrap_or(0);
            let size = number(to).saturating_sub(number(from));
            let named = line.contains("/memfd:trine-ram") || line.ends_with(".snap");
            is_ram = named || (second.starts_with("rw-") && size >= ram);
        } else if first == "Pss:" && !is_ram {
            sum += second.parse::<u64>().unwrap_or(0) << 10;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_is_left_out() {
        let maps = "1000-3000 rw-p 00000000 00:00 0    [heap]\nSize: 8 kB\nPss:   8 kB\n\
                    100000-200000 rw-s 00000000 00:00 1   /memfd:trine-ram (deleted)\nPss: 900 kB\n\
                    80000000-a0000000 rwxp 00000000 00:00 0\nPss: 32 kB\n\
                    200000-210000 rw-p 00000000 00:00 1   /x/box.snap\nPss: 64 kB\n\
                    40000000-60000000 rw-p 00000000 00:00 0\nPss: 77 kB\n";
        assert_eq!(besides(maps, 512 << 20), 40 << 10);
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let own = std::process::id();
        assert!(memory_besides(own, 1 << 40).unwrap() > 100_000);
        let before = cpu_time(own);
        while cpu_time(own) < before + Duration::from_millis(20) {}
    }
}
