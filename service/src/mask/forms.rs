//! A secret as programs print it.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// Shorter texts are no secrets, and hiding them would hide words.
pub(super) const MIN_SECRET: usize = 6;
/// Lines of a secret that are looked for apart, at most: a key file has fewer.
const MAX_LINES: usize = 256;

/// What is not escaped besides letters and digits: by RFC 3986, by browsers, by Python, in forms.
const PLAIN: [&[u8]; 4] = [b"-._~", b"-._~!'()*", b"-._~/", b"*-._"];

/// The whole secret and each of its lines, in every form.
pub(super) fn forms(secret: &str) -> Vec<Vec<u8>> {
    let whole = secret.trim();
    let lines = whole.lines().map(str::trim).take(MAX_LINES);
    let mut forms = vec![];
    for text in std::iter::once(whole).chain(lines) {
        if text.len() >= MIN_SECRET {
            add_forms(text, &mut forms);
        }
    }
    forms.retain(|form| form.len() >= MIN_SECRET);
    forms.sort_unstable();
    forms.dedup();
    forms
}

fn add_forms(text: &str, forms: &mut Vec<Vec<u8>>) {
    let bytes = text.as_bytes();
    forms.push(bytes.to_vec());
    forms.push(hex::encode(bytes).into_bytes());
    forms.push(hex::encode_upper(bytes).into_bytes());
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.get(1..json.len() - 1).unwrap_or_default();
    forms.push(json.as_bytes().to_vec());
    forms.push(json.replace('/', "\\/").into_bytes());
    forms.push(ascii_json(json).into_bytes());
    for upper in [true, false] {
        for plain in PLAIN {
            forms.push(percent(bytes, plain, upper));
        }
        forms.push(percent_all(bytes, upper));
    }
    for offset in 0..3 {
        forms.extend(base64_inside(bytes, offset));
    }
}

/// JSON as it is written where only ASCII may be.
fn ascii_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

fn percent(bytes: &[u8], plain: &[u8], upper: bool) -> Vec<u8> {
    // only forms spell a space as plus, and only they leave the asterisk first
    let plus = plain[0] == b'*';
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || plain.contains(byte) {
            out.push(*byte);
        } else if plus && *byte == b' ' {
            out.push(b'+');
        } else {
            push_percent(&mut out, *byte, upper);
        }
    }
    out
}

/// Every byte escaped.
pub(super) fn percent_all(bytes: &[u8], upper: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 * bytes.len());
    for byte in bytes {
        push_percent(&mut out, *byte, upper);
    }
    out
}

fn push_percent(out: &mut Vec<u8>, byte: u8, upper: bool) {
    let escaped = if upper {
        format!("%{byte:02X}")
    } else {
        format!("%{byte:02x}")
    };
    out.extend_from_slice(escaped.as_bytes());
}

/// The characters of a base64 text that depend on `bytes` alone when `offset` other bytes lie
/// before them, in both alphabets.
pub(super) fn base64_inside(bytes: &[u8], offset: usize) -> [Vec<u8>; 2] {
    let padded: Vec<u8> = std::iter::repeat_n(0, offset)
        .chain(bytes.iter().copied())
        .collect();
    let text = STANDARD_NO_PAD.encode(&padded);
    let (start, end) = ((offset * 8).div_ceil(6), padded.len() * 8 / 6);
    let inside = text.get(start..end).unwrap_or_default();
    let url_safe = inside.replace('+', "-").replace('/', "_");
    [inside.as_bytes().to_vec(), url_safe.into_bytes()]
}
