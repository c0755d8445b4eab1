//! A patch of git for people: a part per file, lines with their numbers. Pure.

use maud::{Markup, html};

/// Lines that are shown, at most; the rest is in the download.
const MOST: usize = 5000;

/// One file of a patch.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FilePatch {
    /// Its path, new unless it was removed.
    pub(super) path: String,
    /// Lines added and removed.
    pub(super) changed: (usize, usize),
    lines: Vec<Line>,
}

#[derive(Debug, PartialEq)]
struct Line {
    kind: Kind,
    /// Its numbers before and after.
    numbers: (Option<usize>, Option<usize>),
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Hunk,
    Added,
    Removed,
    Same,
    Note,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Hunk => "hunk",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Same => "same",
            Self::Note => "note",
        }
    }
}

/// Reads a patch; what it does not understand stands as a note.
pub(super) fn parse(patch: &str) -> Vec<FilePatch> {
    let mut files: Vec<FilePatch> = vec![];
    // numbers of the next lines, and how many lines the hunk still has on each side
    let (mut at, mut left) = ((0, 0), (0usize, 0usize));
    for text in patch.lines() {
        if let Some(names) = text.strip_prefix("diff --git ").filter(|_| left == (0, 0)) {
            let path = names.split_once(" b/").map_or(names, |(_, path)| path);
            files.push(FilePatch {
                path: path.to_owned(),
                ..FilePatch::default()
            });
            continue;
        }
        let Some(file) = files.last_mut() else { continue };
        if left == (0, 0) {
            if let Some(hunk) = hunk(text) {
                (at, left) = hunk;
                file.push(Kind::Hunk, (None, None), text);
            } else if !["index ", "--- ", "+++ "]
                .iter()
                .any(|known| text.starts_with(known))
            {
                file.push(Kind::Note, (None, None), text);
            }
            continue;
        }
        match text.as_bytes().first() {
            Some(b'+') => {
                file.changed.0 += 1;
                file.push(Kind::Added, (None, Some(at.1)), &text[1..]);
                (at.1, left.1) = (at.1 + 1, left.1.saturating_sub(1));
            }
            Some(b'-') => {
                file.changed.1 += 1;
                file.push(Kind::Removed, (Some(at.0), None), &text[1..]);
                (at.0, left.0) = (at.0 + 1, left.0.saturating_sub(1));
            }
            Some(b'\\') => file.push(Kind::Note, (None, None), text),
            _ => {
                file.push(
                    Kind::Same,
                    (Some(at.0), Some(at.1)),
                    text.get(1..).unwrap_or_default(),
                );
                at = (at.0 + 1, at.1 + 1);
                left = (left.0.saturating_sub(1), left.1.saturating_sub(1));
            }
        }
    }
    files
}

impl FilePatch {
    fn push(&mut self, kind: Kind, numbers: (Option<usize>, Option<usize>), text: &str) {
        self.lines.push(Line {
            kind,
            numbers,
            text: text.to_owned(),
        });
    }
}

/// First line numbers and lengths of `@@ -1,2 +3,4 @@`.
fn hunk(text: &str) -> Option<((usize, usize), (usize, usize))> {
    let mut ranges = text
        .strip_prefix("@@ -")?
        .split_once(" @@")?
        .0
        .split(" +")
        .map(|range| {
            let (first, length) = range.split_once(',').unwrap_or((range, "1"));
            Some((first.parse::<usize>().ok()?, length.parse::<usize>().ok()?))
        });
    let ((first, length), (new_first, new_length)) = (ranges.next()??, ranges.next()??);
    Some(((first, new_first), (length, new_length)))
}

/// How many of so many lines there is still room for.
fn take(room: &mut usize, lines: usize) -> usize {
    let shown = lines.min(*room);
    *room -= shown;
    shown
}

/// The files, unfolded while they are few.
pub(super) fn draw(files: &[FilePatch]) -> Markup {
    let mut room = MOST;
    html! {
        @for file in files {
            @let shown = take(&mut room, file.lines.len());
            details.file open[files.len() <= 10] {
                summary {
                    code { (file.path) } " "
                    span.added { "+" (file.changed.0) } " "
                    span.removed { "−" (file.changed.1) }
                }
                div.scroll tabindex="0" role="region" aria-label={ "Changes of " (file.path) } {
                    table.diff {
                        tbody {
                            @for line in &file.lines[..shown] {
                                tr class=(line.kind.name()) {
                                    td.number { @if let Some(number) = line.numbers.0 { (number) } }
                                    td.number { @if let Some(number) = line.numbers.1 { (number) } }
                                    td.sign { (match line.kind { Kind::Added => "+", Kind::Removed => "−", _ => "" }) }
                                    td.text { (line.text) }
                                }
                            }
                        }
                    }
                }
                @if shown < file.lines.len() {
                    p.hint { (file.lines.len() - shown) " more lines are in the download." }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "diff --git a/src/a.py b/src/a.py\nindex 1..2 100644\n--- a/src/a.py\n+++ b/src/a.py\n\
        @@ -1,3 +1,3 @@ def f\n same\n--- old\n+++ new\n last\n\\ No newline at end of file\n\
        diff --git a/x.bin b/x.bin\nnew file mode 100644\nGIT binary patch\nliteral 3\nKcmZ\n";

    #[test]
    fn lines_have_numbers_and_signs_that_look_like_headers_stay_lines() {
        let files = parse(PATCH);
        assert_eq!(
            files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
            ["src/a.py", "x.bin"]
        );
        assert_eq!(files[0].changed, (1, 1));
        let lines: Vec<_> = files[0]
            .lines
            .iter()
            .map(|line| (line.kind, line.numbers, line.text.as_str()))
            .collect();
        assert_eq!(lines[2], (Kind::Removed, (Some(2), None), "-- old"));
        assert_eq!(lines[3], (Kind::Added, (None, Some(2)), "++ new"));
        assert_eq!(lines[4], (Kind::Same, (Some(3), Some(3)), "last"));
        assert_eq!(files[1].lines[0].kind, Kind::Note);
    }

    #[test]
    fn text_is_escaped_and_a_long_patch_is_cut() {
        let mut patch = "diff --git a/a b/a\n@@ -0,0 +1,9000 @@\n".to_owned();
        for _ in 0..9000 {
            patch.push_str("+<script>\n");
        }
        let html = draw(&parse(&patch)).into_string();
        assert!(!html.contains("<script>"));
        assert!(html.contains("4001 more lines are in the download."));
        assert_eq!(parse("no patch at all\n@@ nonsense"), []);
    }
}
