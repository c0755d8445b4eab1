//! The picture at two widths, and what keys do to it.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use protocol::{
    http::{
        status::{DiskUsed, Status},
        workers::{CurrentStep, WorkerView},
    },
    id::{JobRef, WorkerId},
    job::{JobState, StepKey},
    label::Labels,
    usage::Usage,
    worker::{Load, Wanted, WorkerState},
};
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

use super::*;
use crate::{
    commands::top::{
        read::{News, Place},
        state::Action,
    },
    job::samples,
};

fn worker(name: &str, state: WorkerState) -> WorkerView {
    WorkerView {
        name: name.to_owned(),
        id: WorkerId::from_uuid(uuid::Uuid::from_u128(7)),
        state,
        wanted: Wanted::Active,
        labels: Labels::default(),
        slots: 2,
        slots_used: 1,
        models: vec![],
        version: "0.1.0".to_owned(),
        load: Load {
            load1: 0.42,
            memory_available: 0,
            disk_free: 20 << 30,
        },
        joined_at: samples::now(),
        last_seen_at: Some(samples::now()),
        current: vec![CurrentStep {
            job: samples::link(),
            step: StepKey::top("cycle").in_round(2, "edit"),
        }],
    }
}

fn news() -> News {
    let mut old = samples::job(JobState::Parked, vec![]);
    old.number = 41;
    News {
        status: Status {
            state: "online".to_owned(),
            version: "0.1.0".to_owned(),
            epoch: 1,
            uptime_s: 3700,
            queue_depth: 3,
            running: 1,
            awaiting: 1,
            jobs_open: 2,
            workers_online: 1,
            workers: 2,
            paused: false,
            today: Usage {
                input_tokens: 12_400,
                calls: 3,
                cost_microusd: 40_000,
                ..Usage::default()
            },
            disk_free: 0,
            disk_used: DiskUsed::default(),
            models: vec![],
        },
        jobs: vec![samples::running(), old],
        workers: vec![
            worker("tower", WorkerState::Online),
            worker("a-worker-with-a-rather-long-name", WorkerState::Offline),
        ],
        log: Some((
            Place {
                job: JobRef::Number(42),
                step: StepKey::top("cycle").in_round(2, "edit"),
                attempt: 1,
                offset: 99,
            },
            vec![
                "2026-11-24T04:12:05.123Z info asking the model (call 2)".to_owned(),
                format!(
                    "2026-11-24T04:12:06.000Z out \u{1b}[31m{}",
                    "a long line of 漢字 ".repeat(20)
                ),
            ],
        )),
    }
}

fn top() -> Top {
    let mut top = Top::default();
    let (mut first, second) = (news(), news());
    first.log = None;
    top.take(first);
    top.take(second);
    top
}

fn drawn(top: &Top, columns: u16, rows: u16, colors: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
    terminal
        .draw(|frame| draw(frame, top, samples::now(), colors))
        .expect("draws");
    terminal.backend().buffer().clone()
}

fn text(top: &Top, columns: u16) -> String {
    let buffer = drawn(top, columns, 20, true);
    let mut rows = String::new();
    for row in 0..20 {
        // a wide sign takes the cell behind it too
        let mut covered = 0;
        let mut line = String::new();
        for column in 0..columns {
            let symbol = buffer[(column, row)].symbol();
            if covered == 0 {
                line.push_str(symbol);
                covered = width(symbol);
            }
            covered = covered.saturating_sub(1);
        }
        rows.push_str(line.trim_end());
        rows.push('\n');
    }
    rows
}

fn key(code: KeyCode) -> Event {
    Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn it_fits_a_narrow_and_a_wide_terminal() {
    insta::assert_snapshot!("narrow", text(&top(), 80));
    insta::assert_snapshot!("wide", text(&top(), 140));
    insta::assert_snapshot!("empty", text(&Top::default(), 80));
}

#[test]
fn any_size_is_drawn() {
    for columns in (1..140).step_by(9) {
        for rows in [1, 2, 5, 9] {
            drawn(&top(), columns, rows, true);
        }
    }
}

#[test]
fn without_colours_nothing_is_painted_and_the_choice_is_seen_all_the_same() {
    let top = top();
    let buffer = drawn(&top, 80, 20, false);
    assert!(buffer.content.iter().all(|cell| cell.modifier.is_empty()));
    assert!(buffer.content.iter().all(|cell| cell.fg == Color::Reset));
    assert!(text(&top, 80).contains("> "), "the chosen row");
    let painted = drawn(&top, 80, 20, true);
    assert!(painted.content.iter().any(|cell| !cell.modifier.is_empty()));
}

#[test]
fn keys_choose_ask_and_leave() {
    let mut top = top();
    assert_eq!(
        top.press(&key(KeyCode::Char('w'))),
        Action::Why(JobRef::Number(42))
    );
    assert_eq!(
        top.press(&key(KeyCode::Down)),
        Action::Refresh,
        "another job's log is wanted"
    );
    assert_eq!(top.job, Some(41));
    assert!(top.lines.is_empty());
    top.press(&key(KeyCode::Down));
    assert_eq!(top.job, Some(41), "there is no further one");
    assert_eq!(top.press(&key(KeyCode::Char('c'))), Action::None);
    assert!(text(&top, 80).contains("cancel job 41? y does"));
    assert_eq!(top.press(&key(KeyCode::Char('n'))), Action::None);
    assert_eq!(
        top.press(&key(KeyCode::Char('y'))),
        Action::None,
        "nothing is asked any more"
    );
    top.press(&key(KeyCode::Char('c')));
    assert_eq!(
        top.press(&key(KeyCode::Char('y'))),
        Action::Cancel(JobRef::Number(41))
    );
    top.press(&key(KeyCode::Tab));
    assert_eq!(
        top.press(&key(KeyCode::Char('p'))),
        Action::Pause("tower".to_owned())
    );
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(top.press(&Event::Key(ctrl_c)), Action::Quit);
    assert_eq!(top.press(&key(KeyCode::Esc)), Action::Quit);
}

#[test]
fn a_log_that_is_read_back_stays_where_it_is() {
    let mut top = top();
    top.pane = Pane::Log;
    top.press(&key(KeyCode::Up));
    assert_eq!(top.back, 1);
    top.take(news());
    assert_eq!(
        (top.back, top.lines.len()),
        (3, 4),
        "two lines more are behind it"
    );
    top.press(&key(KeyCode::End));
    assert_eq!(top.back, 0);
}
