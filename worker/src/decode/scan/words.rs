//! What a block is made of, eight bytes at a time.

use super::{BLOCK, Block, EACH, TOP};

#[inline]
pub(super) fn look(block: &[u8; BLOCK]) -> Block {
    let (mut quotes, mut odd, mut all) = (0, 0, 0);
    for (index, part) in block.as_chunks::<8>().0.iter().enumerate() {
        let part = u64::from_le_bytes(*part);
        quotes |= top_bits(zeros(part ^ (EACH * 0x22))) << (8 * index);
        odd |= zeros(part ^ (EACH * 0x5c)) | zeros(part & (EACH * 0xe0));
        all |= part;
    }
    Block { quotes, odd: odd != 0, high: all & TOP != 0 }
}

/// The top bit of exactly the bytes that are zero.
#[inline]
fn zeros(word: u64) -> u64 {
    !(((word & !TOP) + !TOP) | word) & TOP
}

/// The top bits of the eight bytes, beside each other.
#[inline]
fn top_bits(word: u64) -> u64 {
    (word >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}
