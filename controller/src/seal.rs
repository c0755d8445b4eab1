//! Seals secrets with the key of this installation: a file of the state folder that only
//! its owner can read, or a systemd credential.
//!
//! ChaCha20-Poly1305 with a random nonce; the name is bound to the value, so that rows
//! cannot be exchanged. It reads and writes no table.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use service::secret::Secret;

/// The key's file in the state folder.
const FILE: &str = "secrets.key";
/// Its name as a systemd credential (`LoadCredential=agentd-secrets.key:…`).
const CREDENTIAL: &str = "agentd-secrets.key";
/// Begins the text of the key; 64 hex digits follow. Logs are masked by it.
const PREFIX: &str = "agk_";

/// The key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NoKey {
    /// Its file cannot be read or written.
    #[error("the key of the secrets, {}, cannot be used: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error("{} can be read by others: chmod 600 it, and set every secret again if they may have read it", .0.display())]
    Open(PathBuf),
    /// It is no key.
    #[error(
        "{} holds no key: restore it from a backup, or remove it together with every secret that it has sealed",
        .0.display()
    )]
    NotAKey(PathBuf),
}

/// A sealed value cannot be opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret {name} was sealed by another key, or is damaged")]
pub struct Unopened {
    name: String,
}

/// The key, ready to use.
pub struct Seal {
    key: LessSafeKey,
    text: Secret,
}

impl Seal {
    /// The key of an installation; made if there is none yet.
    pub fn open(folder: &Path) -> Result<Self, NoKey> {
        let given = std::env::var_os("CREDENTIALS_DIRECTORY").map(|given| Path::new(&given).join(CREDENTIAL));
        match given.filter(|path| path.exists()) {
            Some(path) => Self::read(&path),
            None => Self::of_folder(&folder.join(FILE)),
        }
    }

    fn of_folder(path: &Path) -> Result<Self, NoKey> {
        let failed = |source| NoKey::Io {
            path: path.to_owned(),
            source,
        };
        if !path.try_exists().map_err(failed)? {
            let bytes: [u8; 32] = rand::random();
            write(path, &format!("{PREFIX}{}\n", hex::encode(bytes))).map_err(failed)?;
        }
        if fs::metadata(path).map_err(failed)?.mode() & 0o077 != 0 {
            return Err(NoKey::Open(path.to_owned()));
        }
        Self::read(path)
    }

    fn read(path: &Path) -> Result<Self, NoKey> {
        let text = fs::read_to_string(path).map_err(|source| NoKey::Io {
            path: path.to_owned(),
            source,
        })?;
        let text = text.trim();
        let key = text
            .strip_prefix(PREFIX)
            .and_then(|digits| hex::decode(digits).ok())
            .and_then(|bytes| UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok());
        Ok(Self {
            key: LessSafeKey::new(key.ok_or_else(|| NoKey::NotAKey(path.to_owned()))?),
            text: Secret::new(text),
        })
    }

    /// The key itself, for the mask.
    pub const fn text(&self) -> &Secret {
        &self.text
    }

    /// Seals a value under its name.
    pub fn seal(&self, name: &str, value: &str) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = value.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound(name), &mut sealed)
            .expect("a value of a few KiB can be sealed");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens what was sealed under this name.
    pub fn open_value(&self, name: &str, sealed: &[u8]) -> Result<Secret, Unopened> {
        let open = || {
            let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut bytes = sealed.to_vec();
            let value = self.key.open_in_place(nonce, bound(name), &mut bytes).ok()?;
            String::from_utf8(value.to_vec()).ok()
        };
        open().map(Secret::new).ok_or_else(|| Unopened {
            name: name.to_owned(),
        })
    }
}

fn bound(name: &str) -> Aad<String> {
    Aad::from(format!("agentd secret {name}"))
}

/// A new file for its owner alone, whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_value_opens_under_its_own_name_and_key_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let seal = Seal::open(folder.path()).expect("made");
        let sealed = seal.seal("A", "a value\nof two lines");
        assert_ne!(sealed, seal.seal("A", "a value\nof two lines"), "another nonce");
        let again = Seal::open(folder.path()).expect("read");
        let value = again.open_value("A", &sealed).expect("opens");
        assert_eq!(value.expose(), "a value\nof two lines");
        let unopened = again.open_value("B", &sealed).expect_err("bound to A");
        assert!(unopened.to_string().contains("the secret B"), "{unopened}");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open_value("A", &changed).is_err(), "byte {at}");
            assert!(seal.open_value("A", &sealed[..at]).is_err(), "cut at {at}");
        }
        let other = tempfile::tempdir().expect("a folder");
        let other = Seal::open(other.path()).expect("made");
        assert!(other.open_value("A", &sealed).is_err());
    }

    #[test]
    fn the_key_is_for_its_owner_alone_and_must_be_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let seal = Seal::open(folder.path()).expect("made");
        let path = folder.path().join(FILE);
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_to_string(&path).expect("text").trim(),
            seal.text().expose()
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        assert!(matches!(Seal::open(folder.path()), Err(NoKey::Open(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
        fs::write(&path, "agk_12").expect("written");
        assert!(matches!(Seal::open(folder.path()), Err(NoKey::NotAKey(_))));
    }
}
