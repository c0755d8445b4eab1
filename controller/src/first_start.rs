//! First contact: the admin token, where things are, and how a worker joins.

use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use protocol::{
    http::tokens::{Scope, TokenView},
    id::TokenId,
};
use service::state_dir;
use tracing::info;

use crate::{
    api::About,
    app::{Running, join_line},
    credentials::{TOKEN_PREFIX, hash, new_secret},
    state::{Connection, tokens},
};

/// Name of the token that the first start makes.
const ADMIN: &str = "admin";

/// Makes the admin token if there is no token at all; its one plaintext copy goes to
/// `admin.token` (mode 0600) before its hash goes into the tables. True if it was made.
pub fn admin_token(connection: &Connection, folder: &Path, at: Timestamp) -> anyhow::Result<bool> {
    if !tokens::all(connection)?.is_empty() {
        return Ok(false);
    }
    let secret = new_secret(TOKEN_PREFIX);
    write_private(&folder.join("admin.token"), &format!("{secret}\n"))?;
    let token = TokenView {
        id: TokenId::new(),
        name: ADMIN.to_owned(),
        scopes: vec![Scope::Admin],
        created_at: at,
        expires_at: None,
        last_used_at: None,
    };
    tokens::insert(connection, &token, &hash(&secret))?;
    Ok(true)
}

/// Where the API and the broker listen, for programs of the same user.
pub fn write_endpoints(folder: &Path, about: &About) -> anyhow::Result<()> {
    let mut endpoints = serde_json::json!({"http": about.http_url, "mqtt": about.mqtt_address});
    if let Some(tls) = &about.tls {
        endpoints["https"] = tls.http.map(|at| format!("https://{at}")).into();
        endpoints["mqtts"] = tls.mqtt.map(|at| at.to_string()).into();
        endpoints["ca_fingerprint"] = tls.authority.fingerprint().to_string().into();
    }
    write_private(&folder.join("endpoints.json"), &format!("{endpoints}\n"))
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    state_dir::write_private(path, text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Says once, at the first start, how to go on.
pub async fn announce(running: &Running) -> anyhow::Result<()> {
    if !running.is_new {
        return Ok(());
    }
    let about = &running.api.about;
    let token = about.state_dir.join("admin.token");
    info!(
        "first start: the API is at {}, its admin token in {}",
        about.http_url,
        token.display()
    );
    info!(
        "log in from here: agentctl login {} --token-stdin < {}",
        about.http_url,
        token.display()
    );
    if let Some((tls, url)) = about.tls.as_ref().and_then(|tls| Some((tls, tls.urls.first()?))) {
        info!(
            "log in from another machine: agentctl login {url} --fingerprint {}",
            tls.authority.fingerprint()
        );
    }
    info!(
        "let a worker join within 15 minutes: {}",
        join_line(&running.api).await?
    );
    Ok(())
}
