//! Structs, arrays and maps: member by member. A member that does not fit marks the row that it is in.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::buffer::{BooleanBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};
use arrow::error::ArrowError;

use super::{Checked, arrow_cast, cast};

/// The type of the elements, for each of the list types.
pub(in crate::transform) fn element(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => Some(field.data_type()),
        _ => None,
    }
}

pub(super) fn structs(array: &StructArray, to: &Fields) -> Result<Checked, ArrowError> {
    let mut bad: Option<BooleanBuffer> = None;
    let mut members = Vec::with_capacity(to.len());
    for field in to {
        let Some(member) = array.column_by_name(field.name()) else {
            return Err(ArrowError::CastError(format!("there is no member `{}`", field.name())));
        };
        let checked = cast(member, field.data_type())?;
        bad = match (bad, checked.bad) {
            (Some(bad), Some(more)) => Some(&bad | &more),
            (bad, more) => bad.or(more),
        };
        members.push(checked.array);
    }
    let out = StructArray::try_new_with_length(to.clone(), members, array.nulls().cloned(), array.len())?;
    Ok(match (bad, array.nulls()) {
        (None, _) => Checked::fine(Arc::new(out)),
        (Some(bad), None) => Checked::new(Arc::new(out), bad),
        // What a member holds below a null struct is nobody's value.
        (Some(bad), Some(nulls)) => Checked::new(Arc::new(out), &bad & nulls.inner()),
    })
}

pub(super) fn lists(array: &ArrayRef, to: &FieldRef) -> Result<Checked, ArrowError> {
    let array = match array.data_type() {
        DataType::List(_) => Arc::clone(array),
        other => {
            let element = element(other).ok_or_else(|| ArrowError::CastError("not a list".to_owned()))?;
            arrow_cast(array, &DataType::new_list(element.clone(), true))?
        }
    };
    let list = array.as_list::<i32>();
    let (start, end, offsets) = rebased(list.offsets());
    let values = cast(&list.values().slice(start, end - start), to.data_type())?;
    let bad = bad_rows(&array, &offsets, values.bad.as_ref());
    let out = ListArray::try_new(Arc::clone(to), offsets, values.array, list.nulls().cloned())?;
    Ok(Checked::new(Arc::new(out), bad))
}

pub(super) fn maps(map: &MapArray, to: &FieldRef, sorted: bool) -> Result<Checked, ArrowError> {
    let DataType::Struct(fields) = to.data_type() else {
        return Err(ArrowError::CastError("a map without entries".to_owned()));
    };
    let (start, end, offsets) = rebased(map.offsets());
    let keys = cast(&map.keys().slice(start, end - start), fields[0].data_type())?;
    let values = cast(&map.values().slice(start, end - start), fields[1].data_type())?;
    let bad = &bad_rows(map, &offsets, keys.bad.as_ref()) | &bad_rows(map, &offsets, values.bad.as_ref());
    // A key that did not fit is null, and keys cannot be: the rows are refused anyhow, so the entries only need a form.
    if keys.bad.is_some() {
        let form = arrow::array::new_null_array(&DataType::Map(Arc::clone(to), sorted), map.len());
        return Ok(Checked::new(form, bad));
    }
    let entries = StructArray::try_new(fields.clone(), vec![keys.array, values.array], None)?;
    let out = MapArray::try_new(Arc::clone(to), offsets, entries, map.nulls().cloned(), sorted)?;
    Ok(Checked::new(Arc::new(out), bad))
}

/// Offsets that begin at 0, and the part of the values that they speak of: a slice of a list keeps all values.
fn rebased(offsets: &OffsetBuffer<i32>) -> (usize, usize, OffsetBuffer<i32>) {
    let (first, last) = (offsets.first().copied().unwrap_or_default(), offsets.last().copied().unwrap_or_default());
    let from_zero = if first == 0 {
        offsets.clone()
    } else {
        OffsetBuffer::new(offsets.iter().map(|offset| offset - first).collect())
    };
    (first as usize, last as usize, from_zero)
}

fn bad_rows(array: &dyn Array, offsets: &OffsetBuffer<i32>, bad: Option<&BooleanBuffer>) -> BooleanBuffer {
    let Some(bad) = bad else { return BooleanBuffer::new_unset(array.len()) };
    BooleanBuffer::collect_bool(array.len(), |row| {
        array.is_valid(row) && (offsets[row] as usize..offsets[row + 1] as usize).any(|value| bad.value(value))
    })
}
