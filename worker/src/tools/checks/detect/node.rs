//! JavaScript: the repository's `npm test`, or `node --test` where it has tests and no script.

use std::path::Path;

use serde_json::Value;

use super::{CheckPlan, any_file, read};
use crate::tools::checks::parse::Runner;

pub(super) fn detect(root: &Path, dir: &Path) -> Option<CheckPlan> {
    let package: Option<Value> =
        read(&root.join("package.json")).and_then(|text| serde_json::from_str(&text).ok());
    let script = package
        .as_ref()
        .and_then(|package| package["scripts"]["test"].as_str());
    if let Some(script) = script
        && !script.contains("no test specified")
    {
        return Some(CheckPlan::tests(
            "npm test",
            &["npm", "test", "--silent"],
            dir,
            Runner::Node,
        ));
    }
    let in_test_folder = root.join("test").is_dir() && any_file(&root.join("test"), &is_script);
    if package.is_some() && (in_test_folder || any_file(root, &is_test)) {
        return Some(CheckPlan::tests(
            "node --test",
            &["node", "--test"],
            dir,
            Runner::Node,
        ));
    }
    None
}

fn is_script(name: &str) -> bool {
    [".js", ".mjs", ".cjs"].iter().any(|end| name.ends_with(end))
}

/// What `node --test` runs by name.
fn is_test(name: &str) -> bool {
    is_script(name)
        && [".test.", "-test.", "_test."]
            .iter()
            .any(|mark| name.contains(mark))
}
