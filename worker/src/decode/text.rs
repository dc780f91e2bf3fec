//! Bytes that grow at their end, for columns of strings.

/// A vector of bytes whose memory is written before it counts. Most strings are short, and a store of fixed size into memory that is
/// there is much cheaper than a copy of the right length: what is too much lies behind the end, and is written over by what comes next.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// Longer than `length` most of the time.
    memory: Vec<u8>,
    length: usize,
}

/// The least that it grows by.
const GROWTH: usize = 1 << 10;

impl Text {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.memory[..self.length]
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Appends what stands from `start` to `end` in a text.
    #[inline]
    pub(super) fn push_part(&mut self, text: &[u8], start: usize, end: usize) {
        let length = end - start;
        if length <= 16 && self.push_fixed::<16>(text, start) || length <= 48 && self.push_fixed::<48>(text, start) {
            self.length += length;
        } else {
            self.push(&text[start..end]);
        }
    }

    /// Writes so many bytes behind the end, if text and memory go so far.
    #[inline]
    fn push_fixed<const N: usize>(&mut self, text: &[u8], start: usize) -> bool {
        let from = text.get(start..).and_then(|rest| rest.first_chunk::<N>());
        let to = self.memory.get_mut(self.length..).and_then(|rest| rest.first_chunk_mut::<N>());
        match (from, to) {
            (Some(from), Some(to)) => {
                *to = *from;
                true
            }
            _ => false,
        }
    }

    /// Appends bytes.
    #[inline(never)]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if end + 48 > self.memory.len() {
            self.memory.resize((2 * end).max(end + GROWTH), 0);
        }
        self.memory[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    /// Gives what it holds, and is empty again, with memory for as much: what comes next is much like this.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let next = vec![0; self.length + self.length / 8];
        let mut taken = std::mem::replace(&mut self.memory, next);
        taken.truncate(self.length);
        self.length = 0;
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_pushed_is_what_stands_there(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            parts in proptest::collection::vec((0usize..200, 0usize..200, 0u8..8), 0..60),
        ) {
            let (mut text, mut expected) = (Text::default(), Vec::new());
            for (a, b, kind) in parts {
                let (start, end) = (a.min(b).min(bytes.len()), a.max(b).min(bytes.len()));
                match kind {
                    0 => { text.truncate(a); expected.truncate(a); }
                    1 => { text.push(&bytes[start..end]); expected.extend_from_slice(&bytes[start..end]); }
                    2 => { prop_assert_eq!(&text.take(), &expected); expected.clear(); }
                    _ => { text.push_part(&bytes, start, end); expected.extend_from_slice(&bytes[start..end]); }
                }
                prop_assert_eq!(text.as_slice(), &expected);
                prop_assert_eq!(text.len(), expected.len());
            }
        }
    }
}
