//! Options of `trine run` for the resource limits of containers, besides `--limit`.

use clap::Args;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use trine_base::size::parse;
use trine_container::image::Limits;

/// A rate limit of one of the host's block devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    major: u32,
    minor: u32,
    rate: u64,
}

fn size(text: &str) -> Result<i64, String> {
    i64::try_from(parse(text)?).map_err(|_| format!("'{text}' is too large"))
}

/// Parses a size, or -1 for no limit.
fn swap(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { size(text) }
}

/// Parses `FILE:RATE`. The file is a block device, or any file or directory on one.
fn rate(text: &str) -> Result<Rate, String> {
    let (file, rate) = text.rsplit_once(':').ok_or_else(|| format!("'{text}' is not FILE:RATE"))?;
    let found = Path::new(file).metadata().map_err(|e| format!("{file}: {e}"))?;
    let device = if found.file_type().is_block_device() { found.rdev() } else { found.dev() };
    let (major, minor) = (libc::major(device), libc::minor(device));
    // The major number of file systems without a block device: tmpfs, network and the like.
    if major == 0 {
        return Err(format!("{file} is not on a block device, so it cannot be limited"));
    }
    Ok(Rate { major, minor, rate: parse(rate)? })
}

/// Limits of containers.
#[derive(Args)]
pub struct ResourceArgs {
    /// Limit of memory and swap together (default: the memory limit, so no swap); -1: no limit
    #[arg(long, value_name = "SIZE", value_parser = swap, allow_hyphen_values = true)]
    pub memory_swap: Option<i64>,
    /// Memory that is protected while others need some
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory_reservation: Option<i64>,
    /// Weight against others when CPUs are busy (default: 1024)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=262_144))]
    pub cpu_shares: Option<u64>,
    /// CPUs that it may use, such as 0-2,4
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Weight against others when disks are busy
    #[arg(long, visible_alias = "blkio-weight", value_name = "10-1000", value_parser = clap::value_parser!(u16).range(10..=1000))]
    pub io_weight: Option<u16>,
    /// Limit of bytes per second read from a disk: a block device, or a file or directory on it
    #[arg(long, value_name = "FILE:RATE", value_parser = rate)]
    pub device_read_bps: Vec<Rate>,
    /// Limit of bytes per second written to a disk
    #[arg(long, value_name = "FILE:RATE", value_parser = rate)]
    pub device_write_bps: Vec<Rate>,
    /// Limit of reads per second from a disk
    #[arg(long, value_name = "FILE:RATE", value_parser = rate)]
    pub device_read_iops: Vec<Rate>,
    /// Limit of writes per second to a disk
    #[arg(long, value_name = "FILE:RATE", value_parser = rate)]
    pub device_write_iops: Vec<Rate>,
    /// Size of /dev/shm (default: 64M)
    #[arg(long, value_name = "SIZE", value_parser = parse)]
    pub shm_size: Option<u64>,
}

fn rates(list: &[Rate]) -> Vec<(i64, i64, u64)> {
    list.iter().map(|r| (r.major.into(), r.minor.into(), r.rate)).collect()
}

impl ResourceArgs {
    /// Adds these limits to those of `--limit`.
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
        assert!(rate("/proc:1M").unwrap_err().contains("not on a block device"));
        assert!(rate("/nowhere:1M").is_err() && rate("/").is_err());
    }
}
