//! The cage of one command: what it may read and write, and the command line that puts it
//! there.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    CageError, Means, Sandbox,
    bubblewrap::{self, MEETING, Sight},
    inside::{BEGUN, Orders},
    landlock::Ground,
};

/// What one command may touch besides what every tool may read.
#[derive(Clone, Debug)]
pub struct Cage {
    sandbox: Arc<Sandbox>,
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    network: bool,
}

/// A command before it is caged.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The program's file.
    pub file: &'a Path,
    /// The program's name and its arguments.
    pub argv: &'a [OsString],
    /// Where it runs.
    pub dir: &'a Path,
    /// Most bytes of written private memory.
    pub memory: u64,
    /// Most processes.
    pub processes: u64,
}

/// A command in its cage.
#[derive(Debug)]
pub struct Caged {
    /// The program to start.
    pub file: PathBuf,
    /// Its name and arguments.
    pub argv: Vec<OsString>,
    /// Added to its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Whether the first two processes are the cage's own and not the command's.
    pub has_own_processes: bool,
    /// Removed with the cage.
    folder: Option<tempfile::TempDir>,
}

impl Cage {
    /// A cage in which nothing may be written yet.
    pub fn new(sandbox: Arc<Sandbox>) -> Self {
        Self {
            sandbox,
            readable: vec![],
            writable: vec![],
            network: false,
        }
    }

    /// The same with a file or folder to read.
    pub fn read(mut self, path: impl Into<PathBuf>) -> Self {
        self.readable.push(path.into());
        self
    }

    /// The same with an existing folder to write in.
    pub fn write(mut self, folder: impl Into<PathBuf>) -> Self {
        self.writable.push(folder.into());
        self
    }

    /// A cage of the same sandbox in which only this folder may be written.
    pub fn only(&self, folder: impl Into<PathBuf>) -> Self {
        Self::new(self.sandbox.clone()).write(folder)
    }

    /// The same with the network of the machine, if its owner lets dependencies be fetched.
    pub fn open_network(mut self) -> Self {
        self.network = self.sandbox.packages;
        self
    }

    /// Puts a command into it.
    pub fn put(&self, start: &Start<'_>) -> Result<Caged, CageError> {
        let sandbox = &*self.sandbox;
        match &sandbox.means {
            Means::Forbidden => Err(sandbox.forbidden()),
            Means::Nothing => Ok(Caged {
                file: start.file.to_owned(),
                argv: start.argv.to_vec(),
                environment: vec![],
                has_own_processes: false,
                folder: None,
            }),
            Means::Landlock => self.on_landlock(start),
            Means::Bubblewrap(program, profile) => {
                let folder = self.folder()?;
                let (tmp, meeting) = (folder.path().join("tmp"), folder.path().join("meeting"));
                let sight = Sight {
                    view: &sandbox.view,
                    state_folder: &sandbox.state_folder,
                    readable: &self.readable,
                    writable: &self.writable,
                    inside: &sandbox.program,
                    tmp: &tmp,
                    meeting: &meeting,
                    dir: start.dir,
                    network: self.network,
                };
                let mut argv = vec!["bwrap".into()];
                argv.extend(bubblewrap::arguments(*profile, &sight));
                argv.push(bubblewrap::INSIDE.into());
                let orders = Orders {
                    data: start.memory,
                    // in a user namespace of its own only its own processes count
                    processes: Some(start.processes),
                    meeting: MEETING.into(),
                    ..Orders::default()
                };
                argv.extend(orders.arguments());
                argv.push(start.file.into());
                argv.extend(start.argv.iter().cloned());
                Ok(Caged {
                    file: program.clone(),
                    argv,
                    environment: vec![],
                    has_own_processes: sandbox.has_own_processes(),
                    folder: Some(folder),
                })
            }
        }
    }

    fn on_landlock(&self, start: &Start<'_>) -> Result<Caged, CageError> {
        let folder = self.folder()?;
        let (tmp, meeting) = (folder.path().join("tmp"), folder.path().join("meeting"));
        let mut ground = Ground::default();
        ground
            .readable
            .extend(self.sandbox.readable().map(Path::to_owned));
        ground.readable.extend(self.readable.iter().cloned());
        ground.writable.extend(self.writable.iter().cloned());
        ground.writable.extend([tmp.clone(), meeting.clone()]);
        let orders = Orders {
            data: start.memory,
            internet: !self.network,
            neighbours: true,
            ground: Some(ground),
            meeting,
            ..Orders::default()
        };
        let mut argv = vec!["agent-worker".into()];
        argv.extend(orders.arguments());
        argv.push(start.file.into());
        argv.extend(start.argv.iter().cloned());
        Ok(Caged {
            file: self.sandbox.program.clone(),
            argv,
            environment: vec![("TMPDIR".into(), tmp.into())],
            has_own_processes: false,
            folder: Some(folder),
        })
    }

    /// A fresh folder for this command alone: nothing of an earlier one lies in it.
    fn folder(&self) -> Result<tempfile::TempDir, CageError> {
        let scratch = self.sandbox.state_folder.join("scratch");
        let folder = tempfile::Builder::new().prefix("cage-").tempdir_in(scratch)?;
        for part in ["tmp", "meeting"] {
            std::fs::create_dir(folder.path().join(part))?;
        }
        Ok(folder)
    }
}

impl Caged {
    /// Whether the command began: before that, whatever ended was the cage.
    pub fn has_begun(&self) -> bool {
        self.folder
            .as_ref()
            .is_none_or(|folder| folder.path().join("meeting").join(BEGUN).exists())
    }

    /// The name under which the program was asked for.
    pub fn arg0(&self) -> &OsStr {
        self.argv.first().map_or(OsStr::new(""), OsString::as_os_str)
    }
}
