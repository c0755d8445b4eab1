//! Makes the text of a program safe to show: no control sequences, one record
//! one line, no line without end. Pure.

/// A line that is longer is split: 16 KiB.
const MAX_LINE: usize = 16 << 10;

/// Where a control sequence is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    Escape,
    /// `ESC [` …, until a letter.
    Csi,
    /// `ESC ]` and the like …, until BEL or `ESC \`.
    Osc,
    OscEscape,
}

/// Removes escape sequences and control characters; of a line that was drawn
/// over by carriage returns only the last drawing stays. A tab stays.
pub(super) fn clean(text: &str) -> String {
    let text = text.trim_end_matches('\r');
    let last = text
        .rsplit('\r')
        .find(|part| !part.is_empty())
        .unwrap_or_default();
    let mut out = String::with_capacity(last.len());
    let mut state = State::Text;
    for c in last.chars() {
        state = match (state, c) {
            (State::Text, '\u{1b}') => State::Escape,
            (State::Text, '\u{9b}') => State::Csi,
            (State::Text, c) => {
                if c == '\t' || !c.is_control() {
                    out.push(c);
                }
                State::Text
            }
            (State::Escape, '[') => State::Csi,
            (State::Escape, ']' | 'P' | 'X' | '^' | '_') => State::Osc,
            (State::Escape, ' '..='/') => State::Escape,
            (State::Escape, _) => State::Text,
            (State::Csi, '@'..='~') => State::Text,
            (State::Csi, _) => State::Csi,
            (State::Osc, '\u{7}' | '\u{9c}') => State::Text,
            (State::Osc, '\u{1b}') => State::OscEscape,
            (State::Osc, _) => State::Osc,
            (State::OscEscape, '\\') => State::Text,
            (State::OscEscape, _) => State::Osc,
        };
    }
    out
}

/// Splits a line into pieces of at most [`MAX_LINE`] bytes, never inside a character.
pub(super) fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        if text.len() <= MAX_LINE {
            return Some(text);
        }
        let mut cut = MAX_LINE;
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        let (head, tail) = text.split_at(cut);
        rest = Some(tail);
        Some(head)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_sequences_and_overdrawn_text_go_and_tabs_stay() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m\tx"), "red\tx");
        assert_eq!(clean("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]0;t\u{7}!"), "link!");
        assert_eq!(clean(" 10 %\r 50 %\r100 %\r"), "100 %");
        assert_eq!(clean("a\u{8}\u{0}b"), "ab");
        assert_eq!(clean("\u{1b}(Bplain"), "plain");
    }

    #[test]
    fn a_long_line_is_split_between_characters() {
        let line = format!("x{}", "ä".repeat(MAX_LINE));
        let parts: Vec<&str> = pieces(&line).collect();
        assert!(parts.len() > 2 && parts.iter().all(|part| part.len() <= MAX_LINE));
        assert_eq!(parts.concat(), line);
        assert_eq!(pieces("").collect::<Vec<_>>(), [""]);
    }

    proptest! {
        #[test]
        fn nothing_dangerous_is_left(text in "\\PC{0,40}[\u{0}-\u{1f}\u{7f}-\u{9f}]{0,10}\\PC{0,40}") {
            prop_assert!(clean(&text).chars().all(|c| c == '\t' || !c.is_control()));
        }
    }
}
