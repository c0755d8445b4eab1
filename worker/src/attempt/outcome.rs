//! From what a step left behind to the attempt's result. Pure.

use std::borrow::Cow;

use protocol::{
    codec::{self, Envelope},
    id::{JournalId, MessageId},
    message::{Assign, CancelReason, FromWorker, MAX_OUTPUT_BYTES, PROTOCOL_VERSION, Session, StepResult},
    step::{ErrorClass, Outcome, StepError},
};

use crate::{log::Mask, steps::StepOutput};

/// What became of a log.
pub(super) struct LogState {
    /// Bytes of it.
    pub(super) bytes: u64,
    /// Its hash, if the controller has all of it.
    pub(super) sha256: Option<protocol::artifact::Sha256>,
}

/// Why the step was ended from outside, if it was.
pub(super) fn settle_outcome(output: &mut StepOutput, stopped: Option<CancelReason>, timed_out: bool) {
    if output.outcome == Outcome::Ok {
        return;
    }
    if timed_out {
        output.outcome = Outcome::TimedOut;
        output.error = Some(StepError::new(
            ErrorClass::Timeout,
            "the attempt reached its time limit",
        ));
    } else if let Some(why) = stopped {
        // an agent that ran out of budget says so itself
        if why == CancelReason::Budget && output.outcome == Outcome::Failed {
            return;
        }
        output.outcome = Outcome::Killed;
        let message = match why {
            CancelReason::User => "stopped by a person, or because its worker was stopped",
            CancelReason::Timeout => "stopped by the controller at its hard limit",
            CancelReason::Superseded => "stopped because it was superseded",
            CancelReason::Budget => "stopped because the budget is spent",
        };
        output.error = Some(StepError::new(ErrorClass::Killed, message));
    }
}

/// Hides secrets in everything that the step says.
pub(super) fn hide(output: &mut StepOutput, mask: &Mask) {
    mask.apply_map(&mut output.outputs);
    let error = output.error.iter_mut();
    let texts = error.flat_map(|error| std::iter::once(&mut error.message).chain(&mut error.hint));
    for text in texts.chain(&mut output.notes) {
        if let Cow::Owned(hidden) = mask.apply(text) {
            *text = hidden;
        }
    }
}

/// The result of an attempt, small enough for one message.
pub(super) fn result(
    assign: &Assign,
    output: StepOutput,
    log: LogState,
    duration_ms: u64,
) -> Box<StepResult> {
    let mut result = Box::new(StepResult {
        job: assign.job.id,
        step: assign.step.clone(),
        attempt: assign.attempt,
        outcome: output.outcome,
        error: output.error,
        exit: output.exit,
        outputs: output.outputs,
        artifacts: output.artifacts,
        usage: output.usage,
        model: output.model,
        workspace: output.workspace,
        log_bytes: log.bytes,
        log_sha256: log.sha256,
        notes: output.notes,
        duration_ms,
        model_ms: output.model_ms,
    });
    let size = serde_json::to_vec(&result.outputs).map_or(usize::MAX, |json| json.len());
    if size > MAX_OUTPUT_BYTES {
        let message =
            format!("the step's outputs have {size} bytes as JSON where {MAX_OUTPUT_BYTES} are allowed");
        refuse(&mut result, message, "put large data into an artifact");
    }
    if !fits(&result) {
        result.notes.truncate(10);
        for note in &mut result.notes {
            *note = note.chars().take(200).collect();
        }
    }
    if !fits(&result) {
        result.artifacts.clear();
        let message = "the step's result does not fit into one message".to_owned();
        refuse(&mut result, message, "make fewer artifacts");
    }
    result
}

fn refuse(result: &mut StepResult, message: String, hint: &str) {
    result.outputs.clear();
    result.outcome = Outcome::Failed;
    result.error = Some(StepError::new(ErrorClass::Spec, message).hint(hint));
}

fn fits(result: &StepResult) -> bool {
    let session = Session {
        journal: JournalId::from_uuid(result.attempt.uuid()),
        start: u64::MAX,
        connection: u64::MAX,
    };
    codec::encode(&Envelope {
        v: PROTOCOL_VERSION,
        id: MessageId::from_uuid(result.attempt.uuid()),
        epoch: u64::MAX,
        session,
        message: FromWorker::Result(Box::new(result.clone())),
    })
    .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_says_is_hidden() {
        let mask = Mask::of(["hunter-22"]);
        let error = StepError::new(ErrorClass::Exit, "no: hunter-22").hint("try hunter-22");
        let mut output = StepOutput::failed(error);
        output.notes.push("aHVudGVyLTIy".to_owned());
        output
            .outputs
            .insert("a".to_owned(), serde_json::json!(["68756e7465722d3232"]));
        hide(&mut output, &mask);
        let error = output.error.expect("why");
        assert_eq!(
            (error.message.as_str(), error.hint.as_deref()),
            ("no: •••", Some("try •••"))
        );
        assert_eq!(output.notes, ["•••"]);
        assert_eq!(output.outputs["a"], serde_json::json!(["•••"]));
    }

    #[test]
    fn a_good_end_stays_good_and_a_stop_explains_a_bad_one() {
        let failed = || StepOutput::failed(StepError::new(ErrorClass::Exit, "exited with 1"));
        let mut output = StepOutput::ok();
        settle_outcome(&mut output, Some(CancelReason::User), true);
        assert_eq!(output.outcome, Outcome::Ok);
        let mut output = failed();
        settle_outcome(&mut output, None, false);
        assert_eq!(output.outcome, Outcome::Failed);
        let mut output = failed();
        settle_outcome(&mut output, Some(CancelReason::Timeout), true);
        assert_eq!(output.outcome, Outcome::TimedOut);
        let mut output = failed();
        settle_outcome(&mut output, Some(CancelReason::Superseded), false);
        assert_eq!(output.outcome, Outcome::Killed);
        assert_eq!(output.error.expect("why").class, ErrorClass::Killed);
    }
}
