//! `sluice validate`: everything that can be checked without a network.

use std::path::PathBuf;

use clap::Args;
use sluice_worker::error::Stop;
use sluice_worker::pipeline::start::plan_transforms;

use crate::{Failure, job};

#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Manifest files, or folders with *.yaml and *.yml; `-` reads standard input. May be given several times.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Set spec.parameters.NAME to VALUE in every job. May be given several times.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = job::parameter)]
    parameters: Vec<(String, String)>,
}

/// Checks schema, references and transforms of every job, and tells all errors.
pub async fn validate(args: ValidateArgs) -> Result<(), Failure> {
    let manifests = job::read(&args.files)?;
    let mut errors = Vec::new();
    for (key, job) in &manifests.jobs {
        let outcome = match job::plan(&manifests, job, &args.parameters) {
            Ok(plan) => plan_transforms(&plan).await.map(|transform| (plan, transform)).map_err(named(&key.name)),
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok((plan, transform)) => {
                println!("StreamingJob {key}: valid; writes {}", plan.sink.location.url);
                for field in transform.output_schema().fields() {
                    println!("  {}: {}", field.name(), field.data_type());
                }
            }
            Err(failure) => errors.push(failure.message),
        }
    }
    for (kind, count) in [("DataCatalogTable", manifests.tables.len()), ("Connection", manifests.connections.len())] {
        println!("{count} {kind}(s): valid");
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure { code: 2, message: errors.join("\n") }) }
}

fn named(job: &str) -> impl Fn(Stop) -> Failure {
    move |stop| Failure {
        code: stop.exit_code,
        message: format!("{}: StreamingJob {job}: {}", stop.reason, stop.message),
    }
}
