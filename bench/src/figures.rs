//! Samples, figures and the table that is printed at the end.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

/// Measured durations, sorted.
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Of at least one duration.
    pub fn new(mut durations: Vec<Duration>) -> Self {
        assert!(!durations.is_empty(), "nothing was measured");
        durations.sort_unstable();
        Self(durations)
    }

    /// The quantile `q` in milliseconds, by nearest rank.
    pub fn quantile_ms(&self, q: f64) -> f64 {
        let rank = (self.0.len() as f64 * q) as usize;
        self.0[rank.min(self.0.len() - 1)].as_secs_f64() * 1e3
    }

    /// The median in milliseconds.
    pub fn p50_ms(&self) -> f64 {
        self.quantile_ms(0.5)
    }

    /// In milliseconds.
    pub fn p99_ms(&self) -> f64 {
        self.quantile_ms(0.99)
    }
}

/// What a figure should be: of its ratio to the reference if it has one, else of itself.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
    /// Only told.
    None,
}

/// One line of the table.
pub struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    reference: Option<(String, f64)>,
    goal: Goal,
}

impl Figure {
    /// A figure without reference and goal.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            value,
            unit,
            reference: None,
            goal: Goal::None,
        }
    }

    /// Compared with `value` of the same unit.
    pub fn beside(mut self, name: impl Into<String>, value: f64) -> Self {
        self.reference = Some((name.into(), value));
        self
    }

    /// With what it should be.
    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = goal;
        self
    }

    fn ratio(&self) -> Option<f64> {
        self.reference.as_ref().map(|(_, value)| self.value / value)
    }

    fn met(&self) -> Option<bool> {
        let judged = self.ratio().unwrap_or(self.value);
        match self.goal {
            Goal::AtMost(most) => Some(judged <= most),
            Goal::AtLeast(least) => Some(judged >= least),
            Goal::None => None,
        }
    }

    fn cells(&self) -> [String; 6] {
        let reference = self.reference.as_ref();
        let sign = if self.reference.is_some() { "×" } else { "" };
        [
            self.what.clone(),
            format!("{} {}", short(self.value), self.unit),
            reference.map_or_else(String::new, |(name, value)| {
                format!("{} {} {name}", short(*value), self.unit)
            }),
            self.ratio()
                .map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            match self.goal {
                Goal::AtMost(most) => format!("≤ {}{sign}", short(most)),
                Goal::AtLeast(least) => format!("≥ {}{sign}", short(least)),
                Goal::None => String::new(),
            },
            match self.met() {
                Some(true) => "yes".to_owned(),
                Some(false) => "NO".to_owned(),
                None => String::new(),
            },
        ]
    }
}

/// Three significant digits, without an exponent.
fn short(value: f64) -> String {
    let magnitude = value.abs();
    let digits = match () {
        () if magnitude >= 100.0 => 0,
        () if magnitude >= 10.0 => 1,
        () if magnitude >= 1.0 => 2,
        () => 3,
    };
    format!("{value:.digits$}")
}

/// All figures of a run, in groups.
#[derive(Default)]
pub struct Report {
    groups: Vec<(&'static str, Vec<Figure>)>,
}

impl Report {
    /// Begins a group; the figures that follow belong to it.
    #[expect(clippy::print_stderr, reason = "a run takes minutes: it says where it is")]
    pub fn group(&mut self, title: &'static str) {
        eprintln!("bench: {title} …");
        self.groups.push((title, vec![]));
    }

    /// Adds a figure.
    pub fn add(&mut self, figure: Figure) {
        let (_, figures) = self.groups.last_mut().expect("a group was begun");
        figures.push(figure);
    }

    /// Says why something was not measured.
    #[expect(clippy::print_stderr, reason = "what is missing must be seen")]
    pub fn skip(&self, what: &str, why: &str) {
        eprintln!("bench: SKIP {what}: {why}");
    }

    /// Prints the table.
    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    pub fn print(&self) {
        for (title, figures) in &self.groups {
            let mut table = Table::new();
            table.load_style(presets::ASCII_MARKDOWN).set_header([
                *title,
                "measured",
                "reference",
                "ratio",
                "goal",
                "met",
            ]);
            for column in 1..5 {
                if let Some(column) = table.column_mut(column) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
            for figure in figures {
                table.add_row(figure.cells());
            }
            println!("{table}\n");
        }
    }

    /// The same for programs.
    pub fn to_json(&self) -> String {
        let figures = self.groups.iter().flat_map(|(group, figures)| {
            figures.iter().map(move |figure| {
                json!({
                    "group": group, "what": figure.what, "value": figure.value, "unit": figure.unit,
                    "reference": figure.reference.as_ref().map(|(name, value)| json!({"name": name, "value": value})),
                    "ratio": figure.ratio(), "met": figure.met(),
                })
            })
        });
        Value::Array(figures.collect()).to_string()
    }
}
