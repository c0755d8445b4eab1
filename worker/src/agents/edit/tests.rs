//! Replies as models really write them, damaged in every known way, against
//! real files; and properties over generated ones.

use std::{collections::BTreeSet, fs};

use proptest::prelude::*;
use protocol::documents::{EditProtocol, EditStatus};

use super::{
    EditOp,
    apply::{Cause, Staged, stage},
    parse::parse,
    repair,
    tree::Tree,
};

const FILE: &str = "import os\n\n\ndef area(w, h):\n    if w < 0:\n        raise ValueError('negative width')\n    return w + h\n\n\ndef perimeter(w, h):\n    return 2 * (w + h)\n";

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn with(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().expect("a parent")).expect("folders");
            fs::write(file, text).expect("a file");
        }
        Self { dir }
    }

    fn tree(&self) -> Tree {
        Tree::open(self.dir.path(), &[]).expect("a tree")
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.path().join(path)).expect("readable")
    }

    fn stage(&self, protocol: EditProtocol, reply: &str) -> Staged {
        let parsed = parse(protocol, reply);
        assert_eq!(parsed.problems, [], "{reply}");
        assert!(!parsed.ops.is_empty(), "no edit in {reply}");
        stage(&self.tree(), &parsed.ops, &BTreeSet::new())
    }

    /// Applies a reply that must fit; gives how the first edit was found.
    fn apply(&self, protocol: EditProtocol, reply: &str) -> String {
        let staged = self.stage(protocol, reply);
        assert_eq!(staged.failures, [], "{reply}");
        let matched = staged.reports()[0].matched.clone().unwrap_or_default();
        staged.write().expect("written");
        matched
    }

    /// The only failure of a reply that must not fit; checks that nothing is written.
    fn refusal(&self, protocol: EditProtocol, reply: &str) -> (Cause, String) {
        let staged = self.stage(protocol, reply);
        let reports = staged.reports();
        assert!(
            reports.iter().all(|report| report.status != EditStatus::Applied),
            "{reply}"
        );
        let [failure] = staged.failures.as_slice() else {
            panic!("one failure wanted, got {:?} for {reply}", staged.failures);
        };
        (failure.cause, repair::prompt(protocol, &[], &staged.failures, 0))
    }
}

fn block(path: &str, search: &str, replace: &str) -> String {
    format!("{path}\n```\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n```\n")
}

const CHECK: &str = "        raise ValueError('negative width')\n";
const FIXED: &str = "    return w * h\n";

#[test]
fn every_protocol_mends_the_same_bug() {
    let whole = format!(
        "Here it is:\n\nm.py\n```python\n{}```\nDone.",
        FILE.replace("w + h\n", "w * h\n")
    );
    let replies = [
        (EditProtocol::WholeFile, whole),
        (EditProtocol::SearchReplace, block("m.py", &format!("{CHECK}    return w + h\n"), &format!("{CHECK}{FIXED}"))),
        (
            EditProtocol::ApplyPatch,
            "*** Begin Patch\n*** Update File: m.py\n@@ def area(w, h):\n         raise ValueError('negative width')\n-    return w + h\n+    return w * h\n*** End Patch".to_owned(),
        ),
        (
            EditProtocol::UnifiedDiff,
            "```diff\n--- a/m.py\n+++ b/m.py\n@@ -99,7 +99,7 @@\n         raise ValueError('negative width')\n-    return w + h\n+    return w * h\n \n \n```".to_owned(),
        ),
    ];
    for (protocol, reply) in replies {
        let bench = Bench::with(&[("m.py", FILE)]);
        bench.apply(protocol, &reply);
        assert_eq!(
            bench.read("m.py"),
            FILE.replace("w + h\n", "w * h\n"),
            "{protocol:?}"
        );
        let again = bench.stage(EditProtocol::WholeFile, &reply);
        assert_eq!(
            (again.failures.len(), again.changed().len()),
            (0, 0),
            "{protocol:?}"
        );
    }
}

#[test]
fn damaged_searches_are_found_by_the_right_rung() {
    let damaged = [
        ("exact", "    return w + h\n", FIXED),
        ("trailing_space", "    return w + h   \n", FIXED),
        ("indentation", "\treturn w + h\n", "\treturn w * h\n"),
        ("indentation", "return w + h\n", "return w * h\n"),
        (
            "punctuation",
            "        raise ValueError(\u{2018}negative width\u{2019})\n    return w + h\n",
            "        raise ValueError(\u{2018}negative width\u{2019})\n    return w * h\n",
        ),
        ("blank_lines", "\n    return w + h\n", "\n    return w * h\n"),
        (
            "similar",
            "        raise ValueError('negatve width')\n    return w + h\n",
            "        raise ValueError('negatve width')\n    return w * h\n",
        ),
    ];
    for (rung, search, replace) in damaged {
        let bench = Bench::with(&[("m.py", FILE)]);
        let matched = bench.apply(EditProtocol::SearchReplace, &block("m.py", search, replace));
        assert_eq!(matched, rung);
        assert_eq!(bench.read("m.py"), FILE.replace("w + h\n", "w * h\n"), "{rung}");
    }
}

#[test]
fn thinking_and_prose_around_do_not_matter() {
    let bench = Bench::with(&[("m.py", FILE)]);
    let reply = format!(
        "<think>I could do\n{}</think>\nSure, the bug is in `area`:\n\n{}\nLet me know!",
        block("m.py", "import os\n", "import sys\n"),
        block("m.py", "    return w + h\n", FIXED)
    );
    bench.apply(EditProtocol::SearchReplace, &reply);
    assert_eq!(bench.read("m.py"), FILE.replace("w + h\n", "w * h\n"));
}

#[test]
fn what_is_not_clear_is_refused_with_the_real_lines() {
    let twice = "fn a() {\n    go();\n}\nfn b() {\n    go();\n}\n";
    let bench = Bench::with(&[("m.rs", twice)]);
    let (cause, prompt) = bench.refusal(
        EditProtocol::SearchReplace,
        &block("m.rs", "    go();\n", "    stop();\n"),
    );
    assert_eq!(cause, Cause::Ambiguous);
    assert!(
        prompt.contains("at lines 2, 5") && prompt.contains("    4 | fn b() {"),
        "{prompt}"
    );
    let (cause, prompt) = bench.refusal(
        EditProtocol::SearchReplace,
        &block("m.rs", "fn c() {\n    walk();\n", "x\n"),
    );
    assert_eq!(cause, Cause::NotFound);
    assert!(
        prompt.contains("does not stand in `m.rs`") && prompt.contains("The file has"),
        "{prompt}"
    );
    let anchored =
        "*** Begin Patch\n*** Update File: m.rs\n@@ fn b() {\n-    go();\n+    stop();\n*** End Patch";
    bench.apply(EditProtocol::ApplyPatch, anchored);
    assert_eq!(
        bench.read("m.rs"),
        "fn a() {\n    go();\n}\nfn b() {\n    stop();\n}\n"
    );
}

#[test]
fn paths_outside_and_elisions_are_refused() {
    let bench = Bench::with(&[("m.py", FILE)]);
    for path in ["../m.py", "/etc/passwd.txt", ".git/config.py"] {
        let reply = format!("{path}\n```\nx = 1\n```\n");
        assert_eq!(
            bench.refusal(EditProtocol::WholeFile, &reply).0,
            Cause::Refused,
            "{path}"
        );
    }
    let elided = "m.py\n```\nimport os\n\ndef area(w, h):\n    return w * h\n\n# ... rest unchanged\n```\n";
    assert_eq!(bench.refusal(EditProtocol::WholeFile, elided).0, Cause::Elided);
    let elided = block("m.py", "import os\n", "import os\n# … rest unchanged\n");
    assert_eq!(
        bench.refusal(EditProtocol::SearchReplace, &elided).0,
        Cause::Elided
    );
}

#[test]
fn one_bad_edit_refuses_the_whole_reply() {
    let bench = Bench::with(&[("m.py", FILE)]);
    let reply = block("m.py", "    return w + h\n", FIXED) + &block("m.py", "nowhere to be seen\n", "x\n");
    let staged = bench.stage(EditProtocol::SearchReplace, &reply);
    assert_eq!((staged.failures.len(), staged.fitting.len()), (1, 1));
    assert!(
        staged
            .reports()
            .iter()
            .all(|report| report.status == EditStatus::Failed)
    );
    assert_eq!(bench.read("m.py"), FILE);
}

#[test]
fn an_edit_that_is_there_already_is_not_made_twice() {
    let bench = Bench::with(&[("m.py", FILE)]);
    let reply = block("m.py", "import os\n", "import os\nimport sys\n");
    bench.apply(EditProtocol::SearchReplace, &reply);
    let again = bench.stage(EditProtocol::SearchReplace, &reply);
    assert_eq!(again.reports()[0].status, EditStatus::Already);
    assert_eq!(again.changed().len(), 0);
}

#[test]
fn a_file_that_nearly_vanishes_must_be_confirmed() {
    let long: String = "one of many lines\n".repeat(120);
    let bench = Bench::with(&[("a.txt", &long), ("m.py", FILE), ("n.txt", "a\nb\nc\nd\ne\nf\n")]);
    let reply = "a.txt\n```\none of many lines\n```\n";
    assert_eq!(bench.refusal(EditProtocol::WholeFile, reply).0, Cause::Shrinks);
    assert_eq!(
        bench
            .refusal(EditProtocol::WholeFile, "m.py\n```\nimport os\n```\n")
            .0,
        Cause::Shrinks
    );
    bench.apply(EditProtocol::WholeFile, "n.txt\n```\na\n```\n");
    let ops = parse(EditProtocol::WholeFile, reply).ops;
    let staged = stage(&bench.tree(), &ops, &BTreeSet::from(["a.txt".to_owned()]));
    assert_eq!(staged.failures, []);
}

#[test]
fn files_are_made_moved_and_deleted_and_keep_their_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::with(&[("run.sh", "echo a\r\necho b"), ("old.txt", "x\n")]);
    let script = bench.dir.path().join("run.sh");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a mode");
    let reply = block("run.sh", "echo b\n", "echo c\n")
        + &block("new/deep.txt", "", "hello\n")
        + &block("flat.txt", "", "hi\n")
        + "DELETE FILE: old.txt\nMOVE FILE: run.sh -> bin/run.sh\n";
    bench.apply(EditProtocol::SearchReplace, &reply);
    assert_eq!(bench.read("bin/run.sh"), "echo a\r\necho c");
    assert_eq!(bench.read("new/deep.txt"), "hello\n");
    assert_eq!(bench.read("flat.txt"), "hi\n");
    assert!(!script.exists() && !bench.dir.path().join("old.txt").exists());
    let mode = fs::metadata(bench.dir.path().join("bin/run.sh"))
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o755);
    let left: Vec<_> = fs::read_dir(bench.dir.path()).expect("a folder").collect();
    assert_eq!(left.len(), 3, "no temporary file is left: {left:?}");
}

fn protocols() -> impl Strategy<Value = EditProtocol> {
    prop_oneof![
        Just(EditProtocol::WholeFile),
        Just(EditProtocol::SearchReplace),
        Just(EditProtocol::ApplyPatch),
        Just(EditProtocol::UnifiedDiff),
    ]
}

/// Lines that mean something to some parser, in any order.
fn reply_lines() -> impl Strategy<Value = Vec<String>> {
    let line = prop_oneof![
        prop::sample::select(vec![
            "```",
            "````",
            "~~~",
            "```rust src/a.rs",
            "src/a.rs",
            "<<<<<<< SEARCH",
            "=======",
            "=====",
            ">>>>>>> REPLACE",
            "*** Begin Patch",
            "*** End Patch",
            "*** Update File: a",
            "*** Add File: b",
            "*** Move to: é",
            "@@",
            "@@ x @@",
            "--- a/x",
            "+++ b/x",
            "--- ",
            "+++ /dev/null",
            "+é",
            "-",
            "",
            "<think>",
            "</think>",
            "DELETE FILE: x",
            "MOVE FILE: a -> b.c",
            "rename from a",
            "rename to b",
            "1. `é`:",
            "…",
            "**",
            "# é",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    prop::collection::vec(line, 0..24)
}

/// A small file in which blocks repeat, and a place in it.
fn repetitive() -> impl Strategy<Value = (Vec<String>, usize, usize)> {
    let line = prop::sample::select(vec![
        "fn a() {",
        "    go(1);",
        "    go(2);",
        "}",
        "",
        "\tx",
        "    x",
        "let long_name = value;",
    ]);
    prop::collection::vec(line.prop_map(str::to_owned), 1..24).prop_flat_map(|lines| {
        let n = lines.len();
        (Just(lines), 0..n, 1..5_usize).prop_map(move |(lines, at, len)| (lines, at, len.min(n - at)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_reply_makes_the_parser_panic(protocol in protocols(), lines in reply_lines()) {
        let parsed = parse(protocol, &lines.join("\n"));
        for op in parsed.ops {
            prop_assert!(!op.path().is_empty() || parsed.protocol != EditProtocol::WholeFile);
        }
    }

    /// A block that is taken from a file either changes exactly that block or is
    /// refused because it stands there more than once.
    #[test]
    fn no_edit_lands_in_a_wrong_place((lines, at, len) in repetitive()) {
        let text = lines.join("\n") + "\n";
        let bench = Bench::with(&[("f.rs", &text)]);
        let search = lines[at..at + len].join("\n") + "\n";
        let op = EditOp::Replace {
            path: "f.rs".into(),
            search: search.clone(),
            replace: "REPLACED_BY_SOMETHING_NEW\n".into(),
            anchor: None,
        };
        let staged = stage(&bench.tree(), &[op], &BTreeSet::new());
        let places = lines.windows(len).filter(|window| *window == &lines[at..at + len]).count();
        let blank = search.trim().is_empty();
        if places == 1 && !blank {
            prop_assert_eq!(&staged.failures, &[]);
            staged.write().expect("written");
            let mut wanted = lines.clone();
            wanted.splice(at..at + len, ["REPLACED_BY_SOMETHING_NEW".to_owned()]);
            prop_assert_eq!(bench.read("f.rs"), wanted.join("\n") + "\n");
        } else if !(blank && text.trim().is_empty()) {
            prop_assert_eq!(staged.failures.len(), 1);
        }
    }

    /// One character changed in a block: either the right block is replaced or none.
    #[test]
    fn a_slip_never_edits_another_place((lines, at, len) in repetitive(), slip in 0..200_usize) {
        let text = lines.join("\n") + "\n";
        let mut search: Vec<char> = (lines[at..at + len].join("\n") + "\n").chars().collect();
        let position = slip % search.len();
        if search[position] != '\n' {
            search[position] = 'q';
        }
        let bench = Bench::with(&[("f.rs", &text)]);
        let op = EditOp::Replace {
            path: "f.rs".into(),
            search: search.into_iter().collect(),
            replace: "REPLACED_BY_SOMETHING_NEW\n".into(),
            anchor: None,
        };
        let staged = stage(&bench.tree(), &[op], &BTreeSet::new());
        if staged.failures.is_empty() && !staged.changed().is_empty() && !text.trim().is_empty() {
            staged.write().expect("written");
            let solid = |lines: &[String]| -> Vec<String> {
                lines.iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
            };
            let mut wanted = lines.clone();
            wanted.splice(at..at + len, ["REPLACED_BY_SOMETHING_NEW".to_owned()]);
            let got: Vec<String> = bench.read("f.rs").lines().map(str::to_owned).collect();
            prop_assert_eq!(solid(&got), solid(&wanted));
        }
    }
}
