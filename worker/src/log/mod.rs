//! The log of one attempt: the spool file is the truth; its bytes are never
//! renumbered. One record is one line: RFC 3339 time, stream, text.

mod clean;
mod spool;

use std::sync::Arc;

pub use service::mask::Mask;
pub use spool::{Spool, SpoolLimits};

/// Where a line of the log comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output of a tool.
    Out,
    /// Standard error of a tool.
    Err,
    /// What the worker itself says.
    Info,
    /// What a model writes.
    Model,
}

impl Stream {
    /// The word in the log line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
            Self::Info => "info",
            Self::Model => "model",
        }
    }
}

type WriteLine = dyn Fn(Stream, &str) + Send + Sync;

/// Takes the lines of a log; cheap to clone.
#[derive(Clone)]
pub struct LogSink(Arc<WriteLine>);

impl LogSink {
    /// A sink that hands each line (without its end) to `write`.
    pub fn new(write: impl Fn(Stream, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    /// A sink that keeps nothing.
    pub fn discard() -> Self {
        Self::new(|_, _| {})
    }

    /// Writes one line; line ends inside become several lines.
    pub fn line(&self, stream: Stream, text: &str) {
        for line in text.lines() {
            (self.0)(stream, line);
        }
    }

    /// Says something as the worker.
    pub fn info(&self, text: &str) {
        self.line(Stream::Info, text);
    }
}
