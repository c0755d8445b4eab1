//! The way of an agent's finished turns out of the attempt: to this machine's disk
//! and the journal at once, to the controller before the next turn, or beside it
//! when the controller is away. The latest replaces those that still wait.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use protocol::{
    id::AttemptId,
    message::{Assign, Checkpoint},
    usage::Usage,
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::Report;
use crate::{
    agents::memory::Transcript,
    log::{LogSink, Mask},
    steps::Checkpoints,
    upload::BlobCache,
};

/// How long a turn waits for the controller to have the one before it: the next answer
/// takes longer than a LAN, and must not wait for a controller that is away.
const PATIENCE: Duration = Duration::from_secs(2);

/// The checkpoints of one attempt, as its agent sees them.
pub(super) struct AttemptCheckpoints {
    attempt: AttemptId,
    last_seq: Mutex<u64>,
    blobs: BlobCache,
    reports: mpsc::Sender<Report>,
    mask: Mask,
    log: LogSink,
    stop: CancellationToken,
    /// Whether people were told that there is none.
    told: AtomicBool,
    latest: watch::Sender<Option<Checkpoint>>,
    sent: watch::Receiver<u64>,
}

/// What carries them to the controller.
pub(super) struct Carrier {
    blobs: BlobCache,
    reports: mpsc::Sender<Report>,
    latest: watch::Receiver<Option<Checkpoint>>,
    sent: watch::Sender<u64>,
}

/// Both ends, for the attempt of `assign`: their numbers go on from those of the attempt before.
pub(super) fn checkpoints(
    assign: &Assign,
    blobs: &BlobCache,
    reports: &mpsc::Sender<Report>,
    (mask, log): (Mask, LogSink),
    stop: &CancellationToken,
) -> (AttemptCheckpoints, Carrier) {
    let (latest, latest_seen) = watch::channel(None);
    let (sent, sent_seen) = watch::channel(0);
    let saver = AttemptCheckpoints {
        attempt: assign.attempt,
        last_seq: Mutex::new(assign.checkpoint.as_ref().map_or(0, |earlier| earlier.seq)),
        blobs: blobs.clone(),
        reports: reports.clone(),
        mask,
        log,
        stop: stop.clone(),
        told: AtomicBool::new(false),
        latest,
        sent: sent_seen,
    };
    let carrier = Carrier {
        blobs: blobs.clone(),
        reports: reports.clone(),
        latest: latest_seen,
        sent,
    };
    (saver, carrier)
}

impl AttemptCheckpoints {
    /// Keeps the turns on this machine; the reason if that cannot be.
    async fn keep(&self, transcript: &Transcript, usage: Usage) -> Result<Checkpoint, String> {
        let text = serde_json::to_string(transcript).map_err(|error| error.to_string())?;
        if self.mask.apply(&text) != text {
            // with the secret hidden, the answers would not be those that were given
            return Err("what was said holds a secret".to_owned());
        }
        let kept = self.blobs.keep_bytes(text.into_bytes()).await;
        let transcript = kept.map_err(|error| error.to_string())?;
        let mut last_seq = self.last_seq.lock().unwrap_or_else(PoisonError::into_inner);
        *last_seq += 1;
        Ok(Checkpoint {
            attempt: self.attempt,
            seq: *last_seq,
            transcript,
            // no role changes files before its last answer is accepted, and playing that answer does it again
            workspace: None,
            usage,
        })
    }
}

impl Checkpoints for AttemptCheckpoints {
    fn save<'a>(&'a self, transcript: &'a Transcript, usage: Usage) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let checkpoint = match self.keep(transcript, usage).await {
                Ok(checkpoint) => checkpoint,
                Err(why) => {
                    if !self.told.swap(true, Ordering::Relaxed) {
                        self.log.info(&format!("no checkpoint: {why}"));
                    }
                    return;
                }
            };
            let seq = checkpoint.seq;
            let kept = Report::Turn(Box::new(checkpoint.clone()));
            if self.reports.send(kept).await.is_err() {
                return;
            }
            self.latest.send_replace(Some(checkpoint));
            let mut sent = self.sent.clone();
            tokio::select! {
                _ = timeout(PATIENCE, sent.wait_for(|sent| *sent >= seq)) => {}
                () = self.stop.cancelled() => {}
            }
        })
    }
}

impl Carrier {
    /// Uploads the latest checkpoint and says so, until the step is `over`.
    pub(super) async fn run(mut self, over: &CancellationToken) {
        loop {
            tokio::select! {
                changed = self.latest.changed() => if changed.is_err() { return },
                () = over.cancelled() => return,
            }
            let Some(checkpoint) = self.latest.borrow_and_update().clone() else {
                continue;
            };
            let (attempt, seq) = (checkpoint.attempt, checkpoint.seq);
            let sent = Report::TurnSent(Box::new(checkpoint.clone()));
            match self.blobs.send_kept(checkpoint.transcript, over).await {
                Ok(()) => {
                    if self.reports.send(sent).await.is_err() {
                        return;
                    }
                    self.sent.send_replace(seq);
                }
                Err(_) if over.is_cancelled() => return,
                // the next one holds this one's turns too
                Err(error) => tracing::warn!(%attempt, %error, "a checkpoint could not be sent"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::artifact::Sha256;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        agents::memory::{Memory, Turn},
        testing::assign,
        upload::Controller,
    };

    /// One finished turn with this answer.
    fn said(answer: &str) -> Memory {
        let mut memory = Memory::empty(Sha256([1; 32]));
        let turn = serde_json::json!({
            "ask": "open", "told": null, "squeezed": false, "provider": "p", "model": "m",
            "protocol": "whole_file", "finish": "stop", "call": 1, "reply": answer,
        });
        let turn: Turn = serde_json::from_value(turn).expect("a turn");
        memory.add(turn);
        memory
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_kept_and_numbered_and_a_controller_that_is_away_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let away = Controller::new("http://127.0.0.1:1", crate::access::Access::Nobody).expect("a client");
        let blobs = BlobCache::new(folder.path().to_owned(), away);
        let (reports, mut heard) = mpsc::channel(4);
        let (mask, stop) = (Mask::default(), CancellationToken::new());
        mask.add("sk-secret");
        let mut assign = assign();
        let earlier = Checkpoint {
            attempt: AttemptId::new(),
            seq: 3,
            transcript: blobs.keep_bytes(b"{}".to_vec()).await.expect("kept"),
            workspace: None,
            usage: Usage::default(),
        };
        assign.checkpoint = Some(earlier);
        let outlets = (mask, LogSink::discard());
        let (saver, carrier) = checkpoints(&assign, &blobs, &reports, outlets, &stop);
        let over = CancellationToken::new();
        let talk = async {
            let began = Instant::now();
            let usage = Usage::default();
            saver.save(said("it is sk-secret").transcript(), usage).await;
            let memory = said("good");
            saver.save(memory.transcript(), usage).await;
            assert!(began.elapsed() <= PATIENCE, "{:?}", began.elapsed());
            over.cancel();
            memory
        };
        let (memory, ()) = tokio::join!(talk, carrier.run(&over));
        let Some(Report::Turn(checkpoint)) = heard.recv().await else {
            panic!("a turn");
        };
        assert_eq!((checkpoint.attempt, checkpoint.seq), (assign.attempt, 4));
        let file = folder.path().join(checkpoint.transcript.sha256.to_string());
        let kept: Transcript =
            serde_json::from_slice(&std::fs::read(file).expect("kept")).expect("a transcript");
        assert_eq!(kept, *memory.transcript());
        assert!(heard.try_recv().is_err(), "a secret leaves no turn behind");
    }
}
