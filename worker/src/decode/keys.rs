//! The keys of one kind of object, and a guess which of them comes next.
//!
//! A producer writes its keys in the same order nearly always. So each key remembers the one that followed it last
//! time, known or unknown, and reading a key is one comparison. A wrong guess costs a look-up and is mended at once.

use std::collections::HashMap;

use super::cursor::Cursor;
use super::fault::Outcome;

/// Unknown keys that are remembered for each kind of object. Objects with ever new keys must not fill the memory.
const MAX_UNKNOWN: usize = 256;
/// Of so many keys, all are tried one after the other before one is looked up: a comparison costs next to nothing.
const FEW: usize = 24;
/// Longer unknown keys are looked up each time.
const MAX_UNKNOWN_LENGTH: usize = 64;

/// All keys of one kind of object.
#[derive(Debug)]
pub(super) struct Keys {
    entries: Vec<Entry>,
    by_name: HashMap<Box<[u8]>, usize>,
    members: usize,
}

#[derive(Debug)]
struct Entry {
    pattern: Pattern,
    member: Option<usize>,
    /// The entry that followed last time.
    next: usize,
}

impl Keys {
    /// The entry before the first key.
    pub(super) const START: usize = 0;
    /// The entry of keys that are not remembered.
    const FORGOTTEN: usize = usize::MAX;

    /// The keys of members, in the order of their indexes.
    pub(super) fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        // What stands in front of the first key is no key, and its pattern is never asked.
        let start = Entry { pattern: Pattern::new(b""), member: None, next: 1 };
        let mut keys = Self { entries: vec![start], by_name: HashMap::new(), members: 0 };
        for (member, name) in names.enumerate() {
            keys.insert(name.as_bytes(), Some(member));
            keys.members += 1;
        }
        keys
    }

    /// A new entry, which is expected after the one that was made before it.
    fn insert(&mut self, name: &[u8], member: Option<usize>) -> usize {
        let index = self.entries.len();
        self.by_name.insert(name.into(), index);
        self.entries.push(Entry { pattern: Pattern::new(name), member, next: index + 1 });
        index
    }

    /// Passes a key with its quotes and the colon behind it, and gives its entry and its member; `previous` is the entry of the key
    /// before it.
    #[inline]
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>, previous: usize) -> Outcome<(usize, Option<usize>)> {
        cursor.space();
        let guess = self.entries.get(previous).map_or(Self::FORGOTTEN, |entry| entry.next);
        if let Some(entry) = self.entries.get(guess)
            && entry.pattern.matches(cursor.rest())
        {
            cursor.pass_key(entry.pattern.text.len())?;
            return Ok((guess, entry.member));
        }
        self.look_up(cursor, previous)
    }

    #[inline(never)]
    fn look_up(&mut self, cursor: &mut Cursor<'_>, previous: usize) -> Outcome<(usize, Option<usize>)> {
        if let Some(index) = self.found_among_few(cursor.rest()) {
            cursor.pass_key(self.entries[index].pattern.text.len())?;
            return Ok((index, self.follow(previous, index)));
        }
        cursor.key_quote()?;
        let name = cursor.string()?;
        let index = match self.by_name.get(name) {
            Some(index) => *index,
            None if name.len() <= MAX_UNKNOWN_LENGTH && self.entries.len() <= self.members + MAX_UNKNOWN => {
                self.insert(name, None)
            }
            None => Self::FORGOTTEN,
        };
        cursor.colon()?;
        if index == Self::FORGOTTEN {
            return Ok((index, None));
        }
        Ok((index, self.follow(previous, index)))
    }

    fn found_among_few(&self, rest: &[u8]) -> Option<usize> {
        let mut few = self.entries.iter().enumerate().skip(Self::START + 1).take(FEW);
        few.find(|(_, entry)| entry.pattern.matches(rest)).map(|(index, _)| index)
    }

    /// Remembers which entry followed which; gives its member.
    fn follow(&mut self, previous: usize, index: usize) -> Option<usize> {
        if let Some(entry) = self.entries.get_mut(previous) {
            entry.next = index;
        }
        self.entries[index].member
    }
}

/// How a key looks in a text, with its quotes.
#[derive(Debug)]
struct Pattern {
    text: Box<[u8]>,
    /// Its first 16 bytes as one number, and which bits of a number count.
    head: u128,
    mask: u128,
}

impl Pattern {
    fn new(name: &[u8]) -> Self {
        let text: Box<[u8]> = [b"\"", name, b"\""].concat().into();
        let head_len = text.len().min(16);
        let mut head = [0; 16];
        let mut mask = [0; 16];
        head[..head_len].copy_from_slice(&text[..head_len]);
        mask[..head_len].fill(0xff);
        let (mut head, mut mask) = (u128::from_le_bytes(head), u128::from_le_bytes(mask));
        // Such a name has another spelling in a text, so the guess must always fail: no number has a bit that is masked out.
        if name.iter().any(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
            (head, mask) = (1, 0);
        }
        Self { text, head, mask }
    }

    #[inline]
    fn matches(&self, rest: &[u8]) -> bool {
        match rest.first_chunk::<16>() {
            Some(chunk) if self.text.len() <= 16 => u128::from_le_bytes(*chunk) & self.mask == self.head,
            Some(chunk) => {
                u128::from_le_bytes(*chunk) & self.mask == self.head && rest[16..].starts_with(&self.text[16..])
            }
            None => self.mask != 0 && rest.starts_with(&self.text),
        }
    }
}
