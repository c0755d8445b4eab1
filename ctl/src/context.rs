//! Which controller a command talks to, and the file that remembers them.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use service::tls::Fingerprint;

use crate::{codes::Code, error::CliError};

/// Where `agentd` listens without any configuration.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8484";

/// A controller and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Base URL of its API, without a slash at the end.
    pub(crate) url: String,
    /// The bearer token.
    pub(crate) token: Option<String>,
    /// The controller's own CA, which is all that is trusted then.
    pub(crate) pin: Option<Fingerprint>,
    /// PEM file of the CAs to trust instead of this machine's.
    pub(crate) ca: Option<PathBuf>,
    /// Where that was said, for people.
    pub(crate) source: String,
}

/// What flags and environment say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// `--url` or AGENTCTL_URL.
    pub(crate) url: Option<String>,
    /// `--token` or AGENTCTL_TOKEN.
    pub(crate) token: Option<String>,
    /// `--fingerprint` or AGENTCTL_FINGERPRINT.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// `--context` or AGENTCTL_CONTEXT.
    pub(crate) context: Option<String>,
}

/// The stored controllers (`contexts.yaml`, mode 0600).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The name of the one in use.
    #[serde(default)]
    pub(crate) current: Option<String>,
    /// All of them.
    #[serde(default)]
    pub(crate) contexts: Vec<Context>,
}

/// One stored controller.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// For people.
    pub(crate) name: String,
    /// Base URL of its API.
    pub(crate) url: String,
    /// The bearer token.
    pub(crate) token: String,
    /// The controller's own CA, which is all that is trusted then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<Fingerprint>,
    /// PEM file of the CAs to trust instead of this machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({} at {})", self.name, self.url)
    }
}

/// The folders of this user that matter here.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The file of the stored controllers.
    pub(crate) contexts: PathBuf,
    /// State folders in which a local `agentd` may have left its admin token.
    pub(crate) states: Vec<PathBuf>,
}

impl Places {
    /// As the environment says.
    pub(crate) fn from_env() -> Self {
        let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let folder = |variable: &str, fallback: &str| match env::var_os(variable) {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ => home.join(fallback),
        };
        let mut states = Vec::new();
        states.extend(env::var_os("STATE_DIRECTORY").map(PathBuf::from));
        states.push(folder("XDG_STATE_HOME", ".local/state").join("agentd"));
        states.push(PathBuf::from("/var/lib/agentd"));
        Self {
            contexts: folder("XDG_CONFIG_HOME", ".config").join("agentctl/contexts.yaml"),
            states,
        }
    }

    /// Finds the controller: flag or environment, then the stored ones, then this machine.
    pub(crate) fn find(&self, wishes: &Wishes) -> Result<Target, CliError> {
        let stored = Contexts::load(&self.contexts)?;
        let mut target = match (&wishes.url, &wishes.context) {
            (Some(url), _) => self.at_url(url, &stored),
            (None, Some(name)) => stored.get(name)?.target(),
            (None, None) => match &stored.current {
                Some(name) => stored.get(name)?.target(),
                None => self.on_this_machine(wishes)?,
            },
        };
        if let Some(token) = &wishes.token {
            target.token = Some(token.trim().to_owned());
        }
        target.pin = wishes.fingerprint.or(target.pin);
        target.url = check_url(&target.url)?;
        Ok(target)
    }

    /// A URL from a flag takes the token that is stored for the same URL.
    fn at_url(&self, url: &str, stored: &Contexts) -> Target {
        let same = |other: &str| other.trim_end_matches('/') == url.trim_end_matches('/');
        let known = stored.contexts.iter().find(|context| same(&context.url));
        let local = || self.local().filter(|local| same(&local.url));
        let known = known.map(Context::target).or_else(local);
        Target {
            url: url.to_owned(),
            token: known.as_ref().and_then(|known| known.token.clone()),
            pin: known.as_ref().and_then(|known| known.pin),
            ca: known.and_then(|known| known.ca),
            source: "--url or AGENTCTL_URL".to_owned(),
        }
    }

    /// With a token and nothing else, the default address is meant.
    fn on_this_machine(&self, wishes: &Wishes) -> Result<Target, CliError> {
        let default = || Target {
            url: DEFAULT_URL.to_owned(),
            token: None,
            pin: None,
            ca: None,
            source: "the default address".to_owned(),
        };
        let local = self.local().or_else(|| wishes.token.as_ref().map(|_| default()));
        local.ok_or_else(no_controller)
    }

    /// A controller of this machine that left its admin token.
    fn local(&self) -> Option<Target> {
        self.states.iter().find_map(|state| {
            let file = state.join("admin.token");
            let token = fs::read_to_string(&file).ok()?;
            Some(Target {
                url: local_url(state).unwrap_or_else(|| DEFAULT_URL.to_owned()),
                token: Some(token.trim().to_owned()),
                pin: None,
                ca: None,
                source: file.display().to_string(),
            })
        })
    }
}

/// Where the running `agentd` of a state folder listens.
pub(crate) fn local_url(state: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Endpoints {
        http: String,
    }
    let text = fs::read(state.join("endpoints.json")).ok()?;
    let endpoints: Endpoints = serde_json::from_slice(&text).ok()?;
    Some(endpoints.http)
}

/// An http or https URL without a slash at its end.
pub(crate) fn check_url(text: &str) -> Result<String, CliError> {
    let invalid = |cause: String| {
        CliError::new(
            Code::InvalidUrl,
            format!("{text:?} is not the address of a controller"),
        )
        .cause(cause)
        .hint(format!("write it as `http://HOST:PORT`, such as `{DEFAULT_URL}`"))
    };
    let url = reqwest::Url::parse(text).map_err(|error| invalid(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(invalid("expected a scheme of http or https and a host".into()));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn no_controller() -> CliError {
    CliError::new(Code::NoController, "no controller is known")
        .hint("start one here with `agentd`, or store another machine's with `agentctl login URL`")
}

impl Context {
    fn target(&self) -> Target {
        Target {
            url: self.url.clone(),
            token: Some(self.token.clone()),
            pin: self.fingerprint,
            ca: self.ca.clone(),
            source: format!("context {}", self.name),
        }
    }
}

impl Contexts {
    /// Reads the file; a missing one holds nothing.
    pub(crate) fn load(file: &Path) -> Result<Self, CliError> {
        let broken = |cause: String| {
            CliError::new(
                Code::ContextFile,
                format!("cannot read the stored controllers in {}", file.display()),
            )
            .cause(cause)
            .hint("mend the file, or remove it and run `agentctl login URL`")
        };
        match fs::read_to_string(file) {
            // the further lines of the error would quote the file, tokens included
            Ok(text) => serde_saphyr::from_str(&text)
                .map_err(|error| broken(error.to_string().lines().next().unwrap_or_default().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(broken(error.to_string())),
        }
    }

    /// Writes the file anew, readable by its owner alone.
    pub(crate) fn save(&self, file: &Path) -> Result<(), CliError> {
        self.write(file).map_err(|error| {
            CliError::new(
                Code::ContextFile,
                format!("cannot write the stored controllers to {}", file.display()),
            )
            .cause(error.to_string())
            .hint("check the folder's permissions, or use AGENTCTL_URL and AGENTCTL_TOKEN instead")
        })
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        let folder = file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let text = serde_saphyr::to_string(self).map_err(io::Error::other)?;
        let fresh = file.with_extension("yaml.new");
        // a left-over of other permissions must not be reused
        fs::remove_file(&fresh).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&fresh, file)
    }

    /// The one of that name.
    pub(crate) fn get(&self, name: &str) -> Result<&Context, CliError> {
        let found = self.contexts.iter().find(|context| context.name == name);
        found.ok_or_else(|| {
            CliError::new(Code::UnknownContext, format!("no context is named {name:?}"))
                .hint("`agentctl context list` shows the names")
        })
    }

    /// The authority that is pinned for a URL.
    pub(crate) fn pin_of(&self, url: &str) -> Option<Fingerprint> {
        let same = |context: &&Context| context.url.trim_end_matches('/') == url.trim_end_matches('/');
        self.contexts.iter().find(same)?.fingerprint
    }

    /// Adds or replaces one and makes it the current one.
    pub(crate) fn put(&mut self, context: Context) {
        self.contexts.retain(|other| other.name != context.name);
        self.current = Some(context.name.clone());
        self.contexts.push(context);
    }

    /// Forgets one; a removed current one leaves none.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), CliError> {
        self.get(name)?;
        self.contexts.retain(|context| context.name != name);
        if self.current.as_deref() == Some(name) {
            self.current = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
