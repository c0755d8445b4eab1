//! `agentctl approve`: lets a step that waits for a person go on.

use clap::Args;
use protocol::{
    http::jobs::{ApproveStep, DecideStep, JobView},
    id::JobRef,
    job::StepKey,
    step::StepState,
};

use crate::{codes::Code, error::CliError, exit::Exit, job::JobName, session::Session};

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
    pub(super) job: JobName,
    /// The step; may be left out if only one waits
    pub(super) step: Option<StepKey>,
    /// For the record
    #[arg(long)]
    pub(super) reason: Option<String>,
}

impl Approve {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.decision.job.get(&client).await?;
        let step = waiting_step(&job, self.decision.step)?;
        let call = ApproveStep {
            job: JobRef::Number(job.number),
            step: step.clone(),
            decision: DecideStep {
                reason: self.decision.reason,
            },
        };
        let job = client.call(&call).await?;
        decided(session, &job, &step, "approved")
    }
}

/// The step that is meant, or the only one that waits for a person.
pub(super) fn waiting_step(job: &JobView, named: Option<StepKey>) -> Result<StepKey, CliError> {
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
                .hint(format!("name one: `agentctl approve {number} '{first}'`")))
        }
    }
}

/// Says what was decided.
pub(super) fn decided(
    session: &Session,
    job: &JobView,
    step: &StepKey,
    word: &str,
) -> Result<Exit, CliError> {
    let line = format!("{step} of job {} is {word}", job.number);
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
        let one = waiting_step(&awaiting(&["approve"]), None).expect("one");
        assert_eq!(one.as_str(), "approve");
        let said = |keys: &[&str]| {
            waiting_step(&awaiting(keys), None)
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
