//! Joining a controller: a one-time token in, a credential on disk.

use protocol::{
    http::workers::{InvalidJoinTokenText, JoinToken, JoinWorker, WorkerCredential},
    worker::{InvalidWorkerName, check_worker_name},
};

use crate::{
    cli::Join,
    folder::{FolderError, StateFolder},
    inventory::Found,
    upload::{Controller, HttpError},
};

/// Why joining failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The token is no token.
    #[error(transparent)]
    Token(#[from] InvalidJoinTokenText),
    /// The name cannot be one.
    #[error("--name {0}")]
    Name(#[from] InvalidWorkerName),
    /// There is a credential already.
    #[error(
        "this worker has joined {controller} as {name} already: run `agent-worker` to work for it, or join \
         anew with --force (another worker on this machine needs a --state-dir of its own)"
    )]
    Joined {
        /// Where.
        controller: String,
        /// As whom.
        name: String,
    },
    /// The controller wants TLS.
    #[error(
        "the controller at {0} wants TLS, which this version does not speak: join on the controller's own \
         machine, over http://127.0.0.1"
    )]
    Tls(String),
    /// The controller said no, or nothing.
    #[error("the controller at {url} {}", problem(.error))]
    Refused {
        /// Where.
        url: String,
        /// What it said.
        error: HttpError,
    },
    /// The credential cannot be kept.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

fn problem(error: &HttpError) -> String {
    match error {
        HttpError::Refused {
            detail,
            hint: Some(hint),
            ..
        } => format!("refuses: {detail} ({hint})"),
        HttpError::Refused { detail, .. } => format!("refuses: {detail}"),
        other => format!("cannot be reached: {other}"),
    }
}

/// What is known before anything is sent.
pub struct Plan {
    token: JoinToken,
    name: String,
}

impl Plan {
    /// Checks token, name and what is there already.
    pub fn new(join: &Join, folder: &StateFolder) -> Result<Self, JoinError> {
        let token = JoinToken::decode(&join.token)?;
        if token.ca_fingerprint.is_some() || !token.url.starts_with("http://") {
            return Err(JoinError::Tls(token.url));
        }
        let name = match &join.name {
            Some(name) => {
                check_worker_name(name)?;
                name.clone()
            }
            None => machine_name(),
        };
        if !join.force && folder.has_joined() {
            let credential = folder.credential()?;
            return Err(JoinError::Joined {
                controller: credential.http_url,
                name: credential.name,
            });
        }
        Ok(Self { token, name })
    }

    /// Joins and stores the credential.
    pub async fn carry_out(
        self,
        folder: &StateFolder,
        found: &Found,
        slots: u32,
    ) -> Result<WorkerCredential, JoinError> {
        let url = self.token.url;
        let refused = |error| JoinError::Refused {
            url: url.clone(),
            error,
        };
        let controller = Controller::new(&url, None).map_err(refused)?;
        let join = JoinWorker {
            token: self.token.secret,
            name: self.name,
            labels: found.introduction.labels.clone(),
            slots,
        };
        let credential = controller.join(&join).await.map_err(refused)?;
        folder.store_credential(&credential)?;
        Ok(credential)
    }
}

/// The machine's own name as a worker's name: `Tower.local` → `tower`.
fn machine_name() -> String {
    let uname = rustix::system::uname();
    worker_name(&uname.nodename().to_string_lossy())
}

fn worker_name(host: &str) -> String {
    let short = host.split('.').next().unwrap_or_default().to_lowercase();
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = short.chars().map(allowed).take(63).collect();
    let name = name.trim_start_matches('-');
    if name.is_empty() {
        "worker".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(token: &str) -> Join {
        Join {
            token: token.to_owned(),
            name: None,
            force: false,
        }
    }

    fn token(url: &str, fingerprint: Option<&str>) -> String {
        JoinToken {
            url: url.to_owned(),
            ca_fingerprint: fingerprint.map(str::to_owned),
            secret: "s".to_owned(),
        }
        .encode()
    }

    #[test]
    fn what_cannot_work_is_said_before_anything_is_sent() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = StateFolder::open(home.path()).expect("opens");
        let error = |join: &Join| Plan::new(join, &folder).err().expect("wrong").to_string();
        assert!(error(&join("hello")).contains("begins with `agj1.`"));
        let good = token("http://127.0.0.1:1", None);
        assert!(error(&join(&good[..good.len() - 1])).contains("cut or changed"));
        assert!(error(&join(&token("https://pi:8485", Some("ab")))).contains("wants TLS"));
        let mut named = join(&good);
        named.name = Some("My Tower".to_owned());
        assert!(error(&named).contains("cannot name a worker"));
        Plan::new(&join(&good), &folder).map(|_| ()).expect("fits");
        let credential = serde_json::from_value(serde_json::json!({
            "id": protocol::id::WorkerId::new(), "name": "tower", "secret": "agw_x",
            "http_url": "http://127.0.0.1:8484", "mqtt_address": "127.0.0.1:1883",
        }));
        folder
            .store_credential(&credential.expect("a credential"))
            .expect("stored");
        let again = error(&join(&good));
        assert!(
            again.contains("as tower already") && again.contains("--force"),
            "{again}"
        );
        let mut forced = join(&good);
        forced.force = true;
        Plan::new(&forced, &folder).map(|_| ()).expect("forced");
    }

    #[test]
    fn any_machine_has_a_name() {
        assert_eq!(worker_name("Tower.local"), "tower");
        assert_eq!(worker_name("_pi_4"), "pi-4");
        assert_eq!(worker_name(""), "worker");
    }
}
