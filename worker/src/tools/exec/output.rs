//! Reads what a child writes: lines to the log up to a cap, head and tail kept,
//! memory bounded whatever comes.

use std::{collections::VecDeque, io, os::fd::OwnedFd};

use tokio::{io::AsyncReadExt as _, net::unix::pipe::Receiver};

use crate::log::{LogSink, Stream};

/// Bytes kept from the beginning: enough for the parsers to see how a test run started.
const HEAD: usize = 256 * 1024;

/// Bytes kept from the end: the summary of a run and the failures before it.
const TAIL: usize = 1024 * 1024;

/// Longest line in the log; the rest of it is counted only.
const MAX_LINE: usize = 16 * 1024;

/// Bytes logged from the end of a stream that exceeded its cap.
const LAST_LOGGED: usize = 64 * 1024;

/// How much is read at once, at first and at most: many programs say little.
const FIRST_CHUNK: usize = 4 * 1024;
const CHUNK: usize = 64 * 1024;

/// The beginning and the end of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Kept {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let (to_head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(to_head);
        let rest = &rest[rest.len().saturating_sub(TAIL)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(TAIL);
        self.tail.drain(..excess);
        self.tail.extend(rest);
    }

    /// How many bytes came in all.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Whether nothing is missing between head and tail.
    pub fn is_whole(&self) -> bool {
        self.total == (self.head.len() + self.tail.len()) as u64
    }

    /// The kept bytes; a line that says what is missing stands between head and tail.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        if !self.is_whole() {
            let missing = self.total - (self.head.len() + self.tail.len()) as u64;
            bytes.extend_from_slice(format!("\n[… {missing} bytes left out …]\n").as_bytes());
        }
        bytes.extend(&self.tail);
        bytes
    }

    /// The kept text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// The last `most` bytes as text, from the beginning of a line where there is one.
    pub fn tail_text(&self, most: usize) -> String {
        let bytes = self.bytes();
        if bytes.len() <= most {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        let end = &bytes[bytes.len() - most..];
        let from = end.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole_lines = if from < end.len() { &end[from..] } else { end };
        String::from_utf8_lossy(whole_lines).into_owned()
    }
}

/// One stream of a child on its way to the log and into [`Kept`].
pub(super) struct Pump {
    pipe: Option<Receiver>,
    buffer: Vec<u8>,
    lines: Lines,
    kept: Kept,
}

impl Pump {
    /// A pump and the end of its pipe that the child writes to.
    pub(super) fn new(stream: Stream, log: LogSink, limit: u64) -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        let pump = Self {
            pipe: Some(Receiver::from_owned_fd(reader.into())?),
            buffer: vec![0; FIRST_CHUNK],
            lines: Lines::new(stream, log, limit),
            kept: Kept::default(),
        };
        Ok((pump, writer.into()))
    }

    /// A pump that nothing comes through.
    pub(super) fn closed(stream: Stream, log: LogSink) -> Self {
        Self {
            pipe: None,
            buffer: Vec::new(),
            lines: Lines::new(stream, log, 0),
            kept: Kept::default(),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// Reads once. Dropping this future between two reads loses nothing.
    pub(super) async fn turn(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        match pipe.read(&mut self.buffer).await {
            Ok(0) | Err(_) => self.pipe = None,
            Ok(count) => {
                self.kept.push(&self.buffer[..count]);
                self.lines.feed(&self.buffer[..count]);
                if count == self.buffer.len() {
                    self.buffer.resize((4 * count).min(CHUNK), 0);
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> Kept {
        self.lines.finish(&self.kept);
        self.kept
    }
}

/// Cuts a stream into lines for the log.
struct Lines {
    stream: Stream,
    log: LogSink,
    limit: u64,
    seen: u64,
    line: Vec<u8>,
    cut: u64,
}

impl Lines {
    fn new(stream: Stream, log: LogSink, limit: u64) -> Self {
        Self {
            stream,
            log,
            limit,
            seen: 0,
            line: Vec::new(),
            cut: 0,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.seen).min(bytes.len() as u64) as usize;
        self.seen += bytes.len() as u64;
        for piece in bytes[..room].split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let taken = text.len().min(MAX_LINE - self.line.len());
            self.line.extend_from_slice(&text[..taken]);
            self.cut += (text.len() - taken) as u64;
            if ends {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let mut text = String::from_utf8_lossy(line).into_owned();
        if self.cut > 0 {
            text.push_str(&format!(" [… {} bytes more in this line]", self.cut));
        }
        // an empty line is a line too
        self.log
            .line(self.stream, if text.is_empty() { "\n" } else { &text });
        self.line.clear();
        self.cut = 0;
    }

    fn finish(&mut self, kept: &Kept) {
        if !self.line.is_empty() || self.cut > 0 {
            self.end_line();
        }
        if self.seen > self.limit {
            let last = kept.tail_text(LAST_LOGGED.min((self.seen - self.limit) as usize));
            let left_out = (self.seen - self.limit).saturating_sub(last.len() as u64);
            self.log.info(&format!(
                "the output exceeded {} bytes: {left_out} bytes are left out of the log here",
                self.limit
            ));
            self.log.line(self.stream, &last);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn head_and_tail_stay_and_the_middle_is_counted() {
        let mut kept = Kept::default();
        kept.push(b"first\n");
        for _ in 0..100 {
            kept.push(&b"x".repeat(50_000));
        }
        kept.push(b"\nlast\n");
        let text = kept.text();
        assert!(text.starts_with("first\n") && text.ends_with("\nlast\n"));
        assert!(text.contains("bytes left out"));
        assert!(text.len() < HEAD + TAIL + 100);
        assert_eq!(kept.total(), 5_000_012);
        assert_eq!(kept.tail_text(10), "last\n");
    }

    proptest! {
        #[test]
        fn small_output_is_kept_whole_however_it_is_cut(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..30)) {
            let mut kept = Kept::default();
            for piece in &pieces {
                kept.push(piece);
            }
            prop_assert!(kept.is_whole());
            prop_assert_eq!(kept.bytes(), pieces.concat());
        }
    }
}
