//! The page of what was used: tokens and money by day, workflow and model, and how long jobs waited.

use axum::{extract::State, response::Response};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use maud::{Markup, html};

use crate::{
    api::{Api, problem::ApiResult},
    state::usage::{self, UsedBy, Waited},
};

use super::{frame, session::Visitor, words};

/// Days that are shown.
const DAYS: i64 = 30;
/// Size of a day's bar and of the picture, in pixels.
const BAR: usize = 24;
const HIGH: usize = 120;

/// `GET /usage`.
pub(super) async fn page(State(api): State<Api>, visitor: Visitor) -> ApiResult<Response> {
    let now = api.clock.wall();
    let since = now - SignedDuration::from_hours(24 * (DAYS - 1));
    let since = since - SignedDuration::from_secs(since.as_second().rem_euclid(86_400));
    let query = api.readers.query(move |connection| {
        Ok((
            usage::days(connection, since)?,
            usage::workflows(connection, since)?,
            usage::models(connection, since)?,
            usage::waits(connection, since)?,
        ))
    });
    let (days, workflows, models, waits) = query.await?;
    let dates = dates(now);
    let of_day = |name: &str| days.iter().find(|day| day.name == name);
    let waited = |name: &str| waits.iter().find(|day| day.day == name);
    let content = html! {
        h1 { "Usage" }
        p.hint { "The last " (DAYS) " days, by UTC." }
        @if days.is_empty() && waits.is_empty() {
            (frame::empty("Nothing was used yet. A job with a model changes that:", "agentctl demo"))
        }
        h2 { "Tokens by day" }
        (chart("Tokens by day", &dates, |day| of_day(day).map_or(0, |used| used.usage.tokens()), words::count))
        h2 { "Cost by day" }
        (chart("Cost by day", &dates, |day| of_day(day).map_or(0, |used| used.usage.cost_microusd), words::money))
        h2 { "By model" }
        (table("Model", "Attempts", &models))
        h2 { "By workflow" }
        (table("Workflow", "Jobs", &workflows))
        h2 { "Wait for the first step" }
        (chart("Wait of the middle job by day", &dates, |day| waited(day).map_or(0, |waited| waited.median_ms), span))
        (wait_table(&waits))
    };
    Ok(frame::page(&visitor, "/usage", "Usage", None, &content))
}

fn span(ms: u64) -> String {
    words::span(SignedDuration::from_millis(ms as i64))
}

/// The days of the pictures, oldest first.
fn dates(now: Timestamp) -> Vec<Date> {
    let today = now.to_zoned_datetime(TimeZone::UTC).date();
    let back = |days: i64| today.checked_sub(SignedDuration::from_hours(24 * days)).ok();
    (0..DAYS).rev().filter_map(back).collect()
}

/// A bar a day; each says its number.
fn chart(label: &str, dates: &[Date], of: impl Fn(&str) -> u64, said: impl Fn(u64) -> String) -> Markup {
    let values: Vec<(String, u64)> = dates
        .iter()
        .map(|date| (date.to_string(), of(&date.to_string())))
        .collect();
    let most = values.iter().map(|(_, value)| *value).max().unwrap_or(0);
    if most == 0 {
        return html! { p.hint { "None." } };
    }
    let (width, height) = (dates.len() * BAR + 70, HIGH + 34);
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            svg.chart width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(label) {
                line.rule x1="64" x2=(width) y1=(HIGH + 10) y2=(HIGH + 10) {}
                text.axis x="58" y="18" text-anchor="end" { (said(most)) }
                text.axis x="58" y=(HIGH + 10) text-anchor="end" { "0" }
                @for (at, (day, value)) in values.iter().enumerate() {
                    @let high = (*value as f64 / most as f64 * HIGH as f64).round() as usize;
                    @let high = if *value > 0 { high.max(2) } else { 0 };
                    rect.bar x=(66 + at * BAR) y=(HIGH + 10 - high) width=(BAR - 6) height=(high) {
                        title { (day) ": " (said(*value)) }
                    }
                    @if at % 7 == dates.len() % 7 { text.axis x=(66 + at * BAR) y=(height - 8) { (day.get(5..).unwrap_or_default()) } }
                }
            }
        }
    }
}

fn table(what: &str, counted: &str, rows: &[UsedBy]) -> Markup {
    html! {
        @if rows.is_empty() { p.hint { "None." } } @else {
            table.list {
                thead { tr { @for head in [what, counted, "Calls", "Tokens in", "Cached", "Tokens out", "Cost"] { th scope="col" { (head) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            td data-label=(what) { (row.name) }
                            td.number data-label=(counted) { (row.count) }
                            td.number data-label="Calls" { (row.usage.calls) }
                            td.number data-label="Tokens in" { (words::count(row.usage.input_tokens)) }
                            td.number data-label="Cached" { (words::count(row.usage.cached_tokens)) }
                            td.number data-label="Tokens out" { (words::count(row.usage.output_tokens)) }
                            td.number data-label="Cost" { (words::money(row.usage.cost_microusd)) }
                        }
                    }
                }
            }
        }
    }
}

fn wait_table(waits: &[Waited]) -> Markup {
    html! {
        @if !waits.is_empty() {
            table.list {
                thead { tr { @for head in ["Day", "Jobs", "Middle", "Longest"] { th scope="col" { (head) } } } }
                tbody {
                    @for day in waits.iter().rev() {
                        tr {
                            td data-label="Day" { (day.day) }
                            td.number data-label="Jobs" { (day.jobs) }
                            td.number data-label="Middle" { (span(day.median_ms)) }
                            td.number data-label="Longest" { (span(day.longest_ms)) }
                        }
                    }
                }
            }
        }
    }
}
