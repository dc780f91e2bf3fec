//! A watcher that cannot fail proves nothing: here are the implementations that must make it fail.

use arrow::array::{Int32Array, Int64Array};
use arrow::record_batch::RecordBatch;
use object_store::memory::InMemory;
use parquet::arrow::ArrowWriter;

use super::*;

fn parquet(offsets: &[i64]) -> Result<Vec<u8>> {
    let partitions = Int32Array::from(vec![0; offsets.len()]);
    let columns: [(_, arrow::array::ArrayRef); 2] =
        [("p", Arc::new(partitions)), ("o", Arc::new(Int64Array::from(offsets.to_vec())))];
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

async fn put(store: &Arc<dyn ObjectStore>, key: &str, offsets: &[i64]) -> Result<()> {
    store.put(&Key::from(key), parquet(offsets)?.into()).await?;
    Ok(())
}

fn table() -> (Arc<dyn ObjectStore>, Eye) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    (Arc::clone(&store), Eye::new(store, "table"))
}

async fn broken(eye: &mut Eye) -> String {
    eye.look().await.map_or_else(|error| format!("{error:#}"), |rows| format!("content with {rows} rows"))
}

#[tokio::test]
async fn a_growing_table_is_fine() -> Result<()> {
    let (store, mut eye) = table();
    assert_eq!(eye.look().await?, 0);
    put(&store, "table/h=1/a.parquet", &[1, 2]).await?;
    put(&store, "table/_other/a.parquet", &[1, 2]).await?;
    put(&store, "table/h=1/.a.parquet.inprogress", &[1, 2]).await?;
    assert_eq!(eye.look().await?, 2);
    put(&store, "table/h=2/b.parquet", &[3]).await?;
    assert_eq!(eye.look().await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_row_in_two_files_is_seen() -> Result<()> {
    let (store, mut eye) = table();
    put(&store, "table/a.parquet", &[1, 2]).await?;
    put(&store, "table/b.parquet", &[2, 3]).await?;
    assert!(broken(&mut eye).await.contains("duplicate: the record at (0, 2)"));
    Ok(())
}

#[tokio::test]
async fn a_row_twice_in_one_file_is_seen() -> Result<()> {
    let (store, mut eye) = table();
    put(&store, "table/a.parquet", &[2, 2]).await?;
    assert!(broken(&mut eye).await.contains("duplicate"));
    Ok(())
}

#[tokio::test]
async fn rows_that_are_gone_are_seen() -> Result<()> {
    let (store, mut eye) = table();
    put(&store, "table/a.parquet", &[1]).await?;
    put(&store, "table/b.parquet", &[2, 3]).await?;
    assert_eq!(eye.look().await?, 3);
    store.delete(&Key::from("table/b.parquet")).await?;
    let error = broken(&mut eye).await;
    assert!(error.contains("disappeared") && error.contains("with 1 others"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_overwritten_file_is_read_again() -> Result<()> {
    let (store, mut eye) = table();
    put(&store, "table/a.parquet", &[1]).await?;
    assert_eq!(eye.look().await?, 1);
    put(&store, "table/a.parquet", &[2]).await?;
    assert!(broken(&mut eye).await.contains("disappeared"));
    Ok(())
}

#[tokio::test]
async fn half_a_file_is_seen() -> Result<()> {
    let (store, mut eye) = table();
    let whole = parquet(&[1, 2, 3])?;
    store.put(&Key::from("table/a.parquet"), whole[..whole.len() / 2].to_vec().into()).await?;
    assert!(broken(&mut eye).await.contains("half-written: table/a.parquet"));
    Ok(())
}

/// The way of those who write to a temporary name and rename: S3 has no rename, so it is a copy and a delete.
async fn copy_then_delete(store: &Arc<dyn ObjectStore>, batch: i64) -> Result<()> {
    let from = Key::from(format!("table/tmp-{batch}.parquet"));
    put(store, from.as_ref(), &[batch * 2, batch * 2 + 1]).await?;
    store.copy(&from, &Key::from(format!("table/part-{batch}.parquet"))).await?;
    // Time passes between two requests.
    tokio::time::sleep(PAUSE * 3).await;
    store.delete(&from).await?;
    Ok(())
}

#[tokio::test]
async fn whoever_copies_and_then_deletes_makes_the_watcher_fail() -> Result<()> {
    let (store, _) = table();
    let watcher = Watcher::start(Arc::clone(&store), "table");
    for batch in 0..10 {
        copy_then_delete(&store, batch).await?;
    }
    let error = watcher.finish().await.map_or_else(|error| format!("{error:#}"), |seen| format!("content: {seen:?}"));
    assert!(error.contains("duplicate"), "{error}");
    Ok(())
}

#[tokio::test]
async fn whoever_deletes_and_then_copies_makes_the_watcher_fail() -> Result<()> {
    let (store, _) = table();
    put(&store, "table/part.parquet", &[1]).await?;
    let watcher = Watcher::start(Arc::clone(&store), "table");
    watcher.until_rows(1, Duration::from_secs(10)).await?;
    store.delete(&Key::from("table/part.parquet")).await?;
    tokio::time::sleep(PAUSE * 3).await;
    put(&store, "table/part.parquet", &[1]).await?;
    let error = watcher.finish().await.map_or_else(|error| format!("{error:#}"), |seen| format!("content: {seen:?}"));
    assert!(error.contains("disappeared"), "{error}");
    Ok(())
}

#[tokio::test]
async fn the_last_look_sees_what_was_there_at_the_end() -> Result<()> {
    let (store, _) = table();
    let watcher = Watcher::start(Arc::clone(&store), "table");
    put(&store, "table/a.parquet", &[1]).await?;
    let seen = watcher.finish().await?;
    assert_eq!(seen.rows, 1);
    Ok(())
}
