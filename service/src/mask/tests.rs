use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE},
};
use proptest::prelude::*;

use super::{forms::percent_all, *};

/// Characters of a secret's form that may stay at each side of an encoding: base64 shares
/// the first and the last character with its neighbours.
const REST: usize = 8;

/// Whether a piece of `form` that is long enough to matter is still there.
fn leaks(shown: &str, form: &str) -> bool {
    let form: Vec<char> = form.chars().collect();
    form.windows(REST.min(form.len()))
        .any(|piece| shown.contains(&piece.iter().collect::<String>()))
}

fn encodings(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let json = serde_json::to_string(secret).expect("text");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("ASCII");
    vec![
        secret.to_owned(),
        hex::encode(secret),
        hex::encode_upper(secret),
        json[1..json.len() - 1].to_owned(),
        text(percent_all(bytes, true)),
        text(percent_all(bytes, false)),
    ]
}

#[test]
fn a_secret_is_hidden_in_every_form_and_at_every_offset() {
    let secret = "sk-\"quoted\"/+~~ secret";
    let mask = Mask::of([secret]);
    for before in ["", "a", "ab", "abc"] {
        let plain = format!("{before}{secret}zz");
        let inside = STANDARD_NO_PAD.encode(secret);
        for encoded in [STANDARD.encode(&plain), URL_SAFE.encode(&plain)] {
            let shown = mask.apply(&encoded);
            assert!(shown.contains(MASKED), "{before}: {encoded} -> {shown}");
            assert!(shown.chars().count() < 14, "{before}: {encoded} -> {shown}");
            assert!(!leaks(&shown, &inside), "{shown}");
        }
    }
    let more = [
        "sk-%22quoted%22%2F%2B~~%20secret",
        "sk-%22quoted%22/%2B~~%20secret",
        "sk-%22quoted%22%2F%2B%7E%7E+secret",
    ];
    for form in encodings(secret).iter().map(String::as_str).chain(more) {
        let shown = mask.apply(&format!("key={form};")).into_owned();
        assert!(
            shown.starts_with("key=•••") && !leaks(&shown, form),
            "{form} -> {shown}"
        );
    }
}

#[test]
fn each_line_of_a_secret_is_hidden_and_short_words_are_not() {
    let mask = Mask::of(["first-line\nyes\nsecond-line"]);
    assert_eq!(mask.apply("yes first-line"), "yes •••");
    assert_eq!(mask.apply("a second-line"), "a •••");
    assert_eq!(mask.apply("first-line\nyes\nsecond-line!"), "•••!");
    assert_eq!(
        mask.apply(r#"{"k":"first-line\nyes\nsecond-line"}"#),
        r#"{"k":"•••"}"#
    );
    assert!(matches!(mask.apply("nothing here"), Cow::Borrowed(_)));
}

#[test]
fn broken_lines_of_an_encoding_hide_it_too() {
    let secret = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\nC7VJTUt9Us8cKjMzEfYyjiWA4R4\n-----END KEY-----";
    let mask = Mask::of([secret]);
    for width in [20, 64, 76] {
        for encoded in [STANDARD.encode(secret), hex::encode(secret)] {
            let mut broken = String::new();
            for (n, c) in encoded.chars().enumerate() {
                if n > 0 && n % width == 0 {
                    broken.push('\n');
                }
                broken.push(c);
            }
            // as a whole, and as a log sees it
            let shown = mask.apply(&broken).into_owned();
            assert!(!leaks(&shown, &encoded), "{width}: {shown}");
            let lines: Vec<_> = broken.lines().map(|line| mask.apply(line).into_owned()).collect();
            assert!(!leaks(&lines.join("\n"), &encoded), "{width}: {lines:?}");
        }
    }
}

#[test]
fn credentials_of_our_own_are_hidden_unknown() {
    let mask = Mask::default();
    for prefix in ["agt_", "agw_", "agk_", "agj1.68.-.", "agj2.68747470.ab12."] {
        let token = format!("{prefix}{}", "0123456789abcdef".repeat(4));
        for form in encodings(&token) {
            let shown = mask.apply(&format!("x {form} y")).into_owned();
            assert!(!leaks(&shown, &form), "{form} -> {shown}");
        }
        for before in ["", "a", "ab"] {
            let encoded = STANDARD.encode(format!("{before}{token}"));
            let shown = mask.apply(&encoded).into_owned();
            assert!(!leaks(&shown, &encoded[4..]), "{encoded} -> {shown}");
        }
    }
    for harmless in ["agt_12", "package agj1.x", "stagt_ and more", "6167745f"] {
        assert_eq!(mask.apply(harmless), harmless);
    }
}

#[test]
fn documents_are_hidden_in_texts_and_keys() {
    let mask = Mask::of(["hunter-22"]);
    let mut value = serde_json::json!({"a": ["hunter-22", 1, null], "hunter-22": {"b": "x hunter-22"}});
    mask.apply_json(&mut value);
    assert_eq!(
        value,
        serde_json::json!({"a": ["•••", 1, null], "•••": {"b": "x •••"}})
    );
}

#[test]
fn blotting_keeps_the_length() {
    let mask = Mask::of(["hunter-22"]);
    let mut bytes = b"a hunter-22\nb \xff hunter-22".to_vec();
    assert!(mask.blot(&mut bytes));
    assert_eq!(bytes, b"a *********\nb \xff *********");
    assert!(!mask.blot(&mut bytes));
}

proptest! {
    #[test]
    fn no_encoding_of_any_secret_is_left(
        secret in "[ -~äß€]{12,40}", before in "[ -~]{0,20}", after in "[ -~]{0,20}",
    ) {
        prop_assume!(secret.trim().len() >= 12);
        let secret = secret.trim();
        let mask = Mask::of([secret]);
        for form in encodings(secret) {
            let shown = mask.apply(&format!("{before}{form}{after}")).into_owned();
            prop_assert!(!shown.contains(&form), "{} -> {}", form, shown);
        }
        let plain = format!("{before}{secret}{after}");
        for encoded in [STANDARD.encode(&plain), URL_SAFE.encode(&plain)] {
            let shown = mask.apply(&encoded).into_owned();
            prop_assert!(shown.contains(MASKED), "{} -> {}", encoded, shown);
        }
    }

    #[test]
    fn wherever_a_line_breaks_little_is_left(secret in "[a-zA-Z0-9/+_-]{24,60}", cut in 0..60_usize) {
        let mask = Mask::of([secret.as_str()]);
        let cut = cut.min(secret.len());
        let shown = mask.apply(&format!("{}\n{}", &secret[..cut], &secret[cut..])).into_owned();
        prop_assert!(!leaks(&shown, &secret), "{}", shown);
    }

    #[test]
    fn any_text_is_taken(text in "\\PC{0,60}", secrets in prop::collection::vec("\\PC{6,20}", 0..3)) {
        let mask = Mask::of(secrets.iter().map(String::as_str));
        let _ = mask.apply(&text);
        let mut bytes = text.into_bytes();
        let length = bytes.len();
        mask.blot(&mut bytes);
        prop_assert_eq!(bytes.len(), length);
    }
}
