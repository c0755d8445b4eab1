//! Finds the best level that this machine offers and its owner allows, by really running a
//! program at it.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use protocol::sandbox::SandboxLevel;

use super::{Cage, Means, Sandbox, bubblewrap::Profile, group::Groups, view::View};
use crate::{
    config::SandboxConfig,
    log::LogSink,
    steps::Stop,
    tools::{
        environment::Toolchains,
        exec::{Exec, Limits},
    },
};

/// A cage that takes longer for a program that does nothing is of no use.
const PATIENCE: Duration = Duration::from_secs(10);

/// Said where there is none.
const NO_BUBBLEWRAP: &str =
    "bubblewrap is not on this machine: `sudo apt install bubblewrap`, then restart agent-worker";

/// Said where nothing works.
const NOT_ALLOWED: &str = "`sandbox.allow` in its configuration does not name `none`";

/// What is run.
const NOTHING: &str = "true";

/// The program that makes namespaces.
const BUBBLEWRAP: &str = "bwrap";

impl Sandbox {
    /// Probes this machine. `program` is this worker's own executable.
    pub async fn probe(
        config: &SandboxConfig,
        toolchains: &Toolchains,
        state_folder: &Path,
        program: PathBuf,
    ) -> io::Result<Self> {
        let mut found = Self {
            means: Means::Forbidden,
            view: View::of_machine(toolchains, state_folder, &config.read_only)?,
            program,
            state_folder: state_folder.to_owned(),
            network: config.network.clone(),
            sources: toolchains.sources(),
            groups: None,
            uncounted: None,
            lacks: vec![],
        };
        found.find_groups(toolchains).await;
        let bubblewrap = toolchains.find(BUBBLEWRAP);
        if bubblewrap.is_none() && config.allow.contains(&SandboxLevel::Strong) {
            found.lacks.push(NO_BUBBLEWRAP.to_owned());
        }
        for means in candidates(&config.allow, bubblewrap) {
            let trial = Self {
                means,
                ..found.clone()
            };
            match trial.try_out(toolchains).await {
                Ok(()) => return Ok(trial),
                Err(why) => found.lacks.push(format!("{}: {why}", trial.means())),
            }
        }
        if config.allow.contains(&SandboxLevel::None) {
            found.means = Means::Nothing;
        } else {
            found.lacks.push(NOT_ALLOWED.to_owned());
        }
        Ok(found)
    }

    /// Finds where commands can be counted as a whole, and tries whether they get there.
    async fn find_groups(&mut self, toolchains: &Toolchains) {
        let groups = match Groups::find(&self.state_folder) {
            Ok(groups) => groups,
            Err(why) => return self.uncounted = Some(why),
        };
        let trial = Self {
            means: Means::Nothing,
            groups: Some(groups.clone()),
            ..self.clone()
        };
        match trial.try_out(toolchains).await {
            Ok(()) => self.groups = Some(groups),
            Err(why) => self.uncounted = Some(why),
        }
    }

    /// Runs a program that does nothing.
    async fn try_out(&self, toolchains: &Toolchains) -> Result<(), String> {
        let scratch = self.state_folder.join("scratch");
        let exec = Exec::new([NOTHING], "/")
            .environment(toolchains.environment(&scratch))
            .cage(Cage::new(Arc::new(self.clone())))
            .limits(Limits::default().time(PATIENCE));
        match exec.run(&LogSink::discard(), &Stop::default()).await {
            Ok(result) if result.success() => Ok(()),
            Ok(result) => Err(result.ending()),
            Err(error) => Err(with_advice(&error.to_string())),
        }
    }
}

/// What is tried, best first.
fn candidates(allow: &BTreeSet<SandboxLevel>, bubblewrap: Option<PathBuf>) -> Vec<Means> {
    let with = |profile| {
        bubblewrap
            .clone()
            .map(|program| Means::Bubblewrap(program, profile))
    };
    let strong = allow
        .contains(&SandboxLevel::Strong)
        .then(|| with(Profile::Whole));
    let basic = allow
        .contains(&SandboxLevel::Basic)
        .then(|| [with(Profile::Reduced), Some(Means::Landlock)]);
    let basic = basic.into_iter().flatten();
    strong.into_iter().chain(basic).flatten().collect()
}

/// What bubblewrap says, and what it means.
fn with_advice(said: &str) -> String {
    const SIGNS: [(&[&str], &str); 3] = [
        (
            &["Unknown option"],
            "this bubblewrap is too old: 0.8 or later knows all that is needed",
        ),
        (
            &[
                "No permissions to create",
                "uid map",
                "Creating new namespace",
                "RTM_NEWADDR",
            ],
            "the system forbids user namespaces: in a container, start that one with leave to make them; on Ubuntu, \
             give bwrap an AppArmor profile that names `userns`",
        ),
        (
            &["Can't mount proc"],
            "the container that this worker runs in forbids a /proc of one's own",
        ),
    ];
    let advice = SIGNS
        .iter()
        .find(|(signs, _)| signs.iter().any(|sign| said.contains(sign)));
    advice.map_or_else(|| said.to_owned(), |(_, advice)| format!("{said}; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_tried_that_the_owner_does_not_allow() {
        let bwrap = Some(PathBuf::from("/usr/bin/bwrap"));
        let whole = Means::Bubblewrap("/usr/bin/bwrap".into(), Profile::Whole);
        let reduced = Means::Bubblewrap("/usr/bin/bwrap".into(), Profile::Reduced);
        let of = |levels: &[SandboxLevel], bwrap: &Option<PathBuf>| {
            candidates(&levels.iter().copied().collect(), bwrap.clone())
        };
        use SandboxLevel::{Basic, None as Unprotected, Strong};
        assert_eq!(
            of(&[Strong, Basic], &bwrap),
            [whole.clone(), reduced.clone(), Means::Landlock]
        );
        assert_eq!(of(&[Strong], &bwrap), [whole]);
        assert_eq!(of(&[Basic, Unprotected], &bwrap), [reduced, Means::Landlock]);
        assert_eq!(of(&[Strong, Basic], &None), [Means::Landlock]);
        assert_eq!(of(&[Unprotected], &bwrap), []);
    }
}
