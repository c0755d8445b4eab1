//! `agentctl approve`, and what `reject` shares with it: what is asked is shown,
//! then decided about exactly that.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use protocol::{
    approval::Answer,
    http::{
        approvals::{ApprovalDetail, ApproveStep, DecideStep, GetApproval, RejectStep},
        jobs::JobView,
    },
    id::JobRef,
    job::StepKey,
    step::StepState,
};

use self::asked::lines;
use crate::{client::Client, codes::Code, error::CliError, exit::Exit, job::JobName, session::Session};

mod asked;

/// Let a step that waits for a person go on
#[derive(Debug, Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    decision: DecisionArgs,
}

/// Which step is decided, and why.
#[derive(Debug, Args)]
pub(crate) struct DecisionArgs {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
    /// The step; may be left out if only one waits
    step: Option<StepKey>,
    /// For the record
    #[arg(long)]
    reason: Option<String>,
    /// Do not ask whether it is meant
    #[arg(short, long)]
    yes: bool,
}

impl Approve {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        self.decision.decide(session, Answer::Approve).await
    }
}

impl DecisionArgs {
    /// Shows what is asked and decides about it.
    pub(super) async fn decide(self, session: &Session, answer: Answer) -> Result<Exit, CliError> {
        let client = session.client()?;
        let view = self.job.get(&client).await?;
        let step = waiting_step(&view, self.step, answer)?;
        let job = JobRef::Number(view.number);
        let asked = GetApproval {
            job,
            step: step.clone(),
        };
        let asked = client.call(&asked).await?;
        if asked.state == StepState::Awaiting && !self.yes && may_ask(session) {
            for line in lines(&client, &view, &asked, session.out.stderr().style).await? {
                session.out.say(&line);
            }
            if !is_meant(&step, view.number, answer)? {
                session.out.say("nothing was decided");
                return Ok(Exit::Failed);
            }
        }
        let decision = DecideStep { reason: self.reason };
        let view = send(&client, job, &asked, answer, decision).await?;
        decided(session, &view, &step, answer)
    }
}

/// The decision is about what was looked at: with something else it is refused.
async fn send(
    client: &Client,
    job: JobRef,
    asked: &ApprovalDetail,
    answer: Answer,
    decision: DecideStep,
) -> Result<JobView, CliError> {
    let (step, seen) = (asked.step.clone(), asked.etag.as_str());
    match answer {
        Answer::Approve => {
            let call = ApproveStep { job, step, decision };
            client.call_about(&call, seen).await
        }
        Answer::Reject => {
            let call = RejectStep { job, step, decision };
            client.call_about(&call, seen).await
        }
    }
}

fn may_ask(session: &Session) -> bool {
    let looks_on = io::stdin().is_terminal() && session.out.stderr().terminal;
    looks_on && !session.no_input && !session.out.for_machine()
}

fn is_meant(step: &StepKey, number: u64, answer: Answer) -> io::Result<bool> {
    write!(io::stderr(), "{answer} {step} of job {number}? [y/N] ")?;
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// The step that is meant, or the only one that waits for a person.
fn waiting_step(job: &JobView, named: Option<StepKey>, answer: Answer) -> Result<StepKey, CliError> {
    let number = job.number;
    if let Some(step) = named {
        return Ok(step);
    }
    let waiting: Vec<&StepKey> = job
        .steps
        .iter()
        .filter(|step| step.state == StepState::Awaiting)
        .map(|step| &step.key)
        .collect();
    match waiting.as_slice() {
        [step] => Ok((*step).clone()),
        [] => {
            let sentence = format!("no step of job {number} waits for a person");
            Err(CliError::new(Code::NothingToDecide, sentence)
                .hint(format!("`agentctl why {number}` says what it waits for")))
        }
        [first, ..] => {
            let names: Vec<&str> = waiting.iter().map(|step| step.as_str()).collect();
            let sentence = format!("{} steps of job {number} wait for a person", waiting.len());
            Err(CliError::new(Code::StepNeeded, sentence)
                .cause(names.join(", "))
                .hint(format!("name one: `agentctl {answer} {number} '{first}'`")))
        }
    }
}

/// Says what was decided.
fn decided(session: &Session, job: &JobView, step: &StepKey, answer: Answer) -> Result<Exit, CliError> {
    let line = format!("{step} of job {} is {}", job.number, answer.participle());
    session.out.one(job, &job.id.to_string(), |_| vec![line])?;
    session.out.say(&format!("next: agentctl watch {}", job.number));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use protocol::job::JobState;

    use super::*;
    use crate::{
        job::samples::{job, step},
        output::style::Style,
    };

    #[test]
    fn a_step_need_not_be_named_if_it_is_the_only_one() {
        let awaiting = |keys: &[&str]| {
            let steps = keys.iter().map(|key| step(key, StepState::Awaiting)).collect();
            job(JobState::Waiting, steps)
        };
        let one = waiting_step(&awaiting(&["approve"]), None, Answer::Approve).expect("one");
        assert_eq!(one.as_str(), "approve");
        let said = |keys: &[&str]| {
            waiting_step(&awaiting(keys), None, Answer::Approve)
                .expect_err("not one")
                .render(Style::PLAIN)
        };
        insta::assert_snapshot!(said(&[]), @r"
        error[nothing_to_decide]: no step of job 42 waits for a person
          hint:  `agentctl why 42` says what it waits for
        ");
        insta::assert_snapshot!(said(&["a", "b"]), @r"
        error[step_needed]: 2 steps of job 42 wait for a person
          cause: a, b
          hint:  name one: `agentctl approve 42 'a'`
        ");
    }
}
