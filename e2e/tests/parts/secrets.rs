//! Secrets: in, sealed; out, once, to the attempt whose step names them; and nowhere else.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use e2e::{
    Controller, Lab, Worker, eventually, http, lab,
    model::{Reply, Role, ScriptedModel},
    repo::{SAMPLES, git, has},
};
use serde_json::{Value, json};

/// Sets a secret by stdin, as a person does who does not want it in the shell's history.
fn set(controller: &Controller, name: &str, value: &str) {
    let mut command = Command::new(lab::binary("agentctl"));
    let command = controller.known_to(&mut command).args(["secrets", "set", name]);
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().expect("agentctl starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(value.as_bytes()).expect("taken");
    drop(stdin);
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "{output:?}");
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains(value.trim()),
        "{output:?}"
    );
}

fn put(lab: &Lab, controller: &Controller, name: &str, text: &str) {
    let file = lab.path(&format!("{name}.yaml"));
    fs::write(&file, text).expect("writable");
    let put = controller.ctl(&["workflows", "put", file.to_str().expect("text")]);
    assert!(put.status.success(), "{put:?}");
}

#[test]
fn a_step_gets_what_it_names_once_and_every_use_is_written_down() {
    let lab = Lab::new();
    let mut controller = lab.controller("");
    let worker = lab.worker(&controller, "one");
    put(
        &lab,
        &controller,
        "publish",
        "api: agentd/v1\nname: publish\nsteps:\n  a:\n    run: |\n      test \"$FORGE_TOKEN\" = \"a value of mine\"\n      \
         test \"$(cat \"$DEPLOY_KEY_FILE\")\" = \"$(printf 'two\\nlines of it')\"\n      \
         test \"$(stat -c %a \"$DEPLOY_KEY_FILE\")\" = 600\n      test -z \"$DEPLOY_KEY\"\n      \
         echo FORGE_TOKEN is \"$FORGE_TOKEN\"\n    shell: bash\n    \
         secrets: [FORGE_TOKEN, {name: DEPLOY_KEY, as: file}]\n",
    );
    let early = controller.ctl(&["submit", "publish"]);
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    assert_eq!(early.status.code(), Some(2), "{early:?}");
    assert!(
        said.contains("step a of workflow publish needs the secret FORGE_TOKEN"),
        "{said}"
    );

    set(&controller, "FORGE_TOKEN", "another value\n");
    set(&controller, "FORGE_TOKEN", "a value of mine\n");
    set(&controller, "DEPLOY_KEY", "two\nlines of it\n");
    let listed = controller.json(&["secrets", "-o", "json"]);
    assert_eq!(listed["items"][1]["name"], "FORGE_TOKEN", "{listed}");
    assert!(!listed.to_string().contains("a value of mine"), "{listed}");

    let run = controller.ctl(&["run", "publish"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let log = String::from_utf8_lossy(&controller.ctl(&["logs", "@last"]).stdout).into_owned();
    assert!(log.contains("FORGE_TOKEN is •••"), "{log}");

    // the attempt has ended, and had them before; others never get them
    let job = controller.job(1);
    let attempt = job["steps"][0]["attempts"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/v1/attempts/{attempt}/secrets");
    assert_eq!(controller.request("GET", &path, b"").status, 403);
    let credential = fs::read_to_string(worker.state.join("credential.json")).expect("there");
    let credential: Value = serde_json::from_str(&credential).expect("JSON");
    if let Some(secret) = credential["secret"].as_str() {
        let address = controller.url().replace("http://", "");
        let again = http::request(&address, "GET", &path, Some(secret), b"");
        assert_eq!(again.status, 409, "{again:?}");
    }

    controller.ctl(&["secrets", "remove", "FORGE_TOKEN"]);
    assert_eq!(controller.ctl(&["submit", "publish"]).status.code(), Some(2));
    let rows = controller.json(&["audit", "-n", "100", "-o", "json"]);
    let rows = rows["items"].as_array().expect("rows");
    let times = |action: &str| rows.iter().filter(|row| row["action"] == action).count();
    assert_eq!((times("secret.set"), times("secret.remove")), (3, 1), "{rows:?}");
    let delivered = rows
        .iter()
        .find(|row| row["action"] == "secret.deliver")
        .expect("written down");
    assert_eq!(
        delivered["object"], "FORGE_TOKEN, DEPLOY_KEY to job 1, a, attempt 1",
        "{delivered}"
    );
    let denied = eventually("the refusal to be written down", || {
        let rows = controller.json(&["audit", "--action", "http", "-o", "json"]);
        rows["items"].as_array()?.first().cloned()
    });
    assert_eq!(denied["object"], "GET /v1/attempts/{attempt}/secrets", "{denied}");

    // the chain holds over a restart, and whoever writes past agentd is found
    let whole = controller.ctl(&["audit", "verify"]);
    assert_eq!(whole.status.code(), Some(0), "{whole:?}");
    controller.stop();
    let database = rusqlite::Connection::open(controller.state.join("agentd.db")).expect("opens");
    let forged = "DROP TRIGGER audit_is_not_changed; UPDATE audit SET who = 'forged' WHERE seq = 2";
    database.execute_batch(forged).expect("forged");
    drop(database);
    controller.start();
    let broken = controller.ctl(&["audit", "verify"]);
    let said = String::from_utf8_lossy(&broken.stdout).into_owned();
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    assert!(said.contains("broken at row 2 "), "{said}");
}

/// Prints the planted secrets in every encoding, as a careless tool would; then waits.
const SPILL: &str = r#"
import base64, json, os, sys, time, urllib.parse
def spill(s):
    b = s.encode()
    yield s
    yield from s.splitlines()
    for t in [s] + s.splitlines():
        b = t.encode()
        yield b.hex()
        yield b.hex().upper()
        yield json.dumps(t)
        yield urllib.parse.quote(t, safe="")
        yield urllib.parse.quote_plus(t)
        yield "".join("%%%02x" % c for c in b)
        for before in ("", "a", "ab"):
            yield base64.b64encode((before + t).encode()).decode()
            yield base64.urlsafe_b64encode((before + t).encode()).decode()
        yield base64.encodebytes(b).decode()
planted = json.load(open(os.environ["PLANTED"]))
planted["step"] = os.environ["STEP_SECRET"]
for name in planted:
    for text in spill(planted[name]):
        print("x" + text + "y")
        print(text, file=sys.stderr)
        print(text)
# in the last lines, which become an output
for name in planted:
    print(base64.b64encode(planted[name].encode()).decode())
sys.stdout.flush()
open(os.environ["REACHED"], "w").close()
while not os.path.exists(os.environ["GO_ON"]):
    time.sleep(0.05)
open("changed.txt", "w").write("nothing secret\n")
"#;

/// What must not be found: the secret and each of its lines, in every encoding.
fn traces(secret: &str) -> Vec<String> {
    let mut traces = vec![];
    for text in std::iter::once(secret).chain(secret.lines().filter(|line| line.len() > 20)) {
        let bytes = text.as_bytes();
        let hex = hex(bytes);
        traces.push(text.to_owned());
        traces.push(hex.to_uppercase());
        traces.push(hex);
        traces.push(percent(bytes));
        let json = json!(text).to_string();
        traces.push(json[1..json.len() - 1].to_owned());
        for before in ["", "a", "ab"] {
            let encoded = base64(format!("{before}{text}").as_bytes());
            // its edges hold bits of their neighbours
            traces.push(encoded[4..encoded.len() - 4].to_owned());
        }
    }
    traces
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn percent(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("%{byte:02x}"))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let number = part
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= part.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

/// Every file beneath a folder but for the places of the secrets themselves.
fn search(
    folder: &Path,
    spared: &[PathBuf],
    found: &mut Vec<(String, String)>,
    needles: &[(String, String)],
) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if spared.contains(&path) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            search(&path, spared, found, needles);
            continue;
        }
        let Ok(bytes) = fs::read(&path) else { continue };
        for (name, needle) in needles {
            let is_here = bytes
                .windows(needle.len())
                .any(|window| window == needle.as_bytes());
            if is_here {
                found.push((path.display().to_string(), format!("{name}: {needle}")));
            }
        }
    }
}

fn command_lines() -> Vec<u8> {
    let mut lines = vec![];
    for entry in fs::read_dir("/proc").expect("a folder").flatten() {
        if let Ok(line) = fs::read(entry.path().join("cmdline")) {
            lines.extend(line);
        }
    }
    lines
}

/// The secret of the step: of several lines, as key files are.
const STEP: &str = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAo\n\
                    C7VJTUt9Us8cKjMzEfYyjiWA4R4/+x\n-----END KEY-----";
/// The key of a provider, which the worker gets for its agent.
const PROVIDER: &str = "sk-planted-key-of-a-provider-31415926535";

/// A model that gives the key of its own provider away in its plan.
fn careless_model() -> ScriptedModel {
    ScriptedModel::start(move |role, _| {
        assert_eq!(role, Role::Architect);
        let (plain, hex) = (base64(PROVIDER.as_bytes()), hex(PROVIDER.as_bytes()));
        let summary = format!("Use {PROVIDER}, {plain} or {hex}.");
        let files = json!([{"path": "add.sh", "action": "modify"}]);
        let item = json!({"id": "1", "title": PROVIDER, "files": files, "detail": "as said"});
        Reply::Text(json!({"summary": summary, "items": [item]}).to_string())
    })
}

/// Six secrets, and where they lie by right.
struct Planted {
    secrets: Value,
    places: Vec<PathBuf>,
}

impl Planted {
    fn new(lab: &Lab, controller: &Controller, worker: &Worker) -> Self {
        let join = controller.json(&["workers", "join-token", "-o", "json"]);
        let credential = worker.state.join("credential.json");
        let text = fs::read_to_string(&credential).expect("there");
        let of_worker: Value = serde_json::from_str(&text).expect("JSON");
        let key = controller.state.join("secrets.key");
        let sealing = fs::read_to_string(&key).expect("there");
        let secrets = json!({
            "provider": PROVIDER, "token": controller.token(), "worker": of_worker.get("secret").unwrap_or(&of_worker["certified"]["key"]),
            "join": join["token"], "sealing": sealing.trim(),
        });
        let file = lab.path("planted.json");
        fs::write(&file, secrets.to_string()).expect("writable");
        fs::write(lab.path("spill.py"), SPILL).expect("writable");
        let admin = controller.state.join("admin.token");
        Self {
            secrets,
            places: vec![file, credential, key, admin, lab.path("agentd.yaml")],
        }
    }

    /// Name and text of everything that must not be found.
    fn needles(&self) -> Vec<(String, String)> {
        let secrets = self.secrets.as_object().expect("a map").iter();
        let secrets = secrets.map(|(name, secret)| (name.as_str(), secret.as_str().expect("text")));
        let all = secrets.chain([("step", STEP)]);
        all.flat_map(|(name, secret)| traces(secret).into_iter().map(|trace| (name.to_owned(), trace)))
            .collect()
    }
}

/// Plans with the careless model, then prints all of it and waits.
fn workflow(lab: &Lab) -> String {
    let path = |name: &str| lab.path(name).to_str().expect("text").to_owned();
    format!(
        "api: agentd/v1\nname: spill\ninputs: {{task: {{type: text, required: true}}}}\nsteps:\n  \
         plan: {{agent: architect}}\n  a:\n    needs: [plan]\n    run: [python3, \"{}\"]\n    \
         env: {{PLANTED: \"{}\", REACHED: \"{}\", GO_ON: \"{}\"}}\n    writes: true\n    \
         secrets: [STEP_SECRET]\n",
        path("spill.py"),
        path("planted.json"),
        path("reached"),
        path("go-on")
    )
}

/// What everybody may read over MQTT, into a file.
fn listen(controller: &Controller, capture: &Path) -> Child {
    let monitor = controller.json(&["tokens", "create", "monitor", "--scope", "read", "-o", "json"]);
    let token = monitor["token"].as_str().expect("a token");
    let (host, port) = controller.mqtt().rsplit_once(':').expect("host:port");
    Command::new("mosquitto_sub")
        .args(["-h", host, "-p", port, "-u", "m", "-P", token])
        .args(["-t", "agentd/#", "-v", "-q", "1"])
        .stdout(fs::File::create(capture).expect("writable"))
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto_sub starts")
}

#[test]
fn six_planted_secrets_are_found_nowhere() {
    if !has("python3") || !has("mosquitto_sub") {
        e2e::skip("planted secrets: python3 or mosquitto_sub is not installed");
        return;
    }
    let lab = Lab::new();
    let model = careless_model();
    let config = model.config("openai", "whole_file");
    let controller = lab.controller(&config.replace("api_key: test", &format!("api_key: \"{PROVIDER}\"")));
    let mut worker = lab.worker(&controller, "one");
    // in a sandbox the tool could read none of them
    worker.stop();
    worker.set_environment(&[("AGENT_WORKER_SANDBOX__ALLOW", "none")]);
    worker.start();
    set(&controller, "STEP_SECRET", STEP);
    let planted = Planted::new(&lab, &controller, &worker);
    put(&lab, &controller, "spill", &workflow(&lab));
    let mut reader = listen(&controller, &lab.path("capture"));
    let repo = lab.path("repo");
    SAMPLES[0].create(&repo);
    let title = format!("with {}", STEP.lines().nth(1).expect("a line"));
    let submitted = controller.ctl_in(
        &repo,
        &["submit", "spill", "--repo", ".", "--title", &title, "do it"],
    );
    assert!(submitted.status.success(), "{submitted:?}");
    let reached = lab.path("reached");
    eventually("the tool to have printed all", || {
        let job = controller.job(1);
        assert_ne!(
            job["state"],
            "failed",
            "{job}\n{:?}",
            controller.ctl(&["logs", "1"])
        );
        reached.exists().then_some(())
    });

    let needles = planted.needles();
    let lines = command_lines();
    for (name, needle) in &needles {
        let is_here = lines
            .windows(needle.len())
            .any(|window| window == needle.as_bytes());
        assert!(!is_here, "{name} is on a command line: {needle}");
    }
    fs::write(lab.path("go-on"), "").expect("writable");
    eventually("the job to end", || {
        let job = controller.job(1);
        assert_ne!(job["state"], "failed", "{job}");
        (job["state"] == "succeeded").then_some(())
    });
    show(&lab, &controller);
    commits(&worker.state, &lab.path("messages"));
    // it may have ended by itself
    let _ = reader.kill();
    let _ = reader.wait();
    let mut found = vec![];
    search(&lab.path(""), &planted.places, &mut found, &needles);
    assert!(
        found.is_empty(),
        "{} places: {:#?}",
        found.len(),
        &found[..found.len().min(12)]
    );
}

/// What people see, beside what lies on the disks.
fn show(lab: &Lab, controller: &Controller) {
    let log = String::from_utf8_lossy(&controller.ctl(&["logs", "1", "a"]).stdout).into_owned();
    assert!(log.matches("•••").count() > 100, "{log}");
    let artifacts = controller.ctl(&["artifacts", "1", "-o", "json"]).stdout;
    let artifacts = String::from_utf8_lossy(&artifacts).into_owned();
    let seen = format!("{log}{}{artifacts}", controller.job(1));
    fs::write(lab.path("seen"), seen).expect("writable");
}

/// The commit messages of the worker's own git directories.
fn commits(state: &Path, to: &Path) {
    let mut messages = String::new();
    let mut folders = vec![state.to_owned()];
    while let Some(folder) = folders.pop() {
        if folder.join("objects").is_dir() && folder.join("HEAD").is_file() {
            messages.push_str(&git(&folder, &["log", "--all", "--format=%B"]));
            continue;
        }
        let entries = fs::read_dir(&folder).expect("a folder").flatten();
        folders.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.is_dir() && !path.is_symlink()),
        );
    }
    assert!(messages.contains("a: with •••"), "{messages:?}");
    fs::write(to, messages).expect("writable");
}
