//! Options of `trine run` for how much a container may use, beyond `--limit`.

use clap::Args;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use trine_base::size::parse;
use trine_container::image::Limits;

/// A rate of one of the host's block devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    major: u32,
    minor: u32,
    rate: u64,
}

fn size(text: &str) -> Result<i64, String> {
    i64::try_from(parse(text)?).map_err(|_| format!("'{text}' is too much"))
}

/// A size, or -1 for as much as there is.
fn swap(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { size(text) }
}

/// `FILE:RATE`, the file being a block device, or any file or directory on one.
fn rate(text: &str) -> Result<Rate, String> {
    let (file, rate) = text.rsplit_once(':').ok_or_else(|| format!("'{text}' is no FILE:RATE"))?;
    let found = Path::new(file).metadata().map_err(|e| format!("{file}: {e}"))?;
    let device = if found.file_type().is_block_device() { found.rdev() } else { found.dev() };
    let (major, minor) = (libc::major(device), libc::minor(device));
    // Devices that file systems in memory, of the network and the like have for themselves.
    if major == 0 {
        return Err(format!("{file} is on no block device that could be limited"));
    }
    Ok(Rate { major, minor, rate: parse(rate)? })
}

/// Limits of containers.
#[derive(Args)]
pub struct ResourceArgs {
    /// Memory and swap together, where they are not to be as much as memory alone; -1: all swap that there is
    #[arg(long, value_name = "SIZE", value_parser = swap, allow_hyphen_values = true)]
    pub memory_swap: Option<i64>,
    /// Memory that it keeps while others want some
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory_reservation: Option<i64>,
    /// Its weight against others where CPUs are short (1024 is usual)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=262_144))]
    pub cpu_shares: Option<u64>,
    /// Its CPUs, such as 0-2,4
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Its weight against others where disks are busy
    #[arg(long, visible_alias = "blkio-weight", value_name = "10-1000", value_parser = clap::value_parser!(u16).range(10..=1000))]
    pub io_weight: Option<u16>,
    /// Bytes a second that it reads from a disk: a block device, or a file or directory on it
    #[arg(long, value_name = "FILE:RATE", value_parser = rate)]
    pub device_read_bps: Vec<Rate>,
    /// Bytes a second that it writes to a disk
    #[arg(long, value_name = "FILE:RATE", value_parser = rate)]
    pub device_write_bps: Vec<Rate>,
    /// Reads a second from a disk
    #[arg(long, value_name = "FILE:RATE", value_parser = rate)]
    pub device_read_iops: Vec<Rate>,
    /// Writes a second to a disk
    #[arg(long, value_name = "FILE:RATE", value_parser = rate)]
    pub device_write_iops: Vec<Rate>,
    /// Size of /dev/shm (64M)
    #[arg(long, value_name = "SIZE", value_parser = parse)]
    pub shm_size: Option<u64>,
}

fn rates(list: &[Rate]) -> Vec<(i64, i64, u64)> {
    list.iter().map(|r| (r.major.into(), r.minor.into(), r.rate)).collect()
}

impl ResourceArgs {
    /// These limits beside those of `--limit`.
    pub fn with(&self, limits: Limits) -> Limits {
        Limits {
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            cpu_shares: self.cpu_shares,
            cpuset: self.cpuset_cpus.clone(),
            io_weight: self.io_weight,
            read_bps: rates(&self.device_read_bps),
            write_bps: rates(&self.device_write_bps),
            read_iops: rates(&self.device_read_iops),
            write_iops: rates(&self.device_write_iops),
            ..limits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_as_users_write_them() {
        assert_eq!((swap("-1"), swap("1M")), (Ok(-1), Ok(1 << 20)));
        assert!(rate("/proc:1M").unwrap_err().contains("no block device"));
        assert!(rate("/nowhere:1M").is_err() && rate("/").is_err());
    }
}
