//! From the checkpoint of an earlier attempt to a memory that the conversation
//! goes on from. A checkpoint that is of no use is noted and never a failure.

use std::time::Duration;

use protocol::{artifact::BlobRef, message::Checkpoint};

use crate::{
    agents::memory::{Memory, subject},
    steps::StepContext,
};

/// Longest transcript that is read: 40 answers of half a megabyte.
const LARGEST: u64 = 20 << 20;
/// How often its bytes are asked for: a worker that has just come back may still be sending them.
const TRIES: u32 = 3;
/// Wait between two tries.
const BETWEEN: Duration = Duration::from_millis(500);
/// How long a controller may be away, or unable to read what it stored.
const PATIENCE: Duration = Duration::from_secs(120);

/// The memory of the attempt, and what to tell people about an earlier one.
pub(super) async fn memory(cx: &StepContext, commit: Option<&str>) -> (Memory, Option<String>) {
    let subject = subject(&cx.spec, commit);
    let Some(checkpoint) = &cx.assign.checkpoint else {
        return (Memory::empty(subject), None);
    };
    let late = |_| Err("the controller did not send it".to_owned());
    let read = tokio::time::timeout(PATIENCE, bytes(cx, checkpoint)).await;
    let read = read.unwrap_or_else(late);
    match read.and_then(|text| Memory::read(&text, subject).map_err(|unfit| unfit.to_string())) {
        Ok(memory) => {
            let note = format!(
                "goes on after {} finished turns of an earlier attempt",
                memory.ahead()
            );
            (memory, Some(note))
        }
        Err(why) => {
            let note = format!("begins anew: the checkpoint of an earlier attempt is of no use: {why}");
            (Memory::empty(subject), Some(note))
        }
    }
}

async fn bytes(cx: &StepContext, checkpoint: &Checkpoint) -> Result<Vec<u8>, String> {
    let BlobRef { size, .. } = checkpoint.transcript;
    if size > LARGEST {
        return Err(format!("it has {size} bytes, more than {LARGEST}"));
    }
    let mut tries = 1;
    let file = loop {
        match cx.blobs.fetch(checkpoint.transcript).await {
            Ok(file) => break file,
            Err(error) if tries == TRIES || cx.stop.token.is_cancelled() => return Err(error.message),
            Err(_) => {
                tries += 1;
                tokio::time::sleep(BETWEEN).await;
            }
        }
    };
    tokio::fs::read(&file).await.map_err(|error| error.to_string())
}
