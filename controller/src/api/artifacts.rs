//! Artifacts of jobs, and the blobs behind them.

use std::{io, time::Duration};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use protocol::{
    artifact::Sha256,
    http::{
        Page,
        artifacts::{MAX_UPLOAD_CHUNK, UPLOAD_LENGTH, UPLOAD_OFFSET},
        jobs::ArtifactView,
        problem::{Code, Problem},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt},
    sync::mpsc,
    time::timeout,
};
use tokio_util::io::ReaderStream;

use crate::{
    artifact::{
        quota::OverQuota,
        store::{BlobError, Pin},
    },
    state::{Connection, artifacts},
};

use super::{
    Api,
    auth::Caller,
    extract::{OfBlob, OfJob, OfName},
    problem::{ApiError, ApiResult, not_found},
};

/// Pieces of an upload that wait to be written.
const PIECES: usize = 8;
/// How long an upload may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

pub(super) async fn list(State(api): State<Api>, job: OfJob) -> ApiResult<Json<Page<ArtifactView>>> {
    let id = job.id;
    let items = api
        .readers
        .query(move |connection| artifacts::of_job(connection, id))
        .await?;
    Ok(Json(Page {
        items,
        next_cursor: None,
    }))
}

pub(super) async fn download(
    State(api): State<Api>,
    job: OfJob,
    OfName(name): OfName,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let (id, wanted) = (job.id, name.clone());
    let found = api
        .readers
        .query(move |connection| artifacts::find(connection, id, &wanted))
        .await?;
    let hint = format!("agentctl artifacts {} lists them", job.number);
    let artifact = found.ok_or_else(|| not_found("artifact", &name, &hint))?;
    let file_name = artifact.name.rsplit('/').next().unwrap_or("artifact").to_owned();
    send_file(
        &api,
        artifact.file.sha256,
        artifact.file.size,
        &file_name,
        &headers,
    )
    .await
}

pub(super) async fn download_blob(
    State(api): State<Api>,
    OfBlob(sha256): OfBlob,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let sha256 = parse(&sha256)?;
    let size = api
        .readers
        .query(move |connection| artifacts::blob_size(connection, &sha256))
        .await?;
    let size = size.ok_or_else(|| not_found("blob", sha256, "it was never uploaded, or was removed"))?;
    send_file(&api, sha256, size, &sha256.to_string(), &headers).await
}

fn parse(text: &str) -> ApiResult<Sha256> {
    text.parse().map_err(|error: protocol::artifact::InvalidSha256| {
        Problem::new(Code::InvalidField, error.to_string())
            .field("sha256", text)
            .into()
    })
}

/// An attachment that no browser sniffs or runs; its hash is its ETag.
async fn send_file(
    api: &Api,
    sha256: Sha256,
    size: u64,
    name: &str,
    headers: &HeaderMap,
) -> ApiResult<Response> {
    let etag = format!("\"{sha256}\"");
    let matches = |name: header::HeaderName| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.contains(&etag) || value.trim() == "*")
    };
    if matches(header::IF_NONE_MATCH) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    // a part of another file than the client has begun is of no use; units that are not known do not count
    let same = !headers.contains_key(header::IF_RANGE) || matches(header::IF_RANGE);
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let range = range.filter(|range| same && range.starts_with("bytes="));
    let (start, end) = match range {
        Some(range) => match parse_range(range, size) {
            Ok(part) => part,
            Err(problem) => {
                let whole = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
                return Ok((whole, problem).into_response());
            }
        },
        None => (0, size),
    };
    let mut file = tokio::fs::File::open(api.blobs.path(&sha256))
        .await
        .map_err(|error| io_problem(&error))?;
    file.seek(io::SeekFrom::Start(start))
        .await
        .map_err(|error| io_problem(&error))?;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(end - start), 64 << 10));
    let mut response = Response::new(body);
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let last = end.saturating_sub(1);
        set(
            &mut response,
            header::CONTENT_RANGE,
            &format!("bytes {start}-{last}/{size}"),
        );
    }
    set(&mut response, header::CONTENT_DISPOSITION, &attachment(name));
    set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
    set(&mut response, header::CONTENT_LENGTH, &(end - start).to_string());
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    set(
        &mut response,
        header::CONTENT_SECURITY_POLICY,
        "sandbox; default-src 'none'",
    );
    set(&mut response, header::ETAG, &etag);
    Ok(response)
}

/// Names a file for a browser: one name of plain characters, and none that its system hides or runs by.
fn attachment(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+=@#~ ".contains(c);
    let name: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let name = name
        .trim_start_matches(['.', '-', ' '])
        .trim_end_matches(['.', ' ']);
    let name = if name.is_empty() { "artifact" } else { name };
    format!("attachment; filename=\"{name}\"")
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// One range of bytes as start and end (exclusive).
fn parse_range(range: &str, size: u64) -> ApiResult<(u64, u64)> {
    let parsed = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .and_then(|(from, to)| match (from, to) {
            ("", last) => last
                .parse()
                .ok()
                .map(|count: u64| (size.saturating_sub(count), size)),
            (from, "") => from.parse().ok().map(|from| (from, size)),
            (from, to) => Some((
                from.parse().ok()?,
                to.parse::<u64>().ok()?.saturating_add(1).min(size),
            )),
        });
    match parsed {
        Some((start, end)) if start < end => Ok((start, end)),
        _ => {
            let detail = format!("the range {range:?} is not within the {size} bytes");
            Err(Problem::new(Code::RangeNotSatisfiable, detail).into())
        }
    }
}

/// How far an upload is. Who asks is about to name the blob: retention spares a stored one for a while.
pub(super) async fn blob_offset(State(api): State<Api>, OfBlob(sha256): OfBlob) -> ApiResult<Response> {
    let sha256 = parse(&sha256)?;
    let pin = api.blobs.pin(sha256);
    let blobs = api.blobs.clone();
    let (offset, whole) = blocking(move || blobs.offset(&sha256))
        .await?
        .map_err(|error| io_problem(&error))?;
    if whole {
        announce(&api, pin, sha256, offset).await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(UPLOAD_OFFSET, offset.into());
    if whole {
        response.headers_mut().insert(UPLOAD_LENGTH, offset.into());
    }
    Ok(response)
}

/// Writes down that a blob is here and soon to be named; the pin lasts until that is in a transaction.
async fn announce(api: &Api, pin: Pin, sha256: Sha256, size: u64) -> ApiResult<()> {
    let at = api.clock.wall();
    let write = move |connection: &Connection| {
        let _pin = pin;
        if !artifacts::claim_blob(connection, &sha256, at)? {
            artifacts::insert_blob(connection, &sha256, size, at)?;
        }
        Ok(())
    };
    Ok(api.engine.write(write).await?)
}

/// Bytes of a blob from `Upload-Offset` on; the last ones make it exist.
pub(super) async fn upload_blob(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    OfBlob(sha256): OfBlob,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let sha256 = parse(&sha256)?;
    let offset = number_header(&headers, UPLOAD_OFFSET)?;
    let length = number_header(&headers, UPLOAD_LENGTH)?;
    let comes = length.saturating_sub(offset);
    let taken = caller
        .worker()
        .map(|worker| api.quotas.take(worker, comes, api.clock.mono_ms()));
    let mut taken = taken.transpose().map_err(|error| over_quota(&error, length))?;
    let pin = api.blobs.pin(sha256);
    let blobs = api.blobs.clone();
    let (sender, mut pieces) = mpsc::channel(PIECES);
    let append = blocking(move || {
        if !blobs.offset(&sha256)?.1 {
            blobs.check_room(comes)?;
        }
        let pieces = std::iter::from_fn(|| pieces.blocking_recv());
        blobs.append(&sha256, offset, length, pieces)
    });
    let (appended, brought) = tokio::join!(append, feed(body, sender));
    if let Some(taken) = &mut taken {
        taken.brought(brought);
    }
    let appended = appended?;
    let (offset, whole) = appended.map_err(blob_problem)?;
    if whole {
        announce(&api, pin, sha256, offset).await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(UPLOAD_OFFSET, offset.into());
    Ok(response)
}

/// Hands a body on piece by piece, so that the next piece comes in while the last one is hashed and
/// written. Ends early when the client goes or is silent: what came is kept, and it may go on from there.
/// Returns the number of bytes that were handed on.
async fn feed(body: Body, pieces: mpsc::Sender<Bytes>) -> u64 {
    let mut body = body.into_data_stream();
    let (mut unwanted, mut wanted) = (0, 0);
    while let Ok(Some(Ok(piece))) = timeout(SILENCE, body.next()).await {
        let length = piece.len();
        if pieces.send(piece).await.is_err() {
            // refused: a client that is still sending reads the answer only after its body
            unwanted += length;
            if unwanted > MAX_UPLOAD_CHUNK {
                break;
            }
        } else {
            wanted += length as u64;
        }
    }
    wanted
}

/// A header that must be a number of bytes.
pub(super) fn number_header(headers: &HeaderMap, name: &'static str) -> ApiResult<u64> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.parse().ok()).ok_or_else(|| {
        let detail = format!("the header {name} must be a number of bytes");
        Problem::new(Code::InvalidField, detail)
            .field(name, value.map(str::to_owned))
            .into()
    })
}

/// File work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> ApiResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Problem::new(Code::Unavailable, "agentd is stopping").into())
}

fn over_quota(error: &OverQuota, length: u64) -> ApiError {
    let problem = Problem::new(Code::TooLarge, error.to_string()).field(UPLOAD_LENGTH, length);
    let hint =
        "its steps run on other workers until tomorrow; limits.worker_bytes in the configuration of agentd";
    problem.hint(hint).into()
}

fn blob_problem(error: BlobError) -> ApiError {
    let full = error.is_full();
    let detail = error.to_string();
    let problem = match error {
        BlobError::WrongOffset { expected } => {
            Problem::new(Code::WrongOffset, detail).field(UPLOAD_OFFSET, expected)
        }
        BlobError::WrongHash { found } => {
            Problem::new(Code::WrongHash, detail).field("sha256", found.to_string())
        }
        BlobError::TooLarge { limit } => Problem::new(Code::TooLarge, detail).field(UPLOAD_LENGTH, limit),
        BlobError::Busy => Problem::new(Code::Conflict, detail),
        BlobError::NoRoom { .. } => Problem::new(Code::Storage, detail)
            .hint("free space in the state folder; limits.free_bytes in the configuration of agentd"),
        BlobError::Io(_) if full => Problem::new(Code::Storage, "the disk of the state folder is full")
            .hint("free space in the state folder"),
        BlobError::Io(_) => Problem::new(Code::Storage, detail).hint("look at the state folder of agentd"),
    };
    problem.into()
}

/// A file that should be there cannot be used.
pub(crate) fn io_problem(error: &io::Error) -> ApiError {
    tracing::warn!(%error, "a file of the state folder cannot be used");
    Problem::new(
        Code::Storage,
        format!("a file of the state folder cannot be used: {error}"),
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::{attachment, parse_range};

    #[test]
    fn a_file_has_a_plain_name_whatever_its_artifact_is_called() {
        for (name, plain) in [
            ("report.json", "report.json"),
            ("a b.txt", "a b.txt"),
            (".htaccess", "htaccess"),
            ("..", "artifact"),
            ("", "artifact"),
            ("-rf", "rf"),
            ("a\"; filename=\"b.exe", "a__ filename=_b.exe"),
            ("a\r\nSet-Cookie: x=y", "a__Set-Cookie_ x=y"),
            ("a\\b", "a_b"),
            ("a/b", "a_b"),
            ("<script>", "_script_"),
            ("%2e%2e%2f", "_2e_2e_2f"),
            ("$(touch x)`y`", "__touch x__y_"),
            ("a;b|c&d", "a_b_c_d"),
            ("x.exe. ", "x.exe"),
            ("file:stream", "file_stream"),
            (
                "{21EC2020-3AEA-1069-A2DD-08002B30309D}",
                "_21EC2020-3AEA-1069-A2DD-08002B30309D_",
            ),
            ("\u{202e}gpj.exe", "_gpj.exe"),
            ("gr\u{fc}n", "gr_n"),
            ("\0nul", "_nul"),
            ("\u{1b}[2J", "__2J"),
            ("a*?b", "a__b"),
            ("'quoted'", "_quoted_"),
            ("~root", "~root"),
            ("\t", "_"),
        ] {
            assert_eq!(
                attachment(name),
                format!("attachment; filename=\"{plain}\""),
                "{name:?}"
            );
        }
    }

    #[test]
    fn ranges_are_within_the_file_or_refused() {
        assert_eq!(parse_range("bytes=0-4", 10).expect("ok"), (0, 5));
        assert_eq!(parse_range("bytes=5-", 10).expect("ok"), (5, 10));
        assert_eq!(parse_range("bytes=-3", 10).expect("ok"), (7, 10));
        assert_eq!(parse_range("bytes=8-99", 10).expect("ok"), (8, 10));
        for bad in [
            "bytes=10-",
            "bytes=5-4",
            "lines=1-2",
            "bytes=a-b",
            "bytes=1-2,4-5",
        ] {
            assert!(parse_range(bad, 10).is_err(), "{bad}");
        }
    }
}
