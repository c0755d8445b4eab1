//! When which worker did what, as SVG: a row per worker, bars for waiting, for models and for tools. Pure.

use jiff::Timestamp;
use maud::{Markup, html};

use super::words;

/// Width of the names and of the time, and height of a row, in pixels.
const NAMES: usize = 110;
const TIME: usize = 800;
const ROW: usize = 26;
/// Height of the axis.
const AXIS: usize = 22;

/// What a worker's time goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    /// For a worker to be free.
    Waiting,
    /// A model thinks.
    Model,
    /// Commands, checks, files.
    Tool,
}

impl Spent {
    const ALL: [Self; 3] = [Self::Waiting, Self::Model, Self::Tool];

    const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Model => "model",
            Self::Tool => "tool",
        }
    }

    /// Height and distance from the top of the row: kinds differ in more than colour.
    const fn shape(self) -> (usize, usize) {
        match self {
            Self::Waiting => (4, 11),
            Self::Model => (18, 4),
            Self::Tool => (10, 8),
        }
    }
}

/// One bar.
pub(super) struct Bar {
    /// On which worker.
    pub(super) worker: String,
    /// What it is.
    pub(super) spent: Spent,
    /// For people.
    pub(super) says: String,
    /// When it began.
    pub(super) from: Timestamp,
    /// When it ended, or now.
    pub(super) to: Timestamp,
}

/// The picture; nothing where nothing has happened.
pub(super) fn draw(bars: &[Bar]) -> Markup {
    let (Some(start), Some(end)) = (
        bars.iter().map(|bar| bar.from).min(),
        bars.iter().map(|bar| bar.to).max(),
    ) else {
        return html! {};
    };
    let total = end.duration_since(start).as_millis().max(1);
    let x = |at: Timestamp| {
        let share = at.duration_since(start).as_millis() as f64 / total as f64;
        NAMES as f64 + share * TIME as f64
    };
    let mut workers: Vec<&str> = bars.iter().map(|bar| bar.worker.as_str()).collect();
    workers.sort_unstable();
    workers.dedup();
    let (width, height) = (NAMES + TIME + 10, workers.len() * ROW + AXIS);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Timeline by worker" {
            svg.timeline width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="img" aria-label="Timeline by worker" {
                @for (row, worker) in workers.iter().enumerate() {
                    text.name x="0" y=(row * ROW + 17) { (words::clipped(worker, 14)) }
                    line.rule x1=(NAMES) x2=(NAMES + TIME) y1=(row * ROW + ROW) y2=(row * ROW + ROW) {}
                    @for bar in bars.iter().filter(|bar| bar.worker == *worker) {
                        @let (high, down) = bar.spent.shape();
                        rect.bar data-spent=(bar.spent.name()) x={ (format!("{:.1}", x(bar.from))) } y=(row * ROW + down)
                            width={ (format!("{:.1}", (x(bar.to) - x(bar.from)).max(1.5))) } height=(high) rx="2" {
                            title { (bar.says) ": " (bar.spent.name()) " " (words::span(bar.to.duration_since(bar.from))) }
                        }
                    }
                }
                @for tenth in [0usize, 5, 10] {
                    text.axis x=(NAMES + TIME * tenth / 10) y=(height - 6) text-anchor=(["start", "middle", "end"][tenth / 5]) {
                        (words::span(jiff::SignedDuration::from_millis(total as i64 * tenth as i64 / 10)))
                    }
                }
            }
        }
        p.legend {
            @for spent in Spent::ALL {
                @let (high, down) = spent.shape();
                span {
                    svg.timeline width="22" height="22" aria-hidden="true" {
                        rect.bar data-spent=(spent.name()) x="1" y=(down - 2) width="20" height=(high) rx="2" {}
                    }
                    (spent.name())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_row_per_worker_and_bars_within_the_time() {
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let bar = |worker: &str, spent, from, to| Bar {
            worker: worker.to_owned(),
            spent,
            says: "<b>".to_owned(),
            from: at(from),
            to: at(to),
        };
        let svg = draw(&[
            bar("one", Spent::Waiting, 0, 10),
            bar("two", Spent::Model, 10, 10),
            bar("one", Spent::Tool, 10, 20),
        ]);
        let svg = svg.into_string();
        assert_eq!(svg.matches("text class=\"name\"").count(), 2);
        assert!(
            svg.contains("x=\"510.0\" y=\"30\" width=\"1.5\""),
            "what took no time is still seen: {svg}"
        );
        assert!(!svg.contains("<b>"));
        assert_eq!(draw(&[]).into_string(), "");
    }
}
