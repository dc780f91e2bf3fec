//! The broker and the S3 servers do what the other tests take for granted.

use std::time::Duration;

use anyhow::{Result, ensure};
use object_store::path::Path as Key;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use sluice_e2e::broker::cache;
use sluice_e2e::kafka::Offsets;
use sluice_e2e::produce::{Book, Recipe, Sender, read_book};
use sluice_e2e::s3::Kind;
use sluice_e2e::world::{World, promise, promise_on};

#[test]
fn every_record_has_a_receipt_and_aborted_ones_are_not_there() -> Result<()> {
    promise("cluster_transactions", async |world| {
        let topic = world.topic("events", 4).await?;
        let mut sender = Sender::transactional(&world.kafka(), &topic, 4, Recipe::new(world.seed()), "cluster")?;
        let mut book = Book::default();
        for round in 0..6 {
            book.add(sender.send_transaction(200, round % 3 != 1)?);
        }
        ensure!(book.len() == 800, "{} receipts", book.len());
        ensure!(read_book(&world.kafka(), &topic)? == book, "the topic holds something else");
        // Markers of transactions take offsets too.
        let ends: i64 = world.kafka().ends(&topic)?.values().sum();
        ensure!(ends > 1200, "no markers: {ends}");
        Ok(())
    })
}

#[test]
fn retention_groups_partitions_and_new_topics_can_be_made_at_will() -> Result<()> {
    promise("cluster_topics", async |world| {
        let (kafka, topic) = (world.kafka(), world.topic("events", 2).await?);
        let mut sender = Sender::new(&kafka, &topic, 2, Recipe::new(world.seed()))?;
        let mut book = sender.send(1000)?;
        let cut = Offsets::from([(0, 100), (1, 50)]);
        kafka.delete_records(&topic, &cut).await?;
        book.forget(&cut);
        ensure!(book.len() == 850 && read_book(&kafka, &topic)? == book, "retention");
        kafka.rewind("cluster-group", &topic, &Offsets::from([(0, 7)]))?;
        let committed = kafka.committed("cluster-group", &topic)?;
        ensure!(committed.len() == 1 && committed[&0].0 == 7, "group offsets: {committed:?}");
        kafka.delete_group("cluster-group").await?;
        ensure!(kafka.committed("cluster-group", &topic)?.is_empty(), "a deleted group");
        kafka.add_partitions(&topic, 3).await?;
        ensure!(kafka.ends(&topic)?.len() == 3, "partitions");
        kafka.delete_topic(&topic).await?;
        kafka.create_topic(&topic, 1).await?;
        ensure!(kafka.ends(&topic)? == Offsets::from([(0, 0)]), "a new topic of the old name");
        Ok(())
    })
}

#[test]
fn the_listeners_let_in_whom_they_should() -> Result<()> {
    promise("cluster_listeners", async |world| {
        let broker = world.cluster().broker();
        let tls = |name: &str| Ok::<_, anyhow::Error>(cache()?.join("kafka/tls").join(name).display().to_string());
        let mut mutual = ClientConfig::new();
        mutual
            .set("bootstrap.servers", broker.tls())
            .set("security.protocol", "ssl")
            .set("ssl.ca.location", tls("ca.crt")?);
        ensure!(!answers(&mutual)?, "a client without a certificate was let in");
        mutual.set("ssl.certificate.location", tls("client.crt")?).set("ssl.key.location", tls("client.key")?);
        ensure!(answers(&mutual)?, "a client with a certificate was refused");
        for (mechanism, user, password, welcome) in [
            ("SCRAM-SHA-512", "alice", "alice-secret", true),
            ("SCRAM-SHA-512", "alice", "wrong", false),
            ("PLAIN", "bob", "bob-secret", true),
            ("PLAIN", "bob", "wrong", false),
        ] {
            let mut sasl = ClientConfig::new();
            sasl.set("bootstrap.servers", broker.sasl()).set("security.protocol", "sasl_ssl");
            sasl.set("ssl.ca.location", tls("ca.crt")?).set("sasl.mechanism", mechanism);
            sasl.set("sasl.username", user).set("sasl.password", password);
            ensure!(answers(&sasl)? == welcome, "{mechanism} {user}/{password}");
        }
        Ok(())
    })
}

fn answers(config: &ClientConfig) -> Result<bool> {
    let consumer: BaseConsumer = config.clone().set("log_level", "0").create()?;
    Ok(consumer.fetch_metadata(None, Duration::from_secs(2)).is_ok())
}

#[test]
fn versitygw_keeps_conditions() -> Result<()> {
    promise("cluster_versitygw", conditions)
}

#[test]
fn minio_keeps_conditions() -> Result<()> {
    promise_on("cluster_minio", Kind::Minio, conditions)
}

async fn conditions(world: World) -> Result<()> {
    let (store, key) = (world.bucket().store(), Key::from("a/1"));
    let create = || PutOptions::from(PutMode::Create);
    object_store::ObjectStore::put_opts(&*store, &key, "first".into(), create()).await?;
    let second = object_store::ObjectStore::put_opts(&*store, &key, "second".into(), create()).await;
    ensure!(matches!(second, Err(object_store::Error::AlreadyExists { .. })), "{second:?}");
    ensure!(store.get(&key).await?.bytes().await? == "first", "it was overwritten");
    ensure!(world.bucket().list("a").await?.len() == 1, "list");
    Ok(())
}
