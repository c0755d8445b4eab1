//! What happens, as one stream for all pages of a browser. It says only what changed; pages ask for the rest.

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event as SseEvent, KeepAlive},
    },
};
use protocol::event::Event;
use serde::Deserialize;
use serde_json::json;

use crate::api::{
    Api,
    events::{HEARTBEAT, follow, last_event_id},
    extract::Params,
    problem::ApiResult,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LiveQuery {
    #[serde(default)]
    after: u64,
}

/// Goes on after the last event that the browser has seen. The heartbeat is an event of its own, so that
/// a script notices a silence.
pub(super) async fn stream(
    State(api): State<Api>,
    Params(query): Params<LiveQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let after = last_event_id(&headers).unwrap_or(query.after);
    let beat = KeepAlive::new()
        .interval(HEARTBEAT)
        .event(SseEvent::default().event("beat").data("{}"));
    Ok(follow(api, None, after, said)?.keep_alive(beat).into_response())
}

/// An event without what pages do not need.
fn said(event: &Event) -> SseEvent {
    let data = json!({
        "seq": event.seq,
        "kind": event.kind,
        "job": event.job.map(|job| job.number),
    });
    SseEvent::default()
        .id(event.seq.to_string())
        .data(data.to_string())
}
