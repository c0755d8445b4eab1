//! `agentctl audit`: who did what, and whether the record is whole.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use protocol::http::audit::{AuditCheck, AuditRow, ListAudit, VerifyAudit};

use crate::{
    error::CliError,
    exit::Exit,
    output::{
        Record,
        relative::ago,
        style::Tone,
        table::{Cell, Column},
    },
    session::Session,
};

/// List who did what, or check that the record is whole
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Audit {
    #[command(flatten)]
    list: List,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct List {
    /// Only those of this name, as the list shows it
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Only this action, or a group of them such as job
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// How many at most
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on from `next_cursor` of the page before
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List rows, newest first
    List(List),
    /// Follow the chain of hashes, and name the first row that does not fit
    Verify,
}

impl Audit {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        match self.command {
            None => self.list.run(session).await,
            Some(Command::List(list)) => list.run(session).await,
            Some(Command::Verify) => verify(session).await,
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let query = ListAudit {
            who: self.who,
            action: self.action,
            cursor: self.cursor,
            limit: Some(self.limit),
        };
        let page = session.client()?.call(&query).await?;
        session.out.list(&page.items, page.next_cursor.as_deref())?;
        Ok(Exit::Done)
    }
}

async fn verify(session: &Session) -> Result<Exit, CliError> {
    let check = session.client()?.call(&VerifyAudit {}).await?;
    let id = check.last.unwrap_or(check.removed).to_string();
    session.out.one(&check, &id, |_| sentences(&check))?;
    Ok(if check.broken.is_some() {
        Exit::Failed
    } else {
        Exit::Done
    })
}

fn sentences(check: &AuditCheck) -> Vec<String> {
    let mut lines = vec![];
    if let Some(broken) = &check.broken {
        let row = &broken.row;
        lines.push(format!("broken at row {} ({}): {}", row.seq, row.at, broken.why));
        lines.push(format!(
            "  it says: {} {} {} {}",
            row.who, row.action, row.object, row.result
        ));
    }
    let Some((first, last)) = check.first.zip(check.last) else {
        if check.broken.is_none() {
            lines.push("the audit log is empty".to_owned());
        }
        return lines;
    };
    let whole = if check.broken.is_some() {
        "fit"
    } else {
        "fit, all of them"
    };
    lines.push(format!("{} rows, {first} to {last}, {whole}", check.rows));
    lines.push(format!("hash of row {last}: {}", check.hash));
    lines
}

impl Record for AuditRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("ROW").right().rank(2),
        Column::new("WHEN").right(),
        Column::new("WHO").flexible(10),
        Column::new("FROM").rank(1),
        Column::new("ACTION"),
        Column::new("OBJECT").flexible(12),
        Column::new("RESULT").flexible(8),
        Column::new("TIMES").right().rank(3),
        Column::new("HASH").wide().rank(4),
    ];

    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        let result = match self.result.as_str() {
            "ok" => "ok".into(),
            other => Cell::toned(other, Tone::Bad),
        };
        vec![
            self.seq.to_string().into(),
            ago(self.at, now).into(),
            self.who.as_str().into(),
            self.origin.as_str().into(),
            self.action.as_str().into(),
            self.object.as_str().into(),
            result,
            self.times.to_string().into(),
            self.hash.as_str().into(),
        ]
    }

    fn id(&self) -> String {
        self.seq.to_string()
    }
}

#[cfg(test)]
mod tests {
    use protocol::http::audit::BrokenRow;

    use super::*;

    fn check(broken: Option<BrokenRow>) -> AuditCheck {
        AuditCheck {
            rows: 3,
            first: Some(5),
            removed: 4,
            last: Some(7),
            hash: "ab".to_owned(),
            broken,
        }
    }

    #[test]
    fn a_check_says_how_far_the_chain_holds() {
        let whole = sentences(&check(None));
        assert_eq!(whole, ["3 rows, 5 to 7, fit, all of them", "hash of row 7: ab"]);
        let row = AuditRow {
            seq: 8,
            at: Timestamp::UNIX_EPOCH,
            who: "token \"x\"".to_owned(),
            origin: "::1".to_owned(),
            action: "token.create".to_owned(),
            object: "y".to_owned(),
            result: "ok".to_owned(),
            times: 1,
            hash: String::new(),
        };
        let why = "it was changed".to_owned();
        let broken = sentences(&check(Some(BrokenRow { why, row })));
        assert_eq!(
            broken[0],
            "broken at row 8 (1970-01-01T00:00:00Z): it was changed"
        );
        assert_eq!(broken[2], "3 rows, 5 to 7, fit");
    }
}
