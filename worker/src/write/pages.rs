//! The finished pages of one column of an open row group.
//!
//! An encoder gives each page in memory of its own, which is longer than the page: a compressed dictionary keeps room for the worst case, a
//! header a whole KiB. Row groups are open for long, so pages are copied together into few blocks, and only those are kept. What a
//! column holds is then what it counts, and the allocator gets large pieces back at once instead of holes between pages.

use bytes::{Bytes, BytesMut};
use parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::errors::{ParquetError, Result};

/// Blocks are a quarter of what the column holds already, so that little of the last one is empty, and have these bounds.
const BLOCK: std::ops::RangeInclusive<usize> = 16 << 10..=1 << 20;

/// Makes a [`PageBlocks`] for each column of each row group.
#[derive(Debug)]
pub(super) struct InBlocks;

impl PageStoreFactory for InBlocks {
    fn create(&self, _: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>> {
        Ok(Box::new(PageBlocks::default()))
    }
}

/// Pages in blocks. A block is freed when the last of its pages was taken.
#[derive(Debug, Default)]
struct PageBlocks {
    pages: Vec<Bytes>,
    /// What is left of the last block.
    rest: BytesMut,
    /// Bytes of all blocks.
    memory: usize,
}

impl PageStore for PageBlocks {
    fn put(&mut self, page: Bytes) -> Result<PageKey> {
        if page.len() > self.rest.capacity() {
            let block = (self.memory / 4).clamp(*BLOCK.start(), *BLOCK.end()).max(page.len()).next_power_of_two();
            self.rest = BytesMut::with_capacity(block);
            self.memory += block;
        }
        self.rest.extend_from_slice(&page);
        self.pages.push(self.rest.split().freeze());
        Ok(PageKey::new(self.pages.len() as u64 - 1))
    }

    fn take(&mut self, key: PageKey) -> Result<Bytes> {
        let page = self.pages.get_mut(key.get() as usize).map(std::mem::take);
        page.ok_or_else(|| ParquetError::General(format!("page {} is not there", key.get())))
    }

    fn memory_size(&self) -> usize {
        self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_all_sizes_come_back_as_they_were_and_little_more_than_they_need_is_held() {
        let mut blocks = PageBlocks::default();
        let mut bytes = 0;
        let pages: Vec<Bytes> = (0..400_usize).map(|n| Bytes::from(vec![n as u8; n * n * 2])).collect();
        let keys: Vec<PageKey> = pages
            .iter()
            .map(|page| {
                bytes += page.len();
                let key = blocks.put(page.clone()).unwrap();
                assert!(blocks.memory_size() <= 2 * bytes + BLOCK.end(), "{} for {bytes}", blocks.memory_size());
                key
            })
            .collect();
        assert!(blocks.memory_size() < bytes + bytes / 2, "{} for {bytes}", blocks.memory_size());
        for (key, page) in keys.iter().zip(&pages).rev() {
            assert_eq!(blocks.take(*key).unwrap(), page);
        }
        assert!(blocks.take(PageKey::new(400)).is_err());
    }
}
