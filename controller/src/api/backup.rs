//! `/v1/backup`: everything that a controller needs to go on elsewhere, while this one goes on.

use std::{
    io::{self, Write},
    time::Duration,
};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use futures::{StreamExt, stream};
use protocol::http::problem::{Code, Problem};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    backup::{self, BackupError, Source},
    keep::Kept,
};

use super::{Api, auth::Caller, jobs::note, problem::ApiResult};

/// Bytes that are sent together.
const PIECE: usize = 256 << 10;
/// Pieces that wait for the network.
const PIECES: usize = 4;
/// Whoever takes nothing for so long has gone: nothing can be removed while a backup is made.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn make(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> ApiResult<Response> {
    let Some(kept) = api.keep.for_backup().await else {
        let problem = Problem::new(Code::Conflict, "another backup is being made");
        return Err(problem.hint("wait until it is through").into());
    };
    note(&api, &caller, "backup.make", "everything", "ok".to_owned()).await?;
    let (sender, pieces) = mpsc::channel(PIECES);
    let pipe = Pipe {
        buffer: Vec::with_capacity(PIECE),
        sender,
        runtime: Handle::current(),
        stop: api.stop.clone(),
    };
    // it ends with the last piece, with its reader, or with the process
    let written = tokio::task::spawn_blocking(move || write(&api, kept, pipe));
    let pieces = stream::unfold((pieces, Some(written)), |(mut pieces, written)| async move {
        match pieces.recv().await {
            Some(piece) => Some((piece, (pieces, written))),
            None => {
                let joined = written?.await;
                joined
                    .is_err()
                    .then(|| (Err(io::Error::other("the backup broke off")), (pieces, None)))
            }
        }
    });
    let mut response = Response::new(Body::from_stream(pieces.boxed()));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-tar"),
    );
    let name = HeaderValue::from_static("attachment; filename=\"agentd-backup.tar\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

fn write(api: &Api, kept: Kept, mut pipe: Pipe) {
    let source = Source {
        folder: &api.about.state_dir,
        blobs: &api.blobs,
        logs: &api.logs,
        configuration: &api.about.configuration,
        version: api.about.version,
        at: api.clock.wall(),
    };
    let written = backup::write(&source, &mut pipe);
    drop(kept);
    match written {
        Ok(missing) => info!(missing, "a backup was made"),
        Err(error) => {
            warn!(%error, "a backup could not be made");
            pipe.fail(error);
        }
    }
}

/// From the thread that writes to the stream that sends.
struct Pipe {
    buffer: Vec<u8>,
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    stop: CancellationToken,
}

impl Pipe {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE)));
        let (sender, stop) = (&self.sender, &self.stop);
        self.runtime.block_on(async {
            tokio::select! {
                () = stop.cancelled() => Err(io::Error::other("agentd is stopping")),
                sent = tokio::time::timeout(PATIENCE, sender.send(Ok(piece))) => match sent {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(io::Error::other("whoever asked for it has gone")),
                    Err(_) => Err(io::Error::other("whoever asked for it takes nothing")),
                },
            }
        })
    }

    /// Breaks the answer off, so that nobody takes it for whole.
    fn fail(&mut self, error: BackupError) {
        // a reader that is gone or takes nothing sees the connection end
        let _ = self.sender.try_send(Err(io::Error::other(error)));
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE - self.buffer.len();
        let taken = bytes.len().min(room);
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}
