//! Joining a controller: a one-time token in, a credential on disk.

use jiff::Timestamp;
use protocol::{
    http::join::{InvalidJoinTokenText, JoinToken, JoinWorker, WorkerCredential},
    worker::{InvalidWorkerName, check_worker_name},
};
use service::tls::{Fingerprint, InvalidFingerprint};

use crate::{
    access::Access,
    cli::Join,
    credential::{Credential, CredentialError, Key},
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
    /// The fingerprint in the token is none.
    #[error("the join token holds {0}")]
    Fingerprint(#[from] InvalidFingerprint),
    /// The token would cross the network in the clear.
    #[error(
        "the join token names {0}, another machine, and no certificate authority: it would be sent in the clear; let \
         the controller listen with TLS (http.tls and mqtt.tls), and make another token"
    )]
    InTheClear(String),
    /// Somebody else is there.
    #[error(
        "what answers at {url} is not the controller that made the token; nothing was sent to it.\n\
         \x20 the token's certificate authority: {known}\n\
         \x20 the one that answers:              {shown}\n\
         Make a new token if the controller was set up anew; otherwise somebody stands in between"
    )]
    AnotherCa {
        /// Where.
        url: String,
        /// What the token says.
        known: Fingerprint,
        /// What was shown.
        shown: Fingerprint,
    },
    /// No key could be made, or the answer is none.
    #[error(transparent)]
    Credential(#[from] CredentialError),
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

impl JoinError {
    /// Whether another address of the token may still lead to its controller: one of a home network is
    /// somebody else's in the next.
    fn is_of_this_address(&self) -> bool {
        match self {
            Self::AnotherCa { .. } => true,
            Self::Refused { error, .. } => matches!(error, HttpError::Unreachable(_)),
            _ => false,
        }
    }
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
    /// The authority to trust; `None` on plain loopback.
    authority: Option<Fingerprint>,
    name: String,
}

impl Plan {
    /// Checks token, name and what is there already.
    pub fn new(text: &str, join: &Join, folder: &StateFolder) -> Result<Self, JoinError> {
        let token = JoinToken::decode(text)?;
        let authority: Option<Fingerprint> = token.ca_fingerprint.as_deref().map(str::parse).transpose()?;
        let scheme = if authority.is_some() {
            "https://"
        } else {
            "http://"
        };
        for url in &token.urls {
            if !url.starts_with(scheme) || authority.is_none() && !is_loopback(url) {
                return Err(JoinError::InTheClear(url.clone()));
            }
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
        Ok(Self {
            token,
            authority,
            name,
        })
    }

    /// Looks at these places too, before the addresses of the token. Without an authority there is
    /// nothing to know the controller by, and it is on this machine.
    pub fn look_at(&mut self, found: Vec<String>) {
        if self.authority.is_some() {
            self.token.urls.splice(..0, found);
        }
    }

    /// Joins and stores the credential. Addresses are tried in turn; whatever answers over TLS has
    /// proved to be the token's controller before it gets a byte of the token.
    pub async fn carry_out(
        self,
        folder: &StateFolder,
        found: &Found,
        slots: u32,
        now: Timestamp,
    ) -> Result<Credential, JoinError> {
        let key = self.authority.map(|_| Key::generate()).transpose()?;
        let join = JoinWorker {
            token: self.token.proof(),
            name: self.name.clone(),
            labels: found.introduction.labels.clone(),
            slots,
            public_key: key.as_ref().map(Key::public).transpose()?,
        };
        let mut failed: Option<JoinError> = None;
        for url in in_order(&self.token.urls) {
            let answer = match self.ask(url, &join).await {
                Err(error) if error.is_of_this_address() => {
                    // that somebody else answered says more than that nobody did
                    let said = matches!(failed, Some(JoinError::AnotherCa { .. }));
                    failed = failed.filter(|_| said).or(Some(error));
                    continue;
                }
                answer => answer?,
            };
            let credential = Credential::of(answer, url, key, now)?;
            folder.store_credential(&credential)?;
            return Ok(credential);
        }
        Err(failed.unwrap_or(JoinError::Token(InvalidJoinTokenText::Cut)))
    }

    async fn ask(&self, url: &str, join: &JoinWorker) -> Result<WorkerCredential, JoinError> {
        let access = match self.authority {
            Some(authority) => Access::stranger(authority)?,
            None => Access::Nobody,
        };
        let refused = |error| JoinError::Refused {
            url: url.to_owned(),
            error,
        };
        let controller = Controller::new(url, access.clone()).map_err(refused)?;
        controller.join(join).await.map_err(|error| match access.clash() {
            Some((shown, known)) => JoinError::AnotherCa {
                url: url.to_owned(),
                known,
                shown,
            },
            None => refused(error),
        })
    }
}

/// Names before addresses: what is joined by is kept, and a name stays good when the address changes.
fn in_order(urls: &[String]) -> Vec<&String> {
    let mut urls: Vec<&String> = urls.iter().collect();
    urls.sort_by_key(|url| is_address(url));
    urls
}

/// Whether a URL has an address where a name could be.
fn is_address(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host.parse::<std::net::IpAddr>().is_ok()
}

/// Whether a plain URL names this machine.
fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
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
            token: Some(token.to_owned()),
            name: None,
            force: false,
        }
    }

    fn token(url: &str, fingerprint: Option<&str>) -> String {
        JoinToken {
            urls: vec![url.to_owned()],
            ca_fingerprint: fingerprint.map(str::to_owned),
            id: "1".to_owned(),
            secret: "s".to_owned(),
        }
        .encode()
    }

    #[test]
    fn what_cannot_work_is_said_before_anything_is_sent() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = StateFolder::open(home.path()).expect("opens");
        let plan = |join: &Join| Plan::new(join.token.as_deref().expect("a token"), join, &folder);
        let error = |join: &Join| plan(join).err().expect("wrong").to_string();
        assert!(error(&join("hello")).contains("begins with `agj1.`"));
        let good = token("http://127.0.0.1:1", None);
        assert!(error(&join(&good[..good.len() - 1])).contains("cut or changed"));
        let pin = "ab".repeat(32);
        assert!(error(&join(&token("https://pi:8485", Some("ab")))).contains("64 hex digits"));
        assert!(error(&join(&token("http://pi:8484", None))).contains("in the clear"));
        assert!(error(&join(&token("http://127.0.0.1:8484", Some(&pin)))).contains("in the clear"));
        assert!(error(&join(&token("http://127.0.0.1.evil", None))).contains("in the clear"));
        let tls = token("https://pi:8485", Some(&pin));
        plan(&join(&tls)).map(|_| ()).expect("fits");
        let mut named = join(&good);
        named.name = Some("My Tower".to_owned());
        assert!(error(&named).contains("cannot name a worker"));
        plan(&join(&good)).map(|_| ()).expect("fits");
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
        plan(&forced).map(|_| ()).expect("forced");
    }

    #[test]
    fn a_name_is_tried_before_an_address() {
        let urls = [
            "https://10.0.0.2:8485",
            "https://pi.local:8485",
            "https://[fd00::2]:8485",
            "https://pi.lan:8485",
        ];
        let urls = urls.map(str::to_owned);
        let order = in_order(&urls);
        assert_eq!(order, [&urls[1], &urls[3], &urls[0], &urls[2]]);
    }

    #[test]
    fn any_machine_has_a_name() {
        assert_eq!(worker_name("Tower.local"), "tower");
        assert_eq!(worker_name("_pi_4"), "pi-4");
        assert_eq!(worker_name(""), "worker");
    }
}
