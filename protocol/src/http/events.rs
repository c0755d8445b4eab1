//! `/v1/events`: the event log, as pages or as a stream.

use serde::{Deserialize, Serialize};

use super::{Endpoint, Method, Page, query};
use crate::{event::Event, id::JobRef};

/// `GET /v1/events?after=`: a page, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ListEvents {
    /// Only those after this sequence number.
    pub after: u64,
    /// Rows, at most 1,000; 200 if missing.
    pub limit: Option<u32>,
}

impl Endpoint for ListEvents {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/v1/events";
    type Response = Page<Event>;
    fn path(&self) -> String {
        let pairs = [
            ("after", Some(self.after.to_string())),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ];
        format!("{}{}", Self::ROUTE, query(&pairs))
    }
}

/// The route of a job's event stream (`text/event-stream`, resumes from `Last-Event-ID`).
/// The stream ends after the event that ends the job.
pub fn job_events_path(job: JobRef) -> String {
    format!("/v1/jobs/{job}/events")
}
