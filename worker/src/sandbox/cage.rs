//! The cage of one command: what it may read and write, and the command line that puts it
//! there.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    CageError, Means, Sandbox,
    bubblewrap::{self, MEETING, Profile, Sight},
    door::Door,
    egress::Egress,
    group::Group,
    inside::{BEGUN, KEPT, Orders},
    landlock::Ground,
};
use crate::{log::LogSink, tools::exec::Environment};

/// What the loader of every program obeys, and with it bubblewrap and our own program while
/// nothing keeps them in yet.
const LOADER: [&str; 4] = ["GCONV_PATH", "GLIBC_TUNABLES", "LOCPATH", "NLSPATH"];

/// Variables of the loader begin so.
const LOADER_PREFIX: &[u8] = b"LD_";

/// Said where a step asks for hosts.
const NO_WAY_OUT: &str = "network: commands get none at this sandbox level, which cannot tell hosts apart: with bubblewrap there is one";

/// What one command may touch besides what every tool may read.
#[derive(Clone, Debug)]
pub struct Cage {
    sandbox: Arc<Sandbox>,
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    egress: Option<Egress>,
}

/// A command before it is caged.
#[derive(Clone, Copy)]
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
    /// Where it is said what the command reached.
    pub log: &'a LogSink,
}

/// A command in its cage.
#[derive(Debug)]
pub struct Caged {
    /// The program to start.
    pub file: PathBuf,
    /// Its name and arguments.
    pub argv: Vec<OsString>,
    /// Added to its environment.
    environment: Vec<(OsString, OsString)>,
    /// Whether the first two processes are the cage's own and not the command's.
    pub has_own_processes: bool,
    /// Where all of its processes are counted.
    pub(crate) group: Option<Group>,
    /// Its way out.
    pub(crate) door: Option<Door>,
    /// Whether the loader's variables wait for the tool.
    keeps_loader: bool,
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
            egress: None,
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

    /// The same with a way out to these hosts, as far as the machine's owner allows them; says
    /// into the log what is not to be had.
    pub fn reach(mut self, hosts: &[String], log: &LogSink) -> Self {
        if hosts.is_empty() || self.sandbox.means == Means::Nothing {
            return self;
        }
        if !self.sandbox.has_own_processes() {
            log.info(NO_WAY_OUT);
            return self;
        }
        let egress = self.sandbox.egress(hosts);
        for host in egress.denied() {
            log.info(&format!(
                "network: {host} is not allowed by the owner of this worker (`sandbox.network`)"
            ));
        }
        self.egress = (!egress.is_empty()).then_some(egress);
        self
    }

    /// Puts a command into it.
    pub fn put(&self, start: &Start<'_>) -> Result<Caged, CageError> {
        let caged = match &self.sandbox.means {
            Means::Forbidden => return Err(self.sandbox.forbidden()),
            Means::Nothing => Caged {
                file: start.file.to_owned(),
                argv: start.argv.to_vec(),
                environment: vec![],
                has_own_processes: false,
                group: None,
                door: None,
                keeps_loader: false,
                folder: None,
            },
            Means::Landlock => self.on_landlock(start)?,
            Means::Bubblewrap(program, profile) => self.in_bubblewrap(start, program, *profile)?,
        };
        self.counted(caged, start)
    }

    fn in_bubblewrap(&self, start: &Start<'_>, program: &Path, profile: Profile) -> Result<Caged, CageError> {
        let sandbox = &*self.sandbox;
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
        };
        let mut argv = vec!["bwrap".into()];
        argv.extend(bubblewrap::arguments(profile, &sight));
        argv.push(bubblewrap::INSIDE.into());
        let orders = Orders {
            data: start.memory,
            // in a user namespace of its own only its own processes count
            processes: Some(start.processes),
            way_out: self.egress.is_some(),
            meeting: MEETING.into(),
            ..Orders::default()
        };
        argv.extend(orders.arguments());
        argv.push(start.file.into());
        argv.extend(start.argv.iter().cloned());
        let open = |egress: &Egress| Door::open(&meeting, egress.clone(), start.log.clone());
        Ok(Caged {
            file: program.to_owned(),
            argv,
            environment: vec![],
            has_own_processes: true,
            group: None,
            door: self.egress.as_ref().map(open).transpose()?,
            keeps_loader: true,
            folder: Some(folder),
        })
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
            internet: true,
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
            group: None,
            door: None,
            keeps_loader: true,
            folder: Some(folder),
        })
    }

    /// Lets a command begin in a group of its own, where there are any.
    fn counted(&self, mut caged: Caged, start: &Start<'_>) -> Result<Caged, CageError> {
        let Some(groups) = &self.sandbox.groups else {
            return Ok(caged);
        };
        let group = Group::make(groups, start.memory, start.processes)?;
        let mut argv = vec!["agent-worker".into()];
        argv.extend(group.arguments());
        argv.push(std::mem::replace(&mut caged.file, self.sandbox.program.clone()).into());
        argv.append(&mut caged.argv);
        caged.argv = argv;
        caged.group = Some(group);
        Ok(caged)
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

    /// The command's environment as its cage gets it: what the loader obeys is the tool's alone.
    pub fn dress(&self, environment: &Environment) -> Environment {
        let mut dressed = Environment::new();
        for (name, value) in environment {
            let bytes = name.as_encoded_bytes();
            let obeyed = bytes.starts_with(LOADER_PREFIX) || LOADER.iter().any(|known| name == *known);
            let mut kept = name.clone();
            if obeyed && self.keeps_loader {
                kept = OsString::from(KEPT);
                kept.push(name);
            }
            dressed.insert(kept, value.clone());
        }
        dressed.extend(self.environment.iter().cloned());
        dressed
    }

    /// The name under which the program was asked for.
    pub fn arg0(&self) -> &OsStr {
        self.argv.first().map_or(OsStr::new(""), OsString::as_os_str)
    }
}
