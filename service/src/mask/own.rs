//! The credentials that agentd itself gives out: known by their shape, so that they are
//! hidden also where nobody knows their text.

use super::forms::{base64_inside, percent_all};

/// How API tokens, workers' secrets and the key of the sealed store begin; 64 hex digits follow.
const PREFIXES: [&str; 3] = ["agt_", "agw_", "agk_"];
/// How join tokens begin; letters, digits, dots and dashes follow.
const JOIN: &str = "agj";

/// The beginning of a credential, and what follows it.
pub(super) struct Shape {
    pub(super) start: Vec<u8>,
    follows: fn(u8) -> bool,
    /// Fewer characters than this are none.
    at_least: usize,
}

impl Shape {
    /// Where the credential ends whose beginning ends at `from`; `None` if it is none.
    pub(super) fn end(&self, text: &[u8], from: usize) -> Option<usize> {
        let rest = text.get(from..)?;
        let length = rest.iter().take_while(|byte| (self.follows)(**byte)).count();
        (length >= self.at_least).then_some(from + length)
    }
}

/// Every shape in every encoding.
pub(super) fn shapes() -> Vec<Shape> {
    let mut shapes = vec![];
    for prefix in PREFIXES {
        add(prefix, is_hex, 16, &mut shapes);
    }
    for version in 1..=3 {
        let prefix = format!("{JOIN}{version}.");
        add(
            &prefix,
            |byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte),
            24,
            &mut shapes,
        );
    }
    shapes
}

fn add(prefix: &str, follows: fn(u8) -> bool, at_least: usize, shapes: &mut Vec<Shape>) {
    let bytes = prefix.as_bytes();
    let mut shape = |start: Vec<u8>, follows: fn(u8) -> bool, at_least: usize| {
        shapes.push(Shape {
            start,
            follows,
            at_least,
        });
    };
    shape(bytes.to_vec(), follows, at_least);
    shape(hex::encode(bytes).into_bytes(), is_hex, 2 * at_least);
    shape(hex::encode_upper(bytes).into_bytes(), is_hex, 2 * at_least);
    for upper in [true, false] {
        let is_percent = |byte: u8| byte == b'%' || is_hex(byte);
        shape(percent_all(bytes, upper), is_percent, 3 * at_least);
    }
    for offset in 0..3 {
        let [plain, url_safe] = base64_inside(bytes, offset);
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
        if url_safe != plain {
            shape(url_safe, is_base64, 4 * at_least / 3);
        }
        shape(plain, is_base64, 4 * at_least / 3);
    }
}

const fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}
