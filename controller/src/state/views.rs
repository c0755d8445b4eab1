//! Jobs as the API shows them: read from the tables, or as the world holds them.

use std::sync::Arc;

use protocol::{
    http::approvals::ApprovalView,
    http::jobs::{AttemptView, JobView, ListJobs, RepoView, StepView},
    id::{JobId, JobNumber},
    job::JobState,
    spec::RepoSource,
    step::StepState,
};
use rusqlite::{Connection, params_from_iter, types::Value};

use crate::{
    orchestrator::{
        approval::shown,
        world::{Attempt, Job, Step, find_def},
    },
    workflow::model::StepKind,
};

use super::{
    StateError, attempts,
    jobs::{self, COLUMNS, JobRow},
    rows::text,
    steps,
};

/// Rows of a page if nobody says.
const DEFAULT_LIMIT: u32 = 50;
/// Rows of a page, at most.
const MAX_LIMIT: u32 = 200;

/// One job with its steps and attempts.
pub fn job(connection: &Connection, id: JobId) -> Result<Option<JobView>, StateError> {
    use rusqlite::OptionalExtension;
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1");
    let row = connection
        .prepare_cached(&sql)?
        .query_row([id.uuid().as_bytes()], JobRow::read)
        .optional()?;
    let Some(row) = row else {
        return Ok(None);
    };
    let workflow = jobs::pinned(connection, &row.workflow_sha256)?;
    let mut job = row.into_job(Arc::new(workflow));
    let mut known = attempts::of_job(connection, id)?;
    for mut step in steps::of_job(connection, id)? {
        (step.attempts, known) = split(known, &step);
        job.steps.push(step);
    }
    Ok(Some(of(&job)))
}

/// A job as its rows would show it.
pub fn of(job: &Job) -> JobView {
    let done = |step: &&Step| matches!(step.state, StepState::Succeeded | StepState::Skipped);
    let progress = (
        job.steps.iter().filter(done).count() as u32,
        job.steps.len() as u32,
    );
    let mut steps: Vec<&Step> = job.steps.iter().collect();
    steps.sort_by(|one, other| one.position.cmp(&other.position));
    let mut view = summary(JobRow::of(job), progress);
    view.steps = steps.into_iter().map(|step| step_view(job, step)).collect();
    view
}

/// The wait of a step for a person, once one was asked.
fn approval(job: &Job, step: &Step) -> Option<ApprovalView> {
    let wait = step.approval.clone()?;
    let StepKind::Approval(approval) = &find_def(&job.workflow, &step.path)?.kind else {
        return None;
    };
    let shown = shown(&job.steps, step, &approval.show);
    Some(ApprovalView {
        wait,
        on_timeout: approval.on_timeout,
        show: shown.into_iter().map(|step| step.key.clone()).collect(),
    })
}

fn split(rows: Vec<attempts::AttemptRow>, step: &Step) -> (Vec<Attempt>, Vec<attempts::AttemptRow>) {
    let (own, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.step == step.key);
    (own.into_iter().map(|row| row.attempt).collect(), others)
}

/// A page of jobs, newest first, and where the next one begins.
pub fn jobs(
    connection: &Connection,
    list: &ListJobs,
) -> Result<(Vec<JobView>, Option<JobNumber>), StateError> {
    let limit = list.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let mut conditions = vec!["1".to_owned()];
    let mut values: Vec<Value> = vec![];
    let any_of = |column: &str, texts: Vec<String>, values: &mut Vec<Value>| {
        let marks = vec!["?"; texts.len()].join(", ");
        values.extend(texts.into_iter().map(Value::Text));
        format!("{column} IN ({marks})")
    };
    if !list.state.is_empty() {
        let states = list.state.iter().map(ToString::to_string).collect();
        conditions.push(any_of("state", states, &mut values));
    }
    if !list.workflow.is_empty() {
        conditions.push(any_of("workflow", list.workflow.clone(), &mut values));
    }
    if let Some(text) = &list.search {
        conditions.push("instr(lower(title), lower(?)) > 0".to_owned());
        values.push(Value::Text(text.clone()));
    }
    if let Some(before) = list.cursor.as_ref().and_then(|cursor| cursor.parse::<i64>().ok()) {
        conditions.push("number < ?".to_owned());
        values.push(Value::Integer(before));
    }
    values.push(Value::Integer(i64::from(limit) + 1));
    let conditions = conditions.join(" AND ");
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE {conditions} ORDER BY number DESC LIMIT ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows: Vec<JobRow> = statement
        .query_map(params_from_iter(values), JobRow::read)?
        .collect::<Result<_, _>>()?;
    let more = rows.len() > limit as usize;
    let views: Vec<JobView> = rows
        .into_iter()
        .take(limit as usize)
        .map(|row| {
            let progress = steps::progress(connection, row.id)?;
            Ok(summary(row, progress))
        })
        .collect::<Result<_, StateError>>()?;
    let next = if more {
        views.last().map(|job| job.number)
    } else {
        None
    };
    Ok((views, next))
}

fn summary(row: JobRow, (steps_done, steps_total): (u32, u32)) -> JobView {
    let base = row.body.base;
    let repo = row.body.repo.map(|source| RepoView {
        name: source.name().to_owned(),
        url: match &source {
            RepoSource::Url { url, .. } => Some(url.clone()),
            RepoSource::Bundle { .. } => None,
        },
        base,
    });
    let stopped = matches!(row.state, JobState::Parked | JobState::Failed);
    let budget_spent = stopped
        && row
            .body
            .budget
            .is_some_and(|budget| budget.spent(&row.body.usage).is_some());
    JobView {
        budget_spent,
        number: row.number,
        id: row.id,
        state: row.state,
        workflow: row.workflow,
        workflow_sha256: row.workflow_sha256,
        title: row.title,
        priority: row.priority,
        created_at: row.created_at,
        started_at: row.started_at,
        ended_at: row.ended_at,
        reason: row.reason,
        inputs: row.body.inputs,
        repo,
        labels: row.body.labels,
        usage: row.body.usage,
        steps: vec![],
        steps_done,
        steps_total,
    }
}

fn step_view(job: &Job, step: &Step) -> StepView {
    let current = step.current();
    StepView {
        kind: find_def(&job.workflow, &step.path)
            .map_or("unknown", |def| def.kind.name())
            .to_owned(),
        state: step.state,
        attempt: current.map_or(0, |attempt| attempt.number),
        worker: current.map(|attempt| attempt.worker_name.clone()),
        model: current.and_then(|attempt| attempt.model.clone()),
        usage: step.usage,
        started_at: step.started_at,
        ended_at: step.ended_at,
        error: step.error.clone(),
        note: step.note.clone(),
        outputs: step.outputs.clone(),
        attempts: step.attempts.iter().map(attempt_view).collect(),
        needs: step.needs.clone(),
        approval: approval(job, step),
        key: step.key.clone(),
    }
}

fn attempt_view(attempt: &Attempt) -> AttemptView {
    AttemptView {
        id: attempt.id,
        number: attempt.number,
        state: attempt.state,
        worker: attempt.worker_name.clone(),
        offered_at: attempt.offered_at,
        started_at: attempt.started_at,
        ended_at: attempt.ended_at,
        error: attempt.error.clone(),
        usage: attempt.usage,
        model: attempt.model.clone(),
        exit: attempt.exit,
        late_outcome: attempt.late_outcome(),
        notes: attempt.notes.clone(),
    }
}

/// The short number of a job.
pub fn number(connection: &Connection, id: JobId) -> Result<Option<JobNumber>, StateError> {
    use rusqlite::OptionalExtension;
    let mut statement = connection.prepare_cached("SELECT number FROM jobs WHERE id = ?1")?;
    let number: Option<i64> = statement
        .query_row([id.uuid().as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(number.map(|number| number as u64))
}

/// The state of a job.
pub fn state(connection: &Connection, id: JobId) -> Result<Option<JobState>, StateError> {
    use rusqlite::OptionalExtension;
    let mut statement = connection.prepare_cached("SELECT state FROM jobs WHERE id = ?1")?;
    Ok(statement
        .query_row([id.uuid().as_bytes()], |row| text(row, 0))
        .optional()?)
}
