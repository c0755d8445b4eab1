//! Writes files that were changed in memory. The only place of the edits that
//! writes at all.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A file as it was and as it shall be; `None` where it does not exist.
#[derive(Debug)]
pub(super) struct Draft {
    /// Its name in reports.
    pub(super) name: String,
    pub(super) before: Option<Vec<u8>>,
    pub(super) now: Option<Vec<u8>>,
    /// Its mode, if it exists.
    pub(super) mode: Option<Permissions>,
}

/// Writes every change: new bytes go to a temporary name beside the file and
/// are renamed at the end; if one rename fails, the earlier ones are undone.
pub(super) fn write(drafts: BTreeMap<PathBuf, Draft>) -> io::Result<()> {
    let changed = drafts.into_iter().filter(|(_, draft)| draft.before != draft.now);
    let changes: Vec<(PathBuf, Draft)> = changed.collect();
    let mut ready = Vec::new();
    for (file, draft) in &changes {
        let temporary = draft
            .now
            .as_deref()
            .map(|bytes| prepare(file, bytes, draft.mode.clone()));
        ready.push(temporary.transpose()?);
    }
    for (done, ((file, _), temporary)) in changes.iter().zip(ready).enumerate() {
        let moved = match temporary {
            Some(temporary) => temporary.persist(file).map(drop).map_err(|error| error.error),
            None => fs::remove_file(file),
        };
        if let Err(error) = moved {
            undo(&changes[..done]);
            return Err(error);
        }
    }
    Ok(())
}

fn prepare(file: &Path, bytes: &[u8], mode: Option<Permissions>) -> io::Result<tempfile::NamedTempFile> {
    let folder = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    // what any program of this user would create: 0666 less the umask
    let mut temporary = tempfile::Builder::new()
        .prefix(".agentd-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    if let Some(mode) = mode {
        temporary.as_file().set_permissions(mode)?;
    }
    Ok(temporary)
}

/// Puts files back; what cannot be put back is mended by the next checkout.
fn undo(changes: &[(PathBuf, Draft)]) {
    for (file, draft) in changes {
        let undone = match &draft.before {
            Some(bytes) => fs::write(file, bytes),
            None => fs::remove_file(file),
        };
        if let Err(error) = undone {
            tracing::warn!(file = draft.name, %error, "could not undo a half-written edit");
        }
    }
}
