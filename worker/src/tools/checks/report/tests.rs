use protocol::documents::{CheckFailure, Counts};

use super::*;

pub(crate) fn check(name: &str, failures: &[&str]) -> Check {
    Check {
        name: name.to_owned(),
        command: vec![name.to_owned()],
        exit: Some(i32::from(!failures.is_empty())),
        counts: Some(Counts {
            passed: 1,
            failed: failures.len() as u64,
            ..Counts::default()
        }),
        failures: failures
            .iter()
            .map(|id| CheckFailure {
                id: (*id).to_owned(),
                ..CheckFailure::default()
            })
            .collect(),
        ..Check::default()
    }
}

#[test]
fn new_and_fixed_are_told_from_what_was_there() {
    let baseline = build("b", vec![check("t", &["old", "mended"])], None, &[]);
    assert!(baseline.new_failures.is_empty());
    let report = build(
        "c",
        vec![check("t", &["old", "fresh"])],
        Some(&baseline),
        &["tests/a.py".into()],
    );
    assert_eq!(report.new_failures, ["fresh"]);
    assert_eq!(report.fixed, ["mended"]);
    assert_eq!(report.protected_changed, ["tests/a.py"]);
    assert_ne!(report.signature, baseline.signature);
    let again = build("d", vec![check("t", &["fresh", "old"])], Some(&baseline), &[]);
    assert_eq!(again.signature, report.signature);
    let clean = build("e", vec![check("t", &[])], Some(&baseline), &[]);
    assert_eq!((clean.signature.as_str(), clean.fixed.len()), ("", 2));
}

#[test]
fn a_run_that_broke_off_fixes_nothing_and_a_linter_decides_nothing() {
    let baseline = build("b", vec![check("t", &["old"])], None, &[]);
    let mut hung = check("t", &["t"]);
    (hung.timed_out, hung.exit, hung.counts) = (true, None, None);
    let mut lint = check("ruff", &["F401"]);
    lint.advisory = true;
    let report = build("c", vec![hung, lint], Some(&baseline), &[]);
    assert_eq!(report.new_failures, ["t"]);
    assert!(report.fixed.is_empty());
}

#[test]
fn what_the_baseline_could_not_run_has_no_new_failures() {
    let mut skipped = check("npm test", &[]);
    skipped.skipped = Some("npm is not on this worker".to_owned());
    let baseline = build("b", vec![skipped], None, &[]);
    let report = build("c", vec![check("npm test", &["x"])], Some(&baseline), &[]);
    assert!(report.new_failures.is_empty());
}

#[test]
fn a_cut_baseline_is_compared_by_number() {
    let mut cut = check("t", &["a"]);
    cut.counts = Some(Counts {
        failed: 3,
        ..Counts::default()
    });
    let baseline = build("b", vec![cut], None, &[]);
    let same = build("c", vec![check("t", &["a", "b", "c"])], Some(&baseline), &[]);
    assert!(same.new_failures.is_empty());
    let worse = build("c", vec![check("t", &["a", "b", "c", "d"])], Some(&baseline), &[]);
    assert_eq!(worse.new_failures.len(), 3);
    let mut broken = check("t", &["error in src/lib.rs: x"]);
    broken.counts = None;
    let broken = build("c", vec![broken], Some(&baseline), &[]);
    assert_eq!(
        broken.new_failures.len(),
        1,
        "what does not compile is new, whatever the baseline lists"
    );
}

#[test]
fn a_large_report_is_cut_to_size_and_keeps_its_counts() {
    let ids: Vec<String> = (0..900)
        .map(|i| format!("module::test_number_{i}_{}", "x".repeat(200)))
        .collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut large = check("t", &ids);
    large.tail = "ü".repeat(4000);
    for failure in &mut large.failures {
        failure.message = "m".repeat(2000);
    }
    let report = build("c", vec![large], None, &[]);
    let small = bounded(&report, 30_000);
    assert!(size(&small) <= 30_000);
    assert!(small.checks[0].failures.len() >= 10);
    assert_eq!(small.checks[0].counts, report.checks[0].counts);
    let tiny = build("c", vec![check("t", &["a"])], None, &[]);
    assert_eq!(bounded(&tiny, 30_000), tiny);
}
