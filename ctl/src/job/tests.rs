use protocol::step::ErrorClass;

use super::{samples::*, *};
use crate::exit::Exit;

fn closing_text(job: &JobView) -> String {
    closing(job, now()).join("\n")
}

#[test]
fn a_job_is_named_in_four_ways() {
    assert_eq!("@last".parse(), Ok(JobName::Last));
    assert_eq!("@failed".parse(), Ok(JobName::Failed));
    assert_eq!("42".parse(), Ok(JobName::Ref(JobRef::Number(42))));
    assert!("@first".parse::<JobName>().is_err());
}

#[test]
fn the_last_three_lines_are_result_first_error_and_next_command() {
    insta::assert_snapshot!(closing_text(&running()), @r"
    job 42 is running after 3m 04s · 12.4k tokens in 3 calls · $0.04
    no error
    next: agentctl watch 42
    ");
    insta::assert_snapshot!(closing_text(&job(JobState::Succeeded, vec![step("deliver", StepState::Succeeded)])), @r"
    job 42 succeeded after 3m 04s
    no error
    next: agentctl diff 42
    ");
    let both = vec![
        failed("cycle", ErrorClass::Check, "cycle#1/edit failed", 90),
        failed("cycle#1/edit", ErrorClass::ModelOutput, "no edit\nfits", 90),
        failed("notify", ErrorClass::Exit, "exit code 1", 99),
    ];
    insta::assert_snapshot!(closing_text(&job(JobState::Failed, both)), @r"
    job 42 failed after 3m 04s
    first error: cycle#1/edit: no edit fits
    next: agentctl logs 42 'cycle#1/edit'
    ");
    let awaiting = vec![step("approve", StepState::Awaiting)];
    insta::assert_snapshot!(closing_text(&job(JobState::Waiting, awaiting)), @r"
    job 42 is waiting after 3m 04s
    no error
    next: agentctl approve 42 approve
    ");
    let mut parked = job(JobState::Parked, vec![]);
    parked.reason = Some("every worker was lost".into());
    insta::assert_snapshot!(closing_text(&parked), @r"
    job 42 is parked after 3m 04s
    reason: every worker was lost
    next: agentctl resume 42
    ");
}

#[test]
fn a_job_that_stands_still_has_an_exit_code() {
    let mut spent = step("plan", StepState::Parked);
    spent.error = Some(protocol::step::StepError::new(
        ErrorClass::Budget,
        "600k tokens used",
    ));
    let table = [
        (job(JobState::Queued, vec![]), None),
        (running(), None),
        (
            job(JobState::Waiting, vec![step("plan", StepState::RetryWait)]),
            None,
        ),
        (
            job(JobState::Waiting, vec![step("approve", StepState::Awaiting)]),
            Some(Exit::WaitsForPerson),
        ),
        (
            job(
                JobState::Waiting,
                vec![
                    step("approve", StepState::Awaiting),
                    step("plan", StepState::RetryWait),
                ],
            ),
            None,
        ),
        (job(JobState::Cancelling, vec![]), None),
        (job(JobState::Succeeded, vec![]), Some(Exit::Done)),
        (job(JobState::Failed, vec![]), Some(Exit::JobFailed)),
        (job(JobState::Cancelled, vec![]), Some(Exit::Cancelled)),
        (job(JobState::Parked, vec![]), Some(Exit::WaitsForPerson)),
        (job(JobState::Parked, vec![spent]), Some(Exit::BudgetSpent)),
    ];
    for (job, expected) in table {
        assert_eq!(Exit::of_job(&job), expected, "{}", job.state);
    }
}
