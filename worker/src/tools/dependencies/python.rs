//! Python: a virtual environment that sees the system's packages, only where the
//! repository names dependencies; otherwise the `python3` of the search path as it is.

use std::sync::LazyLock;

use protocol::step::StepError;
use regex::Regex;

use super::{Dependencies, Fetcher, digest};

/// Requirement files that tests may need.
const REQUIREMENTS: [&str; 5] = [
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-test.txt",
    "dev-requirements.txt",
    "test-requirements.txt",
];

pub(super) async fn ensure(fetcher: &Fetcher<'_>, dependencies: &mut Dependencies) -> Result<(), StepError> {
    let files: Vec<(&str, String)> = REQUIREMENTS
        .iter()
        .filter_map(|name| Some((*name, fetcher.text(name)?)))
        .filter(|(_, text)| names_packages(text))
        .collect();
    let named = fetcher
        .text("pyproject.toml")
        .map(|text| project_dependencies(&text))
        .unwrap_or_default();
    if files.is_empty() && named.is_empty() {
        return Ok(());
    }
    let key: String = files
        .iter()
        .map(|(_, text)| text.as_str())
        .chain(named.iter().map(String::as_str))
        .collect();
    let venv = fetcher.home.join(format!("venv-{}", digest(&key)));
    let complete = venv.join("complete");
    if !complete.exists() {
        let folder = venv.to_string_lossy().into_owned();
        let make = ["python3", "-m", "venv", "--system-site-packages", &folder];
        if !fetcher.fetch(&make, dependencies).await? {
            return Ok(());
        }
        let python = venv.join("bin/python3").to_string_lossy().into_owned();
        let mut install: Vec<String> = [
            python.as_str(),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--retries",
            "1",
            "--timeout",
            "30",
        ]
        .map(str::to_owned)
        .to_vec();
        install.extend(
            files
                .iter()
                .flat_map(|(name, _)| ["-r".to_owned(), (*name).to_owned()]),
        );
        install.extend(named);
        if fetcher.fetch(&install, dependencies).await? {
            std::fs::write(&complete, b"").map_err(|error| fetcher.home_error(&error))?;
        }
    }
    dependencies.path.push(venv.join("bin"));
    Ok(())
}

fn names_packages(requirements: &str) -> bool {
    requirements.lines().any(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    })
}

/// The plain requirements in `dependencies = [...]` of `[project]`; what looks like an
/// option or a path is left out.
fn project_dependencies(pyproject: &str) -> Vec<String> {
    static PROJECT: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?ms)^\[project\]\s*$.*?^dependencies\s*=\s*\[(.*?)^?\s*\]\s*$")
            .expect("a valid pattern")
    });
    static ITEM: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"["']([A-Za-z0-9][A-Za-z0-9._\-\[\], <>=!~;]*)["']"#).expect("a valid pattern")
    });
    let Some(list) = PROJECT.captures(pyproject) else {
        return Vec::new();
    };
    ITEM.captures_iter(&list[1])
        .map(|item| item[1].to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_requirements_of_the_project_are_taken() {
        let text = "[build-system]\nrequires = [\"x\"]\n[project]\nname = \"p\"\ndependencies = [\n  \"requests[socks]>=2\",\n  '--index-url=evil',\n  \"attrs\",\n]\n";
        assert_eq!(project_dependencies(text), ["requests[socks]>=2", "attrs"]);
        assert_eq!(project_dependencies("[project]\ndependencies = []\n"), [""; 0]);
        assert_eq!(project_dependencies("[project]\nname = \"p\"\n"), [""; 0]);
        assert!(!names_packages("# nothing\n\n"));
    }
}
