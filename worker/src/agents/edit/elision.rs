//! Lines with which a model says "and so on" instead of writing the code.

use std::sync::LazyLock;

use regex::Regex;

static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i)\b(rest|remaining|remainder|unchanged|existing|same|previous|prior|other|omitted|as before|as is|stays?|keep|above|below|etc|your|more|here|continues?|goes)\b",
    )
    .expect("the pattern is constant and compiled by a test")
});

static SENTENCE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i)^[\[(<]*(the )?(rest|remainder|remaining (code|part|lines|functions?|methods?|file)|existing (code|content|implementation|functions?|methods?|imports?)|other (code|functions?|methods?))\b.*\b(unchanged|same|as before|as is|here|omitted|remains?|stays?)\b.*$|^[\[(<]*(unchanged|no changes?|same as before|code omitted|omitted for brevity)\b",
    )
    .expect("the pattern is constant and compiled by a test")
});

/// The first of `lines` that stands for code that was left out. Ask only for
/// lines that the file does not have already.
pub(super) fn elision<'a>(path: &str, lines: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    lines
        .into_iter()
        .find(|line| stands_for_more(line.trim(), extension))
}

fn stands_for_more(line: &str, extension: &str) -> bool {
    let text = ["//", "#", "--", "/*", "<!--", "{/*", ";", "%", "\"\"\"", "*"]
        .iter()
        .find_map(|leader| line.strip_prefix(leader));
    let commented = text.is_some();
    let text = text
        .unwrap_or(line)
        .trim_start_matches(['/', '#', '*', '!'])
        .trim();
    let text = ["*/}", "*/", "-->", "\"\"\""]
        .iter()
        .find_map(|closer| text.strip_suffix(closer))
        .unwrap_or(text)
        .trim();
    let dotted =
        text.starts_with("...") || text.starts_with('…') || text.ends_with("...") || text.ends_with('…');
    let words = text.trim_matches(['.', '…', ' ', '(', ')', '[', ']', '<', '>']);
    let prose = matches!(extension, "md" | "mdx" | "markdown" | "rst" | "txt" | "adoc");
    if dotted && words.is_empty() {
        // `...` alone is code in Python and a separator in YAML, and prose may use it
        let may_be_real = matches!(extension, "py" | "pyi" | "yaml" | "yml") || prose;
        return if commented { !prose } else { !may_be_real };
    }
    let bracketed = line.starts_with(['[', '(', '<']);
    // `...name` is a spread, not a sentence
    let starts = text.starts_with("... ") || text.starts_with("...(") || text.starts_with('…');
    if dotted && (commented || bracketed || starts) && words.len() <= 80 {
        return WORDS.is_match(words);
    }
    (commented || bracketed) && !prose && text.len() <= 100 && SENTENCE.is_match(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elisions_are_seen() {
        for (path, line) in [
            ("a.rs", "    // ... rest unchanged"),
            ("a.rs", "// … rest unchanged …"),
            ("a.py", "# ... existing code ..."),
            ("a.js", "/* ... */"),
            ("a.html", "<!-- ... same as before ... -->"),
            ("a.rs", "..."),
            ("a.rs", "… rest unchanged"),
            ("a.ts", "// rest of the code remains unchanged"),
            ("a.py", "# The rest of the file stays the same"),
            ("a.go", "// existing code here"),
            ("a.tsx", "{/* ... other items ... */}"),
            ("a.py", "# (unchanged)"),
            ("a.md", "... rest of the document unchanged ..."),
        ] {
            assert_eq!(elision(path, [line]), Some(line), "{path}: {line}");
        }
    }

    #[test]
    fn code_and_prose_are_left_alone() {
        for (path, line) in [
            ("a.py", "    ..."),
            ("a.rs", "let x = ..;"),
            ("a.rs", "// Waits for the rest of the workers."),
            ("a.js", "const all = [...rest, last];"),
            ("a.js", "  ...existing,"),
            ("a.md", "And so on..."),
            ("a.yaml", "..."),
            ("a.rs", "println!(\"loading the rest...\");"),
            ("a.rs", "// Loading..."),
            ("a.c", "int printf(const char *format, ...);"),
        ] {
            assert_eq!(elision(path, [line]), None, "{path}: {line}");
        }
    }
}
