//! The role that plans: task and repository map in, Plan out. It may ask for
//! files in two further rounds, and it changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    documents::{FileAction, Plan},
    spec::OutputType,
};
use serde_json::{Map, Value};

use super::{
    answer,
    brief::Brief,
    context::{Section, Shrink, cut},
    declared,
    document::{Contract, Reading},
    edit::tree::Tree,
    files,
    repomap::RepoMap,
    schemas,
};

/// Most items of a plan: what needs more is more than one job.
const MOST_ITEMS: usize = 20;
/// Most files of a plan.
const MOST_FILES: usize = 60;
/// Largest plan as JSON, in bytes: it must fit the 48 KiB of a step's outputs.
const LARGEST_PLAN: usize = 40 * 1024;
/// Files of one wish that are shown.
const MOST_WISHES: usize = 10;
/// Files that are shown unasked, because the task points to them.
const POINTED_FILES: usize = 3;
/// Bytes of the repository map, however large the window is.
const MAP_BYTES: usize = 24 * 1024;

/// The architect's contract.
pub struct Architect {
    /// What the workflow gives.
    pub brief: Brief,
    /// The files; `None` for a job without a repository.
    pub tree: Option<Tree>,
    /// Their map.
    pub map: RepoMap,
    /// What the step declares beyond the plan.
    pub outputs: BTreeMap<String, OutputType>,
}

/// A plan and the other outputs that were declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Declared outputs other than `plan`.
    pub others: Map<String, Value>,
}

const INSTRUCTIONS: &str = r#"## How to answer

One JSON object and nothing else:

{"summary": "one or two sentences",
 "assumptions": [],
 "items": [{"id": "1", "title": "one line", "files": [{"path": "src/a.py", "action": "modify"}],
            "detail": "how, precisely enough for somebody who sees only these files",
            "depends_on": [], "done_when": "what shows it"}],
 "may_change_tests": [], "checks": [{"name": "what it shows", "command": "how"}], "risks": [], "questions": []}

`action` is `add`, `modify` or `delete`. Paths are relative to the root of the repository. Leave a list empty rather than guess.
"#;

const WISH: &str = r#"
If you must read files first, answer {"need_files": ["src/a.py"]} instead: at most 10 paths, at most twice.
"#;

impl Contract for Architect {
    type Document = Planned;

    fn instructions(&self) -> String {
        let mut text = INSTRUCTIONS.to_owned();
        let more = declared::describe(&self.outputs, &["plan"]);
        if !more.is_empty() {
            text.push_str(&format!("The object also has:\n{more}\n"));
        }
        if self.tree.is_some() {
            text.push_str(WISH);
        }
        text
    }

    fn schema(&self, files: bool) -> Option<(String, Value)> {
        let files = files && self.tree.is_some();
        let mut schema = if files {
            schemas::plan_or_files()
        } else {
            schemas::plan()
        };
        declared::extend_schema(&mut schema, &self.outputs, &["plan"]);
        Some(("plan".to_owned(), schema))
    }

    fn sections(&self, room: usize) -> Vec<Section> {
        let mut sections = Vec::new();
        if let Some(tree) = &self.tree {
            sections.push(Section::new(
                "Conventions of the repository",
                files::conventions(tree),
                Shrink::Cut(1),
            ));
            let map = self.map.render((room / 3).min(MAP_BYTES));
            sections.push(Section::new("Repository map", map, Shrink::Cut(2)));
            for path in self.map.pointed_to(POINTED_FILES) {
                let text = files::text(tree, path).ok().filter(|text| text.len() <= room / 8);
                let body = text.map(|text| files::shown(&text)).unwrap_or_default();
                sections.push(Section::new(format!("File `{path}`"), body, Shrink::Drop(0)));
            }
        }
        sections
            .into_iter()
            .flatten()
            .chain(self.brief.sections())
            .collect()
    }

    fn read(&self, object: &Map<String, Value>) -> Result<Reading<Planned>, String> {
        if let Some(paths) = wish(object) {
            return Ok(Reading::Files(paths));
        }
        let inner = object.get("plan").and_then(Value::as_object);
        let mut plan: Plan = answer::document(inner.unwrap_or(object))?;
        check(&mut plan, self.tree.as_ref())?;
        let others = declared::outputs(&self.outputs, &["plan"], object)?;
        Ok(Reading::Document(Planned { plan, others }))
    }

    fn file_rounds(&self) -> u8 {
        if self.tree.is_some() { 2 } else { 0 }
    }

    fn show_files(&self, paths: &[String], room: usize) -> String {
        let Some(tree) = &self.tree else {
            return "There are no files.".to_owned();
        };
        let each = room / paths.len().clamp(1, MOST_WISHES);
        let mut text = String::from("These are the files that you asked for.\n\n");
        for path in paths.iter().take(MOST_WISHES) {
            match files::text(tree, path) {
                Ok(file) => text.push_str(&format!(
                    "## File `{path}`\n\n{}\n",
                    files::shown(&cut(&file, each))
                )),
                Err(why) => text.push_str(&format!("{why}.\n\n")),
            }
        }
        text.push_str("Now answer with the plan, as described before.");
        text
    }
}

/// The paths of a non-empty wish for files.
fn wish(object: &Map<String, Value>) -> Option<Vec<String>> {
    let paths = object.get("need_files")?.as_array()?;
    let paths: Vec<String> = paths
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    (!paths.is_empty()).then_some(paths)
}

/// Checks a plan; what the tree knows better (whether a file exists) is put right.
fn check(plan: &mut Plan, tree: Option<&Tree>) -> Result<(), String> {
    if plan.summary.trim().is_empty() {
        return Err("`summary` is empty".to_owned());
    }
    if plan.items.is_empty() || plan.items.len() > MOST_ITEMS {
        return Err(format!(
            "`items` has {} elements, not 1 to {MOST_ITEMS}",
            plan.items.len()
        ));
    }
    for (i, item) in plan.items.iter_mut().enumerate() {
        if item.id.trim().is_empty() {
            item.id = (i + 1).to_string();
        }
    }
    let mut ids = BTreeSet::new();
    if let Some(item) = plan.items.iter().find(|item| !ids.insert(item.id.as_str())) {
        return Err(format!("two items have the id `{}`", item.id));
    }
    let needed = |item: &protocol::documents::PlanItem| {
        item.depends_on
            .iter()
            .find(|id| !ids.contains(id.as_str()) || **id == item.id)
            .cloned()
    };
    if let Some(id) = plan.items.iter().find_map(needed) {
        return Err(format!("`depends_on` names `{id}`, which is no other item"));
    }
    if plan.items.iter().map(|item| item.files.len()).sum::<usize>() > MOST_FILES {
        return Err(format!("the items name more than {MOST_FILES} files"));
    }
    check_paths(plan, tree)?;
    let size = serde_json::to_vec(plan).map_or(usize::MAX, |json| json.len());
    if size > LARGEST_PLAN {
        return Err(format!(
            "the plan has {size} bytes, more than {LARGEST_PLAN}: be brief"
        ));
    }
    Ok(())
}

fn check_paths(plan: &mut Plan, tree: Option<&Tree>) -> Result<(), String> {
    let Some(tree) = tree else { return Ok(()) };
    for file in plan.items.iter_mut().flat_map(|item| &mut item.files) {
        let place = tree.writable(&file.path).map_err(|refusal| refusal.0)?;
        if place.file.is_dir() {
            return Err(format!("`{}` is a folder: name its files", file.path));
        }
        file.path = place.name;
        file.action = match (file.action, place.file.exists()) {
            (FileAction::Delete, false) => {
                return Err(format!("`{}` is to be deleted but does not exist", file.path));
            }
            (FileAction::Delete, true) => FileAction::Delete,
            (FileAction::Add | FileAction::Modify, true) => FileAction::Modify,
            (FileAction::Add | FileAction::Modify, false) => FileAction::Add,
        };
    }
    for path in &plan.may_change_tests {
        // may be a test's name as well as a path; what leaves the tree is neither
        if path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(format!(
                "`may_change_tests` names `{path}`, which is outside of the repository"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn architect(dir: &tempfile::TempDir) -> Architect {
        std::fs::write(dir.path().join("a.py"), "x = 1\n").expect("a file");
        Architect {
            brief: Brief {
                task: "set x to 2 in a.py".to_owned(),
                ..Brief::default()
            },
            tree: Some(Tree::open(dir.path(), &[]).expect("a tree")),
            map: RepoMap::scan(dir.path(), "set x to 2 in a.py"),
            outputs: BTreeMap::from([("risk".to_owned(), OutputType::Number)]),
        }
    }

    fn read(architect: &Architect, object: Value) -> Result<Reading<Planned>, String> {
        match object {
            Value::Object(object) => architect.read(&object),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_plan_is_checked_against_the_tree() {
        let dir = tempfile::tempdir().expect("a folder");
        let architect = architect(&dir);
        let plan = |path: &str, id: &str| {
            json!({"summary": "s", "risk": 0.1, "items": [
                {"id": "1", "title": "t", "files": [{"path": path, "action": "add"}]},
                {"id": id, "title": "u", "depends_on": ["1"]},
            ]})
        };
        let Ok(Reading::Document(planned)) = read(&architect, plan("./a.py", "2")) else {
            panic!("a good plan");
        };
        assert_eq!(planned.plan.items[0].files[0].path, "a.py");
        assert_eq!(planned.plan.items[0].files[0].action, FileAction::Modify);
        assert_eq!(planned.others["risk"], 0.1);
        for (bad, complaint) in [
            (plan("../a.py", "2"), "leaves the workspace"),
            (plan("a.py", "1"), "two items"),
            (json!({"summary": "s", "items": []}), "0 elements"),
            (json!({"summary": "", "items": [{"title": "t"}]}), "`summary`"),
            (
                json!({"summary": "s", "items": [{"title": "t"}]}),
                "`risk` is missing",
            ),
            (
                json!({"summary": "s", "items": [{"title": "t", "depends_on": ["9"]}]}),
                "`9`",
            ),
        ] {
            let error = read(&architect, bad.clone()).expect_err("a bad plan");
            assert!(error.contains(complaint), "{bad}: {error}");
        }
    }

    #[test]
    fn files_can_be_wished_for_and_are_shown() {
        let dir = tempfile::tempdir().expect("a folder");
        let architect = architect(&dir);
        let wish = read(
            &architect,
            json!({"summary": "", "items": [], "need_files": ["a.py", "b.py"]}),
        );
        assert_eq!(
            wish,
            Ok(Reading::Files(vec!["a.py".to_owned(), "b.py".to_owned()]))
        );
        let shown = architect.show_files(&["a.py".to_owned(), "../b.py".to_owned()], 1000);
        assert!(
            shown.contains("x = 1") && shown.contains("leaves the workspace"),
            "{shown}"
        );
        let none = read(
            &architect,
            json!({"need_files": [], "summary": "s", "risk": 1, "items": [{"title": "t"}]}),
        );
        assert!(matches!(none, Ok(Reading::Document(_))));
    }

    #[test]
    fn the_opening_has_map_files_and_task_in_order() {
        let dir = tempfile::tempdir().expect("a folder");
        let architect = architect(&dir);
        let titles: Vec<String> = architect
            .sections(8000)
            .into_iter()
            .map(|section| section.title)
            .collect();
        assert_eq!(titles, ["Repository map", "File `a.py`", "Task"]);
    }
}
