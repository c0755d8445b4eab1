use std::collections::BTreeMap;

use super::*;
use crate::{
    testing::{uncaged, write},
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
        cage: &uncaged(),
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
        cage: &uncaged(),
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

#[tokio::test]
async fn real_tests_of_python_are_read() {
    let toolchains = Toolchains::of_this_process();
    let probe = Exec::new(["python3", "-c", "import pytest"], "/")
        .environment(toolchains.environment(Path::new("/")));
    let found = probe.run(&LogSink::discard(), &Stop::default()).await;
    if !found.is_ok_and(|found| found.success()) {
        eprintln!("SKIP: pytest is not on this machine");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("calc.py"), "def add(a, b):\n    return a - b\n");
    write(
        &root.path().join("tests/test_calc.py"),
        "import pytest\nfrom calc import add\n\n\ndef test_adds():\n    assert add(1, 2) == 3\n\n\n\
         class TestMore:\n    @pytest.mark.parametrize('a', ['x - y', 'z'])\n    def test_text(self, a):\n        assert a == 'z'\n\n\n\
         @pytest.fixture\ndef broken():\n    raise RuntimeError('no')\n\n\ndef test_setup(broken):\n    pass\n",
    );
    write(
        &root.path().join("tests/test_import.py"),
        "import no_such_module\n",
    );
    let plan = crate::tools::checks::detect::detect(root.path(), &|_| true).remove(0);
    let check = checked(root.path(), plan, LIMIT, None).await;
    let ids: Vec<_> = check.failures.iter().map(|failure| failure.id.as_str()).collect();
    assert!(check.tail.contains("no_such_module"), "{}", check.tail);
    assert_eq!(
        ids,
        ["tests/test_import.py"],
        "a broken module keeps pytest from running the others"
    );
    std::fs::remove_file(root.path().join("tests/test_import.py")).unwrap();
    let plan = crate::tools::checks::detect::detect(root.path(), &|_| true).remove(0);
    let check = checked(root.path(), plan, LIMIT, None).await;
    let counts = check.counts.expect("counted");
    assert_eq!(
        (counts.passed, counts.failed, counts.errors),
        (1, 2, 1),
        "{}",
        check.tail
    );
    let mut ids: Vec<_> = check.failures.iter().map(|failure| failure.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(
        ids,
        [
            "tests/test_calc.py::TestMore::test_text[x - y]",
            "tests/test_calc.py::test_adds",
            "tests/test_calc.py::test_setup"
        ]
    );
    let adds = check
        .failures
        .iter()
        .find(|failure| failure.id.ends_with("test_adds"))
        .unwrap();
    assert_eq!(
        (adds.file.as_deref(), adds.line),
        (Some("tests/test_calc.py"), Some(6))
    );
    assert!(adds.message.contains("assert -1 == 3"), "{}", adds.message);
    assert!(
        !root.path().join("tests/__pycache__").exists(),
        "compiled files hide edits of the same second"
    );
}

#[tokio::test]
async fn real_tests_of_go_are_read() {
    if Toolchains::of_this_process().find("go").is_none() {
        eprintln!("SKIP: go is not on this machine");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    write(
        &root.path().join("go.mod"),
        "module example.org/demo\n\ngo 1.21\n",
    );
    write(
        &root.path().join("add.go"),
        "package demo\n\nfunc Add(a, b int) int { return a - b }\n",
    );
    write(
        &root.path().join("add_test.go"),
        "package demo\n\nimport \"testing\"\n\nfunc TestAdd(t *testing.T) {\n\tif Add(1, 2) != 3 {\n\t\tt.Errorf(\"got %d\", Add(1, 2))\n\t}\n}\n\n\
         func TestTable(t *testing.T) {\n\tt.Run(\"one\", func(t *testing.T) {})\n\tt.Run(\"two\", func(t *testing.T) { t.Fatal(\"two\") })\n}\n",
    );
    let plan = crate::tools::checks::detect::detect(root.path(), &|_| true).remove(0);
    // the standard library is built too, and once only
    let check = checked(root.path(), plan.clone(), LIMIT * 4, None).await;
    let ids: Vec<_> = check.failures.iter().map(|failure| failure.id.as_str()).collect();
    assert_eq!(
        ids,
        ["example.org/demo.TestAdd", "example.org/demo.TestTable/two"],
        "{}",
        check.tail
    );
    assert_eq!(check.failures[0].message, "got -1");
    assert_eq!(
        (check.failures[0].file.as_deref(), check.failures[0].line),
        (Some("add_test.go"), Some(7))
    );
    write(
        &root.path().join("add.go"),
        "package demo\n\nfunc Add(a, b int) int { return x }\n",
    );
    let check = checked(root.path(), plan, LIMIT, None).await;
    let ids: Vec<_> = check.failures.iter().map(|failure| failure.id.as_str()).collect();
    assert_eq!(ids[0], "error in ./add.go: undefined: x", "{}", check.tail);
}
