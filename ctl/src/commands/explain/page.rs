//! `docs/codes.md`: every code on one page, made from the list that `explain` knows.

use std::{fs, path::Path};

use super::{Entry, Kind, all};

const TOP: &str = "\
# Codes

Made from the list that `agentctl explain` knows (`agentctl explain CODE` prints one of them, also without a
controller). A change of the list comes with a change of this page: `AGENTD_BLESS=1 cargo test codes`.
";

/// Heading, and where such a code is seen.
const SECTIONS: [(Kind, &str, &str); 5] = [
    (
        Kind::Problem,
        "Errors of the controller",
        "In brackets after `error` of agentctl, and `code` of an `application/problem+json`.",
    ),
    (
        Kind::Command,
        "Errors of agentctl",
        "In brackets after `error`; found before or beside a request.",
    ),
    (
        Kind::Exit,
        "Exit codes",
        "`run`, `watch` and `wait` end with the code of the job.",
    ),
    (
        Kind::Failure,
        "Why a step failed",
        "`error.class` of steps and attempts; `retry.on` of a workflow names these.",
    ),
    (
        Kind::Guard,
        "What a step waits for",
        "`guard` in the answer of `agentctl why JOB -o json`.",
    ),
];

fn page() -> String {
    let all = all();
    let section = |(kind, heading, about): (Kind, &str, &str)| {
        let entries = all.iter().filter(|entry| entry.kind == kind).map(entry);
        format!("\n## {heading}\n\n{about}\n{}", entries.collect::<String>())
    };
    TOP.to_owned() + &SECTIONS.map(section).concat()
}

fn entry(entry: &Entry) -> String {
    let Entry {
        code,
        exit,
        meaning,
        remedy,
        ..
    } = entry;
    let exit = match (entry.kind, exit) {
        (Kind::Problem | Kind::Command, Some(exit)) => format!(" Exit code {exit}."),
        _ => String::new(),
    };
    format!("\n### {code}\n\n{meaning}{exit}\n\n{remedy}\n")
}

#[test]
fn the_page_of_codes_is_what_the_list_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/codes.md");
    let page = page();
    if std::env::var_os("AGENTD_BLESS").is_some() {
        fs::write(&path, &page).expect("docs can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    for (is, should) in written.lines().zip(page.lines()) {
        assert_eq!(
            is, should,
            "AGENTD_BLESS=1 cargo test codes writes docs/codes.md anew"
        );
    }
    assert_eq!(written.len(), page.len(), "AGENTD_BLESS=1 cargo test codes");
}
