use proptest::prelude::*;

use super::*;

fn ids(findings: &Findings) -> Vec<&str> {
    findings
        .failures
        .iter()
        .map(|failure| failure.id.as_str())
        .collect()
}

fn counted(passed: u64, failed: u64, errors: u64, skipped: u64) -> Counts {
    Counts {
        passed,
        failed,
        errors,
        skipped,
    }
}

const LIBTEST: &str = "   Compiling demo v0.1.0 (/tmp/demo)
    Finished `test` profile [unoptimized + debuginfo] target(s) in 0.40s
     Running unittests src/lib.rs (target/debug/deps/demo-0123456789abcdef)

running 3 tests
test tests::adds ... FAILED
test tests::slow ... ignored
test tests::subtracts ... ok

failures:

---- tests::adds stdout ----

thread 'tests::adds' (4711) panicked at src/lib.rs:12:9:
assertion `left == right` failed
  left: 5
 right: 4
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    tests::adds

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/it.rs (target/debug/deps/it-0123456789abcdef)

running 1 test
test adds ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests demo

running 1 test
test src/lib.rs - add (line 3) ... FAILED

failures:

---- src/lib.rs - add (line 3) stdout ----
Test executable failed (exit status: 101).

failures:
    src/lib.rs - add (line 3)

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.2s
";

#[test]
fn libtest_output_is_read_per_target() {
    let findings = parse(Runner::Libtest, LIBTEST);
    assert_eq!(findings.counts, Some(counted(2, 2, 0, 1)));
    assert_eq!(
        ids(&findings),
        ["demo::tests::adds", "demo::src/lib.rs - add (line 3)"]
    );
    let first = &findings.failures[0];
    assert_eq!(
        (first.file.as_deref(), first.line),
        (Some("src/lib.rs"), Some(12))
    );
    assert_eq!(
        first.message,
        "assertion `left == right` failed\n  left: 5\n right: 4"
    );
    assert_eq!(parse(Runner::Unknown, LIBTEST), findings);
}

#[test]
fn rust_compile_errors_have_a_place() {
    let text = "error[E0308]: mismatched types
 --> src/lib.rs:2:5
  |
2 |     \"x\"
  |     ^^^ expected `i32`, found `&str`

error: could not compile `demo` (lib) due to 1 previous error
";
    let findings = parse(Runner::Libtest, text);
    assert_eq!(findings.counts, None);
    assert_eq!(ids(&findings), ["error in src/lib.rs: mismatched types"]);
    assert_eq!(findings.failures[0].line, Some(2));
    assert!(findings.failures[0].message.contains("expected `i32`"));
}

#[test]
fn pytest_output_is_read_in_quiet_and_loud_form() {
    let text = "F.E                                                                      [100%]
==================================== ERRORS ====================================
_________________________ ERROR at setup of test_three _________________________
E       fixture 'nope' not found
tests/test_a.py:9
=================================== FAILURES ===================================
________________________________ TestX.test_one ________________________________

    def test_one(self):
>       assert add(1, 2) == 4
E       assert 3 == 4
E        +  where 3 = add(1, 2)

tests/test_a.py:5: AssertionError
=========================== short test summary info ============================
FAILED tests/test_a.py::TestX::test_one - assert 3 == 4
ERROR tests/test_a.py::test_three
ERROR tests/test_b.py - ModuleNotFoundError: No module named 'x'
1 failed, 1 passed, 2 errors, 3 skipped in 0.03s
";
    let findings = parse(Runner::Pytest, text);
    assert_eq!(findings.counts, Some(counted(1, 1, 2, 3)));
    assert_eq!(
        ids(&findings),
        [
            "tests/test_a.py::TestX::test_one",
            "tests/test_a.py::test_three",
            "tests/test_b.py"
        ]
    );
    let first = &findings.failures[0];
    assert_eq!(
        (first.file.as_deref(), first.line),
        (Some("tests/test_a.py"), Some(5))
    );
    assert!(first.message.contains("assert 3 == 4") && first.message.contains("where 3"));
    assert!(findings.failures[1].message.contains("fixture 'nope'"));
    let loud =
        "============================== 2 passed, 1 warning in 0.01s ===============================\n";
    assert_eq!(parse(Runner::Unknown, loud).counts, Some(counted(2, 0, 0, 0)));
    let parametrized = "FAILED test_p.py::test_x[a - b] - assert 0\n1 failed in 0.01s\n";
    assert_eq!(parse(Runner::Pytest, parametrized).failures.len(), 1);
}

const GO_VERBOSE: &str = "=== RUN   TestAdd
    add_test.go:7: got 5, want 4
--- FAIL: TestAdd (0.00s)
=== RUN   TestTable
=== RUN   TestTable/one
=== RUN   TestTable/two
    add_test.go:20: two is wrong
--- FAIL: TestTable (0.00s)
    --- PASS: TestTable/one (0.00s)
    --- FAIL: TestTable/two (0.00s)
=== RUN   TestSkip
--- SKIP: TestSkip (0.00s)
FAIL
FAIL\texample.org/demo\t0.002s
ok  \texample.org/demo/sub\t0.001s
?   \texample.org/demo/none\t[no test files]
FAIL
";

#[test]
fn go_output_is_read_by_package() {
    let findings = parse(Runner::Go, GO_VERBOSE);
    assert_eq!(findings.counts, Some(counted(1, 2, 0, 1)));
    assert_eq!(
        ids(&findings),
        ["example.org/demo.TestAdd", "example.org/demo.TestTable/two"]
    );
    assert_eq!(findings.failures[0].message, "got 5, want 4");
    assert_eq!(findings.failures[0].line, Some(7));
    let short = "--- FAIL: TestAdd (0.00s)\n    add_test.go:7: got 5, want 4\nFAIL\nFAIL\texample.org/demo\t0.002s\nFAIL\n";
    let findings = parse(Runner::Go, short);
    assert_eq!(ids(&findings), ["example.org/demo.TestAdd"]);
    assert_eq!(findings.failures[0].file.as_deref(), Some("add_test.go"));
}

#[test]
fn go_build_failures_and_json_are_read() {
    let text = "# example.org/demo [example.org/demo.test]\n./add.go:4:9: undefined: x\nFAIL\texample.org/demo [build failed]\nFAIL\n";
    let findings = parse(Runner::Go, text);
    assert_eq!(findings.counts, Some(counted(0, 0, 1, 0)));
    assert_eq!(
        ids(&findings),
        ["error in ./add.go: undefined: x", "example.org/demo"]
    );
    assert_eq!(findings.failures[0].file.as_deref(), Some("add.go"));
    let json: String = GO_VERBOSE
        .lines()
        .map(|line| {
            serde_json::json!({"Action": "output", "Package": "p", "Output": format!("{line}\n")}).to_string()
                + "\n"
        })
        .collect();
    assert_eq!(parse(Runner::Go, &json), parse(Runner::Go, GO_VERBOSE));
    assert_eq!(readable(&json), GO_VERBOSE);
}

#[test]
fn tap_of_node_keeps_the_values_that_an_assertion_compared() {
    let text = "TAP version 13
not ok 1 - deep
  ---
  error: |-
    Expected values to be strictly deep-equal:
    + actual - expected

      {
    +   b: 2
    -   b: 3
      }
    ...
  code: 'ERR_ASSERTION'
  expected:
    b: 3
  actual:
    b: 2
  stack: |-
    TestContext.<anonymous> (/repo/a.test.js:3:27)
  ...
not ok 2 - plain
  ---
  error: 'they differ'
  expected: 'y'
  actual: 'x'
  ...
not ok 3 - own words
  ---
  error: 'sizes differ'
  expected:
    0: 1
  actual:
    0: 2
  operator: 'deepEqual'
  ...
1..3
";
    let findings = parse(Runner::Node, text);
    let messages: Vec<&str> = findings
        .failures
        .iter()
        .map(|failure| failure.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "Expected values to be strictly deep-equal:\n+ actual - expected\n\n  {\n+   b: 2\n-   b: 3\n  }\n...",
            "they differ\nexpected: 'y'\nactual: 'x'",
            "sizes differ\nexpected:\n0: 1\nactual:\n0: 2",
        ]
    );
}

#[test]
fn tap_of_node_counts_leaves_and_names_them_by_their_parents() {
    let text = "TAP version 13
# Subtest: math
    # Subtest: adds
    not ok 1 - adds
      ---
      duration_ms: 0.5
      location: '/repo/test/math.test.js:5:3'
      failureType: 'testCodeFailure'
      error: |-
        Expected values to be strictly equal:

        5 !== 4

      code: 'ERR_ASSERTION'
      ...
    # Subtest: subtracts
    ok 2 - subtracts
      ---
      duration_ms: 0.1
      ...
    1..2
not ok 1 - math
  ---
  failureType: 'subtestsFailed'
  error: '1 subtest failed'
  ...
# Subtest: later
ok 2 - later # SKIP not now
1..2
# tests 3
# pass 1
# fail 1
";
    let findings = parse(Runner::Node, text);
    assert_eq!(findings.counts, Some(counted(1, 1, 0, 1)));
    assert_eq!(ids(&findings), ["math > adds"]);
    let failure = &findings.failures[0];
    assert_eq!(
        (failure.file.as_deref(), failure.line),
        (Some("/repo/test/math.test.js"), Some(5))
    );
    assert_eq!(
        failure.message,
        "Expected values to be strictly equal:\n\n5 !== 4"
    );
    let plain = "1..3\nok 1 - a\nnot ok 2 - b\nok 3\n";
    assert_eq!(parse(Runner::Unknown, plain).counts, Some(counted(2, 1, 0, 0)));
    // a script that merely says ok is no TAP
    assert_eq!(
        parse(Runner::Unknown, "ok then\nnot ok at all\n"),
        Findings::default()
    );
}

#[test]
fn the_spec_form_of_node_is_read() {
    let text = "✖ adds (1.2ms)
✔ subtracts (0.1ms)
ℹ tests 2
ℹ suites 0
ℹ pass 1
ℹ fail 1
ℹ cancelled 0
ℹ skipped 0
ℹ todo 0
ℹ duration_ms 50

✖ failing tests:

test at test/math.test.js:5:1
✖ adds (1.2ms)
  AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:

  5 !== 4
      at TestContext.<anonymous> (/repo/test/math.test.js:6:10)
";
    let findings = parse(Runner::Node, text);
    assert_eq!(findings.counts, Some(counted(1, 1, 0, 0)));
    assert_eq!(ids(&findings), ["test/math.test.js > adds"]);
    assert!(findings.failures[0].message.contains("5 !== 4"));
}

#[test]
fn junit_reports_are_read() {
    let text = r#"<?xml version="1.0"?><testsuites><testsuite name="s" tests="4">
<!-- <testcase name="no"/> -->
<testcase classname="a.B" name="one" file="a.py" line="3"><failure message="3 &lt; 4 &amp; more">trace</failure></testcase>
<testcase classname="a.B" name="two > three"/>
<testcase name="four"><skipped/></testcase>
<testcase name="five"><error><![CDATA[<testcase name="x">boom]]></error></testcase>
</testsuite></testsuites>"#;
    let findings = junit::parse(text).expect("a report");
    assert_eq!(findings.counts, Some(counted(1, 1, 1, 1)));
    assert_eq!(ids(&findings), ["a.B::one", "five"]);
    assert_eq!(findings.failures[0].message, "3 < 4 & more");
    assert_eq!(findings.failures[0].line, Some(3));
    assert!(findings.failures[1].message.contains("boom"));
    assert_eq!(junit::parse("<html/>"), None);
}

#[test]
fn colours_are_taken_out() {
    assert_eq!(readable("\u{1b}[31mred\u{1b}[0m \u{1b}]0;t\u{7}x"), "red x");
}

proptest! {
    #[test]
    fn no_output_breaks_a_parser(text in "(?s)[ \\t]{0,4}(not ok|ok|FAIL|---|test|error|E  |<testcase|<failure|✖|ℹ|\\{|.){0,40}.{0,200}") {
        for runner in [Runner::Libtest, Runner::Go, Runner::Pytest, Runner::Node, Runner::Unknown] {
            let _ = parse(runner, &text);
        }
        let _ = junit::parse(&text);
        let _ = junit::parse(&format!("<testsuite>{text}"));
        let _ = readable(&text);
    }
}
