//! A job as a tree of steps: the same lines live on a terminal and in `show`.

use jiff::Timestamp;
use protocol::{
    http::jobs::{JobView, StepView},
    step::StepState,
};

use super::{
    relative::{ago, dollars, elapsed, tokens},
    style::{Style, Tone, job_tone, step_sign},
    table::{Cell, Column, Table},
    text::{fit, width},
};
use crate::job::{heading, job_elapsed, usage_text};

const COLUMNS: [Column; 8] = [
    Column::new("STEP"),
    Column::new("STATE"),
    Column::new("WORKER").rank(3),
    Column::new("MODEL").rank(5),
    Column::new("ELAPSED").right().rank(1),
    Column::new("TOKENS").right().rank(4),
    Column::new("COST").right().rank(6),
    Column::new("LAST WORD").flexible(24).rank(2),
];

/// How much room a tree has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Columns; unlimited if `None`.
    pub(crate) columns: Option<usize>,
    /// Lines; unlimited if `None`.
    pub(crate) lines: Option<usize>,
}

/// The lines of a tree: a heading, then a table of the steps.
pub(crate) fn render(job: &JobView, now: Timestamp, room: Room, style: Style) -> Vec<String> {
    let mut lines = vec![head(job, now, room.columns, style)];
    if job.steps.is_empty() {
        return lines;
    }
    // the heading and the table's own head take two lines
    let (steps, hidden) = fold(&job.steps, room.lines.map(|lines| lines.saturating_sub(2)));
    let rows = steps.iter().map(|step| row(job, step, now)).collect();
    lines.extend(Table::new(&COLUMNS, rows).render(room.columns, false, style));
    if hidden > 0 {
        lines.push(style.paint(&format!("… {hidden} more steps"), Tone::Dim));
    }
    lines
}

fn head(job: &JobView, now: Timestamp, columns: Option<usize>, style: Style) -> String {
    let state = job.state.as_str();
    let mut rest = format!(" {}", job_elapsed(job, now));
    let usage = usage_text(&job.usage);
    if !usage.is_empty() {
        rest.push_str(&format!(" · {usage}"));
    }
    let title = heading(job);
    let (title, rest) = match columns {
        // the title gives way first: it is long and known
        Some(columns) => {
            let tail = width(state) + width(&rest) + 2;
            let title = fit(&title, columns.saturating_sub(tail).max(12)).into_owned();
            let left = columns.saturating_sub(width(&title) + 2 + width(state));
            (title, fit(&rest, left).into_owned())
        }
        None => (title, rest),
    };
    format!(
        "{}  {}{rest}",
        style.paint(&title, Tone::Strong),
        style.paint(state, job_tone(job.state))
    )
}

fn row(job: &JobView, step: &StepView, now: Timestamp) -> Vec<Cell> {
    let (indent, name) = place(job, step);
    let (sign, tone) = step_sign(step.state);
    let spent = |text: String, zero: bool| if zero { String::new() } else { text };
    let time = step
        .started_at
        .map(|start| elapsed(start, step.ended_at.unwrap_or(now)));
    vec![
        Cell::indented(&indent, name, Tone::Plain),
        Cell::toned(format!("{sign} {}", step.state), tone),
        step.worker.as_deref().unwrap_or_default().into(),
        step.model
            .as_ref()
            .map(|model| model.model.as_str())
            .unwrap_or_default()
            .into(),
        time.unwrap_or_default().into(),
        spent(tokens(step.usage.tokens()), step.usage.tokens() == 0).into(),
        spent(dollars(step.usage.cost_microusd), step.usage.cost_microusd == 0).into(),
        last_word(step, now),
    ]
}

/// A step inside a block stands below it with what its key adds: `cycle`, then `#1/edit`.
fn place<'a>(job: &JobView, step: &'a StepView) -> (String, &'a str) {
    let key = step.key.as_str();
    let parent = step.key.parent();
    let shown = parent.filter(|parent| job.steps.iter().any(|other| other.key.as_str() == *parent));
    let name = shown.and_then(|parent| key.strip_prefix(parent)).unwrap_or(key);
    let depth = if shown.is_some() {
        key.matches('/').count()
    } else {
        0
    };
    ("  ".repeat(depth), name)
}

fn last_word(step: &StepView, now: Timestamp) -> Cell {
    if let Some(approval) = &step.approval {
        match &approval.wait.decided {
            Some(decided) if step.state == StepState::Succeeded => {
                return Cell::toned(decided.to_string(), Tone::Dim);
            }
            None if step.state == StepState::Awaiting => {
                let when = ago(approval.wait.until, now);
                let then = approval.on_timeout.participle();
                return Cell::toned(format!("waits for a person; {then} {when}"), Tone::Alert);
            }
            _ => {}
        }
    }
    match (&step.error, &step.note) {
        (Some(error), _) if step.state != StepState::Succeeded => Cell::toned(&error.message, Tone::Bad),
        (_, Some(note)) => Cell::toned(note, Tone::Dim),
        _ => Cell::default(),
    }
}

/// Leaves out ended steps from the top, then blocked ones from the bottom.
fn fold(steps: &[StepView], most: Option<usize>) -> (Vec<&StepView>, usize) {
    let mut shown: Vec<&StepView> = steps.iter().collect();
    let Some(most) = most.filter(|most| steps.len() > *most) else {
        return (shown, 0);
    };
    // the line that says so needs room too
    let most = most.saturating_sub(1);
    while shown.len() > most {
        let ended = shown.iter().position(|step| step.state.is_terminal());
        let blocked = shown.iter().rposition(|step| step.state == StepState::Blocked);
        let last = shown.len() - 1;
        shown.remove(ended.or(blocked).unwrap_or(last));
    }
    let hidden = steps.len() - shown.len();
    (shown, hidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::samples;

    fn lines(columns: usize, most: Option<usize>) -> String {
        let room = Room {
            columns: Some(columns),
            lines: most,
        };
        render(&samples::running(), samples::now(), room, Style::PLAIN).join("\n")
    }

    #[test]
    fn the_tree_fits_its_width() {
        insta::assert_snapshot!(lines(140, None), @r"
        job 42 · implement · Make the failing test of the parser pass without touching the tests  running 3m 04s · 12.4k tokens in 3 calls · $0.04
        STEP        STATE        WORKER  MODEL             ELAPSED  TOKENS     COST  LAST WORD
        prepare     ✓ succeeded  pi-1                          12s
        plan        ✓ succeeded  tower   qwen2.5-coder:7b      34s    3.1k  $0.0093
        cycle       ● running
          #1/edit   ✓ succeeded  tower   qwen2.5-coder:7b      31s    4.1k    $0.01
          #1/check  ✗ failed     pi-1                          15s                   cargo test: 1 of 12 tests fails: parser::empty
          #2/edit   ● running    tower   qwen2.5-coder:7b   1m 25s    5.2k    $0.02  asking the model (call 2), 512 tokens so far
          #2/check  · blocked
        verify      · blocked
        ");
        insta::assert_snapshot!(lines(80, None), @r"
        job 42 · implement · Make the…  running 3m 04s · 12.4k tokens in 3 calls · $0.04
        STEP        STATE        WORKER  ELAPSED  TOKENS  LAST WORD
        prepare     ✓ succeeded  pi-1        12s
        plan        ✓ succeeded  tower       34s    3.1k
        cycle       ● running
          #1/edit   ✓ succeeded  tower       31s    4.1k
          #1/check  ✗ failed     pi-1        15s          cargo test: 1 of 12 tests fai…
          #2/edit   ● running    tower    1m 25s    5.2k  asking the model (call 2), 51…
          #2/check  · blocked
        verify      · blocked
        ");
        for columns in 10..200 {
            for line in lines(columns, None).lines().skip(1) {
                assert!(width(line) <= columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn what_moves_stays_when_lines_are_scarce() {
        insta::assert_snapshot!(lines(80, Some(6)), @r"
        job 42 · implement · Make the…  running 3m 04s · 12.4k tokens in 3 calls · $0.04
        STEP        STATE      WORKER  ELAPSED  TOKENS  LAST WORD
        cycle       ● running
          #2/edit   ● running  tower    1m 25s    5.2k  asking the model (call 2), 512 …
          #2/check  · blocked
        … 5 more steps
        ");
    }
}
