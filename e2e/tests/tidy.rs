//! House rules that no compiler holds: where things live, how long files are, what
//! each module says about itself. A broken rule is named with its file and its reason.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// The crates of the product; `e2e` only tests them.
const CRATES: [&str; 5] = ["protocol", "service", "controller", "worker", "ctl"];
/// Most lines of production code in a file.
const MOST_LINES: usize = 500;

/// Where a text may stand.
enum Place {
    /// Below these paths and nowhere else.
    Only(&'static [&'static str]),
    /// Everywhere but below these paths.
    NotIn(&'static [&'static str]),
}

/// A text that has its place, and why.
struct Rule {
    why: &'static str,
    texts: &'static [&'static str],
    place: Place,
}

/// Code without I/O, clock or randomness.
const PURE: &[&str] = &[
    "protocol/src/",
    "controller/src/orchestrator/",
    "controller/src/queue/",
    "controller/src/queue.rs",
    "controller/src/authorize.rs",
    "worker/src/session/machine.rs",
];

const RULES: &[Rule] = &[
    Rule {
        why: "SQL lives with the state",
        texts: &[
            "SELECT ",
            "INSERT INTO ",
            "DELETE FROM ",
            "CREATE TABLE ",
            "PRAGMA ",
            "rusqlite::",
        ],
        place: Place::Only(&["controller/src/state/", "controller/src/state.rs"]),
    },
    Rule {
        why: "topics are spelled once",
        texts: &[
            "\"agentd-worker/",
            "\"agentd/status",
            "\"agentd/workers",
            "\"agentd/jobs",
            "\"agentd/events",
            "\"agentd/log",
            "\"agentd/command",
            "\"homeassistant/",
        ],
        place: Place::Only(&["protocol/src/topic.rs"]),
    },
    Rule {
        why: "what decides is pure: no I/O, clock or randomness",
        texts: &[
            "tokio::",
            "std::fs",
            "std::env",
            "std::net",
            "std::process",
            "SystemTime",
            "Instant",
            "Timestamp::now",
            "rand::",
            "tracing::",
        ],
        place: Place::NotIn(PURE),
    },
    Rule {
        why: "one place starts programs, where limits and process groups are",
        texts: &["Command::new("],
        place: Place::Only(&[
            "worker/src/tools/exec.rs",
            "worker/src/tools/exec/guardian.rs",
            "worker/src/sandbox/forward.rs",
            "worker/src/sandbox/group.rs",
            "worker/src/sandbox/inside.rs",
            "ctl/src/",
        ]),
    },
    Rule {
        why: "the time of day comes from service::clock (file ages are compared with the file system's own)",
        texts: &["SystemTime::now", "Timestamp::now"],
        place: Place::Only(&[
            "service/src/clock.rs",
            "ctl/src/",
            "worker/src/workspace/prune.rs",
        ]),
    },
    Rule {
        why: "every queue has a bound",
        texts: &[
            "unbounded_channel",
            "async_channel::unbounded",
            "flume::unbounded",
        ],
        place: Place::Only(&[]),
    },
    Rule {
        why: "the broker knows nobody above it",
        texts: &[
            "crate::engine",
            "crate::api",
            "crate::app",
            "crate::public",
            "crate::dispatch",
        ],
        place: Place::NotIn(&["controller/src/broker/"]),
    },
    Rule {
        why: "the orchestrator knows nobody but protocol and the checked workflow",
        texts: &[
            "crate::engine",
            "crate::state",
            "crate::api",
            "crate::broker",
            "crate::app",
        ],
        place: Place::NotIn(&["controller/src/orchestrator/", "controller/src/queue/"]),
    },
];

/// Words of comments on what is unfinished (clippy bans the macros); put together here, so that this file does not hold them.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

/// A file of Rust.
struct Source {
    /// From the repository's root, with `/`.
    path: String,
    /// As it is.
    text: String,
    /// Without tests, which may break most rules.
    production: String,
}

impl Source {
    /// Whether the whole file is a test or made for tests.
    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let for_tests = ["tests.rs", "testing.rs", "samples.rs"].contains(&name);
        for_tests || self.path.contains("/tests/") || self.path.contains("/testing/")
    }
}

fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("e2e lies in the repository").to_owned()
}

/// Every Rust file of the product and of its tests.
fn sources() -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    for folder in CRATES.iter().chain(&["e2e"]) {
        for part in ["src", "tests"] {
            collect(&root.join(folder).join(part), &mut files);
        }
    }
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("a source is readable text");
        let path = file.strip_prefix(&root).expect("below the root");
        Source {
            path: path.to_string_lossy().replace('\\', "/"),
            production: production(&text),
            text,
        }
    };
    let sources: Vec<_> = files.into_iter().map(read).collect();
    assert!(sources.len() > 100, "only {} sources found", sources.len());
    sources
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The text up to its inline tests, without items that only tests see.
fn production(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_end() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        // a module with a body goes on to the end of the file, by our own habit
        if lines.next().is_some_and(|item| item.ends_with('{')) {
            break;
        }
    }
    kept
}

/// The numbered lines that are code, not comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate();
    numbered
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn allows(place: &Place, path: &str) -> bool {
    let below = |paths: &[&str]| paths.iter().any(|prefix| path.starts_with(prefix));
    match place {
        Place::Only(paths) => below(paths),
        Place::NotIn(paths) => !below(paths),
    }
}

fn broken(rule: &Rule, sources: &[Source]) -> String {
    let mut found = String::new();
    for source in sources {
        if source.is_test() || source.path.starts_with("e2e/") || allows(&rule.place, &source.path) {
            continue;
        }
        for (number, line) in code(&source.production) {
            if let Some(text) = rule.texts.iter().find(|text| line.contains(**text)) {
                writeln!(found, "{}:{number}: `{text}`: {}", source.path, rule.why).expect("a string");
            }
        }
    }
    found
}

#[test]
fn everything_is_in_its_place() {
    let sources = sources();
    let found: String = RULES.iter().map(|rule| broken(rule, &sources)).collect();
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn a_rule_can_be_broken() {
    let text = "//! Rows.\n// SELECT in a comment\nlet all = \"SELECT 1\";\n#[cfg(test)]\nmod tests {\n\"SELECT 2\"\n}\n";
    let source = |path: &str| Source {
        path: path.to_owned(),
        text: text.to_owned(),
        production: production(text),
    };
    let found = broken(&RULES[0], &[source("controller/src/engine/mod.rs")]);
    assert_eq!(
        found,
        "controller/src/engine/mod.rs:3: `SELECT `: SQL lives with the state\n"
    );
    assert_eq!(broken(&RULES[0], &[source("controller/src/state/jobs.rs")]), "");
    assert_eq!(broken(&RULES[0], &[source("controller/src/engine/tests.rs")]), "");
}

#[test]
fn no_file_is_too_long() {
    let long = |source: &Source| {
        let lines = source.production.lines().count();
        (!source.is_test() && lines > MOST_LINES).then(|| format!("{}: {lines} lines", source.path))
    };
    let found: Vec<_> = sources().iter().filter_map(long).collect();
    assert!(
        found.is_empty(),
        "over {MOST_LINES} lines without their tests: {found:#?}"
    );
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent = |source: &Source| !source.is_test() && !source.text.starts_with("//!");
    let found: Vec<_> = sources()
        .into_iter()
        .filter(silent)
        .map(|source| source.path)
        .collect();
    assert!(found.is_empty(), "do not begin with //!: {found:#?}");
}

#[test]
fn nothing_is_left_unfinished() {
    let mut found = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            if UNFINISHED.iter().any(|word| comment.contains(word)) {
                found.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    assert!(found.is_empty(), "finish it, or file an issue: {found:#?}");
}

#[test]
fn crates_keep_to_the_arrows() {
    let arrows: [(&str, &[&str]); 5] = [
        ("protocol", &["service", "controller", "worker", "ctl"]),
        ("service", &["controller", "worker", "ctl"]),
        ("controller", &["worker", "ctl"]),
        ("worker", &["controller", "ctl"]),
        ("ctl", &["controller", "worker"]),
    ];
    for (krate, strangers) in arrows {
        let manifest = fs::read_to_string(root().join(krate).join("Cargo.toml")).expect("a manifest");
        for stranger in strangers {
            let named = |line: &str| {
                line.starts_with(&format!("{stranger}.")) || line.starts_with(&format!("{stranger} "))
            };
            assert!(!manifest.lines().any(named), "{krate} must not know {stranger}");
        }
    }
    for heavy in ["tokio", "axum", "rusqlite", "rumqttc", "reqwest"] {
        let manifest = fs::read_to_string(root().join("protocol/Cargo.toml")).expect("a manifest");
        let named =
            |line: &str| line.starts_with(&format!("{heavy}.")) || line.starts_with(&format!("{heavy} "));
        assert!(
            !manifest.lines().any(named),
            "protocol must stay light: no {heavy}"
        );
    }
}

#[test]
fn every_migration_has_a_sample() {
    let folder = root().join("migrations");
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("migrations") {
        let name = entry.expect("an entry").file_name();
        if !name.to_string_lossy().ends_with(".sql") {
            continue;
        }
        count += 1;
        let sample = folder.join("sample").join(&name);
        assert!(
            sample.is_file(),
            "{} has no sample in migrations/sample/",
            name.display()
        );
    }
    assert!(count > 0, "no migrations found");
}

/// The lines of a document's shell blocks that carry neither mark.
fn unmarked(document: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut found = vec![];
    for line in document.lines() {
        match line.trim() {
            "```sh" => in_block = true,
            "```" => in_block = false,
            command if in_block && !command.is_empty() && !command.contains(['✓', '✗']) => {
                found.push(command);
            }
            _ => {}
        }
    }
    found
}

#[test]
fn every_command_of_the_installation_says_whether_a_test_runs_it() {
    let text = fs::read_to_string(root().join("deploy/README.md")).expect("readable");
    assert_eq!(unmarked(&text), Vec::<&str>::new());
    assert_eq!(unmarked("```sh\na # ✓\nb\n```\nc\n"), ["b"]);
}
