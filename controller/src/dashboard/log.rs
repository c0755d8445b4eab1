//! Lines of a step's log in pieces: what is in view, what a search finds.

mod index;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aho_corasick::AhoCorasick;
use axum::{Json, extract::State};
use maud::{Markup, html};
use protocol::{
    http::problem::{Code, Problem},
    id::AttemptId,
    job::StepKey,
};
use serde::{Deserialize, Serialize};

use crate::{
    api::{
        Api,
        artifacts::{blocking, io_problem},
        extract::{OfJob, Params},
        problem::{ApiResult, not_found},
    },
    artifact::Logs,
    state::attempts,
};

use super::ansi;
use index::{Head, LineIndex};

/// Lines of one answer, at most.
const MOST: usize = 1000;
/// Bytes of one answer, at most: lines may be long.
const MOST_BYTES: u64 = 2 << 20;
/// Bytes read at a time.
const PIECE: usize = 256 << 10;
/// Logs whose lines are counted at a time; another one displaces any of them.
const KNOWN: usize = 64;
/// Lines that a search names; it counts all.
const FOUND: usize = 2000;
/// Longest text to search for, in bytes.
const MAX_SEARCH: usize = 200;

/// Where the lines of logs begin; cheap to clone.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<HashMap<AttemptId, LineIndex>>>);

impl Lines {
    /// The lines of a log as it is now. Blocks.
    fn of(&self, logs: &Logs, attempt: AttemptId) -> std::io::Result<LineIndex> {
        let mut index = self.known().remove(&attempt).unwrap_or_default();
        loop {
            let bytes = logs.read(attempt, index.read_to(), PIECE)?;
            if bytes.is_empty() || !index.extend(&bytes) {
                break;
            }
        }
        let mut known = self.known();
        if known.len() >= KNOWN
            && let Some(other) = known.keys().next().copied()
        {
            known.remove(&other);
        }
        known.insert(attempt, index.clone());
        Ok(index)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<AttemptId, LineIndex>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
pub(super) struct LinesQuery {
    step: String,
    attempt: Option<u32>,
    #[serde(default)]
    from: usize,
    count: Option<usize>,
}

/// What a page gets of a log.
#[derive(Serialize)]
pub(super) struct LinesView {
    /// Lines of the whole log.
    total: usize,
    /// Whether it may still grow.
    open: bool,
    /// The first line that is here, counted from 0.
    from: usize,
    /// The lines as HTML.
    lines: Vec<String>,
    /// Where commands begin, for folding.
    heads: Vec<Head>,
}

/// `GET /jobs/{job}/lines`.
pub(super) async fn lines(
    State(api): State<Api>,
    job: OfJob,
    Params(query): Params<LinesQuery>,
) -> ApiResult<Json<LinesView>> {
    let (attempt, open) = attempt(&api, &job, &query.step, query.attempt).await?;
    let (logs, known) = (api.logs.clone(), api.dashboard.lines.clone());
    let count = query.count.unwrap_or(MOST).min(MOST);
    let read = blocking(move || {
        let index = known.of(&logs, attempt)?;
        let (start, end, skip) = index.range(query.from, count);
        let bytes = logs.read(attempt, start, (end - start).min(MOST_BYTES) as usize)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines = text
            .lines()
            .skip(skip)
            .take(count)
            .map(|text| line(text).into_string());
        Ok::<_, std::io::Error>(LinesView {
            total: index.lines(),
            open,
            from: query.from,
            lines: lines.collect(),
            heads: index.heads().to_vec(),
        })
    });
    read.await?.map(Json).map_err(|error| io_problem(&error))
}

/// A line: its time of day, where it comes from, its text.
fn line(line: &str) -> Markup {
    let mut parts = line.splitn(3, ' ');
    let (time, stream, text) = (parts.next(), parts.next(), parts.next());
    let known = stream.filter(|stream| ["out", "err", "info", "model"].contains(stream));
    html! {
        @if let (Some(time), Some(stream), Some(text)) = (time, known, text) {
            span.time title=(time) { (time.get(11..19).unwrap_or(time)) }
            span class={ "text " (stream) } { (ansi::to_html(text)) }
        } @else {
            span.text { (ansi::to_html(line)) }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct SearchQuery {
    step: String,
    attempt: Option<u32>,
    q: String,
}

/// Where a text was found.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    /// How many lines have it.
    total: usize,
    /// The first of them, counted from 0.
    lines: Vec<usize>,
}

/// `GET /jobs/{job}/search`: upper and lower case of ASCII letters are the same.
pub(super) async fn search(
    State(api): State<Api>,
    job: OfJob,
    Params(query): Params<SearchQuery>,
) -> ApiResult<Json<Found>> {
    if query.q.is_empty() || query.q.len() > MAX_SEARCH {
        let detail = format!("a search has 1 to {MAX_SEARCH} bytes");
        return Err(Problem::new(Code::InvalidQuery, detail)
            .field("q", query.q)
            .into());
    }
    let (attempt, _) = attempt(&api, &job, &query.step, query.attempt).await?;
    let logs = api.logs.clone();
    let found = blocking(move || {
        let bytes = logs.read(attempt, 0, usize::MAX)?;
        Ok::<_, std::io::Error>(find(&bytes, &query.q))
    });
    found.await?.map(Json).map_err(|error| io_problem(&error))
}

fn find(bytes: &[u8], text: &str) -> Found {
    let mut found = Found {
        total: 0,
        lines: vec![],
    };
    let finder = AhoCorasick::builder().ascii_case_insensitive(true).build([text]);
    let Ok(finder) = finder else { return found };
    let (mut line, mut counted_to, mut last) = (0, 0, None);
    for hit in finder.find_iter(bytes) {
        let between = &bytes[counted_to..hit.start()];
        line += between.split(|byte| *byte == b'\n').count() - 1;
        counted_to = hit.start();
        if last == Some(line) {
            continue;
        }
        last = Some(line);
        found.total += 1;
        if found.lines.len() < FOUND {
            found.lines.push(line);
        }
    }
    found
}

/// The attempt that is meant, and whether it goes on.
async fn attempt(api: &Api, job: &OfJob, step: &str, number: Option<u32>) -> ApiResult<(AttemptId, bool)> {
    let missing = || not_found("log of step", step, "the page of the job lists the steps");
    let (id, key) = (job.id, step.parse::<StepKey>().map_err(|_| missing())?);
    let found = api
        .readers
        .query(move |connection| attempts::of_step(connection, id, &key, number))
        .await?;
    found.ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_names_lines_once_and_knows_no_case() {
        let log = b"one Error error\ntwo\nthree ERROR\n";
        let found = find(log, "error");
        assert_eq!((found.total, found.lines), (2, vec![0, 2]));
        assert_eq!(find(log, "four").total, 0);
        let many = "x\n".repeat(FOUND + 5);
        let found = find(many.as_bytes(), "X");
        assert_eq!((found.total, found.lines.len()), (FOUND + 5, FOUND));
    }

    #[test]
    fn a_line_shows_its_time_of_day_and_whatever_it_holds_is_text() {
        let html = line("2026-11-24T12:04:05.123Z err <img src=x>").into_string();
        assert!(html.contains(">12:04:05<") && html.contains("text err"), "{html}");
        assert!(!html.contains("<img"));
        assert_eq!(line("<b>").into_string(), "<span class=\"text\">&lt;b&gt;</span>");
    }
}
