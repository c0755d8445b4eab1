//! What is looked at, in the order in which a job meets it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use jiff::Timestamp;
use protocol::{
    http::{
        status::{GetStatus, Status},
        workers::{ListWorkers, WorkerView},
    },
    sandbox::{COUNTED, SandboxLevel},
    worker::{Wanted, WorkerState},
};
use reqwest::{Method, header::DATE};

use super::{Finding, Mend, Report};
use crate::{
    client::Client,
    error::CliError,
    output::relative::{bytes, duration_ms},
    repo::git::Git,
    session::Session,
};

/// Our own version, which the others should have too.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Clocks that differ by more make the times in logs useless, in seconds.
const MOST_SKEW: i64 = 30;
/// Less free space than this ends jobs soon, in bytes.
const LEAST_DISK: u64 = 1 << 30;
/// The first git with everything that agentctl and workers use: `--show-object-format` and `--end-of-options`.
const LEAST_GIT: (u32, u32) = (2, 25);

/// Looks at everything that can be looked at.
pub(super) async fn examine(session: &Session) -> Report {
    let mut findings = vec![git().await];
    findings.extend(tokens(&session.places.contexts));
    match session.target() {
        Err(error) => findings.push(unusable("controller", &error, "agentd")),
        Ok(target) => {
            findings.push(Finding::good(
                "address",
                format!("{} (from {})", target.url, target.source),
            ));
            match Client::new(target) {
                Ok(client) => controller(&client, &mut findings).await,
                Err(error) => findings.push(unusable("controller", &error, "agentctl login URL")),
            }
        }
    }
    Report { findings }
}

/// Whether others may read the file with this user's tokens.
fn tokens(file: &Path) -> Option<Finding> {
    let mode = fs::metadata(file).ok()?.permissions().mode() & 0o777;
    let path = file.display();
    (mode & 0o077 != 0).then(|| {
        Finding::weak(
            "tokens",
            format!("others may read {path} (mode {mode:03o}), which holds your tokens"),
            format!("chmod 600 {path}"),
        )
        .mended_by(Mend::Protect(file.to_owned()))
    })
}

/// An error of ours as a finding, with its exit code.
fn unusable(what: &'static str, error: &CliError, repair: &str) -> Finding {
    Finding {
        exit: error.exit(),
        ..Finding::broken(what, error.to_string(), repair)
    }
}

async fn git() -> Finding {
    match Git::at(".").line(&["--version"]).await {
        Err(error) => Finding::broken("git", error.to_string(), "sudo apt install git"),
        Ok(text) => match git_version(&text) {
            Some(version) if version >= LEAST_GIT => Finding::good("git", text),
            _ => Finding::weak(
                "git",
                format!("{text} is older than {}.{}", LEAST_GIT.0, LEAST_GIT.1),
                "sudo apt install git",
            ),
        },
    }
}

fn git_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split_whitespace().nth(2)?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

async fn controller(client: &Client, findings: &mut Vec<Finding>) {
    let url = client.target().url.clone();
    match client.answer(client.request(Method::GET, "/healthz")).await {
        Err(error) => return findings.push(unusable("controller", &error, &start_of(&url))),
        Ok(response) => {
            let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
            findings.push(clock(date, Timestamp::now()));
        }
    }
    let status = match client.call(&GetStatus {}).await {
        Err(error) => return findings.push(unusable("token", &error, &format!("agentctl login {url}"))),
        Ok(status) => status,
    };
    findings.extend(of_status(&status));
    match client.call(&ListWorkers {}).await {
        Err(error) => findings.push(unusable("workers", &error, "agentctl workers")),
        Ok(page) => findings.extend(of_workers(&page.items, &status)),
    }
}

fn start_of(url: &str) -> String {
    if crate::client::is_loopback(url) {
        "agentd".to_owned()
    } else {
        format!("start agentd on the machine of {url}, or store another address: agentctl login URL")
    }
}

/// The `Date` of an answer against our own clock.
fn clock(date: Option<&str>, now: Timestamp) -> Finding {
    let Some(then) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) else {
        return Finding::good("clock", "the controller does not say its time");
    };
    let skew = then.timestamp().as_second() - now.as_second();
    let apart = duration_ms(skew.unsigned_abs() * 1000);
    if skew.abs() <= MOST_SKEW {
        return Finding::good("clock", format!("{apart} apart from the controller's"));
    }
    let way = if skew > 0 { "ahead of" } else { "behind" };
    Finding::weak(
        "clock",
        format!("the controller's is {apart} {way} ours"),
        "timedatectl set-ntp true",
    )
}

fn of_status(status: &Status) -> Vec<Finding> {
    let version = if status.version == VERSION {
        Finding::good("version", format!("agentd and agentctl are {VERSION}"))
    } else {
        let detail = format!("agentd is {}, agentctl is {VERSION}", status.version);
        Finding::weak("version", detail, "install the same version on both machines")
    };
    let free = bytes(status.disk_free);
    let disk = if status.disk_free >= LEAST_DISK {
        Finding::good("disk", format!("{free} free in the controller's state folder"))
    } else {
        let detail = format!("only {free} free in the controller's state folder");
        Finding::broken(
            "disk",
            detail,
            "free some space on the controller, then: agentctl status",
        )
    };
    let mut findings = vec![version, disk];
    if status.paused {
        findings.push(Finding::weak(
            "dispatch",
            "the controller is paused: no step is given to a worker",
            "let it go on with the command `resume` on MQTT, topic agentd/command",
        ));
    }
    findings
}

fn of_workers(workers: &[WorkerView], status: &Status) -> Vec<Finding> {
    let able: Vec<&WorkerView> = workers
        .iter()
        .filter(|worker| worker.state == WorkerState::Online && worker.wanted == Wanted::Active)
        .collect();
    let found: usize = able.iter().map(|worker| worker.models.len()).sum();
    let models = match (status.models.len(), found) {
        (0, 0) => Finding::weak(
            "models",
            "none is configured and no worker reaches one: only the workflow `run` works",
            "ollama pull qwen2.5-coder:7b    (on a worker; or name a provider in the controller's configuration)",
        ),
        (0, found) => Finding::good("models", format!("{found} found on workers")),
        (_, _) => Finding::good("models", status.models.join(", ")),
    };
    let mut findings = vec![presence(workers, &able), models];
    findings.extend(able.iter().flat_map(|worker| of_worker(worker)));
    findings
}

fn presence(workers: &[WorkerView], able: &[&WorkerView]) -> Finding {
    let names = |workers: &[&WorkerView]| {
        let names: Vec<&str> = workers.iter().map(|worker| worker.name.as_str()).collect();
        names.join(", ")
    };
    let idle = workers.iter().find(|worker| worker.wanted != Wanted::Active);
    match (workers, able, idle) {
        ([], _, _) => Finding::broken("workers", "none has joined", "agentctl workers join-token"),
        (_, [], Some(idle)) => Finding::broken(
            "workers",
            format!("none takes steps: {} is {}", idle.name, idle.wanted),
            format!("agentctl workers resume {}", idle.name),
        )
        .mended_by(Mend::Resume(idle.name.clone())),
        (_, [], None) => {
            let all: Vec<&WorkerView> = workers.iter().collect();
            let detail = format!("none is online of {}", names(&all));
            Finding::broken("workers", detail, "agent-worker    (on one of their machines)")
        }
        (_, able, _) => Finding::good("workers", format!("{} online: {}", able.len(), names(able))),
    }
}

fn of_worker(worker: &WorkerView) -> Vec<Finding> {
    let name = &worker.name;
    let mut findings = Vec::new();
    if worker.version != VERSION {
        let detail = format!("{name} is {}, agentctl is {VERSION}", worker.version);
        findings.push(Finding::weak(
            "version",
            detail,
            format!("install {VERSION} on {name}"),
        ));
    }
    if worker.load.disk_free < LEAST_DISK {
        let detail = format!(
            "{name} has only {} free for workspaces",
            bytes(worker.load.disk_free)
        );
        findings.push(Finding::weak(
            "disk",
            detail,
            format!("free some space on {name}"),
        ));
    }
    if !worker.labels.has("tool", "git") {
        let repair = format!("sudo apt install git    (on {name}, then restart agent-worker)");
        findings.push(Finding::broken("git", format!("{name} has no git"), repair));
    }
    findings.push(sandbox(worker));
    findings
}

/// How well a worker keeps tools from its machine, and the way to `strong`.
fn sandbox(worker: &WorkerView) -> Finding {
    let name = &worker.name;
    let repair = if worker.labels.has("tool", "bwrap") {
        format!(
            "read in the log of {name} why its bubblewrap gives no more; `sandbox.allow` must name strong"
        )
    } else {
        format!(
            "sudo apt install bubblewrap    (on {name}, also on Raspberry Pi OS, then restart agent-worker)"
        )
    };
    match SandboxLevel::of(&worker.labels) {
        Some(SandboxLevel::Strong) => Finding::good("sandbox", format!("{name}: strong, {}", limits(worker))),
        Some(SandboxLevel::Basic) => Finding::weak(
            "sandbox",
            format!("{name} runs tools at sandbox level basic: the rest of its machine is hidden in part"),
            repair,
        ),
        Some(SandboxLevel::None) => Finding::weak(
            "sandbox",
            format!("{name} runs tools without a sandbox: they see what its user sees"),
            repair,
        ),
        None => Finding::broken(
            "sandbox",
            format!("{name} runs no tools: its machine has no sandbox level that its configuration allows"),
            repair,
        ),
    }
}

/// What of a command's use is limited as a whole; the rest is limited for each process.
fn limits(worker: &WorkerView) -> String {
    let as_a_whole: Vec<&str> = worker.labels.values(COUNTED).collect();
    if as_a_whole.is_empty() {
        return "limits for each process of a command and a count once a second: its unit lacks `Delegate=yes`, or \
                its system cgroup v2"
            .to_owned();
    }
    format!("limits for each command as a whole ({})", as_a_whole.join(", "))
}

#[cfg(test)]
mod tests {
    use protocol::{id::WorkerId, label::Labels, usage::Usage, worker::Load};

    use super::*;
    use crate::commands::doctor::Health;

    fn worker(name: &str, state: WorkerState, wanted: Wanted) -> WorkerView {
        let mut labels = Labels::default();
        labels.insert("tool", "git");
        labels.insert("sandbox", "strong");
        WorkerView {
            name: name.into(),
            id: WorkerId::new(),
            state,
            wanted,
            labels,
            slots: 2,
            slots_used: 0,
            models: vec![],
            version: VERSION.into(),
            load: Load {
                disk_free: 5 << 30,
                ..Load::default()
            },
            joined_at: Timestamp::UNIX_EPOCH,
            last_seen_at: None,
            current: vec![],
        }
    }

    fn status(models: &[&str]) -> Status {
        Status {
            state: "online".into(),
            version: VERSION.into(),
            epoch: 1,
            uptime_s: 1,
            queue_depth: 0,
            running: 0,
            awaiting: 0,
            jobs_open: 0,
            workers_online: 0,
            workers: 0,
            paused: false,
            today: Usage::default(),
            disk_free: 5 << 30,
            disk_used: protocol::http::status::DiskUsed::default(),
            models: models.iter().map(|model| (*model).to_owned()).collect(),
        }
    }

    fn verdicts(findings: &[Finding]) -> Vec<(&str, Health)> {
        findings
            .iter()
            .map(|finding| (finding.what, finding.health))
            .collect()
    }

    #[test]
    fn workers_are_missed_in_the_right_words() {
        let (online, active) = (WorkerState::Online, Wanted::Active);
        let repair = |workers: &[WorkerView]| {
            let finding = of_workers(workers, &status(&["large"])).swap_remove(0);
            (finding.health, finding.repair.unwrap_or_default())
        };
        assert_eq!(repair(&[]).1, "agentctl workers join-token");
        assert_eq!(
            repair(&[worker("a", online, Wanted::Paused)]).1,
            "agentctl workers resume a"
        );
        assert_eq!(
            repair(&[worker("a", WorkerState::Offline, active)]).0,
            Health::Broken
        );
        assert_eq!(repair(&[worker("a", online, active)]).0, Health::Good);
    }

    #[test]
    fn weak_spots_of_a_worker_and_missing_models_are_found() {
        let mut weak = worker("a", WorkerState::Online, Wanted::Active);
        weak.labels = Labels::default();
        weak.labels.insert("sandbox", "none");
        weak.load.disk_free = 1;
        weak.version = "0.0.1".into();
        assert_eq!(
            verdicts(&of_workers(&[weak], &status(&[]))),
            [
                ("workers", Health::Good),
                ("models", Health::Weak),
                ("version", Health::Weak),
                ("disk", Health::Weak),
                ("git", Health::Broken),
                ("sandbox", Health::Weak),
            ]
        );
    }

    #[test]
    fn clocks_may_differ_a_little() {
        let now: Timestamp = "2026-11-24T04:00:00Z".parse().expect("a time");
        assert_eq!(
            clock(Some("Tue, 24 Nov 2026 04:00:20 GMT"), now).health,
            Health::Good
        );
        let wrong = clock(Some("Thu, 01 Jan 1970 00:00:20 GMT"), now);
        assert_eq!(wrong.health, Health::Weak);
        assert!(wrong.detail.contains("behind"), "{}", wrong.detail);
        assert_eq!(clock(None, now).health, Health::Good);
    }

    #[test]
    fn versions_of_git_are_read() {
        assert_eq!(git_version("git version 2.47.3"), Some((2, 47)));
        assert_eq!(git_version("git version 2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(git_version("nonsense"), None);
    }
}
