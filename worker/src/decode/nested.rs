//! Builders of arrays and maps.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, MapArray, NullBufferBuilder, StructArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::column::{Column, mismatch};
use super::cursor::Cursor;
use super::fault::{Fault, Outcome};
use super::leaf::{Bytes, Offsets};

/// `array<…>`.
#[derive(Debug)]
pub(super) struct Lists {
    elements: Column,
    offsets: Offsets,
    nulls: NullBufferBuilder,
}

impl Lists {
    pub(super) fn new(elements: Column) -> Self {
        Self { elements, offsets: Offsets::new(), nulls: NullBufferBuilder::new(0) }
    }

    pub(super) fn push(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Outcome<()> {
        if cursor.peek() != b'[' {
            return Err(cursor.wrong_type(depth, "array"));
        }
        cursor.check_depth(depth)?;
        cursor.advance(1);
        let mut count = 0;
        if !cursor.take(b']') {
            loop {
                self.elements.push(cursor, depth + 1).map_err(|fault| fault.in_element(count))?;
                count += 1;
                if !cursor.comma_or(b']')? {
                    break;
                }
            }
        }
        self.offsets.push(self.offsets.end() + count)?;
        self.nulls.append_non_null();
        Ok(())
    }

    pub(super) fn push_null(&mut self) {
        self.offsets.push_empty();
        self.nulls.append_null();
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.elements.truncate(self.offsets.truncate(len));
        self.nulls.truncate(len);
    }

    pub(super) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let DataType::List(field) = data_type else { return Err(mismatch(data_type)) };
        let elements = self.elements.finish(field.data_type())?;
        Ok(Arc::new(ListArray::try_new(Arc::clone(field), self.offsets.finish(), elements, self.nulls.finish())?))
    }
}

/// `map<string,…>`.
#[derive(Debug)]
pub(super) struct Maps {
    keys: Bytes,
    values: Column,
    offsets: Offsets,
    nulls: NullBufferBuilder,
    /// Entries in the order of their keys, to find those that stand twice.
    sorted: Vec<u32>,
}

/// Of so many keys, each is compared with each.
const FEW: usize = 8;

/// A value that could not be read: the ordinal of its entry, and why.
type BadEntry = (usize, Box<Fault>);

impl Maps {
    pub(super) fn new(values: Column) -> Self {
        Self {
            keys: Bytes::new(),
            values,
            offsets: Offsets::new(),
            nulls: NullBufferBuilder::new(0),
            sorted: Vec::new(),
        }
    }

    /// The last one of entries with the same key wins, and stands where it stood.
    pub(super) fn push(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Outcome<()> {
        if cursor.peek() != b'{' {
            return Err(cursor.wrong_type(depth, "map"));
        }
        cursor.check_depth(depth)?;
        let start = cursor.position();
        let mut bad = self.entries(cursor, depth, None)?;
        if let Some(kept) = self.last_of_each_key() {
            self.truncate(self.offsets.len());
            cursor.rewind(start);
            bad = self.entries(cursor, depth, Some(&kept))?;
        }
        if let Some((_, fault)) = bad.into_iter().next() {
            return Err(fault);
        }
        self.offsets.push(self.keys.len())?;
        self.nulls.append_non_null();
        Ok(())
    }

    /// Reads the object that comes next; where `kept` is given, only these of its entries.
    fn entries(&mut self, cursor: &mut Cursor<'_>, depth: u32, kept: Option<&[bool]>) -> Outcome<Vec<BadEntry>> {
        let mut bad = Vec::new();
        cursor.advance(1);
        if cursor.take(b'}') {
            return Ok(bad);
        }
        for ordinal in 0.. {
            cursor.key_quote()?;
            if kept.is_none_or(|kept| kept[ordinal]) {
                self.keys.push_string(cursor)?;
                cursor.colon()?;
                bad.extend(self.value(cursor, depth + 1)?.map(|fault| (ordinal, fault)));
            } else {
                cursor.skip_string()?;
                cursor.colon()?;
                cursor.skip(depth + 1)?;
            }
            if !cursor.comma_or(b'}')? {
                break;
            }
        }
        Ok(bad)
    }

    /// Reads the value of the last key. A bad one leaves a null and is passed whole, for its key may stand a second time.
    fn value(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Outcome<Option<Box<Fault>>> {
        let start = cursor.position();
        let index = self.keys.len() - 1;
        match self.values.push(cursor, depth) {
            Ok(()) => Ok(None),
            Err(fault) if fault.spoils_record() => Err(fault),
            Err(fault) => {
                self.values.truncate(index);
                self.values.push_null();
                cursor.rewind(start);
                cursor.skip(depth)?;
                Ok(Some(fault.in_entry(self.keys.get(index))))
            }
        }
    }

    /// For each entry since the last map: is it the last one with its key? `None` when no key stands twice.
    fn last_of_each_key(&mut self) -> Option<Vec<bool>> {
        let start = self.offsets.end();
        let count = self.keys.len() - start;
        let keys = &self.keys;
        let key = |entry: &u32| keys.get(start + *entry as usize);
        let (entries, differ) = (0..count as u32, |left: u32| (0..left).all(|right| key(&left) != key(&right)));
        if count <= FEW && entries.into_iter().all(differ) {
            return None;
        }
        // Sorted, a map of a million keys costs little more than a million small ones.
        self.sorted.clear();
        self.sorted.extend(0..count as u32);
        self.sorted.sort_unstable_by(|left, right| key(left).cmp(key(right)).then(left.cmp(right)));
        let mut kept = None;
        for pair in self.sorted.windows(2) {
            if key(&pair[0]) == key(&pair[1]) {
                kept.get_or_insert_with(|| vec![true; count])[pair[0] as usize] = false;
            }
        }
        kept
    }

    pub(super) fn push_null(&mut self) {
        self.offsets.push_empty();
        self.nulls.append_null();
    }

    pub(super) fn truncate(&mut self, len: usize) {
        let entries = self.offsets.truncate(len);
        self.keys.truncate(entries);
        self.values.truncate(entries);
        self.nulls.truncate(len);
    }

    pub(super) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let DataType::Map(entries, sorted) = data_type else { return Err(mismatch(data_type)) };
        let DataType::Struct(fields) = entries.data_type() else { return Err(mismatch(data_type)) };
        let [key, value] = fields.as_ref() else { return Err(mismatch(data_type)) };
        let columns = vec![self.keys.finish(key.data_type())?, self.values.finish(value.data_type())?];
        let inner = StructArray::try_new(fields.clone(), columns, None)?;
        let (offsets, nulls) = (self.offsets.finish(), self.nulls.finish());
        Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, inner, nulls, *sorted)?))
    }
}
