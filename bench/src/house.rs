//! A controller and a worker of the same build, in a temporary folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::http::Http;

const PATIENCE: Duration = Duration::from_secs(120);
/// A configuration of [`House::open_with`], in the house's folder.
const CONFIGURATION: &str = "config.yaml";

/// One of the binaries beside this one.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(
        path.exists(),
        "{} is missing: run `make bench`, which builds it",
        path.display()
    );
    Ok(path)
}

/// Asks every millisecond until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("waited {PATIENCE:?} for {what}")
}

/// A child process that ends with its owner.
pub struct Process(Child);

impl Process {
    /// Starts it; what it says goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self(child))
    }

    /// Its resident memory in bytes.
    pub fn resident(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line
            .and_then(|line| line.split_whitespace().next())
            .context("no VmRSS in /proc")?
            .parse()?;
        Ok(kib * 1024.0)
    }

    /// Bytes that it has given to the disk so far, by the kernel's count.
    pub fn written(&self) -> anyhow::Result<f64> {
        let counts = fs::read_to_string(format!("/proc/{}/io", self.0.id()))?;
        let line = counts.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        Ok(line.context("no write_bytes in /proc/…/io")?.parse()?)
    }

    /// The processor time that it has used, by the kernel's clock of 100 ticks a second.
    pub fn processor(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // the name in brackets may hold spaces: the fields are counted behind it
        let (_, fields) = stat.rsplit_once(')').context("no name in /proc/…/stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks
            .map(str::parse::<u64>)
            .sum::<Result<u64, _>>()
            .context("no times in /proc/…/stat")?;
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Both of them; the worker has four slots.
pub struct House {
    folder: tempfile::TempDir,
    /// `agentd`.
    pub controller: Process,
    /// `agent-worker`, after [`House::join`].
    pub worker: Option<Process>,
    /// `host:port` of the API.
    pub address: String,
    /// The admin token.
    pub token: String,
    /// From the start of the process to its first `200` on `/readyz`.
    pub ready_after: Duration,
}

impl House {
    /// A new controller.
    pub fn open() -> anyhow::Result<Self> {
        Self::open_in(tempfile::tempdir()?)
    }

    /// A new controller with this configuration file.
    pub fn open_with(configuration: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join(CONFIGURATION), configuration)?;
        Self::open_in(folder)
    }

    /// A controller on the state that `folder` holds.
    pub fn open_in(folder: tempfile::TempDir) -> anyhow::Result<Self> {
        let state = folder.path().join("agentd");
        let endpoints = state.join("endpoints.json");
        // a stale file would name a port that nobody listens on
        let _ = fs::remove_file(&endpoints);
        let mut command = Command::new(binary("agentd")?);
        command
            .arg("--state-dir")
            .arg(&state)
            .args(["--local", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"])
            .env("AGENTD_MQTT_PUBLIC_LOG", "false")
            .env("AGENTD_LIMITS__MQTT_CONNECTIONS", "2000")
            .env_remove("RUST_LOG");
        let configuration = folder.path().join(CONFIGURATION);
        if configuration.exists() {
            command.arg("--config").arg(configuration);
        }
        let begun = Instant::now();
        let controller = Process::start(&mut command, &folder.path().join("agentd.log"))?;
        let address = until("agentd to listen", || {
            let endpoints: Value = serde_json::from_str(&fs::read_to_string(&endpoints).ok()?).ok()?;
            Some(
                endpoints["http"]
                    .as_str()?
                    .trim_start_matches("http://")
                    .to_owned(),
            )
        })?;
        until("agentd to be ready", || {
            let (status, _) = Http::connect(&address, "")
                .ok()?
                .call("GET", "/readyz", "")
                .ok()?;
            (status == 200).then_some(())
        })?;
        let ready_after = begun.elapsed();
        let token = fs::read_to_string(state.join("admin.token"))?.trim().to_owned();
        Ok(Self {
            folder,
            controller,
            worker: None,
            address,
            token,
            ready_after,
        })
    }

    /// A controller with a worker.
    pub fn with_worker() -> anyhow::Result<Self> {
        let mut house = Self::open()?;
        house.join("bench")?;
        Ok(house)
    }

    /// Joins and starts the worker; after [`House::open_in`], where the ports are others than before,
    /// by a name that the controller does not know yet.
    pub fn join(&mut self, name: &str) -> anyhow::Result<()> {
        self.worker = Some(self.start_worker(name)?);
        Ok(())
    }

    /// Joins and starts a worker of this name and waits until it is online.
    pub fn start_worker(&self, name: &str) -> anyhow::Result<Process> {
        let mut http = self.http()?;
        let (status, body) = http.call("POST", "/v1/workers/join-tokens", "{}")?;
        ensure!(status < 300, "no join token: {}", String::from_utf8_lossy(&body));
        let body: Value = serde_json::from_slice(&body)?;
        let token = body["token"].as_str().context("no token in the answer")?;
        let mut command = Command::new(binary("agent-worker")?);
        command
            .args(["join", token, "--name", name, "--force", "--state-dir"])
            .arg(self.path(&format!("worker-{name}")))
            .env("AGENT_WORKER_SLOTS", "4")
            // what is measured is agentd, not the cages of commands: those have a figure of their own
            .env("AGENT_WORKER_SANDBOX__ALLOW", "none")
            .env_remove("RUST_LOG");
        let worker = Process::start(&mut command, &self.path("worker.log"))?;
        until("the worker to be online", || {
            let (_, body) = http.call("GET", "/v1/workers", "").ok()?;
            let body: Value = serde_json::from_slice(&body).ok()?;
            let mut workers = body["items"].as_array()?.iter();
            let online = |worker: &Value| worker["name"] == name && worker["state"] == "online";
            workers.any(online).then_some(())
        })?;
        Ok(worker)
    }

    /// A connection with the admin token.
    pub fn http(&self) -> anyhow::Result<Http> {
        Http::connect(&self.address, &self.token)
    }

    /// A path beside the state folders.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends both and keeps what they have stored.
    pub fn close(self) -> tempfile::TempDir {
        self.folder
    }
}
