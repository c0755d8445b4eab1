//! Text from servers, models and repositories, made harmless for a terminal.

use std::borrow::Cow;

use protocol::text::misleads;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Removes control sequences and everything else that could move the cursor,
/// change colours or reorder what is read; keeps line ends and tabs.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_csi(&mut chars),
            c if is_harmful(c) => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The same on one line: line ends and tabs become spaces, runs of them one.
pub(crate) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in clean(text).split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// How many columns the text takes.
pub(crate) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text in at most `columns` columns; what was cut shows as `…`.
pub(crate) fn fit(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut used = 0;
    let mut out = String::new();
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > columns {
            break;
        }
        used += wide;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

const fn is_harmful(c: char) -> bool {
    misleads(c) && c != '\n' && c != '\t'
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_escape(chars: &mut Chars<'_>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_csi(chars);
        }
        // OSC, DCS, SOS, PM and APC run to BEL or ESC \; a line end stops a broken one
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            while let Some(c) = chars.next_if(|c| *c != '\n') {
                if c == '\u{7}' || c == '\u{9c}' {
                    return;
                }
                if c == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    return;
                }
            }
        }
        Some(' '..='~') => {
            while chars.next_if(|c| matches!(c, ' '..='/')).is_some() {}
            chars.next_if(|c| matches!(c, '0'..='~'));
        }
        _ => {}
    }
}

fn skip_csi(chars: &mut Chars<'_>) {
    while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    chars.next_if(|c| matches!(c, '@'..='~'));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_titles_and_cursor_moves_are_gone_and_words_stay() {
        let table = [
            ("plain\n\ttext", "plain\n\ttext"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("a\u{9b}2Jb", "ab"),
            ("\u{1b}(Bc", "c"),
            ("over\rwrite\u{8}", "overwrite"),
            ("\u{202e}txt.exe", "txt.exe"),
            ("ze\u{200b}ro\u{feff}", "zero"),
            ("\u{2066}li\u{2028}ne\u{2069}", "line"),
            ("\u{1b}]52;c;b3duZWQ=\u{7}clipboard", "clipboard"),
            ("\u{1b}P+q544e\u{1b}\\asks", "asks"),
            ("\u{1b}_Gf=24;AAAA\u{1b}\\draws", "draws"),
            ("\u{1b}^secret\u{1b}\\private", "private"),
            ("\u{1b}Xstring\u{1b}\\begins", "begins"),
            ("\u{1b}creset", "reset"),
            ("\u{1b}#8fills", "fills"),
            ("\u{1b}[6n\u{1b}[21treports", "reports"),
            ("\u{1b}[?1049h\u{1b}[?25lscreen", "screen"),
            ("\u{1b}[31", ""),
            ("\u{9d}0;x\u{9c}", "0;x"),
            ("bell\u{7}\u{b}\u{c}\0\u{7f}", "bell"),
            ("\u{1b}[1;31;4", ""),
            ("\u{1b}]never ends\nnext line", "\nnext line"),
            ("\u{1b}", ""),
        ];
        for (text, expected) in table {
            assert_eq!(clean(text), expected, "{text:?}");
        }
        assert_eq!(one_line(" two\n\n words\t"), "two words");
    }

    #[test]
    fn a_cut_text_never_takes_more_columns_than_it_may() {
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "ab…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("abc", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_harmful_survives(text in "[\u{0}-\u{ff}\u{202a}-\u{202e}]{0,60}", columns in 0_usize..20) {
            let cleaned = clean(&text);
            prop_assert!(!cleaned.chars().any(is_harmful));
            prop_assert_eq!(clean(&cleaned), cleaned.clone());
            prop_assert!(width(&fit(&one_line(&text), columns)) <= columns);
        }
    }
}
