//! S3 servers: versitygw, and `MinIO` as a second opinion, so that no behaviour of one server is taken for S3.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::net::TcpStream;

use crate::broker::{cache, free_ports, host};
use crate::process::{self, Process};

/// The access key id of the one user: what the worker's own tests of a real server log in with.
pub const ACCESS_KEY: &str = "sluice";
/// The secret of the one user.
pub const SECRET_KEY: &str = "sluice-secret";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Small and fast; objects are plain files below its folder.
    Versitygw,
    /// A different implementation of the same protocol.
    Minio,
}

/// A running S3 server. Dropping it ends it.
#[derive(Debug)]
pub struct S3Server {
    endpoint: String,
    _process: Process,
}

impl S3Server {
    /// Starts a server with its data below `dir`, and waits until it listens.
    pub async fn start(kind: Kind, dir: &Path) -> Result<Self> {
        Self::start_as(kind, dir, None).await
    }

    /// Starts versitygw with the certificate of the broker, which our own authority has signed.
    pub async fn start_with_tls(dir: &Path) -> Result<Self> {
        Self::start_as(Kind::Versitygw, dir, Some(&cache()?.join("kafka/tls"))).await
    }

    async fn start_as(kind: Kind, dir: &Path, certificates: Option<&Path>) -> Result<Self> {
        let data = dir.join("data");
        fs::create_dir_all(&data)?;
        let [port] = free_ports()?;
        let address = format!("{}:{port}", host());
        let name = match kind {
            Kind::Versitygw => "versitygw",
            Kind::Minio => "minio",
        };
        let program = cache()?.join("bin").join(name);
        ensure!(program.is_file(), "no {name} in {}: run `make setup` first", program.display());
        let mut command = process::command(program);
        match kind {
            Kind::Versitygw => {
                command.args(["--port", &address, "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--quiet"]);
                if let Some(folder) = certificates {
                    command.arg("--cert").arg(folder.join("server.crt")).arg("--key").arg(folder.join("server.key"));
                }
                command.arg("posix");
            }
            Kind::Minio => {
                command.envs([("MINIO_ROOT_USER", ACCESS_KEY), ("MINIO_ROOT_PASSWORD", SECRET_KEY)]);
                command.envs([("MINIO_BROWSER", "off"), ("MINIO_UPDATE", "off")]);
                command.args(["server", "--quiet", "--address", &address]);
            }
        }
        command.arg(&data);
        let process = Process::start(name, command, &dir.join(format!("{name}.log")))?;
        let start = Instant::now();
        while TcpStream::connect(&address).await.is_err() {
            ensure!(process.exited().is_none(), "{name} ended while it started; see {}", process.log().display());
            ensure!(
                start.elapsed() < Duration::from_mins(1),
                "{name} does not listen; see {}",
                process.log().display()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let endpoint = match certificates {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://{address}"),
        };
        Ok(Self { endpoint, _process: process })
    }

    /// `http://host:port`, or `https://` with TLS.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }
}
