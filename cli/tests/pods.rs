//! The commands of pods as processes: what they read, what they say, how they end.

#![allow(clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_crds::manifest;
use sluice_crds::resolve::{ResolveContext, resolve};
use sluice_worker::source::EmbeddedKafka;
use tempfile::TempDir;

/// Nothing here takes longer on any machine that works.
const PATIENCE: Duration = Duration::from_mins(2);

const MANIFEST: &str = r#"
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: kafka}
spec: {kafka: {bootstrapServers: ["BROKER"], config: {session.timeout.ms: "6000"}}}
---
apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {name: orders}
spec:
  source:
    table:
      database: test
      location: {kafka: {connectionRef: {name: kafka}, topic: orders}}
      format: {json: {}}
      columns: [{name: id, type: string}]
  window: {period: 1h}
  sink:
    table:
      database: test
      location: {objectStore: {url: "file://FOLDER/orders/"}}
      format: {parquet: {}}
"#;

/// A program of ours that is ended with the test.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = sluice(arguments).stderr(Stdio::piped()).spawn().expect("a process");
        let log = BufReader::new(child.stderr.take().expect("its log"));
        Self { child, log }
    }

    /// Where it serves, by its log, every line of which is a JSON object.
    fn address(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).expect("a line") > 0, "it ended");
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            if let Some(address) = line["address"].as_str() {
                return address.to_owned();
            }
        }
    }

    /// Asks it to leave, and waits for its end.
    fn terminate(mut self) -> i32 {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("sh").success());
        let status = self.child.wait().expect("an end");
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("its log");
        status.code().unwrap_or_else(|| panic!("{status}: {rest}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, or the test has failed.
        let _ = self.child.kill();
    }
}

fn sluice(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    // Not whatever cluster the developer is logged in at.
    command.args(arguments).env_clear().env("KUBECONFIG", "/nonexistent");
    command
}

fn output(arguments: &[&str]) -> Output {
    sluice(arguments).output().expect("a process")
}

/// The last line of its log, which reaches the status of a pod.
fn last_line(output: &Output) -> String {
    let log = String::from_utf8_lossy(&output.stderr);
    log.lines().last().unwrap_or_default().to_owned()
}

/// The status and the body of an answer.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .filter(|entry| entry.as_ref().expect("an entry").path().extension().is_some_and(|it| it == "parquet"))
        .count()
}

#[test]
fn a_worker_runs_a_plan_from_a_file_and_commits_what_is_open_when_it_is_asked_to_leave() {
    let folder = TempDir::new().expect("a folder");
    let (kafka, producer) = EmbeddedKafka::start("orders", 1).expect("an embedded Kafka");
    for number in 0..100 {
        producer.produce("orders", 0, format!(r#"{{"id":"r{number}"}}"#).as_bytes()).expect("produces");
    }
    producer.flush().expect("arrives");
    let text = MANIFEST.replace("BROKER", &kafka.bootstrap_servers());
    let text = text.replace("FOLDER", &folder.path().display().to_string());
    let manifests = manifest::parse([("job.yaml", text.as_str())]).expect("valid manifests");
    let job = manifests.jobs.values().next().expect("one job");
    let plan = resolve(job, &manifests.tables, &manifests.connections, &ResolveContext::Local).expect("a plan");
    let file = folder.path().join("plan.json");
    std::fs::write(&file, serde_json::to_vec(&plan).expect("JSON")).expect("a file");

    let (file, secrets) = (file.display().to_string(), folder.path().display().to_string());
    let mut worker =
        Running::start(&["worker", "--plan", &file, "--secrets", &secrets, "--listen", "127.0.0.1:0", "--lanes", "1"]);
    let address = worker.address();
    assert_eq!(get(&address, "/healthz"), (200, "ok".to_owned()));
    let began = Instant::now();
    let read = |report: &Value| report["partitions"][0]["position"].as_i64();
    loop {
        let report: Value = serde_json::from_str(&get(&address, "/report").1).expect("a report");
        if read(&report) == Some(100) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{report:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(get(&address, "/readyz").0, 200);
    assert!(get(&address, "/metrics").1.contains("sluice_lag_records"));
    assert_eq!(files(&folder.path().join("orders")), 0, "the window is open");
    assert_eq!(worker.terminate(), 0);
    assert_eq!(files(&folder.path().join("orders")), 1);
}

#[test]
fn a_worker_without_a_plan_that_it_knows_ends_with_2_and_its_last_line_says_why() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("plan.json");
    let path = file.display().to_string();
    let run = || output(&["worker", "--plan", &path, "--secrets", "/nonexistent", "--listen", "127.0.0.1:0"]);
    let missing = run();
    assert_eq!(missing.status.code(), Some(2));
    assert!(last_line(&missing).starts_with(&format!("error: ConfigInvalid: --plan {path}: ")), "{missing:?}");
    std::fs::write(&file, r#"{"version": 9}"#).expect("a file");
    let unknown = run();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(last_line(&unknown).contains("the plan has format 9, this program knows 1"), "{unknown:?}");
}

#[test]
fn an_agent_without_a_cluster_ends_with_2_and_says_what_it_needs() {
    let arguments = ["agent", "--namespace", "etl", "--secrets", "/nonexistent", "--listen", "127.0.0.1:0"];
    let output = output(&[&arguments[..], &["--cluster-uid", "c1"]].concat());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(last_line(&output).starts_with("error: ConfigInvalid: there is no way to the API server"), "{output:?}");
}
