//! What the files that were written teach about the columns: where a dictionary or a codec was in vain, the next files leave it out.
//!
//! A column of distinct values fills its dictionary in every file: each of its first values is hashed, and the rest is plain all the same.
//! Of texts without repetitions, as ids are, a codec takes a few percent off. Columns change: after some files both are tried again.
//! Nothing of this changes a row.

use std::sync::{Mutex, PoisonError};

use parquet::basic::{Compression, Encoding, PageType};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

/// So many files leave out what was in vain before it is tried again.
const FILES: u8 = 31;
/// A chunk of fewer bytes says nothing about its codec.
const TELLING: i64 = 32 << 10;
/// A codec is worth its time when it takes off more than a tenth.
const WORTH: (i64, i64) = (9, 10);

/// How a column of the next file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advice {
    pub(super) dictionary: bool,
    pub(super) codec: bool,
}

/// For how many files something is left out.
#[derive(Debug, Clone, Copy, Default)]
struct Left(u8);

impl Left {
    /// May the next file do it?
    fn next(&mut self) -> bool {
        let tried = self.0 == 0;
        self.0 = self.0.saturating_sub(1);
        tried
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Column {
    dictionary: Left,
    codec: Left,
}

/// What is known of the columns of a table, for all lanes and windows of a worker.
#[derive(Debug, Default)]
pub struct Lessons(Mutex<Vec<Column>>);

impl Lessons {
    /// For each of so many leaves, how the next file should be written.
    pub(super) fn advice(&self, leaves: usize) -> Vec<Advice> {
        let mut columns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        columns.resize(leaves, Column::default());
        let advice = |column: &mut Column| Advice { dictionary: column.dictionary.next(), codec: column.codec.next() };
        columns.iter_mut().map(advice).collect()
    }

    /// Looks at the row groups of a file that is complete.
    pub(super) fn learn(&self, groups: &[RowGroupMetaData]) {
        let mut columns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunks in groups.iter().map(RowGroupMetaData::columns) {
            for (column, chunk) in columns.iter_mut().zip(chunks) {
                if dictionary_was_full(chunk) {
                    column.dictionary = Left(FILES);
                }
                if codec_was_in_vain(chunk) {
                    column.codec = Left(FILES);
                }
            }
        }
    }
}

fn dictionary_was_full(chunk: &ColumnChunkMetaData) -> bool {
    let pages = chunk.page_encoding_stats().into_iter().flatten();
    let mut data = pages.filter(|pages| pages.page_type != PageType::DICTIONARY_PAGE);
    chunk.dictionary_page_offset().is_some() && data.any(|pages| pages.encoding != Encoding::RLE_DICTIONARY)
}

fn codec_was_in_vain(chunk: &ColumnChunkMetaData) -> bool {
    chunk.compression() != Compression::UNCOMPRESSED
        && chunk.uncompressed_size() >= TELLING
        && chunk.compressed_size() * WORTH.1 > chunk.uncompressed_size() * WORTH.0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::record_batch::RecordBatch;
    use parquet::arrow::ArrowWriter;

    use super::*;

    const BOTH: Advice = Advice { dictionary: true, codec: true };

    /// Few texts, texts that are all distinct and random, and numbers that are all distinct and alike.
    fn groups() -> Vec<RowGroupMetaData> {
        let random =
            |n: i64| (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let columns: [(&str, ArrayRef); 3] = [
            ("few", Arc::new((0..80_000).map(|n| Some(["a", "b", "c"][n % 3])).collect::<StringArray>())),
            (
                "ids",
                Arc::new(
                    (0..80_000)
                        .map(|n| Some(format!("{:016x}{:016x}", random(n), random(n + 1_000_000))))
                        .collect::<StringArray>(),
                ),
            ),
            ("times", Arc::new(Int64Array::from_iter_values(1_767_225_600_000_000..1_767_225_600_080_000))),
        ];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let properties = parquet::file::properties::WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_page_size_limit(64 << 10)
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.flush().unwrap();
        writer.flushed_row_groups().to_vec()
    }

    #[test]
    fn what_was_in_vain_is_left_out_and_tried_again_later() {
        let lessons = Lessons::default();
        assert_eq!(lessons.advice(3), [BOTH; 3]);
        lessons.learn(&groups());
        let learnt = [BOTH, Advice { dictionary: false, codec: false }, Advice { dictionary: false, codec: true }];
        for _ in 0..FILES {
            assert_eq!(lessons.advice(3), learnt);
        }
        assert_eq!(lessons.advice(3), [BOTH; 3]);
    }
}
