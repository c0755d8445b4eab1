//! Secrets of steps, as workflows and the API name them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest name.
const MAX_NAME: usize = 64;
/// Variables that programs cannot do without, or that change what runs: no secret takes their place.
const TAKEN: [&str; 8] = [
    "PATH", "HOME", "SHELL", "TMPDIR", "USER", "IFS", "ENV", "BASH_ENV",
];

/// Why a text names no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecretName {
    /// Other characters, or too many.
    #[error("a secret is named like FORGE_TOKEN: capital letters, digits and underscores, at most 64")]
    Characters,
    /// The name means something to programs.
    #[error("programs need the variable of that name for something else: choose another one")]
    Taken,
}

/// Whether a text may name a secret: its name becomes the name of an environment variable.
pub fn check_secret_name(name: &str) -> Result<(), InvalidSecretName> {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if name.len() > MAX_NAME
        || !name.starts_with(|c: char| c.is_ascii_uppercase())
        || !name.bytes().all(allowed)
    {
        return Err(InvalidSecretName::Characters);
    }
    if TAKEN.contains(&name) || name.starts_with("LD_") || name.starts_with("GIT_CONFIG") {
        return Err(InvalidSecretName::Taken);
    }
    Ok(())
}

/// A secret that a step gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretUse {
    /// Its name.
    pub name: String,
    /// How the step's command gets it.
    #[serde(default, rename = "as")]
    pub form: SecretForm,
}

/// How a command gets a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretForm {
    /// In the environment variable of its name.
    #[default]
    Env,
    /// In a file that only this attempt can read; the variable `<NAME>_FILE` says where.
    File,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_variables() {
        for good in ["FORGE_TOKEN", "A", "K8S_KEY_2"] {
            assert_eq!(check_secret_name(good), Ok(()), "{good}");
        }
        for bad in ["", "token", "2FA", "_A", "A-B", "A B", "Ä", &"A".repeat(65)] {
            assert_eq!(
                check_secret_name(bad),
                Err(InvalidSecretName::Characters),
                "{bad}"
            );
        }
        for bad in ["PATH", "LD_PRELOAD", "BASH_ENV", "GIT_CONFIG_COUNT"] {
            assert_eq!(check_secret_name(bad), Err(InvalidSecretName::Taken), "{bad}");
        }
    }
}
