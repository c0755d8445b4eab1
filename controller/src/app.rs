//! Builds, wires and stops the controller: the only file that knows everybody.

mod tls;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, RwLock},
    time::Duration,
};

use anyhow::Context;
use axum::Router;
use protocol::{
    artifact::BlobRef,
    model::{ProviderDefinition, ProviderKind},
};
use service::{
    ballast::Ballast,
    clock::SystemClock,
    mask::Mask,
    shutdown, state_dir,
    supervisor::Supervisor,
    tasks::{Drained, OnExit, Tasks},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    announce,
    api::{About, Api, admission::Admission, joining, server},
    artifact::{BlobStore, Logs, Quotas},
    broker::{Broker, BrokerConfig, BrokerEvent, CommandIn, LogIn, Outlets},
    config::Config,
    credentials::Credentials,
    dashboard::Dashboard,
    denials::Denials,
    dispatch::Dispatch,
    engine::{self, Core, CoreParts, Engine},
    first_start, hidden, inbound,
    keep::Keep,
    lapse,
    orchestrator::{
        World,
        world::{Limits, Models},
    },
    public::PublicTopics,
    pulse::Pulse,
    retention::Retention,
    seal::Seal,
    state::{Readers, Store, artifacts, meta, workflows},
    telemetry::Telemetry,
    transport::{Bounded, Connections, Places, PlainListener, TlsListener},
    workflow::{catalog::Catalog, prompts::Prompts},
};

use tls::Tls;

/// Messages of workers that wait for the engine; the broker holds its readers back when it is full.
const INBOUND: usize = 1024;
/// Live log pieces that wait to be published; more are dropped.
const LOGS: usize = 256;
/// How long a stop may take.
const DRAIN: Duration = Duration::from_secs(5);
/// The database in the state folder.
pub const DATABASE: &str = "agentd.db";
/// The room beside it that is given up when the disk is full.
const BALLAST: &str = "ballast";

/// Runs until a signal or a failure.
///
/// `configuration` is the same as text, secrets masked: backups take it along.
pub async fn run(config: Config, configuration: String) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let _signals = shutdown::on_signals(stop.clone())?;
    let folder = state_dir::locate("agentd", config.state_dir.as_deref())?;
    let state = state_dir::open(&folder)?;
    for warning in config.warnings() {
        warn!("{warning}");
    }
    let tasks = Tasks::new(stop.clone());
    let supervisor = Supervisor::of_this_process().map(Arc::new);
    let (broker, api) = start(&config, configuration, state.path(), &tasks, supervisor.clone()).await?;
    first_start::announce(&api).await?;
    let failure = tokio::select! {
        () = stop.cancelled() => None,
        failure = broker.failure() => Some(failure),
    };
    if let Some(supervisor) = supervisor {
        supervisor.stopping();
    }
    api.public.say_offline().await;
    // the engine commits what was accepted; then nobody talks any more
    let drained = tasks.drain(DRAIN).await;
    broker.stop().await;
    if let Drained::Late(late) = drained {
        warn!(
            "these were still busy when the time to stop was over: {}",
            late.join(", ")
        );
    }
    drop(api);
    if let Err(error) = Store::settle(&state.path().join(DATABASE)) {
        warn!(%error, "the write-ahead log stays beside the database: a copy of it needs both");
    }
    info!("stopped");
    match (failure, tasks.failure()) {
        (Some(failure), _) => Err(failure.into()),
        (None, Some(failure)) => Err(failure.into()),
        (None, None) => Ok(()),
    }
}

/// What [`run`] keeps.
pub struct Running {
    /// The API's parts.
    pub api: Api,
    /// The topics for people.
    pub public: PublicTopics,
    /// Whether this state folder is new.
    pub is_new: bool,
}

async fn start(
    config: &Config,
    configuration: String,
    folder: &Path,
    tasks: &Tasks,
    supervisor: Option<Arc<Supervisor>>,
) -> anyhow::Result<(Broker, Running)> {
    let clock = SystemClock::shared();
    let database = folder.join(DATABASE);
    let ballast = Ballast::new(folder.join(BALLAST));
    let store = Store::open(&database).with_context(|| format!("cannot open {}", database.display()))?;
    let unix_seconds = u64::try_from(clock.wall_ms() / 1000).unwrap_or(0);
    let epoch = meta::take_epoch(store.connection(), unix_seconds)?;
    let is_new = first_start::admin_token(store.connection(), folder, clock.wall())?;
    let blobs = BlobStore::open(folder, config.limits.blob_bytes, config.limits.free_bytes)?;
    let providers = providers(config, &blobs, &store, clock.wall())?;
    let seal = Seal::open(folder)?;
    let mask = hidden::mask(store.connection(), &seal, &providers)?;
    let catalog = catalog(config, &store)?;
    let readers = Readers::open(&database)?;

    let telemetry = Telemetry::new(env!("CARGO_PKG_VERSION"));
    let (engine, inbox) = engine::channel();
    let credentials = Credentials::new(readers.clone(), engine.clone(), clock.clone());
    let (public, denials) = (PublicTopics::default(), Denials::default());
    let (mut broker, said) = start_broker(config, &credentials, &public, denials.clone()).await?;
    let mut tls = Tls::open(config, folder, &clock).await?;
    let connections = Connections::default();

    let (link, control) = (broker.link(), broker.control());
    let outlet = Dispatch::new(link, control, credentials.clone(), connections.clone());
    let core = Core::new(
        CoreParts {
            store,
            ballast,
            world: world(config, &providers),
            epoch,
            clock: clock.clone(),
            outlet: Box::new(outlet),
            telemetry: telemetry.clone(),
            denials: denials.clone(),
        },
        inbox,
    )?;
    let stop = tasks.stop().clone();
    let engine_stop = stop.clone();
    tasks.spawn_thread("engine", OnExit::StopProcess, move || core.run(&engine_stop))?;

    let listener = listen(config).await?;
    let about = About {
        configuration,
        ..about(folder, &listener, &broker, &tls, (epoch, clock.mono_ms()))?
    };
    first_start::write_endpoints(folder, &about)?;
    let api = Api {
        engine: engine.clone(),
        readers,
        credentials,
        denials: denials.clone(),
        catalog: Arc::new(RwLock::new(catalog)),
        blobs,
        keep: Keep::default(),
        logs: Logs::open(folder, config.limits.log_bytes)?,
        providers: Arc::new(providers),
        seal: Arc::new(seal),
        mask: mask.clone(),
        telemetry,
        clock,
        stop: stop.clone(),
        about: Arc::new(about),
        dashboard: Dashboard::default(),
        admission: Admission::default(),
        quotas: Quotas::new(config.limits.worker_bytes),
        body_limit: usize::try_from(config.limits.body_bytes).unwrap_or(usize::MAX),
        allow_file_urls: config.allow_file_urls,
    };
    public.connect(api.clone(), broker.publisher());
    spawn_watchers(config, &broker, &api, tasks);
    spawn_pumps(tasks, &engine, &public, said, (mask, config.mqtt_public_log));
    let places = places(config);
    serve_plain(listener, places.clone(), (&broker, supervisor), &api, tasks)?;
    serve_tls(&mut tls, &mut broker, (connections, places), &api, tasks)?;
    if config.announce {
        announce_to_others(&api, tasks);
    }
    info!(http = %api.about.http_url, mqtt = %api.about.mqtt_address, epoch, "agentd is ready");
    Ok((broker, Running { api, public, is_new }))
}

fn places(config: &Config) -> Places {
    let idle = Duration::from_secs(config.limits.http_idle_s);
    Places::new(config.limits.http_connections as usize, idle)
}

/// Opens the door to programs of this machine, with what a service manager is shown.
fn serve_plain(
    listener: TcpListener,
    places: Places,
    (broker, supervisor): (&Broker, Option<Arc<Supervisor>>),
    api: &Api,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    let mut beside = Router::new();
    if let Some(supervisor) = supervisor {
        let pulse = Pulse::new(api.engine.clone(), broker.echo(), api.clock.clone());
        beside = pulse.router();
        let beats = pulse.run(listener.local_addr()?, supervisor, tasks.stop().clone());
        tasks.spawn("pulse", OnExit::StopProcess, beats);
    }
    let plain = Bounded::new(PlainListener::new(listener), places);
    let served = server::serve(plain, api.clone(), beside);
    tasks.spawn("http", OnExit::StopProcess, served);
    Ok(())
}

/// What does not change while the process runs; without the configuration.
fn about(
    folder: &Path,
    listener: &TcpListener,
    broker: &Broker,
    tls: &Tls,
    (epoch, started_ms): (u64, u64),
) -> anyhow::Result<About> {
    Ok(About {
        version: env!("CARGO_PKG_VERSION"),
        epoch,
        started_ms,
        http_url: format!("http://{}", listener.local_addr()?),
        mqtt_address: broker.local_addr().to_string(),
        hosts: tls.names(),
        tls: tls.about()?,
        configuration: String::new(),
        state_dir: folder.to_owned(),
    })
}

/// Opens the doors to other machines.
fn serve_tls(
    tls: &mut Tls,
    broker: &mut Broker,
    (connections, places): (Connections, Places),
    api: &Api,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    let Some(about) = &api.about.tls else {
        return Ok(());
    };
    if let Some(socket) = tls.mqtt.take() {
        broker.listen_tls(socket, tls.mqtt_acceptor()?);
    }
    if let Some(socket) = tls.http.take() {
        let listener = TlsListener::new(socket, tls.http_acceptor()?, connections);
        let listener = Bounded::new(listener, places);
        let served = server::serve(listener, api.clone(), Router::new());
        tasks.spawn("https", OnExit::StopProcess, served);
    }
    let fresh = tls.serving().keep_fresh(api.clock.clone(), tasks.stop().clone());
    tasks.spawn("certificate", OnExit::StopProcess, fresh);
    let shown = |address: Option<std::net::SocketAddr>| address.map_or("off".to_owned(), |at| at.to_string());
    let (https, mqtts, ca) = (
        shown(about.http),
        shown(about.mqtt),
        about.authority.fingerprint(),
    );
    info!(https, mqtts, %ca, "other machines connect with TLS; the certificate authority's fingerprint is {ca}");
    Ok(())
}

/// Lets workers find the TLS listener.
fn announce_to_others(api: &Api, tasks: &Tasks) {
    match api.about.tls.as_ref().and_then(|tls| tls.http) {
        Some(https) => {
            let announced = announce::run(https.port(), tasks.stop().clone());
            tasks.spawn("announce", OnExit::Log, announced);
        }
        None => warn!("`announce: true` has no effect: nothing listens with TLS for others (http.tls)"),
    }
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.http.listen;
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen for HTTP on {address}: stop what listens there, or set http.listen (--http) to another"
        )
    })
}

fn retention(config: &Config, api: &Api) -> Retention {
    Retention {
        bounds: config.retention,
        engine: api.engine.clone(),
        readers: api.readers.clone(),
        blobs: api.blobs.clone(),
        logs: api.logs.clone(),
        keep: api.keep.clone(),
        clock: api.clock.clone(),
    }
}

/// What comes in by MQTT.
struct Said {
    by_workers: mpsc::Receiver<BrokerEvent>,
    commands: mpsc::Receiver<CommandIn>,
    logs: mpsc::Receiver<LogIn>,
}

async fn start_broker(
    config: &Config,
    credentials: &Credentials,
    public: &PublicTopics,
    denials: Denials,
) -> anyhow::Result<(Broker, Said)> {
    let (events, by_workers) = mpsc::channel(INBOUND);
    let (command_sender, commands) = mpsc::channel(INBOUND);
    let (log_sender, logs) = mpsc::channel(LOGS);
    let broker_config = BrokerConfig {
        listen: config.mqtt.listen,
        mqtt_connections: config.limits.mqtt_connections as usize,
        ..BrokerConfig::default()
    };
    let outlets = Outlets {
        events,
        commands: command_sender,
        logs: log_sender,
        denials,
    };
    let auth = Arc::new(credentials.clone());
    let broker = Broker::start(broker_config, auth, Arc::new(public.clone()), outlets).await?;
    let said = Said {
        by_workers,
        commands,
        logs,
    };
    Ok((broker, said))
}

fn spawn_watchers(config: &Config, broker: &Broker, api: &Api, tasks: &Tasks) {
    let stop = tasks.stop().clone();
    let watch = lapse::watch(
        broker.control(),
        api.readers.clone(),
        api.clock.clone(),
        stop.clone(),
    );
    tasks.spawn("lapsed-tokens", OnExit::StopProcess, watch);
    let denials = api.denials.clone();
    let refusals = denials.write(api.engine.clone(), api.clock.clone(), stop.clone());
    tasks.spawn("refusals", OnExit::StopProcess, refusals);
    let retention = retention(config, api);
    tasks.spawn("retention", OnExit::StopProcess, retention.run(stop));
}

fn spawn_pumps(
    tasks: &Tasks,
    engine: &Engine,
    public: &PublicTopics,
    said: Said,
    (mask, publish_logs): (Mask, bool),
) {
    let stop = tasks.stop().clone();
    tasks.spawn(
        "worker-messages",
        OnExit::StopProcess,
        inbound::pump(said.by_workers, engine.clone(), mask, stop.clone()),
    );
    tasks.spawn(
        "mqtt-commands",
        OnExit::StopProcess,
        public.clone().obey(said.commands, stop.clone()),
    );
    tasks.spawn(
        "public-logs",
        OnExit::StopProcess,
        public.clone().publish_logs(said.logs, publish_logs, stop.clone()),
    );
    tasks.spawn(
        "public-events",
        OnExit::StopProcess,
        public.clone().publish_events(engine.subscribe(), stop),
    );
}

fn world(config: &Config, providers: &[ProviderDefinition]) -> World {
    let limits = &config.limits;
    let roles = config
        .agents
        .iter()
        .filter_map(|(role, agent)| Some((role.clone(), agent.model.clone()?)));
    World {
        limits: Limits {
            offer_ms: limits.offer_s * 1000,
            lease_ms: limits.lease_s * 1000,
            grace_command_ms: limits.grace_command_s * 1000,
            grace_agent_ms: limits.grace_agent_s * 1000,
            infra_retries: limits.infra_retries,
            cancel_grace_ms: limits.cancel_grace_s * 1000,
            check_ms: limits.check_s * 1000,
            log_bytes: limits.log_bytes,
            job_bytes: limits.job_bytes,
        },
        models: Models {
            aliases: config.models.clone(),
            roles: roles.collect(),
            providers: providers
                .iter()
                .map(|provider| provider.name.clone())
                .collect::<BTreeSet<_>>(),
        },
        ..World::default()
    }
}

/// The configured providers; recordings are put into the blob store, whence workers fetch them.
fn providers(
    config: &Config,
    blobs: &BlobStore,
    store: &Store,
    at: jiff::Timestamp,
) -> anyhow::Result<Vec<ProviderDefinition>> {
    let mut found = vec![];
    for (name, provider) in &config.providers {
        let recording = match (provider.kind, &provider.path) {
            (ProviderKind::Replay, Some(path)) => {
                let (sha256, size) = blobs
                    .import(path)
                    .with_context(|| format!("providers.{name}.path: cannot read {}", path.display()))?;
                artifacts::insert_blob(store.connection(), &sha256, size, at)?;
                Some(BlobRef { sha256, size })
            }
            _ => None,
        };
        match config.provider_definition(name, recording) {
            Ok(definition) => found.extend(definition),
            // said as a warning before; steps that want it fail with the provider's own 401
            Err(error) => warn!("providers.{name}: {error}"),
        }
    }
    Ok(found)
}

fn catalog(config: &Config, store: &Store) -> anyhow::Result<Catalog> {
    let mut prompts = Prompts::builtin();
    for (role, agent) in &config.agents {
        if let Some(path) = &agent.prompt {
            prompts.read(role, path)?;
        }
    }
    let mut catalog = Catalog::builtin(prompts);
    catalog.load_folders(&config.workflows)?;
    for (name, text) in workflows::all(store.connection())? {
        if let Err(problem) = catalog.put(&name, &text) {
            warn!(workflow = %name, "a stored workflow cannot be loaded any more: {}", problem.detail);
        }
    }
    Ok(catalog)
}

/// The line that lets a worker join, for people to copy.
pub async fn join_line(api: &Api) -> anyhow::Result<String> {
    let (_, created) = joining::make_join_token(api)
        .await
        .map_err(|error| anyhow::anyhow!(error.problem().clone()))?;
    Ok(format!("agent-worker join {}", created.token))
}
