//! What is written about the command line holds: every command in the documentation
//! and in explanations is understood.

use std::{fs, path::Path};

use clap::Parser;

use crate::cli::Cli;

/// Words that a reader fills in, and what stands for them here.
const FILLED_IN: [(&str, &str); 7] = [
    ("JOB", "42"),
    ("STEP", "plan"),
    ("NAME", "name"),
    ("FILE", "file.yaml"),
    ("URL", "http://127.0.0.1:1"),
    ("https://HOST:8485", "https://127.0.0.1:1"),
    (
        "SHA256",
        "0000000000000000000000000000000000000000000000000000000000000000",
    ),
];

/// Whether the command line understands this, without its redirections.
pub(crate) fn understand(command: &str) -> Result<(), String> {
    match Cli::try_parse_from(words(command)) {
        // a wish for help is one too
        Err(error) if error.exit_code() != 0 => Err(format!("`{command}`: {error}")),
        _ => Ok(()),
    }
}

/// The commands of agentctl in backquotes.
pub(crate) fn in_text(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter_map(ours)
}

/// The part of a line that is a command of agentctl.
fn ours(line: &str) -> Option<&str> {
    let at = line.find("agentctl")?;
    let before = &line[..at];
    let command = &line[at..];
    let is_word = before.is_empty() || before.ends_with([' ', '(']);
    if !is_word || !command.starts_with("agentctl ") {
        return None;
    }
    let cuts = [" < ", " > ", " | ", "    #", ")"];
    let end = cuts.iter().filter_map(|cut| command.find(cut)).min();
    Some(command[..end.unwrap_or(command.len())].trim_end())
}

fn words(command: &str) -> Vec<String> {
    let mut words = vec![];
    for (index, piece) in command.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(piece.to_owned());
        } else {
            words.extend(piece.split_whitespace().map(str::to_owned));
        }
    }
    for word in &mut words {
        let filled = FILLED_IN.iter().find(|(name, _)| name == word);
        if let Some((_, filled)) = filled {
            *word = (*filled).to_owned();
        }
    }
    words
}

/// Lines of shell blocks, and commands within the text.
fn in_page(page: &str) -> Vec<&str> {
    let mut found = vec![];
    let mut block = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(language), None) => block = Some(language),
            (Some(_), Some(_)) => block = None,
            (None, Some("sh")) => found.extend(ours(line)),
            (None, Some(_)) => {}
            (None, None) => found.extend(in_text(line)),
        }
    }
    found
}

fn pages() -> Vec<(String, String)> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut pages = vec![];
    for entry in fs::read_dir(docs).expect("docs are there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        pages.push((name, fs::read_to_string(&path).expect("a text")));
    }
    pages
}

#[test]
fn every_command_in_the_documentation_is_understood() {
    let mut checked = 0;
    for (name, page) in pages() {
        for command in in_page(&page) {
            understand(command).unwrap_or_else(|error| panic!("docs/{name}: {error}"));
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} commands were found");
}

#[test]
fn the_summary_names_every_page_and_every_link_leads_to_one() {
    let pages = pages();
    let has = |name: &str| pages.iter().any(|(page, _)| page == name);
    let summary = pages.iter().find(|(name, _)| name == "SUMMARY.md");
    let (_, summary) = summary.expect("a summary");
    for (name, page) in &pages {
        assert!(
            name == "SUMMARY.md" || summary.contains(&format!("({name})")),
            "{name}"
        );
        for link in page.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            assert!(
                target.is_empty() || target.contains("://") || has(target),
                "{name}: {target}"
            );
        }
    }
}
