//! `agentctl ps`: jobs, newest first.

use clap::Args;
use jiff::Timestamp;
use protocol::{
    http::jobs::{JobView, ListJobs},
    job::JobState,
};

use crate::{
    error::CliError,
    exit::Exit,
    job::job_elapsed,
    output::{
        Record,
        relative::{ago, dollars, tokens},
        style::job_tone,
        table::{Cell, Column},
    },
    session::Session,
};

/// List jobs, newest first
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Only these states, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "STATES")]
    state: Vec<JobState>,
    /// Only those that have not ended
    #[arg(long, conflicts_with = "state")]
    open: bool,
    /// Only these workflows, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    workflow: Vec<String>,
    /// Only titles with this text
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// How many at most
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Go on from `next_cursor` of the page before
    #[arg(long)]
    cursor: Option<String>,
}

impl Ps {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let open = JobState::ALL.iter().copied().filter(|state| !state.is_terminal());
        let query = ListJobs {
            state: if self.open { open.collect() } else { self.state },
            workflow: self.workflow,
            search: self.search,
            cursor: self.cursor,
            limit: Some(self.limit),
        };
        let page = session.client()?.call(&query).await?;
        session.out.list(&page.items, page.next_cursor.as_deref())?;
        if page.items.is_empty() && !session.out.for_machine() {
            session
                .out
                .say("no jobs; `agentctl run \"what should be done\"` makes one");
        }
        Ok(Exit::Done)
    }
}

impl Record for JobView {
    const COLUMNS: &'static [Column] = &[
        Column::new("JOB").right(),
        Column::new("STATE"),
        Column::new("TITLE").flexible(24),
        Column::new("WORKFLOW").rank(2),
        Column::new("STEPS").right().rank(3),
        Column::new("ELAPSED").right().rank(4),
        Column::new("TOKENS").right().rank(5),
        Column::new("COST").right().rank(6),
        Column::new("CREATED").right().rank(1),
        Column::new("REPO").wide().rank(7),
        Column::new("ID").wide().rank(8),
    ];

    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        let repo = self.repo.as_ref().map(|repo| repo.name.as_str());
        vec![
            self.number.to_string().into(),
            Cell::toned(self.state.as_str(), job_tone(self.state)),
            self.title.as_str().into(),
            self.workflow.as_str().into(),
            format!("{}/{}", self.steps_done, self.steps_total).into(),
            job_elapsed(self, now).into(),
            tokens(self.usage.tokens()).into(),
            dollars(self.usage.cost_microusd).into(),
            ago(self.created_at, now).into(),
            repo.unwrap_or_default().into(),
            self.id.to_string().into(),
        ]
    }

    fn id(&self) -> String {
        self.id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        job::samples::{job, now, running},
        output::{style::Style, table::Table},
    };

    #[test]
    fn the_list_fits_the_terminal() {
        let jobs = [running(), job(JobState::Parked, vec![])];
        let at = |columns| {
            let rows = jobs.iter().map(|job| job.cells(now())).collect();
            Table::new(JobView::COLUMNS, rows)
                .render(Some(columns), false, Style::PLAIN)
                .join("\n")
        };
        insta::assert_snapshot!(at(140), @r"
        JOB  STATE    TITLE                                                                WORKFLOW   STEPS  ELAPSED  TOKENS   COST  CREATED
         42  running  Make the failing test of the parser pass without touching the tests  implement    2/7   3m 04s   12.4k  $0.04   3m ago
         42  parked   Make the failing test of the parser pass without touching the tests  implement    2/7   3m 04s       0     $0   3m ago
        ");
        insta::assert_snapshot!(at(80), @r"
        JOB  STATE    TITLE                           WORKFLOW   STEPS  ELAPSED  CREATED
         42  running  Make the failing test of the …  implement    2/7   3m 04s   3m ago
         42  parked   Make the failing test of the …  implement    2/7   3m 04s   3m ago
        ");
    }
}
