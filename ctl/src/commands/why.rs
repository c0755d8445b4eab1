//! `agentctl why`: what a job waits for, what each worker lacks, what would change it.

use clap::Args;
use protocol::http::jobs::{ExplainJob, Why as Answer, WhyStep};

use crate::{
    error::CliError,
    exit::Exit,
    job::JobName,
    output::{
        style::{Style, Tone, step_sign},
        text::one_line,
    },
    session::Session,
};

/// Explain what a job waits for
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
}

impl Why {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.job.resolve(&client).await?;
        let answer = client.call(&ExplainJob { job }).await?;
        session
            .out
            .one(&answer, &job.to_string(), |stream| human(&answer, stream.style))?;
        Ok(Exit::Done)
    }
}

fn human(answer: &Answer, style: Style) -> Vec<String> {
    let mut lines = vec![one_line(&answer.summary)];
    if let Some(hint) = &answer.hint {
        lines.push(format!("  hint    {}", one_line(hint)));
    }
    lines.extend(answer.steps.iter().flat_map(|step| step_lines(step, style)));
    lines
}

fn step_lines(step: &WhyStep, style: Style) -> Vec<String> {
    let (sign, tone) = step_sign(step.state);
    let sign = style.paint(&format!("{sign} {}", step.state), tone);
    let mut lines = vec![
        String::new(),
        format!("{}  {sign}: {}", step.step, one_line(&step.reason)),
    ];
    if !step.requires.is_empty() {
        lines.push(format!("  needs   {}", one_line(&step.requires.to_string())));
    }
    for worker in &step.workers {
        lines.push(format!(
            "  {:<7} {}",
            one_line(&worker.worker),
            one_line(&worker.lacks)
        ));
    }
    if !step.can_ever_run {
        lines.push(style.paint("  as things are, it can never run", Tone::Bad));
    }
    if let Some(hint) = &step.hint {
        lines.push(format!("  hint    {}", one_line(hint)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::{
        guard::Guard,
        http::jobs::WhyWorker,
        job::{JobState, StepKey},
        label::Requires,
        step::StepState,
    };

    use super::*;

    #[test]
    fn each_waiting_step_says_what_it_lacks() {
        let answer = Answer {
            state: JobState::Running,
            summary: "one step waits for a worker that does not exist".into(),
            guard: None,
            hint: None,
            steps: vec![WhyStep {
                step: StepKey::top("check"),
                state: StepState::Ready,
                reason: "no worker has every label that it requires".into(),
                guard: Some(Guard::Labels),
                requires: Requires(BTreeMap::from([("gpu".into(), "yes".into())])),
                workers: vec![WhyWorker {
                    worker: "pi-1".into(),
                    lacks: "lacks gpu=yes".into(),
                    guard: Some(Guard::Labels),
                    hint: None,
                }],
                can_ever_run: false,
                hint: Some("add the label to a worker: `labels: {gpu: yes}`".into()),
            }],
        };
        insta::assert_snapshot!(human(&answer, Style::PLAIN).join("\n"), @r"
        one step waits for a worker that does not exist

        check  ○ ready: no worker has every label that it requires
          needs   gpu=yes
          pi-1    lacks gpu=yes
          as things are, it can never run
          hint    add the label to a worker: `labels: {gpu: yes}`
        ");
    }
}
