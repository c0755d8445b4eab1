//! Uploads and downloads against a small server that cuts, forgets and refuses.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{self, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing,
};
use protocol::{
    artifact::{BlobRef, Sha256},
    http::{
        artifacts::{UPLOAD_LENGTH, UPLOAD_OFFSET},
        problem::{Code, Problem},
    },
    id::AttemptId,
    model::{ProviderDefinition, ProviderKind, Timeouts},
};
use sha2::Digest;
use tokio_util::sync::CancellationToken;

use super::{AttemptBlobs, AttemptSource, BlobCache, Controller, LogUpload};
use crate::{
    log::Mask,
    steps::{Blobs, ProviderSource},
};

/// The controller's part.
#[derive(Default)]
struct Server {
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    log: Mutex<Vec<u8>>,
    /// Each upload takes at most this much of a body before it fails; 0 takes all.
    cut_after: usize,
    /// So many calls fail before one works.
    failures: AtomicU32,
    patches: AtomicU32,
}

type Shared = Arc<Server>;

impl Server {
    fn fails(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok()
    }
}

fn number(headers: &HeaderMap, name: &str) -> u64 {
    headers[name].to_str().expect("text").parse().expect("a number")
}

async fn head_blob(State(server): State<Shared>, extract::Path(hash): extract::Path<String>) -> Response {
    if server.fails() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let blobs = server.blobs.lock().expect("no panic");
    let bytes = blobs.get(&hash);
    let size = bytes.map_or(0, Vec::len).to_string();
    if bytes.is_some_and(|bytes| is_whole(bytes, &hash)) {
        let both = [(UPLOAD_OFFSET, size.clone()), (UPLOAD_LENGTH, size)];
        return (StatusCode::NO_CONTENT, both).into_response();
    }
    (StatusCode::NO_CONTENT, [(UPLOAD_OFFSET, size)]).into_response()
}

fn is_whole(bytes: &[u8], hash: &str) -> bool {
    hex::encode(sha2::Sha256::digest(bytes)) == hash
}

async fn patch_blob(
    State(server): State<Shared>,
    extract::Path(hash): extract::Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    server.patches.fetch_add(1, Ordering::SeqCst);
    let body = axum::body::to_bytes(body, 16 << 20).await.expect("a body");
    let (offset, length) = (number(&headers, UPLOAD_OFFSET), number(&headers, UPLOAD_LENGTH));
    let mut blobs = server.blobs.lock().expect("no panic");
    let blob = blobs.entry(hash.clone()).or_default();
    if offset != blob.len() as u64 {
        return StatusCode::CONFLICT.into_response();
    }
    if server.cut_after > 0 && body.len() > server.cut_after {
        blob.extend_from_slice(&body[..server.cut_after]);
        return StatusCode::BAD_GATEWAY.into_response();
    }
    blob.extend_from_slice(&body);
    if blob.len() as u64 == length && !is_whole(blob, &hash) {
        blobs.remove(&hash);
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    (StatusCode::NO_CONTENT, [(UPLOAD_OFFSET, blob.len().to_string())]).into_response()
}

async fn get_blob(State(server): State<Shared>, extract::Path(hash): extract::Path<String>) -> Response {
    if server.fails() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match server.blobs.lock().expect("no panic").get(&hash) {
        Some(bytes) => bytes.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn patch_log(State(server): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let mut log = server.log.lock().expect("no panic");
    let here = log.len();
    if number(&headers, UPLOAD_OFFSET) != here as u64 {
        let problem = Problem::new(Code::WrongOffset, "go on elsewhere").field(UPLOAD_OFFSET, here as u64);
        return (StatusCode::CONFLICT, axum::Json(problem)).into_response();
    }
    log.extend_from_slice(&body);
    (StatusCode::NO_CONTENT, [(UPLOAD_OFFSET, log.len().to_string())]).into_response()
}

async fn providers(headers: HeaderMap) -> Response {
    if headers["authorization"] != "Bearer agw_secret" {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let named = |name: &str| ProviderDefinition {
        name: name.to_owned(),
        kind: ProviderKind::Openai,
        base_url: "http://theirs/v1".to_owned(),
        api_key: Some("sk-from-controller".to_owned()),
        recording: None,
        timeouts: Timeouts::default(),
    };
    axum::Json([named("cloud"), named("lan")]).into_response()
}

/// Serves until the test ends.
async fn serve(server: Shared) -> Controller {
    let app = Router::new()
        .route(
            "/v1/blobs/{hash}",
            routing::get(get_blob).head(head_blob).patch(patch_blob),
        )
        .route("/v1/attempts/{id}/log", routing::patch(patch_log))
        .route("/v1/attempts/{id}/providers", routing::get(providers))
        .with_state(server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
    Controller::new(&base, crate::access::Access::Secret("agw_secret".to_owned())).expect("a client")
}

struct Bench {
    server: Shared,
    controller: Controller,
    folder: tempfile::TempDir,
    blobs: AttemptBlobs,
}

async fn bench(server: Server) -> Bench {
    let server = Arc::new(server);
    let controller = serve(server.clone()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("blobs");
    std::fs::create_dir(&cache).expect("made");
    let blobs = AttemptBlobs {
        cache: BlobCache::new(cache, controller.clone()),
        stop: CancellationToken::new(),
    };
    Bench {
        server,
        controller,
        folder,
        blobs,
    }
}

fn blob_of(bytes: &[u8]) -> BlobRef {
    BlobRef {
        sha256: Sha256(sha2::Sha256::digest(bytes).into()),
        size: bytes.len() as u64,
    }
}

fn write(folder: &Path, bytes: &[u8]) -> std::path::PathBuf {
    let file = folder.join("file");
    std::fs::write(&file, bytes).expect("written");
    file
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_cut() {
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
    let bench = bench(Server {
        cut_after: 300_000,
        failures: AtomicU32::new(1),
        ..Server::default()
    })
    .await;
    let file = write(bench.folder.path(), &bytes);
    let stored = bench.blobs.store(&file).await.expect("stored");
    assert_eq!(stored, blob_of(&bytes));
    let there = bench.server.blobs.lock().expect("no panic")[&stored.sha256.to_string()].clone();
    assert!(there == bytes, "the controller has other bytes");
    let patches = bench.server.patches.load(Ordering::SeqCst);
    bench.blobs.store(&file).await.expect("stored again");
    assert_eq!(
        bench.server.patches.load(Ordering::SeqCst),
        patches,
        "nothing is sent twice"
    );
}

#[tokio::test]
async fn wrong_bytes_on_the_other_side_are_sent_anew() {
    let bytes = b"the right bytes";
    let bench = bench(Server::default()).await;
    let hash = blob_of(bytes).sha256.to_string();
    let wrong = b"the wrong".to_vec();
    bench
        .server
        .blobs
        .lock()
        .expect("no panic")
        .insert(hash.clone(), wrong);
    let file = write(bench.folder.path(), bytes);
    bench.blobs.store(&file).await.expect("stored");
    assert_eq!(bench.server.blobs.lock().expect("no panic")[&hash], bytes);
    // an empty file is a blob too
    let file = write(bench.folder.path(), b"");
    let empty = bench.blobs.store(&file).await.expect("stored");
    assert_eq!(empty.size, 0);
    let there = bench.server.blobs.lock().expect("no panic");
    assert!(there.contains_key(&empty.sha256.to_string()));
}

#[tokio::test]
async fn a_download_is_verified_and_kept() {
    let bytes = b"some bytes".to_vec();
    let bench = bench(Server {
        failures: AtomicU32::new(2),
        ..Server::default()
    })
    .await;
    let blob = blob_of(&bytes);
    bench
        .server
        .blobs
        .lock()
        .expect("no panic")
        .insert(blob.sha256.to_string(), bytes.clone());
    let file = bench.blobs.fetch(blob).await.expect("fetched");
    assert_eq!(std::fs::read(&file).expect("there"), bytes);
    bench.server.blobs.lock().expect("no panic").clear();
    assert_eq!(bench.blobs.fetch(blob).await.expect("from the cache"), file);
    std::fs::write(&file, b"evil bytes").expect("changed");
    bench
        .blobs
        .fetch(blob)
        .await
        .expect_err("changed bytes are not served");
    let other = blob_of(b"other");
    let error = bench.blobs.fetch(other).await.expect_err("unknown");
    assert!(error.to_string().contains("404"), "{error}");
    bench
        .server
        .blobs
        .lock()
        .expect("no panic")
        .insert(other.sha256.to_string(), b"wrong".to_vec());
    let error = bench.blobs.fetch(other).await.expect_err("wrong bytes");
    assert!(error.to_string().contains("other bytes"), "{error}");
}

#[tokio::test]
async fn missing_blobs_are_sent_from_the_cache_or_named() {
    let bench = bench(Server::default()).await;
    let file = write(bench.folder.path(), b"artifact");
    let blob = bench.blobs.store(&file).await.expect("stored");
    std::fs::remove_file(&file).expect("removed");
    bench.server.blobs.lock().expect("no panic").clear();
    let (cache, stop) = (&bench.blobs.cache, &bench.blobs.stop);
    let sent = cache.upload_again(&[blob.sha256], stop).await.expect("sent");
    assert!(sent.is_ok());
    assert_eq!(
        bench.server.blobs.lock().expect("no panic")[&blob.sha256.to_string()],
        b"artifact"
    );
    let unknown = blob_of(b"never seen").sha256;
    let gone = cache.upload_again(&[unknown], stop).await.expect("asked");
    assert!(gone.expect_err("gone").to_string().contains("no longer has it"));
}

#[tokio::test]
async fn a_call_ends_with_its_attempt() {
    let bench = bench(Server {
        failures: AtomicU32::new(u32::MAX),
        ..Server::default()
    })
    .await;
    let blob = blob_of(b"x");
    let fetch = bench.blobs.fetch(blob);
    let stop = async {
        tokio::task::yield_now().await;
        bench.blobs.stop.cancel();
    };
    let (fetched, ()) = tokio::join!(fetch, stop);
    let error = fetched.expect_err("stopped");
    assert_eq!(error.class, protocol::step::ErrorClass::Killed);
}

#[tokio::test]
async fn a_log_goes_up_from_where_the_controller_is() {
    let bench = bench(Server::default()).await;
    let text: Vec<u8> = (0..200_000_u32).map(|i| i as u8).collect();
    let read = |offset: u64, max: usize| {
        let start = (offset as usize).min(text.len());
        Ok(text[start..(start + max).min(text.len())].to_vec())
    };
    bench
        .server
        .log
        .lock()
        .expect("no panic")
        .extend_from_slice(&text[..70_000]);
    let mut upload = LogUpload::new(bench.controller.clone(), AttemptId::new(), 0);
    upload.catch_up(read).await.expect("sent");
    assert_eq!(upload.offset(), 200_000);
    assert!(*bench.server.log.lock().expect("no panic") == text);
}

#[tokio::test]
async fn own_providers_win_and_keys_are_masked_before_anybody_has_them() {
    let bench = bench(Server::default()).await;
    let own = |name: &str| ProviderDefinition {
        name: name.to_owned(),
        kind: ProviderKind::Ollama,
        base_url: "http://ours".to_owned(),
        api_key: None,
        recording: None,
        timeouts: Timeouts::default(),
    };
    let source = AttemptSource {
        controller: bench.controller.clone(),
        attempt: AttemptId::new(),
        own: vec![own("lan")],
        found: own("ollama"),
        mask: Mask::default(),
        stop: CancellationToken::new(),
    };
    let all = source.providers().await.expect("fetched");
    let shown: Vec<(&str, &str)> = all
        .iter()
        .map(|provider| (provider.name.as_str(), provider.base_url.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("lan", "http://ours"),
            ("cloud", "http://theirs/v1"),
            ("ollama", "http://ours")
        ]
    );
    assert_eq!(source.mask.apply("key sk-from-controller"), "key •••");
}
