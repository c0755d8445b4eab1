//! The picture of `top`: rows are cut and columns dropped, nothing wraps, and no
//! state is told by colour alone.

use jiff::Timestamp;
use protocol::{http::jobs::JobView, http::workers::WorkerView};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style as Paint},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::state::{Pane, Top};
use crate::{
    job::usage_text,
    output::{
        Record,
        relative::duration_ms,
        style::{Style, Tone, job_tone, worker_tone},
        table::Table,
        text::{fit, one_line, width},
    },
};

/// From here on jobs and workers stand side by side.
const WIDE: u16 = 120;
/// What stands before each row: whether it is chosen.
const MARK: usize = 2;

/// Draws it; without colours also without anything else that paints.
pub(super) fn draw(frame: &mut Frame<'_>, top: &Top, now: Timestamp, colors: bool) {
    draw_all(frame, top, now);
    if !colors {
        for cell in &mut frame.buffer_mut().content {
            cell.set_style(Paint::reset());
        }
    }
}

fn draw_all(frame: &mut Frame<'_>, top: &Top, now: Timestamp) {
    let [head, lists, log, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    line(frame, head, &head_text(top), paint(Tone::Strong));
    let (jobs, workers) = if lists.width >= WIDE {
        let [jobs, _, workers] =
            Layout::horizontal([Constraint::Fill(3), Constraint::Length(2), Constraint::Fill(2)])
                .areas(lists);
        (jobs, workers)
    } else {
        let rows = u16::try_from(top.workers.len()).unwrap_or(u16::MAX).clamp(1, 6);
        let [jobs, workers] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(rows.saturating_add(2))]).areas(lists);
        (jobs, workers)
    };
    draw_jobs(frame, jobs, top, now);
    draw_workers(frame, workers, top, now);
    draw_log(frame, log, top);
    draw_keys(frame, keys, top);
}

fn head_text(top: &Top) -> String {
    let Some(status) = &top.status else {
        return "agentd".to_owned();
    };
    let paused = if status.paused {
        " · dispatch is paused"
    } else {
        ""
    };
    let awaiting = match status.awaiting {
        0 => String::new(),
        count => format!(" · {count} for a person"),
    };
    let today = match usage_text(&status.today) {
        used if used.is_empty() => String::new(),
        used => format!(" · today {used}"),
    };
    format!(
        "agentd {} · up {} · {} of {} workers · {} running · {} queued{awaiting}{paused}{today}",
        one_line(&status.version),
        duration_ms(status.uptime_s * 1000),
        status.workers_online,
        status.workers,
        status.running,
        status.queue_depth,
    )
}

fn draw_jobs(frame: &mut Frame<'_>, area: Rect, top: &Top, now: Timestamp) {
    let rows = top.jobs.iter().map(|job| job.cells(now)).collect();
    let list = List {
        title: "jobs",
        empty: "no jobs: agentctl run \"what should be done\" makes one",
        lines: table::<JobView>(rows, area),
        tones: top.jobs.iter().map(|job| job_tone(job.state)).collect(),
        chosen: top.jobs.iter().position(|job| Some(job.number) == top.job),
        focused: top.pane == Pane::Jobs,
    };
    list.draw(frame, area);
}

fn draw_workers(frame: &mut Frame<'_>, area: Rect, top: &Top, now: Timestamp) {
    let rows = top.workers.iter().map(|worker| worker.cells(now)).collect();
    let list = List {
        title: "workers",
        empty: "no workers: agentctl workers join-token prints how one joins",
        lines: table::<WorkerView>(rows, area),
        tones: top
            .workers
            .iter()
            .map(|worker| worker_tone(worker.state))
            .collect(),
        chosen: top
            .workers
            .iter()
            .position(|worker| Some(&worker.name) == top.worker.as_ref()),
        focused: top.pane == Pane::Workers,
    };
    list.draw(frame, area);
}

fn table<T: Record>(rows: Vec<Vec<crate::output::table::Cell>>, area: Rect) -> Vec<String> {
    let room = usize::from(area.width).saturating_sub(MARK);
    Table::new(T::COLUMNS, rows).render(Some(room), false, Style::PLAIN)
}

struct List<'a> {
    title: &'a str,
    empty: &'a str,
    /// The head, then the rows.
    lines: Vec<String>,
    tones: Vec<Tone>,
    chosen: Option<usize>,
    focused: bool,
}

impl List<'_> {
    fn draw(&self, frame: &mut Frame<'_>, area: Rect) {
        let [title, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        let count = self.tones.len();
        rule(frame, title, &format!("{} ({count})", self.title), self.focused);
        if count == 0 {
            line(frame, body, self.empty, paint(Tone::Dim));
            return;
        }
        let room = usize::from(body.height).saturating_sub(1);
        let first = scrolled(self.chosen.unwrap_or(0), room, count);
        let head = self
            .lines
            .first()
            .map(|head| format!("  {head}"))
            .unwrap_or_default();
        let mut shown = vec![Line::styled(head, paint(Tone::Dim))];
        let rows = self.lines.iter().skip(1).zip(&self.tones).enumerate();
        for (index, (text, tone)) in rows.skip(first).take(room) {
            let chosen = self.chosen == Some(index);
            let mark = if chosen { "> " } else { "  " };
            let strong = if chosen && self.focused {
                Modifier::REVERSED
            } else {
                Modifier::empty()
            };
            shown.push(Line::styled(
                format!("{mark}{text}"),
                paint(*tone).add_modifier(strong),
            ));
        }
        frame.render_widget(Paragraph::new(shown), body);
    }
}

/// The first row that is shown, so that the chosen one is in sight.
fn scrolled(chosen: usize, room: usize, count: usize) -> usize {
    let last = count.saturating_sub(room);
    chosen.saturating_sub(room.saturating_sub(1)).min(last)
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, top: &Top) {
    let [title, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let mut of = match &top.place {
        Some(place) => format!(
            "log of job {} {} (attempt {})",
            place.job, place.step, place.attempt
        ),
        None => "log".to_owned(),
    };
    if top.back > 0 {
        of.push_str(&format!(", {} lines back", top.back));
    }
    rule(frame, title, &of, top.pane == Pane::Log);
    let room = usize::from(body.height);
    let end = top.lines.len().saturating_sub(top.back);
    let columns = usize::from(body.width);
    let shown: Vec<Line<'_>> = top
        .lines
        .iter()
        .take(end)
        .skip(end.saturating_sub(room))
        .map(|text| Line::raw(fit(&one_line(text), columns).into_owned()))
        .collect();
    frame.render_widget(Paragraph::new(shown), body);
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, top: &Top) {
    let (text, tone) = if let Some(number) = top.asked {
        (
            format!("cancel job {number}? y does, any other key does not"),
            Tone::Alert,
        )
    } else if let Some(why) = &top.lost {
        (format!("not fresh: {why}; trying again"), Tone::Bad)
    } else if let Some(said) = &top.said {
        (said.clone(), Tone::Strong)
    } else {
        let pause = if top.pane == Pane::Workers {
            " · p pause or resume"
        } else {
            ""
        };
        let keys = format!("q quit · tab pane · ↑↓ choose · w why · c cancel{pause} · r read now");
        (keys, Tone::Dim)
    };
    line(frame, area, &text, paint(tone));
}

/// A title with a rule behind it; `*` marks the pane that keys move in.
fn rule(frame: &mut Frame<'_>, area: Rect, title: &str, focused: bool) {
    let mark = if focused { "* " } else { "─ " };
    let title = fit(&format!("{mark}{} ", one_line(title)), usize::from(area.width)).into_owned();
    let rest = "─".repeat(usize::from(area.width).saturating_sub(width(&title)));
    let tone = if focused { Tone::Strong } else { Tone::Dim };
    let spans = vec![
        Span::styled(title, paint(tone)),
        Span::styled(rest, paint(Tone::Dim)),
    ];
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

fn line(frame: &mut Frame<'_>, area: Rect, text: &str, paint: Paint) {
    let text = fit(&one_line(text), usize::from(area.width)).into_owned();
    frame.render_widget(Paragraph::new(Line::styled(text, paint)), area);
}

fn paint(tone: Tone) -> Paint {
    let paint = Paint::new();
    match tone {
        Tone::Plain => paint,
        Tone::Strong => paint.add_modifier(Modifier::BOLD),
        Tone::Dim => paint.add_modifier(Modifier::DIM),
        Tone::Good => paint.fg(Color::Green),
        Tone::Bad => paint.fg(Color::Red),
        Tone::Busy => paint.fg(Color::Cyan),
        Tone::Alert => paint.fg(Color::Yellow),
    }
}

#[cfg(test)]
mod tests;
