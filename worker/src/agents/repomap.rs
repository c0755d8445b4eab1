//! A map of a repository within a budget: the tree with sizes, and the
//! definitions in the files that the words of the task point to.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::Path,
};

use ignore::WalkBuilder;

use super::symbols::{self, Symbol};

/// Most files that are listed.
const MOST_FILES: usize = 5000;
/// Largest file that is looked into, in bytes.
const LARGEST_READ: u64 = 256 * 1024;
/// Most files that are looked into: more would take seconds.
const MOST_READ: usize = 1500;
/// Files whose definitions are shown.
const MOST_OUTLINED: usize = 25;
/// Definitions shown of one file.
const MOST_SYMBOLS: usize = 60;
/// Words too common to point anywhere.
const COMMON: &str = "the and for with that this from have has not but are was were will should would could can \
    into when then than them they there which while what who how why all any add added adding make makes made \
    use used using new fix fixed fixes bug error fail fails failing failed test tests testing pass passes code \
    file files function method please change changes update line lines return returns value true false none null self";

/// A repository, looked through once.
#[derive(Clone, Debug, Default)]
pub struct RepoMap {
    files: Vec<FileEntry>,
    cut: bool,
}

/// A file of the map.
#[derive(Clone, Debug)]
struct FileEntry {
    path: String,
    bytes: u64,
    /// How strongly the words point to it.
    score: u32,
    symbols: Vec<Symbol>,
}

impl RepoMap {
    /// Looks through the files below `root` that git would not ignore. Links are
    /// never followed. `words` is the text that may point to files. Blocks on the disk.
    pub fn scan(root: &Path, words: &str) -> Self {
        let mut files = Vec::new();
        let mut cut = false;
        let walk = WalkBuilder::new(root)
            .hidden(false)
            .parents(false)
            .git_global(false)
            .git_exclude(false)
            .require_git(false)
            .follow_links(false)
            .filter_entry(|entry| entry.file_name() != ".git")
            .sort_by_file_name(Ord::cmp)
            .build();
        for entry in walk.flatten() {
            if !entry.file_type().is_some_and(|kind| kind.is_file()) {
                continue;
            }
            let Some(path) = entry.path().strip_prefix(root).ok().and_then(Path::to_str) else {
                continue;
            };
            if files.len() == MOST_FILES {
                cut = true;
                break;
            }
            files.push(FileEntry {
                path: path.to_owned(),
                bytes: entry.metadata().map_or(0, |meta| meta.len()),
                score: 0,
                symbols: Vec::new(),
            });
        }
        let words = Words::of(words);
        let readable = files.iter_mut().filter(|file| file.bytes <= LARGEST_READ);
        for file in readable.take(MOST_READ) {
            if let Ok(text) = fs::read_to_string(root.join(&file.path)) {
                file.symbols = symbols::symbols(&file.path, &text);
                file.score = words.score(&file.path, &file.symbols, &text);
            }
        }
        Self { files, cut }
    }

    /// The files to which the words point most, best first.
    pub fn pointed_to(&self, most: usize) -> Vec<&str> {
        let mut files: Vec<&FileEntry> = self.files.iter().filter(|file| file.score > 0).collect();
        files.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.path.cmp(&b.path)));
        files
            .into_iter()
            .take(most)
            .map(|file| file.path.as_str())
            .collect()
    }

    /// The map as text of at most about `budget` bytes: half of it for the tree at most, if there are definitions.
    pub fn render(&self, budget: usize) -> String {
        let outline = self.outline(budget / 2);
        let mut text = self.tree(budget.saturating_sub(outline.len()));
        text.push_str(&outline);
        text
    }

    /// Every file with its size; folders are summed up, the deepest first, until it fits.
    fn tree(&self, budget: usize) -> String {
        let deepest = self
            .files
            .iter()
            .map(|file| file.path.matches('/').count())
            .max()
            .unwrap_or(0);
        let head = format!(
            "{}{} files\n",
            self.files.len(),
            if self.cut { " or more" } else { "" }
        );
        let levels = (0..=deepest).rev().map(|levels| self.tree_of(levels));
        let fitting = levels.into_iter().find(|tree| head.len() + tree.len() <= budget);
        head + &fitting.unwrap_or_else(|| super::context::cut(&self.tree_of(0), budget))
    }

    fn tree_of(&self, levels: usize) -> String {
        let mut text = String::new();
        let mut folded: BTreeMap<String, (usize, u64)> = BTreeMap::new();
        for file in &self.files {
            match file.path.match_indices('/').nth(levels) {
                Some((end, _)) => {
                    let sum = folded.entry(file.path[..=end].to_owned()).or_default();
                    *sum = (sum.0 + 1, sum.1 + file.bytes);
                }
                None => text.push_str(&format!("{} ({} B)\n", file.path, file.bytes)),
            }
        }
        for (folder, (count, bytes)) in folded {
            text.push_str(&format!("{folder} ({count} files, {bytes} B)\n"));
        }
        text
    }

    fn outline(&self, budget: usize) -> String {
        let mut text = String::new();
        let by_path: BTreeMap<&str, &FileEntry> =
            self.files.iter().map(|file| (file.path.as_str(), file)).collect();
        for path in self.pointed_to(MOST_OUTLINED) {
            let symbols = &by_path[path].symbols;
            if symbols.is_empty() {
                continue;
            }
            let mut part = format!("\n{path}\n");
            for symbol in symbols.iter().take(MOST_SYMBOLS) {
                part.push_str(&format!("{:>6}: {}\n", symbol.line, symbol.text));
            }
            if text.len() + part.len() > budget {
                break;
            }
            text.push_str(&part);
        }
        if text.is_empty() {
            text
        } else {
            format!("\nDefinitions in the files that the task points to:\n{text}")
        }
    }
}

/// The words of a text that may point to files.
struct Words {
    /// Lower case, with the parts of compound names.
    words: BTreeSet<String>,
    /// Names as they were written, and paths.
    exact: BTreeSet<String>,
}

impl Words {
    fn of(text: &str) -> Self {
        let common: HashSet<&str> = COMMON.split_whitespace().collect();
        let (mut words, mut exact) = (BTreeSet::new(), BTreeSet::new());
        let tokens = text.split(|c: char| !(c.is_alphanumeric() || "_./-".contains(c)));
        for token in tokens.map(|token| token.trim_matches(['.', '/', '-'])).take(2000) {
            if token.contains(['.', '/', '_']) || token.chars().skip(1).any(char::is_uppercase) {
                exact.insert(token.to_owned());
            }
            for part in parts(token) {
                if part.len() >= 3 && !common.contains(part.as_str()) {
                    words.insert(part);
                }
            }
        }
        Self { words, exact }
    }

    fn score(&self, path: &str, symbols: &[Symbol], text: &str) -> u32 {
        let mut score = 0;
        let in_path: HashSet<String> = path.split('/').flat_map(parts).collect();
        score += 4 * self.words.iter().filter(|word| in_path.contains(*word)).count() as u32;
        let named = |name: &String| path == name || path.ends_with(&format!("/{name}"));
        score += 50 * self.exact.iter().filter(|name| named(name)).count() as u32;
        let defined: HashSet<String> = symbols.iter().flat_map(|symbol| parts(&symbol.name)).collect();
        score += 2 * self.words.iter().filter(|word| defined.contains(*word)).count() as u32;
        let whole: HashSet<&str> = symbols.iter().map(|symbol| symbol.name.as_str()).collect();
        let last = |name: &String| {
            name.rsplit(['.', '/', ':'])
                .next()
                .is_some_and(|last| whole.contains(last))
        };
        score += 10 * self.exact.iter().filter(|name| last(name)).count() as u32;
        score
            + self
                .exact
                .iter()
                .filter(|name| text.contains(name.as_str()))
                .count() as u32
    }
}

/// The lower-case parts of a name: `parseHTTPHeader_v2` → parse, httpheader, v2, and the whole.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut lower_before = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && lower_before) {
            parts.push(String::new());
        }
        lower_before = c.is_lowercase() || c.is_numeric();
        if c.is_alphanumeric()
            && let Some(part) = parts.last_mut()
        {
            part.extend(c.to_lowercase());
        }
    }
    if parts.len() > 1 {
        parts.push(name.to_lowercase());
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().expect("a parent")).expect("folders");
            fs::write(file, text).expect("a file");
        }
        dir
    }

    #[test]
    fn the_map_shows_sizes_and_the_definitions_the_task_points_to() {
        let dir = repository(&[
            (".git/config", "x"),
            (".gitignore", "target\n"),
            ("target/junk.rs", "fn junk() {}"),
            ("src/area.rs", "pub fn area_of(w: u32) -> u32 { w }\n"),
            ("src/other.rs", "fn unrelated() {}\n"),
        ]);
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).expect("a link");
        let map = RepoMap::scan(dir.path(), "The area of a rectangle is wrong in `area_of`.");
        let text = map.render(4000);
        assert!(text.starts_with("3 files\n"), "{text}");
        assert!(
            text.contains("src/area.rs (36 B)\n") && text.contains("     1: pub fn area_of(w: u32)"),
            "{text}"
        );
        assert!(
            !text.contains("unrelated") && !text.contains("junk") && !text.contains("link"),
            "{text}"
        );
        assert_eq!(map.pointed_to(3), ["src/area.rs"]);
    }

    #[test]
    fn a_large_tree_is_folded_until_it_fits() {
        let paths: Vec<String> = (0..200)
            .map(|i| format!("src/part{}/file{i}.txt", i % 4))
            .collect();
        let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "x")).collect();
        let dir = repository(&files);
        let map = RepoMap::scan(dir.path(), "");
        let text = map.render(300);
        assert!(
            text.contains("src/part0/ (50 files, 50 B)") && text.len() <= 300,
            "{text}"
        );
        assert!(map.render(40).len() <= 100);
    }

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(
            parts("parseHeader_v2"),
            ["parse", "header", "v2", "parseheader_v2"]
        );
        assert_eq!(parts("area"), ["area"]);
    }
}
