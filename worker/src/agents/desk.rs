//! What people see of a running agent: its log, its progress, its transcript.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use protocol::{spec::ModelUsed, usage::Usage};
use serde::Serialize;

use super::memory::Turn;
use crate::{
    llm::{Delta, Listeners, Models},
    log::{LogSink, Stream},
    steps::ProgressSink,
};

/// Longest line of a model's text in the log, in bytes; longer ones are broken.
const LONGEST_LINE: usize = 8 * 1024;

/// The desk of one agent; cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    log: LogSink,
    progress: ProgressSink,
    transcript: PathBuf,
    open: Mutex<Open>,
}

struct Open {
    transcript: File,
    /// The line that the model is writing.
    line: String,
    /// Bytes of the answer so far.
    bytes: usize,
    /// What was used up to the last whole answer.
    usage: Usage,
    model: Option<ModelUsed>,
}

impl Desk {
    /// A desk whose transcript is the file `transcript.jsonl` in `folder`.
    pub fn new(log: LogSink, progress: ProgressSink, folder: &Path) -> io::Result<Self> {
        let transcript = folder.join("transcript.jsonl");
        let open = Open {
            transcript: File::create(&transcript)?,
            line: String::new(),
            bytes: 0,
            usage: Usage::default(),
            model: None,
        };
        Ok(Self(Arc::new(Inner {
            log,
            progress,
            transcript,
            open: Mutex::new(open),
        })))
    }

    /// Where the transcript is: one JSON record per try of a call, and per turn of an earlier attempt.
    pub fn transcript(&self) -> &Path {
        &self.0.transcript
    }

    /// Says something in log and progress.
    pub fn note(&self, text: &str) {
        self.0.log.info(text);
        self.progress(text);
    }

    /// The ears of this desk for model calls.
    pub fn listeners(&self) -> Listeners {
        let (deltas, notes, records) = (self.clone(), self.clone(), self.clone());
        Listeners {
            on_delta: Arc::new(move |delta| deltas.hear(delta)),
            on_note: Arc::new(move |text| {
                notes.flush();
                notes.note(text);
            }),
            on_record: Arc::new(move |record| records.write_down(record)),
        }
    }

    /// Ends the line that the model was writing and books what the call used.
    pub fn end_of_answer(&self, models: &Models) {
        self.flush();
        let mut open = self.open();
        open.usage = models.usage();
        open.model = models.used();
        drop(open);
        self.progress("answered");
    }

    /// Takes a turn of an earlier attempt into the transcript, which stays a whole recording.
    pub fn earlier(&self, step: &str, turn: &Turn) {
        #[derive(Serialize)]
        struct Earlier<'a> {
            step: &'a str,
            earlier: bool,
            #[serde(flatten)]
            turn: &'a Turn,
        }
        self.write_down(&Earlier {
            step,
            earlier: true,
            turn,
        });
    }

    fn hear(&self, delta: &Delta) {
        let Delta::Text(text) = delta else { return };
        let mut open = self.open();
        open.bytes += text.len();
        open.line.push_str(text);
        let end = match open.line.rfind('\n') {
            Some(end) => end + 1,
            None if open.line.len() > LONGEST_LINE => open.line.len(),
            None => return,
        };
        let lines: String = open.line.drain(..end).collect();
        let bytes = open.bytes;
        drop(open);
        self.0.log.line(Stream::Model, &lines);
        self.progress(&format!("the model is writing, {bytes} bytes so far"));
    }

    fn flush(&self) {
        let mut open = self.open();
        let line = std::mem::take(&mut open.line);
        open.bytes = 0;
        drop(open);
        self.0.log.line(Stream::Model, &line);
    }

    fn write_down(&self, record: &impl Serialize) {
        let written = serde_json::to_vec(record)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                self.open().transcript.write_all(&line)
            });
        if let Err(error) = written {
            self.0
                .log
                .info(&format!("the transcript could not be written: {error}"));
        }
    }

    fn progress(&self, text: &str) {
        let open = self.open();
        let (usage, model) = (open.usage, open.model.clone());
        drop(open);
        (self.0.progress)(None, text, usage, model);
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
