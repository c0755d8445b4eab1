//! The folder where a daemon keeps its state: where it is, that it can be
//! written, and that one process alone uses it.

use std::{
    ffi::OsString,
    fs::{DirBuilder, File, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The file that the owner of the folder holds locked.
const LOCK_FILE: &str = "lock";

/// How long a folder may be held for an owner that has ended, by who clears up after it.
const CLEARING: Duration = Duration::from_secs(5);

/// How often it is asked for meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A state folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Nothing says where it is.
    #[error("no state folder: neither state_dir, STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set")]
    Nowhere,
    /// `~` is the shell's, not ours.
    #[error("state_dir {}: `~` is not expanded here: write the whole path", _0.display())]
    Tilde(PathBuf),
    /// It cannot be made or written.
    #[error("cannot write the state folder {}: {cause}: make it writable, or set state_dir to another", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Another process has it.
    #[error("the state folder {} is in use by process {owner}: stop that one, or set another state_dir", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
        /// The process, or `?`.
        owner: String,
    },
}

/// Where the state of `app` lives: as configured, else `$STATE_DIRECTORY`, else
/// `$XDG_STATE_HOME/app`, else `~/.local/state/app`. Touches nothing.
pub fn locate(app: &str, configured: Option<&Path>) -> Result<PathBuf, StateDirError> {
    locate_with(app, configured, |name| std::env::var_os(name))
}

fn locate_with(
    app: &str,
    configured: Option<&Path>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, StateDirError> {
    if let Some(path) = configured {
        if path.starts_with("~") {
            return Err(StateDirError::Tilde(path.to_owned()));
        }
        return Ok(path.to_owned());
    }
    let folder = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(folders) = variable("STATE_DIRECTORY").filter(|value| !value.is_empty()) {
        // systemd joins several with colons; the first is ours
        return std::env::split_paths(&folders)
            .next()
            .ok_or(StateDirError::Nowhere);
    }
    folder("XDG_STATE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/state")))
        .map(|base| base.join(app))
        .ok_or(StateDirError::Nowhere)
}

/// Makes the folder if it is missing (mode 0700), proves that it can be written, and locks it
/// for this process until the guard is dropped.
pub fn open(path: &Path) -> Result<StateDir, StateDirError> {
    let unusable = |cause| StateDirError::Unusable {
        path: path.to_owned(),
        cause,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(unusable)?;
    let mut lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join(LOCK_FILE))
        .map_err(unusable)?;
    let began = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {
                let owner = owner(&mut lock);
                if began.elapsed() > CLEARING || lives(&owner) {
                    let path = path.to_owned();
                    return Err(StateDirError::InUse { path, owner });
                }
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(TryLockError::Error(cause)) => return Err(unusable(cause)),
        }
    }
    write_owner(&mut lock).map_err(unusable)?;
    Ok(StateDir {
        path: path.to_owned(),
        lock,
    })
}

/// Whether a process is there and has not ended; one that cannot be told is.
fn lives(process: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => !stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z')),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound || !Path::new("/proc/self").exists(),
    }
}

/// Writes or replaces a file as a whole, readable by its owner alone: after a crash the old or the
/// new one is there, and what this returned for is on disk.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    // one that was left behind may have other permissions
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The number that another process wrote into the lock file.
fn owner(lock: &mut File) -> String {
    let mut text = String::new();
    let _ = lock.rewind();
    let read = lock.take(20).read_to_string(&mut text);
    match text.trim() {
        number if read.is_ok() && number.bytes().all(|c| c.is_ascii_digit()) && !number.is_empty() => {
            number.to_owned()
        }
        _ => "?".to_owned(),
    }
}

/// Also proves that the disk takes bytes: a full one fails here, before anything is accepted.
fn write_owner(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())?;
    lock.sync_all()
}

/// A state folder that this process owns.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// The kernel unlocks it when it is closed, also after a kill.
    lock: File,
}

impl StateDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lock, for a process that clears up after this one: the folder is free when both let go.
    pub fn share_lock(&self) -> std::io::Result<File> {
        self.lock.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_found_in_this_order() {
        let locate = |configured: Option<&str>, vars: &[(&str, &str)]| {
            locate_with("agentd", configured.map(Path::new), |name| {
                vars.iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| value.into())
            })
        };
        let home = ("HOME", "/home/ada");
        let xdg = ("XDG_STATE_HOME", "/xdg");
        let systemd = ("STATE_DIRECTORY", "/var/lib/agentd:/var/lib/other");
        let found = |result: Result<PathBuf, StateDirError>| result.expect("a place");
        assert_eq!(
            found(locate(None, &[home])),
            Path::new("/home/ada/.local/state/agentd")
        );
        assert_eq!(found(locate(None, &[home, xdg])), Path::new("/xdg/agentd"));
        assert_eq!(
            found(locate(None, &[home, xdg, systemd])),
            Path::new("/var/lib/agentd")
        );
        assert_eq!(
            found(locate(Some("/here"), &[home, xdg, systemd])),
            Path::new("/here")
        );
        assert!(matches!(
            locate(None, &[("HOME", "")]),
            Err(StateDirError::Nowhere)
        ));
        assert!(matches!(
            locate(Some("~/x"), &[home]),
            Err(StateDirError::Tilde(_))
        ));
    }

    #[test]
    fn one_process_owns_a_folder_that_nobody_else_can_read() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("a/b");
        let state = open(&path).expect("free");
        let mode = std::fs::metadata(state.path())
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
        let error = open(&path).expect_err("in use").to_string();
        assert!(
            error.contains(&format!("in use by process {}", std::process::id())),
            "{error}"
        );
        let clearing = state.share_lock().expect("a second hold");
        drop(state);
        // its owner lives, so nobody waits for it to be cleared
        open(&path).expect_err("in use");
        drop(clearing);
        open(&path).expect("free again");
    }

    #[test]
    fn a_folder_whose_owner_has_ended_is_waited_for() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("a");
        let state = open(&path).expect("free");
        // no process ever has this number
        std::fs::write(path.join(LOCK_FILE), "999999999\n").expect("written");
        let clearing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(state);
        });
        open(&path).expect("free once it is cleared");
        clearing.join().expect("it let go");
    }

    #[test]
    fn a_private_file_is_replaced_as_a_whole_and_is_its_owners_alone() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("ca.key");
        std::fs::write(path.with_extension("new"), "left behind").expect("written");
        write_private(&path, b"one").expect("written");
        write_private(&path, b"two").expect("written again");
        assert_eq!(std::fs::read(&path).expect("there"), b"two");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(parent.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let parent = tempfile::tempdir().expect("a folder");
        let file = parent.path().join("file");
        std::fs::write(&file, "").expect("written");
        let error = open(&file.join("state")).expect_err("below a file").to_string();
        assert!(
            error.contains("file/state") && error.contains("set state_dir"),
            "{error}"
        );
    }
}
