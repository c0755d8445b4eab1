//! The topics for people: summaries that are built when somebody reads them,
//! every event, live log lines, and the one topic that takes commands.

mod command;
mod decision;
mod summary;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::{
    event::{Event, EventKind},
    id::{AttemptId, JobId, WorkerId},
    job::{JobLink, StepKey},
    public::{LogLine, Presence, StatusMessage},
    topic::Topic,
};
use serde::Serialize;
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    api::Api,
    broker::{CommandIn, CommandTopic, LogIn, Publisher, Summaries, Summary},
    engine::CommittedEvents,
};

/// Retained summaries are renewed at most this often.
const RENEW: Duration = Duration::from_secs(1);
/// Attempts whose place is remembered for log lines.
const PLACES: usize = 1024;
/// What a worker's live log belongs to; a worker speaks for its own attempts alone.
type Places = HashMap<(WorkerId, AttemptId), (JobLink, StepKey)>;

/// The topics for people; cheap to clone.
#[derive(Clone, Default)]
pub struct PublicTopics(Arc<OnceLock<Connected>>);

struct Connected {
    api: Api,
    publisher: Publisher,
}

impl PublicTopics {
    /// Gives it its sources, once they exist.
    pub fn connect(&self, api: Api, publisher: Publisher) {
        // a second call would be a mistake in the wiring; the first one counts
        let _ = self.0.set(Connected { api, publisher });
    }

    /// The last word of an orderly stop.
    pub async fn say_offline(&self) {
        if let Some(connected) = self.0.get() {
            let payload = StatusMessage::Offline {
                state: Presence::Offline,
                version: connected.api.about.version.to_owned(),
            };
            connected.publish(&Topic::Status, &payload, true).await;
        }
    }

    /// Publishes every committed event, the jobs that they change, and the retained summaries.
    pub async fn publish_events(
        self,
        mut events: broadcast::Receiver<CommittedEvents>,
        stop: CancellationToken,
    ) {
        let Some(connected) = self.0.get() else {
            return;
        };
        let mut stale = false;
        loop {
            let renew = async {
                if stale {
                    tokio::time::sleep(RENEW).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            let together = tokio::select! {
                () = stop.cancelled() => return,
                together = events.recv() => together,
                () = renew => {
                    connected.renew_summaries().await;
                    stale = false;
                    continue;
                }
            };
            match together {
                Ok(together) => {
                    stale = true;
                    let more = std::iter::from_fn(|| events.try_recv().ok());
                    let groups: Vec<CommittedEvents> = std::iter::once(together).chain(more).collect();
                    let events: Vec<&Event> = groups.iter().flat_map(|group| group.iter()).collect();
                    connected.publish_group(&events).await;
                }
                // sequence numbers show the gap; GET /v1/events?after= fills it
                Err(RecvError::Lagged(missed)) => debug!(missed, "public events fell behind"),
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Publishes live log lines as they come; lossy on purpose.
    pub async fn publish_logs(self, mut logs: mpsc::Receiver<LogIn>, wanted: bool, stop: CancellationToken) {
        let mut places = Places::new();
        loop {
            let log = tokio::select! {
                () = stop.cancelled() => return,
                log = logs.recv() => log,
            };
            let (Some(log), Some(connected)) = (log, self.0.get()) else {
                return;
            };
            if wanted && connected.publisher.has_readers(&Topic::Log) {
                connected.publish_log(log, &mut places).await;
            }
        }
    }

    /// Carries out what programs say on `agentd/command`.
    pub async fn obey(self, mut commands: mpsc::Receiver<CommandIn>, stop: CancellationToken) {
        loop {
            let command = tokio::select! {
                () = stop.cancelled() => return,
                command = commands.recv() => command,
            };
            let (Some(command), Some(connected)) = (command, self.0.get()) else {
                return;
            };
            match command.topic {
                CommandTopic::Command => command::obey(&connected.api, &command).await,
                CommandTopic::HomeAssistantStatus => {}
            }
        }
    }
}

impl Connected {
    async fn publish(&self, topic: &Topic, payload: &impl Serialize, retain: bool) {
        let Ok(bytes) = serde_json::to_vec(payload) else {
            return;
        };
        if let Err(error) = self.publisher.publish(topic, Bytes::from(bytes), retain).await {
            debug!(%topic, %error, "not published");
        }
    }

    async fn publish_group(&self, group: &[&Event]) {
        if self.publisher.has_readers(&Topic::Events) {
            for event in group {
                self.publish(&Topic::Events, event, false).await;
            }
        }
        if !self.publisher.has_readers(&Topic::Jobs) {
            return;
        }
        let changes = |event: &&&Event| !matches!(event.kind, EventKind::Progress | EventKind::Note);
        let jobs: BTreeSet<JobId> = group
            .iter()
            .filter(changes)
            .filter_map(|event| Some(event.job?.id))
            .collect();
        for id in jobs {
            if let Some(job) = summary::job(&self.api, id).await {
                self.publish(&Topic::Jobs, &job, false).await;
            }
        }
    }

    async fn renew_summaries(&self) {
        for (topic, payload) in summary::all(&self.api, |topic| self.publisher.has_readers(topic)).await {
            self.publish(&topic, &payload, true).await;
        }
    }

    async fn publish_log(&self, log: LogIn, places: &mut Places) {
        let tail = log.envelope.message;
        let (worker, attempt) = (log.worker, tail.attempt);
        if !places.contains_key(&(worker, attempt)) {
            let found = self.api.engine.inspect(move |world, _| {
                let (job, key) = world.place_of(attempt)?;
                let current = world.step(job, &key)?.current()?;
                let held = current.id == attempt && current.worker == worker;
                held.then(|| world.jobs.get(&job).map(|job| (job.link(), key)))?
            });
            let Ok(Some(place)) = found.await else {
                return;
            };
            if places.len() >= PLACES {
                places.clear();
            }
            places.insert((worker, attempt), place);
        }
        let Some((job, step)) = places.get(&(worker, attempt)) else {
            return;
        };
        for line in self.api.mask.apply(&tail.text).lines() {
            let payload = LogLine {
                job: *job,
                step: step.clone(),
                attempt,
                line: line.to_owned(),
            };
            let Ok(bytes) = serde_json::to_vec(&payload) else {
                continue;
            };
            if let Err(error) = self.publisher.publish_lossy(&Topic::Log, Bytes::from(bytes)) {
                debug!(%error, "a log line was not published");
            }
        }
    }
}

impl Summaries for PublicTopics {
    fn build<'a>(&'a self, filters: &'a [String]) -> BoxFuture<'a, Vec<Summary>> {
        Box::pin(async move {
            let Some(connected) = self.0.get() else {
                return vec![];
            };
            let wanted = |topic: &Topic| {
                let text = topic.to_string();
                filters
                    .iter()
                    .any(|filter| protocol::topic::covers(filter, &text))
            };
            let summaries = summary::all(&connected.api, wanted).await;
            summaries
                .into_iter()
                .filter_map(|(topic, payload)| {
                    let payload = Bytes::from(serde_json::to_vec(&payload).ok()?);
                    Some(Summary { topic, payload })
                })
                .collect()
        })
    }
}
