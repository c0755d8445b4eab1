//! Hides secrets in texts, in the forms in which programs print them: raw, percent-, hex-,
//! JSON- and base64-encoded, as a whole and line by line, also where a line break cuts them.
//! Credentials of agentd's own are hidden by their shape.
//!
//! What is left of a secret that was cut: less than eight characters of it. A program that
//! takes a secret apart (every character on a line of its own, another encoding) is not
//! outwitted by this: it helps against accidents.

mod forms;
mod needles;
mod own;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, LazyLock, RwLock},
};

use serde_json::Value;

use self::needles::Needles;

/// What is shown in place of a secret.
pub const MASKED: &str = "•••";

/// Without any secret: only our own credentials are looked for.
static BARE: LazyLock<Arc<Needles>> = LazyLock::new(|| Arc::new(Needles::new(&[])));

/// Known secrets; cheap to clone, all clones share them.
#[derive(Clone)]
pub struct Mask(Arc<RwLock<Known>>);

struct Known {
    secrets: Vec<String>,
    needles: Arc<Needles>,
}

impl Default for Mask {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Known {
            secrets: vec![],
            needles: BARE.clone(),
        })))
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// A mask for these.
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mask = Self::default();
        mask.add_all(secrets);
        mask
    }

    /// Hides this text from now on.
    pub fn add(&self, secret: &str) {
        self.add_all([secret]);
    }

    /// Hides these texts from now on.
    pub fn add_all<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) {
        // what panicked while it held the lock has changed nothing
        let mut known = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = known.secrets.len();
        for secret in secrets {
            if !known.secrets.iter().any(|old| old == secret) {
                known.secrets.push(secret.to_owned());
            }
        }
        if known.secrets.len() > before {
            known.needles = Arc::new(Needles::new(&known.secrets));
        }
    }

    fn needles(&self) -> Arc<Needles> {
        let known = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.needles.clone()
    }

    /// The text without secrets.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let found = self.needles().find(text.as_bytes());
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for range in found {
            // a form may begin or end within a character of the text only if that character is hidden too
            let start = floor(text, range.start).max(from);
            let end = ceil(text, range.end);
            out.push_str(&text[from..start]);
            out.push_str(MASKED);
            from = end;
        }
        out.push_str(&text[from..]);
        Cow::Owned(out)
    }

    /// Hides secrets in place; whether there were any. The length stays.
    pub fn blot(&self, bytes: &mut [u8]) -> bool {
        let found = self.needles().find(bytes);
        for range in &found {
            bytes[range.clone()].fill(b'*');
        }
        !found.is_empty()
    }

    /// Hides secrets in every text of a document, keys of maps included.
    pub fn apply_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(hidden) = self.apply(text) {
                    *text = hidden;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.apply_json(item)),
            Value::Object(map) => self.apply_map(map),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The same for a map.
    pub fn apply_map(&self, map: &mut serde_json::Map<String, Value>) {
        map.values_mut().for_each(|value| self.apply_json(value));
        let is_hidden = |key: &String| matches!(self.apply(key), Cow::Owned(_));
        let hidden: Vec<String> = map.keys().filter(|key| is_hidden(key)).cloned().collect();
        for key in hidden {
            if let Some(value) = map.remove(&key) {
                map.insert(self.apply(&key).into_owned(), value);
            }
        }
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}
