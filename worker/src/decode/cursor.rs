//! A place in the text of one record, and the grammar of RFC 8259 from there on: white space, strings, numbers, literals,
//! and whole values that nobody needs.
//!
//! The text is UTF-8; the decoder has checked that before.

use super::fault::{Code, Fault, Outcome, quote};
use super::number::{Malformed, Number, Short};
use super::scan;
use super::skip::Skip;
use super::text::Text;

/// Objects and arrays may nest this deep. It bounds work and stack, and is what other parsers have.
pub(super) const MAX_DEPTH: u32 = 128;

/// Reads one record from front to back.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where quotes stand, if the survey says that strings end at the next one.
    quotes: Option<&'a [u64]>,
    /// Holds a string whose escapes were resolved.
    scratch: &'a mut Text,
}

impl<'a> Cursor<'a> {
    /// At the front of a text. `quotes` is where the survey found some, if the text is plain.
    pub(super) fn new(bytes: &'a [u8], quotes: Option<&'a [u64]>, scratch: &'a mut Text) -> Self {
        Self { bytes, at: 0, quotes, scratch }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Goes back to a position that [`position`](Self::position) gave.
    pub(super) fn rewind(&mut self, position: usize) {
        self.at = position;
    }

    /// Goes on by this many bytes, which the caller has looked at in [`rest`](Self::rest).
    pub(super) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// What is left of the text.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The text from a position up to here.
    pub(super) fn since(&self, position: usize) -> &'a [u8] {
        &self.bytes[position..self.at]
    }

    /// The next byte; 0 at the end, which no JSON text has outside of strings.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or_default()
    }

    /// Passes white space and looks at the next byte.
    #[inline]
    pub(super) fn space(&mut self) -> u8 {
        let next = self.peek();
        if next > b' ' {
            return next;
        }
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.peek()
    }

    /// Passes white space and, if it is next, this byte.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.space() == byte;
        self.at += usize::from(found);
        found
    }

    /// Passes white space and the colon between a key and its value.
    #[inline]
    pub(super) fn colon(&mut self) -> Outcome<()> {
        if self.take(b':') { Ok(()) } else { Err(self.unexpected("`:`")) }
    }

    /// Passes a key of this many bytes, with its quotes, which the caller has seen in [`rest`](Self::rest), and the colon behind it.
    #[inline]
    pub(super) fn pass_key(&mut self, bytes: usize) -> Outcome<()> {
        self.at += bytes;
        if self.peek() == b':' {
            self.at += 1;
            return Ok(());
        }
        self.colon()
    }

    /// Passes the quote in front of a key.
    #[inline]
    pub(super) fn key_quote(&mut self) -> Outcome<()> {
        if self.take(b'"') { Ok(()) } else { Err(self.unexpected("a key in quotes")) }
    }

    /// Behind a member or an element: does a further one follow? Passes the comma, or the bracket that closes.
    #[inline]
    pub(super) fn comma_or(&mut self, close: u8) -> Outcome<bool> {
        let next = self.space();
        if next == b',' || next == close {
            self.at += 1;
            return Ok(next == b',');
        }
        Err(self.unexpected(if close == b'}' { "`,` or `}`" } else { "`,` or `]`" }))
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Outcome<()> {
        self.space();
        if self.rest().is_empty() {
            return Ok(());
        }
        let message =
            format!("`{}` follows at byte {}, behind the end: one message is one object", quote(self.rest()), self.at);
        Err(Fault::new(Code::TrailingData, message))
    }

    /// Passes `true`, `false` or `null`.
    #[inline]
    pub(super) fn literal(&mut self, word: &'static str) -> Outcome<()> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.unexpected("a value"))
    }

    /// Passes a whole number if it is a short one.
    #[inline]
    pub(super) fn short_integer(&mut self) -> Option<i64> {
        let number = Short::read(self.bytes, self.at)?;
        let value = number.integer()?;
        self.at = number.end;
        Some(value)
    }

    /// Passes a number if it is a short one.
    #[inline]
    pub(super) fn short_double(&mut self) -> Option<f64> {
        let number = Short::read(self.bytes, self.at)?;
        self.at = number.end;
        Some(number.double())
    }

    /// Passes a number.
    #[inline]
    pub(super) fn number(&mut self) -> Outcome<Number<'a>> {
        match Number::read(self.bytes, self.at) {
            Ok(number) => {
                self.at += number.text.len();
                Ok(number)
            }
            Err(Malformed::DigitMissing(at)) => {
                self.at = at;
                Err(self.unexpected("a digit"))
            }
            Err(Malformed::LeadingZero(at)) => {
                Err(Fault::new(Code::InvalidJson, format!("a number begins with a needless zero at byte {at}")))
            }
        }
    }

    /// The end of the string that stands here, behind its opening quote, if its text needs no second look.
    #[inline]
    fn plain_end(&self) -> Option<usize> {
        let end = scan::next_quote(self.quotes?, self.at, self.bytes.len());
        (end < self.bytes.len()).then_some(end)
    }

    /// Passes the rest of a string, behind its opening quote, and gives what it says.
    #[inline]
    pub(super) fn string(&mut self) -> Outcome<&[u8]> {
        let start = self.at;
        if let Some(end) = self.plain_end() {
            self.at = end + 1;
            return Ok(&self.bytes[start..end]);
        }
        self.string_slowly()
    }

    #[inline(never)]
    fn string_slowly(&mut self) -> Outcome<&[u8]> {
        let start = self.at;
        let end = scan::plain_end(self.bytes, start);
        if self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(&self.bytes[start..end]);
        }
        let mut text = std::mem::take(self.scratch);
        text.truncate(0);
        let outcome = self.string_into(&mut text);
        *self.scratch = text;
        outcome.map(|()| self.scratch.as_slice())
    }

    /// The same, appending what the string says. After a fault a part of it may have been appended.
    #[inline]
    pub(super) fn string_into(&mut self, out: &mut Text) -> Outcome<()> {
        if let Some(end) = self.plain_end() {
            out.push_part(self.bytes, self.at, end);
            self.at = end + 1;
            return Ok(());
        }
        self.string_into_slowly(out)
    }

    #[inline(never)]
    fn string_into_slowly(&mut self, out: &mut Text) -> Outcome<()> {
        loop {
            let end = scan::plain_end(self.bytes, self.at);
            out.push_part(self.bytes, self.at, end);
            self.at = end;
            if self.peek() == b'"' {
                self.at += 1;
                return Ok(());
            }
            let resolved = self.escape()?;
            out.push(resolved.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    /// Passes the rest of a string, behind its opening quote.
    #[inline]
    pub(super) fn skip_string(&mut self) -> Outcome<()> {
        if let Some(end) = self.plain_end() {
            self.at = end + 1;
            return Ok(());
        }
        self.skip_string_slowly()
    }

    #[inline(never)]
    fn skip_string_slowly(&mut self) -> Outcome<()> {
        loop {
            self.at = scan::plain_end(self.bytes, self.at);
            if self.peek() == b'"' {
                self.at += 1;
                return Ok(());
            }
            self.escape()?;
        }
    }

    /// Resolves the escape that stands here. Whatever else stands here cannot stand in a string.
    #[cold]
    fn escape(&mut self) -> Outcome<char> {
        let at = self.at;
        match self.bytes.get(at) {
            None => {
                return Err(Fault::new(Code::InvalidJson, format!("the text ends inside of a string, at byte {at}")));
            }
            Some(b'\\') => {}
            Some(byte) => {
                let message = format!("the control character 0x{byte:02x} stands unescaped in a string, at byte {at}");
                return Err(Fault::new(Code::InvalidJson, message));
            }
        }
        self.at += 2;
        Ok(match self.bytes.get(at + 1) {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(same @ (b'"' | b'\\' | b'/')) => char::from(*same),
            Some(b'u') => return self.unicode_escape(at),
            _ => return Err(self.invalid_escape(at, "there is no such escape")),
        })
    }

    fn unicode_escape(&mut self, start: usize) -> Outcome<char> {
        let first = self.four_hex_digits(start)?;
        let code = if (0xd800..0xdc00).contains(&first) && self.rest().starts_with(b"\\u") {
            self.at += 2;
            let second = self.four_hex_digits(start)?;
            // A second half that is none makes the code one that no character has.
            if (0xdc00..0xe000).contains(&second) {
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            } else {
                first
            }
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| self.invalid_escape(start, "half of a surrogate pair is no character"))
    }

    fn four_hex_digits(&mut self, start: usize) -> Outcome<u32> {
        let digits = self.rest().first_chunk::<4>();
        let code = digits.and_then(|digits| {
            digits.iter().try_fold(0, |code, digit| Some(code * 16 + char::from(*digit).to_digit(16)?))
        });
        self.at += 4;
        code.ok_or_else(|| self.invalid_escape(start, "`\\u` needs four hexadecimal digits"))
    }

    fn invalid_escape(&self, start: usize, problem: &str) -> Box<Fault> {
        let end = self.at.min(self.bytes.len());
        Fault::new(Code::InvalidEscape, format!("`{}` at byte {start}: {problem}", quote(&self.bytes[start..end])))
    }

    /// Passes one value of any kind, checking all of its grammar. `depth` is how many containers are open around it.
    #[inline]
    pub(super) fn skip(&mut self, depth: u32) -> Outcome<()> {
        let end = self
            .quotes
            .and_then(|quotes| Skip { bytes: self.bytes, quotes }.value(self.at, MAX_DEPTH.saturating_sub(depth)));
        match end {
            Some(end) => {
                self.at = end;
                Ok(())
            }
            None => self.skip_slowly(depth),
        }
    }

    /// The same for all texts, and with the reason when it cannot be passed.
    #[inline(never)]
    fn skip_slowly(&mut self, depth: u32) -> Outcome<()> {
        // One bit for each open container, innermost lowest: is it an object?
        let mut objects = 0u128;
        let mut open = 0;
        loop {
            let first = self.space();
            match first {
                b'"' => {
                    self.at += 1;
                    self.skip_string()?;
                }
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                }
                b'{' | b'[' => {
                    self.check_depth(depth + open)?;
                    self.at += 1;
                    let object = first == b'{';
                    if !self.take(if object { b'}' } else { b']' }) {
                        objects = (objects << 1) | u128::from(object);
                        open += 1;
                        if object {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                _ => self.any_literal(first)?,
            }
            // Behind a value: close all containers that end here.
            loop {
                if open == 0 {
                    return Ok(());
                }
                let object = objects & 1 == 1;
                if self.comma_or(if object { b'}' } else { b']' })? {
                    if object {
                        self.skip_key()?;
                    }
                    break;
                }
                objects >>= 1;
                open -= 1;
            }
        }
    }

    fn skip_key(&mut self) -> Outcome<()> {
        self.key_quote()?;
        self.skip_string()?;
        self.colon()
    }

    fn any_literal(&mut self, first: u8) -> Outcome<()> {
        match first {
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// May a further container be opened here, inside of `depth` others?
    pub(super) fn check_depth(&self, depth: u32) -> Outcome<()> {
        if depth < MAX_DEPTH {
            return Ok(());
        }
        let message = format!("more than {MAX_DEPTH} objects and arrays inside of each other, at byte {}", self.at);
        Err(Fault::new(Code::TooDeep, message))
    }

    /// Something else than what is expected stands here.
    #[cold]
    pub(super) fn unexpected(&self, expected: &str) -> Box<Fault> {
        let at = self.at.min(self.bytes.len());
        // The place may lie inside of a character only when a text was cut there, and then nothing follows.
        let found = std::str::from_utf8(&self.bytes[at..]).ok().and_then(|rest| rest.chars().next());
        let message = match found {
            Some(found) => format!("`{}` at byte {at} where {expected} is expected", found.escape_debug()),
            None => format!("the text ends at byte {at} where {expected} is expected"),
        };
        Fault::new(Code::InvalidJson, message)
    }

    /// A value of another kind than `wanted` stands here. Broken syntax inside of it comes first.
    #[cold]
    pub(super) fn wrong_type(&mut self, depth: u32, wanted: &str) -> Box<Fault> {
        let start = self.at;
        let kind = match self.peek() {
            b'{' => "an object",
            b'[' => "an array",
            b'"' => "the string",
            b't' | b'f' => "the boolean",
            b'n' => "null",
            _ => "the number",
        };
        if let Err(fault) = self.skip(depth) {
            return fault;
        }
        let quoted = if kind.starts_with("the") { format!(" `{}`", quote(self.since(start))) } else { String::new() };
        Fault::new(Code::WrongType, format!("{kind}{quoted} where the column's type is {wanted}"))
    }
}
