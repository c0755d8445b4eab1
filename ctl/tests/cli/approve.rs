//! Approve and reject.

use crate::{
    agentctl,
    fake::{Fake, World},
    job, stderr, stdout,
};

#[test]
fn a_decision_is_about_what_was_looked_at_and_nobody_is_asked_without_a_terminal() {
    let fake = Fake::start(World {
        job: job("waiting", "awaiting"),
        ..World::default()
    });
    for (args, said) in [
        (
            &["approve", "42", "--reason", "fine"][..],
            "only of job 42 is approved\n",
        ),
        (&["reject", "42", "only", "--yes"], "only of job 42 is rejected\n"),
    ] {
        let output = agentctl(&fake, args).output().expect("runs");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stdout(&output), said);
        assert!(stderr(&output).contains("next: agentctl watch 42"));
    }
    let asked = fake.asked();
    let posts: Vec<&String> = asked.iter().filter(|line| line.starts_with("POST")).collect();
    assert_eq!(
        posts,
        [
            "POST /v1/jobs/42/steps/only/approve \"seen\" {\"reason\":\"fine\"}",
            "POST /v1/jobs/42/steps/only/reject \"seen\" {\"reason\":null}",
        ]
    );
}

#[test]
fn a_decision_about_something_that_has_changed_is_refused_by_its_code() {
    let fake = Fake::start(World {
        job: job("waiting", "awaiting"),
        breaks: 1,
        ..World::default()
    });
    let output = agentctl(&fake, &["approve", "42"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("error[precondition_failed]: what it asks about has changed"),
        "{}",
        stderr(&output)
    );
}
