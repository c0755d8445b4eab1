//! Right answers over every dialect and protocol: each repository is mended, and its
//! patch does to a fresh clone what it must and nothing else.

use std::{fs, io::Write as _};

use e2e::{
    Lab,
    answers::{PROTOCOLS, approval, edits, plan},
    fixture::{FIXTURES, Fixture, tree},
    jobs::{Answers, Case, DIALECTS, Ended, run},
    model::{Reply, Role},
    repo::git,
};
use protocol::documents::EditProtocol;

/// What a good model says about a fixture.
fn right(fixture: &Fixture, protocol: EditProtocol) -> Answers {
    let changes = fixture.changes();
    Box::new(move |role, _| {
        Reply::Text(match role {
            Role::Architect => plan(&changes),
            Role::Codegen => edits(protocol, &changes),
            Role::Review => approval(),
        })
    })
}

/// Says to the terminal itself, which the test runner does not capture, what is not tested.
fn skip(fixture: &Fixture, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP {}: {why}", fixture.name);
}

/// The repositories of a language: every one in the next dialect and protocol, the
/// first one in all dialects.
fn cases(lab: &Lab, language: &str) -> Vec<(&'static Fixture, Case)> {
    let mut cases = Vec::new();
    for (number, fixture) in FIXTURES.iter().enumerate() {
        if fixture.language() != language {
            continue;
        }
        if let Some(why) = fixture.lacks() {
            skip(fixture, &why);
            continue;
        }
        let repo = lab.path(fixture.name);
        fixture.create(&repo);
        let dialects = if cases.is_empty() { DIALECTS.len() } else { 1 };
        for more in 0..dialects {
            let dialect = DIALECTS[(number + more) % DIALECTS.len()];
            let protocol = PROTOCOLS[(number + more) % PROTOCOLS.len()];
            let case = Case {
                name: format!("{} over {dialect} as {}", fixture.name, protocol.name()),
                repo: repo.clone(),
                dialect,
                protocol,
                answers: right(fixture, protocol),
            };
            cases.push((fixture, case));
        }
    }
    cases
}

/// Applies a patch to a fresh clone: the tree is the right one to the byte, and its tests pass.
fn proves(lab: &Lab, fixture: &Fixture, ended: &Ended, number: usize) {
    let (name, job) = (&ended.name, &ended.job);
    let patch = ended
        .patch
        .as_ref()
        .unwrap_or_else(|| panic!("{name}: no patch: {job}"));
    let file = lab.path(&format!("{number}.patch"));
    fs::write(&file, patch).expect("writable");
    let (fresh, right) = (
        lab.path(&format!("fresh-{number}")),
        lab.path(&format!("right-{number}")),
    );
    for clone in [&fresh, &right] {
        let (from, to) = (lab.path(fixture.name), clone.to_str().expect("text"));
        git(&lab.path(""), &["clone", "-q", from.to_str().expect("text"), to]);
    }
    git(&fresh, &["apply", file.to_str().expect("text")]);
    fixture.mend(&right);
    assert_eq!(
        tree(&fresh),
        tree(&right),
        "{name}: {}",
        String::from_utf8_lossy(patch)
    );
    if let Err(said) = fixture.test(&fresh) {
        panic!("{name}: the tests fail in the fresh clone: {said}");
    }
}

fn verified(ended: &Ended) -> bool {
    let steps = ended.job["steps"].as_array().into_iter().flatten();
    let mut verify = steps.filter(|step| step["key"] == "verify");
    verify.any(|step| step["state"] == "succeeded")
}

/// All repositories of a language are mended.
fn mends(language: &str) {
    let lab = Lab::new();
    let (fixtures, cases): (Vec<&Fixture>, Vec<Case>) = cases(&lab, language).into_iter().unzip();
    if cases.is_empty() {
        return;
    }
    let all = cases.len();
    let ended = run(&lab, cases);
    let mut mended = 0;
    for (number, (fixture, ended)) in fixtures.iter().zip(&ended).enumerate() {
        let (name, job) = (&ended.name, &ended.job);
        assert!(ended.succeeded() && verified(ended), "{name}: {job}");
        assert_eq!(ended.calls.len(), 3, "{name}: {:#?}", ended.calls);
        proves(&lab, fixture, ended, number);
        let status = git(&lab.path(fixture.name), &["status", "--porcelain"]);
        assert_eq!(status, "", "{name}: the caller's repository is touched");
        mended += 1;
    }
    let seconds = ended.last().map_or(0.0, |ended| ended.seconds);
    let _ = writeln!(
        std::io::stderr(),
        "{language}: {mended}/{all} jobs mended in {seconds:.1} s"
    );
}

#[test]
fn rust_repositories_are_mended() {
    mends("rust");
}

#[test]
fn python_repositories_are_mended() {
    mends("python");
}

#[test]
fn javascript_repositories_are_mended() {
    mends("js");
}

#[test]
fn go_repositories_are_mended() {
    mends("go");
}

#[test]
fn shell_repositories_are_mended() {
    mends("shell");
}
