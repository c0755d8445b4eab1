//! A model server with scripted answers that speaks three dialects over real HTTP.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

/// Between two pieces of an endless answer.
const BETWEEN_PIECES: Duration = Duration::from_millis(20);

/// Who is asked, by the words of the prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Plans.
    Architect,
    /// Edits.
    Codegen,
    /// Judges.
    Review,
}

/// What the script says to one call.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This text.
    Text(String),
    /// This text, cut at the limit of its length.
    Cut(String),
    /// An error with this status, and Retry-After if it is a number of seconds.
    Status(u16, Option<u64>),
    /// Nothing, for as long as the client waits.
    Silence,
    /// This text, once the gate is open.
    Held(Gate, String),
    /// Half of this text, and then nothing for as long as the client waits.
    Stalled(String),
    /// Half of this text, and then the connection breaks.
    Broken(String),
    /// This text again and again, piece after piece.
    Endless(String),
}

/// The text of an answer, and what comes after its begin.
struct Said {
    text: String,
    then: Then,
}

/// How an answer goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// To its end.
    Ends,
    /// To its end, which says that it is cut.
    Cut,
    Stalls,
    Breaks,
    Repeats,
}

/// Holds answers until a test opens it; clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<tokio::sync::watch::Sender<bool>>);

impl Gate {
    /// Lets all answers go, those to come too.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn opened(&self) {
        // the sender lives as long as `self`
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// One call of the model.
pub struct Call<'a> {
    /// Who is asked.
    pub role: Role,
    /// How often that role was asked before.
    pub before: usize,
    /// The whole request as JSON.
    pub text: &'a str,
}

type Script = dyn Fn(&Call<'_>) -> Reply + Send + Sync;

/// A running server; it ends when it is dropped.
pub struct ScriptedModel {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<(Role, String)>>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Clone)]
struct Server {
    script: Arc<Script>,
    calls: Arc<Mutex<Vec<(Role, String)>>>,
}

impl ScriptedModel {
    /// Starts one; the script gets the role and how often that role was asked before.
    pub fn start(script: impl Fn(Role, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::listening(move |call| script(call.role, call.before))
    }

    /// Starts one whose script gets the whole call.
    pub fn listening(script: impl Fn(&Call<'_>) -> Reply + Send + Sync + 'static) -> Self {
        let calls = Arc::new(Mutex::new(vec![]));
        let server = Server {
            script: Arc::new(script),
            calls: calls.clone(),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (bound, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                    .await
                    .expect("a port");
                bound
                    .send(listener.local_addr().expect("an address"))
                    .expect("somebody waits");
                let app = Router::new()
                    .route("/v1/chat/completions", post(openai))
                    .route("/v1/messages", post(anthropic))
                    .route("/api/chat", post(ollama))
                    .with_state(server);
                tokio::select! {
                    served = axum::serve(listener, app) => served.expect("serves"),
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: address.recv().expect("the server binds"),
            calls,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Its entry in `providers:` for this dialect.
    pub fn provider(&self, kind: &str) -> String {
        let base = match kind {
            "openai" => format!("http://{}/v1", self.address),
            _ => format!("http://{}", self.address),
        };
        format!("{{kind: {kind}, base_url: \"{base}\", api_key: test}}")
    }

    /// The `providers:` and `models:` of a configuration that uses it in this dialect.
    pub fn config(&self, kind: &str, protocol: &str) -> String {
        let provider = self.provider(kind);
        format!(
            "providers:\n  scripted: {provider}\n\
             models:\n  only: [{{provider: scripted, model: scripted, window: 65536, protocol: {protocol}}}]\n"
        )
    }

    /// Who was asked what so far.
    pub fn calls(&self) -> Vec<(Role, String)> {
        self.calls.lock().expect("no call panics").clone()
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Server {
    /// The text of an answer, or the refusal.
    async fn answer(&self, request: &Value) -> Result<Said, Response> {
        let text = request.to_string();
        let role = if text.contains("You are the architect") {
            Role::Architect
        } else if text.contains("You review a change") {
            Role::Review
        } else {
            Role::Codegen
        };
        let before = {
            let mut calls = self.calls.lock().expect("no call panics");
            let before = calls.iter().filter(|(other, _)| *other == role).count();
            calls.push((role, text.clone()));
            before
        };
        let text = &text;
        let (text, then) = match (self.script)(&Call { role, before, text }) {
            Reply::Text(text) => (text, Then::Ends),
            Reply::Cut(text) => (text, Then::Cut),
            Reply::Stalled(text) => (text, Then::Stalls),
            Reply::Broken(text) => (text, Then::Breaks),
            Reply::Endless(text) => (text, Then::Repeats),
            Reply::Status(status, after) => return Err(refusal(status, after)),
            Reply::Silence => std::future::pending().await,
            Reply::Held(gate, text) => {
                gate.opened().await;
                (text, Then::Ends)
            }
        };
        Ok(Said { text, then })
    }
}

fn refusal(status: u16, after: Option<u64>) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    let body = json!({"error": {"message": "scripted error", "type": "scripted"}});
    let mut response = (status, Json(body)).into_response();
    if let Some(after) = after {
        response.headers_mut().insert(header::RETRY_AFTER, after.into());
    }
    response
}

fn pieces(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(40).map(|chunk| chunk.iter().collect()).collect()
}

/// The framed parts of an answer as its body.
fn respond(kind: &'static str, then: Then, head: &str, pieces: &[String], tail: &str) -> Response {
    let begun = || format!("{head}{}", pieces[..pieces.len().div_ceil(2)].concat());
    let first = |text: String| stream::once(async { Ok::<_, io::Error>(text) });
    let body = match then {
        Then::Ends | Then::Cut => Body::from(format!("{head}{}{tail}", pieces.concat())),
        Then::Stalls => Body::from_stream(first(begun()).chain(stream::pending())),
        Then::Breaks => {
            let broken = stream::once(async { Err(io::Error::other("scripted break")) });
            Body::from_stream(first(begun()).chain(broken))
        }
        Then::Repeats => {
            let more = stream::iter(pieces.to_vec()).cycle().then(|piece| async {
                tokio::time::sleep(BETWEEN_PIECES).await;
                Ok(piece)
            });
            Body::from_stream(first(head.to_owned()).chain(more))
        }
    };
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

async fn openai(State(server): State<Server>, Json(request): Json<Value>) -> Response {
    let Said { text, then } = match server.answer(&request).await {
        Ok(answer) => answer,
        Err(response) => return response,
    };
    let framed = pieces(&text).into_iter().map(|piece| {
        let chunk = json!({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": null}]});
        format!("data: {chunk}\n\n")
    });
    let reason = if then == Then::Cut { "length" } else { "stop" };
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20}});
    let tail = format!("data: {end}\n\ndata: {usage}\n\ndata: [DONE]\n\n");
    respond("text/event-stream", then, "", &framed.collect::<Vec<_>>(), &tail)
}

async fn anthropic(State(server): State<Server>, Json(request): Json<Value>) -> Response {
    let Said { text, then } = match server.answer(&request).await {
        Ok(answer) => answer,
        Err(response) => return response,
    };
    let event = |kind: &str, data: Value| format!("event: {kind}\ndata: {data}\n\n");
    let usage = json!({"input_tokens": 100, "output_tokens": 1});
    let start = json!({"type": "message_start", "message": {"usage": usage, "content": []}});
    let block = json!({"type": "text", "text": ""});
    let block = json!({"type": "content_block_start", "index": 0, "content_block": block});
    let head = event("message_start", start) + &event("content_block_start", block);
    let framed = pieces(&text).into_iter().map(|piece| {
        let delta = json!({"type": "text_delta", "text": piece});
        let delta = json!({"type": "content_block_delta", "index": 0, "delta": delta});
        event("content_block_delta", delta)
    });
    let stop = json!({"type": "content_block_stop", "index": 0});
    let reason = if then == Then::Cut {
        "max_tokens"
    } else {
        "end_turn"
    };
    let delta = json!({"stop_reason": reason});
    let delta = json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 20}});
    let tail = [
        event("content_block_stop", stop),
        event("message_delta", delta),
        event("message_stop", json!({"type": "message_stop"})),
    ];
    respond(
        "text/event-stream",
        then,
        &head,
        &framed.collect::<Vec<_>>(),
        &tail.concat(),
    )
}

async fn ollama(State(server): State<Server>, Json(request): Json<Value>) -> Response {
    // as long as the prompt was, so that it does not look cut
    let prompt = request.to_string().len() as u64 / 4;
    let Said { text, then } = match server.answer(&request).await {
        Ok(answer) => answer,
        Err(response) => return response,
    };
    let framed = pieces(&text).into_iter().map(|piece| {
        let chunk = json!({"message": {"role": "assistant", "content": piece}, "done": false});
        format!("{chunk}\n")
    });
    let end = json!({
        "message": {"role": "assistant", "content": ""}, "done": true,
        "done_reason": if then == Then::Cut { "length" } else { "stop" },
        "prompt_eval_count": prompt, "eval_count": 20,
    });
    let framed: Vec<String> = framed.collect();
    respond("application/x-ndjson", then, "", &framed, &format!("{end}\n"))
}
