//! The spool of one attempt: a file of masked lines whose bytes are never
//! renumbered. The first part goes to the file as it comes; of what follows
//! the last part is kept in memory and appended behind a cut mark at the end.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use protocol::artifact::Sha256;
use service::clock::SharedClock;
use sha2::Digest;
use tokio::sync::Notify;

use super::{LogSink, Mask, Stream, clean};

/// Bytes that wait in memory before they are written to the file: 64 KiB.
const BUFFER: usize = 64 << 10;

/// The cut mark is shorter than this.
const MARK_ROOM: u64 = 256;

/// How much of a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Bytes from its beginning.
    pub head: u64,
    /// Bytes up to its end.
    pub tail: u64,
}

impl SpoolLimits {
    /// Three quarters from the beginning and one from the end: of 16 MiB, 12 and 4,
    /// with room for the mark between them.
    pub const fn of_total(bytes: u64) -> Self {
        Self {
            head: bytes / 4 * 3,
            tail: (bytes / 4).saturating_sub(MARK_ROOM),
        }
    }
}

/// The spool; cheap to clone.
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Mutex<Inner>>,
    written: Arc<Notify>,
}

struct Inner {
    path: PathBuf,
    file: Option<File>,
    /// Bytes in the file.
    stored: u64,
    /// Bytes that follow them and are not in the file yet.
    buffer: Vec<u8>,
    limits: SpoolLimits,
    tail: VecDeque<String>,
    tail_bytes: u64,
    cut: u64,
    mask: Mask,
    hash: sha2::Sha256,
    clock: SharedClock,
    finished: bool,
    /// The file could not be written: what comes is not kept any more.
    broken: bool,
}

impl Spool {
    /// An empty spool; the file is made with the first line.
    pub fn new(path: PathBuf, limits: SpoolLimits, mask: Mask, clock: SharedClock) -> Self {
        let inner = Inner {
            path,
            file: None,
            stored: 0,
            buffer: vec![],
            limits,
            tail: VecDeque::new(),
            tail_bytes: 0,
            cut: 0,
            mask,
            hash: sha2::Sha256::new(),
            clock,
            finished: false,
            broken: false,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            written: Arc::new(Notify::new()),
        }
    }

    /// Where lines go in.
    pub fn sink(&self) -> LogSink {
        let spool = self.clone();
        LogSink::new(move |stream, text| {
            spool.with(|inner| inner.line(stream, text));
            spool.written.notify_one();
        })
    }

    /// Waits for lines since the last wait.
    pub async fn written(&self) {
        self.written.notified().await;
    }

    /// How many bytes can be read.
    pub fn len(&self) -> u64 {
        self.with(|inner| inner.stored + inner.buffer.len() as u64)
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to `max` bytes from `offset` on.
    pub fn read(&self, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        self.with(|inner| {
            inner.store()?;
            let size = inner.stored.saturating_sub(offset).min(max as u64) as usize;
            let mut bytes = vec![0; size];
            match &inner.file {
                Some(file) if size > 0 => file.read_exact_at(&mut bytes, offset)?,
                _ => bytes.clear(),
            }
            Ok(bytes)
        })
    }

    /// Appends what was kept for the end; later lines are dropped. Answers size and hash.
    pub fn finish(&self) -> (u64, Sha256) {
        self.with(|inner| {
            inner.finish();
            let hash = inner.hash.clone().finalize();
            (inner.stored, Sha256(hash.into()))
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        // a panic while a line was written leaves at worst a cut line
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn line(&mut self, stream: Stream, text: &str) {
        if self.finished || self.broken {
            return;
        }
        let text = clean::clean(text);
        let text = self.mask.apply(&text);
        let now = self.clock.wall();
        for piece in clean::pieces(&text) {
            let mut line = String::with_capacity(piece.len() + 40);
            if writeln!(line, "{now:.3} {} {piece}", stream.as_str()).is_ok() {
                self.keep(line);
            }
        }
    }

    fn keep(&mut self, line: String) {
        let size = line.len() as u64;
        let room = self.stored + self.buffer.len() as u64 + size <= self.limits.head;
        if room && self.tail.is_empty() && self.cut == 0 {
            self.append(line.as_bytes());
            return;
        }
        self.tail.push_back(line);
        self.tail_bytes += size;
        while self.tail_bytes > self.limits.tail
            && let Some(old) = self.tail.pop_front()
        {
            self.tail_bytes -= old.len() as u64;
            self.cut += old.len() as u64;
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER
            && let Err(error) = self.store()
        {
            tracing::warn!(%error, path = %self.path.display(), "a log cannot be kept");
        }
    }

    fn store(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() || self.broken {
            return Ok(());
        }
        self.broken = true;
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&self.path)?,
            ),
        };
        file.write_all_at(&self.buffer, self.stored)?;
        self.broken = false;
        self.stored += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(&mut self) {
        if self.finished {
            return;
        }
        self.finished = true;
        if self.cut > 0 {
            let now = self.clock.wall();
            let mark = format!("{now:.3} info … {} bytes were cut here …\n", self.cut);
            self.append(mark.as_bytes());
        }
        for line in std::mem::take(&mut self.tail) {
            self.append(line.as_bytes());
        }
        if let Err(error) = self.store() {
            tracing::warn!(%error, path = %self.path.display(), "a log cannot be kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use service::clock::ManualClock;

    use super::*;

    fn spool(head: u64, tail: u64) -> (tempfile::TempDir, Spool) {
        let folder = tempfile::tempdir().expect("a folder");
        let mask = Mask::default();
        mask.add("hunter22");
        let limits = SpoolLimits { head, tail };
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let spool = Spool::new(folder.path().join("spool"), limits, mask, clock);
        (folder, spool)
    }

    #[test]
    fn lines_have_time_stream_and_no_secret() {
        let (_folder, spool) = spool(1000, 1000);
        spool.sink().line(Stream::Out, "pw hunter22\nnext");
        let (size, _) = spool.finish();
        let text = String::from_utf8(spool.read(0, 1000).expect("reads")).expect("text");
        assert_eq!(
            text,
            "1970-01-01T00:00:00.000Z out pw •••\n1970-01-01T00:00:00.000Z out next\n"
        );
        assert_eq!(size, text.len() as u64);
        assert_eq!(spool.read(size, 10).expect("reads"), b"");
    }

    #[test]
    fn the_middle_of_a_long_log_is_cut_and_marked_and_offsets_stay() {
        let (_folder, spool) = spool(400, 200);
        let sink = spool.sink();
        for number in 0..100 {
            sink.line(Stream::Out, &format!("line {number}"));
        }
        let before = spool.read(0, 10_000).expect("reads");
        let (size, hash) = spool.finish();
        let all = spool.read(0, 10_000).expect("reads");
        assert!(all.starts_with(&before) && before.len() <= 400);
        assert_eq!(Sha256(sha2::Sha256::digest(&all).into()), hash);
        assert_eq!(all.len() as u64, size);
        let text = String::from_utf8(all).expect("text");
        assert!(
            text.contains("out line 0\n") && text.ends_with("out line 99\n"),
            "{text}"
        );
        assert!(
            text.contains("bytes were cut here") && !text.contains("line 50\n"),
            "{text}"
        );
    }

    #[test]
    fn no_line_makes_no_file() {
        let (folder, spool) = spool(400, 200);
        assert_eq!(spool.finish().0, 0);
        assert!(!folder.path().join("spool").exists());
    }
}
