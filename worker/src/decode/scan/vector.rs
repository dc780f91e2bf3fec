//! What a block is made of, with SSE2. It reads no memory but the block that it is given; `words` is its twin in ordinary registers, and
//! one test holds both against the definition.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
};

use super::{BLOCK, Block};

#[inline]
pub(super) fn look(block: &[u8; BLOCK]) -> Block {
    // SAFETY: every x86-64 processor has SSE2, and nothing else is asked for.
    unsafe { look_with_sse2(block) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn look_with_sse2(block: &[u8; BLOCK]) -> Block {
    let (mut quotes, mut backslash) = (0, _mm_set1_epi8(0));
    // The least byte and the union of all, at each of sixteen places.
    let (mut least, mut all) = (_mm_set1_epi8(-1), _mm_set1_epi8(0));
    for (index, part) in block.as_chunks::<16>().0.iter().enumerate() {
        let part = load(part);
        let quote = _mm_cmpeq_epi8(part, _mm_set1_epi8(b'"' as i8));
        quotes |= u64::from(_mm_movemask_epi8(quote) as u32) << (16 * index);
        backslash = _mm_or_si128(backslash, _mm_cmpeq_epi8(part, _mm_set1_epi8(b'\\' as i8)));
        least = _mm_min_epu8(least, part);
        all = _mm_or_si128(all, part);
    }
    // Not greater than the greatest control character: then it is the lesser one.
    let control = _mm_cmpeq_epi8(_mm_min_epu8(least, _mm_set1_epi8(0x1f)), least);
    let odd = _mm_movemask_epi8(_mm_or_si128(control, backslash)) != 0;
    Block { quotes, odd, high: _mm_movemask_epi8(all) != 0 }
}

#[inline]
#[target_feature(enable = "sse2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    let bits = u128::from_le_bytes(*bytes);
    _mm_set_epi64x((bits >> 64) as i64, bits as i64)
}
