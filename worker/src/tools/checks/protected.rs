//! Which files are tests, and which of them were changed without the plan's leave. Pure.

use std::path::{Component, Path, PathBuf};

use protocol::documents::Plan;

use super::detect;

/// Whether a path is a test by its name or folder.
pub fn is_test(path: &Path) -> bool {
    let folders = path.parent().into_iter().flat_map(Path::components);
    let in_test_folder = folders.filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let mut in_test_folder = in_test_folder.filter(|name| {
        matches!(
            *name,
            "test" | "tests" | "__tests__" | "testdata" | "spec" | "specs"
        )
    });
    if in_test_folder.next().is_some() {
        return true;
    }
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    match extension {
        "py" => stem.starts_with("test_") || stem.ends_with("_test") || stem == "conftest",
        "go" | "rs" => stem.ends_with("_test") || stem == "tests",
        "js" | "mjs" | "cjs" | "jsx" | "ts" | "tsx" => [".test", ".spec", "-test", "_test"]
            .iter()
            .any(|end| stem.ends_with(end)),
        "sh" => detect::SCRIPTS.iter().any(|script| Path::new(script) == path),
        _ => false,
    }
}

/// The tests among `changed` that existed at the base and that the plan does not let be changed.
pub fn changed_without_leave(changed: &[PathBuf], at_base: &[PathBuf], plan: Option<&Plan>) -> Vec<PathBuf> {
    let allowed =
        |path: &Path| plan.is_some_and(|plan| plan.may_change_tests.iter().any(|leave| covers(leave, path)));
    let existed = |path: &PathBuf| at_base.binary_search(path).is_ok() || at_base.contains(path);
    changed
        .iter()
        .filter(|path| is_test(path) && existed(path) && !allowed(path))
        .cloned()
        .collect()
}

/// A leave names a file, or a folder with a final `/`; never everything.
fn covers(leave: &str, path: &Path) -> bool {
    let leave = leave.trim_start_matches("./");
    match leave.strip_suffix('/') {
        Some(folder) => !folder.is_empty() && path.starts_with(folder),
        None => Path::new(leave) == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_known_by_name_and_folder() {
        for test in [
            "tests/a.rs",
            "src/x_test.go",
            "test_a.py",
            "a/conftest.py",
            "lib/a.test.js",
            "test.sh",
            "src/a/tests.rs",
        ] {
            assert!(is_test(Path::new(test)), "{test}");
        }
        for other in [
            "src/lib.rs",
            "contest.py",
            "src/latest.js",
            "scripts/test.sh",
            "test",
            "attestation/a.go",
        ] {
            assert!(!is_test(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn a_plan_gives_leave_by_file_or_folder_and_new_tests_need_none() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let changed = paths(&["src/a.rs", "tests/a.rs", "tests/b.rs", "tests/new.rs"]);
        let base = paths(&["src/a.rs", "tests/a.rs", "tests/b.rs"]);
        assert_eq!(
            changed_without_leave(&changed, &base, None),
            paths(&["tests/a.rs", "tests/b.rs"])
        );
        let plan = |leave: &str| Plan {
            may_change_tests: vec![leave.to_owned()],
            ..Plan::default()
        };
        assert_eq!(
            changed_without_leave(&changed, &base, Some(&plan("./tests/a.rs"))),
            paths(&["tests/b.rs"])
        );
        assert!(changed_without_leave(&changed, &base, Some(&plan("tests/"))).is_empty());
        assert_eq!(changed_without_leave(&changed, &base, Some(&plan("/"))).len(), 2);
    }
}
