//! `/metrics`, as Prometheus itself reads it.

use std::{
    fs::{self, File},
    io::Write as _,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use e2e::{Lab, eventually, http, repo::has, skip};
use serde_json::Value;

fn is_installed() -> bool {
    let found = has("promtool") && has("prometheus");
    if !found {
        skip("promtool is not installed (scripts/test-deps.sh installs it): /metrics is not checked");
    }
    found
}

/// A program that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn promtool_says_nothing(text: &str) {
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut input = check.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let checked = check.wait_with_output().expect("it ends");
    assert!(
        checked.status.success() && checked.stderr.is_empty() && checked.stdout.is_empty(),
        "{checked:?}"
    );
}

#[test]
fn promtool_has_nothing_to_say_and_prometheus_scrapes_it() {
    if !is_installed() {
        return;
    }
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let run = controller.ctl(&["run", "run", "--", "/bin/true"]);
    assert!(run.status.success(), "{run:?}");

    let plain = http::request(controller.http(), "GET", "/metrics", None, b"");
    assert_eq!(
        plain.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    promtool_says_nothing(&plain.body);

    // a port that was free a moment ago: Prometheus does not say which one it took
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("a port")
        .port();
    let config = lab.path("prometheus.yaml");
    let targets = controller.http();
    fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: agentd\n    static_configs: [{{targets: [\"{targets}\"]}}]\n"
        ),
    )
    .expect("writable");
    let log = File::create(lab.path("prometheus.log")).expect("writable");
    let _prometheus = Running(
        Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                lab.path("prometheus").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus starts"),
    );
    let ask = |path: &str| -> Option<Value> {
        let address = format!("127.0.0.1:{port}");
        let answer = http::try_request(&address, "GET", path, "", b"", Duration::from_secs(5)).ok()?;
        serde_json::from_str(&answer.body).ok()
    };
    let up = eventually("a scrape", || {
        let found = ask("/api/v1/query?query=agentd_worker_up")?;
        found["data"]["result"].get(0).cloned()
    });
    assert_eq!(
        (&up["metric"]["worker"], &up["value"][1]),
        (&"one".into(), &"1".into()),
        "{up}"
    );
    let targets = ask("/api/v1/targets").expect("an answer");
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!(
        (&target["health"], &target["lastError"]),
        (&"up".into(), &"".into()),
        "{target}"
    );
    let metadata = ask("/api/v1/metadata?metric=agentd_queue_wait_seconds").expect("an answer");
    let told = &metadata["data"]["agentd_queue_wait_seconds"][0];
    assert_eq!(
        (&told["type"], &told["unit"]),
        (&"histogram".into(), &"seconds".into()),
        "{metadata}"
    );
    assert!(
        told["help"].as_str().is_some_and(|help| !help.is_empty()),
        "{metadata}"
    );
}
