//! How a CPU's programs represent numbers and addresses, in memory and in files.

/// The order of a number's bytes in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteOrder {
    /// Lowest byte first.
    Little,
    /// Highest byte first.
    Big,
}

/// Byte order and address size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Words {
    /// The order of the bytes of a number.
    pub order: ByteOrder,
    /// Size in bytes of an address, and of C's `long`: 4 or 8.
    pub address: usize,
}

impl Words {
    /// Little-endian, with 64-bit addresses.
    pub const LITTLE_64: Words = Words { order: ByteOrder::Little, address: 8 };

    /// Appends the low `size` bytes of a number; `size` is at most 8.
    pub fn put(self, to: &mut Vec<u8>, size: usize, value: u64) {
        let size = size.min(8);
        match self.order {
            ByteOrder::Little => to.extend(&value.to_le_bytes()[..size]),
            ByteOrder::Big => to.extend(&value.to_be_bytes()[8 - size..]),
        }
    }

    /// Encodes numbers of the size of an address, one after the other.
    pub fn addresses(self, values: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.address * values.len());
        values.iter().for_each(|&value| self.put(&mut bytes, self.address, value));
        bytes
    }

    /// Decodes a number from these bytes, of which there may be at most 8.
    pub fn get(self, bytes: &[u8]) -> u64 {
        let add = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        match self.order {
            ByteOrder::Little => bytes.iter().rev().fold(0, add),
            ByteOrder::Big => bytes.iter().fold(0, add),
        }
    }

    /// Decodes the number of `size` bytes at offset `at`; 0 where it does not lie inside `bytes`.
    pub fn at(self, bytes: &[u8], at: usize, size: usize) -> u64 {
        let end = at.checked_add(size);
        end.and_then(|end| bytes.get(at..end)).map_or(0, |bytes| self.get(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_an_order_and_a_size() {
        let big = Words { order: ByteOrder::Big, address: 4 };
        assert_eq!(big.addresses(&[0x1_0203, 4]), [0, 1, 2, 3, 0, 0, 0, 4]);
        assert_eq!(Words::LITTLE_64.addresses(&[0x1_0203]), [3, 2, 1, 0, 0, 0, 0, 0]);
        for words in [big, Words::LITTLE_64] {
            for size in 1..=8 {
                let (mut bytes, value) = (vec![9], 0x8877_6655_4433_2211 & u64::MAX >> (64 - 8 * size));
                words.put(&mut bytes, size, value);
                assert_eq!((bytes.len(), words.at(&bytes, 1, size)), (1 + size, value));
                assert_eq!([2, usize::MAX].map(|at| words.at(&bytes, at, size)), [0, 0]);
            }
        }
    }
}
