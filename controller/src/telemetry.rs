//! Every metric and every regular log line of the controller, as functions named
//! by what happened: dashboards and searches rely on them, so they are written once.
//!
//! Counts and logs, and decides nothing. A failure is logged where it is handled.

mod numbers;

use std::{fmt, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use protocol::{
    http::status::DiskUsed,
    id::{AttemptId, JobNumber},
    job::{JobState, StepKey},
    step::AttemptState,
    usage::Usage,
};
use service::obs::metrics::{Exposition, OTHER};
use tracing::{debug, info, warn};

use self::numbers::Numbers;
use crate::orchestrator::event::Refusal;

/// Counts and logs; cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    numbers: Arc<Numbers>,
    exposition: Exposition,
}

/// An attempt on a worker, for log lines.
#[derive(Clone, Copy, Debug)]
pub struct OnWorker<'a> {
    /// Number of its job.
    pub job: JobNumber,
    /// Its step.
    pub step: &'a StepKey,
    /// Its id.
    pub attempt: AttemptId,
    /// Name of the worker.
    pub worker: &'a str,
}

/// Why nobody answers for an attempt any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostBecause {
    /// The offer was never accepted.
    NoAccept,
    /// Lease and grace ran out.
    Silence,
    /// A new session of its worker did not know it.
    Forgotten,
    /// A cancel was never answered.
    CancelUnanswered,
    /// The worker was removed.
    WorkerRemoved,
}

impl LostBecause {
    /// The label of the metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoAccept => "no_accept",
            Self::Silence => "silence",
            Self::Forgotten => "forgotten",
            Self::CancelUnanswered => "cancel_unanswered",
            Self::WorkerRemoved => "worker_removed",
        }
    }
}

/// How a client reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The API.
    Http,
    /// The broker.
    Mqtt,
}

impl Transport {
    /// The label of the metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Mqtt => "mqtt",
        }
    }
}

/// What the topic rules may stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedPacket {
    /// A publish: acknowledged and dropped.
    Publish,
    /// A filter of a subscribe: answered with 0x80.
    Subscribe,
    /// A will: dropped, the connection stays.
    Will,
}

impl DeniedPacket {
    /// The label of the metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Will => "will",
        }
    }
}

impl Telemetry {
    /// Declares all metrics; once per process.
    pub fn new(version: &str) -> Self {
        let (numbers, exposition) = numbers::declare(version);
        Self {
            numbers: Arc::new(numbers),
            exposition,
        }
    }

    /// What `/metrics` answers; its type is [`service::obs::metrics::CONTENT_TYPE`].
    pub fn metrics_text(&self) -> String {
        self.exposition.text()
    }

    /// The same in the older format: [`service::obs::metrics::PLAIN_CONTENT_TYPE`].
    pub fn plain_metrics_text(&self) -> String {
        self.exposition.plain_text()
    }

    /// The process serves.
    pub fn started(&self, http: SocketAddr, mqtt: SocketAddr, state_dir: &Path, epoch: u64) {
        let state_dir = state_dir.display();
        info!(%http, %mqtt, %state_dir, epoch, "serving HTTP at {http} and MQTT at {mqtt}, state in {state_dir}");
    }

    /// The process was asked to stop.
    pub fn stopping(&self) {
        info!("stopping: no new work, finishing what is being answered");
    }

    /// A job is on disk.
    pub fn job_submitted(&self, job: JobNumber, workflow: &str) {
        self.numbers.jobs_submitted.with([workflow]).inc();
        info!(job, workflow, "accepted job {job} of workflow {workflow}");
    }

    /// A job ended.
    pub fn job_ended(&self, job: JobNumber, state: JobState, took: Duration) {
        self.numbers
            .job_duration
            .with([state.as_str()])
            .observe(took.as_secs_f64());
        info!(
            job,
            state = state.as_str(),
            took_ms = ms(took),
            "job {job} {state}"
        );
    }

    /// A job waits for a person.
    pub fn job_parked(&self, job: JobNumber, why: &str) {
        warn!(job, why, "job {job} is parked: {why}");
    }

    /// How many jobs there are in each state; what is not named is 0.
    pub fn jobs(&self, counts: &[(JobState, u64)]) {
        for state in JobState::ALL {
            let count = counts.iter().find(|(counted, _)| counted == state);
            let count = count.map_or(0, |(_, count)| *count as i64);
            self.numbers.jobs.with([state.as_str()]).set(count);
        }
    }

    /// How many steps wait for a worker.
    pub fn queue_depth(&self, steps: u64) {
        self.numbers.queue_depth.set(steps as i64);
    }

    /// An attempt was offered; the step had waited for a worker so long.
    pub fn step_offered(&self, what: OnWorker<'_>, waited: Duration) {
        self.numbers.queue_wait.observe(waited.as_secs_f64());
        let OnWorker {
            job,
            step,
            attempt,
            worker,
        } = what;
        info!(job, %step, %attempt, worker, waited_ms = ms(waited), "assigned step {step} of job {job} to {worker}");
    }

    /// An attempt ended, this long after its accept.
    pub fn attempt_ended(&self, what: OnWorker<'_>, state: AttemptState, took: Duration) {
        let OnWorker {
            job,
            step,
            attempt,
            worker,
        } = what;
        self.numbers
            .step_duration
            .with([step.name(), state.as_str()])
            .observe(took.as_secs_f64());
        info!(job, %step, %attempt, worker, state = state.as_str(), took_ms = ms(took), "step {step} of job {job} on {worker}: {state}");
    }

    /// Nobody answers for an attempt.
    pub fn attempt_lost(&self, what: OnWorker<'_>, because: LostBecause) {
        let OnWorker {
            job,
            step,
            attempt,
            worker,
        } = what;
        let because = because.as_str();
        self.numbers.attempts_lost.with([because]).inc();
        warn!(job, %step, %attempt, worker, because, "lost an attempt of step {step} of job {job} on {worker}: {because}");
    }

    /// A message of a worker changed nothing.
    pub fn message_ignored(&self, worker: &str, kind: &str, refusal: &Refusal) {
        let reason = match refusal {
            Refusal::StaleSession => "stale_session",
            Refusal::StaleAttempt => "stale_attempt",
            Refusal::NotApplicable => "not_applicable",
            Refusal::Removed => "removed",
            Refusal::Unknown(_) => "unknown",
            Refusal::JobState { .. }
            | Refusal::GroupFull { .. }
            | Refusal::Salvage(_)
            | Refusal::NotAwaiting { .. }
            | Refusal::Decided { .. }
            | Refusal::Changed { .. } => OTHER,
        };
        self.numbers.messages_ignored.with([reason]).inc();
        debug!(worker, kind, reason, "ignored {kind} of {worker}: {refusal}");
    }

    /// Bytes on a worker's topic that are no message.
    pub fn message_unreadable(&self, worker: &str, error: &dyn fmt::Display) {
        self.numbers.messages_ignored.with(["unreadable"]).inc();
        warn!(worker, %error, "dropped a message of {worker} that cannot be read: {error}");
    }

    /// What calls of a model cost, on top of what was counted before.
    pub fn llm_used(&self, provider: &str, model: &str, used: &Usage) {
        let tokens = &self.numbers.llm_tokens;
        for (kind, count) in [
            ("input", used.input_tokens),
            ("cached", used.cached_tokens),
            ("output", used.output_tokens),
        ] {
            tokens.with([provider, model, kind]).inc_by(count);
        }
        self.numbers.llm_calls.with([provider, model]).inc_by(used.calls);
        let usd = used.cost_microusd as f64 / 1e6;
        self.numbers.llm_cost.with([provider, model]).inc_by(usd);
    }

    /// A worker got its credential.
    pub fn worker_joined(&self, worker: &str) {
        self.numbers.worker_up.with([worker]).set(0);
        info!(worker, "worker {worker} joined");
    }

    /// A worker said Hello.
    pub fn worker_online(&self, worker: &str, version: &str, slots: u32) {
        self.numbers.worker_up.with([worker]).set(1);
        self.numbers.worker_slots.with([worker]).set(i64::from(slots));
        info!(
            worker,
            version, slots, "worker {worker} is online with {slots} slots"
        );
    }

    /// A worker's connection is gone.
    pub fn worker_offline(&self, worker: &str) {
        self.numbers.worker_up.with([worker]).set(0);
        warn!(worker, "worker {worker} is offline");
    }

    /// How many attempts a worker has.
    pub fn worker_slots_used(&self, worker: &str, used: u32) {
        self.numbers.worker_slots_used.with([worker]).set(i64::from(used));
    }

    /// A worker was removed; its series end.
    pub fn worker_removed(&self, worker: &str) {
        self.numbers.worker_up.remove([worker]);
        self.numbers.worker_slots.remove([worker]);
        self.numbers.worker_slots_used.remove([worker]);
        info!(worker, "removed worker {worker}");
    }

    /// A request was answered; `route` is the matched pattern, `None` if there was none.
    pub fn http_answered(&self, method: &str, route: Option<&str>, status: u16, took: Duration) {
        const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let known = METHODS.iter().find(|known| **known == method);
        let method = known.copied().unwrap_or(OTHER);
        let route = route.unwrap_or(OTHER);
        self.numbers
            .http_requests
            .with([method, route, &status.to_string()])
            .inc();
        self.numbers
            .http_duration
            .with([route])
            .observe(took.as_secs_f64());
        debug!(
            method,
            route,
            status,
            took_ms = ms(took),
            "{method} {route}: {status}"
        );
    }

    /// A credential or a right was refused.
    pub fn refused(&self, transport: Transport, from: SocketAddr, why: &dyn fmt::Display) {
        let transport = transport.as_str();
        self.numbers.refused.with([transport]).inc();
        warn!(transport, %from, "refused {from} over {transport}: {why}");
    }

    /// How many MQTT connections are open.
    pub fn mqtt_connections(&self, open: usize) {
        self.numbers.mqtt_connections.set(open as i64);
    }

    /// The topic rules stopped something.
    pub fn mqtt_denied(&self, who: &str, packet: DeniedPacket, topic: &str) {
        let packet = packet.as_str();
        self.numbers.mqtt_denied.with([packet]).inc();
        debug!(who, packet, topic, "denied {who} a {packet} at {topic:?}");
    }

    /// So many decisions were committed together, their fsync included.
    pub fn committed(&self, decisions: usize, took: Duration) {
        self.numbers.commit_duration.observe(took.as_secs_f64());
        self.numbers.commit_decisions.inc_by(decisions as u64);
    }

    /// What the state folder holds.
    pub fn disk_used(&self, used: &DiskUsed) {
        self.numbers.database_bytes.set(used.database as i64);
        self.numbers.blob_bytes.set(used.blobs as i64);
        self.numbers.log_stored_bytes.set(used.logs as i64);
    }

    /// Log bytes came in.
    pub fn log_received(&self, bytes: u64) {
        self.numbers.log_bytes.inc_by(bytes);
    }

    /// Somebody follows events; counted until the guard is dropped.
    pub fn event_stream(&self) -> OpenEventStream {
        self.numbers.event_streams.inc();
        OpenEventStream(Arc::clone(&self.numbers))
    }
}

/// One follower of events.
pub struct OpenEventStream(Arc<Numbers>);

impl Drop for OpenEventStream {
    fn drop(&mut self) {
        self.0.event_streams.dec();
    }
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_has(telemetry: &Telemetry, lines: &[&str]) {
        let text = telemetry.metrics_text();
        for line in lines {
            assert!(
                text.lines().any(|found| found == *line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn the_promised_names_are_there_with_their_labels() {
        let telemetry = Telemetry::new("1.2.3");
        let step = StepKey::top("cycle").in_round(2, "edit");
        let what = OnWorker {
            job: 42,
            step: &step,
            attempt: AttemptId::new(),
            worker: "tower",
        };
        telemetry.jobs(&[(JobState::Running, 2)]);
        telemetry.step_offered(what, Duration::from_millis(3));
        telemetry.attempt_ended(what, AttemptState::Succeeded, Duration::from_secs(20));
        telemetry.worker_online("tower", "1.2.3", 2);
        let used = Usage {
            input_tokens: 100,
            cached_tokens: 20,
            output_tokens: 7,
            calls: 1,
            cost_microusd: 250_000,
        };
        telemetry.llm_used("lan", "qwen", &used);
        telemetry.http_answered("BREW", Some("/v1/jobs"), 405, Duration::ZERO);
        assert_has(
            &telemetry,
            &[
                "agentd_jobs{state=\"running\"} 2",
                "agentd_jobs{state=\"failed\"} 0",
                "agentd_queue_wait_seconds_bucket{le=\"0.005\"} 1",
                "agentd_step_duration_seconds_bucket{le=\"30.0\",step=\"edit\",outcome=\"succeeded\"} 1",
                "agentd_worker_up{worker=\"tower\"} 1",
                "agentd_llm_tokens_total{provider=\"lan\",model=\"qwen\",type=\"input\"} 100",
                "agentd_llm_tokens_total{provider=\"lan\",model=\"qwen\",type=\"cached\"} 20",
                "agentd_llm_tokens_total{provider=\"lan\",model=\"qwen\",type=\"output\"} 7",
                "agentd_llm_cost_usd_total{provider=\"lan\",model=\"qwen\"} 0.25",
                "agentd_http_requests_total{method=\"other\",route=\"/v1/jobs\",status=\"405\"} 1",
                "agentd_build_info{version=\"1.2.3\"} 1",
            ],
        );
    }

    #[test]
    fn what_is_gone_is_not_counted_for_ever() {
        let telemetry = Telemetry::new("1");
        telemetry.worker_online("tower", "1", 2);
        telemetry.worker_slots_used("tower", 1);
        telemetry.worker_removed("tower");
        let follower = telemetry.event_stream();
        assert_has(&telemetry, &["agentd_event_streams 1"]);
        drop(follower);
        assert_has(&telemetry, &["agentd_event_streams 0"]);
        assert!(!telemetry.metrics_text().contains("tower"));
    }
}
