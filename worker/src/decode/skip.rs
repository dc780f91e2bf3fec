//! Values that nobody needs, in plain texts: the same grammar as that of the cursor, which is asked again when something is not as it
//! should be, and then says what. The place stays in a register here; a tenth of all bytes are passed in this way, or nine tenths.

use super::number::{Number, Short};
use super::scan;

/// A plain text, and where its quotes stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Skip<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) quotes: &'a [u64],
}

impl Skip<'_> {
    #[inline]
    fn byte(self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    #[inline]
    fn space(self, mut at: usize) -> usize {
        if self.byte(at) > b' ' {
            return at;
        }
        while matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// Behind the string whose opening quote stands at `at`.
    #[inline]
    fn string(self, at: usize) -> Option<usize> {
        let end = scan::next_quote(self.quotes, at + 1, self.bytes.len());
        (end < self.bytes.len()).then_some(end + 1)
    }

    /// Behind the key that stands at or behind `at`, and its colon.
    #[inline]
    fn key(self, at: usize) -> Option<usize> {
        let at = self.space(at);
        if self.byte(at) != b'"' {
            return None;
        }
        let at = self.space(self.string(at)?);
        (self.byte(at) == b':').then_some(at + 1)
    }

    /// Behind the value that stands at or behind `at`, if it is one, and if not more than `room` containers stand in each other in it.
    pub(super) fn value(self, mut at: usize, room: u32) -> Option<usize> {
        // One bit for each open container, innermost lowest: is it an object?
        let (mut objects, mut open) = (0u128, 0);
        loop {
            at = self.space(at);
            let first = self.byte(at);
            at = match first {
                b'"' => self.string(at)?,
                b'-' | b'0'..=b'9' => match Short::read(self.bytes, at) {
                    Some(number) => number.end,
                    None => at + Number::read(self.bytes, at).ok()?.text.len(),
                },
                b'{' | b'[' => {
                    if open >= room {
                        return None;
                    }
                    let object = first == b'{';
                    let inner = self.space(at + 1);
                    if self.byte(inner) != close(object) {
                        objects = (objects << 1) | u128::from(object);
                        open += 1;
                        at = if object { self.key(inner)? } else { inner };
                        continue;
                    }
                    inner + 1
                }
                _ => {
                    ["true", "false", "null"].iter().find(|word| self.bytes[at..].starts_with(word.as_bytes()))?.len()
                        + at
                }
            };
            // Behind a value: close all containers that end here.
            loop {
                if open == 0 {
                    return Some(at);
                }
                at = self.space(at);
                let object = objects & 1 == 1;
                match self.byte(at) {
                    b',' => {
                        at = if object { self.key(at + 1)? } else { at + 1 };
                        break;
                    }
                    byte if byte == close(object) => {
                        at += 1;
                        objects >>= 1;
                        open -= 1;
                    }
                    _ => return None,
                }
            }
        }
    }
}

/// The bracket that closes an object, or an array.
#[inline]
fn close(object: bool) -> u8 {
    if object { b'}' } else { b']' }
}
