//! What codegen keeps and asks again while a reply does not fit as a whole.

use std::fs;

use super::*;

const PROTOCOL: EditProtocol = EditProtocol::SearchReplace;

fn codegen(dir: &tempfile::TempDir) -> Codegen {
    fs::write(dir.path().join("a.py"), "one = 1\ntwo = 2\n").expect("a file");
    let tree = Tree::open(dir.path(), &[]).expect("a tree");
    let brief = Brief {
        task: "change a.py".to_owned(),
        ..Brief::default()
    };
    Codegen::new(
        "You write.\n",
        brief,
        tree,
        RepoMap::scan(dir.path(), "change a.py"),
    )
}

fn block(path: &str, search: &str, replace: &str) -> String {
    format!("{path}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n")
}

fn text(dir: &tempfile::TempDir) -> String {
    fs::read_to_string(dir.path().join("a.py")).expect("a file")
}

#[test]
fn edits_that_fit_wait_for_the_repaired_ones() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut role = codegen(&dir);
    let first = block("a.py", "one = 1", "one = 11") + &block("a.py", "three = 3", "three = 33");
    assert!(matches!(role.judge(&first, PROTOCOL), Ok(Judged::Unfit { .. })));
    let repair = role.ask(Ask::Repair, PROTOCOL, 1000);
    assert!(
        repair.contains("three = 3") && repair.contains("are kept (1)"),
        "{repair}"
    );
    assert!(repair.contains("With your other edits the file has"), "{repair}");
    assert_eq!(
        repair.matches("###").count(),
        1,
        "only failed edits are repeated: {repair}"
    );
    assert_eq!(text(&dir), "one = 1\ntwo = 2\n");
    // the model repeats the block that was kept, which changes nothing
    let second = block("a.py", "one = 1", "one = 11") + &block("a.py", "two = 2", "two = 22");
    let Ok(Judged::Accepted(edited)) = role.judge(&second, PROTOCOL) else {
        panic!("both fit");
    };
    assert_eq!(edited.ops.len(), 2);
    assert_eq!(text(&dir), "one = 11\ntwo = 22\n");
}

#[test]
fn a_whole_file_replaces_what_was_kept_for_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut role = codegen(&dir);
    let first = block("a.py", "one = 1", "one = 11") + &block("a.py", "three = 3", "three = 33");
    assert!(matches!(role.judge(&first, PROTOCOL), Ok(Judged::Unfit { .. })));
    let whole = "a.py\n```\none = 10\ntwo = 20\n```\n";
    assert!(matches!(
        role.judge(whole, EditProtocol::WholeFile),
        Ok(Judged::Accepted(_))
    ));
    assert_eq!(text(&dir), "one = 10\ntwo = 20\n");
}

#[test]
fn equal_failures_have_equal_signatures() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut role = codegen(&dir);
    let mut signature = |reply: &str| match role.judge(reply, PROTOCOL) {
        Ok(Judged::Unfit { signature }) => signature,
        other => panic!("{other:?}"),
    };
    let first = signature(&block("a.py", "three = 3", "x = 1"));
    assert_eq!(first, signature(&block("a.py", "three = 3", "x = 1")));
    assert_ne!(first, signature(&block("a.py", "four = 4", "x = 1")));
}

#[test]
fn a_file_that_nearly_vanishes_is_asked_about_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut role = codegen(&dir);
    fs::write(
        dir.path().join("a.py"),
        "def f(x):\n".to_owned() + &"    x = x + 1\n".repeat(20),
    )
    .expect("a file");
    let tiny = "a.py\n```\none = 1\n```\n";
    assert_eq!(role.judge(tiny, EditProtocol::WholeFile), Ok(Judged::Doubtful));
    let question = role.ask(Ask::Confirm, EditProtocol::WholeFile, 1000);
    assert!(question.contains("from 21 to 1 lines and drop f"), "{question}");
    assert!(matches!(
        role.judge(tiny, EditProtocol::WholeFile),
        Ok(Judged::Accepted(_))
    ));
}

#[test]
fn the_opening_shows_files_of_plan_and_findings_and_only_one_protocol() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("test_a.py"), "assert one == 1\n").expect("a file");
    let with = serde_json::json!({
        "task": "change it",
        "plan": {"summary": "s", "items": [{"title": "t", "files": [{"path": "a.py"}, {"path": "new.py"}]}]},
        "report": {"checks": [{"name": "pytest", "exit": 1, "failures": [{"id": "t", "file": "test_a.py"}]}]},
    });
    fs::write(dir.path().join("a.py"), "one = 1\n").expect("a file");
    let tree = Tree::open(dir.path(), &[]).expect("a tree");
    let brief = Brief::read(with.as_object().expect("an object"));
    let role = Codegen::new("You write.", brief, tree, RepoMap::scan(dir.path(), ""));
    let opening = role.opening(10_000);
    let at = |text: &str| {
        opening
            .find(text)
            .unwrap_or_else(|| panic!("{text} is missing in {opening}"))
    };
    let order = [
        "## Repository map",
        "## File `a.py`",
        "## File `new.py`",
        "## File `test_a.py`",
        "## Plan",
        "## Checks of the last change",
        "## Task",
    ];
    assert!(order.map(at).is_sorted(), "{opening}");
    let system = role.system(EditProtocol::ApplyPatch);
    assert!(
        system.contains("*** Begin Patch") && !system.contains("<<<<<<<"),
        "{system}"
    );
    let little = role.opening(300);
    assert!(
        little.contains("## File `a.py`") && !little.contains("## Repository map"),
        "{little}"
    );
}
