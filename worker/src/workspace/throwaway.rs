//! The `.git` that tools see: one commit with the tree's files, no remote, no
//! hooks. It is made anew for each step and never read back.

use std::{fs, io, path::Path};

use protocol::step::StepError;

use super::mirror::storage_error;
use crate::tools::git::Git;

const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = false\n[gc]\n\tauto = 0\n";

/// Makes `tree/.git` at the files of `commit`; `index` is our index of the tree.
pub(super) async fn make(
    git: &Git,
    tree: &Path,
    index: &Path,
    commit: &str,
    branch: &str,
) -> Result<(), StepError> {
    let folder = tree.join(".git");
    let at = |error: io::Error| storage_error(&folder, &error);
    remove(tree).map_err(at)?;
    fs::create_dir_all(folder.join("objects/pack")).map_err(at)?;
    fs::create_dir_all(folder.join("objects/info")).map_err(at)?;
    let files = format!("{commit}^{{tree}}");
    let alone = git
        .text(["commit-tree", &files, "-m", "the files as this step found them"])
        .await?;
    let pack = folder.join("objects/pack/pack");
    git.feed(
        [
            "pack-objects".as_ref(),
            "--quiet".as_ref(),
            "--revs".as_ref(),
            pack.as_os_str(),
        ],
        format!("{alone}\n").as_bytes(),
    )
    .await?;
    let write = || -> io::Result<()> {
        let head = format!("refs/heads/{branch}");
        let reference = folder.join(&head);
        fs::create_dir_all(reference.parent().unwrap_or(&folder))?;
        fs::write(reference, format!("{alone}\n"))?;
        fs::write(folder.join("HEAD"), format!("ref: {head}\n"))?;
        fs::write(folder.join("config"), CONFIG)?;
        fs::copy(index, folder.join("index")).map(drop)
    };
    write().map_err(at)
}

/// Removes whatever stands at `tree/.git`, without following it.
pub(super) fn remove(tree: &Path) -> io::Result<()> {
    let path = tree.join(".git");
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
