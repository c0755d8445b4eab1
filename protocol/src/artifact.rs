//! Artifacts and blobs: named files of a job and their bytes by sha256.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::misleads;

/// The SHA-256 of some bytes; prints as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a sha256: expected 64 hex digits")]
pub struct InvalidSha256(String);

impl FromStr for Sha256 {
    type Err = InvalidSha256;

    fn from_str(text: &str) -> Result<Self, InvalidSha256> {
        let invalid = || InvalidSha256(text.chars().take(80).collect());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(invalid());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| (c as char).to_digit(16).ok_or_else(invalid);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Bytes in the blob store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlobRef {
    /// Their hash.
    pub sha256: Sha256,
    /// Their number.
    pub size: u64,
}

/// A named file that an attempt made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactRef {
    /// Name within the step; see [`check_name`].
    pub name: String,
    /// Hash of its bytes.
    pub sha256: Sha256,
    /// Size in bytes.
    pub size: u64,
}

/// What is wrong with an artifact's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("artifact name {name:?} {problem}")]
pub struct InvalidName {
    name: String,
    problem: &'static str,
}

/// Checks the name of an artifact: at most 255 bytes and 8 levels, relative,
/// without `..`, backslashes, and characters that hide or reorder what is read.
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    let problem = if name.is_empty() || name.len() > 255 {
        "must have 1 to 255 bytes"
    } else if name.split('/').count() > 8 {
        "has more than 8 levels"
    } else if name.split('/').any(|level| matches!(level, "" | "." | "..")) {
        "must be relative and without empty, `.` or `..` levels"
    } else if name.chars().any(|c| c == '\\' || misleads(c)) {
        "has a backslash, or a character that hides or reorders what is read"
    } else {
        return Ok(());
    };
    Err(InvalidName {
        name: name.chars().take(80).collect(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_that_passes_stays_below_its_folder_and_on_its_line(name in r"[a/.\\~: \n\x1b\u{202e}é-]{0,20}") {
            if check_name(&name).is_ok() {
                let normal = |part| matches!(part, std::path::Component::Normal(_));
                prop_assert!(std::path::Path::new(&name).components().all(normal));
                prop_assert!(!name.chars().any(char::is_control));
            }
        }
    }

    #[test]
    fn hashes_round_trip_and_reject_other_text() {
        let hash = Sha256(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!("é".repeat(32).parse::<Sha256>().is_err());
        assert!("zz".repeat(32).parse::<Sha256>().is_err());
    }

    #[test]
    fn names_stay_inside_their_folder() {
        for good in ["patch", "cycle#2/test/report.json", "a.log"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let long = "x".repeat(256);
        for bad in [
            "",
            ".",
            "..",
            "/etc/passwd",
            "../../etc/cron.d/x",
            "a/../b",
            "a/..",
            "./a",
            "a/./b",
            "a//b",
            "a/",
            "a\\b",
            "..\\..\\x",
            "C:\\autorun.inf",
            "a\nb",
            "a\rb",
            "a\0b",
            "a\tb",
            "a\u{1b}[2Jb",
            "a\u{9b}2Jb",
            "a\u{7f}b",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200b}b",
            "a\u{2028}b",
            "1/2/3/4/5/6/7/8/9",
            &long,
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
