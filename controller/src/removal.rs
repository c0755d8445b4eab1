//! Takes agentd away again: its state, and with it the program that runs.
//!
//! Only what agentd itself has made is ever removed, by the names that it gives; what else lies
//! beside it, links included, stays and is said to stay. Owned by `main`, which shows a plan and
//! asks. Must not run beside an agentd that uses the folder: the plan holds its lock.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use service::state_dir::{self, StateDir, StateDirError};

use crate::app::DATABASE;

/// Files and folders in a state folder that have one name.
const OURS: &[&str] = &[
    ".restoring",
    ".undoing",
    "admin.new",
    "admin.token",
    "agentd.db",
    "agentd.db-shm",
    "agentd.db-wal",
    "backup.db",
    "backup.db-journal",
    "ballast",
    "blobs",
    "ca.key",
    "ca.new",
    "ca.pem",
    "endpoints.json",
    "endpoints.new",
    "incoming",
    "lock",
    "logs",
    "secrets.key",
    "secrets.new",
];
/// Where the installer puts units.
const UNITS: &str = "/etc/systemd/system";
/// The unit of this program.
const UNIT: &str = "agentd.service";
/// The list of files of the Debian package.
const PACKAGE: &str = "/var/lib/dpkg/info/agentd.list";

/// Why nothing was removed, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// Nothing to reset.
    #[error("{0} holds no state of agentd: name the folder with --state-dir")]
    NoState(PathBuf),
    /// Another process uses it.
    #[error(transparent)]
    Folder(#[from] StateDirError),
    /// The program belongs to the package.
    #[error("{0} was installed by a package: run `sudo apt-get purge agentd`, which removes its state too")]
    Package(PathBuf),
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn at(path: &Path) -> impl Fn(io::Error) -> RemovalError {
    let path = path.to_owned();
    move |source| RemovalError::Io {
        path: path.clone(),
        source,
    }
}

/// What would go and what would stay.
#[derive(Debug)]
pub struct Plan {
    /// What goes, with its size in bytes.
    pub goes: Vec<(PathBuf, u64)>,
    /// What lies beside it and stays.
    pub stays: Vec<PathBuf>,
    folder: PathBuf,
    _hold: Option<StateDir>,
}

impl Plan {
    /// The state in this folder.
    pub fn reset(folder: &Path) -> Result<Self, RemovalError> {
        if !folder.join(DATABASE).is_file() {
            return Err(RemovalError::NoState(folder.to_owned()));
        }
        let hold = state_dir::open(folder)?;
        let (mut goes, mut stays) = (vec![], vec![]);
        for entry in fs::read_dir(folder).map_err(at(folder))? {
            let path = entry.map_err(at(folder))?.path();
            let kind = fs::symlink_metadata(&path).map_err(at(&path))?.file_type();
            if is_ours(&path) && !kind.is_symlink() {
                let size = size(&path).map_err(at(&path))?;
                goes.push((path, size));
            } else {
                stays.push(path);
            }
        }
        goes.sort();
        stays.sort();
        Ok(Self {
            goes,
            stays,
            folder: folder.to_owned(),
            _hold: Some(hold),
        })
    }

    /// The state in this folder, if there is one, this program, and the unit that starts it.
    pub fn uninstall(folder: &Path, program: &Path) -> Result<Self, RemovalError> {
        Self::uninstall_in(folder, program, Path::new(UNITS), Path::new(PACKAGE))
    }

    fn uninstall_in(
        folder: &Path,
        program: &Path,
        units: &Path,
        package: &Path,
    ) -> Result<Self, RemovalError> {
        let packaged = fs::read_to_string(package).unwrap_or_default();
        if packaged.lines().any(|file| Path::new(file) == program) {
            return Err(RemovalError::Package(program.to_owned()));
        }
        let mut plan = match Self::reset(folder) {
            Err(RemovalError::NoState(_)) => Self {
                goes: vec![],
                stays: vec![],
                folder: folder.to_owned(),
                _hold: None,
            },
            plan => plan?,
        };
        let unit = units.join(UNIT);
        if fs::read_to_string(&unit).is_ok_and(|text| starts(&text, program)) {
            let size = size(&unit).map_err(at(&unit))?;
            plan.goes.push((unit, size));
        }
        let size = size(program).map_err(at(program))?;
        plan.goes.push((program.to_owned(), size));
        Ok(plan)
    }

    /// Bytes that become free.
    pub fn bytes(&self) -> u64 {
        self.goes.iter().map(|(_, size)| size).sum()
    }

    /// Removes it; the folder too, if nothing is left in it.
    pub fn carry_out(self) -> Result<(), RemovalError> {
        for (path, _) in &self.goes {
            let is_folder = fs::symlink_metadata(path).map_err(at(path))?.is_dir();
            let removed = if is_folder {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            };
            removed.map_err(at(path))?;
        }
        match fs::remove_dir(&self.folder) {
            // a service manager's folder cannot be removed by its owner
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => removed.map_err(at(&self.folder)),
        }
    }
}

/// Whether agentd gives such names.
fn is_ours(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let of_upgrade = || {
        let (version, rest) = name.strip_prefix("agentd.v")?.split_once('.')?;
        let kind = matches!(rest, "backup" | "part") || rest.strip_prefix("undone-").is_some_and(is_number);
        Some(is_number(version) && kind)
    };
    let aside = || name.strip_prefix("before-restore-").is_some_and(is_number);
    OURS.contains(&name) || of_upgrade().unwrap_or(false) || aside()
}

/// Whether a unit starts this program.
fn starts(unit: &str, program: &Path) -> bool {
    let commands = unit.lines().filter_map(|line| line.strip_prefix("ExecStart="));
    let mut programs = commands.filter_map(|command| command.split_whitespace().next());
    programs.any(|found| Path::new(found) == program)
}

/// Bytes of a file, or of the files below a folder; links count for themselves.
fn size(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: impl IntoIterator<Item = PathBuf>) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        paths.into_iter().filter_map(name).collect()
    }

    fn state(folder: &Path) {
        fs::create_dir_all(folder.join("blobs/ab")).expect("made");
        for (name, bytes) in [
            ("agentd.db", 10),
            ("agentd.v3.backup", 1),
            ("agentd.v9.undone-17", 1),
            ("agentd.vx.backup", 1),
            ("blobs/ab/cd", 100),
            ("notes.txt", 7),
            ("before-restore-", 1),
        ] {
            fs::write(folder.join(name), vec![0; bytes]).expect("written");
        }
        std::os::unix::fs::symlink("/", folder.join("logs")).expect("a link");
    }

    #[test]
    fn a_reset_takes_what_agentd_has_made_and_nothing_else() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("agentd");
        let error = Plan::reset(&folder).expect_err("nothing there").to_string();
        assert!(error.contains("holds no state") && !folder.exists(), "{error}");
        state(&folder);
        let plan = Plan::reset(&folder).expect("a plan");
        assert_eq!(
            names(plan.goes.iter().map(|(path, _)| path.clone())),
            [
                "agentd.db",
                "agentd.v3.backup",
                "agentd.v9.undone-17",
                "blobs",
                "lock"
            ]
        );
        let stay = ["agentd.vx.backup", "before-restore-", "logs", "notes.txt"];
        assert_eq!(names(plan.stays.clone()), stay);
        assert!(plan.bytes() >= 112, "{}", plan.bytes());
        Plan::reset(&folder).expect_err("the first plan holds the folder");
        plan.carry_out().expect("removed");
        let left = fs::read_dir(&folder).expect("it stays with what is in it");
        let mut left = names(left.map(|entry| entry.expect("an entry").path()));
        left.sort();
        assert_eq!(left, stay);
    }

    #[test]
    fn the_program_goes_with_its_own_unit_unless_a_package_has_it() {
        let home = tempfile::tempdir().expect("a folder");
        let (folder, units) = (home.path().join("state"), home.path().join("units"));
        let (program, package) = (home.path().join("agentd"), home.path().join("agentd.list"));
        fs::create_dir(&units).expect("made");
        fs::write(&program, "program").expect("written");
        let plan = || Plan::uninstall_in(&folder, &program, &units, &package);
        let unit = units.join(UNIT);
        fs::write(&unit, "[Service]\nExecStart=/usr/bin/agentd --config x\n").expect("written");
        let goes = |plan: Plan| names(plan.goes.into_iter().map(|(path, _)| path));
        assert_eq!(
            goes(plan().expect("a plan")),
            ["agentd"],
            "the unit starts another one"
        );
        fs::write(&unit, format!("ExecStart={} --config x\n", program.display())).expect("written");
        assert_eq!(goes(plan().expect("a plan")), ["agentd.service", "agentd"]);
        fs::create_dir(&folder).expect("made");
        fs::write(folder.join("agentd.db"), "").expect("written");
        plan().expect("a plan").carry_out().expect("removed");
        assert!(!program.exists() && !unit.exists() && !folder.exists());

        fs::write(&program, "program").expect("written");
        fs::write(&package, format!("/.\n{}\n", program.display())).expect("written");
        let error = plan().expect_err("not ours").to_string();
        assert!(
            error.contains("apt-get purge agentd") && program.exists(),
            "{error}"
        );
    }
}
