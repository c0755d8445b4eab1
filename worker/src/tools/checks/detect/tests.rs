use super::*;
use crate::testing::write;

fn detected(files: &[(&str, &str)], programs: &[&str]) -> Vec<(String, Option<String>)> {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(&root.path().join(path), text);
    }
    let plans = detect(root.path(), &|program| programs.contains(&program));
    plans
        .into_iter()
        .map(|plan| (plan.argv.join(" "), plan.skip))
        .collect()
}

fn commands(files: &[(&str, &str)]) -> Vec<String> {
    detected(files, &[])
        .into_iter()
        .map(|(command, _)| command)
        .collect()
}

#[test]
fn each_kind_of_repository_has_its_runner() {
    assert_eq!(
        commands(&[("Cargo.toml", "")]),
        ["cargo test --workspace --no-fail-fast"]
    );
    assert_eq!(commands(&[("go.mod", "")]), ["go test -v ./..."]);
    assert!(commands(&[("tests/test_a.py", "")])[0].starts_with("python3 -m pytest"));
    assert_eq!(commands(&[("a_test.py", ""), ("setup.py", "")]), [""; 0]);
    assert_eq!(
        commands(&[("package.json", r#"{"scripts":{"test":"node --test"}}"#)]),
        ["npm test --silent"]
    );
    assert_eq!(
        commands(&[("package.json", "{}"), ("lib/a.test.js", "")]),
        ["node --test"]
    );
    assert_eq!(commands(&[("package.json", "{}")]), [""; 0]);
    assert_eq!(
        commands(&[("Makefile", "CC := gcc\n.PHONY: test\nall test: x\n\ttrue\n")]),
        ["make test"]
    );
    assert_eq!(commands(&[("Makefile", "check:\n\ttrue\n")]), ["make check"]);
    assert_eq!(commands(&[("test.sh", "#!/bin/bash\n")]), ["bash test.sh"]);
    assert_eq!(commands(&[("tests/run.sh", "")]), ["sh tests/run.sh"]);
    assert_eq!(commands(&[("README.md", "")]), [""; 0]);
}

#[test]
fn make_and_scripts_give_way_to_manifests_and_subfolders_are_projects() {
    assert_eq!(
        commands(&[("Cargo.toml", ""), ("Makefile", "test:\n"), ("test.sh", "")]).len(),
        1
    );
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("backend/go.mod"), "");
    write(&root.path().join("node_modules/x/go.mod"), "");
    let plans = detect(root.path(), &|_| true);
    assert_eq!((plans.len(), plans[0].name.as_str()), (1, "go test (backend)"));
    assert_eq!(plans[0].dir, Path::new("backend"));
}

#[test]
fn linters_inform_where_they_are_configured() {
    let files = [
        ("Cargo.toml", "[lints.clippy]\n"),
        ("rustfmt.toml", ""),
        ("go.sum", ""),
    ];
    let found = detected(&files, &["cargo-clippy"]);
    assert_eq!(found.len(), 3);
    assert!(found[1].0.contains("fmt") && found[1].1.as_ref().unwrap().contains("not on this worker"));
    assert!(found[2].0.contains("clippy") && found[2].1.is_none());
}
