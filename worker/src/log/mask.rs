//! Hides the secrets that this attempt knows, in the forms in which programs
//! print them: raw, percent-, hex-, JSON- and base64-encoded.

use std::sync::{Arc, RwLock};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// What is shown in place of a secret.
const MASKED: &str = "•••";
/// Shorter texts are no secrets, and hiding them would hide words.
const MIN_SECRET: usize = 6;

/// The secrets of an attempt; cheap to clone, all clones share them.
#[derive(Clone, Default)]
pub struct Mask(Arc<RwLock<Vec<String>>>);

impl Mask {
    /// Hides this text from now on, each of its lines apart.
    pub fn add(&self, secret: &str) {
        let Ok(mut needles) = self.0.write() else {
            return;
        };
        for line in secret
            .lines()
            .map(str::trim)
            .filter(|line| line.len() >= MIN_SECRET)
        {
            for form in forms(line) {
                if !needles.contains(&form) {
                    needles.push(form);
                }
            }
        }
        // a longer form may contain a shorter one
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
    }

    /// The text without secrets.
    pub fn apply(&self, text: String) -> String {
        let Ok(needles) = self.0.read() else {
            return text;
        };
        needles.iter().fold(text, |text, needle| {
            if text.contains(needle.as_str()) {
                text.replace(needle.as_str(), MASKED)
            } else {
                text
            }
        })
    }
}

/// A secret as programs print it.
fn forms(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).unwrap_or_default();
    let mut forms = vec![
        secret.to_owned(),
        protocol::http::encode(secret),
        hex::encode(secret),
        hex::encode_upper(secret),
        json.trim_matches('"').to_owned(),
    ];
    for offset in 0..3 {
        forms.extend(base64_inside(secret.as_bytes(), offset));
    }
    forms.retain(|form| form.len() >= MIN_SECRET);
    forms
}

/// The characters of a base64 text that depend on the secret alone when
/// `offset` other bytes lie before it, in both alphabets.
fn base64_inside(secret: &[u8], offset: usize) -> [String; 2] {
    let padded: Vec<u8> = std::iter::repeat_n(0, offset)
        .chain(secret.iter().copied())
        .collect();
    let text = STANDARD_NO_PAD.encode(&padded);
    let start = (offset * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    let inside = text.get(start..end).unwrap_or_default().to_owned();
    let url_safe = inside.replace('+', "-").replace('/', "_");
    [inside, url_safe]
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    #[test]
    fn a_secret_is_hidden_in_every_form_and_at_every_offset() {
        let mask = Mask::default();
        let secret = "sk-\"quoted\"/+~~secret";
        mask.add(secret);
        for before in ["", "a", "ab", "abc"] {
            let plain = format!("{before}{secret}zz");
            for encoded in [STANDARD.encode(&plain), URL_SAFE.encode(&plain)] {
                let shown = mask.apply(encoded.clone());
                assert!(shown.contains(MASKED), "{before}: {encoded} -> {shown}");
            }
        }
        for form in [
            secret.to_owned(),
            protocol::http::encode(secret),
            hex::encode(secret),
            serde_json::to_string(secret).expect("text"),
        ] {
            let shown = mask.apply(format!("key={form};"));
            assert!(shown.contains(MASKED) && !shown.contains(&form), "{shown}");
        }
    }

    #[test]
    fn each_line_of_a_secret_is_hidden_and_short_words_are_not() {
        let mask = Mask::default();
        mask.add("first-line\nyes\nsecond-line");
        assert_eq!(mask.apply("yes first-line".into()), "yes •••");
        assert_eq!(mask.apply("a second-line".into()), "a •••");
    }
}
