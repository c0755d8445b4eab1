//! A model server with scripted answers that speaks three dialects over real HTTP.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};

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
    /// The text of an answer, and whether it is cut.
    async fn answer(&self, request: &Value) -> Result<(String, bool), Response> {
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
        match (self.script)(&Call { role, before, text }) {
            Reply::Text(text) => Ok((text, false)),
            Reply::Cut(text) => Ok((text, true)),
            Reply::Status(status, after) => {
                let status = StatusCode::from_u16(status).expect("a status");
                let body = json!({"error": {"message": "scripted error", "type": "scripted"}});
                let mut response = (status, Json(body)).into_response();
                if let Some(after) = after {
                    response.headers_mut().insert(header::RETRY_AFTER, after.into());
                }
                Err(response)
            }
            Reply::Silence => std::future::pending().await,
            Reply::Held(gate, text) => {
                gate.opened().await;
                Ok((text, false))
            }
        }
    }
}

fn pieces(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(40).map(|chunk| chunk.iter().collect()).collect()
}

fn stream(kind: &'static str, body: String) -> Response {
    ([(header::CONTENT_TYPE, kind)], Body::from(body)).into_response()
}

async fn openai(State(server): State<Server>, Json(request): Json<Value>) -> Response {
    let (text, cut) = match server.answer(&request).await {
        Ok(answer) => answer,
        Err(response) => return response,
    };
    let mut body = String::new();
    for piece in pieces(&text) {
        let chunk = json!({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": null}]});
        body.push_str(&format!("data: {chunk}\n\n"));
    }
    let reason = if cut { "length" } else { "stop" };
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20}});
    body.push_str(&format!("data: {end}\n\ndata: {usage}\n\ndata: [DONE]\n\n"));
    stream("text/event-stream", body)
}

async fn anthropic(State(server): State<Server>, Json(request): Json<Value>) -> Response {
    let (text, cut) = match server.answer(&request).await {
        Ok(answer) => answer,
        Err(response) => return response,
    };
    let mut body = String::new();
    let mut event = |kind: &str, data: Value| body.push_str(&format!("event: {kind}\ndata: {data}\n\n"));
    let usage = json!({"input_tokens": 100, "output_tokens": 1});
    event(
        "message_start",
        json!({"type": "message_start", "message": {"usage": usage, "content": []}}),
    );
    let block = json!({"type": "text", "text": ""});
    event(
        "content_block_start",
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
    );
    for piece in pieces(&text) {
        let delta = json!({"type": "text_delta", "text": piece});
        event(
            "content_block_delta",
            json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        );
    }
    event(
        "content_block_stop",
        json!({"type": "content_block_stop", "index": 0}),
    );
    let delta = json!({"stop_reason": if cut { "max_tokens" } else { "end_turn" }});
    event(
        "message_delta",
        json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 20}}),
    );
    event("message_stop", json!({"type": "message_stop"}));
    stream("text/event-stream", body)
}

async fn ollama(State(server): State<Server>, Json(request): Json<Value>) -> Response {
    // as long as the prompt was, so that it does not look cut
    let prompt = request.to_string().len() as u64 / 4;
    let (text, cut) = match server.answer(&request).await {
        Ok(answer) => answer,
        Err(response) => return response,
    };
    let mut body = String::new();
    for piece in pieces(&text) {
        let chunk = json!({"message": {"role": "assistant", "content": piece}, "done": false});
        body.push_str(&format!("{chunk}\n"));
    }
    let end = json!({
        "message": {"role": "assistant", "content": ""}, "done": true,
        "done_reason": if cut { "length" } else { "stop" },
        "prompt_eval_count": prompt, "eval_count": 20,
    });
    body.push_str(&format!("{end}\n"));
    stream("application/x-ndjson", body)
}
