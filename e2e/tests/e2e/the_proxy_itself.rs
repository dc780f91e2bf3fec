//! The proxy spoils what it should, how it should, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use sluice_e2e::bucket::client;
use sluice_e2e::proxy::Proxy;
use sluice_e2e::proxy::fault::{Fault, Gate, Operation, Rule};
use sluice_e2e::s3::Kind;
use sluice_e2e::world::{World, promise, promise_on};

/// A client behind the proxy: it tries nothing again.
async fn spoilt(world: &World) -> Result<(Proxy, Arc<AmazonS3>)> {
    let proxy = Proxy::start(world.endpoint()).await?;
    let store = client(&proxy.endpoint(), world.bucket().name())?;
    Ok((proxy, Arc::new(store)))
}

async fn exists(world: &World, key: &Key) -> Result<bool> {
    match world.bucket().store().head(key).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn what_is_not_spoilt_passes_unchanged() -> Result<()> {
    promise("proxy_passes", passes)
}

#[test]
fn what_is_not_spoilt_passes_unchanged_to_minio() -> Result<()> {
    promise_on("proxy_passes_minio", Kind::Minio, passes)
}

async fn passes(world: World) -> Result<()> {
    let (proxy, store) = spoilt(&world).await?;
    let (key, body) = (Key::from("a/day=2026-01-01/x y%20ü.bin"), vec![7_u8; 300_000]);
    store.put(&key, body.clone().into()).await?;
    ensure!(store.get(&key).await?.bytes().await? == body, "get");
    ensure!(store.get_range(&key, 5..9).await?.len() == 4, "range");
    ensure!(store.head(&key).await?.size == 300_000, "head");
    ensure!(matches!(store.head(&Key::from("none")).await, Err(object_store::Error::NotFound { .. })), "404");
    let create = PutOptions::from(PutMode::Create);
    let again = store.put_opts(&key, "second".into(), create).await;
    ensure!(matches!(again, Err(object_store::Error::AlreadyExists { .. })), "412");
    let upload = store.create_multipart(&key).await?;
    let part = store.put_part(&key, &upload, 0, "whole".into()).await?;
    store.complete_multipart(&key, &upload, vec![part]).await?;
    ensure!(store.get(&key).await?.bytes().await? == "whole", "multipart");
    ensure!(store.list_with_delimiter(None).await?.common_prefixes.len() == 1, "list");
    store.delete(&key).await?;
    ensure!(!exists(&world, &key).await?, "delete");
    ensure!(proxy.injected().is_empty(), "something was spoilt");
    Ok(())
}

#[test]
fn every_fault_of_a_put_has_the_effect_that_it_says() -> Result<()> {
    promise("proxy_puts", async |world| {
        let (proxy, store) = spoilt(&world).await?;
        for (fault, effect) in [
            (Fault::Error, false),
            (Fault::SlowDown, false),
            (Fault::Conflict, false),
            (Fault::ExistsAfterEffect, true),
            (Fault::LostRequest, false),
            (Fault::ErrorAfterEffect, true),
            (Fault::LostReply, true),
        ] {
            let key = Key::from(format!("put/{}", fault.name()));
            proxy.inject(Rule::once(Operation::Put, "put/", fault.clone()));
            ensure!(store.put(&key, "x".into()).await.is_err(), "{fault:?} went well");
            ensure!(exists(&world, &key).await? == effect, "{fault:?}");
            store.put(&key, "x".into()).await?;
            ensure!(proxy.count(Operation::Put, &fault) == 1, "{fault:?} was not counted");
        }
        Ok(())
    })
}

#[test]
fn a_late_put_lands_late() -> Result<()> {
    promise("proxy_late", async |world| {
        let (proxy, store) = spoilt(&world).await?;
        let key = Key::from("late");
        proxy.inject(Rule::once(Operation::Put, "late", Fault::Late(Duration::from_millis(500))));
        ensure!(store.put(&key, "x".into()).await.is_err(), "it went well");
        ensure!(!exists(&world, &key).await?, "it landed at once");
        let start = Instant::now();
        while !exists(&world, &key).await? {
            ensure!(start.elapsed() < Duration::from_secs(10), "it never landed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    })
}

#[test]
fn a_complete_can_fail_with_a_200() -> Result<()> {
    promise("proxy_completes", async |world| {
        let (proxy, store) = spoilt(&world).await?;
        for effect in [false, true] {
            let key = Key::from(format!("complete/{effect}"));
            let upload = store.create_multipart(&key).await?;
            let part = store.put_part(&key, &upload, 0, "x".into()).await?;
            proxy.inject(Rule::once(Operation::Complete, "complete/", Fault::ErrorBody { effect }));
            ensure!(store.complete_multipart(&key, &upload, vec![part]).await.is_err(), "it went well");
            ensure!(exists(&world, &key).await? == effect, "effect {effect}");
        }
        Ok(())
    })
}

#[test]
fn a_gate_holds_a_request_or_its_reply() -> Result<()> {
    promise("proxy_gates", async |world| {
        let (proxy, store) = spoilt(&world).await?;
        for (gate, open) in [
            (Gate::before_effect(), true),
            (Gate::before_effect(), false),
            (Gate::after_effect(), true),
            (Gate::after_effect(), false),
        ] {
            let after = gate.holds_reply();
            let key = Key::from(format!("gate/{after}-{open}"));
            proxy.inject(Rule::once(Operation::Put, "gate/", Fault::Hold(gate.clone())));
            let (client, put_key) = (Arc::clone(&store), key.clone());
            let put = tokio::spawn(async move { client.put(&put_key, "x".into()).await });
            gate.reached(Duration::from_secs(10)).await?;
            ensure!(exists(&world, &key).await? == after, "effect at the gate");
            if open {
                gate.open()
            } else {
                gate.drop_it()
            }
            ensure!(put.await?.is_ok() == open, "the answer behind the gate");
            ensure!(exists(&world, &key).await? == (after || open), "effect behind the gate");
        }
        Ok(())
    })
}
