//! Damaged answers: a job gets along with them, has them repaired, or fails and says
//! why. In no case is a byte changed that the right answer would not change.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use e2e::{
    Lab,
    answers::{PROTOCOLS, approval, edits, plan},
    damage,
    fixture::{Change, Fixture, named, tree},
    jobs::{Answers, Case, DIALECTS, Ended, run},
    model::{Reply, Role},
    repo::git,
};
use protocol::documents::EditProtocol;

/// The protocols in which old lines are repeated.
const BY_LINES: [EditProtocol; 3] = [
    EditProtocol::SearchReplace,
    EditProtocol::ApplyPatch,
    EditProtocol::UnifiedDiff,
];

/// What must come of it.
#[derive(Clone, Copy)]
enum Wanted {
    /// Success, with so many calls of the role that answers badly at first.
    Mended(usize),
    /// Failure, with this in the reason.
    Failed(&'static str),
}

struct Try {
    fixture: &'static Fixture,
    wanted: Wanted,
    /// Who answers badly.
    role: Role,
    case: Case,
}

struct Bench {
    lab: Lab,
    tries: Vec<Try>,
}

impl Bench {
    fn new(fixtures: &[&str]) -> Self {
        let lab = Lab::new();
        for name in fixtures {
            named(name).create(&lab.path(name));
        }
        let tries = Vec::new();
        Self { lab, tries }
    }

    /// A job whose `role` says `bad` as often as it takes to want `wanted`, then the right thing.
    fn add(
        &mut self,
        what: &str,
        fixture: &'static Fixture,
        protocol: EditProtocol,
        role: Role,
        bad: Reply,
        wanted: Wanted,
    ) {
        let times = match wanted {
            Wanted::Mended(calls) => calls.max(2) - 1,
            Wanted::Failed(_) => usize::MAX,
        };
        let dialect = DIALECTS[self.tries.len() % DIALECTS.len()];
        let case = Case {
            name: format!("{what} as {} over {dialect}", protocol.name()),
            repo: self.lab.path(fixture.name),
            dialect,
            protocol,
            answers: badly(fixture.changes(), protocol, role, bad, times),
        };
        self.tries.push(Try {
            fixture,
            wanted,
            role,
            case,
        });
    }

    /// Runs them and judges what came of each.
    fn judge(self) {
        let lab = &self.lab;
        let (wanted, cases): (Vec<_>, Vec<_>) = self
            .tries
            .into_iter()
            .map(|one| ((one.fixture, one.wanted, one.role), one.case))
            .unzip();
        let ended = run(lab, cases);
        let mut wrong = Vec::new();
        for (number, ((fixture, wanted, role), ended)) in wanted.into_iter().zip(&ended).enumerate() {
            if let Err(why) = came_out(lab, fixture, wanted, role, ended, number) {
                wrong.push(format!("{}: {why}", ended.name));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of {} came out wrong:\n{}",
            wrong.len(),
            ended.len(),
            wrong.join("\n")
        );
        let outside = files(&lab.path(""))
            .into_keys()
            .find(|path| path.ends_with("escaped.py"));
        assert_eq!(outside, None, "a file outside the workspace was written");
        let seconds = ended.last().map_or(0.0, |ended| ended.seconds);
        let calls: usize = ended.iter().map(|ended| ended.calls.len()).sum();
        let line = format!(
            "damage: {} jobs as wanted in {seconds:.1} s, {calls} calls",
            ended.len()
        );
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// A model whose `role` says `bad` so many times.
fn badly(changes: Vec<Change>, protocol: EditProtocol, role: Role, bad: Reply, times: usize) -> Answers {
    Box::new(move |asked, before| {
        if asked == role && before < times {
            return bad.clone();
        }
        Reply::Text(match asked {
            Role::Architect => plan(&changes),
            Role::Codegen => edits(protocol, &changes),
            Role::Review => approval(),
        })
    })
}

fn came_out(
    lab: &Lab,
    fixture: &Fixture,
    wanted: Wanted,
    role: Role,
    ended: &Ended,
    number: usize,
) -> Result<(), String> {
    let right = lab.path(&format!("right-{number}"));
    let repo = lab.path(fixture.name);
    clone(lab, &repo, &right);
    fixture.mend(&right);
    untouched_elsewhere(lab, &repo, &right, ended)?;
    let reason = ended.job["reason"].as_str().unwrap_or("");
    let asked = ended.asked(role);
    match wanted {
        Wanted::Mended(calls) => {
            if !ended.succeeded() {
                return Err(format!("it failed: {reason}"));
            }
            let patch = ended.patch.as_ref().ok_or("there is no patch")?;
            let (file, fresh) = (
                lab.path(&format!("{number}.patch")),
                lab.path(&format!("fresh-{number}")),
            );
            fs::write(&file, patch).map_err(|error| error.to_string())?;
            clone(lab, &repo, &fresh);
            git(&fresh, &["apply", file.to_str().expect("text")]);
            if tree(&fresh) != tree(&right) {
                return Err(format!("a wrong patch:\n{}", String::from_utf8_lossy(patch)));
            }
            if asked != calls {
                return Err(format!("{asked} calls, {calls} expected"));
            }
            Ok(())
        }
        Wanted::Failed(cause) => {
            if ended.succeeded() || ended.patch.is_some() {
                return Err("it succeeded".to_owned());
            }
            // two repairs, then whole files, then the end
            if asked > 4 {
                return Err(format!("{asked} calls"));
            }
            if !reason.contains(cause) {
                return Err(format!("the reason does not say {cause:?}: {reason}"));
            }
            Ok(())
        }
    }
}

fn clone(lab: &Lab, from: &Path, to: &Path) {
    let (from, to) = (from.to_str().expect("text"), to.to_str().expect("text"));
    git(&lab.path(""), &["clone", "-q", from, to]);
}

/// Every file in every work tree of the job is as it was or as it shall be.
fn untouched_elsewhere(lab: &Lab, base: &Path, right: &Path, ended: &Ended) -> Result<(), String> {
    let (base, right) = (files(base), files(right));
    let id = ended.job["id"].as_str().expect("an id");
    for worker in ["one", "two"] {
        let trees = lab.path(worker).join("trees").join(id);
        for slot in fs::read_dir(trees).into_iter().flatten().flatten() {
            for (path, bytes) in files(&slot.path().join("tree")) {
                let known = [base.get(&path), right.get(&path)];
                if !path.contains("__pycache__") && !known.contains(&Some(&bytes)) {
                    return Err(format!(
                        "an edit in a wrong place: {path} is now\n{}",
                        String::from_utf8_lossy(&bytes)
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The files of a folder, without git's.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name() == ".git" {
                continue;
            }
            if path.is_dir() {
                todo.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                let name = path.strip_prefix(folder).expect("inside");
                found.insert(name.to_string_lossy().into_owned(), bytes);
            }
        }
    }
    found
}

#[test]
fn damaged_lines_are_found_where_they_belong() {
    let slug = named("python-slug");
    if let Some(lack) = slug.lacks() {
        e2e::skip(&format!("damaged answers about python-slug: {lack}"));
        return;
    }
    let changes = slug.changes();
    let mut bench = Bench::new(&["python-slug"]);
    let kinds: [(&str, Vec<Change>); 5] = [
        ("trailing space", damage::trailing_space(&changes)),
        ("tabs for spaces", damage::tabs(&changes)),
        ("smart quotes", damage::smart_quotes(&changes)),
        ("a blank leading line", damage::blank_line_first(&changes)),
        ("one wrong character", damage::one_wrong_character(&changes)),
    ];
    for (what, damaged) in kinds {
        for protocol in BY_LINES {
            let bad = Reply::Text(edits(protocol, &damaged));
            bench.add(what, slug, protocol, Role::Codegen, bad, Wanted::Mended(1));
        }
    }
    bench.judge();
}

#[test]
fn what_stands_around_an_answer_does_not_matter() {
    let slug = named("python-slug");
    if let Some(lack) = slug.lacks() {
        e2e::skip(&format!("damaged answers about python-slug: {lack}"));
        return;
    }
    let changes = slug.changes();
    let mut bench = Bench::new(&["python-slug"]);
    let mended = Wanted::Mended(1);
    for protocol in PROTOCOLS {
        for opened in [true, false] {
            let what = if opened {
                "thinking"
            } else {
                "thinking without its first tag"
            };
            let bad = Reply::Text(damage::thinking(protocol, &changes, opened));
            bench.add(what, slug, protocol, Role::Codegen, bad, mended);
        }
        let bad = Reply::Text(format!(
            "Sure! Here it is:\n\n{}\nGood luck.\n",
            edits(protocol, &changes)
        ));
        bench.add("prose around edits", slug, protocol, Role::Codegen, bad, mended);
    }
    let decoy = "{\"summary\": \"do nothing\", \"decision\": \"blocked\"}";
    for (role, document) in [(Role::Architect, plan(&changes)), (Role::Review, approval())] {
        let protocol = EditProtocol::SearchReplace;
        for (what, text) in [
            (
                "prose around JSON",
                format!("Here you go:\n\n```json\n{document}\n```\n\nShall I {{go on}}?"),
            ),
            (
                "thinking before JSON",
                format!("<think>{decoy}</think>\n{document}"),
            ),
            (
                "a leaked end of thinking before JSON",
                format!("{decoy} no\n</think>\n{document}"),
            ),
        ] {
            bench.add(what, slug, protocol, role, Reply::Text(text), mended);
        }
        let cut = Reply::Cut(damage::first_part(&document));
        bench.add("cut JSON", slug, protocol, role, cut, Wanted::Mended(2));
    }
    bench.judge();
}

#[test]
fn answers_that_cannot_be_used_are_repaired_or_end_the_job_with_the_reason() {
    let (slug, stock) = (named("python-slug"), named("python-stock"));
    if let Some(lack) = slug.lacks() {
        e2e::skip(&format!("damaged answers about python-slug: {lack}"));
        return;
    }
    let changes = slug.changes();
    let mut bench = Bench::new(&["python-slug", "python-stock"]);
    let absolute = bench.lab.path("escaped.py");
    for protocol in PROTOCOLS {
        let answer = edits(protocol, &changes);
        let say = |changes: &[Change]| Reply::Text(edits(protocol, changes));
        let outside = say(&damage::moved_to(&changes, "../../escaped.py"));
        let absolute = say(&damage::moved_to(&changes, absolute.to_str().expect("text")));
        let mut kinds = vec![
            ("a cut reply", Reply::Cut(damage::first_part(&answer)), ""),
            (
                "a reply that just ends",
                Reply::Text(damage::first_part(&answer)),
                "",
            ),
            ("a path outside", outside, "leaves the workspace"),
            ("an absolute path", absolute, "is absolute"),
            (
                "rest unchanged",
                say(&damage::elided(&changes)),
                "leaves code out",
            ),
        ];
        let bare = answer.replace("```diff\n", "");
        let twice = Reply::Cut(damage::first_part(&bare));
        let thrice = Wanted::Mended(3);
        bench.add(
            "a reply that is cut twice",
            slug,
            protocol,
            Role::Codegen,
            twice,
            thrice,
        );
        for (what, bad, cause) in kinds.drain(..) {
            bench.add(
                what,
                slug,
                protocol,
                Role::Codegen,
                bad.clone(),
                Wanted::Mended(2),
            );
            let what = format!("always {what}");
            bench.add(&what, slug, protocol, Role::Codegen, bad, Wanted::Failed(cause));
        }
    }
    let twice = ["        if count < 1:", "        if count <= 0:"];
    for protocol in BY_LINES {
        let bad = Reply::Text(edits(protocol, &damage::ambiguous(&stock.changes(), twice)));
        let what = "an ambiguous block";
        bench.add(
            what,
            stock,
            protocol,
            Role::Codegen,
            bad.clone(),
            Wanted::Mended(2),
        );
        let failed = Wanted::Failed("stands 2 times");
        bench.add(
            "always an ambiguous block",
            stock,
            protocol,
            Role::Codegen,
            bad,
            failed,
        );
    }
    bench.judge();
}
