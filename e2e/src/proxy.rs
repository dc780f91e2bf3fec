//! An HTTP proxy in front of an S3 server, which spoils requests on command.
//!
//! What is not spoilt passes unchanged, byte for byte in path, query, headers and body: requests are signed, the `Host`
//! header included, and the server checks the signature against what it receives.

pub mod fault;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, ETAG, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use fault::{Fault, Mixture, Operation, Rule, Script};

type Call = Request<Full<Bytes>>;
type Reply = Response<Full<Bytes>>;

/// A running proxy. Dropping it ends it, with the connections that it has.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of `http://host:port`.
    pub async fn start(upstream: &str) -> Result<Self> {
        let upstream = upstream.strip_prefix("http://").context("the upstream is not http://host:port")?.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let script = Arc::new(Mutex::new(Script::default()));
        let task = tokio::spawn(serve(listener, upstream, Arc::clone(&script)));
        Ok(Self { address, script, task })
    }

    /// `http://host:port`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        // A script is valid at any moment, also after a panic of somebody who held it.
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule. Earlier rules come first.
    pub fn inject(&self, rule: Rule) {
        self.script().rules.push(rule);
    }

    /// Spoils requests at random from now on.
    pub fn mix(&self, seed: u64, probability: f64) {
        self.script().mixture = Some(Mixture { random: StdRng::seed_from_u64(seed), probability });
    }

    /// Spoils nothing any more. What is late or held stays so.
    pub fn calm(&self) {
        let mut script = self.script();
        script.rules.clear();
        script.mixture = None;
    }

    /// How often each fault was injected.
    pub fn injected(&self) -> BTreeMap<(Operation, &'static str), u64> {
        self.script().injected.clone()
    }

    /// How often this fault was injected into this operation.
    pub fn count(&self, operation: Operation, fault: &Fault) -> u64 {
        self.script().injected.get(&(operation, fault.name())).copied().unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, upstream: String, script: Arc<Mutex<Script>>) {
    // Connections end with the set, which ends with this task.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (upstream, script) = (upstream.clone(), Arc::clone(&script));
        let service = service_fn(move |request| handle(request, upstream.clone(), Arc::clone(&script)));
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            // Broken connections are what this program makes.
            let _ = connection.await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// An error closes the connection without an answer.
async fn handle(request: Request<Incoming>, upstream: String, script: Arc<Mutex<Script>>) -> Result<Reply> {
    let (parts, body) = request.into_parts();
    let call = Request::from_parts(parts, Full::new(body.collect().await?.to_bytes()));
    let operation = Operation::of(call.method(), call.uri().query().unwrap_or_default());
    let path = call.uri().path();
    let fault = script.lock().unwrap_or_else(PoisonError::into_inner).decide(operation, path);
    match fault {
        None => forward(&upstream, call).await,
        // On a task of its own: a client that gives up must not take the effect with it.
        Some(fault) => tokio::spawn(spoil(fault, upstream, call)).await?,
    }
}

async fn spoil(fault: Fault, upstream: String, call: Call) -> Result<Reply> {
    match fault {
        Fault::Error => error_reply(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Fault::SlowDown => error_reply(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        Fault::Conflict => error_reply(StatusCode::CONFLICT, "ConditionalRequestConflict"),
        Fault::ExistsAfterEffect => {
            forward(&upstream, call).await?;
            error_reply(StatusCode::PRECONDITION_FAILED, "PreconditionFailed")
        }
        Fault::ErrorAfterEffect => {
            forward(&upstream, call).await?;
            error_reply(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
        }
        Fault::LostRequest => bail!("the request is lost"),
        Fault::LostReply => {
            forward(&upstream, call).await?;
            bail!("the reply is lost")
        }
        Fault::ErrorBody { effect } => {
            if effect {
                forward(&upstream, call).await?;
            }
            error_reply(StatusCode::OK, "InternalError")
        }
        Fault::Late(delay) => {
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                // The client has long given up; what the server says now reaches nobody.
                let _ = forward(&upstream, call).await;
            });
            error_reply(StatusCode::GATEWAY_TIMEOUT, "GatewayTimeout")
        }
        Fault::NoConditions => {
            let reply = forward(&upstream, call).await?;
            if reply.status() != StatusCode::PRECONDITION_FAILED {
                return Ok(reply);
            }
            Ok(Response::builder().status(StatusCode::OK).header(ETAG, "\"0\"").body(Full::default())?)
        }
        Fault::Hold(gate) if gate.holds_reply() => {
            let reply = forward(&upstream, call).await?;
            if gate.pass().await { Ok(reply) } else { bail!("the reply is lost at the gate") }
        }
        Fault::Hold(gate) => {
            if gate.pass().await {
                forward(&upstream, call).await
            } else {
                bail!("the request is lost at the gate")
            }
        }
    }
}

/// Sends a request on, over a connection of its own, and reads the whole reply.
async fn forward(upstream: &str, call: Call) -> Result<Reply> {
    let stream = TcpStream::connect(upstream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (mut parts, body) = sender.send_request(call).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    // They are about the connection to the server, not about the one to the client.
    parts.headers.remove(CONNECTION);
    parts.headers.remove(TRANSFER_ENCODING);
    Ok(Response::from_parts(parts, Full::new(body)))
}

fn error_reply(status: StatusCode, code: &str) -> Result<Reply> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>injected by the test</Message>\
         <RequestId>e2e</RequestId></Error>"
    );
    Ok(Response::builder().status(status).header(CONTENT_TYPE, "application/xml").body(Full::new(body.into()))?)
}
