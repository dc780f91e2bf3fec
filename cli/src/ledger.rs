//! `sluice ledger`: what a ledger says, and whether it is true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanBytes, HumanCount};
use sluice_crds::plan::{JobPlan, TransformStep, plan_hash};
use sluice_worker::ledger::record::{Body, Commit, FileRecord, OffsetRange, Record};
use sluice_worker::ledger::{Entry, Ledger, verify};
use sluice_worker::pipeline::stores::{FileStores, Stores};
use sluice_worker::write::read_back;
use tokio::sync::Mutex;

use crate::Failure;
use crate::job::{JobArgs, Loaded, load};

#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Show the records of the ledger, oldest first.
    Show(ShowArgs),
    /// Check the ledger against itself and against the files: ranges gap-free and disjoint, files there with their rows, counts balanced.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    job: JobArgs,
    /// One JSON object for each record, as it lies in the store.
    #[arg(long)]
    json: bool,
    /// Only the last N records.
    #[arg(long, value_name = "N")]
    last: Option<usize>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Do not open the files; only check that they are there with their size.
    #[arg(long)]
    skip_rows: bool,
}

/// Runs one of the commands.
pub async fn run(command: LedgerCommand) -> Result<(), Failure> {
    match command {
        LedgerCommand::Show(args) => show(args).await,
        LedgerCommand::Verify(args) => verify_ledger(args).await,
    }
}

async fn history(loaded: &Loaded) -> Result<(FileStores, Vec<Entry>), Failure> {
    let stores = Arc::new(Stores::open(&loaded.plan, loaded.secrets.path())?);
    let (objects, prefix) = stores.checkpoint.objects();
    let ledger = Ledger::open_existing(objects, prefix, &loaded.plan.checkpoint.url).await.map_err(stop)?;
    let history = ledger.history().await.map_err(stop)?;
    let ledger = Arc::new(Mutex::new(ledger));
    let plan = (plan_hash(&loaded.plan), Arc::new(loaded.plan.clone()));
    Ok((FileStores::new(plan, stores, ledger, loaded.secrets.path().to_owned()), history))
}

fn stop(error: sluice_worker::ledger::LedgerError) -> Failure {
    sluice_worker::error::Stop::from(error).into()
}

async fn show(args: ShowArgs) -> Result<(), Failure> {
    let loaded = load(&args.job)?;
    let (_, history) = history(&loaded).await?;
    let skip = args.last.map_or(0, |last| history.len().saturating_sub(last));
    if args.json {
        for (seq, record, verdict) in &history[skip..] {
            let mut value = serde_json::to_value(record).map_err(anyhow::Error::from)?;
            value["seq"] = (*seq).into();
            if let Err(illegal) = verdict {
                value["void"] = illegal.to_string().into();
            }
            println!("{value}");
        }
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["seq", "time", "kind", "what", "read", "written", "filtered", "dead", "files", "bytes"]);
    for (seq, record, verdict) in &history[skip..] {
        table.add_row(row(*seq, record, verdict.as_ref().err().map(ToString::to_string)));
    }
    for column in [0, 4, 5, 6, 7, 8, 9] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    Ok(())
}

fn row(seq: u64, record: &Record, void: Option<String>) -> Vec<String> {
    let (kind, what) = describe(&record.body);
    let what = void.map_or(what, |rule| format!("VOID: {rule}"));
    let mut row = vec![seq.to_string(), record.time.strftime("%F %T").to_string(), kind.to_owned(), what];
    if let Body::Commit(commit) = &record.body {
        let counts = &commit.counts;
        row.extend(
            [counts.read, counts.written, counts.filtered, counts.dead].map(|count| HumanCount(count).to_string()),
        );
        row.push(commit.files.len().to_string());
        row.push(HumanBytes(commit.files.iter().map(|file| file.bytes).sum()).to_string());
    }
    row
}

fn describe(body: &Body) -> (&'static str, String) {
    match body {
        Body::Start(start) => ("Start", format!("topic {} at {}", start.topic, pairs(&start.positions))),
        Body::Plan(plan) => ("Plan", format!("generation {} is {}", plan.generation, plan.hash)),
        Body::Commit(commit) => ("Commit", ranges(commit)),
        Body::Published(published) => ("Published", format!("{:?}", published.seqs)),
        Body::Repair(repair) => ("Repair", format!("commit {}: {}", repair.seq, repair.url)),
        Body::Reset(reset) => ("Reset", reset.reason.clone()),
        Body::Run(run) => ("Run", format!("to {}", pairs(&run.ends))),
        Body::RunEnd(run) => ("RunEnd", run.id.clone()),
    }
}

fn pairs(positions: &std::collections::BTreeMap<i32, i64>) -> String {
    let parts: Vec<String> = positions.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    parts.join(" ")
}

fn ranges(commit: &Commit) -> String {
    let part = |range: &OffsetRange| format!("{}:{}-{}", range.partition, range.from, range.to);
    commit.ranges.iter().map(part).collect::<Vec<_>>().join(" ")
}

async fn verify_ledger(args: VerifyArgs) -> Result<(), Failure> {
    let loaded = load(&args.job)?;
    let (stores, history) = history(&loaded).await?;
    let report = verify::verify(&history, &aggregating(&stores, &history).await?);
    let mut problems = report.problems;
    let mut checked = 0_u64;
    for (seq, plan, file) in visible_files(&history, &report.unpublished) {
        checked += 1;
        if let Err(problem) = check_file(&stores, plan, &file, args.skip_rows).await {
            problems.push(format!("record {seq}: {problem}"));
        }
    }
    for (title, lines) in [("void", &report.voids), ("gap", &report.gaps), ("replay", &report.replays)] {
        for line in lines {
            println!("{title}: {line}");
        }
    }
    for seq in &report.unpublished {
        println!("not published yet: record {seq}");
    }
    println!(
        "{} commits: read {} = written {} + filtered {} + dead {}; {} files, {checked} visible ones checked, {}",
        report.commits,
        HumanCount(report.records),
        HumanCount(report.written),
        HumanCount(report.filtered),
        HumanCount(report.dead),
        report.files,
        HumanBytes(report.bytes),
    );
    if problems.is_empty() {
        println!("the ledger is sound");
        return Ok(());
    }
    for problem in &problems {
        println!("PROBLEM: {problem}");
    }
    Err(Failure {
        code: 5,
        message: format!(
            "DataLossRisk: the ledger at {} has {} problem(s)",
            loaded.plan.checkpoint.url,
            problems.len()
        ),
    })
}

/// The plans in the history that make other rows than they read.
async fn aggregating(stores: &FileStores, history: &[Entry]) -> Result<BTreeSet<String>, Failure> {
    let commits = history
        .iter()
        .filter_map(|(_, record, _)| if let Body::Commit(commit) = &record.body { Some(commit) } else { None });
    let plans: BTreeSet<&str> = commits.map(|commit| commit.plan.as_str()).collect();
    let mut aggregating = BTreeSet::new();
    for plan in plans {
        if aggregates(&stores.plan(plan).await?) {
            aggregating.insert(plan.to_owned());
        }
    }
    Ok(aggregating)
}

/// Does the plan make other rows than it reads?
fn aggregates(plan: &JobPlan) -> bool {
    plan.transforms
        .iter()
        .any(|step| matches!(step, TransformStep::Aggregate { .. } | TransformStep::Sql { batch_scope: true, .. }))
}

/// The files that must be visible, as they were repaired, with their commit and its plan.
fn visible_files<'h>(history: &'h [Entry], unpublished: &'h [u64]) -> impl Iterator<Item = (u64, &'h str, FileRecord)> {
    let legal = || history.iter().filter(|(_, _, verdict)| verdict.is_ok());
    let repaired: BTreeMap<&str, u64> = legal()
        .filter_map(|(_, record, _)| if let Body::Repair(repair) = &record.body { Some(repair) } else { None })
        .map(|repair| (repair.url.as_str(), repair.bytes))
        .collect();
    legal()
        .filter(|(seq, _, _)| !unpublished.contains(seq))
        .filter_map(
            |(seq, record, _)| if let Body::Commit(commit) = &record.body { Some((*seq, commit)) } else { None },
        )
        .flat_map(|(seq, commit)| commit.files.iter().map(move |file| (seq, commit.plan.as_str(), file)))
        .map(move |(seq, plan, file)| {
            let bytes = repaired.get(file.url.as_str()).copied().unwrap_or(file.bytes);
            (seq, plan, FileRecord { bytes, ..file.clone() })
        })
}

async fn check_file(stores: &FileStores, plan: &str, file: &FileRecord, skip_rows: bool) -> Result<(), String> {
    let store = stores.of(plan, file).await.map_err(|stop| stop.to_string())?;
    let size = store.size(&file.url).await.map_err(|error| sluice_worker::error::chain(&error))?;
    match size {
        None => return Err(format!("{} is not there (it was published: somebody deleted or moved it)", file.url)),
        Some(size) if size != file.bytes => {
            return Err(format!("{} has {size} bytes, the ledger says {}", file.url, file.bytes));
        }
        Some(_) if skip_rows => return Ok(()),
        Some(_) => {}
    }
    let rows = read_back::rows_of(&store, file).await.map_err(|error| sluice_worker::error::chain(&error))?;
    if rows == file.rows { Ok(()) } else { Err(format!("{} has {rows} rows, the ledger says {}", file.url, file.rows)) }
}
