//! The life of one attempt.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

use futures::future::BoxFuture;
use protocol::{
    id::AttemptId,
    message::{Assign, CancelReason, LogTail, Progress},
    step::{ErrorClass, StepError},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Report, Workshop,
    checkpoint::{AttemptCheckpoints, checkpoints},
    outcome::{LogState, hide, result, settle_outcome},
};
use crate::{
    inventory::local_ollama,
    log::{Mask, Spool, SpoolLimits},
    steps::{ProgressSink, StepContext, StepOutput, Stop},
    telemetry,
    upload::{AttemptBlobs, AttemptSource, HttpError, LogUpload},
};

/// Lines are gathered for this long before they are sent.
const LOG_EVERY: Duration = Duration::from_millis(200);
/// Wait after a failed piece of log.
const LOG_RETRY: Duration = Duration::from_secs(2);
/// How long a result waits for the rest of its log.
const LOG_PATIENCE: Duration = Duration::from_secs(10);
/// The same when the whole process ends.
const LOG_PATIENCE_CLOSING: Duration = Duration::from_secs(1);
/// Progress is said at most this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// After the hard end a step has this long to return before it is abandoned.
const ABANDON_AFTER: Duration = Duration::from_secs(5);
/// Largest piece of a live log.
const MAX_TAIL: usize = 32 << 10;

/// Executes an attempt and reports its result.
pub(super) async fn attempt(workshop: Arc<Workshop>, assign: Assign, stop: Stop, closing: CancellationToken) {
    let began = Instant::now();
    let attempt = assign.attempt;
    telemetry::attempt_accepted(assign.job, &assign.step, attempt);
    let mask = workshop.mask.clone();
    let limits = SpoolLimits::of_total(workshop.log_bytes.load(Ordering::Relaxed));
    let path = workshop.spools.join(attempt.to_string());
    let spool = Spool::new(path, limits, mask.clone(), workshop.clock.clone());
    let (progress, progress_seen) = watch::channel(None);
    let over = CancellationToken::new();
    let (checkpoints, carrier) = checkpoints(
        &assign,
        &workshop.blobs,
        &workshop.reports,
        (mask.clone(), spool.sink()),
        &stop.token,
    );
    let work = async {
        let outlets = Outlets {
            spool: &spool,
            mask: mask.clone(),
            progress,
            checkpoints: Arc::new(checkpoints),
        };
        let output = execute(&workshop, &assign, &stop, outlets).await;
        over.cancel();
        output
    };
    let upload = LogUpload::new(workshop.controller.clone(), attempt, 0);
    let (mut output, (), (), mut upload) = tokio::join!(
        work,
        say_progress(&workshop, progress_seen),
        carrier.run(&over),
        send_log(&workshop, &spool, upload, attempt, &over),
    );
    let log = finish_log(&spool, &mut upload, attempt, &stop, &closing).await;
    settle_outcome(&mut output.step, stop.reason(), output.timed_out);
    hide(&mut output.step, &mask);
    let took = began.elapsed();
    let result = result(&assign, output.step, log, took.as_millis() as u64);
    telemetry::attempt_ended(assign.job, &assign.step, attempt, result.outcome, took);
    if workshop.reports.send(Report::Ended(result)).await.is_err() {
        tracing::error!(%attempt, "nobody took the result of an attempt");
    }
}

/// What a step left behind, and whether its own time limit ended it.
struct Executed {
    step: StepOutput,
    timed_out: bool,
}

/// Where what a step says goes.
struct Outlets<'a> {
    spool: &'a Spool,
    mask: Mask,
    progress: watch::Sender<Option<Progress>>,
    checkpoints: Arc<AttemptCheckpoints>,
}

async fn execute(workshop: &Workshop, assign: &Assign, stop: &Stop, outlets: Outlets<'_>) -> Executed {
    let scratch = workshop.scratch.join(assign.attempt.to_string());
    let prepared = async {
        crate::folder::make_folder(&scratch).map_err(|error| {
            let message = format!("no private folder can be made for the attempt: {error}");
            StepError::new(ErrorClass::Infra, message)
        })?;
        let source = Arc::new(AttemptSource {
            controller: workshop.controller.clone(),
            attempt: assign.attempt,
            own: workshop.providers.clone(),
            found: local_ollama(),
            mask: outlets.mask.clone(),
            stop: stop.token.clone(),
        });
        let spec = match &assign.spec {
            Some(spec) => spec.clone(),
            None => source.spec().await?,
        };
        Ok(StepContext {
            assign: assign.clone(),
            spec,
            log: outlets.spool.sink(),
            progress: progress_sink(assign.attempt, outlets.progress, outlets.mask.clone()),
            checkpoints: outlets.checkpoints,
            blobs: Arc::new(AttemptBlobs {
                cache: workshop.blobs.clone(),
                stop: stop.token.clone(),
            }),
            providers: source.clone(),
            secrets: source,
            mask: outlets.mask,
            workspaces: workshop.workspaces.clone(),
            scratch: scratch.clone(),
            stop: stop.clone(),
        })
    };
    let executed = match prepared.await {
        Ok(context) => run_within_limits((workshop.runner)(context), assign, stop).await,
        Err(error) => Executed {
            step: StepOutput::failed(error),
            timed_out: false,
        },
    };
    remove_scratch(&scratch).await;
    executed
}

/// Most are empty: those need no thread that can wait for the disk.
async fn remove_scratch(scratch: &Path) {
    if std::fs::remove_dir(scratch).is_ok() {
        return;
    }
    if let Err(error) = tokio::fs::remove_dir_all(scratch).await
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %scratch.display(), "a private folder stays");
    }
}

/// Runs the step to its end. At its hard limit it is asked to stop; a step that
/// does not return after a stop is abandoned, which kills what it started.
async fn run_within_limits(
    mut step: BoxFuture<'static, StepOutput>,
    assign: &Assign,
    stop: &Stop,
) -> Executed {
    let limit = Instant::now() + Duration::from_millis(assign.timeout_ms);
    let (ended, timed_out) = tokio::select! {
        ended = &mut step => (Some(ended), false),
        () = sleep_until(limit) => {
            stop.request(CancelReason::Timeout, Duration::from_millis(assign.cancel_grace_ms));
            (None, true)
        }
        () = stop.token.cancelled() => (None, false),
    };
    let ended = match ended {
        Some(ended) => Ok(ended),
        None => timeout_at(Instant::now() + stop.kill_after() + ABANDON_AFTER, step).await,
    };
    let step = match ended {
        Ok(output) => output,
        Err(_late) => StepOutput::failed(StepError::new(
            ErrorClass::Killed,
            "the step did not return after it was stopped and was abandoned",
        )),
    };
    Executed { step, timed_out }
}

fn progress_sink(attempt: AttemptId, latest: watch::Sender<Option<Progress>>, mask: Mask) -> ProgressSink {
    let seq = AtomicU64::new(0);
    Arc::new(move |fraction, note, usage, model| {
        let note = mask.apply(note);
        let progress = Progress {
            attempt,
            seq: 1 + seq.fetch_add(1, Ordering::Relaxed),
            fraction,
            note: note.chars().take(200).collect(),
            usage,
            model,
        };
        latest.send_replace(Some(progress));
    })
}

/// Hands the latest progress on, at most once a second, until the step is over.
async fn say_progress(workshop: &Workshop, mut latest: watch::Receiver<Option<Progress>>) {
    while latest.changed().await.is_ok() {
        let progress = latest.borrow_and_update().clone();
        if let Some(progress) = progress
            && workshop.reports.send(Report::Progress(progress)).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = sleep(PROGRESS_EVERY) => {}
            // the sender goes with the step
            () = closed(&latest) => return,
        }
    }
}

async fn closed<T>(latest: &watch::Receiver<T>) {
    let mut latest = latest.clone();
    while latest.changed().await.is_ok() {}
}

/// Sends lines while they come: a live piece over MQTT, the bytes over HTTP.
async fn send_log(
    workshop: &Workshop,
    spool: &Spool,
    mut upload: LogUpload,
    attempt: AttemptId,
    over: &CancellationToken,
) -> LogUpload {
    let mut shown = 0;
    loop {
        tokio::select! {
            () = spool.written() => {}
            () = over.cancelled() => return upload,
        }
        tokio::select! {
            () = sleep(LOG_EVERY) => {}
            () = over.cancelled() => return upload,
        }
        shown = show_tail(workshop, spool, attempt, shown);
        let sent = tokio::select! {
            sent = upload.catch_up(|offset, max| spool.read(offset, max)) => sent,
            () = over.cancelled() => return upload,
        };
        if let Err(error) = sent {
            tracing::debug!(%attempt, %error, "a piece of a log is sent later");
            let wait = if error.is_transient() {
                LOG_RETRY
            } else {
                30 * LOG_RETRY
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = over.cancelled() => return upload,
            }
        }
    }
}

/// Offers the whole lines behind `shown` as a live piece; answers what is shown now.
fn show_tail(workshop: &Workshop, spool: &Spool, attempt: AttemptId, shown: u64) -> u64 {
    let Ok(bytes) = spool.read(shown, MAX_TAIL) else {
        return shown;
    };
    let whole = bytes
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    if whole == 0 {
        return shown;
    }
    let text = String::from_utf8_lossy(&bytes[..whole]).into_owned();
    let offset = shown;
    if workshop
        .tails
        .try_send(LogTail {
            attempt,
            offset,
            text,
        })
        .is_err()
    {
        tracing::debug!(%attempt, "a piece of a live log was dropped");
    }
    // a flood is not shown live: whoever wants it all reads the log itself
    if whole == bytes.len() || bytes.len() < MAX_TAIL {
        shown + whole as u64
    } else {
        spool.len()
    }
}

/// Sends the rest of the log; the result does not wait for it without end.
async fn finish_log(
    spool: &Spool,
    upload: &mut LogUpload,
    attempt: AttemptId,
    stop: &Stop,
    closing: &CancellationToken,
) -> LogState {
    let (bytes, sha256) = spool.finish();
    let patience = if stop.reason().is_some() {
        LOG_PATIENCE_CLOSING
    } else {
        LOG_PATIENCE
    };
    let deadline = Instant::now() + patience;
    while upload.offset() < bytes {
        let sent = tokio::select! {
            sent = timeout_at(deadline, upload.catch_up(|offset, max| spool.read(offset, max))) => sent,
            () = closing.cancelled() => break,
        };
        match sent {
            Ok(Ok(())) => break,
            Ok(Err(error)) if error.is_transient() && Instant::now() + LOG_EVERY < deadline => {
                sleep(LOG_EVERY).await;
            }
            Ok(Err(error)) => {
                tell_rest(attempt, &error);
                break;
            }
            Err(_late) => {
                tell_rest(attempt, &HttpError::Unreachable("no answer in time".to_owned()));
                break;
            }
        }
    }
    let complete = bytes > 0 && upload.offset() >= bytes;
    LogState {
        bytes,
        sha256: complete.then_some(sha256),
    }
}

fn tell_rest(attempt: AttemptId, error: &HttpError) {
    tracing::warn!(%attempt, %error, "the rest of a log could not be sent yet; it is kept for a day");
}

/// Up to `max` bytes of a file from `offset` on.
pub(super) fn read_file(path: &Path, offset: u64, max: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = vec![0; max];
    let read = file.read_at(&mut bytes, offset)?;
    bytes.truncate(read);
    Ok(bytes)
}
