use std::collections::BTreeMap;

use super::*;
use crate::{
    testing::write,
    tools::{checks::parse::Runner, environment::Toolchains},
};

fn shell(script: &str) -> CheckPlan {
    let mut plan = CheckPlan::configured(["sh", "-c", script].map(str::to_owned).to_vec());
    "tests".clone_into(&mut plan.name);
    plan
}

async fn checked(root: &Path, plan: CheckPlan, limit: Duration, baseline: Option<&CheckReport>) -> Check {
    let environment = Toolchains::of_this_process().environment(&root.join("home"));
    let setting = Setting {
        root,
        environment: &environment,
        limit,
        baseline,
        log: &LogSink::discard(),
        stop: &Stop::default(),
    };
    run(&[plan], &setting).await.unwrap().remove(0)
}

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn unknown_output_still_has_exit_code_and_tail() {
    let root = tempfile::tempdir().unwrap();
    let check = checked(root.path(), shell("echo some words; exit 3"), LIMIT, None).await;
    assert_eq!(
        (check.exit, check.tail.as_str(), check.counts),
        (Some(3), "some words\n", None)
    );
    assert_eq!(check.failures[0].id, "tests");
    assert!(check.failures[0].message.contains("exited with 3"));
    assert!(!check.passed());
}

#[tokio::test]
async fn paths_of_this_worker_do_not_get_into_ids() {
    let root = tempfile::tempdir().unwrap();
    let script = "echo 1..1; echo not ok 1 - $PWD/a.js; exit 1";
    let check = checked(root.path(), shell(script), LIMIT, None).await;
    assert_eq!(check.failures[0].id, "a.js");
}

#[tokio::test]
async fn a_hang_is_a_failure_and_the_baseline_shortens_the_limit() {
    let root = tempfile::tempdir().unwrap();
    let check = checked(
        root.path(),
        shell("echo '1..2'; echo not ok 1 - a; sleep 100"),
        Duration::from_millis(300),
        None,
    )
    .await;
    assert!(check.timed_out && check.exit.is_none() && !check.passed());
    let ids: Vec<_> = check.failures.iter().map(|failure| failure.id.as_str()).collect();
    assert_eq!(ids, ["a", "tests"]);
    let environment = BTreeMap::new();
    let baseline = CheckReport {
        checks: vec![
            Check {
                name: "tests".to_owned(),
                exit: Some(0),
                ms: 1000,
                ..Check::default()
            },
            check,
        ],
        ..CheckReport::default()
    };
    let setting = Setting {
        root: root.path(),
        environment: &environment,
        limit: LIMIT,
        baseline: Some(&baseline),
        log: &LogSink::discard(),
        stop: &Stop::default(),
    };
    assert_eq!(limit_of("tests", &setting), Duration::from_secs(33));
    assert_eq!(limit_of("others", &setting), LIMIT);
}

#[tokio::test]
async fn a_missing_tool_is_skipped_with_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let plan = CheckPlan::configured(vec!["no-such-runner".to_owned()]);
    let check = checked(root.path(), plan, LIMIT, None).await;
    assert_eq!(
        check.skipped.as_deref(),
        Some("no-such-runner is not on this worker")
    );
    let no_pytest = shell("echo /usr/bin/python3: No module named pytest; exit 1");
    let check = checked(root.path(), no_pytest, LIMIT, None).await;
    assert!(check.skipped.unwrap().starts_with("pytest is not on this worker"));
}

#[tokio::test]
async fn a_real_cargo_project_is_checked_offline() {
    let root = tempfile::tempdir().unwrap();
    write(
        &root.path().join("Cargo.toml"),
        "[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
    );
    write(
        &root.path().join("src/lib.rs"),
        "pub fn add(a: i32, b: i32) -> i32 { a - b }\n#[test]\nfn adds() { assert_eq!(add(1, 2), 3); }\n",
    );
    let mut plan = crate::tools::checks::detect::detect(root.path(), &|_| true).remove(0);
    plan.runner = Runner::Libtest;
    let check = checked(root.path(), plan, LIMIT, None).await;
    assert_eq!(check.exit, Some(101), "{}", check.tail);
    assert_eq!(check.failures.len(), 1);
    assert_eq!(check.failures[0].id, "demo::adds");
    assert_eq!(
        (check.failures[0].file.as_deref(), check.failures[0].line),
        (Some("src/lib.rs"), Some(3))
    );
}

#[tokio::test]
async fn real_tests_of_node_are_read() {
    let toolchains = Toolchains::of_this_process();
    if toolchains.find("npm").is_none() {
        eprintln!("SKIP: npm is not on this machine");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    write(
        &root.path().join("package.json"),
        r#"{"scripts":{"test":"node --test"}}"#,
    );
    write(
        &root.path().join("a.test.js"),
        "const test = require('node:test'); const assert = require('node:assert');\n\
         test('adds', () => assert.strictEqual(1 + 1, 3));\ntest('holds', () => {});\n",
    );
    let plan = crate::tools::checks::detect::detect(root.path(), &|_| true).remove(0);
    let check = checked(root.path(), plan, LIMIT, None).await;
    let counts = check.counts.expect("counted");
    assert_eq!((counts.passed, counts.failed), (1, 1), "{}", check.tail);
    assert!(check.failures[0].id.contains("adds"), "{:?}", check.failures);
    assert_eq!(check.failures[0].file.as_deref(), Some("a.test.js"));
}
