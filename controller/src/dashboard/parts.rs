//! Small pieces that several pages have: states, times, tables of facts.

use jiff::Timestamp;
use maud::{Markup, html};

use super::words;

/// A state as a sign and a word: never by colour alone.
pub(super) fn state(name: &str) -> Markup {
    html! {
        span.state data-state=(name) {
            span.sign aria-hidden="true" { (sign(name)) }
            (name.replace('_', " "))
        }
    }
}

/// The sign of a state of a job, a step, an attempt or a worker.
pub(super) fn sign(state: &str) -> &'static str {
    match state {
        "succeeded" | "online" => "✓",
        "failed" | "timed_out" | "lost" | "offline" => "✗",
        "running" | "offered" => "▶",
        "waiting" | "awaiting" => "?",
        "parked" | "paused" | "draining" | "suspect" => "‖",
        "cancelled" | "cancelling" | "rejected" => "⊘",
        "skipped" => "↷",
        _ => "·",
    }
}

/// A moment, said as how long ago it was.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(words::moment(at)) data-ago { (words::ago(at, now)) } }
}

/// How long something took, or takes until now.
pub(super) fn elapsed(from: Option<Timestamp>, to: Option<Timestamp>, now: Timestamp) -> Markup {
    match (from, to) {
        (None, _) => html! { "–" },
        (Some(from), Some(to)) => html! { (words::span(to.duration_since(from))) },
        (Some(from), None) => {
            html! { time datetime=(from) data-since { (words::span(now.duration_since(from))) } }
        }
    }
}

/// Facts as a list of terms.
pub(super) fn facts(pairs: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (term, value) in pairs {
                div { dt { (term) } dd { (value) } }
            }
        }
    }
}
