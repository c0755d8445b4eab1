//! A backup is all or nothing: every cut and every flipped byte is noticed before anything changes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use jiff::Timestamp;
use protocol::{artifact::Sha256, id::AttemptId};
use sha2::Digest;

use super::*;
use crate::{
    artifact::{BlobStore, Logs},
    state::{Store, artifacts, meta},
};

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("in range")
}

/// A state folder with a blob and a key file.
fn state(folder: &Path) -> Sha256 {
    fs::create_dir_all(folder).expect("made");
    let store = Store::open(&folder.join(DATABASE)).expect("opens");
    let blobs = BlobStore::open(folder, 1 << 20, 0).expect("opens");
    let sha256 = Sha256(sha2::Sha256::digest(b"a blob").into());
    blobs
        .append(&sha256, 0, 6, [Bytes::from("a blob")])
        .expect("stored");
    artifacts::insert_blob(store.connection(), &sha256, 6, now()).expect("written");
    meta::set(store.connection(), meta::EPOCH, "1900000000").expect("written");
    fs::write(folder.join("ca.key"), "a key").expect("written");
    fs::write(folder.join("admin.token"), "plain").expect("written");
    fs::write(folder.join("endpoints.json"), "{}").expect("written");
    sha256
}

fn back_up(folder: &Path, to: &Path) -> u64 {
    let blobs = BlobStore::open(folder, 1 << 20, 0).expect("opens");
    let logs = Logs::open(folder, 1 << 20).expect("opens");
    let source = Source {
        folder,
        blobs: &blobs,
        logs: &logs,
        configuration: "http: {}\n",
        version: "1.2.3",
        at: now(),
    };
    write(&source, fs::File::create(to).expect("made")).expect("written")
}

struct Case {
    folder: tempfile::TempDir,
    sha256: Sha256,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let sha256 = state(&folder.path().join("old"));
        assert_eq!(
            back_up(&folder.path().join("old"), &folder.path().join("b.tar")),
            0
        );
        Self { folder, sha256 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn restore(&self, file: &str, to: &str, replace: bool) -> Result<Restored, RestoreError> {
        restore(&self.path(file), &self.path(to), replace, now())
    }
}

#[test]
fn what_was_backed_up_is_there_again_with_a_higher_epoch_and_a_token_of_its_own() {
    let case = Case::new();
    let restored = case.restore("b.tar", "new", false).expect("restored");
    assert_eq!(
        (restored.blobs, restored.missing, restored.epoch),
        (1, 0, 1_900_000_001)
    );
    let new = case.path("new");
    let blobs = BlobStore::open(&new, 1 << 20, 0).expect("opens");
    assert_eq!(fs::read(blobs.path(&case.sha256)).expect("there"), b"a blob");
    assert_eq!(fs::read_to_string(new.join("ca.key")).expect("there"), "a key");
    assert!(
        fs::read_to_string(new.join("admin.token"))
            .expect("made")
            .starts_with("agt_")
    );
    assert!(!new.join("endpoints.json").exists() && !new.join(".restoring").exists());
    assert!(
        !case.path("old").join("backup.db").exists(),
        "the copy of the database is gone"
    );
    Store::open(&new.join(DATABASE)).expect("opens");
}

#[test]
fn a_folder_with_something_in_it_is_refused_unless_it_may_be_moved_aside() {
    let case = Case::new();
    let error = case.restore("b.tar", "old", false).expect_err("not empty");
    assert!(error.to_string().contains("is not empty"), "{error}");
    let restored = case.restore("b.tar", "old", true).expect("restored");
    let aside = restored.aside.expect("something was there");
    assert_eq!(
        fs::read_to_string(aside.join("admin.token")).expect("kept"),
        "plain"
    );
}

#[test]
fn every_cut_and_every_changed_byte_is_refused_with_a_sentence() {
    let case = Case::new();
    let whole = fs::read(case.path("b.tar")).expect("read");
    // the two empty blocks at the end are tar's alone
    let end = whole.len() - 2 * tape::BLOCK;
    let refused = |bytes: &[u8], what: &str| {
        fs::write(case.path("bad.tar"), bytes).expect("written");
        let error = case.restore("bad.tar", "new", false).expect_err(what);
        let left: Vec<_> = fs::read_dir(case.path("new"))
            .map(|entries| {
                entries
                    .filter_map(Result::ok)
                    .map(|entry| entry.file_name())
                    .collect()
            })
            .unwrap_or_default();
        assert!(left.iter().all(|name| name == "lock"), "{what}: {left:?}");
        error.to_string()
    };
    for at in (0..end - tape::BLOCK).step_by(4099) {
        let error = refused(&whole[..at], &format!("cut at {at}"));
        assert!(
            error.contains("cut") || error.contains("is no backup"),
            "{at}: {error}"
        );
        let mut changed = whole.clone();
        changed[at] ^= 0x40;
        let error = refused(&changed, &format!("changed at {at}"));
        assert!(
            error.contains("damaged") || error.contains("is no backup") || error.contains("cut"),
            "{at}: {error}"
        );
    }
    let error = refused(b"hello", "something else");
    assert!(error.contains("is no backup of agentd"), "{error}");
}

#[test]
fn a_blob_that_lost_its_file_is_counted_and_hinders_nothing() {
    let case = Case::new();
    let blobs = BlobStore::open(&case.path("old"), 1 << 20, 0).expect("opens");
    fs::remove_file(blobs.path(&case.sha256)).expect("removed");
    assert_eq!(back_up(&case.path("old"), &case.path("c.tar")), 1);
    let restored = case.restore("c.tar", "new", false).expect("restored");
    assert_eq!((restored.blobs, restored.missing), (0, 1));
}

#[test]
fn no_entry_leaves_the_folder() {
    let attempt = AttemptId::new();
    for good in [
        format!("logs/{attempt}.log"),
        "agentd.db".into(),
        "files/ca.key".into(),
    ] {
        assert!(restore::place_of(&good).is_some(), "{good}");
    }
    for bad in [
        "../x",
        "/etc/passwd",
        "files/../x",
        "files/.x",
        "files/lock",
        "files/agentd.db-wal",
        "logs/x",
        "blobs/aa/bb",
        "x",
        "",
    ] {
        assert!(restore::place_of(bad).is_none(), "{bad}");
    }
}
