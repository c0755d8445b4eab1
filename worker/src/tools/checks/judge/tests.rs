use protocol::documents::{PlanFile, PlanItem};

use super::*;
use crate::tools::checks::report::{build, tests::check};

fn judged(now: &[&str], before: &[&str], task: &str, plan: Option<&Plan>) -> Judgement {
    let baseline = build("b", vec![check("t", before)], None, &[]);
    let report = build("c", vec![check("t", now)], Some(&baseline), &[]);
    judge(&report, Some(&baseline), about(task, plan))
}

fn about<'a>(task: &'a str, plan: Option<&'a Plan>) -> Intent<'a> {
    Intent {
        task,
        plan,
        ..Intent::default()
    }
}

#[test]
fn new_failures_fail_and_none_pass() {
    assert_eq!(judged(&[], &[], "Add a flag", None), Judgement::Pass(vec![]));
    assert!(matches!(judged(&["x"], &[], "Add a flag", None), Judgement::Fail(why) if why.contains('x')));
}

#[test]
fn old_failures_count_only_when_the_job_is_about_them() {
    for task in [
        "make the failing test pass",
        "Fix the tests",
        "the build is red",
        "All tests must pass",
        "test_parse_empty does not work",
    ] {
        let judgement = judged(&["m::test_parse_empty"], &["m::test_parse_empty"], task, None);
        assert!(matches!(judgement, Judgement::Fail(_)), "{task}");
    }
    for task in [
        "Make the button red",
        "Add a flag --tests",
        "rename parse_empty",
        "Write a passport checker",
    ] {
        match judged(&["m::test_parse_empty"], &["m::test_parse_empty"], task, None) {
            Judgement::Pass(notes) => assert!(notes[0].contains("test_parse_empty")),
            other => panic!("{task}: {other:?}"),
        }
    }
}

#[test]
fn a_plan_that_names_the_file_makes_it_the_jobs_business() {
    let mut failing = check("t", &["m::x"]);
    failing.failures[0].file = Some("tests/m.py".to_owned());
    let baseline = build("b", vec![failing.clone()], None, &[]);
    let report = build("c", vec![failing], Some(&baseline), &[]);
    let plan = |path: &str| Plan {
        items: vec![PlanItem {
            files: vec![PlanFile {
                path: path.to_owned(),
                action: protocol::documents::FileAction::Modify,
            }],
            ..PlanItem::default()
        }],
        ..Plan::default()
    };
    let touching = plan("tests/m.py");
    assert!(matches!(
        judge(&report, Some(&baseline), about("Add x", Some(&touching))),
        Judgement::Fail(_)
    ));
    let other = plan("src/m.py");
    assert!(matches!(
        judge(&report, Some(&baseline), about("Add x", Some(&other))),
        Judgement::Pass(_)
    ));
}

#[test]
fn what_cannot_run_is_missing_and_nothing_to_run_is_noted() {
    let mut skipped = check("pytest", &[]);
    skipped.skipped = Some("pytest is not on this worker".to_owned());
    let alone = build("c", vec![skipped.clone()], None, &[]);
    assert!(
        matches!(judge(&alone, None, about("x", None)), Judgement::Missing(why) if why.contains("not on this worker"))
    );
    let beside = build("c", vec![skipped.clone(), check("cargo test", &[])], None, &[]);
    assert_eq!(judge(&beside, None, about("x", None)), Judgement::Pass(vec![]));
    let baseline = build(
        "b",
        vec![check("pytest", &[]), check("cargo test", &[])],
        None,
        &[],
    );
    assert!(matches!(
        judge(&beside, Some(&baseline), about("x", None)),
        Judgement::Missing(_)
    ));
    let nothing = build("c", vec![], None, &[]);
    assert!(
        matches!(judge(&nothing, None, about("x", None)), Judgement::Pass(notes) if notes[0].contains("nothing was measured"))
    );
}

#[test]
fn the_owner_of_the_workflow_may_decide_about_old_failures() {
    let baseline = build("b", vec![check("t", &["x"])], None, &[]);
    let report = build("c", vec![check("t", &["x"])], Some(&baseline), &[]);
    let judged = |task, failing| {
        let intent = Intent {
            failing,
            ..about(task, None)
        };
        judge(&report, Some(&baseline), intent)
    };
    assert!(matches!(judged("Add a flag", Failing::Fix), Judgement::Fail(_)));
    assert!(matches!(
        judged("fix the failing test", Failing::Tolerate),
        Judgement::Pass(_)
    ));
}

#[test]
fn a_runner_that_is_gone_fails_and_fewer_tests_are_noted() {
    let baseline = build("b", vec![check("t", &["x", "y"])], None, &[]);
    let without = build("c", vec![], Some(&baseline), &[]);
    let judgement = judge(&without, Some(&baseline), Intent::default());
    assert!(matches!(judgement, Judgement::Fail(why) if why.contains("not there any more")));
    let fewer = build("c", vec![check("t", &[])], Some(&baseline), &[]);
    let judgement = judge(&fewer, Some(&baseline), Intent::default());
    assert_eq!(
        judgement,
        Judgement::Pass(vec!["`t` ran 1 tests where it ran 3 before".to_owned()])
    );
}
