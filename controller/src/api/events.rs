//! The event log as pages and as streams that can be resumed.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{Event as SseEvent, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use protocol::{
    event::{Event, EventKind},
    http::Page,
    id::JobId,
    job::JobState,
};
use serde::Deserialize;
use tokio::sync::{
    OwnedSemaphorePermit,
    broadcast::{self, error::RecvError},
};

use crate::{
    engine::CommittedEvents,
    state::{events, views},
};

use super::{
    Api,
    extract::{OfJob, Params},
    problem::ApiResult,
};

/// Rows read at a time while catching up: a reader that does not read keeps them in memory.
const CHUNK: u32 = 200;
/// Rows of a page if nobody says, and at most.
const PAGE: (u32, u32) = (200, 1000);
/// A comment at least this often, so that a dead connection shows.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    after: Option<u64>,
    limit: Option<u32>,
}

/// `GET /v1/events`: a page, or with `Accept: text/event-stream` a stream of everything.
pub(super) async fn list_or_follow(
    State(api): State<Api>,
    Params(query): Params<EventsQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accept.contains("text/event-stream") {
        let after = last_event_id(&headers).or(query.after).unwrap_or(0);
        return whole(api, None, after);
    }
    let (after, limit) = (
        query.after.unwrap_or(0),
        query.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1),
    );
    let items = api
        .readers
        .query(move |connection| events::after(connection, None, after, limit))
        .await?;
    let next_cursor =
        (items.len() == limit as usize).then(|| items.last().map(|event| event.seq.to_string()));
    Ok(Json(Page {
        items,
        next_cursor: next_cursor.flatten(),
    })
    .into_response())
}

/// `GET /v1/jobs/{job}/events`: ends after the event that ends the job.
pub(super) async fn follow_job(
    State(api): State<Api>,
    job: OfJob,
    Params(query): Params<EventsQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let after = last_event_id(&headers).or(query.after).unwrap_or(0);
    whole(api, Some(job.id), after)
}

/// The last event that a reader has seen, as it says when it comes back.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// Events after a sequence number, written by `said`, for as long as somebody reads.
pub(crate) fn follow(
    api: Api,
    job: Option<JobId>,
    after: u64,
    said: fn(&Event) -> SseEvent,
) -> ApiResult<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>> {
    let feed = Feed {
        _place: api.admission.stream()?,
        live: api.engine.subscribe(),
        api,
        job,
        last: after,
        pending: VecDeque::new(),
        begun: false,
        behind: true,
        ended: false,
    };
    let events = stream::unfold(feed, move |mut feed| async move {
        let next = match feed.next().await? {
            Next::Event(event) => said(&event),
            Next::Reset { first } => reset(first),
        };
        Some((Ok(next), feed))
    });
    Ok(Sse::new(events))
}

/// What follows is not what came after the last event that the reader names: what it knows is to be read anew.
fn reset(first: u64) -> SseEvent {
    SseEvent::default()
        .id(first.saturating_sub(1).to_string())
        .event("reset")
        .data(format!("{{\"first\":{first}}}"))
}

/// Where a reader goes on that has seen everything up to `seen`: `None` there, else at the first kept event.
const fn gone(seen: u64, (first, last): (u64, u64)) -> Option<u64> {
    if seen != 0 && (seen > last || seen + 1 < first) {
        Some(first)
    } else {
        None
    }
}

enum Next {
    Event(Event),
    /// What the reader wants is not kept; everything from `first` on is.
    Reset {
        first: u64,
    },
}

fn whole(api: Api, job: Option<JobId>, after: u64) -> ApiResult<Response> {
    let events = follow(api, job, after, to_sse)?;
    Ok(events
        .keep_alive(KeepAlive::new().interval(HEARTBEAT))
        .into_response())
}

fn to_sse(event: &Event) -> SseEvent {
    let data = serde_json::to_string(event).unwrap_or_default();
    SseEvent::default()
        .id(event.seq.to_string())
        .event(event.kind.as_str())
        .data(data)
}

/// Catches up from the tables, then goes live; a reader that lags goes back to the tables.
struct Feed {
    _place: OwnedSemaphorePermit,
    api: Api,
    job: Option<JobId>,
    last: u64,
    live: broadcast::Receiver<CommittedEvents>,
    pending: VecDeque<Event>,
    /// Whether it was looked at where the reader goes on.
    begun: bool,
    behind: bool,
    ended: bool,
}

impl Feed {
    async fn next(&mut self) -> Option<Next> {
        if !self.begun {
            self.begun = true;
            let kept = self.api.readers.query(events::kept);
            if let Some(first) = gone(self.last, kept.await.ok()?) {
                self.last = first.saturating_sub(1);
                return Some(Next::Reset { first });
            }
        }
        loop {
            if let Some(event) = self.pending.pop_front() {
                self.last = event.seq;
                return Some(Next::Event(event));
            }
            if self.ended {
                return None;
            }
            if self.behind {
                self.catch_up().await?;
            } else {
                self.wait().await?;
            }
        }
    }

    async fn catch_up(&mut self) -> Option<()> {
        let (job, last) = (self.job, self.last);
        let rows = self.api.readers.query(move |connection| {
            // the job's end is read first: what is after it cannot be missed
            let state = job.map(|id| views::state(connection, id)).transpose()?.flatten();
            Ok((state, events::after(connection, job, last, CHUNK)?))
        });
        let (state, rows) = rows.await.ok()?;
        self.behind = rows.len() == CHUNK as usize;
        self.ended = !self.behind && self.job.is_some() && state.is_none_or(JobState::is_terminal);
        self.pending.extend(rows);
        Some(())
    }

    async fn wait(&mut self) -> Option<()> {
        let events = tokio::select! {
            () = self.api.stop.cancelled() => return None,
            events = self.live.recv() => events,
        };
        match events {
            Ok(events) => {
                for event in events.iter().filter(|event| event.seq > self.last) {
                    if self.job.is_none() || event.job.map(|job| job.id) == self.job {
                        self.pending.push_back(event.clone());
                        self.ended = self.job.is_some() && ends_job(event);
                    }
                    if self.ended {
                        break;
                    }
                }
            }
            Err(RecvError::Lagged(_)) => self.behind = true,
            Err(RecvError::Closed) => return None,
        }
        Some(())
    }
}

fn ends_job(event: &Event) -> bool {
    let state = event.data.get("state").and_then(|state| state.as_str());
    event.kind == EventKind::JobState
        && state
            .and_then(|state| state.parse().ok())
            .is_some_and(JobState::is_terminal)
}

#[cfg(test)]
mod tests {
    use super::gone;

    #[test]
    fn a_reader_goes_on_where_it_was_or_is_told_to_begin_anew() {
        let kept = (100, 200);
        for there in [0, 99, 100, 200] {
            assert_eq!(gone(there, kept), None, "{there}");
        }
        for elsewhere in [1, 98, 201, u64::MAX] {
            assert_eq!(gone(elsewhere, kept), Some(100), "{elsewhere}");
        }
        assert_eq!(gone(0, (0, 0)), None);
        assert_eq!(gone(7, (0, 0)), Some(0));
    }
}
