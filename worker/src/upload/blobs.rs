//! Blobs: a local cache by hash, downloads into it, and uploads that go on
//! where they were cut.

use std::{
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use protocol::{
    artifact::{BlobRef, Sha256},
    http::artifacts::{MAX_UPLOAD_CHUNK, UPLOAD_LENGTH, UPLOAD_OFFSET, blob_path},
    step::{ErrorClass, StepError},
};
use reqwest::{Body, Method, Response, StatusCode, header};
use sha2::Digest;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio_util::{io::ReaderStream, sync::CancellationToken};

use super::{Controller, HttpError, persistently};
use crate::{folder, steps::Blobs};

/// Bytes that are hashed and sent at a time.
const PIECE: usize = 64 << 10;
/// Bytes that the cache keeps, about: 2 GiB.
const MAX_CACHE: u64 = 2 << 30;
/// What was not used for this long is removed in any case: 7 days.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often an upload starts anew after a wrong offset or hash.
const MAX_CORRECTIONS: u32 = 3;

/// Blobs that a result names are not on this machine any more.
#[derive(Debug, thiserror::Error)]
#[error("the controller lacks {0} and this machine no longer has it")]
pub struct BlobsMissing(Sha256);

/// The folder of blobs by hash; cheap to clone.
#[derive(Clone)]
pub struct BlobCache {
    folder: Arc<PathBuf>,
    controller: Controller,
}

impl BlobCache {
    /// A cache in an existing folder.
    pub fn new(folder: PathBuf, controller: Controller) -> Self {
        let folder = Arc::new(folder);
        Self { folder, controller }
    }

    /// Removes what is old or too much.
    pub async fn sweep(&self, now: SystemTime) {
        folder::sweep(self.folder.as_ref().clone(), MAX_CACHE, MAX_AGE, now).await;
    }

    /// Uploads blobs again that the controller misses.
    pub async fn upload_again(
        &self,
        missing: &[Sha256],
        stop: &CancellationToken,
    ) -> Result<Result<(), BlobsMissing>, HttpError> {
        for &sha256 in missing {
            let file = self.path(&sha256);
            let intact = hash_file(file.clone())
                .await
                .is_ok_and(|blob| blob.sha256 == sha256);
            if !intact {
                return Ok(Err(BlobsMissing(sha256)));
            }
            let size = tokio::fs::metadata(&file).await.map_err(local(&file))?.len();
            self.upload(&file, BlobRef { sha256, size }, stop).await?;
        }
        Ok(Ok(()))
    }

    fn path(&self, sha256: &Sha256) -> PathBuf {
        self.folder.join(sha256.to_string())
    }

    /// A file with the bytes of a blob. What is there already is verified again:
    /// a kept file shares its bytes with the one that a step made and may have changed since.
    async fn fetch(&self, blob: BlobRef, stop: &CancellationToken) -> Result<PathBuf, HttpError> {
        let file = self.path(&blob.sha256);
        if hash_file(file.clone()).await.is_ok_and(|there| there == blob) {
            return Ok(file);
        }
        persistently(stop, || self.download(blob, &file)).await?;
        Ok(file)
    }

    async fn download(&self, blob: BlobRef, file: &Path) -> Result<(), HttpError> {
        let request = self.controller.request(Method::GET, &blob_path(&blob.sha256));
        let mut response = Controller::send(request).await?;
        let part = tempfile::Builder::new()
            .prefix(".part-")
            .tempfile_in(self.folder.as_ref())
            .map_err(local(file))?;
        let (std_file, part) = part.into_parts();
        let mut out = tokio::fs::File::from_std(std_file);
        let (mut hash, mut size) = (sha2::Sha256::new(), 0);
        while let Some(chunk) = response.chunk().await? {
            size += chunk.len() as u64;
            if size > blob.size {
                break;
            }
            hash.update(&chunk);
            out.write_all(&chunk).await.map_err(local(file))?;
        }
        out.flush().await.map_err(local(file))?;
        if size != blob.size || hash.finalize().as_slice() != blob.sha256.0 {
            let text = format!("blob {} has other bytes than its name says", blob.sha256);
            return Err(HttpError::Unexpected(text));
        }
        part.persist(file).map_err(|e| local(file)(e.error))
    }

    /// Keeps bytes under their hash, on disk when this returns; [`Self::send_kept`] uploads them.
    pub async fn keep_bytes(&self, bytes: Vec<u8>) -> io::Result<BlobRef> {
        let folder = self.folder.clone();
        let work = move || {
            let blob = BlobRef {
                sha256: Sha256(sha2::Sha256::digest(&bytes).into()),
                size: bytes.len() as u64,
            };
            let mut part = tempfile::Builder::new()
                .prefix(".part-")
                .tempfile_in(folder.as_ref())?;
            part.write_all(&bytes)?;
            part.as_file().sync_data()?;
            part.persist(folder.join(blob.sha256.to_string()))?;
            Ok(blob)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(io::Error::other)?
    }

    /// Uploads what was kept, resuming what is already there.
    pub async fn send_kept(&self, blob: BlobRef, stop: &CancellationToken) -> Result<(), HttpError> {
        self.upload(&self.path(&blob.sha256), blob, stop).await
    }

    /// Keeps a file under its hash, so that it can be sent again later.
    async fn keep(&self, file: &Path, blob: BlobRef) -> io::Result<()> {
        let kept = self.path(&blob.sha256);
        if tokio::fs::hard_link(file, &kept).await.is_ok() || kept.exists() {
            return Ok(());
        }
        let part = self.folder.join(format!(".part-{}", uuid::Uuid::now_v7()));
        tokio::fs::copy(file, &part).await?;
        tokio::fs::rename(&part, &kept).await
    }

    /// Sends a file until the controller has all of it.
    async fn upload(&self, file: &Path, blob: BlobRef, stop: &CancellationToken) -> Result<(), HttpError> {
        let mut progress = persistently(stop, || self.progress(blob)).await?;
        let mut corrections = 0;
        while let Progress::At(from) = progress {
            match persistently(stop, || self.send(file, blob, from)).await {
                Ok(next) if next == blob.size => progress = Progress::Whole,
                Ok(next) if next > from => progress = Progress::At(next),
                Ok(_) => return Err(HttpError::Unexpected("the upload does not get on".to_owned())),
                Err(error) if corrections < MAX_CORRECTIONS && must_ask_again(&error) => {
                    corrections += 1;
                    progress = persistently(stop, || self.progress(blob)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How far the controller has a blob. Only a blob that it has stored has a length there.
    async fn progress(&self, blob: BlobRef) -> Result<Progress, HttpError> {
        let request = self.controller.request(Method::HEAD, &blob_path(&blob.sha256));
        match Controller::send(request).await {
            Ok(response) if response.headers().contains_key(UPLOAD_LENGTH) => Ok(Progress::Whole),
            Ok(response) => Ok(Progress::At(upload_offset(&response).unwrap_or_default())),
            Err(error) if error.is_status(StatusCode::NOT_FOUND) => Ok(Progress::At(0)),
            Err(error) => Err(error),
        }
    }

    /// Sends one stretch from `from` on; answers where the next one begins.
    async fn send(&self, file: &Path, blob: BlobRef, from: u64) -> Result<u64, HttpError> {
        let size = (blob.size - from.min(blob.size)).min(MAX_UPLOAD_CHUNK as u64);
        let mut source = tokio::fs::File::open(file).await.map_err(local(file))?;
        source
            .seek(io::SeekFrom::Start(from))
            .await
            .map_err(local(file))?;
        let body = ReaderStream::with_capacity(source.take(size), PIECE);
        let request = self
            .controller
            .request(Method::PATCH, &blob_path(&blob.sha256))
            .header(UPLOAD_OFFSET, from)
            .header(UPLOAD_LENGTH, blob.size)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, size)
            .body(Body::wrap_stream(body));
        let response = Controller::send(request).await?;
        Ok(upload_offset(&response).unwrap_or(from + size))
    }
}

/// How far an upload is.
#[derive(Clone, Copy)]
enum Progress {
    /// The controller has stored it.
    Whole,
    /// It goes on here.
    At(u64),
}

fn upload_offset(response: &Response) -> Option<u64> {
    response.headers().get(UPLOAD_OFFSET)?.to_str().ok()?.parse().ok()
}

fn must_ask_again(error: &HttpError) -> bool {
    error.is_status(StatusCode::CONFLICT) || error.is_status(StatusCode::UNPROCESSABLE_ENTITY)
}

fn local(file: &Path) -> impl Fn(io::Error) -> HttpError {
    let file = file.display().to_string();
    move |error| HttpError::Local(format!("{file}: {error}"))
}

/// Hash and size of a file, off the async threads.
async fn hash_file(file: PathBuf) -> io::Result<BlobRef> {
    let work = move || {
        let mut source = std::fs::File::open(file)?;
        let (mut hash, mut size, mut piece) = (sha2::Sha256::new(), 0, vec![0; PIECE]);
        loop {
            let read = source.read(&mut piece)?;
            if read == 0 {
                let sha256 = Sha256(hash.finalize().into());
                return Ok(BlobRef { sha256, size });
            }
            hash.update(&piece[..read]);
            size += read as u64;
        }
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// The blobs of one attempt: calls end with it.
pub struct AttemptBlobs {
    /// The cache.
    pub cache: BlobCache,
    /// The end of the attempt.
    pub stop: CancellationToken,
}

impl Blobs for AttemptBlobs {
    fn fetch(&self, blob: BlobRef) -> BoxFuture<'_, Result<PathBuf, StepError>> {
        Box::pin(async move { Ok(self.cache.fetch(blob, &self.stop).await?) })
    }

    fn store<'a>(&'a self, file: &'a Path) -> BoxFuture<'a, Result<BlobRef, StepError>> {
        Box::pin(async move {
            let unreadable = |e: io::Error| {
                StepError::new(
                    ErrorClass::Infra,
                    format!("{} cannot be read: {e}", file.display()),
                )
            };
            let blob = hash_file(file.to_owned()).await.map_err(unreadable)?;
            if let Err(error) = self.cache.keep(file, blob).await {
                tracing::warn!(%error, "a file could not be kept for a later upload");
            }
            self.cache.upload(file, blob, &self.stop).await?;
            Ok(blob)
        })
    }
}
