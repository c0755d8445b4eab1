//! A loopback HTTP server that follows a script byte by byte, because framing
//! is what the adapters must survive. One connection plays one script.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use protocol::model::{ProviderDefinition, ProviderKind, Timeouts};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::{
    CallLimits, ChatMessage, ChatReply, ChatRequest, Delta, LlmError, SharedProvider, Speaker, connect,
    http_client,
};

/// What a connection does after it has read the request.
#[derive(Clone, Debug)]
pub(super) enum Play {
    /// Writes these bytes.
    Bytes(Vec<u8>),
    /// Says nothing more until the client hangs up.
    Hang,
    /// Repeats these bytes until the client hangs up.
    Forever(Vec<u8>),
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Such as `POST /v1/chat/completions`.
    pub(super) line: String,
    /// The headers, in lower case.
    pub(super) head: String,
    /// The body.
    pub(super) body: Value,
}

/// The server.
pub(super) struct ScriptedServer {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    hung_up: watch::Receiver<u32>,
    task: JoinHandle<()>,
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ScriptedServer {
    /// Listens on a free port and plays one script per connection, in order.
    pub(super) async fn start(scripts: Vec<Vec<Play>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counter, hung_up) = watch::channel(0);
        let requests = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut scripts = VecDeque::from(scripts);
            while let Some(script) = scripts.pop_front() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read_request(&mut stream).await;
                requests.lock().unwrap().push(request);
                if !play(&mut stream, script).await {
                    counter.send_modify(|count| *count += 1);
                }
            }
        });
        Self {
            url,
            seen,
            hung_up,
            task,
        }
    }

    /// The requests so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until a client has closed a connection that was not done.
    pub(super) async fn client_hung_up(&mut self) {
        self.hung_up.wait_for(|count| *count > 0).await.unwrap();
    }

    /// A provider of this kind at this server, with the key `sk-very-secret`.
    pub(super) fn provider(&self, kind: ProviderKind) -> SharedProvider {
        provider_at(kind, &self.url)
    }
}

/// A provider of this kind at this address, with the key `sk-very-secret`.
pub(super) fn provider_at(kind: ProviderKind, url: &str) -> SharedProvider {
    let definition = ProviderDefinition {
        name: "lab".into(),
        kind,
        base_url: match kind {
            ProviderKind::Openai => format!("{url}/v1"),
            _ => url.to_owned(),
        },
        api_key: Some("sk-very-secret".into()),
        recording: None,
        timeouts: Timeouts::default(),
    };
    connect(&definition, &http_client().unwrap(), None).unwrap()
}

async fn read_request(stream: &mut TcpStream) -> Seen {
    let mut bytes = Vec::new();
    let (head, body_start) = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break (String::from_utf8(bytes[..end].to_vec()).unwrap(), end + 4);
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "a whole request");
    };
    let lower = head.to_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    while bytes.len() < body_start + length {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "a whole body");
    }
    let line = head.lines().next().unwrap();
    Seen {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        head: lower,
        body: serde_json::from_slice(&bytes[body_start..]).unwrap_or_default(),
    }
}

/// Plays a script; `false` if the client hung up before its end.
async fn play(stream: &mut TcpStream, script: Vec<Play>) -> bool {
    for step in script {
        match step {
            Play::Bytes(bytes) => {
                if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                    return false;
                }
            }
            Play::Hang => {
                let mut buffer = [0; 64];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
                return false;
            }
            Play::Forever(bytes) => {
                while stream.write_all(&bytes).await.is_ok() {}
                return false;
            }
        }
    }
    true
}

/// A status, headers and a body of known length.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> Vec<Play> {
    let length = body.len();
    vec![Play::Bytes(
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
            .into_bytes(),
    )]
}

/// The head of a body in chunks.
pub(super) fn head() -> Play {
    Play::Bytes(b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".to_vec())
}

/// One chunk of a body.
pub(super) fn chunk(bytes: impl AsRef<[u8]>) -> Play {
    let bytes = bytes.as_ref();
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    Play::Bytes(framed)
}

/// The end of a body in chunks.
pub(super) fn end() -> Play {
    Play::Bytes(b"0\r\n\r\n".to_vec())
}

/// A whole streamed body, in the pieces that are given.
pub(super) fn stream<T: AsRef<[u8]>>(pieces: impl IntoIterator<Item = T>) -> Vec<Play> {
    let mut script = vec![head()];
    script.extend(pieces.into_iter().map(chunk));
    script.push(end());
    script
}

/// A request with generous limits.
pub(super) fn request() -> ChatRequest {
    ChatRequest {
        call: ("plan".into(), 1),
        model: "coder".into(),
        window: 8192,
        system: "be brief".into(),
        messages: vec![ChatMessage {
            speaker: Speaker::User,
            text: "say hello".into(),
        }],
        max_tokens: 64,
        schema: None,
        limits: CallLimits {
            first_byte: Duration::from_secs(20),
            between: Duration::from_secs(20),
            total: Duration::from_secs(40),
        },
    }
}

/// Asks and collects the pieces.
pub(super) async fn chat(
    provider: &SharedProvider,
    request: &ChatRequest,
) -> (Result<ChatReply, LlmError>, Vec<Delta>) {
    let deltas = Mutex::new(Vec::new());
    let on_delta = |delta: &Delta| deltas.lock().unwrap().push(delta.clone());
    let stop = tokio_util::sync::CancellationToken::new();
    let reply = provider.chat(request, &on_delta, &stop).await;
    (reply, deltas.into_inner().unwrap())
}

/// Asks one provider of this kind at a server with one script.
pub(super) async fn chat_once(kind: ProviderKind, script: Vec<Play>) -> Result<ChatReply, LlmError> {
    let server = ScriptedServer::start(vec![script]).await;
    chat(&server.provider(kind), &request()).await.0
}
