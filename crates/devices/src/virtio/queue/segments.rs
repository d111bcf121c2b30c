//! Buffers of a chain: parts of guest memory that lie apart and are meant as one sequence of bytes.

use trine_memory::Ram;

/// A part of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address.
    pub address: u64,
    /// Length in bytes.
    pub len: u32,
}

/// The total length of segments in bytes.
pub fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|s| s.len as u64).sum()
}

/// The parts of `segments` that contain their bytes `skip .. skip + len`.
fn parts(segments: &[Segment], skip: u64, len: u64) -> impl Iterator<Item = Segment> + '_ {
    let (mut skip, mut left) = (skip, len);
    segments.iter().filter_map(move |s| {
        let before = skip.min(s.len as u64);
        skip -= before;
        let n = (s.len as u64 - before).min(left);
        left -= n;
        (n > 0).then(|| Segment { address: s.address + before, len: n as u32 })
    })
}

/// Copies from guest memory into `buf`, starting at byte `skip`; returns the number of bytes copied.
pub fn gather(ram: &Ram, segments: &[Segment], skip: u64, buf: &mut [u8]) -> usize {
    let mut done = 0;
    for part in parts(segments, skip, buf.len() as u64) {
        let end = done + part.len as usize;
        if ram.read(part.address, &mut buf[done..end]).is_none() {
            break;
        }
        done = end;
    }
    done
}

/// Copies from `buf` into guest memory, starting at byte `skip`; returns the number of bytes copied.
pub fn scatter(ram: &Ram, segments: &[Segment], skip: u64, buf: &[u8]) -> usize {
    let mut done = 0;
    for part in parts(segments, skip, buf.len() as u64) {
        let end = done + part.len as usize;
        if ram.write(part.address, &buf[done..end]).is_none() {
            break;
        }
        done = end;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: u64 = 0x8000_0000;

    #[test]
    fn parts_of_segments() {
        let ram = Ram::new(DATA, 1 << 12).unwrap();
        let segments =
            [(DATA, 3), (DATA + 0x100, 0), (DATA + 0x200, 4)].map(|(address, len)| Segment { address, len });
        assert_eq!(scatter(&ram, &segments, 1, b"abcdefgh"), 6, "as much as fits");
        let mut buf = [0; 8];
        assert_eq!(gather(&ram, &segments, 2, &mut buf), 5);
        assert_eq!(&buf[..5], b"bcdef");
        assert_eq!(gather(&ram, &segments, 7, &mut buf), 0);
        assert_eq!(gather(&ram, &segments, u64::MAX, &mut buf), 0);
    }
}
