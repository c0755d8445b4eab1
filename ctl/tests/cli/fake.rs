//! A controller that knows one job and does what a test asks for.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, Response, StatusCode},
    routing::{any, get, patch, post},
};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// What the controller holds and what it was asked.
#[derive(Default)]
pub(crate) struct World {
    /// The job as `GET /v1/jobs/42` shows it.
    pub(crate) job: Value,
    /// Bodies of the event stream, one a connection: pieces, and whether the connection breaks after them.
    pub(crate) streams: VecDeque<(Vec<String>, After)>,
    /// What the job becomes once the last stream was asked for.
    pub(crate) job_after: Option<Value>,
    /// The log of every step.
    pub(crate) log: String,
    /// How many bytes of the log the first answer gives before it breaks.
    pub(crate) log_breaks_at: Option<usize>,
    /// The patch.
    pub(crate) patch: Vec<u8>,
    /// What has arrived of the blob.
    pub(crate) blob: Vec<u8>,
    /// How many uploads and submits break off before they are answered.
    pub(crate) breaks: u32,
    /// `METHOD path?query last-event-id idempotency-key`, in order.
    pub(crate) asked: Vec<String>,
    /// The last body of a submit.
    pub(crate) submitted: Value,
}

/// What happens after the pieces of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Ends,
    Breaks,
    Stays,
}

pub(crate) type Shared = Arc<Mutex<World>>;

/// A running fake; stops when dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) world: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    pub(crate) fn start(world: World) -> Self {
        let world = Arc::new(Mutex::new(world));
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let router = router(world.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                    .await
                    .expect("a port");
                tell.send(listener.local_addr().expect("bound"))
                    .expect("a listener");
                tokio::select! {
                    served = axum::serve(listener, router) => served.expect("served"),
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: told.recv().expect("bound"),
            world,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.world.lock().expect("unpoisoned").asked.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the fake ends well");
        }
    }
}

fn router(world: Shared) -> Router {
    Router::new()
        .route("/v1/workflows/{name}", get(workflow))
        .route("/v1/workflows", get(workflows))
        .route("/v1/jobs", post(submit).get(list))
        .route("/v1/jobs/{job}", get(job))
        .route("/v1/jobs/{job}/cancel", post(cancel))
        .route("/v1/jobs/{job}/events", get(events))
        .route("/v1/jobs/{job}/steps/{step}/log", get(log))
        .route("/v1/jobs/{job}/steps/{step}/approval", get(approval))
        .route("/v1/jobs/{job}/steps/{step}/approve", post(approve))
        .route("/v1/jobs/{job}/steps/{step}/reject", post(approve))
        .route("/v1/jobs/{job}/artifacts/{*name}", get(artifact))
        .route("/v1/blobs/{sha}", patch(upload).head(offset))
        .route("/v1/status", any(html))
        .with_state(world)
}

fn note(world: &mut World, method: &str, path: &str, headers: &HeaderMap) {
    let mut line = format!("{method} {path}");
    for name in ["last-event-id", "upload-offset", "authorization"] {
        if let Some(value) = headers.get(name) {
            line.push_str(&format!(" {name}={}", value.to_str().expect("ASCII")));
        }
    }
    world.asked.push(line);
}

fn answer(status: u16, kind: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(body.into())
        .expect("valid")
}

fn json_answer(status: u16, value: &Value) -> Response<Body> {
    answer(status, "application/json", value.to_string())
}

fn problem(status: u16, code: &str, detail: &str) -> Response<Body> {
    let body = json!({
        "type": format!("urn:agentd:problem:{code}"), "title": code, "status": status, "code": code, "detail": detail,
    });
    answer(status, "application/problem+json", body.to_string())
}

/// A body that breaks off instead of ending.
fn broken(start: Vec<u8>) -> Body {
    let first = stream::iter([Ok(Bytes::from(start))]);
    let then = stream::once(async {
        // the server sends what it has while the body is pending
        tokio::task::yield_now().await;
        Err(std::io::Error::other("broken"))
    });
    Body::from_stream(stream::StreamExt::chain(first, then))
}

async fn workflow(State(world): State<Shared>, Path(name): Path<String>) -> Response<Body> {
    let mut world = world.lock().expect("unpoisoned");
    note(
        &mut world,
        "GET",
        &format!("/v1/workflows/{name}"),
        &HeaderMap::new(),
    );
    match one_workflow(&name) {
        Some(workflow) => json_answer(200, &workflow),
        None => problem(422, "unknown_workflow", "no such workflow"),
    }
}

async fn workflows() -> Response<Body> {
    let items: Vec<Value> = ["implement", "run"]
        .iter()
        .filter_map(|name| one_workflow(name))
        .collect();
    json_answer(200, &json!({"items": items, "next_cursor": null}))
}

fn one_workflow(name: &str) -> Option<Value> {
    let input = |name: &str, kind: &str| json!({"name": name, "type": kind, "required": true});
    let (input, needs_repo) = match name {
        "implement" => (input("task", "text"), true),
        "run" => (input("command", "list"), false),
        _ => return None,
    };
    Some(json!({
        "name": name, "description": "a workflow", "origin": "builtin", "sha256": "", "inputs": [input],
        "needs_repo": needs_repo, "steps": ["only"],
    }))
}

async fn submit(State(world): State<Shared>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let mut world = world.lock().expect("unpoisoned");
    let key = headers["idempotency-key"].to_str().expect("ASCII").to_owned();
    world.asked.push(format!("POST /v1/jobs {key}"));
    world.submitted = serde_json::from_slice(&body).expect("JSON");
    if world.breaks > 0 {
        world.breaks -= 1;
        return answer(200, "application/json", broken(b"{\"num".to_vec()));
    }
    json_answer(201, &world.job)
}

async fn list(State(world): State<Shared>) -> Response<Body> {
    let world = world.lock().expect("unpoisoned");
    json_answer(200, &json!({"items": [world.job], "next_cursor": "abc"}))
}

async fn job(State(world): State<Shared>, Path(job): Path<String>, headers: HeaderMap) -> Response<Body> {
    let mut world = world.lock().expect("unpoisoned");
    note(&mut world, "GET", &format!("/v1/jobs/{job}"), &headers);
    match job.as_str() {
        "42" => json_answer(200, &world.job),
        "401" => problem(401, "unauthenticated", "a token is needed"),
        "403" => problem(403, "forbidden", "the scope does not reach"),
        "503" => problem(503, "unavailable", "starting"),
        _ => problem(404, "not_found", "no job has that number"),
    }
}

async fn cancel(State(world): State<Shared>) -> Response<Body> {
    let mut world = world.lock().expect("unpoisoned");
    world.asked.push("POST cancel".to_owned());
    world.job["state"] = json!("cancelled");
    world.job["ended_at"] = json!("2026-11-24T04:01:00Z");
    json_answer(200, &world.job)
}

async fn events(State(world): State<Shared>, headers: HeaderMap) -> Response<Body> {
    let mut world = world.lock().expect("unpoisoned");
    note(&mut world, "GET", "events", &headers);
    let (pieces, after) = world.streams.pop_front().unwrap_or((vec![], After::Ends));
    if world.streams.is_empty()
        && let Some(job) = world.job_after.take()
    {
        world.job = job;
    }
    let text: String = pieces.concat();
    let body = match after {
        After::Ends => Body::from(text),
        After::Breaks => broken(text.into_bytes()),
        After::Stays => {
            let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
            Body::from_stream(stream::StreamExt::chain(first, stream::pending()))
        }
    };
    answer(200, "text/event-stream", body)
}

async fn approval(State(world): State<Shared>) -> Response<Body> {
    let world = world.lock().expect("unpoisoned");
    let approval = json!({
        "since": "2026-11-24T04:00:02Z", "until": "2026-11-25T04:00:02Z", "on_timeout": "reject", "show": [],
    });
    let detail = json!({
        "job": {"number": 42, "id": world.job["id"]}, "step": "only", "state": "awaiting",
        "approval": approval, "shown": [], "etag": "\"seen\"",
    });
    json_answer(200, &detail)
}

/// Also rejects.
async fn approve(
    State(world): State<Shared>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: String,
) -> Response<Body> {
    let mut world = world.lock().expect("unpoisoned");
    let seen = headers["if-match"].to_str().expect("ASCII");
    let line = format!("POST {} {seen} {body}", uri.path());
    world.asked.push(line);
    if world.breaks > 0 {
        return problem(412, "precondition_failed", "what it asks about has changed");
    }
    json_answer(200, &world.job)
}

async fn log(
    State(world): State<Shared>,
    Path((_, step)): Path<(String, String)>,
    Query(query): Query<std::collections::HashMap<String, String>>,
) -> Response<Body> {
    let mut world = world.lock().expect("unpoisoned");
    let offset: usize = query
        .get("offset")
        .map_or(0, |offset| offset.parse().expect("a number"));
    let attempt = query.get("attempt").cloned().unwrap_or_default();
    world
        .asked
        .push(format!("GET log {step} attempt={attempt} offset={offset}"));
    let rest = world.log.as_bytes()[offset..].to_vec();
    match world.log_breaks_at.take() {
        Some(at) => answer(200, "text/plain", broken(rest[..at].to_vec())),
        None => answer(200, "text/plain", rest),
    }
}

async fn artifact(State(world): State<Shared>, Path((_, name)): Path<(String, String)>) -> Response<Body> {
    let world = world.lock().expect("unpoisoned");
    match name.as_str() {
        "patch" => answer(200, "text/x-patch", world.patch.clone()),
        _ => problem(404, "not_found", "no artifact has that name"),
    }
}

async fn offset(State(world): State<Shared>) -> Response<Body> {
    let mut world = world.lock().expect("unpoisoned");
    world.asked.push("HEAD blob".to_owned());
    if world.blob.is_empty() {
        return answer(404, "text/plain", "");
    }
    let mut answer = answer(200, "text/plain", "");
    answer
        .headers_mut()
        .insert("upload-offset", world.blob.len().into());
    answer
}

async fn upload(State(world): State<Shared>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let mut world = world.lock().expect("unpoisoned");
    note(&mut world, "PATCH", "blob", &headers);
    let at: usize = headers["upload-offset"]
        .to_str()
        .expect("ASCII")
        .parse()
        .expect("a number");
    if at != world.blob.len() {
        return problem(409, "wrong_offset", "elsewhere");
    }
    if world.breaks > 0 {
        // half of it arrives, and the answer is lost
        world.breaks -= 1;
        world.blob.extend_from_slice(&body[..body.len() / 2]);
        return problem(503, "unavailable", "stopping");
    }
    world.blob.extend_from_slice(&body);
    let mut answer = answer(204, "text/plain", "");
    answer
        .headers_mut()
        .insert("upload-offset", world.blob.len().into());
    answer
}

async fn html() -> Response<Body> {
    let mut answer = answer(502, "text/html", "<html>Bad Gateway</html>");
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}
