//! What a person sees while a job runs: one line that is kept current on a terminal, and a table at the end.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use sluice_crds::report::{Phase, Totals, WorkerReport};
use sluice_worker::report::Board;
use tokio::task::JoinHandle;

/// Where nobody watches a terminal a line is printed only this often.
const PLAIN_LINE_EVERY: Duration = Duration::from_secs(10);

static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Writes log lines above the progress line.
#[derive(Debug, Clone, Copy)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match BAR.get() {
            Some(bar) => bar.suspend(|| std::io::stderr().write(bytes)),
            None => std::io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for LogWriter {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

/// Shows a board until the answer is dropped. With `total`, the bar shows how much of it is committed.
pub fn show(board: Arc<Board>, total: Option<u64>) -> Shown {
    let terminal = std::io::stderr().is_terminal();
    let bar = BAR.get_or_init(|| {
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = if total.is_some() { "{bar:30.green} {percent:>3} %  {msg}" } else { "{spinner} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar
    });
    let task = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(if terminal { 200 } else { 1000 }));
        let (mut last, mut printed) = ((Instant::now(), 0), Instant::now());
        let mut rate = 0.0;
        loop {
            tick.tick().await;
            let report = board.report();
            let read: u64 = report.totals.read;
            let elapsed = last.0.elapsed().as_secs_f64();
            if elapsed >= 1.0 {
                rate = (read - last.1) as f64 / elapsed;
                last = (Instant::now(), read);
            }
            let line = line(&report, rate);
            if terminal {
                bar.set_position(read);
                bar.set_message(line);
            } else if printed.elapsed() >= PLAIN_LINE_EVERY {
                printed = Instant::now();
                eprintln!("{line}");
            }
        }
    });
    Shown { task }
}

/// The progress line, as long as this lives.
pub struct Shown {
    task: JoinHandle<()>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(bar) = BAR.get() {
            bar.finish_and_clear();
        }
    }
}

fn line(report: &WorkerReport, rate: f64) -> String {
    let lag = report.partitions.iter().map(|partition| partition.lag).sum::<Option<i64>>();
    let lag = lag.map_or_else(|| "?".to_owned(), |lag| HumanCount(lag.max(0) as u64).to_string());
    let phase = match report.phase {
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Retrying => "retrying",
        Phase::Draining => "draining",
        Phase::Completed => "completed",
        Phase::Stopped => "stopped",
    };
    let totals = &report.totals;
    format!(
        "{phase}  {} records/s  lag {lag}  {} partitions  {} batches  {} files  {}",
        HumanCount(rate as u64),
        report.partitions.len(),
        totals.batches,
        HumanCount(totals.files),
        report.trouble.as_deref().unwrap_or_default(),
    )
}

/// The table at the end of a run.
pub fn summary(totals: &Totals, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(["", "records", ""]);
    let balanced = totals.read == totals.written + totals.filtered + totals.dead;
    let rows = [
        (
            "read",
            totals.read,
            format!("{} at {:.1} MB/s", HumanBytes(totals.bytes_read), totals.bytes_read as f64 / 1e6 / seconds),
        ),
        ("= written", totals.written, format!("{} files, {}", totals.files, HumanBytes(totals.bytes_written))),
        ("+ filtered", totals.filtered, String::new()),
        ("+ dead letters", totals.dead, if balanced { "balanced".to_owned() } else { "aggregated".to_owned() }),
    ];
    for (name, count, note) in rows {
        table.add_row([name.to_owned(), HumanCount(count).to_string(), note]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!(
        "{table}\n{} batches in {seconds:.1} s ({} records/s); {} voided, {} tried again",
        totals.batches,
        HumanCount((totals.read as f64 / seconds) as u64),
        totals.voided,
        totals.retried
    )
}
