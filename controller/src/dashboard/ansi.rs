//! Colours of terminals as classes. Pure; everything but colour is dropped, and the text is escaped.

use maud::{Escaper, PreEscaped};
use std::fmt::Write as _;

use super::visible::visible;

/// What is switched on.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    colour: Option<u8>,
    bold: bool,
}

impl Look {
    /// Takes the numbers of one `ESC [ … m`.
    fn apply(&mut self, numbers: &str) {
        let mut numbers = numbers.split(';').map(|number| number.parse::<u8>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Self::default(),
                1 => self.bold = true,
                22 => self.bold = false,
                30..=37 => self.colour = Some(number - 30),
                90..=97 => self.colour = Some(number - 90 + 8),
                39 => self.colour = None,
                // a colour of 256 or of millions: its own numbers are skipped
                38 | 48 => match numbers.next() {
                    Some(5) => drop(numbers.next()),
                    Some(2) => drop(numbers.nth(2)),
                    _ => {}
                },
                _ => {}
            }
        }
    }

    fn open(self, out: &mut String) {
        let bold = if self.bold { "bold" } else { "" };
        // writing to a string does not fail
        let _ = match self.colour {
            Some(colour) => write!(out, "<span class=\"c{colour} {bold}\">"),
            None => write!(out, "<span class=\"{bold}\">"),
        };
    }
}

/// One line of a log as HTML.
pub(super) fn to_html(line: &str) -> PreEscaped<String> {
    let mut out = String::with_capacity(line.len() + 16);
    let mut look = Look::default();
    let mut rest = line;
    while let Some(at) = rest.find('\u{1b}') {
        text(&rest[..at], look, &mut out);
        rest = sequence(&rest[at + 1..], &mut look);
    }
    text(rest, look, &mut out);
    PreEscaped(out)
}

/// Reads what follows ESC; what is not a colour is left out.
fn sequence<'a>(rest: &'a str, look: &mut Look) -> &'a str {
    let Some(body) = rest.strip_prefix('[') else {
        return rest;
    };
    match body.find(|c: char| ('@'..='~').contains(&c)) {
        Some(end) => {
            if body[end..].starts_with('m') {
                look.apply(&body[..end]);
            }
            // the final character is ASCII
            &body[end + 1..]
        }
        None => "",
    }
}

fn text(text: &str, look: Look, out: &mut String) {
    let text: String = text.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
    if text.is_empty() {
        return;
    }
    let dressed = look != Look::default();
    if dressed {
        look.open(out);
    }
    let _ = Escaper::new(out).write_str(&visible(&text));
    if dressed {
        out.push_str("</span>");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_become_classes_and_the_rest_is_dropped() {
        assert_eq!(
            to_html("a\u{1b}[31mred\u{1b}[0m <b>").0,
            "a<span class=\"c1 \">red</span> &lt;b&gt;"
        );
        assert_eq!(to_html("\u{1b}[1;92mok").0, "<span class=\"c10 bold\">ok</span>");
        assert_eq!(to_html("\u{1b}[38;5;200mx\u{1b}[2Ky\u{7}").0, "xy");
        assert_eq!(to_html("\u{1b}[38;2;1;2;31mx").0, "x");
        assert_eq!(to_html("cut \u{1b}[3").0, "cut ");
        assert_eq!(to_html("\u{202e}gpj.exe").0, "[U+202E]gpj.exe");
    }

    proptest! {
        #[test]
        fn nothing_but_our_own_spans_is_markup(line in "[\u{1b}\\[0-9;mAK<>\"'&a-zä]{0,60}") {
            let html = to_html(&line).0;
            let bare = html.replace("</span>", "");
            let tags = bare.matches('<').count();
            prop_assert_eq!(tags, bare.matches("<span class=\"").count());
            prop_assert_eq!(html.matches("</span>").count(), tags);
        }
    }
}
