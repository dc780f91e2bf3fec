//! From manifests to a plan and a folder of secrets: what `run`, `validate` and `ledger` have in common.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use sluice_crds::manifest::{self, Manifests};
use sluice_crds::plan::JobPlan;
use sluice_crds::reference::ObjectKey;
use sluice_crds::resolve::{ResolveContext, resolve};
use sluice_crds::streaming_job::StreamingJob;

use crate::Failure;

#[derive(Debug, Args)]
pub struct JobArgs {
    /// Manifest files, or folders with *.yaml and *.yml; `-` reads standard input. May be given several times.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The job, when the manifests hold several.
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
    /// Set spec.parameters.NAME to VALUE. May be given several times.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Folder of secrets, <folder>/<secret name>/<key>, besides the Secrets in the manifests.
    #[arg(long, value_name = "FOLDER")]
    secrets: Option<PathBuf>,
}

/// Reads `NAME=VALUE`.
pub fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A job that can be run.
pub struct Loaded {
    /// Its plan.
    pub plan: JobPlan,
    /// Its secrets.
    pub secrets: SecretFolder,
}

/// Reads, checks and resolves the job that the arguments name.
pub fn load(args: &JobArgs) -> Result<Loaded, Failure> {
    let manifests = read(&args.files)?;
    let job = choose(&manifests, args.job.as_deref())?;
    let plan = plan(&manifests, job, &args.parameters)?;
    let secrets = SecretFolder::make(&manifests, &plan.job.namespace, args.secrets.as_deref())?;
    Ok(Loaded { plan, secrets })
}

/// The same from one text, which holds one job.
pub fn load_text(name: &str, text: &str) -> Result<(JobPlan, SecretFolder), Failure> {
    let manifests = manifest::parse([(name, text)]).map_err(Failure::config)?;
    let plan = plan(&manifests, choose(&manifests, None)?, &[])?;
    let secrets = SecretFolder::make(&manifests, &plan.job.namespace, None)?;
    Ok((plan, secrets))
}

/// Reads and checks all manifests.
pub fn read(paths: &[PathBuf]) -> Result<Manifests, Failure> {
    let mut texts = Vec::new();
    for path in paths {
        for file in expand(path)? {
            let name = file.display().to_string();
            let text = if name == "-" { std::io::read_to_string(std::io::stdin()) } else { fs::read_to_string(&file) };
            texts.push((name.clone(), text.map_err(|error| Failure::config(format!("-f {name}: {error}")))?));
        }
    }
    let manifests = manifest::parse(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let manifests = manifests.map_err(Failure::config)?;
    for note in &manifests.notes {
        tracing::info!("{note}");
    }
    Ok(manifests)
}

fn expand(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let wrong = |error| Failure::config(format!("-f {}: {error}", path.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(wrong)? {
        let file = entry.map_err(wrong)?.path();
        if file.extension().is_some_and(|it| it == "yaml" || it == "yml") {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::config(format!("-f {}: the folder has no *.yaml or *.yml file", path.display())));
    }
    Ok(files)
}

fn choose<'m>(manifests: &'m Manifests, wanted: Option<&str>) -> Result<&'m StreamingJob, Failure> {
    let names = || {
        let names: Vec<String> = manifests.jobs.keys().map(|key| key.name.clone()).collect();
        names.join(", ")
    };
    let mut found = manifests.jobs.iter().filter(|(key, _)| wanted.is_none_or(|wanted| wanted == key.name));
    match (found.next(), found.next()) {
        (Some((_, job)), None) => Ok(job),
        (Some(_), Some(_)) => {
            Err(Failure::config(format!("the manifests hold several jobs ({}): choose one with --job", names())))
        }
        (None, _) if manifests.jobs.is_empty() => {
            Err(Failure::config("the manifests hold no StreamingJob: add the file that has it with -f"))
        }
        (None, _) => Err(Failure::config(format!("the manifests hold no such job; they hold {}", names()))),
    }
}

/// Resolves one job.
pub fn plan(manifests: &Manifests, job: &StreamingJob, parameters: &[(String, String)]) -> Result<JobPlan, Failure> {
    let mut job = job.clone();
    if !parameters.is_empty() {
        job.spec.parameters.get_or_insert_default().extend(parameters.iter().cloned());
    }
    resolve(&job, &manifests.tables, &manifests.connections, &ResolveContext::Local).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let reason = errors.first().map_or("ConfigInvalid", |error| error.reason().as_str());
        Failure { code: 2, message: format!("{reason}: {}", lines.join("\n       ")) }
    })
}

/// The secrets as a worker finds them in a pod: `<folder>/<secret>/<key>`. Readable by this user only, and gone when it is dropped.
pub struct SecretFolder {
    path: PathBuf,
}

impl SecretFolder {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn make(manifests: &Manifests, namespace: &str, given: Option<&Path>) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("sluice-{:016x}", rand::random::<u64>()));
        fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("creating {}", path.display()))?;
        let folder = Self { path };
        if let Some(given) = given {
            folder.link(given)?;
        }
        for (ObjectKey { namespace: of, name }, data) in &manifests.secrets {
            if of == namespace {
                folder.write(name, data.iter()).with_context(|| format!("writing Secret {name}"))?;
            }
        }
        Ok(folder)
    }

    /// Links, so that a key that is renewed in the given folder is seen.
    fn link(&self, given: &Path) -> Result<(), Failure> {
        let wrong = |error: std::io::Error| Failure::config(format!("--secrets {}: {error}", given.display()));
        for entry in fs::read_dir(given).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let target = entry.path().canonicalize().map_err(wrong)?;
            std::os::unix::fs::symlink(target, self.path.join(entry.file_name())).map_err(wrong)?;
        }
        Ok(())
    }

    fn write<'d>(&self, name: &str, data: impl Iterator<Item = (&'d str, &'d [u8])>) -> std::io::Result<()> {
        let folder = self.path.join(name);
        if folder.is_symlink() {
            // The folder that was given by hand wins over the manifest.
            return Ok(());
        }
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        for (key, value) in data {
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(key))?.write_all(value)?;
        }
        Ok(())
    }
}

impl Drop for SecretFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "the folder of secrets was left behind");
        }
    }
}
