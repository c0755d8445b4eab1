//! A temporary folder with a controller, its workers, and the command line.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::LazyLock,
};

use serde_json::Value;

use crate::{
    eventually,
    http::{self, Answer},
};

/// One of our binaries, beside the test's own executable.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test has an executable");
    let profile = own
        .parent()
        .and_then(Path::parent)
        .expect("target/<profile>/deps/<test>");
    let path = profile.join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace` first",
        path.display()
    );
    path
}

/// A temporary folder; its processes end with it.
pub struct Lab {
    folder: tempfile::TempDir,
    /// What its workers may run tools at; `None`: as the product does by itself.
    allow: Option<&'static str>,
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            allow: (!machine_has_a_sandbox()).then_some("strong,basic,none"),
        }
    }

    /// One whose workers run tools without a sandbox, so that a tool can leave its traces where
    /// the test sees them.
    pub fn without_sandbox() -> Self {
        Self {
            allow: Some("none"),
            ..Self::new()
        }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a controller with this configuration on free ports; without TLS unless that is configured.
    pub fn controller(&self, config: &str) -> Controller {
        self.controller_at(&self.path("controller"), config)
    }

    /// The same with its state in this folder.
    pub fn controller_at(&self, state: &Path, config: &str) -> Controller {
        let file = self.path("agentd.yaml");
        fs::write(&file, config).expect("writable");
        let mut controller = Controller {
            state: state.to_owned(),
            config: file,
            process: None,
            wrapper: vec![],
            environment: vec![],
            // the ports of TLS are fixed by default, and other tests run beside
            local: !config.contains("tls:"),
            http: "127.0.0.1:0".to_owned(),
            mqtt: "127.0.0.1:0".to_owned(),
            log: self.path("agentd.log"),
        };
        controller.start();
        controller
    }

    /// Joins and starts a worker.
    pub fn worker(&self, controller: &Controller, name: &str) -> Worker {
        self.worker_with(controller, name, &[])
    }

    /// The same with these variables in its environment.
    pub fn worker_with(&self, controller: &Controller, name: &str, variables: &[(&str, &str)]) -> Worker {
        self.worker_through(controller, name, variables, &[])
    }

    /// The same, begun through a program that becomes it.
    pub fn worker_through(
        &self,
        controller: &Controller,
        name: &str,
        variables: &[(&str, &str)],
        wrapper: &[&str],
    ) -> Worker {
        let token = controller.ctl(&["workers", "join-token"]);
        let line = String::from_utf8(token.stdout).expect("text");
        let token = line.split_whitespace().last().expect("the join line").to_owned();
        let mut worker = Worker {
            name: name.to_owned(),
            state: self.path(name),
            log: self.path(&format!("{name}.log")),
            process: None,
            allow: self.allow,
            wrapper: wrapper.iter().map(|&word| word.to_owned()).collect(),
            environment: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        worker.spawn(&["join", &token, "--name", name]);
        eventually(&format!("worker {name} to be online"), || {
            let workers = controller.json(&["workers", "-o", "json"]);
            let found = workers["items"]
                .as_array()?
                .iter()
                .find(|worker| worker["name"] == name)?;
            (found["state"] == "online").then_some(())
        });
        worker
    }
}

/// A running `agentd`.
pub struct Controller {
    /// Its state folder.
    pub state: PathBuf,
    config: PathBuf,
    process: Option<Child>,
    wrapper: Vec<String>,
    environment: Vec<(String, String)>,
    local: bool,
    http: String,
    mqtt: String,
    log: PathBuf,
}

impl Controller {
    /// Starts it, again on the ports that it had before.
    pub fn start(&mut self) {
        self.spawn();
        let (endpoints, log) = (self.state.join("endpoints.json"), self.log.clone());
        let found: Value = eventually("agentd to listen", || {
            let text = fs::read_to_string(&endpoints).ok()?;
            serde_json::from_str(&text).ok()
        });
        let text = |name: &str| found[name].as_str().expect("an address").to_owned();
        self.http = text("http").trim_start_matches("http://").to_owned();
        self.mqtt = text("mqtt");
        eventually(&format!("agentd to be ready; see {}", log.display()), || {
            self.ctl(&["status"]).status.success().then_some(())
        });
    }

    /// The same without waiting for it to be ready; it must have run before.
    pub fn spawn(&mut self) {
        // a stale file would name ports that nobody listens on yet
        let _ = fs::remove_file(self.state.join("endpoints.json"));
        let mut command = through(&self.wrapper, "agentd");
        without_settings(&mut command)
            .arg("--config")
            .arg(&self.config)
            .arg("--state-dir")
            .arg(&self.state)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(["--http", &self.http, "--mqtt", &self.mqtt]);
        command.args(self.local.then_some("--local"));
        self.process = Some(spawn(&mut command, &self.log));
    }

    /// From the next start on, runs it through this program, which must become it.
    pub fn run_through(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    }

    /// From the next start on, adds these variables and no others.
    pub fn set_environment(&mut self, environment: &[(&str, &str)]) {
        let owned = environment.iter();
        self.environment = owned
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
    }

    /// Its process, while it runs.
    pub fn process(&mut self) -> &mut Child {
        self.process.as_mut().expect("agentd was started")
    }

    /// Ends it at once, as a power cut does.
    pub fn kill(&mut self) {
        end(&mut self.process);
    }

    /// Ends it in order, as a service manager does.
    pub fn stop(&mut self) {
        stop(&mut self.process, "agentd");
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// `host:port` of the API.
    pub fn http(&self) -> &str {
        &self.http
    }

    /// `host:port` of the broker.
    pub fn mqtt(&self) -> &str {
        &self.mqtt
    }

    /// Where it listens: `http`, `mqtt`, and with TLS `https`, `mqtts`, `ca_fingerprint`.
    pub fn endpoints(&self) -> Value {
        let text = fs::read_to_string(self.state.join("endpoints.json")).expect("the endpoints");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The admin token.
    pub fn token(&self) -> String {
        let text = fs::read_to_string(self.state.join("admin.token")).expect("the admin token");
        text.trim().to_owned()
    }

    /// Runs `agentctl` with the admin token.
    pub fn ctl(&self, args: &[&str]) -> Output {
        self.ctl_in(Path::new("/"), args)
    }

    /// The same in a folder.
    pub fn ctl_in(&self, folder: &Path, args: &[&str]) -> Output {
        let mut command = Command::new(binary("agentctl"));
        let command = self.known_to(&mut command).args(args).current_dir(folder);
        command.stdin(Stdio::null()).output().expect("agentctl starts")
    }

    /// Tells a program's environment where this controller is, with the admin token.
    pub fn known_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("AGENTCTL_URL", self.url())
            .env("AGENTCTL_TOKEN", self.token())
            .env("HOME", &self.state)
    }

    /// What `agentctl` prints, as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.ctl(args);
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!(
                "{args:?}: {error}: {text}{}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    /// A job with its steps.
    pub fn job(&self, number: u64) -> Value {
        self.json(&["show", &number.to_string(), "-o", "json"])
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks its API with the admin token.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        http::request(&self.http, method, path, Some(&self.token()), body)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        end(&mut self.process);
        if std::thread::panicking() {
            eprintln_tail("agentd", &self.log);
        }
    }
}

/// A running `agent-worker`.
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Its state folder.
    pub state: PathBuf,
    log: PathBuf,
    process: Option<Child>,
    allow: Option<&'static str>,
    wrapper: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Worker {
    fn spawn(&mut self, args: &[&str]) {
        let mut command = through(&self.wrapper, "agent-worker");
        without_settings(&mut command);
        if let Some(levels) = self.allow {
            command.env("AGENT_WORKER_SANDBOX__ALLOW", levels);
        }
        command.args(args).arg("--state-dir").arg(&self.state);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(spawn(&mut command, &self.log));
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        end(&mut self.process);
    }

    /// Ends it in order, as a service manager does.
    pub fn stop(&mut self) {
        stop(&mut self.process, &self.name);
    }

    /// Starts it again with the credential that it has.
    pub fn start(&mut self) {
        self.spawn(&[]);
    }

    /// From the next start on, adds these variables and no others.
    pub fn set_environment(&mut self, environment: &[(&str, &str)]) {
        let owned = environment.iter();
        self.environment = owned
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
    }

    /// Its process, while it runs.
    pub fn process(&mut self) -> &mut Child {
        self.process.as_mut().expect("the worker was started")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        end(&mut self.process);
        if std::thread::panicking() {
            eprintln_tail(&self.name, &self.log);
        }
    }
}

/// One of our binaries, perhaps begun through a program that becomes it.
fn through(wrapper: &[String], name: &str) -> Command {
    match wrapper.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary(name));
            command
        }
        None => Command::new(binary(name)),
    }
}

/// Whether the product's default, which runs nothing without one, will do.
pub fn machine_has_a_sandbox() -> bool {
    static KNOWN: LazyLock<bool> = LazyLock::new(|| {
        let words = "--unshare-all --disable-userns --unshare-user --ro-bind / / --proc /proc true";
        let tried = Command::new("bwrap").args(words.split(' ')).output();
        let works = tried.is_ok_and(|output| output.status.success());
        if !works {
            say("SKIP: bubblewrap does not work here: workers run tools without a sandbox");
        }
        works
    });
    *KNOWN
}

#[expect(clippy::print_stderr, reason = "a test that tests less says so")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// Keeps what is meant for the tests, such as `AGENTD_SEED`, from becoming a setting.
fn without_settings(command: &mut Command) -> &mut Command {
    let names = std::env::vars_os().map(|(name, _)| name);
    let settings = names.filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("AGENTD_") || name.starts_with("AGENT_WORKER_")
    });
    settings.fold(command, |command, name| command.env_remove(name))
}

fn spawn(command: &mut Command, log: &Path) -> Child {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log file");
    let errors = file.try_clone().expect("a second handle");
    command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .expect("the binary starts")
}

/// Sends a signal by its name, such as `STOP`.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "cannot signal {pid}");
}

fn stop(process: &mut Option<Child>, name: &str) {
    let Some(child) = process else { return };
    signal(child.id(), "TERM");
    eventually(&format!("{name} to stop"), || child.try_wait().expect("a child"));
    *process = None;
}

fn end(process: &mut Option<Child>) {
    if let Some(mut child) = process.take() {
        // it may have ended by itself
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[expect(clippy::print_stderr, reason = "a failed test shows what the processes said")]
fn eprintln_tail(name: &str, log: &Path) {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(40)..].join("\n");
    eprintln!("--- the end of the log of {name}:\n{tail}\n---");
}
