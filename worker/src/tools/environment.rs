//! The environment of tools: nothing of the worker's own but what makes the
//! machine's toolchains work, with a private home and private caches.
//!
//! Two kinds: [`Toolchains::environment`] for the repository's own programs
//! (package managers are told to stay offline), and
//! [`Toolchains::fetch_environment`] for fetching dependencies, with the package
//! sources that this machine's own settings name. Credentials are in neither.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use protocol::sandbox::network_mistake;

use super::exec::{Environment, find_program};

/// Where this machine's toolchains and package sources are.
#[derive(Clone, Debug)]
pub struct Toolchains {
    path: OsString,
    /// For every tool: roots of toolchains, and sources that also resolve offline.
    always: Environment,
    /// For fetches only: certificates, proxies and sources.
    sources: Environment,
    /// Settings of package managers: the machine's file, and its place in a private home.
    settings: Vec<(PathBuf, &'static str)>,
    user_home: PathBuf,
}

impl Toolchains {
    /// As this process sees them.
    pub fn of_this_process() -> Self {
        Self::new(&std::env::vars_os().collect())
    }

    /// As a process with these variables would see them.
    pub fn new(variables: &Environment) -> Self {
        let get = |name: &str| variables.get(OsStr::new(name)).filter(|value| !value.is_empty());
        let user_home = get("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let cargo_home = get("CARGO_HOME").map_or_else(|| user_home.join(".cargo"), PathBuf::from);
        let path = search_path(get("PATH"), &user_home, &cargo_home);
        let mut always = Environment::new();
        for (name, default) in [
            ("RUSTUP_HOME", Some(".rustup")),
            ("PYENV_ROOT", None),
            ("GOROOT", None),
            ("NVM_DIR", None),
        ] {
            let fallback = default
                .map(|folder| user_home.join(folder))
                .filter(|folder| folder.is_dir());
            if let Some(value) = get(name).cloned().or(fallback.map(OsString::from)) {
                always.insert(name.into(), value);
            }
        }
        let mut sources = Environment::new();
        for (name, value) in variables {
            match variable_use(&name.to_string_lossy(), &value.to_string_lossy()) {
                Use::Always => always.insert(name.clone(), value.clone()),
                Use::Fetch => sources.insert(name.clone(), value.clone()),
                Use::Never => None,
            };
        }
        let npmrc = get("NPM_CONFIG_USERCONFIG").or(get("npm_config_userconfig"));
        let pip = get("PIP_CONFIG_FILE").map(PathBuf::from);
        let settings = vec![
            (cargo_home.join("config.toml"), ".cargo/config.toml"),
            (
                npmrc.map_or_else(|| user_home.join(".npmrc"), PathBuf::from),
                ".npmrc",
            ),
            (
                pip.unwrap_or_else(|| user_home.join(".config/pip/pip.conf")),
                ".config/pip/pip.conf",
            ),
            (user_home.join(".config/go/env"), ".config/go/env"),
        ];
        Self {
            path,
            always,
            sources,
            settings,
            user_home,
        }
    }

    /// The search path of tools.
    pub fn path(&self) -> &OsStr {
        &self.path
    }

    /// Where toolchains lie that the search path alone does not lead to.
    pub fn roots(&self) -> Vec<PathBuf> {
        let named = |name: &&str| self.always.get(OsStr::new(name)).map(PathBuf::from);
        let roots: Vec<PathBuf> = ["RUSTUP_HOME", "PYENV_ROOT", "GOROOT", "NVM_DIR"]
            .iter()
            .filter_map(named)
            .collect();
        // a toolchain that was linked lies elsewhere
        let linked = roots
            .iter()
            .filter_map(|root| fs::read_dir(root.join("toolchains")).ok())
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_symlink());
        linked.chain(roots.clone()).collect()
    }

    /// The home of the user who runs the worker; only ssh of our own clones may use it.
    pub fn user_home(&self) -> &Path {
        &self.user_home
    }

    /// Where a program is, if this machine has it.
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        find_program(OsStr::new(program), &self.path, Path::new("/"))
    }

    /// The environment of tools whose private home is `home`; package managers stay offline.
    pub fn environment(&self, home: &Path) -> Environment {
        let mut environment = self.base(home);
        for (name, value) in [
            ("CARGO_NET_OFFLINE", "true"),
            ("GOPROXY", "off"),
            ("GOSUMDB", "off"),
            ("npm_config_offline", "true"),
            ("PIP_NO_INDEX", "1"),
        ] {
            environment.insert(name.into(), value.into());
        }
        environment
    }

    /// The environment of a fetch of dependencies into the private home `home`, which gets
    /// copies of this machine's settings, without the lines that hold credentials.
    pub fn fetch_environment(&self, home: &Path) -> io::Result<Environment> {
        for (machine, private) in &self.settings {
            match fs::read_to_string(machine) {
                Ok(text) => {
                    let target = home.join(private);
                    fs::create_dir_all(target.parent().unwrap_or(home))?;
                    fs::write(target, without_credentials(&text))?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let mut environment = self.sources.clone();
        environment.append(&mut self.base(home));
        Ok(environment)
    }

    /// Certificates and proxies for a clone of ours.
    pub fn network_environment(&self) -> Environment {
        self.sources.clone()
    }

    /// Hosts, perhaps with ports, that this machine's own settings of package managers name.
    pub fn sources(&self) -> Vec<String> {
        let variables = self.always.iter().chain(&self.sources);
        let values = variables
            .filter(|(name, _)| !is_of_proxy(&name.to_string_lossy()))
            .map(|(_, value)| value.to_string_lossy().into_owned());
        let files = self
            .settings
            .iter()
            .filter_map(|(file, _)| fs::read_to_string(file).ok());
        let lines = files.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
        let lines = lines.filter(|line| !is_of_proxy(line.split('=').next().unwrap_or(line)));
        let mut hosts: Vec<String> = values.chain(lines).flat_map(|text| hosts_in(&text)).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }

    fn base(&self, home: &Path) -> Environment {
        let mut environment = self.always.clone();
        let mut set = |name: &str, value: OsString| environment.insert(name.into(), value);
        set("PATH", self.path.clone());
        set("HOME", home.into());
        set("LANG", "C.UTF-8".into());
        set("TERM", "dumb".into());
        set("XDG_CACHE_HOME", home.join(".cache").into());
        set("CARGO_HOME", home.join(".cargo").into());
        set("GOPATH", home.join("go").into());
        set("GOCACHE", home.join(".cache/go-build").into());
        set("npm_config_cache", home.join(".npm").into());
        set("npm_config_update_notifier", "false".into());
        set("PIP_CACHE_DIR", home.join(".cache/pip").into());
        set("PIP_DISABLE_PIP_VERSION_CHECK", "1".into());
        // toolchains are what the machine's owner installed, never a download
        set("RUSTUP_AUTO_INSTALL", "0".into());
        set("GOTOOLCHAIN", "local".into());
        // the `.git` that tools see says nothing worth stamping
        set("GOFLAGS", "-buildvcs=false".into());
        // a compiled file keeps the second of its source: two edits in one second would be one
        set("PYTHONDONTWRITEBYTECODE", "1".into());
        environment
    }
}

enum Use {
    Always,
    Fetch,
    Never,
}

/// Which tools may see a variable of the worker.
fn variable_use(name: &str, value: &str) -> Use {
    const SECRET: [&str; 7] = [
        "TOKEN",
        "PASSWORD",
        "PASSWD",
        "SECRET",
        "AUTH",
        "CREDENTIAL",
        "_KEY",
    ];
    const FETCH: [&str; 16] = [
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "GIT_SSL_CAINFO",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "GOPROXY",
        "GOSUMDB",
        "GONOSUMDB",
        "GOPRIVATE",
        "GONOPROXY",
        "GOINSECURE",
    ];
    let upper = name.to_ascii_uppercase();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| upper.starts_with(prefix));
    if SECRET.iter().any(|word| upper.contains(word)) || has_userinfo(value) {
        Use::Never
    } else if starts(&["CARGO_SOURCE_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_"]) {
        Use::Always
    } else if FETCH.contains(&upper.as_str()) || starts(&["PIP_", "NPM_CONFIG_", "CARGO_HTTP_", "CARGO_NET_"])
    {
        Use::Fetch
    } else {
        Use::Never
    }
}

/// Whether a setting names a way to sources, and no source; Go calls its sources so.
fn is_of_proxy(name: &str) -> bool {
    let name = name.trim().to_ascii_uppercase();
    name.contains("PROXY") && name != "GOPROXY"
}

/// The hosts of the `http` addresses in a text.
fn hosts_in(text: &str) -> Vec<String> {
    let rests = text.split("http").skip(1);
    let addresses = rests.filter_map(|rest| rest.strip_prefix('s').unwrap_or(rest).strip_prefix("://"));
    let hosts = addresses.filter_map(|rest| {
        let authority = rest.split(['/', '"', '\'', ' ', ',', '|', '?', '#']).next()?;
        let host = authority.rsplit('@').next()?;
        network_mistake(host).is_none().then(|| host.to_owned())
    });
    hosts.collect()
}

/// Whether a URL in the text carries a user or a password.
fn has_userinfo(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '"', '\'', ' ', ',']).next().unwrap_or(rest);
        authority.contains('@')
    })
}

/// The settings without the lines that hold a credential.
fn without_credentials(text: &str) -> String {
    const KEYS: [&str; 7] = [
        "token",
        "_auth",
        "password",
        "username",
        "secret",
        "credential",
        "certfile",
    ];
    let harmless = |line: &&str| {
        let key = line.split('=').next().unwrap_or(line).to_ascii_lowercase();
        !KEYS.iter().any(|word| key.contains(word)) && !has_userinfo(line)
    };
    text.lines()
        .filter(harmless)
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// The worker's search path: shims are replaced by what they stand for, and the usual
/// places of toolchains are appended, as a service manager's path lacks them.
fn search_path(path: Option<&OsString>, home: &Path, cargo_home: &Path) -> OsString {
    let default = OsString::from("/usr/local/bin:/usr/bin:/bin");
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut add = |folder: PathBuf| {
        if folder.is_absolute() && !folders.contains(&folder) {
            folders.push(folder);
        }
    };
    for folder in std::env::split_paths(path.unwrap_or(&default)) {
        match pyenv_of(&folder) {
            Some(root) => pyenv_versions(&root).into_iter().for_each(&mut add),
            None => add(folder),
        }
    }
    for usual in [
        cargo_home.join("bin"),
        home.join(".local/bin"),
        PathBuf::from("/usr/local/go/bin"),
    ] {
        if usual.is_dir() {
            add(usual);
        }
    }
    std::env::join_paths(folders).unwrap_or(default)
}

/// The root of the pyenv whose shims a folder holds.
fn pyenv_of(folder: &Path) -> Option<PathBuf> {
    if folder.file_name()? != "shims" {
        return None;
    }
    folder
        .ancestors()
        .skip(1)
        .take(3)
        .find(|root| root.join("versions").is_dir())
        .map(Path::to_owned)
}

/// The `bin` folders of the versions that are in use by default.
fn pyenv_versions(root: &Path) -> Vec<PathBuf> {
    let chosen = fs::read_to_string(root.join("version")).unwrap_or_default();
    let bin = |version: &str| root.join("versions").join(version).join("bin");
    chosen
        .split_whitespace()
        .map(bin)
        .filter(|bin| bin.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Environment {
        pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    #[test]
    fn tools_see_no_variable_of_the_worker_but_the_listed_ones() {
        let toolchains = Toolchains::new(&variables(&[
            ("PATH", "/usr/bin:/bin"),
            ("HOME", "/nowhere"),
            ("OPENAI_API_KEY", "sk-1"),
            ("AGENT_WORKER_TOKEN", "t"),
            ("SSH_AUTH_SOCK", "/run/agent"),
            ("LD_PRELOAD", "/evil.so"),
            ("CARGO_REGISTRIES_TEAM_TOKEN", "t"),
            ("CARGO_REGISTRIES_TEAM_INDEX", "sparse+https://team/"),
            ("PIP_INDEX_URL", "https://me:pw@pip.example/"),
            ("https_proxy", "http://proxy:3128"),
        ]));
        let home = Path::new("/private");
        let tool = toolchains.environment(home);
        let folder = tempfile::tempdir().unwrap();
        let fetch = toolchains.fetch_environment(folder.path()).unwrap();
        for hidden in [
            "OPENAI_API_KEY",
            "AGENT_WORKER_TOKEN",
            "SSH_AUTH_SOCK",
            "LD_PRELOAD",
            "CARGO_REGISTRIES_TEAM_TOKEN",
            "PIP_INDEX_URL",
        ] {
            assert!(
                !tool.contains_key(OsStr::new(hidden)) && !fetch.contains_key(OsStr::new(hidden)),
                "{hidden}"
            );
        }
        assert!(tool.contains_key(OsStr::new("CARGO_REGISTRIES_TEAM_INDEX")));
        assert!(!tool.contains_key(OsStr::new("https_proxy")));
        assert!(fetch.contains_key(OsStr::new("https_proxy")));
        assert_eq!(tool[OsStr::new("HOME")], "/private");
        assert_eq!(tool[OsStr::new("GOPROXY")], "off");
    }

    #[test]
    fn the_hosts_of_package_sources_are_found_in_settings_and_variables() {
        let machine = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = machine.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write(
            ".npmrc",
            "registry=https://npm.lan:4873/\nproxy=http://proxy.lan:3128\n",
        );
        write(
            ".cargo/config.toml",
            "[source.mirror]\nregistry = \"sparse+https://crates.lan/index/\"\n[http]\nproxy = \"http://proxy.lan\"\n",
        );
        write(".config/go/env", "GOPROXY=https://go.lan,direct\n");
        let toolchains = Toolchains::new(&variables(&[
            ("HOME", machine.path().to_str().unwrap()),
            ("PIP_INDEX_URL", "http://10.0.0.2:3141/root/pypi"),
            ("HTTPS_PROXY", "http://proxy.lan:3128"),
        ]));
        assert_eq!(
            toolchains.sources(),
            ["10.0.0.2:3141", "crates.lan", "go.lan", "npm.lan:4873"]
        );
    }

    #[test]
    fn settings_are_copied_without_credentials() {
        let machine = tempfile::tempdir().unwrap();
        fs::write(
            machine.path().join(".npmrc"),
            "registry=https://npm.example/\n//npm.example/:_authToken=secret\n",
        )
        .unwrap();
        let toolchains = Toolchains::new(&variables(&[("HOME", machine.path().to_str().unwrap())]));
        let private = tempfile::tempdir().unwrap();
        toolchains.fetch_environment(private.path()).unwrap();
        let copy = fs::read_to_string(private.path().join(".npmrc")).unwrap();
        assert_eq!(copy, "registry=https://npm.example/\n");
    }

    #[test]
    fn shims_are_replaced_by_the_version_that_they_stand_for() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["shims", "versions/3.11.7/bin"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("version"), "3.11.7\n").unwrap();
        let shims = root.path().join("shims");
        let path = search_path(
            Some(&format!("{}:/bin", shims.display()).into()),
            Path::new("/x"),
            Path::new("/x"),
        );
        let bin = root.path().join("versions/3.11.7/bin");
        assert_eq!(
            path.to_str().unwrap().split(':').take(2).collect::<Vec<_>>(),
            [bin.to_str().unwrap(), "/bin"]
        );
    }
}
