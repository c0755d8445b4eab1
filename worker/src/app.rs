//! Builds the worker from its configuration, runs it and stops it: the only
//! file that knows all the others.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::Context;
use protocol::{
    id::BootId,
    model::{ProviderDefinition, ProviderKind},
};
use service::{
    clock::{Clock as _, SharedClock, SystemClock},
    shutdown,
    supervisor::Supervisor,
    tasks::{Drained, OnExit, Tasks},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    access::Access,
    attempt::{Attempts, StepRunner, Workshop},
    cli::{self, Cli, Command},
    config::Config,
    credential::{Credential, Shown},
    discovery,
    folder::StateFolder,
    inventory::{self, Found, Inventory},
    join,
    journal::{Damage, Journal, Opened},
    leftovers,
    link::{Address, Link},
    log::Mask,
    outbox::Outbox,
    pulse::Pulse,
    renewal::Renewal,
    sandbox::Sandbox,
    session::{self, Held, Identity, Machine, Session, SessionParts},
    telemetry,
    tools::{environment::Toolchains, exec::Guardian},
    upload::{BlobCache, Controller},
    workspace::{WorkspaceLimits, Workspaces},
};

/// How long everything may take to end after it was asked to.
const DRAIN: Duration = Duration::from_secs(6);
/// Reports of attempts that wait for the session.
const REPORTS: usize = 64;
/// Pieces of live logs that wait; more are dropped.
const TAILS: usize = 32;
/// Largest log of a step until the controller says otherwise: 16 MiB.
const LOG_BYTES: u64 = 16 << 20;

/// Does what the command line says; returns when the work is over.
pub async fn run(cli: Cli, runner: StepRunner) -> anyhow::Result<()> {
    let mut layers = Config::layers(cli.config.as_deref())?;
    if let Some(folder) = &cli.state_dir {
        layers = layers.flag("--state-dir", "state_dir", folder.to_string_lossy());
    }
    let config: Config = layers.read()?;
    if cli.print_config {
        cli::say(layers.print().trim_end());
        return Ok(());
    }
    if cli.check_config {
        cli::say("the configuration is valid");
        return Ok(());
    }
    service::obs::log::init(&config.log.level)?;
    let root = service::state_dir::locate("agent-worker", config.state_dir.as_deref())?;
    let folder = StateFolder::open(&root)?;
    let plan = match &cli.command {
        Some(Command::Join(join)) => Some(plan_to_join(join, &folder).await?),
        Some(Command::Guard) => anyhow::bail!("`guard` is for agent-worker itself: it needs --state-dir"),
        None => None,
    };
    let credential = match plan {
        Some(_) => None,
        None => Some(folder.credential()?),
    };
    clear_up(&folder)?;
    let toolchains = Toolchains::of_this_process();
    let program = std::env::current_exe().context("this program cannot find itself")?;
    let sandbox = Sandbox::probe(&config.sandbox, &toolchains, folder.root(), program).await;
    let sandbox = Arc::new(sandbox.context("the sandbox for tools cannot be prepared")?);
    let providers = own_providers(&config)?;
    let labels = config.labels.clone();
    let state = folder.root().to_owned();
    let mut inventory = Inventory::new(toolchains.clone(), &providers, labels, state, sandbox.clone());
    let found = inventory.look().await;
    let credential = match (plan, credential) {
        (Some(plan), _) => {
            let now = SystemClock::new().wall();
            let credential = plan.carry_out(&folder, &found, config.slots, now).await?;
            cli::say(&format!("joined as {}: {}", credential.name, found.summary()));
            telemetry::joined(&credential.name, &credential.http_url);
            credential
        }
        (None, Some(credential)) => credential,
        (None, None) => folder.credential()?,
    };
    let worker = Worker {
        config,
        folder: Arc::new(folder),
        credential,
        toolchains,
        sandbox,
        providers,
        inventory,
        found,
        runner,
    };
    worker.work().await
}

/// By the token of the command line; without one, controllers of this network are looked for and the
/// token is asked for.
async fn plan_to_join(join: &cli::Join, folder: &StateFolder) -> anyhow::Result<join::Plan> {
    if let Some(token) = &join.token {
        return Ok(join::Plan::new(token, join, folder)?);
    }
    let found = tokio::task::spawn_blocking(discovery::controllers).await?;
    cli::say(&if found.is_empty() {
        "nothing in this network says that it is a controller".to_owned()
    } else {
        format!("found: {}", found.join(", "))
    });
    let asked = "its join token (`agentctl workers join-token` shows it there): ";
    let line = tokio::task::spawn_blocking(move || cli::ask(asked)).await??;
    // the whole line is as good
    let token = line.split_whitespace().next_back().unwrap_or_default();
    let mut plan = join::Plan::new(token, join, folder)?;
    plan.look_at(found);
    Ok(plan)
}

/// What earlier lives left behind.
fn clear_up(folder: &StateFolder) -> anyhow::Result<()> {
    let killed = leftovers::kill(folder.root());
    if killed > 0 {
        tracing::warn!(
            killed,
            "killed {killed} processes that an earlier life of this worker left"
        );
    }
    folder
        .clear_scratch()
        .with_context(|| format!("{} cannot be cleared", folder.scratch().display()))
}

/// The providers of this machine with their keys; a replay's recording travels as a blob instead.
fn own_providers(config: &Config) -> anyhow::Result<Vec<ProviderDefinition>> {
    let mut definitions = vec![];
    for (name, provider) in &config.providers {
        if provider.kind == ProviderKind::Replay {
            continue;
        }
        let key = config.provider_key(name)?;
        let key = key.map(|key| key.expose().to_owned());
        definitions.push(provider.definition(name, key, None));
    }
    Ok(definitions)
}

/// Everything that a working worker is made of.
struct Worker {
    config: Config,
    folder: Arc<StateFolder>,
    credential: Credential,
    toolchains: Toolchains,
    sandbox: Arc<Sandbox>,
    providers: Vec<ProviderDefinition>,
    inventory: Inventory,
    found: Found,
    runner: StepRunner,
}

impl Worker {
    async fn work(self) -> anyhow::Result<()> {
        let _guardian = self.guardian();
        let stop = CancellationToken::new();
        let _signals = shutdown::on_signals(stop.clone()).context("signals cannot be watched")?;
        let tasks = Tasks::new(stop.clone());
        let clock = SystemClock::shared();
        let (journal, opened, forgotten) = Journal::open(self.folder.journal(), clock.clone(), &tasks)?;
        self.introduce(&opened);
        let (access, shown) = Access::of(&self.credential)?;
        let base = self.base()?;
        let controller = Controller::new(&base, access.clone())?;
        let renewal = self.renewal(&base, &access, shown, &clock);
        let (link, ends) = Link::new(self.address(&opened, access)?);
        let (reports, reports_in) = mpsc::channel(REPORTS);
        let (tails, tails_in) = mpsc::channel(TAILS);
        let workshop = Arc::new(self.workshop(clock, controller, reports.clone(), tails)?);
        let supervisor = Supervisor::of_this_process().map(Arc::new);
        // made only where it runs: whoever has the journal in hand keeps its thread alive
        let pulse = supervisor.clone().map(|supervisor| {
            let pulse = Pulse {
                reports,
                journal: journal.clone(),
                progress: link.progress(),
                connection: ends.connection.clone(),
                controller: base.clone(),
            };
            pulse.run(supervisor, stop.clone())
        });
        let (told, introduction) = watch::channel(self.found.introduction);
        let identity = Identity {
            boot: BootId::new(),
            journal: opened.id,
            start: opened.start,
            slots: self.config.slots,
        };
        let machine = Machine::new(identity, opened.epoch, opened.held);
        let outbox = Outbox::new(
            ends.client.clone(),
            self.credential.id,
            machine.session(),
            machine.epoch(),
        );
        let folder = self.folder.root().to_owned();
        let session = Session::new(SessionParts {
            machine,
            outbox,
            link: ends,
            journal,
            forgotten,
            attempts: Attempts::new(workshop.clone(), tasks.clone()),
            reports: reports_in,
            tails: tails_in,
            controller: base,
            introduction,
            load: Box::new(move || inventory::load(&folder)),
        });
        tasks.spawn(
            "inventory",
            OnExit::Log,
            self.inventory.keep_looking(told, stop.clone()),
        );
        if let Some(renewal) = renewal {
            tasks.spawn("renewal", OnExit::StopProcess, renewal.run(stop.clone()));
        }
        tasks.spawn("sweep", OnExit::Log, workshop.keep_small(stop.clone()));
        session::spawn(&tasks, link, session, &stop);
        if let Some(pulse) = pulse {
            tasks.spawn("pulse", OnExit::StopProcess, pulse);
        }
        stop.cancelled().await;
        if let Some(supervisor) = supervisor {
            supervisor.stopping();
        }
        if let Drained::Late(late) = tasks.drain(DRAIN).await {
            tracing::warn!(?late, "stopped without waiting any longer");
        }
        match tasks.failure() {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// Without it the next life of this worker clears up.
    fn guardian(&self) -> Option<Guardian> {
        let lock = self.folder.share_lock();
        let started = lock.and_then(|lock| Guardian::start(self.folder.root(), lock));
        started
            .inspect_err(|error| tracing::warn!(%error, "programs of a step outlive a kill of this worker"))
            .ok()
    }

    /// Says who works here, with what, and how safely.
    fn introduce(&self, opened: &Opened) {
        let labels = &self.found.introduction.labels;
        telemetry::started(
            &self.credential.name,
            self.folder.root(),
            self.config.slots,
            labels,
        );
        telemetry::sandbox(&self.sandbox);
        match &opened.damage {
            None => {}
            Some(Damage::TornTail(bytes)) => {
                tracing::warn!(
                    bytes,
                    "the last write to the journal was cut by a crash; {bytes} bytes were dropped"
                );
            }
            Some(Damage::Corrupt { lost, aside }) => tracing::error!(
                lost, aside = %aside.display(),
                "the journal was damaged: {lost} bytes cannot be read; the file is kept as {}, a new journal begins \
                 with what could be read",
                aside.display()
            ),
        }
        let unsent = |held: &&Held| matches!(held, Held::Unsent { .. });
        telemetry::results_kept(opened.held.values().filter(unsent).count());
    }

    /// What renews the certificate, if there is one.
    fn renewal(
        &self,
        base: &str,
        access: &Access,
        shown: Option<Arc<Shown>>,
        clock: &SharedClock,
    ) -> Option<Renewal> {
        Some(Renewal {
            folder: self.folder.clone(),
            credential: self.credential.clone(),
            certified: self.credential.certified.clone()?,
            shown: shown?,
            controller: base.to_owned(),
            access: access.clone(),
            clock: clock.clone(),
        })
    }

    /// Base URL of the controller: as configured, else as joined.
    fn base(&self) -> anyhow::Result<String> {
        let configured = self.config.controller.as_ref();
        let base = configured.unwrap_or(&self.credential.http_url);
        let scheme = match self.credential.certified {
            Some(_) => "https://",
            None => "http://",
        };
        anyhow::ensure!(
            base.starts_with(scheme),
            "controller: {base} does not fit the credential of this worker, which joined over {scheme}: write the \
             address with {scheme}, or join again"
        );
        Ok(base.clone())
    }

    /// Host of the broker: that of a configured controller, else as joined.
    fn broker_host<'a>(&'a self, joined: &'a str) -> &'a str {
        let Some(url) = &self.config.controller else {
            return joined;
        };
        let authority = url.split("://").nth(1).and_then(|rest| rest.split('/').next());
        let authority = authority.unwrap_or(joined);
        match authority.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => host.trim_matches(['[', ']']),
            _ => authority.trim_matches(['[', ']']),
        }
    }

    fn address(&self, opened: &Opened, access: Access) -> anyhow::Result<Address> {
        let credential = &self.credential;
        let (host, port) = credential
            .mqtt_address
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host.trim_matches(['[', ']']), port.parse().ok()?)))
            .with_context(|| {
                format!(
                    "the credential names no broker: {:?} should be host:port; join again with `agent-worker join TOKEN --force`",
                    credential.mqtt_address
                )
            })?;
        Ok(Address {
            host: self.broker_host(host).to_owned(),
            port,
            worker: credential.id,
            access,
            journal: opened.id,
            start: opened.start,
        })
    }

    fn workshop(
        &self,
        clock: SharedClock,
        controller: Controller,
        reports: mpsc::Sender<crate::attempt::Report>,
        tails: mpsc::Sender<protocol::message::LogTail>,
    ) -> anyhow::Result<Workshop> {
        let limits = WorkspaceLimits {
            file_urls: self.config.allow_file_urls,
            ..WorkspaceLimits::default()
        };
        let (root, sandbox) = (self.folder.root(), self.sandbox.clone());
        let workspaces = open_workspaces(root, limits, self.toolchains.clone(), sandbox)?;
        let keys = self
            .providers
            .iter()
            .filter_map(|provider| provider.api_key.as_deref());
        Ok(Workshop {
            runner: self.runner.clone(),
            blobs: BlobCache::new(self.folder.blobs(), controller.clone()),
            controller,
            workspaces: Arc::new(workspaces),
            providers: self.providers.clone(),
            mask: Mask::of(keys.chain(self.credential.secrets())),
            scratch: self.folder.scratch(),
            spools: self.folder.spools(),
            clock,
            reports,
            tails,
            log_bytes: AtomicU64::new(LOG_BYTES),
        })
    }
}

fn open_workspaces(
    root: &Path,
    limits: WorkspaceLimits,
    toolchains: Toolchains,
    sandbox: Arc<Sandbox>,
) -> anyhow::Result<Workspaces> {
    Workspaces::new(root, limits, toolchains, sandbox)
        .with_context(|| format!("work trees cannot be kept in {}", root.display()))
}
