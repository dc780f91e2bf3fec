//! The loops that touch every byte: the end of a plain run in a string, and runs of digits.
//!
//! They work on many bytes at a time in ordinary registers, and this is the only module that knows it.

/// 0x01 in every byte; times a byte, that byte in every byte.
const EACH: u64 = 0x0101_0101_0101_0101;
/// The top bit of every byte.
const TOP: u64 = EACH * 0x80;

/// What is known of a text before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Survey {
    /// All bytes are ASCII.
    pub(super) ascii: bool,
    /// There is no `\` and no control character, so that strings end at the next `"`.
    pub(super) plain: bool,
}

/// Looks at all bytes of a text. One pass without branches, of which compilers make vector instructions, is much
/// cheaper than these questions at each string.
#[inline]
pub(super) fn survey(bytes: &[u8]) -> Survey {
    let mut ored = 0;
    let mut odd = 0;
    for byte in bytes {
        ored |= byte;
        odd |= u8::from(is_odd(*byte));
    }
    Survey { ascii: ored < 0x80, plain: odd == 0 }
}

/// A byte that makes strings more than what stands between two quotes.
#[inline]
fn is_odd(byte: u8) -> bool {
    byte < 0x20 || byte == b'\\'
}

/// The top bit of each byte that ends a plain run: `"`, and unless the text is plain `\` and control characters. Borrows
/// may set bits above the lowest one that is right, so only the lowest one counts.
#[inline]
fn ends(word: u64, plain: bool) -> u64 {
    let zeros = |word: u64| word.wrapping_sub(EACH) & !word;
    let quote = zeros(word ^ (EACH * 0x22));
    if plain {
        return quote & TOP;
    }
    let backslash = zeros(word ^ (EACH * 0x5c));
    let control = word.wrapping_sub(EACH * 0x20) & !word;
    (quote | backslash | control) & TOP
}

#[inline]
fn is_end(byte: u8) -> bool {
    byte == b'"' || is_odd(byte)
}

/// The first eight bytes at or after `at`, if there are so many.
#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
}

/// The index of the first byte at or after `at` that cannot stand unescaped in a string; the length if there is none.
/// `plain` is what the survey of the text says.
#[inline]
pub(super) fn plain_end(bytes: &[u8], mut at: usize, plain: bool) -> usize {
    while let Some(word) = word(bytes, at) {
        let found = ends(word, plain);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < bytes.len() && !is_end(bytes[at]) {
        at += 1;
    }
    at
}

/// Like [`plain_end`], and appends what it passes: one loop over short strings instead of two.
#[inline]
pub(super) fn copy_plain(bytes: &[u8], mut at: usize, plain: bool, out: &mut Vec<u8>) -> usize {
    while let Some(word) = word(bytes, at) {
        let found = ends(word, plain);
        // A store of fixed size is cheaper than one of the right size; what is too much is cut off again.
        out.extend_from_slice(&word.to_le_bytes());
        if found != 0 {
            let passed = (found.trailing_zeros() / 8) as usize;
            out.truncate(out.len() - (8 - passed));
            return at + passed;
        }
        at += 8;
    }
    let start = at;
    while at < bytes.len() && !is_end(bytes[at]) {
        at += 1;
    }
    out.extend_from_slice(&bytes[start..at]);
    at
}

/// The value of eight ASCII digits; `None` if one of the bytes is not a digit.
#[inline]
fn eight_digits(word: u64) -> Option<u64> {
    let high_nibbles = word & (EACH * 0xf0);
    let carried = word.wrapping_add(EACH * 0x06) & (EACH * 0xf0);
    if high_nibbles != EACH * 0x30 || carried != EACH * 0x30 {
        return None;
    }
    // The first digit is the lowest byte. Neighbours are joined three times: pairs, fours, all eight.
    let digits = word - EACH * 0x30;
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// Reads digits from `at` on and appends them to a number, modulo 2^64. Returns it with the index behind the digits.
#[inline]
pub(super) fn digits(bytes: &[u8], mut at: usize, mut number: u64) -> (u64, usize) {
    while let Some(eight) = word(bytes, at).and_then(eight_digits) {
        number = number.wrapping_mul(100_000_000).wrapping_add(eight);
        at += 8;
    }
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (number, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes around the limits of every class, so that each of them is often next to each other.
    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => any::<u8>(),
            1 => proptest::sample::select(vec![0u8, 0x1f, 0x20, 0x21, b'"', b'#', b'[', b'\\', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff]),
            8 => b'a'..=b'z',
            8 => b'0'..=b'9',
        ];
        proptest::collection::vec(byte, 0..90)
    }

    proptest! {
        #[test]
        fn a_plain_run_ends_where_a_byte_by_byte_search_ends_it(mut bytes in any_bytes(), at in 0usize..90, plain: bool) {
            if plain {
                bytes.retain(|byte| !is_odd(*byte));
            }
            let at = at.min(bytes.len());
            let end = (at..bytes.len()).find(|i| is_end(bytes[*i])).unwrap_or(bytes.len());
            prop_assert_eq!(plain_end(&bytes, at, plain), end);
            let mut out = b"before".to_vec();
            prop_assert_eq!(copy_plain(&bytes, at, plain, &mut out), end);
            prop_assert_eq!(&out[6..], &bytes[at..end]);
        }

        #[test]
        fn a_survey_sees_every_byte(text in "[a-z\"]{0,100}", at in 0usize..100, byte: u8) {
            let mut bytes = text.into_bytes();
            prop_assert_eq!(survey(&bytes), Survey { ascii: true, plain: true });
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
                prop_assert_eq!(survey(&bytes), Survey { ascii: byte.is_ascii(), plain: !is_odd(byte) });
            }
        }

        #[test]
        fn digits_are_read_as_std_reads_them(digits_text in "[0-9]{0,19}", rest in any_bytes()) {
            let mut bytes = digits_text.clone().into_bytes();
            bytes.push(b'/');
            bytes.extend(rest);
            prop_assert_eq!(digits(&bytes, 0, 0), (digits_text.parse().unwrap_or(0), digits_text.len()));
        }

        #[test]
        fn only_eight_digits_are_eight_digits(chunk: [u8; 8]) {
            let all_digits = chunk.iter().all(u8::is_ascii_digit);
            prop_assert_eq!(eight_digits(u64::from_le_bytes(chunk)).is_some(), all_digits);
        }
    }
}
