//! `pytest`: the short summary, the last line, and what the traceback says.

use std::{collections::HashMap, sync::LazyLock};

use protocol::documents::{CheckFailure, Counts};
use regex::Regex;

use super::{Findings, number};

static SUMMARY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^=*\s*(?:no tests ran|\d+ (?:passed|failed|errors?|skipped|xfailed|xpassed|deselected|warnings?)\b.*) in [\d.]+s")
        .expect("a valid pattern")
});
static COUNT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(\d+) (\w+)").expect("a valid pattern"));
static SHORT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(FAILED|ERROR) (\S+?\.py(?:::[^\s\[]+(?:\[.*?\])?)?)(?: - (.*))?$")
        .expect("a valid pattern")
});
static HEADER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^_{3,} (.+?) _{3,}$").expect("a valid pattern"));
static PLACE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(\S+\.py):(\d+): ").expect("a valid pattern"));

/// What a section of the traceback says about one test.
#[derive(Default)]
struct Section {
    explanation: String,
    line: Option<(String, u64)>,
}

pub(super) fn parse(text: &str) -> Findings {
    let Some(summary) = text.lines().rfind(|line| SUMMARY.is_match(line)) else {
        return Findings::default();
    };
    let mut counts = Counts::default();
    for found in COUNT.captures_iter(summary) {
        let count = number(found.get(1));
        match &found[2] {
            "passed" | "xpassed" => counts.passed += count,
            "failed" => counts.failed += count,
            "error" | "errors" => counts.errors += count,
            "skipped" | "xfailed" => counts.skipped += count,
            _ => {}
        }
    }
    let sections = sections(text);
    let failures = text.lines().filter_map(|line| SHORT.captures(line)).map(|found| {
        let id = found[2].to_owned();
        let (file, name) = id
            .split_once("::")
            .map_or((id.as_str(), ""), |(file, name)| (file, name));
        let message = found.get(3).map_or("", |message| message.as_str());
        let title = if &found[1] == "ERROR" && name.is_empty() {
            format!("ERROR collecting {file}")
        } else {
            name.replace("::", ".")
        };
        let section = sections.get(&title);
        let explanation = section
            .map(|section| section.explanation.as_str())
            .filter(|text| !text.is_empty());
        CheckFailure {
            file: Some(file.to_owned()),
            line: section
                .and_then(|section| section.line.as_ref())
                .filter(|(at, _)| at == file)
                .map(|(_, line)| *line),
            message: explanation.unwrap_or(message).to_owned(),
            id,
        }
    });
    Findings {
        failures: failures.collect(),
        counts: Some(counts),
    }
}

/// The `E` lines and the last place of each test, by its title. The same title in two
/// files is rare; then the message of the summary line is the same kind of text.
fn sections(text: &str) -> HashMap<String, Section> {
    let mut sections: HashMap<String, Section> = HashMap::new();
    let mut title: Option<String> = None;
    for line in text.lines() {
        if let Some(found) = HEADER.captures(line) {
            let name = found[1].to_owned();
            let name = name
                .strip_prefix("ERROR at setup of ")
                .map(str::to_owned)
                .unwrap_or(name);
            title = Some(name);
        } else if line.starts_with("====") {
            title = None;
        } else if let Some(title) = &title {
            let section = sections.entry(title.clone()).or_default();
            if let Some(explained) = line.strip_prefix("E   ") {
                section.explanation.push_str(explained);
                section.explanation.push('\n');
            } else if let Some(found) = PLACE.captures(line) {
                section.line = found[2].parse().ok().map(|line| (found[1].to_owned(), line));
            }
        }
    }
    sections
}
