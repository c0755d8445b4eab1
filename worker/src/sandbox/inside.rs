//! What a tool has to do to itself before it is a tool: this program, started again inside
//! of the sandbox, takes limits and filters upon itself and then becomes the tool.
//!
//! Runs before anything else of the program: no threads, no runtime, no configuration.
//! Must not: read anything that the tool's environment says.

use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getuid, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities,
    },
};

use super::{
    forward,
    landlock::{self, Ground},
    seccomp::{self, Forbidden},
};

/// The first argument that makes `agent-worker` begin as a tool.
pub const WORD: &str = "inside";

/// The file in the meeting folder that says: from here on it is the tool.
pub(super) const BEGUN: &str = "begun";

/// Begins the names of variables that are for the tool alone: its loader obeys them, and so would
/// the loaders of the programs that make its cage.
pub(super) const KEPT: &str = "AGENTD_KEPT_";

/// Exit code when the tool could not be started; what a shell uses.
const NOT_STARTED: u8 = 126;

/// What to do, as it travels on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Orders {
    /// Most bytes of written private memory.
    pub(super) data: u64,
    /// Most processes; `None` where the limit would count other programs' too.
    pub(super) processes: Option<u64>,
    /// What the filter forbids besides the usual.
    pub(super) internet: bool,
    /// The same for sockets and processes of this machine.
    pub(super) neighbours: bool,
    /// Whether the worker has a way out for it in the meeting folder.
    pub(super) way_out: bool,
    /// Where Landlock lets it read and write, if Landlock is what keeps it in.
    pub(super) ground: Option<Ground>,
    /// The folder in which it says that it begins.
    pub(super) meeting: PathBuf,
}

impl Orders {
    /// The arguments before the program.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec![WORD.into(), "--data".into(), self.data.to_string().into()];
        let mut add = |name: &str, value: &OsStr| {
            line.push(name.into());
            line.push(value.to_owned());
        };
        if let Some(most) = self.processes {
            add("--processes", OsStr::new(&most.to_string()));
        }
        for (forbidden, word) in [(self.internet, "internet"), (self.neighbours, "neighbours")] {
            if forbidden {
                add("--forbid", OsStr::new(word));
            }
        }
        if let Some(ground) = &self.ground {
            for path in &ground.readable {
                add("--read", path.as_os_str());
            }
            for path in &ground.writable {
                add("--write", path.as_os_str());
            }
        }
        if self.way_out {
            add("--reach", OsStr::new("door"));
        }
        add("--meet", self.meeting.as_os_str());
        line.push("--".into());
        line
    }

    /// Reads them back; what remains is the program's file, its name and its arguments.
    fn read(line: &mut impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut orders = Self::default();
        loop {
            let word = line.next().ok_or("there is no program to become")?;
            if word == "--" {
                return Ok(orders);
            }
            let value = line
                .next()
                .ok_or_else(|| format!("{} lacks its value", word.display()))?;
            let number = || value.to_str().and_then(|text| text.parse().ok());
            let ground = orders.ground.get_or_insert_default();
            match word.to_str() {
                Some("--read") => ground.readable.push(value.into()),
                Some("--write") => ground.writable.push(value.into()),
                _ => {
                    if ground.is_empty() {
                        orders.ground = None;
                    }
                    match (word.to_str(), value.to_str()) {
                        (Some("--data"), _) => orders.data = number().ok_or("--data is no number")?,
                        (Some("--processes"), _) => orders.processes = number(),
                        (Some("--forbid"), Some("internet")) => orders.internet = true,
                        (Some("--forbid"), Some("neighbours")) => orders.neighbours = true,
                        (Some("--reach"), Some("door")) => orders.way_out = true,
                        (Some("--meet"), _) => orders.meeting = value.into(),
                        _ => return Err(format!("{} {} is no order", word.display(), value.display())),
                    }
                }
            }
        }
    }
}

/// Becomes the tool that the arguments behind [`WORD`] name; comes back only when that fails.
pub fn become_tool(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Err(why) = attempt(&mut arguments);
    complain(&why);
    ExitCode::from(NOT_STARTED)
}

fn attempt(line: &mut impl Iterator<Item = OsString>) -> Result<Infallible, String> {
    let orders = Orders::read(line)?;
    let (Some(file), Some(name)) = (line.next(), line.next()) else {
        return Err("there is no program to become".to_owned());
    };
    let file = PathBuf::from(file);
    if !file.exists() {
        return Err(hidden(&file));
    }
    limit(&orders)?;
    give_up_capabilities().map_err(|error| format!("capabilities cannot be given up: {error}"))?;
    if let Some(ground) = &orders.ground {
        landlock::stay_on(ground)?;
    }
    let filters = seccomp::filters(Forbidden {
        internet: orders.internet,
        neighbours: orders.neighbours,
    })?;
    fs::write(orders.meeting.join(BEGUN), b"").map_err(|error| error.to_string())?;
    for filter in &filters {
        seccompiler::apply_filter(filter).map_err(|error| error.to_string())?;
    }
    let mut tool = Command::new(&file);
    tool.arg0(name).args(line);
    dress(&mut tool);
    if orders.way_out {
        let port = forward::start(&orders.meeting).map_err(|error| error.to_string())?;
        forward::point_to(&mut tool, port);
    }
    let error = tool.exec();
    Err(format!("{} does not start: {error}", file.display()))
}

/// Gives the tool the variables that were kept for it.
fn dress(tool: &mut Command) {
    for (name, value) in std::env::vars_os() {
        if let Some(own) = name.as_encoded_bytes().strip_prefix(KEPT.as_bytes()) {
            tool.env(OsStr::from_bytes(own), value).env_remove(&name);
        }
    }
}

fn hidden(file: &Path) -> String {
    let link = fs::read_link(file);
    let leads = link.map_or_else(
        |_| String::new(),
        |target| format!(" (it leads to {})", target.display()),
    );
    format!(
        "{}{leads} is not shown to tools; the owner of this worker can show its folder with `sandbox.read_only`",
        file.display()
    )
}

/// Memory is limited as data: runtimes such as V8 reserve address space that they never use.
/// Root is exempt from the limit on processes; the worker's own count holds for root too.
fn limit(orders: &Orders) -> Result<(), String> {
    let set = |resource, most: u64| {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit).map_err(|error| format!("a limit cannot be set: {error}"))
    };
    set(Resource::Core, 0)?;
    set(Resource::Data, orders.data)?;
    match orders.processes {
        Some(most) if !getuid().is_root() => set(Resource::Nproc, most),
        _ => Ok(()),
    }
}

/// Root's rights, without which root is a user like others; who has none keeps none.
fn give_up_capabilities() -> rustix::io::Result<()> {
    if capabilities(None)?.permitted.is_empty() {
        return Ok(());
    }
    for bit in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            // the kernel knows no more of them
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
}

/// Says into the tool's own error output why there is no tool.
#[expect(
    clippy::print_stderr,
    reason = "the tool's standard error is the log of its step"
)]
pub(super) fn complain(why: &str) {
    eprintln!("sandbox: {why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_command_line() {
        for orders in [
            Orders {
                data: 1 << 30,
                processes: Some(100),
                way_out: true,
                meeting: "/run/agentd".into(),
                ..Orders::default()
            },
            Orders {
                data: 5,
                internet: true,
                neighbours: true,
                ground: Some(Ground {
                    readable: vec!["/usr".into(), "--data".into()],
                    writable: vec!["/tree".into()],
                }),
                meeting: "/m".into(),
                ..Orders::default()
            },
        ] {
            let mut line = orders.arguments();
            line.extend(["/bin/ls".into(), "ls".into(), "--data".into()]);
            let mut line = line.into_iter().skip(1);
            assert_eq!(Orders::read(&mut line), Ok(orders));
            assert_eq!(line.collect::<Vec<_>>(), ["/bin/ls", "ls", "--data"]);
        }
        let mut bad = ["--forbid", "everything"].map(OsString::from).into_iter();
        assert!(Orders::read(&mut bad).is_err());
    }
}
