//! The folders of work trees: one per job and slot, never two attempts in one.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use protocol::{job::JobLink, step::StepError};

use super::{mirror::storage_error, prune};

type Taken = Arc<Mutex<HashSet<PathBuf>>>;

/// Which tree folders are in use.
pub(super) struct Slots {
    trees: PathBuf,
    taken: Taken,
}

/// The folder of one tree, this attempt's own until it is dropped.
pub(super) struct Slot {
    folder: PathBuf,
    taken: Option<Taken>,
}

impl Slots {
    pub(super) fn new(trees: PathBuf) -> Self {
        Self {
            trees,
            taken: Taken::default(),
        }
    }

    /// Takes the first folder of the job that nobody uses, so that a used one comes again.
    pub(super) fn take(&self, job: JobLink) -> Result<Slot, StepError> {
        let job_folder = self.trees.join(job.id.to_string());
        let folder = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let mut numbers = (1_u32..).map(|number| job_folder.join(number.to_string()));
            let folder = numbers.find(|folder| !taken.contains(folder));
            let folder = folder.expect("numbers do not end");
            taken.insert(folder.clone());
            folder
        };
        let slot = Slot {
            folder,
            taken: Some(Arc::clone(&self.taken)),
        };
        slot.prepare()
            .map_err(|error| storage_error(&slot.folder, &error))?;
        Ok(slot)
    }

    /// Runs `remove` on a folder unless somebody uses it; nobody takes it meanwhile.
    pub(super) fn unless_taken(&self, folder: &Path, remove: impl FnOnce()) {
        {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            if !taken.insert(folder.to_owned()) {
                return;
            }
        }
        remove();
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(folder);
    }
}

impl Slot {
    /// A tree in a folder that only its caller knows.
    pub(super) fn in_folder(folder: &Path) -> Result<Self, StepError> {
        let slot = Self {
            folder: folder.to_owned(),
            taken: None,
        };
        slot.prepare().map_err(|error| storage_error(folder, &error))?;
        Ok(slot)
    }

    /// The files that tools see.
    pub(super) fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Our index of them, outside of the tree.
    pub(super) fn index(&self) -> PathBuf {
        self.folder.join("index")
    }

    /// Removes everything, for a start from nothing.
    pub(super) fn wipe(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.prepare()
    }

    fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(self.tree())?;
        // left behind by a killed worker
        match fs::remove_file(self.folder.join("index.lock")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        prune::touch(&self.folder)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(taken) = &self.taken {
            taken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&self.folder);
        }
    }
}
