//! Characters that make a text read as something that it is not. Pure.

/// Whether a character hides, moves or reorders what is read: controls (line ends and tabs among
/// them), directional marks, separators of lines and paragraphs, and what takes no room.
///
/// Joiners (U+200C, U+200D) are not among them: languages and emoji are written with them.
pub const fn misleads(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::misleads;

    #[test]
    fn languages_and_emoji_are_no_harm() {
        assert!(!"Grüße, 日本語, עברית, فارسی, 👩\u{200d}💻".chars().any(misleads));
        assert!(
            "\u{1b}\n\u{85}\u{202e}\u{2066}\u{200b}\u{2029}\u{feff}"
                .chars()
                .all(misleads)
        );
    }
}
