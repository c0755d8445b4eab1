//! The HTTP API: routes, authentication, one file per resource.
//!
//! Handlers check and translate; decisions are the engine's, facts the tables'.

pub mod admission;
pub mod approvals;
pub mod artifacts;
pub mod asyncapi;
pub mod attempts;
pub mod audit;
pub mod auth;
pub mod backup;
pub mod events;
pub mod extract;
pub mod jobs;
pub mod joining;
pub mod login_links;
pub mod logs;
pub mod openapi;
mod origin;
pub mod problem;
pub mod routes;
pub mod secrets;
pub mod server;
pub mod status;
pub mod submit;
pub mod tokens;
pub mod workers;
pub mod workflows;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, RwLock},
    time::Duration,
};

use protocol::model::ProviderDefinition;
use service::{clock::SharedClock, mask::Mask};
use tokio_util::sync::CancellationToken;

use crate::{
    artifact::{BlobStore, Logs, Quotas},
    certificates::Authority,
    credentials::Credentials,
    dashboard::Dashboard,
    denials::Denials,
    engine::Engine,
    keep::Keep,
    seal::Seal,
    state::Readers,
    telemetry::Telemetry,
    workflow::catalog::Catalog,
};

use self::admission::Admission;

/// Everything that handlers may use; cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// Decisions and writes.
    pub engine: Engine,
    /// Reads.
    pub readers: Readers,
    /// Who is who.
    pub credentials: Credentials,
    /// What was refused, for the audit log.
    pub denials: Denials,
    /// Workflows by name.
    pub catalog: Arc<RwLock<Catalog>>,
    /// Blobs.
    pub blobs: BlobStore,
    /// Logs.
    pub logs: Logs,
    /// Whoever wants every file to stay for a while.
    pub keep: Keep,
    /// Providers with their keys, by name.
    pub providers: Arc<Vec<ProviderDefinition>>,
    /// Seals the secrets of steps.
    pub seal: Arc<Seal>,
    /// Hides what is secret here: those secrets, providers' keys, the key of the seal.
    pub mask: Mask,
    /// Metrics.
    pub telemetry: Telemetry,
    /// Time.
    pub clock: SharedClock,
    /// The process ends.
    pub stop: CancellationToken,
    /// What does not change while the process runs.
    pub about: Arc<About>,
    /// What the dashboard remembers between two pages.
    pub dashboard: Dashboard,
    /// Room for requests.
    pub admission: Admission,
    /// What workers may upload.
    pub quotas: Quotas,
    /// Largest JSON body, in bytes.
    pub body_limit: usize,
    /// Whether repositories of this machine's file system may be named by URL.
    pub allow_file_urls: bool,
}

/// What does not change while the process runs.
#[derive(Debug)]
pub struct About {
    /// Version of the program.
    pub version: &'static str,
    /// This start.
    pub epoch: u64,
    /// When it started, on the monotonic clock.
    pub started_ms: u64,
    /// Where programs of this machine reach the API.
    pub http_url: String,
    /// Where programs of this machine reach the broker.
    pub mqtt_address: String,
    /// The names under which browsers may come.
    pub hosts: BTreeSet<String>,
    /// How other machines do.
    pub tls: Option<TlsAbout>,
    /// The merged configuration with masked secrets, for backups.
    pub configuration: String,
    /// The state folder.
    pub state_dir: std::path::PathBuf,
}

/// What listens with TLS.
#[derive(Debug)]
pub struct TlsAbout {
    /// The authority that everybody pins.
    pub authority: Arc<Authority>,
    /// Where the API listens.
    pub http: Option<SocketAddr>,
    /// Where the broker listens.
    pub mqtt: Option<SocketAddr>,
    /// Base URLs of the API for other machines, best first.
    pub urls: Vec<String>,
    /// How long a worker's certificate lives.
    pub worker_life: Duration,
}
