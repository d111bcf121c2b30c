//! The header of a packet (virtio 1.2, 5.10.6).

/// Bytes of a header.
pub const LEN: usize = 44;

/// The type of stream sockets, the only one that is offered.
pub const STREAM: u16 = 1;

/// Operations.
pub mod op {
    pub const REQUEST: u16 = 1;
    pub const RESPONSE: u16 = 2;
    pub const RST: u16 = 3;
    pub const SHUTDOWN: u16 = 4;
    pub const RW: u16 = 5;
    pub const CREDIT_UPDATE: u16 = 6;
    pub const CREDIT_REQUEST: u16 = 7;
}

/// Flags of [`op::SHUTDOWN`]: the sender receives nothing more, or sends nothing more.
pub mod shutdown {
    pub const RECEIVE: u32 = 1;
    pub const SEND: u32 = 2;
    pub const BOTH: u32 = RECEIVE | SEND;
}

/// A header, with the names of the specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub src_cid: u64,
    pub dst_cid: u64,
    pub src_port: u32,
    pub dst_port: u32,
    /// Bytes of data behind the header.
    pub len: u32,
    /// The type of socket.
    pub kind: u16,
    pub op: u16,
    pub flags: u32,
    /// Size of the sender's buffer for this stream.
    pub buf_alloc: u32,
    /// All bytes that have left that buffer, modulo 2³².
    pub fwd_cnt: u32,
}

impl Header {
    /// The bytes in memory.
    pub fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[0..8].copy_from_slice(&self.src_cid.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.dst_cid.to_le_bytes());
        for (at, word) in [(16, self.src_port), (20, self.dst_port), (24, self.len), (32, self.flags)] {
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes[28..30].copy_from_slice(&self.kind.to_le_bytes());
        bytes[30..32].copy_from_slice(&self.op.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.buf_alloc.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.fwd_cnt.to_le_bytes());
        bytes
    }

    /// The header in these bytes.
    pub fn decode(bytes: &[u8; LEN]) -> Header {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
        let double = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        Header {
            src_cid: double(0),
            dst_cid: double(8),
            src_port: word(16),
            dst_port: word(20),
            len: word(24),
            kind: half(28),
            op: half(30),
            flags: word(32),
            buf_alloc: word(36),
            fwd_cnt: word(40),
        }
    }

    /// The packet that refuses this one: there is no such connection, or no longer.
    pub fn refusal(&self) -> Header {
        Header {
            src_cid: self.dst_cid,
            dst_cid: self.src_cid,
            src_port: self.dst_port,
            dst_port: self.src_port,
            kind: self.kind,
            op: op::RST,
            ..Header::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_place() {
        let mut bytes = [0; LEN];
        bytes.iter_mut().zip(1..).for_each(|(byte, n)| *byte = n);
        let header = Header::decode(&bytes);
        assert_eq!((header.src_cid, header.dst_cid), (0x0807_0605_0403_0201, 0x100f_0e0d_0c0b_0a09));
        assert_eq!((header.src_port, header.dst_port), (0x1413_1211, 0x1817_1615));
        assert_eq!((header.len, header.kind, header.op), (0x1c1b_1a19, 0x1e1d, 0x201f));
        assert_eq!((header.flags, header.buf_alloc, header.fwd_cnt), (0x2423_2221, 0x2827_2625, 0x2c2b_2a29));
        assert_eq!(header.encode(), bytes);
    }
}
