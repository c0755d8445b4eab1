//! Attempts that go on from the checkpoint of an earlier one, on another worker.

use protocol::{id::AttemptId, message::Checkpoint, usage::Usage};

use super::*;
use crate::{agents::memory::Transcript, testing::Kept};

/// A role, what it is given, and all that its model says.
struct Play {
    role: &'static str,
    with: Value,
    script: Vec<Value>,
}

impl Play {
    fn edit(script: Vec<Value>) -> Self {
        let plan = json!({"summary": "Multiply.", "items": [
            {"id": "1", "title": "mend area", "files": [{"path": "shapes.py"}]}]});
        let with = json!({"task": "area adds instead of multiplying", "plan": plan});
        Self {
            role: "codegen",
            with,
            script,
        }
    }

    /// An architect that asks for files twice and errs once.
    fn plan() -> Self {
        let plan = r#"{"summary":"Multiply.","items":[{"id":1,"title":"mend area","files":[{"path":"shapes.py"}]}]}"#;
        let script = vec![
            line(r#"{"need_files":["README.md"]}"#, &[]),
            line("what?", &["# Shapes"]),
            line(r#"{"need_files":["shapes.py"]}"#, &[]),
            line(plan, &["return w + h"]),
        ];
        Self {
            role: "architect",
            with: json!({"task": "area of shapes is wrong"}),
            script,
        }
    }

    fn review() -> Self {
        let good = r#"{"decision":"approve","summary":"fine","findings":[]}"#;
        Self {
            role: "review",
            with: json!({"task": "t"}),
            script: vec![line(r#"{"decision":"maybe"}"#, &[]), line(good, &[])],
        }
    }

    /// Plays it, after the turns of an earlier attempt if there are any.
    async fn run(&self, stage: &Stage, earlier: Option<&[u8]>) -> (StepOutput, Vec<(Transcript, Usage)>) {
        let (mut cx, work) = stage
            .context(self.role, self.with.clone(), self.script.clone())
            .await;
        if let Some(text) = earlier {
            cx.assign.checkpoint = Some(checkpoint(stage, text).await);
            let other = stage.bench.folder.path().join(cx.assign.attempt.to_string());
            cx.workspaces = Bench::another_worker(&other);
        }
        let kept = Arc::new(Kept::default());
        cx.checkpoints = kept.clone();
        let output = run(&cx, &work).await;
        let turns = std::mem::take(&mut *kept.0.lock().expect("no test panics with it"));
        (output, turns)
    }
}

async fn checkpoint(stage: &Stage, text: &[u8]) -> Checkpoint {
    let file = stage.bench.folder.path().join("turns.json");
    std::fs::write(&file, text).expect("written");
    Checkpoint {
        attempt: AttemptId::new(),
        seq: 1,
        transcript: stage.bench.blobs.store(&file).await.expect("stored"),
        workspace: None,
        usage: Usage::default(),
    }
}

/// Call numbers of the turns of an earlier attempt, and what was sent in every call of this one.
async fn asked(stage: &Stage, output: &StepOutput) -> (Vec<u64>, Vec<(u64, Value)>) {
    let artifact = output
        .artifacts
        .iter()
        .find(|artifact| artifact.name == "transcript.jsonl");
    let artifact = artifact.expect("a transcript");
    let blob = BlobRef {
        sha256: artifact.sha256,
        size: artifact.size,
    };
    let file = stage.bench.blobs.fetch(blob).await.expect("fetched");
    let text = std::fs::read_to_string(file).expect("text");
    let records = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("json"));
    let number = |record: &Value| record["call"].as_u64().expect("a number");
    let (earlier, own): (Vec<_>, Vec<_>) = records.partition(|record| record["earlier"] == true);
    let asked = own
        .iter()
        .map(|record| (number(record), record["request"].clone()));
    (earlier.iter().map(number).collect(), asked.collect())
}

#[tokio::test]
async fn after_every_turn_another_worker_asks_for_the_rest_alone_and_in_the_same_words() {
    let good = block("    return w + h\n", FIXED);
    let ambiguous = block("    total = w + h\n", "    total = w * h\n");
    let edits = vec![line("I cannot.", &[]), line(&ambiguous, &[]), line(&good, &[])];
    let cut = cut().pop().expect("cut twice").1;
    for play in [Play::edit(edits), Play::edit(cut), Play::plan(), Play::review()] {
        let stage = Stage::new(EditProtocol::SearchReplace).await;
        let (whole, turns) = play.run(&stage, None).await;
        let name = play.role;
        assert_eq!(whole.error, None, "{name}");
        let calls = play.script.len();
        assert_eq!(turns.len(), calls, "every answer is a checkpoint");
        let (_, all) = asked(&stage, &whole).await;
        for (k, (transcript, usage)) in turns.iter().enumerate().map(|(i, turn)| (i + 1, turn)) {
            assert_eq!(usage.calls as usize, k);
            let text = serde_json::to_vec(transcript).expect("json");
            let (output, more) = play.run(&stage, Some(&text)).await;
            assert_eq!(output.error, None, "{name} after {k}");
            assert_eq!(output.usage.calls as usize, calls - k, "{name} after {k}");
            let (earlier, own) = asked(&stage, &output).await;
            assert_eq!(own, all[k..], "{name} after {k}");
            let numbers: Vec<u64> = all[..k].iter().map(|(number, _)| *number).collect();
            assert_eq!(earlier, numbers, "the transcript stays whole");
            let note = format!("goes on after {k} finished turns of an earlier attempt");
            assert_eq!(output.notes, [note]);
            let last = more.last().map_or(transcript, |(last, _)| last);
            assert_eq!(
                *last,
                turns[calls - 1].0,
                "what it remembers is the whole conversation"
            );
            if name == "codegen" {
                let [theirs, ours] = [&output, &whole].map(|output| stage.file(output, "shapes.py"));
                assert_eq!(theirs.await, ours.await);
            } else {
                assert_eq!(output.outputs, whole.outputs);
            }
        }
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_of_no_use_is_noted_and_the_attempt_begins_anew() {
    let good = block("    return w + h\n", FIXED);
    let play = Play::edit(vec![line("I cannot.", &[]), line(&good, &[])]);
    let stage = Stage::new(EditProtocol::SearchReplace).await;
    let (_, turns) = play.run(&stage, None).await;
    let text = serde_json::to_string(&turns[0].0).expect("json");
    let mut other_task = Play::edit(play.script.clone());
    other_task.with["task"] = "something else".into();
    for (play, text, why) in [
        (&play, text[..40].to_owned(), "cannot be read"),
        (&play, text.replace("\"form\":1", "\"form\":0"), "has form 0"),
        (&other_task, text.clone(), "not what they were"),
    ] {
        let (output, _) = play.run(&stage, Some(text.as_bytes())).await;
        assert_eq!((output.error, output.usage.calls), (None, 2), "{why}");
        let note = output.notes.concat();
        assert!(note.starts_with("begins anew") && note.contains(why), "{note}");
    }
}

#[tokio::test]
async fn bytes_that_are_gone_are_noted_too() {
    let good = block("    return w + h\n", FIXED);
    let play = Play::edit(vec![line(&good, &[])]);
    let stage = Stage::new(EditProtocol::SearchReplace).await;
    let (mut cx, work) = stage.context(play.role, play.with, play.script).await;
    let mut gone = checkpoint(&stage, b"{}").await;
    gone.transcript.sha256 = protocol::artifact::Sha256([9; 32]);
    cx.assign.checkpoint = Some(gone);
    let output = run(&cx, &work).await;
    assert_eq!((output.error, output.usage.calls), (None, 1));
    assert!(
        output.notes.concat().contains("no such blob"),
        "{:?}",
        output.notes
    );
}

#[tokio::test]
async fn turns_that_were_judged_otherwise_are_played_as_far_as_they_fit() {
    let good = block("    return w + h\n", FIXED);
    let play = Play::edit(vec![line("I cannot.", &[]), line(&good, &[])]);
    let stage = Stage::new(EditProtocol::SearchReplace).await;
    let (_, turns) = play.run(&stage, None).await;
    let mut transcript = turns[1].0.clone();
    // as if another version had found the first answer good enough to be asked about
    transcript.turns[1].ask = agents::turn::Ask::Confirm;
    transcript.turns[1].call = 1;
    let text = serde_json::to_vec(&transcript).expect("json");
    let (output, _) = play.run(&stage, Some(&text)).await;
    assert_eq!((output.error, output.usage.calls), (None, 1));
}

/// A controller that cannot send anything.
struct Mute;

impl Blobs for Mute {
    fn fetch(&self, _: BlobRef) -> BoxFuture<'_, Result<std::path::PathBuf, StepError>> {
        Box::pin(std::future::pending())
    }

    fn store<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, Result<BlobRef, StepError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_never_come_are_not_waited_for_without_end() {
    let bench = Bench::new();
    let mut cx = bench.context(Work::Use(protocol::spec::ToolStep::Check), None, Map::new());
    cx.assign.checkpoint = Some(Checkpoint {
        attempt: AttemptId::new(),
        seq: 1,
        transcript: BlobRef {
            sha256: protocol::artifact::Sha256([9; 32]),
            size: 2,
        },
        workspace: None,
        usage: Usage::default(),
    });
    cx.blobs = Arc::new(Mute);
    let (memory, note) = super::super::resume::memory(&cx, None).await;
    assert_eq!(memory.ahead(), 0);
    assert!(note.expect("a note").contains("did not send it"));
}
