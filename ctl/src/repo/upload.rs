//! Sends a file to the blob store in pieces; goes on where it stopped.

use std::{io, path::Path, time::Duration};

use protocol::{
    artifact::{BlobRef, Sha256},
    http::artifacts::{MAX_UPLOAD_CHUNK, UPLOAD_LENGTH, UPLOAD_OFFSET, blob_path},
};
use reqwest::{Method, Response, StatusCode};
use sha2::{Digest, Sha256 as Hasher};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, SeekFrom},
};

use crate::{client::Client, codes::Code, error::CliError, exit::Exit};

/// Time for one piece of at most 8 MiB: 0.3 Mbit/s is enough.
const PIECE: Duration = Duration::from_secs(240);
/// How often in a row a broken connection is made again.
const MOST_FAILURES: u32 = 6;

/// Sends the file, or what the controller does not have of it.
pub(super) async fn send(client: &Client, path: &Path) -> Result<BlobRef, CliError> {
    let unreadable = |error: io::Error| CliError::file(path, "read", &error);
    let mut file = File::open(path).await.map_err(unreadable)?;
    let blob = hash(&mut file).await.map_err(unreadable)?;
    let mut failures = 0;
    let (mut known, mut furthest) = (None, None);
    loop {
        let step = match known {
            None => offset(client, &blob).await,
            Some(at) => piece(client, &mut file, &blob, at).await,
        };
        known = match step {
            Ok(Some(at)) if at >= blob.size => return Ok(blob),
            Ok(at) => at,
            Err(error) if error.exit() == Exit::Unreachable && failures < MOST_FAILURES => {
                tokio::time::sleep(Duration::from_millis(200 << failures)).await;
                None
            }
            Err(error) => return Err(error),
        };
        // an answer that brings us no further must not go on for ever
        failures = if known > furthest { 0 } else { failures + 1 };
        furthest = furthest.max(known);
        if failures > MOST_FAILURES {
            let reached = furthest.unwrap_or(0);
            let sentence = format!("the upload of the repository does not get past byte {reached}");
            return Err(CliError::new(Code::UploadFailed, sentence)
                .hint("look at the controller's disk and log: `agentctl doctor`"));
        }
    }
}

async fn hash(file: &mut File) -> io::Result<BlobRef> {
    let mut hasher = Hasher::new();
    let mut size = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            let sha256 = Sha256(hasher.finalize().into());
            return Ok(BlobRef { sha256, size });
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

/// How far the blob is; one that is unknown is at 0.
async fn offset(client: &Client, blob: &BlobRef) -> Result<Option<u64>, CliError> {
    let request = client
        .request(Method::HEAD, &blob_path(&blob.sha256))
        .timeout(PIECE);
    match client.answer(request).await? {
        response if response.status() == StatusCode::NOT_FOUND => Ok(Some(0)),
        response if response.status().is_success() => Ok(Some(told(&response).unwrap_or(blob.size))),
        response => Err(client.refusal(response).await),
    }
}

/// Sends the next piece; `None` means that the controller is elsewhere and must be asked.
async fn piece(client: &Client, file: &mut File, blob: &BlobRef, at: u64) -> Result<Option<u64>, CliError> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at)).await?;
    file.take(MAX_UPLOAD_CHUNK as u64).read_to_end(&mut bytes).await?;
    let sent = bytes.len() as u64;
    let request = client
        .request(Method::PATCH, &blob_path(&blob.sha256))
        .header(UPLOAD_OFFSET, at)
        .header(UPLOAD_LENGTH, blob.size)
        .body(bytes)
        .timeout(PIECE);
    match client.answer(request).await? {
        response if response.status().is_success() => Ok(Some(told(&response).unwrap_or(at + sent))),
        response if response.status() == StatusCode::CONFLICT => Ok(None),
        response => Err(client.refusal(response).await),
    }
}

/// The offset in an answer.
fn told(response: &Response) -> Option<u64> {
    response.headers().get(UPLOAD_OFFSET)?.to_str().ok()?.parse().ok()
}
