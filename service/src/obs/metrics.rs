//! Numbers for Prometheus: a registry that is filled once at start, handles to
//! count with, and the text that a scrape gets.
//!
//! The number of label sets is bounded, because labels may come from strangers.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

pub use prometheus_client::metrics::{counter::Counter, gauge::Gauge, histogram::Histogram};
use prometheus_client::{
    encoding::{EncodeMetric, text::encode},
    metrics::{TypedMetric, family::Family, info::Info},
    registry::{Metric, Registry, Unit},
};

/// The `Content-Type` of [`Exposition::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The `Content-Type` of [`Exposition::plain_text`].
pub const PLAIN_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A counter of fractions, such as US dollars.
pub type FloatCounter = Counter<f64, AtomicU64>;

/// Label sets of one metric; what comes later is counted as [`OTHER`]. Far more than a fleet of
/// 1,000 workers has, far less than memory.
const MAX_SERIES: usize = 2000;

/// The label value of everything beyond the bound.
pub const OTHER: &str = "other";

/// Buckets in seconds from 1 ms to 17 min: commits and requests as well as queueing.
pub fn short_times() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 1000.0,
    ])
}

/// Buckets in seconds from 0.1 s to 4 h: steps and jobs.
pub fn long_times() -> Histogram {
    Histogram::new([
        0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0,
    ])
}

/// The metrics of a process while they are being declared.
pub struct Metrics(Registry);

impl Metrics {
    /// An empty registry; every name gets the prefix and an underscore in front.
    pub fn with_prefix(prefix: &str) -> Self {
        Self(Registry::with_prefix(prefix))
    }

    /// Declares one number: a [`Counter`] (`_total` is added to its name), [`FloatCounter`] or [`Gauge`].
    pub fn single<M>(&mut self, name: &str, help: &str) -> M
    where
        M: EncodeMetric + std::fmt::Debug + Clone + Default + Send + Sync + 'static,
    {
        let metric = M::default();
        self.register(name, help, metric.clone());
        metric
    }

    /// Declares a histogram with the buckets of `make`.
    pub fn histogram(&mut self, name: &str, help: &str, make: fn() -> Histogram) -> Histogram {
        let metric = make();
        self.register(name, help, metric.clone());
        metric
    }

    /// Declares a metric with labels; `make` makes one series of it.
    pub fn labelled<const N: usize, M>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
        make: fn() -> M,
    ) -> Labelled<N, M>
    where
        M: EncodeMetric + TypedMetric + std::fmt::Debug + Clone + Send + Sync + 'static,
    {
        let family = Family::new_with_constructor(make);
        self.register(name, help, family.clone());
        Labelled {
            labels,
            family,
            series: Arc::default(),
        }
    }

    /// Declares a constant: what program this is.
    pub fn build_info(&mut self, version: &str) {
        let labels = [("version", version.to_owned())];
        self.0.register("build", "The running program", Info::new(labels));
    }

    /// The unit is the end of the name.
    fn register(&mut self, name: &str, help: &str, metric: impl Metric) {
        let units = [Unit::Seconds, Unit::Bytes, Unit::Other("usd".to_owned())];
        let split = units.into_iter().find_map(|unit| {
            let stem = name.strip_suffix(unit.as_str())?.strip_suffix('_')?;
            Some((stem, unit))
        });
        match split {
            Some((stem, unit)) => self.0.register_with_unit(stem, help, unit, metric),
            None => self.0.register(name, help, metric),
        }
    }

    /// Ends the declarations.
    pub fn finish(self) -> Exposition {
        Exposition(Arc::new(self.0))
    }
}

type LabelSet<const N: usize> = [(&'static str, String); N];

/// A metric with labels; clones count into the same series.
pub struct Labelled<const N: usize, M> {
    labels: [&'static str; N],
    family: Family<LabelSet<N>, M>,
    /// How many there are; two threads at the bound may add one too many.
    series: Arc<AtomicUsize>,
}

impl<const N: usize, M> Clone for Labelled<N, M> {
    fn clone(&self) -> Self {
        Self {
            labels: self.labels,
            family: self.family.clone(),
            series: Arc::clone(&self.series),
        }
    }
}

impl<const N: usize, M: Clone> Labelled<N, M> {
    /// The series with these label values, in the order of the declaration.
    pub fn with(&self, values: [&str; N]) -> M {
        let set = self.set(values);
        if let Some(series) = self.family.get(&set) {
            return series.clone();
        }
        if self.series.load(Ordering::Relaxed) >= MAX_SERIES {
            return self.family.get_or_create_owned(&self.set([OTHER; N]));
        }
        self.series.fetch_add(1, Ordering::Relaxed);
        self.family.get_or_create_owned(&set)
    }

    /// Forgets a series: its subject is gone.
    pub fn remove(&self, values: [&str; N]) {
        if self.family.remove(&self.set(values)) {
            self.series.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn set(&self, values: [&str; N]) -> LabelSet<N> {
        std::array::from_fn(|i| (self.labels[i], values[i].to_owned()))
    }
}

/// What a scrape may read; cheap to clone.
#[derive(Clone)]
pub struct Exposition(Arc<Registry>);

impl Exposition {
    /// All metrics as OpenMetrics text; see [`CONTENT_TYPE`].
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).expect("writing to a String cannot fail");
        text
    }

    /// The same for readers that do not know `OpenMetrics`; see [`PLAIN_CONTENT_TYPE`].
    pub fn plain_text(&self) -> String {
        plain(&self.text())
    }
}

/// The older format has no units and no end; its counters and infos carry the suffix in the name of the family.
fn plain(open: &str) -> String {
    let mut families: HashMap<&str, (&str, &str)> = HashMap::new();
    for line in open.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.insert(
                name,
                match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                },
            );
        }
    }
    let mut text = String::with_capacity(open.len());
    for line in open.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "UNIT" | "EOF", ..] => {}
            ["#", what, name, rest] => {
                let (suffix, kind) = families.get(name).copied().unwrap_or(("", rest));
                let rest = if *what == "TYPE" { kind } else { rest };
                text.push_str(&format!("# {what} {name}{suffix} {rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_with_prefix_labels_and_suffix() {
        let mut metrics = Metrics::with_prefix("agentd");
        let tokens: Labelled<2, Counter> =
            metrics.labelled("llm_tokens", "Tokens", ["provider", "type"], Counter::default);
        let up: Labelled<1, Gauge> = metrics.labelled("worker_up", "Online", ["worker"], Gauge::default);
        let cost: FloatCounter = metrics.single("llm_cost_usd", "Money");
        let commit = metrics.histogram("commit_seconds", "Commits", short_times);
        metrics.build_info("1.2.3");
        let exposition = metrics.finish();
        tokens.with(["lan", "input"]).inc_by(5);
        tokens.with(["lan", "input"]).inc_by(2);
        up.with(["tower"]).set(1);
        up.with(["gone"]).set(1);
        up.remove(["gone"]);
        cost.inc_by(0.25);
        commit.observe(0.003);
        let text = exposition.text();
        for line in [
            "agentd_llm_tokens_total{provider=\"lan\",type=\"input\"} 7",
            "agentd_worker_up{worker=\"tower\"} 1",
            "agentd_llm_cost_usd_total 0.25",
            "agentd_commit_seconds_bucket{le=\"0.005\"} 1",
            "agentd_build_info{version=\"1.2.3\"} 1",
            "# EOF",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(!text.contains("gone"));
        for unit in ["agentd_commit_seconds seconds", "agentd_llm_cost_usd usd"] {
            assert!(
                text.contains(&format!("# UNIT {unit}\n")),
                "{unit} is not in\n{text}"
            );
        }
        let plain = exposition.plain_text();
        for line in [
            "# TYPE agentd_llm_tokens_total counter",
            "# HELP agentd_llm_tokens_total Tokens.",
            "agentd_llm_tokens_total{provider=\"lan\",type=\"input\"} 7",
            "# TYPE agentd_build_info gauge",
            "# TYPE agentd_commit_seconds histogram",
        ] {
            assert!(
                plain.lines().any(|found| found == line),
                "{line} is not in\n{plain}"
            );
        }
        assert!(!plain.contains("# EOF") && !plain.contains("# UNIT"), "{plain}");
    }

    #[test]
    fn strangers_cannot_make_series_without_end() {
        let mut metrics = Metrics::with_prefix("x");
        let counter: Labelled<1, Counter> = metrics.labelled("n", "N", ["name"], Counter::default);
        for i in 0..MAX_SERIES + 10 {
            counter.with([&i.to_string()]).inc();
        }
        assert_eq!(counter.with([OTHER]).get(), 10);
        assert_eq!(counter.with(["0"]).get(), 1);
    }
}
