//! How much may be asked at a time: bytes of request bodies that are being read
//! or answered, and readers of streams. Who finds no room waits a little and is
//! then told when to come back; memory stays bounded and nobody stalls.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::Response,
};
use protocol::http::problem::{Code, Problem};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Api, problem::ApiError};

/// Bodies of all requests together, in [`UNIT`]s: 8 MiB, and a few times as much once they are parsed.
const BODIES: usize = 2048;
/// What the smallest request counts, in bytes: 4 KiB.
const UNIT: usize = 4 << 10;
/// Readers of events and growing logs; one that never reads holds up to half a megabyte.
const STREAMS: usize = 256;
/// How long a request waits for room: a burst passes, a storm is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);
/// When to come back, in seconds.
const COME_BACK_S: u64 = 1;

/// Room for requests; cheap to clone.
#[derive(Clone)]
pub struct Admission {
    bodies: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            bodies: Arc::new(Semaphore::new(BODIES)),
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }
}

impl Admission {
    /// Room for a body of so many bytes, until the permit is dropped.
    async fn body(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let units = bytes.div_ceil(UNIT).clamp(1, BODIES) as u32;
        let room = self.bodies.clone().acquire_many_owned(units);
        match timeout(PATIENCE, room).await {
            Ok(Ok(permit)) => Ok(permit),
            // the semaphore is never closed
            Ok(Err(_)) | Err(_) => Err(too_many("more requests came than agentd can take")),
        }
    }

    /// A place for one reader of a stream, until it is dropped.
    pub(super) fn stream(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = self.streams.clone().try_acquire_owned();
        place.map_err(|_| too_many(&format!("{STREAMS} readers follow events and logs already")))
    }
}

fn too_many(detail: &str) -> ApiError {
    let problem = Problem::new(Code::RateLimited, detail).hint("nothing was done: try again a little later");
    ApiError::from(problem).retry_after(COME_BACK_S)
}

/// Lets a request in when there is room for its body; it keeps the room until it is answered.
pub(crate) async fn admit(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if request.method().is_safe() {
        return Ok(next.run(request).await);
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    // more than the limit is refused by whoever reads it
    let bytes = length.unwrap_or(api.body_limit).min(api.body_limit);
    let _room = api.admission.body(bytes).await?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_waits_and_what_comes_free_is_given_to_who_waits() {
        let admission = Admission::default();
        let half = BODIES * UNIT / 2;
        let first = admission.body(half).await.expect("room");
        let second = admission.body(half).await.expect("room");
        let mut third = std::pin::pin!(admission.body(1));
        assert!(third.as_mut().now_or_never().is_none(), "it waits");
        drop(first);
        let third = third.now_or_never().expect("room").expect("room");
        drop((second, third));
        // larger than everything together: it may come alone
        assert!(admission.body(usize::MAX).await.is_ok());
    }

    #[test]
    fn so_many_readers_and_no_more() {
        let admission = Admission::default();
        let mut readers: Vec<_> = (0..STREAMS)
            .map(|_| admission.stream().expect("a place"))
            .collect();
        assert!(admission.stream().is_err());
        readers.pop();
        assert!(admission.stream().is_ok());
    }
}
