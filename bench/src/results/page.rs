//! The page: tables in Markdown.

use std::fmt::Write as _;

use super::{Results, Series, named};

/// Appends a line; a string takes everything.
macro_rules! line {
    ($out:expr) => { $out.push('\n') };
    ($out:expr, $($arguments:tt)*) => {{ let _ = writeln!($out, $($arguments)*); }};
}

/// Names of the series that ratios are made of. The program that measures gives them.
pub mod names {
    /// Files on local disk, a window for every 250,000 records.
    pub const DISK: &str = "Sluice, disk, 250 k windows";
    /// The same to S3.
    pub const S3: &str = "Sluice, S3, 250 k windows";
    /// Windows of 100 seconds.
    pub const LONG: &str = "Sluice, disk, 100 s windows";
    /// Windows of one second.
    pub const SHORT: &str = "Sluice, disk, 1 s windows";
    /// Windows of 100 seconds, to S3.
    pub const S3_LONG: &str = "Sluice, S3, 100 s windows";
    /// Windows of one second, to S3.
    pub const S3_SHORT: &str = "Sluice, S3, 1 s windows";
    /// One worker that has one core.
    pub const ONE: &str = "Sluice, one worker on one core";
    /// Two workers that have one core each.
    pub const TWO: &str = "Sluice, two workers on a core each";
    /// Spark, a process that starts.
    pub const SPARK_COLD: &str = "Spark, cold";
    /// Spark's third run in one process, everything in one batch.
    pub const SPARK_WARM: &str = "Spark, third run, one batch";
    /// Spark's third run in one process, in batches.
    pub const SPARK_BATCHES: &str = "Spark, third run, 250 k batches";
    /// Flink, a process that starts.
    pub const FLINK_COLD: &str = "Flink, cold";
    /// Flink's third run in one process.
    pub const FLINK_WARM: &str = "Flink, third run";
    /// confluent-kafka and pyarrow.
    pub const PYTHON: &str = "Python script";
    /// The floor, reading only.
    pub const FLOOR_CONSUME: &str = "floor: consume";
    /// The floor, reading and decoding.
    pub const FLOOR_DECODE: &str = "floor: + arrow-json";
    /// The floor, all of it.
    pub const FLOOR: &str = "floor: + Parquet";
}

/// The page of all results.
pub fn page(results: &Results) -> String {
    let mut out = String::from("# Results\n\n");
    line!(
        out,
        "Written by `make bench`; [README.md](README.md) says how each number is made. Rates are medians, with the least and the"
    );
    line!(out, "greatest run in brackets; memory is that of the worst run.");
    line!(out);
    line!(out, "Machine: {}. Date: {}. Seed of the records: {}.", results.machine, results.date, results.seed);
    line!(out, "Versions: {}.", results.versions.join(", "));
    sample(results, &mut out);
    ratios(results, &mut out);
    exactly_once(results, &mut out);
    workers(results, &mut out);
    decode(results, &mut out);
    shapes(results, &mut out);
    out
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value / 1000.0);
    format!("{digits} k")
}

/// The median, with the least and the greatest.
fn spread(series: &Series) -> String {
    let rates = series.runs.iter().map(super::Run::rate);
    let (least, most) = rates.fold((f64::MAX, 0.0_f64), |(least, most), rate| (least.min(rate), most.max(rate)));
    format!("**{}** ({}–{})", thousands(series.rate()), thousands(least), thousands(most))
}

fn sample(results: &Results, out: &mut String) {
    if results.sample.is_empty() {
        return;
    }
    line!(out, "\n## The sample job\n");
    let first = results.sample.first().and_then(|series| series.runs.first());
    if let Some(run) = first {
        let size = run.bytes as f64 / run.records.max(1) as f64;
        line!(out, "{} records of {size:.0} bytes in 8 partitions, on the same topic in alternation.\n", run.records);
    }
    line!(out, "| | records per CPU second | CPU s | wall s | peak MiB | files | runs |");
    line!(out, "|---|---|---|---|---|---|---|");
    for series in &results.sample {
        let (cpu, wall) = (series.median(|run| run.cpu), series.median(|run| run.wall));
        let files = series.median(|run| run.files as f64);
        let (rates, peak, runs) = (spread(series), series.peak_mib(), series.runs.len());
        line!(out, "| {} | {rates} | {cpu:.2} | {wall:.1} | {peak:.0} | {files:.0} | {runs} |", series.name);
    }
    line!(out);
    for series in results.sample.iter().filter(|series| !series.about.is_empty()) {
        line!(out, "- {}: {}", series.name, series.about);
    }
}

/// What is compared with what, and the least that is promised.
const RATIOS: [(&str, &str, &str, f64); 8] = [
    ("Sluice / warm Spark, one batch", names::DISK, names::SPARK_WARM, 10.0),
    ("Sluice / warm Spark, 250 k batches", names::DISK, names::SPARK_BATCHES, 10.0),
    ("Sluice / cold Spark", names::DISK, names::SPARK_COLD, 20.0),
    ("Sluice / warm Flink", names::DISK, names::FLINK_WARM, 0.0),
    ("Sluice / the Python script", names::DISK, names::PYTHON, 2.0),
    ("Sluice / the floor", names::DISK, names::FLOOR, 1.2),
    ("S3 / disk", names::S3, names::DISK, 0.85),
    ("1 s windows / 100 s windows", names::SHORT, names::LONG, 0.7),
];

fn ratios(results: &Results, out: &mut String) {
    let rows = RATIOS.iter().filter_map(|(what, above, below, least)| {
        let (above, below) = (results.of(above)?.rate(), results.of(below)?.rate());
        let promised = if *least > 0.0 { format!("{least}") } else { String::new() };
        Some(format!("| {what} | {:.2} | {promised} |\n", above / below))
    });
    let rows: String = rows.collect();
    if !rows.is_empty() {
        line!(
            out,
            "\n## In proportion\n\n| records per CPU second | ratio | aim, at least |\n|---|---|---|\n{}",
            rows.trim_end()
        );
    }
}

fn exactly_once(results: &Results, out: &mut String) {
    let Some(run) = results.windows.first().and_then(|series| series.runs.first()) else { return };
    line!(out, "\n## What exactly once costs\n");
    line!(
        out,
        "{} records of the sample job in windows of different lengths, with memory for the longest. A further window costs its",
        run.records
    );
    line!(
        out,
        "ledger record, its staged and published files with their footers, and what shorter files lose. Aim of windows of 1 s: at least 70 %.\n"
    );
    line!(
        out,
        "| | commits | files | records per CPU second | CPU s | wall s | peak MiB | CPU ms for each further commit | rate, of 100 s windows' |"
    );
    line!(out, "|---|---|---|---|---|---|---|---|---|");
    for series in &results.windows {
        let base = if series.name.contains("S3") { names::S3_LONG } else { names::LONG };
        let Some(base) = named(&results.windows, base) else { continue };
        let (cpu, commits) = (series.median(|run| run.cpu), series.median(|run| run.commits as f64));
        let more = commits - base.median(|run| run.commits as f64);
        let dearer = cpu - base.median(|run| run.cpu);
        let each = if more > 0.0 { format!("{:.0}", dearer / more * 1000.0) } else { String::new() };
        line!(
            out,
            "| {} | {commits:.0} | {:.0} | {} | {cpu:.2} | {:.1} | {:.0} | {each} | {:.0} % |",
            series.name,
            series.median(|run| run.files as f64),
            spread(series),
            series.median(|run| run.wall),
            series.peak_mib(),
            series.rate() / base.rate() * 100.0
        );
    }
}

fn workers(results: &Results, out: &mut String) {
    let (Some(one), Some(two)) = (results.of(names::ONE), results.of(names::TWO)) else { return };
    line!(out, "\n## Two workers\n");
    line!(out, "Each worker is bound to a core of its own; the broker runs on both.\n");
    line!(out, "| | records per CPU second | records per second | CPU s | broker's CPU s |\n|---|---|---|---|---|");
    for series in [one, two] {
        let per_second = series.median(|run| run.records as f64 / run.wall);
        let (cpu, broker) = (series.median(|run| run.cpu), series.median(|run| run.broker));
        line!(out, "| {} | {} | {} | {cpu:.2} | {broker:.2} |", series.name, spread(series), thousands(per_second));
    }
    let scale = 2.0 * two.rate() / one.rate();
    line!(out, "\nTwo cores full of workers do {scale:.2} times the work of one (aim: at least 1.8).");
}

fn decode(results: &Results, out: &mut String) {
    if results.decode.is_empty() {
        return;
    }
    line!(out, "\n## Decoding alone\n");
    line!(out, "One thread, records in memory, batches of 8192, the same columns.\n");
    line!(out, "| records | bytes | ns for each | MB/s | arrow-json, ns | times faster |\n|---|---|---|---|---|---|");
    for row in &results.decode {
        let (rate, times) = (row.bytes / row.ours * 1000.0, row.arrow_json / row.ours);
        line!(
            out,
            "| {} | {:.0} | {:.0} | {rate:.0} | {:.0} | **{times:.1}** |",
            row.records,
            row.bytes,
            row.ours,
            row.arrow_json
        );
    }
}

fn shapes(results: &Results, out: &mut String) {
    if results.shapes.is_empty() {
        return;
    }
    line!(out, "\n## Shapes of records\n");
    line!(out, "Files on local disk, windows of 250,000 records, a memory budget of 192 MiB.\n");
    line!(
        out,
        "| | bytes of a record | records | records per CPU second | MB per CPU second | peak MiB | files |\n|---|---|---|---|---|---|---|"
    );
    for series in &results.shapes {
        let Some(run) = series.runs.first() else { continue };
        let (size, records) = (run.bytes as f64 / run.records.max(1) as f64, run.records);
        let (rates, megabytes, peak) = (spread(series), series.megabytes_rate(), series.peak_mib());
        let files = series.median(|run| run.files as f64);
        line!(
            out,
            "| {} | {size:.0} | {records} | {rates} | **{megabytes:.0}** | {peak:.0} | {files:.0} |",
            series.name
        );
    }
    line!(out);
    for series in results.shapes.iter().filter(|series| !series.about.is_empty()) {
        line!(out, "- {}: {}", series.name, series.about);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Decoded, Run};

    fn series(name: &str, cpu: f64) -> Series {
        let run = Run {
            records: 2_000_000,
            bytes: 500_000_000,
            wall: cpu,
            cpu,
            peak: 200 << 20,
            files: 12,
            commits: 3,
            broker: 0.4,
        };
        Series { name: name.to_owned(), about: "words".to_owned(), runs: vec![run; 3] }
    }

    #[test]
    fn the_page_shows_what_there_is_and_no_table_for_what_there_is_not() {
        assert!(!page(&Results::default()).contains("##"));
        let mut results = Results {
            sample: vec![series(names::DISK, 2.0), series(names::SPARK_WARM, 40.0)],
            decode: vec![Decoded { records: "sample".to_owned(), ours: 200.0, arrow_json: 800.0, bytes: 250.0 }],
            ..Results::default()
        };
        let text = page(&results);
        assert!(
            text.contains("| Sluice, disk, 250 k windows | **1000 k** (1000 k–1000 k) | 2.00 | 2.0 | 200 | 12 | 3 |"),
            "{text}"
        );
        assert!(text.contains("| Sluice / warm Spark, one batch | 20.00 | 10 |"), "{text}");
        assert!(text.contains("| sample | 250 | 200 | 1250 | 800 | **4.0** |"), "{text}");
        assert!(!text.contains("Two workers") && !text.contains("Shapes"), "{text}");
        results.sample.extend([series(names::ONE, 2.0), series(names::TWO, 2.2)]);
        assert!(page(&results).contains("do 1.82 times"), "{}", page(&results));
        let mut short = series(names::SHORT, 2.5);
        short.runs.iter_mut().for_each(|run| run.commits = 13);
        results.windows = vec![series(names::LONG, 2.0), short];
        let text = page(&results);
        assert!(text.contains("| 2.50 | 2.5 | 200 | 50 | 80 % |"), "{text}");
    }
}
