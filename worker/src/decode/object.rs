//! The builder of structs, and of the rows themselves: walks an object and hands each member to its column.

use std::sync::Arc;

use arrow::array::{ArrayRef, NullBufferBuilder, StructArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::column::{Column, mismatch};
use super::cursor::Cursor;
use super::fault::{Code, Fault, Outcome};
use super::keys::Keys;

/// `struct<…>`.
#[derive(Debug)]
pub(super) struct Structs {
    members: Vec<Member>,
    keys: Keys,
    nulls: NullBufferBuilder,
    rows: usize,
    /// The number of the object that is being read; a member with the same number was met in it.
    object: u64,
}

/// A column inside of a struct, or one of the table's.
#[derive(Debug)]
pub(super) struct Member {
    name: String,
    column: Column,
    /// Null and missing are faults.
    required: bool,
    /// The last object that filled it.
    filled: u64,
}

impl Member {
    pub(super) fn new(name: &str, column: Column, required: bool) -> Self {
        Self { name: name.to_owned(), column, required, filled: 0 }
    }

    fn push(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Outcome<()> {
        if self.required && cursor.space() == b'n' {
            cursor.literal("null")?;
            return Err(Fault::new(
                Code::NullInRequiredColumn,
                "the column is declared nullable: false, and the value is null",
            ));
        }
        self.column.push(cursor, depth)
    }
}

/// A member whose last value could not be read, and why.
type BadMember = (usize, Box<Fault>);

impl Structs {
    /// A builder with these members, whose names differ.
    pub(super) fn new(members: Vec<Member>) -> Self {
        let keys = Keys::new(members.iter().map(|member| member.name.as_str()));
        Self { members, keys, nulls: NullBufferBuilder::new(0), rows: 0, object: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Reads an object. A missing member is null; one that stands twice has its last value; unknown ones are checked
    /// and passed. After a fault that does not spoil the record the object has been passed whole.
    pub(super) fn push(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Outcome<()> {
        if cursor.peek() != b'{' {
            return Err(cursor.wrong_type(depth, "struct"));
        }
        cursor.check_depth(depth)?;
        cursor.advance(1);
        self.object += 1;
        // Stays empty, and so without memory of its own, in almost every object.
        let mut bad: Vec<BadMember> = Vec::new();
        if !cursor.take(b'}') {
            let mut previous = Keys::START;
            loop {
                let (entry, member) = self.keys.read(cursor, previous)?;
                previous = entry;
                match member {
                    Some(member) => self.member(member, cursor, depth + 1, &mut bad)?,
                    None => cursor.skip(depth + 1)?,
                }
                if !cursor.comma_or(b'}')? {
                    break;
                }
            }
        }
        self.close(bad)
    }

    #[inline]
    fn member(&mut self, index: usize, cursor: &mut Cursor<'_>, depth: u32, bad: &mut Vec<BadMember>) -> Outcome<()> {
        let member = &mut self.members[index];
        if member.filled == self.object {
            member.column.truncate(self.rows);
        }
        if !bad.is_empty() {
            bad.retain(|(other, _)| *other != index);
        }
        member.filled = self.object;
        let start = cursor.position();
        match member.push(cursor, depth) {
            Ok(()) => Ok(()),
            Err(fault) if fault.spoils_record() => Err(fault),
            Err(fault) => {
                // The key may stand a second time with a value that can be read, and the syntax is checked in any case.
                member.column.truncate(self.rows);
                bad.push((index, fault.in_member(&member.name)));
                cursor.rewind(start);
                cursor.skip(depth)
            }
        }
    }

    /// Ends an object.
    fn close(&mut self, bad: Vec<BadMember>) -> Outcome<()> {
        if let Some((_, fault)) = bad.into_iter().min_by_key(|(index, _)| *index) {
            return Err(fault);
        }
        for member in &mut self.members {
            if member.filled != self.object {
                if member.required {
                    let fault = Fault::new(
                        Code::NullInRequiredColumn,
                        "the column is declared nullable: false, and is missing",
                    );
                    return Err(fault.in_member(&member.name));
                }
                member.column.push_null();
            }
        }
        self.nulls.append_non_null();
        self.rows += 1;
        Ok(())
    }

    pub(super) fn push_null(&mut self) {
        for member in &mut self.members {
            member.column.push_null();
        }
        self.nulls.append_null();
        self.rows += 1;
    }

    pub(super) fn truncate(&mut self, len: usize) {
        for member in &mut self.members {
            member.column.truncate(len);
        }
        self.nulls.truncate(len);
        self.rows = len;
    }

    pub(super) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let DataType::Struct(fields) = data_type else { return Err(mismatch(data_type)) };
        let types: Vec<&DataType> = fields.iter().map(|field| field.data_type()).collect();
        let (rows, nulls) = (self.rows, self.nulls.finish());
        let columns = self.finish_members(&types)?;
        Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, rows)?))
    }

    /// Gives one array for each member, of these types, and is empty again.
    pub(super) fn finish_members(&mut self, types: &[&DataType]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows = 0;
        self.nulls = NullBufferBuilder::new(0);
        self.members.iter_mut().zip(types).map(|(member, data_type)| member.column.finish(data_type)).collect()
    }
}
