//! The names that a source file defines, found line by line: good enough to
//! point a model to the right place and to notice that a function vanished.

use std::sync::LazyLock;

use regex::Regex;

/// A definition in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Its line, from 1.
    pub line: usize,
    /// That line, trimmed and cut to 120 characters.
    pub text: String,
}

/// Longest line that is kept of a definition.
const LONGEST: usize = 120;

const RUST: &str = r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:default\s+|const\s+|async\s+|unsafe\s+)*(?:fn|struct|enum|trait|mod|type|union|static|macro_rules!)\s+([A-Za-z_]\w*)|^\s*(?:pub(?:\([^)]*\))?\s+)?const\s+([A-Z_]\w*)\s*:|^\s*impl(?:<[^{]*?>)?\s+([^{]+?)\s*\{";
const PYTHON: &str = r"^\s*(?:async\s+)?(?:def|class)\s+([A-Za-z_]\w*)|^([A-Z][A-Z0-9_]*)\s*(?::[^=]+)?=";
const SCRIPT: &str = r"^\s*(?:export\s+)?(?:default\s+)?(?:abstract\s+|async\s+|declare\s+)*(?:function\s*\*?|class|interface|enum|namespace|type)\s+([A-Za-z_$][\w$]*)|^\s*(?:export\s+)?(?:const|let|var)\s+([A-Za-z_$][\w$]*)\s*(?::[^=]+)?=\s*(?:async\s*)?(?:function|\(|[A-Za-z_$][\w$]*\s*=>|class)|^(?:module\.)?exports\.([A-Za-z_$][\w$]*)\s*=";
const GO: &str =
    r"^func\s+(?:\([^)]*\)\s*)?([A-Za-z_]\w*)|^type\s+([A-Za-z_]\w*)|^(?:var|const)\s+([A-Za-z_]\w*)";
const SHELL: &str = r"^\s*(?:function\s+([A-Za-z_][\w:-]*)|([A-Za-z_][\w:-]*)\s*\(\s*\))";
const C: &str = r"^(?:(?:static|inline|extern|const|unsigned|signed|virtual|constexpr)\s+)*[A-Za-z_][\w:<>,]*[\s*&]+(~?[A-Za-z_][\w:]*)\s*\([^;]*$|^\s*(?:typedef\s+)?(?:struct|enum|union|class|namespace)\s+([A-Za-z_]\w*)|^#\s*define\s+([A-Za-z_]\w*)";
const JAVA: &str = r"^\s*(?:(?:public|private|protected|internal|static|final|abstract|sealed|override|open|data|async|suspend)\s+)*(?:class|interface|enum|record|object|fun|struct|trait)\s+([A-Za-z_]\w*)|^\s*(?:(?:public|private|protected|internal|static|final|abstract|override|async)\s+)+[\w<>\[\],.?]+\s+([A-Za-z_]\w*)\s*\(";
const RUBY: &str = r"^\s*(?:def|class|module)\s+([A-Za-z_][\w.:?!=]*)";

/// A language by the extensions of its files.
struct Language {
    extensions: &'static [&'static str],
    definition: Regex,
}

static LANGUAGES: LazyLock<Vec<Language>> = LazyLock::new(|| {
    let table: [(&'static [&'static str], &str); 8] = [
        (&["rs"], RUST),
        (&["py", "pyi"], PYTHON),
        (
            &[
                "js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "vue", "svelte",
            ],
            SCRIPT,
        ),
        (&["go"], GO),
        (&["sh", "bash", "zsh", "bats"], SHELL),
        (&["c", "h", "cc", "cpp", "cxx", "hpp", "hh"], C),
        (&["java", "kt", "kts", "cs", "swift", "scala"], JAVA),
        (&["rb"], RUBY),
    ];
    let languages = table.into_iter().map(|(extensions, pattern)| Language {
        extensions,
        definition: Regex::new(pattern).expect("the patterns are constant and compiled by a test"),
    });
    languages.collect()
});

/// Whether definitions can be found in files of this name.
pub fn is_source(path: &str) -> bool {
    language(path).is_some()
}

/// The definitions of a file, in order; none for a language that is not known.
pub fn symbols(path: &str, text: &str) -> Vec<Symbol> {
    let Some(language) = language(path) else {
        return Vec::new();
    };
    let lines = text.lines().enumerate();
    let found = lines.filter_map(|(i, line)| {
        let captures = language.definition.captures(line)?;
        let name = captures.iter().skip(1).flatten().next()?;
        Some(Symbol {
            name: name.as_str().to_owned(),
            line: i + 1,
            text: line.trim().chars().take(LONGEST).collect(),
        })
    });
    found.collect()
}

fn language(path: &str) -> Option<&'static Language> {
    let (_, extension) = path.rsplit_once('.')?;
    LANGUAGES
        .iter()
        .find(|language| language.extensions.contains(&extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str, text: &str) -> Vec<String> {
        symbols(path, text)
            .into_iter()
            .map(|symbol| symbol.name)
            .collect()
    }

    #[test]
    fn every_language_shows_its_definitions() {
        let rust = "pub(crate) async fn run() {}\nstruct A;\nimpl<T> From<T> for A {\n    const fn b() {}\nlet x = 1;\npub const LIMIT: u8 = 1;\n";
        assert_eq!(names("a.rs", rust), ["run", "A", "From<T> for A", "b", "LIMIT"]);
        assert_eq!(
            names("a.py", "class A:\n    async def f(self):\nMAX = 3\nx = 1\n"),
            ["A", "f", "MAX"]
        );
        let script = "export default class A {}\nexport const f = async (x) => x\nfunction g() {}\nexports.h = 1\nconst n = 1\n";
        assert_eq!(names("a.ts", script), ["A", "f", "g", "h"]);
        assert_eq!(
            names("a.go", "func (s *S) Run() {\ntype S struct {\nvar x = 1\n"),
            ["Run", "S", "x"]
        );
        assert_eq!(names("a.sh", "function a {\nb() {\nc\n"), ["a", "b"]);
        assert_eq!(
            names(
                "a.c",
                "static int f(int x)\n{\nstruct s {\n#define M 1\n  g(x);\n"
            ),
            ["f", "s", "M"]
        );
        assert_eq!(
            names("A.java", "public final class A {\n  private int f(int x) {\n"),
            ["A", "f"]
        );
        assert_eq!(names("a.rb", "module M\n  def f?\n"), ["M", "f?"]);
        assert!(names("a.txt", "fn x() {}").is_empty());
    }
}
