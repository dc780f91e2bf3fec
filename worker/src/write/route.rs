//! Which rows go where: splits a batch by its partition key columns, which stand last and are not part of the files.
//!
//! Consecutive rows of one value (a *run*) are found with one vectorised comparison for each key. So a batch with one
//! value, the usual case for data that is in order of time, costs one look-up, and no row is copied here.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{partition, take_arrays};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::row::{RowConverter, SortField};

use super::WriteError;
use super::hive::{self, PathLimit, ValueError};

/// The values of the partition keys that rows have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The folder, below the root of the table: empty, or with a slash at the end.
    pub folder: String,
    /// Key and value, outermost first; values as a reader of the path sees them.
    pub values: Vec<(String, Option<String>)>,
}

/// Rows of one batch that belong to one partition.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// Index into [`Router::partitions`].
    pub partition: usize,
    /// The rows, rising.
    pub runs: Vec<Range<usize>>,
    /// How many rows.
    pub rows: usize,
}

impl Group {
    /// The rows as indices.
    pub fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        self.runs.iter().flat_map(|run| run.start as u32..run.end as u32)
    }
}

/// One batch, split.
#[derive(Debug)]
pub struct Split {
    /// The columns of the files.
    pub batch: RecordBatch,
    /// The rows of each partition, in the order in which partitions first appear.
    pub groups: Vec<Group>,
    /// Rows in no group, rising: no folder can be named by their values.
    pub refused: Vec<(Range<usize>, ValueError)>,
}

/// Splits batches. Remembers every partition that it has met.
#[derive(Debug)]
pub struct Router {
    keys: Schema,
    file_schema: SchemaRef,
    limit: PathLimit,
    converter: Option<RowConverter>,
    by_value: HashMap<Box<[u8]>, usize>,
    by_folder: HashMap<String, usize>,
    partitions: Vec<Partition>,
}

impl Router {
    /// A router for rows of this schema, the last `partition_keys` columns of which are the keys, outermost first.
    pub fn new(schema: &SchemaRef, partition_keys: usize, limit: PathLimit) -> Result<Self, WriteError> {
        let columns = schema.fields().len().saturating_sub(partition_keys);
        if columns == 0 {
            return Err(WriteError::NoColumns);
        }
        let (columns, keys) = schema.fields().split_at(columns);
        keys.iter().try_for_each(|key| hive::check_key(key))?;
        let fields: Vec<_> = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
        let converter = (!fields.is_empty()).then(|| RowConverter::new(fields)).transpose();
        let converter = converter.map_err(|source| WriteError::arrow("compare", source))?;
        Ok(Self {
            keys: Schema::new(keys.to_vec()),
            file_schema: SchemaRef::new(Schema::new(columns.to_vec())),
            limit,
            converter,
            by_value: HashMap::new(),
            by_folder: HashMap::new(),
            partitions: Vec::new(),
        })
    }

    /// The columns of the files.
    pub fn file_schema(&self) -> &SchemaRef {
        &self.file_schema
    }

    /// The partitions met so far.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Splits a batch. Each row is refused or in exactly one group, and keeps its place among the rows of its group.
    pub fn split(&mut self, rows: &RecordBatch) -> Result<Split, WriteError> {
        let columns = self.file_schema.fields().len();
        if rows.num_columns() != columns + self.keys.fields().len() {
            return Err(WriteError::ColumnCount {
                got: rows.num_columns(),
                expected: columns + self.keys.fields().len(),
            });
        }
        let (columns, keys) = rows.columns().split_at(columns);
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let batch = RecordBatch::try_new_with_options(SchemaRef::clone(&self.file_schema), columns.to_vec(), &options)
            .map_err(|source| WriteError::arrow("take", source))?;
        let mut split = Split { batch, groups: Vec::new(), refused: Vec::new() };
        self.group(keys, &mut split)?;
        Ok(split)
    }

    fn group(&mut self, keys: &[ArrayRef], split: &mut Split) -> Result<(), WriteError> {
        let rows = split.batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let Some(converter) = &self.converter else {
            if self.partitions.is_empty() {
                self.partitions.push(Partition { folder: String::new(), values: Vec::new() });
            }
            split.groups.push(Group { partition: 0, runs: std::iter::once(0..rows).collect(), rows });
            return Ok(());
        };
        let runs = partition(keys).map_err(|source| WriteError::arrow("split", source))?.ranges();
        let starts = UInt32Array::from_iter_values(runs.iter().map(|run| run.start as u32));
        let heads = take_arrays(keys, &starts, None).map_err(|source| WriteError::arrow("split", source))?;
        let values = converter.convert_columns(&heads).map_err(|source| WriteError::arrow("split", source))?;

        let groups = &mut split.groups;
        let mut group_of: HashMap<usize, usize> = HashMap::new();
        for (index, run) in runs.into_iter().enumerate() {
            let value = values.row(index);
            let partition = match self.by_value.get(value.as_ref()) {
                Some(partition) => *partition,
                None => match self.learn(value.as_ref(), &heads, index) {
                    Ok(partition) => partition,
                    Err(WriteError::PartitionValue(error)) => {
                        split.refused.push((run, error));
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            let group = *group_of.entry(partition).or_insert_with(|| {
                groups.push(Group { partition, runs: Vec::new(), rows: 0 });
                groups.len() - 1
            });
            groups[group].rows += run.len();
            groups[group].runs.push(run);
        }
        Ok(())
    }

    /// A value that was not met before. It may still belong to a folder that was: null and the empty string share one.
    fn learn(&mut self, value: &[u8], heads: &[ArrayRef], row: usize) -> Result<usize, WriteError> {
        let fields = self.keys.fields().iter();
        let values = fields
            .zip(heads)
            .map(|(field, head)| Ok((field.name().clone(), hive::value_text(field, head, row)?)))
            .collect::<Result<Vec<_>, WriteError>>()?;
        self.limit.check(&values)?;
        let mut folder = String::new();
        for (key, value) in &values {
            folder.push_str(&hive::folder(key, value.as_deref()));
            folder.push('/');
        }
        let partitions = &mut self.partitions;
        let partition = *self.by_folder.entry(folder).or_insert_with_key(|folder| {
            partitions.push(Partition { folder: folder.clone(), values });
            partitions.len() - 1
        });
        self.by_value.insert(value.into(), partition);
        Ok(partition)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type};
    use proptest::prelude::*;

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("city", DataType::Utf8, true),
            Field::new("hour", DataType::Int64, true),
        ]))
    }

    fn limit() -> PathLimit {
        PathLimit::of("file:///t/")
    }

    fn rows(first: i64, keys: &[(Option<&str>, Option<i64>)]) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(first..first + keys.len() as i64)),
            Arc::new(keys.iter().map(|(city, _)| *city).collect::<StringArray>()),
            Arc::new(keys.iter().map(|(_, hour)| *hour).collect::<Int64Array>()),
        ];
        RecordBatch::try_new(schema(), columns).unwrap()
    }

    #[test]
    fn a_batch_of_one_value_is_one_group_and_one_run() {
        let mut router = Router::new(&schema(), 2, limit()).unwrap();
        let Split { batch, groups, .. } = router.split(&rows(0, &[(Some("a"), Some(1)); 5])).unwrap();
        assert_eq!(batch.num_columns(), 1);
        assert_eq!(groups, [Group { partition: 0, runs: std::iter::once(0..5).collect(), rows: 5 }]);
        assert_eq!(router.partitions()[0].folder, "city=a/hour=1/");
    }

    #[test]
    fn null_and_the_empty_string_share_the_folder_that_means_null() {
        let mut router = Router::new(&schema(), 2, limit()).unwrap();
        let keys = [(None, Some(1)), (Some(""), Some(1)), (Some(hive::DEFAULT_PARTITION), Some(1)), (Some("x"), None)];
        let Split { groups, .. } = router.split(&rows(0, &keys)).unwrap();
        assert_eq!(groups.iter().map(|group| group.rows).collect::<Vec<_>>(), [3, 1]);
        let null = format!("city={}/hour=1/", hive::DEFAULT_PARTITION);
        assert_eq!(router.partitions()[0].folder, null);
        assert_eq!(router.partitions()[0].values, [("city".into(), None), ("hour".into(), Some("1".into()))]);
        assert_eq!(router.partitions()[1].folder, format!("city=x/hour={}/", hive::DEFAULT_PARTITION));
    }

    #[test]
    fn rows_that_no_folder_can_hold_are_told_apart_and_their_neighbours_keep_their_groups() {
        let mut router = Router::new(&schema(), 2, limit()).unwrap();
        let long = "x".repeat(300);
        let keys = [(Some("a"), Some(1)), (Some(&long), Some(1)), (Some(&long), Some(1)), (Some("a"), Some(1))];
        for _ in 0..2 {
            let Split { batch, groups, refused } = router.split(&rows(0, &keys)).unwrap();
            assert_eq!(batch.num_rows(), 4);
            assert_eq!(groups, [Group { partition: 0, runs: vec![0..1, 3..4], rows: 2 }]);
            let [(rows, error)] = refused.as_slice() else { panic!("{refused:?}") };
            assert_eq!((rows, error.key()), (&(1..3), "city"));
        }
        assert_eq!(router.partitions().len(), 1);
    }

    #[test]
    fn without_keys_everything_is_one_group() {
        let mut router = Router::new(&schema(), 0, limit()).unwrap();
        let Split { batch, groups, .. } = router.split(&rows(0, &[(None, None), (Some("a"), None)])).unwrap();
        assert_eq!((batch.num_columns(), groups.len(), groups[0].rows), (3, 1, 2));
        assert_eq!(router.partitions()[0], Partition { folder: String::new(), values: Vec::new() });
    }

    #[test]
    fn a_table_of_partition_keys_only_is_refused() {
        assert!(matches!(Router::new(&schema(), 3, limit()), Err(WriteError::NoColumns)));
    }

    proptest! {
        #[test]
        fn every_row_goes_to_its_own_partition_once_and_in_order(
            batches in proptest::collection::vec(
                proptest::collection::vec((proptest::option::of(0usize..3), proptest::option::of(0i64..3)), 0..40),
                1..4,
            )
        ) {
            const CITIES: [&str; 3] = ["", "b", "c/d"];
            let mut router = Router::new(&schema(), 2, limit()).unwrap();
            for keys in batches {
                let keys: Vec<_> = keys.iter().map(|(city, hour)| (city.map(|city| CITIES[city]), *hour)).collect();
                let Split { batch, groups, .. } = router.split(&rows(0, &keys)).unwrap();
                let ids = batch.column(0).as_primitive::<Int64Type>();
                prop_assert_eq!(ids.values().len(), keys.len());
                let mut seen = vec![false; keys.len()];
                for group in &groups {
                    let values = &router.partitions()[group.partition].values;
                    let indices: Vec<_> = group.indices().collect();
                    prop_assert!(indices.windows(2).all(|pair| pair[0] < pair[1]));
                    prop_assert_eq!(indices.len(), group.rows);
                    for index in indices {
                        prop_assert!(!std::mem::replace(&mut seen[index as usize], true));
                        let (city, hour) = &keys[index as usize];
                        prop_assert_eq!(values[0].1.as_deref(), city.filter(|city| !city.is_empty()));
                        prop_assert_eq!(values[1].1.clone(), hour.map(|hour| hour.to_string()));
                    }
                }
                prop_assert!(seen.into_iter().all(|seen| seen));
            }
        }
    }
}
