//! Characters that hide or reorder what is read, made visible. Pure.
//!
//! Escaping alone does not help against them: a diff must not read as something that it is not.

use std::{borrow::Cow, fmt::Write as _};

use protocol::text::misleads;

/// The text with those characters as `[U+202E]`; line ends and tabs stay.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| misleads(c) && !matches!(c, '\n' | '\r' | '\t');
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmful(c) {
            // writing to a string does not fail
            let _ = write!(out, "[U+{:04X}]", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn what_hides_or_reorders_is_seen() {
        assert_eq!(visible("a\tb\r\n<p>"), "a\tb\r\n<p>");
        assert_eq!(
            visible("if admin\u{202e} \u{2066}// x\u{200b}\u{1b}"),
            "if admin[U+202E] [U+2066]// x[U+200B][U+001B]"
        );
    }
}
