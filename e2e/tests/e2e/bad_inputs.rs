//! What is wrong is said clearly, with the exit code that the documentation promises, and nothing is lost.

use anyhow::{Result, ensure};
use sluice_e2e::broker::free_ports;
use sluice_e2e::job::{Job, write_manifests};
use sluice_e2e::produce::{Book, Fate, Recipe, Sender};
use sluice_e2e::proxy::Proxy;
use sluice_e2e::proxy::fault::{Fault, Operation, Rule};
use sluice_e2e::s3::SECRET_KEY;
use sluice_e2e::worker::Run;
use sluice_e2e::world::{RUN_LIMIT, World, promise};

const CONFIGURATION: i32 = 2;
const SOURCE: i32 = 3;
const STORE: i32 = 4;
const STALLED: i32 = 5;

/// Name, what is replaced in the manifests by what, and what the message must name.
const MISTAKES: [(&str, &str, &str, &str); 10] = [
    ("unknown_field", "kafkaMetadata: true", "kafkaMetdata: true", "kafkaMetdata"),
    ("wrong_type", "kafkaMetadata: true", "kafkaMetadata: [1]", "kafkaMetadata"),
    ("wrong_duration", "window: {period: 1s}", "window: {period: soon}", "soon"),
    ("wrong_column_type", "{name: o, type: bigint}", "{name: o, type: bigg}", "bigg"),
    ("missing_table", "tableRef: {name: events-raw}", "tableRef: {name: evnts}", "evnts"),
    ("missing_connection", "connectionRef: {name: kafka}", "connectionRef: {name: kfka}", "kfka"),
    ("missing_secret", "credentials: {secretName: lake,", "credentials: {secretName: lakes,", "lakes"),
    ("sql_error", "event_id IS NOT NULL AND", "event_id IS NOT NULL AND AND", "filter"),
    ("unknown_column", "event_id IS NOT NULL AND", "evnt_id IS NOT NULL AND", "evnt_id"),
    ("unknown_parameter", "${stamp}", "${stmp}", "stmp"),
];

/// Runs these manifests, expects this end, and that the message names the cause.
async fn fails(world: &World, name: &str, manifests: &str, code: i32, names: &str) -> Result<()> {
    let file = write_manifests(world.folder(), name, manifests)?;
    let worker = Run::new(name, &file).until_caught_up().start(world.folder())?;
    worker.expect(code, RUN_LIMIT).await?;
    let output = worker.output()?;
    ensure!(output.contains(names), "{name}: the message does not name `{names}`:\n{output}");
    ensure!(!output.contains("panicked"), "{name}: a panic:\n{output}");
    ensure!(!output.contains(SECRET_KEY), "{name}: a secret is in the output");
    Ok(())
}

#[test]
fn a_mistake_in_a_manifest_is_named_and_ends_with_2() -> Result<()> {
    promise("bad_mistakes", async |world| {
        let manifests = world.job(&world.topic("events", 1).await?).manifests();
        for (name, right, wrong, names) in MISTAKES {
            ensure!(manifests.contains(right), "{name}: the manifests have no `{right}`");
            fails(&world, name, &manifests.replacen(right, wrong, 1), CONFIGURATION, names).await?;
        }
        ensure!(world.bucket().list("").await?.is_empty(), "a refused job wrote something");
        Ok(())
    })
}

#[test]
fn a_broker_that_does_not_answer_ends_with_3() -> Result<()> {
    promise("bad_broker", async |world| {
        let [port] = free_ports()?;
        let bootstrap = format!("127.0.0.1:{port}");
        let job = Job { bootstrap: bootstrap.clone(), ..world.job("events") };
        fails(&world, "unreachable", &job.manifests(), SOURCE, &bootstrap).await?;
        let topic = "bad_broker.none";
        // Nothing is wrong with the source: the manifest names what is not there.
        fails(&world, "no_topic", &world.job(topic).manifests(), CONFIGURATION, topic).await
    })
}

#[test]
fn a_store_that_refuses_ends_with_4() -> Result<()> {
    promise("bad_store", async |world| {
        let topic = world.topic("events", 1).await?;
        let job = world.job(&topic);
        let wrong = job.manifests().replace(SECRET_KEY, "not-the-secret-of-anybody");
        fails(&world, "wrong_key", &wrong, STORE, "lake").await?;
        let [port] = free_ports()?;
        let nobody = Job { endpoint: format!("http://127.0.0.1:{port}"), ..job.clone() };
        fails(&world, "unreachable", &nobody.manifests(), STORE, "lake").await?;
        let proxy = Proxy::start(world.endpoint()).await?;
        proxy.inject(Rule::always(Operation::Put, "", Fault::NoConditions));
        let careless = Job { endpoint: proxy.endpoint(), ..job };
        fails(&world, "no_conditions", &careless.manifests(), STORE, "ConditionalWritesUnsupported").await
    })
}

#[test]
fn a_checkpoint_of_another_job_is_refused() -> Result<()> {
    promise("bad_checkpoint", async |world| {
        let topic = world.topic("events", 1).await?;
        let job = world.job(&topic);
        let book = Sender::new(&world.kafka(), &topic, 1, Recipe::new(world.seed()))?.send(200)?;
        world.catch_up("first", &job).await?;
        let other = Job { name: "somebody-else".to_owned(), ..job.clone() };
        fails(&world, "foreign", &other.manifests(), STALLED, "CheckpointForeign").await?;
        world.judge(&job, &book).await
    })
}

#[test]
fn of_two_jobs_that_start_on_one_checkpoint_at_once_one_is_refused() -> Result<()> {
    promise("bad_two_jobs", async |world| {
        let topic = world.topic("events", 1).await?;
        let book = Sender::new(&world.kafka(), &topic, 1, Recipe::new(world.seed()))?.send(200)?;
        let jobs = ["one", "two"].map(|name| Job { name: name.to_owned(), ..world.job(&topic) });
        let mut workers = Vec::new();
        for job in &jobs {
            let manifests = job.write(world.folder())?;
            workers.push(Run::new(&job.name, &manifests).until_caught_up().start(world.folder())?);
        }
        let (one, two) = (workers[0].code(RUN_LIMIT).await?, workers[1].code(RUN_LIMIT).await?);
        ensure!([one, two] == [0, STALLED] || [one, two] == [STALLED, 0], "they ended with {one} and {two}");
        let (winner, loser) = if one == 0 { (0, 1) } else { (1, 0) };
        ensure!(workers[loser].output()?.contains("CheckpointForeign"), "no reason:\n{}", workers[loser].tail()?);
        world.judge(&jobs[winner], &book).await
    })
}

#[test]
fn a_topic_of_rubbish_becomes_dead_letters_or_stalls_as_the_manifest_says() -> Result<()> {
    promise("bad_rubbish", async |world| {
        let topic = world.topic("events", 2).await?;
        let recipe = Recipe { dead_per_mille: 1000, ..Recipe::new(world.seed()) };
        let book = Sender::new(&world.kafka(), &topic, 2, recipe)?.send(2000)?;
        let strict = Job { max_percent: Some(5), ..world.job(&topic) };
        fails(&world, "strict", &strict.manifests(), STALLED, "DeadLetterRateExceeded").await?;
        ensure!(world.bucket().list("dead").await?.is_empty(), "the stalled job wrote dead letters");
        let patient = world.job(&topic);
        world.catch_up("patient", &patient).await?;
        world.judge(&patient, &book).await
    })
}

#[test]
fn without_a_place_for_dead_letters_the_first_one_stops_the_job() -> Result<()> {
    promise("bad_no_dead_letters", async |world| {
        let topic = world.topic("events", 1).await?;
        let job = world.job(&topic);
        let mut sender = Sender::new(&world.kafka(), &topic, 1, Recipe::new(world.seed()))?;
        let mut book = sender.send_value(b"{\"event_id\":\"a\",\"amount\":1.5,\"event_time\":0}", Fate::Written)?;
        book.add(sender.send_value(b"rubbish", Fate::Dead)?);
        let manifests = job.manifests();
        let (before, after) = manifests.split_once("  deadLetter:\n").unwrap_or_default();
        let (_, after) = after.split_once('\n').unwrap_or_default();
        fails(&world, "no_place", &format!("{before}{after}"), STALLED, "RecordRejected").await?;
        ensure!(world.ledger(&job).await?.counts.read == 0, "something of the batch was committed");
        world.catch_up("with_place", &job).await?;
        world.judge(&job, &book).await
    })
}

#[test]
fn odd_records_are_rows_or_dead_letters() -> Result<()> {
    promise("bad_records", async |world| {
        let topic = world.topic("events", 1).await?;
        let job = world.job(&topic);
        let mut sender = Sender::new(&world.kafka(), &topic, 1, Recipe::new(world.seed()))?;
        let mut book = Book::default();
        for (value, fate) in odd_records() {
            book.add(sender.send_value(&value, fate)?);
        }
        world.catch_up("run", &job).await?;
        world.judge(&job, &book).await
    })
}

#[test]
fn a_record_that_is_damaged_at_any_place_becomes_a_dead_letter_and_its_neighbours_do_not() -> Result<()> {
    promise("bad_places", async |world| {
        let topic = world.topic("events", 1).await?;
        let job = world.job(&topic);
        let mut sender = Sender::new(&world.kafka(), &topic, 1, Recipe::new(world.seed()))?;
        for damaged in damaged_records() {
            sender.queue(&damaged, Fate::Dead)?;
            sender.queue(WHOLE, Fate::Written)?;
        }
        let book = sender.receipts()?;
        world.catch_up("run", &job).await?;
        world.judge(&job, &book).await
    })
}

/// A record with every kind of value, in columns and beside them.
const WHOLE: &[u8] =
    b"{\"event_id\":\"a\\u00e9\xc3\xa9\",\"event_type\":null,\"amount\":12.5e-1,\"event_time\":1767225600000,\
    \"more\":{\"s\":\"x\",\"deep\":[1,true,false,[],{}]} }";

/// Cut off, with a byte too much, and with a byte too few: at every place. None of them is JSON.
fn damaged_records() -> Vec<Vec<u8>> {
    let mut damaged: Vec<Vec<u8>> = (0..WHOLE.len()).map(|end| WHOLE[..end].to_vec()).collect();
    for place in 0..=WHOLE.len() {
        // A control character is allowed nowhere, and the other byte in no text.
        for byte in [0x01, 0xff] {
            damaged.push([&WHOLE[..place], &[byte], &WHOLE[place..]].concat());
        }
        if WHOLE.get(place).is_some_and(|byte| b"{}[]:,\"".contains(byte)) {
            damaged.push([&WHOLE[..place], &WHOLE[place + 1..]].concat());
        }
    }
    damaged
}

fn odd_records() -> Vec<(Vec<u8>, Fate)> {
    let record =
        |id: &str| format!("{{\"event_id\":\"{id}\",\"amount\":2.5,\"event_time\":1767225600000}}").into_bytes();
    let mut invalid_utf8 = record("x");
    invalid_utf8[13] = 0xff;
    let mut large_rubbish = record(&"y".repeat(10_000_000));
    large_rubbish.pop();
    vec![
        (record("plain"), Fate::Written),
        (record(&"x".repeat(10_000_000)), Fate::Written),
        (large_rubbish, Fate::Dead),
        (invalid_utf8, Fate::Dead),
        (Vec::new(), Fate::Dead),
        (b"null".to_vec(), Fate::Dead),
        (b"[]".to_vec(), Fate::Dead),
        (b"{}".to_vec(), Fate::Filtered),
        (b"\xef\xbb\xbf{}".to_vec(), Fate::Dead),
        (b"{\"event_id\":\"a\",\"amount\":1,\"event_time\":1.5}".to_vec(), Fate::Dead),
        (b"{\"event_id\":\"a\",\"amount\":{},\"event_time\":1}".to_vec(), Fate::Dead),
        (b"{\"event_id\":\"a\",\"amount\":1,\"event_time\":99999999999999999999}".to_vec(), Fate::Dead),
        (b"{\"event_id\":{\"nested\":[1,2]},\"amount\":1,\"event_time\":1}".to_vec(), Fate::Written),
        (b"{\"event_id\":\"\\ud83d\\ude00\",\"amount\":1,\"event_time\":1}".to_vec(), Fate::Written),
        (b"{\"event_id\":\"a\",\"amount\":1,\"event_time\":1,\"more\":{\"deep\":[[[]]]}} ".to_vec(), Fate::Written),
        (b"{\"event_id\":\"a\",\"amount\":1,\"event_time\":1,}".to_vec(), Fate::Dead),
        (format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes(), Fate::Dead),
        (record("the last"), Fate::Written),
    ]
}
