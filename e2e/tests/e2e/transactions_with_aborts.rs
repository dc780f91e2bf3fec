//! Transactions: their markers take offsets that no reader gets, and aborted records are there and must not be read.

use anyhow::{Result, ensure};
use sluice_e2e::produce::{Book, Recipe, Sender};
use sluice_e2e::world::promise;

#[test]
fn a_bounded_run_over_transactions_ends_and_leaves_no_phantom_lag() -> Result<()> {
    promise("transactions", async |world| {
        let topic = world.topic("events", 3).await?;
        let job = world.job(&topic);
        let mut sender = Sender::transactional(&world.kafka(), &topic, 3, Recipe::new(world.seed()), "transactions")?;
        let mut book = Book::default();
        for round in 0..10 {
            book.add(sender.send_transaction(300, round % 3 != 2)?);
        }
        // The last thing in the log is an aborted transaction and its marker: nothing to read, and yet the end is behind it.
        sender.send_transaction(300, false)?;
        let watcher = world.watch(&job);
        world.catch_up("first", &job).await?;
        world.judge(&job, &book).await?;

        let ends = world.kafka().ends(&topic)?;
        ensure!(world.ledger(&job).await?.positions == ends, "the ledger is not at the ends {ends:?}");
        let committed = world.kafka().committed(&job.group(), &topic)?;
        let lag: i64 = ends.iter().map(|(p, end)| end - committed.get(p).map_or(0, |(offset, _)| *offset)).sum();
        ensure!(lag == 0, "the group shows a lag of {lag}");

        book.add(sender.send_transaction(300, true)?);
        world.catch_up("second", &job).await?;
        watcher.finish().await?;
        world.judge(&job, &book).await
    })
}

#[test]
fn records_of_an_open_transaction_are_not_waited_for() -> Result<()> {
    promise("open_transaction", async |world| {
        let topic = world.topic("events", 1).await?;
        let job = world.job(&topic);
        let recipe = Recipe::new(world.seed());
        let mut book = Sender::new(&world.kafka(), &topic, 1, recipe)?.send(500)?;
        let mut sender = Sender::transactional(&world.kafka(), &topic, 1, recipe, "open")?;
        let open = sender.begin(100)?;
        // The end of a read_committed reader is where the open transaction begins.
        world.catch_up("first", &job).await?;
        world.judge(&job, &book).await?;
        sender.commit()?;
        book.add(open);
        world.catch_up("second", &job).await?;
        world.judge(&job, &book).await
    })
}
