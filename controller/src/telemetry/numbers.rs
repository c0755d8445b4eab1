//! Every metric of the controller: its name, its help, its labels.
//!
//! People's dashboards rely on the names; the registry puts `agentd_` in front, and
//! `_total` behind counters.

use service::obs::metrics::{
    Counter, Exposition, FloatCounter, Gauge, Histogram, Labelled, Metrics, long_times, short_times,
};

/// Declares a field of [`Numbers`] and its metric in one line each.
macro_rules! numbers {
    ($($field:ident: $type:ty = $declare:ident($name:literal, $help:literal $(, $more:expr)*);)+) => {
        /// What [`super::Telemetry`] counts in.
        pub(super) struct Numbers {
            $(#[doc = $help] pub(super) $field: $type,)+
        }

        /// Declares all metrics.
        pub(super) fn declare(version: &str) -> (Numbers, Exposition) {
            let mut metrics = Metrics::with_prefix("agentd");
            metrics.build_info(version);
            let numbers = Numbers { $($field: metrics.$declare($name, $help $(, $more)*),)+ };
            (numbers, metrics.finish())
        }
    };
}

numbers! {
    // jobs and steps
    jobs: Labelled<1, Gauge> = labelled("jobs", "Jobs by state", ["state"], Gauge::default);
    jobs_submitted: Labelled<1, Counter> = labelled("jobs_submitted", "Accepted jobs", ["workflow"], Counter::default);
    job_duration: Labelled<1, Histogram> = labelled("job_duration_seconds", "From submit to the end of a job", ["state"], long_times);
    queue_depth: Gauge = single("queue_depth", "Steps that wait for a worker");
    queue_wait: Histogram = histogram("queue_wait_seconds", "From a step being ready to its offer", short_times);
    step_duration: Labelled<2, Histogram> = labelled("step_duration_seconds", "From accept to end of an attempt", ["step", "outcome"], long_times);
    attempts_lost: Labelled<1, Counter> = labelled("attempts_lost", "Attempts that nobody answers for", ["reason"], Counter::default);
    messages_ignored: Labelled<1, Counter> = labelled("messages_ignored", "Worker messages that changed nothing", ["reason"], Counter::default);

    // models
    llm_tokens: Labelled<3, Counter> = labelled("llm_tokens", "Tokens of model calls", ["provider", "model", "type"], Counter::default);
    llm_calls: Labelled<2, Counter> = labelled("llm_calls", "Model calls", ["provider", "model"], Counter::default);
    llm_cost: Labelled<2, FloatCounter> = labelled("llm_cost_usd", "Money for model calls", ["provider", "model"], FloatCounter::default);

    // workers
    worker_up: Labelled<1, Gauge> = labelled("worker_up", "Whether a worker is online", ["worker"], Gauge::default);
    worker_slots: Labelled<1, Gauge> = labelled("worker_slots", "Room for attempts", ["worker"], Gauge::default);
    worker_slots_used: Labelled<1, Gauge> = labelled("worker_slots_used", "Attempts on a worker", ["worker"], Gauge::default);

    // HTTP and MQTT
    http_requests: Labelled<3, Counter> = labelled("http_requests", "Requests of the API", ["method", "route", "status"], Counter::default);
    http_duration: Labelled<1, Histogram> = labelled("http_request_duration_seconds", "From request to the head of its response", ["route"], short_times);
    event_streams: Gauge = single("event_streams", "Open event streams");
    refused: Labelled<1, Counter> = labelled("refused", "Refused credentials and rights", ["transport"], Counter::default);
    mqtt_connections: Gauge = single("mqtt_connections", "Open MQTT connections");
    mqtt_denied: Labelled<1, Counter> = labelled("mqtt_denied", "What the topic rules stopped", ["packet"], Counter::default);

    // disk
    commit_duration: Histogram = histogram("commit_duration_seconds", "Commits with their fsync", short_times);
    commit_decisions: Counter = single("commit_decisions", "Decisions that were committed");
    database_bytes: Gauge = single("database_bytes", "Bytes of the database with its write-ahead log");
    log_stored_bytes: Gauge = single("log_stored_bytes", "Bytes of the stored logs");
    blob_bytes: Gauge = single("blob_bytes", "Bytes in the blob store");
    log_bytes: Counter = single("log_bytes", "Bytes of step logs taken in");
}
