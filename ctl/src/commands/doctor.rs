//! `agentctl doctor`: everything that a new user gets wrong, and the command
//! that repairs it.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use self::checks::examine;
use crate::{
    codes::Code,
    error::CliError,
    exit::Exit,
    output::{
        style::{Style, Tone},
        text::one_line,
    },
    session::Session,
};

mod checks;
mod mend;

/// Check everything that a job needs
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Mend what can be mended without harm, and look again; says what it did
    #[arg(long)]
    fix: bool,
}

impl Doctor {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let mut report = examine(session).await;
        if self.fix && mend::all(session, &report).await? {
            report = examine(session).await;
        }
        session
            .out
            .one(&report, report.verdict(), |stream| human(&report, stream.style))?;
        match report.worst() {
            Some(finding) if finding.health == Health::Broken => Ok(finding.exit),
            _ => Ok(Exit::Done),
        }
    }
}

/// How a checked thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    /// As it should be.
    Good,
    /// Jobs run, but not as well as they could.
    Weak,
    /// Jobs cannot run.
    Broken,
}

/// One checked thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    what: &'static str,
    health: Health,
    detail: String,
    /// The command or change that repairs it.
    repair: Option<String>,
    /// What `--fix` does about it.
    #[serde(skip)]
    mend: Option<Mend>,
    #[serde(skip)]
    exit: Exit,
}

/// What can be mended without harm; everything else is for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mend {
    /// Nobody but this user may read the file.
    Protect(PathBuf),
    /// The worker takes steps again, as no other one does.
    Resume(String),
}

impl Finding {
    fn good(what: &'static str, detail: impl Into<String>) -> Self {
        Self {
            what,
            health: Health::Good,
            detail: detail.into(),
            repair: None,
            mend: None,
            exit: Exit::Done,
        }
    }

    fn weak(what: &'static str, detail: impl Into<String>, repair: impl Into<String>) -> Self {
        Self {
            health: Health::Weak,
            repair: Some(repair.into()),
            ..Self::good(what, detail)
        }
    }

    fn broken(what: &'static str, detail: impl Into<String>, repair: impl Into<String>) -> Self {
        Self {
            health: Health::Broken,
            exit: Code::UnhealthySetup.exit(),
            ..Self::weak(what, detail, repair)
        }
    }

    /// The same, with what `--fix` does.
    fn mended_by(self, mend: Mend) -> Self {
        Self {
            mend: Some(mend),
            ..self
        }
    }
}

/// All that was checked, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// The first of the worst: what to repair first.
    fn worst(&self) -> Option<&Finding> {
        let worst = self.findings.iter().map(|finding| finding.health).max()?;
        self.findings.iter().find(|finding| finding.health == worst)
    }

    const fn verdict_of(health: Health) -> &'static str {
        match health {
            Health::Good => "good",
            Health::Weak => "weak",
            Health::Broken => "broken",
        }
    }

    fn verdict(&self) -> &'static str {
        Self::verdict_of(self.worst().map_or(Health::Good, |finding| finding.health))
    }
}

fn human(report: &Report, style: Style) -> Vec<String> {
    let mut lines: Vec<String> = report
        .findings
        .iter()
        .map(|finding| line(finding, style))
        .collect();
    lines.push(String::new());
    match report.worst() {
        Some(Finding {
            repair: Some(repair),
            what,
            ..
        }) => {
            lines.push(format!("to repair first: {what}"));
            lines.push(repair.clone());
        }
        _ => lines.push("everything is as it should be".to_owned()),
    }
    lines
}

fn line(finding: &Finding, style: Style) -> String {
    let (sign, tone) = match finding.health {
        Health::Good => ("✓", Tone::Good),
        Health::Weak => ("!", Tone::Alert),
        Health::Broken => ("✗", Tone::Bad),
    };
    let word = format!("{sign} {:<6}", Report::verdict_of(finding.health));
    format!(
        "{} {:<11} {}",
        style.paint(&word, tone),
        finding.what,
        one_line(&finding.detail)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_repairs_the_first_of_the_worst() {
        let mut report = Report {
            findings: vec![
                Finding::good("controller", "agentd 0.1.0 at http://pi:8484"),
                Finding::weak("models", "none is configured", "start Ollama"),
                Finding::broken("workers", "none is online", "agentctl workers join-token"),
                Finding::broken("disk", "no space", "agentctl status"),
            ],
        };
        insta::assert_snapshot!(human(&report, Style::PLAIN).join("\n"), @r"
        ✓ good   controller  agentd 0.1.0 at http://pi:8484
        ! weak   models      none is configured
        ✗ broken workers     none is online
        ✗ broken disk        no space

        to repair first: workers
        agentctl workers join-token
        ");
        report.findings.truncate(1);
        insta::assert_snapshot!(human(&report, Style::PLAIN).join("\n"), @r"
        ✓ good   controller  agentd 0.1.0 at http://pi:8484

        everything is as it should be
        ");
    }
}
