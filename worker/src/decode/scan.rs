//! The loops that touch every byte: what a text is made of, where its strings end, and runs of digits.
//!
//! They work on many bytes at a time, and this is the only module that knows it: on x86-64 with the vector instructions that all of
//! these processors have, elsewhere in ordinary registers. Both are compiled and tested everywhere they can be.

#[cfg(target_arch = "x86_64")]
mod vector;
#[cfg(any(test, not(target_arch = "x86_64")))]
mod words;

#[cfg(target_arch = "x86_64")]
use vector::look;
#[cfg(not(target_arch = "x86_64"))]
use words::look;

/// 0x01 in every byte; times a byte, that byte in every byte.
const EACH: u64 = 0x0101_0101_0101_0101;
/// The top bit of every byte.
const TOP: u64 = EACH * 0x80;
/// Bytes that are looked at together: one bit for each makes a word.
const BLOCK: usize = 64;

/// What is known of a text before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Survey {
    /// All bytes are ASCII.
    pub(super) ascii: bool,
    /// There is no `\` and no control character, so that strings end at the next `"`.
    pub(super) plain: bool,
}

/// What a block of bytes is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    /// One bit for each `"`.
    quotes: u64,
    /// Is there a `\` or a control character?
    odd: bool,
    /// Is there a byte beyond ASCII?
    high: bool,
}

/// Looks at all bytes of a text once, so that nothing has to be asked again at each string. `quotes` becomes a bit for each byte: set
/// where a `"` stands (the idea of the first stage of simdjson: Langdale and Lemire, "Parsing gigabytes of JSON per second", 2019).
#[inline]
pub(super) fn survey(bytes: &[u8], quotes: &mut Vec<u64>) -> Survey {
    quotes.clear();
    let (mut odd, mut high) = (false, false);
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut enter = |block: &[u8; BLOCK]| {
        let block = look(block);
        quotes.push(block.quotes);
        odd |= block.odd;
        high |= block.high;
    };
    blocks.iter().for_each(&mut enter);
    if !rest.is_empty() {
        if let Some(last) = bytes.last_chunk::<BLOCK>() {
            // The bytes that were seen already are looked at again, which is cheaper than a copy of the others.
            enter(last);
            if let Some(last) = quotes.last_mut() {
                *last >>= BLOCK - rest.len();
            }
        } else {
            let mut only = [b' '; BLOCK];
            only[..rest.len()].copy_from_slice(rest);
            enter(&only);
        }
    }
    Survey { ascii: !high, plain: !odd }
}

/// The index of the first `"` at or after `at`, by the survey of a text of this length; the length if there is none.
#[inline]
pub(super) fn next_quote(quotes: &[u64], at: usize, length: usize) -> usize {
    let mut index = at / BLOCK;
    let Some(mut word) = quotes.get(index).map(|word| word & (u64::MAX << (at % BLOCK))) else { return length };
    while word == 0 {
        index += 1;
        let Some(next) = quotes.get(index) else { return length };
        word = *next;
    }
    index * BLOCK + word.trailing_zeros() as usize
}

/// A byte that makes strings more than what stands between two quotes.
#[inline]
fn is_odd(byte: u8) -> bool {
    byte < 0x20 || byte == b'\\'
}

/// The top bit of each byte that ends a plain run: `"`, `\` and control characters. Borrows may set bits above the lowest one that is
/// right, so only the lowest one counts.
#[inline]
fn ends(word: u64) -> u64 {
    let zeros = |word: u64| word.wrapping_sub(EACH) & !word;
    let quote = zeros(word ^ (EACH * 0x22));
    let backslash = zeros(word ^ (EACH * 0x5c));
    let control = word.wrapping_sub(EACH * 0x20) & !word;
    (quote | backslash | control) & TOP
}

/// The first eight bytes at or after `at`, if there are so many.
#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
}

/// The index of the first byte at or after `at` that cannot stand unescaped in a string; the length if there is none.
#[inline]
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(bytes, at) {
        let found = ends(word);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < bytes.len() && bytes[at] != b'"' && !is_odd(bytes[at]) {
        at += 1;
    }
    at
}

/// Powers of ten, for as many digits as fit into a word.
const TENS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The value of the digits at the front of eight bytes, and how many they are.
#[inline]
fn leading_digits(word: u64) -> (u64, usize) {
    let digits = word ^ (EACH * 0x30);
    // Carries may set bits above the lowest one that is right, so only the lowest one counts.
    let others = (digits.wrapping_add(EACH * 0x76) | digits) & TOP;
    let count = (others.trailing_zeros() / 8) as usize;
    if count == 0 {
        return (0, 0);
    }
    // The first digit is the lowest byte; what is not a digit is shifted out, and zeros come in front. Neighbours are joined three
    // times: pairs, fours, all eight.
    let digits = digits << (64 - 8 * count);
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    ((fours * 10_000 + (fours >> 32)) & 0xffff_ffff, count)
}

/// Reads digits from `at` on and appends them to a number, modulo 2^64. Returns it with the index behind the digits.
#[inline]
pub(super) fn digits(bytes: &[u8], mut at: usize, mut number: u64) -> (u64, usize) {
    while let Some(word) = word(bytes, at) {
        let (value, count) = leading_digits(word);
        number = number.wrapping_mul(TENS[count]).wrapping_add(value);
        at += count;
        if count < 8 {
            return (number, at);
        }
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
        fn a_plain_run_ends_where_a_byte_by_byte_search_ends_it(bytes in any_bytes(), at in 0usize..90) {
            let at = at.min(bytes.len());
            let ends = |byte: u8| byte == b'"' || is_odd(byte);
            let end = (at..bytes.len()).find(|i| ends(bytes[*i])).unwrap_or(bytes.len());
            prop_assert_eq!(plain_end(&bytes, at), end);
        }

        #[test]
        fn a_quote_is_found_where_a_byte_by_byte_search_finds_it(bytes in proptest::collection::vec(any_bytes(), 0..4), at in 0usize..300) {
            let bytes = bytes.concat();
            let at = at.min(bytes.len());
            let mut quotes = vec![7];
            survey(&bytes, &mut quotes);
            let expected = (at..bytes.len()).find(|i| bytes[*i] == b'"').unwrap_or(bytes.len());
            prop_assert_eq!(next_quote(&quotes, at, bytes.len()), expected);
        }

        #[test]
        fn a_block_is_the_same_in_vectors_and_in_words(bytes in proptest::collection::vec(any::<u8>(), BLOCK), kind in 0u8..4) {
            let mut block = [0; BLOCK];
            // Without the rare bytes, with few of them, with many.
            for (to, from) in block.iter_mut().zip(&bytes) {
                *to = match kind {
                    0 => b'a' + from % 26,
                    1 => if from % 16 == 0 { b'"' } else { b'#' + from % 90 },
                    2 => [b'"', b'\\', 0x1f, 0x20, 0x7f, 0x80, 0xa2, 0xdc][usize::from(from % 8)],
                    _ => *from,
                };
            }
            let expected = Block {
                quotes: block.iter().rev().fold(0, |bits, byte| (bits << 1) | u64::from(*byte == b'"')),
                odd: block.iter().any(|byte| is_odd(*byte)),
                high: !block.is_ascii(),
            };
            prop_assert_eq!(words::look(&block), expected);
            prop_assert_eq!(look(&block), expected);
        }

        #[test]
        fn a_survey_sees_every_byte(text in "[a-z\"]{0,200}", at in 0usize..200, byte: u8) {
            let mut bytes = text.into_bytes();
            prop_assert_eq!(survey(&bytes, &mut Vec::new()), Survey { ascii: true, plain: true });
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
                let expected = Survey { ascii: byte.is_ascii(), plain: !is_odd(byte) };
                prop_assert_eq!(survey(&bytes, &mut Vec::new()), expected);
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
        fn leading_digits_end_at_the_first_byte_that_is_none(chunk: [u8; 8], keep in 0usize..9) {
            let mut chunk = chunk;
            chunk[..keep].iter_mut().for_each(|byte| *byte = b'0' + *byte % 10);
            let count = chunk.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let value = chunk[..count].iter().fold(0, |value, byte| value * 10 + u64::from(byte - b'0'));
            prop_assert_eq!(leading_digits(u64::from_le_bytes(chunk)), (value, count));
        }
    }
}
