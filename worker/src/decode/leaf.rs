//! Builders of columns without inner columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, BooleanBufferBuilder, NullBufferBuilder, PrimitiveArray,
    StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::column::mismatch;
use super::cursor::Cursor;
use super::fault::{Code, Fault, Outcome};
use super::text::Text;
use super::value;

/// Takes what a vector holds and leaves an empty one with memory for a little more: the next batch is much like this one, and a vector that
/// is a few values short doubles.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len() + values.len() / 8);
    std::mem::replace(values, next)
}

/// `boolean`.
#[derive(Debug)]
pub(super) struct Booleans {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Booleans {
    pub(super) fn new() -> Self {
        Self { values: BooleanBufferBuilder::new(0), nulls: NullBufferBuilder::new(0) }
    }

    pub(super) fn push(&mut self, value: bool) {
        self.values.append(value);
        self.nulls.append_non_null();
    }

    pub(super) fn push_null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }

    pub(super) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        if *data_type != DataType::Boolean {
            return Err(mismatch(data_type));
        }
        Ok(Arc::new(BooleanArray::new(self.values.finish(), self.nulls.finish())))
    }
}

/// Values of one fixed size.
#[derive(Debug)]
pub(super) struct Scalars<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

impl<T: ArrowPrimitiveType> Scalars<T> {
    pub(super) fn new() -> Self {
        Self { values: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    #[inline]
    pub(super) fn push(&mut self, value: T::Native) {
        self.values.push(value);
        self.nulls.append_non_null();
    }

    pub(super) fn push_null(&mut self) {
        self.values.push(T::Native::default());
        self.nulls.append_null();
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }

    pub(super) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        if !PrimitiveArray::<T>::is_compatible(data_type) {
            return Err(mismatch(data_type));
        }
        let array = PrimitiveArray::<T>::try_new(take(&mut self.values).into(), self.nulls.finish())?;
        Ok(Arc::new(array.with_data_type(data_type.clone())))
    }
}

/// Where each list, map or string of a column ends among the inner values.
#[derive(Debug)]
pub(super) struct Offsets(Vec<i32>);

impl Offsets {
    pub(super) fn new() -> Self {
        Self(vec![0])
    }

    pub(super) fn len(&self) -> usize {
        self.0.len() - 1
    }

    /// Closes one more, which ends before this index of the inner values.
    #[inline]
    pub(super) fn push(&mut self, end: usize) -> Outcome<()> {
        let end = i32::try_from(end).map_err(|_| too_large())?;
        self.0.push(end);
        Ok(())
    }

    /// Closes one that is empty.
    pub(super) fn push_empty(&mut self) {
        self.0.push(self.0[self.len()]);
    }

    /// Cuts back, and says how many inner values are left.
    pub(super) fn truncate(&mut self, len: usize) -> usize {
        self.0.truncate(len + 1);
        self.end()
    }

    /// The end of the last one.
    pub(super) fn end(&self) -> usize {
        self.0[self.len()] as usize
    }

    pub(super) fn range(&self, index: usize) -> std::ops::Range<usize> {
        self.0[index] as usize..self.0[index + 1] as usize
    }

    pub(super) fn finish(&mut self) -> OffsetBuffer<i32> {
        let taken = take(&mut self.0);
        self.0.push(0);
        OffsetBuffer::new(taken.into())
    }
}

/// Strings whose bytes were looked at when they were text. To look at them again costs more than all the rest where they are not ASCII.
#[allow(unsafe_code)]
fn strings(offsets: OffsetBuffer<i32>, values: Buffer, nulls: Option<NullBuffer>) -> StringArray {
    debug_assert!(StringArray::try_new(offsets.clone(), values.clone(), nulls.clone()).is_ok());
    // SAFETY: every value is a part of a record that is UTF-8, between two ASCII characters of it, or `char`s that were appended whole, or
    // a `str`; and it ends at an offset that was the length at that moment. So the offsets rise, and stay within the values.
    unsafe { StringArray::new_unchecked(offsets, values, nulls) }
}

#[cold]
fn too_large() -> Box<Fault> {
    let message = "a column of one batch would hold more than 2 GiB; make window.maxBytes smaller";
    Fault::new(Code::BatchTooLarge, message)
}

/// `string` and `binary`.
#[derive(Debug)]
pub(super) struct Bytes {
    values: Text,
    offsets: Offsets,
    nulls: NullBufferBuilder,
}

impl Bytes {
    pub(super) fn new() -> Self {
        Self { values: Text::default(), offsets: Offsets::new(), nulls: NullBufferBuilder::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    pub(super) fn get(&self, index: usize) -> &[u8] {
        &self.values.as_slice()[self.offsets.range(index)]
    }

    pub(super) fn push(&mut self, value: &[u8]) -> Outcome<()> {
        self.values.push(value);
        self.close()
    }

    pub(super) fn push_option(&mut self, value: Option<&[u8]>) -> Outcome<()> {
        if let Some(value) = value {
            return self.push(value);
        }
        self.push_null();
        Ok(())
    }

    /// The text of a string, or the source text of any other value.
    #[inline]
    pub(super) fn push_json(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Outcome<()> {
        if cursor.peek() == b'"' {
            cursor.advance(1);
            return self.push_string(cursor);
        }
        let start = cursor.position();
        cursor.skip(depth)?;
        self.push(cursor.since(start))
    }

    /// A string whose opening quote was passed.
    #[inline]
    pub(super) fn push_string(&mut self, cursor: &mut Cursor<'_>) -> Outcome<()> {
        cursor.string_into(&mut self.values)?;
        self.close()
    }

    pub(super) fn push_base64(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Outcome<()> {
        self.values.push(&value::base64(cursor, depth)?);
        self.close()
    }

    /// The bytes after the last value are a value now.
    #[inline]
    fn close(&mut self) -> Outcome<()> {
        self.offsets.push(self.values.len())?;
        self.nulls.append_non_null();
        Ok(())
    }

    pub(super) fn push_null(&mut self) {
        self.offsets.push_empty();
        self.nulls.append_null();
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.values.truncate(self.offsets.truncate(len));
        self.nulls.truncate(len);
    }

    pub(super) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let values = Buffer::from_vec(self.values.take());
        let (offsets, nulls) = (self.offsets.finish(), self.nulls.finish());
        match data_type {
            DataType::Utf8 => Ok(Arc::new(strings(offsets, values, nulls))),
            DataType::Binary => Ok(Arc::new(BinaryArray::try_new(offsets, values, nulls)?)),
            _ => Err(mismatch(data_type)),
        }
    }
}
